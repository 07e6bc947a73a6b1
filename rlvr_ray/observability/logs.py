"""Log lines of this package, in every process of the system: one a line, each with its batch.

They go to the process's standard error. Ray keeps that of its workers in the folder of its session,
``logs/worker-….err``; what Serve itself says is in ``logs/serve/``. No line has text of questions,
passages or answers.
"""

import contextlib
import json
import logging
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import IO
from uuid import UUID

from rlvr_ray.settings import LogSettings

#: Batch id and correlation id of what is worked on.
_batch: ContextVar[tuple[str, str] | None] = ContextVar("batch", default=None)
#: One record is one line, whoever chose the correlation id.
_ONE_LINE = str.maketrans({"\n": "\\n", "\r": "\\r", "\u2028": "\\u2028", "\u2029": "\\u2029"})


@contextlib.contextmanager
def about(batch_id: UUID, correlation_id: str) -> Iterator[None]:
    """Lines of the block, and of tasks that it starts, are about this batch."""
    token = _batch.set((str(batch_id), correlation_id))
    try:
        yield
    finally:
        _batch.reset(token)


class JsonFormatter(logging.Formatter):
    """An object a line: time (UTC), level, logger, message, batch_id, correlation_id.

    The last two are null where the line is about no batch. A traceback stands in ``error``.
    """

    def format(self, record: logging.LogRecord) -> str:
        """See ``logging.Formatter``."""
        batch_id, correlation_id = _batch.get() or (None, None)
        line = {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "batch_id": batch_id,
            "correlation_id": correlation_id,
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False).translate(_ONE_LINE)


class TextFormatter(logging.Formatter):
    """The same for people; a traceback follows on lines of its own."""

    def format(self, record: logging.LogRecord) -> str:
        """See ``logging.Formatter``."""
        line = f"{_time(record)} {record.levelname} {record.name}: {record.getMessage()}"
        if batch := _batch.get():
            line += f" (batch {batch[0]}, correlation {batch[1]})"
        line = line.translate(_ONE_LINE)
        if record.exc_info:
            line += f"\n{self.formatException(record.exc_info)}"
        return line


class _Handler(logging.StreamHandler[IO[str]]):
    """Ours, so that configuring twice does not write twice."""


def configure(settings: LogSettings, stream: IO[str] | None = None, least: str = "NOTSET") -> None:
    """Write this package's lines to the stream, those of a level that is high enough.

    The stream is by default the process's own standard error: Serve replaces ``sys.stderr`` in its
    replicas, to put lines into lines of its own.
    """
    handler = _Handler(stream or sys.__stderr__)
    handler.setFormatter(JsonFormatter() if settings.format == "json" else TextFormatter())
    logger = logging.getLogger("rlvr_ray")
    for old in [each for each in logger.handlers if isinstance(each, _Handler)]:
        logger.removeHandler(old)
    logger.addHandler(handler)
    levels = logging.getLevelNamesMapping()
    logger.setLevel(max(levels[settings.level], levels[least]))
    logger.propagate = False


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
