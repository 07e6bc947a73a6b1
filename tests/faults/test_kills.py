"""SIGKILL at random times, over and over: nothing acknowledged is lost, nothing is doubled."""

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rlvr_ray.adapters.ledger import Reader
from tests.faults.harness import Child, Clean, Died, Figures, Load, lost, sound
from tests.faults.worker import Finish, Started, Task

#: Rounds on one folder; then it is closed in order, looked at, and a new one begins.
LIFE = 20


def test_kill_9_at_random_times(
    tmp_path: Path, rounds: int, clean: Clean, figures: Figures
) -> None:
    chance = random.Random("kills")
    acknowledged = doubled = gone = differing = killed = 0
    for life, first in enumerate(range(0, rounds, LIFE)):
        task = Task(folder=tmp_path / f"life-{life}")
        load = Load()
        for _ in range(first, min(first + LIFE, rounds)):
            killed += _round(task, load, chance)
        with Child.started(task) as child:
            assert load.run(child, upto=load.asked + 3)
            child.finish()
        assert load.acknowledged == set(range(load.asked))
        found = sound(task.folder, load.acknowledged, clean)
        acknowledged += len(load.acknowledged)
        gone += len(found.lost)
        doubled += len(found.doubled)
        differing += len(found.differing)
    figures.add(
        "kill -9 at random times",
        rounds=rounds,
        acknowledged=acknowledged,
        lost=gone,
        doubled=doubled,
        **{"differing files": differing},
    )
    assert killed >= rounds * 0.9, f"only {killed} of {rounds} children were killed in time"


test_kill_9_at_random_times = pytest.mark.timeout(1800)(test_kill_9_at_random_times)


def _round(task: Task, load: Load, chance: random.Random) -> bool:
    """A child, killed while it does something; whether it was still alive."""
    before = set(load.acknowledged)
    doing = chance.choices((_starting, _working, _answering, _closing), (2, 4, 3, 1))[0]
    with Child(task) as child:
        try:
            doing(child, load, chance)
        except Died:
            raise AssertionError("a child died of its own") from None
        child.kill()
        load.drain(child)
        alive = child.was_killed()
    if load.acknowledged:
        reader = Reader(task.folder)
        missing = list(lost(reader, load.acknowledged - before))
        reader.close()
        assert not missing, f"after a kill while {doing.__name__}: {missing}"
    return alive


def _starting(child: Child, load: Load, chance: random.Random) -> None:
    """Somewhere in the first moments: the schema, the log's recovery, the mending of files."""
    time.sleep(chance.uniform(0.005, 0.06))


def _working(child: Child, load: Load, chance: random.Random) -> None:
    """At a random time under load."""
    child.expect(Started)
    load.run(child, upto=load.asked + 500, until=time.monotonic() + chance.uniform(0.0, 0.4))


def _answering(child: Child, load: Load, chance: random.Random) -> None:
    """Just after an acknowledgement, while others are in flight."""
    child.expect(Started)
    upto = load.asked + chance.randrange(1, 40)
    load.run(child, upto=upto)
    load.run(child, upto=upto + 10, until=time.monotonic() + chance.uniform(0, 0.005))


def _closing(child: Child, load: Load, chance: random.Random) -> None:
    """In the orderly end: the last rows, the last parts."""
    child.expect(Started)
    load.run(child, upto=load.asked + chance.randrange(1, 20))
    child.tell(Finish())
    time.sleep(chance.uniform(0, 0.08))


Doing = Callable[[Child, Load, random.Random], None]
