"""What the modules that hold commands share: where they print, and options that several have."""

import contextlib
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from rlvr_ray.settings import Settings, load, parsed

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

#: Seconds between two lines of progress, where there is no terminal.
LINE_S = 10.0


def _prefix() -> str:
    """What must stand before the names of our commands: nothing where a shell finds them."""
    own = Path(sys.executable).parent
    found = shutil.which("rlvr")
    return "" if found and Path(found).parent.samefile(own) else f"{own}/"


#: As the shell that began this process sees it: for Ray's jobs the PATH is changed later.
BIN = _prefix()

Url = Annotated[
    str | None, typer.Option(help="A running server; default: the one on this machine.")
]
Port = Annotated[int | None, typer.Option(help="TCP port.")]
DataDir = Annotated[Path | None, typer.Option(help="Ledger, datasets, vector store.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any setting, e.g. generator.max_tokens=64."),
]
Json = Annotated[bool, typer.Option("--json", help="For machines.")]


def settings_of(
    data_dir: Path | None = None, port: int | None = None, pairs: list[str] | None = None
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


class Progress:
    """On a terminal a line that changes; elsewhere a line now and then."""

    def __init__(self, update: Callable[[str], None]) -> None:
        self._update = update
        self._next = time.monotonic() + LINE_S

    def show(self, line: str) -> None:
        """Tell how far it is."""
        if err.is_terminal:
            self._update(line)
        elif (now := time.monotonic()) >= self._next:
            self._next = now + LINE_S
            err.print(line, markup=False, soft_wrap=True)


@contextlib.contextmanager
def progress(first: str) -> Iterator[Progress]:
    """For the length of the block."""
    with err.status(first) as status:
        yield Progress(status.update)
