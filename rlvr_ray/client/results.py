"""Batches, documents and reviews, as the server tells of them: immutable values."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from rlvr_ray.client.reply import Raw, Reply, Whole, Wholes
from rlvr_ray.core.records import NO_TOKENS, Usage

Verdict = Literal["a", "b", "tie", "discard"]


# A batch.


@dataclass(frozen=True, slots=True, kw_only=True)
class Context(Reply):
    """A retrieved passage; ``score`` is its cosine with the question, in [-1, 1]."""

    content: str
    score: float
    metadata: Raw = field(default_factory=dict)  #: document_id, source, chunk_index, start

    @property
    def source(self) -> str:
        """The document that it is from."""
        return str(self.metadata.get("source", ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Span(Reply):
    """Characters ``start`` to ``end`` of the context with this index."""

    context: int
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement(Reply):
    """A statement of an answer; ``verdict`` is how far the contexts support it, from 0 to 1."""

    text: str
    verdict: float
    reason: str = ""
    passage: Span | None = None  #: what supports it best; None where nothing does


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment(Reply):
    """What one verifier says of an answer; with weight 0 it does not count."""

    verifier: str
    score: float
    weight: float = 1.0
    faithfulness: float | None = None
    relevancy: float | None = None
    defect: str | None = None
    detail: str = ""
    judge: Raw = field(default_factory=dict)
    statements: tuple[Statement, ...] = ()
    reverse_questions: tuple[str, ...] = ()
    prompt_tokens: int = 0
    completion_tokens: int = 0
    duration_ms: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification(Reply):
    """An answer's scores, or in ``reason`` why it has none."""

    status: str  #: ``completed`` or ``failed``
    reason: str | None = None
    score: float | None = None
    faithfulness: float | None = None
    relevancy: float | None = None
    confidence: str | None = None
    defect: str | None = (
        None  #: what is wrong with the answer, in a word; None where nothing is known
    )
    assessments: tuple[Assessment, ...] = ()
    duration_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate(Reply):
    """One answer of a batch; ``verification`` is None until it is verified."""

    candidate_index: int
    answer: str
    event_id: str
    temperature: float
    seed: int
    model: str
    finish_reason: str  #: ``stop``, ``length`` where the token limit cut it, or ``unknown``
    usage: Usage = NO_TOKENS
    reasoning_chars: int = 0  #: characters of reasoning that the model wrote besides
    verification: Verification | None = None

    @property
    def score(self) -> float | None:
        """Its score; None where it has none, or none yet."""
        return self.verification.score if self.verification else None


def _flat(data: Any) -> Any:
    """A candidate with its metadata beside its answer."""
    if isinstance(data, dict) and isinstance(data.get("metadata"), dict):
        return data | data["metadata"]
    return data


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome(Reply):
    """How a batch was decided: a pair, or in ``reason`` why it makes none.

    ``chosen`` and ``rejected`` are indices of candidates: best and worst, if they were ranked.
    """

    pair: bool
    detail: str
    decided_at: datetime
    reason: str | None = None
    chosen: int | None = None
    rejected: int | None = None
    chosen_score: float | None = None
    rejected_score: float | None = None
    score_diff: float | None = None
    rule: Raw = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch(Whole):
    """A question with its answers, as far as they are verified and decided."""

    batch_id: str
    correlation_id: str
    question: str
    contexts: tuple[Context, ...]
    candidates: tuple[Annotated[Candidate, BeforeValidator(_flat)], ...]
    kind: str | None = None
    references: tuple[str, ...] = ()
    created_at: datetime | None = None
    outcome: Outcome | None = None  #: None while it is being verified

    @property
    def chosen(self) -> Candidate | None:
        """The answer that a pair prefers; None where there is no pair."""
        return self._of_pair(self.outcome.chosen) if self.outcome else None

    @property
    def rejected(self) -> Candidate | None:
        """The answer that a pair prefers the other to; None where there is no pair."""
        return self._of_pair(self.outcome.rejected) if self.outcome else None

    def _of_pair(self, index: int | None) -> Candidate | None:
        assert self.outcome is not None
        return self.candidates[index] if self.outcome.pair and index is not None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLine(Whole):
    """A batch in a list: ``outcome`` is ``pair``, ``open``, or why it made none.

    ``chosen`` and ``rejected`` are the first 240 characters of best and worst answer.
    """

    batch_id: str
    correlation_id: str
    question: str
    created_at: datetime
    outcome: str
    decided_at: datetime | None = None
    detail: str | None = None
    chosen_score: float | None = None
    rejected_score: float | None = None
    score_diff: float | None = None
    models: tuple[str, ...] = ()
    num_candidates: int = 0
    chosen: str | None = None
    rejected: str | None = None
    review: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Whole):
    """Some lines of a list; ``next`` is where the next ones begin, None at its end."""

    batches: Wholes[BatchLine]
    total: int = 0
    next: str | None = None
    past_retention: int = 0  #: batches that only the files have


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram(Whole):
    """How often a figure fell into each step from ``low`` to ``high``."""

    of: str
    counts: tuple[int, ...]
    low: float = 0.0
    high: float = 1.0
    step: float = 0.01
    total: int = 0
    missing: int = 0  #: batches that fit and have no such figure

    @property
    def edges(self) -> tuple[float, ...]:
        """Where the steps begin, and at the end where the last one ends."""
        steps = len(self.counts)
        return tuple(self.low + (self.high - self.low) * i / steps for i in range(steps + 1))

    def at_least(self, threshold: float) -> int:
        """How many fell into steps that begin at the threshold or above it."""
        first = round((threshold - self.low) / self.step, 9)
        return sum(count for i, count in enumerate(self.counts) if i >= first)


# Documents.


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDocument(Reply):
    """A document that can be searched, and its number of passages."""

    document_id: str
    source: str
    num_chunks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestedDocument(Whole):
    """What became of a document; ``changed`` is False where just this was stored already."""

    document_id: str
    source: str
    num_chunks: int
    changed: bool
    content_id: str = ""


# Review.


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewAnswer(Reply):
    """One side of what is to be reviewed."""

    candidate: int
    answer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewTask(Whole):
    """A pair without its scores, in random order, for a person to judge."""

    batch_id: str
    question: str
    contexts: tuple[Context, ...]
    a: ReviewAnswer
    b: ReviewAnswer
    left: int = 0  #: pairs without a review, this one included


@dataclass(frozen=True, slots=True, kw_only=True)
class Review(Whole):
    """What a person said of a pair: of candidates ``a`` and ``b``, which is better.

    ``review`` is what that is beside the outcome: ``agree``, ``disagree``, ``tie``, ``discard``.
    """

    seq: int
    batch_id: str = ""
    a: int | None = None
    b: int | None = None
    verdict: str = ""
    review: str = ""
    note: str = ""
    reviewer: str = ""
    reviewed_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewSummary(Whole):
    """How far reviewers agree with the judge; ``low`` to ``high`` holds it with 95 %."""

    reviewed: int
    agree: int = 0
    disagree: int = 0
    tie: int = 0
    discard: int = 0
    agreement: float | None = None  #: share among agree and disagree
    low: float | None = None
    high: float | None = None
    left: int = 0
