"""The seams: what the pipeline and the aggregator need from the parts that they do not contain.

Every call takes many items, since a hop between processes costs milliseconds. Where one item can
fail by itself, its place in the answer holds the error; what the call raises concerns all of them
(``Unavailable``, ``Overloaded``).
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol, TypeVar
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from rlvr_ray.core import pairing
from rlvr_ray.core.browsing import Filter, Histogram, Measure
from rlvr_ray.core.events import Event
from rlvr_ray.core.footprints import Footprint
from rlvr_ray.core.pairing import Result
from rlvr_ray.core.prompts import Message
from rlvr_ray.core.records import (
    NO_TOKENS,
    Assessment,
    Batch,
    Context,
    Outcome,
    Usage,
    Verification,
    clean_text,
    whole,
)
from rlvr_ray.core.reviewing import Review, Said, Verdict
from rlvr_ray.core.rows import Row
from rlvr_ray.errors import InputError, JudgeError

T = TypeVar("T")
Vectors = NDArray[np.float32]


class Embedder(Protocol):
    """Unit vectors for texts, so that a dot product is the cosine."""

    @property
    def name(self) -> str:
        """What is recorded as having embedded."""
        ...

    @property
    def dimensions(self) -> int:
        """Length of a vector."""
        ...

    def embed(self, texts: Sequence[str]) -> Vectors:
        """float32 of shape (len(texts), dimensions). Blocking, and safe in several threads."""
        ...


def cosines(embedder: Embedder, rows: Sequence[str], columns: Sequence[str]) -> list[list[float]]:
    """The cosine of each row's text with each column's."""
    matrix: list[list[float]] = (embedder.embed(rows) @ embedder.embed(columns).T).tolist()
    return matrix


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A question and how many passages it wants."""

    text: str
    top_k: int


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file as it was given; the end of ``source`` says what it is."""

    source: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A text to be searched; ``source`` names it: the same source again replaces it."""

    source: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingested:
    """What became of a document."""

    document_id: UUID
    source: str
    num_chunks: int
    content_id: UUID  #: the same for the same passages
    changed: bool  #: False where the store held just this already

    def __post_init__(self) -> None:
        clean_text("source", self.source)
        whole("num_chunks", self.num_chunks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A document in the store."""

    document_id: UUID
    source: str
    num_chunks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Where a passage is: its own id, and its document's."""

    chunk_id: UUID
    document_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A stored passage; ``metadata`` is that of a ``Context``."""

    chunk_id: UUID
    content: str
    metadata: Mapping[str, Any]


class Retriever(Protocol):
    """Passages for questions."""

    async def search(self, queries: Sequence[Query]) -> list[list[Context]]:
        """The best passages of each query, best first; an empty list where there are none."""
        ...

    async def ingest(self, documents: Sequence[Document]) -> list[Ingested]:
        """Store documents; ingesting the same again changes nothing."""
        ...

    async def count(self) -> int:
        """How many passages are stored."""
        ...

    async def documents(self) -> list[Stored]:
        """All documents that have passages in the store, by source."""
        ...

    async def delete(self, document_id: UUID) -> bool:
        """Remove a document's passages; False where there are none of it."""
        ...

    async def chunks(self, first: UUID | None, limit: int) -> tuple[list[Chunk], UUID | None]:
        """At most so many passages, in the order of their ids, from this id on or from the start.

        Also the first id of the next page; None where there is none.
        """
        ...

    async def fetch(self, chunk_ids: Sequence[UUID]) -> list[Passage]:
        """The passages of these ids, in their order; those that are gone are left out."""
        ...


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
class Piece:
    """What an answer grew by: whole characters. Its last piece, which may be empty, has it all.

    Where the end shows that a part was no answer (``AnswerStream.end``), the completion holds.
    """

    sample: int  #: index in ``Prompt.samples``
    text: str
    completion: Completion | None = None  #: with the last piece


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

    def stream(self, prompt: Prompt) -> AsyncGenerator[Piece]:
        """The samples while they are written, mixed; each ends with a piece that has it whole.

        Whoever leaves the loop closes the iterator (``contextlib.aclosing``): that stops the
        engine's work, as cancelling does. Raises InputError as well as what ``generate`` raises.
        """
        ...


class Engine(StreamingGenerator, Protocol):
    """A language model that this process holds, or the client of a server's."""

    @property
    def model(self) -> str:
        """The model's name, as completions tell it."""
        ...

    async def check(self) -> str:
        """The model's name; raises Unavailable or Overloaded where it cannot work."""
        ...

    async def close(self) -> None:
        """Let it go; what is in flight ends with an error."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A candidate as a judge sees it: no temperature, no index, no rival."""

    answer_event_id: UUID
    question: str
    answer: str
    contexts: tuple[str, ...]
    references: tuple[str, ...] = ()  #: right answers, any of them; none where nobody gave one
    retrieval_score: float | None = None  #: best cosine of a context with the question


class Verifier(Protocol):
    """One way to score answers. Others may bring theirs: see ``VerifierFactory``."""

    async def verify(self, claims: Sequence[Claim]) -> list[Assessment | JudgeError | None]:
        """One result for each claim, in order; None where it has nothing to go by.

        Raises TimedOut, Unavailable or Overloaded where it cannot work now: it is asked again.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Equipment:
    """What a verifier may work with."""

    judge: Generator
    engine: str  #: what runs the judge, for the record
    embedder: Embedder
    max_tokens: int  #: limit of one judge completion; a retry may have twice as many


#: Makes a verifier from its ``options`` in the settings; raises ConfigError where they are wrong.
#: Found by its name among the entry points of the group ``rlvr_ray.verifiers``.
VerifierFactory = Callable[[Equipment, Mapping[str, Any]], Verifier]


class ContextJudge(Protocol):
    """Says whether contexts leave a question unanswered, as some answers to it say."""

    async def unanswered(self, refusals: Sequence[Claim]) -> list[float]:
        """For each of these claims, which all have the same question and contexts and abstain: from
        0 (they answer) to 1 (they do not). Raises JudgeError, TimedOut, Unavailable.
        """
        ...


Judged = Verification | JudgeError


class Panel(Protocol):
    """All verifiers together, as the aggregator sees them."""

    async def verify(self, claims: Sequence[Claim]) -> list[Verification | JudgeError]:
        """One result for each claim, in order. Raises TimedOut, Unavailable, Overloaded."""
        ...


class StreamingPanel(Panel, Protocol):
    """A Panel whose results can be read as they come."""

    def stream(self, claims: Sequence[Claim]) -> AsyncGenerator[tuple[UUID, Judged]]:
        """The same as they come, each with its answer's event id: for batches that are watched.

        Whoever leaves the loop closes the iterator (``contextlib.aclosing``).
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchState:
    """All that is known of a batch; ``outcome`` is None while it is being verified.

    Raises ValueError where these do not belong together.
    """

    batch: Batch
    results: Mapping[UUID, Result]
    outcome: Outcome | None

    def __post_init__(self) -> None:
        pairing.check(self.batch, self.results, self.outcome)


class Page(list[T]):
    """What can be read of a stretch of the ledger, in its order: what cannot is left out.

    ``last`` is the place of the last row that was looked at, readable or not; ``more`` says
    whether there was one: beyond a page without, there is nothing.
    """

    def __init__(self, items: Iterable[T] = (), *, last: int, more: bool) -> None:
        super().__init__(items)
        self.last = last
        self.more = more


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonlFile:
    """A JSONL file's durable length. Its first ``kept`` bytes, whose hash is ``sha256``, cannot be
    written again, since their records are past retention."""

    bytes: int
    kept: int = 0
    sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A Parquet part: the rows of one dataset from the outcomes ``first_seq`` to ``last_seq``.

    ``sha256`` is None until the file is known to be whole.
    """

    path: str
    dataset: str
    first_seq: int
    last_seq: int
    rows: int
    sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """An event and its place in the order of commits."""

    seq: int
    event: Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """Events that the broker has not confirmed: how many, and when the oldest was committed."""

    pending: int
    oldest: datetime | None


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a decided batch ended, and the tokens that it took.

    ``margins`` are those of its pairs or, where it has none but was ranked, that of best and worst.
    What verifications took that failed is not known, nor what all took that is past retention.
    """

    reason: str | None  #: why there is no pair
    margins: tuple[float, ...] = ()
    answers: Usage = NO_TOKENS
    judging: Usage = NO_TOKENS

    @property
    def pairs(self) -> int:
        """How many there are of it."""
        return len(self.margins) if self.reason is None else 0


class Recorder(Protocol):
    """The durable side, as the pipeline sees it."""

    async def admit(self) -> None:
        """Raise Overloaded where there is no room for further batches."""
        ...

    async def record(self, batches: Sequence[Batch]) -> list[Batch]:
        """Commit batches; return what the ledger holds, which for a known id is the first."""
        ...

    async def find(self, batch_id: UUID) -> BatchState | None:
        """A recorded batch, or None."""
        ...

    async def reserve(self, batch_id: UUID, fingerprint: str) -> BatchState | None:
        """A recorded batch; where there is none, the id is this request's from here on.

        Raises KeyReused where the id is another request's that is not recorded yet.
        """
        ...

    async def outcomes(self, batch_ids: Sequence[UUID]) -> Mapping[UUID, Ending | None]:
        """Of those that are recorded: how they ended, None while they are verified."""
        ...

    async def of_run(
        self, run: str, after: int, limit: int
    ) -> tuple[Mapping[UUID, Ending | None], int | None]:
        """How the batches of a bulk run ended, likewise, in the order of recording.

        ``limit`` of them at most, from the place ``after`` on, which is 0 at first; and the place
        to go on from, None at the end.
        """
        ...

    async def ingested(self, documents: Sequence[Ingested]) -> None:
        """Note documents that were stored, so that others hear of them."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviewed:
    """A batch, and what people say of its pair: their latest word."""

    state: BatchState
    verdict: Verdict | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Duel:
    """A pair for a person to judge, its answers in random order."""

    batch: Batch
    a: int  #: index of a candidate
    b: int
    left: int  #: pairs that are still to be judged, this one included


class Archive(Protocol):
    """Looking through what the ledger holds. Batches past retention are in the files only.

    ``before`` and ``after`` are places in the order of recording, as these methods return them.
    """

    async def page(
        self, where: Filter, before: int | None, limit: int
    ) -> tuple[list[Row], int | None]:
        """What a list shows of batches, latest first: see ``core.browsing.line``.

        Also where the next page begins; None where there is none.
        """
        ...

    async def count(self, where: Filter) -> int:
        """How many batches fit."""
        ...

    async def past_retention(self) -> int:
        """How many decided batches are in the files only."""
        ...

    async def histogram(self, of: Measure, where: Filter) -> Histogram:
        """Of the batches that fit."""
        ...

    async def models(self) -> list[str]:
        """Those that wrote answers of decided batches, by name."""
        ...

    async def states(
        self, where: Filter, after: int, limit: int
    ) -> tuple[list[Reviewed], int | None]:
        """Batches as they are known, earliest first from place 0 on; and the next place, or None.

        There may be fewer than ``limit``, or none, and more at the next place.
        """
        ...

    async def review(
        self, review_id: UUID, batch_id: UUID, a: int, b: int, said: Said, note: str, reviewer: str
    ) -> tuple[int, Review]:
        """Keep what somebody says of a pair, and return it with its sequence number.

        The same again under the same id changes nothing. Raises NotFound, KeyReused where the id
        is another review's, or InputError where a and b are not the pair's candidates.
        """
        ...

    async def reviews(self, batch_id: UUID) -> list[tuple[int, Review]]:
        """All of a batch in the order in which they came; raises NotFound where it is unknown."""
        ...

    async def duel(self, where: Filter, seen: Sequence[UUID]) -> Duel | None:
        """One of the pairs that fit and that nobody has judged, at random; None if none is left.

        Those of the batches ``seen`` are left out.
        """
        ...

    async def footprint(self, batch_id: UUID) -> tuple[BatchState, Footprint] | None:
        """A batch with what it left beside its records; None where it is unknown.

        Raises NotFound where it is past retention.
        """
        ...

    async def named(self, name: str, limit: int) -> tuple[list[UUID], int]:
        """The batches that an id means, latest first, and how many there are beyond the limit.

        It may be a batch's, an event's, or a correlation id; nothing is found where it is none.
        """
        ...

    async def verdicts(self, where: Filter) -> Mapping[Verdict | None, int]:
        """Pairs that fit by their latest review; None is for those without one."""
        ...
