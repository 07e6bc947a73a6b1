"""``rlvr trace``: every step of a batch, from a running server or straight from the ledger."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from rlvr_ray.cli.commands import app
from rlvr_ray.cli.terminal import note, out, print_json, server_if_any
from rlvr_ray.client import servers
from rlvr_ray.core.fields import one_line
from rlvr_ray.settings.options import Json, Port, Url, settings_of

_STYLES = {"not verified": "yellow", "ERROR": "red", "CRITICAL": "red", "WARNING": "yellow"}

#: Characters of a text from outside that are shown.
SHOWN_CHARS = 300


@app.command()
def trace(
    id: Annotated[
        str, typer.Argument(help="Of a batch, an event or a trace, or a correlation id.")
    ],
    data_dir: Annotated[
        Path | None, typer.Option(help="Read this folder's ledger, and ask no server.")
    ] = None,
    url: Url = None,
    port: Port = None,
    as_json: Json = False,
) -> None:
    """Every step of a batch with times, its events, its rows in the files, its log lines."""
    settings = settings_of(data_dir, port)
    found = None
    if data_dir is None:
        with server_if_any(url, settings) as client:
            found = None if client is None else client.traces(id).raw
        settings = servers.at_home(settings)
    if found is None:
        from rlvr_ray.pipeline import maintenance

        note(f"No server is asked: reading {settings.data_dir}.")
        found = maintenance.traces(settings, id)
    if as_json:
        print_json(found, ascii=False)
        return
    for number, one in enumerate(found["traces"]):
        if number:
            out.print()
        for line in shown(one, settings.data_dir):
            out.print(line, soft_wrap=True)
    if found["left"]:
        out.print(f"\nand {found['left']:,} earlier batches of this correlation id")


def shown(trace: Mapping[str, Any], data_dir: Path) -> Iterator[Text]:
    """A trace for people, line by line; text from questions, models and logs is text."""
    yield Text(_shown(trace["question"]), "bold")
    yield Text(f"batch {trace['batch_id']}, trace {trace['trace_id']}")
    yield Text(f"correlation {_shown(trace['correlation_id'])}")
    yield from _section("steps", [_step(step) for step in trace["steps"]])
    if trace["state"] == "open":
        yield Text("  not decided yet")
    yield from _section(
        "documents",
        [
            Text(f"{_shown(d['source'])}, passages: {d['passages']}, {_shown(d['document_id'])}")
            for d in trace["documents"]
        ],
    )
    yield from _section("files", [_file(file, data_dir) for file in trace["files"]])
    own = f" (batch {trace['batch_id']}, correlation {trace['correlation_id']})"
    yield from _section("log lines", [_log(line, own) for line in trace["logs"]])


def _section(name: str, lines: Sequence[Text]) -> Iterator[Text]:
    if lines:
        yield Text(name, "bold")
    for line in lines:
        yield Text("  ").append_text(line)


def _step(step: Mapping[str, Any]) -> Text:
    text = Text(f"{_clock(step['at'])} {step['after_s']:+9.3f} s  ")
    text.append(f"{step['step']:<12}  ", _STYLES.get(step["step"]))
    text.append(_shown(step["detail"]))
    if event := step.get("event"):
        mirrored = {True: ", mirrored", False: ", waits for the broker", None: ""}[
            event["mirrored"]
        ]
        text.append(f"  [event {event['event_id']}, number {event['seq']}{mirrored}]", "dim")
    return text


def _file(file: Mapping[str, Any], data_dir: Path) -> Text:
    first, last = file["line"], file["line"] + file["rows"] - 1
    lines = f"line {first}" if first == last else f"lines {first} to {last}"
    if not file["written"]:
        lines += ", not written yet"
    part = file["part"] if file["sealed"] else "not sealed yet"
    return Text(f"{data_dir / file['path']}, {lines}; Parquet: {part}")


def _log(line: Mapping[str, Any], own: str) -> Text:
    """Without what every line says, and with the process of the worker whose file it is in."""
    file = re.sub(r"-[0-9a-f]{20,}-.*-", "-…-", line["file"])
    text = Text(f"{_clock(line['at'])} ")
    text.append(f"{line['level'] or '':<7} ", _STYLES.get(line["level"] or ""))
    return text.append(_shown(line["message"].removesuffix(own))).append(f"  [{file}]", "dim")


def _clock(time: str | None) -> str:
    """Of a day in UTC, to the millisecond."""
    return f"{datetime.fromisoformat(time):%H:%M:%S.%f}"[:-3] if time else "--:--:--.---"


def _shown(text: str) -> str:
    """A text from outside, in one line that is not too long."""
    return one_line(text)[:SHOWN_CHARS]
