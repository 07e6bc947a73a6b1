"""The aggregator over a real ledger and real files; only the verifier is a fake."""

import asyncio
import contextlib
import json
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, TypeVar
from uuid import UUID

import pyarrow.parquet as pq
import pytest

from rlvr_ray.core import concurrency, ids
from rlvr_ray.core.errors import (
    ConfigError,
    KeyReused,
    LedgerError,
    NotFound,
    Overloaded,
    Unavailable,
)
from rlvr_ray.core.records import Batch, FailedVerification, Kind, Reason, Verification
from rlvr_ray.core.retry import Backoff
from rlvr_ray.dataset.files import Dataset
from rlvr_ray.dataset.ledger import Ledger, Operation, Reader
from rlvr_ray.dataset.rows import Row
from rlvr_ray.dataset.state import BatchState, Part
from rlvr_ray.documents.retriever import Ingested
from rlvr_ray.events import mirror, outbox
from rlvr_ray.pipeline import aggregator as module
from rlvr_ray.pipeline import projection_loop, verification_loop
from rlvr_ray.pipeline.aggregator import Aggregator
from rlvr_ray.settings import Settings
from rlvr_ray.verification.verifier import Claim
from tests.builders import DECIDED, batch
from tests.fakes import FakePanel, FakePublisher, verified
from tests.folders import Folder, decided
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.integration


T = TypeVar("T")
SCORES: dict[str, float | str] = {"a": 0.9, "b": 0.7, "c": 0.5}
DOCUMENT = Ingested(
    document_id=ids.derive("a document"),
    source="a.md",
    num_chunks=3,
    content_id=ids.derive("its content"),
    changed=True,
)


class WatchedLedger(Ledger):
    """A Ledger that counts its transactions, tells when one is over, and can be made to fail."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.commits = 0
        self.poisoned: set[UUID] = set()
        self.full = 0  # so many commits to come find the disk full
        self.changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def commit(self, operations: Sequence[Operation]) -> list[Any]:
        self.commits += 1
        try:
            if self.full:
                self.full -= 1
                raise Overloaded("no room left")
            return super().commit(operations)
        finally:
            self._loop.call_soon_threadsafe(self.changed.set)

    def record(self, batches: Sequence[Batch]) -> list[Batch]:
        if bad := self.poisoned & {batch.batch_id for batch in batches}:
            raise LedgerError(f"{bad} is poison")
        return super().record(batches)


class System:
    """A running aggregator on a folder, and what a test asks of it."""

    def __init__(
        self,
        folder: Path,
        verifier: FakePanel,
        publisher: FakePublisher | None = None,
        dataset_: Dataset | None = None,
        **sections: Any,
    ) -> None:
        self.folder = folder
        self.ledger = WatchedLedger(folder)
        settings = Settings(data_dir=folder, **sections)
        self.aggregator = Aggregator(
            self.ledger, dataset_ or Dataset(folder), verifier, settings, publisher
        )

    async def state(self, batch_id: UUID) -> BatchState:
        state = await self.aggregator.find(batch_id)
        assert state is not None, f"the ledger holds no batch {batch_id}"
        return state

    async def decided(self, *batches: Batch) -> list[BatchState]:
        """The batches once all of them have an outcome."""

        async def look() -> list[BatchState]:
            return [await self.state(batch.batch_id) for batch in batches]

        return await self._until(look, lambda states: all(s.outcome for s in states))

    async def read(self, query: Callable[[Reader], T]) -> T:
        """Ask the ledger where the aggregator asks it."""
        return await self.aggregator._read(query)

    async def projected(self, count: int) -> None:
        """Wait until the JSONL files hold so many outcomes."""
        await self.until(lambda it: it.mark("projected"), lambda seq: int(seq) >= count)

    async def mirrored(self, seq: int) -> None:
        """Wait until the broker has confirmed so many events."""
        await self.until(lambda it: it.mark("mirrored"), lambda mark: int(mark) >= seq)

    async def sealed(self, count: int) -> None:
        """Wait until the parts of both datasets hold so many outcomes."""

        def enough(parts: list[Part]) -> bool:
            last = {part.dataset: part.last_seq for part in parts if part.sha256}
            return len(last) == 2 and min(last.values()) >= count

        await self.until(lambda it: it.parts(), enough)

    async def until(self, query: Callable[[Reader], T], enough: Callable[[T], bool]) -> T:
        """The first answer of the ledger's that is enough."""
        return await self._until(lambda: self.read(query), enough)

    async def _until(self, look: Callable[[], Awaitable[T]], enough: Callable[[T], bool]) -> T:
        found: T | None = None
        try:
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    self.ledger.changed.clear()
                    if enough(found := await look()):
                        return found
                    await self.ledger.changed.wait()
        except TimeoutError:
            raise AssertionError(f"after {PATIENCE_S:g} s it still is: {found}") from None

    def lines(self, dataset: str) -> list[dict[str, Any]]:
        files = sorted(self.folder.glob(f"{dataset}/*.jsonl"))
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]

    def parts(self, dataset: str) -> list[dict[str, Any]]:
        files = sorted(self.folder.glob(f"{dataset}/parquet/*.parquet"))
        return [row for file in files for row in pq.read_table(file).to_pylist()]


@contextlib.asynccontextmanager
async def running(
    folder: Path,
    verifier: FakePanel,
    publisher: FakePublisher | None = None,
    **sections: Any,
) -> AsyncIterator[System]:
    system = System(folder, verifier, publisher, **sections)
    async with asyncio.timeout(60):
        await system.aggregator.start()
        try:
            yield system
        finally:
            await system.aggregator.close()


async def crash(system: System) -> None:
    """End a system as a crash does: nothing is sealed, and the folder's lock goes."""
    aggregator = system.aggregator
    for task in aggregator._tasks:
        task.cancel()
    await asyncio.gather(*aggregator._tasks, return_exceptions=True)
    assert aggregator._projection is not None
    files = aggregator._projection._files
    await files.run(lambda: None)  # what is at work there commits through this loop
    files.close()
    aggregator._reads.close()
    await aggregator._commits.close()


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NO_ROOM_PAUSE_S", 0.05)
    monkeypatch.setattr(verification_loop, "BACKOFF", Backoff(first_s=0.05, longest_s=0.05))
    monkeypatch.setattr(projection_loop, "PARTS_PAUSE", 0.05)
    monkeypatch.setattr(projection_loop, "PRUNE_S", 0.05)
    monkeypatch.setattr(concurrency, "RESTART_PAUSE", 0.05)


async def test_a_recorded_batch_becomes_a_pair_in_the_files(tmp_path: Path) -> None:
    asked = batch(("a", "b", "c"))
    async with running(tmp_path, FakePanel(SCORES)) as system:
        assert await system.aggregator.record([asked]) == [asked]
        (state,) = await system.decided(asked)
        await system.projected(1)
        live = system.lines("dpo_data"), system.lines("training_data")

    outcome = state.outcome
    assert outcome is not None
    assert (outcome.reason, outcome.chosen, outcome.rejected) == (None, 0, 2)
    assert (outcome.chosen_score, outcome.rejected_score, outcome.score_diff) == (0.9, 0.5, 0.4)
    assert set(state.results) == {c.event_id for c in asked.candidates}
    (pair,), answers = live
    assert (pair["prompt"], pair["chosen"], pair["rejected"]) == ("What is Ray?", "a", "c")
    assert pair["metadata"]["batch_id"] == str(asked.batch_id)
    assert [row["answer"] for row in answers] == ["a", "b", "c"]
    assert [row["verification"]["score"] for row in answers] == [0.9, 0.7, 0.5]
    assert [row["metadata"]["outcome"] for row in answers] == ["pair"] * 3
    assert system.parts("dpo_data") == live[0], "close() seals what the JSONL holds"
    assert system.parts("training_data") == live[1]


async def test_the_panel_sees_all_candidates_of_a_batch_in_one_call(tmp_path: Path) -> None:
    verifier = FakePanel(SCORES)
    asked = batch(("a", "b", "c"), references=("a", "A."))
    async with running(tmp_path, verifier) as system:
        await system.aggregator.record([asked])
        await system.decided(asked)
    assert verifier.calls == 1
    assert verifier.claims == [
        [
            Claim(
                answer_event_id=c.event_id,
                question=asked.question,
                answer=c.answer,
                contexts=tuple(context.content for context in asked.contexts),
                references=("a", "A."),
                retrieval_score=0.8,  # of the better of the two
            )
            for c in asked.candidates
        ]
    ]


async def test_a_single_answer_is_kept_as_training_data_and_makes_no_pair(tmp_path: Path) -> None:
    asked = batch(("a",), kind=Kind.SINGLE)
    async with running(tmp_path, FakePanel(SCORES)) as system:
        await system.aggregator.record([asked])
        (state,) = await system.decided(asked)
    assert state.outcome is not None and state.outcome.reason is Reason.SINGLE_ANSWER
    (row,) = system.lines("training_data")
    assert (row["verification"]["status"], row["verification"]["score"]) == ("completed", 0.9)
    assert system.lines("dpo_data") == []


async def test_unfinished_batches_are_resumed_after_a_crash(tmp_path: Path) -> None:
    asked = [batch(question=f"Question {n}?") for n in range(5)]
    stuck = FakePanel(SCORES)
    stuck.hang()
    system = System(tmp_path, stuck)
    await system.aggregator.start()
    await system.aggregator.record(asked)
    await stuck.until(lambda: stuck.running == 2)
    await crash(system)
    assert system.lines("training_data") == []

    async with running(tmp_path, FakePanel(SCORES)) as system:
        states = await system.decided(*asked)
    assert [s.outcome.reason for s in states if s.outcome] == [None] * 5
    asked_ids = [str(b.batch_id) for b in asked]
    assert sorted(r["metadata"]["batch_id"] for r in system.lines("dpo_data")) == sorted(asked_ids)
    assert len(system.lines("training_data")) == 15


async def test_unfinished_batches_are_resumed_after_an_orderly_close(tmp_path: Path) -> None:
    asked = batch()
    stuck = FakePanel(SCORES)
    stuck.hang()
    async with running(tmp_path, stuck) as system:
        await system.aggregator.record([asked])
        await stuck.until(lambda: stuck.running == 1)
    assert stuck.cancelled == 1, "close() stops the verifier's work"
    assert stuck.running == 0

    async with running(tmp_path, FakePanel(SCORES)) as system:
        (state,) = await system.decided(asked)
    assert state.outcome is not None and state.outcome.reason is None


async def test_too_few_scores_leave_the_batch_unscored(tmp_path: Path) -> None:
    asked = batch(("a", "b", "c"))
    silent = dict.fromkeys("bc", "the judge gave 7 as verdict")
    verifier = FakePanel({**SCORES, **silent})
    async with running(tmp_path, verifier) as system:
        await system.aggregator.record([asked])
        (state,) = await system.decided(asked)
    assert state.outcome is not None and state.outcome.reason is Reason.UNSCORED
    assert "the judge gave 7 as verdict" in state.outcome.detail
    assert system.lines("dpo_data") == []
    assert system.parts("dpo_data") == []
    rows = [row["verification"] for row in system.lines("training_data")]
    assert [row["status"] for row in rows] == ["completed", "failed", "failed"]
    assert rows[1]["reason"] == "the judge gave 7 as verdict"
    assert [rows[1][key] for key in ("faithfulness", "relevancy", "score")] == [None] * 3
    assert [row["score"] for row in rows] == [0.9, None, None]
    assert verifier.calls == 1, "a judge that answered is not asked again"


async def test_an_answer_without_a_score_costs_no_pair(tmp_path: Path) -> None:
    asked = batch(("a", "b", "c"))
    verifier = FakePanel({**SCORES, "b": "the judge gave 7 as verdict"})
    async with running(tmp_path, verifier) as system:
        await system.aggregator.record([asked])
        (state,) = await system.decided(asked)
    assert state.outcome is not None and state.outcome.reason is None
    (row,) = system.lines("dpo_data")
    assert (row["chosen"], row["rejected"]) == ("a", "c")
    assert row["metadata"]["rejected_provenance"]["defect"] == "unsupported"


async def test_a_verifier_that_hangs_fails_after_max_attempts(tmp_path: Path) -> None:
    asked = batch()
    verifier = FakePanel(SCORES)
    verifier.hang()
    limits = {"timeout_s": 0.05, "max_attempts": 2}
    async with running(tmp_path, verifier, verification=limits) as system:
        await system.aggregator.record([asked])
        (state,) = await system.decided(asked)
        assert system.aggregator.last_error is not None
        assert "did not finish within 0.05 s" in system.aggregator.last_error
    assert verifier.calls == 2
    assert verifier.cancelled == 2, "a verification that is given up is stopped"
    assert state.outcome is not None and state.outcome.reason is Reason.UNSCORED
    for result in state.results.values():
        assert isinstance(result, FailedVerification)
        assert result.reason == "the judge did not finish within 0.05 s"
        assert result.attempts == 2


async def test_a_part_that_is_down_is_waited_for(tmp_path: Path) -> None:
    asked = batch()
    verifier = FakePanel(SCORES)
    verifier.failures = [Unavailable("no judge"), Overloaded("busy"), Unavailable("no judge")] * 2
    async with running(tmp_path, verifier, verification={"max_attempts": 1}) as system:
        await system.aggregator.record([asked])
        (state,) = await system.decided(asked)
        stats = await system.aggregator.stats()
    assert verifier.calls == 7
    assert all(isinstance(result, Verification) for result in state.results.values())
    assert state.outcome is not None and state.outcome.reason is None
    assert stats["last_error"] is None, "it is over"


async def test_a_cancellation_that_nobody_asked_for_is_a_failed_attempt(tmp_path: Path) -> None:
    """A library may let one escape; taken as it is, it would end the task and leave the batch."""
    asked = batch()
    verifier = FakePanel(SCORES)
    verifier.failures = [asyncio.CancelledError()]
    async with running(tmp_path, verifier) as system:
        await system.aggregator.record([asked])
        (state,) = await system.decided(asked)
    assert verifier.calls == 2
    assert state.outcome is not None and state.outcome.reason is None


async def test_a_defect_fails_its_batch_and_no_other(tmp_path: Path) -> None:
    def result(claim: Claim) -> Verification:
        if claim.question == "Broken?":
            raise ZeroDivisionError("a defect")
        return verified(claim, float(SCORES[claim.answer]), float(SCORES[claim.answer]))

    broken = batch(question="Broken?")
    others = [batch(question=f"Question {n}?") for n in range(4)]
    async with running(
        tmp_path, FakePanel(result=result), verification={"max_attempts": 1}
    ) as system:
        await system.aggregator.record([broken, *others])
        state, *fine = await system.decided(broken, *others)
    assert state.outcome is not None and state.outcome.reason is Reason.UNSCORED
    for failed in state.results.values():
        assert isinstance(failed, FailedVerification)
        assert failed.reason == "internal error: ZeroDivisionError('a defect')"
    assert [s.outcome.reason for s in fine if s.outcome] == [None] * 4


async def test_too_few_results_fail_the_batch(tmp_path: Path) -> None:
    class Forgetful(FakePanel):
        async def verify(self, claims: Sequence[Claim]) -> list[Any]:
            return (await super().verify(claims))[:-1]

    asked = batch()
    async with running(tmp_path, Forgetful(SCORES), verification={"max_attempts": 1}) as system:
        await system.aggregator.record([asked])
        (state,) = await system.decided(asked)
    assert state.outcome is not None and state.outcome.reason is Reason.UNSCORED
    assert len(state.results) == 3


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.1, 1.1])
async def test_what_is_no_score_cannot_get_in(tmp_path: Path, value: float) -> None:
    asked = batch()
    verifier = FakePanel(result=lambda claim: verified(claim, value, 0.8))
    async with running(tmp_path, verifier, verification={"max_attempts": 1}) as system:
        await system.aggregator.record([asked])
        (state,) = await system.decided(asked)
    assert state.outcome is not None and state.outcome.reason is Reason.UNSCORED
    assert all(isinstance(result, FailedVerification) for result in state.results.values())
    assert [row["verification"]["score"] for row in system.lines("training_data")] == [None] * 3
    assert system.lines("dpo_data") == []


@pytest.mark.parametrize("limit", [1, 3])
async def test_verifications_at_once_are_bounded(tmp_path: Path, limit: int) -> None:
    asked = [batch(question=f"Question {n}?") for n in range(8)]
    verifier = FakePanel(SCORES)
    verifier.hang()
    async with running(tmp_path, verifier, verification={"batches": limit}) as system:
        await system.aggregator.record(asked)
        await verifier.until(lambda: verifier.running == limit)
        verifier.release()
        await system.decided(*asked)
    assert verifier.most_running == limit
    assert verifier.calls == 8


async def test_a_slow_batch_does_not_stop_the_others(tmp_path: Path) -> None:
    slow = batch(question="Slow?")
    others = [batch(question=f"Question {n}?") for n in range(4)]

    class OneHangs(FakePanel):
        async def verify(self, claims: Sequence[Claim]) -> list[Any]:
            if claims[0].question == "Slow?":
                await asyncio.Event().wait()
            return await super().verify(claims)

    async with running(tmp_path, OneHangs(SCORES), verification={"batches": 2}) as system:
        await system.aggregator.record([slow, *others])
        await system.decided(*others)
        assert (await system.state(slow.batch_id)).outcome is None


async def test_concurrent_records_share_transactions(tmp_path: Path) -> None:
    asked = [batch(question=f"Question {n}?") for n in range(200)]
    verifier = FakePanel(SCORES)
    verifier.hang()
    async with running(tmp_path, verifier) as system:
        before = system.ledger.commits
        recorded = await asyncio.gather(*(system.aggregator.record([b]) for b in asked))
        commits = system.ledger.commits - before
        assert [found for (found,) in recorded] == asked
        states = [await system.state(b.batch_id) for b in asked]
        assert [s.batch for s in states] == asked
    assert 1 <= commits <= 20, f"200 records took {commits} transactions"


async def test_record_returns_only_after_the_commit(tmp_path: Path) -> None:
    asked = batch()
    verifier = FakePanel()
    verifier.hang()
    async with running(tmp_path, verifier) as system:
        held = []
        commit = Ledger.commit

        def committing(ledger: Ledger, operations: Sequence[Operation]) -> list[Any]:
            held.append(recording.done())
            return commit(ledger, operations)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Ledger, "commit", committing)
            recording = asyncio.create_task(system.aggregator.record([asked]))
            await recording
        assert held == [False]


async def test_a_failing_operation_does_not_fail_its_neighbours(tmp_path: Path) -> None:
    asked = [batch(question=f"Question {n}?") for n in range(10)]
    bad = asked[4]
    verifier = FakePanel(SCORES)
    async with running(tmp_path, verifier) as system:
        system.ledger.poisoned.add(bad.batch_id)
        results = await asyncio.gather(
            *(system.aggregator.record([b]) for b in asked), return_exceptions=True
        )
        fine = [b for b in asked if b is not bad]
        assert isinstance(results[4], LedgerError)
        assert [r for r in results if r is not results[4]] == [[b] for b in fine]
        assert await system.aggregator.find(bad.batch_id) is None
        await system.decided(*fine)


async def test_a_full_disk_refuses_new_batches_and_delays_outcomes(tmp_path: Path) -> None:
    asked = batch()
    verifier = FakePanel(SCORES)
    verifier.hang()
    async with running(tmp_path, verifier) as system:
        await system.aggregator.record([asked])
        await verifier.until(lambda: verifier.running == 1)
        system.ledger.full = 1
        with pytest.raises(Overloaded):
            await system.aggregator.record([batch(question="Refused?")])
        system.ledger.full = 3
        verifier.release()
        (state,) = await system.decided(asked)
        assert system.ledger.full == 0
        assert state.outcome is not None and state.outcome.reason is None
    assert verifier.calls == 1, "what was verified is not verified again"
    assert len(system.lines("dpo_data")) == 1


async def test_a_loop_that_fails_starts_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asked = batch()
    async with running(tmp_path, FakePanel(SCORES)) as system:
        append = Dataset.append
        failures = [OSError(28, "No space left on device")] * 2

        def failing(*arguments: Any) -> int:
            if failures:
                raise failures.pop()
            return append(*arguments)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Dataset, "append", failing)
            await system.aggregator.record([asked])
            # Nothing else happens to this system: the loop has to start over by itself.
            await system.projected(1)
    told = [record.getMessage() for record in caplog.records]
    assert any("No space left" in message for message in told)
    assert any(r.levelno == logging.ERROR for r in caplog.records)
    assert len(system.lines("dpo_data")) == 1
    assert len(system.lines("training_data")) == 3


async def test_close_seals_and_lets_the_next_one_in_at_once(tmp_path: Path) -> None:
    asked = batch()
    async with running(tmp_path, FakePanel(SCORES)) as system:
        await system.aggregator.record([asked])
        await system.decided(asked)
        with pytest.raises(LedgerError):
            Ledger(tmp_path)
    parts = sorted(p.name for p in tmp_path.rglob("*.parquet"))
    assert len(parts) == 2, parts
    left = sorted(p.name for p in tmp_path.glob("ledger.*"))
    assert left == ["ledger.db", "ledger.lock"], "a copy of the file is a copy of the ledger"
    async with running(tmp_path, FakePanel(SCORES)) as system:
        (state,) = await system.decided(asked)
        assert state.batch == asked
    assert sorted(p.name for p in tmp_path.rglob("*.parquet")) == parts


@pytest.mark.timeout(30)  # where it fails, the loop itself stands still
async def test_a_start_that_is_given_up_can_be_closed(tmp_path: Path) -> None:
    """The files' thread is in the middle of a commit, which needs this loop."""
    held = threading.Event()
    entered = asyncio.Event()
    loop = asyncio.get_running_loop()

    class HeldLedger(Ledger):
        def commit(self, operations: Sequence[Operation]) -> list[Any]:
            loop.call_soon_threadsafe(entered.set)
            assert held.wait(PATIENCE_S)
            return super().commit(operations)

    ledger = Ledger(tmp_path)
    ledger.commit([lambda it: it.advance(0, {"dpo_data/missing.jsonl": 5})])
    ledger.close()
    settings = Settings(data_dir=tmp_path)
    aggregator = Aggregator(HeldLedger(tmp_path), Dataset(tmp_path), FakePanel(), settings)
    starting = asyncio.create_task(aggregator.start())
    await asyncio.wait_for(entered.wait(), PATIENCE_S)
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    loop.call_later(0.01, held.set)
    await asyncio.wait_for(aggregator.close(), PATIENCE_S)
    Ledger(tmp_path).close()


async def test_a_batch_recorded_twice_has_one_outcome(tmp_path: Path) -> None:
    asked = batch()
    async with running(tmp_path, FakePanel(SCORES)) as system:
        await asyncio.gather(*(system.aggregator.record([asked, asked]) for _ in range(3)))
        (first,) = await system.decided(asked)
        assert await system.aggregator.record([asked]) == [asked]
        await system.projected(1)
        stats = await system.aggregator.stats()
        (again,) = await system.decided(asked)
    assert stats["batches"] == {"open": 0, "pair": 1}
    assert again == first
    assert len(system.lines("dpo_data")) == 1
    assert len(system.lines("training_data")) == 3


async def test_an_id_is_one_requests_until_it_is_recorded_and_then_the_ledgers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RESERVED", 2)
    asked, later, last = (batch(question=name, fingerprint="one") for name in "abc")
    async with running(tmp_path, FakePanel(SCORES)) as system:
        reserve = system.aggregator.reserve
        for _ in range(2):
            assert await reserve(asked.batch_id, "one") is None
            with pytest.raises(KeyReused):
                await reserve(asked.batch_id, "two")
        await system.aggregator.record([asked])
        for fingerprint in ("one", "two"):
            state = await reserve(asked.batch_id, fingerprint)
            assert state is not None and state.batch == asked
        for one in (later, last):
            assert await reserve(one.batch_id, "one") is None
        with pytest.raises(KeyReused):
            await reserve(later.batch_id, "two")
        assert len(system.aggregator._reserved) == 2
    async with running(tmp_path, FakePanel(SCORES)) as system:
        state = await system.aggregator.reserve(asked.batch_id, "two")
        assert state is not None and state.batch == asked, "through a restart"


async def test_the_outcome_does_not_depend_on_the_order_of_arrival(tmp_path: Path) -> None:
    asked = [batch(question=f"Question {n}?") for n in range(6)]
    found = []
    for folder, order in (("one", asked), ("two", asked[::-1])):
        async with running(tmp_path / folder, FakePanel(SCORES)) as system:
            for b in order:
                await system.aggregator.record([b])
            states = await system.decided(*asked)
        found.append(
            [(o.reason, o.chosen, o.rejected, o.score_diff) for s in states if (o := s.outcome)]
        )
    assert found[0] == found[1]
    assert len(found[0]) == 6


async def test_stats_tell_what_happened(tmp_path: Path) -> None:
    pair = batch(("a", "b", "c"))
    tie = batch(("x", "y"), question="A tie?")
    waiting = batch(question="Waiting?")
    async with running(
        tmp_path, verifier := FakePanel(SCORES), verification={"batches": 1}
    ) as system:
        await system.aggregator.record([pair])
        await system.aggregator.record([tie])
        await system.decided(pair, tie)
        verifier.hang()
        await system.aggregator.record([waiting])
        await system.projected(2)
        stats = await system.aggregator.stats()
    assert stats["batches"] == {"open": 1, "pair": 1, "tie": 1}
    assert [r["batch_id"] for r in stats["recent"]] == [str(tie.batch_id), str(pair.batch_id)]
    assert [r["outcome"] for r in stats["recent"]] == ["tie", "pair"]
    assert stats["recent"][1]["score_diff"] == 0.4
    assert stats["last_error"] is None
    sizes = {path: (tmp_path / path).stat().st_size for path in stats["files"]}
    assert stats["files"] == sizes
    assert len(sizes) == 2
    assert json.loads(json.dumps(stats)) == stats, "stats are plain JSON data"


class TestDiskFloor:
    """Below ledger.min_free_mb nothing new is taken in; what is in goes its way."""

    FLOOR = 100 * 2**20
    SETTINGS: ClassVar[dict[str, Any]] = {"ledger": {"min_free_mb": 100}}

    @pytest.fixture
    def disk(self, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
        disk = SimpleNamespace(free=2**40)
        monkeypatch.setattr(Ledger, "free_bytes", lambda _: disk.free)
        return disk

    @pytest.mark.parametrize("free", [0, FLOOR - 1])
    async def test_below_it_nothing_is_written(
        self, tmp_path: Path, disk: SimpleNamespace, free: int
    ) -> None:
        asked = batch()
        async with running(tmp_path, FakePanel(SCORES), **self.SETTINGS) as system:
            disk.free = free
            commits = system.ledger.commits
            with pytest.raises(Overloaded, match=r"ledger\.min_free_mb is 100"):
                await system.aggregator.admit()
            with pytest.raises(Overloaded, match=r"MiB left"):
                await system.aggregator.record([asked])
            assert system.ledger.commits == commits
            assert await system.aggregator.find(asked.batch_id) is None
            disk.free = self.FLOOR
            await system.aggregator.admit()
            assert await system.aggregator.record([asked]) == [asked]
            await system.decided(asked)

    async def test_none_means_none(self, tmp_path: Path, disk: SimpleNamespace) -> None:
        disk.free = 0
        async with running(tmp_path, FakePanel(SCORES), ledger={"min_free_mb": 0}) as system:
            await system.aggregator.admit()
            await system.aggregator.record([batch()])

    async def test_what_was_recorded_before_goes_its_way(
        self, tmp_path: Path, disk: SimpleNamespace
    ) -> None:
        asked = batch()
        verifier = FakePanel(SCORES)
        verifier.hang()
        publisher = FakePublisher()
        async with running(tmp_path, verifier, publisher, **self.SETTINGS) as system:
            await system.aggregator.record([asked])
            disk.free = 0
            verifier.release()
            (state,) = await system.decided(asked)
            await system.projected(1)
            await system.mirrored(7)
            assert state.outcome is not None and state.outcome.reason is None
            assert len(system.lines("dpo_data")) == 1
        assert len(system.parts("training_data")) == 3

    async def test_documents_that_are_stored_already_are_told(
        self, tmp_path: Path, disk: SimpleNamespace
    ) -> None:
        async with running(tmp_path, FakePanel(), **self.SETTINGS) as system:
            disk.free = 0
            await system.aggregator.ingested([DOCUMENT])
            (posted,) = await system.read(lambda reader: outbox.events(reader, 0, 10))
        assert posted.event.event_type == "document.ingested"


class TestMirror:
    async def test_every_event_is_told_in_order(self, tmp_path: Path) -> None:
        asked = [batch(question=f"Question {n}?") for n in range(4)]
        publisher = FakePublisher()
        async with running(tmp_path, FakePanel(SCORES), publisher) as system:
            for one in asked:
                await system.aggregator.record([one])
            await system.aggregator.ingested([DOCUMENT])
            await system.mirrored(29)
            assert publisher.published == await system.read(
                lambda reader: outbox.events(reader, 0, 100)
            )
            stats = await system.aggregator.stats()
            assert stats["mirror"] == {"pending": 0, "oldest": None}
        assert [posted.seq for posted in publisher.published] == list(range(1, 30))
        assert publisher.closed == 1

    async def test_nobody_waits_for_a_broker_that_hangs(self, tmp_path: Path) -> None:
        asked = [batch(question=f"Question {n}?") for n in range(20)]
        publisher = FakePublisher()
        publisher.hang()
        async with running(tmp_path, FakePanel(SCORES), publisher) as system:
            await system.aggregator.record(asked[:1])
            await publisher.until(lambda: publisher.running == 1)
            for one in asked[1:]:
                assert await system.aggregator.record([one]) == [one]
            await system.aggregator.ingested([DOCUMENT])
            await system.decided(*asked)
            await system.projected(20)
            stats = await system.aggregator.stats()
            assert stats["mirror"]["pending"] == 141
            assert datetime.fromisoformat(stats["mirror"]["oldest"]) <= datetime.now(UTC)
            assert json.loads(json.dumps(stats)) == stats
            assert publisher.published == []
            publisher.release()
            await system.mirrored(141)
        assert [posted.seq for posted in publisher.published] == list(range(1, 142))

    @pytest.mark.parametrize("error", [Unavailable("gone"), ConfigError("refused")])
    async def test_trouble_is_told_and_outlasted(
        self, tmp_path: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(mirror, "BACKOFF", Backoff(first_s=0.01, longest_s=15.0))
        asked = batch()
        publisher = FakePublisher()
        publisher.failures = [error] * 10_000
        async with running(tmp_path, FakePanel(SCORES), publisher) as system:
            await system.aggregator.record([asked])
            await system.decided(asked)
            await publisher.until(lambda: publisher.calls >= 2)
            assert system.aggregator.last_error == f"mirror: {error}"
            publisher.failures.clear()
            await system.mirrored(7)
            assert system.aggregator.last_error is None
        assert [posted.seq for posted in publisher.published] == list(range(1, 8))

    async def test_a_defect_is_outlasted_too(self, tmp_path: Path) -> None:
        publisher = FakePublisher()
        publisher.failures = [ZeroDivisionError("a defect"), asyncio.CancelledError()]
        async with running(tmp_path, FakePanel(SCORES), publisher) as system:
            await system.aggregator.record([batch()])
            await system.mirrored(7)
        assert publisher.closed == 3
        assert [posted.seq for posted in publisher.published] == list(range(1, 8))

    async def test_without_one_events_wait_in_the_ledger(self, tmp_path: Path) -> None:
        asked = batch()
        async with running(tmp_path, FakePanel(SCORES)) as system:
            await system.aggregator.record([asked])
            await system.decided(asked)
            assert (await system.aggregator.stats())["mirror"] is None
            assert (await system.read(lambda it: it.backlog())).pending == 7

        publisher = FakePublisher()
        async with running(tmp_path, FakePanel(), publisher) as system:
            await system.mirrored(7)
        assert [posted.seq for posted in publisher.published] == list(range(1, 8))

    async def test_a_restart_goes_on_from_what_is_confirmed(self, tmp_path: Path) -> None:
        one, two, three = (batch(question=f"Question {n}?") for n in range(3))
        publisher = FakePublisher()
        async with running(tmp_path, FakePanel(SCORES), publisher) as system:
            await system.aggregator.record([one])
            await system.mirrored(7)
            publisher.hang()
            await system.aggregator.record([two])
            await system.decided(two)
            await publisher.until(lambda: publisher.running == 1)
        assert (publisher.cancelled, publisher.closed) == (1, 1)

        again = FakePublisher()
        async with running(tmp_path, FakePanel(SCORES), again) as system:
            await system.aggregator.record([three])
            await system.mirrored(21)
        assert [posted.seq for posted in again.published] == list(range(8, 22))


class Target(Dataset):
    """One whose parts can be out of reach."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "home", (folder / "elsewhere").as_uri())
        self.down = True
        self.tries = 0
        self.changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def parts(self) -> set[str]:
        self._reach()
        return super().parts()

    def write_part(self, dataset: str, path: str, rows: Sequence[Row]) -> str:
        self._reach()
        return super().write_part(dataset, path, rows)

    def _reach(self) -> None:
        self.tries += 1
        self._loop.call_soon_threadsafe(self.changed.set)
        if self.down:
            raise Unavailable("the store is out of reach")


class TestParquetTarget:
    """Parts go to a store that is out of reach for a while."""

    SEALING: ClassVar[dict[str, Any]] = {"dataset": {"seal_rows": 1, "seal_seconds": 0.05}}
    ASKED = tuple(batch(question=f"Question {n}?") for n in range(3))

    @pytest.fixture
    async def target(self, tmp_path: Path) -> Target:
        return Target(tmp_path)

    @pytest.fixture
    async def system(self, tmp_path: Path, target: Target) -> AsyncIterator[System]:
        async with running(
            tmp_path / "home", FakePanel(SCORES), dataset_=target, **self.SEALING
        ) as system:
            target.changed = system.ledger.changed  # a failure is something to look at, too
            yield system
            target.down = False

    def in_parts(self, folder: Path) -> list[str]:
        """The batches whose pairs the store has."""
        assert list((folder / "home").rglob("*.parquet")) == []
        assert list((folder / "elsewhere").rglob("*.tmp")) == []
        return sorted(
            row["metadata"]["batch_id"]
            for path in (folder / "elsewhere").rglob("dpo_data_*.parquet")
            for row in pq.read_table(path).to_pylist()
        )

    async def test_the_jsonl_goes_on(self, system: System, target: Target) -> None:
        for one in self.ASKED:
            await system.aggregator.record([one])
            await system.decided(one)
        tries = target.tries
        await system.until(
            lambda reader: (reader.mark("projected"), target.tries - tries),
            lambda found: found[0] == 3 or found[1] > 10,
        )
        assert len(system.lines("dpo_data")) == 3
        assert "out of reach" in (system.aggregator.last_error or "")

    async def test_the_parts_are_written_once_it_is_back(
        self, system: System, target: Target, tmp_path: Path
    ) -> None:
        target.down = False
        await system.aggregator.record(self.ASKED[:1])
        await system.sealed(1)
        target.down = True
        tries = target.tries
        await system.aggregator.record(self.ASKED[1:])
        await system.decided(*self.ASKED)
        await system.until(lambda _: target.tries, lambda found: found > tries + 2)
        assert "out of reach" in (system.aggregator.last_error or "")
        assert self.in_parts(tmp_path) == [str(self.ASKED[0].batch_id)]
        target.down = False
        await system.sealed(3)
        assert self.in_parts(tmp_path) == sorted(str(one.batch_id) for one in self.ASKED)
        assert len(system.lines("dpo_data")) == 3

    async def test_the_next_start_writes_what_a_close_could_not(
        self, target: Target, tmp_path: Path
    ) -> None:
        target.down = False
        home = tmp_path / "home"
        with pytest.raises(Unavailable):
            async with running(home, FakePanel(SCORES), dataset_=target) as system:
                await system.aggregator.record(self.ASKED)
                await system.decided(*self.ASKED)
                await system.projected(3)
                target.down = True
        assert len(system.lines("dpo_data")) == 3
        target.down = False
        async with running(home, FakePanel(SCORES), dataset_=target) as system:
            await system.sealed(3)
        assert self.in_parts(tmp_path) == sorted(str(one.batch_id) for one in self.ASKED)


class TestRetention:
    """Past months leave while the system works."""

    def old(self, folder: Path) -> list[BatchState]:
        states = [decided(n, at=DECIDED + timedelta(days=n)) for n in range(3)]
        Folder(folder).run(states)
        return states

    KEEP_A_DAY: ClassVar[dict[str, Any]] = {
        "ledger": {"retention_days": 1},
        "dataset": {"seal_seconds": 0.05},
    }

    async def test_what_is_past_is_dropped(self, tmp_path: Path) -> None:
        states = self.old(tmp_path)
        files = Folder(tmp_path).files()
        asked = batch(question="New?")
        async with running(tmp_path, FakePanel(SCORES), **self.KEEP_A_DAY) as system:
            await system.until(lambda it: it.mark("swept"), lambda seq: seq == 3)
            for state in states:
                with pytest.raises(NotFound, match="past retention"):
                    await system.aggregator.find(state.batch.batch_id)
                with pytest.raises(NotFound, match="past retention"):
                    await system.aggregator.record([state.batch])
            await system.aggregator.record([asked])
            await system.decided(asked)
            await system.projected(4)
            assert (await system.aggregator.stats())["batches"] == {"open": 0, "pair": 4}
        assert files.items() <= Folder(tmp_path).files().items()

    async def test_by_default_all_is_kept(self, tmp_path: Path) -> None:
        (first, *_) = self.old(tmp_path)
        asked = batch(question="New?")
        async with running(tmp_path, FakePanel(SCORES)) as system:
            await system.aggregator.record([asked])
            await system.decided(asked)
            await system.projected(4)
            assert await system.aggregator.find(first.batch.batch_id) == first

    async def test_it_waits_for_the_broker(self, tmp_path: Path) -> None:
        states = self.old(tmp_path)
        publisher = FakePublisher()
        publisher.hang()
        asked = batch(question="New?")
        async with running(tmp_path, FakePanel(SCORES), publisher, **self.KEEP_A_DAY) as system:
            await publisher.until(lambda: publisher.running == 1)
            await system.aggregator.record([asked])
            await system.decided(asked)
            await system.projected(4)
            await system.sealed(4)  # the files' loop has been round since
            assert await system.aggregator.find(states[0].batch.batch_id) == states[0]
            assert await system.read(lambda it: it.mark("pruned")) == 0
            publisher.release()
            await system.until(lambda it: it.mark("swept"), lambda seq: seq == 3)
        told = [posted.event.body["batch_id"] for posted in publisher.published]
        assert {str(state.batch.batch_id) for state in states} < set(told)
        assert len(told) == 28
