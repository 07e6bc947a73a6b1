"""Files that are not as the ledger knows them: a start mends them, or an audit finds them."""

import asyncio
import random
import shutil
from pathlib import Path

import pytest

from rlvr_ray.dataset.files import Dataset
from rlvr_ray.dataset.ledger import Ledger, Reader
from rlvr_ray.dataset.projection import month_of, rows_of
from rlvr_ray.dataset.rows import DATASETS
from rlvr_ray.pipeline import maintenance
from rlvr_ray.pipeline.aggregator import Aggregator
from rlvr_ray.settings import Settings
from tests.faults.harness import Child, Clean, Figures, Load, lost, sound
from tests.faults.worker import Task
from tests.faults.workload import verifier

BATCHES = 8
#: The last bytes of a part that are cut off one by one; its footer is longer.
FOOTER = 300

Files = dict[str, bytes]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder after an orderly close, with several parts."""
    task = Task(folder=tmp_path_factory.mktemp("whole") / "data", seal_rows=8, seal_seconds=3600)
    with Child.started(task) as child:
        load = Load(window=1)
        for upto in range(2, BATCHES + 1, 2):
            assert load.run(child, upto=upto)
            child.rest()
        child.finish()
    return task.folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """One of its own for each test."""
    return Path(shutil.copytree(whole, tmp_path / "data"))


@pytest.fixture
def files(folder: Path) -> Files:
    """Its files as they should be."""
    return files_of(folder)


def files_of(folder: Path) -> Files:
    found = sorted(path for path in folder.glob("*_data/**/*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def settings_of(folder: Path) -> Settings:
    return Settings(data_dir=folder, dataset={"seal_rows": 8})  # type: ignore[arg-type]


def differing(folder: Path, files: Files) -> list[str]:
    """Files that are not as they should be; byte for byte, since no time is decided anew."""
    found = files_of(folder)
    return sorted(
        f"{path}: {len(found[path]) if path in found else 'missing'}, not {len(files[path])} bytes"
        if path in files
        else f"{path} is none of them"
        for path in found.keys() | files.keys()
        if found.get(path) != files.get(path)
    )


def restart(folder: Path) -> None:
    """A start and an orderly close, in this process."""

    async def run() -> None:
        aggregator = Aggregator(Ledger(folder), Dataset(folder), verifier(), settings_of(folder))
        await aggregator.start()
        await aggregator.close()

    asyncio.run(run())


def restart_in_a_child(folder: Path) -> None:
    """The same, once nothing is left to mend."""
    with Child.started(Task(folder=folder, seal_rows=8)) as child:
        child.finish()


@pytest.fixture
def _no_syncs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of starts, and nobody pulls a plug."""
    monkeypatch.setattr("os.fsync", lambda _: None)


def jsonl_of(files: Files, dataset: str) -> tuple[str, bytes, int]:
    """A dataset's JSONL file, its content, and where the last record starts."""
    ((path, content),) = [
        (path, content)
        for path, content in files.items()
        if path.startswith(dataset) and path.endswith(".jsonl")
    ]
    return path, content, content[:-1].rindex(b"\n") + 1


@pytest.mark.sampled(4)
@pytest.mark.timeout(1800)
@pytest.mark.usefixtures("_no_syncs")
@pytest.mark.parametrize("known", [True, False], ids=["known", "not yet known"])
@pytest.mark.parametrize("dataset", DATASETS)
def test_a_record_cut_at_every_byte(
    folder: Path, files: Files, dataset: str, known: bool, thorough: bool, figures: Figures
) -> None:
    """Lost although the ledger knows of it, or half written when the ledger did not yet."""
    path, content, last = jsonl_of(files, dataset)
    cuts = range(last, len(content), 1 if thorough else 13)
    problems: list[str] = []
    for cut in cuts:
        if not known:
            step_back(folder, dataset)
        (folder / path).write_bytes(content[:cut])
        restart(folder)
        problems += [f"cut at {cut}: {line}" for line in differing(folder, files)]
    figures.add(
        f"{dataset} record cut, {'known' if known else 'not yet known'}",
        rounds=len(cuts),
        **{"differing files": len(problems)},
    )
    assert not problems, "\n".join(problems[:10])


def step_back(folder: Path, dataset: str) -> None:
    """To when the last outcome with rows in the dataset was not yet in the files."""
    ledger = Ledger(folder)
    states = ledger.decided(0, 1000)
    seq = max(seq for seq, state in states if rows_of(state)[dataset])
    sizes = dict.fromkeys(ledger.files(), 0)
    for before, state in states:
        for name, new in rows_of(state).items():
            if before < seq and new:
                path = Dataset(folder).jsonl_path(name, month_of(state))
                sizes[path] += len(Dataset.lines(new))
    ledger.write(Ledger.advance, seq - 1, sizes)
    ledger.close()


@pytest.mark.parametrize("known", [True, False], ids=["known", "not yet known"])
@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize(
    "garbage",
    [b"\0" * 9000, b'{"prompt": "', b'{"a": 1}\n', b"\n", b"\xf0\x9f\xa6", "again"],
    ids=["zeros", "half a line", "a line", "an empty line", "half a character", "itself"],
)
def test_garbage_behind_the_end(
    folder: Path, files: Files, dataset: str, garbage: bytes | str, known: bool
) -> None:
    path, content, _ = jsonl_of(files, dataset)
    if not known:
        step_back(folder, dataset)
    with (folder / path).open("ab") as file:
        file.write(content if isinstance(garbage, str) else garbage)
    restart(folder)
    assert differing(folder, files) == []


@pytest.mark.parametrize("dataset", DATASETS)
def test_jsonl_that_is_gone_or_empty(folder: Path, files: Files, dataset: str) -> None:
    path, *_ = jsonl_of(files, dataset)
    (folder / path).write_bytes(b"")
    restart(folder)
    assert differing(folder, files) == []
    (folder / path).unlink()
    restart(folder)
    assert differing(folder, files) == []


# Parquet.


def parts_of(files: Files) -> list[str]:
    found = [path for path in files if path.endswith(".parquet")]
    assert len(found) >= 3, found
    return found


@pytest.mark.sampled(2)
@pytest.mark.timeout(1800)
@pytest.mark.usefixtures("_no_syncs")
@pytest.mark.parametrize("dataset", DATASETS)
def test_a_part_cut_at_every_byte_of_its_footer(
    folder: Path, files: Files, dataset: str, thorough: bool, figures: Figures
) -> None:
    """A start does not read parts; an audit does, and ``rebuild`` mends them, byte for byte."""
    part = next(path for path in parts_of(files) if path.startswith(dataset))
    whole = files[part]
    assert whole.endswith(b"PAR1")
    cuts = [*range(len(whole) - FOOTER, len(whole), 1 if thorough else 7), 0, len(whole) - 1]
    problems: list[str] = []
    for cut in cuts:
        (folder / part).write_bytes(whole[:cut])
        found = maintenance.verify_store(settings_of(folder))
        if found != [f"{part}: changed since it was sealed"]:
            problems.append(f"cut at {cut}: the audit says {found}")
        same = maintenance.rebuild(settings_of(folder))
        if not all(same.values()) or set(same) != set(files):
            problems.append(f"cut at {cut}: rebuild says {same}")
        problems += [f"cut at {cut}: {line}" for line in differing(folder, files)]
    figures.add(
        f"{dataset} part cut in its footer",
        rounds=len(cuts),
        **{"differing files": len(problems)},
    )
    assert not problems, "\n".join(problems[:10])


def test_a_start_bears_with_a_torn_part(folder: Path, files: Files) -> None:
    """It neither fails nor makes it worse."""
    part = parts_of(files)[0]
    (folder / part).write_bytes(files[part][:-1])
    restart_in_a_child(folder)
    assert [line.split(":")[0] for line in differing(folder, files)] == [part]


def test_a_part_that_is_gone_is_back_after_a_start(folder: Path, files: Files) -> None:
    for part in parts_of(files):
        (folder / part).unlink()
    restart_in_a_child(folder)
    assert differing(folder, files) == []


@pytest.mark.parametrize("cut", [0, 1, 1000, -1])
def test_a_part_that_was_being_made(folder: Path, files: Files, cut: int) -> None:
    """The file is there, in part, and the ledger does not yet know that it is whole."""
    ledger = Ledger(folder)
    for part in parts_of(files):
        ledger.write(Ledger.seal_part, part, None)
        (folder / part).write_bytes(files[part][:cut])
        (folder / f"{part}.tmp").write_bytes(files[part][:cut] + b"garbage")
    ledger.close()
    restart_in_a_child(folder)
    assert differing(folder, files) == []
    assert maintenance.verify_store(settings_of(folder)) == []


def test_temporary_files_of_nobody_do_no_harm(folder: Path, files: Files, clean: Clean) -> None:
    strangers = {
        "dpo_data/parquet/dpo_data_202603_000000000900-000000000999.parquet.tmp": b"PAR1",
        "training_data/parquet/x.tmp": b"",
        "dpo_data/dpo_data_202603.jsonl.tmp": b'{"prompt"',
    }
    for path, content in strangers.items():
        (folder / path).write_bytes(content)
    restart_in_a_child(folder)
    assert differing(folder, files | strangers) == []
    assert maintenance.verify_store(settings_of(folder)) == []
    for path in strangers:
        (folder / path).unlink()
    sound(folder, range(BATCHES), clean)


# The ledger's own.


@pytest.mark.parametrize("left", ["garbage", "zeros", "nothing"])
def test_shared_memory_that_a_crash_left_is_not_believed(
    tmp_path: Path, clean: Clean, left: str
) -> None:
    """The index of the write-ahead log is made again from the log."""
    task, load = Task(folder=tmp_path / "data"), Load()
    with Child.started(task) as child:
        assert load.run(child, upto=30)
        child.kill()
    index = task.folder / "ledger.db-shm"
    size = index.stat().st_size
    if left == "nothing":
        index.unlink()
    else:
        index.write_bytes(bytes(size) if left == "zeros" else random.Random(1).randbytes(size))
    reader = Reader(task.folder)
    assert list(lost(reader, load.acknowledged)) == []
    reader.close()
    with Child.started(task) as child:
        child.finish()
    sound(task.folder, load.acknowledged, clean)
