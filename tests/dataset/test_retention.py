"""Past months leave the ledger; their files and ids stay."""

import hashlib
import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rlvr_ray.core import ids
from rlvr_ray.core.errors import NotFound
from rlvr_ray.dataset import projection as module
from rlvr_ray.dataset.audit import audit
from rlvr_ray.dataset.files import Dataset
from rlvr_ray.dataset.ledger import Ledger, Reader
from rlvr_ray.dataset.rows import DATASETS
from rlvr_ray.dataset.state import BatchState
from rlvr_ray.documents.retriever import Ingested
from rlvr_ray.events import outbox
from rlvr_ray.settings import DatasetSettings
from tests.builders import batch
from tests.folders import Folder, decide_in, decided, expected, same_files

pytestmark = pytest.mark.integration


FEBRUARY, MARCH, APRIL = (datetime(2026, month, 10, 12, tzinfo=UTC) for month in (2, 3, 4))
#: Two outcomes a month; each has seven events.
STATES = tuple(
    decided(number, at=at + timedelta(days=number))
    for number, at in enumerate((FEBRUARY, FEBRUARY, MARCH, MARCH, APRIL, APRIL))
)
OPEN = batch(question="Still open?")
PAST = [f"{name}/{name}_{month}.jsonl" for name in DATASETS for month in ("202602", "202603")]
#: All but this month is past.
IN_APRIL = datetime(2026, 4, 2, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Three months of outcomes, sealed, and a batch that is open."""
    made = Folder(tmp_path / "data")
    made.run(STATES)
    with made.open() as (ledger, _):
        ledger.commit([lambda it: it.record([OPEN])])
    return made


def prune(folder: Folder, cutoff: datetime = IN_APRIL, *, mirrored: bool = False) -> int:
    with folder.open() as (_, projector):
        return projector.prune(cutoff, mirrored=mirrored)


def rebuild(folder: Folder) -> dict[str, bool]:
    with folder.open() as (_, projector):
        return projector.rebuild()


def problems(folder: Folder) -> list[str]:
    reader = Reader(folder.path)
    try:
        return list(audit(reader, Dataset(folder.path, folder.settings.parquet_uri)))
    finally:
        reader.close()


def known(folder: Folder, states: Sequence[BatchState] = STATES) -> list[bool]:
    """Of which batches the ledger still has the record."""
    reader = Reader(folder.path)
    found = []
    for state in states:
        try:
            assert reader.find(state.batch.batch_id) == state
            found.append(True)
        except NotFound as error:
            assert "past retention" in str(error)
            found.append(False)
    reader.close()
    return found


class TestWhatGoes:
    @pytest.mark.parametrize(
        ("cutoff", "months"),
        [
            (datetime(2026, 1, 31, tzinfo=UTC), 0),
            (datetime(2026, 2, 1, tzinfo=UTC), 0),
            (datetime(2026, 2, 28, 23, 59, tzinfo=UTC), 0),
            (datetime(2026, 3, 1, tzinfo=UTC), 1),
            (datetime(2026, 3, 31, 23, 59, tzinfo=UTC), 1),
            (datetime(2026, 4, 1, tzinfo=UTC), 2),
            (datetime(2026, 4, 30, tzinfo=UTC), 2),
            (datetime(2030, 1, 1, tzinfo=UTC), 3),
        ],
        ids=lambda value: f"{value:%Y-%m-%d}" if isinstance(value, datetime) else None,
    )
    def test_whole_months_before_the_cutoff(
        self, folder: Folder, cutoff: datetime, months: int
    ) -> None:
        before = folder.files()
        assert prune(folder, cutoff) == 2 * months
        assert known(folder) == [False] * 2 * months + [True] * (6 - 2 * months)
        assert prune(folder, cutoff) == 0
        same_files(folder.files(), before)
        assert problems(folder) == []

    def test_one_month_after_the_other(self, folder: Folder) -> None:
        before = folder.files()
        assert prune(folder, MARCH) == 2
        assert prune(folder, APRIL) == 2
        assert known(folder) == [False] * 4 + [True] * 2
        assert rebuild(folder).keys() >= before.keys() - set(PAST)
        same_files(folder.files(), before)
        assert problems(folder) == []

    def test_records_go_and_outcomes_stay(self, folder: Folder) -> None:
        with folder.open() as (ledger, projector):
            counts = ledger.counts()
            size = ledger._rows("SELECT sum(length(record)) FROM batch")[0][0]
            assert projector.prune(IN_APRIL, mirrored=False) == 4
            assert ledger.counts() == counts
            assert ledger._rows("SELECT sum(length(record)) FROM batch")[0][0] < size / 2
            assert ledger._rows("SELECT DISTINCT batch FROM verification ORDER BY 1") == [
                (5,),
                (6,),
            ]
            assert [state for _, state in ledger.decided(0, 100)] == list(STATES[4:])
            assert ledger.recent(10) == list(STATES[:3:-1])
            assert [state.batch for _, state in ledger.batches(0, 100)] == [
                *(state.batch for state in STATES[4:]),
                OPEN,
            ]
            assert [state.batch for _, state in ledger.open_batches(0, 100)] == [OPEN]
            of_run, _ = ledger.of_run(OPEN.correlation_id, 0, 100)
            assert of_run == ledger.outcomes([s.batch.batch_id for s in STATES] + [OPEN.batch_id])

    def test_events_of_it_are_told_no_more(self, folder: Folder) -> None:
        prune(folder)
        reader = Reader(folder.path)
        told = {posted.event.body["batch_id"] for posted in outbox.events(reader, 0, 1000)}
        assert told == {str(b.batch_id) for b in (STATES[4].batch, STATES[5].batch, OPEN)}
        assert len(outbox.events(reader, 0, 1000)) == 17
        assert [posted.seq for posted in outbox.events(reader, 0, 3)] == [29, 30, 31]
        reader.close()

    def test_ids_are_still_known(self, folder: Folder) -> None:
        prune(folder)
        with folder.open() as (ledger, _):
            for state in STATES[:4]:
                with pytest.raises(NotFound, match="past retention"):
                    ledger.find(state.batch.batch_id)
                with pytest.raises(NotFound, match="past retention"):
                    ledger.commit([lambda it, b=state.batch: it.record([b])])  # type: ignore[misc]
                outcome = state.outcome
                assert outcome is not None
                ledger.commit([lambda it, s=state: it.decide(s.batch, s.results, s.outcome)])  # type: ignore[misc]
            assert ledger.counts() == {"open": 1, "pair": 6}
            assert ledger.find(ids.derive("nobody")) is None
        assert known(folder) == [False] * 4 + [True] * 2
        assert problems(folder) == []

    def test_an_open_batch_of_a_past_month_stays(self, folder: Folder) -> None:
        late = decided(9, at=APRIL + timedelta(days=9), batch_id=OPEN.batch_id)
        late = BatchState(batch=OPEN, results=late.results, outcome=late.outcome)
        assert prune(folder, datetime(2030, 1, 1, tzinfo=UTC)) == 6
        folder.run([late])
        assert known(folder, [late]) == [True]
        assert problems(folder) == []


class TestWhatStays:
    def test_what_is_not_in_the_jsonl(self, tmp_path: Path) -> None:
        folder = Folder(tmp_path / "data")
        folder.run(STATES[:2])
        with folder.open() as (ledger, projector):
            decide_in(ledger, STATES[2])
            assert projector.prune(IN_APRIL, mirrored=False) == 2
            assert ledger.mark("pruned") == 2

    def test_what_is_in_no_part(self, tmp_path: Path) -> None:
        folder = Folder(tmp_path / "data")
        folder.run(STATES[:2])
        folder.run(STATES[2:4], seal=False)
        assert prune(folder) == 2
        folder.run()
        assert prune(folder) == 2

    def test_what_is_in_a_part_that_is_not_made(self, folder: Folder) -> None:
        with folder.open() as (ledger, projector):
            part = next(part for part in ledger.parts() if "202603" in part.path)
            ledger.commit([lambda it: it.seal_part(part.path, None)])
            assert projector.prune(IN_APRIL, mirrored=False) == 2
            projector.seal_all()
            assert projector.prune(IN_APRIL, mirrored=False) == 2

    def test_outcomes_without_a_pair_need_no_part_of_pairs(self, tmp_path: Path) -> None:
        folder = Folder(tmp_path / "data")
        folder.run([decided(0, (0.9, 0.89), at=MARCH)])
        assert list((folder.path / "dpo_data").glob("**/*")) == []
        assert prune(folder) == 1
        assert problems(folder) == []

    @pytest.mark.parametrize(("confirmed", "gone"), [(0, 0), (14, 2), (28, 4), (42, 4), (45, 4)])
    def test_what_the_broker_has_not_confirmed(
        self, folder: Folder, confirmed: int, gone: int
    ) -> None:
        with folder.open() as (ledger, projector):
            ledger.commit([lambda it: it.mirrored(confirmed)])
            assert projector.prune(IN_APRIL, mirrored=True) == gone
        assert known(folder) == [False] * gone + [True] * (6 - gone)
        assert prune(folder) == 4 - gone, "without a mirror nobody waits for it"

    def test_documents_hold_up_nothing(self, tmp_path: Path) -> None:
        folder = Folder(tmp_path / "data")
        folder.run(STATES[:1])
        document = Ingested(
            document_id=ids.derive("a document"),
            source="a.md",
            num_chunks=1,
            content_id=ids.derive("its content"),
            changed=True,
        )
        with folder.open() as (ledger, projector):
            ledger.commit([lambda it: it.ingested([document])])
            ledger.commit([lambda it: it.mirrored(7)])
            assert projector.prune(IN_APRIL, mirrored=True) == 1
            assert [p.event.event_type for p in outbox.events(ledger, 0, 10)] == [
                "document.ingested"
            ]

    def test_a_month_that_is_confirmed_in_part(self, folder: Folder) -> None:
        """Of half a month neither its file nor its part could be written again."""
        before = folder.files()
        with folder.open() as (ledger, projector):
            ledger.commit([lambda it: it.mirrored(21)])
            assert projector.prune(IN_APRIL, mirrored=True) == 2
        rebuild(folder)
        same_files(folder.files(), before)
        assert problems(folder) == []

    def test_a_month_that_came_again(self, tmp_path: Path) -> None:
        """The clock was set back at the turn of the month."""
        folder = Folder(tmp_path / "data")
        turn = datetime(2026, 4, 1, tzinfo=UTC)
        times = [turn - timedelta(hours=2), turn, turn - timedelta(hours=1), turn]
        folder.run([decided(number, at=at) for number, at in enumerate(times)])
        before = folder.files()
        prune(folder, turn + timedelta(days=5))
        rebuild(folder)
        same_files(folder.files(), before)
        assert problems(folder) == []

    def test_all_of_it_where_a_file_is_missing(
        self, folder: Folder, caplog: pytest.LogCaptureFixture
    ) -> None:
        with folder.open() as (ledger, projector):
            (folder.path / PAST[1]).unlink()
            assert projector.prune(IN_APRIL, mirrored=False) == 0
            assert ledger.mark("pruned") == 0
        assert "rlvr rebuild" in caplog.text
        assert known(folder) == [True] * 6
        folder.run()
        assert prune(folder) == 4, "once it is written again"


class TestFiles:
    def test_what_is_past_retention_is_left_alone(self, folder: Folder) -> None:
        before = folder.files()
        prune(folder)
        states = {
            path: (folder.path / path).stat()
            for path in before
            if "202602" in path or "202603" in path
        }
        assert len(states) == 8
        for again in (folder.run, lambda: rebuild(folder)):
            (folder.path / "dpo_data/dpo_data_202604.jsonl").unlink()
            again()
            for path, then in states.items():
                now = (folder.path / path).stat()
                assert (now.st_mtime_ns, now.st_ino) == (then.st_mtime_ns, then.st_ino), path
            same_files(folder.files(), before)
        assert problems(folder) == []

    def test_the_hash_of_what_cannot_be_written_again_is_on_record(self, folder: Folder) -> None:
        prune(folder)
        reader = Reader(folder.path)
        files = reader.files()
        reader.close()
        for path, file in files.items():
            data = (folder.path / path).read_bytes()
            if path in PAST:
                digest = hashlib.sha256(data).hexdigest()
                assert (file.bytes, file.kept, file.sha256) == (len(data), len(data), digest)
            else:
                assert (file.bytes, file.kept, file.sha256) == (len(data), 0, None)

    def test_later_rows_go_on(self, folder: Folder, tmp_path: Path) -> None:
        later = [decided(n, at=APRIL + timedelta(days=n)) for n in range(10, 13)]
        prune(folder)
        folder.run(later)
        calm = Folder(tmp_path / "undisturbed")
        calm.run(STATES)
        calm.run(later)
        same_files(folder.files(), calm.files())
        rebuild(folder)
        same_files(folder.files(), calm.files())
        assert problems(folder) == []

    def test_a_row_that_comes_late_for_a_past_month(self, folder: Folder) -> None:
        """It stands behind what cannot be written again, and can be written again itself."""
        before = folder.files()
        prune(folder)
        late = decided(9, at=MARCH + timedelta(days=20))
        folder.run([late])
        path = "training_data/training_data_202603.jsonl"
        grown = folder.files()
        assert grown[path] == before[path] + Dataset.lines(expected([late])["training_data"])
        with (folder.path / path).open("r+b") as stream:
            stream.truncate(len(before[path]) + 10)
        folder.run()
        same_files(folder.files(), grown)
        assert all(rebuild(folder).values())
        same_files(folder.files(), grown)
        assert problems(folder) == []
        assert prune(folder) == 0, "what was decided before it, in April, is not past"
        assert prune(folder, datetime(2026, 5, 1, tzinfo=UTC)) == 3
        rebuild(folder)
        same_files(folder.files(), grown)
        assert problems(folder) == []

    def test_one_that_was_moved_away_is_told_and_hinders_nobody(
        self, folder: Folder, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        prune(folder)
        gone = [path for path in folder.files() if "202602" in path or "202603" in path]
        for path in gone:
            (folder.path / path).unlink()
        later = [decided(n, at=APRIL + timedelta(days=n)) for n in range(10, 13)]
        with caplog.at_level(logging.WARNING):
            folder.run(later)
        (warning,) = [r.getMessage() for r in caplog.records if "past retention" in r.getMessage()]
        assert all(path in warning for path in PAST)
        for dataset, lines in expected([*STATES[4:], *later]).items():
            assert folder.lines(f"{dataset}/{dataset}_202604.jsonl") == lines
            assert folder.sealed(dataset) == lines
        assert not set(gone) & set(folder.files())
        rebuild(folder)
        assert not set(gone) & set(folder.files())

    def test_one_that_is_missing_beside_one_that_can_be_written_again(
        self, folder: Folder, tmp_path: Path
    ) -> None:
        before = folder.files()
        prune(folder)
        (folder.path / PAST[0]).unlink()
        (folder.path / "dpo_data/dpo_data_202604.jsonl").unlink()
        folder.run()
        same_files(folder.files(), {p: data for p, data in before.items() if p != PAST[0]})


class Stop(Exception):
    """Where a test ends the program."""


def stopping_at(number: int, name: str, patch: pytest.MonkeyPatch) -> list[int]:
    """Have the n-th call of a ledger's method end the program; the list grows with the calls."""
    method = getattr(Ledger, name)
    calls: list[int] = []

    def stopping(ledger: Ledger, *arguments: object) -> object:
        calls.append(len(calls))
        if len(calls) == number:
            raise Stop
        return method(ledger, *arguments)

    patch.setattr(Ledger, name, stopping)
    return calls


class TestSteps:
    def test_records_go_a_few_at_a_time(
        self, folder: Folder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Acknowledgements wait for no long transaction."""
        monkeypatch.setattr(module, "STEP", 3)
        sweeps = stopping_at(0, "sweep", monkeypatch)
        assert prune(folder) == 4
        assert len(sweeps) == 3, "3, 1, and a look whether that was all"
        assert known(folder) == [False] * 4 + [True] * 2

    @pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
    def test_a_stop_on_the_way_is_gone_on_from(
        self, folder: Folder, monkeypatch: pytest.MonkeyPatch, number: int
    ) -> None:
        before = folder.files()
        monkeypatch.setattr(module, "STEP", 1)
        with monkeypatch.context() as patch, pytest.raises(Stop):
            stopping_at(number, "sweep", patch)
            prune(folder)
        reader = Reader(folder.path)
        assert (reader.mark("pruned"), reader.mark("swept")) == (4, number - 1)
        assert [state for _, state in reader.decided(0, 10)] == list(STATES[4:])
        reader.close()
        assert known(folder) == [False] * (number - 1) + [True] * (7 - number)
        assert problems(folder) == []

        assert prune(folder) == 0, "nothing more is past retention"
        assert known(folder) == [False] * 4 + [True] * 2
        rebuild(folder)
        same_files(folder.files(), before)
        assert problems(folder) == []

    def test_a_stop_before_it_is_noted_changes_nothing(
        self, folder: Folder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patch, pytest.raises(Stop):
            stopping_at(1, "prune", patch)
            prune(folder)
        assert known(folder) == [True] * 6
        assert prune(folder) == 4


def test_parts_at_another_target_are_made_of_what_is_left(folder: Folder, tmp_path: Path) -> None:
    """Those past retention stay where they are; nobody can make them again."""
    prune(folder)
    target = tmp_path / "elsewhere"
    folder.settings = DatasetSettings(parquet_uri=target.as_uri())
    folder.run()
    assert sorted(path.name for path in target.rglob("*.parquet")) == [
        "dpo_data_202604_000000000005-000000000006.parquet",
        "training_data_202604_000000000005-000000000006.parquet",
    ]
