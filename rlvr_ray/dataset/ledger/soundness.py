"""Whether the ledger is sound: the file, and rows that must fit each other."""

import contextlib
from collections.abc import Iterator

from rlvr_ray.dataset.filters import Entry
from rlvr_ray.dataset.ledger import entries
from rlvr_ray.dataset.ledger.reader import Reader

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


def damage(ledger: Reader) -> Iterator[str]:
    """What makes the file unfit to be read, one line each."""
    for (line,) in ledger._rows("PRAGMA integrity_check"):
        if line != "ok":
            yield f"{ledger._path}: {line}"
    for table, row, parent, _ in ledger._rows("PRAGMA foreign_key_check"):
        yield f"{ledger._path}: row {row} of {table} refers to a missing {parent}"


def misfits(ledger: Reader) -> Iterator[str]:
    """Rows that do not fit each other, one line each."""
    for (batch_id,) in ledger._rows(
        "SELECT batch_id FROM batch LEFT JOIN outcome ON outcome.batch = batch.seq "
        "WHERE open <> (outcome.seq IS NULL)"
    ):
        yield f"batch {batch_id}: open and decided at once, or neither"
    for (batch_id,) in ledger._rows(_MISPLACED_EVENTS):
        yield f"batch {batch_id}: its events are not one for each fact, in order"
    for seq, kind in ledger._rows(_LOST_EVENTS):
        yield f"event number {seq} ({kind!r}) tells of nothing that is there"
    for batch_id, reason in ledger._rows(_MISPLACED_REVIEWS):
        yield f"batch {batch_id}: reviewed, and made no pair ({reason or 'open'})"
    for name, last in (("mirrored", "outbox"), ("projected", "outcome"), ("pruned", "outcome")):
        (seq,) = ledger._row(f"SELECT coalesce(max(seq), 0) FROM {last}")
        if ledger.mark(name) > seq:
            yield f"{ledger._path}: {name} is {ledger.mark(name)}, beyond the last {last}, {seq}"


def entry(ledger: Reader, number: int) -> Entry | None:
    """What is searched of the batch of that number; None where there is nothing of it."""
    with ledger._translated(), contextlib.suppress(ValueError):
        return entries.of(ledger._db, number)
    return None
