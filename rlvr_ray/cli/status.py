"""``rlvr status``: the state of a running server."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path
from time import sleep
from typing import Annotated, Never

import typer
from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from rlvr_ray.cli.commands import app
from rlvr_ray.cli.terminal import connect, out, print_json
from rlvr_ray.client import BatchLine, Client, Recent, Stats
from rlvr_ray.core.errors import NotFound, Unavailable
from rlvr_ray.settings.options import DataDir, Json, Port, Url, settings_of

#: Seconds between two readings of ``--watch``.
WATCH_S = 1.0
#: Latest pairs, and latest batches without one.
LATEST = 5


@app.command()
def status(
    watch: Annotated[bool, typer.Option(help="Show it again every second, until Ctrl-C.")] = False,
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
            print_json(client.stats().raw)
        else:
            out.print(_State(client).shown())


def _watch(client: Client, *, as_json: bool) -> Never:
    """Until Ctrl-C."""
    while as_json:
        print_json(client.stats().raw)
        sleep(WATCH_S)
    state = _State(client)
    with Live(state.shown(), console=out, auto_refresh=False) as live:
        while True:
            sleep(WATCH_S)
            try:
                state.read()
                live.update(state.shown(), refresh=True)
            except Unavailable as error:  # a restart, perhaps: it comes back
                live.update(Group(state.shown(), Text(str(error), "yellow")), refresh=True)


class _State:
    """What is shown. The latest batches are read again only where something was decided."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._stats: Stats | None = None
        self.read()

    def read(self) -> None:
        """Read it all again."""
        stats = self._client.stats()
        if self._stats is None or stats.batches != self._stats.batches:
            self._latest = self._find(stats)
        self._stats = stats

    def _find(self, stats: Stats) -> Sequence[Recent | BatchLine]:
        try:
            return [
                line
                for outcome in ("pair", "no_pair")
                for line in self._client.batches(limit=LATEST, outcome=outcome)
            ]
        except NotFound:  # a server that has no such list yet
            return stats.recent

    def shown(self) -> RenderableType:
        """As it was when it was last read."""
        assert self._stats is not None
        return shown(self._stats, self._latest)


def shown(value: Stats, latest: Sequence[Recent | BatchLine]) -> RenderableType:
    """Counts, rates, latest pairs and rejections, files, and what is wrong."""
    counts = Table("state", "batches", box=None)
    for state, count in value.batches.items():
        counts.add_row(Text(state), f"{count:,}")
    parts: list[RenderableType] = [Text(f"{value.passages:,} passages to search")]
    if value.rates:
        rates = Table("in the last", "decided", "pairs", box=None)
        for name, rate in value.rates.items():
            rates.add_row(Text(name), f"{rate.decided:,}", f"{rate.pairs:,}")
        parts.append(Columns([counts, rates], padding=(0, 4)))
    else:
        parts.append(counts)
    parts += [
        _latest("pair", (each for each in latest if each.outcome == "pair")),
        _latest("no pair", (each for each in latest if each.outcome != "pair")),
        _files(value),
    ]
    if value.queue is not None and value.queue.open:
        parts.append(Text(f"queue: {value.queue.open:,} batches wait{_since(value.queue.oldest)}"))
    if value.mirror is not None:
        parts.append(
            Text(f"mirror: {value.mirror.pending:,} events wait{_since(value.mirror.oldest)}")
        )
    if (disk := value.disk) is not None:
        full = disk.free_bytes < disk.min_free_bytes
        text = f"disk: {disk.free_bytes / 2**30:,.1f} GiB free"
        parts.append(Text(f"{text}, too little to ask" if full else text, "red" if full else ""))
    if (aside := value.set_aside) is not None and aside.count:
        parts.append(Text(f"set aside, since they cannot be read: {aside.count:,}", "red"))
        parts += [Text(f"  {one.record}: {one.reason}", "red") for one in aside.records]
    parts += [
        Text(f"{_time(error.at)} {error.part}: {error.detail}", "red")
        for error in value.errors[:LATEST]
    ]
    if value.last_error:
        parts.append(Text(f"last error: {value.last_error}", style="red"))
    if value.dashboard:
        parts.append(Text(f"Ray's dashboard: {value.dashboard}"))
    return Group(*parts)


def _latest(name: str, entries: Iterable[Recent | BatchLine]) -> RenderableType:
    table = Table(name, "question", "why", box=None)
    for entry in islice(entries, LATEST):
        why = entry.detail or ""
        if entry.outcome != "pair":
            why = f"{entry.outcome}: {why}"
        at = _time(entry.decided_at) if entry.decided_at else ""
        table.add_row(at, Text(entry.question[:60]), Text(why))
    return table


def _files(value: Stats) -> RenderableType:
    """Paths and sizes; of the parts the latest."""
    lines = [f"{Path(value.data_dir, path)}  {size:,} bytes" for path, size in value.files.items()]
    lines += [str(Path(value.data_dir, path)) for path in value.parts]
    if value.num_parts > len(value.parts):
        lines.append(f"and {value.num_parts - len(value.parts):,} earlier parts")
    return Text("\n".join(lines))


def _since(oldest: datetime | None) -> str:
    return f", the oldest since {_time(oldest)}" if oldest else ""


def _time(value: datetime) -> str:
    """In UTC, to the second."""
    return value.isoformat()[:19]
