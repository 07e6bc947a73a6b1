"""The training pairs that a panel and the rule make of labelled pairs, and which are right.

Rankings show how well a judge orders answers; decisions show what a model would be trained on. The
two answers of a row are a batch of two, and ``core.pairing.decide`` decides it like any other.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from rlvr_ray.core import ids
from rlvr_ray.core.errors import JudgeError
from rlvr_ray.core.pairing import PairingRule, Result, decide, defect_of
from rlvr_ray.core.records import (
    NO_TOKENS,
    Batch,
    Candidate,
    Context,
    Defect,
    FailedVerification,
    Kind,
    Outcome,
    Verification,
)
from rlvr_ray.core.scoring import score
from rlvr_ray.verification.calibration import measures
from rlvr_ray.verification.calibration.labelled import Answer, Row

#: Of every batch and outcome: decisions hang on texts, not on times.
_TIME = datetime(2000, 1, 1, tzinfo=UTC)

Figures = dict[str, Any]
#: Heads of what ``columns`` gives.
COLUMNS = ("rows", "accuracy", "shorter", "overlap", "pairs", "right", "precision", "95 %")


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A row and what became of it; ``scores`` are those of the right and of the wrong answer."""

    row: Row
    outcome: Outcome
    right: bool | None  #: whether the chosen answer is the right one; None where there is no pair
    defect: Defect | None  #: of a pair's rejected answer
    scores: tuple[float | None, float | None]


def by_hash(row: Row) -> list[Answer]:
    """A row's answers in the order of a hash of their texts, which knows nothing of labels.

    The right one stands first in half of the rows, so no rule can profit from the index.
    """
    return sorted(row.answers, key=lambda answer: ids.derive(row.question, answer.text))


def batch_of(row: Row, answers: Sequence[Answer], repeat: int = 0) -> Batch:
    """A row's answers, in this order, as a batch."""
    batch_id = ids.derive("judge-report", row.line, repeat)
    return Batch(
        batch_id=batch_id,
        correlation_id="judge-report",
        kind=Kind.PREFERENCE,
        question=row.question,
        contexts=tuple(Context(content=text, score=0.0, metadata={}) for text in row.contexts),
        candidates=tuple(
            Candidate(
                event_id=ids.answer_event(batch_id, index),
                index=index,
                answer=answer.text,
                temperature=0.0,
                seed=0,
                model="",
                finish_reason="stop",
                usage=NO_TOKENS,
            )
            for index, answer in enumerate(answers)
        ),
        prompt_version="",
        created_at=_TIME,
        references=row.references,
    )


def decision(
    row: Row, results: Mapping[Answer, Verification | JudgeError], rule: PairingRule
) -> Decision:
    """What the rule makes of a row's answers, in the order in which ``results`` has them."""
    answers = list(results)
    batch = batch_of(row, answers)
    kept = [_kept(c, results[a]) for c, a in zip(batch.candidates, answers, strict=True)]
    outcome = decide(
        batch,
        {c.event_id: result for c, result in zip(batch.candidates, kept, strict=True)},
        rule,
        _TIME,
    )
    scores = {
        answer.right: score(result) if isinstance(result, Verification) else None
        for answer, result in results.items()
    }
    right = named = None
    if outcome.reason is None:
        assert outcome.chosen is not None and outcome.rejected is not None, "a pair has both"
        right = answers[outcome.chosen].right
        named = defect_of(batch.candidates[outcome.rejected], kept[outcome.rejected])
    return Decision(
        row=row, outcome=outcome, right=right, defect=named, scores=(scores[True], scores[False])
    )


def _kept(candidate: Candidate, result: Verification | JudgeError) -> Result:
    if isinstance(result, Verification):
        return result
    reason = str(result).replace("\0", "\\0").encode("utf-8", "replace").decode()
    return FailedVerification(
        answer_event_id=candidate.event_id, reason=reason, attempts=1, completed_at=_TIME
    )


def figures(decisions: Sequence[Decision], rule: PairingRule) -> Figures:
    """Yield and precision, over all rows and by kind, and what became of each row."""
    kinds = sorted({d.row.kind for d in decisions if d.row.kind})
    return {
        "rule": asdict(rule),
        **_figures(decisions),
        "by_kind": [
            {"kind": kind, **_figures([d for d in decisions if d.row.kind == kind])}
            for kind in kinds
        ],
        "outcomes": [_outcome(decision) for decision in decisions],
    }


def columns(figures: Mapping[str, Any]) -> list[str]:
    """The key figures as texts: a row of a table whose heads are ``COLUMNS``."""
    return [
        f"{figures['rows']:,}",
        *(_share(figures[name]) for name in ("accuracy", "shorter", "overlap")),
        f"{figures['pairs']:,}",
        f"{figures['right_pairs']:,}",
        _share(figures["precision"]),
        interval(figures),
    ]


def interval(figures: Mapping[str, Any]) -> str:
    """That of the precision, as a text."""
    bounds = figures["precision_interval"]
    return "–" if bounds is None else f"{bounds[0]:.2f}–{bounds[1]:.2f}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _figures(decisions: Sequence[Decision]) -> Figures:
    pairs = [d for d in decisions if d.right is not None]
    right = sum(d.right is True for d in pairs)
    scored = [(a, b) for a, b in (d.scores for d in decisions) if a is not None and b is not None]
    texts = [(_text(d.row, right=True), _text(d.row, right=False)) for d in decisions]
    reasons = Counter(str(d.outcome.reason) for d in decisions if d.outcome.reason is not None)
    defects = Counter(d.defect for d in pairs)
    interval = measures.wilson(right, len(pairs))
    return {
        "rows": len(decisions),
        "unscored": len(decisions) - len(scored),
        "accuracy": measures.pair_accuracy(scored),
        "shorter": measures.shorter_is_right(texts),
        "overlap": measures.overlap_is_right(
            (*both, d.row.contexts) for both, d in zip(texts, decisions, strict=True)
        ),
        "pairs": len(pairs),
        "right_pairs": right,
        "yield": len(pairs) / len(decisions),
        "precision": right / len(pairs) if pairs else None,
        "precision_interval": interval and [*interval],
        "no_pair": [{"reason": reason, "count": count} for reason, count in reasons.most_common()],
        "defects": [
            {
                "defect": name,
                "pairs": count,
                "right_pairs": sum(d.right is True for d in pairs if d.defect == name),
            }
            for name, count in defects.most_common()
        ],
    }


def _outcome(decision: Decision) -> Figures:
    outcome = decision.outcome
    return {
        "line": decision.row.line,
        "kind": decision.row.kind,
        "chosen": None if decision.right is None else "right" if decision.right else "wrong",
        "reason": outcome.reason,
        "detail": outcome.detail,
        "defect": decision.defect,
        "scores": [*decision.scores],
    }


def _text(row: Row, *, right: bool) -> str:
    return next(answer.text for answer in row.answers if answer.right is right)
