"""What became of a batch, from a real ledger, real files and real log files."""

import json
import os
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from rlvr_ray.cli import trace
from rlvr_ray.cli.main import app
from rlvr_ray.core import ids
from rlvr_ray.core.errors import NotFound
from rlvr_ray.dataset.files import Dataset
from rlvr_ray.dataset.ledger import Browser, Ledger
from rlvr_ray.dataset.provenance import BatchProvenance
from rlvr_ray.dataset.reviews import Review, Verdict
from rlvr_ray.dataset.state import BatchState
from rlvr_ray.documents.retriever import Ingested
from rlvr_ray.events import outbox
from rlvr_ray.observability import log_lines
from rlvr_ray.pipeline.aggregator import Aggregator
from rlvr_ray.pipeline.trace import batch_trace
from rlvr_ray.serve.http import Services, create_api
from rlvr_ray.settings import Settings
from tests.builders import CREATED, DECIDED, batch
from tests.fakes import FakeGenerator, FakePanel, FakeRetriever
from tests.folders import MIXED, Folder, decide_in, decided

pytestmark = pytest.mark.integration


NEXT_MONTH = datetime(2026, 4, 1, 0, 0, 1, tzinfo=UTC)
LATER = tuple(decided(n, (0.9, 0.2), at=NEXT_MONTH) for n in (20, 21))
TEST_ID = ids.derive("some batch")


def provenance(folder: Path, batch_id: UUID) -> tuple[BatchState, BatchProvenance]:
    with closing(Browser(folder)) as browser:
        found = browser.provenance(batch_id)
    assert found is not None
    return found


def named(folder: Path, name: str, limit: int = 9) -> tuple[list[UUID], int]:
    with closing(Browser(folder)) as browser:
        return browser.named(name, limit)


def told(folder: Path) -> dict[UUID, dict[UUID, int]]:
    """The numbers of all events by batch, as they are published."""
    found: dict[UUID, dict[UUID, int]] = {}
    with closing(Browser(folder)) as browser:
        for posted in outbox.events(browser, 0, 10_000):
            if posted.event.body["batch_id"]:
                batch_id = UUID(posted.event.body["batch_id"])
                found.setdefault(batch_id, {})[posted.event.event_id] = posted.seq
    return found


# Rows of files.


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    folder = Folder(tmp_path_factory.mktemp("sealed"))
    folder.run([*MIXED, *LATER])
    return folder


@pytest.mark.parametrize("state", [*MIXED, *LATER], ids=lambda s: s.batch.question)
def test_the_lines_and_parts_that_are_named_have_the_rows(
    sealed: Folder, state: BatchState
) -> None:
    batch_id = state.batch.batch_id
    _, found = provenance(sealed.path, batch_id)
    assert state.outcome is not None
    wanted = {"training_data": len(state.batch.candidates)}
    if state.outcome.reason is None:
        wanted["dpo_data"] = 1
    assert {file.dataset: file.rows for file in found.files} == wanted
    for file in found.files:
        lines = sealed.lines(file.path)
        assert file.written and file.sealed and file.part is not None
        own = [n for n, row in enumerate(lines, 1) if row["metadata"]["batch_id"] == str(batch_id)]
        assert own == list(range(file.line, file.line + file.rows))
        rows = pq.read_table(sealed.path / file.part).to_pylist()
        assert sum(row["metadata"]["batch_id"] == str(batch_id) for row in rows) == file.rows


def test_rows_that_no_part_holds_yet(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.run(MIXED[:2], seal=True)
    folder.run([MIXED[4]], seal=False)
    _, found = provenance(tmp_path, MIXED[4].batch.batch_id)
    assert [(file.part, file.sealed, file.written) for file in found.files] == [
        (None, False, True)
    ] * 2
    _, before = provenance(tmp_path, MIXED[0].batch.batch_id)
    assert all(file.sealed for file in before.files)


def test_rows_that_are_about_to_be_written(tmp_path: Path) -> None:
    with closing(Ledger(tmp_path)) as ledger:
        decide_in(ledger, MIXED[0])
    _, found = provenance(tmp_path, MIXED[0].batch.batch_id)
    assert [(file.line, file.written) for file in found.files] == [(1, False)] * 2


# Events.


def test_each_event_has_its_number(sealed: Folder) -> None:
    for batch_id, numbers in told(sealed.path).items():
        _, found = provenance(sealed.path, batch_id)
        assert found.numbers == numbers


def test_events_are_found_wherever_others_stand_between(tmp_path: Path) -> None:
    """Recorded together, decided in another order, with documents and late results between."""
    states = [decided(n) for n in range(12)]
    document = Ingested(
        document_id=uuid4(), source="a.md", num_chunks=1, content_id=uuid4(), changed=True
    )
    with closing(Ledger(tmp_path)) as ledger:
        ledger.write(Ledger.record, [state.batch for state in states[:7]])
        ledger.write(Ledger.ingested, [document])
        for state in states[7:]:
            ledger.write(Ledger.record, [state.batch])
        for state in (states[9], states[0], states[4]):
            first = state.batch.candidates[0].event_id
            ledger.write(Ledger.keep, state.batch, {first: state.results[first]})
        for state in (states[11], states[4], states[9], states[1]):
            assert state.outcome is not None
            ledger.write(Ledger.decide, state.batch, state.results, state.outcome)
        ledger.write(Ledger.mirrored, 9)
    events = told(tmp_path)
    assert len(events) == 12
    for state in states:
        known, found = provenance(tmp_path, state.batch.batch_id)
        assert found.numbers == events[state.batch.batch_id]
        whole = len(known.results) + len(state.batch.candidates) + (known.outcome is not None)
        assert len(found.numbers) == whole
        assert found.mirrored == 9
    assert provenance(tmp_path, states[0].batch.batch_id)[1].files == ()


def test_what_people_said_is_a_step(tmp_path: Path) -> None:
    pair = MIXED[0]
    assert pair.outcome is not None and pair.outcome.chosen is not None
    said = Review(
        review_id=uuid4(),
        batch_id=pair.batch.batch_id,
        a=pair.outcome.chosen,
        b=pair.outcome.rejected or 0,
        said="b",
        verdict=Verdict.DISAGREE,
        note="B is right",
        reviewer="Ann",
        reviewed_at=DECIDED + timedelta(days=1),
    )
    with closing(Ledger(tmp_path)) as ledger:
        decide_in(ledger, pair)
        ledger.write(Ledger.review, said)
    steps = batch_trace(*provenance(tmp_path, pair.batch.batch_id), mirrored=False, logs=[])[
        "steps"
    ]
    assert (steps[-1]["step"], steps[-1]["detail"]) == ("reviewed", "Ann: disagree, B is right")


# Ids.


def test_a_batch_is_found_by_whatever_names_it(sealed: Folder) -> None:
    batch_id = MIXED[0].batch.batch_id
    events = told(sealed.path)[batch_id]
    assert len(events) == 7
    forms = [str(batch_id), batch_id.hex, str(batch_id).upper(), f" {batch_id}\n"]
    for name in [*forms, *map(str, events)]:
        assert named(sealed.path, name) == ([batch_id], 0)


def test_a_correlation_id_leads_to_its_batches_latest_first(tmp_path: Path) -> None:
    mine = str(uuid4())
    states = [decided(n, correlation_id=mine if n % 2 else "other") for n in range(6)]
    with closing(Ledger(tmp_path)) as ledger:
        for state in states[:4]:
            decide_in(ledger, state)
        ledger.write(Ledger.record, [state.batch for state in states[4:]])
    found = [state.batch.batch_id for state in states]
    assert named(tmp_path, mine) == ([found[5], found[3], found[1]], 0)
    assert named(tmp_path, mine, 2) == ([found[5], found[3]], 1)


@pytest.mark.parametrize("name", ["nothing", str(UUID(int=7)), "' OR 1=1 --", "%", "0"])
def test_what_names_nothing_finds_nothing(sealed: Folder, name: str) -> None:
    assert named(sealed.path, name) == ([], 0)


# The trace.


def test_steps_are_told_in_the_order_of_time() -> None:
    state = decided(3, (0.9, "the judge is silent", 0.5), asked_at=CREATED - timedelta(seconds=2))
    numbers = {ids.answer_event(state.batch.batch_id, n): n + 4 for n in range(3)}
    provenance = BatchProvenance(numbers=numbers, mirrored=5, files=())
    told = batch_trace(state, provenance, mirrored=True, logs=[])
    steps = told["steps"]
    assert [(step["step"], step["after_s"]) for step in steps] == [
        ("asked", 0.0),
        *[("answered", 2.0)] * 3,
        ("verified", 7.0),
        ("not verified", 7.0),
        ("verified", 7.0),
        ("decided", 10.0),
    ]
    assert (told["trace_id"], told["state"]) == (state.batch.batch_id.hex, "decided")
    assert [step["event"]["mirrored"] for step in steps[1:4]] == [True, True, False]
    assert steps[2]["temperature"] == 0.7
    assert steps[2]["usage"]["completion_tokens"] == 11
    assert steps[2]["model"] == "test-model"
    assert (steps[4]["score"], steps[4]["duration_ms"]) == (0.9, 1234)
    assert steps[5]["reason"] == "the judge is silent"
    assert (steps[4]["defect"], steps[6]["defect"]) == (None, "unsupported")
    assert "defect: unsupported" in steps[6]["detail"]
    assert (steps[7]["pair"], steps[7]["reason"]) == (True, None)
    assert steps[7]["detail"].endswith("rejected: unsupported")
    assert steps[0]["at"] == (CREATED - timedelta(seconds=2)).isoformat()
    assert told["documents"] == [
        {
            "document_id": str(ids.derive("document", "documents", "ray.md")),
            "source": "ray.md",
            "passages": 2,
        }
    ]
    json.dumps(told, allow_nan=False)


def test_what_is_open_has_no_end_and_an_earlier_batch_no_ask(tmp_path: Path) -> None:
    """Ledgers of before do not say when it was asked: then time counts from the answers on."""
    open_ = BatchState(batch=batch(), results={}, outcome=None)
    told = batch_trace(
        open_, BatchProvenance(numbers={}, mirrored=0, files=()), mirrored=False, logs=[]
    )
    assert [step["step"] for step in told["steps"]] == ["asked", *["answered"] * 3]
    assert told["state"] == "open"
    assert {step["after_s"] for step in told["steps"]} == {0.0}
    assert {step["event"]["mirrored"] for step in told["steps"][1:]} == {None}


# Log lines.


def write(path: Path, *lines: str, age_s: float = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
    then = datetime.now(UTC).timestamp() - age_s
    os.utime(path, (then, then))


def entry(second: int, message: str, batch_id: UUID | None = TEST_ID, **more: Any) -> str:
    time = f"2026-03-14T09:26:{second:02}.000+00:00"
    line = {"time": time, "level": "INFO", "logger": "rlvr_ray.x", "message": message}
    return json.dumps(line | {"batch_id": batch_id and str(batch_id), **more})


def messages(folder: Path | None) -> list[str]:
    return [line["message"] for line in log_lines.find(folder, [TEST_ID])[TEST_ID]]


def test_lines_of_a_batch_come_from_all_files_in_order(tmp_path: Path) -> None:
    write(
        tmp_path / "worker-1.err", entry(5, "third"), entry(1, "first"), entry(2, "other", uuid4())
    )
    write(
        tmp_path / "serve" / "replica_1.log",
        f"INFO 2026-03-14 09:26:03,500 rlvr_Ask GET /batches/{TEST_ID} 200",
        "INFO 2026-03-14 09:26:04,000 nothing of it",
    )
    text = f"2026-03-14T09:26:04.250+00:00 WARNING rlvr_ray.y: for people (batch {TEST_ID}, x)"
    write(tmp_path / "worker-3.err", text)
    write(tmp_path / "worker-2.out", f"(pid=7) trace {TEST_ID.hex} has no time")
    write(tmp_path / "raylet.out", entry(9, "is not ours"))
    found = log_lines.find(tmp_path, [TEST_ID])[TEST_ID]
    assert [line["message"] for line in found] == [
        f"(pid=7) trace {TEST_ID.hex} has no time",
        "first",
        f"rlvr_Ask GET /batches/{TEST_ID} 200",
        f"rlvr_ray.y: for people (batch {TEST_ID}, x)",
        "third",
    ]
    assert found[1] == {
        "at": "2026-03-14T09:26:01+00:00",
        "level": "INFO",
        "message": "first",
        "file": "worker-1.err",
    }
    assert found[2] == {
        "at": "2026-03-14T09:26:03.500000+00:00",
        "level": "INFO",
        "message": f"rlvr_Ask GET /batches/{TEST_ID} 200",
        "file": "serve/replica_1.log",
    }
    assert (found[3]["at"], found[3]["level"]) == ("2026-03-14T09:26:04.250000+00:00", "WARNING")


def test_a_line_in_two_files_is_one(tmp_path: Path) -> None:
    write(tmp_path / "worker-1.err", entry(1, "same"))
    write(tmp_path / "serve" / "replica.log", entry(1, "same"))
    assert messages(tmp_path) == ["same"]


def test_what_is_read_is_bounded_and_the_latest_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = len(entry(10, "0.0")) + 1
    monkeypatch.setattr(log_lines, "FILE_BYTES", 7 * size // 2)
    monkeypatch.setattr(log_lines, "ALL_BYTES", 6 * size)
    monkeypatch.setattr(log_lines, "LINES", 4)
    for number in range(4):
        lines = [entry(10 * number + n, f"{number}.{n}") for n in range(9)]
        write(tmp_path / f"worker-{number}.err", *lines, age_s=100 - number)
    # Three lines and a half are read of the latest file, two and a half of the one before.
    assert messages(tmp_path) == ["2.8", "3.6", "3.7", "3.8"]


def test_odd_lines_are_lines(tmp_path: Path) -> None:
    path = tmp_path / "worker-1.err"
    plain, digits = str(TEST_ID).encode(), TEST_ID.hex.encode()
    path.write_bytes(b"\xff\xfe " + plain + b"\0\n[1, 2]\n{torn " + plain + b"\n" + digits)
    write(tmp_path / "worker-2.err", entry(1, "no time", time=None, level=5))
    assert len(messages(tmp_path)) == 4
    assert messages(tmp_path / "nowhere") == messages(None) == []


# Over HTTP and from the command line.


@pytest.fixture
async def http(tmp_path: Path) -> Any:
    folder = Folder(tmp_path / "data")
    folder.run(MIXED[:1])
    write(tmp_path / "logs" / "worker-1.err", entry(1, "hello", MIXED[0].batch.batch_id))
    settings = Settings(data_dir=folder.path)
    aggregator = Aggregator(Ledger(folder.path), Dataset(folder.path), FakePanel(), settings)
    await aggregator.start()
    parts = Services(
        retriever=FakeRetriever(),
        generator=FakeGenerator(),
        recorder=aggregator,
        archive=aggregator.queries,
        engine="fake: a test",
        verifiers="fakes: a test",
        logs=tmp_path / "logs",
    )
    transport = httpx.ASGITransport(create_api(settings, parts))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        yield client
    await aggregator.close()


async def test_a_batch_is_traced_over_http(http: httpx.AsyncClient) -> None:
    batch_id = MIXED[0].batch.batch_id
    for form in (str(batch_id), batch_id.hex):
        reply = await http.get(f"/batches/{form}/trace")
        assert reply.status_code == 200
        body = reply.json()
        assert set(body) >= {"trace_id", "batch_id", "correlation_id", "steps", "files", "logs"}
        assert (body["trace_id"], body["batch_id"]) == (batch_id.hex, str(batch_id))
        assert [line["message"] for line in body["logs"]] == ["hello"]
        assert {file["dataset"] for file in body["files"]} == {"dpo_data", "training_data"}
    event = ids.verification_event(batch_id, 1)
    found = (await http.get("/traces", params={"id": str(event)})).json()
    assert found == {"traces": [body], "left": 0}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"/batches/{UUID(int=7)}/trace", 404),
        ("/batches/nonsense/trace", 422),
        ("/traces?id=nonsense", 404),
        ("/traces", 422),
        ("/traces?id=", 422),
        (f"/traces?id={'x' * 201}", 422),
    ],
)
async def test_what_cannot_be_traced_is_a_problem(
    http: httpx.AsyncClient, path: str, status: int
) -> None:
    reply = await http.get(path)
    assert reply.status_code == status
    assert reply.headers["content-type"] == "application/problem+json"


def rlvr(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["trace", *arguments], catch_exceptions=False)


@pytest.fixture
def no_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A place for logs of a cluster that does not run any more."""
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    yield tmp_path / "ray" / "session_latest" / "logs"


def test_the_command_reads_the_ledger_where_no_server_runs(
    sealed: Folder, no_session: Path
) -> None:
    batch_id = MIXED[0].batch.batch_id
    own = f"(batch {batch_id}, correlation test-correlation)"
    worker = no_session / f"worker-{'0a' * 28}-01000000-77.err"
    write(worker, f"2026-03-14T09:26:50.001+00:00 INFO rlvr_ray.x: what was logged {own}")
    result = rlvr(batch_id.hex, "--data-dir", str(sealed.path), "--json")
    assert result.exit_code == 0, result.output
    (found,) = json.loads(result.stdout)["traces"]
    assert found["batch_id"] == str(batch_id)
    assert [line["message"] for line in found["logs"]] == [f"rlvr_ray.x: what was logged {own}"]
    told = rlvr(str(batch_id), "--data-dir", str(sealed.path)).stdout
    for text in (
        "Question 0?",
        batch_id.hex,
        "asked",
        "answer 1 at 0.3: 10 tokens of test-model, stop",
        "score 0.9 (faithfulness 0.9, relevancy 0.9), grounded, 1,234 ms",
        "pair: ",
        str(ids.outcome_event(batch_id)),
        f"{sealed.path}/dpo_data/dpo_data_202603.jsonl, line 1; Parquet: dpo_data/parquet/",
        "training_data_202603.jsonl, lines 1 to 3;",
        "09:26:50.001 INFO    rlvr_ray.x: what was logged  [worker-…-77.err]",
    ):
        assert text in told, told


def test_a_correlation_id_shows_each_of_its_batches(
    sealed: Folder, no_session: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rlvr_ray.pipeline import maintenance

    monkeypatch.setattr(maintenance, "TRACES", 2)
    told = rlvr("test-correlation", "--data-dir", str(sealed.path)).stdout
    assert told.count("\nbatch ") == 2
    assert f"and {len(MIXED) + len(LATER) - 2} earlier batches" in told


def test_nothing_found_is_an_error_in_one_line(sealed: Folder, no_session: Path) -> None:
    result = rlvr("nothing", "--data-dir", str(sealed.path), "--json")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "no batch, event or correlation id" in result.stderr
    result = rlvr("nothing", "--data-dir", str(sealed.path / "elsewhere"))
    assert result.exit_code == 1
    assert "holds no ledger" in result.stderr


def test_texts_are_shown_as_text() -> None:
    """Markup and control sequences of a model, a user or a log do nothing to the terminal."""
    nasty = "[red]x[/red] \x1b[31m\nsecond"
    state = decided(1, ("failed " + nasty, 0.5), correlation_id=nasty)
    line = {"at": None, "level": None, "message": nasty, "file": "worker-1.err"}
    told = batch_trace(
        state, BatchProvenance(numbers={}, mirrored=0, files=()), mirrored=False, logs=[line]
    )
    for text in trace.shown(told | {"question": nasty}, Path("data")):
        assert "\x1b" not in text.plain and "\n" not in text.plain
    plain = "\n".join(text.plain for text in trace.shown(told, Path("data")))
    assert plain.count("[red]x[/red]") == 4


def test_past_retention_is_said(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.run(MIXED[:1])
    with folder.open() as (_, projector):
        projector.prune(DECIDED + timedelta(days=62), mirrored=False)
    with pytest.raises(NotFound, match="past retention"):
        provenance(tmp_path, MIXED[0].batch.batch_id)
