"""A ledger of an earlier schema becomes one of this schema: all of it, or it stays as it was."""

import hashlib
import json
import random
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import cycle
from operator import methodcaller
from pathlib import Path
from typing import Any
from uuid import uuid4

import apsw
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rlvr_ray.core import codec, ids
from rlvr_ray.core.errors import LedgerError
from rlvr_ray.core.pairing import PairingRule, Result, decide
from rlvr_ray.core.records import Batch, Judge, Statement, Verification
from rlvr_ray.core.scoring import score
from rlvr_ray.dataset.audit import audit
from rlvr_ray.dataset.files import Dataset
from rlvr_ray.dataset.filters import entry_of
from rlvr_ray.dataset.ledger import Ledger, Reader, schema
from rlvr_ray.dataset.state import Backlog, BatchState, JsonlFile
from rlvr_ray.documents.retriever import Ingested
from rlvr_ray.events import bodies, outbox
from rlvr_ray.events.bodies import Event
from rlvr_ray.settings import DatasetSettings
from tests.builders import CREATED, DECIDED, assessment, batch, verification
from tests.folders import MIXED, ODD, Folder, decide_in, decided, expected, same_files
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.integration


ROOT = Path(__file__).parents[2]
TABLES = {version: ROOT / f"tests/data/ledger_v{version}.sql" for version in (1, 2)}
#: Versions 3 and 4 have the tables of version 2, and 6 those of 5: they have no ``batch.run``.
SCHEMAS = {
    **{version: file.read_text("utf-8") for version, file in TABLES.items()},
    3: TABLES[2].read_text("utf-8"),
    4: TABLES[2].read_text("utf-8"),
    5: schema.SCHEMA.removesuffix(schema._RUNS),
}
#: What the rule of pairing has had since it has versions.
NEW_IN_RULE = (
    "version",
    "min_chosen_faithfulness",
    "min_chosen_relevancy",
    "rejected_needs_defect",
)
#: Who gave the verdicts, as a record said it, and whose assessment that is today.
METHODS = {"grounded": "grounded", "ragas": "ragas", "their-judge": "external"}
DOCUMENT = Ingested(
    document_id=ids.derive("document", "ray.md"),
    source="ray.md",
    num_chunks=3,
    content_id=ids.derive("content"),
    changed=True,
)


def then(state: BatchState) -> BatchState:
    """A decided batch as a program of that time had it: one judge for each answer, two metrics,
    and a rule without a version, which asked for no defect.
    """
    assert state.outcome is not None
    asked = replace(state.batch, references=())
    results: dict[Any, Result] = {}
    for candidate, (method, verifier) in zip(asked.candidates, cycle(METHODS.items())):
        result = state.results[candidate.event_id]
        if isinstance(result, Verification):
            value = score(result)
            apart = min(value, 1 - value, 0.1234561)
            judge = Judge(
                faithfulness=method,
                relevancy="ragas",
                model=f"judge {ODD}",
                embedder="test-embedder",
                version="test-version",
            )
            verdict = 1 / 3 if value < 0.8 else 2 / 3
            statement = Statement(text=ODD, verdict=verdict, reason=ODD)
            only = assessment(
                value + apart,
                value - apart,
                verifier=verifier,
                judge=judge,
                statements=(statement,) * candidate.index,
                duration_ms=1234 + candidate.index,
            )
            result = verification(
                candidate, assessments=(only,), duration_ms=1234 + candidate.index
            )
        results[candidate.event_id] = result
    rule = {k: v for k, v in state.outcome.rule.items() if k not in NEW_IN_RULE}
    outcome = decide(asked, results, PairingRule.on_record(rule), state.outcome.decided_at)
    return BatchState(batch=asked, results=results, outcome=replace(outcome, rule=rule))


OPEN = (
    batch(question="Open one?", created_at=CREATED + timedelta(microseconds=123456)),
    batch(("x", "y"), "Open two?"),
)
#: The order of decisions is not that of the questions.
STATES = tuple(map(then, (*MIXED[4:], *MIXED[:4], decided(9, (0.95, 0.85)))))
LAST = then(decided(8))


def made(folder: Folder) -> None:
    """A life: files with sealed parts, one part that is not made yet, one outcome not written."""
    folder.settings = DatasetSettings(seal_rows=4)
    with folder.open() as (ledger, projector):
        ledger.commit([lambda it: it.record([OPEN[0]])])
        ledger.commit([lambda it: it.record([state.batch for state in STATES[::-1]])])
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
    """All that every version can say of batches."""
    return {
        "batches": ledger.batches(0, 100),
        "open": ledger.open_batches(0, 100),
        "decided": ledger.decided(0, 100),
        "recent": ledger.recent(3),
        "counts": ledger.counts(),
    }


def result_5(text: str) -> str:
    """The JSON of a result before an assessment had a defect."""
    data = json.loads(text)
    for one in data.get("assessments", ()):
        assert one.pop("defect") is None
    return json.dumps(data, ensure_ascii=False)


def old_batch(record: Batch) -> str:
    """Its JSON before there were references."""
    data = codec.plain(record)
    assert data.pop("references") == []
    return json.dumps(data, ensure_ascii=False)


def old_result(result: Result) -> str:
    """Its JSON before there were assessments."""
    if not isinstance(result, Verification):
        return codec.dumps(result)
    data = codec.plain(result)
    (only,) = data["assessments"]
    del only["judge"]["engine"]
    parts = ("faithfulness", "relevancy", "judge", "statements", "reverse_questions", "usage")
    return json.dumps(
        {
            "answer_event_id": data["answer_event_id"],
            **{name: only[name] for name in parts},
            "duration_ms": data["duration_ms"],
            "completed_at": data["completed_at"],
        },
        ensure_ascii=False,
    )


def old_row(row: dict[str, Any]) -> dict[str, Any]:
    """A row of a file before there were assessments."""
    del row["metadata"]["references"]
    for judged in (
        row.get("verification"),
        row["metadata"].get("chosen_provenance"),
        row["metadata"].get("rejected_provenance"),
    ):
        if judged:
            only = (judged.pop("assessments") or [{"judge": None}])[0]
            judged["judge"] = only["judge"]
    return row


def row_5(row: dict[str, Any]) -> dict[str, Any]:
    """A row of a file before there were defects, and versions of the rule of pairing."""
    for judged in (
        row.get("verification"),
        row["metadata"].get("chosen_provenance"),
        row["metadata"].get("rejected_provenance"),
    ):
        if judged:
            for part in (judged, *judged["assessments"]):
                del part["defect"]
    for name in NEW_IN_RULE:
        row["metadata"].get("rule", {}).pop(name, None)
    return row


def row_3(row: dict[str, Any]) -> dict[str, Any]:
    """A row of a file before there were strategies of pairing."""
    row = row_5(row)
    rule = row["metadata"].get("rule", {})
    for name in ("strategy", "max_length_ratio"):
        rule.pop(name, None)
    return row


def write_files(folder: Path, version: int) -> None:
    """Put rows of that time in the place of today's."""
    then_row = {3: row_3, 4: row_5, 5: row_5}.get(version, lambda row: old_row(row_3(row)))
    for file in folder.glob("*_data/*.jsonl"):
        rows = [then_row(json.loads(line)) for line in file.read_bytes().splitlines()]
        file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    for file in folder.glob("*_data/parquet/*.parquet"):
        rows = [then_row(row) for row in pq.read_table(file).to_pylist()]
        pq.write_table(pa.Table.from_pylist(rows), file)


def size_of(folder: Path, path: str) -> int:
    return (folder / path).stat().st_size


def digest_of(folder: Path, path: str) -> str:
    return hashlib.sha256((folder / path).read_bytes()).hexdigest()


def write_ledger(folder: Path, version: int) -> None:
    """Have the folder's ledger as that version would have it, and its files."""
    write_files(folder, version)
    path = folder / "ledger.db"
    today = path.rename(folder / "today.db")
    reader = apsw.Connection(str(today))
    reader.pragma("wal_checkpoint", "truncate")
    reader.pragma("journal_mode", "delete")
    reader.close()
    for suffix in ("-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    db = apsw.Connection(str(path))
    db.pragma("journal_mode", "wal")
    db.pragma("foreign_keys", True)
    functions: dict[str, Any] = {
        "old_batch": lambda text: old_batch(codec.loads(Batch, text)),
        "result_5": result_5,
        "old_result": lambda text: old_result(codec.loads(Verification, text)),
        "size_of": lambda name: size_of(folder, name),
        "digest_of": lambda name: digest_of(folder, name),
    }
    for name, function in functions.items():
        db.create_scalar_function(name, function, 1)
    db.execute("ATTACH ? AS today", (str(today),))
    with db:
        db.execute(SCHEMAS[version])
        db.execute({1: FILL_1, 2: FILL_2, 3: FILL_3, 4: FILL_3, 5: FILL_5}[version])
        db.pragma("user_version", version)
    db.close()
    today.unlink()


#: Results lie in no order of their own.
FILL_1 = """
INSERT INTO batch SELECT seq, batch_id, record ->> '$.correlation_id', open, old_batch(record)
    FROM today.batch;
INSERT INTO verification
    SELECT verification.record ->> '$.answer_event_id', batch_id, completed,
           iif(completed, old_result(verification.record), verification.record)
    FROM today.verification JOIN today.batch ON batch.seq = verification.batch;
INSERT INTO outcome
    SELECT outcome.seq, batch_id, reason, month, answers, outcome.record
    FROM today.outcome JOIN today.batch ON batch.seq = outcome.batch;
INSERT INTO file SELECT path, size_of(path) FROM today.file;
INSERT INTO part
    SELECT path, dataset, first_seq, last_seq, rows, iif(sha256 NOTNULL, digest_of(path), NULL)
    FROM today.part;
UPDATE projected SET seq = (SELECT seq FROM today.mark WHERE name = 'projected');
"""
FILL_2 = """
INSERT INTO batch SELECT seq, batch_id, open, iif(record = '', '', old_batch(record))
    FROM today.batch;
INSERT INTO verification
    SELECT batch, candidate, completed, iif(completed, old_result(record), record)
    FROM today.verification;
INSERT INTO outcome SELECT * FROM today.outcome;
INSERT INTO document SELECT * FROM today.document;
INSERT INTO outbox SELECT * FROM today.outbox;
INSERT INTO file
    SELECT path, size_of(path), iif(kept, size_of(path), 0), iif(kept, digest_of(path), NULL)
    FROM today.file;
INSERT INTO part
    SELECT path, dataset, first_seq, last_seq, rows, iif(sha256 NOTNULL, digest_of(path), NULL)
    FROM today.part;
DELETE FROM mark;
INSERT INTO mark SELECT * FROM today.mark;
"""
FILL_3 = FILL_2.replace("old_batch(record)", "record").replace("old_result", "result_5")
FILL_5 = f"""{FILL_3}
INSERT INTO models SELECT * FROM today.models;
INSERT INTO entry SELECT * FROM today.entry;
INSERT INTO review SELECT * FROM today.review;
"""


def dump(folder: Path) -> dict[str, Any]:
    """Every table and its rows, and the version."""
    db = apsw.Connection(str(folder / "ledger.db"))
    made = db.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY name").fetchall()
    found: dict[str, Any] = {"version": db.pragma("user_version"), "schema": made}
    for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
        found[str(name)] = db.execute(f"SELECT * FROM {name}").fetchall()
    db.close()
    return found


def change(folder: Path, sql: str) -> None:
    db = apsw.Connection(str(folder / "ledger.db"))
    db.execute(sql)
    db.close()


def problems(folder: Folder) -> list[str]:
    """What verify-store says."""
    reader = Reader(folder.path)
    try:
        return list(audit(reader, Dataset(folder.path)))
    finally:
        reader.close()


@pytest.fixture(params=SCHEMAS)
def version(request: pytest.FixtureRequest) -> int:
    found: int = request.param
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "data")


@pytest.fixture
def known(folder: Folder, version: int) -> dict[str, Any]:
    """What the folder's ledger, which is of an earlier version, holds."""
    made(folder)
    reader = Reader(folder.path)
    found = content(reader)
    reader.close()
    write_ledger(folder.path, version)
    return found


def test_it_holds_what_it_held(folder: Folder, known: dict[str, Any]) -> None:
    ledger = Ledger(folder.path)
    assert ledger._db.pragma("user_version") == schema.VERSION == 7
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


def test_batches_of_a_run_are_found_by_its_name(folder: Folder, known: dict[str, Any]) -> None:
    ledger = Ledger(folder.path)
    asked = {state.batch.batch_id for state in (*STATES, LAST)} | {one.batch_id for one in OPEN}
    found, more = ledger.of_run(OPEN[0].correlation_id, 0, 100)
    assert found.keys() == asked and more is None
    assert [each for each, ending in found.items() if ending is None] == [o.batch_id for o in OPEN]
    ledger.close()


def test_version_6_knew_runs_by_records_only(folder: Folder) -> None:
    made(folder)
    ledger = Ledger(folder.path)
    name = OPEN[0].correlation_id
    ledger.commit([lambda it: it.record([batch(batch_id=uuid4(), correlation_id=name)])])
    known, _ = ledger.of_run(name, 0, 100)
    assert len(known) == len(STATES) + 3
    ledger.close()
    change(folder.path, "DROP INDEX batch_run; ALTER TABLE batch DROP COLUMN run;")
    change(folder.path, "PRAGMA user_version = 6")
    ledger = Ledger(folder.path)
    assert ledger.of_run(name, 0, 100) == (known, None)
    ledger.close()


def test_the_tables_are_those_of_a_new_ledger(
    folder: Folder, known: dict[str, Any], tmp_path: Path
) -> None:
    Ledger(folder.path).close()
    Ledger(tmp_path / "new").close()
    assert dump(folder.path)["schema"] == dump(tmp_path / "new")["schema"]


def test_a_record_is_what_would_be_written_today(folder: Folder, known: dict[str, Any]) -> None:
    Ledger(folder.path).close()
    records = {
        (number, candidate): record
        for number, candidate, _, record in dump(folder.path)["verification"]
    }
    for number, state in known["batches"]:
        for candidate in state.batch.candidates:
            if result := state.results.get(candidate.event_id):
                today = codec.plain(result)
                for one in today.get("assessments", ()):
                    assert one.pop("defect") is None, "what is not there is none"
                written = json.loads(records[number, candidate.index])
                assert written == today
                assert list(written) == list(today)


@pytest.mark.parametrize("version", [1], indirect=True)
def test_what_happened_before_can_be_told(folder: Folder, known: dict[str, Any]) -> None:
    """Answers in the order of recording, then each batch's results and outcome as decided."""
    wanted: list[Event] = []
    for _, state in known["batches"]:
        wanted += [bodies.answer_generated(state.batch, c) for c in state.batch.candidates]
    answers = len(wanted)
    for _, state in known["decided"]:
        wanted += [
            bodies.verification_ended(state.batch, c, state.results[c.event_id])
            for c in state.batch.candidates
        ]
        wanted.append(bodies.outcome_decided(state.batch, state.outcome, state.results))

    ledger = Ledger(folder.path)
    posted = outbox.events(ledger, 0, 1000)
    assert [event.seq for event in posted] == list(range(1, len(wanted) + 1))
    assert [event.event for event in posted] == wanted
    assert ledger.backlog() == Backlog(pending=len(wanted), oldest=CREATED)
    assert ledger.first_event(DECIDED) == answers + 1
    ledger.close()


def test_events_and_what_the_broker_has_of_them_stay(folder: Folder) -> None:
    made(folder)
    ledger = Ledger(folder.path)
    ledger.commit([lambda it: it.ingested([DOCUMENT]), lambda it: it.mirrored(9)])
    before = outbox.events(ledger, 0, 1000), ledger.backlog()
    assert before[1].pending > 9
    ledger.close()
    write_ledger(folder.path, 2)
    ledger = Ledger(folder.path)
    assert (outbox.events(ledger, 0, 1000), ledger.backlog()) == before
    ledger.close()


def test_scores_are_those_of_then_to_the_last_digit(folder: Folder) -> None:
    """Half a millionth more or less, and an outcome would not follow from its results."""
    draw = random.Random(4)
    states = []
    for number in range(60):
        asked = batch([f"answer {n}" for n in range(8)], f"Question {number}?")
        results: dict[Any, Result] = {}
        for c in asked.candidates:
            one = draw.randint(0, 10**6)
            other = draw.randint(0, 10**6) if c.index % 2 else one ^ 1  # odd sums end in a half
            found = verification(c, one / 10**6, min(other, 10**6) / 10**6)
            (only,) = found.assessments
            only = replace(
                only,
                judge=replace(only.judge, engine=""),
                duration_ms=found.duration_ms,
                score=round((one / 10**6 + min(other, 10**6) / 10**6) / 2, 6),
            )
            results[c.event_id] = replace(found, assessments=(only,))
        outcome = decide(asked, results, PairingRule(), DECIDED)
        states.append(BatchState(batch=asked, results=results, outcome=outcome))
    folder.run(states)
    write_ledger(folder.path, 2)
    folder.run()
    reader = Reader(folder.path)
    assert [state for _, state in reader.decided(0, 100)] == states
    reader.close()
    assert problems(folder) == []


# Files.


def jsonl(folder: Folder) -> dict[str, bytes]:
    return {path: data for path, data in folder.files().items() if path.endswith(".jsonl")}


def test_what_the_rule_of_today_would_decide_otherwise_stays(
    folder: Folder, known: dict[str, Any], version: int
) -> None:
    """And it is sound: an outcome is what it was under the rule of its time."""
    otherwise = [
        state
        for state in (*STATES, LAST)
        if state.outcome is not None
        and decide(state.batch, state.results, PairingRule(), DECIDED).reason
        != state.outcome.reason
    ]
    assert any(state.outcome and state.outcome.reason is None for state in otherwise)
    folder.run()
    assert problems(folder) == []
    rows = folder.lines("dpo_data/dpo_data_202603.jsonl")
    assert rows == expected([*STATES, LAST])["dpo_data"]
    assert {row["metadata"]["rule"]["version"] for row in rows} == {1}


def test_files_are_written_again_and_grow_on(
    folder: Folder, known: dict[str, Any], version: int, tmp_path: Path
) -> None:
    before = folder.files()
    assert len(before) > 4
    Ledger(folder.path).close()
    same_files(folder.files(), before)  # nothing is lost where the next step never comes

    more = [then(decided(number)) for number in range(10, 14)]
    with folder.open() as (ledger, projector):
        assert ledger.parts(unsealed=True) == []
        projector.project()
        for state in more:
            decide_in(ledger, state)
            projector.project()
            projector.seal_due()
        projector.seal_all()
    after = folder.files()
    assert before.keys() <= after.keys(), "parts cover what they covered"
    assert all(after[path] != data for path, data in before.items())
    assert problems(folder) == []

    calm = Folder(tmp_path / "undisturbed", folder.settings)
    calm.run([*STATES, LAST, *more])
    same_files(jsonl(folder), jsonl(calm))
    for dataset, lines in expected([*STATES, LAST, *more]).items():
        assert folder.sealed(dataset) == lines


def test_a_second_start_writes_nothing_again(folder: Folder, known: dict[str, Any]) -> None:
    folder.run()
    before = {file: file.stat().st_mtime_ns for file in folder.path.rglob("*_data/**/*")}
    ledger = dump(folder.path)
    folder.run()
    assert {file: file.stat().st_mtime_ns for file in folder.path.rglob("*_data/**/*")} == before
    assert dump(folder.path) == ledger


def test_files_past_retention_stay_as_they_are(folder: Folder) -> None:
    """Nobody can write them again; what is within retention is written again behind them."""
    months = [datetime(2026, month, 10, tzinfo=UTC) for month in (2, 2, 3, 3, 4, 4)]
    states = [then(decided(number, at=at)) for number, at in enumerate(months)]
    folder.run(states)
    with folder.open() as (_, projector):
        assert projector.prune(datetime(2026, 4, 2, tzinfo=UTC), mirrored=False) == 4
    write_ledger(folder.path, 2)
    before = {path: (folder.path / path).stat().st_ino for path in folder.files()}
    data = folder.files()
    kept = {path for path in before if "_202604" not in path}
    assert len(kept) == 8

    ledger = Ledger(folder.path)
    assert set(ledger.files()) == {path for path in kept if path.endswith(".jsonl")}
    for path, file in ledger.files().items():
        size = len(data[path])
        assert file == JsonlFile(bytes=size, kept=size, sha256=digest_of(folder.path, path))
    assert {part.path for part in ledger.parts(unsealed=True)} == {
        path for path in before.keys() - kept if path.endswith(".parquet")
    }
    assert ledger.mark("projected") == ledger.mark("pruned") == 4
    ledger.close()

    folder.run()
    after = folder.files()
    assert after.keys() == data.keys()
    for path in data:
        assert (after[path] == data[path]) is (path in kept), path
        if path in kept:
            assert (folder.path / path).stat().st_ino == before[path]
    assert folder.lines("dpo_data/dpo_data_202604.jsonl") == expected(states[4:])["dpo_data"]
    assert problems(folder) == []


# What is searched.


def test_what_was_decided_before_is_found(folder: Folder, known: dict[str, Any]) -> None:
    Ledger(folder.path).close()
    reader = Reader(folder.path)
    for number, state in known["batches"]:
        assert reader.entry(number) == (state.outcome and entry_of(state.batch, state.outcome))
    reader.close()


def test_rows_to_search_are_made(folder: Folder) -> None:
    """Only what is within retention is searched; reviews begin."""
    months = [datetime(2026, month, 10, tzinfo=UTC) for month in (2, 2, 3, 3, 4, 4)]
    states = [decided(number, at=at) for number, at in enumerate(months)]
    folder.run(states)
    with folder.open() as (_, projector):
        assert projector.prune(datetime(2026, 4, 2, tzinfo=UTC), mirrored=False) == 4
    before = dump(folder.path)
    write_ledger(folder.path, 4)
    folder.run()
    after = dump(folder.path)
    for table in ("entry", "models", "review", "outcome"):
        assert after[table] == before[table]
    assert [row[:4] for row in after["batch"]] == [row[:4] for row in before["batch"]]
    assert [row[4] for row in after["batch"]] == [None] * 4 + [
        row[4] for row in before["batch"][4:]
    ]
    assert [row[0] for row in after["entry"]] == [5, 6]
    assert after["review"] == []
    assert problems(folder) == []


def test_a_record_that_cannot_be_read_holds_up_nothing(folder: Folder) -> None:
    made(folder)
    write_ledger(folder.path, 4)
    change(folder.path, "UPDATE batch SET record = json_remove(record, '$.kind') WHERE seq = 4")
    Ledger(folder.path).close()
    found = dump(folder.path)
    assert found["version"] == schema.VERSION
    assert {row[0] for row in found["entry"]} == {row[1] for row in found["outcome"]} - {4}
    folder.run()  # files are written again, without it
    (problem,) = problems(folder)
    assert "a record cannot be read, and is set aside: its record: kind" in problem


# Going on.


def test_a_second_opening_changes_nothing(folder: Folder, known: dict[str, Any]) -> None:
    Ledger(folder.path).close()
    before = dump(folder.path)
    for _ in range(2):
        Ledger(folder.path).close()
    assert dump(folder.path) == before


def test_open_batches_can_be_decided(folder: Folder, known: dict[str, Any]) -> None:
    ledger = Ledger(folder.path)
    told = len(outbox.events(ledger, 0, 1000))
    state = decided(99, batch_id=OPEN[0].batch_id)
    outcome = state.outcome
    assert outcome is not None
    ledger.commit([lambda it: it.decide(OPEN[0], state.results, outcome)])
    assert ledger.find(OPEN[0].batch_id) == BatchState(
        batch=OPEN[0], results=state.results, outcome=outcome
    )
    assert ledger.decided(len(STATES) + 1, 10)[0][1].batch == OPEN[0]
    assert len(outbox.events(ledger, 0, 1000)) == told + 4
    ledger.close()


def test_results_of_an_open_batch_are_kept(folder: Folder) -> None:
    """One of three came from outside before; the others come after."""
    state = then(decided(1))
    second = state.batch.candidates[1]
    ledger = Ledger(folder.path)
    came: Mapping[Any, Result] = {second.event_id: state.results[second.event_id]}
    ledger.commit([lambda it: it.record([state.batch]), lambda it: it.keep(state.batch, came)])
    ledger.close()
    write_ledger(folder.path, 2)
    ledger = Ledger(folder.path)
    ((_, found),) = ledger.open_batches(0, 10)
    assert found.results == came
    assert state.outcome is not None
    ledger.commit([methodcaller("decide", state.batch, state.results, state.outcome)])
    assert ledger.find(state.batch.batch_id) == state
    ledger.close()


def test_an_empty_ledger_becomes_an_empty_one(tmp_path: Path, version: int) -> None:
    ledger = Ledger(tmp_path)
    known = content(ledger)
    ledger.close()
    write_ledger(tmp_path, version)
    ledger = Ledger(tmp_path)
    assert content(ledger) == known
    assert outbox.events(ledger, 0, 10) == []
    ledger.close()


# What goes wrong.


def test_one_that_fails_at_its_end_leaves_all_as_it_was(
    folder: Folder, known: dict[str, Any], version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = dump(folder.path)
    assert before["version"] == version
    last = schema.MIGRATIONS[schema.VERSION - 1]
    assert isinstance(last, str)

    def failing(db: apsw.Connection) -> None:
        db.execute(last)
        db.execute("SELECT * FROM missing")

    with monkeypatch.context() as patch:
        patch.setitem(schema.MIGRATIONS, schema.VERSION - 1, failing)
        with pytest.raises(LedgerError, match="no such table"):
            Ledger(folder.path)
    assert dump(folder.path) == before
    ledger = Ledger(folder.path)
    assert content(ledger) == known
    ledger.close()


def test_rows_that_refer_to_none_leave_all_as_it_was(
    folder: Folder, known: dict[str, Any], version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = dump(folder.path)
    last = schema.MIGRATIONS[schema.VERSION - 1]
    assert isinstance(last, str)

    def damaging(db: apsw.Connection) -> None:
        db.execute(last)
        db.execute("INSERT INTO verification VALUES (4711, 0, 0, '{}')")

    monkeypatch.setitem(schema.MIGRATIONS, schema.VERSION - 1, damaging)
    with pytest.raises(LedgerError, match=rf"\(schema {version}\) is damaged: 1 rows"):
        Ledger(folder.path)
    assert dump(folder.path) == before


@pytest.mark.parametrize(
    "damage",
    [
        "'{'",
        "CAST(x'7bff' AS TEXT)",
        "json_set(record, '$.candidates', json_array('x', 1, NULL))",
        "json_set(record, '$.candidates', json_object('a', json_object('event_id', 1)))",
        "json_set(record, '$.created_at', 'now')",
    ],
)
@pytest.mark.parametrize("table", ["batch", "outcome"])
def test_no_record_holds_up_a_migration(
    folder: Folder, version: int, table: str, damage: str
) -> None:
    made(folder)
    write_ledger(folder.path, version)
    change(folder.path, f"UPDATE {table} SET record = {damage} WHERE seq = 4")
    folder.run()
    with folder.open() as (ledger, _):
        lost = len(STATES) + 1 - len(ledger.decided(0, 100))
        harmless = table == "outcome" and "json_set" in damage  # the field is of a batch
        assert lost == 1 or harmless
        assert ledger.mark("projected") == len(STATES) + 1
        told = {posted.event.body["batch_id"] for posted in outbox.events(ledger, 0, 1000)}
        assert len(told) >= len(STATES) + len(OPEN)


@pytest.mark.parametrize(
    "damage",
    [
        "'{'",
        "'[]'",
        "json_remove(record, '$.relevancy')",
        "json_set(record, '$.faithfulness', 'high')",
        "json_set(record, '$.judge', NULL)",
        "replace(record, '\"faithfulness\": ', '\"faithfulness\": N')",
        'replace(record, \'"relevancy": \', \'"relevancy": NaN, "was": \')',
    ],
)
def test_a_verification_that_cannot_be_read_holds_up_nothing(folder: Folder, damage: str) -> None:
    """It stays as it was, and its batch is set aside."""
    made(folder)
    write_ledger(folder.path, 2)
    change(folder.path, f"UPDATE verification SET record = {damage} WHERE batch = 4 AND completed")
    kept = "SELECT record FROM verification WHERE batch = 4 ORDER BY candidate"
    before = apsw.Connection(str(folder.path / "ledger.db")).execute(kept).fetchall()
    folder.run()
    with folder.open() as (ledger, _):
        assert len(ledger.decided(0, 100)) == len(STATES)
        assert ledger.decided(0, 100).last == len(STATES) + 1 == ledger.mark("projected")
        found = ledger._rows(kept)
    assert found == before, "nothing of it is touched"
    (problem,) = problems(folder)
    assert "a record cannot be read, and is set aside: the result of candidate" in problem


def test_one_that_is_killed_before_its_commit_leaves_all_as_it_was(
    folder: Folder, known: dict[str, Any], version: int
) -> None:
    before = dump(folder.path)
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from rlvr_ray.dataset.ledger import Ledger, schema\n"
        "prepare = schema.prepare\n"
        "def killed_at_its_end(db, path):\n"
        "    db.pragma('cache_size', 1)\n"  # whatever is written goes to the disk at once
        "    db.set_commit_hook(lambda: os.kill(os.getpid(), signal.SIGKILL))\n"
        "    prepare(db, path)\n"
        "schema.prepare = killed_at_its_end\n"
        "Ledger(Path(sys.argv[1]))\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", script, str(folder.path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert (folder.path / "ledger.db-wal").stat().st_size > 10_000, "half of it lies there"
    with pytest.raises(LedgerError, match=f"schema {version}"):
        Reader(folder.path)
    assert dump(folder.path) == before
    ledger = Ledger(folder.path)
    assert content(ledger) == known
    ledger.close()


def test_a_reader_says_what_to_do(folder: Folder, known: dict[str, Any], version: int) -> None:
    before = dump(folder.path)
    with pytest.raises(LedgerError, match=rf"earlier rlvr_ray \(schema {version}\).*`rlvr serve`"):
        Reader(folder.path)
    assert dump(folder.path) == before
    Ledger(folder.path).close()
    reader = Reader(folder.path)
    assert content(reader) == known
    reader.close()
