"""The history of one batch: its events, its rows in the files; and the batch of an id."""

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

from rlvr_ray.core import ids
from rlvr_ray.core.errors import Unreadable
from rlvr_ray.core.records import Batch
from rlvr_ray.dataset import rows
from rlvr_ray.dataset.ledger.connection import valid
from rlvr_ray.dataset.ledger.reader import Reader
from rlvr_ray.dataset.provenance import BatchProvenance, FileRows
from rlvr_ray.dataset.reviews import Review
from rlvr_ray.dataset.state import BatchState

#: Latest batches among which the one of an event is looked for; a row of a file, an event and a log
#: line name their batch, so that this is a convenience.
SEARCHED = 20_000
#: Most candidates of a batch.
CANDIDATES = 8
#: Outcomes are on record in the order of their times, but for moments.
MOMENTS = timedelta(hours=1)


class ProvenanceReader(Reader):
    """Finds what a batch left beside its records."""

    def reviews(self, batch_id: UUID) -> list[tuple[int, Review]] | None:
        """All of a batch with their sequence numbers, in the order in which they came.

        None where the batch is not recorded.
        """
        rows = self._rows(
            "SELECT review.seq, CAST(review.record AS BLOB) FROM batch "
            "LEFT JOIN review ON review.batch = batch.seq WHERE batch_id = ? ORDER BY review.seq",
            (str(batch_id),),
        )
        found = []
        for seq, record in rows:
            with contextlib.suppress(Unreadable):
                if record is not None:
                    found.append((seq, self._review(seq, record)))
        return found if rows else None

    def provenance(self, batch_id: UUID) -> tuple[BatchState, BatchProvenance] | None:
        """A batch and what it left.

        Raises NotFound where it is past retention, Unreadable where it cannot be read.
        """
        with self.snapshot():
            state = self.find(batch_id)
            if state is None:
                return None
            (number,) = self._row("SELECT seq FROM batch WHERE batch_id = ?", (str(batch_id),))
            return state, BatchProvenance(
                numbers=self._numbers_of_events(number, state),
                mirrored=self.mark("mirrored"),
                files=tuple(self._files(number, state)),
                reviews=tuple(review for _, review in self.reviews(batch_id) or ()),
            )

    def named(self, name: str, limit: int) -> tuple[list[UUID], int]:
        """The batches that an id means, latest first, and how many there are beyond the limit.

        It may be a batch's, a correlation id, or that of an event of one of the latest batches.
        """
        number = _uuid(name)
        if number and self._row("SELECT 1 FROM batch WHERE batch_id = ?", (str(number),)):
            return [number], 0
        correlated = (
            "SELECT batch FROM entry WHERE correlation_id = :name UNION "
            f"SELECT seq FROM batch WHERE open AND {valid('record')} ->> '$.correlation_id' = :name"
        )
        found = self._rows(
            f"SELECT batch_id FROM batch WHERE seq IN ({correlated}) "
            "ORDER BY seq DESC LIMIT :limit",
            {"name": name, "limit": limit},
        )
        if found:
            (count,) = self._row(f"SELECT count(*) FROM ({correlated})", {"name": name})
            return [UUID(batch_id) for (batch_id,) in found], count - len(found)
        owner = self._owner(number) if number else None
        return ([owner], 0) if owner else ([], 0)

    def _owner(self, event_id: UUID) -> UUID | None:
        """The batch from which an event's id is derived."""
        latest = self._rows("SELECT batch_id FROM batch ORDER BY seq DESC LIMIT ?", (SEARCHED,))
        return ids.batch_of(event_id, (batch_id for (batch_id,) in latest), CANDIDATES)

    def _numbers_of_events(self, number: int, state: BatchState) -> dict[UUID, int]:
        batch = state.batch
        told = len(batch.candidates) + len(state.results) + (state.outcome is not None)
        found = self._rows(
            "SELECT seq, kind, candidate FROM outbox "
            "WHERE seq >= ? AND batch = ? AND kind <> 'document' ORDER BY seq LIMIT ?",
            (self._first_event_of(number), number, told),
        )
        return {_event_id(batch, kind, candidate): seq for seq, kind, candidate in found}

    def _first_event_of(self, number: int) -> int:
        """Behind the last answer of the batch before: answers are told in the order of batches."""
        low, high = 1, int(self._row("SELECT coalesce(max(seq), 0) + 1 FROM outbox")[0])
        while low < high:
            middle = (low + high) // 2
            found = self._row(
                "SELECT batch FROM outbox WHERE seq >= ? AND kind = 'answer' ORDER BY seq LIMIT 1",
                (middle,),
            )
            if found is None or found[0] >= number:
                high = middle
            else:
                low = middle + 1
        return low

    def _files(self, number: int, state: BatchState) -> Iterator[FileRows]:
        batch, outcome = state.batch, state.outcome
        if outcome is None:
            return
        (seq,) = self._row("SELECT seq FROM outcome WHERE batch = ?", (number,))
        month = datetime.strptime(outcome.month, "%Y%m").replace(tzinfo=UTC)
        since = self.last_outcome_before(month - MOMENTS)
        before = dict(
            zip(
                rows.DATASETS,
                self._row(
                    "SELECT count(*) FILTER (WHERE reason IS NULL), coalesce(sum(answers), 0) "
                    "FROM outcome WHERE seq > ? AND seq < ? AND month = ?",
                    (since, seq, outcome.month),
                ),
                strict=True,
            )
        )
        for dataset, new in rows.of_batch(batch, state.results, outcome).items():
            if not new:
                continue
            part = self._row(
                "SELECT path, sha256 IS NOT NULL, first_seq FROM part "
                "WHERE dataset = ? AND last_seq >= ? ORDER BY last_seq LIMIT 1",
                (dataset, seq),
            )
            if part is not None and part[2] > seq:
                part = None
            yield FileRows(
                dataset=dataset,
                path=f"{dataset}/{dataset}_{outcome.month}.jsonl",
                line=before[dataset] + 1,
                rows=len(new),
                written=seq <= self.mark("projected"),
                part=None if part is None else part[0],
                sealed=part is not None and bool(part[1]),
            )


def _event_id(batch: Batch, kind: str, candidate: int | None) -> UUID:
    if candidate is None:
        return ids.outcome_event(batch.batch_id)
    if kind == "answer":
        return ids.answer_event(batch.batch_id, candidate)
    return ids.verification_event(batch.batch_id, candidate)


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text.strip())
    except ValueError:
        return None
