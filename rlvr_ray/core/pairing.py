"""The rule that decides whether a batch makes a training pair.

A pure function of the batch, its verifications and the rule: order of arrival, repeats and
restarts cannot change what it says.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import combinations
from statistics import fmean, pstdev
from typing import Any, Literal, Protocol, TypeVar
from uuid import UUID

from rlvr_ray.core import ids
from rlvr_ray.core.records import (
    DIGITS,
    Batch,
    Candidate,
    FailedVerification,
    Kind,
    Outcome,
    Reason,
    Verification,
)
from rlvr_ray.core.scoring import score

Result = Verification | FailedVerification
#: Whom the best answer is set against; see ``paired``.
Strategy = Literal["best_worst", "best_random", "best_low"]


class Answered(Protocol):
    """What the rule looks at of an answer."""

    @property
    def index(self) -> int:
        """Its place in the batch."""
        ...

    @property
    def answer(self) -> str:
        """Its text."""
        ...

    @property
    def finish_reason(self) -> str:
        """``stop``, or ``length`` where the token limit cut it."""
        ...


A = TypeVar("A", bound=Answered)

#: A chosen answer of fewer words teaches a model little; only the quality filter asks.
MIN_CHOSEN_WORDS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class PairingRule:
    """Thresholds, both inclusive, and what a pair's prompt is. An outcome keeps them all."""

    min_score_diff: float = 0.05
    min_chosen_score: float = 0.6
    quality_filter: bool = False
    prompt: Literal["question", "rag"] = "question"
    strategy: Strategy = "best_worst"
    max_length_ratio: float = 0.0  #: of the longer answer to the shorter; 0: any


def decide(
    batch: Batch, results: Mapping[UUID, Result], rule: PairingRule, decided_at: datetime
) -> Outcome:
    """Decide a batch whose candidates all have a result, keyed by the answer's event id.

    Raises KeyError while a result is missing.
    """
    scored: list[tuple[float, Candidate]] = []
    failed: list[str] = []
    for candidate in batch.candidates:
        result = results[candidate.event_id]
        if isinstance(result, Verification):
            scored.append((score(result), candidate))
        else:
            failed.append(f"candidate {candidate.index}: {result.reason}")

    verdict: dict[str, Any] = {
        "batch_id": batch.batch_id,
        "chosen": None,
        "rejected": None,
        "chosen_score": None,
        "rejected_score": None,
        "rule": asdict(rule),
        "decided_at": decided_at,
    }
    if batch.kind is Kind.SINGLE:
        return Outcome(**verdict, reason=Reason.SINGLE_ANSWER, detail="one answer makes no pair")
    if failed:
        return Outcome(**verdict, reason=Reason.UNSCORED, detail="; ".join(failed))

    best, other = paired(batch.batch_id, scored, rule)
    verdict |= {
        "chosen": best[1].index,
        "rejected": other[1].index,
        "chosen_score": best[0],
        "rejected_score": other[0],
    }
    reason, detail = objection(best, other, rule)
    return Outcome(**verdict, reason=reason, detail=detail)


def ranked(scored: Sequence[tuple[float, A]]) -> list[tuple[float, A]]:
    """The best first. Equal scores rank by index: the order in which results came is no matter."""
    return sorted(scored, key=lambda pair: (-pair[0], pair[1].index))


def paired(
    batch_id: UUID, scored: Sequence[tuple[float, A]], rule: PairingRule
) -> tuple[tuple[float, A], tuple[float, A]]:
    """The best answer and the one that it is set against, whether they make a pair or not.

    ``best_worst``: the last one. The others choose among those that may make a pair with the best,
    and take the last one where none may. ``best_random``: any of them, by a seed that follows from
    the batch's id. ``best_low``: the one whose score is nearest to the batch's mean less two
    standard deviations (Xiao et al., 2025, arXiv 2502.16825); it differs from the last one where
    there are many candidates.
    """
    scored = ranked(scored)
    best = scored[0]
    fit = [
        other
        for other in scored[1:]
        if rule.strategy != "best_worst" and _unfit(best, other, rule) is None
    ]
    if not fit:
        return best, scored[-1]
    if rule.strategy == "best_random":
        return best, fit[ids.seed(batch_id, len(scored)) % len(fit)]
    scores = [value for value, _ in scored]
    low = fmean(scores) - 2 * pstdev(scores)
    return best, min(fit, key=lambda other: (round(abs(other[0] - low), DIGITS), other[0]))


def all_pairs(
    scored: Sequence[tuple[float, A]], rule: PairingRule
) -> list[tuple[tuple[float, A], tuple[float, A]]]:
    """Every two answers that make a pair by themselves, as RS-DPO forms them (Khaki et al., 2024,
    arXiv 2402.10038): the better one first, in the order of rank.

    Two texts make one pair at most, that of the largest margin: a text that stands there twice
    would double it and, where a judge gave it two scores, contradict it.
    """
    found: dict[frozenset[str], tuple[tuple[float, A], tuple[float, A]]] = {}
    for one, other in combinations(ranked(scored), 2):
        if objection(one, other, rule)[0] is None:
            texts = frozenset(" ".join(answer.answer.split()) for _, answer in (one, other))
            known = found.get(texts)
            if known is None or _margin(one, other) > _margin(*known):
                found[texts] = one, other
    return list(found.values())


def _margin(one: tuple[float, A], other: tuple[float, A]) -> float:
    return round(one[0] - other[0], DIGITS)


def objection(
    best: tuple[float, A], other: tuple[float, A], rule: PairingRule
) -> tuple[Reason | None, str]:
    """Why two answers make no pair, or None; and the figures that decide."""
    (best_score, chosen), (other_score, _) = best, other
    unfit = _unfit(best, other, rule)
    if unfit is not None and unfit[0] is not Reason.LENGTH_RATIO:
        return unfit
    if best_score < rule.min_chosen_score:
        return Reason.CHOSEN_TOO_LOW, f"best score {best_score:g} < {rule.min_chosen_score}"
    if rule.quality_filter and chosen.finish_reason != "stop":
        return Reason.QUALITY_FILTER, "the best answer was cut by the token limit"
    if rule.quality_filter and len(chosen.answer.split()) < MIN_CHOSEN_WORDS:
        return Reason.QUALITY_FILTER, f"the best answer has fewer than {MIN_CHOSEN_WORDS} words"
    diff = round(best_score - other_score, DIGITS)
    return unfit or (None, f"margin {diff:g}, best score {best_score:g}")


def _unfit(
    best: tuple[float, A], other: tuple[float, A], rule: PairingRule
) -> tuple[Reason, str] | None:
    """Why two answers make no pair, whatever each of them is worth."""
    (best_score, chosen), (other_score, rejected) = best, other
    diff = round(best_score - other_score, DIGITS)
    if chosen.answer.split() == rejected.answer.split():
        return Reason.IDENTICAL_ANSWERS, "the best and the worst answer are the same text"
    if diff == 0:
        return Reason.TIE, f"best and worst both score {best_score:g}"
    if diff < rule.min_score_diff:
        return Reason.MARGIN_TOO_SMALL, f"margin {diff:g} < {rule.min_score_diff}"
    lengths = sorted(len(candidate.answer.strip()) for candidate in (chosen, rejected))
    if rule.max_length_ratio and lengths[1] > rule.max_length_ratio * lengths[0]:
        return (
            Reason.LENGTH_RATIO,
            f"{lengths[1]:,} and {lengths[0]:,} characters: the ratio is above "
            f"{rule.max_length_ratio:g}",
        )
    return None
