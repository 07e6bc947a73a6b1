"""Scoring: the mean of two metrics, and what it is called."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr_ray.core.scoring import confidence, score
from tests.builders import batch, verification
from tests.unit.strategies import MILLION, millionths, verifications

FIRST = batch().candidates[0]


@pytest.mark.parametrize(
    ("faithfulness", "relevancy", "expected"),
    [
        (0.0, 0.0, 0.0),
        (1.0, 1.0, 1.0),
        (1.0, 0.0, 0.5),
        (0.9, 0.5, 0.7),
        (0.1, 0.2, 0.15),  # the floats' mean is 0.15000000000000002
        (0.7, 0.1, 0.4),
        (0.333333, 0.666667, 0.5),
    ],
)
def test_the_score_is_the_mean(faithfulness: float, relevancy: float, expected: float) -> None:
    assert score(verification(FIRST, faithfulness, relevancy)) == expected
    assert score(verification(FIRST, relevancy, faithfulness)) == expected


@given(millionths, millionths)
def test_the_score_is_exact_to_six_places(faithfulness: int, relevancy: int) -> None:
    value = score(verification(FIRST, faithfulness / MILLION, relevancy / MILLION))
    exact = Decimal(faithfulness + relevancy) / (2 * MILLION)
    assert abs(Decimal(repr(value)) - exact) <= Decimal("0.0000005")
    assert Decimal(repr(value)) * MILLION % 1 == 0
    if (faithfulness + relevancy) % 2 == 0:
        assert value == (faithfulness + relevancy) // 2 / MILLION


@given(verifications)
def test_the_score_lies_between_its_metrics(record) -> None:
    low, high = sorted((record.faithfulness, record.relevancy))
    assert 0 <= low <= score(record) <= high <= 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1.0, "high"),
        (0.700001, "high"),
        (0.7, "medium"),
        (0.500001, "medium"),
        (0.5, "low"),
        (0.499999, "low"),
        (0.0, "low"),
    ],
)
def test_confidence_at_its_boundaries(value: float, expected: str) -> None:
    assert confidence(value) == expected


def test_a_score_that_is_0_7_but_for_float_error_is_medium() -> None:
    assert pytest.approx(0.7) == (0.8 + 0.6) / 2
    assert confidence(score(verification(FIRST, 0.8, 0.6))) == "medium"
    assert confidence(score(verification(FIRST, 0.9, 0.1))) == "low"


@given(st.floats(0, 1), st.floats(0, 1))
def test_more_score_is_never_less_confidence(one: float, other: float) -> None:
    order = ["low", "medium", "high"]
    low, high = sorted((one, other))
    assert order.index(confidence(low)) <= order.index(confidence(high))
