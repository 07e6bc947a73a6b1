"""SIGKILL before, halfway through and after every single operation on the disk."""

import contextlib
import json
import shutil
from functools import partial
from pathlib import Path

import pytest

from rlvr_ray.core.errors import RlvrError
from tests.faults.disk import Mode, Point, kill_at, list_operations
from tests.faults.harness import Child, Clean, Died, Figures, Load, sound
from tests.faults.worker import Acknowledged, Record, Started, Task

#: With five rows a part, they make parts while others are recorded, and one at the end.
BATCHES = 4
SEAL_ROWS = 5
#: The log is written back twice or so.
CHECKPOINT_PAGES = 60
#: Cases that stand for all of a start in a short run.
SAMPLE = 20

Case = tuple[Point, Mode]


def steps(child: Child) -> set[int]:
    """One batch after another, each to its end, so that every run does the same in the same order.

    Returns what was acknowledged; a death ends it.
    """
    acknowledged: set[int] = set()
    with contextlib.suppress(Died):
        child.expect(Started)
        for number in range(BATCHES):
            child.tell(Record((number,)))
            child.expect(Acknowledged)
            acknowledged.add(number)
            child.rest()
        child.finish()
    return acknowledged


def task_of(folder: Path, faults: "partial[None] | None" = None) -> Task:
    return Task(
        folder=folder,
        faults=faults,
        seal_rows=SEAL_ROWS,
        seal_seconds=3600,
        checkpoint_pages=CHECKPOINT_PAGES,
    )


def nothing(folder: Path) -> None:
    """The first start of all: the folder, the schema, the first files."""


def wreck(folder: Path) -> None:
    """What a crash left: half a record behind a file's end, a part that is gone, another's rest."""
    at = Point("write", "training_data/training_data_YYYYMM.jsonl", 3)
    with Child(task_of(folder, partial(kill_at, folder, at, "torn"))) as child:
        assert steps(child) == {0, 1, 2}
        assert child.was_killed()
    (part,) = folder.glob("training_data/parquet/*.parquet")
    part.rename(f"{part}.tmp")


STARTS = {"from nothing": nothing, "from a wreck": wreck}


def cases(folder: Path, log: Path) -> list[Case]:
    """Every case of a run to its end."""
    with Child(task_of(folder, partial(list_operations, folder, log))) as child:
        assert steps(child) == set(range(BATCHES))
    found: list[Case] = []
    for line in log.read_text().splitlines():
        kind, file, nth, halves = json.loads(line)
        point = Point(kind, file, nth)
        modes: tuple[Mode, ...] = ("before", "torn", "after") if halves else ("before", "after")
        found += [(point, mode) for mode in modes]
    return found


@pytest.mark.sampled(3)
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("start", STARTS)
def test_kill_9_at_every_operation(
    tmp_path: Path, start: str, thorough: bool, clean: Clean, figures: Figures
) -> None:
    STARTS[start](tmp_path / "start")
    if not (tmp_path / "start").is_dir():
        (tmp_path / "start").mkdir()
    shutil.copytree(tmp_path / "start", tmp_path / "count")
    every = cases(tmp_path / "count", tmp_path / "operations")
    step = 1 if thorough else len(every) / SAMPLE
    tried = [every[int(n * step)] for n in range(int(len(every) / step))]
    problems = []
    for case in tried:
        folder = tmp_path / "case"
        shutil.copytree(tmp_path / "start", folder)
        try:
            _try(folder, case, clean)
        except (AssertionError, RlvrError) as error:
            problems.append(f"killed {case}: {error}")
        shutil.rmtree(folder)
    figures.add(
        f"kill -9 at an operation, {start}",
        rounds=f"{len(tried)} of {len(every)}",
        acknowledged=len(tried) * BATCHES,
        lost=sum("\nlost: " in problem for problem in problems),
        doubled=sum("\ndoubled: " in problem for problem in problems),
        **{"differing files": sum("\ndiffering: " in problem for problem in problems)},
    )
    assert not problems, "\n\n".join([f"{len(problems)} of {len(tried)} cases:", *problems[:5]])


def _try(folder: Path, case: Case, clean: Clean) -> None:
    with Child(task_of(folder, partial(kill_at, folder, *case))) as child:
        acknowledged = steps(child)
        assert child.was_killed(), "the run never came there"
    load = Load(acknowledged=acknowledged)
    with Child.started(task_of(folder)) as child:
        assert load.run(child, upto=BATCHES)
        child.finish()
    sound(folder, load.acknowledged, clean)
