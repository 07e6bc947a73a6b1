"""The routes of reviews: blind, and only ever added."""

from typing import Annotated, Any
from uuid import UUID, uuid4

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from rlvr_ray.client.models.reviews import Review, Reviews, ReviewSummary, ReviewTask
from rlvr_ray.core import ids
from rlvr_ray.dataset import reviews, rows
from rlvr_ray.dataset.reviews import ReviewChoice, Verdict
from rlvr_ray.serve.http.bodies import Key
from rlvr_ray.serve.http.filters import Where
from rlvr_ray.serve.http.services import Services

#: Batches that a reviewer may leave for later.
MAX_SEEN = 200
MAX_NOTE, MAX_REVIEWER = 2000, 100


class ReviewBody(BaseModel):
    """A verdict on a pair: which answer is better, A or B, or neither."""

    model_config = ConfigDict(extra="forbid")

    batch_id: UUID
    a: int = Field(ge=0, description="The candidate that was shown as A.")
    b: int = Field(ge=0, description="The candidate that was shown as B.")
    verdict: ReviewChoice
    note: str = Field(default="", max_length=MAX_NOTE)
    reviewer: str = Field(default="", max_length=MAX_REVIEWER)


def routes(services: Services) -> APIRouter:
    """The next pair, its reviews, and how far people and judge agree."""
    router = APIRouter(tags=["review"])
    archive = services.archive

    @router.get(
        "/reviews/next",
        response_model=ReviewTask,
        responses={204: {"description": "Nothing is left."}},
    )
    async def next_review(
        where: Where,
        seen: Annotated[
            list[UUID] | None, Query(max_length=MAX_SEEN, description="Batches to leave out.")
        ] = None,
    ) -> Any:
        """A random pair without a review, with its answers in random order.

        Without scores and temperatures.
        """
        pair = await archive.next_pair(where, seen or ())
        if pair is None:
            return Response(status_code=204)
        batch = pair.batch
        return {
            "batch_id": str(batch.batch_id),
            "question": batch.question,
            "contexts": [rows.context(context) for context in batch.contexts],
            **{
                name: {"candidate": index, "answer": batch.candidates[index].answer}
                for name, index in (("a", pair.a), ("b", pair.b))
            },
            "left": pair.left,
        }

    @router.post("/reviews", status_code=201)
    async def add_review(body: ReviewBody, key: Key = None) -> Review:
        """Record a verdict. Earlier verdicts stay; the latest verdict of a batch counts."""
        seq, review = await archive.review(
            ids.derive("review", key) if key else uuid4(),
            body.batch_id,
            body.a,
            body.b,
            body.verdict,
            body.note,
            body.reviewer,
        )
        return _review(seq, review)

    @router.get("/reviews")
    async def list_reviews(batch_id: UUID) -> Reviews:
        """All reviews of a batch, oldest first."""
        return Reviews(reviews=tuple(_review(*each) for each in await archive.reviews(batch_id)))

    @router.get("/reviews/summary")
    async def summary(where: Where) -> ReviewSummary:
        """The agreement of reviewers with the judge, over the pairs that match the filters.

        `agreement` is the share of agree among agree and disagree, `low` and `high` its 95 %
        interval after Wilson; null where there is neither.
        """
        verdicts = await archive.verdicts(where)
        counts = reviews.counted(verdicts)
        found = reviews.agreement(counts[Verdict.AGREE], counts[Verdict.DISAGREE])
        return ReviewSummary(
            reviewed=sum(counts.values()),
            agree=counts[Verdict.AGREE],
            disagree=counts[Verdict.DISAGREE],
            tie=counts[Verdict.TIE],
            discard=counts[Verdict.DISCARD],
            agreement=found.share,
            low=found.low,
            high=found.high,
            left=verdicts.get(None, 0),
        )

    return router


def _review(seq: int, value: reviews.Review) -> Review:
    return Review(
        seq=seq,
        review_id=str(value.review_id),
        batch_id=str(value.batch_id),
        a=value.a,
        b=value.b,
        verdict=value.said,
        review=value.verdict.value,
        note=value.note,
        reviewer=value.reviewer,
        reviewed_at=value.reviewed_at,
    )
