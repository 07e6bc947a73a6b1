"""Two aggregators on one folder, as in an upgrade gone wrong: only one ever writes."""

import signal
import time
from pathlib import Path

import pytest

from rlvr_ray.core.errors import LedgerError
from rlvr_ray.dataset.files import Dataset
from rlvr_ray.dataset.ledger import Ledger
from rlvr_ray.pipeline.aggregator import Aggregator
from rlvr_ray.settings import Settings
from tests.faults.harness import Child, Clean, Figures, Load, sound
from tests.faults.worker import Failed, Task
from tests.faults.workload import asked, verifier

#: Seconds within which the next one has the folder, a process's start included.
AT_ONCE = 2.0


@pytest.fixture
def task(tmp_path: Path) -> Task:
    return Task(folder=tmp_path / "data")


def refused(task: Task) -> bool:
    """Whether another process is told that the folder is taken."""
    with Child(task) as child:
        said = child.hear()
    return isinstance(said, Failed) and said.kind == "LedgerError" and "is in use" in said.trace


async def test_in_one_process(task: Task) -> None:
    settings = Settings(data_dir=task.folder)

    def another() -> Aggregator:
        return Aggregator(Ledger(task.folder), Dataset(task.folder), verifier(), settings)

    first = another()
    await first.start()
    with pytest.raises(LedgerError, match="is in use by another rlvr_ray"):
        another()
    assert await first.record([asked(0)]) == [asked(0)], "the first goes on"
    await first.close()
    second = another()
    await second.start()
    assert await second.record([asked(0)]) == [asked(0)]
    await second.close()


def test_in_two_processes(task: Task, clean: Clean) -> None:
    load = Load()
    with Child.started(task) as first:
        assert load.run(first, upto=10)
        assert refused(task)
        with pytest.raises(LedgerError, match="is in use"):
            Ledger(task.folder)
        assert load.run(first, upto=20), "the first goes on"
        first.finish()
    with Child.started(task) as second:
        assert load.run(second, upto=30)
        second.finish()
    sound(task.folder, load.acknowledged, clean)


@pytest.mark.timeout(600)
def test_the_next_one_has_the_folder_as_soon_as_the_first_is_killed(
    task: Task, rounds: int, clean: Clean, figures: Figures
) -> None:
    load = Load()
    slowest = 0.0
    first = Child.started(task)
    for _ in range(rounds):
        with first:
            load.run(first, upto=load.asked + 20)
            load.run(first, upto=load.asked + 1, until=time.monotonic())
            assert refused(task)
            first.kill()
            load.drain(first)
        started = time.monotonic()
        first = Child.started(task)
        slowest = max(slowest, time.monotonic() - started)
    with first:
        assert load.run(first, upto=load.asked)
        first.finish()
    totals = sound(task.folder, load.acknowledged, clean).counts()
    totals["acknowledged"] = len(load.acknowledged)
    figures.total("two writers, one killed", rounds, totals)
    assert slowest < AT_ONCE, f"it took {slowest:.1f} s"


def test_one_that_is_stopped_still_has_the_folder(task: Task, clean: Clean) -> None:
    """Whoever sleeps may wake up and write: it must be gone before another begins."""
    load = Load()
    with Child.started(task) as first:
        assert load.run(first, upto=10)
        first.signal(signal.SIGSTOP)
        assert refused(task)
        load.run(first, upto=20, until=time.monotonic() + 0.1)
        assert load.acknowledged == set(range(10)), "it sleeps"
        first.signal(signal.SIGCONT)
        assert load.run(first, upto=20)
        assert refused(task)
        first.signal(signal.SIGSTOP)
        first.kill()
    with Child.started(task) as second:
        assert load.run(second, upto=30)
        second.finish()
    sound(task.folder, load.acknowledged, clean)
