"""Completions from a server's replies, whole or in chunks.

If a reply has an unexpected shape, the functions raise one of ``MISSHAPEN``.
"""

import re
from collections.abc import Mapping
from typing import Any

from rlvr_ray.core.answer_text import AnswerStream, answer_in
from rlvr_ray.core.errors import ContextOverflow, InputError, ReplyError, Unavailable
from rlvr_ray.core.fields import storable
from rlvr_ray.core.records import Usage
from rlvr_ray.generation.engines.openai.refusals import FILTERED, NEEDED
from rlvr_ray.generation.generator import Completion, FinishReason, Prompt

#: What decoding and indexing raise.
MISSHAPEN = (ValueError, TypeError, LookupError, AttributeError, RecursionError)

#: What servers write for the logarithm of probability 0.
ABSENT = -9999.0
#: Reasons to end, as servers word them, in small letters. Any other is not known.
ENDS: Mapping[str, FinishReason] = {
    **dict.fromkeys(
        ("stop", "eos", "eos_token", "end_turn", "stop_sequence", "complete", "completed"), "stop"
    ),
    **dict.fromkeys(
        (
            "length",
            "max_tokens",
            "max_output_tokens",
            "model_length",
            "max_length",
            "incomplete",
            "time_limit",
        ),
        "length",
    ),
}
#: Reasons to end that mean that there is no answer.
BROKEN_OFF = (
    "abort", "cancelled", "canceled", "error", "insufficient_system_resource", "load", "timeout",
    "unload",
)  # fmt: skip
#: Likewise, since a filter withholds it.
WITHHELD = (*FILTERED, "blocklist", "prohibited_content", "recitation", "safety", "spii")
#: Names of a message's reasoning; it has one of them, or two with the same text.
REASONING = ("reasoning_content", "reasoning", "thinking", "reasoning_details")
#: A tokenizer has a token or more for each run of letters. Where a server counted fewer than this
#: share of them, it dropped a part of the prompt.
COUNTED = 0.8
#: Tokens that every context holds: a server that counts fewer of a longer prompt does not count.
SMALLEST_CONTEXT = 128

_LETTERS = re.compile(r"[^\W\d_]+")


class StreamedReply:
    """A reply that came in chunks, put together as one that came whole."""

    def __init__(self) -> None:
        self._reply: dict[str, Any] = {}
        self._texts: list[str] = []
        self._reasoning: list[str] = []
        self._answer = AnswerStream()
        self._half = ""
        self._refuses = False
        self._places: list[Any] | None = None
        self._reason: Any = None
        self._begun = False

    def add(self, chunk: Any) -> str:
        """Take the next chunk; return what the answer grew by.

        Raises ReplyError where it is an error.
        """
        if chunk.get("error"):
            raise ReplyError("an error came instead of the rest of the answer")
        self._reply |= {name: chunk[name] for name in ("model", "usage") if chunk.get(name)}
        self._begun = True
        text = ""
        for choice in (chunk.get("choices") or [])[:1]:  # the chunk with the usage has none
            delta = choice.get("delta") or choice.get("message") or {}
            text, reasoning = _content(delta)
            self._reasoning.append(reasoning)
            self._refuses = self._refuses or bool(delta.get("refusal"))
            self._reason = choice.get("finish_reason") or self._reason
            places = (choice.get("logprobs") or {}).get("content")
            if places is not None:
                self._places = [*(self._places or []), *places]
        return self._answer.add(self._whole(text))

    def end(self, server: str) -> tuple[str, dict[str, Any]]:
        """The rest of the answer, and the reply; raises Unavailable where it has no end.

        A connection may close as if all was well: what counts is the reason to end, or the usage,
        which comes last.
        """
        if not self._begun:
            raise ValueError("there is no chunk")
        if self._reason is None and not self._reply.get("usage"):
            raise Unavailable(f"{server} broke off the answer")
        half = storable(self._half)
        self._texts.append(half)
        grown = self._answer.add(half)
        rest, _ = self._answer.end()
        text = "".join(self._texts)
        message = {
            "content": None if self._refuses and not text else text,
            "reasoning_content": "".join(self._reasoning),
        }
        choice = {
            "message": message | {"refusal": self._refuses},
            "finish_reason": self._reason,
            "logprobs": {"content": self._places},
        }
        return grown + rest, self._reply | {"choices": [choice]}

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


def completion(reply: Any, prompt: Prompt, *, server: str, model: str) -> Completion:
    """The answer in a reply's first choice, from ``model`` unless the reply names another one.

    Raises InputError where the server withholds it, ContextOverflow where it read a part of the
    prompt only, Unavailable where it could not finish it or gives no log-probabilities.
    """
    choice = reply["choices"][0]
    content, reasoning = _content(choice["message"])
    given = choice.get("finish_reason")
    reason = given.casefold().removeprefix("finish_reason_") if isinstance(given, str) else ""
    if reason in WITHHELD:
        raise InputError(f"{server} withholds its answer: its content filter")
    if not content and choice["message"].get("refusal"):
        raise InputError(f"{server} withholds its answer: the model declines")
    if reason in BROKEN_OFF:
        raise Unavailable(f"{server} broke off the answer")
    usage = _usage(reply.get("usage"))
    _check_prompt(prompt, usage, server)
    answer = answer_in(storable(content))
    logprobs = _logprobs(choice) if prompt.logprobs else ()
    if logprobs is None:
        if answer.text:
            raise Unavailable(f"{server} returns no log-probabilities: {NEEDED['logprobs']}")
        logprobs = ()  # where it wrote nothing, there is nothing to tell
    name = reply.get("model")
    return Completion(
        text=answer.text,
        reasoning_chars=answer.reasoning_chars + len(reasoning.strip()),
        finish_reason="stop" if answer.ended else _end(reason, usage, prompt),
        model=storable(name) if isinstance(name, str) and name else model,
        usage=usage,
        logprobs=logprobs,
    )


def _content(message: Any) -> tuple[str, str]:
    """The text of a message, or of a part of one, and its reasoning."""
    content = message.get("content")
    texts: list[str] = []
    reasoning = [next((_text(message[name]) for name in REASONING if message.get(name)), "")]
    if not isinstance(content, str | list | None):
        raise TypeError("an answer is text, or a list of parts")
    for part in content if isinstance(content, list) else [{"type": "text", "text": content or ""}]:
        if isinstance(part, str):
            texts.append(part)
        elif part.get("type") in ("text", "output_text"):
            texts.append(part["text"])
        else:  # of type thinking, reasoning, ...
            reasoning.append(_text(part))
    return "".join(texts), "".join(reasoning)


def _text(part: Any) -> str:
    """All text in a part of a message, which may have parts itself."""
    if isinstance(part, Mapping):
        names = ("text", "thinking", "reasoning", "content", "summary")
        return "".join(_text(part[name]) for name in names if part.get(name))
    if isinstance(part, list):
        return "".join(map(_text, part))
    return part if isinstance(part, str) else ""


def _end(reason: str, usage: Usage, prompt: Prompt) -> FinishReason:
    """What a finish reason means; where there is none, what the number of tokens says."""
    if reason or not usage.completion_tokens:
        return ENDS.get(reason, "unknown")
    return "length" if usage.completion_tokens >= prompt.max_tokens else "stop"


def _check_prompt(prompt: Prompt, usage: Usage, server: str) -> None:
    """Raise ContextOverflow where the server dropped a part of the prompt without a word.

    Ollama does, where its context is too small.
    """
    words = sum(len(_LETTERS.findall(message.content)) for message in prompt.messages)
    if SMALLEST_CONTEXT <= usage.prompt_tokens < COUNTED * words:
        raise ContextOverflow(
            f"{server} read {usage.prompt_tokens:,} tokens of a prompt of {words:,} words, and "
            "dropped the rest: give it a larger context (Ollama: OLLAMA_CONTEXT_LENGTH), or ask "
            "for fewer passages (retrieval.top_k)"
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
