"""The queries of the ledger."""

import contextlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import apsw

from rlvr_ray.core import codec
from rlvr_ray.core.errors import LedgerError, NotFound, Overloaded, Unreadable
from rlvr_ray.core.pairing import Result
from rlvr_ray.core.records import (
    Batch,
    Candidate,
    FailedVerification,
    Outcome,
    Usage,
    Verification,
)
from rlvr_ray.dataset.filters import Entry
from rlvr_ray.dataset.ledger import entries, schema
from rlvr_ray.dataset.ledger.counts import Figures, moment, valid
from rlvr_ray.dataset.reviews import Review
from rlvr_ray.dataset.rows import DATASETS
from rlvr_ray.dataset.state import (
    BatchCommit,
    BatchState,
    Commit,
    DocumentCommit,
    Ending,
    JsonlFile,
    Page,
    Part,
)
from rlvr_ray.documents.retriever import Ingested

log = logging.getLogger(__name__)
T = TypeVar("T")

NAME = "ledger.db"
#: Documents or reviews read at once.
STEP = 500
#: Records that cannot be read and whose reasons are kept.
MOST_ASIDE = 1000

_SPLIT_MONTH = """
SELECT min(seq) FROM outcome WHERE seq > :pruned AND seq <= :last
AND month IN (SELECT DISTINCT month FROM outcome WHERE seq > :last)
"""

#: A batch has one event for each answer, each result and its outcome, in this order.
_MISPLACED_EVENTS = """
WITH event AS (
    SELECT batch,
           count(DISTINCT CASE kind WHEN 'answer' THEN candidate END) AS answers,
           count(DISTINCT CASE kind WHEN 'verification' THEN candidate END) AS results,
           sum(kind = 'outcome') AS outcomes,
           count(*) AS all_events,
           min(candidate) AS lowest,
           max(candidate) AS highest,
           max(CASE kind WHEN 'answer' THEN seq END) AS last_answer,
           min(CASE kind WHEN 'verification' THEN seq END) AS first_result,
           max(CASE kind WHEN 'verification' THEN seq END) AS last_result,
           min(CASE kind WHEN 'outcome' THEN seq END) AS outcome_at
    FROM outbox WHERE kind <> 'document' GROUP BY batch
), result AS (SELECT batch, count(*) AS number FROM verification GROUP BY batch)
SELECT batch_id FROM batch
LEFT JOIN event ON event.batch = batch.seq LEFT JOIN result ON result.batch = batch.seq
WHERE CASE WHEN record <> '' AND json_valid(record) THEN NOT coalesce(
    answers = json_array_length(record, '$.candidates')
    AND results = coalesce(result.number, 0)
    AND outcomes = 1 - open
    AND lowest = 0 AND highest = answers - 1
    AND all_events = answers + results + outcomes
    AND last_answer < coalesce(first_result, last_answer + 1)
    AND coalesce(last_result, 0) < coalesce(outcome_at, last_result + 1, 1), 0) END
"""

_LOST_EVENTS = """
SELECT seq, CAST(kind AS BLOB) FROM outbox WHERE CASE
    WHEN kind = 'document' THEN batch NOT IN (SELECT seq FROM document)
    WHEN kind = 'verification' AND batch IN (SELECT seq FROM batch WHERE record <> '') THEN
        NOT EXISTS (SELECT 1 FROM verification AS one
            WHERE one.batch = outbox.batch AND one.candidate = outbox.candidate)
    WHEN kind IN ('answer', 'verification', 'outcome') THEN batch NOT IN (SELECT seq FROM batch)
    ELSE 1 END
"""

#: Only pairs are reviewed.
_MISPLACED_REVIEWS = """
SELECT DISTINCT batch_id, reason FROM review JOIN batch ON batch.seq = review.batch
LEFT JOIN outcome ON outcome.batch = batch.seq WHERE reason NOTNULL OR open
"""

#: ``total`` and not ``sum``, which fails where 64 bits do not hold it.
_SUMS = ", ".join(
    f"total(CASE one.type WHEN 'object' THEN one.value ->> '$.usage.{name}' END)"
    for name in ("prompt_tokens", "completion_tokens", "cached_tokens")
)
#: Sums in SQL: of a record, which is mostly passages, a few numbers are wanted.
_ENDINGS = f"""
SELECT batch.seq, batch_id, open, reason, CAST(outcome.record AS BLOB),
    CASE WHEN NOT open THEN (
        SELECT json_array({_SUMS})
        FROM json_each({valid("batch.record")}, '$.candidates') AS one
    ) END,
    CASE WHEN NOT open THEN (
        SELECT json_array({_SUMS})
        FROM verification, json_each({valid("verification.record")}, '$.assessments') AS one
        WHERE verification.batch = batch.seq AND completed
    ) END
FROM batch LEFT JOIN outcome ON outcome.batch = batch.seq
"""

#: A batch as ``_state`` takes it. Bytes: what stands in a damaged row need not be Unicode.
_BATCH = """
batch.seq, CAST(batch.batch_id AS BLOB), CAST(batch.record AS BLOB), CAST(outcome.record AS BLOB)
"""
#: Whether a batch is past retention: its record is empty, and is meant to be.
_PAST = """
(batch.record = '' AND outcome.seq <= (SELECT seq FROM mark WHERE name = 'pruned'))
"""


class Reader(Figures):
    """A connection of its own: it sees what is committed and never waits for the writer.

    Plain and blocking, for one thread at a time. A record that cannot be read is left out of
    whatever is many; who asks for it by name gets Unreadable. A batch goes as a whole.
    """

    level = (
        logging.DEBUG
    )  #: of the log's line for such a record: whoever only looks says it himself

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

    # Batches.

    def find(self, batch_id: UUID) -> BatchState | None:
        """A batch with its results and outcome.

        Raises NotFound where it is past retention, Unreadable where it cannot be read.
        """
        row = self._row(
            f"SELECT coalesce({_PAST}, 0), {_BATCH} FROM batch "
            "LEFT JOIN outcome ON outcome.batch = batch.seq WHERE batch_id = ?",
            (str(batch_id),),
        )
        if row is None:
            return None
        past, *batch = row
        if past:
            raise NotFound(f"batch {batch_id} is past retention; its rows are in the files")
        return self._state(*batch)

    def outcomes(self, batch_ids: Sequence[UUID]) -> dict[UUID, Ending | None]:
        """See ``ports.Recorder``. Those past retention are known, too.

        What was found to be unreadable while open never ends: its reason is ``set_aside``.
        """
        rows = self._rows(
            f"{_ENDINGS} WHERE batch_id IN (SELECT value FROM json_each(?))",
            (json.dumps([str(batch_id) for batch_id in batch_ids]),),
        )
        return self._endings(rows)

    def of_run(
        self, run: str, after: int, limit: int
    ) -> tuple[dict[UUID, Ending | None], int | None]:
        """See ``ports.Recorder``. Those past retention are known, too."""
        rows = self._rows(
            f"{_ENDINGS} WHERE run = ? AND batch.seq > ? ORDER BY batch.seq LIMIT ?",
            (run, after, limit),
        )
        return self._endings(rows), rows[-1][0] if len(rows) == limit else None

    def _endings(self, rows: Sequence[Any]) -> dict[UUID, Ending | None]:
        found: dict[UUID, Ending | None] = {}
        for _, batch_id, is_open, *rest in rows:
            if not is_open:
                found[UUID(batch_id)] = _ending(*rest)
            else:
                aside = _of_batch(batch_id) in self.set_aside
                found[UUID(batch_id)] = Ending(reason="set_aside") if aside else None
        return found

    def open_batches(self, after: int, limit: int) -> Page[tuple[int, BatchState]]:
        """Undecided batches in the order of recording, with their sequence numbers."""
        rows = self._rows(
            f"SELECT batch.seq, {_BATCH} FROM batch "
            "LEFT JOIN outcome ON outcome.batch = batch.seq "
            "WHERE open AND batch.seq > ? ORDER BY batch.seq LIMIT ?",
            (after, limit),
        )
        return self._page(rows, after)

    def decided(self, after: int, limit: int) -> Page[tuple[int, BatchState]]:
        """Decided batches in the order of decision, with their sequence numbers.

        Those past retention are left out.
        """
        rows = self._rows(
            f"SELECT outcome.seq, {_BATCH} FROM outcome "
            "JOIN batch ON batch.seq = outcome.batch "
            "WHERE outcome.seq > max(?, (SELECT seq FROM mark WHERE name = 'pruned')) "
            "ORDER BY outcome.seq LIMIT ?",
            (after, limit),
        )
        return self._page(rows, after)

    def batches(self, after: int, limit: int) -> Page[tuple[int, BatchState]]:
        """All batches within retention in the order of recording, with sequence numbers."""
        rows = self._rows(
            f"SELECT batch.seq, {_BATCH} FROM batch "
            "LEFT JOIN outcome ON outcome.batch = batch.seq "
            f"WHERE batch.seq > ? AND NOT coalesce({_PAST}, 0) ORDER BY batch.seq LIMIT ?",
            (after, limit),
        )
        return self._page(rows, after)

    def recent(self, limit: int) -> list[BatchState]:
        """The latest decided batches, latest first."""
        rows = self._rows(
            f"SELECT outcome.seq, {_BATCH} FROM outcome "
            "JOIN batch ON batch.seq = outcome.batch WHERE batch.record <> '' "
            "AND outcome.seq > (SELECT seq FROM mark WHERE name = 'swept') "
            "ORDER BY outcome.seq DESC LIMIT ?",
            (limit,),
        )
        return [state for _, state in self._page(rows, 0)]

    # Files.

    def mark(self, name: str) -> int:
        """How far something has come: ``projected``, ``mirrored``, ``pruned``, ``swept``."""
        return int(self._row("SELECT seq FROM mark WHERE name = ?", (name,))[0])

    def files(self) -> dict[str, JsonlFile]:
        """The JSONL files by path."""
        return {
            path: JsonlFile(bytes=size, kept=kept, sha256=digest)
            for path, size, kept, digest in self._rows(
                "SELECT path, bytes, kept, sha256 FROM file ORDER BY path"
            )
        }

    def parts(self, *, unsealed: bool = False) -> list[Part]:
        """All Parquet parts, or those whose file is not known to be whole."""
        return [
            Part(path=path, dataset=dataset, first_seq=first, last_seq=last, rows=n, sha256=digest)
            for path, dataset, first, last, n, digest in self._rows(
                "SELECT path, dataset, first_seq, last_seq, rows, sha256 FROM part "
                f"{'WHERE sha256 IS NULL' if unsealed else ''} ORDER BY dataset, first_seq"
            )
        ]

    def sealed(self, limit: int) -> tuple[int, list[str]]:
        """How many parts are whole, and the paths of the latest of them, latest first."""
        (count,) = self._row("SELECT count(*) FROM part WHERE sha256 NOTNULL")
        paths = self._rows(
            "SELECT path FROM part WHERE sha256 NOTNULL ORDER BY rowid DESC LIMIT ?", (limit,)
        )
        return count, [path for (path,) in paths]

    def unplanned(self, dataset: str) -> list[tuple[int, str, int]]:
        """Outcomes that no part of the dataset covers yet: sequence number, month, rows."""
        rows = "answers" if dataset == "training_data" else "reason IS NULL"
        return self._rows(
            f"SELECT seq, month, {rows} FROM outcome "
            "WHERE seq <= (SELECT seq FROM mark WHERE name = 'projected') "
            "AND seq > (SELECT coalesce(max(last_seq), 0) FROM part WHERE dataset = ?) "
            "ORDER BY seq",
            (dataset,),
        )

    def prunable(self, month: str, *, mirrored: bool) -> tuple[int, list[str]]:
        """How far outcomes may be pruned that belong to earlier months, and those months.

        Only what is in the JSONL files and in sealed parts and, with ``mirrored``, confirmed by
        the broker counts. The answer is the sequence number of the last one.
        """
        pruned = self.mark("pruned")
        bounds = [
            "SELECT min(seq) FROM outcome WHERE seq > :pruned AND month >= :month",
            "SELECT 1 + seq FROM mark WHERE name = 'projected'",
            "SELECT min(first_seq) FROM part WHERE sha256 IS NULL",
        ]
        if mirrored:
            bounds.append(
                "SELECT min(outcome.seq) FROM outbox JOIN outcome USING (batch) "
                "WHERE outbox.seq > (SELECT seq FROM mark WHERE name = 'mirrored') "
                "AND kind <> 'document'"
            )
        values: dict[str, Any] = {"pruned": pruned, "month": month}
        found = [self._row(query, values)[0] for query in bounds]
        found += [
            next((seq for seq, _, count in self.unplanned(name) if count), None)
            for name in DATASETS
        ]
        last = min(bound for bound in found if bound is not None) - 1
        # A month goes whole or not at all: from then on its files are all that there is of it.
        while (split := self._row(_SPLIT_MONTH, {"pruned": pruned, "last": last})[0]) is not None:
            last = split - 1
        months = self._rows(
            "SELECT DISTINCT month FROM outcome WHERE seq > ? AND seq <= ?", (pruned, last)
        )
        return max(last, pruned), [name for (name,) in months]

    # Outbox.

    def outbox(self, after: int, limit: int) -> Page[Commit]:
        """What was committed, in that order; without batches that are past retention."""
        with self.snapshot():
            return self._outbox(after, limit)

    def _outbox(self, after: int, limit: int) -> Page[Commit]:
        rows = self._rows(
            "SELECT outbox.seq, CAST(kind AS BLOB), outbox.batch, candidate, at FROM outbox "
            "LEFT JOIN batch ON batch.seq = outbox.batch AND kind <> 'document' "
            "LEFT JOIN outcome ON outcome.batch = batch.seq "
            f"WHERE outbox.seq > ? AND NOT coalesce({_PAST}, 0) ORDER BY outbox.seq LIMIT ?",
            (after, limit),
        )
        states: dict[int, BatchState | None] = {}  # None for one that cannot be read
        page: Page[Commit] = Page(last=rows[-1][0] if rows else after, more=bool(rows))
        for seq, kind, number, candidate, at in rows:
            with contextlib.suppress(Unreadable):
                if kind == b"document":
                    page.append(self._document_commit(seq, number, at))
                    continue
                if number not in states:
                    states[number] = None
                    states[number] = self._numbered(number)
                if state := states[number]:
                    try:
                        record = _committed(state, kind.decode(), candidate)
                    except ValueError as error:
                        raise self._unreadable(f"event number {seq}", error) from None
                    page.append(BatchCommit(seq=seq, state=state, record=record))
        return page

    def _document_commit(self, seq: int, number: int, at: int) -> DocumentCommit:
        row = self._row(
            "SELECT number, seq, CAST(record AS BLOB) FROM document WHERE seq = ?", (number,)
        )
        if row is None:
            error = ValueError(f"there is no document number {number}")
            raise self._unreadable(f"event number {seq}", error)
        version, *record = row
        return DocumentCommit(
            seq=seq, document=self._document(*record), version=version, at=moment(at)
        )

    def first_event(self, since: datetime) -> int:
        """Sequence number of the first event committed at that time or later; beyond all if none.

        Seconds count, fractions do not.
        """
        row = self._row(
            "SELECT coalesce(min(seq), (SELECT coalesce(max(seq), 0) + 1 FROM outbox)) "
            "FROM outbox WHERE at >= ?",
            (int(since.timestamp()),),
        )
        return int(row[0])

    # Soundness.

    def damage(self) -> Iterator[str]:
        """What makes the file unfit to be read, one line each."""
        for (line,) in self._rows("PRAGMA integrity_check"):
            if line != "ok":
                yield f"{self._path}: {line}"
        for table, row, parent, _ in self._rows("PRAGMA foreign_key_check"):
            yield f"{self._path}: row {row} of {table} refers to a missing {parent}"

    def misfits(self) -> Iterator[str]:
        """Rows that do not fit each other, one line each."""
        for (batch_id,) in self._rows(
            "SELECT batch_id FROM batch LEFT JOIN outcome ON outcome.batch = batch.seq "
            "WHERE open <> (outcome.seq IS NULL)"
        ):
            yield f"batch {batch_id}: open and decided at once, or neither"
        for (batch_id,) in self._rows(_MISPLACED_EVENTS):
            yield f"batch {batch_id}: its events are not one for each fact, in order"
        for seq, kind in self._rows(_LOST_EVENTS):
            yield f"event number {seq} ({kind!r}) tells of nothing that is there"
        for batch_id, reason in self._rows(_MISPLACED_REVIEWS):
            yield f"batch {batch_id}: reviewed, and made no pair ({reason or 'open'})"
        for name, last in (("mirrored", "outbox"), ("projected", "outcome"), ("pruned", "outcome")):
            (seq,) = self._row(f"SELECT coalesce(max(seq), 0) FROM {last}")
            if self.mark(name) > seq:
                yield f"{self._path}: {name} is {self.mark(name)}, beyond the last {last}, {seq}"

    def entry(self, number: int) -> Entry | None:
        """What is searched of the batch of that number; None where there is nothing of it."""
        with self._translated(), contextlib.suppress(ValueError):
            return entries.of(self._db, number)
        return None

    def look_through_others(self) -> None:
        """Read documents and reviews, so that ``set_aside`` has those that cannot be read."""
        kinds: dict[str, Callable[[int, bytes], object]]
        kinds = {"document": self._document, "review": self._review}
        for table, read in kinds.items():
            seq = 0
            while rows := self._rows(
                f"SELECT seq, CAST(record AS BLOB) FROM {table} WHERE seq > ? ORDER BY seq LIMIT ?",
                (seq, STEP),
            ):
                for seq, record in rows:
                    with contextlib.suppress(Unreadable):
                        read(seq, record)

    # Below.

    def _page(self, rows: Sequence[Any], after: int) -> Page[tuple[int, BatchState]]:
        page: Page[tuple[int, BatchState]]
        page = Page(last=rows[-1][0] if rows else after, more=bool(rows))
        for place, *batch in rows:
            with contextlib.suppress(Unreadable):
                page.append((place, self._state(*batch)))
        return page

    def _numbered(self, number: int) -> BatchState:
        row = self._row(
            f"SELECT {_BATCH} FROM batch "
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
            raise self._unreadable(_of_batch(name), error) from None

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


def _of_batch(name: bytes | str) -> str:
    """What a batch is called in ``set_aside``."""
    return f"batch {name if isinstance(name, str) else name.decode(errors='replace')}"


def _read(kind: type[T], record: bytes, what: str) -> T:
    try:
        return codec.loads(kind, record)
    except ValueError as error:
        raise ValueError(f"{what}: {codec.why(error)}") from None


def _ending(reason: str | None, outcome: bytes | None, answers: str, judging: str) -> Ending:
    try:
        margin = codec.loads(Outcome, outcome or b"").score_diff
    except ValueError:  # what can be counted of it all the same is counted
        margin = None
    return Ending(
        reason=reason,
        margins=() if margin is None else (margin,),
        answers=_usage(answers),
        judging=_usage(judging),
    )


def _usage(sums: str) -> Usage:
    prompt, completion, cached = (int(min(number, 2**63)) for number in json.loads(sums))
    return Usage(prompt_tokens=prompt, completion_tokens=completion, cached_tokens=cached)


def _committed(state: BatchState, kind: str, index: int | None) -> Candidate | Result | Outcome:
    """The record of a batch that a row of the outbox stands for; raises ValueError."""
    if kind == "outcome" and state.outcome is not None:
        return state.outcome
    if index is None or not 0 <= index < len(state.batch.candidates):
        raise ValueError(f"it tells of candidate {index}, which batch {state.batch.batch_id} lacks")
    candidate = state.batch.candidates[index]
    if kind == "answer":
        return candidate
    if kind == "verification" and candidate.event_id in state.results:
        return state.results[candidate.event_id]
    raise ValueError(f"batch {state.batch.batch_id} has nothing of the kind {kind!r}")
