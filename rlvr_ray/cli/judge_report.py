"""``rlvr judge-report``: measures the judge on labelled answers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rlvr_ray.cli.commands import app
from rlvr_ray.cli.terminal import err, note, out, print_json, terminable
from rlvr_ray.settings.options import Json, Set, settings_of


@app.command()
def judge_report(
    data: Annotated[Path, typer.Argument(help="JSONL: pairs, or labelled answers.")],
    repeats: Annotated[
        int, typer.Option(min=1, help="Judge N times; 2 or more measure noise.")
    ] = 1,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N rows.")] = None,
    at_once: Annotated[int, typer.Option(min=1, help="Rows judged at a time.")] = 4,
    output: Annotated[
        Path, typer.Option("--out", help="A folder, or how the files' names begin.")
    ] = Path(),
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Have the judge judge labelled answers: figures here, in a JSON file and in a picture."""
    from rlvr_ray.generation import selection
    from rlvr_ray.verification import factory
    from rlvr_ray.verification.calibration import labelled, report

    choice = selection.choose(settings_of(pairs=set_), ask=True)
    note(f"verifiers: {choice.verifiers}")
    rows = labelled.read(data, limit)
    files = report.Files.at(output)
    with terminable():
        result = report.run(
            choice.settings, factory.local_panel, rows, err, repeats=repeats, at_once=at_once
        )
    if as_json:
        print_json(result)
    else:
        out.print(shown(result))
    report.write(result, files)
    note(f"{files.json}\n{files.picture}")


def shown(result: Mapping[str, Any]) -> RenderableType:
    """The judge's key figures, decisions by kind, why there is no pair, why there is no score."""
    from rlvr_ray.verification.calibration import decisions
    from rlvr_ray.verification.calibration.table import key_figures

    head, *rows = key_figures(result)
    blocks: list[RenderableType] = [_table(head, rows)]
    decided = result["decisions"]
    if decided:
        if decided["by_kind"]:
            kinds = [[found["kind"], *decisions.columns(found)] for found in decided["by_kind"]]
            blocks.append(_table(["kind", *decisions.COLUMNS], kinds))
        blocks += [
            Text(f"{entry['count']:,} without a pair: {entry['reason']}")
            for entry in decided["no_pair"]
        ]
        blocks += [
            Text(
                f"{entry['pairs']:,} rejected, {entry['right_pairs']:,} of them rightly: "
                f"{entry['defect'] or 'no defect was named'}"
            )
            for entry in decided["defects"]
        ]
    blocks += [
        Text(f"{entry['count']:,} without a score: {entry['reason']}", "yellow")
        for entry in result["panel"]["unscored"]["reasons"]
    ]
    return Group(*blocks)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Names on the left, figures on the right."""
    table = Table(head[0], box=None, padding=(0, 1, 0, 0))
    for name in head[1:]:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*map(Text, row))
    return table
