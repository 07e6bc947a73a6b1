"""llama.cpp's slots: each is lent to one request at a time, so that none reads another's state."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from rlvr_ray.core.errors import Overloaded


@dataclass(slots=True)
class Slot:
    """A slot, and the prompt that it was last used for, whose state it holds."""

    number: int
    tokens: list[int] = field(default_factory=list)


class Slots:
    """The slots of a server, for requests in the order in which they come."""

    def __init__(self, count: int) -> None:
        self.idle = [Slot(number) for number in range(count)]
        self._turn = asyncio.Lock()
        self._returned = asyncio.Event()

    @contextlib.asynccontextmanager
    async def lease(
        self, tokens: list[int], count: int, wait_s: float
    ) -> AsyncIterator[list[Slot]]:
        """Wait for idle slots: first the one that holds most of the prompt, then the oldest.

        Raises Overloaded where that takes ``wait_s``: the prompt is not the reason.
        """
        try:
            async with asyncio.timeout(wait_s), self._turn:  # in order: nobody is overtaken
                while len(self.idle) < count:
                    self._returned.clear()
                    await self._returned.wait()
                best = max(self.idle, key=lambda slot: common(slot.tokens, tokens))
                self.idle.remove(best)
                slots = [best, *self.idle[: count - 1]]
                del self.idle[: count - 1]
        except TimeoutError:
            raise Overloaded(
                f"the model had no slot free within {wait_s:g} s; try again in a while"
            ) from None
        try:
            yield slots
        finally:
            self.idle += slots
            self._returned.set()


def common(one: Sequence[int], two: Sequence[int]) -> int:
    """How many tokens both start with."""
    return next(
        (i for i, (a, b) in enumerate(zip(one, two, strict=False)) if a != b),
        min(len(one), len(two)),
    )
