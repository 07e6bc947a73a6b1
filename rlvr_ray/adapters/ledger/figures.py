"""How much the ledger holds, in numbers that are cheap however much that is."""

from abc import ABC, abstractmethod
from datetime import UTC, datetime
from typing import Any

from rlvr_ray.core.records import Reason
from rlvr_ray.ports import Backlog


class Figures(ABC):
    """A part of ``Reader``."""

    @abstractmethod
    def _row(self, query: str, values: tuple[Any, ...] | dict[str, Any] = ()) -> Any: ...

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

        Outcomes are on record in the order of their times, but for moments.
        """
        low, high = 0, self.last_outcome()
        while low < high:
            middle = (low + high + 1) // 2
            seq, decided_at = self._row(
                "SELECT seq, record ->> '$.decided_at' FROM outcome WHERE seq <= ? "
                "ORDER BY seq DESC LIMIT 1",
                (middle,),
            ) or (0, None)
            if decided_at is None or datetime.fromisoformat(decided_at) < time:
                low = middle
            else:
                high = int(seq) - 1
        return low

    def waiting(self) -> tuple[int, datetime | None]:
        """How many batches are open, and when the oldest of them was recorded."""
        (count,) = self._row("SELECT count(*) FROM batch WHERE open")
        oldest = self._row(
            "SELECT record ->> '$.created_at' FROM batch WHERE open ORDER BY seq LIMIT 1"
        )
        return int(count), datetime.fromisoformat(oldest[0]) if oldest else None

    def backlog(self) -> Backlog:
        """What the broker has not confirmed yet."""
        pending, oldest = self._row(
            "SELECT coalesce((SELECT max(seq) FROM outbox), 0) - seq, "
            "(SELECT at FROM outbox WHERE outbox.seq > mark.seq ORDER BY outbox.seq LIMIT 1) "
            "FROM mark WHERE name = 'mirrored'"
        )
        return Backlog(
            pending=max(pending, 0),
            oldest=None if oldest is None else datetime.fromtimestamp(oldest, UTC),
        )
