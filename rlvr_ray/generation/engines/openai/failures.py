"""Failures of a server as rlvr_ray's errors: the client's exceptions, and errors in replies.

Messages quote the server, but never the key or the prompt.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from rlvr_ray.core.errors import (
    ContextOverflow,
    InputError,
    Overloaded,
    ReplyError,
    RlvrError,
    TimedOut,
    Unavailable,
)
from rlvr_ray.core.fields import one_line
from rlvr_ray.generation.engines.openai import refusals
from rlvr_ray.generation.engines.openai.refusals import FILTERED, TOO_LONG
from rlvr_ray.generation.engines.openai.replies import MISSHAPEN
from rlvr_ray.generation.generator import Prompt

#: Characters that are quoted of what a server says.
QUOTED = 200
#: So many characters in a row that also stand in the prompt: the server quotes it.
SHARED = 24
#: Codes of an error within a reply that may pass: a gateway's, of the server behind it.
BUSY = ("500", "502", "503", "504", "529")


class Failures:
    """Those of one server, whose name begins each message."""

    def __init__(self, server: str, section: str, key: str) -> None:
        self._server, self._section, self._key = server, section, key

    @contextlib.asynccontextmanager
    async def translated(self, limit_s: float, prompt: Prompt | None = None) -> AsyncIterator[None]:
        """Give a request so much time, and its failure our words."""
        import openai

        try:
            async with asyncio.timeout(limit_s):
                yield
        except TimeoutError:
            raise TimedOut(f"{self._server} did not answer within {limit_s:g} s") from None
        except openai.APIStatusError as error:
            raise self._of_status(error, prompt) from None
        except openai.OpenAIError as error:
            if isinstance(error, openai.APIError) and error.body is not None:  # in a stream
                raise self.in_reply(error.body, prompt) from None
            raise self.broken_off(error.__cause__ or error, prompt) from None

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Give a reply of another form our words."""
        try:
            yield
        except MISSHAPEN:
            raise ReplyError(
                f"{self._server} answered with something that is no chat completion; "
                f"is {self._section}.base_url right?"
            ) from None

    def in_reply(self, error: Any, prompt: Prompt | None) -> RlvrError:
        """What an error in place of an answer means, though the HTTP status is one of success."""
        quote = self._quoted(refusals.message_of(error), prompt)
        code = error.get("code") if isinstance(error, Mapping) else None
        if TOO_LONG.search(f"{code} {refusals.message_of(error)}"):
            return ContextOverflow(f"the prompt is too long for {self._server}{quote}")
        if str(code) in FILTERED:
            return InputError(f"{self._server} withholds its answer: its content filter")
        if str(code) == "429":
            return Overloaded(f"{self._server} has too much to do{quote}")
        if str(code) in BUSY:
            return Unavailable(f"{self._server} failed{quote}")
        return ReplyError(
            f"{self._server} answers with an error{quote or ', and does not say why'}"
        )

    def broken_off(self, error: BaseException, prompt: Prompt | None) -> RlvrError:
        """What an exception without a reply means."""
        why = self._quoted(str(error) or type(error).__name__, prompt)
        return Unavailable(f"{self._server} is not there, or broke off{why}")

    def _of_status(self, error: Any, prompt: Prompt | None) -> RlvrError:
        """What a status other than success means to whoever asked."""
        status, why = error.status_code, self.details(error, prompt)
        if status in (401, 403):
            return Unavailable(
                f"{self._server} refuses the key ({self._section}.api_key), HTTP {status}"
            )
        if status == 429:
            return Overloaded(
                f"{self._server} has too much to do{why}; "
                f"lower {self._section}.concurrency or {self._section}.requests_per_minute"
            )
        if status >= 500:
            return Unavailable(f"{self._server} failed{why}")
        if status == 413 or (status in (400, 422) and _too_long(error)):
            return ContextOverflow(
                f"the prompt is too long for {self._server}{why}; "
                "ask for fewer passages (top_k), or choose a model of a larger context"
            )
        if status in (400, 422) and str(error.code) in FILTERED:
            return InputError(f"{self._server} withholds its answer: its content filter")
        return Unavailable(
            f"{self._server} refuses the request{why}; "
            f"check {self._section}.base_url, {self._section}.model and "
            f"{self._section}.capabilities"
        )

    def details(self, error: Any, prompt: Prompt | None) -> str:
        """The status and what the server said, for a message."""
        quote = self._quoted(refusals.message_of(error.body), prompt)
        return f" (HTTP {error.status_code}){quote}"

    def _quoted(self, message: str, prompt: Prompt | None) -> str:
        """What the server said, after a colon; not the key, and not what stands in the prompt."""
        message = one_line(message)
        if self._key:
            message = message.replace(self._key, "[key]")
        message = message[:QUOTED]
        for given in prompt.messages if prompt else ():
            content = one_line(given.content)
            if any(message[i : i + SHARED] in content for i in range(len(message) - SHARED + 1)):
                return ""
        return f": {message}" if message else ""


def refused_parameter(error: Any, sent: Mapping[str, Any]) -> str | None:
    """The parameter that a server refuses, by its error; None where that says something else."""
    if error.status_code not in refusals.STATUSES or _too_long(error):
        return None
    return refusals.refused(error.body, str(error.code), sent)


def _too_long(error: Any) -> bool:
    return TOO_LONG.search(f"{error.code} {refusals.message_of(error.body)}") is not None
