"""Batches: a question with its answers, their verifications and the outcome."""

from dataclasses import field
from datetime import datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

from rlvr_ray.client.models.base import Raw, Reply, Time, Whole
from rlvr_ray.core.records import NO_TOKENS, Usage


class Context(Reply):
    """A retrieved passage; ``score`` is its cosine with the question, in [-1, 1]."""

    content: str
    score: float
    metadata: Raw = field(default_factory=dict)  #: document_id, source, chunk_index, start

    @property
    def source(self) -> str:
        """The document that it is from."""
        return str(self.metadata.get("source", ""))


class Span(Reply):
    """Characters ``start`` to ``end`` of the context with this index."""

    context: int
    start: int
    end: int


class Statement(Reply):
    """A statement of an answer; ``verdict`` is how far the contexts support it, from 0 to 1."""

    text: str
    verdict: float
    reason: str = ""
    passage: Span | None = None  #: what supports it best; None where nothing does


class Assessment(Reply):
    """The result of one verifier for an answer; with weight 0 it does not count."""

    verifier: str
    weight: float = 1.0
    score: float
    faithfulness: float | None = None
    relevancy: float | None = None
    defect: str | None = None
    detail: str = ""
    judge: Raw = field(default_factory=dict)
    statements: tuple[Statement, ...] = ()
    reverse_questions: tuple[str, ...] = ()
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    duration_ms: int = 0


class Verification(Reply):
    """An answer's scores, or ``reason`` says why it has none."""

    status: str  #: ``completed`` or ``failed``
    reason: str | None = None
    faithfulness: float | None = None
    relevancy: float | None = None
    score: float | None = None
    confidence: str | None = None
    #: What is wrong with the answer, in a word; None where nothing is known.
    defect: str | None = None
    assessments: tuple[Assessment, ...] = ()
    duration_ms: int | None = None


class AnswerMetadata(Reply):
    """How an answer was generated."""

    event_id: str
    temperature: float
    seed: int
    model: str
    finish_reason: str  #: ``stop``, ``length`` where the token limit cut it, or ``unknown``
    usage: Usage = NO_TOKENS
    reasoning_chars: int = 0  #: characters of reasoning that the model wrote besides
    candidate_index: int


class Candidate(AnswerMetadata):
    """One answer of a batch; ``verification`` is None until it is verified."""

    answer: str
    verification: Verification | None = None

    @property
    def score(self) -> float | None:
        """Its score; None where it has none, or none yet."""
        return self.verification.score if self.verification else None


class Answer(Reply):
    """An answer before its verification."""

    answer: str
    metadata: AnswerMetadata


class VerifiedAnswer(Answer):
    """A candidate with its verification."""

    verification: Verification | None


def _flat(data: Any) -> Any:
    if isinstance(data, dict) and isinstance(data.get("metadata"), dict):
        return data | data["metadata"]
    return data


def _nested(value: Candidate) -> VerifiedAnswer:
    return VerifiedAnswer(answer=value.answer, metadata=value, verification=value.verification)


class Outcome(Reply):
    """The outcome of a batch: a pair, or ``reason`` says why there is none.

    ``chosen`` and ``rejected`` are indices of candidates: best and worst, if they were ranked.
    """

    batch_id: str = ""
    reason: str | None = None
    chosen: int | None = None
    rejected: int | None = None
    chosen_score: float | None = None
    rejected_score: float | None = None
    rule: Raw = field(default_factory=dict)
    decided_at: datetime
    detail: str
    pair: bool
    score_diff: float | None = None


class AskedBatch(Whole):
    """What a question was answered from."""

    batch_id: str
    correlation_id: str
    question: str
    contexts: tuple[Context, ...]


class OneAnswer(AskedBatch):
    """The reply to an ask of one answer."""

    answer: str
    metadata: AnswerMetadata


class SeveralAnswers(AskedBatch):
    """The reply to an ask of several; ``Batch`` reads it, too."""

    candidates: tuple[Answer, ...]
    num_candidates: int


class AskDefaults(Reply):
    """Defaults of the fields that an ask leaves out."""

    num_candidates: int
    temperatures: tuple[float, ...]
    top_k: int


class Batch(AskedBatch):
    """A question with its answers, as far as they are verified and decided."""

    kind: str | None = None
    references: tuple[str, ...] = ()
    prompt_version: str = ""
    state: str = "open"  #: or ``decided``
    created_at: Time | None = None
    candidates: tuple[Annotated[Candidate, BeforeValidator(_flat), PlainSerializer(_nested)], ...]
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
