"""Filters of batches, and the summary of a batch in a list."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple, get_args

from rlvr_ray.core.records import Batch, Outcome, Reason
from rlvr_ray.dataset.reviews import Verdict
from rlvr_ray.dataset.rows import Row

Measure = Literal["score_diff", "chosen_score", "rejected_score"]
MEASURES: tuple[Measure, ...] = get_args(Measure)

PAIR, NO_PAIR, OPEN = "pair", "no_pair", "open"
#: What ``Filter.outcomes`` may hold.
OUTCOMES = (PAIR, NO_PAIR, OPEN, *(reason.value for reason in Reason))
UNREVIEWED = "none"
#: What ``Filter.review`` may be.
REVIEWS = (UNREVIEWED, *(verdict.value for verdict in Verdict))

#: Of a histogram, each 0.01 wide.
BINS = 100
#: A score as a whole number, so that sums and limits are exact.
MILLION = 10**6
#: Characters of an answer that a list shows.
SHOWN = 240
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which batches are wanted: all that is given must hold, bounds included."""

    outcomes: tuple[str, ...] = ()  #: any of ``OUTCOMES``
    model: str | None = None  #: that wrote any of the answers
    min_score: float | None = None  #: of the best answer
    max_score: float | None = None
    min_margin: float | None = None
    max_margin: float | None = None
    since: datetime | None = None  #: decided then or later; while undecided, asked
    until: datetime | None = None  #: before this
    text: str | None = None  #: in the question or an answer, in any case
    correlation_id: str | None = None
    review: str | None = None  #: one of ``REVIEWS``

    @property
    def wants_open(self) -> bool:
        """Whether batches that are being verified can fit."""
        figures = (self.min_score, self.max_score, self.min_margin, self.max_margin)
        return (
            (not self.outcomes or OPEN in self.outcomes)
            and figures == (None,) * len(figures)
            and self.review in (None, UNREVIEWED)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """How often a measure has which value: ``counts[i]`` from i/100 on; 1.0 is in the last."""

    counts: tuple[int, ...] = field(default=(0,) * BINS)
    missing: int = 0  #: batches that have no such value

    @property
    def total(self) -> int:
        """Batches that have one."""
        return sum(self.counts)


def summed(parts: Iterable[Histogram]) -> Histogram:
    """One histogram of several."""
    whole = Histogram()
    for part in parts:
        whole = Histogram(
            counts=tuple(a + b for a, b in zip(whole.counts, part.counts, strict=True)),
            missing=whole.missing + part.missing,
        )
    return whole


def millionths(value: float) -> int:
    """A score as a whole number."""
    return round(value * MILLION)


def micros(time: datetime) -> int:
    """Microseconds since 1970."""
    return (time - _EPOCH) // _MICROSECOND


def says(batch: Batch, text: str) -> bool:
    """Whether the question or an answer has this text, letter by letter, in whatever case."""
    wanted = text.lower()
    texts = (batch.question, *(candidate.answer for candidate in batch.candidates))
    return any(wanted in one.lower() for one in texts)


def models(batch: Batch) -> tuple[str, ...]:
    """Those that wrote its answers, each once."""
    return tuple(dict.fromkeys(candidate.model for candidate in batch.candidates))


class Entry(NamedTuple):
    """What is searched of a decided batch."""

    at: int  #: when it was decided, see ``micros``
    outcome: str  #: ``PAIR``, or a reason
    chosen: int | None  #: scores, see ``millionths``; None where it was not ranked
    rejected: int | None
    models: tuple[str, ...]
    correlation_id: str


def entry_of(batch: Batch, outcome: Outcome) -> Entry:
    """The one of a batch."""
    best, other = outcome.chosen_score, outcome.rejected_score
    return Entry(
        at=micros(outcome.decided_at),
        outcome=outcome.reason.value if outcome.reason else PAIR,
        chosen=None if best is None else millionths(best),
        rejected=None if other is None else millionths(other),
        models=models(batch),
        correlation_id=batch.correlation_id,
    )


def line(batch: Batch, outcome: Outcome | None, verdict: Verdict | None) -> Row:
    """What a list shows of a batch."""

    def shown(index: int | None) -> str | None:
        return None if index is None else batch.candidates[index].answer[:SHOWN]

    return {
        "batch_id": str(batch.batch_id),
        "correlation_id": batch.correlation_id,
        "question": batch.question,
        "created_at": batch.created_at.isoformat(),
        "decided_at": outcome and outcome.decided_at.isoformat(),
        "outcome": (outcome.reason.value if outcome.reason else PAIR) if outcome else OPEN,
        "detail": outcome.detail if outcome else "",
        "chosen_score": outcome and outcome.chosen_score,
        "rejected_score": outcome and outcome.rejected_score,
        "score_diff": outcome and outcome.score_diff,
        "models": list(models(batch)),
        "num_candidates": len(batch.candidates),
        "chosen": shown(outcome.chosen) if outcome else None,
        "rejected": shown(outcome.rejected) if outcome else None,
        "review": verdict and verdict.value,
    }


def reasons(outcomes: Sequence[str]) -> list[str]:
    """The outcomes of decided batches that are meant: ``no_pair`` is every reason."""
    found = {name for name in outcomes if name not in (OPEN, NO_PAIR)}
    if NO_PAIR in outcomes:
        found |= {reason.value for reason in Reason}
    return sorted(found)
