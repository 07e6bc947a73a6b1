"""``rlvr push``: an exported folder, uploaded to the model hub."""

from pathlib import Path
from typing import Annotated

import typer

from rlvr_ray.cli.commands import app
from rlvr_ray.cli.terminal import write


@app.command(settings=False)
def push(
    folder: Annotated[Path, typer.Argument(help="The folder that `rlvr export` wrote.")],
    repo: Annotated[str, typer.Argument(help="NAME or OWNER/NAME on the model hub.")],
    public: Annotated[bool, typer.Option("--public", help="For everybody.")] = False,
) -> None:
    """Upload an exported folder to the model hub, as a private dataset."""
    from rlvr_ray.training.export import folder as exporting

    write(exporting.push(folder, repo, public=public))
