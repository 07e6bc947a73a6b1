"""From the ledger to the files: JSONL that follows each outcome, Parquet in sealed parts.

The ledger is asked what the files hold, the files are written, the ledger is told: a crash between
any two of these steps repeats a write and never loses or doubles a row. Blocking; it shares the
ledger's thread.
"""

import logging
import time
from collections.abc import Sequence
from itertools import groupby
from operator import methodcaller
from typing import TYPE_CHECKING

from rlvr_ray.core import rows
from rlvr_ray.ports import BatchState, Part
from rlvr_ray.settings import DatasetSettings

if TYPE_CHECKING:
    from rlvr_ray.adapters.dataset import Dataset
    from rlvr_ray.adapters.ledger import Ledger

log = logging.getLogger(__name__)

#: Outcomes read at once: bounds memory while the files catch up.
STEP = 200
DATASETS = ("dpo_data", "training_data")


class Projector:
    """Keeps the files of one data folder equal to its ledger."""

    def __init__(self, ledger: "Ledger", dataset: "Dataset", settings: DatasetSettings) -> None:
        self._ledger = ledger
        self._dataset = dataset
        self._settings = settings
        self._pending = {name: sum(n for _, _, n in ledger.unplanned(name)) for name in DATASETS}
        self._sealed_at = time.monotonic()

    def mend(self) -> None:
        """Cut torn tails; what is missing is written again."""
        if not all(self._dataset.cut(path, size) for path, size in self._ledger.files().items()):
            log.warning("a dataset file is missing or too short: writing all of them again")
            self._ledger.commit([methodcaller("forget_files")])
        for path in self._ledger.sealed_paths():
            if not self._dataset.holds(path):
                self._ledger.commit([methodcaller("seal_part", path, None)])
        self._write_planned()

    def project(self) -> None:
        """Append the rows of new outcomes. They are on disk before the ledger notes them."""
        while states := self._ledger.decided(self._ledger.projected(), STEP):
            sizes = self._ledger.files()
            by_file: dict[str, list[rows.Row]] = {}
            for _, state in states:
                for name, new in _rows(state).items():
                    path = self._dataset.jsonl_path(name, _month(state))
                    by_file.setdefault(path, []).extend(new)
                    self._pending[name] += len(new)
            for path, new in by_file.items():
                if new:
                    sizes[path] = self._dataset.append(path, new, sizes.get(path, 0))
            self._ledger.commit([methodcaller("advance", states[-1][0], sizes)])

    def seal_due(self) -> None:
        """Seal datasets that have rows enough for a part, or whose last part is old enough."""
        old = time.monotonic() - self._sealed_at >= self._settings.seal_seconds
        for name in DATASETS:
            if old or self._pending[name] >= self._settings.seal_rows:
                self._plan(name, rest=old)
        if old:
            self._sealed_at = time.monotonic()
        self._write_planned()

    def seal_all(self) -> None:
        """Seal every row that is in the JSONL files."""
        for name in DATASETS:
            self._plan(name, rest=True)
        self._write_planned()

    def _plan(self, name: str, *, rest: bool) -> None:
        """Fix the ranges of new parts: ``seal_rows`` rows each and, with ``rest``, what remains.

        A part holds outcomes of one month.
        """
        parts: list[Part] = []
        unplanned = self._ledger.unplanned(name)
        self._pending[name] = 0
        for month, group in groupby(unplanned, key=lambda outcome: outcome[1]):
            covered: list[int] = []
            count = 0
            for seq, _, rows_of_it in group:
                covered.append(seq)
                count += rows_of_it
                if count >= self._settings.seal_rows:
                    parts.append(self._part(name, month, covered, count))
                    covered, count = [], 0
            if count and (rest or month != unplanned[-1][1]):
                parts.append(self._part(name, month, covered, count))
                count = 0
            self._pending[name] = count
        if parts:
            self._ledger.commit([methodcaller("plan_part", part) for part in parts])

    def _part(self, name: str, month: str, covered: Sequence[int], count: int) -> Part:
        return Part(
            path=self._dataset.part_path(name, month, covered[0], covered[-1]),
            dataset=name,
            first_seq=covered[0],
            last_seq=covered[-1],
            rows=count,
        )

    def _write_planned(self) -> None:
        for part in self._ledger.unsealed_parts():
            states = self._ledger.decided(part.first_seq - 1, part.last_seq - part.first_seq + 1)
            new = [row for _, state in states for row in _rows(state)[part.dataset]]
            digest = self._dataset.write_part(part.dataset, part.path, new)
            self._ledger.commit([methodcaller("seal_part", part.path, digest)])


def _rows(state: BatchState) -> dict[str, Sequence[rows.Row]]:
    assert state.outcome is not None, "only decided batches have rows"
    return rows.of_batch(state.batch, state.results, state.outcome)


def _month(state: BatchState) -> str:
    assert state.outcome is not None, "only decided batches have a month"
    return state.outcome.month
