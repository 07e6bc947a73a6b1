"""What the modules that hold commands share: where they print, and options that several have."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
import typer.core
from rich.console import Console

from rlvr_ray.settings import MAX_CANDIDATES, Settings, load, parsed

F = TypeVar("F", bound=Callable[..., Any])

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

#: Seconds between two lines of progress, where there is no terminal.
LINE_S = 10.0


def _plain(params: list[Any]) -> list[Any]:
    """In the help, options that take no value show none: typer writes ``<bool>``."""
    for param in params:
        if getattr(param, "is_flag", False):
            param.metavar = ""
    return params


class _Command(typer.core.TyperCommand):
    def get_params(self, ctx: Any) -> list[Any]:
        return _plain(super().get_params(ctx))


class _Group(typer.core.TyperGroup):
    def get_params(self, ctx: Any) -> list[Any]:
        return _plain(super().get_params(ctx))


class App(typer.Typer):
    """A group of commands."""

    def __init__(self, **options: Any) -> None:
        super().__init__(cls=_Group, **options)

    def command(self, name: str | None = None, **options: Any) -> Callable[[F], F]:
        """See typer."""
        return super().command(name, cls=_Command, **options)


Url = Annotated[
    str | None, typer.Option(help="A running server; default: the one on this machine.")
]
Port = Annotated[int | None, typer.Option(help="TCP port.")]
DataDir = Annotated[Path | None, typer.Option(help="Ledger, datasets, vector store.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any setting, e.g. generator.max_tokens=64."),
]
Candidates = Annotated[
    int | None,
    typer.Option(
        "--candidates", "-n", min=2, max=MAX_CANDIDATES, help="Answers to a question; default: 3."
    ),
]
#: The field's name in requests.
NumCandidates = Annotated[
    int | None, typer.Option("--num-candidates", hidden=True, min=2, max=MAX_CANDIDATES)
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
