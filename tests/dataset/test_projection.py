"""From the ledger to the files, with crashes at every point that matters."""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest

from rlvr_ray.dataset import projection as module
from rlvr_ray.dataset.files import Dataset
from rlvr_ray.dataset.ledger import Ledger
from rlvr_ray.dataset.projection import Projector
from rlvr_ray.dataset.state import BatchState
from rlvr_ray.settings import DatasetSettings
from tests.builders import context, plain_assessment
from tests.folders import (
    DPO,
    MIXED,
    ODD,
    TRAINING,
    Folder,
    decide_in,
    decided,
    expected,
    same_files,
)

pytestmark = pytest.mark.integration


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "data")


def undisturbed(tmp_path: Path, states: Sequence[BatchState], **sealing: Any) -> dict[str, bytes]:
    """The files of a run in which nothing went wrong."""
    calm = Folder(tmp_path / "undisturbed", DatasetSettings(**sealing))
    calm.run(states)
    return calm.files()


def test_lines_are_the_rows_once_each_and_in_order(folder: Folder) -> None:
    folder.run(MIXED)
    wanted = expected(MIXED)
    assert folder.lines(DPO) == wanted["dpo_data"]
    assert folder.lines(TRAINING) == wanted["training_data"]
    assert len(wanted["dpo_data"]) == 4
    assert len(wanted["training_data"]) == 18


def test_one_projection_of_many_outcomes_writes_what_many_projections_write(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STEP", 3)
    with folder.open() as (ledger, projector):
        for state in MIXED:
            decide_in(ledger, state)
        projector.project()
        projector.seal_all()
    same_files(folder.files(), undisturbed(tmp_path, MIXED))


def test_projecting_again_writes_nothing(folder: Folder) -> None:
    folder.run(MIXED)
    before = folder.files()
    for _ in range(3):
        folder.run()
    same_files(folder.files(), before)


@pytest.mark.parametrize("dataset", ["dpo_data", "training_data"])
def test_parquet_holds_the_same_rows_field_by_field(folder: Folder, dataset: str) -> None:
    """A key that the Parquet schema lacks would be dropped without a word."""
    folder.run(MIXED)
    (part,) = folder.parts(dataset)
    wanted = folder.lines(f"{dataset}/{dataset}_202603.jsonl")
    assert len(part) == len(wanted)
    for found, row in zip(part, wanted, strict=True):
        assert found == row
        assert list(found) == list(row), "the order of the columns is that of the keys"
        assert list(found["metadata"]) == list(row["metadata"])


def test_rows_without_a_verification_are_null_in_parquet(folder: Folder) -> None:
    folder.run(MIXED)
    (part,) = folder.parts("training_data")
    nulls = [row["verification"] for row in part if row["verification"]["status"] == "failed"]
    assert len(nulls) == 5
    for row in nulls:
        assert row["reason"]
        keys = ("faithfulness", "relevancy", "score", "confidence", "duration_ms")
        assert {key: row[key] for key in keys} == dict.fromkeys(keys)
        assert row["assessments"] == []


def test_metrics_that_nobody_measured_are_null_in_parquet(folder: Folder) -> None:
    exact = [(plain_assessment(value),) for value in (1.0, 0.0)]
    folder.run([decided(0, exact)])
    (answers,) = folder.parts("training_data")
    (pairs,) = folder.parts("dpo_data")
    found = [row["verification"] for row in answers]
    found += [pairs[0]["metadata"][f"{side}_provenance"] for side in ("chosen", "rejected")]
    for row, score in zip(found, (1.0, 0.0, 1.0, 0.0), strict=True):
        assert (row["faithfulness"], row["relevancy"], row["score"]) == (None, None, score)
        (one,) = row["assessments"]
        assert (one["verifier"], one["faithfulness"], one["score"]) == ("exact", None, score)


def test_odd_texts_do_not_split_lines(folder: Folder) -> None:
    folder.run([decided(0, (0.9, 0.5), answers=(ODD, f"other {ODD}"))])
    for path, count in ((DPO, 1), (TRAINING, 2)):
        text = (folder.path / path).read_bytes().decode()
        assert text.count("\n") == count
        assert len(text.splitlines()) == count, "Python's own readers split at U+2028 and NEL"
    assert folder.lines(DPO)[0]["chosen"] == ODD
    assert folder.lines(DPO)[0]["rejected"] == f"other {ODD}"
    ((pair,),) = folder.parts("dpo_data")
    assert (pair["chosen"], pair["rejected"]) == (ODD, f"other {ODD}")


def test_a_dataset_without_rows_has_no_file(folder: Folder) -> None:
    folder.run([decided(0, (0.9, 0.89)), decided(1, ("silent", "silent"))])
    assert sorted(folder.files()) == [
        "training_data/parquet/training_data_202603_000000000001-000000000002.parquet",
        TRAINING,
    ]


def test_nothing_decided_makes_no_file(folder: Folder) -> None:
    folder.run()
    assert folder.files() == {}


class TestTornTails:
    """Files that a crash left longer or shorter than the ledger says."""

    STATES = (
        decided(0),
        decided(1, (0.9, 0.5), answers=("ü🦆", "b"), contexts=(context("ß"),)),
    )

    @pytest.fixture
    def wanted(self, tmp_path: Path) -> dict[str, bytes]:
        return undisturbed(tmp_path, self.STATES)

    @pytest.fixture
    def first(self, tmp_path: Path) -> dict[str, int]:
        """Sizes when only the first outcome was in the files."""
        calm = Folder(tmp_path / "first")
        calm.run(self.STATES[:1], seal=False)
        return {path: len(data) for path, data in calm.files().items()}

    @pytest.fixture
    def torn(
        self, folder: Folder, wanted: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[Callable[[int, Mapping[str, int], str, bytes], None]]:
        """Puts a crash's traces into a folder, starts over, and compares."""
        monkeypatch.setattr("os.fsync", lambda _: None)  # thousands of rounds; nobody pulls a plug
        folder.run(self.STATES)
        ledger = Ledger(folder.path)
        reader = ledger.reader()
        ledger._db.pragma("synchronous", "off")
        lines = {path: data for path, data in wanted.items() if path.endswith(".jsonl")}

        def check(seq: int, noted: Mapping[str, int], path: str, content: bytes) -> None:
            ledger.commit([lambda it: it.forget_files(), lambda it: it.advance(seq, noted)])
            for name, size in noted.items():
                (folder.path / name).write_bytes(wanted[name][:size])
            (folder.path / path).write_bytes(content)
            projector = Projector(
                reader,
                ledger.write,
                Dataset(folder.path),
                folder.settings,
            )
            projector.mend()
            projector.project()
            same_files({p: (folder.path / p).read_bytes() for p in (DPO, TRAINING)}, lines)

        yield check
        reader.close()
        ledger.close()
        same_files(folder.files(), wanted)

    @pytest.mark.sampled(2)
    @pytest.mark.parametrize("path", [DPO, TRAINING])
    def test_an_unacknowledged_append_of_any_length(
        self,
        torn: Callable[..., None],
        wanted: dict[str, bytes],
        first: dict[str, int],
        path: str,
    ) -> None:
        last_line = wanted[path].rstrip(b"\n").rfind(b"\n") + 1
        for cut in (
            *range(first[path], last_line, 50),
            *range(last_line, len(wanted[path]) + 1),
        ):
            torn(1, first, path, wanted[path][:cut])

    @pytest.mark.sampled(2)
    @pytest.mark.parametrize("path", [DPO, TRAINING])
    def test_a_loss_of_any_length_in_the_last_line(
        self, torn: Callable[..., None], wanted: dict[str, bytes], path: str
    ) -> None:
        """What the ledger holds is more than what is left: it is written again."""
        noted = {name: len(data) for name, data in wanted.items() if name.endswith(".jsonl")}
        last_line = wanted[path].rstrip(b"\n").rfind(b"\n") + 1
        for cut in range(last_line, len(wanted[path])):
            torn(2, noted, path, wanted[path][:cut])

    @pytest.mark.parametrize("path", [DPO, TRAINING])
    @pytest.mark.parametrize(
        "garbage", [b"\0" * 5000, b'{"prompt', b"\n\n", b'{"a": 1}\n', b"\xff\xfe\n", b"}"]
    )
    def test_garbage_behind_the_last_line(
        self,
        torn: Callable[..., None],
        wanted: dict[str, bytes],
        first: dict[str, int],
        path: str,
        garbage: bytes,
    ) -> None:
        noted = {name: len(data) for name, data in wanted.items() if name.endswith(".jsonl")}
        torn(2, noted, path, wanted[path] + garbage)
        torn(1, first, path, wanted[path][: first[path]] + garbage)
        torn(1, first, path, wanted[path] + garbage)

    def test_a_first_append_that_the_ledger_never_noted(
        self, torn: Callable[..., None], wanted: dict[str, bytes]
    ) -> None:
        for content in (b"", b"{", b"\0" * 9000, wanted[DPO], wanted[DPO] * 2):
            torn(0, {}, DPO, content)


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet", ""])
@pytest.mark.parametrize("dataset", ["dpo_data", "training_data", "*_data"])
def test_deleted_files_come_back_byte_for_byte(
    folder: Folder, tmp_path: Path, suffix: str, dataset: str
) -> None:
    wanted = undisturbed(tmp_path, MIXED, seal_rows=3)
    folder.settings = DatasetSettings(seal_rows=3)
    folder.run(MIXED)
    gone = [p for p in folder.path.glob(f"{dataset}/**/*{suffix}") if p.is_file()]
    assert gone
    for file in gone:
        file.unlink()
    folder.run()
    same_files(folder.files(), wanted)


def test_a_deleted_part_is_back_as_soon_as_the_program_has_started(folder: Folder) -> None:
    folder.run(MIXED)
    wanted = folder.files()
    for path in wanted:
        if path.endswith(".parquet"):
            (folder.path / path).unlink()
    with folder.open():
        same_files(folder.files(), wanted)


def test_a_deleted_folder_comes_back_and_grows_on(folder: Folder, tmp_path: Path) -> None:
    folder.run(MIXED[:3])
    shutil.rmtree(folder.path / "dpo_data")
    shutil.rmtree(folder.path / "training_data")
    folder.run(MIXED[3:])
    grown = folder.files()
    for path, data in undisturbed(tmp_path, MIXED).items():
        if path.endswith(".jsonl"):
            assert grown[path] == data, f"{path} differs"
    assert folder.sealed("training_data") == expected(MIXED)["training_data"]


class Crash(Exception):
    """Where a test ends the program."""


def crash_in(kind: type, name: str, monkeypatch: pytest.MonkeyPatch, *, after: bool) -> None:
    """Have the next call of a method end the program, before or after it did its work."""
    method = getattr(kind, name)

    def crashing(*arguments: Any) -> None:
        monkeypatch.setattr(kind, name, method)
        if after:
            method(*arguments)
        raise Crash

    monkeypatch.setattr(kind, name, crashing)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (Dataset, "append"),
        (Ledger, "advance"),
        (Ledger, "plan_part"),
        (Dataset, "write_part"),
        (Ledger, "seal_part"),
        (Ledger, "commit"),
    ],
)
def test_a_crash_between_two_steps_neither_loses_nor_doubles(
    folder: Folder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: type,
    name: str,
    after: bool,
) -> None:
    folder.run(MIXED[:3], seal=False)
    with folder.open() as (ledger, projector):
        for state in MIXED[3:]:
            decide_in(ledger, state)
        crash_in(kind, name, monkeypatch, after=after)
        with pytest.raises(Crash):
            projector.project()
            projector.seal_all()
    folder.run()
    same_files(folder.files(), undisturbed(tmp_path, MIXED))


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("kind", "name"), [(Ledger, "forget_files"), (Dataset, "append"), (Dataset, "write_part")]
)
def test_a_crash_while_mending_is_mended(
    folder: Folder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: type,
    name: str,
    after: bool,
) -> None:
    folder.run(MIXED)
    for path in folder.files():
        (folder.path / path).unlink()
    crash_in(kind, name, monkeypatch, after=after)
    with pytest.raises(Crash):
        folder.run()
    folder.run()
    same_files(folder.files(), undisturbed(tmp_path, MIXED))


def test_leftovers_of_an_unfinished_part_are_no_part(folder: Folder, tmp_path: Path) -> None:
    folder.run(MIXED)
    wanted = undisturbed(tmp_path, MIXED)
    parts = [path for path in wanted if path.endswith(".parquet")]
    assert len(parts) == 2
    for path in parts:
        (folder.path / f"{path}.tmp").write_bytes(b"PAR1 torn")
        (folder.path / path).unlink()
    folder.run()
    same_files(folder.files(), wanted)


class TestRebuild:
    """Every file again, from the ledger alone."""

    def rebuild(self, folder: Folder) -> dict[str, bool]:
        with folder.open() as (_, projector):
            return projector.rebuild()

    def test_what_was_in_order_comes_out_the_same(self, folder: Folder) -> None:
        folder.run(MIXED)
        before = folder.files()
        assert self.rebuild(folder) == dict.fromkeys(before, True)
        same_files(folder.files(), before)

    def test_what_was_deleted_comes_back(self, folder: Folder) -> None:
        """Nothing is there to compare with: it counts as what it was."""
        folder.settings = DatasetSettings(seal_rows=3)
        folder.run(MIXED)
        before = folder.files()
        with folder.open() as (_, projector):
            for path in before:
                (folder.path / path).unlink()
            assert projector.rebuild() == dict.fromkeys(before, True)
        same_files(folder.files(), before)

    def test_what_was_changed_is_told_and_mended(self, folder: Folder) -> None:
        folder.run(MIXED)
        before = folder.files()
        for path, data in before.items():
            middle = len(data) // 2
            changed = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
            (folder.path / path).write_bytes(changed)
        found = self.rebuild(folder)
        same_files(folder.files(), before)
        assert {path: found[path] for path in (DPO, TRAINING)} == {DPO: False, TRAINING: False}
        parts = [path for path in before if path.endswith(".parquet")]
        assert [found[path] for path in parts] == [True, True], "what was sealed came out again"

    def test_only_what_changed_is_told(self, folder: Folder) -> None:
        folder.run(MIXED)
        file = folder.path / DPO
        file.write_bytes(file.read_bytes().replace(b"chosen", b"CHOSEN", 1))
        assert {path for path, same in self.rebuild(folder).items() if not same} == {DPO}

    def test_rows_that_were_not_written_yet_are_written_too(
        self, folder: Folder, tmp_path: Path
    ) -> None:
        folder.run(MIXED[:4], seal=False)
        with folder.open() as (ledger, projector):
            for state in MIXED[4:]:
                decide_in(ledger, state)
            assert projector.rebuild() == {DPO: True, TRAINING: True}
            projector.seal_all()
        same_files(folder.files(), undisturbed(tmp_path, MIXED))

    def test_an_empty_ledger_has_nothing_to_rebuild(self, folder: Folder) -> None:
        assert self.rebuild(folder) == {}
        assert folder.files() == {}

    @pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
    @pytest.mark.parametrize(
        ("kind", "name"),
        [
            (Ledger, "forget_files"),
            (Ledger, "seal_part"),
            (Dataset, "append"),
            (Ledger, "advance"),
            (Dataset, "write_part"),
        ],
    )
    def test_one_that_was_cut_off_is_finished_at_the_next_start(
        self,
        folder: Folder,
        monkeypatch: pytest.MonkeyPatch,
        kind: type,
        name: str,
        after: bool,
    ) -> None:
        folder.run(MIXED)
        before = folder.files()
        with folder.open() as (_, projector):
            crash_in(kind, name, monkeypatch, after=after)
            with pytest.raises(Crash):
                projector.rebuild()
        folder.run()
        same_files(folder.files(), before)


class TestSealing:
    def test_by_rows(self, folder: Folder) -> None:
        folder.settings = DatasetSettings(seal_rows=6)
        folder.run([decided(n) for n in range(5)], seal=False)
        assert [len(part) for part in folder.parts("training_data")] == [6, 6]
        assert folder.parts("dpo_data") == []

    def test_rows_before_a_restart_count(self, folder: Folder) -> None:
        folder.settings = DatasetSettings(seal_rows=6)
        folder.run([decided(0)], seal=False)
        folder.run([decided(1)], seal=False)
        assert [len(part) for part in folder.parts("training_data")] == [6]

    def test_by_age(self, folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = SimpleNamespace(now=1000.0)
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now))
        folder.settings = DatasetSettings(seal_seconds=60)
        with folder.open() as (ledger, projector):
            for number, seconds, parts in ((0, 59, 0), (1, 2, 1), (2, 58, 1), (3, 2, 2)):
                clock.now += seconds
                decide_in(ledger, decided(number))
                projector.project()
                projector.seal_due()
                assert len(folder.parts("dpo_data")) == parts, f"{clock.now - 1000} s after start"
        rows_of_parts = [len(part) for part in folder.parts("dpo_data")]
        assert rows_of_parts == [2, 2]

    def test_at_the_end(self, folder: Folder) -> None:
        folder.run([decided(0)], seal=False)
        assert folder.parts("dpo_data") == []
        folder.run()
        assert [len(part) for part in folder.parts("dpo_data")] == [1]

    def test_what_is_not_in_the_jsonl_is_not_sealed(self, folder: Folder) -> None:
        with folder.open() as (ledger, projector):
            decide_in(ledger, decided(0))
            projector.project()
            decide_in(ledger, decided(1))
            projector.seal_all()
        assert [len(part) for part in folder.parts("dpo_data")] == [1]

    @pytest.mark.parametrize("seal_rows", [1, 2, 3, 7, 1000])
    def test_parts_hold_every_row_once_and_in_order(self, folder: Folder, seal_rows: int) -> None:
        folder.settings = DatasetSettings(seal_rows=seal_rows)
        for start in range(0, len(MIXED), 3):
            folder.run(MIXED[start : start + 3], seal=start != 3)
        wanted = expected(MIXED)
        for dataset, lines in wanted.items():
            assert folder.sealed(dataset) == lines

    def test_a_sealed_part_never_changes(self, folder: Folder) -> None:
        folder.run(MIXED[:4])
        sealed = {path: data for path, data in folder.files().items() if "parquet" in path}
        folder.run(MIXED[4:])
        later = folder.files()
        same_files({path: later[path] for path in sealed}, sealed)


class TestMonths:
    MIDNIGHT = datetime(2026, 4, 1, tzinfo=UTC)
    TIMES = (
        MIDNIGHT - timedelta(days=1),
        MIDNIGHT - timedelta(microseconds=1),
        MIDNIGHT,
        (MIDNIGHT - timedelta(hours=1)).astimezone(
            timezone(timedelta(hours=2))
        ),  # a clock set back
        MIDNIGHT + timedelta(hours=1),
    )
    STATES = tuple(decided(number, at=at) for number, at in enumerate(TIMES))

    def test_each_has_its_files(self, folder: Folder) -> None:
        folder.run(self.STATES)
        march, april = [self.STATES[n] for n in (0, 1, 3)], [self.STATES[n] for n in (2, 4)]
        for month, states in (("202603", march), ("202604", april)):
            for dataset, lines in expected(states).items():
                assert folder.lines(f"{dataset}/{dataset}_{month}.jsonl") == lines
                parts = sorted((folder.path / dataset).glob(f"parquet/*_{month}_*.parquet"))
                assert [r for p in parts for r in pq.read_table(p).to_pylist()] == lines
        assert len([path for path in folder.files() if path.endswith(".jsonl")]) == 4

    def test_deleted_files_come_back_byte_for_byte(self, folder: Folder) -> None:
        folder.run(self.STATES)
        wanted = folder.files()
        (folder.path / "dpo_data/dpo_data_202603.jsonl").unlink()
        folder.run()
        same_files(folder.files(), wanted)

    def test_a_month_that_is_over_is_sealed_with_the_next_parts(self, folder: Folder) -> None:
        folder.settings = DatasetSettings(seal_rows=2)
        times = [self.MIDNIGHT - timedelta(days=1)] * 3 + [self.MIDNIGHT]
        folder.run([decided(number, at=at) for number, at in enumerate(times)], seal=False)
        assert [path for path in folder.files() if path.startswith("dpo_data/parquet")] == [
            "dpo_data/parquet/dpo_data_202603_000000000001-000000000002.parquet",
            "dpo_data/parquet/dpo_data_202603_000000000003-000000000003.parquet",
        ]

    def test_months_that_come_again_are_sealed_whole(self, folder: Folder) -> None:
        """What lies between two parts would be in none, for parts are made in order."""
        folder.settings = DatasetSettings(seal_rows=4)
        folder.run(self.STATES)
        assert sorted(row["prompt"] for row in folder.sealed("dpo_data")) == [
            f"Question {number}?" for number in range(5)
        ]
        folder.run([decided(9, at=self.MIDNIGHT + timedelta(hours=2))])
        assert len(folder.sealed("dpo_data")) == 6
