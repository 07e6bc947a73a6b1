"""The records that rooms exchange and the ledger keeps, as immutable values that are always valid.

Scores are finite numbers in [0, 1], rounded to six places so that files read well and differences
are exact; times are aware UTC datetimes; texts are valid Unicode without NUL.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from rlvr_ray.core import ids
from rlvr_ray.core.fields import DIGITS, MAX_COUNT, clean_text, unit_interval, utc, whole

COSINE_ERROR = 1e-5  #: by which a cosine of float32 unit vectors may exceed 1
MAX_INTEGER = 2**63 - 1  #: of other integers: a column of a Parquet file holds no larger one
MAX_SEED = 2**31 - 1  #: what every engine takes
#: What a context's metadata must be where it is there: columns of the Parquet files.
METADATA: Mapping[str, type] = {
    "document_id": str,
    "source": str,
    "chunk_index": int,
    "start": int,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """A retrieved passage: ``score`` is its cosine with the question, in [-1, 1]."""

    content: str
    score: float
    metadata: Mapping[str, str | int]  #: document_id, source, chunk_index, start (character offset)

    def __post_init__(self) -> None:
        clean_text("context", self.content)
        for key, value in self.metadata.items():
            clean_text("a key of metadata", key)
            if isinstance(value, str):
                clean_text(key, value)
            elif isinstance(value, int):
                whole(key, value, -MAX_INTEGER, MAX_INTEGER)
            else:
                continue
            if key in METADATA and not isinstance(value, METADATA[key]):
                raise ValueError(f"a context's {key} must be of type {METADATA[key].__name__}")
        if not abs(self.score) <= 1 + COSINE_ERROR:
            raise ValueError(f"a context's score must be a cosine, not {self.score}")
        cosine = min(max(float(self.score), -1.0), 1.0)
        object.__setattr__(self, "score", round(cosine, DIGITS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one sample; ``cached_tokens`` of the prompt were not computed again."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
        )

    def scaled(self, factor: float) -> "Usage":
        """So many times as much, in whole tokens."""
        return Usage(
            prompt_tokens=round(self.prompt_tokens * factor),
            completion_tokens=round(self.completion_tokens * factor),
            cached_tokens=round(self.cached_tokens * factor),
        )


NO_TOKENS = Usage(prompt_tokens=0, completion_tokens=0)


def tokens(usage: Usage) -> None:
    """Raise ValueError where a record cannot keep these; sums of many records may be larger."""
    for name in ("prompt_tokens", "completion_tokens", "cached_tokens"):
        whole(name, getattr(usage, name, None))


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One answer of a batch and how it came about."""

    event_id: UUID
    index: int
    answer: str
    temperature: float
    seed: int
    model: str
    #: ``stop``, ``length`` where the token limit cut it, ``unknown`` where the server did not say.
    finish_reason: str
    usage: Usage
    reasoning_chars: int = 0  #: characters of reasoning that the model wrote besides

    def __post_init__(self) -> None:
        for name in ("answer", "model", "finish_reason"):
            clean_text(name, getattr(self, name))
        if not math.isfinite(self.temperature) or self.temperature < 0:
            raise ValueError(f"temperature must be a number from 0, not {self.temperature}")
        whole("seed", self.seed, most=MAX_SEED)
        whole("reasoning_chars", self.reasoning_chars)
        tokens(self.usage)


class Kind(StrEnum):
    """What a batch is for."""

    PREFERENCE = "preference"  #: several candidates, best against worst
    SINGLE = "single"  #: one answer, kept as training data


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One question, the contexts that the model saw, and its candidates in index order."""

    batch_id: UUID
    correlation_id: str
    kind: Kind
    question: str
    contexts: tuple[Context, ...]
    candidates: tuple[Candidate, ...]
    prompt_version: str
    created_at: datetime
    references: tuple[
        str, ...
    ] = ()  #: right answers, any of them, where the question came with some
    asked_at: datetime | None = None  #: when it was asked; ``created_at`` is when it was answered
    fingerprint: str | None = None  #: of the request, where it came with an Idempotency-Key

    def __post_init__(self) -> None:
        clean_text("question", self.question)
        for reference in self.references:
            clean_text("reference", reference)
        clean_text("correlation_id", self.correlation_id)
        clean_text("prompt_version", self.prompt_version)
        object.__setattr__(self, "created_at", utc("created_at", self.created_at))
        if self.asked_at is not None:
            object.__setattr__(self, "asked_at", utc("asked_at", self.asked_at))
        expected = [(i, ids.answer_event(self.batch_id, i)) for i in range(len(self.candidates))]
        if not expected or [(c.index, c.event_id) for c in self.candidates] != expected:
            raise ValueError("candidates must be complete, in index order, with derived ids")


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One claim of an answer: ``verdict`` 1 is supported by the contexts, 0 is not."""

    text: str
    verdict: float
    reason: str

    def __post_init__(self) -> None:
        clean_text("statement", self.text)
        clean_text("reason", self.reason)
        object.__setattr__(self, "verdict", unit_interval("verdict", self.verdict))


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """What produced an assessment; a field is empty where no such thing took part."""

    faithfulness: str  #: ``ragas`` (an LLM's verdicts), ``logprob`` (their probabilities), ...
    relevancy: str  #: likewise
    model: str  #: the LLM that wrote or weighed verdicts, statements and questions
    embedder: str
    version: str  #: hash of the prompts and of the code that shapes the score
    engine: str = ""  #: where the LLM ran: ``llamacpp``, ``openai``, ...

    def __post_init__(self) -> None:
        for name in ("faithfulness", "relevancy", "model", "embedder", "version", "engine"):
            clean_text(name, getattr(self, name))


class Defect(StrEnum):
    """What is wrong with an answer: without one, an answer is never a pair's rejected one."""

    UNSUPPORTED = "unsupported"  #: it states what the contexts do not say
    UNSUPPORTED_NUMBER = (
        "unsupported_number"  #: a number or unit that they have not, or not of this
    )
    UNSUPPORTED_NAME = "unsupported_name"  #: a name that they have not
    OTHER_SUBJECT = "other_subject"  #: what they say of something else than the question asks about
    CONTRADICTION = "contradiction"  #: the opposite of what they say
    OFF_TOPIC = "off_topic"  #: something else than the question asks for
    ECHO = "echo"  #: the question again, and nothing besides
    INCOMPLETE = "incomplete"  #: a part of the question is not answered
    REFUSAL = "refusal"  #: it says that the contexts do not answer, and they do
    EMPTY = "empty"  #: nothing is said
    LOOP = "loop"  #: the same over and over
    CUT_OFF = "cut_off"  #: it breaks off
    DUMP = "dump"  #: a passage is copied, of which the question asks for a part
    BROKEN = "broken"  #: reasoning, control tokens or other markup instead of an answer
    OTHER_LANGUAGE = "other_language"  #: not the question's language
    WRONG = "wrong"  #: not what a reference, a pattern or a schema asks for
    LOW_SCORE = "low_score"  #: a verifier that names no defect gives it a low score


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """What one verifier says of an answer, with all that explains it.

    ``verifier`` and ``weight`` are the panel's to fill in. One of weight 0 is a check: the
    others are compared with it, and it does not count in the score.
    """

    score: float
    judge: Judge
    verifier: str = ""  #: its name in the settings
    weight: float = 1.0  #: its share of the score
    faithfulness: float | None = None
    relevancy: float | None = None
    defect: Defect | None = None  #: what it finds wrong with the answer; ``detail`` says more
    detail: str = ""  #: one sentence for people
    statements: tuple[Statement, ...] = ()
    reverse_questions: tuple[str, ...] = ()
    usage: Usage = field(default_factory=lambda: Usage(prompt_tokens=0, completion_tokens=0))
    duration_ms: int = 0

    def __post_init__(self) -> None:
        clean_text("verifier", self.verifier)
        clean_text("detail", self.detail)
        for question in self.reverse_questions:
            clean_text("reverse question", question)
        for name in ("score", "faithfulness", "relevancy"):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, unit_interval(name, value))
        if not 0 <= self.weight <= MAX_COUNT:
            raise ValueError(f"a weight must be a number from 0, not {self.weight}")
        whole("duration_ms", self.duration_ms)
        tokens(self.usage)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """A candidate's scores: what each verifier says. At least one of them counts."""

    answer_event_id: UUID
    assessments: tuple[Assessment, ...]
    duration_ms: int
    completed_at: datetime

    def __post_init__(self) -> None:
        object.__setattr__(self, "completed_at", utc("completed_at", self.completed_at))
        if not any(assessment.weight for assessment in self.assessments):
            raise ValueError("a verification needs an assessment that counts")
        whole("duration_ms", self.duration_ms)

    @property
    def faithfulness(self) -> float | None:
        """The weighted mean over the assessments that have one."""
        return weighted((a.faithfulness, a.weight) for a in self.assessments)

    @property
    def relevancy(self) -> float | None:
        """The weighted mean over the assessments that have one."""
        return weighted((a.relevancy, a.weight) for a in self.assessments)

    @property
    def usage(self) -> Usage:
        """Tokens of all assessments."""
        return sum((a.usage for a in self.assessments), Usage(prompt_tokens=0, completion_tokens=0))


def weighted(values: Iterable[tuple[float | None, float]]) -> float | None:
    """The mean of (value, weight) over the values that are there and count; None if none is."""
    found = [(value, weight) for value, weight in values if value is not None and weight]
    if not found:
        return None
    total = math.fsum(value * weight for value, weight in found)
    return round(total / math.fsum(weight for _, weight in found), DIGITS)


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedVerification:
    """A candidate that no judge could score. It has a reason, and never a number."""

    answer_event_id: UUID
    reason: str
    attempts: int
    completed_at: datetime

    def __post_init__(self) -> None:
        clean_text("reason", self.reason)
        whole("attempts", self.attempts, least=1)
        object.__setattr__(self, "completed_at", utc("completed_at", self.completed_at))


class Reason(StrEnum):
    """Why a batch made no pair."""

    UNSCORED = "unscored"  #: fewer than two candidates have a score
    IDENTICAL_ANSWERS = "identical_answers"  #: best and worst say the same
    TIE = "tie"  #: best and worst score the same
    MARGIN_TOO_SMALL = "margin_too_small"
    CHOSEN_TOO_LOW = "chosen_too_low"  #: in score or faithfulness
    CHOSEN_DEFECT = "chosen_defect"  #: something is wrong with the best answer, too
    NO_DEFECT = "no_defect"  #: nothing is known to be wrong with the others
    QUALITY_FILTER = "quality_filter"  #: the filter is on and the best answer did not pass it
    LENGTH_RATIO = "length_ratio"  #: one answer is too much longer than the other
    SINGLE_ANSWER = "single_answer"  #: the batch never was to make a pair


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a batch ended: a pair (``reason`` is None) or no pair, with the figures that decided.

    ``chosen`` and ``rejected`` are candidate indices; they and the scores are None only where
    the batch could not be ranked.
    """

    batch_id: UUID
    reason: Reason | None
    chosen: int | None
    rejected: int | None
    chosen_score: float | None
    rejected_score: float | None
    rule: Mapping[str, int | float | bool | str]  #: the PairingRule in force
    decided_at: datetime
    detail: str = field(default="")  #: one sentence for people

    def __post_init__(self) -> None:
        object.__setattr__(self, "decided_at", utc("decided_at", self.decided_at))
        clean_text("detail", self.detail)
        for name in ("chosen_score", "rejected_score"):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, unit_interval(name, value))
        if self.reason is not None:
            return
        if self.score_diff is None or self.score_diff <= 0:
            raise ValueError("a pair needs a positive margin")
        if self.chosen is None or self.rejected is None or self.chosen == self.rejected:
            raise ValueError("a pair needs two candidates")

    @property
    def month(self) -> str:
        """The UTC month whose files hold it, YYYYMM."""
        return f"{self.decided_at:%Y%m}"

    @property
    def score_diff(self) -> float | None:
        """Chosen minus rejected, exact to six places; None where the batch was not ranked."""
        if self.chosen_score is None or self.rejected_score is None:
            return None
        return round(self.chosen_score - self.rejected_score, DIGITS)
