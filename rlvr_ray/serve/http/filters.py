"""The query parameters that filter batches, the same on every route."""

import re
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import Depends, Query
from pydantic import BeforeValidator, Field

from rlvr_ray.dataset.filters import OUTCOMES, REVIEWS, Filter

if TYPE_CHECKING:
    Outcome = str
    Reviewed = str
else:  # what may be asked for is what there is
    Outcome, Reviewed = Literal[OUTCOMES], Literal[REVIEWS]
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def _moment(given: Any, *, end: bool) -> datetime | None:
    """A time with a zone, UTC where none is given; of a date the day's start, or its end."""
    text = str(given).strip()
    if not text:
        return None
    try:
        if _DATE.fullmatch(text):
            day = datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)
            return day + timedelta(days=1) if end else day
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(
            "must be a date or a time such as 2026-11-25 or 2026-11-25T08:00:00Z"
        ) from None


def _start(given: Any) -> datetime | None:
    return _moment(given, end=False)


def _end(given: Any) -> datetime | None:
    return _moment(given, end=True)


def _or_none(given: Any) -> Any:
    """A field of a form that was left empty asks for nothing."""
    return None if given == "" else given


Empty = BeforeValidator(_or_none)
Score = Annotated[Annotated[float, Field(ge=0, le=1)] | None, Empty]
Words = Annotated[Annotated[str, Field(max_length=200)] | None, Empty]


def _filter(
    outcome: Annotated[
        list[Outcome] | None,
        Query(
            description="Any of these outcomes; `no_pair` means any reason, `open` not decided yet."
        ),
    ] = None,
    model: Words = None,
    min_score: Score = None,
    max_score: Score = None,
    min_margin: Score = None,
    max_margin: Score = None,
    since: Annotated[
        datetime | None,
        BeforeValidator(_start),
        Query(description="Decided (or asked, while open) at this date or time, or later."),
    ] = None,
    until: Annotated[
        datetime | None,
        BeforeValidator(_end),
        Query(description="Before this time, or until the end of this date."),
    ] = None,
    text: Words = None,
    correlation_id: Words = None,
    review: Annotated[Reviewed | None, Empty, Query(description="The latest, or none.")] = None,
) -> Filter:
    return Filter(
        outcomes=tuple(outcome or ()),
        model=model,
        min_score=min_score,
        max_score=max_score,
        min_margin=min_margin,
        max_margin=max_margin,
        since=since,
        until=until,
        text=text,
        correlation_id=correlation_id,
        review=review,
    )


Where = Annotated[Filter, Depends(_filter)]
