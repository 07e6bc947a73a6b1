"""The mirror while its broker dies, hangs, fills up, or never was there."""

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import aio_pika
import pytest

from rlvr_ray.dataset.audit import audit
from rlvr_ray.dataset.files import Dataset
from rlvr_ray.dataset.ledger import Ledger, Reader
from rlvr_ray.events import outbox
from rlvr_ray.events.bodies import Event
from rlvr_ray.events.rabbitmq import RabbitMQ
from rlvr_ray.pipeline.aggregator import Aggregator
from rlvr_ray.settings import load
from tests.broker import Broker
from tests.builders import batch
from tests.fakes import FakePanel
from tests.faults.harness import Figures

pytestmark = pytest.mark.slow


#: Seconds for what must come about in the end.
PATIENCE = 90.0
QUEUE = "everything"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker to be killed: the run's other one has other tests' queues."""
    with Broker(tmp_path_factory.mktemp("own-broker")) as broker:
        yield broker


class Load:
    """Batches recorded one after another, for as long as the block runs."""

    def __init__(self, aggregator: Aggregator, prefix: str) -> None:
        self._aggregator = aggregator
        self._prefix = prefix
        self.acknowledged: list[UUID] = []
        self.slowest = 0.0
        self._enough = asyncio.Event()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            # Not cancelled: a batch that is being recorded would go on into the ledger, unwatched.
            self._enough.set()
            await task

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._enough.is_set():
            number = len(self.acknowledged)
            started = loop.time()
            (recorded,) = await self._aggregator.record(
                [batch(("a", "b", "c"), f"{self._prefix}, question {number}?")]
            )
            self.acknowledged.append(recorded.batch_id)
            self.slowest = max(self.slowest, loop.time() - started)
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def mirrored(folder: Path, broker: Broker, exchange: str) -> AsyncIterator[Aggregator]:
    settings = load(
        data_dir=folder,
        mirror={"url": broker.url, "exchange": exchange, "timeout_s": 3},
        verification={"batches": 8},
    )
    verifier = FakePanel({"a": 0.9, "b": 0.8, "c": 0.4})
    publisher = RabbitMQ(settings.mirror)
    aggregator = Aggregator(Ledger(folder), Dataset(folder), verifier, settings, publisher)
    await aggregator.start()
    try:
        yield aggregator
    finally:
        await aggregator.close()


async def listen(broker: Broker, exchange: str) -> None:
    """Make a durable queue that takes all; the exchange is declared as the publisher does."""
    settings = load(mirror={"url": broker.url, "exchange": exchange}).mirror
    publisher = RabbitMQ(settings)
    await publisher.open()
    await publisher.close()
    async with await aio_pika.connect(broker.url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(
            f"{exchange}.{QUEUE}", durable=True, arguments={"x-queue-type": "quorum"}
        )
        await queue.bind(exchange, "#")


async def heard(broker: Broker, exchange: str) -> list[dict[str, Any]]:
    """Bodies of all messages in the queue, in order; each carries its own id."""
    found: list[dict[str, Any]] = []
    async with await aio_pika.connect(broker.url) as connection:
        channel = await connection.channel()
        queue = await channel.get_queue(f"{exchange}.{QUEUE}")
        while (message := await queue.get(no_ack=True, fail=False)) is not None:
            body = json.loads(message.body)
            assert message.message_id == body["event_id"]
            found.append(body)
    return found


async def all_mirrored(aggregator: Aggregator) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            stats = await aggregator.stats()
            if not stats["mirror"]["pending"] and not stats["batches"]["open"]:
                return
            await asyncio.sleep(0.05)


def told(folder: Path) -> list[Event]:
    """Every event of the ledger, in order."""
    reader = Reader(folder)
    found: list[Event] = []
    seq = 0
    while posted := outbox.events(reader, seq, 500):
        found += [one.event for one in posted]
        seq = posted[-1].seq
    assert list(audit(reader, Dataset(folder))) == []
    reader.close()
    return found


def compare(folder: Path, messages: list[dict[str, Any]]) -> dict[str, int]:
    """Every event arrived, as the ledger has it, in order within its batch; how many came twice."""
    expected = {str(event.event_id): dict(event.body) for event in told(folder)}
    seen: dict[str, dict[str, Any]] = {}
    for message in messages:
        assert seen.setdefault(message["event_id"], message) == message, "the same id, another body"
    lost = [place for place, key in enumerate(expected) if key not in seen]
    assert not lost, f"{len(lost)} of {len(expected)} events are lost, at {lost}"
    assert seen == expected
    for batch_id in {body["batch_id"] for body in expected.values()}:
        order = [key for key, body in expected.items() if body["batch_id"] == batch_id]
        first = [key for key, body in seen.items() if body["batch_id"] == batch_id]
        assert first == order, f"batch {batch_id} out of order"
    return {"events": len(expected), "lost": 0, "doubled": len(messages) - len(seen)}


async def test_a_broker_killed_under_load_loses_no_event(
    own: Broker, exchange_name: str, tmp_path: Path, rounds: int, figures: Figures
) -> None:
    kills = 10 if rounds >= 100 else 2
    await listen(own, exchange_name)
    await asyncio.sleep(1)  # a quorum queue's name is on the disk only half a second later
    dice = random.Random(0)
    async with mirrored(tmp_path, own, exchange_name) as aggregator:
        asking = Load(aggregator, exchange_name)
        async with asking.running():
            for _ in range(kills):
                await asyncio.sleep(dice.uniform(0.3, 1.5))
                await asyncio.to_thread(own.kill)
                before = len(asking.acknowledged)
                await asyncio.sleep(dice.uniform(0.1, 0.5))
                assert len(asking.acknowledged) > before, "asks go on without a broker"
                await asyncio.to_thread(own.start)
        await all_mirrored(aggregator)
    counted = compare(tmp_path, await heard(own, exchange_name))
    figures.add("broker kill -9", rounds=kills, acknowledged=len(asking.acknowledged), **counted)


def _stopped(broker: Broker) -> tuple[Callable[[], object], Callable[[], object]]:
    return broker.pause, broker.resume


def _full(broker: Broker) -> tuple[Callable[[], object], Callable[[], object]]:
    return broker.block, broker.unblock


def _cut(broker: Broker) -> tuple[Callable[[], object], Callable[[], object]]:
    return lambda: broker.ctl("close_all_connections", "a test"), lambda: None


@pytest.mark.parametrize(
    "fault", [_stopped, _full, _cut], ids=["SIGSTOP", "disk alarm", "connections closed"]
)
async def test_a_broker_in_trouble_loses_no_event(
    own: Broker,
    exchange_name: str,
    tmp_path: Path,
    figures: Figures,
    request: pytest.FixtureRequest,
    fault: Callable[[Broker], tuple[Callable[[], object], Callable[[], object]]],
) -> None:
    await listen(own, exchange_name)
    begin, end = fault(own)
    async with mirrored(tmp_path, own, exchange_name) as aggregator:
        asking = Load(aggregator, exchange_name)
        async with asking.running():
            await asyncio.sleep(0.5)
            await asyncio.to_thread(begin)
            try:
                before = len(asking.acknowledged)
                await asyncio.sleep(4.5)  # longer than the mirror's own timeout
                assert len(asking.acknowledged) > before, "asks go on"
            finally:
                await asyncio.to_thread(end)
        await all_mirrored(aggregator)
    counted = compare(tmp_path, await heard(own, exchange_name))
    name = request.node.callspec.id
    figures.add(f"broker {name}", rounds=1, acknowledged=len(asking.acknowledged), **counted)


async def test_a_broker_that_comes_late_hears_everything(
    own: Broker, exchange_name: str, tmp_path: Path, figures: Figures
) -> None:
    await listen(own, exchange_name)
    await asyncio.sleep(1)
    await asyncio.to_thread(own.kill)
    async with mirrored(tmp_path, own, exchange_name) as aggregator:
        asking = Load(aggregator, exchange_name)
        async with asking.running(), asyncio.timeout(PATIENCE):
            while len(asking.acknowledged) < 50:
                await asyncio.sleep(0.05)
        assert (await aggregator.stats())["mirror"]["pending"] >= 150
    # The whole run was without a broker, and so is the next start.
    async with mirrored(tmp_path, own, exchange_name) as aggregator:
        await asyncio.to_thread(own.start)
        await all_mirrored(aggregator)
    counted = compare(tmp_path, await heard(own, exchange_name))
    figures.add(
        "broker down a whole run", rounds=1, acknowledged=len(asking.acknowledged), **counted
    )
