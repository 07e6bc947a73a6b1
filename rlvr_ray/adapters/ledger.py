"""The durable truth: one SQLite file with one writer.

WAL with ``synchronous=FULL``: what ``commit`` returned survives ``kill -9`` and loss of power.
A lock on the folder fences a second writer. Records are kept as JSON; the columns beside them are
what is searched.
"""

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import apsw

from rlvr_ray import codec
from rlvr_ray.core.pairing import Result
from rlvr_ray.core.records import Batch, FailedVerification, Outcome, Verification
from rlvr_ray.errors import LedgerError, Overloaded
from rlvr_ray.ports import BatchState, Part

SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE batch (
    seq INTEGER PRIMARY KEY,
    batch_id TEXT NOT NULL UNIQUE,
    correlation_id TEXT NOT NULL,
    open INTEGER NOT NULL,          -- 1 until the outcome is decided
    record TEXT NOT NULL
) STRICT;
CREATE INDEX batch_open ON batch (seq) WHERE open;
CREATE TABLE verification (
    answer_event_id TEXT PRIMARY KEY,
    batch_id TEXT NOT NULL REFERENCES batch (batch_id),
    completed INTEGER NOT NULL,     -- 0 where it failed
    record TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX verification_batch ON verification (batch_id);
CREATE TABLE outcome (
    seq INTEGER PRIMARY KEY,        -- the order of the rows in the files
    batch_id TEXT NOT NULL UNIQUE REFERENCES batch (batch_id),
    reason TEXT,                    -- NULL for a pair
    month TEXT NOT NULL,            -- YYYYMM
    answers INTEGER NOT NULL,
    record TEXT NOT NULL
) STRICT;
CREATE INDEX outcome_reason ON outcome (reason);
CREATE TABLE file (                 -- JSONL files: what lies behind `bytes` is a torn tail
    path TEXT PRIMARY KEY,
    bytes INTEGER NOT NULL
) STRICT;
CREATE TABLE part (                 -- Parquet parts: the range is committed before the file is made
    path TEXT PRIMARY KEY,
    dataset TEXT NOT NULL,
    first_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    sha256 TEXT                     -- NULL until the file lies there whole
) STRICT;
CREATE TABLE projected (            -- the last outcome that is in the JSONL files
    only INTEGER PRIMARY KEY CHECK (only = 1),
    seq INTEGER NOT NULL
) STRICT;
INSERT INTO projected VALUES (1, 0);
"""

Operation = Callable[["Ledger"], Any]


class Ledger:
    """Plain and blocking: give it a thread of its own. Writes happen inside ``commit`` only."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(folder / "ledger.lock")
        self._path = folder / "ledger.db"
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

    def commit(self, operations: Sequence[Operation]) -> list[Any]:
        """Run operations in one transaction: one fsync for all, and all or none of them hold."""
        with self._translated():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                results = [operation(self) for operation in operations]
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
        return results

    # What operations write.

    def record(self, batch: Batch) -> Batch:
        """Keep a batch; return the one that the ledger holds under this id."""
        self._db.execute(
            "INSERT INTO batch (batch_id, correlation_id, open, record) VALUES (?, ?, 1, ?) "
            "ON CONFLICT (batch_id) DO NOTHING",
            (str(batch.batch_id), batch.correlation_id, codec.dumps(batch)),
        )
        if self._db.changes():
            return batch
        state = self.find(batch.batch_id)
        assert state is not None, "a conflicting batch is there"
        return state.batch

    def decide(self, results: Mapping[UUID, Result], outcome: Outcome) -> None:
        """Keep a batch's results and its outcome. A batch that is decided stays as it is."""
        batch_id = str(outcome.batch_id)
        self._db.execute(
            "INSERT INTO outcome (batch_id, reason, month, answers, record) "
            "VALUES (?, ?, ?, ?, ?) ON CONFLICT (batch_id) DO NOTHING",
            (batch_id, outcome.reason, outcome.month, len(results), codec.dumps(outcome)),
        )
        if not self._db.changes():
            return
        self._db.executemany(
            "INSERT INTO verification VALUES (?, ?, ?, ?)",
            [
                (str(key), batch_id, isinstance(result, Verification), codec.dumps(result))
                for key, result in results.items()
            ],
        )
        self._db.execute("UPDATE batch SET open = 0 WHERE batch_id = ?", (batch_id,))

    def advance(self, seq: int, sizes: Mapping[str, int]) -> None:
        """Note that the JSONL files hold every outcome up to ``seq`` and are this long."""
        self._db.execute("UPDATE projected SET seq = ?", (seq,))
        self._db.executemany(
            "INSERT INTO file VALUES (?, ?) "
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

    def forget_files(self) -> None:
        """Have every JSONL file written again from the first outcome."""
        self._db.execute("DELETE FROM file")
        self._db.execute("UPDATE projected SET seq = 0")

    # What anybody reads.

    def find(self, batch_id: UUID) -> BatchState | None:
        """A batch with its results and outcome."""
        row = self._row(
            "SELECT batch.record, outcome.record FROM batch LEFT JOIN outcome USING (batch_id) "
            "WHERE batch_id = ?",
            (str(batch_id),),
        )
        return None if row is None else self._state(*row)

    def open_batches(self, after: int, limit: int) -> list[tuple[int, Batch]]:
        """Undecided batches in the order of recording, with their sequence numbers."""
        rows = self._db.execute(
            "SELECT seq, record FROM batch WHERE open AND seq > ? ORDER BY seq LIMIT ?",
            (after, limit),
        )
        return [(seq, codec.loads(Batch, record)) for seq, record in rows]

    def decided(self, after: int, limit: int) -> list[tuple[int, BatchState]]:
        """Decided batches in the order of decision, with their sequence numbers."""
        rows: list[Any] = self._db.execute(
            "SELECT outcome.seq, batch.record, outcome.record FROM outcome JOIN batch "
            "USING (batch_id) WHERE outcome.seq > ? ORDER BY outcome.seq LIMIT ?",
            (after, limit),
        ).fetchall()
        return [(seq, self._state(batch, outcome)) for seq, batch, outcome in rows]

    def projected(self) -> int:
        """The last outcome that is in the JSONL files."""
        return int(self._row("SELECT seq FROM projected")[0])

    def files(self) -> dict[str, int]:
        """Path and length of each JSONL file."""
        return dict(self._db.execute("SELECT path, bytes FROM file"))

    def unsealed_parts(self) -> list[Part]:
        """Parts whose range is fixed and whose file is not known to be whole."""
        rows = self._db.execute(
            "SELECT path, dataset, first_seq, last_seq, rows FROM part WHERE sha256 IS NULL"
        )
        return [
            Part(path=path, dataset=dataset, first_seq=first, last_seq=last, rows=count)
            for path, dataset, first, last, count in rows
        ]

    def sealed_paths(self) -> list[str]:
        """Paths of the parts that are whole."""
        return [path for (path,) in self._db.execute("SELECT path FROM part WHERE sha256 NOTNULL")]

    def unplanned(self, dataset: str) -> list[tuple[int, str, int]]:
        """Outcomes that no part of the dataset covers yet: sequence number, month, rows."""
        rows = "answers" if dataset == "training_data" else "reason IS NULL"
        query = (
            f"SELECT seq, month, {rows} FROM outcome WHERE seq <= (SELECT seq FROM projected) "
            "AND seq > (SELECT coalesce(max(last_seq), 0) FROM part WHERE dataset = ?) "
            "ORDER BY seq"
        )
        unplanned: list[Any] = self._db.execute(query, (dataset,)).fetchall()
        return unplanned

    def counts(self) -> dict[str, int]:
        """Batches by state: ``open``, ``pair``, and one entry for each reason seen."""
        (open_batches,) = self._row("SELECT count(*) FROM batch WHERE open")
        by_reason = self._db.execute(
            "SELECT coalesce(reason, 'pair'), count(*) FROM outcome GROUP BY reason"
        )
        return {"open": open_batches, **dict(by_reason)}

    def recent(self, limit: int) -> list[BatchState]:
        """The latest decided batches, latest first."""
        rows: list[Any] = self._db.execute(
            "SELECT batch.record, outcome.record FROM outcome JOIN batch USING (batch_id) "
            "ORDER BY outcome.seq DESC LIMIT ?",
            (limit,),
        ).fetchall()
        return [self._state(batch, outcome) for batch, outcome in rows]

    def _state(self, batch_json: str, outcome_json: str | None) -> BatchState:
        batch = codec.loads(Batch, batch_json)
        results: dict[UUID, Result] = {}
        for key, completed, record in self._db.execute(
            "SELECT answer_event_id, completed, record FROM verification WHERE batch_id = ?",
            (str(batch.batch_id),),
        ):
            kind: type[Result] = Verification if completed else FailedVerification
            results[UUID(key)] = codec.loads(kind, record)
        outcome = None if outcome_json is None else codec.loads(Outcome, outcome_json)
        return BatchState(batch=batch, results=results, outcome=outcome)

    def _row(self, query: str, values: tuple[Any, ...] = ()) -> Any:
        return self._db.execute(query, values).fetchone()

    def _open(self) -> apsw.Connection:
        db = apsw.Connection(str(self._path))
        try:
            db.pragma("journal_mode", "wal")
            db.pragma("synchronous", "full")
            db.pragma("foreign_keys", True)
            version = db.pragma("user_version")
            if version > SCHEMA_VERSION:
                raise LedgerError(
                    f"{self._path} was written by a newer rlvr_ray (schema {version}, this one "
                    f"knows {SCHEMA_VERSION}); install that version"
                )
            if version == 0:
                with db:
                    db.execute(SCHEMA)
                    db.pragma("user_version", SCHEMA_VERSION)
        except BaseException:
            db.close()
            raise
        return db

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except apsw.FullError:
            raise Overloaded(f"no room left for {self._path}; free some and ask again") from None
        except apsw.Error as error:
            raise LedgerError(f"{self._path}: {error}") from error


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
