"""Records: what exists is valid, and what is not valid cannot exist."""

import math
from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr_ray.core import ids
from rlvr_ray.core.fields import unit_interval
from rlvr_ray.core.records import (
    Assessment,
    Candidate,
    Kind,
    Outcome,
    Reason,
    Statement,
    Usage,
    Verification,
)
from tests.builders import (
    DECIDED,
    assessment,
    batch,
    candidate,
    context,
    failed,
    plain_assessment,
    verification,
)

BATCH = batch()
FIRST = BATCH.candidates[0]
NAIVE = datetime(2026, 3, 14, 9, 26, 53)
UNUSABLE = {"nul": "a\0b", "high surrogate": "a\ud800b", "low surrogate": "\udfff"}


def outcome(**changes: Any) -> Outcome:
    """A pair, unless told otherwise."""
    fields: dict[str, Any] = {
        "batch_id": BATCH.batch_id,
        "reason": None,
        "chosen": 0,
        "rejected": 1,
        "chosen_score": 0.9,
        "rejected_score": 0.4,
        "rule": {"min_score_diff": 0.05, "prompt": "question"},
        "decided_at": DECIDED,
    }
    return Outcome(**fields | changes)


def statement(**changes: Any) -> Statement:
    fields: dict[str, Any] = {"text": "Ray scales.", "verdict": 1.0, "reason": "it is there"}
    return Statement(**fields | changes)


# Scores.


def number(value: float | None) -> float:
    assert value is not None
    return value


SCORED: dict[str, Callable[[Any], float]] = {
    "score": lambda value: plain_assessment(value).score,
    "faithfulness": lambda value: number(assessment(value, score=0.5).faithfulness),
    "relevancy": lambda value: number(assessment(0.5, value, score=0.5).relevancy),
    "verdict": lambda value: statement(verdict=value).verdict,
}
scored = pytest.mark.parametrize("name", SCORED)


@scored
@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, -math.inf, -5e-324, -0.1, math.nextafter(1, 2), 1.0000005, 2, 1e308],
)
def test_what_is_no_score_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be a number from 0 to 1, not "):
        SCORED[name](value)


@scored
@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (0, 0.0),
        (-0.0, 0.0),
        (1, 1.0),
        (5e-324, 0.0),
        (math.nextafter(1, 0), 1.0),
        (0.1234564, 0.123456),
        (0.1234566, 0.123457),
        (1 / 3, 0.333333),
    ],
)
def test_scores_keep_six_places(name: str, value: float, kept: float) -> None:
    assert repr(SCORED[name](value)) == repr(kept)


@scored
@pytest.mark.parametrize("value", [1, True, np.float32(0.7), np.float64(0.7)], ids=repr)
def test_scores_are_plain_floats_of_six_places_whatever_number_came_in(
    name: str, value: Any
) -> None:
    """Otherwise a row reads ``1`` before the ledger and ``1.0`` after, or 0.699999988079071."""
    kept = SCORED[name](value)
    assert type(kept) is float
    assert repr(kept) in {"1.0", "0.7"}


@given(st.floats())
def test_any_float_is_kept_to_half_a_millionth_or_refused(value: float) -> None:
    if 0 <= value <= 1:
        kept = unit_interval("it", value)
        assert 0 <= kept <= 1
        assert abs(kept - value) <= 5.000001e-7
        assert unit_interval("it", kept) == kept
    else:
        with pytest.raises(ValueError, match="it must be"):
            unit_interval("it", value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_context_without_a_finite_score_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="context's score"):
        context(score=value)


@pytest.mark.parametrize("value", [1.1, -1.1, 42.0, 1e308])
def test_a_context_score_that_is_no_cosine_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="context's score"):
        context(score=value)


@pytest.mark.parametrize(
    ("value", "kept"),
    [(1.0000001, 1.0), (1.000009, 1.0), (-1.000009, -1.0), (-0.25, -0.25), (1 / 3, 0.333333)],
)
def test_a_cosine_may_miss_by_a_rounding_error(value: float, kept: float) -> None:
    """Unit vectors in float32 have products like 1.0000001."""
    assert context(score=value).score == kept


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_temperature_that_no_file_could_hold_is_refused(value: float) -> None:
    """JSON writes it as null, and the ledger's row could never be read again."""
    with pytest.raises(ValueError, match="temperature"):
        candidate(BATCH.batch_id, temperature=value)


# Texts.

TEXTS: dict[str, Callable[[str], object]] = {
    "question": lambda text: batch(question=text, batch_id=BATCH.batch_id),
    "correlation_id": lambda text: batch(correlation_id=text),
    "answer": lambda text: candidate(BATCH.batch_id, answer=text),
    "context": context,
    "reference": lambda text: batch(references=("right", text)),
}
#: Texts that come from a judge, an engine, or a file's name.
FOREIGN_TEXTS: dict[str, Callable[[str], object]] = {
    "model": lambda text: candidate(BATCH.batch_id, model=text),
    "metadata": lambda text: context(source=text),
    "statement": lambda text: statement(text=text),
    "statement's reason": lambda text: statement(reason=text),
    "reverse question": lambda text: verification(FIRST, reverse_questions=(text,)),
    "verifier": lambda text: assessment(verifier=text),
    "assessment's detail": lambda text: assessment(detail=text),
    "judge's engine": lambda text: assessment(judge=replace(assessment().judge, engine=text)),
    "judge's model": lambda text: assessment(judge=replace(assessment().judge, model=text)),
    "failure's reason": lambda text: failed(FIRST, text),
    "outcome's detail": lambda text: outcome(detail=text),
}
unusable = pytest.mark.parametrize("text", UNUSABLE.values(), ids=UNUSABLE)


@unusable
@pytest.mark.parametrize("name", TEXTS)
def test_texts_that_no_file_could_hold_are_refused(name: str, text: str) -> None:
    with pytest.raises(ValueError, match=f"{name} .*(NUL|Unicode)"):
        TEXTS[name](text)


@unusable
@pytest.mark.parametrize("name", FOREIGN_TEXTS)
def test_texts_of_others_that_no_file_could_hold_are_refused(name: str, text: str) -> None:
    """A surrogate would fail only when the ledger writes it, again after every restart."""
    with pytest.raises(ValueError, match=r"NUL|Unicode"):
        FOREIGN_TEXTS[name](text)


@pytest.mark.parametrize("name", [*TEXTS, *FOREIGN_TEXTS])
def test_every_other_text_is_kept(name: str) -> None:
    text = "\u2028 \x7f \x1b \ufffe 𐍈 \N{PILE OF POO} e\u0301 \r\n \u202e"
    assert repr(text)[1:-1] in repr((TEXTS | FOREIGN_TEXTS)[name](text))


# Times.

TIMED: dict[str, Callable[[datetime], datetime]] = {
    "created_at": lambda time: batch(created_at=time).created_at,
    "completed_at": lambda time: verification(FIRST, completed_at=time).completed_at,
    "failure": lambda time: replace(failed(FIRST), completed_at=time).completed_at,
    "decided_at": lambda time: outcome(decided_at=time).decided_at,
}
timed = pytest.mark.parametrize("name", TIMED)


@timed
def test_naive_times_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"_at must have a time zone$"):
        TIMED[name](NAIVE)


@timed
def test_times_are_kept_in_utc(name: str) -> None:
    kept = TIMED[name](NAIVE.replace(tzinfo=timezone(timedelta(hours=-5))))
    assert kept.isoformat() == "2026-03-14T14:26:53+00:00"
    assert kept.tzinfo is UTC


def test_the_month_of_an_outcome_is_the_utc_month() -> None:
    berlin = timezone(timedelta(hours=2))
    assert outcome(decided_at=datetime(2026, 5, 1, 1, 59, tzinfo=berlin)).month == "202604"
    assert outcome(decided_at=datetime(2026, 5, 1, 2, 0, tzinfo=berlin)).month == "202605"


# Candidates of a batch.


def _candidates(*indices: int, batch_id: UUID = BATCH.batch_id) -> tuple[Candidate, ...]:
    return tuple(candidate(batch_id, index) for index in indices)


@pytest.mark.parametrize(
    "candidates",
    [
        pytest.param((), id="none"),
        pytest.param(_candidates(1, 0), id="wrong order"),
        pytest.param(_candidates(0, 2), id="gap"),
        pytest.param(_candidates(1), id="first missing"),
        pytest.param(_candidates(0, 0), id="twice"),
        pytest.param(_candidates(0, 1, batch_id=ids.derive("another")), id="of another batch"),
        pytest.param(
            (replace(FIRST, event_id=ids.verification_event(BATCH.batch_id, 0)),), id="wrong id"
        ),
    ],
)
def test_candidates_must_be_the_batchs_own_complete_and_in_order(
    candidates: tuple[Candidate, ...],
) -> None:
    with pytest.raises(ValueError, match="candidates must be complete"):
        batch(batch_id=BATCH.batch_id, candidates=candidates)


@pytest.mark.parametrize("index", [1, -1, 7])
def test_a_candidates_index_must_be_its_place(index: int) -> None:
    """The outcome names candidates by index: a wrong one would pair the wrong answers."""
    stray = replace(FIRST, index=index)
    with pytest.raises(ValueError, match="candidates must be complete"):
        batch(batch_id=BATCH.batch_id, candidates=(stray, *BATCH.candidates[1:]))


# Assessments of an answer.


@pytest.mark.parametrize("weight", [math.nan, math.inf, -math.inf, -1, -5e-324])
def test_what_is_no_weight_is_refused(weight: float) -> None:
    with pytest.raises(ValueError, match="a weight must be a number from 0, not "):
        assessment(weight=weight)


@pytest.mark.parametrize(
    "assessments", [(), (assessment(weight=0.0), plain_assessment(1.0, weight=0))]
)
def test_a_verification_needs_an_assessment_that_counts(
    assessments: tuple[Assessment, ...],
) -> None:
    """A check alone is no verdict: the outcome would have no score to go by."""
    with pytest.raises(ValueError, match="needs an assessment that counts"):
        verification(FIRST, assessments=assessments)


def of(*assessments: Assessment) -> Verification:
    return verification(FIRST, assessments=assessments)


def test_metrics_are_means_over_those_that_count_and_have_them() -> None:
    found = of(
        assessment(0.9, 0.5, weight=3.0),
        assessment(0.1, 0.7, weight=1.0),
        plain_assessment(1.0, weight=5.0),  # has neither
        assessment(0.0, 0.0, weight=0.0),  # a check
    )
    assert (found.faithfulness, found.relevancy) == (0.7, 0.55)


def test_one_metric_may_be_there_without_the_other() -> None:
    found = of(assessment(0.4, None), plain_assessment(1.0))
    assert (found.faithfulness, found.relevancy) == (0.4, None)


def test_what_nobody_measured_is_no_number() -> None:
    only = of(plain_assessment(1.0), assessment(0.9, 0.9, weight=0.0))
    assert (only.faithfulness, only.relevancy) == (None, None)


def test_a_mean_keeps_six_places() -> None:
    found = of(*(assessment(value, value) for value in (1.0, 0.0, 0.0)))
    assert found.faithfulness == 0.333333


def test_usage_of_a_verification_is_that_of_all_its_assessments() -> None:
    usage = of(assessment(), plain_assessment(1.0), assessment(weight=0.0)).usage
    assert usage == Usage(prompt_tokens=400, completion_tokens=40)


# Outcomes.


@pytest.mark.parametrize(
    ("chosen", "rejected"),
    [(0.5, 0.5), (0.4, 0.5), (0.5000001, 0.5), (None, 0.5), (0.5, None), (None, None)],
)
def test_a_pair_without_a_positive_margin_is_refused(
    chosen: float | None, rejected: float | None
) -> None:
    with pytest.raises(ValueError, match="positive margin"):
        outcome(chosen_score=chosen, rejected_score=rejected)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -0.1, 1.1])
@pytest.mark.parametrize("name", ["chosen_score", "rejected_score"])
@pytest.mark.parametrize("reason", [None, Reason.CHOSEN_TOO_LOW])
def test_an_outcome_with_what_is_no_score_is_refused(
    reason: Reason | None, name: str, value: float
) -> None:
    with pytest.raises(ValueError, match=r"margin|score"):
        outcome(reason=reason, **{name: value})


@pytest.mark.parametrize(
    ("chosen", "rejected"), [(None, 1), (0, None), (None, None), (1, 1)], ids=repr
)
def test_a_pair_has_two_different_candidates(chosen: int | None, rejected: int | None) -> None:
    with pytest.raises(ValueError, match="pair"):
        outcome(chosen=chosen, rejected=rejected)


def test_a_batch_that_could_not_be_ranked_has_no_figures() -> None:
    unranked = outcome(
        reason=Reason.UNSCORED, chosen=None, rejected=None, chosen_score=None, rejected_score=None
    )
    assert unranked.score_diff is None


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_the_margin_is_exact_on_six_places(one: int, other: int) -> None:
    high, low = max(one, other), min(one, other)
    diff = outcome(
        reason=Reason.TIE, chosen_score=high / 10**6, rejected_score=low / 10**6
    ).score_diff
    assert diff == (high - low) / 10**6
    assert len(f"{diff!r}") <= len("0.123456")


# The values themselves.


@pytest.mark.parametrize(
    "record",
    [
        BATCH,
        FIRST,
        context(),
        verification(FIRST),
        assessment(),
        failed(FIRST),
        outcome(),
        statement(),
    ],
    ids=lambda record: type(record).__name__,
)
def test_records_cannot_be_changed(record: Any) -> None:
    name = next(iter(type(record).__dataclass_fields__))
    with pytest.raises(FrozenInstanceError):
        setattr(record, name, None)


def test_usage_adds_up() -> None:
    one = Usage(prompt_tokens=1, completion_tokens=20, cached_tokens=300)
    two = Usage(prompt_tokens=4_000, completion_tokens=50_000)
    assert one + two == Usage(prompt_tokens=4_001, completion_tokens=50_020, cached_tokens=300)


def test_the_builders_are_deterministic() -> None:
    assert batch() == batch()
    assert batch().batch_id != batch(question="Another?").batch_id
    assert batch().batch_id != batch(kind=Kind.SINGLE).batch_id
    assert verification(FIRST) == verification(FIRST)
