"""``rlvr ask`` and ``status``: what goes to a running server over HTTP."""

import contextlib
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from time import sleep
from typing import Annotated, Any, Never

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from rlvr_ray.cli import server_output
from rlvr_ray.cli.terminal import (
    Candidates,
    DataDir,
    Json,
    NumCandidates,
    Port,
    Url,
    err,
    out,
    settings_of,
)
from rlvr_ray.client import BatchLine, Board, Client, LiveEvent, Recent, Stats, servers
from rlvr_ray.client.calls import Options
from rlvr_ray.core.errors import NotFound, Unavailable
from rlvr_ray.settings import MAX_TOP_K, Settings

#: Seconds between two looks of ``status --watch``.
WATCH_S = 1.0


def connect(url: str | None, settings: Settings) -> Client:
    """A client of the server at the URL or, with none, of the one that the settings mean.

    Raises Unavailable where that one does not run.
    """
    if url is None:
        tell(settings)
        url = servers.address(settings)
    if url is None:
        others = "; ".join(map(str, servers.running()))
        raise Unavailable(
            f"no server over {settings.data_dir} runs, but {others}; start it with: rlvr serve "
            f"--data-dir {settings.data_dir} --port PORT"
        )
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


def tell(settings: Settings) -> None:
    """Say which server is meant where its folder is not the one that would be used here."""
    server = servers.find(settings)
    if server is not None and not server.is_over(settings.data_dir):
        err.print(f"Server: {server}", markup=False, soft_wrap=True)


def ask(
    question: str,
    candidates: Candidates = None,
    num_candidates: NumCandidates = None,
    top_k: Annotated[int | None, typer.Option(min=1, max=MAX_TOP_K)] = None,
    seed: Annotated[int | None, typer.Option(help="For repeatable answers.")] = None,
    reference: Annotated[
        list[str] | None, typer.Option(help="A right answer, to verify against; may be repeated.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Show answers while they are written, then scores.")
    ] = False,
    url: Url = None,
    port: Port = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Ask a running server, wait for the verification, show what became of it.

    With --follow --json: one JSON object a line, an event each.
    """
    answers = candidates or num_candidates or 3
    options = Options(num_candidates=answers, top_k=top_k, seed=seed, reference=reference or None)
    settings = settings_of(data_dir, port)
    if follow:
        with connect(url, settings) as client:
            _follow(client.ask_live(question, **options), question, answers, as_json=as_json)
        return
    with connect(url, settings) as client, err.status("Generating …") as status:
        batch = client.ask(question, **options)
        status.update("Verifying …")
        decided = client.wait(batch.batch_id)
    if as_json:
        _print_json(decided.raw)
    else:
        out.print(server_output.batch(decided))


def _follow(
    events: Iterable[LiveEvent], question: str, num_candidates: int, *, as_json: bool
) -> None:
    if as_json:
        for event in events:
            _print_json(event.line())
    elif out.is_terminal:
        board = Board()
        with Live(server_output.Following(board, question, num_candidates), console=out) as live:
            for event in events:
                board.add(event)
                live.refresh()
    else:
        lines = server_output.Lines()
        for event in events:
            for line in lines.add(event):
                out.print(line, soft_wrap=True)


def status(
    watch: Annotated[bool, typer.Option(help="Keep looking, until Ctrl-C.")] = False,
    url: Url = None,
    port: Port = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Batches by state, rates, the latest outcomes, what waits, files, room, errors.

    With --watch --json: one JSON object a line.
    """
    with connect(url, settings_of(data_dir, port)) as client:
        if watch:
            _watch(client, as_json=as_json)
        elif as_json:
            _print_json(client.stats().raw)
        else:
            out.print(_Look(client).shown())


def _watch(client: Client, *, as_json: bool) -> Never:
    """Until Ctrl-C."""
    while as_json:
        _print_json(client.stats().raw)
        sleep(WATCH_S)
    look = _Look(client)
    with Live(look.shown(), console=out, auto_refresh=False) as live:
        while True:
            sleep(WATCH_S)
            try:
                look.again()
                live.update(look.shown(), refresh=True)
            except Unavailable as error:  # a restart, perhaps: it comes back
                live.update(Group(look.shown(), Text(str(error), "yellow")), refresh=True)


class _Look:
    """What ``status`` shows. Latest batches are looked for only where something was decided."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._stats: Stats | None = None
        self.again()

    def again(self) -> None:
        """Look again."""
        stats = self._client.stats()
        if self._stats is None or stats.batches != self._stats.batches:
            self._latest = self._find(stats)
        self._stats = stats

    def _find(self, stats: Stats) -> Sequence[Recent | BatchLine]:
        try:
            return [
                line
                for outcome in ("pair", "no_pair")
                for line in self._client.batches(limit=server_output.LATEST, outcome=outcome)
            ]
        except NotFound:  # a server that has no such list yet
            return stats.recent

    def shown(self) -> RenderableType:
        """As it was at the last look."""
        assert self._stats is not None
        return server_output.stats(self._stats, self._latest)


def _print_json(value: Any) -> None:
    """One line, at once: whoever reads it may be waiting."""
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()
