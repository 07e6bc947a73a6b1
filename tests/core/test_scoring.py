"""Scoring: the mean of what the verifiers say, and what it is called."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr_ray.core.records import Assessment
from rlvr_ray.core.scoring import confidence, mean, score
from tests.builders import assessment, batch, plain_assessment, verification
from tests.strategies import MILLION, millionths, verifications

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
    assert mean(faithfulness, relevancy) == mean(relevancy, faithfulness) == expected


@given(millionths, millionths)
def test_the_score_is_exact_to_six_places(faithfulness: int, relevancy: int) -> None:
    value = score(verification(FIRST, faithfulness / MILLION, relevancy / MILLION))
    exact = Decimal(faithfulness + relevancy) / (2 * MILLION)
    assert abs(Decimal(repr(value)) - exact) <= Decimal("0.0000005")
    assert Decimal(repr(value)) * MILLION % 1 == 0
    if (faithfulness + relevancy) % 2 == 0:
        assert value == (faithfulness + relevancy) // 2 / MILLION


@given(millionths, millionths)
def test_the_mean_lies_between_its_metrics(faithfulness: int, relevancy: int) -> None:
    low, high = sorted((faithfulness / MILLION, relevancy / MILLION))
    assert 0 <= low <= mean(low, high) <= high <= 1


@given(verifications)
def test_the_score_lies_between_those_that_count(record) -> None:
    counted = [found.score for found in record.assessments if found.weight]
    assert 0 <= min(counted) <= score(record) <= max(counted) <= 1
    if len(counted) == 1:
        assert score(record) == counted[0]


def scored(*assessments: Assessment) -> float:
    return score(verification(FIRST, assessments=assessments))


@pytest.mark.parametrize(
    ("values", "weights", "expected"),
    [
        ((1.0, 0.0), (1.0, 1.0), 0.5),
        ((1.0, 0.0), (3.0, 1.0), 0.75),
        ((1.0, 0.0), (0.3, 0.1), 0.75),
        ((0.9, 0.2), (1.0, 0.0), 0.9),  # a check does not count
        ((0.2, 0.9), (0.0, 0.001), 0.9),
        ((1.0, 0.0, 0.0), (1.0, 1.0, 1.0), 0.333333),
        ((0.1, 0.2, 0.3), (1.0, 1.0, 1.0), 0.2),  # summed up in floats 0.6000000000000001
    ],
)
def test_weights_are_shares_of_the_score(
    values: tuple[float, ...], weights: tuple[float, ...], expected: float
) -> None:
    found = [
        plain_assessment(value, f"v{place}", weight=weight)
        for place, (value, weight) in enumerate(zip(values, weights, strict=True))
    ]
    assert scored(*found) == expected
    assert scored(*reversed(found)) == expected


def test_the_score_is_what_verifiers_give_whatever_their_metrics() -> None:
    assert scored(assessment(0.2, 0.2, score=0.9)) == 0.9
    assert scored(assessment(0.2, 0.2), plain_assessment(1.0)) == 0.6


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
