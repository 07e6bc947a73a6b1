"""The rule that decides whether a batch makes a training pair.

A pure function of the batch, its verifications and the rule: order of arrival, repeats and
restarts cannot change what it says.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from statistics import fmean, pstdev
from typing import Any, Literal
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
#: Whom the best answer is set against; see ``_rejected``.
Strategy = Literal["best_worst", "best_random", "best_low"]
Scored = tuple[float, Candidate]

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
    max_length_ratio: float | None = None  #: of the longer answer to the shorter; None: any


def decide(
    batch: Batch, results: Mapping[UUID, Result], rule: PairingRule, decided_at: datetime
) -> Outcome:
    """Decide a batch whose candidates all have a result, keyed by the answer's event id.

    Raises KeyError while a result is missing.
    """
    scored: list[Scored] = []
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

    # Equal scores rank by index, so that the order in which results came cannot matter.
    scored.sort(key=lambda pair: (-pair[0], pair[1].index))
    (best_score, best), (worst_score, worst) = scored[0], _rejected(batch, scored, rule)
    verdict |= {
        "chosen": best.index,
        "rejected": worst.index,
        "chosen_score": best_score,
        "rejected_score": worst_score,
    }
    reason, detail = _objection(best, best_score, worst, worst_score, rule)
    return Outcome(**verdict, reason=reason, detail=detail)


def _rejected(batch: Batch, scored: Sequence[Scored], rule: PairingRule) -> Scored:
    """The answer that the first of the ranked ones is set against.

    ``best_worst``: the last one. The others choose among those that may make a pair with the best,
    and take the last one where none may. ``best_random``: any of them, by a seed that follows from
    the batch's id. ``best_low``: the one whose score is nearest to the batch's mean less two
    standard deviations (Xiao et al., 2025, arXiv 2502.16825); it differs from the last one where
    there are many candidates.
    """
    best = scored[0]
    fit = [
        other
        for other in scored[1:]
        if rule.strategy != "best_worst" and _unfit(best, other, rule) is None
    ]
    if not fit:
        return scored[-1]
    if rule.strategy == "best_random":
        return fit[ids.seed(batch.batch_id, len(scored)) % len(fit)]
    scores = [value for value, _ in scored]
    low = fmean(scores) - 2 * pstdev(scores)
    return min(fit, key=lambda other: (round(abs(other[0] - low), DIGITS), other[0]))


def _objection(
    best: Candidate, best_score: float, worst: Candidate, worst_score: float, rule: PairingRule
) -> tuple[Reason | None, str]:
    unfit = _unfit((best_score, best), (worst_score, worst), rule)
    if unfit is not None and unfit[0] is not Reason.LENGTH_RATIO:
        return unfit
    if best_score < rule.min_chosen_score:
        return Reason.CHOSEN_TOO_LOW, f"best score {best_score:g} < {rule.min_chosen_score}"
    if rule.quality_filter and best.finish_reason != "stop":
        return Reason.QUALITY_FILTER, "the best answer was cut by the token limit"
    if rule.quality_filter and len(best.answer.split()) < MIN_CHOSEN_WORDS:
        return Reason.QUALITY_FILTER, f"the best answer has fewer than {MIN_CHOSEN_WORDS} words"
    diff = round(best_score - worst_score, DIGITS)
    return unfit or (None, f"margin {diff:g}, best score {best_score:g}")


def _unfit(best: Scored, other: Scored, rule: PairingRule) -> tuple[Reason, str] | None:
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
    if rule.max_length_ratio is not None and lengths[1] > rule.max_length_ratio * lengths[0]:
        return (
            Reason.LENGTH_RATIO,
            f"{lengths[1]:,} and {lengths[0]:,} characters: the ratio is above "
            f"{rule.max_length_ratio:g}",
        )
    return None
