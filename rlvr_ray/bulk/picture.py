"""The report of a run as a picture: throughput, outcomes, margins, and the cost of a pair."""

from pathlib import Path
from typing import Any

from rlvr_ray.bulk.statistics import halved
from rlvr_ray.core.errors import ConfigError

_INK, _PAIR, _OTHER = "#222222", "#2a6fbb", "#b9bec4"
#: Outcomes and failures that get a bar; the rest share one.
_BARS = 10
#: Steps of the throughput that are drawn at least, and outcomes in a step on the average.
_STEPS = 12


def draw(report: dict[str, Any], path: Path) -> None:
    """Write the picture as a PNG file. Raises ConfigError where that fails."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7.5), layout="constrained")
    figure.suptitle(f"run {report['run']}: {_head(report)}", fontsize=12, color=_INK)
    ((course, outcomes), (margins, tokens)) = figure.subplots(2, 2)
    _course(course, report)
    _outcomes(outcomes, report)
    _margins(margins, report["margins"])
    _tokens(tokens, report)
    try:
        figure.savefig(path, dpi=110)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from None


def _head(report: dict[str, Any]) -> str:
    decided = sum(report["outcomes"].values())
    return f"{report['pairs']:,} pairs of {decided:,} decided questions ({report['state']})"


def _course(axes: Any, report: dict[str, Any]) -> None:
    course = dict(report["throughput"])
    # Of a slow run, stretches that hold enough each to draw a line.
    while len(course["decided"]) > max(_STEPS, sum(course["decided"]) / _STEPS):
        course["stretch_seconds"] *= 2
        course |= {name: halved(course[name]) for name in ("decided", "pairs")}
    stretch = course["stretch_seconds"]
    unit, name = next(
        (unit, name)
        for unit, name, most in ((1, "s", 300), (60, "min", 18_000), (3600, "h", float("inf")))
        if stretch * len(course["decided"]) <= most
    )
    edges = [place * stretch / unit for place in range(len(course["decided"]) + 1)]
    for counts, colour, label in (
        (course["decided"], _OTHER, "decided"),
        (course["pairs"], _PAIR, "pairs"),
    ):
        rates = [count / stretch for count in counts]
        axes.stairs(rates, edges, fill=True, color=colour, label=label)
    _style(axes, "Throughput", f"time, {name}", "a second")
    _legend(axes)
    axes.set_ylim(bottom=0)


def _outcomes(axes: Any, report: dict[str, Any]) -> None:
    bars = [(name, n, _PAIR if name == "pair" else _OTHER) for name, n in _most(report["outcomes"])]
    bars += [(f"left out: {name}", n, "#c98b8b") for name, n in _most(report["failures"])]
    if report["undecided"]:
        bars.append(("undecided", report["undecided"], "#e3dcc2"))
    names, counts, colours = zip(*bars, strict=True) if bars else ((), (), ())
    drawn = axes.barh(range(len(bars)), counts, color=colours)
    axes.bar_label(drawn, [f"{count:,}" for count in counts], padding=3, fontsize=8)
    axes.set_yticks(range(len(bars)), [name.replace("_", " ") for name in names])
    axes.invert_yaxis()
    axes.margins(x=0.15)
    _style(axes, "What became of the questions", "questions", "")


def _most(counts: dict[str, int]) -> list[tuple[str, int]]:
    ranked = sorted(counts.items(), key=lambda item: -item[1])
    rest = sum(count for _, count in ranked[_BARS:])
    return ranked[:_BARS] + ([("others", rest)] if rest else [])


def _margins(axes: Any, margins: dict[str, Any]) -> None:
    edges = [place / margins["bars"] for place in range(margins["bars"] + 1)]
    both = [a + b for a, b in zip(margins["pairs"], margins["others"], strict=True)]
    axes.stairs(both, edges, fill=True, color=_OTHER, label="no pair (best, worst)")
    axes.stairs(margins["pairs"], edges, fill=True, color=_PAIR, label="pairs")
    _style(axes, "Margins", "difference of scores", "number")
    axes.set_xlim(0, 1)
    axes.yaxis.get_major_locator().set_params(integer=True)
    _legend(axes)


def _tokens(axes: Any, report: dict[str, Any]) -> None:
    """Tokens a pair, those of questions without one included; per question where no pair is."""
    each, what = (report["pairs"], "pair") if report["pairs"] else (0, "question")
    each = each or max(1, sum(report["outcomes"].values()))
    parts = ("answers", "judging")
    left = [0.0, 0.0]
    for label, colour in (("computed", _PAIR), ("cached", "#a9c6e6"), ("written", "#d99a4e")):
        widths = [_part(report["tokens"][part], label) / each for part in parts]
        axes.barh(parts, widths, left=left, color=colour, label=label)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    cost = report["cost"]
    labels = [f"{total:,.0f}" for total in left]
    if cost:
        labels = [
            f"{t}\ncost {cost[part] / each:,.3g}" for t, part in zip(labels, parts, strict=True)
        ]
    for place, (total, label) in enumerate(zip(left, labels, strict=True)):
        label = label.replace("\n", "\n ")
        axes.text(total, place, f" {label}", va="center", fontsize=8, color=_INK)
    axes.margins(x=0.2)
    axes.invert_yaxis()
    _style(axes, f"Tokens a {what}", "tokens", "")
    _legend(axes)


def _legend(axes: Any) -> None:
    """Above the plot, beside its title: inside, something would stand in its way."""
    axes.legend(
        loc="lower right", bbox_to_anchor=(1, 0.99), ncols=3, fontsize=8, frameon=False, borderpad=0
    )


def _part(usage: dict[str, int], label: str) -> int:
    if label == "computed":
        return usage["prompt"] - usage["cached"]
    return usage["cached"] if label == "cached" else usage["completion"]


def _style(axes: Any, title: str, x: str, y: str) -> None:
    axes.set_title(title, fontsize=10.5, loc="left", color=_INK)
    axes.set_xlabel(x, fontsize=9)
    axes.set_ylabel(y, fontsize=9)
    axes.set_axisbelow(True)
    axes.grid(visible=True, color="#eeeeee", lw=0.8)
    axes.tick_params(labelsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
