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
