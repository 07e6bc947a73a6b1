"""The power goes: what was acknowledged is on the disk, not only in the kernel's memory.

SIGKILL cannot show that. The children write to a disk that forgets what was not synced.
"""

import json
import random
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from rlvr_ray.dataset.ledger import Ledger, Reader
from rlvr_ray.dataset.rows import DATASETS
from tests.faults.disk import Listing, interpose
from tests.faults.harness import (
    Child,
    Clean,
    Died,
    Figures,
    Findings,
    Load,
    examine,
    lost,
    sound,
)
from tests.faults.power import Survives, forget, lose_power
from tests.faults.test_failpoints import BATCHES, steps, task_of
from tests.faults.worker import Call, Finish, Started, Task

#: Losses on one folder; then it is closed in order, looked at, and a new one begins.
LIFE = 10
#: Beyond any operation of these runs.
NEVER = 10**9


@pytest.mark.timeout(1800)
def test_power_loss_at_random_operations(
    tmp_path: Path, rounds: int, clean: Clean, figures: Figures
) -> None:
    chance = random.Random("power")
    totals: Counter[str] = Counter()
    for life, first in enumerate(range(0, rounds, LIFE)):
        folder, load = tmp_path / f"life-{life}", Load()
        for number in range(first, min(first + LIFE, rounds)):
            _lose(folder, load, number, chance)
        with Child.started(Task(folder=folder)) as child:
            assert load.run(child, upto=load.asked + 3)
            child.finish()
        totals += sound(folder, load.acknowledged, clean).counts()
        totals["acknowledged"] += len(load.acknowledged)
    figures.total("loss of power", rounds, totals)


def _lose(folder: Path, load: Load, seed: int, chance: random.Random) -> None:
    """Some work, in which the power goes at an operation, or at the end of an orderly close."""
    before = set(load.acknowledged)
    at = round(2 ** chance.triangular(0, 11, 9))  # at the start, at work, at the end
    survives: Survives = chance.choice(("nothing", "zeros", "something", "something"))
    task = Task(folder=folder, faults=partial(forget, folder, seed, at, survives))
    with Child(task) as child:
        with pytest.raises(Died):
            child.expect(Started)
            load.run(child, upto=load.asked + chance.randrange(1, 80))
            child.tell(Finish())
            load.drain(child)
            raise Died
        load.drain(child)
        assert child.was_killed(), "it died of something else"
    # A reader recovers the log as the next child would; that one shall do it too at times.
    if load.acknowledged and chance.random() < 0.5:
        reader = Reader(folder)
        missing = list(lost(reader, load.acknowledged - before))
        reader.close()
        assert not missing, f"after the loss at operation {at} ({survives}): {missing}"


class TestTheHarnessNotices:
    """What a missing fsync would do is seen, so that seeing nothing means something."""

    def test_batches_that_were_not_synced(self, tmp_path: Path, clean: Clean) -> None:
        found = after_a_loss(tmp_path, clean, partial(_without_syncs, tmp_path / "data"))
        assert [line.split()[1] for line in found.lost if "ledger" in line] == list("012345")

    def test_jsonl_that_was_not_synced(self, tmp_path: Path, clean: Clean) -> None:
        found = after_a_loss(tmp_path, clean, _forgetting(tmp_path, "zeros", ".jsonl"))
        assert not found.lost
        assert any(line.endswith("jsonl: differs from the ledger") for line in found.others)
        assert any(".jsonl" in line for line in found.differing)

    def test_a_part_that_was_not_synced_before_it_was_renamed(
        self, tmp_path: Path, clean: Clean
    ) -> None:
        found = after_a_loss(tmp_path, clean, _forgetting(tmp_path, "zeros", ".parquet.tmp"))
        assert not found.lost
        assert any(line.endswith("changed since it was sealed") for line in found.others)

    @pytest.mark.parametrize("deaf", [True, False])
    def test_a_part_whose_folder_was_not_synced(
        self, tmp_path: Path, clean: Clean, deaf: bool
    ) -> None:
        """It is gone, and the next start writes it again."""
        for name in DATASETS:  # folders that are new may go as a whole
            (tmp_path / "data" / name / "parquet").mkdir(parents=True)
        faults = _forgetting(tmp_path, "something", "parquet" if deaf else "no such file")
        missing: list[str] = []

        def look(folder: Path) -> None:
            reader = Reader(folder)
            sealed = [part.path for part in reader.parts() if part.sha256]
            reader.close()
            missing.extend(path for path in sealed if not (folder / path).exists())

        found = after_a_loss(tmp_path, clean, faults, look)
        assert bool(missing) is deaf
        assert found.lines() == []

    @pytest.mark.parametrize("survives", ["nothing", "zeros", "something"])
    def test_nothing_where_all_is_synced(
        self, tmp_path: Path, clean: Clean, survives: Survives
    ) -> None:
        found = after_a_loss(tmp_path, clean, _forgetting(tmp_path, survives, "no such file"))
        assert found.lines() == []


def after_a_loss(
    tmp_path: Path,
    clean: Clean,
    faults: Callable[[], Callable[[], object] | None],
    look: Callable[[Path], None] = lambda _: None,
) -> Findings:
    """What is wrong after the power went while nothing was done, and a start without faults."""
    folder, load = tmp_path / "data", Load()
    with Child.started(Task(folder=folder, faults=faults, seal_rows=5)) as child:
        assert load.run(child, upto=6)
        child.rest()
        child.tell(Call(lose_power))
        load.drain(child)
    look(folder)
    with Child.started(Task(folder=folder, seal_rows=5)) as child:
        child.finish()
    return examine(folder, load.acknowledged, clean)


def _forgetting(
    tmp_path: Path, survives: Survives, deaf: str
) -> Callable[[], Callable[[], object]]:
    return partial(forget, tmp_path / "data", deaf, NEVER, survives, (deaf,))


def _without_syncs(folder: Path) -> Callable[[], object]:
    """SQLite's own are left out: the setting that a careless hand would choose."""
    open_ledger = Ledger._open

    def opened(self: Ledger) -> Any:
        db = open_ledger(self)
        db.pragma("synchronous", "off")
        return db

    Ledger._open = opened  # type: ignore[method-assign]
    return forget(folder, "off", NEVER, "nothing")


# The order of things, without chance.

MARKS = ("advance", "seal_part", "plan_part")


@pytest.fixture
def operations(tmp_path: Path) -> list[tuple[str, ...]]:
    """What a run did, in order: (kind, file), and the ledger's ``MARKS``."""
    folder, log = tmp_path / "data", tmp_path / "operations"
    with Child(task_of(folder, partial(_list_with_marks, folder, log))) as child:
        assert steps(child) == set(range(BATCHES))
    found = [json.loads(line) for line in log.read_text().splitlines()]
    return [tuple(line[:2]) for line in found]


def _list_with_marks(folder: Path, log: Path) -> None:
    listing = Listing(log)
    interpose(folder, listing)
    for mark in MARKS:
        _note(listing, mark, getattr(Ledger, mark))
    commit = Ledger.commit

    def committing(self: Ledger, operations: Any) -> list[Any]:
        done = commit(self, operations)
        listing.note("committed", "ledger")
        return done

    Ledger.commit = committing  # type: ignore[method-assign]


def _note(listing: Listing, mark: str, method: Callable[..., None]) -> None:
    def noting(self: Ledger, *arguments: Any) -> None:
        note = ""
        if mark == "advance":
            _, sizes = arguments
            there = {path: (self._folder / path).stat().st_size for path in sizes}
            note = "as noted" if there == sizes else f"{there}, not {sizes}"
        listing.note(mark, note)
        method(self, *arguments)

    setattr(Ledger, mark, noting)


Operations = list[tuple[str, ...]]


def last_before(operations: Operations, end: int, file: str) -> str:
    """The last thing done to a file's content before another operation."""
    return next(
        kind
        for kind, name in reversed(operations[:end])
        if name == file and kind in ("create", "write", "truncate", "sync")
    )


def test_jsonl_is_synced_before_the_ledger_knows(operations: Operations) -> None:
    advances = [n for n, (kind, _) in enumerate(operations) if kind == "advance"]
    assert [operations[n][1] for n in advances] == ["as noted"] * BATCHES
    files = {file for _, file in operations if file.endswith(".jsonl")}
    assert len(files) == 2
    for end in advances:
        for file in files & {name for _, name in operations[:end]}:
            assert last_before(operations, end, file) == "sync", f"{file}: {operations[:end]}"
            made = operations.index(("create", file))
            assert ("sync", str(Path(file).parent)) in operations[made:end]


def test_parts_are_synced_before_and_after_they_get_their_names(operations: Operations) -> None:
    renames = [n for n, (kind, _) in enumerate(operations) if kind == "rename"]
    assert len(renames) == 3
    turns = [kind for kind, _ in operations if kind in ("rename", "seal_part")]
    assert turns == ["rename", "seal_part"] * 3
    for at in renames:
        temporary = operations[at][1]
        assert last_before(operations, at, temporary) == "sync", f"{temporary}: {operations[:at]}"
        sealed = next(n for n in range(at, len(operations)) if operations[n][0] == "seal_part")
        assert ("sync", str(Path(temporary).parent)) in operations[at:sealed]
        planned = [n for n in range(at) if operations[n][0] == "plan_part"]
        assert planned and ("committed", "ledger") in operations[planned[-1] : at]


def test_the_log_is_synced_before_a_commit_returns(operations: Operations) -> None:
    commits = [n for n, (kind, _) in enumerate(operations) if kind == "committed"]
    assert len(commits) > 2 * BATCHES
    for end in commits:
        assert last_before(operations, end, "ledger.db-wal") == "sync"
