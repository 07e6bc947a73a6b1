"""Figures of order, calibration and agreement: by hand, and against the plainest computation."""

from itertools import combinations
from statistics import mean

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rlvr_ray.verification.calibration.measures import (
    Bin,
    agreement,
    expected_calibration_error,
    like_length,
    overlap,
    overlap_is_right,
    pair_accuracy,
    reliability,
    roc_auc,
    shorter_is_right,
    wilson,
)

#: Few different ones, so that ties and the bins' edges come up often; and any others.
scores = st.sampled_from([0.0, 0.1, 0.25, 0.3, 0.5, 0.6, 0.7, 0.999999, 1.0]) | st.floats(0, 1)
labelled = st.lists(st.tuples(scores, st.booleans()), max_size=30)


def won(one: float, other: float) -> float:
    """1 where one is above the other, 1/2 where they are the same."""
    return 1.0 if one > other else 0.5 if one == other else 0.0


class TestPairAccuracy:
    @pytest.mark.parametrize(
        ("pairs", "expected"),
        [
            ([], None),
            ([(0.9, 0.1)], 1.0),
            ([(0.1, 0.9)], 0.0),
            ([(0.4, 0.4)], 0.5),
            ([(0.9, 0.1), (0.1, 0.9), (0.4, 0.4), (0.5, 0.4)], 0.625),
        ],
    )
    def test_by_hand(self, pairs: list[tuple[float, float]], expected: float | None) -> None:
        assert pair_accuracy(pairs) == expected

    def test_it_takes_anything_that_can_be_gone_through_once(self) -> None:
        assert pair_accuracy((score, 0.5) for score in (0.6, 0.4)) == 0.5

    @given(st.lists(st.tuples(scores, scores), min_size=1))
    def test_turned_round_it_is_the_rest(self, pairs: list[tuple[float, float]]) -> None:
        value = pair_accuracy(pairs)
        assert value == sum(won(*pair) for pair in pairs) / len(pairs)
        turned = pair_accuracy([(wrong, right) for right, wrong in pairs])
        assert turned == pytest.approx(1 - value)


class TestRocAuc:
    @pytest.mark.parametrize(
        ("scored", "expected"),
        [
            ([], None),
            ([(0.9, True)], None),
            ([(0.9, False), (0.2, False)], None),
            ([(0.9, True), (0.1, False)], 1.0),
            ([(0.1, True), (0.9, False)], 0.0),
            ([(0.5, True), (0.5, False)], 0.5),
            # 0.8 beats both wrong ones, 0.4 beats one and ties with the other: 3.5 of 4.
            ([(0.8, True), (0.4, True), (0.4, False), (0.1, False)], 0.875),
        ],
    )
    def test_by_hand(self, scored: list[tuple[float, bool]], expected: float | None) -> None:
        assert roc_auc(scored) == expected

    @given(labelled)
    def test_it_is_the_pair_accuracy_of_all_right_against_all_wrong(
        self, scored: list[tuple[float, bool]]
    ) -> None:
        right = [score for score, is_right in scored if is_right]
        wrong = [score for score, is_right in scored if not is_right]
        assert roc_auc(scored) == pair_accuracy((one, other) for one in right for other in wrong)

    def test_it_is_quick_on_many(self) -> None:
        count = 100_000
        scored = [(number / count, number % 2 == 1) for number in range(count)]
        assert roc_auc(scored) == pytest.approx(0.5, abs=1e-4)


class TestReliability:
    def test_nothing_gives_empty_bins(self) -> None:
        assert reliability([], bins=2) == [
            Bin(low=0.0, high=0.5, count=0, mean_score=None, share_right=None),
            Bin(low=0.5, high=1.0, count=0, mean_score=None, share_right=None),
        ]

    def test_by_hand(self) -> None:
        scored = [(0.0, False), (0.25, True), (0.49, False), (0.5, True), (1.0, False)]
        low, high = reliability(scored, bins=2)
        assert (low.count, low.share_right) == (3, 1 / 3)
        assert low.mean_score == pytest.approx(0.74 / 3)
        assert (high.count, high.mean_score, high.share_right) == (2, 0.75, 0.5)

    @pytest.mark.parametrize("tenth", range(11))
    def test_an_edge_belongs_to_the_bin_above_and_1_to_the_last(self, tenth: int) -> None:
        counts = [held.count for held in reliability([(tenth / 10, True)])]
        assert counts.index(1) == min(tenth, 9)

    @given(labelled, st.integers(1, 20))
    def test_every_answer_is_in_its_one_bin(
        self, scored: list[tuple[float, bool]], bins: int
    ) -> None:
        curve = reliability(scored, bins)
        assert [held.low for held in curve] == [number / bins for number in range(bins)]
        for held in curve:
            inside = [
                (score, right)
                for score, right in scored
                if held.low <= score and (score < held.high or held is curve[-1])
            ]
            assert held.count == len(inside)
            if inside:
                assert held.mean_score == pytest.approx(mean(score for score, _ in inside))
                assert held.share_right == mean(float(right) for _, right in inside)
        assert sum(held.count for held in curve) == len(scored)


class TestCalibrationError:
    def test_nothing_has_none(self) -> None:
        assert expected_calibration_error([]) is None

    def test_by_hand(self) -> None:
        # Two bins of three and one: |0.15 - 1/3| and |0.95 - 1|.
        scored = [(0.1, False), (0.15, True), (0.199, False), (0.95, True)]
        expected = (3 * abs((0.1 + 0.15 + 0.199) / 3 - 1 / 3) + 0.05) / 4
        assert expected_calibration_error(scored, bins=5) == pytest.approx(expected)

    def test_scores_that_are_right_as_often_as_they_say_have_0(self) -> None:
        scored = [(0.25, number == 0) for number in range(4)] + [(1.0, True), (0.0, False)]
        assert expected_calibration_error(scored) == 0.0

    def test_sure_and_wrong_has_1(self) -> None:
        assert expected_calibration_error([(1.0, False), (0.0, True)]) == 1.0

    @given(labelled.filter(bool), st.integers(1, 20))
    def test_it_is_the_weighted_gap_of_the_curve(
        self, scored: list[tuple[float, bool]], bins: int
    ) -> None:
        places = [
            min(int(np.searchsorted(np.arange(1, bins) / bins, s, "right")), bins)
            for s, _ in scored
        ]
        gaps = []
        for place in set(places):
            inside = [pair for pair, at in zip(scored, places, strict=True) if at == place]
            confidence = mean(score for score, _ in inside)
            accuracy = mean(float(right) for _, right in inside)
            gaps.append(len(inside) / len(scored) * abs(accuracy - confidence))
        assert expected_calibration_error(scored, bins) == pytest.approx(sum(gaps))


repeated = st.integers(2, 4).flatmap(
    lambda repeats: st.lists(
        st.lists(st.none() | scores, min_size=repeats, max_size=repeats), max_size=12
    )
)


class TestAgreement:
    @pytest.mark.parametrize(
        "table", [[], [[0.5], [0.7]], [[]], [[0.5, None], [None, None]], [[None, 0.1, 0.2]]]
    )
    def test_without_two_scores_of_an_answer_there_is_none(self, table: list) -> None:
        assert agreement(table) is None

    def test_by_hand(self) -> None:
        found = agreement(
            [[0.8, 0.8], [0.4, 0.6], [0.5, 0.51], [0.5, None], [0.9, 0.9], [0.7, 0.95]],
            pairs=[(0, 1), (2, 3), (4, 5)],
        )
        assert found is not None
        assert found.answers == 5
        assert found.mean_difference == pytest.approx((0.2 + 0.01 + 0.25) / 5)
        assert found.same_score == 3 / 5
        assert found.pairs == 2
        assert found.same_order == 1 / 2  # 0.9 against 0.7 came out as 0.9 against 0.95
        first, second = [0.8, 0.4, 0.5, 0.9, 0.7], [0.8, 0.6, 0.51, 0.9, 0.95]
        assert found.correlation == pytest.approx(np.corrcoef(first, second)[0, 1])

    def test_all_repeats_count(self) -> None:
        found = agreement([[0.5, 0.5, 0.8], [0.2, 0.2, 0.2]], pairs=[(0, 1)])
        assert found is not None
        assert found.mean_difference == pytest.approx((0.3 + 0.3) / 6)
        assert found.same_score == 0.5
        assert found.same_order == 1.0

    def test_a_tie_is_an_order_of_its_own(self) -> None:
        found = agreement([[0.5, 0.5], [0.5, 0.5], [0.5, 0.6]], pairs=[(0, 1), (0, 2)])
        assert found is not None
        assert found.same_order == 0.5

    def test_a_hundredth_is_the_same_score_whatever_floats_make_of_it(self) -> None:
        assert 0.81 - 0.8 > 0.01
        found = agreement([[0.8, 0.81], [0.8, 0.810001]])
        assert found is not None
        assert found.same_score == 0.5

    @pytest.mark.parametrize("table", [[[0.5, 0.6]], [[0.5, 0.6], [0.5, 0.9]]])
    def test_constant_scores_have_no_correlation(self, table: list[list[float]]) -> None:
        found = agreement(table)
        assert found is not None
        assert found.correlation is None
        assert found.same_order is None

    @given(repeated, st.data())
    def test_against_the_plainest_computation(self, table: list, data: st.DataObject) -> None:
        places = st.integers(0, max(len(table) - 1, 0))
        pairs = data.draw(st.lists(st.tuples(places, places), max_size=5 if table else 0))
        found = agreement(table, pairs)
        whole = [row for row in table if all(score is not None for score in row)]
        if not whole:
            assert found is None
            return
        assert found is not None
        gaps = [abs(a - b) for row in whole for a, b in combinations(row, 2)]
        assert found.answers == len(whole)
        assert found.mean_difference == pytest.approx(mean(gaps), abs=1e-8)
        close = sum(max(row) - min(row) <= 0.01 + 1e-9 for row in whole)
        assert found.same_score == pytest.approx(close / len(whole), abs=1e-8)
        kept = [(table[a], table[b]) for a, b in pairs if table[a] in whole and table[b] in whole]
        assert found.pairs == len(kept)
        same = [len({won(x, y) for x, y in zip(a, b, strict=True)}) == 1 for a, b in kept]
        assert found.same_order == (mean(map(float, same)) if same else None)

    @given(repeated)
    def test_the_correlation_is_numpys(self, table: list) -> None:
        whole = [row for row in table if all(score is not None for score in row)]
        assume(len(whole) > 1)
        first, second = np.array(whole)[:, 0], np.array(whole)[:, 1]
        assume(min(first.std(), second.std()) > 1e-3)
        found = agreement(table)
        assert found is not None
        assert found.correlation == pytest.approx(np.corrcoef(first, second)[0, 1], abs=1e-6)


class TestLengths:
    @pytest.mark.parametrize(
        ("one", "other", "alike"),
        [
            ("a b c", "d e f", True),
            ("a b c", "d e f g", True),  # 4 / 3
            ("a b", "c d e", False),
            ("", "", True),
            ("", "a", False),
            ("a  b\nc", "long-words and-such even-so", True),
        ],
    )
    def test_like_length_is_within_a_third_in_words(
        self, one: str, other: str, alike: bool
    ) -> None:
        assert like_length(one, other) is alike
        assert like_length(other, one) is alike

    def test_preferring_the_shorter(self) -> None:
        assert shorter_is_right([]) is None
        assert shorter_is_right([("a", "a b"), ("a b c", "a"), ("a b", "b a"), ("", "x")]) == 0.625


class TestOverlap:
    @pytest.mark.parametrize(
        ("answer", "expected"),
        [
            ("Paris", 1.0),
            ("PARIS, in the west of Paris!", 0.5),  # each word once, and only the long ones
            ("Rome", 0.0),
            ("yes", 0.0),
            ("", 0.0),
        ],
    )
    def test_by_hand(self, answer: str, expected: float) -> None:
        assert overlap(answer, ["The tower is", "in Paris."]) == expected

    def test_as_a_rule(self) -> None:
        rows = [("Paris", "Rome", ["Paris"]), ("Rome", "Paris", ["Paris"]), ("no", "yes", ["no"])]
        assert overlap_is_right(rows) == 0.5
        assert overlap_is_right([]) is None


class TestWilson:
    @given(st.integers(0, 500), st.integers(1, 500))
    def test_at_its_bounds_the_share_is_as_far_off_as_95_percent_allow(
        self, successes: int, count: int
    ) -> None:
        share = min(successes, count) / count
        for bound in wilson(min(successes, count), count) or ():
            deviation = (bound * (1 - bound) / count) ** 0.5
            assert abs(share - bound) == pytest.approx(1.959964 * deviation, abs=1e-7)

    def test_where_all_or_none_succeed(self) -> None:
        square = 1.959964**2
        assert wilson(0, 10) == pytest.approx((0, square / (10 + square)))
        assert wilson(10, 10) == pytest.approx((10 / (10 + square), 1))

    def test_of_nothing(self) -> None:
        assert wilson(0, 0) is None

    @given(st.integers(0, 500), st.integers(1, 500))
    def test_it_holds_the_share_and_turns_with_it(self, successes: int, count: int) -> None:
        successes = min(successes, count)
        low, high = wilson(successes, count) or (0.0, 0.0)
        assert 0 <= low <= successes / count + 1e-12
        assert successes / count - 1e-12 <= high <= 1
        assert (1 - high, 1 - low) == pytest.approx(wilson(count - successes, count))
