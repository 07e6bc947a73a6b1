"""Shared by engines that hold a model: chats in the model's template, and the time limit."""

import asyncio
import contextlib
import re
import secrets
from collections.abc import AsyncIterator, Iterator, Sequence

from rlvr_ray.core.errors import TimedOut
from rlvr_ray.generation.prompts import Message


class MarkedChat:
    """A chat with marks in place of its texts, to fill a model's template with.

    What stands for a mark is tokenized as plain text, so only the template's own control tokens are
    such: a passage that says ``<|im_end|>`` does not end the user's turn.
    """

    def __init__(self, messages: Sequence[Message]) -> None:
        self._texts = [message.content for message in messages]
        self._mark = secrets.token_hex(8)
        self.messages = [
            {"role": message.role, "content": f"{self._mark}.{index}."}
            for index, message in enumerate(messages)
        ]

    def texts(self, filled: str) -> Iterator[tuple[str, bool]]:
        """The filled template's texts in order, and of each whether it is the template's own."""
        for place, text in enumerate(re.split(rf"{self._mark}\.(\d+)\.", filled)):
            yield (self._texts[int(text)], False) if place % 2 else (text, True)


@contextlib.asynccontextmanager
async def time_limit(seconds: float) -> AsyncIterator[None]:
    """Raise TimedOut where the model takes longer."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise TimedOut(f"the model did not finish within {seconds:g} s") from None
