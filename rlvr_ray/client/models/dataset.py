"""Lists of batches, and figures over many of them."""

from rlvr_ray.client.models.base import Reply, Time, Whole, Wholes


class BatchLine(Whole):
    """A batch in a list: ``outcome`` is ``pair``, ``open``, or why it made none.

    ``chosen`` and ``rejected`` are the first 240 characters of best and worst answer.
    """

    batch_id: str
    correlation_id: str
    question: str
    created_at: Time
    decided_at: Time | None = None
    outcome: str
    detail: str | None = None
    chosen_score: float | None = None
    rejected_score: float | None = None
    score_diff: float | None = None
    models: tuple[str, ...] = ()
    num_candidates: int = 0
    chosen: str | None = None
    rejected: str | None = None
    review: str | None = None


class Page(Whole):
    """A page of a list; ``next`` is the start of the following page, None at the end."""

    batches: Wholes[BatchLine]
    next: str | None = None
    total: int = 0
    past_retention: int = 0  #: batches that only the files have


class Histogram(Whole):
    """Counts of a figure in equal steps from ``low`` to ``high``."""

    of: str
    low: float = 0.0
    high: float = 1.0
    step: float = 0.01
    counts: tuple[int, ...]
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


class ModelNames(Reply):
    """The models that wrote answers of decided batches."""

    models: tuple[str, ...]
