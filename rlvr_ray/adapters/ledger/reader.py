"""What anybody may ask the ledger."""

import contextlib
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import apsw

from rlvr_ray import codec
from rlvr_ray.adapters.ledger import entries, schema
from rlvr_ray.adapters.ledger.figures import Figures
from rlvr_ray.core import events
from rlvr_ray.core.browsing import Entry
from rlvr_ray.core.events import Event
from rlvr_ray.core.pairing import Result
from rlvr_ray.core.records import (
    DIGITS,
    Batch,
    FailedVerification,
    Outcome,
    Usage,
    Verification,
)
from rlvr_ray.core.rows import DATASETS
from rlvr_ray.errors import LedgerError, NotFound, Overloaded
from rlvr_ray.ports import BatchState, Ending, Ingested, JsonlFile, Part, Posted

NAME = "ledger.db"

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
           max(CASE kind WHEN 'answer' THEN seq END) AS last_answer,
           min(CASE kind WHEN 'verification' THEN seq END) AS first_result,
           max(CASE kind WHEN 'verification' THEN seq END) AS last_result,
           min(CASE kind WHEN 'outcome' THEN seq END) AS outcome_at
    FROM outbox WHERE kind <> 'document' GROUP BY batch
), result AS (SELECT batch, count(*) AS number FROM verification GROUP BY batch)
SELECT batch_id FROM batch
LEFT JOIN event ON event.batch = batch.seq LEFT JOIN result ON result.batch = batch.seq
WHERE record <> '' AND NOT coalesce(
    answers = json_array_length(record, '$.candidates')
    AND results = coalesce(result.number, 0)
    AND outcomes = 1 - open
    AND all_events = answers + results + outcomes
    AND last_answer < coalesce(first_result, last_answer + 1)
    AND coalesce(last_result, 0) < coalesce(outcome_at, last_result + 1, 1), 0)
"""

#: Only pairs are reviewed.
_MISPLACED_REVIEWS = """
SELECT DISTINCT batch_id, reason FROM review JOIN batch ON batch.seq = review.batch
LEFT JOIN outcome ON outcome.batch = batch.seq WHERE reason NOTNULL OR open
"""

_SUMS = ", ".join(
    f"sum(one.value ->> '$.usage.{name}')"
    for name in ("prompt_tokens", "completion_tokens", "cached_tokens")
)
#: Sums in SQL: of a record, which is mostly passages, a few numbers are wanted.
_ENDINGS = f"""
SELECT batch.seq, batch_id, open, reason, outcome.record,
    CASE WHEN NOT open THEN (
        SELECT json_array({_SUMS}) FROM json_each(nullif(batch.record, ''), '$.candidates') AS one
    ) END,
    CASE WHEN NOT open THEN (
        SELECT json_array({_SUMS})
        FROM verification, json_each(nullif(verification.record, ''), '$.assessments') AS one
        WHERE verification.batch = batch.seq AND completed
    ) END
FROM batch LEFT JOIN outcome ON outcome.batch = batch.seq
"""


class Reader(Figures):
    """A connection of its own: it sees what is committed and never waits for the writer.

    Plain and blocking, for one thread at a time.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        if not self._path.is_file():
            raise LedgerError(f"{folder} holds no ledger; it is made by: rlvr serve")
        with self._translated():
            self._db = apsw.Connection(str(self._path), flags=apsw.SQLITE_OPEN_READONLY)
            try:
                version = schema.check(self._db, str(self._path))
                if version != schema.VERSION:
                    raise LedgerError(
                        f"{self._path} is from an earlier rlvr_ray (schema {version}); "
                        "`rlvr rebuild` or `rlvr serve` brings it up to date"
                    )
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
        """A batch with its results and outcome; raises NotFound where it is past retention."""
        row = self._row(
            "SELECT batch.seq, batch.record, outcome.record FROM batch "
            "LEFT JOIN outcome ON outcome.batch = batch.seq WHERE batch_id = ?",
            (str(batch_id),),
        )
        if row is None:
            return None
        if not row[1]:
            raise NotFound(f"batch {batch_id} is past retention; its rows are in the files")
        return self._state(*row)

    def outcomes(self, batch_ids: Sequence[UUID]) -> dict[UUID, Ending | None]:
        """See ``ports.Recorder``. Those past retention are known, too."""
        rows = self._rows(
            f"{_ENDINGS} WHERE batch_id IN (SELECT value FROM json_each(?))",
            (json.dumps([str(batch_id) for batch_id in batch_ids]),),
        )
        return _endings(rows)

    def of_run(
        self, run: str, after: int, limit: int
    ) -> tuple[dict[UUID, Ending | None], int | None]:
        """See ``ports.Recorder``. Those past retention are known, too."""
        rows = self._rows(
            f"{_ENDINGS} WHERE run = ? AND batch.seq > ? ORDER BY batch.seq LIMIT ?",
            (run, after, limit),
        )
        return _endings(rows), rows[-1][0] if len(rows) == limit else None

    def open_batches(self, after: int, limit: int) -> list[tuple[int, BatchState]]:
        """Undecided batches in the order of recording, with their sequence numbers."""
        rows = self._rows(
            "SELECT seq, record FROM batch WHERE open AND seq > ? ORDER BY seq LIMIT ?",
            (after, limit),
        )
        return [(seq, self._state(seq, record, None)) for seq, record in rows]

    def decided(self, after: int, limit: int) -> list[tuple[int, BatchState]]:
        """Decided batches in the order of decision, with their sequence numbers.

        Those past retention are left out.
        """
        rows = self._rows(
            "SELECT outcome.seq, batch.seq, batch.record, outcome.record FROM outcome "
            "JOIN batch ON batch.seq = outcome.batch "
            "WHERE outcome.seq > max(?, (SELECT seq FROM mark WHERE name = 'pruned')) "
            "ORDER BY outcome.seq LIMIT ?",
            (after, limit),
        )
        return [(seq, self._state(*rest)) for seq, *rest in rows]

    def batches(self, after: int, limit: int) -> list[tuple[int, BatchState]]:
        """All batches within retention in the order of recording, with sequence numbers."""
        rows = self._rows(
            "SELECT batch.seq, batch.record, outcome.record FROM batch "
            "LEFT JOIN outcome ON outcome.batch = batch.seq "
            "WHERE batch.seq > ? AND batch.record <> '' ORDER BY batch.seq LIMIT ?",
            (after, limit),
        )
        return [(row[0], self._state(*row)) for row in rows]

    def recent(self, limit: int) -> list[BatchState]:
        """The latest decided batches, latest first."""
        rows = self._rows(
            "SELECT batch.seq, batch.record, outcome.record FROM outcome "
            "JOIN batch ON batch.seq = outcome.batch WHERE batch.record <> '' "
            "AND outcome.seq > (SELECT seq FROM mark WHERE name = 'swept') "
            "ORDER BY outcome.seq DESC LIMIT ?",
            (limit,),
        )
        return [self._state(*row) for row in rows]

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

    # Events.

    def events(self, after: int, limit: int) -> list[Posted]:
        """Events in the order of their commits; those of batches past retention are left out."""
        with self.snapshot():
            return self._events(after, limit)

    def _events(self, after: int, limit: int) -> list[Posted]:
        rows = self._rows(
            "SELECT outbox.seq, kind, batch, candidate, at FROM outbox "
            "LEFT JOIN batch ON batch.seq = outbox.batch AND kind <> 'document' "
            "WHERE outbox.seq > ? AND batch.record IS NOT '' ORDER BY outbox.seq LIMIT ?",
            (after, limit),
        )
        states: dict[int, BatchState] = {}
        posted = []
        for seq, kind, number, candidate, at in rows:
            if kind == "document":
                times, record = self._row(
                    "SELECT number, record FROM document WHERE seq = ?", (number,)
                )
                event = _document_event(codec.loads(Ingested, record), times, at)
            else:
                if number not in states:
                    states[number] = self._numbered(number)
                event = _event(states[number], kind, candidate)
            posted.append(Posted(seq=seq, event=event))
        return posted

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
        for batch_id, reason in self._rows(_MISPLACED_REVIEWS):
            yield f"batch {batch_id}: reviewed, and made no pair ({reason or 'open'})"
        for name, last in (("mirrored", "outbox"), ("projected", "outcome"), ("pruned", "outcome")):
            (seq,) = self._row(f"SELECT coalesce(max(seq), 0) FROM {last}")
            if self.mark(name) > seq:
                yield f"{self._path}: {name} is {self.mark(name)}, beyond the last {last}, {seq}"

    def entry(self, number: int) -> Entry | None:
        """What is searched of the batch of that number; None where there is nothing of it."""
        with self._translated():
            return entries.of(self._db, number)

    # Below.

    def _numbered(self, number: int) -> BatchState:
        row = self._row(
            "SELECT batch.seq, batch.record, outcome.record FROM batch "
            "LEFT JOIN outcome ON outcome.batch = batch.seq WHERE batch.seq = ?",
            (number,),
        )
        return self._state(*row)

    def _state(self, number: int, batch_json: str, outcome_json: str | None) -> BatchState:
        batch = codec.loads(Batch, batch_json)
        results: dict[UUID, Result] = {}
        for candidate, completed, record in self._rows(
            "SELECT candidate, completed, record FROM verification WHERE batch = ?", (number,)
        ):
            kind: type[Result] = Verification if completed else FailedVerification
            results[batch.candidates[candidate].event_id] = codec.loads(kind, record)
        outcome = None if outcome_json is None else codec.loads(Outcome, outcome_json)
        return BatchState(batch=batch, results=results, outcome=outcome)

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
        except apsw.FullError:
            raise Overloaded(f"no room left for {self._path}; free some and ask again") from None
        except apsw.Error as error:
            raise LedgerError(f"{self._path}: {error}") from error


def _endings(rows: Sequence[Any]) -> dict[UUID, Ending | None]:
    return {
        UUID(batch_id): None if is_open else _ending(*rest) for _, batch_id, is_open, *rest in rows
    }


def _ending(reason: str | None, outcome: str | None, answers: str, judging: str) -> Ending:
    decided: dict[str, Any] = json.loads(outcome or "{}")
    best, worst = decided.get("chosen_score"), decided.get("rejected_score")
    return Ending(
        reason=reason,
        margins=() if best is None or worst is None else (round(best - worst, DIGITS),),
        answers=_usage(answers),
        judging=_usage(judging),
    )


def _usage(sums: str) -> Usage:
    prompt, completion, cached = (number or 0 for number in json.loads(sums))
    return Usage(prompt_tokens=prompt, completion_tokens=completion, cached_tokens=cached)


def _event(state: BatchState, kind: str, index: int | None) -> Event:
    if index is None:
        assert kind == "outcome" and state.outcome is not None
        return events.outcome_decided(state.batch, state.outcome, state.results)
    candidate = state.batch.candidates[index]
    if kind == "answer":
        return events.answer_generated(state.batch, candidate)
    return events.verification_ended(state.batch, candidate, state.results[candidate.event_id])


def _document_event(ingested: Ingested, number: int, at: int) -> Event:
    return events.document_ingested(
        document_id=ingested.document_id,
        number=number,
        filename=ingested.source,
        num_chunks=ingested.num_chunks,
        at=datetime.fromtimestamp(at, UTC),
    )
