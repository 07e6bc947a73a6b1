"""The interface of language models: prompts, samples, completions, generators, engines."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from rlvr_ray.core.errors import InputError
from rlvr_ray.core.records import Usage
from rlvr_ray.generation.prompts import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """How one completion of a prompt is drawn."""

    temperature: float
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A chat and the samples wanted of it. Its prefill is paid once."""

    messages: tuple[Message, ...]
    samples: tuple[Sample, ...]
    max_tokens: int
    json_schema: Mapping[str, Any] | None = None  #: the engine enforces it, where it can
    logprobs: int = 0  #: likeliest tokens wanted at each place, with log-probabilities; at most 20


#: ``length``: the token limit cut it. ``unknown``: it may be cut, or not.
FinishReason = Literal["stop", "length", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """One sample's answer: see ``core.answer_text``."""

    text: str
    finish_reason: FinishReason
    model: str
    usage: Usage
    reasoning_chars: int = 0  #: characters of reasoning, none of which is in the text
    #: Where ``Prompt.logprobs`` asked for them: for each token the likeliest ones at its place and
    #: their natural logarithms of probability.
    logprobs: tuple[Mapping[str, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionChunk:
    """What a sample grew by: whole characters. Its last chunk, which may be empty, has it all.

    Where the end shows that a part was no answer (``AnswerStream.end``), the completion holds.
    """

    sample: int  #: index in ``Prompt.samples``
    text: str
    completion: Completion | None = None  #: with the last chunk


class Generator(Protocol):
    """A language model."""

    async def generate(self, prompts: Sequence[Prompt]) -> list[list[Completion] | InputError]:
        """The samples of each prompt, in order. Cancelling the call stops the engine's work.

        Prompts of one call that ask for a single token and begin alike share their prefill.
        Text in a message is text: what reads like one of the model's control tokens is none.
        Raises TimedOut, Unavailable, Overloaded, ReplyError.
        """
        ...


class StreamingGenerator(Generator, Protocol):
    """A language model whose answers can be read while they are written."""

    def stream(self, prompt: Prompt) -> AsyncGenerator[CompletionChunk]:
        """The samples while they are written, mixed; each ends with a chunk that has it whole.

        Whoever leaves the loop closes the iterator (``contextlib.aclosing``): that stops the
        engine's work, as cancelling does. Raises InputError as well as what ``generate`` raises.
        """
        ...


class CheckedGenerator(StreamingGenerator, Protocol):
    """A Generator that can say whether it is there."""

    async def check(self) -> str:
        """The model's name; raises Unavailable or Overloaded where it cannot work."""
        ...


class Engine(CheckedGenerator, Protocol):
    """A language model that this process holds, or the client of a server's."""

    @property
    def model(self) -> str:
        """The model's name, as completions tell it."""
        ...

    async def close(self) -> None:
        """Let it go; what is in flight ends with an error."""
        ...
