"""``rlvr``: every command, in the order of the help. A new one is a file here and a name below.

Importing a command adds it.
"""
# ruff: noqa: F401

from typing import Annotated

import typer

from rlvr_ray import __version__

from rlvr_ray.cli import (  # isort: skip  # the order of the help
    serve,
    demo,
    ingest,
    ask,
    status,
    trace,
    verify_store,
    rebuild,
    doctor,
    judge_report,
    export,
    push,
    questions,
    generate,
    plan,
    events,
    documents,
)
from rlvr_ray.cli.commands import Config, app
from rlvr_ray.cli.terminal import out
from rlvr_ray.settings import config as settings_from

__all__ = ["app"]


@app.callback(invoke_without_command=True)
def main(
    ctx: typer.Context,
    config: Config = None,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Questions over your documents become verified DPO preference pairs, on Ray."""
    ctx.with_resource(settings_from(config))
    if version:
        out.print(__version__)
        raise typer.Exit


if __name__ == "__main__":
    app()
