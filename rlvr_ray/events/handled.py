"""The ids of handled events in SQLite, so that a consumer recognises repeats."""

import sqlite3
from pathlib import Path
from uuid import UUID

from rlvr_ray.core.errors import ConfigError

KEEP_IN_MEMORY, KEEP_IN_FILE = 100_000, 1_000_000  #: ids, the newest


class HandledIds:
    """Ids of handled events: the newest, in the order of handling."""

    def __init__(self, path: Path | None) -> None:
        self._keep = KEEP_IN_FILE if path else KEEP_IN_MEMORY
        try:
            self._db = sqlite3.connect(path or ":memory:")
            # One owner: two connections at once can corrupt a WAL in SQLite before 3.51.3.
            self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            with self._db:
                self._db.execute(
                    "CREATE TABLE IF NOT EXISTS seen"
                    " (seq INTEGER PRIMARY KEY, event_id BLOB NOT NULL UNIQUE)"
                )
        except sqlite3.Error as error:
            raise ConfigError(f"cannot keep the ids of handled events in {path}: {error}") from None

    def __contains__(self, event_id: UUID) -> bool:
        query = "SELECT 1 FROM seen WHERE event_id = ?"
        return self._db.execute(query, (event_id.bytes,)).fetchone() is not None

    def add(self, event_id: UUID) -> None:
        """Returns once it is on disk."""
        with self._db:
            self._db.execute("INSERT OR IGNORE INTO seen (event_id) VALUES (?)", (event_id.bytes,))
            self._db.execute(
                "DELETE FROM seen WHERE seq <= (SELECT max(seq) FROM seen) - ?", (self._keep,)
            )

    def close(self) -> None:
        """Let the next owner in."""
        self._db.close()
