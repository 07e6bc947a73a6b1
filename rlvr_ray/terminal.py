"""What the modules that hold commands share: where they print, and options that several have."""

from typing import Annotated

import typer
from rich.console import Console

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

Url = Annotated[str | None, typer.Option(help="A running server; default: from the settings.")]
Json = Annotated[bool, typer.Option("--json", help="For machines.")]
