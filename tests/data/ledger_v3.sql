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
