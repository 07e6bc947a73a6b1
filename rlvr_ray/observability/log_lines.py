"""Reading the log lines of batches, from the folder in which Ray keeps the logs of a node.

Only the ends of the latest files are read.
"""

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

#: Names of the files in which our lines may stand: of workers and drivers, and of Serve.
NAMES = ("worker-*.err", "worker-*.out", "job-driver-*.log", "serve/*.log")
#: Bytes read from the end of one file, and of all together.
FILE_BYTES, ALL_BYTES = 8 * 2**20, 64 * 2**20
#: Lines of one batch, the latest, and characters of one.
LINES, LINE_CHARS = 200, 2000

_TIME = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{3,6})?(?:Z|[+-]\d\d:?\d\d)?"
_LEVEL = r"DEBUG|INFO|WARNING|ERROR|CRITICAL"
#: How our lines for people begin, and Serve's.
_OURS = re.compile(rf"(?P<time>{_TIME}) (?P<level>{_LEVEL}) (?P<message>.*)")
_SERVES = re.compile(rf"(?P<level>{_LEVEL}) (?P<time>{_TIME}) (?P<message>.*)")


def latest_session() -> Path:
    """The log folder of the last cluster that was started on this machine, there or not."""
    root = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    return Path(root, "ray", "session_latest", "logs")


def find(folder: Path | None, batch_ids: Sequence[UUID]) -> dict[UUID, list[dict[str, Any]]]:
    """For each batch its lines in the order of time: ``at``, ``level``, ``message``, ``file``.

    A line is of a batch where it says so in ``batch_id``, or has the id or the trace id anywhere.
    ``at`` is None where the line has no time. A folder or file that is not there has none.
    """
    found: dict[UUID, dict[tuple[Any, ...], dict[str, Any]]] = {each: {} for each in batch_ids}
    for name, data in _ends(folder) if folder is not None else ():
        for batch_id in batch_ids:
            marks = (str(batch_id).encode(), batch_id.hex.encode())
            if not any(mark in data for mark in marks):
                continue
            for raw in data.split(b"\n"):
                if any(mark in raw for mark in marks):
                    line = _line(raw.decode("utf-8", "replace"), name)
                    # Serve writes the same to a file of its own.
                    found[batch_id].setdefault((line["at"], line["message"]), line)
    return {
        batch_id: sorted(lines.values(), key=lambda line: line["at"] or "")[-LINES:]
        for batch_id, lines in found.items()
    }


def _ends(folder: Path) -> Iterator[tuple[str, bytes]]:
    """The ends of the files that were written last, with their names."""
    left = ALL_BYTES
    for path in sorted(
        (p for name in NAMES for p in folder.glob(name)), key=_written, reverse=True
    ):
        try:
            with path.open("rb") as file:
                room = min(FILE_BYTES, left)
                start = max(file.seek(0, os.SEEK_END) - room, 0)
                file.seek(start)
                data = file.read(room)
        except OSError:  # it was rotated away, or is somebody else's
            continue
        left -= len(data)
        # Where it does not begin with the file, it begins within a line.
        yield path.relative_to(folder).as_posix(), data.partition(b"\n")[2] if start else data
        if left <= 0:
            return


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _line(text: str, file: str) -> dict[str, Any]:
    text = text.strip()
    found: Mapping[str, Any] = {}
    if text.startswith("{"):
        with contextlib.suppress(ValueError):
            found = json.loads(text)
    elif match := _OURS.match(text) or _SERVES.match(text):
        found = match.groupdict()
    level = found.get("level")
    return {
        "at": _iso(str(found.get("time"))),
        "level": level if isinstance(level, str) else None,
        "message": str(found.get("message", text))[:LINE_CHARS],
        "file": file,
    }


def _iso(text: str) -> str | None:
    """In UTC; a time without an offset is taken as UTC. None where it is no time."""
    try:
        time = datetime.fromisoformat(text.replace(",", "."))
    except ValueError:
        return None
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
