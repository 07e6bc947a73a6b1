"""What a run counts: bounded, and complete."""

import pytest

from rlvr_ray.bulk.statistics import BARS, EXAMPLES, STRETCHES, Course, Prices, Rates, RunStatistics
from rlvr_ray.core.records import NO_TOKENS, Usage
from rlvr_ray.dataset.state import OutcomeSummary

SPENT = Usage(prompt_tokens=1_000_000, completion_tokens=100_000, cached_tokens=400_000)


def test_a_course_keeps_its_size_and_loses_nothing() -> None:
    course = Course()
    for second in range(0, 100_000, 7):
        course.add(second + 0.5, second % 2)
    assert STRETCHES / 2 <= len(course.decided) <= STRETCHES
    assert len(course.pairs) == len(course.decided)
    assert sum(course.decided) == len(range(0, 100_000, 7))
    assert sum(course.pairs) == sum(second % 2 for second in range(0, 100_000, 7))
    assert course.stretch_s * len(course.decided) >= 100_000 - 7
    # It was even: no stretch stands out, wherever stretches were put together.
    assert max(course.decided[:-1]) - min(course.decided[:-1]) <= 1


def test_a_gap_is_in_the_course_as_one() -> None:
    course = Course()
    course.add(0.1, 1)
    course.add(5.9, 2)
    assert course.decided == [1, 0, 0, 0, 0, 1]
    assert course.pairs == [1, 0, 0, 0, 0, 2]


def test_examples_are_few() -> None:
    stats = RunStatistics()
    for number in range(EXAMPLES + 5):
        stats.failed("malformed", f"line {number}")
    assert stats.failures == {"malformed": EXAMPLES + 5}
    assert stats.examples == {"malformed": [f"line {n}" for n in range(EXAMPLES)]}


def test_an_ending_counts_by_its_pairs() -> None:
    stats = RunStatistics()
    stats.ended(OutcomeSummary(reason=None, margins=(0.3, 1.0), judging=SPENT), 2.0)
    stats.ended(OutcomeSummary(reason="margin_too_small", margins=(0.01,)), None)
    stats.ended(OutcomeSummary(reason="unscored"), 3.0)
    assert (stats.decided, stats.pairs) == (3, 2)
    assert stats.outcomes == {"pair": 1, "margin_too_small": 1, "unscored": 1}
    assert stats.judging == SPENT and stats.answers == NO_TOKENS
    assert [place for place, n in enumerate(stats.pair_margins) if n] == [6, BARS - 1]
    assert [place for place, n in enumerate(stats.other_margins) if n] == [0]
    assert stats.course.decided == [0, 0, 1, 1]


def test_cached_tokens_have_a_price_of_their_own() -> None:
    prices = Prices(prompt=2.0, cached=0.5, completion=10.0)
    assert prices.cost(SPENT) == pytest.approx(0.6 * 2 + 0.4 * 0.5 + 0.1 * 10)
    free = Prices(prompt=0.0, cached=0.0, completion=0.0)
    assert Rates(generator=free, judge=prices).cost(SPENT, NO_TOKENS) == 0
    assert Rates(generator=free, judge=prices).cost(SPENT, SPENT) == prices.cost(SPENT)
