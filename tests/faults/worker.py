"""A child process with a real aggregator, told over a pipe what to do. It may die at any moment."""

import asyncio
import logging
import traceback
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from rlvr_ray.core import codec, concurrency
from rlvr_ray.core.errors import Overloaded, RlvrError
from rlvr_ray.core.retry import Backoff
from rlvr_ray.dataset import arrow
from rlvr_ray.dataset.files import Dataset
from rlvr_ray.dataset.ledger import Ledger, Operation, Reader
from rlvr_ray.dataset.rows import DATASETS
from rlvr_ray.pipeline import aggregator, verification_loop
from rlvr_ray.pipeline.aggregator import Aggregator
from rlvr_ray.settings import Settings
from tests.faults.workload import asked, verifier

#: Pauses that last seconds in earnest.
SHORT_PAUSE = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a child is made for.

    ``faults`` runs in it before all else; what that returns is called last of all.
    """

    folder: Path
    faults: Callable[[], Callable[[], object] | None] | None = None
    seal_rows: int = 20
    seal_seconds: float = 0.1
    min_free_mb: int = 0
    logs: Path | None = None
    checkpoint_pages: int = 100  #: of the write-ahead log; SQLite's own 1000 take long to come by

    @property
    def log(self) -> Path:
        """What the child had to say, for when a test fails."""
        return (self.logs or self.folder.parent) / f"{self.folder.name}.log"


# What it is told.


@dataclass(frozen=True, slots=True)
class Record:
    """Have these batches recorded, in one call."""

    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Rest:
    """Tell when nothing is left to do."""


@dataclass(frozen=True, slots=True)
class Finish:
    """Do what is left to do, and close in order."""


@dataclass(frozen=True, slots=True)
class Call:
    """Call a function, between two pieces of the loop's work."""

    function: Callable[[], object]


Told = Record | Rest | Finish | Call


# What it says.


@dataclass(frozen=True, slots=True)
class Started:
    """The aggregator runs."""


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """``record`` returned."""

    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """``record`` raised."""

    numbers: tuple[int, ...]
    error: RlvrError


@dataclass(frozen=True, slots=True)
class AtRest:
    """Every batch is decided, in the files, and in a part where one is due."""


@dataclass(frozen=True, slots=True)
class Closed:
    """The orderly end."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The disorderly one: what was raised."""

    kind: str
    trace: str = field(repr=False)


Said = Started | Acknowledged | Refused | AtRest | Closed | Failed


class _Ledger(Ledger):
    """A Ledger that tells when a transaction is over."""

    def __init__(self, folder: Path, checkpoint_pages: int) -> None:
        super().__init__(folder)
        self._db.wal_autocheckpoint(checkpoint_pages)
        self.changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def commit(self, operations: Sequence[Operation]) -> list[Any]:
        try:
            return super().commit(operations)
        finally:
            self._loop.call_soon_threadsafe(self.changed.set)


class _Worker:
    def __init__(self, pipe: "Connection[Said, Told]", task: Task) -> None:
        self._pipe = pipe
        self._task = task
        self._settings = Settings(
            data_dir=task.folder,
            dataset={"seal_rows": task.seal_rows, "seal_seconds": task.seal_seconds},  # type: ignore[arg-type]
            ledger={"min_free_mb": task.min_free_mb},  # type: ignore[arg-type]
            verification={"batches": 8},  # type: ignore[arg-type]
        )
        self._running: set[asyncio.Task[None]] = set()
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        folder = self._task.folder
        self._ledger = _Ledger(folder, self._task.checkpoint_pages)
        self._dataset = Dataset(folder)
        self._aggregator = Aggregator(self._ledger, self._dataset, verifier(), self._settings)
        self._reader = self._ledger.reader()
        await self._aggregator.start()
        loop = asyncio.get_running_loop()
        loop.add_reader(self._pipe.fileno(), self._hear)
        self._pipe.send(Started())
        await self._over
        loop.remove_reader(self._pipe.fileno())

    def _hear(self) -> None:
        while self._pipe.poll():
            try:
                told = self._pipe.recv()
            except EOFError:  # the parent is gone
                raise SystemExit from None
            match told:
                case Record(numbers):
                    self._start(self._record(numbers))
                case Rest():
                    self._start(self._tell_rest())
                case Finish():
                    self._start(self._finish(set(self._running)))
                case Call(function):
                    function()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) and not self._over.done():
            self._over.set_exception(error)

    async def _record(self, numbers: tuple[int, ...]) -> None:
        batches = [asked(number) for number in numbers]
        try:
            recorded = await self._aggregator.record(batches)
        except Overloaded as error:
            self._pipe.send(Refused(numbers, error))
            return
        assert recorded == batches, f"recorded as something else: {numbers}"
        self._pipe.send(Acknowledged(numbers))

    async def _tell_rest(self) -> None:
        await self._rest()
        self._pipe.send(AtRest())

    async def _rest(self) -> None:
        while not self._resting(self._reader):
            self._ledger.changed.clear()
            if not self._resting(self._reader):
                await self._ledger.changed.wait()

    def _resting(self, reader: Reader) -> bool:
        if reader.counts()["open"] or reader.decided(reader.mark("projected"), 1):
            return False
        parts = {part.path for part in reader.parts() if part.sha256}
        if reader.parts(unsealed=True) or parts - self._dataset.parts():
            return False
        waiting = (sum(n for _, _, n in reader.unplanned(name)) for name in DATASETS)
        return max(waiting) < self._task.seal_rows

    async def _finish(self, running: set["asyncio.Task[None]"]) -> None:
        if running:
            await asyncio.wait(running)
        await self._rest()
        self._reader.close()
        await self._aggregator.close()
        self._over.set_result(None)


def main(pipe: "Connection[Said, Told]", task: Task) -> None:
    """The child, from its first moment to its last."""
    logging.basicConfig(filename=task.log, level=logging.INFO, force=True)
    aggregator.NO_ROOM_PAUSE_S = SHORT_PAUSE
    verification_loop.BACKOFF = Backoff(first_s=SHORT_PAUSE, longest_s=SHORT_PAUSE)
    concurrency.RESTART_PAUSE = SHORT_PAUSE

    async def work() -> None:
        await _Worker(pipe, task).run()

    try:
        last = task.faults and task.faults()
        asyncio.run(work())
        if last:
            last()
        pipe.send(Closed())
    except Exception as error:
        pipe.send(Failed(type(error).__name__, traceback.format_exc()))
        raise


# Once for all children: pydantic makes its (de)serialisers at their first use.
codec.loads(type(asked(0)), codec.dumps(asked(0)))
arrow.table("dpo_data", [{"prompt": "?"}])
