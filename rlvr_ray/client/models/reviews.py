"""Reviews of pairs by people."""

from typing import Literal

from rlvr_ray.client.models.base import Reply, Time, Whole, Wholes
from rlvr_ray.client.models.batches import Context

Verdict = Literal["a", "b", "tie", "discard"]


class ReviewAnswer(Reply):
    """One of the two answers to review."""

    candidate: int
    answer: str


class ReviewTask(Whole):
    """A pair without its scores, in random order, for a person to judge."""

    batch_id: str
    question: str
    contexts: tuple[Context, ...]
    a: ReviewAnswer
    b: ReviewAnswer
    left: int = 0  #: pairs without a review, this one included


class Review(Whole):
    """A person's verdict on a pair: which of candidates ``a`` and ``b`` is better.

    ``review`` compares it with the outcome: ``agree``, ``disagree``, ``tie``, ``discard``.
    """

    seq: int
    review_id: str = ""
    batch_id: str = ""
    a: int | None = None
    b: int | None = None
    verdict: str = ""
    review: str = ""
    note: str = ""
    reviewer: str = ""
    reviewed_at: Time | None = None


class ReviewSummary(Whole):
    """The agreement of reviewers with the judge; ``low`` to ``high`` is its 95 % interval."""

    reviewed: int
    agree: int = 0
    disagree: int = 0
    tie: int = 0
    discard: int = 0
    agreement: float | None = None  #: share among agree and disagree
    low: float | None = None
    high: float | None = None
    left: int = 0


class Reviews(Reply):
    """All reviews of a batch, oldest first."""

    reviews: Wholes[Review]
