"""What anybody may ask the ledger: batches, outcomes, files, commits."""

import contextlib
import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from rlvr_ray.core import codec
from rlvr_ray.core.errors import NotFound, Unreadable
from rlvr_ray.core.pairing import Result
from rlvr_ray.core.records import (
    Candidate,
    Outcome,
    Usage,
)
from rlvr_ray.dataset.ledger.connection import BATCH, PAST, moment, of_batch, valid
from rlvr_ray.dataset.ledger.counts import Counts
from rlvr_ray.dataset.rows import DATASETS
from rlvr_ray.dataset.state import (
    BatchCommit,
    BatchState,
    Commit,
    DocumentCommit,
    JsonlFile,
    OutcomeSummary,
    Page,
    Part,
)

#: Documents or reviews read at once.
STEP = 500

_SPLIT_MONTH = """
SELECT min(seq) FROM outcome WHERE seq > :pruned AND seq <= :last
AND month IN (SELECT DISTINCT month FROM outcome WHERE seq > :last)
"""

#: ``total`` and not ``sum``, which fails where 64 bits do not hold it.
_SUMS = ", ".join(
    f"total(CASE one.type WHEN 'object' THEN one.value ->> '$.usage.{name}' END)"
    for name in ("prompt_tokens", "completion_tokens", "cached_tokens")
)
#: Sums in SQL: of a record, which is mostly passages, a few numbers are wanted.
_SUMMARIES = f"""
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


class Reader(Counts):
    """Reads records: see ``Connection``."""

    # Batches.

    def find(self, batch_id: UUID) -> BatchState | None:
        """A batch with its results and outcome.

        Raises NotFound where it is past retention, Unreadable where it cannot be read.
        """
        row = self._row(
            f"SELECT coalesce({PAST}, 0), {BATCH} FROM batch "
            "LEFT JOIN outcome ON outcome.batch = batch.seq WHERE batch_id = ?",
            (str(batch_id),),
        )
        if row is None:
            return None
        past, *batch = row
        if past:
            raise NotFound(f"batch {batch_id} is past retention; its rows are in the files")
        return self._state(*batch)

    def outcomes(self, batch_ids: Sequence[UUID]) -> dict[UUID, OutcomeSummary | None]:
        """See ``Recorder``. Those past retention are known, too.

        What was found to be unreadable while open never ends: its reason is ``set_aside``.
        """
        rows = self._rows(
            f"{_SUMMARIES} WHERE batch_id IN (SELECT value FROM json_each(?))",
            (json.dumps([str(batch_id) for batch_id in batch_ids]),),
        )
        return self._summaries(rows)

    def of_run(
        self, run: str, after: int, limit: int
    ) -> tuple[dict[UUID, OutcomeSummary | None], int | None]:
        """See ``Recorder``. Those past retention are known, too."""
        rows = self._rows(
            f"{_SUMMARIES} WHERE run = ? AND batch.seq > ? ORDER BY batch.seq LIMIT ?",
            (run, after, limit),
        )
        return self._summaries(rows), rows[-1][0] if len(rows) == limit else None

    def _summaries(self, rows: Sequence[Any]) -> dict[UUID, OutcomeSummary | None]:
        found: dict[UUID, OutcomeSummary | None] = {}
        for _, batch_id, is_open, *rest in rows:
            if not is_open:
                found[UUID(batch_id)] = _summary(*rest)
            else:
                aside = of_batch(batch_id) in self.set_aside
                found[UUID(batch_id)] = OutcomeSummary(reason="set_aside") if aside else None
        return found

    def open_batches(self, after: int, limit: int) -> Page[tuple[int, BatchState]]:
        """Undecided batches in the order of recording, with their sequence numbers."""
        rows = self._rows(
            f"SELECT batch.seq, {BATCH} FROM batch "
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
            f"SELECT outcome.seq, {BATCH} FROM outcome "
            "JOIN batch ON batch.seq = outcome.batch "
            "WHERE outcome.seq > max(?, (SELECT seq FROM mark WHERE name = 'pruned')) "
            "ORDER BY outcome.seq LIMIT ?",
            (after, limit),
        )
        return self._page(rows, after)

    def batches(self, after: int, limit: int) -> Page[tuple[int, BatchState]]:
        """All batches within retention in the order of recording, with sequence numbers."""
        rows = self._rows(
            f"SELECT batch.seq, {BATCH} FROM batch "
            "LEFT JOIN outcome ON outcome.batch = batch.seq "
            f"WHERE batch.seq > ? AND NOT coalesce({PAST}, 0) ORDER BY batch.seq LIMIT ?",
            (after, limit),
        )
        return self._page(rows, after)

    def recent(self, limit: int) -> list[BatchState]:
        """The latest decided batches, latest first."""
        rows = self._rows(
            f"SELECT outcome.seq, {BATCH} FROM outcome "
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
            f"WHERE outbox.seq > ? AND NOT coalesce({PAST}, 0) ORDER BY outbox.seq LIMIT ?",
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


def _summary(
    reason: str | None, outcome: bytes | None, answers: str, judging: str
) -> OutcomeSummary:
    try:
        margin = codec.loads(Outcome, outcome or b"").score_diff
    except ValueError:  # what can be counted of it all the same is counted
        margin = None
    return OutcomeSummary(
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
