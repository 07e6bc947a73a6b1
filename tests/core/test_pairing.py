"""Pairing: one outcome for a batch, whatever the order, exact at its thresholds."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlvr_ray.core import ids
from rlvr_ray.core.pairing import (
    VERSION,
    PairingRule,
    Result,
    Scored,
    all_pairs,
    decide,
    defect_of,
    objection,
    scored,
    unscorable,
)
from rlvr_ray.core.records import Batch, Candidate, Defect, Kind, Outcome, Reason, Verification
from rlvr_ray.core.spelling import same_answer
from tests.builders import DECIDED, assessment, batch, failed, plain_assessment, verification
from tests.strategies import MILLION, millionths, rules

RULE = PairingRule()
LOOSE = PairingRule(
    min_score_diff=1 / MILLION,
    min_chosen_score=0,
    min_chosen_faithfulness=0,
    min_chosen_relevancy=0,
    rejected_needs_defect=False,
)
WRONG = Defect.WRONG


def results(
    recorded: Batch, scores: Sequence[float | str], wrong: Iterable[int] | None = None
) -> dict[UUID, Result]:
    """A number is a candidate's score, a text is why it has none.

    ``wrong`` are those with a defect: all but the best ones, unless it is given.
    """
    best = max((score for score in scores if not isinstance(score, str)), default=0.0)
    if wrong is None:
        wrong = [index for index, score in enumerate(scores) if score != best]
    bad = set(wrong)
    return {
        c.event_id: failed(c, value)
        if isinstance(value, str)
        else verification(
            c, assessments=(plain_assessment(value, defect=WRONG if c.index in bad else None),)
        )
        for c, value in zip(recorded.candidates, scores, strict=True)
    }


def decided(
    *scores: float | str,
    answers: Sequence[str] | None = None,
    rule: PairingRule = RULE,
    wrong: Iterable[int] | None = None,
    cut: Iterable[int] = (),
    **changes: Any,
) -> Outcome:
    recorded = batch(answers or [f"answer {i}" for i in range(len(scores))], **changes)
    for index in cut:
        recorded = cut_off(recorded, index)
    return decide(recorded, results(recorded, scores, wrong), rule, DECIDED)


def pair(outcome: Outcome) -> tuple[int | None, int | None]:
    assert outcome.reason is None, outcome.detail
    return outcome.chosen, outcome.rejected


def cut_off(recorded: Batch, index: int) -> Batch:
    """The batch with one answer cut off by the token limit."""
    candidates = list(recorded.candidates)
    candidates[index] = replace(candidates[index], finish_reason="length")
    return replace(recorded, candidates=tuple(candidates))


def answers_of(recorded: Batch, found: Mapping[UUID, Result]) -> list[Scored]:
    """Those that have a score."""
    return [
        scored(candidate, result)
        for candidate in recorded.candidates
        if isinstance(result := found[candidate.event_id], Verification)
        and unscorable(candidate) is None
    ]


# What the outcome depends on.

# Few values, so that ties, identical answers and boundaries are common.
some_scores = st.sampled_from([0.0, 0.3, 0.55, 0.599999, 0.6, 0.65, 0.7, 0.95, 1.0])
some_answers = st.sampled_from(["", "a", "b", " a ", "**A**.", "a b c", "a  b\nc", "it says\tmore"])
some_metrics = st.sampled_from([None, 0.0, 0.7, 0.749999, 0.75, 1.0])


@st.composite
def judged(draw: Any) -> tuple[Batch, dict[UUID, Result]]:
    answers = draw(st.lists(some_answers, min_size=1, max_size=8))
    recorded = batch(answers, kind=draw(st.sampled_from(Kind)))
    if draw(st.booleans()):
        recorded = cut_off(recorded, draw(st.integers(0, len(answers) - 1)))
    found: dict[UUID, Result] = {}
    for one in recorded.candidates:
        if draw(st.integers(0, 9)) == 0:
            found[one.event_id] = failed(one, "no verdict")
            continue
        said = assessment(
            draw(some_metrics),
            None,
            score=draw(some_scores),
            statements=(),
            defect=draw(st.none() | st.sampled_from(Defect)),
        )
        found[one.event_id] = verification(one, assessments=(said,))
    return recorded, found


some_rules = st.sampled_from(
    [
        RULE,
        LOOSE,
        replace(RULE, quality_filter=True),
        replace(RULE, prompt="rag"),
        replace(RULE, strategy="best_random"),
        replace(RULE, strategy="best_low", max_length_ratio=2.0),
        replace(RULE, rejected_needs_defect=False),
        replace(LOOSE, max_length_ratio=1.0),
    ]
)


@settings(max_examples=75)
@given(judged(), some_rules, st.data())
def test_the_order_of_arrival_never_matters(
    case: tuple[Batch, Mapping[UUID, Result]], rule: PairingRule, data: st.DataObject
) -> None:
    recorded, found = case
    arrived = dict(data.draw(st.permutations(list(found.items()))))
    first = decide(recorded, found, rule, DECIDED)
    assert decide(recorded, arrived, rule, DECIDED) == first
    stray = verification(batch(["of another batch"]).candidates[0], 1.0, 1.0)
    assert decide(recorded, {stray.answer_event_id: stray} | arrived, rule, DECIDED) == first


@settings(max_examples=200)
@given(judged(), some_rules | rules)
def test_a_pair_is_evidence_and_no_pair_has_a_reason(
    case: tuple[Batch, Mapping[UUID, Result]], rule: PairingRule
) -> None:
    recorded, found = case
    outcome = decide(recorded, found, rule, DECIDED)
    assert outcome.batch_id == recorded.batch_id
    assert outcome.decided_at == DECIDED
    assert outcome.detail
    known = {one.index: one for one in answers_of(recorded, found)}
    if outcome.chosen is not None and outcome.rejected is not None:
        best, other = known[outcome.chosen], known[outcome.rejected]
        assert (outcome.chosen_score, outcome.rejected_score) == (best.score, other.score)
        assert best.score >= other.score
    if outcome.reason is not None:
        return
    assert recorded.kind is Kind.PREFERENCE
    assert not same_answer(best.answer, other.answer)
    assert outcome.score_diff is not None
    assert outcome.score_diff >= rule.min_score_diff > 0
    assert best.score >= rule.min_chosen_score
    assert best.faithfulness is None or best.faithfulness >= rule.min_chosen_faithfulness
    assert best.relevancy is None or best.relevancy >= rule.min_chosen_relevancy
    assert best.defect in (None, Defect.LOW_SCORE)
    assert recorded.candidates[best.index].finish_reason == "stop"
    if rule.rejected_needs_defect:
        assert other.defect is not None
    if other.defect is not None:
        assert outcome.detail.endswith(f"rejected: {other.defect}")
    if rule.quality_filter:
        assert len(best.answer.split()) >= 3
    if rule.max_length_ratio:
        short, long = sorted((len(best.answer.strip()), len(other.answer.strip())))
        assert long <= rule.max_length_ratio * short


@settings(max_examples=150)
@given(judged(), some_rules | rules)
def test_there_is_a_pair_just_where_two_answers_make_one(
    case: tuple[Batch, Mapping[UUID, Result]], rule: PairingRule
) -> None:
    recorded, found = case
    answers = answers_of(recorded, found)
    pairs = all_pairs(answers, rule)
    assert pairs == all_pairs(answers[::-1], rule)
    assert all(objection(*each, rule)[0] is None for each in pairs)
    outcome = decide(recorded, found, rule, DECIDED)
    if recorded.kind is Kind.PREFERENCE:
        assert (outcome.reason is None) is bool(pairs)
    if outcome.reason is None:
        assert (outcome.chosen, outcome.rejected) in [(a.index, b.index) for a, b in pairs]
        assert outcome.chosen_score == max(best.score for best, _ in pairs)


@given(judged(), rules)
def test_a_strategy_changes_neither_the_chosen_one_nor_whether_there_is_a_pair(
    case: tuple[Batch, Mapping[UUID, Result]], rule: PairingRule
) -> None:
    worst = decide(*case, replace(rule, strategy="best_worst"), DECIDED)
    other = decide(*case, rule, DECIDED)
    assert (other.chosen, other.reason) == (worst.chosen, worst.reason)


def test_an_outcome_keeps_the_whole_rule() -> None:
    rule = PairingRule(
        min_score_diff=0.2,
        min_chosen_score=0.3,
        min_chosen_faithfulness=0.4,
        min_chosen_relevancy=0.5,
        rejected_needs_defect=False,
        quality_filter=True,
        prompt="rag",
        strategy="best_low",
        max_length_ratio=20,
    )
    expected = {
        "min_score_diff": 0.2,
        "min_chosen_score": 0.3,
        "min_chosen_faithfulness": 0.4,
        "min_chosen_relevancy": 0.5,
        "rejected_needs_defect": False,
        "quality_filter": True,
        "prompt": "rag",
        "strategy": "best_low",
        "max_length_ratio": 20,
        "version": VERSION,
    }
    for outcome in (
        decided(0.9, 0.5, rule=rule, answers=["a b c", "d"]),
        decided(0.9, 0.9, rule=rule),
        decided(0.9, "broken", rule=rule),
        decided(0.9, rule=rule, kind=Kind.SINGLE),
    ):
        assert outcome.rule == expected


def test_a_rule_on_record_without_a_version_is_of_the_first_which_knew_no_defects() -> None:
    old = {"min_score_diff": 0.05, "min_chosen_score": 0.6, "quality_filter": False}
    first = PairingRule.on_record(old)
    assert (first.version, first.strategy) == (1, "best_worst")
    assert (first.min_chosen_faithfulness, first.min_chosen_relevancy) == (0.0, 0.0)
    assert first.rejected_needs_defect is False
    for rule in (first, PairingRule(min_chosen_faithfulness=0.8)):
        assert PairingRule.on_record(asdict(rule)) == rule


# Thresholds.


def test_the_defaults_are_the_documented_ones() -> None:
    assert PairingRule() == PairingRule(
        min_score_diff=0.05,
        min_chosen_score=0.6,
        min_chosen_faithfulness=0.75,
        min_chosen_relevancy=0.6,
        rejected_needs_defect=True,
        quality_filter=False,
        prompt="question",
        version=3,
    )


@pytest.mark.parametrize(
    ("best", "worst"),
    [(0.7, 0.65), (0.6, 0.55), (0.85, 0.8), (1.0, 0.95), (0.95, 0.9), (0.650001, 0.600001)],
)
def test_a_margin_of_just_the_threshold_pairs(best: float, worst: float) -> None:
    outcome = decided(best, worst)
    assert pair(outcome) == (0, 1)
    assert outcome.score_diff == 0.05


def test_these_boundaries_are_ones_that_plain_floats_miss() -> None:
    assert 0.7 - 0.65 < 0.05
    assert 0.85 - 0.8 < 0.05


@pytest.mark.parametrize(("best", "worst"), [(0.7, 0.650001), (0.699999, 0.65), (1.0, 0.950001)])
def test_a_margin_of_a_millionth_less_does_not(best: float, worst: float) -> None:
    outcome = decided(best, worst)
    assert outcome.reason is Reason.MARGIN_TOO_SMALL
    assert outcome.score_diff == 0.049999
    assert (outcome.chosen, outcome.rejected) == (0, 1)
    assert (outcome.chosen_score, outcome.rejected_score) == (best, worst)


def test_a_best_score_of_just_the_threshold_pairs() -> None:
    assert pair(decided(0.2, 0.6)) == (1, 0)


def test_a_best_score_of_a_millionth_less_does_not() -> None:
    outcome = decided(0.2, 0.599999)
    assert outcome.reason is Reason.CHOSEN_TOO_LOW
    assert (outcome.chosen_score, outcome.rejected_score) == (0.599999, 0.2)


def measured(*metrics: tuple[float, float], rule: PairingRule = RULE) -> Outcome:
    """Of answers with these faithfulnesses and relevancies; all but the first have a defect."""
    recorded = batch([f"answer {i}" for i in range(len(metrics))])
    found: dict[UUID, Result] = {
        c.event_id: verification(c, *both, statements=(), defect=WRONG if c.index else None)
        for c, both in zip(recorded.candidates, metrics, strict=True)
    }
    return decide(recorded, found, rule, DECIDED)


def test_the_best_score_counts_as_the_mean_of_its_metrics() -> None:
    """0.7 as 0.8 and 0.6, though neither metric is 0.7."""
    outcome = measured((0.8, 0.6), (0.1, 0.2))
    assert pair(outcome) == (0, 1)
    assert (outcome.chosen_score, outcome.rejected_score) == (0.7, 0.15)


def test_a_chosen_answer_needs_a_faithfulness_of_its_own() -> None:
    assert pair(measured((0.75, 0.97), (0.1, 0.2))) == (0, 1)
    outcome = measured((0.749999, 0.97), (0.1, 0.2))
    assert outcome.reason is Reason.CHOSEN_TOO_LOW
    assert outcome.detail == "the best answer's faithfulness 0.749999 < 0.75"
    assert pair(measured((0.74, 0.97), (0.1, 0.2), rule=replace(RULE, min_chosen_faithfulness=0.5)))


def test_an_answer_without_a_faithfulness_needs_none() -> None:
    assert pair(decided(0.9, 0.2)) == (0, 1)


@settings(max_examples=150)
@given(
    millionths,
    st.integers(1, MILLION),
    st.integers(-2, 2),
    millionths,
    st.none() | st.integers(-2, 2),
)
def test_thresholds_are_exact_on_the_whole_grid(
    worst: int, margin: int, off: int, least: int, below: int | None
) -> None:
    """Whole millionths say what must happen; the code has only floats to find it."""
    best = max(0, min(worst + margin + off, MILLION))
    if best < worst:
        worst, best = best, worst
    if below is not None:  # near the other threshold as well
        least = max(0, min(MILLION, best + below))
    rule = PairingRule(min_score_diff=margin / MILLION, min_chosen_score=least / MILLION)
    outcome = decided(worst / MILLION, best / MILLION, rule=rule)
    if best == worst:
        expected = Reason.TIE
    elif best - worst < margin:
        expected = Reason.MARGIN_TOO_SMALL
    elif best < least:
        expected = Reason.CHOSEN_TOO_LOW
    else:
        expected = None
    assert outcome.reason is expected
    assert outcome.score_diff == (best - worst) / MILLION


@given(rules, millionths, millionths)
def test_a_stricter_rule_never_pairs_more(rule: PairingRule, one: int, other: int) -> None:
    strict = decided(one / MILLION, other / MILLION, rule=rule)
    if strict.reason is None:
        loose = decided(one / MILLION, other / MILLION, rule=LOOSE)
        assert pair(loose) == pair(strict)


# Best against worst.


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ((0.9, 0.5, 0.7), (0, 1)),
        ((0.5, 0.7, 0.9), (2, 0)),
        ((0.7, 0.9, 0.5), (1, 2)),
        ((0.9, 0.9, 0.5), (0, 2)),  # of equal best ones the first
        ((0.5, 0.9, 0.9), (1, 0)),
        ((0.9, 0.5, 0.5), (0, 2)),  # of equal worst ones the last
        ((0.5, 0.5, 0.9), (2, 1)),
        ((0.5, 0.9, 0.5, 0.9), (1, 2)),
        ((0.7, 0.7, 0.7, 0.7, 0.2, 0.7, 0.7, 0.7), (0, 4)),
    ],
)
def test_best_against_worst_and_equals_by_index(
    scores: Sequence[float], expected: tuple[int, int]
) -> None:
    outcome = decided(*scores)
    assert pair(outcome) == expected
    assert outcome.chosen_score == max(scores)
    assert outcome.rejected_score == min(scores)


@pytest.mark.parametrize("value", [0.0, 0.3, 0.8, 1.0])
@pytest.mark.parametrize("count", [2, 3, 8])
def test_equal_scores_are_a_tie(value: float, count: int) -> None:
    outcome = decided(*[value] * count)
    assert outcome.reason is Reason.TIE
    assert outcome.score_diff == 0
    assert (outcome.chosen, outcome.rejected) == (0, count - 1)


def test_a_worst_score_of_zero_is_a_score() -> None:
    outcome = decided(0.9, 0.0, 0.5)
    assert pair(outcome) == (0, 1)
    assert outcome.rejected_score == 0.0
    assert outcome.score_diff == 0.9


# Defects.


def test_an_answer_that_is_only_worse_is_not_rejected() -> None:
    outcome = decided(0.95, 0.6, wrong=())
    assert outcome.reason is Reason.NO_DEFECT
    assert (outcome.chosen, outcome.rejected, outcome.score_diff) == (0, 1, 0.35)


def test_the_rejected_one_is_the_worst_of_those_with_a_defect() -> None:
    assert pair(decided(0.95, 0.6, 0.7, 0.8, wrong=[2, 3])) == (0, 2)


def test_a_reward_of_ones_own_can_pair_by_the_margin_alone() -> None:
    rule = replace(RULE, rejected_needs_defect=False)
    outcome = decided(0.95, 0.6, wrong=(), rule=rule)
    assert pair(outcome) == (0, 1)
    assert outcome.detail == "margin 0.35, best score 0.95"


def test_the_detail_of_a_pair_names_the_defect() -> None:
    assert decided(0.95, 0.6).detail == "margin 0.35, best score 0.95, rejected: wrong"


def test_an_answer_with_a_defect_is_not_chosen_and_the_next_one_may_be() -> None:
    assert pair(decided(0.95, 0.9, 0.2, wrong=[0, 2])) == (1, 2)
    near = decided(0.95, 0.9, 0.87, wrong=[0, 2])
    assert near.reason is Reason.CHOSEN_DEFECT, "the best against the worst"
    assert near.detail == "the best answer has a defect: wrong"
    assert (near.chosen, near.rejected) == (0, 2)


def test_an_answer_that_scores_higher_than_the_chosen_one_is_not_rejected() -> None:
    outcome = decided(0.95, 0.7, wrong=[0])
    assert outcome.reason is Reason.CHOSEN_DEFECT


@pytest.mark.parametrize("rule", [RULE, replace(RULE, rejected_needs_defect=False)])
def test_an_answer_that_was_cut_off_is_never_chosen(rule: PairingRule) -> None:
    outcome = decided(0.9, 0.3, cut=[0], rule=rule)
    assert outcome.reason is Reason.CHOSEN_DEFECT
    assert outcome.detail == "the best answer has a defect: cut_off"
    assert pair(decided(0.9, 0.8, 0.3, cut=[0], wrong=[2], rule=rule)) == (1, 2)


def test_to_be_cut_off_is_a_defect() -> None:
    outcome = decided(0.9, 0.6, wrong=(), cut=[1])
    assert pair(outcome) == (0, 1)
    assert outcome.detail.endswith("rejected: cut_off")


def test_a_verifier_says_more_of_an_answer_than_that_it_was_cut_off() -> None:
    recorded = cut_off(batch(["a", "b"]), 0)
    one, other = recorded.candidates
    assert defect_of(one, verification(one, 0.9, 0.9)) is Defect.CUT_OFF
    assert defect_of(one, verification(one, 0.9, 0.9, defect=Defect.LOOP)) is Defect.LOOP
    assert defect_of(other, verification(other, 0.9, 0.9)) is None
    assert defect_of(one, failed(one)) is None


def test_how_low_a_score_may_be_is_the_thresholds_to_say() -> None:
    """A plain reward under one half counts as a defect of a rejected answer only."""
    rule = replace(RULE, min_chosen_score=0.3)
    assert pair(decided(0.4, 0.1, wrong=(), rule=rule)) == (0, 1)
    assert decided(0.4, 0.1, wrong=()).reason is Reason.CHOSEN_TOO_LOW


# Spellings of one answer.

TOWER = (
    "The tower is 330 metres tall.",
    "The tower is 330 metres tall",
    "**The tower is 330 metres tall.**",
    "the tower is  330 metres\u200b tall.",
)


@pytest.mark.parametrize("scores", [(0.9, 0.3, 0.5, 0.7), (0.9, 0.89, 0.88, 0.1), (0.8,) * 4])
@pytest.mark.parametrize("rule", [RULE, LOOSE, replace(LOOSE, strategy="best_random")])
def test_spellings_of_one_answer_make_no_pair(scores: tuple[float, ...], rule: PairingRule) -> None:
    outcome = decided(*scores, answers=TOWER, rule=rule)
    assert outcome.reason is Reason.IDENTICAL_ANSWERS
    assert outcome.chosen_score == max(scores)
    assert outcome.rejected_score == min(scores)


@pytest.mark.parametrize(
    "answers",
    [
        ("Ray scales.", " Ray scales.\n"),
        ("Ray scales Python.", "Ray\tscales \u00a0 Python."),
        ("Ray\nscales.", "Ray\r\nscales."),
        ("Ray scales.", "Ray  Scales"),
    ],
)
def test_two_spellings_are_identical(answers: tuple[str, str]) -> None:
    outcome = decided(0.9, 0.3, answers=answers)
    assert outcome.reason is Reason.IDENTICAL_ANSWERS
    assert outcome.score_diff == 0.6


@pytest.mark.parametrize("answers", [("a b", "ab"), ("b a", "a b"), ("a", "?"), ("-5", "5")])
def test_any_other_difference_is_one(answers: tuple[str, str]) -> None:
    assert pair(decided(0.9, 0.3, answers=answers)) == (0, 1)


@pytest.mark.parametrize(
    ("scores", "answers", "expected"),
    [
        ((0.9, 0.9, 0.4), ("same", "same", "other"), (0, 2)),
        ((0.4, 0.9, 0.4), ("same", "other", "same"), (1, 0)),
        ((0.4, 0.4, 0.9), ("same", "Same.", "other"), (2, 0)),
    ],
)
def test_spellings_count_once_and_the_first_stands_for_all(
    scores: Sequence[float], answers: Sequence[str], expected: tuple[int, int]
) -> None:
    assert pair(decided(*scores, answers=answers)) == expected


def test_spellings_may_differ_by_less_than_the_margin() -> None:
    answers = ("same", "Same.", "other")
    assert pair(decided(0.88, 0.9, 0.4, answers=answers, wrong=[2])) == (0, 2)


@pytest.mark.parametrize(
    ("scores", "wrong"),
    [
        ((0.9, 0.85, 0.4), [2]),  # as far apart as a pair's answers are
        ((0.9, 0.9, 0.4), [1, 2]),  # and is there a defect, or is there none?
        ((0.5, 0.3, 0.9), [0, 1]),
    ],
)
def test_an_answer_of_which_the_judge_says_two_things_is_left_out(
    scores: Sequence[float], wrong: Sequence[int]
) -> None:
    answers = ("same", "Same.", "other")
    outcome = decided(*scores, answers=answers, wrong=wrong)
    assert outcome.reason is Reason.IDENTICAL_ANSWERS
    assert "do not score alike" in outcome.detail
    assert (outcome.chosen_score, outcome.rejected_score) == (max(scores), min(scores))
    more = decided(*scores, 0.95, 0.2, answers=(*answers, "good", "bad"), wrong=[*wrong, 4])
    assert pair(more) == (3, 4)


# Several verifiers.


@pytest.mark.parametrize(("weight", "expected"), [(1.0, (0, 1)), (3.0, (1, 0))])
def test_the_weighted_score_ranks(weight: float, expected: tuple[int, int]) -> None:
    """The judge prefers one answer, the reference the other."""
    recorded = batch(["one", "other"])
    found: dict[UUID, Result] = {
        c.event_id: verification(
            c,
            assessments=(
                assessment(None, None, score=judged, statements=()),
                plain_assessment(exact, weight=weight),
                plain_assessment(0.5, "check", weight=0.0, defect=WRONG),
            ),
        )
        for c, judged, exact in zip(recorded.candidates, (1.0, 0.5), (0.5, 0.8), strict=True)
    }
    rule = replace(RULE, rejected_needs_defect=False)
    outcome = decide(recorded, found, rule, DECIDED)
    assert pair(outcome) == expected


# Answers without a score.


@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_answer_without_a_score_is_left_out(place: int) -> None:
    scores: list[float | str] = [0.9, 0.1]
    scores.insert(place, "the judge's answer was cut at 512 tokens")
    first, last = (index for index in range(3) if index != place)
    assert pair(decided(*scores)) == (first, last)


def test_fewer_than_two_scores_leave_the_batch_unscored() -> None:
    outcome = decided("no JSON", 0.9, "timeout")
    assert outcome.reason is Reason.UNSCORED
    assert outcome.detail == "answer 1: no JSON; answer 3: timeout"
    assert (outcome.chosen, outcome.rejected, outcome.score_diff) == (None, None, None)
    assert (outcome.chosen_score, outcome.rejected_score) == (None, None)


@pytest.mark.parametrize("value", [1.0, 0.0, "the judge failed"])
def test_a_single_answer_makes_no_pair(value: float | str) -> None:
    outcome = decided(value, kind=Kind.SINGLE)
    assert outcome.reason is Reason.SINGLE_ANSWER
    assert (outcome.chosen, outcome.rejected, outcome.chosen_score) == (None, None, None)


def test_a_preference_batch_of_one_makes_no_pair_either() -> None:
    assert decided(0.9).reason is Reason.UNSCORED


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("missing", [0, 1, 2])
def test_nothing_is_decided_before_every_result_is_there(kind: Kind, missing: int) -> None:
    recorded = batch(kind=kind)
    found = results(recorded, [0.9, 0.5, 0.1])
    del found[recorded.candidates[missing].event_id]
    with pytest.raises(KeyError):
        decide(recorded, found, RULE, DECIDED)
    found[ids.derive("a stray")] = verification(recorded.candidates[missing])
    with pytest.raises(KeyError):
        decide(recorded, found, RULE, DECIDED)


# The quality filter.

FILTER = replace(RULE, quality_filter=True)
GOOD = "Ray scales Python."


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (GOOD, None),
        ("one two  three", None),
        ("only two", Reason.QUALITY_FILTER),
        ("  only \n two ", Reason.QUALITY_FILTER),
        ("Yes.", Reason.QUALITY_FILTER),
    ],
)
def test_the_filter_refuses_a_best_answer_of_under_three_words(
    answer: str, reason: Reason | None
) -> None:
    answers = [answer, "quite something else"]
    assert decided(0.9, 0.3, answers=answers, rule=FILTER).reason is reason
    assert decided(0.9, 0.3, answers=answers).reason is None, "without the filter"


def test_the_filter_lets_the_worst_answer_be_short() -> None:
    assert pair(decided(0.9, 0.3, answers=[GOOD, "No."], rule=FILTER)) == (0, 1)


# What nobody can score.

TOWER_IS = "The tower is 330 metres tall."


def of_one(answer: str, **changes: Any) -> Candidate:
    return replace(batch([answer]).candidates[0], **changes)


@pytest.mark.parametrize(
    ("candidate", "says"),
    [
        (of_one(""), "empty"),
        (of_one("\ufeff \u200b\n"), "empty"),
        (of_one("", reasoning_chars=1200), "1,200 characters of reasoning and no answer"),
        (of_one(TOWER_IS, finish_reason="unknown"), "finish reason"),
        (of_one(f"<think>Let me see.</think>{TOWER_IS}"), "reasoning"),
        (of_one("<think>Let me see."), "reasoning"),
        (of_one(f"{TOWER_IS}<|im_end|>\n<|im_start|>user\nHow wide?"), "control tokens"),
        (of_one(f"{TOWER_IS}\n\nUser: How wide?\nAssistant: 125 m."), "an invented turn"),
        (of_one("A turn ends with `<|im_end|>`."), "<|im_end|> as a control token"),
        (of_one("It is 330<unk>m tall."), "<unk> as a control token"),
    ],
)
@pytest.mark.parametrize("score", [0.9, 0.1])
def test_an_answer_that_nobody_can_score_makes_no_pair_whatever_a_verifier_says(
    candidate: Candidate, says: str, score: float
) -> None:
    assert says in str(unscorable(candidate))
    recorded = batch([candidate.answer, TOWER_IS])
    first, second = recorded.candidates
    recorded = replace(recorded, candidates=(replace(candidate, event_id=first.event_id), second))
    outcome = decide(recorded, results(recorded, [score, 0.5], [0, 1]), LOOSE, DECIDED)
    assert outcome.reason is Reason.UNSCORED
    assert says in outcome.detail


@pytest.mark.parametrize("answer", [TOWER_IS, "No.", "330 m", "a <b> c", "Use `x <| f`.", "{}"])
def test_any_other_answer_can_be_scored(answer: str) -> None:
    assert unscorable(of_one(answer)) is None
    assert unscorable(of_one(answer, finish_reason="length", reasoning_chars=7)) is None


def test_a_low_score_does_not_hide_that_an_answer_was_cut_off() -> None:
    recorded = cut_off(batch([TOWER_IS, "It is small."]), 0)
    found = {
        one.event_id: verification(
            one, assessments=(assessment(None, None, score=score, defect=Defect.LOW_SCORE),)
        )
        for one, score in zip(recorded.candidates, (0.9, 0.1), strict=True)
    }
    assert decide(recorded, found, RULE, DECIDED).reason is Reason.CHOSEN_DEFECT


# Which reason is told.


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ({"scores": (0.9, 0.9), "wrong": [0]}, Reason.TIE),
        ({"scores": (0.9, 0.89), "wrong": [0]}, Reason.MARGIN_TOO_SMALL),
        ({"scores": (0.5, 0.1), "wrong": [0]}, Reason.CHOSEN_TOO_LOW),
        ({"scores": (0.9, 0.6), "wrong": [0]}, Reason.CHOSEN_DEFECT),
        ({"scores": (0.9, 0.6), "wrong": []}, Reason.QUALITY_FILTER),
        ({"scores": (0.6, 0.9), "wrong": []}, Reason.NO_DEFECT),
        ({"scores": (0.6, 0.9), "wrong": [0]}, Reason.LENGTH_RATIO),
    ],
)
def test_the_first_gate_that_is_not_passed_is_the_reason(
    case: dict[str, Any], reason: Reason
) -> None:
    rule = replace(FILTER, max_length_ratio=2.0)
    outcome = decided(*case["scores"], answers=["Yes.", GOOD], rule=rule, wrong=case["wrong"])
    assert outcome.reason is reason


# What people read.


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (decided(0.9, 0.4), ["0.5", "0.9", "wrong"]),
        (decided(0.9, 0.88), ["0.02", "0.05"]),
        (decided(0.5, 0.1), ["0.5", "0.6"]),
        (decided(0.9, 0.9), ["0.9"]),
        (decided(0.9, 0.4, answers=["a", "a"]), ["same text"]),
    ],
    ids=lambda value: value.reason or "pair" if isinstance(value, Outcome) else "",
)
def test_the_detail_names_the_figures(outcome: Outcome, words: Sequence[str]) -> None:
    for word in words:
        assert word in outcome.detail


@pytest.mark.parametrize(("best", "worst"), [(0.7, 0.650001), (0.599999, 0.2)])
def test_the_detail_of_a_near_miss_does_not_deny_itself(best: float, worst: float) -> None:
    """``margin 0.050 < 0.05`` would say that the rule is wrong."""
    left, right = decided(best, worst).detail.split(" < ")
    assert float(left.split()[-1]) < float(right)


# Whom the best answer is set against.


def rejected(strategy: Any, *scores: float, number: int = 0, **changes: Any) -> int | None:
    rule = replace(RULE, strategy=strategy)
    outcome = decided(*scores, rule=rule, batch_id=ids.derive("a batch", number), **changes)
    assert outcome.reason is None, outcome.detail
    return outcome.rejected


def test_a_random_one_is_any_that_is_lower_by_the_margin_and_always_the_same() -> None:
    scores = (0.9, 0.88, 0.7, 0.6, 0.55)
    drawn = [rejected("best_random", *scores, number=number) for number in range(60)]
    assert set(drawn) == {2, 3, 4}, "1 is too near"
    assert drawn == [rejected("best_random", *scores, number=number) for number in range(60)]
    wrong = [rejected("best_random", *scores, number=number, wrong=[2, 3]) for number in range(60)]
    assert set(wrong) == {2, 3}, "4 is only worse by its score"


def test_a_low_one_is_nearest_to_two_deviations_below_the_mean() -> None:
    # Mean 0.65, deviation 0.21: 0.23 is looked for, and one of sixteen lies far below.
    scores = (0.9, *(0.7,) * 13, 0.22, 0.0)
    assert rejected("best_low", *scores) == 14
    assert rejected("best_worst", *scores) == 15
    assert rejected("best_low", 0.9, 0.6, 0.3) == 2, "of few it is the worst"


def test_lengths_may_differ_by_the_ratio_and_no_more() -> None:
    rule = replace(RULE, max_length_ratio=4.0)
    answers = ["x" * 40, " " + "y" * 10]
    assert decided(0.9, 0.3, answers=answers, rule=rule).reason is None
    longer = decided(0.9, 0.3, answers=["x" * 41, "y" * 10], rule=rule)
    assert longer.reason is Reason.LENGTH_RATIO
    assert longer.detail == "41 and 10 characters: the ratio is above 4"
    shorter = decided(0.9, 0.3, answers=["y" * 10, "x" * 41], rule=rule)
    assert shorter.reason is Reason.LENGTH_RATIO, "the rejected one may be the longer one"
    assert decided(0.9, 0.3, answers=["x" * 41, "y" * 10]).reason is None, "it is off"


@pytest.mark.parametrize("strategy", ["best_worst", "best_random", "best_low"])
def test_every_strategy_passes_over_what_is_too_long(strategy: Any) -> None:
    rule = replace(RULE, strategy=strategy, max_length_ratio=2.0)
    for number in range(20):
        outcome = decided(
            0.9,
            0.5,
            0.3,
            answers=["four words are here", "as many are there", "no"],
            rule=rule,
            batch_id=ids.derive("a batch", number),
        )
        assert pair(outcome) == (0, 1)


def pairs_of(
    scores: Sequence[float], answers: Sequence[str], wrong: Iterable[int]
) -> list[tuple[int, int]]:
    recorded = batch(answers)
    some = answers_of(recorded, results(recorded, scores, wrong))
    assert all_pairs(some, RULE) == all_pairs(some[::-1], RULE)
    return [(one.index, other.index) for one, other in all_pairs(some, RULE)]


def test_all_pairs_over_the_margin_and_the_floor() -> None:
    found = pairs_of((0.9, 0.7, 0.68, 0.2), ["a", "b", "c", "d"], [2, 3])
    assert found == [(0, 2), (0, 3), (1, 3)], "1 and 2 are too near, 2 is not to be chosen"


@pytest.mark.parametrize(
    ("scores", "answers", "wrong", "expected"),
    [
        ((0.9, 0.9, 0.4), ("same", "same ", "other"), [2], [(0, 2)]),
        ((0.9, 0.7, 0.4), ("same", "other", "same"), [1, 2], []),
        ((0.9, 0.4, 0.4), ("one", "same", "same"), [1, 2], [(0, 1)]),
        ((0.95, 0.8, 0.65), ("a", "b", "c"), [1, 2], [(0, 1), (0, 2)]),
    ],
)
def test_two_texts_make_one_pair_at_most(
    scores: Sequence[float],
    answers: Sequence[str],
    wrong: Sequence[int],
    expected: list[tuple[int, int]],
) -> None:
    assert pairs_of(scores, answers, wrong) == expected
