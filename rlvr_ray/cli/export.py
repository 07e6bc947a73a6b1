"""``rlvr export``: the datasets as a folder that a trainer reads; its options are ``Request``."""

from typing import Annotated

import typer

from rlvr_ray.cli.commands import app
from rlvr_ray.cli.terminal import err, note, out, print_json, settings_of_folder, terminable, write
from rlvr_ray.core.errors import InputError
from rlvr_ray.settings.options import DataDir, Json, Set
from rlvr_ray.training.export.request import Request


@app.command()
def export(
    request: Request,
    push_: Annotated[
        str | None,
        typer.Option("--push", metavar="REPO", help="Upload it to the model hub, private."),
    ] = None,
    public: Annotated[bool, typer.Option("--public", help="With --push: for everybody.")] = False,
    data_dir: DataDir = None,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Write the pairs or answers as a folder that a trainer reads, with a dataset card."""
    from rlvr_ray.training.export import folder as exporting
    from rlvr_ray.training.export import report as export_report

    if public and push_ is None:
        raise InputError("--public goes with --push REPO: it makes what is pushed public")
    settings = settings_of_folder(data_dir, set_)
    with terminable(), err.status("Writing …"):
        report = exporting.run(settings, request)
    for line, warns in export_report.text(report, request.out):
        where = err if warns or as_json else out
        where.print(line, style="yellow" if warns else None, markup=False, soft_wrap=True)
    if as_json:
        print_json(report)
    if push_ is not None:
        (note if as_json else write)(exporting.push(request.out, push_, public=public))
