"""The only connection that writes to the ledger."""

import contextlib
import fcntl
import logging
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar
from uuid import UUID

import apsw

from rlvr_ray.core import codec, pairing
from rlvr_ray.core.errors import InputError, LedgerError, Unreadable
from rlvr_ray.core.pairing import Result
from rlvr_ray.core.records import Batch, FailedVerification, Outcome, Verification
from rlvr_ray.dataset.filters import entry_of
from rlvr_ray.dataset.ledger import entries, schema
from rlvr_ray.dataset.ledger.connection import NAME
from rlvr_ray.dataset.ledger.reader import Reader
from rlvr_ray.dataset.ledger.search import Browser
from rlvr_ray.dataset.reviews import Review
from rlvr_ray.dataset.state import Part
from rlvr_ray.documents.retriever import Ingested

Operation = Callable[["Ledger"], Any]
R = TypeVar("R", bound=Reader)
T = TypeVar("T")
P = ParamSpec("P")

#: Pages that the write-ahead log gathers before they are written back: the more there are, the more
#: often a page of the index of random ids is written once for several batches.
WAL_PAGES = 16_000
#: KiB of pages kept in memory: the upper levels of that index and what has just been written.
CACHE_KIB = 32 * 1024
#: Bytes that the write-ahead log may keep on the disk once it is written back.
WAL_LIMIT = 80 * 2**20


class Ledger(Reader):
    """Plain and blocking: give it a thread of its own. Writes happen inside ``commit`` only.

    A lock on the folder fences a second writer. Whatever becomes a fact is written together with
    the event that tells of it; reviews have none.
    """

    level = logging.ERROR

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.set_aside = {}
        self._folder = folder
        self._path = folder / NAME
        self._lock = _lock(folder / "ledger.lock")
        self._models: dict[str, int] = {}  # as in the table, whose rows stay
        try:
            with self._translated():
                self._db = self._open()
        except BaseException:
            os.close(self._lock)
            raise

    def close(self) -> None:
        """Close the file and let the next writer in."""
        self._db.close()
        os.close(self._lock)

    def reader(self) -> Reader:
        """Another connection, for another thread."""
        return self._sharing(Reader(self._folder))

    def browser(self) -> Browser:
        """Likewise, for looking through what there is."""
        return self._sharing(Browser(self._folder))

    def _sharing(self, reader: R) -> R:
        """What one of them finds unreadable, all of them tell."""
        reader.set_aside, reader.level = self.set_aside, self.level
        return reader

    def free_bytes(self) -> int:
        """Room that is left on the ledger's disk."""
        return shutil.disk_usage(self._folder).free

    def write(
        self,
        operation: Callable[Concatenate["Ledger", P], T],
        /,
        *arguments: P.args,
        **named: P.kwargs,
    ) -> T:
        """Run one operation, such as ``Ledger.record``, in a transaction of its own."""
        return self.commit([lambda ledger: operation(ledger, *arguments, **named)])[0]

    def commit(self, operations: Sequence[Callable[["Ledger"], T]]) -> list[T]:
        """Run operations in one transaction: one fsync for all, and all or none of them hold."""
        with self._translated():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                results = [operation(self) for operation in operations]
                self._db.execute("COMMIT")
            except BaseException:
                self._models.clear()
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
        return results

    # What operations write.

    def record(self, batches: Sequence[Batch]) -> list[Batch]:
        """Keep batches; return those that the ledger holds under their ids.

        Those that are new come back as the same objects. Raises InputError, with the field, where
        one of them could not be read back: none of them is kept. So do all methods that keep.
        """
        return [self._record(batch) for batch in batches]

    def _record(self, batch: Batch) -> Batch:
        self._db.execute(
            "INSERT INTO batch (batch_id, open, record, run) VALUES (?, 1, ?, ?) "
            "ON CONFLICT (batch_id) DO NOTHING",
            (str(batch.batch_id), _of_batch(batch, batch), _run(batch)),
        )
        if self._db.changes():
            number = self._db.last_insert_rowid()
            self._tell("answer", number, range(len(batch.candidates)))
            return batch
        state = self.find(batch.batch_id)
        assert state is not None, "a conflicting batch is there"
        return state.batch

    def keep(self, batch: Batch, results: Mapping[UUID, Result]) -> list[Result]:
        """Keep results of a recorded batch; return those that are new.

        A candidate's first result stays. Those of a batch that is decided are dropped: they came
        too late.
        """
        number = self._open_number(batch)
        _fit(batch, results, None)
        return [] if number is None else self._keep(number, batch, results)

    def decide(
        self, batch: Batch, results: Mapping[UUID, Result], outcome: Outcome
    ) -> list[Result] | None:
        """Keep a batch's outcome and the results behind it; return those results that are new.

        None where the batch was decided already: it stays as it is.
        """
        number = self._open_number(batch)
        if number is None:
            return None
        _fit(batch, {**results, **self._results(number, batch)}, outcome)
        record = _of_batch(batch, outcome)
        new = self._keep(number, batch, results)
        self._db.execute(
            "INSERT INTO outcome (batch, reason, month, answers, record) VALUES (?, ?, ?, ?, ?)",
            (
                number,
                outcome.reason,
                outcome.month,
                len(batch.candidates),
                record,
            ),
        )
        self._db.execute("UPDATE batch SET open = 0 WHERE seq = ?", (number,))
        entries.add(self._db, number, entry_of(batch, outcome), self._models)
        self._tell("outcome", number, [None])
        return new

    def ingested(self, documents: Sequence[Ingested]) -> None:
        """Note documents that were stored; one whose content is the last known is no news."""
        for document in documents:
            last = self._row(
                "SELECT number, seq, CAST(record AS BLOB) FROM document WHERE document_id = ? "
                "ORDER BY number DESC LIMIT 1",
                (str(document.document_id),),
            )
            with contextlib.suppress(Unreadable):  # then it is news
                if last and self._document(*last[1:]).content_id == document.content_id:
                    continue
            self._db.execute(
                "INSERT INTO document (document_id, number, record) VALUES (?, ?, ?)",
                (
                    str(document.document_id),
                    last[0] + 1 if last else 0,
                    codec.dumps(document, Ingested),
                ),
            )
            self._tell("document", self._db.last_insert_rowid(), [None])

    def review(self, review: Review) -> tuple[int, Review]:
        """Keep what somebody said of a recorded batch; return it with its sequence number.

        Given again under the same id, the first stays.
        """
        name = str(review.review_id)
        self._db.execute(
            "INSERT INTO review (review_id, batch, verdict, record) "
            "SELECT ?, seq, ?, ? FROM batch WHERE batch_id = ? ON CONFLICT (review_id) DO NOTHING",
            (name, review.verdict, codec.dumps(review, Review), str(review.batch_id)),
        )
        row = self._row("SELECT seq, CAST(record AS BLOB) FROM review WHERE review_id = ?", (name,))
        if row is None:
            raise LedgerError(f"batch {review.batch_id} is not recorded")
        return int(row[0]), self._review(*row)

    def mirrored(self, seq: int) -> None:
        """Note that the broker has confirmed every event up to ``seq``."""
        self._set("mirrored", seq)

    def advance(self, seq: int, sizes: Mapping[str, int]) -> None:
        """Note that the JSONL files hold every outcome up to ``seq`` and are this long."""
        self._set("projected", seq)
        self._db.executemany(
            "INSERT INTO file (path, bytes) VALUES (?, ?) "
            "ON CONFLICT (path) DO UPDATE SET bytes = excluded.bytes",
            list(sizes.items()),
        )

    def plan_part(self, part: Part) -> None:
        """Fix a part's range before its file is made."""
        self._db.execute(
            "INSERT INTO part VALUES (?, ?, ?, ?, ?, NULL)",
            (part.path, part.dataset, part.first_seq, part.last_seq, part.rows),
        )

    def seal_part(self, path: str, sha256: str | None) -> None:
        """Note that a part's file is whole, or (None) that it must be made again."""
        self._db.execute("UPDATE part SET sha256 = ? WHERE path = ?", (sha256, path))

    def release(self, path: str) -> None:
        """Know nothing of a JSONL file any more."""
        self._db.execute("DELETE FROM file WHERE path = ?", (path,))

    def forget_files(self) -> None:
        """Have the JSONL files written again from the first outcome within retention."""
        self._db.execute("DELETE FROM file WHERE kept = 0")
        self._db.execute("UPDATE file SET bytes = kept")
        self._set("projected", self.mark("pruned"))

    def prune(self, seq: int, kept: Mapping[str, str]) -> None:
        """Put the outcomes up to ``seq`` past retention; ``sweep`` then drops their records.

        ``kept`` has the hash of each JSONL file as it is: from now on only the file has its rows.
        """
        self._db.executemany(
            "UPDATE file SET kept = bytes, sha256 = ? WHERE path = ?",
            [(digest, path) for path, digest in kept.items()],
        )
        self._set("pruned", seq)

    def sweep(self, limit: int) -> bool:
        """Drop records past retention, those of some outcomes a call; False once all are gone.

        Ids, outcomes and reviews stay: a repeated id is still known.
        """
        first, last = self.mark("swept"), self.mark("pruned")
        last = min(last, first + limit)
        if first == last:
            return False
        old = "SELECT batch FROM outcome WHERE seq > ? AND seq <= ?"
        self._db.execute(f"DELETE FROM verification WHERE batch IN ({old})", (first, last))
        self._db.execute(f"DELETE FROM entry WHERE batch IN ({old})", (first, last))
        self._db.execute(f"UPDATE batch SET record = '' WHERE seq IN ({old})", (first, last))
        self._set("swept", last)
        return True

    # Below.

    def _open_number(self, batch: Batch) -> int | None:
        """The sequence number of a batch; None where it is decided."""
        row = self._row("SELECT seq, open FROM batch WHERE batch_id = ?", (str(batch.batch_id),))
        if row is None:
            raise LedgerError(f"batch {batch.batch_id} is not recorded")
        number, is_open = row
        return int(number) if is_open else None

    def _keep(self, number: int, batch: Batch, results: Mapping[UUID, Result]) -> list[Result]:
        new = []
        for candidate in batch.candidates:
            result = results.get(candidate.event_id)
            if result is None:
                continue
            self._db.execute(
                "INSERT INTO verification VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (
                    number,
                    candidate.index,
                    isinstance(result, Verification),
                    _of_batch(batch, result),
                ),
            )
            if self._db.changes():
                self._tell("verification", number, [candidate.index])
                new.append(result)
        return new

    def _tell(self, kind: str, number: int, candidates: Sequence[int | None]) -> None:
        now = int(time.time())
        self._db.executemany(
            "INSERT INTO outbox (kind, batch, candidate, at) VALUES (?, ?, ?, ?)",
            [(kind, number, candidate, now) for candidate in candidates],
        )

    def _set(self, mark: str, seq: int) -> None:
        self._db.execute("UPDATE mark SET seq = ? WHERE name = ?", (seq, mark))

    def _open(self) -> apsw.Connection:
        db = apsw.Connection(str(self._path))
        try:
            db.pragma("journal_mode", "wal")
            db.pragma("synchronous", "full")
            db.pragma("foreign_keys", True)
            db.pragma("wal_autocheckpoint", WAL_PAGES)
            db.pragma("cache_size", -CACHE_KIB)
            db.pragma("journal_size_limit", WAL_LIMIT)
            schema.prepare(db, str(self._path))
        except BaseException:
            db.close()
            raise
        return db


def _run(batch: Batch) -> str | None:
    """The bulk run that a batch is of: its correlation id. Ids of live asks are drawn at random."""
    return batch.correlation_id if batch.batch_id.version == 5 else None


def _fit(batch: Batch, results: Mapping[UUID, Result], outcome: Outcome | None) -> None:
    """Raise InputError where these do not belong together, and so could not be read back."""
    try:
        own = {c.event_id: results[c.event_id] for c in batch.candidates if c.event_id in results}
        pairing.check(batch, own, outcome)
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"batch {batch.batch_id} cannot be kept: {codec.why(error)}") from None


def _of_batch(batch: Batch, record: Batch | Result | Outcome) -> str:
    """The JSON of a record; raises InputError where it could not be read back."""
    kinds = (Batch, Verification, FailedVerification, Outcome)  # not a subclass with more fields
    kind = next((kind for kind in kinds if isinstance(record, kind)), FailedVerification)
    try:
        return codec.dumps(record, kind)
    except InputError as error:
        raise InputError(f"batch {batch.batch_id}: {error}") from None


def _lock(path: Path) -> int:
    """Take the folder's lock, which the kernel releases when this process ends, however it does."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise LedgerError(
            f"{path.parent} is in use by another rlvr_ray; stop that one, or choose another "
            "data_dir"
        ) from None
    return descriptor
