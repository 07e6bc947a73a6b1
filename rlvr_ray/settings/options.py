"""Options of commands that set settings, and others that several commands have."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from rlvr_ray.settings import DEFAULT_CANDIDATES, MAX_CANDIDATES, Settings, load, parsed

Url = Annotated[
    str | None, typer.Option(help="A running server; default: the one on this machine.")
]
Json = Annotated[bool, typer.Option("--json", help="For machines.")]
Port = Annotated[int | None, typer.Option(help="TCP port.")]
DataDir = Annotated[Path | None, typer.Option(help="Ledger, datasets, vector store.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any setting, e.g. generator.max_tokens=64."),
]
Candidates = Annotated[
    int | None,
    typer.Option(
        "--candidates",
        "-n",
        min=2,
        max=MAX_CANDIDATES,
        help=f"Answers to a question; default: {DEFAULT_CANDIDATES}.",
    ),
]
#: The field's name in requests.
NumCandidates = Annotated[
    int | None, typer.Option("--num-candidates", hidden=True, min=2, max=MAX_CANDIDATES)
]


def settings_of(
    data_dir: Path | None = None, port: int | None = None, pairs: Sequence[str] | None = None
) -> Settings:
    """The settings of a command that was given these options."""
    arguments = parsed(pairs or [])
    if data_dir is not None:
        arguments["data_dir"] = data_dir
    if port is not None:
        api = arguments.setdefault("api", {})
        if isinstance(api, dict):
            api["port"] = port
    return load(**arguments)
