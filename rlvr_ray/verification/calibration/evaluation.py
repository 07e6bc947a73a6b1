"""From the panel's results on labelled answers to the figures of the report.

``evaluate`` makes the result of ``rlvr judge-report``. Its keys are a contract, which
docs/calibration.md explains.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from math import fsum
from typing import Any
from urllib.parse import urlsplit

from rlvr_ray import __version__
from rlvr_ray.core.errors import JudgeError
from rlvr_ray.core.pairing import PairingRule
from rlvr_ray.core.records import Assessment, Verification
from rlvr_ray.core.scoring import score
from rlvr_ray.settings import Settings
from rlvr_ray.verification.calibration import decisions, measures
from rlvr_ray.verification.calibration.labelled import Answer, Kind, Labelled

#: Of the result's keys and their meaning.
SCHEMA_VERSION = 1
#: Decimal places of the result's figures.
DIGITS = 6
#: Reasons of missing scores that the result lists, and characters of each.
NUM_REASONS, REASON_CHARS = 10, 160

_METRICS = ("faithfulness", "relevancy")
_NUMBER = re.compile(r"\d+(\.\d+)?")
#: Names of options that hold secrets, and what stands in their place.
_SECRET = re.compile(r"(key|token|secret|password|credentials?|authorization)$", re.IGNORECASE)
_HIDDEN = "**********"

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
    answers, pairs = labelled.answers, _pairs(labelled)
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
            "settings": _public(
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


def key_figures(result: Mapping[str, Any]) -> list[list[str]]:
    """The figures that matter as a table of texts: a head, then rows of equal length.

    It has a column for the score and, where there are several verifiers, one for each of them.
    """
    columns = {"score": result["panel"], **side_by_side(result)}
    rows = _rows(result, list(columns.values()))
    return [["", *columns], *([name, *map(text, columns.values())] for name, text in rows)]


def side_by_side(result: Mapping[str, Any]) -> dict[str, Any]:
    """Figures of those verifiers that are worth comparing: none where there is only one.

    What the panel decides by itself, such as an abstention, is no verifier's.
    """
    asked = {verifier["name"] for verifier in result["settings"]["verification"]["verifiers"]}
    found = {
        name: figures
        for name, figures in result["verifiers"].items()
        if name in asked or figures["weight"] == 0
    }
    return found if len(found) > 1 else {}


# The figures.


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
        [[_value(part) for part in row] for row in parts], _pairs(labelled)
    )
    return {
        **_order(labelled, [_value(part) for part in first]),
        "metrics": {
            metric: _order(labelled, [_value(part, metric) for part in first])
            for metric in _METRICS
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
    said = {(row.line, row.answer): row.results[0] for row in judged}
    found = [
        decisions.decision(row, {a: said[row.line, a] for a in decisions.by_hash(row)}, rule)
        for row in labelled.rows
    ]
    return decisions.figures(found, rule)


def _order(labelled: Labelled, scores: Sequence[float | None]) -> Result:
    """How well scores tell right from wrong answers, over those that there are."""
    answers = labelled.answers
    found: list[tuple[float, float]] = []
    matched: list[tuple[float, float]] = []
    for right, wrong in _pairs(labelled):
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


def _pairs(labelled: Labelled) -> list[tuple[int, int]]:
    """Right and wrong answer of each pair, by their places among all answers."""
    if labelled.kind is not Kind.PAIRS:
        return []
    return [(place, place + 1) for place in range(0, len(labelled.answers), 2)]


# What goes into a file, and what people read.


def _public(value: Any, name: str = "") -> Any:
    """Settings without what must not be told: secrets, users and queries of URLs."""
    if isinstance(value, dict):
        return {key: _public(entry, str(key)) for key, entry in value.items()}
    if isinstance(value, list):
        return [_public(entry, name) for entry in value]
    if not isinstance(value, str):
        return value
    if _SECRET.search(name):
        return _HIDDEN
    if "://" not in value:
        return value
    try:
        url = urlsplit(value)
    except ValueError:
        return _HIDDEN
    return url._replace(netloc=url.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_rounded(entry) for entry in value]
    return round(value, DIGITS) if isinstance(value, float) else value


def _rows(
    result: Mapping[str, Any], columns: Sequence[Mapping[str, Any]]
) -> list[tuple[str, Callable[[Mapping[str, Any]], str]]]:
    """Names of the rows of ``key_figures``, and what makes their texts from a column's figures."""
    data, panel = result["data"], columns[0]
    is_pairs = data["kind"] == Kind.PAIRS
    decided = result["decisions"]

    def once(text: str) -> Callable[[Mapping[str, Any]], str]:
        return lambda f: text if f is panel else ""

    def accuracy(pairs: Mapping[str, Any]) -> str:
        return f"{_number(pairs['accuracy'])} of {pairs['count']:,}"

    def alone(metric: str) -> Callable[[Mapping[str, Any]], str]:
        def text(figures: Mapping[str, Any]) -> str:
            order = figures["metrics"][metric]
            return _number(order["pairs"]["accuracy"] if is_pairs else order["roc_auc"])

        return text

    def agreement(key: str, show: Callable[[float | None], str]) -> Callable[[Any], str]:
        return lambda f: show(f["agreement"][key] if f["agreement"] else None)

    metrics = [
        (f"   {metric} alone", alone(metric))
        for metric in _METRICS
        if any(all(f["metrics"][name]["scored"] for name in _METRICS) for f in columns)
    ]
    rows: list[tuple[str, Callable[[Mapping[str, Any]], str]]] = [
        ("answers with a score", lambda f: f"{f['scored']:,} of {data['answers']:,}")
    ]
    if is_pairs:
        rows += [
            ("pair accuracy", lambda f: accuracy(f["pairs"])),
            *metrics,
            ("   like length only", lambda f: accuracy(f["length_matched"])),
            ("   always the shorter one", once(_number(decided["shorter"]))),
            ("   always the contexts' words", once(_number(decided["overlap"]))),
            ("   ties", lambda f: f"{f['pairs']['ties']:,}"),
            ("pairs made", once(f"{decided['pairs']:,} of {decided['rows']:,} rows")),
            ("   the right answer chosen", once(_number(decided["precision"]))),
            ("   95 % interval", once(decisions.interval(decided))),
        ]
    rows.append(("ROC AUC", lambda f: _number(f["roc_auc"])))
    if not is_pairs:
        rows += metrics
    rows += [
        ("calibration error (ECE)", lambda f: _number(f["expected_calibration_error"])),
        ("judgements without a score", lambda f: _share(f["unscored"]["share"])),
    ]
    if result["repeats"] > 1:
        rows += [
            ("repeats: mean difference", agreement("mean_difference", _number)),
            ("   same score", agreement("same_score", _share)),
            *([("   same order", agreement("same_order", _share))] if is_pairs else []),
            ("   correlation", agreement("correlation", _number)),
        ]
    return [
        *rows,
        ("prompt tokens an answer", lambda f: _count(f["cost"]["prompt_tokens"])),
        ("   of them cached", lambda f: _count(f["cost"]["cached_prompt_tokens"])),
        ("generated tokens an answer", lambda f: _count(f["cost"]["generated_tokens"])),
        ("seconds an answer", lambda f: _number(f["cost"]["seconds"])),
        ("seconds of the whole run", once(f"{result['wall_seconds']:,.1f}")),
    ]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _count(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"
