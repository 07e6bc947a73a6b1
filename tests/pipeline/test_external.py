"""Verification by another program, over a real broker."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Container
from pathlib import Path
from typing import Any
from uuid import UUID

import aio_pika
import pytest

from rlvr_ray.core import ids
from rlvr_ray.core.errors import InputError
from rlvr_ray.core.records import Assessment, Batch, Defect, Judge, Verification
from rlvr_ray.dataset.audit import audit
from rlvr_ray.dataset.files import Dataset
from rlvr_ray.dataset.ledger import Ledger, Reader
from rlvr_ray.dataset.state import BatchState, Page
from rlvr_ray.events import Consumer, Received, outbox, verification_completed, verification_failed
from rlvr_ray.events import validation as messages
from rlvr_ray.events.rabbitmq import RabbitMQ, Verifications
from rlvr_ray.pipeline.aggregator import Aggregator
from rlvr_ray.pipeline.external import External
from rlvr_ray.settings import Settings, load
from tests.broker import Broker
from tests.builders import batch
from tests.fakes import FakePanel
from tests.folders import decide_in, panel
from tests.folders import decided as decided_state
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.integration


JUDGE = {
    "faithfulness": "theirs",
    "relevancy": "theirs",
    "model": "their-model",
    "embedder": "none",
    "version": "7",
}
SCORES = {"a": 0.9, "b": 0.8, "c": 0.2}
Handler = Callable[[Received], Awaitable[None]]


@pytest.fixture
def settings(tmp_path: Path, broker: Broker, exchange_name: str) -> Settings:
    return load(
        data_dir=tmp_path,
        mirror={"url": broker.url, "exchange": exchange_name, "timeout_s": 10},
        verification={"source": "external"},
    )


@contextlib.asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Aggregator]:
    internal = FakePanel()
    inbox = Verifications(settings.mirror)
    aggregator = Aggregator(
        Ledger(settings.data_dir),
        Dataset(settings.data_dir),
        internal,
        settings,
        RabbitMQ(settings.mirror, inbox),
        inbox,
    )
    await aggregator.start()
    try:
        yield aggregator
    finally:
        await aggregator.close()
        assert internal.calls == 0, "the internal verifier is not asked"
    reader = Reader(settings.data_dir)
    assert list(audit(reader, Dataset(settings.data_dir))) == []
    reader.close()


@contextlib.asynccontextmanager
async def verifying(consumer: Consumer, handle: Handler) -> AsyncIterator[None]:
    task = asyncio.create_task(consumer.run(handle))
    try:
        async with asyncio.timeout(PATIENCE_S):
            while consumer._connection is None:  # what is published before goes to nobody
                await asyncio.sleep(0.02)
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def consumer(settings: Settings) -> Consumer:
    assert settings.mirror.url
    return Consumer(
        settings.mirror.url.get_secret_value(),
        f"{settings.mirror.exchange}.theirs",
        keys=["answer.generated"],
        exchange=settings.mirror.exchange,
    )


def judging(by: Consumer, *, but: Container[str] = (), times: int = 1) -> Handler:
    """A verifier that knows the score of each answer; it fails at those in ``but``."""

    async def handle(answer: Received) -> None:
        text = answer.body["answer"]
        for _ in range(times):
            if text in but:
                await by.publish(verification_failed(answer, reason="too hard", attempts=2))
                continue
            score = SCORES[text]
            event = verification_completed(
                answer, faithfulness=score, relevancy=score, verifier=JUDGE, duration_ms=5
            )
            await by.publish(event)

    return handle


async def decided(aggregator: Aggregator, asked: Batch) -> BatchState:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            state = await aggregator.find(asked.batch_id)
            if state and state.outcome:
                return state
            await asyncio.sleep(0.02)


async def test_another_program_verifies(settings: Settings) -> None:
    theirs = consumer(settings)
    asked = batch(("c", "a", "b"))
    async with running(settings) as aggregator, verifying(theirs, judging(theirs, times=2)):
        await aggregator.record([asked])
        state = await decided(aggregator, asked)
    assert state.outcome is not None
    assert state.outcome.reason is None
    assert (state.outcome.chosen, state.outcome.rejected) == (1, 0)
    (first, *_) = state.results.values()
    assert isinstance(first, Verification)
    (assessment,) = first.assessments
    assert assessment == Assessment(
        verifier="external",
        score=0.2,
        faithfulness=0.2,
        relevancy=0.2,
        judge=Judge(**JUDGE),
        duration_ms=5,
    )


async def test_a_defect_of_theirs_is_kept_and_decides(settings: Settings) -> None:
    """What they find wrong with the best answer keeps it from being chosen."""
    theirs = consumer(settings)
    asked = batch(("c", "a", "b"))

    async def judge(answer: Received) -> None:
        score = SCORES[answer.body["answer"]]
        found = "other_subject" if score == max(SCORES.values()) else None
        event = verification_completed(
            answer,
            faithfulness=score,
            relevancy=score,
            verifier=JUDGE,
            duration_ms=5,
            defect=found,
        )
        await theirs.publish(event)

    async with running(settings) as aggregator, verifying(theirs, judge):
        await aggregator.record([asked])
        state = await decided(aggregator, asked)
    best = state.results[asked.candidates[1].event_id]
    assert isinstance(best, Verification)
    assert best.assessments[0].defect is Defect.OTHER_SUBJECT
    assert state.outcome is not None
    assert (state.outcome.chosen, state.outcome.rejected) == (2, 0)
    assert state.outcome.detail.endswith("rejected: unsupported"), "by their figures"


async def test_a_failure_of_theirs_is_no_score(settings: Settings) -> None:
    theirs = consumer(settings)
    asked = batch(("c", "a", "b"))
    async with running(settings) as aggregator, verifying(theirs, judging(theirs, but="ab")):
        await aggregator.record([asked])
        state = await decided(aggregator, asked)
    assert state.outcome is not None
    assert state.outcome.reason == "unscored"
    assert state.results[asked.candidates[2].event_id].reason == "too hard"  # type: ignore[union-attr]


async def test_what_nobody_verifies_ends_in_time(settings: Settings) -> None:
    hasty = settings.model_copy(
        update={
            "verification": settings.verification.model_copy(update={"external_timeout_s": 0.2})
        }
    )
    asked = batch(("c", "a", "b"))  # asked for long ago
    async with running(hasty) as aggregator:
        await aggregator.record([asked])
        state = await decided(aggregator, asked)
    assert state.outcome is not None
    assert state.outcome.reason == "unscored"
    assert {result.reason for result in state.results.values()} == {  # type: ignore[union-attr]
        "not verified within 0.2 s"
    }


async def test_it_goes_on_after_a_restart(settings: Settings) -> None:
    """Half of the results came before, half after."""
    patient = settings.model_copy(
        update={
            "verification": settings.verification.model_copy(update={"external_timeout_s": 1e9})
        }
    )
    theirs = consumer(settings)
    asked = batch(("c", "a", "b"))
    seen = asyncio.Event()
    judge = judging(theirs)

    async def two_of_three(answer: Received) -> None:
        if answer.body["metadata"]["candidate_index"] == 2:
            seen.set()
            raise RuntimeError("later")
        await judge(answer)

    async with running(patient) as aggregator, verifying(theirs, two_of_three):
        await aggregator.record([asked])
        async with asyncio.timeout(PATIENCE_S):
            await seen.wait()
            while len((await aggregator.find(asked.batch_id)).results) < 2:  # type: ignore[union-attr]
                await asyncio.sleep(0.02)
    async with running(patient) as aggregator, verifying(theirs, judge):
        state = await decided(aggregator, asked)
    assert state.outcome is not None
    assert state.outcome.reason is None


def _other_answer(body: dict[str, Any]) -> None:
    body["answer"] = "another answer"


def _other_score(body: dict[str, Any]) -> None:
    body["score"] = 1.0


def _no_metric(body: dict[str, Any]) -> None:
    """As our own events may be, of verifiers that measure something else."""
    body["faithfulness"] = None


def _other_batch(body: dict[str, Any]) -> None:
    body["batch_id"] = "00000000-0000-4000-8000-000000000000"


def _other_candidate(body: dict[str, Any]) -> None:
    body["answer_event_id"] = "00000000-0000-4000-8000-000000000000"


def _other_event(body: dict[str, Any]) -> None:
    body["event_id"] = "00000000-0000-4000-8000-000000000000"


@pytest.mark.parametrize(
    "tamper",
    [_other_answer, _other_score, _no_metric, _other_batch, _other_candidate, _other_event],
)
async def test_what_does_not_fit_is_put_aside_and_changes_nothing(
    settings: Settings, broker: Broker, tamper: Callable[[dict[str, Any]], None]
) -> None:
    theirs = consumer(settings)
    asked = batch(("c", "a", "b"))
    judge = judging(theirs)

    async def handle(answer: Received) -> None:
        body = verification_completed(
            answer, faithfulness=0.1, relevancy=0.1, verifier=JUDGE, duration_ms=5
        )
        tamper(body)
        await theirs.publish(body)
        await judge(answer)

    async with running(settings) as aggregator, verifying(theirs, handle):
        await aggregator.record([asked])
        state = await decided(aggregator, asked)
        async with await aio_pika.connect(broker.url) as connection:
            channel = await connection.channel()
            dead = await channel.get_queue(f"{settings.mirror.exchange}.verifications.dead")
            async with asyncio.timeout(PATIENCE_S), dead.iterator() as messages:
                count = 0
                async for message in messages:
                    await message.ack()
                    count += 1
                    if count == 3:
                        break
    assert state.outcome is not None
    assert state.outcome.chosen_score == 0.9


async def test_own_events_of_a_panel_change_nothing(tmp_path: Path) -> None:
    """Verified here before others were to do it: a replay tells of it again, without metrics."""
    done = decided_state(7, (panel(0.9), panel(0.2)))
    half = decided_state(8, (panel(0.9), panel(0.2)))
    first = half.batch.candidates[0].event_id
    ledger = Ledger(tmp_path)
    decide_in(ledger, done)
    kept = {first: half.results[first]}
    ledger.commit([lambda it: it.record([half.batch]), lambda it: it.keep(half.batch, kept)])

    async def refuse(*_: object) -> None:
        raise AssertionError("nothing is new")

    told = [posted.event.body for posted in outbox.events(ledger, 0, 100)]
    verified = [body for body in told if body["event_type"] == "verification.completed"]
    assert [body["relevancy"] for body in verified] == [None] * 3
    external = External(*reads(ledger), refuse, refuse, timeout_s=1e9)
    for body in verified:
        await external.accept(body)
    ledger.close()


def reads(ledger: Ledger) -> tuple[Any, Any]:
    """How ``External`` reads a ledger."""

    async def find(batch_id: UUID) -> BatchState | None:
        return ledger.find(batch_id)

    async def open_batches(after: int, limit: int) -> Page[tuple[int, BatchState]]:
        return ledger.open_batches(after, limit)

    return find, open_batches


def told_elsewhere(asked: Batch, **changes: Any) -> dict[str, Any]:
    """A sound event of the first answer, with changes."""
    answer = asked.candidates[0]
    return {
        "event_id": str(ids.verification_event(asked.batch_id, 0)),
        "event_type": "verification.completed",
        "schema_version": 1,
        "timestamp": "2026-03-14T09:26:58+00:00",
        "batch_id": str(asked.batch_id),
        "correlation_id": asked.correlation_id,
        "question": asked.question,
        "answer_event_id": str(answer.event_id),
        "answer": answer.answer,
        "faithfulness": 0.5,
        "relevancy": 0.5,
        "score": 0.5,
        "confidence": "low",
        "verifier": JUDGE,
        "duration_ms": 12,
    } | changes


FAILED = {"event_type": "verification.failed", "reason": "too hard"}


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"duration_ms": 12.0}, None),
        ({"duration_ms": 1e15}, None),
        (FAILED | {"attempts": 2.0}, None),
        ({"duration_ms": 12.5}, "duration_ms: 12.5 is not of type 'integer'"),
        ({"duration_ms": 1e308}, "duration_ms: 1e+308 is greater than"),
        ({"duration_ms": 10**30}, "duration_ms: "),
        ({"duration_ms": None}, "duration_ms: None is not of type 'integer'"),
        (FAILED | {"attempts": 1.5}, "attempts: 1.5 is not of type 'integer'"),
        (FAILED | {"attempts": 1e300}, "attempts must be a whole number"),
        (FAILED | {"attempts": 0}, "attempts: 0 is less than"),
        ({"verifier": JUDGE | {"model": 12.0}}, "verifier.model: 12.0 is not of type 'string'"),
        ({"verifier": JUDGE | {"more": 12.0}}, "the verification cannot be kept: "),
        ({"timestamp": "0001-01-01T00:00:00+00:00"}, "completed_at must not be before 1900"),
    ],
    ids=str,
)
async def test_what_is_taken_can_be_read(
    tmp_path: Path, changes: dict[str, Any], refused: str | None
) -> None:
    ledger = Ledger(tmp_path)
    asked = batch(("c", "a", "b"))
    ledger.write(Ledger.record, [asked])

    async def keep(of: Batch, results: Any) -> None:
        ledger.write(Ledger.keep, of, results)

    async def take() -> None:
        body = json.loads(json.dumps(told_elsewhere(asked, **changes)))
        messages.validate(body)
        await External(*reads(ledger), keep, keep, timeout_s=1e9).accept(body)

    if refused:
        with pytest.raises(InputError) as error:
            await take()
        assert refused in str(error.value)
    else:
        await take()
    state = ledger.find(asked.batch_id)
    assert state is not None
    assert len(state.results) == (0 if refused else 1)
    for result in state.results.values():
        count = result.duration_ms if isinstance(result, Verification) else result.attempts
        assert type(count) is int
    ledger.close()


async def test_what_is_told_of_a_batch_that_cannot_be_read_is_put_aside(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    asked = batch(("c", "a", "b"))
    ledger.write(Ledger.record, [asked])
    ledger._db.execute("UPDATE batch SET record = '{'")

    async def refuse(*_: object) -> None:
        raise AssertionError("nothing is kept")

    with pytest.raises(InputError, match="cannot be read and is set aside"):
        await External(*reads(ledger), refuse, refuse, timeout_s=1e9).accept(told_elsewhere(asked))
    ledger.close()
