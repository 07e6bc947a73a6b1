"""The quality of scores for known right and wrong answers: order, calibration, noise.

Scores are finite numbers; reliability needs them in [0, 1]. A figure without data is None, never 0.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import fsum, sqrt
from statistics import StatisticsError, correlation

#: Two answers are of like length where the longer one has at most this many times the words.
LIKE_LENGTH = 1.34
#: Scores of one answer that differ by at most this much count as the same.
SAME_SCORE = 0.01
#: Decimal places to which differences are exact: 0.81 and 0.8 differ by 0.01, not by a bit more.
_DIGITS = 9
#: Words of so many letters or fewer are in every text.
_SHORT_WORD = 3
#: Standard deviations that hold 95 % of a normal distribution.
_Z95 = 1.959964


def pair_accuracy(pairs: Iterable[tuple[float, float]]) -> float | None:
    """Share of pairs (score of the right answer, of the wrong one) in order; a tie counts half.

    None where there is no pair.
    """
    doubled = [2 * (right > wrong) + (right == wrong) for right, wrong in pairs]
    return sum(doubled) / (2 * len(doubled)) if doubled else None


def roc_auc(scored: Iterable[tuple[float, bool]]) -> float | None:
    """Area under the ROC curve of (score, is right), by the Mann-Whitney statistic.

    It is the chance that a right answer scores above a wrong one, ties counting half. None unless
    there are both kinds.
    """
    tally: dict[float, list[int]] = {}
    for score, right in scored:
        tally.setdefault(score, [0, 0])[bool(right)] += 1
    doubled = all_wrong = all_right = 0
    for _, (num_wrong, num_right) in sorted(tally.items()):
        doubled += num_right * (2 * all_wrong + num_wrong)
        all_wrong += num_wrong
        all_right += num_right
    return doubled / (2 * all_right * all_wrong) if all_right and all_wrong else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """Answers whose scores lie in [low, high), or up to 1 in the last bin."""

    low: float
    high: float
    count: int
    mean_score: float | None  #: None where there are no answers
    share_right: float | None  #: likewise


def reliability(scored: Iterable[tuple[float, bool]], bins: int = 10) -> list[Bin]:
    """The reliability curve of (score, is right): ``bins`` bins of equal width over [0, 1].

    Where scores are probabilities of being right, ``share_right`` is ``mean_score`` in each bin.
    """
    edges = [number / bins for number in range(bins + 1)]
    held: list[list[tuple[float, bool]]] = [[] for _ in range(bins)]
    for score, right in scored:
        held[min(bisect_right(edges, score), bins) - 1].append((score, right))
    return [
        Bin(
            low=low,
            high=high,
            count=len(found),
            mean_score=fsum(score for score, _ in found) / len(found) if found else None,
            share_right=sum(right for _, right in found) / len(found) if found else None,
        )
        for low, high, found in zip(edges, edges[1:], held, strict=False)
    ]


def expected_calibration_error(
    scored: Iterable[tuple[float, bool]], bins: int = 10
) -> float | None:
    """Mean distance of score from share of right answers over the bins, weighted by their counts.

    This is the ECE of Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, with the
    score taken as the probability that the answer is right. 0 is perfect. None where there is
    no answer.
    """
    found = reliability(scored, bins)
    total = sum(held.count for held in found)
    gaps = (
        held.count * abs(held.share_right - held.mean_score)
        for held in found
        if held.share_right is not None and held.mean_score is not None
    )
    return fsum(gaps) / total if total else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How far repeated judgements agree, over what was scored in every repeat."""

    answers: int  #: scored in every repeat
    mean_difference: float  #: mean |difference| of two repeats' scores of an answer
    same_score: float  #: share of answers whose scores all lie within ``SAME_SCORE``
    correlation: float | None  #: Pearson's, of the first and second repeat; None if one is constant
    pairs: int  #: whose both answers were scored in every repeat
    same_order: float | None  #: share of them ordered alike in all repeats; a tie is an order


def agreement(
    scores: Sequence[Sequence[float | None]], pairs: Iterable[tuple[int, int]] = ()
) -> Agreement | None:
    """Agreement of ``scores``: one row an answer, one column a repeat, None where it got no score.

    ``pairs`` names pairs of answers by their rows. None with fewer than two repeats, or where
    nothing was scored in all of them.
    """
    complete = {
        number: [score for score in row if score is not None]
        for number, row in enumerate(scores)
        if len(row) > 1 and None not in row
    }
    if not complete:
        return None
    rows = list(complete.values())
    differences = [
        round(abs(one - other), _DIGITS) for row in rows for one, other in combinations(row, 2)
    ]
    widest = [round(max(row) - min(row), _DIGITS) for row in rows]
    ordered = [
        len({_order(a, b) for a, b in zip(complete[one], complete[other], strict=True)}) == 1
        for one, other in pairs
        if one in complete and other in complete
    ]
    return Agreement(
        answers=len(rows),
        mean_difference=fsum(differences) / len(differences),
        same_score=sum(width <= SAME_SCORE for width in widest) / len(widest),
        correlation=_correlation([row[0] for row in rows], [row[1] for row in rows]),
        pairs=len(ordered),
        same_order=sum(ordered) / len(ordered) if ordered else None,
    )


def like_length(one: str, other: str) -> bool:
    """Whether two answers have about as many words, within a factor of ``LIKE_LENGTH``."""
    short, long = sorted((len(one.split()), len(other.split())))
    return long <= LIKE_LENGTH * short


def shorter_is_right(pairs: Iterable[tuple[str, str]]) -> float | None:
    """Pair accuracy, over (right, wrong) texts, of always preferring the one with fewer words."""
    return pair_accuracy((-len(right.split()), -len(wrong.split())) for right, wrong in pairs)


def overlap_is_right(rows: Iterable[tuple[str, str, Sequence[str]]]) -> float | None:
    """Pair accuracy, over (right, wrong, contexts), of preferring the words of the contexts."""
    return pair_accuracy(
        (overlap(right, contexts), overlap(wrong, contexts)) for right, wrong, contexts in rows
    )


def overlap(answer: str, contexts: Sequence[str]) -> float:
    """Share of the answer's different words of more than three letters that the contexts have.

    0 where it has no such word.
    """
    words = {word for word in _words(answer) if len(word) > _SHORT_WORD}
    return len(words & _words(" ".join(contexts))) / len(words) if words else 0.0


def wilson(successes: int, count: int) -> tuple[float, float] | None:
    """The 95 % interval of a share, by Wilson's score; None where ``count`` is 0.

    Unlike the normal approximation it holds for few cases, and for shares of 0 and 1.
    """
    if not count:
        return None
    share, spread = successes / count, _Z95**2 / count
    middle = share + spread / 2
    half = sqrt(share * (1 - share) * spread + spread**2 / 4)
    low, high = (middle - half) / (1 + spread), (middle + half) / (1 + spread)
    return max(low, 0.0), min(high, 1.0)


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


def _order(one: float, other: float) -> int:
    return (one > other) - (one < other)


def _correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    try:
        return min(max(correlation(first, second), -1.0), 1.0)
    except StatisticsError:  # fewer than two answers, or all scores the same
        return None
