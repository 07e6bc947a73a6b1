"""The files themselves: whole lines or none, whole parts or none, wherever the parts go."""

import errno
import hashlib
import json
import os
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest
from pyarrow.fs import FileSystem, LocalFileSystem, SubTreeFileSystem

from rlvr_ray.core.errors import ConfigError, LedgerError, RlvrError, Unavailable
from rlvr_ray.dataset import files as module
from rlvr_ray.dataset import rows
from rlvr_ray.dataset.files import Dataset
from rlvr_ray.dataset.ledger import Ledger
from rlvr_ray.settings import DatasetSettings
from tests.folders import (
    DPO,
    MIXED,
    ODD,
    TRAINING,
    Folder,
    decided,
    expected,
    files_under,
    same_files,
)

pytestmark = pytest.mark.integration


DURABILITY = Path(__file__).parents[2] / "docs" / "durability.md"
PARTS = [
    "dpo_data/parquet/dpo_data_202603_000000000001-000000000008.parquet",
    "training_data/parquet/training_data_202603_000000000001-000000000008.parquet",
]


def lines_of(*numbers: int) -> list[rows.Row]:
    return expected([decided(number) for number in numbers])["training_data"]


class TestAppend:
    @pytest.fixture
    def dataset(self, tmp_path: Path) -> Dataset:
        return Dataset(tmp_path)

    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        return tmp_path / TRAINING

    def test_it_returns_the_new_length(self, dataset: Dataset, file: Path) -> None:
        first = dataset.append(TRAINING, lines_of(0), 0)
        assert first == file.stat().st_size == dataset.size(TRAINING)
        second = dataset.append(TRAINING, lines_of(1), first)
        assert second == file.stat().st_size
        assert file.read_bytes() == dataset.lines(lines_of(0, 1))

    def test_what_lies_behind_the_offset_is_cut(self, dataset: Dataset, file: Path) -> None:
        first = dataset.append(TRAINING, lines_of(0), 0)
        dataset.append(TRAINING, lines_of(1, 2), first)
        dataset.append(TRAINING, lines_of(3), first)
        assert file.read_bytes() == dataset.lines(lines_of(0, 3))
        dataset.append(TRAINING, lines_of(4), 0)
        assert file.read_bytes() == dataset.lines(lines_of(4))

    @pytest.mark.parametrize("size", [1, 100, 4096])
    def test_who_reads_meanwhile_up_to_the_last_line_feed_reads_rows(
        self, dataset: Dataset, file: Path, monkeypatch: pytest.MonkeyPatch, size: int
    ) -> None:
        """As docs/durability.md says; what was read once stays as it was."""
        (rule,) = re.findall(r"```python\n(def rows.*?)```", DURABILITY.read_text("utf-8"), re.S)
        names: dict[str, Any] = {"json": json}
        exec(rule, names)
        write = os.write
        read: list[rows.Row] = []
        place = unfinished = 0

        def look() -> None:
            nonlocal place, unfinished
            more, place = names["rows"](file, place)
            read.extend(more)
            unfinished += file.stat().st_size > place

        def in_pieces(descriptor: int, data: memoryview) -> int:
            look()
            return write(descriptor, data[:size])

        monkeypatch.setattr("os.write", in_pieces)
        length = dataset.append(TRAINING, lines_of(0, 1), 0)
        dataset.append(TRAINING, lines_of(2), length)
        look()
        assert read == json.loads(json.dumps(lines_of(0, 1, 2)))
        assert unfinished > 0

    @pytest.mark.parametrize("missing", [1, 100, None])
    def test_a_file_that_is_shorter_than_on_record_is_refused(
        self, dataset: Dataset, file: Path, missing: int | None
    ) -> None:
        length = dataset.append(TRAINING, lines_of(0), 0)
        if missing is None:
            file.unlink()
        else:
            os.truncate(file, length - missing)
        before = file.read_bytes() if missing else b""
        with pytest.raises(LedgerError, match=rf"{TRAINING} is shorter than the {length:,} bytes"):
            dataset.append(TRAINING, lines_of(1), length)
        assert file.read_bytes() == before

    @pytest.mark.parametrize("written", [0, 1, 700, 4000])
    def test_a_disk_that_fills_up_leaves_the_old_lines(
        self, dataset: Dataset, file: Path, monkeypatch: pytest.MonkeyPatch, written: int
    ) -> None:
        length = dataset.append(TRAINING, lines_of(0), 0)
        before = file.read_bytes()
        write = os.write
        pieces = iter([written] if written else [])

        def filling_up(descriptor: int, data: memoryview) -> int:
            for piece in pieces:
                return write(descriptor, data[:piece])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr("os.write", filling_up)
            with pytest.raises(Unavailable, match=rf"{TRAINING} cannot be written: .*No space"):
                dataset.append(TRAINING, lines_of(1, 2), length)
        assert file.read_bytes() == before
        dataset.append(TRAINING, lines_of(1, 2), length)
        assert file.read_bytes() == dataset.lines(lines_of(0, 1, 2))

    def test_a_disk_that_fails_to_sync_leaves_the_old_lines(
        self, dataset: Dataset, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        length = dataset.append(TRAINING, lines_of(0), 0)
        before = file.read_bytes()

        def failing(_: int) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        monkeypatch.setattr("os.fsync", failing)
        with pytest.raises(Unavailable, match="Input/output error"):
            dataset.append(TRAINING, lines_of(1), length)
        assert file.read_bytes() == before

    def test_short_writes_are_gone_on_with(
        self, dataset: Dataset, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write = os.write
        with monkeypatch.context() as patch:
            patch.setattr("os.write", lambda fd, data: write(fd, data[:1000]))
            dataset.append(TRAINING, lines_of(0, 1), 0)
        assert file.read_bytes() == dataset.lines(lines_of(0, 1))

    def test_a_folder_that_cannot_be_made_is_trouble_of_the_disk(
        self, dataset: Dataset, tmp_path: Path
    ) -> None:
        (tmp_path / "training_data").write_text("no folder")
        with pytest.raises(Unavailable, match=TRAINING):
            dataset.append(TRAINING, lines_of(0), 0)


class TestReading:
    def test_digests_of_any_stretch(self, tmp_path: Path) -> None:
        dataset = Dataset(tmp_path)
        length = dataset.append(TRAINING, lines_of(*range(3)), 0)
        data = (tmp_path / TRAINING).read_bytes()
        for start, end in ((0, length), (0, 100), (100, length), (length, length), (0, 0)):
            wanted = hashlib.sha256(data[start:end]).hexdigest()
            assert dataset.digest(TRAINING, end, start) == wanted
        assert dataset.digest(TRAINING, length + 1) is None
        assert dataset.digest(DPO, 1) is None
        assert dataset.digest(DPO, 0) == hashlib.sha256(b"").hexdigest()

    def test_cutting(self, tmp_path: Path) -> None:
        dataset = Dataset(tmp_path)
        length = dataset.append(TRAINING, lines_of(0), 0)
        for keep in (length + 10, length, length - 5, 0):
            dataset.cut(TRAINING, keep)
            assert dataset.size(TRAINING) == min(length, keep)
        dataset.cut(DPO, 5)
        assert not (tmp_path / DPO).exists()
        assert dataset.size(DPO) == 0

    def test_strays(self, tmp_path: Path) -> None:
        elsewhere = tmp_path / "elsewhere"
        folder = Folder(tmp_path / "data", DatasetSettings(parquet_uri=elsewhere.as_uri()))
        folder.run(MIXED)
        dataset = Dataset(folder.path, elsewhere.as_uri())
        known = [DPO, TRAINING, *PARTS]
        assert dataset.stray(known) == []
        (folder.path / "dpo_data/dpo_data_202604.jsonl").touch()
        (elsewhere / "dpo_data/parquet/other.parquet").touch()
        (elsewhere / "notes.txt").touch()
        assert dataset.stray(known) == [
            "dpo_data/dpo_data_202604.jsonl",
            "dpo_data/parquet/other.parquet",
        ]


def stored(folder: Path) -> dict[str, bytes]:
    """Whatever lies in a folder."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


class TestTarget:
    """Where the Parquet parts go."""

    @pytest.fixture
    def elsewhere(self, tmp_path: Path) -> Path:
        return tmp_path / "some where ü"

    @pytest.fixture(params=["disk", "store"])
    def folder(
        self,
        request: pytest.FixtureRequest,
        tmp_path: Path,
        elsewhere: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> Folder:
        """One whose parts go elsewhere: a folder, or what stands for an object store."""
        uri = elsewhere.as_uri()
        if request.param == "store":
            elsewhere.mkdir()
            uri = "s3://bucket/prefix"
            store = SubTreeFileSystem(str(elsewhere), LocalFileSystem())

            def from_uri(asked: str) -> tuple[FileSystem, str]:
                return (store, "bucket/prefix") if asked == uri else FileSystem.from_uri(asked)

            monkeypatch.setattr(module, "FileSystem", SimpleNamespace(from_uri=from_uri))
        return Folder(tmp_path / "data", DatasetSettings(parquet_uri=uri))

    @pytest.fixture
    def target(self, folder: Folder, elsewhere: Path) -> Path:
        uri = folder.settings.parquet_uri or ""
        return elsewhere / "bucket/prefix" if uri.startswith("s3:") else elsewhere

    def test_parts_go_there_and_nowhere_else(
        self, folder: Folder, target: Path, elsewhere: Path
    ) -> None:
        folder.run(MIXED)
        found = stored(target)
        assert sorted(found) == PARTS
        assert len(stored(elsewhere)) == 2, "nothing else, no *.tmp either"
        assert sorted(folder.files()) == [DPO, TRAINING]
        for dataset, path in zip(("dpo_data", "training_data"), PARTS, strict=True):
            assert pq.read_table(target / path).to_pylist() == expected(MIXED)[dataset]
        ledger = Ledger(folder.path)
        assert {part.path: part.sha256 for part in ledger.parts()} == {
            path: hashlib.sha256(data).hexdigest() for path, data in found.items()
        }
        ledger.close()

    def test_they_are_the_same_as_at_home(
        self, folder: Folder, target: Path, tmp_path: Path
    ) -> None:
        folder.run(MIXED)
        home = Folder(tmp_path / "home")
        home.run(MIXED)
        same_files(stored(target) | folder.files(), home.files())

    def test_deleted_ones_come_back(self, folder: Folder, target: Path) -> None:
        folder.run(MIXED)
        before = stored(target)
        for path in before:
            (target / path).unlink()
        folder.run()
        same_files(stored(target), before)

    def test_one_that_was_cut_off_is_no_part(self, folder: Folder, target: Path) -> None:
        folder.run(MIXED)
        before = stored(target)
        for path in PARTS:
            (target / path).rename(target / f"{path}.tmp")
        dataset = Dataset(folder.path, folder.settings.parquet_uri)
        assert not dataset.parts() & set(PARTS)
        folder.run()
        same_files(stored(target), before)

    def test_what_can_be_asked_of_a_part(self, folder: Folder, target: Path) -> None:
        folder.run(MIXED)
        dataset = Dataset(folder.path, folder.settings.parquet_uri)
        assert dataset.parts() == set(PARTS)
        path, wanted = PARTS[1], expected(MIXED)["training_data"]
        digest = hashlib.sha256((target / path).read_bytes()).hexdigest()
        assert dataset.part_digest(path) == digest
        assert dataset.part_digest("training_data/parquet/other.parquet") is None
        assert dataset.part_holds("training_data", path, wanted)
        assert not dataset.part_holds("training_data", path, wanted[1:])
        assert not dataset.part_holds("training_data", path, wanted[::-1])
        changed = [*wanted[:-1], wanted[-1] | {"answer": ODD}]
        assert not dataset.part_holds("training_data", path, changed)

    def test_a_target_that_does_not_answer(
        self, folder: Folder, target: Path, elsewhere: Path
    ) -> None:
        folder.run(MIXED)
        before = stored(target)
        dataset = Dataset(folder.path, folder.settings.parquet_uri)
        away = elsewhere.rename(elsewhere.with_name("away"))
        elsewhere.write_text("no folder")
        for call in (
            lambda: dataset.write_part("dpo_data", PARTS[0], expected(MIXED)["dpo_data"]),
            lambda: dataset.write_part("dpo_data", "dpo_data/parquet/new.parquet", []),
        ):
            with pytest.raises(Unavailable, match="cannot be written"):
                call()
        elsewhere.unlink()
        away.rename(elsewhere)
        same_files(stored(target), before)
        dataset.write_part("dpo_data", PARTS[0], expected(MIXED)["dpo_data"])
        same_files(stored(target), before)


def test_parts_are_written_again_where_they_are_to_lie_now(tmp_path: Path) -> None:
    """Each target gets all of them; what lies at the old one is left there."""
    folder = Folder(tmp_path / "data", DatasetSettings(seal_rows=5))
    folder.run(MIXED)
    home = {path: data for path, data in folder.files().items() if path.endswith(".parquet")}
    assert len(home) > 3
    for name in ("one", "two"):
        target = tmp_path / name
        folder.settings = DatasetSettings(seal_rows=5, parquet_uri=target.as_uri())
        with folder.open():
            same_files(stored(target), home)
    same_files(stored(tmp_path / "one"), home)
    before = folder.files()
    assert home.items() <= before.items()
    folder.run([decided(9)])
    assert len(stored(tmp_path / "two")) == len(home) + 2
    assert len(stored(tmp_path / "one")) == len(home)
    assert {path for path in folder.files() if path not in before} == set()


@pytest.mark.parametrize(
    "uri",
    ["nonsense", "/proc/nowhere/x", "file:///proc/nowhere", "gopher://host/x", "file://host/x"],
)
def test_a_uri_that_cannot_be_used_is_named(tmp_path: Path, uri: str) -> None:
    with pytest.raises(ConfigError, match=r"dataset\.parquet_uri") as caught:
        Dataset(tmp_path, uri).open()
    assert uri.removeprefix("file://host") in str(caught.value)


def test_a_key_in_a_uri_is_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(RlvrError) as caught:
        Dataset(tmp_path, "gopher://KEY:SECRET@host/x?token=SECRET").open()
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("name", ["with space", "ünï", "per%cent", "per%20cent", "hash#?&x"])
def test_a_folder_of_any_name_holds_its_parts(tmp_path: Path, name: str) -> None:
    folder = Folder(tmp_path / name)
    folder.run(MIXED[:1])
    assert sorted(path.name for path in tmp_path.iterdir()) == [name]
    assert len(files_under(folder.path)) == 4
