"""One record that cannot be read stops nothing: it is set aside, named, and all others go on."""

import asyncio
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import apsw
import pytest
from typer.testing import CliRunner

from rlvr_ray.cli import status
from rlvr_ray.cli.main import app
from rlvr_ray.client import Stats
from rlvr_ray.core import ids
from rlvr_ray.core.errors import LedgerError, Unreadable
from rlvr_ray.core.records import Batch
from rlvr_ray.dataset.files import Dataset
from rlvr_ray.dataset.filters import Filter
from rlvr_ray.dataset.ledger import Browser, Ledger, Reader
from rlvr_ray.dataset.state import BatchState, OutcomeSummary, Page
from rlvr_ray.documents.retriever import Ingested
from rlvr_ray.events import outbox
from rlvr_ray.pipeline import maintenance
from rlvr_ray.pipeline.aggregator import Aggregator
from rlvr_ray.pipeline.external import External
from rlvr_ray.serve import doctor
from rlvr_ray.settings import Settings, load
from tests.archives import Served
from tests.builders import batch, verification
from tests.fakes import FakePanel, FakePublisher
from tests.odd import look_at_everything

pytestmark = pytest.mark.integration


T = TypeVar("T")
SCORES = {"a": 0.9, "b": 0.2}
ASKED = [batch(("a", "b"), f"Question {number}?") for number in range(5)]
#: Of the batches, the one whose records are damaged: its number is one more.
HURT = ASKED[1]
NEW = batch(("a", "b"), "Asked afterwards?")
DOCUMENTS = [
    Ingested(
        document_id=ids.derive("document", n),
        source=f"{n}.md",
        num_chunks=2,
        content_id=ids.derive("content", n),
        changed=True,
    )
    for n in range(3)
]


async def live(
    folder: Path, publisher: FakePublisher | None, doing: Callable[[Aggregator], Any]
) -> dict[str, Any]:
    """One life of the system: ``doing``, then until nothing is behind; what it says at the end."""
    system = Aggregator(
        Ledger(folder), Dataset(folder), FakePanel(SCORES), Settings(data_dir=folder), publisher
    )
    async with asyncio.timeout(60):
        await system.start()
        try:
            await doing(system)

            def left(reader: Reader) -> int:
                last = reader._row("SELECT coalesce(max(seq), 0) FROM outbox")[0]
                sent = reader.mark("mirrored") if publisher else last
                behind = reader.last_outcome() - reader.mark("projected")
                return int(reader.waiting()[0] + behind + last - sent)

            while await system._read(left):
                await asyncio.sleep(0.02)
            await system._read(lambda reader: list(reader.batches(0, 1000)))
            await system._read(lambda it: it.look_through_others())
            return await system.stats()
        finally:
            await system.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five decided batches, three documents and a review, all in sealed files, and none sent."""

    async def doing(system: Aggregator) -> None:
        for one in ASKED:
            await system.record([one])
            async with asyncio.timeout(60):
                while not (await system.find(one.batch_id)).outcome:  # type: ignore[union-attr]
                    await asyncio.sleep(0.01)
        await system.ingested(DOCUMENTS)
        for number, one in enumerate(ASKED[:3]):
            name = ids.derive("review", number)
            await system.queries.review(name, one.batch_id, 0, 1, "a", "", "")

    asyncio.run(live(tmp_path, None, doing))
    return tmp_path


def change(folder: Path, sql: str) -> None:
    db = apsw.Connection(str(folder / "ledger.db"))
    db.execute(sql)
    assert db.changes(), sql
    db.close()


#: What a disk, an older program or a foreign hand may make of a record's JSON, in SQL.
DAMAGE = {
    "half of it": "substr(record, 1, length(record) / 2)",
    "none": "''",
    "no JSON": "'garbage'",
    "no Unicode": "CAST(x'7b22ff00fe' AS TEXT)",
    "another type": "'[]'",
    "null": "'null'",
    "an unknown field": "json_set(record, '$.surprise', 1)",
    "a bit": "replace(record, '-', '\x0d')",
    "deep": "'{\"a\":' || replace(hex(zeroblob(9000)), '00', '[') || '}'",
}
#: Of each kind, what else may be wrong with it.
ALSO = {
    "batch": [
        "json_set(record, '$.kind', 'triple')",
        "json_set(record, '$.contexts[0].metadata.page', NULL)",
        "json_set(record, '$.contexts[0].metadata.page', 1.5)",
        "json_set(record, '$.contexts[0].metadata.start', '1')",
        "json_set(record, '$.candidates[0].usage.prompt_tokens', 12.0)",
        "json_set(record, '$.candidates[0].usage.prompt_tokens', 9e18)",
        "json_set(record, '$.candidates', json_array('x', 1, NULL))",
        "json_set(record, '$.candidates', json_object('a', 1))",
        "json_set(record, '$.created_at', 'now')",
        "json_set(record, '$.created_at', 7)",
        "(SELECT record FROM batch WHERE seq = 1)",
    ],
    "verification": [
        "json_set(record, '$.duration_ms', 12.0)",
        "json_set(record, '$.duration_ms', -1)",
        "json_set(record, '$.assessments[0].defect', 'mood')",
        "json_set(record, '$.assessments', json_array('x', 1, NULL))",
        "json_set(record, '$.assessments[0].usage', json('\"x\"'))",
        "(SELECT record FROM verification WHERE batch = 1 AND candidate = 0)",
    ],
    "outcome": [
        "json_set(record, '$.reason', 'mood')",
        "json_set(record, '$.rejected', 7)",
        "json_set(record, '$.rejected', -1)",
        "json_set(record, '$.rule.min_score_diff', '0.05')",
        "json_set(record, '$.rule.surprise', 1)",
        "json_set(record, '$.decided_at', 'now')",
        "json_set(record, '$.decided_at', '0001-01-01T00:00:00Z')",
        "(SELECT record FROM outcome WHERE seq = 1)",
    ],
    "document": ["json_set(record, '$.num_chunks', 2.0)", "json_set(record, '$.num_chunks', -1)"],
    "review": ["json_set(record, '$.verdict', 'mood')", "json_set(record, '$.a', 0.0)"],
}
WHERE = {
    "batch": "seq = 2",
    "verification": "batch = 2 AND candidate = 0",
    "outcome": "seq = 2",
    "document": "seq = 2",
    "review": "seq = 2",
}
#: What a record of each kind is called.
NAMES = {
    "document": "document number 2",
    "review": "review number 2",
    "event": "event number ",
}


def cases() -> Iterator[Any]:
    """A kind of record, and what is done to one of it."""
    for kind, where in WHERE.items():
        for name, value in [*DAMAGE.items(), *((value, value) for value in ALSO[kind])]:
            sql = f"UPDATE {kind} SET record = {value} WHERE {where}"
            yield pytest.param(kind, sql, id=f"{kind}: {name}")
    for name, sql in {
        "a candidate that is none": "UPDATE outbox SET candidate = 99 WHERE batch = 2 AND seq = 8",
        "a result that is none": "UPDATE outbox SET candidate = 1 WHERE batch = 2 AND seq = 8",
        "a kind that is none": "UPDATE outbox SET kind = 'rumour' WHERE batch = 2 AND seq = 8",
        "a kind of another": "UPDATE outbox SET kind = 'outcome', candidate = 1 WHERE seq = 8",
        "a batch that is none": "UPDATE outbox SET batch = 4711 WHERE seq = 8",
        "a document that is none": "UPDATE outbox SET batch = 4711 WHERE kind = 'document'",
        "no time": "UPDATE outbox SET at = 1e18 WHERE seq = 8",
    }.items():
        yield pytest.param("event", sql, id=f"event: {name}")


@pytest.mark.parametrize(("kind", "sql"), cases())
def test_everything_else_goes_on(folder: Path, kind: str, sql: str) -> None:
    settings = load(data_dir=folder)
    lines = {file: file.read_bytes().splitlines() for file in folder.glob("*_data/*.jsonl")}
    assert maintenance.verify_store(settings) == []
    change(folder, sql)
    batch_is_hurt = kind in ("batch", "verification", "outcome")
    name = NAMES.get(kind, f"batch {HURT.batch_id}")

    # What is written from the ledger is the rest, byte for byte.
    rebuilt = maintenance.rebuild(settings)
    assert all(rebuilt.values()) is not batch_is_hurt
    for file, before in lines.items():
        rest = [line for line in before if str(HURT.batch_id).encode() not in line]
        assert file.read_bytes().splitlines() == (rest if batch_is_hurt else before)

    # Verified, written and sent is all that comes, and all that came, but for this one.
    publisher = FakePublisher()
    stats = asyncio.run(live(folder, publisher, lambda system: system.record([NEW])))
    told = {posted.event.body["batch_id"] for posted in publisher.published}
    others = {str(one.batch_id) for one in (*ASKED, NEW) if one is not HURT}
    assert others <= told
    if batch_is_hurt:
        assert str(HURT.batch_id) not in told
    documents = [p for p in publisher.published if p.event.event_type == "document.ingested"]
    lost = kind == "document" or "kind = 'document'" in sql
    assert (len(documents) < 3) is lost
    assert stats["batches"]["pair"] == 6
    assert stats["queue"]["open"] == 0

    # It is named wherever somebody looks; a time that is none is no harm.
    aside = {one["record"]: one["reason"] for one in stats["set_aside"]["records"]}
    harmless = "SET at" in sql
    if not harmless and "UPDATE outbox" not in sql:
        assert list(aside) == [name]
        assert stats["set_aside"]["count"] == 1
    problems = maintenance.verify_store(settings)
    assert bool(problems) is not harmless
    if kind != "event":
        assert problems == [
            f"{name}: a record cannot be read, and is set aside: {aside[name]}"
        ] or any(str(HURT.batch_id) in problem for problem in problems[1:])
    (records,) = [check for check in doctor._ledger(settings) if check.name == "records"]
    assert (records.state == "failed") is (kind != "event")
    assert (name in records.detail) is (kind != "event")

    answered(folder, batch_is_hurt=batch_is_hurt)


def answered(folder: Path, *, batch_is_hurt: bool) -> None:
    """Whatever else is asked of the ledger is answered."""
    others = {str(one.batch_id) for one in (*ASKED, NEW) if one is not HURT}
    browser = Browser(folder)
    look_at_everything(browser)
    found = {line["batch_id"] for _, line in browser.lines(Filter(), 0, 1000, 3)}
    found |= {line["batch_id"] for _, line in browser.lines(Filter(), 0, 3, 3)}
    assert others <= found | {str(ASKED[3].batch_id)}
    assert len(browser.states(Filter(), 0, 1000, 100)) == (5 if batch_is_hurt else 6)
    if batch_is_hurt:
        with pytest.raises(Unreadable, match=f"batch {HURT.batch_id} cannot be read"):
            browser.find(HURT.batch_id)
        with pytest.raises(Unreadable):
            browser.provenance(HURT.batch_id)
    for one in ASKED:
        if one is not HURT:
            state = browser.find(one.batch_id)
            assert state is not None and state.batch == one
    assert len(browser.reviews(ASKED[0].batch_id) or ()) == 1
    assert len(browser.outcomes([one.batch_id for one in ASKED])) == 5
    browser.close()


def test_the_last_one_holds_up_no_mark(folder: Path) -> None:
    """Nothing that can be read comes after it."""
    change(folder, "UPDATE verification SET record = '{}' WHERE batch = 5")
    maintenance.rebuild(load(data_dir=folder))
    publisher = FakePublisher()

    async def nothing(_: Aggregator) -> None:
        pass

    stats = asyncio.run(live(folder, publisher, nothing))
    assert stats["mirror"]["pending"] == 0
    assert len({posted.event.body["batch_id"] for posted in publisher.published}) == 5  # and None


@pytest.mark.parametrize("damage", [*DAMAGE.values(), *ALSO["batch"][:-1]])
async def test_one_that_is_open_is_no_work(tmp_path: Path, damage: str) -> None:
    """It is not verified, it does not count as waiting, and who waits for it hears of it."""
    ledger = Ledger(tmp_path)
    ledger.write(Ledger.record, ASKED)
    ledger.close()
    change(tmp_path, f"UPDATE batch SET record = {damage} WHERE seq = 2")
    found: dict[UUID, OutcomeSummary | None] = {}

    async def doing(system: Aggregator) -> None:
        while await system._read(lambda reader: reader.waiting()[0]):
            await asyncio.sleep(0.02)
        found.update(await system.outcomes([one.batch_id for one in ASKED]))
        with pytest.raises(Unreadable, match="is set aside"):
            await system.find(HURT.batch_id)
        with pytest.raises(LedgerError):
            await system.record([HURT])  # the same id again

    stats = await live(tmp_path, FakePublisher(), doing)
    assert stats["batches"] == {"open": 0, "pair": 4}
    assert stats["set_aside"]["count"] == 1
    ended = {name: ending and ending.reason for name, ending in found.items()}
    assert ended == {one.batch_id: "set_aside" if one is HURT else None for one in ASKED}
    assert all(found.values())


async def test_what_others_verify_goes_on(tmp_path: Path) -> None:
    """What is overdue is closed, though one before it cannot be read."""
    ledger = Ledger(tmp_path)
    ledger.write(Ledger.record, ASKED)
    change(tmp_path, "UPDATE batch SET record = '{' WHERE seq = 1")
    change(tmp_path, "UPDATE batch SET record = json_set(record, '$.kind', 1) WHERE seq = 5")
    closed: list[Batch] = []

    async def find(batch_id: UUID) -> BatchState | None:
        return ledger.find(batch_id)

    async def open_batches(after: int, limit: int) -> Page[tuple[int, BatchState]]:
        return ledger.open_batches(after, limit)

    async def close(asked: Batch, _: Any) -> None:
        closed.append(asked)
        if asked is closed[0]:
            raise LedgerError("no room")

    external = External(find, open_batches, close, close, timeout_s=0.01)
    await external._close_due(everything=True)
    assert closed == ASKED[1:4]
    ledger.close()


def test_retention_goes_on(tmp_path: Path) -> None:
    """A month with a record that cannot be read is dropped as any other."""
    from tests.folders import Folder
    from tests.folders import decided as state_of

    folder = Folder(tmp_path)
    old = [state_of(n, at=datetime(2026, 2, 10, tzinfo=UTC)) for n in range(3)]
    folder.run([*old, state_of(9, at=datetime(2026, 4, 10, tzinfo=UTC))])
    change(tmp_path, "UPDATE batch SET record = '{' WHERE seq = 2")
    change(tmp_path, "UPDATE outcome SET record = '{' WHERE seq = 3")
    with folder.open() as (ledger, projector):
        assert projector.prune(datetime(2026, 3, 2, tzinfo=UTC), mirrored=False) == 3
        assert len(ledger.batches(0, 9)) == 1
        assert ledger.set_aside == {}


def test_a_document_whose_record_cannot_be_read_is_news(folder: Path) -> None:
    change(folder, "UPDATE document SET record = 'x' WHERE seq = 2")
    ledger = Ledger(folder)
    ledger.write(Ledger.ingested, DOCUMENTS)
    events = [one.event.event_id for one in outbox.events(ledger, 0, 1000)]
    assert ids.document_event(DOCUMENTS[1].document_id, 1) in events
    assert len(ledger._rows("SELECT 1 FROM document")) == 4
    ledger.close()


async def test_the_interface_says_what_is_wrong(tmp_path: Path) -> None:
    served = Served(tmp_path)
    state = ASKED[0]
    served.record(state, HURT)
    change(tmp_path, "UPDATE batch SET record = substr(record, 1, 99) WHERE seq = 2")
    async with served.http as http:
        reply = await http.get(f"/batches/{HURT.batch_id}/trace")
        assert reply.status_code == 500
        assert reply.headers["content-type"] == "application/problem+json"
        problem = reply.json()
        assert problem["error"] == "Unreadable"
        assert problem["detail"].startswith(f"batch {HURT.batch_id} cannot be read and is set")
        assert "rlvr verify-store" in problem["detail"]
        listed = (await http.get("/batches")).json()
        assert [line["batch_id"] for line in listed["batches"]] == [str(state.batch_id)]
        traces = (await http.get("/traces", params={"id": state.correlation_id})).json()
        assert [trace["batch_id"] for trace in traces["traces"]] == [str(state.batch_id)]
    await served.archive.close()
    await served.commits.close()


def test_the_command_line_says_what_is_wrong(folder: Path) -> None:
    change(folder, "UPDATE outcome SET record = json_set(record, '$.reason', 'mood') WHERE seq = 2")

    def rlvr(*arguments: str) -> Any:
        return CliRunner().invoke(app, [*arguments, "--data-dir", str(folder)])

    assert rlvr("rebuild").exit_code == 0
    result = rlvr("verify-store")
    assert result.exit_code == 1
    assert f"batch {HURT.batch_id}: a record cannot be read" in result.output
    assert "rlvr rebuild writes the files without them" in " ".join(result.output.split())
    result = rlvr("doctor")
    assert result.exit_code == 1
    assert f"batch {HURT.batch_id}: its outcome: reason:" in " ".join(result.output.split())
    result = rlvr("trace", str(HURT.batch_id))
    assert result.exit_code == 1
    assert "cannot be read and is set aside" in " ".join(result.output.split())
    assert rlvr("trace", str(ASKED[0].batch_id)).exit_code == 0
    every = json.loads(rlvr("trace", ASKED[0].correlation_id, "--json").stdout)
    assert len(every["traces"]) == 4


def test_the_status_names_it() -> None:
    from rich.console import Console

    stats = Stats.from_json(
        {
            "batches": {"pair": 1},
            "set_aside": {"count": 2, "records": [{"record": "batch 1", "reason": "no kind"}]},
        }
    )
    console = Console(record=True, width=200)
    console.print(status.shown(stats, []))
    said = console.export_text()
    assert "set aside, since they cannot be read: 2" in said
    assert "batch 1: no kind" in said


def test_a_result_that_no_ledger_takes_is_no_result(tmp_path: Path) -> None:
    """A verification of another type than it says costs its answer, and no other batch."""

    async def doing(system: Aggregator) -> None:
        await asyncio.gather(*(system.record([one]) for one in ASKED))

    class Odd(FakePanel):
        async def verify(self, claims: Any) -> Any:
            found = await super().verify(claims)
            if claims[0].question == HURT.question:
                found[0] = verification(HURT.candidates[0], duration_ms=3.7)
            return found

    async def run() -> dict[str, Any]:
        ledger = Ledger(tmp_path)
        panel = Odd(SCORES)
        system = Aggregator(ledger, Dataset(tmp_path), panel, Settings(data_dir=tmp_path))
        await system.start()
        await doing(system)
        async with asyncio.timeout(60):
            while await system._read(lambda reader: reader.waiting()[0]):
                await asyncio.sleep(0.02)
        state = await system.find(HURT.batch_id)
        assert state is not None
        reason = state.results[HURT.candidates[0].event_id].reason  # type: ignore[union-attr]
        assert reason.startswith("its verification cannot be kept: Verification cannot be kept: ")
        assert "duration_ms" in reason
        stats = await system.stats()
        await system.close()
        return stats

    stats = asyncio.run(run())
    assert stats["batches"] == {"open": 0, "pair": 4, "unscored": 1}
