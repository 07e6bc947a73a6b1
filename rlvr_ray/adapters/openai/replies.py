"""Completions out of what a server answers, whole or in chunks.

Whatever reads here raises one of ``MISSHAPEN`` where an answer has another shape than it should.
"""

from collections.abc import Mapping
from typing import Any

from rlvr_ray.adapters.openai.refusals import FILTERED, NEEDED
from rlvr_ray.core.records import Usage
from rlvr_ray.core.text import storable
from rlvr_ray.errors import InputError, Unavailable
from rlvr_ray.ports import Completion

#: What decoding and indexing raise.
MISSHAPEN = (ValueError, TypeError, LookupError, AttributeError, RecursionError)

#: What servers write for the logarithm of probability 0.
ABSENT = -9999.0
#: Reasons to end that mean the token limit.
CUT = ("length", "max_tokens", "model_length")
#: Reasons to end that mean that there is no answer.
BROKEN_OFF = ("abort", "error")


class Chunks:
    """A streamed reply, put together as one that came whole."""

    def __init__(self) -> None:
        self._reply: dict[str, Any] = {}
        self._texts: list[str] = []
        self._half = ""
        self._refuses = False
        self._places: list[Any] | None = None
        self._reason: Any = None
        self._begun = False

    def add(self, chunk: Any) -> str:
        """Take the next chunk; return the characters that it made whole."""
        self._reply |= {name: chunk[name] for name in ("model", "usage") if chunk.get(name)}
        self._begun = True
        text = ""
        for choice in (chunk.get("choices") or [])[:1]:  # the chunk with the usage has none
            delta = choice.get("delta") or choice.get("message") or {}
            text = delta.get("content") or ""
            if not isinstance(text, str):
                raise TypeError("an answer is text")
            self._refuses = self._refuses or bool(delta.get("refusal"))
            self._reason = choice.get("finish_reason") or self._reason
            places = (choice.get("logprobs") or {}).get("content")
            if places is not None:
                self._places = [*(self._places or []), *places]
        return self._whole(text)

    def end(self, server: str) -> tuple[str, dict[str, Any]]:
        """The rest of the text, and the reply; raises Unavailable where it did not come to an end.

        A connection may close as if all was well: what counts is the reason to end.
        """
        if not self._begun:
            raise ValueError("there is no chunk")
        if self._reason is None:
            raise Unavailable(f"{server} broke off the answer")
        rest = storable(self._half)
        self._texts.append(rest)
        text = "".join(self._texts)
        message = {"content": None if self._refuses and not text else text}
        choice = {
            "message": message | {"refusal": self._refuses},
            "finish_reason": self._reason,
            "logprobs": {"content": self._places},
        }
        return rest, self._reply | {"choices": [choice]}

    def _whole(self, text: str) -> str:
        """What is whole of a text: half a character (of UTF-16) waits for its other half."""
        text = self._half + text
        self._half = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
        text = text.removesuffix(self._half)
        if any("\ud800" <= character <= "\udfff" for character in text):
            text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
        text = storable(text)
        self._texts.append(text)
        return text


def completion(reply: Any, *, server: str, model: str, wants_logprobs: bool) -> Completion:
    """The first choice of a reply, from ``model`` unless it names another one.

    Raises InputError where the server withholds it, Unavailable where it could not finish it or
    gives no log-probabilities.
    """
    choice = reply["choices"][0]
    text, reason = choice["message"].get("content"), choice.get("finish_reason")
    if reason in FILTERED:
        raise InputError(f"{server} withholds its answer: its content filter")
    if text is None and choice["message"].get("refusal"):
        raise InputError(f"{server} withholds its answer: the model declines")
    if reason in BROKEN_OFF:
        raise Unavailable(f"{server} broke off the answer")
    if not isinstance(text, str | None):
        raise TypeError("an answer is text")
    text = storable(text or "").strip()
    logprobs = _logprobs(choice) if wants_logprobs else ()
    if logprobs is None:
        if text:
            raise Unavailable(f"{server} returns no log-probabilities: {NEEDED['logprobs']}")
        logprobs = ()  # where it wrote nothing, there is nothing to tell
    name = reply.get("model")
    return Completion(
        text=text,
        finish_reason="length" if reason in CUT else "stop",
        model=storable(name) if isinstance(name, str) and name else model,
        usage=_usage(reply.get("usage")),
        logprobs=logprobs,
    )


def _usage(usage: Any) -> Usage:
    """The tokens that the server counted; zeros where it did not."""
    given = usage if isinstance(usage, Mapping) else {}
    details = given.get("prompt_tokens_details")
    return Usage(
        prompt_tokens=_count(given.get("prompt_tokens")),
        completion_tokens=_count(given.get("completion_tokens")),
        cached_tokens=_count(details.get("cached_tokens") if isinstance(details, Mapping) else 0),
    )


def _count(value: Any) -> int:
    known = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53
    return value if known else 0


def _logprobs(choice: Any) -> tuple[dict[str, float], ...] | None:
    """For each place the likeliest tokens; None where the server tells none."""
    logprobs = choice.get("logprobs")
    content = logprobs.get("content") if logprobs is not None else None
    return None if content is None else tuple(_likeliest(place) for place in content)


def _likeliest(place: Any) -> dict[str, float]:
    """Tokens and logarithms; of tokens that are different bytes of the same text, the likelier."""
    found: dict[str, float] = {}
    for each in place.get("top_logprobs") or [place]:
        token, value = each["token"], each["logprob"]
        # NaN fails every comparison; what is above 0 by more than rounding is no logarithm.
        if isinstance(token, str) and isinstance(value, int | float) and ABSENT < value < 1e-3:
            found[token] = max(found.get(token, ABSENT), min(float(value), 0.0))
    return found
