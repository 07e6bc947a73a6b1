"""Which of a batch's answers are exported: the best one, pairs by a rule, or all of no pair."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any
from uuid import UUID

from rlvr_ray.core.fields import DIGITS
from rlvr_ray.core.pairing import (
    PairingRule,
    Scored,
    all_pairs,
    choose,
    chosen_objection,
    no_answer,
    ranked,
)
from rlvr_ray.core.records import Reason
from rlvr_ray.core.spelling import displayed
from rlvr_ray.training.export.examples import Answer, NoPair, Pair, Pairs


def best(answers: Sequence[Answer], rule: PairingRule) -> tuple[Answer | None, Counter[str]]:
    """The answer of a batch to imitate, and why the others are none.

    It is the best one, the first of equals, among those that are whole and that the rule lets be
    the chosen one of a pair.
    """
    reasons: Counter[str] = Counter()
    fit: list[tuple[float, int, Answer]] = []
    for value in answers:
        if not displayed(value.answer):
            reasons["empty_answer"] += 1
        elif value.score is None:
            reasons["unscored"] += 1
        elif value.finish_reason != "stop":
            reasons["cut_off"] += 1
        elif no_answer(value.answer, value.finish_reason):
            reasons["not_an_answer"] += 1
        elif why := chosen_objection(_as_scored(value, value.score), rule)[0]:
            reasons[_UNFIT.get(why, why)] += 1
        else:
            fit.append((-value.score, value.index, value))
    if not fit:
        return None, reasons
    if len(fit) > 1:
        reasons["not_the_best"] += len(fit) - 1
    return min(fit, key=lambda entry: entry[:2])[2], reasons


#: Why an answer is not to be imitated, by why it is not chosen.
_UNFIT = {Reason.CHOSEN_TOO_LOW: "score_too_low", Reason.CHOSEN_DEFECT: "defect"}


def pairs(answers: Sequence[Answer], which: Pairs, rule: PairingRule) -> list[Pair] | Reason:
    """The pairs that a batch's answers give by a rule, or why they give none.

    Raises ValueError where some of its answers are not there.
    """
    scored = _scored(answers)
    if isinstance(scored, Reason):
        return scored
    by_index = {value.index: value for value in answers}
    match which:
        case "best_worst" | "best_random" | "best_low":
            rule = replace(rule, strategy=which)
    found = choose(UUID(answers[0].batch_id), scored, rule)
    if found.reason is not None:
        return found.reason
    both = all_pairs(scored, rule) if which == "all" else [(found.best, found.other)]
    named = {**asdict(rule), "strategy": which}
    return [
        Pair(
            **_both(by_index[one.index], by_index[other.index]),
            chosen=one.answer,
            rejected=other.answer,
            chosen_score=one.score,
            margin=round(one.score - other.score, DIGITS),
            rule=tuple(sorted((name, str(value)) for name, value in named.items())),
            defect=other.defect,
            cut_off=by_index[one.index].cut_off + by_index[other.index].cut_off,
            indices=(one.index, other.index),
        )
        for one, other in both
    ]


def no_pair(answers: Sequence[Answer]) -> NoPair | Reason:
    """A batch that made no pair though two or more answers have scores; else why it is none.

    Raises ValueError where some of its answers are not there.
    """
    scored = _scored(answers)
    if isinstance(scored, Reason):
        return scored
    best = ranked(scored)
    answers_by_index = {value.index: value for value in answers}
    return NoPair(
        **_both(*answers),
        answers=tuple(one.answer for one in best),
        scores=tuple(one.score for one in best),
        reason=answers[0].outcome,
        cut_off=tuple(answers_by_index[one.index].finish_reason == "length" for one in best),
    )


def _scored(answers: Sequence[Answer]) -> list[Scored] | Reason:
    """Those that have a score, as the rule sees them: two or more, or why there are not."""
    first = answers[0]
    if len(answers) != first.num_candidates:
        raise ValueError(
            f"{len(answers)} of {first.num_candidates} answers of batch {first.batch_id} are there"
        )
    if first.outcome == Reason.SINGLE_ANSWER:
        return Reason.SINGLE_ANSWER
    scored = [
        _as_scored(value, value.score)
        for value in answers
        if value.score is not None and no_answer(value.answer, value.finish_reason) is None
    ]
    return scored if len(scored) > 1 else Reason.UNSCORED


def _as_scored(value: Answer, score: float) -> Scored:
    return Scored(
        index=value.index,
        answer=value.answer,
        score=score,
        faithfulness=value.faithfulness,
        relevancy=value.relevancy,
        defect=value.defect,
    )


def _both(*answers: Answer) -> dict[str, Any]:
    """What a row has of the batch that its answers are of."""
    first = answers[0]
    return {
        "batch_id": first.batch_id,
        "question": first.question,
        "contexts": first.contexts,
        "prompt_version": first.prompt_version,
        "models": tuple(dict.fromkeys(name for value in answers for name in value.models)),
        "judges": tuple(dict.fromkeys(judge for value in answers for judge in value.judges)),
    }
