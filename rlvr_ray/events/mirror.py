"""From the ledger to the broker: every event, in the order of commits, at least once.

An event counts as sent only after the broker has confirmed it, so a crash or a lost connection
repeats events, and never loses one. Problems with the broker delay only events.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from rlvr_ray.core.errors import ConfigError, Unavailable
from rlvr_ray.core.retry import Backoff
from rlvr_ray.dataset.state import Page
from rlvr_ray.events.outbox import Posted

#: Events read, sent and noted at once.
WINDOW = 256
BACKOFF = Backoff(first_s=0.25, longest_s=15.0, low=0.8, high=1.2)


class Publisher(Protocol):
    """The way to the broker."""

    async def publish(self, events: Sequence[Posted]) -> None:
        """Return once the broker has confirmed every event; those of a batch go in order.

        Raises Unavailable where it did not: any of them may have arrived all the same.
        """
        ...

    async def close(self) -> None:
        """Let the connection go."""
        ...


class Mirror:
    """One task at a time runs ``run``; whoever commits an event calls ``wake``."""

    def __init__(
        self,
        publisher: Publisher,
        position: Callable[[], Awaitable[int]],
        events: Callable[[int, int], Awaitable[Page[Posted]]],
        confirmed: Callable[[int], Awaitable[None]],
        note: Callable[[str, str | None], None],
    ) -> None:
        self._publisher = publisher
        self._position = position
        self._events = events
        self._confirmed = confirmed
        self._note = note
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """There is something to send."""
        self._woken.set()

    async def run(self) -> None:
        """Send what is there and what comes, until cancelled."""
        try:
            seq = await self._position()
            await self._send([])  # consumers can bind their queues before the first event
            while True:
                self._woken.clear()
                posted = await self._events(seq, WINDOW)
                if not posted.more:
                    await self._woken.wait()
                    continue
                if posted:
                    await self._send(posted)
                seq = posted.last
                await self._confirmed(seq)
        finally:
            await self._publisher.close()

    async def _send(self, posted: list[Posted]) -> None:
        async for attempt in BACKOFF.attempts(
            lambda error: isinstance(error, Unavailable | ConfigError),
            lambda error, _: self._note("mirror", str(error)),
        ):
            with attempt:
                await self._publisher.publish(posted)
        self._note("mirror", None)
