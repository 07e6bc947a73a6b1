"""The rule that decides whether a batch makes a training pair.

A pure function of the batch, its verifications and the rule: order of arrival, repeats and restarts
do not change the outcome.

A pair is evidence: its chosen answer scores high and has no known defect; its rejected answer
scores lower by a margin and has a named defect. Otherwise there is no pair.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from itertools import combinations
from statistics import fmean, pstdev
from typing import Any, Literal, NamedTuple
from uuid import UUID

from rlvr_ray.core import ids, sanitising
from rlvr_ray.core.answer_text import answer_in, control_tokens
from rlvr_ray.core.fields import DIGITS, whole
from rlvr_ray.core.records import (
    Batch,
    Candidate,
    Defect,
    FailedVerification,
    Kind,
    Outcome,
    Reason,
    Verification,
)
from rlvr_ray.core.scoring import defect, score
from rlvr_ray.core.spelling import canonical, same_answer

Result = Verification | FailedVerification
#: Which of the answers that make a pair with the best is the rejected one; see ``choose``.
Strategy = Literal["best_worst", "best_random", "best_low"]
#: What the prompt of a pair is: the bare question, or with its contexts.
Prompt = Literal["question", "rag"]

#: Of the rule. One more whenever the same results could be decided otherwise than before: by a gate
#: here, by what counts as a defect, or by what counts as a spelling.
VERSION = 3
#: A chosen answer of fewer words teaches a model little; only the quality filter asks.
MIN_CHOSEN_WORDS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class PairingRule:
    """Thresholds, all inclusive, and what a pair's prompt is. An outcome keeps them all."""

    min_score_diff: float = 0.05
    min_chosen_score: float = 0.6
    min_chosen_faithfulness: float = 0.75  #: of a chosen answer that has one
    min_chosen_relevancy: float = 0.6  #: likewise
    rejected_needs_defect: bool = True  #: or else the margin is enough
    quality_filter: bool = False
    prompt: Prompt = "question"
    strategy: Strategy = "best_worst"
    max_length_ratio: float = 0.0  #: of the longer answer to the shorter; 0: any
    version: int = VERSION

    @classmethod
    def on_record(cls, rule: Mapping[str, Any]) -> "PairingRule":
        """An outcome's rule. One without a version is of the first, which knew no defects.

        Raises ValueError where a setting is unknown or of another type.
        """
        first = {
            "version": 1,
            "min_chosen_faithfulness": 0.0,
            "min_chosen_relevancy": 0.0,
            "rejected_needs_defect": False,
        }
        known = {setting.name: type(setting.default) for setting in fields(cls)}
        for name, value in rule.items():
            kind = known.get(name)
            if type(value) is not kind and (type(value), kind) != (int, float):
                raise ValueError(f"rule.{name} is no setting of this version")
            whole(f"rule.{name}", value)
        return cls(**(rule if "version" in rule else first | dict(rule)))


def check(batch: Batch, results: Mapping[UUID, Result], outcome: Outcome | None) -> None:
    """Raise ValueError where results, keyed by answer, or outcome are not those of the batch."""
    answers = {candidate.event_id for candidate in batch.candidates}
    for answer, result in results.items():
        if answer not in answers or result.answer_event_id != answer:
            raise ValueError(f"a result is of {result.answer_event_id}, which is another answer")
    if outcome is None:
        return
    if outcome.batch_id != batch.batch_id:
        raise ValueError(f"its outcome names batch {outcome.batch_id}")
    if missing := sorted(map(str, answers - set(results))):
        raise ValueError(f"decided without a result for {', '.join(missing)}")
    for index in (outcome.chosen, outcome.rejected):
        if index is None:
            continue
        scored = 0 <= index < len(batch.candidates) and isinstance(
            results[batch.candidates[index].event_id], Verification
        )
        if not scored:
            raise ValueError(
                f"its outcome gives answer {index + 1} a score that its results do not"
            )
    PairingRule.on_record(outcome.rule)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """What the rule looks at of an answer that has a score."""

    index: int  #: its place in the batch
    answer: str
    score: float
    faithfulness: float | None
    relevancy: float | None
    defect: Defect | None


class Choice(NamedTuple):
    """Two answers, and why they make no pair or None, with the figures that decide."""

    best: Scored
    other: Scored
    reason: Reason | None
    detail: str


def decide(
    batch: Batch, results: Mapping[UUID, Result], rule: PairingRule, decided_at: datetime
) -> Outcome:
    """Decide a batch whose candidates all have a result, keyed by the answer's event id.

    Raises KeyError while a result is missing.
    """
    answers: list[Scored] = []
    failed: list[str] = []
    for candidate in batch.candidates:
        result = results[candidate.event_id]
        if problem := unscorable(candidate):
            failed.append(f"answer {candidate.index + 1}: {problem}")
        elif isinstance(result, Verification):
            answers.append(scored(candidate, result))
        else:
            failed.append(f"answer {candidate.index + 1}: {result.reason}")

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
    if len(answers) < 2:
        detail = "; ".join(failed) or "one answer makes no pair"
        return Outcome(**verdict, reason=Reason.UNSCORED, detail=detail)

    found = choose(batch.batch_id, answers, rule)
    verdict |= {
        "chosen": found.best.index,
        "rejected": found.other.index,
        "chosen_score": found.best.score,
        "rejected_score": found.other.score,
    }
    return Outcome(**verdict, reason=found.reason, detail=found.detail)


def unscorable(candidate: Candidate) -> str | None:
    """Why nobody can say how good an answer is; None where a verifier may."""
    if candidate.reasoning_chars and not sanitising.visible(candidate.answer).strip():
        return (
            f"the model wrote {candidate.reasoning_chars:,} characters of reasoning and no answer: "
            "give it more tokens (generator.max_tokens), or switch its reasoning off"
        )
    return no_answer(candidate.answer, candidate.finish_reason)


def no_answer(text: str, finish_reason: str) -> str | None:
    """Why a text is not the answer to a question alone; None where it is."""
    if not sanitising.visible(text).strip():
        return "the answer is empty"
    if finish_reason not in ("stop", "length"):
        return "it is not known whether the answer is whole: the server gave no known finish reason"
    if answer_in(text).text != text.strip():
        return "the answer holds reasoning, control tokens or an invented turn"
    if found := control_tokens(text):
        return f"a trainer's tokenizer would read {found[0]} as a control token"
    return None


def scored(candidate: Candidate, verification: Verification) -> Scored:
    """A candidate as the rule sees it."""
    return Scored(
        index=candidate.index,
        answer=candidate.answer,
        score=score(verification),
        faithfulness=verification.faithfulness,
        relevancy=verification.relevancy,
        defect=defect_of(candidate, verification),
    )


def defect_of(candidate: Candidate, result: Result) -> Defect | None:
    """What is wrong with an answer: what its verifiers name, or else that it was cut off."""
    if not isinstance(result, Verification):
        return None
    found = defect(result)
    cut_off = candidate.finish_reason == "length" and found in (None, Defect.LOW_SCORE)
    return Defect.CUT_OFF if cut_off else found


def ranked(answers: Sequence[Scored]) -> list[Scored]:
    """The best first. Equal scores rank by index: the order in which results came is no matter."""
    return sorted(answers, key=lambda one: (-one.score, one.index))


def choose(batch_id: UUID, answers: Sequence[Scored], rule: PairingRule) -> Choice:
    """The chosen and the rejected one of two or more answers.

    The chosen one is the best-scored that makes a pair with another. Of those others the rejected
    one is: by ``best_worst`` the worst-scored; by ``best_random`` any of them, by a seed that
    follows from the batch's id; by ``best_low`` the one whose score is nearest to the batch's mean
    less two standard deviations (Xiao et al., 2025, arXiv 2502.16825), which differs from the
    worst where there are many candidates.

    Where no two make a pair, the reason is that of the best-scored and the worst-scored answer.
    """
    distinct = _distinct(answers, rule)
    if len(distinct) < 2:
        order = ranked(answers)
        same = same_answer(order[0].answer, order[-1].answer)
        detail = (
            "the best and the worst answer are the same text"
            if same
            else "the spellings of an answer do not score alike, and no two others are left"
        )
        return Choice(order[0], order[-1], Reason.IDENTICAL_ANSWERS, detail)
    found = _pairs(distinct, rule)
    if not found:
        return _choice(distinct[0], distinct[-1], rule)
    best = found[0][0]
    others = [other for one, other in found if one is best]
    if rule.strategy == "best_worst":
        other = others[-1]
    elif rule.strategy == "best_random":
        other = others[ids.seed(batch_id, len(answers)) % len(others)]
    else:
        scores = [one.score for one in answers]
        low = fmean(scores) - 2 * pstdev(scores)
        other = min(others, key=lambda one: (round(abs(one.score - low), DIGITS), one.score))
    return _choice(best, other, rule)


def all_pairs(answers: Sequence[Scored], rule: PairingRule) -> list[tuple[Scored, Scored]]:
    """Every two answers that make a pair, as RS-DPO forms them (Khaki et al., 2024, arXiv
    2402.10038): the better one first, in the order of rank.
    """
    return _pairs(_distinct(answers, rule), rule)


def _pairs(distinct: Sequence[Scored], rule: PairingRule) -> list[tuple[Scored, Scored]]:
    return [
        (one, other)
        for one, other in combinations(distinct, 2)
        if objection(one, other, rule)[0] is None
    ]


def _choice(best: Scored, other: Scored, rule: PairingRule) -> Choice:
    return Choice(best, other, *objection(best, other, rule))


def _distinct(answers: Sequence[Scored], rule: PairingRule) -> list[Scored]:
    """Each answer once, ranked, whatever its spellings: the first one stands for all.

    Where their scores are as far apart as a pair's must be, or some of them have a defect and
    others none, the verifiers contradict themselves, and the answer is left out.
    """
    spellings: defaultdict[str, list[Scored]] = defaultdict(list)
    for one in sorted(answers, key=lambda one: one.index):
        spellings[canonical(one.answer)].append(one)
    return ranked([same[0] for same in spellings.values() if _agree(same, rule)])


def _agree(same: Sequence[Scored], rule: PairingRule) -> bool:
    scores = [one.score for one in same]
    return (
        _margin(max(scores), min(scores)) < rule.min_score_diff
        and len({one.defect is None for one in same}) == 1
    )


def _margin(better: float, worse: float) -> float:
    return round(better - worse, DIGITS)


def objection(best: Scored, other: Scored, rule: PairingRule) -> tuple[Reason | None, str]:
    """Why two answers that differ make no pair, or None; and the figures that decide."""
    diff = _margin(best.score, other.score)
    if diff == 0:
        return Reason.TIE, f"best and worst both score {best.score:g}"
    if diff < rule.min_score_diff:
        return Reason.MARGIN_TOO_SMALL, f"margin {diff:g} < {rule.min_score_diff}"
    reason, detail = chosen_objection(best, rule)
    if reason is not None:
        return reason, detail
    if rule.rejected_needs_defect and other.defect is None:
        return Reason.NO_DEFECT, "nothing is known to be wrong with the worst answer"
    lengths = sorted(len(one.answer.strip()) for one in (best, other))
    if rule.max_length_ratio and lengths[1] > rule.max_length_ratio * lengths[0]:
        return (
            Reason.LENGTH_RATIO,
            f"{lengths[1]:,} and {lengths[0]:,} characters: the ratio is above "
            f"{rule.max_length_ratio:g}",
        )
    rejected = f", rejected: {other.defect}" if other.defect else ""
    return None, f"margin {diff:g}, best score {best.score:g}{rejected}"


def chosen_objection(best: Scored, rule: PairingRule) -> tuple[Reason | None, str]:
    """Why an answer cannot be the chosen one of any pair, or None; and the figures that decide."""
    if best.score < rule.min_chosen_score:
        return Reason.CHOSEN_TOO_LOW, f"best score {best.score:g} < {rule.min_chosen_score}"
    for name, value, least in (
        ("faithfulness", best.faithfulness, rule.min_chosen_faithfulness),
        ("relevancy", best.relevancy, rule.min_chosen_relevancy),
    ):
        if value is not None and value < least:
            return Reason.CHOSEN_TOO_LOW, f"the best answer's {name} {value:g} < {least}"
    # How low a score may be is the threshold's to say.
    if best.defect not in (None, Defect.LOW_SCORE):
        return Reason.CHOSEN_DEFECT, f"the best answer has a defect: {best.defect}"
    if rule.quality_filter and len(best.answer.split()) < MIN_CHOSEN_WORDS:
        return Reason.QUALITY_FILTER, f"the best answer has fewer than {MIN_CHOSEN_WORDS} words"
    return None, ""
