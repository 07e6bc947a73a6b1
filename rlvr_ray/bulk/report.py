"""The report of a run: a JSON file with all figures, a picture, and a summary as text."""

import contextlib
import json
import os
import platform
import tempfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rlvr_ray import __version__
from rlvr_ray.bulk.run import Plan
from rlvr_ray.bulk.statistics import BARS, Rates, RunStatistics
from rlvr_ray.core.errors import ConfigError, InputError
from rlvr_ray.core.records import Usage
from rlvr_ray.generation import engines, selection
from rlvr_ray.settings import EngineSettings, Settings

Report = dict[str, Any]

#: How a run may end, for people.
_ENDS = {
    "finished": "all questions are decided",
    "stopped": "stopped before all questions were asked",
    "max_pairs": "reached --max-pairs",
    "max_cost": "reached --max-cost",
    "failed": "failed",
    "running": "under way",
}
#: The states in which nothing is left to ask.
COMPLETE = ("finished", "max_pairs", "max_cost")


def is_complete(line: str) -> bool:
    """Whether this line of a run's output says that nothing is left to ask."""
    if line.startswith('{"run"'):
        with contextlib.suppress(ValueError):
            return json.loads(line).get("state") in COMPLETE
    return line.startswith("run ") and line.endswith(tuple(_ENDS[state] for state in COMPLETE))


def settings_of(settings: Settings, plan: Plan) -> dict[str, Any]:
    """The settings that a run's figures depend on. Two runs in which they are alike compare."""
    judge = selection.judging(settings)
    return {
        "generator": _engine(settings.generator)
        | {
            "max_tokens": plan.max_tokens,
            "temperatures": list(plan.temperatures),
        },
        "judge": _engine(judge) | {"max_tokens": settings.judge.max_tokens},
        "candidates": plan.num_candidates,
        "top_k": plan.top_k,
        "at_once": plan.at_once,
        "verification": settings.verification.model_dump(mode="json"),
        "dpo": settings.dpo.model_dump(mode="json"),
    }


def _engine(engine: EngineSettings) -> dict[str, Any]:
    return {"engine": engine.engine, "model": engines.engine_type(engine).model(engine)}


def build(
    stats: RunStatistics,
    plan: Plan,
    settings: Settings,
    started: datetime,
    error: str | None = None,
) -> Report:
    """The report as it stands. Tokens and cost are the whole run's, earlier programs included."""
    tokens = stats.answers + stats.judging
    return {
        "run": plan.run,
        "state": stats.state,
        "error": error,
        "started": started.isoformat(),
        "ended": datetime.now(UTC).isoformat(),
        "seconds": round(stats.seconds, 3),
        "stopped": stats.state == "stopped",
        "read": stats.read,
        "known": stats.known,
        "earlier": stats.earlier,
        "asked": stats.asked,
        "undecided": stats.undecided,
        "pairs": stats.pairs,
        "outcomes": dict(stats.outcomes.most_common()),
        "failures": dict(stats.failures.most_common()),
        "examples": stats.examples,
        "repeats": stats.repeats,
        "last_wait": stats.reason or None,
        "tokens": {
            "answers": usage(stats.answers),
            "judging": usage(stats.judging),
            "per_pair": _per_pair(tokens.prompt_tokens + tokens.completion_tokens, stats.pairs),
        },
        "cost": _cost(stats, plan.rates),
        "throughput": {
            "stretch_seconds": stats.course.stretch_s,
            "decided": stats.course.decided,
            "pairs": stats.course.pairs,
        },
        "margins": {
            "bars": BARS,
            "pairs": stats.pair_margins,
            "others": stats.other_margins,
        },
        "settings": settings_of(settings, plan),
        "versions": {
            "rlvr_ray": __version__,
            "ray": version("ray"),
            "python": platform.python_version(),
        },
    }


def usage(value: Usage) -> dict[str, int]:
    """For JSON."""
    return {
        "prompt": value.prompt_tokens,
        "cached": value.cached_tokens,
        "completion": value.completion_tokens,
    }


def _per_pair(total: float, pairs: int) -> float | None:
    return round(total / pairs, 6) if pairs else None


def _cost(stats: RunStatistics, rates: Rates | None) -> dict[str, float | None] | None:
    if rates is None:
        return None
    answers, judging = (
        rates.generator.cost(stats.answers),
        rates.judge.cost(stats.judging),
    )
    return {
        "answers": round(answers, 6),
        "judging": round(judging, 6),
        "per_pair": _per_pair(answers + judging, stats.pairs),
    }


def text(report: Report) -> Iterator[str]:
    """The report for people, line by line."""
    why = f": {report['error']}" if report["error"] else ""
    yield f"run {report['run']}: {_ENDS[report['state']]}{why}"
    known = f" ({report['known']:,} were known)" if report["known"] else ""
    undecided = f", {report['undecided']:,} undecided" if report["undecided"] else ""
    yield (
        f"{report['read']:,} read, {report['asked']:,} asked{known}{undecided}, "
        f"in {duration(report['seconds'])}"
    )
    if report["earlier"] > report["known"]:
        yield f"counted below: all {report['earlier']:,} questions that this run had asked before"
    reasons = ", ".join(f"{n:,} {name}" for name, n in report["outcomes"].items() if name != "pair")
    yield f"{report['pairs']:,} pairs{f'; without a pair: {reasons}' if reasons else ''}"
    for kind, count in report["failures"].items():
        yield f"left out, {kind}: {count:,}, such as {report['examples'][kind][0]}"
    for name, per_question in report["tokens"].items():
        if name != "per_pair":
            yield (
                f"tokens, {name}: {per_question['prompt']:,} prompt "
                f"({per_question['cached']:,} cached), {per_question['completion']:,} written"
            )
    cost = report["cost"]
    if report["pairs"]:
        each = f"{report['tokens']['per_pair']:,.0f} tokens"
        each += f", cost {cost['per_pair']:,.6g}" if cost else ""
        yield f"a pair: {each}"
    if cost:
        yield f"cost: {cost['answers']:,.6g} answers, {cost['judging']:,.6g} judging"


def duration(seconds: float) -> str:
    """A time to read: 12 s, 3:25 min, 2:03 h, 1.4 days."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds // 60:.0f}:{seconds % 60:02.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds // 3600:.0f}:{seconds % 3600 // 60:02.0f} h"
    return f"{seconds / 86400:.1f} days"


# Files.


def place(report: Path | None, run: str, data_dir: Path) -> Path:
    """Where the report goes: what was asked for, else beside the ledger if that is here.

    Raises InputError where nothing can be written there, before any work is done.
    """
    here = data_dir / "runs" if (data_dir / "ledger.db").exists() else Path()
    path = (report or here / f"{run}.json").absolute()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise InputError(f"--report {path}: cannot write there: {error.strerror}") from None
    if path.is_dir():
        raise InputError(f"--report {path} is a folder; name a file in it")
    return path


def write(report: Report, path: Path) -> None:
    """Write the JSON file, as a whole or not at all. Raises ConfigError where that fails."""
    draft = path.with_name(f"{path.name}.tmp")
    try:
        draft.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", "utf-8")
        os.replace(draft, path)  # noqa: PTH105
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from None


def earlier(folder: Path, wanted: Mapping[str, Any], least: int) -> Report | None:
    """The latest report in a folder that has the same settings and decided so many questions."""
    found: list[Report] = []
    for path in folder.glob("*.json"):
        try:
            report = json.loads(path.read_text("utf-8"))
            alike = all(
                report["settings"][name] == value
                for name, value in wanted.items()
                if name not in ("dpo", "at_once")
            )
            decided = sum(report["throughput"]["decided"])
        except (OSError, ValueError, KeyError, TypeError):
            continue  # no report of this version
        if alike and decided >= least and report["seconds"] > 0:
            found.append(report)
    return max(found, key=lambda report: str(report["ended"]), default=None)
