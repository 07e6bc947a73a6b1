"""The way to the broker, and back."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from rlvr_ray.events.outbox import Posted


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


class Inbox(Protocol):
    """Events from others."""

    async def run(self, handle: Callable[[Mapping[str, Any]], Awaitable[None]]) -> None:
        """Give each event to ``handle``, one after another, until cancelled.

        It is taken off the queue once ``handle`` returned, put aside where that raises InputError,
        and given again after any other failure.
        """
        ...
