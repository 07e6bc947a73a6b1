"""From the panel's results on labelled answers to the figures of the report.

``evaluate`` makes the result of ``rlvr judge-report``. Its keys are a contract, which
docs/calibration.md explains.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from math import fsum
from typing import Any

from rlvr_ray import __version__
from rlvr_ray.core.errors import JudgeError
from rlvr_ray.core.pairing import PairingRule
from rlvr_ray.core.records import Assessment, Verification
from rlvr_ray.core.scoring import score
from rlvr_ray.settings import Settings
from rlvr_ray.verification.calibration import decisions, measures
from rlvr_ray.verification.calibration.labelled import Answer, Kind, Labelled
from rlvr_ray.verification.calibration.public import public

#: Of the result's keys and their meaning.
SCHEMA_VERSION = 1
#: Decimal places of the result's figures.
DIGITS = 6
#: Reasons of missing scores that the result lists, and characters of each.
NUM_REASONS, REASON_CHARS = 10, 160

METRICS = ("faithfulness", "relevancy")
_NUMBER = re.compile(r"\d+(\.\d+)?")
Result = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """An answer of row ``line``, and what the panel said of it in each repeat."""

    line: int
    answer: Answer
    results: tuple[Verification | JudgeError, ...]


def evaluate(
    labelled: Labelled, judged: Sequence[Judged], settings: Settings, wall_seconds: float
) -> Result:
    """The result, as plain JSON data; ``judged`` holds the answers in the file's order.

    Order and calibration are those of the first repeat, which is what a single run would have
    given. Missing scores and costs are counted over all repeats.
    """
    answers, pairs = labelled.answers, labelled.pairs
    texts = [(answers[right].text, answers[wrong].text) for right, wrong in pairs]
    weights = {v.name: v.weight for v in settings.verification.chosen}
    for verdict in (result for row in judged for result in row.results):
        if isinstance(verdict, Verification):  # a cross-check is not among the settings
            weights |= {a.verifier: a.weight for a in verdict.assessments}
    result: Result = _rounded(
        {
            "schema_version": SCHEMA_VERSION,
            "rlvr_ray": __version__,
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "data": {
                "file": labelled.file,
                "sha256": labelled.sha256,
                "kind": labelled.kind.value,
                "limit": labelled.limit,
                "answers": len(answers),
                "right_answers": sum(answer.right for answer in answers),
                "pairs": len(pairs),
                "length_matched_pairs": sum(measures.like_length(*both) for both in texts),
                "shorter_is_right": measures.shorter_is_right(texts),
            },
            "settings": public(
                settings.model_dump(mode="json", include={"generator", "judge", "verification"})
            ),
            "repeats": len(judged[0].results),
            "wall_seconds": wall_seconds,
            "panel": _figures(labelled, judged, None),
            "decisions": _decisions(labelled, judged, settings.dpo.rule()),
            "verifiers": {
                name: {"weight": weight, "judges": _judges(judged, name)}
                | _figures(labelled, judged, name)
                for name, weight in weights.items()
            },
            "answers": [_detail(row, list(weights)) for row in judged],
        }
    )
    return result


Part = Verification | Assessment


def _part(result: Verification | JudgeError, name: str | None) -> Part | None:
    """What one verifier, or the panel (no name), said; None where it gave no score."""
    if isinstance(result, JudgeError):
        return None
    if name is None:
        return result
    return next((a for a in result.assessments if a.verifier == name), None)


def _value(part: Part | None, metric: str = "score") -> float | None:
    if isinstance(part, Verification) and metric == "score":
        return score(part)
    value: float | None = None if part is None else getattr(part, metric)
    return value


def _figures(labelled: Labelled, judged: Sequence[Judged], name: str | None) -> Result:
    """All figures of one verifier or of the panel."""
    parts = [[_part(result, name) for result in row.results] for row in judged]
    first = [row[0] for row in parts]
    scored = [
        (value, answer.right)
        for part, answer in zip(first, labelled.answers, strict=True)
        if (value := _value(part)) is not None
    ]
    agreement = measures.agreement(
        [[_value(part) for part in row] for row in parts], labelled.pairs
    )
    return {
        **_order(labelled, [_value(part) for part in first]),
        "metrics": {
            metric: _order(labelled, [_value(part, metric) for part in first]) for metric in METRICS
        },
        "expected_calibration_error": measures.expected_calibration_error(scored),
        "reliability": [asdict(held) for held in measures.reliability(scored)],
        "agreement": asdict(agreement) if agreement else None,
        "unscored": _unscored([result for row in judged for result in row.results], name),
        "cost": _cost([part for row in parts for part in row if part is not None]),
    }


def _decisions(labelled: Labelled, judged: Sequence[Judged], rule: PairingRule) -> Result | None:
    """What the panel of the first repeat and the rule make of pairs; None for single answers."""
    if labelled.kind is not Kind.PAIRS:
        return None
    first = {(row.line, row.answer): row.results[0] for row in judged}
    found = [
        decisions.decision(row, {a: first[row.line, a] for a in decisions.by_hash(row)}, rule)
        for row in labelled.rows
    ]
    return decisions.figures(found, rule)


def _order(labelled: Labelled, scores: Sequence[float | None]) -> Result:
    """How well scores tell right from wrong answers, over those that there are."""
    answers = labelled.answers
    found: list[tuple[float, float]] = []
    matched: list[tuple[float, float]] = []
    for right, wrong in labelled.pairs:
        one, other = scores[right], scores[wrong]
        if one is not None and other is not None:
            found.append((one, other))
            if measures.like_length(answers[right].text, answers[wrong].text):
                matched.append((one, other))
    scored = [(s, a.right) for s, a in zip(scores, answers, strict=True) if s is not None]
    return {
        "scored": len(scored),
        "pairs": _accuracy(found),
        "length_matched": _accuracy(matched),
        "roc_auc": measures.roc_auc(scored),
    }


def _accuracy(pairs: Sequence[tuple[float, float]]) -> Result:
    return {
        "count": len(pairs),
        "ties": sum(right == wrong for right, wrong in pairs),
        "accuracy": measures.pair_accuracy(pairs),
    }


def _unscored(results: Sequence[Verification | JudgeError], name: str | None) -> Result:
    """How many judgements gave no score, and why; reasons that differ in numbers count as one."""
    reasons: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for result in results:
        if _part(result, name) is None:
            text = " ".join(_why(result).split())
            text = text if len(text) <= REASON_CHARS else f"{text[:REASON_CHARS]} …"
            alike = _NUMBER.sub("0", text)
            examples.setdefault(alike, text)
            reasons[alike] += 1
    count = reasons.total()
    return {
        "judgements": len(results),
        "count": count,
        "share": count / len(results),
        "reasons": [
            {"reason": examples[alike], "count": times}
            for alike, times in reasons.most_common(NUM_REASONS)
        ],
    }


def _why(result: Verification | JudgeError) -> str:
    if isinstance(result, JudgeError):
        return str(result)
    return f"it gave no score, but {', '.join(a.verifier for a in result.assessments)} did"


def _cost(parts: Sequence[Part]) -> Result:
    """Means over the judgements that gave a score; of the others nothing is known."""

    def mean(values: Sequence[float]) -> float | None:
        return fsum(values) / len(values) if values else None

    return {
        "judgements": len(parts),
        "prompt_tokens": mean([part.usage.prompt_tokens for part in parts]),
        "cached_prompt_tokens": mean([part.usage.cached_tokens for part in parts]),
        "generated_tokens": mean([part.usage.completion_tokens for part in parts]),
        "seconds": mean([part.duration_ms / 1000 for part in parts]),
    }


def _judges(judged: Sequence[Judged], name: str) -> list[dict[str, str]]:
    """Every judge, with models and version, that a verifier named."""
    parts = [_part(result, name) for row in judged for result in row.results]
    found = dict.fromkeys(part.judge for part in parts if isinstance(part, Assessment))
    return [asdict(judge) for judge in found]


def _detail(row: Judged, names: Sequence[str]) -> Result:
    """One answer: its scores, by repeat, and why it has none."""
    return {
        "line": row.line,
        "right": row.answer.right,
        "scores": [_value(_part(result, None)) for result in row.results],
        "verifiers": {
            name: [_value(_part(result, name)) for result in row.results] for name in names
        },
        "reasons": [str(r) if isinstance(r, JudgeError) else None for r in row.results],
    }


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_rounded(entry) for entry in value]
    return round(value, DIGITS) if isinstance(value, float) else value
