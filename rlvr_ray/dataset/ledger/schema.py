"""The tables, and how a file of an earlier version becomes one of this version."""

import json
from collections.abc import Callable
from typing import Any

import apsw

from rlvr_ray.core import codec
from rlvr_ray.core.errors import LedgerError
from rlvr_ray.core.records import Batch, Outcome
from rlvr_ray.dataset.filters import entry_of
from rlvr_ray.dataset.ledger import entries
from rlvr_ray.dataset.ledger.counts import valid

#: In ``PRAGMA user_version``; one more than the number of migrations.
VERSION = 7

#: Sequence numbers grow in the order of commits. Tables refer to a batch by its number, not by its
#: random id, so that rows of one time lie together and the cost of a write does not grow.
_TABLES_2 = """
CREATE TABLE batch (
    seq INTEGER PRIMARY KEY,
    batch_id TEXT NOT NULL UNIQUE,
    open INTEGER NOT NULL,          -- 1 until the outcome is decided
    record TEXT NOT NULL            -- empty once its retention has passed
) STRICT;
CREATE INDEX batch_open ON batch (seq) WHERE open;
CREATE TABLE verification (
    batch INTEGER NOT NULL REFERENCES batch (seq),
    candidate INTEGER NOT NULL,     -- its index
    completed INTEGER NOT NULL,     -- 0 where it failed
    record TEXT NOT NULL,
    PRIMARY KEY (batch, candidate)
) STRICT, WITHOUT ROWID;
CREATE TABLE outcome (
    seq INTEGER PRIMARY KEY,        -- the order of the rows in the files
    batch INTEGER NOT NULL UNIQUE REFERENCES batch (seq),
    reason TEXT,                    -- NULL for a pair
    month TEXT NOT NULL,            -- YYYYMM
    answers INTEGER NOT NULL,
    record TEXT NOT NULL
) STRICT;
CREATE INDEX outcome_reason ON outcome (reason);
CREATE TABLE document (             -- one row each time that one was stored with new content
    seq INTEGER PRIMARY KEY,
    document_id TEXT NOT NULL,
    number INTEGER NOT NULL,        -- of that document's contents, from 0
    record TEXT NOT NULL,
    UNIQUE (document_id, number)
) STRICT;
CREATE TABLE outbox (               -- one row an event, made with the record that it tells of
    seq INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,             -- answer, verification, outcome, document
    batch INTEGER,                  -- or the document
    candidate INTEGER,              -- of an answer or a verification
    at INTEGER NOT NULL             -- when it was committed, Unix seconds
) STRICT;
CREATE TABLE file (                 -- JSONL files: what lies behind `bytes` is a torn tail
    path TEXT PRIMARY KEY,
    bytes INTEGER NOT NULL,
    kept INTEGER NOT NULL DEFAULT 0,  -- so many first bytes cannot be written again:
    sha256 TEXT                     -- their records are past retention; this is their hash
) STRICT;
CREATE TABLE part (                 -- Parquet parts: the range is committed before the file is made
    path TEXT PRIMARY KEY,
    dataset TEXT NOT NULL,
    first_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    sha256 TEXT                     -- NULL until the file lies there whole
) STRICT;
CREATE INDEX part_range ON part (dataset, last_seq);
CREATE INDEX part_unsealed ON part (path) WHERE sha256 IS NULL;
CREATE TABLE mark (                 -- how far something has come
    name TEXT PRIMARY KEY,
    seq INTEGER NOT NULL
) STRICT;
INSERT INTO mark VALUES
    ('projected', 0),               -- the last outcome that is in the JSONL files
    ('mirrored', 0),                -- the last event that the broker has confirmed
    ('pruned', 0),                  -- the last outcome whose batch is past retention
    ('swept', 0);                   -- the last of those whose records are gone
"""

#: What is searched through: a narrow row for each decided batch within retention, so that a look at
#: all of them reads no records. Those that are open are few, and read.
_BROWSING = """
CREATE TABLE models (               -- those that answered together
    seq INTEGER PRIMARY KEY,
    names TEXT NOT NULL UNIQUE      -- a JSON list
) STRICT;
CREATE TABLE entry (
    batch INTEGER PRIMARY KEY REFERENCES batch (seq),
    at INTEGER NOT NULL,            -- when it was decided, microseconds since 1970
    outcome TEXT NOT NULL,          -- pair, or why there is none
    chosen INTEGER,                 -- scores in millionths; NULL where it was not ranked
    rejected INTEGER,
    models INTEGER NOT NULL REFERENCES models (seq),
    correlation_id TEXT NOT NULL
) STRICT;
CREATE TABLE review (               -- nothing here is changed; of a batch's reviews the last counts
    seq INTEGER PRIMARY KEY,
    review_id TEXT NOT NULL UNIQUE,
    batch INTEGER NOT NULL REFERENCES batch (seq),
    verdict TEXT NOT NULL,          -- agree, disagree, tie, discard
    record TEXT NOT NULL
) STRICT;
CREATE INDEX review_batch ON review (batch, verdict);
"""
#: The batches of a bulk run, also past retention.
_RUNS = """
ALTER TABLE batch ADD COLUMN run TEXT;  -- correlation id, where the batch id is derived
CREATE INDEX batch_run ON batch (run) WHERE run NOTNULL;
"""
SCHEMA = _TABLES_2 + _BROWSING + _RUNS

#: From version 1 to 2, whose tables are today's. Events of what happened before are told to the
#: mirror as well.
_EVENT_ID = "CASE json_each.type WHEN 'object' THEN json_each.value ->> '$.event_id' END"
_FROM_1 = f"""
ALTER TABLE batch RENAME TO batch_1;
ALTER TABLE verification RENAME TO verification_1;
ALTER TABLE outcome RENAME TO outcome_1;
ALTER TABLE file RENAME TO file_1;
ALTER TABLE part RENAME TO part_1;
DROP INDEX batch_open;
DROP INDEX outcome_reason;
{_TABLES_2}
INSERT INTO batch SELECT seq, batch_id, open, record FROM batch_1;
INSERT INTO verification
    SELECT batch.seq, json_each.key, completed, verification_1.record
    FROM verification_1 JOIN batch USING (batch_id),
         json_each({valid("batch.record")}, '$.candidates')
    WHERE {_EVENT_ID} = answer_event_id AND typeof(json_each.key) = 'integer';
INSERT INTO outcome
    SELECT outcome_1.seq, batch.seq, reason, month, answers, outcome_1.record
    FROM outcome_1 JOIN batch USING (batch_id);
INSERT INTO outbox (kind, batch, candidate, at)
    SELECT 'answer', batch.seq, json_each.key,
           coalesce(unixepoch({valid("batch.record")} ->> '$.created_at'), 0)
    FROM batch, json_each({valid("batch.record")}, '$.candidates')
    WHERE typeof(json_each.key) = 'integer' ORDER BY batch.seq, json_each.key;
INSERT INTO outbox (kind, batch, candidate, at)
    SELECT kind, batch, candidate, at FROM (
        SELECT 'verification' AS kind, outcome.seq, verification.batch, candidate,
               coalesce(unixepoch({valid("outcome.record")} ->> '$.decided_at'), 0) AS at
        FROM outcome JOIN verification USING (batch)
        UNION ALL
        SELECT 'outcome', seq, batch, NULL,
               coalesce(unixepoch({valid("record")} ->> '$.decided_at'), 0)
        FROM outcome
    ) ORDER BY seq, kind DESC, candidate;
INSERT INTO file (path, bytes) SELECT path, bytes FROM file_1;
INSERT INTO part SELECT * FROM part_1;
UPDATE mark SET seq = (SELECT seq FROM projected) WHERE name = 'projected';
DROP TABLE verification_1;
DROP TABLE outcome_1;
DROP TABLE batch_1;
DROP TABLE file_1;
DROP TABLE part_1;
DROP TABLE projected;
"""

#: What is written from records is written again, since rows have other keys. Files past retention
#: stay: there is nothing to write them from.
_WRITE_FILES_AGAIN = """
DELETE FROM file WHERE kept = 0;
UPDATE file SET bytes = kept;
UPDATE part SET sha256 = NULL
    WHERE last_seq > (SELECT seq FROM mark WHERE name = 'pruned');
UPDATE mark SET seq = (SELECT seq FROM mark WHERE name = 'pruned') WHERE name = 'projected';
"""


def _from_2(db: apsw.Connection) -> None:
    """A verification was one judge's; now it holds what each of several verifiers says.

    One that cannot be read stays as it is: its batch is set aside, and nothing else is held up.
    """
    db.create_scalar_function("with_assessment", _with_assessment, 1)
    db.execute(
        "UPDATE verification "
        "SET record = coalesce(with_assessment(CAST(record AS BLOB)), record) WHERE completed"
    )
    db.create_scalar_function("with_assessment", None)
    db.execute(_WRITE_FILES_AGAIN)


def _with_assessment(*values: Any) -> str | None:
    """A version 2 record of a verification in the form of version 3; None where it is none."""
    try:
        old: dict[str, Any] = json.loads(values[0])
        method = old["judge"]["faithfulness"]
        assessment = {
            # As it was computed then: outcomes on record were decided with this very number.
            "score": round((old["faithfulness"] + old["relevancy"]) / 2, 6),
            "judge": {**old["judge"], "engine": ""},
            "verifier": method if method in ("grounded", "ragas") else "external",
            "weight": 1.0,
            "faithfulness": old["faithfulness"],
            "relevancy": old["relevancy"],
            "detail": "",
            "statements": old["statements"],
            "reverse_questions": old["reverse_questions"],
            "usage": old["usage"],
            "duration_ms": old["duration_ms"],
        }
        new = {
            "answer_event_id": old["answer_event_id"],
            "assessments": [assessment],
            "duration_ms": old["duration_ms"],
            "completed_at": old["completed_at"],
        }
        return json.dumps(new, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (ValueError, TypeError, KeyError):
        return None


def _from_4(db: apsw.Connection) -> None:
    """Rows to search through, made from the records.

    A record that cannot be read gets none: ``verify-store`` names it, and nothing else is held up.
    """
    db.execute(_BROWSING)
    known: dict[str, int] = {}
    for number, batch, outcome in db.execute(
        "SELECT batch.seq, CAST(batch.record AS BLOB), CAST(outcome.record AS BLOB) FROM outcome "
        "JOIN batch ON batch.seq = outcome.batch WHERE batch.record <> '' ORDER BY batch.seq"
    ):
        try:
            entry = entry_of(codec.loads(Batch, batch), codec.loads(Outcome, outcome))
        except ValueError:
            continue
        entries.add(db, number, entry, known)


#: Earlier ledgers have the name in the record only. The 15th character is a UUID's version. Rows
#: tell how much reasoning there was.
_FROM_6 = f"""{_RUNS}{_WRITE_FILES_AGAIN}
UPDATE batch SET run = record ->> '$.correlation_id'
    WHERE substr(batch_id, 15, 1) = '5' AND json_valid(record);
"""

#: Version → what makes it the next one: statements, or what is done with the connection.
MIGRATIONS: dict[int, str | Callable[[apsw.Connection], None]] = {
    1: _FROM_1,
    2: _from_2,
    3: _WRITE_FILES_AGAIN,  # a pair's rule has more settings
    4: _from_4,
    5: _WRITE_FILES_AGAIN,  # answers have defects, and a pair's rule has more settings
    6: _FROM_6,
}


def prepare(db: apsw.Connection, path: str) -> None:
    """Make the tables, or bring them to this version, in one transaction.

    Raises LedgerError where the file is from a newer version.
    """
    version = check(db, path)
    if version == VERSION:
        return
    db.pragma("foreign_keys", False)  # tables are replaced; what they hold is checked below
    with db:
        if version == 0:
            db.execute(SCHEMA)
        else:
            for step in range(version, VERSION):
                migration = MIGRATIONS[step]
                if isinstance(migration, str):
                    db.execute(migration)
                else:
                    migration(db)
            if broken := db.execute("PRAGMA foreign_key_check").fetchall():
                raise LedgerError(
                    f"{path} (schema {version}) is damaged: {len(broken)} rows refer to none; "
                    "it stays as it was"
                )
        db.pragma("user_version", VERSION)
    db.pragma("foreign_keys", True)


def check(db: apsw.Connection, path: str) -> int:
    """The file's version; raises LedgerError where it is newer than this program."""
    version = int(db.pragma("user_version"))
    if version > VERSION:
        raise LedgerError(
            f"{path} was written by a newer rlvr_ray (schema {version}, this one knows "
            f"{VERSION}); install that version"
        )
    return version
