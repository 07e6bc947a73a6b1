"""A connection to the ledger that reads, and how records are read from it."""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import apsw

from rlvr_ray.core import codec
from rlvr_ray.core.errors import LedgerError, Overloaded, Unreadable
from rlvr_ray.core.pairing import Result
from rlvr_ray.core.records import (
    Batch,
    FailedVerification,
    Outcome,
    Verification,
)
from rlvr_ray.dataset.ledger import schema
from rlvr_ray.dataset.reviews import Review
from rlvr_ray.dataset.state import (
    BatchState,
    Page,
)
from rlvr_ray.documents.retriever import Ingested

log = logging.getLogger(__name__)
T = TypeVar("T")

#: Of the year 9999, in Unix seconds.
LAST_SECOND = 253402300799


def valid(record: str) -> str:
    """SQL for a column of JSON, and NULL where what stands there is none: that is no error."""
    return f"CASE WHEN json_valid({record}) THEN {record} END"


def moment(at: int) -> datetime:
    """A time in Unix seconds; one that no calendar has is the last that it has."""
    return datetime.fromtimestamp(min(max(at, 0), LAST_SECOND), UTC)


NAME = "ledger.db"
#: Documents or reviews read at once.
STEP = 500
#: Records that cannot be read and whose reasons are kept.
MOST_ASIDE = 1000

#: A batch as ``_state`` takes it. Bytes: what stands in a damaged row need not be Unicode.
BATCH = """
batch.seq, CAST(batch.batch_id AS BLOB), CAST(batch.record AS BLOB), CAST(outcome.record AS BLOB)
"""
#: Whether a batch is past retention: its record is empty, and is meant to be.
PAST = """
(batch.record = '' AND outcome.seq <= (SELECT seq FROM mark WHERE name = 'pruned'))
"""


class Connection:
    """A connection of its own: it sees what is committed and never waits for the writer.

    Plain and blocking, for one thread at a time. A record that cannot be read is left out of
    whatever is many; who asks for it by name gets Unreadable. A batch goes as a whole.
    """

    #: Records that were met and cannot be read, with the reason: ``batch ID``, ``review number N``.
    set_aside: dict[str, str]
    #: Of the log's line for such a record: a reader reports it to its own caller.
    level = logging.DEBUG

    def __init__(self, folder: Path) -> None:
        self.set_aside = {}
        self._path = folder / NAME
        if not self._path.is_file():
            raise LedgerError(f"{folder} holds no ledger; it is made by: rlvr serve")
        with self._translated():
            self._db = apsw.Connection(str(self._path), flags=apsw.SQLITE_OPEN_READONLY)
            try:
                schema.check(self._db, str(self._path))
            except BaseException:
                self._db.close()
                raise

    def close(self) -> None:
        """Close the connection."""
        self._db.close()

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """All reads of the block see the same moment."""
        with self._translated(), self._db:
            yield

    def _page(self, rows: Sequence[Any], after: int) -> Page[tuple[int, BatchState]]:
        page: Page[tuple[int, BatchState]]
        page = Page(last=rows[-1][0] if rows else after, more=bool(rows))
        for place, *batch in rows:
            with contextlib.suppress(Unreadable):
                page.append((place, self._state(*batch)))
        return page

    def _numbered(self, number: int) -> BatchState:
        row = self._row(
            f"SELECT {BATCH} FROM batch "
            "LEFT JOIN outcome ON outcome.batch = batch.seq WHERE batch.seq = ?",
            (number,),
        )
        if row is None:
            raise self._unreadable(f"batch number {number}", ValueError("it is not there"))
        return self._state(*row)

    def _state(self, number: int, name: bytes, batch: bytes, outcome: bytes | None) -> BatchState:
        try:
            found = self._batch(name, batch)
            return BatchState(
                batch=found,
                results=self._results(number, found),
                outcome=None if outcome is None else _read(Outcome, outcome, "its outcome"),
            )
        except ValueError as error:
            raise self._unreadable(of_batch(name), error) from None

    def _batch(self, name: bytes, record: bytes) -> Batch:
        """Raises ValueError where it cannot be read."""
        batch = _read(Batch, record, "its record")
        if str(batch.batch_id).encode() != name:
            raise ValueError(f"its record is of batch {batch.batch_id}")
        return batch

    def _results(self, number: int, batch: Batch) -> dict[UUID, Result]:
        """Those on record; raises ValueError where one cannot be read."""
        results: dict[UUID, Result] = {}
        for candidate, completed, record in self._rows(
            "SELECT candidate, completed, CAST(record AS BLOB) FROM verification WHERE batch = ?",
            (number,),
        ):
            if not 0 <= candidate < len(batch.candidates):
                raise ValueError(f"a result is of candidate {candidate}, which it has not")
            kind: type[Result] = Verification if completed else FailedVerification
            result = _read(kind, record, f"the result of candidate {candidate}")
            results[batch.candidates[candidate].event_id] = result
        return results

    def _document(self, number: int, record: bytes) -> Ingested:
        try:
            return codec.loads(Ingested, record)
        except ValueError as error:
            raise self._unreadable(f"document number {number}", error) from None

    def _review(self, number: int, record: bytes) -> Review:
        try:
            return codec.loads(Review, record)
        except ValueError as error:
            raise self._unreadable(f"review number {number}", error) from None

    def _unreadable(self, what: str, error: Exception) -> Unreadable:
        """Set a record aside: from now on ``set_aside`` has it."""
        why = codec.why(error)
        if what not in self.set_aside and len(self.set_aside) < MOST_ASIDE:
            self.set_aside[what] = why
            log.log(self.level, "%s cannot be read and is set aside: %s", what, why)
        return Unreadable(
            f"{what} cannot be read and is set aside: {why}. Everything else goes on; a backup of "
            "the data folder may have it (rlvr verify-store names all such records)"
        )

    def _rows(self, query: str, values: tuple[Any, ...] | dict[str, Any] = ()) -> list[Any]:
        with self._translated():
            return self._db.execute(query, values).fetchall()

    def _row(self, query: str, values: tuple[Any, ...] | dict[str, Any] = ()) -> Any:
        with self._translated():
            return self._db.execute(query, values).fetchone()

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except UnicodeError as error:
            raise LedgerError(f"{self._path}: a text is not Unicode ({error})") from None
        except apsw.FullError:
            raise Overloaded(f"no room left for {self._path}; free some and ask again") from None
        except apsw.Error as error:
            raise LedgerError(f"{self._path}: {error}") from error


def of_batch(name: bytes | str) -> str:
    """What a batch is called in ``set_aside``."""
    return f"batch {name if isinstance(name, str) else name.decode(errors='replace')}"


def _read(kind: type[T], record: bytes, what: str) -> T:
    try:
        return codec.loads(kind, record)
    except ValueError as error:
        raise ValueError(f"{what}: {codec.why(error)}") from None
