"""The tables of the ledger, and the version of its schema."""

import apsw

from rlvr_ray.core.errors import LedgerError

#: In ``PRAGMA user_version``. A later version migrates a file of this one in ``prepare``.
VERSION = 1
#: In ``PRAGMA application_id``: "rlvr". Files of versions before 0.1.0 lack it.
APPLICATION = 0x726C7672

#: Sequence numbers grow in the order of commits. Tables refer to a batch by its number, not by its
#: random id, so that rows of one time lie together and the cost of a write does not grow.
#: ``entry`` has a row for each decided batch within retention; those that are open are few, and
#: their records are read.
SCHEMA = """
CREATE TABLE batch (
    seq INTEGER PRIMARY KEY,
    batch_id TEXT NOT NULL UNIQUE,
    open INTEGER NOT NULL,          -- 1 until the outcome is decided
    record TEXT NOT NULL,           -- empty once its retention has passed
    run TEXT                        -- of a bulk run: its correlation id; the batch id is derived
) STRICT;
CREATE INDEX batch_open ON batch (seq) WHERE open;
CREATE INDEX batch_run ON batch (run) WHERE run NOTNULL;
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
CREATE TABLE models (               -- those that answered together
    seq INTEGER PRIMARY KEY,
    names TEXT NOT NULL UNIQUE      -- a JSON list
) STRICT;
CREATE TABLE entry (                -- what is searched: narrow, so that a search reads no records
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


def prepare(db: apsw.Connection, path: str) -> None:
    """Make the tables of a new file, in one transaction; raises LedgerError as ``check`` does."""
    if db.pragma("user_version") == 0:
        with db:
            db.execute(SCHEMA)
            db.pragma("application_id", APPLICATION)
            db.pragma("user_version", VERSION)
    check(db, path)


def check(db: apsw.Connection, path: str) -> None:
    """Raise LedgerError where the file is of another version, or not a ledger."""
    version = db.pragma("user_version")
    if db.pragma("application_id") != APPLICATION:
        raise LedgerError(
            f"{path} was not made by rlvr_ray 0.1.0 or later, and cannot be read: move the data "
            "folder away and start with a new one, or keep to the version that made it; the JSONL "
            "and Parquet files beside it stay readable"
        )
    if version > VERSION:
        raise LedgerError(
            f"{path} was written by a newer rlvr_ray (schema {version}, this one knows "
            f"{VERSION}); install that version"
        )
