"""A person's word on a pair, and how far it is the judge's."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from rlvr_ray.core.pairing import PairingRule, decide
from rlvr_ray.dataset.reviews import Review, ReviewChoice, Verdict, agreement, reviewed_row, verdict
from rlvr_ray.training.export import examples
from rlvr_ray.training.export.selection import reviewed_pair
from tests.builders import DECIDED, batch, verification
from tests.folders import decided, expected

PAIR = decided(1, (0.1, 0.9, 0.5))  # candidate 1 is chosen, candidate 0 rejected


@pytest.mark.parametrize(
    ("a", "b", "said", "wanted"),
    [
        (1, 0, "a", Verdict.AGREE),
        (1, 0, "b", Verdict.DISAGREE),
        (0, 1, "a", Verdict.DISAGREE),
        (0, 1, "b", Verdict.AGREE),
        (0, 1, "tie", Verdict.TIE),
        (1, 0, "discard", Verdict.DISCARD),
    ],
)
def test_what_is_said_of_a_and_b_is_a_word_on_the_judge(
    a: int, b: int, said: ReviewChoice, wanted: Verdict
) -> None:
    assert PAIR.outcome is not None
    assert verdict(PAIR.outcome, a, b, said) is wanted


@pytest.mark.parametrize(("a", "b"), [(0, 2), (2, 1), (1, 1), (0, 0), (7, 8)])
def test_other_candidates_are_not_the_pair(a: int, b: int) -> None:
    assert PAIR.outcome is not None
    with pytest.raises(ValueError, match="the pair's candidates are 1 and 0"):
        verdict(PAIR.outcome, a, b, "a")


def test_what_made_no_pair_is_not_reviewed() -> None:
    asked = batch()
    results = {c.event_id: verification(c, 0.5) for c in asked.candidates}
    outcome = decide(asked, results, PairingRule(), DECIDED)
    assert outcome.chosen is not None and outcome.rejected is not None
    with pytest.raises(ValueError, match="made no pair"):
        verdict(outcome, outcome.chosen, outcome.rejected, "a")


#: Wilson's intervals, as statsmodels' proportion_confint(method="wilson") has them.
@pytest.mark.parametrize(
    ("agree", "disagree", "low", "high"),
    [
        (1, 0, 0.206549, 1.0),
        (0, 1, 0.0, 0.793451),
        (5, 5, 0.236593, 0.763407),
        (80, 20, 0.711171, 0.866633),
    ],
)
def test_agreement_has_its_interval(agree: int, disagree: int, low: float, high: float) -> None:
    found = agreement(agree, disagree)
    assert found.share == agree / (agree + disagree)
    assert found.low == pytest.approx(low, abs=2e-6)
    assert found.high == pytest.approx(high, abs=2e-6)


def test_nobody_agrees_where_nobody_has_said() -> None:
    found = agreement(0, 0)
    assert (found.share, found.low, found.high) == (None, None, None)


def test_a_row_that_is_turned_round_twice_would_be_itself_but_for_its_margin() -> None:
    (row,) = expected([PAIR])["dpo_data"]
    once = reviewed_row(row, Verdict.DISAGREE)
    assert once is not None and once != row
    assert reviewed_row(once, Verdict.DISAGREE) == {**row, "score_diff": None}
    assert reviewed_row(row, None) == reviewed_row(row, Verdict.AGREE) == row
    for said in (Verdict.TIE, Verdict.DISCARD):
        assert reviewed_row(row, said) is None


def test_a_pair_of_an_export_is_turned_round_like_its_row() -> None:
    (row,) = expected([PAIR])["dpo_data"]
    pair, swapped = examples.pair(row), reviewed_row(row, Verdict.DISAGREE)
    assert swapped is not None
    assert reviewed_pair(pair, Verdict.DISAGREE) == replace(
        pair,
        chosen=swapped["chosen"],
        rejected=swapped["rejected"],
        chosen_score=swapped["chosen_score"],
        margin=None,
        defect=None,
    )
    assert reviewed_pair(pair, None) == reviewed_pair(pair, Verdict.AGREE) == pair
    for said in (Verdict.TIE, Verdict.DISCARD):
        assert reviewed_pair(pair, said) is None


def test_a_review_is_valid() -> None:
    fields = {
        "review_id": PAIR.batch.batch_id,
        "batch_id": PAIR.batch.batch_id,
        "a": 1,
        "b": 0,
        "said": "a",
        "verdict": Verdict.AGREE,
        "note": "",
        "reviewer": "",
        "reviewed_at": datetime(2026, 3, 14, tzinfo=UTC),
    }
    assert Review(**fields).reviewed_at == fields["reviewed_at"]  # type: ignore[arg-type]
    for change in ({"note": "\0"}, {"reviewer": "\ud800"}, {"reviewed_at": datetime(2026, 1, 1)}):
        with pytest.raises(ValueError):
            Review(**fields | change)  # type: ignore[arg-type]
