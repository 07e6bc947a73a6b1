"""The picture of a judge report: what scores say of being right, and how they lie."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlvr_ray.evaluation import key_figures

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
        left, right = 0.7 / width, _PLOTS / width
        top = figure.add_axes((left, 0.54, right - left - 0.55 / width, 0.34))
        bottom = figure.add_axes((left, 0.08, right - left - 0.55 / width, 0.34))
        side = figure.add_axes((right + 0.25 / width, 0.08, 1 - right - 0.5 / width, 0.80))
        _title(figure, result, left)
        _reliability(top, result)
        _histograms(bottom, result)
        _table(side, table)
        figure.savefig(path, format="png")


def _title(figure: Any, result: Mapping[str, Any], left: float) -> None:
    data = result["data"]
    what = f"{data['pairs']:,} pairs" if data["pairs"] else f"{data['answers']:,} labelled answers"
    repeats = f", judged {result['repeats']} times" if result["repeats"] > 1 else ""
    names = ", ".join(result["verifiers"])
    figure.text(
        left,
        0.95,
        f"How good is the judge?  {_short(data['file'], 50)}: {what}{repeats}",
        fontsize=14,
        weight="bold",
        color=_INK,
        parse_math=False,
    )
    figure.text(
        left,
        0.92,
        f"{_short(names, 60)}  ·  data sha256 {data['sha256'][:12]}  ·  "
        f"{result['created_at'][:16].replace('T', ' ')} UTC",
        fontsize=9,
        color="#666666",
        parse_math=False,
    )


def _reliability(axes: Any, result: Mapping[str, Any]) -> None:
    bins = result["panel"]["reliability"]
    counts = axes.twinx()
    counts.bar(
        [(held["low"] + held["high"]) / 2 for held in bins],
        [held["count"] for held in bins],
        width=0.094,
        color=_FAINT,
    )
    most = max(held["count"] for held in bins) or 1
    counts.set_ylim(0, most * 3)  # the bars keep to the lower third, below the curve's business
    counts.set_yticks([])
    for held in bins:
        if held["count"]:
            middle = (held["low"] + held["high"]) / 2
            counts.annotate(
                f"{held['count']:,}",
                (middle, held["count"]),
                xytext=(0, 2),
                textcoords="offset points",
                ha="center",
                fontsize=7,
                color="#888888",
            )
    axes.set_zorder(counts.get_zorder() + 1)
    axes.patch.set_visible(False)
    axes.plot([0, 1], [0, 1], ls="--", lw=1, color="#999999", label="perfect")
    _curve(axes, bins, _RIGHT, "score", 2.2)
    if len(result["verifiers"]) > 1:
        shown = zip(result["verifiers"].items(), _OTHERS, strict=False)
        for (name, figures), colour in shown:
            _curve(axes, figures["reliability"], colour, _short(name, 20), 1.2)
    axes.legend(loc="upper left", fontsize=8, frameon=False)
    _style(axes, "Reliability: of answers with such a score, how many are right?", "mean score")
    axes.set_ylabel("share of right answers (bars: answers)")
    axes.set_ylim(-0.03, 1.05)


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
        axes.hist(scores, **style, alpha=0.35, label=f"{label} answers ({len(scores):,})")
        axes.hist(scores, **style, histtype="step", lw=1.4)
    axes.legend(loc="upper center", fontsize=8, frameon=False)
    _style(axes, "Scores of right and of wrong answers", "score")
    axes.set_ylabel("answers")
    axes.yaxis.get_major_locator().set_params(integer=True)


def _style(axes: Any, title: str, xlabel: str) -> None:
    axes.set_title(title, fontsize=10.5, loc="left", color=_INK)
    axes.set_xlabel(xlabel)
    axes.set_xlim(-0.02, 1.02)
    axes.grid(visible=True, color="#eeeeee", lw=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(labelsize=8)


def _table(axes: Any, table: list[list[str]]) -> None:
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    columns = len(table[0]) - 1
    share = _COLUMN / (_NAMES + _COLUMN * columns)
    step = min(1 / len(table), 0.055)
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
