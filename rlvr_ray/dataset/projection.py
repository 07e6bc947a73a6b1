"""From the ledger to the files: JSONL that follows each outcome, Parquet in sealed parts.

The ledger records what the files contain: after a crash between any two steps, a write is repeated,
and no row is lost or doubled. The code blocks, so it has its own thread and its own reading
connection, and never delays an acknowledgement.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import TYPE_CHECKING

from rlvr_ray.dataset import rows
from rlvr_ray.dataset.group_commit import Write
from rlvr_ray.dataset.ledger import Ledger, Reader
from rlvr_ray.dataset.rows import DATASETS
from rlvr_ray.dataset.state import BatchState, Part
from rlvr_ray.observability import logs
from rlvr_ray.observability.tracing import OFF, Tracer
from rlvr_ray.settings import DatasetSettings

if TYPE_CHECKING:
    from rlvr_ray.dataset.files import Dataset

log = logging.getLogger(__name__)

#: Outcomes read at once: bounds memory while the files catch up.
STEP = 200


class Projector:
    """Keeps the files of one data folder equal to its ledger.

    ``write`` has an operation of the ledger committed.
    """

    def __init__(
        self,
        ledger: Reader,
        write: Write,
        dataset: "Dataset",
        settings: DatasetSettings,
        tracer: Tracer = OFF,
    ) -> None:
        self._ledger = ledger
        self._write = write
        self._dataset = dataset
        self._settings = settings
        self._tracer = tracer
        self._pending = {name: sum(n for _, _, n in ledger.unplanned(name)) for name in DATASETS}
        self._sealed_at = time.monotonic()

    def close(self) -> None:
        """Let go of the reading connection."""
        self._ledger.close()

    def mend(self) -> None:
        """Cut torn tails; what is missing is written again."""
        files = self._ledger.files()
        lost = [path for path, file in files.items() if self._dataset.size(path) < file.bytes]
        if any(files[path].kept < files[path].bytes for path in lost):
            log.warning("%s: missing or too short; JSONL is written again", ", ".join(lost))
            self._write(Ledger.forget_files)
        elif lost:  # past retention: perhaps they were moved away
            log.warning("%s: missing, and past retention", ", ".join(lost))
        for path, file in self._ledger.files().items():
            self._dataset.cut(path, file.bytes)

    def mend_parts(self) -> None:
        """Have parts written again that are missing."""
        there = self._dataset.parts()
        for part in self._ledger.parts():
            if part.sha256 is not None and part.path not in there and self._can_write(part):
                self._write(Ledger.seal_part, part.path, None)
        self._write_planned()

    def project(self) -> None:
        """Append the rows of new outcomes. They are on disk before the ledger notes them.

        A batch that cannot be read has none.
        """
        while True:
            states = self._ledger.decided(self._ledger.mark("projected"), STEP)
            if not states.more:
                return
            started = datetime.now(UTC)
            files = self._ledger.files()
            sizes = {path: file.bytes for path, file in files.items()}
            by_file: dict[str, list[rows.Row]] = {}
            for _, state in states:
                for name, new in rows_of(state).items():
                    path = self._dataset.jsonl_path(name, month_of(state))
                    by_file.setdefault(path, []).extend(new)
                    self._pending[name] += len(new)
            for path, new in by_file.items():
                if path in files and files[path].kept > self._dataset.size(path):
                    # A row of a month past retention, whose file was moved away meanwhile.
                    self._write(Ledger.release, path)
                    del sizes[path]
                if new:
                    sizes[path] = self._dataset.append(path, new, sizes.get(path, 0))
            self._write(Ledger.advance, states.last, sizes)
            for _, state in states:
                self._tell(state, started)
            self._plan_due(rest=False)

    def _tell(self, state: BatchState, started: datetime) -> None:
        if self._tracer is OFF and not log.isEnabledFor(logging.INFO):
            return
        new = {name: len(rows) for name, rows in rows_of(state).items() if rows}
        with logs.about(state.batch.batch_id, state.batch.correlation_id):
            log.info("written: %s", ", ".join(f"{n} rows of {name}" for name, n in new.items()))
        month = month_of(state)
        self._tracer.record(
            "write",
            state.batch.batch_id,
            started,
            datetime.now(UTC),
            {
                "rlvr.files": [self._dataset.jsonl_path(name, month) for name in new],
                "rlvr.rows": sum(new.values()),
            },
        )

    def seal_due(self) -> None:
        """Seal datasets that have rows enough for a part, or whose last part is old enough."""
        old = time.monotonic() - self._sealed_at >= self._settings.seal_seconds
        self._plan_due(rest=old)
        if old:
            self._sealed_at = time.monotonic()
        self._write_planned()

    def seal_all(self) -> None:
        """Seal every row that is in the JSONL files."""
        self._plan_due(rest=True)
        self._write_planned()

    def rebuild(self) -> dict[str, bool]:
        """Write every file again; by path, whether it came out as it was before.

        Files past retention are left alone. A file that was missing counts as it was on record.
        """
        before = {
            path: (file.bytes, self._dataset.digest(path, file.bytes))
            for path, file in self._ledger.files().items()
        }
        parts = [part for part in self._ledger.parts() if self._can_write(part)]
        self._write(Ledger.forget_files)
        for part in parts:
            self._write(Ledger.seal_part, part.path, None)
        self.project()  # what was not written yet is written too
        self._write_planned()
        after = {path: self._dataset.digest(path, size) for path, (size, _) in before.items()}
        same = {
            path: after[path] is not None and digest in (None, after[path])
            for path, (_, digest) in before.items()
        }
        digests = {part.path: part.sha256 for part in self._ledger.parts()}
        same |= {part.path: part.sha256 in (None, digests[part.path]) for part in parts}
        return dict.fromkeys([*self._ledger.files(), *digests], True) | same

    def prune(self, cutoff: datetime, *, mirrored: bool) -> int:
        """Drop the records of whole months that ended before the cutoff; return how many batches.

        Only what is in sealed files and, with ``mirrored``, confirmed by the broker.
        """
        pruned = self._ledger.mark("pruned")
        last, months = self._ledger.prunable(f"{cutoff:%Y%m}", mirrored=mirrored)
        if last > pruned:
            paths = [self._dataset.jsonl_path(name, m) for name in DATASETS for m in months]
            files = self._ledger.files()
            kept = {}
            for path in paths:
                if path not in files:
                    continue
                if (digest := self._dataset.digest(path, files[path].bytes)) is None:
                    log.warning("nothing is pruned: %s is missing; `rlvr rebuild` writes it", path)
                    return 0
                kept[path] = digest
            self._write(Ledger.prune, last, kept)
        while self._write(Ledger.sweep, STEP):
            pass
        return max(last - pruned, 0)

    def _plan_due(self, *, rest: bool) -> None:
        for name in DATASETS:
            if self._pending[name] >= self._settings.seal_rows or (rest and self._pending[name]):
                self._plan(name, rest=rest)

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
            if count and (rest or covered[-1] != unplanned[-1][0]):
                parts.append(self._part(name, month, covered, count))
                count = 0
            self._pending[name] = count
        for part in parts:
            self._write(Ledger.plan_part, part)

    def _part(self, name: str, month: str, covered: Sequence[int], count: int) -> Part:
        return Part(
            path=self._dataset.part_path(name, month, covered[0], covered[-1]),
            dataset=name,
            first_seq=covered[0],
            last_seq=covered[-1],
            rows=count,
        )

    def _write_planned(self) -> None:
        for part in self._ledger.parts(unsealed=True):
            if self._can_write(part):
                new = list(rows_between(self._ledger, part))
                digest = self._dataset.write_part(part.dataset, part.path, new)
                self._write(Ledger.seal_part, part.path, digest)

    def _can_write(self, part: Part) -> bool:
        return part.last_seq > self._ledger.mark("pruned")


def rows_between(ledger: Reader, part: Part) -> Iterator[rows.Row]:
    """The rows that a part holds, from the ledger."""
    seq = part.first_seq - 1
    while seq < part.last_seq:
        states = ledger.decided(seq, min(STEP, part.last_seq - seq))
        if not states.more:
            return
        for _, state in states:
            yield from rows_of(state)[part.dataset]
        seq = states.last


def rows_of(state: BatchState) -> dict[str, Sequence[rows.Row]]:
    """A decided batch's rows, by dataset."""
    assert state.outcome is not None, "only decided batches have rows"
    return rows.of_batch(state.batch, state.results, state.outcome)


def month_of(state: BatchState) -> str:
    """The month whose files hold a decided batch, YYYYMM."""
    assert state.outcome is not None, "only decided batches have a month"
    return state.outcome.month
