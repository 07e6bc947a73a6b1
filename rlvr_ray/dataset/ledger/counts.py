"""Counts of the ledger's contents that are cheap at any size."""

import json
from datetime import datetime

from rlvr_ray.core.fields import utc
from rlvr_ray.core.records import Reason
from rlvr_ray.dataset.filters import micros
from rlvr_ray.dataset.ledger.connection import Connection, moment, valid
from rlvr_ray.dataset.state import Backlog


class Counts(Connection):
    """Counts of what is there."""

    def counts(self) -> dict[str, int]:
        """Batches by state: ``open``, ``pair``, and one entry for each reason seen."""
        return {"open": self.waiting()[0], **self.ended(0, self.last_outcome())}

    def ended(self, after: int, last: int) -> dict[str, int]:
        """Outcomes behind one sequence number up to another: ``pair``, and each reason seen.

        Costs what those outcomes are, and nothing for those before.
        """
        found = {}
        for reason in (None, *Reason):  # a short stretch of the index of reasons, each
            (count,) = self._row(
                "SELECT count(*) FROM outcome WHERE reason IS ? AND seq > ? AND seq <= ?",
                (reason, after, last),
            )
            if count:
                found[str(reason or "pair")] = int(count)
        return found

    def last_outcome(self) -> int:
        """Sequence number of the latest outcome; 0 where there is none."""
        return int(self._row("SELECT coalesce(max(seq), 0) FROM outcome")[0])

    def last_outcome_before(self, time: datetime) -> int:
        """Sequence number of the last outcome that was decided before a time; 0 where none was.

        One past retention was. Outcomes are on record in the order of their times, but for moments.
        """
        low = int(self._row("SELECT seq FROM mark WHERE name = 'swept'")[0])
        high = self.last_outcome()
        while low < high:
            middle = (low + high + 1) // 2
            seq, decided_at = self._row(
                "SELECT outcome.seq, at FROM outcome JOIN entry USING (batch) "
                "WHERE outcome.seq <= ? ORDER BY outcome.seq DESC LIMIT 1",
                (middle,),
            ) or (0, None)
            if decided_at is None or decided_at < micros(time):  # None: past retention
                low = middle
            else:
                high = int(seq) - 1
        return low

    def waiting(self) -> tuple[int, datetime | None]:
        """How many batches are open, and when the oldest of them was recorded.

        Those that were found to be unreadable wait for nothing.
        """
        waits, values = "open", {}
        if self.set_aside:
            waits += " AND 'batch ' || batch_id NOT IN (SELECT value FROM json_each(:aside))"
            values = {"aside": json.dumps(list(self.set_aside))}
        (count,) = self._row(f"SELECT count(*) FROM batch WHERE {waits}", values)
        since = f"{valid('record')} ->> '$.created_at'"
        oldest = self._row(
            f"SELECT CAST({since} AS BLOB) FROM batch "
            f"WHERE {waits} AND unixepoch({since}) NOTNULL ORDER BY seq LIMIT 1",
            values,
        )
        try:
            return int(count), utc("", datetime.fromisoformat(oldest[0].decode()))
        except (TypeError, ValueError):  # none waits, or when is not known
            return int(count), None

    def backlog(self) -> Backlog:
        """What the broker has not confirmed yet."""
        pending, oldest = self._row(
            "SELECT coalesce((SELECT max(seq) FROM outbox), 0) - seq, "
            "(SELECT at FROM outbox WHERE outbox.seq > mark.seq ORDER BY outbox.seq LIMIT 1) "
            "FROM mark WHERE name = 'mirrored'"
        )
        return Backlog(
            pending=max(pending, 0),
            oldest=None if oldest is None else moment(oldest),
        )
