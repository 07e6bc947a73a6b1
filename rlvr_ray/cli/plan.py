"""``rlvr plan``: ``bulk.capacity`` as text or JSON; the options are the fields of its classes."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import typer

from rlvr_ray.bulk import capacity
from rlvr_ray.bulk.capacity import Cluster, Point, Workload
from rlvr_ray.cli.commands import app
from rlvr_ray.settings.options import Json

_PLACES = {
    "generator": "whose model judges too",
    "share": "of which the judge has a share",
    "own": "of which some are the judge's own",
}


@app.command(settings=False)
def plan(load: Workload, cluster: Cluster, as_json: Json = False) -> None:
    """Calculate how many questions an hour GPUs answer and judge, and the bottleneck."""
    found = calculate(load, cluster)
    typer.echo(json.dumps(found) if as_json else text(load, cluster, found))


def calculate(load: Workload, cluster: Cluster) -> dict[str, Any]:
    """All that is known. Tokens and seconds are those of a question, unless they say otherwise."""
    generate, judge = capacity.gpu_seconds(load, cluster)
    ingress, verifier = capacity.cpu_seconds(load, cluster)
    here = capacity.chosen(load, cluster)
    return {
        "workload": asdict(load),
        "cluster": asdict(cluster),
        "assumed": cluster.assumed,
        "prompts": [
            asdict(asked)
            | {"prefill": asked.prefill, "cached": asked.cached, "decode": asked.decode}
            for asked in (capacity.generating(load), *capacity.judging(load))
        ],
        "gpu_seconds": {"generate": generate, "judge": judge},
        "busy_cores": {"ingress": here.rate * ingress, "verifier": here.rate * verifier},
        "plan": _point(load, cluster, here),
        "best_judge_gpus": capacity.point(load, cluster, cluster.gpus).judge_gpus,
        "growth": [_point(load, cluster, at) for at in capacity.growth(load, cluster)],
    }


def _point(load: Workload, cluster: Cluster, at: Point) -> dict[str, Any]:
    return asdict(at) | {
        "bottleneck": at.bottleneck,
        "questions_per_hour": 3600 * at.rate,
        "hours_for_all": load.questions / at.rate / 3600,
        "aggregator_share": at.rate / cluster.aggregator_rate,
    }


def text(load: Workload, cluster: Cluster, found: dict[str, Any]) -> str:
    """What ``calculate`` found, to read."""
    here, gpus, cores = found["plan"], found["gpu_seconds"], found["busy_cores"]
    kinds = ("prefill", "cached", "decode")
    tokens = [
        [p["name"], f"{p['calls']:g}", str(p["samples"]), *(f"{p[kind]:,.0f}" for kind in kinds)]
        for p in found["prompts"]
    ]
    total = [f"{sum(p[kind] for p in found['prompts']):,.0f}" for kind in kinds]
    growth = [
        [
            f"{at['gpus']:,}",
            _count(at["judge_gpus"]),
            f"{at['questions_per_hour']:,.0f}",
            _time(at["hours_for_all"]),
            f"{at['aggregator_share']:.1%}",
            at["bottleneck"],
        ]
        for at in found["growth"]
    ]
    prefill, decode, *_ = cluster.rates
    rate, busy = here["questions_per_hour"], f"{cores['ingress']:.1f} ingress"
    best = f" (best: {_count(found['best_judge_gpus'])})"
    place = _PLACES[cluster.judge] if gpus["judge"] else "none of which judge"
    if cluster.judge == "generator":
        best = f", by time, of {cluster.gpus:,}"
    figures = {
        "tokens/s of a GPU": f"{prefill:,g} prefill, {decode:,g} decode",
        "GPU s a question": f"{gpus['generate']:.4f} generate, {gpus['judge']:.4f} judge",
        "questions/h": f"{rate:,.0f}, {rate / cluster.gpus:,.0f} for each GPU",
        f"{load.questions:,} questions": _time(here["hours_for_all"]),
        "bottleneck": here["bottleneck"],
        "GPUs that judge": _count(here["judge_gpus"]) + best,
        "aggregator": f"{rate / 3600:,.1f} batches/s, {here['aggregator_share']:.1%} of "
        f"{cluster.aggregator_rate:,g}",
        "busy cores": f"{busy}, {cores['verifier']:.1f} verifier, of "
        f"{cluster.cpus_beside(cluster.gpus):,g}",
    }
    parts = [
        f"{load.candidates} answers to a question over {load.top_k} passages, verifier "
        f"{load.verifier}; {cluster.gpus:,} GPUs, {place}",
        _table(
            ["tokens a question", "prompts", "samples", *kinds],
            *tokens,
            ["in all", "", "", *total],
        ),
        "\n".join(f"{name:22}{value}" for name, value in figures.items()),
        _table(["GPUs", "judging", "questions/h", "for all", "aggregator", "bottleneck"], *growth),
    ]
    if cluster.assumed:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in cluster.assumed)
        parts.append(
            f"Assumed, not measured: {names}. This project has\n"
            "measured no GPU: measure yours with your model (docs/capacity.md), and give its rates."
        )
    return "\n\n".join(parts)


def _count(gpus: float) -> str:
    return f"{gpus:,.1f}".removesuffix(".0")


def _time(hours: float) -> str:
    if hours >= 48:
        return f"{hours / 24:,.1f} days"
    if hours >= 1:
        return f"{hours:.1f} h"
    return f"{60 * hours:.1f} min" if 60 * hours >= 1 else f"{3600 * hours:.2g} s"


def _table(*rows: Sequence[str]) -> str:
    """Columns: the first and the last to the left where they hold words, the rest to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    words = [rows[1][place][:1].isalpha() for place in range(len(widths))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if left else cell.rjust(width)
            for cell, width, left in zip(row, widths, words, strict=True)
        ).rstrip()
        for row in rows
    )
