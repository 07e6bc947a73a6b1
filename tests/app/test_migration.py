"""A ledger of schema 1 becomes one of this schema: all of it, or it stays as it was."""

import random
import signal
import subprocess
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import apsw
import pytest

from rlvr_ray import codec
from rlvr_ray.adapters.ledger import Ledger, Reader, schema
from rlvr_ray.core import events
from rlvr_ray.core.events import Event
from rlvr_ray.core.records import Verification
from rlvr_ray.errors import LedgerError
from rlvr_ray.ports import Backlog, BatchState, Part
from rlvr_ray.settings import DatasetSettings
from tests.builders import CREATED, DECIDED, batch
from tests.fakes import PATIENCE
from tests.folders import MIXED, Folder, decide_in, decided, expected, same_files

ROOT = Path(__file__).parents[2]
SCHEMA_1 = ROOT / "tests/data/ledger_v1.sql"
OPEN = (
    batch(question="Open one?", created_at=CREATED + timedelta(microseconds=123456)),
    batch(("x", "y"), "Open two?"),
)
#: The order of decisions is not that of the questions.
STATES = (*MIXED[4:], *MIXED[:4])
LAST = decided(8)


def made(folder: Folder) -> None:
    """A life: files with sealed parts, one part that is not made yet, one outcome not written."""
    folder.settings = DatasetSettings(seal_rows=4)
    with folder.open() as (ledger, projector):
        ledger.commit([lambda it: it.record([OPEN[0]])])
        ledger.commit([lambda it: it.record([state.batch for state in MIXED])])
        ledger.commit([lambda it: it.record([OPEN[1]])])
        for state in STATES:
            decide_in(ledger, state)
            projector.project()
            projector.seal_due()
        decide_in(ledger, LAST)
        last = ledger.parts()[-1]
        ledger.commit([lambda it: it.seal_part(last.path, None)])
        (folder.path / last.path).unlink()


def content(ledger: Reader) -> dict[str, Any]:
    """All that both versions can say."""
    return {
        "batches": ledger.batches(0, 100),
        "open": ledger.open_batches(0, 100),
        "decided": ledger.decided(0, 100),
        "recent": ledger.recent(3),
        "counts": ledger.counts(),
        "files": ledger.files(),
        "parts": ledger.parts(),
        "projected": ledger.mark("projected"),
        "unplanned": [ledger.unplanned(name) for name in ("dpo_data", "training_data")],
    }


def write_version_1(path: Path, known: Mapping[str, Any]) -> None:
    """What rlvr_ray with schema 1 would have written."""
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    db = apsw.Connection(str(path))
    db.pragma("journal_mode", "wal")
    db.pragma("foreign_keys", True)
    with db:
        db.execute(SCHEMA_1.read_text("utf-8"))
        db.pragma("user_version", 1)
        for seq, state in known["batches"]:
            one: BatchState = state
            db.execute(
                "INSERT INTO batch VALUES (?, ?, ?, ?, ?)",
                (
                    seq,
                    str(one.batch.batch_id),
                    one.batch.correlation_id,
                    one.outcome is None,
                    codec.dumps(one.batch),
                ),
            )
            results = list(one.results.items())
            random.Random(seq).shuffle(results)
            for key, result in results:
                db.execute(
                    "INSERT INTO verification VALUES (?, ?, ?, ?)",
                    (
                        str(key),
                        str(one.batch.batch_id),
                        isinstance(result, Verification),
                        codec.dumps(result),
                    ),
                )
        for seq, state in known["decided"]:
            outcome = state.outcome
            batch_id, results = str(state.batch.batch_id), state.results
            db.execute(
                "INSERT INTO outcome VALUES (?, ?, ?, ?, ?, ?)",
                (
                    seq,
                    batch_id,
                    outcome.reason,
                    outcome.month,
                    len(results),
                    codec.dumps(outcome),
                ),
            )
        for name, file in known["files"].items():
            db.execute("INSERT INTO file VALUES (?, ?)", (name, file.bytes))
        for part in known["parts"]:
            one_part: Part = part
            db.execute(
                "INSERT INTO part VALUES (?, ?, ?, ?, ?, ?)",
                (
                    one_part.path,
                    one_part.dataset,
                    one_part.first_seq,
                    one_part.last_seq,
                    one_part.rows,
                    one_part.sha256,
                ),
            )
        db.execute("UPDATE projected SET seq = ?", (known["projected"],))
    db.close()


def dump(folder: Path) -> dict[str, Any]:
    """Every table and its rows, and the version."""
    db = apsw.Connection(str(folder / "ledger.db"))
    made = db.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY name").fetchall()
    found: dict[str, Any] = {"version": db.pragma("user_version"), "schema": made}
    for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
        found[str(name)] = db.execute(f"SELECT * FROM {name}").fetchall()
    db.close()
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "data")


@pytest.fixture
def known(folder: Folder) -> dict[str, Any]:
    """What the folder's ledger, which is of version 1, holds."""
    made(folder)
    reader = Reader(folder.path)
    found = content(reader)
    reader.close()
    write_version_1(folder.path / "ledger.db", found)
    return found


def test_it_holds_what_it_held(folder: Folder, known: dict[str, Any]) -> None:
    ledger = Ledger(folder.path)
    assert ledger._db.pragma("user_version") == 2
    assert content(ledger) == known
    for name in ("mirrored", "pruned", "swept"):
        assert ledger.mark(name) == 0
    assert ledger._db.pragma("foreign_key_check") is None
    assert ledger._db.pragma("integrity_check") == "ok"
    assert ledger._db.pragma("foreign_keys") == 1
    assert [state.batch for _, state in ledger.open_batches(0, 10)] == list(OPEN)
    assert [state for _, state in ledger.decided(0, 100)] == [*STATES, LAST]
    for state in (*STATES, LAST):
        assert ledger.find(state.batch.batch_id) == state
    ledger.close()


def test_the_tables_are_those_of_a_new_ledger(
    folder: Folder, known: dict[str, Any], tmp_path: Path
) -> None:
    Ledger(folder.path).close()
    Ledger(tmp_path / "new").close()
    assert dump(folder.path)["schema"] == dump(tmp_path / "new")["schema"]


def test_what_happened_before_can_be_told(folder: Folder, known: dict[str, Any]) -> None:
    """Answers in the order of recording, then each batch's results and outcome as decided."""
    wanted: list[Event] = []
    for _, state in known["batches"]:
        wanted += [events.answer_generated(state.batch, c) for c in state.batch.candidates]
    answers = len(wanted)
    for _, state in known["decided"]:
        wanted += [
            events.verification_ended(state.batch, c, state.results[c.event_id])
            for c in state.batch.candidates
        ]
        wanted.append(events.outcome_decided(state.batch, state.outcome, state.results))

    ledger = Ledger(folder.path)
    posted = ledger.events(0, 1000)
    assert [event.seq for event in posted] == list(range(1, len(wanted) + 1))
    assert [event.event for event in posted] == wanted
    assert ledger.backlog() == Backlog(pending=len(wanted), oldest=CREATED)
    assert ledger.first_event(DECIDED) == answers + 1
    ledger.close()


def test_files_stay_as_they_are_and_grow_on(
    folder: Folder, known: dict[str, Any], tmp_path: Path
) -> None:
    before = {
        file: (file.stat().st_mtime_ns, file.stat().st_ino, file.read_bytes())
        for file in folder.path.rglob("*_data/**/*")
        if file.is_file()
    }
    assert len(before) > 4
    more = [decided(number) for number in range(10, 14)]
    with folder.open() as (ledger, projector):
        for file, (modified, inode, data) in before.items():
            now = file.stat()
            assert (now.st_mtime_ns, now.st_ino) == (modified, inode), f"{file.name} was made"
            assert file.read_bytes() == data
        projector.project()
        for state in more:
            decide_in(ledger, state)
            projector.project()
            projector.seal_due()
        projector.seal_all()
    for file, (_, inode, data) in before.items():
        assert file.stat().st_ino == inode
        assert file.read_bytes().startswith(data)

    calm = Folder(tmp_path / "undisturbed", folder.settings)
    calm.run([*STATES, LAST, *more])
    wanted = {path: data for path, data in calm.files().items() if path.endswith(".jsonl")}
    same_files({path: folder.files()[path] for path in wanted}, wanted)
    for dataset, lines in expected([*STATES, LAST, *more]).items():
        assert folder.sealed(dataset) == lines


def test_a_second_opening_changes_nothing(folder: Folder, known: dict[str, Any]) -> None:
    Ledger(folder.path).close()
    before = dump(folder.path)
    for _ in range(2):
        Ledger(folder.path).close()
    assert dump(folder.path) == before


def test_open_batches_can_be_decided(folder: Folder, known: dict[str, Any]) -> None:
    ledger = Ledger(folder.path)
    told = len(ledger.events(0, 1000))
    state = decided(99, batch_id=OPEN[0].batch_id)
    outcome = state.outcome
    assert outcome is not None
    ledger.commit([lambda it: it.decide(OPEN[0], state.results, outcome)])
    assert ledger.find(OPEN[0].batch_id) == BatchState(
        batch=OPEN[0], results=state.results, outcome=outcome
    )
    assert ledger.decided(len(STATES) + 1, 10)[0][1].batch == OPEN[0]
    assert len(ledger.events(0, 1000)) == told + 4
    ledger.close()


def test_an_empty_ledger_becomes_an_empty_one(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    known = content(ledger)
    ledger.close()
    write_version_1(tmp_path / "ledger.db", known)
    ledger = Ledger(tmp_path)
    assert content(ledger) == known
    assert ledger.events(0, 10) == []
    ledger.close()


def test_one_that_fails_at_its_end_leaves_all_as_it_was(
    folder: Folder, known: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = dump(folder.path)
    assert before["version"] == 1
    with monkeypatch.context() as patch:
        patch.setitem(schema.MIGRATIONS, 1, f"{schema.MIGRATIONS[1]}; SELECT * FROM missing")
        with pytest.raises(LedgerError, match="no such table"):
            Ledger(folder.path)
    assert dump(folder.path) == before
    ledger = Ledger(folder.path)
    assert content(ledger) == known
    ledger.close()


def test_rows_that_refer_to_none_leave_all_as_it_was(
    folder: Folder, known: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = dump(folder.path)
    damage = "INSERT INTO verification VALUES (4711, 0, 0, '{}');"
    monkeypatch.setitem(schema.MIGRATIONS, 1, f"{schema.MIGRATIONS[1]}; {damage}")
    with pytest.raises(LedgerError, match=r"\(schema 1\) is damaged: 1 rows"):
        Ledger(folder.path)
    assert dump(folder.path) == before


def test_one_that_is_killed_before_its_commit_leaves_all_as_it_was(
    folder: Folder, known: dict[str, Any]
) -> None:
    before = dump(folder.path)
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "import apsw\n"
        "from rlvr_ray.adapters.ledger import Ledger, schema\n"
        "def prepare(db):\n"
        "    db.set_commit_hook(lambda: os.kill(os.getpid(), signal.SIGKILL))\n"
        "apsw.connection_hooks.append(prepare)\n"
        # Whatever is written goes to the disk at once.
        "schema.MIGRATIONS[1] = 'PRAGMA cache_size = 1;' + schema.MIGRATIONS[1]\n"
        "Ledger(Path(sys.argv[1]))\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", script, str(folder.path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert (folder.path / "ledger.db-wal").stat().st_size > 10_000, "half of it lies there"
    with pytest.raises(LedgerError, match="schema 1"):
        Reader(folder.path)
    assert dump(folder.path) == before
    ledger = Ledger(folder.path)
    assert content(ledger) == known
    ledger.close()


def test_a_reader_says_what_to_do(folder: Folder, known: dict[str, Any]) -> None:
    before = dump(folder.path)
    with pytest.raises(LedgerError, match=r"earlier rlvr_ray \(schema 1\).*`rlvr serve`"):
        Reader(folder.path)
    assert dump(folder.path) == before
    Ledger(folder.path).close()
    reader = Reader(folder.path)
    assert content(reader) == known
    reader.close()
