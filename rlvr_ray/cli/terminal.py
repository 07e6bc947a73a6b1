"""Shared by commands: consoles, common options, and their settings."""

import contextlib
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from rlvr_ray.client import Client, servers
from rlvr_ray.core.errors import Unavailable
from rlvr_ray.settings import Settings
from rlvr_ray.settings.options import settings_of

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

#: Seconds between two lines of progress, where there is no terminal.
LINE_S = 10.0


def write(text: str) -> None:
    """Print plain text to stdout as it is."""
    out.print(text, markup=False, soft_wrap=True)


def note(text: str) -> None:
    """Print plain text to stderr as it is."""
    err.print(text, markup=False, soft_wrap=True)


def print_json(value: Any, *, ascii: bool = True) -> None:
    """One line, at once: a program that reads it may be waiting."""
    sys.stdout.write(json.dumps(value, ensure_ascii=ascii) + "\n")
    sys.stdout.flush()


def settings_of_folder(
    data_dir: Path | None, pairs: Sequence[str] | None, port: int | None = None
) -> Settings:
    """The same for commands that work on a data folder: by default a running server's."""
    given = settings_of(data_dir, port, pairs)
    settings = servers.at_home(given)
    if settings.data_dir != given.data_dir:
        _name_server(given)
    return settings


def connect(url: str | None, settings: Settings) -> Client:
    """A client of the server at the URL or, with none, of the one that the settings mean.

    Raises Unavailable where that one does not run.
    """
    if url is None:
        _name_server(settings)
        url = servers.address(settings)
    if url is None:
        others = "; ".join(map(str, servers.running()))
        raise Unavailable(
            f"no server over {settings.data_dir} runs, but {others}; start it with: rlvr serve "
            f"--data-dir {settings.data_dir} --port PORT"
        )
    return client_of(url, settings)


def client_of(url: str, settings: Settings) -> Client:
    """A client of the server at the URL, with the key of the settings."""
    key = settings.api.key
    return Client(url, key.get_secret_value() if key else None)


@contextlib.contextmanager
def server_if_any(url: str | None, settings: Settings) -> Iterator[Client | None]:
    """The same, but None where no URL is given and no server runs that the settings mean."""
    if url is None and servers.address(settings) is None:
        yield None
        return
    with connect(url, settings) as client:
        named = url is not None or servers.find(settings) is not None
        yield client if named or client.is_up() else None


def _name_server(settings: Settings) -> None:
    """Say which server is used where its folder is not the one that would be used here."""
    server = servers.find(settings)
    if server is not None and not server.is_over(settings.data_dir):
        note(f"Server: {server}")


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM ends a command as Ctrl-C does: what has to be finished is finished."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


class Progress:
    """On a terminal a line that changes; elsewhere a line now and then."""

    def __init__(self, update: Callable[[str], None]) -> None:
        self._update = update
        self._next = time.monotonic() + LINE_S

    def show(self, line: str) -> None:
        """Show how far the command is."""
        if err.is_terminal:
            self._update(line)
        elif (now := time.monotonic()) >= self._next:
            self._next = now + LINE_S
            note(line)


@contextlib.contextmanager
def progress(first: str) -> Iterator[Progress]:
    """For the length of the block."""
    with err.status(first) as status:
        yield Progress(status.update)
