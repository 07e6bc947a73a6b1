"""``rlvr doctor``: checks everything that an installation needs, and creates nothing."""

from dataclasses import asdict

import typer
from rich.table import Table
from rich.text import Text

from rlvr_ray.cli.commands import app
from rlvr_ray.cli.terminal import err, out, print_json, settings_of_folder
from rlvr_ray.settings.options import DataDir, Json, Set

_STYLES = {"ok": "green", "warning": "yellow", "failed": "red"}


@app.command()
def doctor(data_dir: DataDir = None, set_: Set = None, as_json: Json = False) -> None:
    """Check everything that is needed; exit code 1 if a check fails."""
    from rlvr_ray.serve import doctor as checking

    settings = settings_of_folder(data_dir, set_)
    with err.status("Checking …"):
        checks = list(checking.doctor(settings))
    if as_json:
        print_json([asdict(check) for check in checks])
    else:
        table = Table(box=None, show_header=False)
        for check in checks:
            table.add_row(Text(check.state, _STYLES[check.state]), check.name, Text(check.detail))
        out.print(table)
    if any(check.state == "failed" for check in checks):
        raise typer.Exit(1)
