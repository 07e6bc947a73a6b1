"""Pairing: one outcome for a batch, whatever the order, exact at its thresholds."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlvr_ray.core import ids
from rlvr_ray.core.pairing import PairingRule, Result, all_pairs, decide, objection
from rlvr_ray.core.records import Batch, Kind, Outcome, Reason, Verification
from tests.builders import DECIDED, assessment, batch, failed, plain_assessment, verification
from tests.unit.strategies import MILLION, millionths, rules

RULE = PairingRule()
LOOSE = PairingRule(min_score_diff=1 / MILLION, min_chosen_score=0)


def results(recorded: Batch, scores: Sequence[float | str]) -> dict[UUID, Result]:
    """A number is a candidate's score, a text is why it has none."""
    return {
        c.event_id: failed(c, value) if isinstance(value, str) else verification(c, value, value)
        for c, value in zip(recorded.candidates, scores, strict=True)
    }


def decided(
    *scores: float | str,
    answers: Sequence[str] | None = None,
    rule: PairingRule = RULE,
    **changes: Any,
) -> Outcome:
    recorded = batch(answers or [f"answer {i}" for i in range(len(scores))], **changes)
    return decide(recorded, results(recorded, scores), rule, DECIDED)


def pair(outcome: Outcome) -> tuple[int | None, int | None]:
    assert outcome.reason is None, outcome.detail
    return outcome.chosen, outcome.rejected


def cut(recorded: Batch, index: int) -> Batch:
    """The batch with one answer cut off by the token limit."""
    candidates = list(recorded.candidates)
    candidates[index] = replace(candidates[index], finish_reason="length")
    return replace(recorded, candidates=tuple(candidates))


# What the outcome depends on.

# Few values, so that ties, identical answers and boundaries are common.
some_scores = st.sampled_from([0.0, 0.3, 0.55, 0.599999, 0.6, 0.65, 0.7, 0.95, 1.0, "no verdict"])
some_answers = st.sampled_from(["", "a", "b", " a ", "a b c", "a  b\nc", "it says\tmore"])


@st.composite
def judged(draw: Any) -> tuple[Batch, dict[UUID, Result]]:
    answers = draw(st.lists(some_answers, min_size=1, max_size=8))
    recorded = batch(answers, kind=draw(st.sampled_from(Kind)))
    if draw(st.booleans()):
        recorded = cut(recorded, draw(st.integers(0, len(answers) - 1)))
    values: st.SearchStrategy[Any] = some_scores
    if draw(st.booleans()):  # or else a failure nearly always decides
        values = some_scores.filter(lambda value: value != "no verdict")
    count = len(answers)
    return recorded, results(recorded, draw(st.lists(values, min_size=count, max_size=count)))


some_rules = st.sampled_from(
    [
        RULE,
        LOOSE,
        replace(RULE, quality_filter=True),
        replace(RULE, prompt="rag"),
        replace(RULE, strategy="best_random"),
        replace(RULE, strategy="best_low", max_length_ratio=2.0),
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


@settings(max_examples=100)
@given(judged(), some_rules)
def test_a_pair_is_of_different_answers_with_a_margin_and_no_pair_has_a_reason(
    case: tuple[Batch, Mapping[UUID, Result]], rule: PairingRule
) -> None:
    recorded, found = case
    outcome = decide(recorded, found, rule, DECIDED)
    assert outcome.batch_id == recorded.batch_id
    assert outcome.decided_at == DECIDED
    assert outcome.detail
    if outcome.reason is None:
        assert recorded.kind is Kind.PREFERENCE
        assert outcome.chosen is not None
        assert outcome.rejected is not None
        chosen, rejected = (recorded.candidates[i] for i in (outcome.chosen, outcome.rejected))
        assert chosen.answer.split() != rejected.answer.split()
        assert outcome.score_diff is not None
        assert outcome.score_diff >= rule.min_score_diff > 0
        assert outcome.chosen_score is not None
        assert outcome.chosen_score >= rule.min_chosen_score
        if rule.quality_filter:
            assert chosen.finish_reason == "stop"
            assert len(chosen.answer.split()) >= 3
    if outcome.chosen_score is not None:
        known = [found[c.event_id] for c in recorded.candidates]
        scores = [r.assessments[0].score for r in known if isinstance(r, Verification)]
        assert len(scores) == len(known), "a failed candidate means no figures"
        assert outcome.chosen_score == max(scores)
        assert outcome.chosen == scores.index(max(scores))
        if rule.strategy == "best_worst":
            assert outcome.rejected_score == min(scores)
            assert outcome.rejected == len(scores) - 1 - scores[::-1].index(min(scores))


def test_an_outcome_keeps_the_whole_rule() -> None:
    rule = PairingRule(
        min_score_diff=0.2,
        min_chosen_score=0.3,
        quality_filter=True,
        prompt="rag",
        strategy="best_low",
        max_length_ratio=20,
    )
    expected = {
        "min_score_diff": 0.2,
        "min_chosen_score": 0.3,
        "quality_filter": True,
        "prompt": "rag",
        "strategy": "best_low",
        "max_length_ratio": 20,
    }
    for outcome in (
        decided(0.9, 0.5, rule=rule, answers=["a b c", "d"]),
        decided(0.9, 0.9, rule=rule),
        decided(0.9, "broken", rule=rule),
        decided(0.9, rule=rule, kind=Kind.SINGLE),
    ):
        assert outcome.rule == expected


# Thresholds.


def test_the_defaults_are_the_documented_ones() -> None:
    assert PairingRule() == PairingRule(
        min_score_diff=0.05, min_chosen_score=0.6, quality_filter=False, prompt="question"
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


def test_the_best_score_counts_as_the_mean_of_its_metrics() -> None:
    """0.6 as 0.5 and 0.7, though neither metric is 0.6."""
    recorded = batch(["a", "b"])
    one, two = recorded.candidates
    found = {one.event_id: verification(one, 0.5, 0.7), two.event_id: verification(two, 0.1, 0.2)}
    outcome = decide(recorded, found, RULE, DECIDED)
    assert pair(outcome) == (0, 1)
    assert (outcome.chosen_score, outcome.rejected_score) == (0.6, 0.15)


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


@pytest.mark.parametrize(
    "answers",
    [
        ("Ray scales.", "Ray scales."),
        ("Ray scales.", " Ray scales.\n"),
        ("Ray scales Python.", "Ray\tscales \u00a0 Python."),
        ("Ray\nscales.", "Ray\r\nscales."),
        ("", ""),
        ("", " \n"),
    ],
)
def test_answers_that_differ_in_white_space_only_are_identical(answers: tuple[str, str]) -> None:
    outcome = decided(0.9, 0.3, answers=answers)
    assert outcome.reason is Reason.IDENTICAL_ANSWERS
    assert outcome.score_diff == 0.6


@pytest.mark.parametrize(
    "answers",
    [("Ray scales.", "Ray  Scales."), ("a b", "ab"), ("b a", "a b"), ("a", ""), ("a.", "a")],
)
def test_any_other_difference_is_one(answers: tuple[str, str]) -> None:
    assert pair(decided(0.9, 0.3, answers=answers)) == (0, 1)


@pytest.mark.parametrize(
    ("scores", "answers", "expected"),
    [
        ((0.9, 0.9, 0.4), ("same", "same", "other"), (0, 2)),
        ((0.4, 0.9, 0.4), ("same", "other", "same"), (1, 2)),
        ((0.4, 0.4, 0.9), ("same", "same ", "other"), (2, 1)),
        ((0.9, 0.8, 0.4), ("same", "same", "other"), (0, 2)),  # a judge may waver
    ],
)
def test_two_identical_answers_and_another_pair_the_distinct_ones(
    scores: Sequence[float], answers: Sequence[str], expected: tuple[int, int]
) -> None:
    outcome = decided(*scores, answers=answers)
    assert pair(outcome) == expected
    assert outcome.chosen is not None
    assert outcome.rejected is not None
    assert answers[outcome.chosen] != answers[outcome.rejected]


def test_best_and_worst_of_one_text_make_no_pair_even_with_another_between() -> None:
    """The judge gave one text two scores: no margin of this batch means anything."""
    outcome = decided(0.9, 0.7, 0.5, answers=["same", "other", "same"])
    assert outcome.reason is Reason.IDENTICAL_ANSWERS


# Several verifiers.


@pytest.mark.parametrize(("weight", "expected"), [(1.0, (0, 1)), (3.0, (1, 0))])
def test_the_weighted_score_ranks(weight: float, expected: tuple[int, int]) -> None:
    """The judge prefers one answer, the reference the other."""
    recorded = batch(["one", "other"])
    found: dict[UUID, Result] = {
        c.event_id: verification(
            c,
            assessments=(
                assessment(judged, judged),
                plain_assessment(exact, weight=weight),
                plain_assessment(0.5, "check", weight=0.0),
            ),
        )
        for c, judged, exact in zip(recorded.candidates, (1.0, 0.0), (0.2, 0.8), strict=True)
    }
    outcome = decide(recorded, found, LOOSE, DECIDED)
    assert pair(outcome) == expected
    assert outcome.score_diff == 0.2


# Batches that cannot be ranked.


@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_failed_verification_leaves_the_batch_unscored(place: int) -> None:
    scores: list[float | str] = [0.9, 0.1, 0.5]
    scores[place] = "the judge's answer was cut at 512 tokens"
    outcome = decided(*scores)
    assert outcome.reason is Reason.UNSCORED
    assert outcome.detail == f"candidate {place}: the judge's answer was cut at 512 tokens"
    assert (outcome.chosen, outcome.rejected, outcome.score_diff) == (None, None, None)
    assert (outcome.chosen_score, outcome.rejected_score) == (None, None)


def test_every_failure_is_named() -> None:
    assert decided("no JSON", 0.9, "timeout").detail == "candidate 0: no JSON; candidate 2: timeout"


@pytest.mark.parametrize("value", [1.0, 0.0, "the judge failed"])
def test_a_single_answer_makes_no_pair(value: float | str) -> None:
    outcome = decided(value, kind=Kind.SINGLE)
    assert outcome.reason is Reason.SINGLE_ANSWER
    assert (outcome.chosen, outcome.rejected, outcome.chosen_score) == (None, None, None)


def test_a_preference_batch_of_one_makes_no_pair_either() -> None:
    assert decided(0.9).reason is not None


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
        ("", Reason.QUALITY_FILTER),
    ],
)
def test_the_filter_refuses_a_best_answer_of_under_three_words(
    answer: str, reason: Reason | None
) -> None:
    answers = [answer, "quite something else"]
    assert decided(0.9, 0.3, answers=answers, rule=FILTER).reason is reason
    assert decided(0.9, 0.3, answers=answers).reason is None, "without the filter"


@pytest.mark.parametrize("index", [0, 1])
def test_the_filter_refuses_a_best_answer_that_was_cut(index: int) -> None:
    recorded = cut(batch([GOOD, "Ray is a fish."]), index)
    found = results(recorded, [0.9, 0.3])
    outcome = decide(recorded, found, FILTER, DECIDED)
    assert outcome.reason is (Reason.QUALITY_FILTER if index == 0 else None), "the worst may be cut"
    assert (outcome.chosen, outcome.rejected, outcome.score_diff) == (0, 1, 0.6)
    assert decide(recorded, found, RULE, DECIDED).reason is None


@pytest.mark.parametrize("worst", ["No.", ""])
def test_the_filter_lets_the_worst_answer_be_short(worst: str) -> None:
    assert pair(decided(0.9, 0.3, answers=[GOOD, worst], rule=FILTER)) == (0, 1)


@pytest.mark.parametrize(
    ("scores", "reason"),
    [
        ((0.9, 0.9), Reason.TIE),
        ((0.9, 0.89), Reason.MARGIN_TOO_SMALL),
        ((0.5, 0.1), Reason.CHOSEN_TOO_LOW),
        ((0.9, 0.1), Reason.QUALITY_FILTER),
    ],
)
def test_the_filter_comes_last(scores: tuple[float, float], reason: Reason) -> None:
    assert decided(*scores, answers=["Yes.", GOOD], rule=FILTER).reason is reason


# What people read.


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (decided(0.9, 0.4), ["0.5", "0.9"]),
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


@settings(max_examples=150)
@given(judged(), rules)
def test_no_strategy_lets_through_what_a_gate_refuses(
    case: tuple[Batch, Mapping[UUID, Result]], rule: PairingRule
) -> None:
    recorded, found = case
    outcome = decide(recorded, found, rule, DECIDED)
    if outcome.reason is not None:
        return
    assert outcome.chosen is not None and outcome.rejected is not None
    assert outcome.score_diff is not None and outcome.chosen_score is not None
    chosen, rejected = (recorded.candidates[i].answer for i in (outcome.chosen, outcome.rejected))
    assert outcome.score_diff >= rule.min_score_diff
    assert outcome.chosen_score >= rule.min_chosen_score
    assert chosen.split() != rejected.split()
    if rule.max_length_ratio:
        short, long = sorted((len(chosen.strip()), len(rejected.strip())))
        assert long <= rule.max_length_ratio * short


@given(judged(), rules)
def test_a_strategy_changes_neither_the_chosen_one_nor_whether_there_is_a_pair_of_worst(
    case: tuple[Batch, Mapping[UUID, Result]], rule: PairingRule
) -> None:
    worst = decide(*case, replace(rule, strategy="best_worst"), DECIDED)
    other = decide(*case, rule, DECIDED)
    assert other.chosen == worst.chosen
    if worst.reason is None:
        assert other.reason is None, other.detail


def rejected(strategy: Any, *scores: float, number: int = 0, **changes: Any) -> int | None:
    rule = replace(RULE, strategy=strategy)
    outcome = decided(*scores, rule=rule, batch_id=ids.derive("a batch", number), **changes)
    assert outcome.reason is None, outcome.detail
    return outcome.rejected


def test_a_random_one_is_any_that_is_lower_by_the_margin_and_always_the_same() -> None:
    scores = (0.9, 0.88, 0.7, 0.5, 0.3)
    drawn = [rejected("best_random", *scores, number=number) for number in range(60)]
    assert set(drawn) == {2, 3, 4}, "1 is too near"
    assert drawn == [rejected("best_random", *scores, number=number) for number in range(60)]


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


def test_a_strategy_passes_over_what_is_too_long() -> None:
    rule = replace(RULE, strategy="best_random", max_length_ratio=2.0)
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


@given(judged(), rules)
def test_all_pairs_are_those_that_pass_by_themselves(
    case: tuple[Batch, Mapping[UUID, Result]], rule: PairingRule
) -> None:
    recorded, found = case
    scored = [
        (result.assessments[0].score, candidate)
        for candidate in recorded.candidates
        if isinstance(result := found[candidate.event_id], Verification)
    ]
    pairs = all_pairs(scored, rule)
    assert pairs == all_pairs(scored[::-1], rule)
    assert all(objection(*each, rule)[0] is None and each[0][0] > each[1][0] for each in pairs)
    assert len({(one.index, other.index) for (_, one), (_, other) in pairs}) == len(pairs)
    outcome = decide(recorded, found, replace(rule, strategy="best_worst"), DECIDED)
    if outcome.reason is None:
        assert outcome.chosen is not None and outcome.rejected is not None
        decided_on = [recorded.candidates[i] for i in (outcome.chosen, outcome.rejected)]
        texts = [[c.answer.split() for _, c in each] for each in pairs]
        assert [c.answer.split() for c in decided_on] in texts


def test_all_pairs_over_the_margin_and_the_floor() -> None:
    recorded = batch(["a", "b", "c", "d"])
    scored = list(zip((0.9, 0.7, 0.68, 0.2), recorded.candidates, strict=True))
    pairs = [(a.index, b.index) for (_, a), (_, b) in all_pairs(scored, RULE)]
    assert pairs == [(0, 1), (0, 2), (0, 3), (1, 3), (2, 3)], "1 and 2 are too near"


@pytest.mark.parametrize(
    ("scores", "answers", "expected"),
    [
        ((0.9, 0.9, 0.4), ("same", "same ", "other"), [(0, 2)]),
        ((0.9, 0.7, 0.4), ("same", "other", "same"), [(1, 2)]),  # not "same" above "other" as well
        ((0.9, 0.4, 0.4), ("one", "same", "same"), [(0, 1)]),
        ((0.95, 0.8, 0.65), ("a", "b", "c"), [(0, 1), (0, 2), (1, 2)]),
    ],
)
def test_two_texts_make_one_pair_at_most(
    scores: Sequence[float], answers: Sequence[str], expected: list[tuple[int, int]]
) -> None:
    scored = list(zip(scores, batch(answers).candidates, strict=True))
    for some in (scored, scored[::-1]):
        found = [(one.index, other.index) for (_, one), (_, other) in all_pairs(some, RULE)]
        assert found == expected
