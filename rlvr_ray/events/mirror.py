"""From the ledger to the broker: every event, in the order of commits, at least once.

The place is noted only after the broker has confirmed, so a crash or a lost connection repeats
events and never loses one. Broker trouble delays events and nothing else.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable

from rlvr_ray.core.errors import ConfigError, Unavailable
from rlvr_ray.dataset.state import Page
from rlvr_ray.events.outbox import Posted
from rlvr_ray.events.ports import Publisher

#: Events read, sent and noted at once.
WINDOW = 256
#: Pause after a failure, in seconds; it doubles up to the longest.
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 15.0


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
        pause = FIRST_PAUSE
        while True:
            try:
                await self._publisher.publish(posted)
                self._note("mirror", None)
                return
            except (Unavailable, ConfigError) as error:
                self._note("mirror", str(error))
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 - no secret
            pause = min(pause * 2, LONGEST_PAUSE)
