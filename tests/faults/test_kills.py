"""SIGKILL at random times, over and over: nothing acknowledged is lost, nothing is doubled."""

import random
import time
from collections import Counter
from pathlib import Path

import pytest

from rlvr_ray.dataset.ledger import Reader
from tests.faults.harness import Child, Clean, Died, Figures, Load, lost, sound
from tests.faults.worker import Finish, Started, Task

#: Kills on one folder; then it is closed in order, looked at, and a new one begins.
LIFE = 20


@pytest.mark.timeout(1800)
def test_kill_9_at_random_times(
    tmp_path: Path, rounds: int, clean: Clean, figures: Figures
) -> None:
    chance = random.Random("kills")
    totals: Counter[str] = Counter()
    for life, first in enumerate(range(0, rounds, LIFE)):
        task = Task(folder=tmp_path / f"life-{life}")
        load = Load()
        kills = min(LIFE, rounds - first)
        for _ in range(3 * kills):  # now and then one has closed before it is killed
            kills -= _round(task, load, chance)
            if not kills:
                break
        assert not kills, f"{kills} children of life {life} were not killed in time"
        with Child.started(task) as child:
            assert load.run(child, upto=load.asked + 3)
            child.finish()
        assert load.acknowledged == set(range(load.asked))
        totals += sound(task.folder, load.acknowledged, clean).counts()
        totals["acknowledged"] += len(load.acknowledged)
    figures.total("kill -9 at random times", rounds, totals)


def _round(task: Task, load: Load, chance: random.Random) -> bool:
    """Kill a child while it does something; whether it was still alive."""
    before = set(load.acknowledged)
    doing = chance.choices((_starting, _working, _answering, _closing), (2, 4, 3, 1))[0]
    with Child(task) as child:
        try:
            doing(child, load, chance)
        except Died:
            raise AssertionError(f"a child died of its own while {doing.__name__}") from None
        child.kill()
        load.drain(child)
        killed = child.was_killed()
    # A reader recovers the log as the next child would; that one shall do it too at times.
    if load.acknowledged and chance.random() < 0.5:
        reader = Reader(task.folder)
        missing = list(lost(reader, load.acknowledged - before))
        reader.close()
        assert not missing, f"after a kill while {doing.__name__}: {missing}"
    return killed


def _starting(child: Child, load: Load, chance: random.Random) -> None:
    """In the first moments: the schema, the log's recovery, the mending of files."""
    time.sleep(chance.uniform(0, 0.03))


def _working(child: Child, load: Load, chance: random.Random) -> None:
    """At a random time under load."""
    child.expect(Started)
    load.run(child, upto=load.asked + 500, until=time.monotonic() + chance.uniform(0, 0.4))


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
    time.sleep(chance.uniform(0, 0.02))
