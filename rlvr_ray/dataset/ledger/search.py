"""Searching the ledger: batches by filter, their figures, and reviews.

Every method reads one snapshot. Methods with ``low`` and ``high`` search the batches with numbers
between them (``low`` excluded), so that a long search can be done in pieces. Values are parameters
of the SQL, never part of its text.
"""

import contextlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

from rlvr_ray.core import codec
from rlvr_ray.core.errors import Unreadable
from rlvr_ray.core.records import Outcome
from rlvr_ray.dataset import filters
from rlvr_ray.dataset.filters import Filter, Histogram, Measure
from rlvr_ray.dataset.ledger import entries
from rlvr_ray.dataset.ledger.conditions import LATEST, UNREVIEWED, conditions
from rlvr_ray.dataset.ledger.connection import valid
from rlvr_ray.dataset.ledger.provenance import ProvenanceReader
from rlvr_ray.dataset.reviews import Verdict
from rlvr_ray.dataset.rows import Row
from rlvr_ray.dataset.state import Reviewed

_MEASURES: dict[Measure, str] = {
    "score_diff": "chosen - rejected",
    "chosen_score": "chosen",
    "rejected_score": "rejected",
}
#: In millionths.
_BIN = filters.MILLION // filters.BINS


class Browser(ProvenanceReader):
    """A reader with a view on many batches; plain and blocking, for one thread at a time."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        entries.add_functions(self._db)

    def last(self) -> int:
        """The number of the batch that was recorded last; 0 where there is none."""
        return int(self._row("SELECT coalesce(max(seq), 0) FROM batch")[0])

    def past_retention(self) -> int:
        """Decided batches whose records are gone: only the files have their rows."""
        return self.mark("swept")  # outcomes are numbered from 1 and never deleted

    def models(self) -> list[str]:
        """Those that wrote answers of decided batches, by name."""
        rows = self._rows(
            f"SELECT DISTINCT value FROM models, json_each({valid('names')}) ORDER BY value"
        )
        return [name for (name,) in rows]

    def lines(self, where: Filter, low: int, high: int, limit: int) -> list[tuple[int, Row]]:
        """The latest that fit, latest first, with their numbers: see ``browsing.line``."""
        found: list[tuple[int, Row]] = []
        with self.snapshot():
            while len(found) < limit:
                wanted = limit - len(found)
                numbers = self._numbers(where, low, high, wanted, latest_first=True)
                if not numbers:
                    break
                found += self._lines(numbers)
                high = numbers[-1] - 1
        return found

    def _lines(self, numbers: Sequence[int]) -> list[tuple[int, Row]]:
        found = []
        for number, verdict, name, batch, outcome in self._rows(
            "SELECT batch.seq, (SELECT CAST(verdict AS BLOB) FROM review "
            "WHERE review.batch = batch.seq ORDER BY review.seq DESC LIMIT 1), "
            "CAST(batch.batch_id AS BLOB), CAST(batch.record AS BLOB), "
            "CAST(outcome.record AS BLOB) "
            "FROM batch LEFT JOIN outcome ON outcome.batch = batch.seq "
            "WHERE batch.seq IN (SELECT value FROM json_each(?)) ORDER BY batch.seq DESC",
            (json.dumps(numbers),),
        ):
            try:
                line = filters.line(
                    self._batch(name, batch),
                    None if outcome is None else codec.loads(Outcome, outcome),
                    _verdict(verdict),
                )
            except (ValueError, IndexError):
                with contextlib.suppress(Unreadable):
                    self._numbered(number)  # which says why
            else:
                found.append((number, line))
        return found

    def states(self, where: Filter, low: int, high: int, limit: int) -> list[tuple[int, Reviewed]]:
        """The earliest that fit, earliest first, with all that is known of each."""
        found: list[tuple[int, Reviewed]] = []
        with self.snapshot():
            while len(found) < limit:
                wanted = limit - len(found)
                numbers = self._numbers(where, low, high, wanted, latest_first=False)
                if not numbers:
                    break
                low = numbers[-1]
                for number in numbers:
                    with contextlib.suppress(Unreadable):
                        found.append((number, self.reviewed(number)))
        return found

    def reviewed(self, number: int) -> Reviewed:
        """The batch of a number that another look found; raises Unreadable."""
        row = self._row(
            "SELECT CAST(verdict AS BLOB) FROM review WHERE batch = ? ORDER BY seq DESC LIMIT 1",
            (number,),
        )
        return Reviewed(state=self._numbered(number), verdict=_verdict(row and row[0]))

    def count(self, where: Filter, low: int, high: int) -> int:
        """How many fit."""
        decided, opened, values = conditions(where, low, high)
        query = f"SELECT (SELECT count(*) FROM entry WHERE {decided})"
        if opened is not None:
            query += f" + (SELECT count(*) FROM batch WHERE {opened})"
        return int(self._row(query, values)[0])

    def histogram(self, of: Measure, where: Filter, low: int, high: int) -> Histogram:
        """Of the ranked batches that fit; those that were not ranked are missing."""
        decided, opened, values = conditions(where, low, high)
        counts, missing = [0] * filters.BINS, 0
        with self.snapshot():
            for place, number in self._rows(
                f"SELECT min(({_MEASURES[of]}) / {_BIN}, {filters.BINS - 1}) AS place, count(*) "
                f"FROM entry WHERE {decided} GROUP BY place",
                values,
            ):
                if place is None:
                    missing = number
                else:
                    counts[place] = number
            if opened is not None:
                missing += self._row(f"SELECT count(*) FROM batch WHERE {opened}", values)[0]
        return Histogram(counts=tuple(counts), missing=missing)

    # Reviews.

    def unreviewed(self, where: Filter, seen: Sequence[UUID], low: int, high: int) -> list[int]:
        """The numbers of pairs that fit, that nobody has judged and that are not in ``seen``."""
        decided, _, values = conditions(where, low, high)
        rows = self._rows(
            f"SELECT batch FROM entry WHERE {decided} AND outcome = 'pair' "
            f"AND {UNREVIEWED} AND batch NOT IN (SELECT seq FROM batch "
            "WHERE batch_id IN (SELECT value FROM json_each(:seen)))",
            values | {"seen": json.dumps([str(batch_id) for batch_id in seen])},
        )
        return [number for (number,) in rows]

    def verdicts(self, where: Filter, low: int, high: int) -> dict[Verdict | None, int]:
        """Pairs that fit, by the latest review; None is for those without one."""
        decided, _, values = conditions(where, low, high)
        rows = self._rows(
            "SELECT CAST(verdict AS BLOB), count(*) "
            f"FROM entry LEFT JOIN ({LATEST}) AS latest USING (batch) "
            f"WHERE {decided} AND outcome = 'pair' GROUP BY verdict",
            values,
        )
        found: Counter[Verdict | None] = Counter()
        for name, number in rows:
            found[_verdict(name)] += number
        return found

    def judged(self) -> dict[str, Verdict]:
        """The latest review of each batch, by the batch's id; those past retention included."""
        rows = self._rows(
            "SELECT batch_id, CAST(verdict AS BLOB) "
            f"FROM ({LATEST}) AS latest JOIN batch ON seq = latest.batch"
        )
        found = {batch_id: _verdict(verdict) for batch_id, verdict in rows}
        return {batch_id: verdict for batch_id, verdict in found.items() if verdict}

    # Below.

    def _numbers(
        self, where: Filter, low: int, high: int, limit: int, *, latest_first: bool
    ) -> list[int]:
        decided, opened, values = conditions(where, low, high)
        order = "DESC" if latest_first else "ASC"
        values["limit"] = limit
        rows = self._rows(
            f"SELECT batch FROM entry WHERE {decided} ORDER BY batch {order} LIMIT :limit", values
        )
        if opened is not None:
            rows += self._rows(
                f"SELECT seq FROM batch WHERE {opened} ORDER BY seq {order} LIMIT :limit", values
            )
        return sorted((number for (number,) in rows), reverse=latest_first)[:limit]


def _verdict(name: bytes | None) -> Verdict | None:
    """What a row says, and None where it says nothing that is known."""
    try:
        return Verdict((name or b"").decode())
    except ValueError:
        return None
