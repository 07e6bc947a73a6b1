"""``rlvr verify-store``: the ledger and the dataset files, checked against each other."""

from collections.abc import Sequence
from pathlib import Path

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from rlvr_ray.cli.commands import app
from rlvr_ray.cli.terminal import err, out, print_json, settings_of_folder
from rlvr_ray.settings.options import DataDir, Json, Set


@app.command()
def verify_store(data_dir: DataDir = None, set_: Set = None, as_json: Json = False) -> None:
    """Check the ledger and every dataset file against each other; exit code 1 if any is wrong."""
    from rlvr_ray.pipeline import maintenance

    settings = settings_of_folder(data_dir, set_)
    with err.status("Checking …"):
        problems = maintenance.verify_store(settings)
    if as_json:
        print_json(problems)
    else:
        out.print(_shown(problems, settings.data_dir), soft_wrap=True)
    if problems:
        raise typer.Exit(1)


def _shown(problems: Sequence[str], data_dir: Path) -> RenderableType:
    if not problems:
        return Text(f"{data_dir}: ledger and files are sound", style="green")
    lines = [Text(line, style="red") for line in problems]
    if any(" is set aside: " in line for line in problems):
        lines.append(
            Text(
                "Records that are set aside are left out; everything else goes on. rlvr rebuild "
                "writes the files without them; ledger.db of a backup may still have them."
            )
        )
    return Group(*lines)
