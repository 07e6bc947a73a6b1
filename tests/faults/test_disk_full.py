"""A full disk: asks are refused or kept, never half of each, and all goes on once there is room."""

import functools
import os
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from rlvr_ray.core import errors
from rlvr_ray.dataset.files import Dataset
from rlvr_ray.dataset.ledger import Reader
from tests.faults.harness import ROOT, Child, Clean, Figures, Load, lost, parsed, sound
from tests.faults.worker import Failed, Started, Task

#: What is left once the ballast is gone.
LATER_MIB = 24
#: Refusals after which the disk is taken to be full.
REFUSALS = 20
#: More batches than fit.
MANY = 5000
#: Set in the environment of a run in a namespace of its own.
INSIDE = "TESTS_IN_A_NAMESPACE"


def mounting(test: Callable[..., None]) -> Callable[..., None]:
    """Runs a test that mounts a disk; where that is not allowed, in a namespace where it is."""

    @functools.wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        if may_mount():
            test(*arguments, **named)
            return
        name = os.environ["PYTEST_CURRENT_TEST"].removesuffix(" (call)")
        command = ["unshare", "-rm", sys.executable, "-m", "pytest", "-q", name]
        environment = {**os.environ, INSIDE: "1"}
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            pytest.fail(f"{' '.join(command)}\n{done.stdout}{done.stderr}")

    return run


@functools.cache
def may_mount() -> bool:
    """Whether this process may; fails where it may not, and no namespace helps."""
    with tempfile.TemporaryDirectory() as folder:
        mount = subprocess.run(
            ["mount", "-t", "tmpfs", "tmpfs", folder], capture_output=True, text=True, check=False
        )
        if mount.returncode == 0:
            subprocess.run(["umount", folder], check=True)
            return True
    unshare = subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False)
    if INSIDE in os.environ or unshare.returncode:
        pytest.fail(
            "this test mounts a small tmpfs: run it with CAP_SYS_ADMIN, or where `unshare -rm` "
            f"is allowed: {mount.stderr}"
        )
    return False


class SmallDisk:
    """A disk of a few MiB, some of them taken; as a context, it is mounted."""

    def __init__(self, folder: Path, room_mib: int = 2) -> None:
        self._mount = folder
        self._room_mib = room_mib
        self.data = folder / "data"
        self._ballast = folder / "ballast"

    def task(self, min_free_mb: int = 0) -> Task:
        return Task(folder=self.data, min_free_mb=min_free_mb, logs=self._mount.parent)

    def __enter__(self) -> "SmallDisk":
        self._mount.mkdir()
        size = f"size={LATER_MIB}m"
        subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", self._mount], check=True)
        self._ballast.write_bytes(bytes((LATER_MIB - self._room_mib) * 2**20))
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", self._mount], check=True)

    def make_room(self) -> None:
        self._ballast.unlink()


class Watch:
    """Called at any moment, it looks whether the new lines of the JSONL files parse."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: dict[Path, int] = {}

    def __call__(self) -> None:
        for path in self._folder.glob("*_data/*.jsonl"):
            start = self._seen.get(path, 0)
            if path.stat().st_size < start:  # what did not fit was cut off again
                start = 0
            with path.open("rb") as file:
                file.seek(start)
                data = file.read()
            _, being_written = parsed(data, path)
            self._seen[path] = start + len(data) - len(being_written)


def fill(child: Child, disk: SmallDisk, stride: int = MANY) -> Load:
    """Ask until the disk is full; what was acknowledged by then is there.

    After a stride of batches, those are brought to their end before others are asked for.
    """
    load = Load(heard=Watch(disk.data))
    while load.run(child, upto=load.asked + stride, refusals=REFUSALS):
        assert load.asked < MANY, "the disk was never full"
        child.rest()
    assert load.acknowledged
    assert {type(error) for error in load.refused} == {errors.Overloaded}
    reader = Reader(disk.data)
    assert list(lost(reader, load.acknowledged)) == []
    reader.close()
    for path in disk.data.rglob("*.parquet"):
        pq.read_table(path)
    return load


def go_on(child: Child, disk: SmallDisk, load: Load, clean: Clean) -> Counter[str]:
    """Make room, ask again for what was refused, and close; returns what is to be counted."""
    disk.make_room()
    assert load.run(child, upto=load.asked)
    child.finish()
    counts = sound(disk.data, load.acknowledged, clean).counts()
    counts["acknowledged"] = len(load.acknowledged)
    return counts


@mounting
def test_what_does_not_fit_is_not_there_in_part(tmp_path: Path) -> None:
    """Readers never see half a line, or half a part."""
    with SmallDisk(tmp_path / "disk") as disk:
        dataset, path = Dataset(disk.data), "dpo_data/dpo_data_202603.jsonl"
        length = dataset.append(path, [{"prompt": "small"}], 0)
        large = random.Random(1).randbytes(2**21).hex()
        for offset in (length, 0):
            with pytest.raises(errors.Unavailable, match="No space left on device"):
                dataset.append(path, [{"prompt": large}], offset)
            assert dataset.size(path) == offset
        part = dataset.part_path("dpo_data", "202603", 1, 1)
        with pytest.raises(errors.Unavailable, match="No space left on device"):
            dataset.write_part("dpo_data", part, [{"prompt": large}])
        assert dataset.parts() <= {f"{part}.tmp"}
        disk.make_room()
        assert dataset.append(path, [{"prompt": "small"}], 0) == length
        dataset.write_part("dpo_data", part, [{"prompt": large}])
        assert dataset.parts() == {part}


@pytest.mark.slow
@mounting
def test_no_room_at_all(tmp_path: Path, clean: Clean, figures: Figures) -> None:
    """The disk's own word that it is full, wherever it meets us."""
    with SmallDisk(tmp_path / "disk") as disk, Child.started(disk.task()) as child:
        load = fill(child, disk)
        totals = go_on(child, disk, load, clean)
    figures.total("disk full", 1, totals)


@mounting
def test_no_room_for_asks(tmp_path: Path, clean: Clean, figures: Figures) -> None:
    """Above the floor, what was acknowledged comes to its end while asks are refused."""
    with (
        SmallDisk(tmp_path / "disk", room_mib=4) as disk,
        Child.started(disk.task(min_free_mb=2)) as child,
    ):
        load = fill(child, disk, stride=10)
        assert all("ledger.min_free_mb is 2" in str(error) for error in load.refused)
        child.rest()
        totals = go_on(child, disk, load, clean)
    figures.total("disk full to the floor", 1, totals)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@mounting
def test_kill_9_while_there_is_no_room(
    tmp_path: Path, rounds: int, clean: Clean, figures: Figures
) -> None:
    """A start without room comes up, or says why it cannot; with room, all is well."""
    totals: Counter[str] = Counter()
    for number in range(max(rounds // 8, 1)):
        with SmallDisk(tmp_path / f"disk-{number}") as disk:
            with Child.started(disk.task()) as child:
                load = fill(child, disk)
                child.kill()
                load.drain(child)
            with Child(disk.task()) as child:
                said = child.hear()
                if isinstance(said, Failed):
                    assert issubclass(getattr(errors, said.kind), errors.RlvrError), said.trace
                else:
                    assert isinstance(said, Started)
                    load.run(child, upto=load.asked, refusals=len(load.refused) + REFUSALS)
                child.kill()
                load.drain(child)
            disk.make_room()
            with Child.started(disk.task()) as child:
                assert load.run(child, upto=load.asked)
                child.finish()
            totals += sound(disk.data, load.acknowledged, clean).counts()
            totals["acknowledged"] += len(load.acknowledged)
    figures.total("kill -9 on a full disk", max(rounds // 8, 1), totals)
