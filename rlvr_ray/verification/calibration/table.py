"""The key figures of a judge report as a table for people."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rlvr_ray.verification.calibration import decisions
from rlvr_ray.verification.calibration.evaluation import METRICS
from rlvr_ray.verification.calibration.labelled import Kind


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
        for metric in METRICS
        if any(all(f["metrics"][name]["scored"] for name in METRICS) for f in columns)
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
