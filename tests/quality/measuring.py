"""The labelled files beside the checkout, what is asked of each, and how it is measured."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rlvr_ray.generation import selection
from rlvr_ray.settings import Settings, load
from rlvr_ray.verification import factory
from rlvr_ray.verification.calibration.decisions import COLUMNS, columns
from rlvr_ray.verification.calibration.evaluation import Judged, Result, evaluate
from rlvr_ray.verification.calibration.labelled import Kind, Labelled, read
from rlvr_ray.verification.calibration.report import judge
from rlvr_ray.verification.verifier import Panel
from tests.embedder import minilm
from tests.quality.oracle import Oracle, Telling

Judge = Literal["default", "oracle"]

#: What must be reached, by file and judge. ``above_trivial``: accuracy above that of both trivial
#: rules; ``kind_precision``: of every kind with KIND_PAIRS pairs or more; ``wrong_pairs``: at most.
#: In RAGTruth's questions word overlap orders answers better than ``grounded`` does.
GOALS: dict[tuple[str, Judge], dict[str, float]] = {
    ("triples", "default"): {"precision": 0.90, "yield": 0.20, "kind_precision": 0.60},
    ("triples", "oracle"): {"right_pairs": 162, "wrong_pairs": 0},
    ("triples_more", "default"): {},
    ("triples_more", "oracle"): {"wrong_pairs": 0},
    ("ragtruth_qa_dev", "default"): {"above_trivial": -0.06, "precision": 0.92, "yield": 0.30},
    ("ragtruth_summary_dev", "default"): {"above_trivial": 0.03, "precision": 0.92, "yield": 0.30},
    ("ragtruth_data2txt_dev", "default"): {
        **{"above_trivial": 0.03, "precision": 0.92, "yield": 0.30}
    },
    ("halueval_qa", "default"): {"accuracy": 0.94, "precision": 0.97, "yield": 0.55},
    ("begin_wow_dev", "default"): {"roc_auc": 0.95},
}
KIND_PAIRS = 3

#: Not part of the repository.
DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
HEADS = ("file", "judge", *COLUMNS, "yield", "unscored", "ROC AUC", "seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A file's rows, what the panel said of them, and the result of ``rlvr judge-report``."""

    name: str
    judge: Judge
    labelled: Labelled
    judged: Sequence[Judged]
    result: Result
    seconds: float  #: loading the models included


def _supported_auc(result: Result) -> float | None:
    """Of faithfulness, since the labels of single answers say whether they are supported."""
    found: float | None = result["panel"]["metrics"]["faithfulness"]["roc_auc"]
    return found


def path_of(name: str) -> Path:
    """Where a labelled file is looked for: a path, or a name beside the checkout."""
    return Path(name) if name.endswith(".jsonl") else DATA / f"{name}.jsonl"


def measure(
    name: str, by: Judge = "default", limit: int | None = None, **settings: Any
) -> Measured:
    """Have a file's answers judged, by the default of the settings or by the oracle."""
    started = time.monotonic()
    labelled = read(path_of(name), limit)
    if by == "oracle":
        settings.setdefault("verification", {})["verifiers"] = ["logprob"]
    chosen = selection.choose(load(**settings)).settings

    async def work() -> list[Judged]:
        async with _panel(by, chosen, labelled) as panel:
            return await judge(
                panel,
                labelled,
                chosen.verification,
                repeats=1,
                at_once=1 if by == "oracle" else 4,
                on_progress=lambda done, unscored: None,
            )

    judged = asyncio.run(work())
    seconds = time.monotonic() - started
    return Measured(
        name=path_of(name).stem,
        judge=by,
        labelled=labelled,
        judged=judged,
        result=evaluate(labelled, judged, chosen, seconds),
        seconds=seconds,
    )


@contextlib.asynccontextmanager
async def _panel(by: Judge, settings: Settings, labelled: Labelled) -> AsyncIterator[Panel]:
    if by == "default":
        async with factory.local_panel(settings) as panel:
            yield panel
    else:
        oracle = Oracle()
        yield Telling(factory.build_panel(settings, oracle, minilm()), oracle, labelled)


def misses(measured: Measured) -> list[str]:
    """The goals that are not reached, each in words."""
    goals = GOALS.get((measured.name, measured.judge), {})
    found = [(goal, *_reached(goal, measured.result)) for goal in goals]
    return [
        f"{measured.name}, {measured.judge}: {what} is {'–' if value is None else f'{value:.4g}'}, "
        f"wanted: {'at most' if goal == 'wrong_pairs' else 'at least'} {goals[goal]:g}"
        for goal, value, what in found
        if value is None or (value > goals[goal] if goal == "wrong_pairs" else value < goals[goal])
    ]


def _reached(goal: str, result: Result) -> tuple[float | None, str]:
    """What was reached of a goal, and of what."""
    if goal == "roc_auc":
        return _supported_auc(result), "the ROC AUC"
    decided = result["decisions"]
    match goal:
        case "above_trivial":
            best = max(decided["shorter"], decided["overlap"])
            accuracy = decided["accuracy"]
            return None if accuracy is None else accuracy - best, "accuracy above trivial rules"
        case "wrong_pairs":
            return decided["pairs"] - decided["right_pairs"], "the number of wrong pairs"
        case "kind_precision":
            kinds = [k for k in decided["by_kind"] if k["pairs"] >= KIND_PAIRS]
            if not kinds:
                return None, "the precision of a kind"
            worst = min(kinds, key=lambda kind: kind["precision"])
            return worst["precision"], f"the precision of {worst['kind']}"
    return decided[goal], f"the {goal}".replace("_", " ")


def table(found: Sequence[Measured | str], *, kinds: bool = True) -> list[str]:
    """One line a file, with its kinds below it; a text is that of a file that is missing."""
    rows: list[Sequence[str] | str] = [HEADS]
    for one in found:
        if isinstance(one, str):
            rows.append(one)
            continue
        rows.append(_row(one))
        if kinds and (decided := one.result["decisions"]):
            rows += [
                (f"   {kind['kind']}"[:40], "", *columns(kind), *_more(kind))
                for kind in decided["by_kind"]
                if kind["rows"] >= KIND_PAIRS and len(decided["by_kind"]) > 1
            ]
    widths = [
        max(len(row[at]) for row in rows if not isinstance(row, str) and len(row) > at)
        for at in range(len(HEADS))
    ]
    return [row if isinstance(row, str) else _line(row, widths) for row in rows]


def _row(one: Measured) -> list[str]:
    figures = one.result["decisions"]
    supported = _supported_auc(one.result)
    auc = f"{supported:.3f}" if supported else "–"
    if one.labelled.kind is Kind.PAIRS:
        cells = [*columns(figures), *_more(figures)]
    else:
        answers, unscored = one.result["data"]["answers"], one.result["panel"]["unscored"]
        cells = [f"{answers:,}", *[""] * len(COLUMNS), f"{unscored['count']:,}"]
    return [one.name, one.judge, *cells, auc, f"{one.seconds:.0f}"]


def _more(figures: Result) -> tuple[str, str]:
    return f"{figures['yield']:.3f}", f"{figures['unscored']:,}"


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [
        cell.ljust(width) if at < 2 else cell.rjust(width)
        for at, (cell, width) in enumerate(zip(row, widths, strict=False))
    ]
    return "  ".join(cells).rstrip()
