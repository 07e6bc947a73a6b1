"""The picture of a judge report: reliability and distribution of scores."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlvr_ray.verification.calibration.table import key_figures, side_by_side

#: Colours that people with any colour vision tell apart (Okabe and Ito's).
_INK, _FAINT = "#222222", "#d9d9d9"
_RIGHT, _WRONG = "#0072b2", "#d55e00"
_OTHERS = ("#009e73", "#cc79a7", "#e69f00", "#56b4e9")
#: Verifiers that are shown beside the score; the JSON file has all of them.
_MOST = len(_OTHERS)
#: Bars of the histogram.
_BARS = 20
#: Inches of the plots, and of the table's first and further columns.
_PLOTS, _NAMES, _COLUMN, _HEIGHT = 6.4, 2.9, 1.35, 8.0


def draw(result: Mapping[str, Any], path: Path) -> None:
    """Write the PNG: reliability curve, histograms of scores, key figures."""
    from matplotlib import style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    table = [row[: _MOST + 2] for row in key_figures(result)]
    width = _PLOTS + _NAMES + _COLUMN * (len(table[0]) - 1)
    with style.context("default"), warnings.catch_warnings():
        # A file may be named in a script that the font lacks: boxes instead are no problem.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure = Figure(figsize=(width, _HEIGHT), dpi=130, facecolor="white")
        FigureCanvasAgg(figure)
        left, across = 0.75 / width, (_PLOTS - 1.2) / width
        curve = figure.add_axes((left, 0.535, across, 0.335))
        counts = figure.add_axes((left, 0.455, across, 0.07), sharex=curve)
        bars = figure.add_axes((left, 0.075, across, 0.285))
        beside = (_PLOTS + 0.1) / width
        side = figure.add_axes((beside, 0.075, 1 - beside - 0.35 / width, 0.825))
        _title(figure, result, left)
        _reliability(curve, counts, result)
        _histograms(bars, result)
        _table(side, table)
        figure.savefig(path, format="png")


def _title(figure: Any, result: Mapping[str, Any], left: float) -> None:
    data = result["data"]
    what = f"{data['pairs']:,} pairs" if data["pairs"] else f"{data['answers']:,} labelled answers"
    names = ", ".join(v["name"] for v in result["settings"]["verification"]["verifiers"])
    repeats = f"judged {result['repeats']} times  ·  " if result["repeats"] > 1 else ""
    figure.text(
        left,
        0.955,
        f"How good is the judge?  {_short(data['file'], 36)}: {what}",
        fontsize=13,
        weight="bold",
        color=_INK,
        parse_math=False,
    )
    figure.text(
        left,
        0.925,
        f"{_short(names, 60)}  ·  {repeats}"
        f"data sha256 {data['sha256'][:12]}  ·  {result['created_at'][:16].replace('T', ' ')} UTC",
        fontsize=9,
        color="#666666",
        parse_math=False,
    )


def _reliability(axes: Any, below: Any, result: Mapping[str, Any]) -> None:
    """The curve and, below it, how many answers each of its points stands for."""
    bins = result["panel"]["reliability"]
    axes.plot([0, 1], [0, 1], ls="--", lw=1, color="#999999", label="perfect")
    _curve(axes, bins, _RIGHT, "score", 2.2)
    for (name, figures), colour in zip(side_by_side(result).items(), _OTHERS, strict=False):
        _curve(axes, figures["reliability"], colour, _short(name, 20), 1.2)
    axes.legend(loc="best", fontsize=8, frameon=False)
    _style(axes, "Reliability: how many of the answers with such a score are right?")
    axes.set_ylabel("share of right answers")
    axes.set_ylim(-0.03, 1.05)
    axes.tick_params(labelbottom=False)

    middles = [(held["low"] + held["high"]) / 2 for held in bins]
    bars = below.bar(middles, [held["count"] for held in bins], width=0.09, color=_FAINT)
    numbers = [f"{held['count']:,}" if held["count"] else "" for held in bins]
    below.bar_label(bars, numbers, fontsize=7, padding=1, color="#666666")
    below.set_ylim(0, 1.45 * max(1, *(held["count"] for held in bins)))
    below.set_yticks([])
    _style(below)
    below.spines["left"].set_visible(False)
    below.set_ylabel("answers")
    below.set_xlabel("mean score")


def _curve(axes: Any, bins: Any, colour: str, label: str, width: float) -> None:
    held = [one for one in bins if one["count"]]
    axes.plot(
        [one["mean_score"] for one in held],
        [one["share_right"] for one in held],
        marker="o",
        ms=2.5 * width,
        lw=width,
        color=colour,
        label=label,
    )


def _histograms(axes: Any, result: Mapping[str, Any]) -> None:
    first = [(row["scores"][0], row["right"]) for row in result["answers"]]
    for right, colour, label in ((True, _RIGHT, "right"), (False, _WRONG, "wrong")):
        scores = [score for score, is_right in first if score is not None and is_right is right]
        style = {"bins": _BARS, "range": (0, 1), "color": colour}
        axes.hist(scores, **style, alpha=0.35, label=f"{label} ({len(scores):,})")
        axes.hist(scores, **style, histtype="step", lw=1.4)
    # Above the plot, beside its title: inside, some histogram would stand in its way.
    beside = {"loc": "lower right", "bbox_to_anchor": (1, 0.99), "ncols": 2}
    axes.legend(**beside, fontsize=8, frameon=False, borderpad=0)
    _style(axes, "Scores of right and of wrong answers")
    axes.set_xlabel("score")
    axes.set_ylabel("answers")
    axes.yaxis.get_major_locator().set_params(integer=True)


def _style(axes: Any, title: str = "") -> None:
    axes.set_title(title, fontsize=10.5, loc="left", color=_INK)
    axes.set_xlim(-0.02, 1.02)
    axes.grid(visible=True, color="#eeeeee", lw=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(labelsize=8)
    axes.xaxis.label.set_size(9)
    axes.yaxis.label.set_size(9)


def _table(axes: Any, table: list[list[str]]) -> None:
    axes.set_axis_off()
    axes.set_xlim(-0.02, 1.02)  # a margin around the shaded rows' texts
    axes.set_ylim(0, 1)
    columns = len(table[0]) - 1
    share = _COLUMN / (_NAMES + _COLUMN * columns)
    step = min(1 / len(table), 0.052)
    for number, row in enumerate(table):
        y = 1 - step * (number + 0.5)
        if number % 2 == 0 and number:
            axes.axhspan(y - step / 2, y + step / 2, color="#f6f6f6", zorder=0)
        for column, text in enumerate(row):
            axes.text(
                0 if column == 0 else 1 - share * (columns - column),
                y,
                _short(text, 40 if column == 0 else 16),
                ha="left" if column == 0 else "right",
                va="center",
                fontsize=9,
                weight="normal" if number else "bold",
                color=_INK if column else "#555555",
                parse_math=False,
            )
    axes.axhline(1 - step, color=_INK, lw=0.8)


def _short(text: str, chars: int) -> str:
    return text if len(text) <= chars else f"{text[: chars - 1]}…"
