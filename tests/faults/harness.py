"""The parent's side: children that may die, and what must be true afterwards."""

import contextlib
import json
import multiprocessing
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rlvr_ray.core import ids
from rlvr_ray.core.errors import RlvrError
from rlvr_ray.dataset.audit import audit
from rlvr_ray.dataset.files import Dataset
from rlvr_ray.dataset.ledger import Reader
from rlvr_ray.dataset.rows import DATASETS, Row
from rlvr_ray.events import outbox
from tests.faults import worker
from tests.faults.worker import (
    Acknowledged,
    AtRest,
    Closed,
    Failed,
    Finish,
    Record,
    Refused,
    Rest,
    Said,
    Started,
    Task,
    Told,
)
from tests.faults.workload import asked, batch_id
from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]

T = TypeVar("T")

CONTEXT = multiprocessing.get_context("forkserver")


def _start_server() -> None:
    """Imports take a second, and a fork of a process that has made them takes ten milliseconds."""
    CONTEXT.set_forkserver_preload(["pytest", "tests.faults.harness"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
        CONTEXT.Process(target=int).start()


class Died(Exception):
    """A child ended where it should have spoken."""


class Child:
    """A process with an aggregator; as a context, it is gone at the end."""

    _server_runs = False

    def __init__(self, task: Task) -> None:
        if not Child._server_runs:
            _start_server()
            Child._server_runs = True
        self._task = task
        self._pipe: Connection[Told, Said]
        self._pipe, theirs = CONTEXT.Pipe()
        self.process = CONTEXT.Process(target=worker.main, args=(theirs, task), daemon=True)
        self.process.start()
        theirs.close()

    @classmethod
    def started(cls, task: Task) -> Self:
        """A child whose aggregator runs."""
        child = cls(task)
        child.expect(Started)
        return child

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._pipe.close()

    def tell(self, told: Told) -> None:
        """Send something; whoever is dead does not hear it."""
        with contextlib.suppress(OSError):
            self._pipe.send(told)

    def hear(self, until: float | None = None) -> Said | None:
        """The child's next word; None where there is none by then.

        Raises Died once it is dead and has said all it had to say, AssertionError where it hangs.
        """
        wait = PATIENCE_S if until is None else max(until - time.monotonic(), 0)
        if not self._pipe.poll(wait):
            assert until is not None, self._describe(f"has said nothing for {PATIENCE_S:g} s")
            return None
        try:
            return self._pipe.recv()
        except (EOFError, OSError):
            raise Died(self._describe("died")) from None

    def expect(self, kind: type[T]) -> T:
        """The child's next word, which must be of that kind."""
        said = self.hear()
        assert isinstance(said, kind), self._describe(f"said {said}, not {kind.__name__}")
        return said

    def rest(self) -> None:
        """Return once nothing is left to do."""
        self.tell(Rest())
        self.expect(AtRest)

    def finish(self) -> None:
        """Have everything done, and the child closed in order."""
        self.tell(Finish())
        self.expect(Closed)
        self.process.join(PATIENCE_S)
        assert self.process.exitcode == 0, self._describe("closed")

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        self.signal(signal.SIGKILL)
        self.process.join(PATIENCE_S)
        assert not self.process.is_alive(), self._describe("survived SIGKILL")

    def was_killed(self) -> bool:
        """Whether a signal ended it, not an error of its own."""
        self.process.join(PATIENCE_S)
        return self.process.exitcode == -signal.SIGKILL

    def signal(self, number: int) -> None:
        if self.process.is_alive():
            assert self.process.pid is not None
            with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
                os.kill(self.process.pid, number)

    def _describe(self, what: str) -> str:
        log = self._task.log
        said = "\n".join(log.read_text().splitlines()[-30:]) if log.is_file() else ""
        state = f"the child on {self._task.folder} {what}; exit code {self.process.exitcode}"
        return f"{state}; its log ends with:\n{said}"


@dataclass
class Load:
    """Batches asked for in order, some at a time, and asked for again until acknowledged."""

    window: int = 6  #: calls in flight
    waiting: list[tuple[int, ...]] = field(default_factory=list)  #: in flight when the child died
    acknowledged: set[int] = field(default_factory=set)
    refused: list[RlvrError] = field(default_factory=list)
    asked: int = 0
    heard: Callable[[], object] = int  #: called after each answer

    def run(
        self, child: Child, *, upto: int, until: float | None = None, refusals: int | None = None
    ) -> bool:
        """Ask until every batch below ``upto`` is acknowledged; whether all are.

        Some are not where the time comes, or so many calls are refused, before. Calls ask for one
        to three batches. Whoever got no answer, or was refused, asks again.
        """
        again, self.waiting = self.waiting, []
        full = False
        try:
            while self.waiting or (not full and (again or self.asked < upto)):
                while not full and len(self.waiting) < self.window and (again or self.asked < upto):
                    numbers = again.pop(0) if again else self._next(upto)
                    self.waiting.append(numbers)
                    child.tell(Record(numbers))
                said = child.hear(until)
                if said is None:
                    return False
                self.note(said)
                if isinstance(said, Refused):
                    again.append(said.numbers)
                    full = refusals is not None and len(self.refused) >= refusals
            return not again and self.asked >= upto
        finally:
            self.waiting += again

    def drain(self, child: Child) -> None:
        """Hear what a dead child said before it died."""
        with contextlib.suppress(Died):
            while True:
                said = child.hear()
                assert said is not None
                self.note(said)

    def note(self, said: Said) -> None:
        """Take a child's word into account."""
        match said:
            case Acknowledged(numbers):
                self._answered(numbers)
                self.acknowledged.update(numbers)
            case Refused(numbers, error):
                self._answered(numbers)
                self.refused.append(error)
            case Failed():
                raise AssertionError(f"the child failed:\n{said.trace}")
            case _:
                pass
        self.heard()

    def _answered(self, numbers: tuple[int, ...]) -> None:
        if numbers in self.waiting:  # it may have been asked twice
            self.waiting.remove(numbers)

    def _next(self, upto: int) -> tuple[int, ...]:
        first = self.asked
        self.asked = min(first + 1 + first % 3, upto)
        return tuple(range(first, self.asked))


# What must be true.


class Clean:
    """The rows of a run in which nothing went wrong, by dataset and id, without their times."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._runs = 0
        self._numbers = 0
        self._rows: dict[str, dict[str, Row]] = {name: {} for name in DATASETS}

    def rows(self, dataset: str, numbers: Collection[int]) -> dict[str, Row]:
        """Those of some batches."""
        self._reach(max(numbers, default=-1) + 1)
        wanted = {str(batch_id(number)) for number in numbers}
        return {
            key: row
            for key, row in self._rows[dataset].items()
            if row["metadata"]["batch_id"] in wanted
        }

    def _reach(self, upto: int) -> None:
        if upto <= self._numbers:
            return
        self._runs += 1
        task = Task(folder=self._folder / f"run-{self._runs}", seal_rows=1000)
        with Child.started(task) as child:
            assert Load(asked=self._numbers).run(child, upto=upto)
            child.finish()
        self._numbers = upto
        for name in DATASETS:
            self._rows[name] |= {row_id(row): timeless(row) for row in jsonl(task.folder, name)}


@dataclass
class Findings:
    """What is wrong with a folder; empty where nothing is."""

    lost: list[str] = field(default_factory=list)  #: acknowledged, and not there
    doubled: list[str] = field(default_factory=list)  #: there more than once
    differing: list[str] = field(default_factory=list)  #: files whose rows are not the clean run's
    others: list[str] = field(default_factory=list)

    def counts(self) -> Counter[str]:
        """Columns for the table."""
        found = {"lost": self.lost, "doubled": self.doubled, "differing files": self.differing}
        return Counter({name: len(some) for name, some in found.items()})

    def lines(self) -> list[str]:
        """One for each."""
        return [
            f"{name}: {line}"
            for name, found in vars(self).items()
            for line in (*found[:10], *([f"and {len(found) - 10} more"] if found[10:] else ()))
        ]


def sound(folder: Path, acknowledged: Collection[int], clean: Clean) -> Findings:
    """What is found after an orderly close; fails where that is anything."""
    found = examine(folder, acknowledged, clean)
    assert not found.lines(), "\n".join([f"{folder} is not sound:", *found.lines()])
    return found


def examine(folder: Path, acknowledged: Collection[int], clean: Clean) -> Findings:
    """Look at a folder after an orderly close; all that was asked is acknowledged."""
    found = Findings()
    reader = Reader(folder)
    try:
        found.lost += lost(reader, acknowledged)
        found.others += audit(reader, Dataset(folder))
        if still_open := reader.counts()["open"]:
            found.others.append(f"{still_open} batches are not decided")
        try:
            _examine_events(reader, acknowledged, found)
        except Exception as error:  # whatever is wrong, the rest is looked at too
            found.others.append(f"the events cannot be read: {error!r}")
    finally:
        reader.close()
    for dataset in DATASETS:
        _examine_rows(folder, dataset, clean.rows(dataset, acknowledged), found)
    found.others += [f"{path} was left behind" for path in folder.rglob("*.tmp")]
    return found


def lost(reader: Reader, acknowledged: Iterable[int]) -> Iterator[str]:
    """Batches that were acknowledged and are not in the ledger, or not as they were asked for."""
    for number in sorted(acknowledged):
        state = reader.find(batch_id(number))
        if state is None:
            yield f"batch {number} was acknowledged and is not in the ledger"
        elif state.batch != asked(number):
            yield f"batch {number} is in the ledger as another one"


def _examine_events(reader: Reader, acknowledged: Collection[int], found: Findings) -> None:
    """Each fact has its event, once."""
    told: Counter[Any] = Counter()
    seq = 0
    while posted := outbox.events(reader, seq, 500):
        told.update(one.event.event_id for one in posted)
        seq = posted[-1].seq
    due = {
        event
        for number in acknowledged
        for event in (
            ids.outcome_event(batch_id(number)),
            *(
                of(batch_id(number), candidate.index)
                for candidate in asked(number).candidates
                for of in (ids.answer_event, ids.verification_event)
            ),
        )
    }
    found.doubled += [
        f"event {event} is told {count}×" for event, count in told.items() if count > 1
    ]
    found.lost += [f"event {event} is not told" for event in due - set(told)]
    found.others += [f"event {event} is of no batch that was asked" for event in set(told) - due]


def _examine_rows(folder: Path, dataset: str, wanted: dict[str, Row], found: Findings) -> None:
    try:
        kinds = {"JSONL": jsonl(folder, dataset), "Parquet": parquet(folder, dataset)}
    except (AssertionError, pa.ArrowException) as error:
        found.differing.append(str(error))
        return
    for kind, rows in kinds.items():
        where = f"{dataset} {kind}"
        counts = Counter(map(row_id, rows))
        found.doubled += [f"{where}: {row} stands {n}×" for row, n in counts.items() if n > 1]
        there = {row_id(row): timeless(row) for row in rows}
        missing, strange = set(wanted) - set(there), set(there) - set(wanted)
        changed = {row for row in set(wanted) & set(there) if wanted[row] != there[row]}
        for what, rows_of_it in (("missing", missing), ("strange", strange), ("other", changed)):
            if rows_of_it:
                found.differing.append(f"{where}: {len(rows_of_it)} {what}: {min(rows_of_it)}, …")
    if sorted(kinds["JSONL"], key=row_id) != sorted(kinds["Parquet"], key=row_id):
        found.differing.append(f"{dataset}: JSONL and Parquet do not hold the same")


def row_id(row: Row) -> str:
    """A row's own: its answer's event, or its batch where it is a pair."""
    metadata = row["metadata"]
    return str(metadata.get("event_id") or metadata["batch_id"])


def timeless(row: Row) -> Row:
    """The row without the moment of its decision, which no two runs share."""
    metadata = {key: value for key, value in row["metadata"].items() if key != "created_at"}
    return {**row, "metadata": metadata}


def jsonl(folder: Path, dataset: str) -> list[Row]:
    """All rows of a dataset's JSONL files; fails where one ends in half a line."""
    rows: list[Row] = []
    for path in sorted(folder.glob(f"{dataset}/*.jsonl")):
        found, rest = parsed(path.read_bytes(), path)
        assert not rest, f"{path} ends with half a line: {rest[-60:]!r}"
        rows += found
    return rows


def parsed(data: bytes, path: Path) -> tuple[list[Row], bytes]:
    """The rows of a JSONL file and what is not yet a line; fails where a line does not parse."""
    *lines, rest = data.split(b"\n")
    rows = []
    for line in lines:
        try:
            rows.append(json.loads(line))
        except ValueError:
            raise AssertionError(f"{path} has a line that does not parse: {line[:60]!r}") from None
    return rows, rest


def parquet(folder: Path, dataset: str) -> list[Row]:
    """All rows of a dataset's Parquet parts."""
    return [
        row
        for path in sorted(folder.glob(f"{dataset}/parquet/*.parquet"))
        for row in pq.read_table(path).to_pylist()
    ]


class Figures:
    """What the fault tests counted, for the table at the end of the run."""

    def __init__(self) -> None:
        self.rows: list[dict[str, object]] = []

    def add(self, fault: str, **columns: object) -> None:
        """A line of the table; columns that others have too stand below each other."""
        self.rows.append({"fault": fault, **columns})

    def total(self, fault: str, rounds: object, totals: Counter[str]) -> None:
        """A line of what was acknowledged and what ``Findings`` counted."""
        names = ("acknowledged", "lost", "doubled", "differing files")
        self.add(fault, rounds=rounds, **{name: totals[name] for name in names})

    def table(self) -> list[str]:
        """The lines to print."""
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        cells: list[Sequence[str]] = [
            names,
            *([str(row.get(name, "")) for name in names] for row in self.rows),
        ]
        widths = [max(len(row[n]) for row in cells) for n in range(len(names))]
        return [
            " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in cells
        ]
