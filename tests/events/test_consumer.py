"""The consumer against a real RabbitMQ: what is lost, repeated, refused and outlasted."""

import asyncio
import contextlib
import json
import logging
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from aio_pika.exceptions import PublishError

from rlvr_ray.core import ids
from rlvr_ray.core.errors import ConfigError, InputError, Unavailable
from rlvr_ray.core.retry import Backoff
from rlvr_ray.events import (
    Consumer,
    Received,
    amqp,
    consumer,
    handled,
    tail,
    validate,
    verification_completed,
    verification_failed,
)
from rlvr_ray.events import bodies as events
from rlvr_ray.events import validation as messages
from rlvr_ray.events.handled import HandledIds
from tests.broker import Broker
from tests.builders import batch
from tests.patience import PATIENCE_S

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

Body = dict[str, Any]
QUEUE = "test-queue"


def answer(text: str = "Ray scales Python.", index: int = 0) -> Body:
    """The event of an answer; another text or index is another event."""
    recorded = batch([text, "another", "a third"])
    return dict(events.answer_generated(recorded, recorded.candidates[index]).body)


def data(body: Any) -> bytes:
    return json.dumps(body).encode()


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer, "BACKOFF", Backoff(first_s=0.01, longest_s=0.3))


class Log(logging.Handler):
    """What the consumer says, to wait for."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self._more = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
        self._more.set()

    async def until(self, text: str, times: int = 1) -> str:
        async with asyncio.timeout(PATIENCE_S):
            while sum(text in line for line in self.lines) < times:
                self._more.clear()
                await self._more.wait()
        return next(line for line in reversed(self.lines) if text in line)


@pytest.fixture
def log() -> Any:
    handler = Log()
    logger = logging.getLogger("rlvr_ray.events")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.setLevel(logging.NOTSET)
    logger.removeHandler(handler)


class Handler:
    """Takes events, or raises what it is told to, one for each event; ``takes`` them otherwise."""

    def __init__(self, *failures: BaseException | None) -> None:
        self.failures = list(failures)
        self.events: list[Received] = []
        self._queue = asyncio.Queue[Received]()

    async def __call__(self, event: Received) -> None:
        self.events.append(event)
        self._queue.put_nowait(event)
        if self.failures and (failure := self.failures.pop(0)):
            raise failure

    async def next(self) -> Received:
        async with asyncio.timeout(PATIENCE_S):
            return await self._queue.get()

    @property
    def texts(self) -> list[str]:
        return [event.body["answer"] for event in self.events]


class Bus:
    """The publisher's side, and a look into queues."""

    def __init__(self, url: str, exchange: str) -> None:
        self.url = url
        self.exchange = exchange
        self.queue = f"{exchange}.{QUEUE}"
        self.dead = f"{self.queue}.dead"

    @contextlib.asynccontextmanager
    async def channel(self) -> AsyncIterator[AbstractChannel]:
        async with (
            await aio_pika.connect(self.url) as connection,
            connection.channel(on_return_raises=True) as channel,
        ):
            yield channel

    async def declare(self) -> None:
        """As the publisher does, whose arguments are its own."""
        async with self.channel() as channel:
            other = await channel.declare_exchange(f"{self.exchange}.unrouted", "fanout")
            await channel.declare_exchange(
                self.exchange, "topic", durable=True, arguments={"alternate-exchange": other.name}
            )

    async def send(self, *bodies: Body | bytes, **properties: Any) -> None:
        """Publish, in order; a body gets the properties of the publisher."""
        async with self.channel() as channel:
            exchange = await channel.get_exchange(self.exchange)
            for seq, body in enumerate(bodies):
                known: dict[str, Any] = {"headers": {"seq": seq, "schema_version": 1}}
                key = "answer.generated"
                if isinstance(body, dict):
                    known |= {"message_id": body["event_id"], "type": body["event_type"]}
                    key = body["event_type"]
                raw = body if isinstance(body, bytes) else data(body)
                message = aio_pika.Message(raw, **known | properties)
                await exchange.publish(message, key, mandatory=False)

    async def take(self, queue: str, count: int = 1) -> list[AbstractIncomingMessage]:
        """Wait for so many messages and take them."""
        found: list[AbstractIncomingMessage] = []
        async with self.channel() as channel, asyncio.timeout(PATIENCE_S):
            messages = await channel.get_queue(queue)
            async with messages.iterator() as waiting:
                async for message in waiting:
                    await message.ack()
                    found.append(message)
                    if len(found) == count:
                        break
        return found

    async def count(self, queue: str) -> int:
        """Messages that are ready."""
        async with self.channel() as channel:
            declared = (await channel.get_queue(queue)).declaration_result
            return declared.message_count or 0

    async def delete(self, *queues: str) -> None:
        async with self.channel() as channel:
            for queue in queues:
                await channel.queue_delete(queue)


@pytest.fixture
async def bus(broker: Broker, exchange_name: str) -> AsyncIterator[Bus]:
    bus = Bus(broker.url, exchange_name)
    await bus.declare()
    yield bus
    async with bus.channel() as channel:
        for queue in (bus.queue, bus.dead):
            await channel.queue_delete(queue)
        for exchange in (bus.exchange, f"{bus.exchange}.dead", f"{bus.exchange}.unrouted"):
            await channel.exchange_delete(exchange)


Start = Callable[..., Consumer]


@pytest.fixture
def make(bus: Bus) -> Start:
    def make(**settings: Any) -> Consumer:
        url = settings.pop("url", bus.url)
        return Consumer(url, bus.queue, exchange=bus.exchange, **settings)

    return make


@contextlib.asynccontextmanager
async def running(
    consumer: Consumer, handle: Callable[[Received], Awaitable[None]], log: Log | None = None
) -> AsyncIterator["asyncio.Task[None]"]:
    """It runs, and with a log it is known to read."""
    before = sum("reading events" in line for line in log.lines) if log else 0
    task = asyncio.create_task(consumer.run(handle))
    if log:
        await log.until("reading events", before + 1)
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


# What a handler's end means.


async def test_an_event_that_is_handled_is_gone(bus: Bus, make: Start, log: Log) -> None:
    handler, body = Handler(), answer()
    async with running(make(), handler, log):
        await bus.send(answer("first"), body)
        await handler.next()
        event = await handler.next()
        await bus.send(answer("third"))
        await handler.next()
    assert event == Received(
        event_id=UUID(body["event_id"]),
        event_type="answer.generated",
        batch_id=UUID(body["batch_id"]),
        correlation_id="test-correlation",
        timestamp=datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC),
        body=body,
        seq=1,
        attempt=1,
        traceparent=str(events.headers(body)["traceparent"]),
    )
    assert await bus.count(bus.queue) <= 1  # the last may have been cancelled before its ack
    assert await bus.count(bus.dead) == 0


async def test_a_failure_is_tried_again(bus: Bus, make: Start, log: Log) -> None:
    handler = Handler(ValueError("not today"))
    async with running(make(), handler, log):
        await bus.send(answer())
        assert [(await handler.next()).attempt for _ in range(2)] == [1, 2]
    assert handler.events[0].body == handler.events[1].body
    assert await bus.count(bus.dead) == 0


async def test_an_event_that_always_fails_is_set_aside(bus: Bus, make: Start, log: Log) -> None:
    handler = Handler(*[OSError("no disk")] * 3)
    async with running(make(delivery_limit=2, prefetch=1), handler, log):
        await bus.send(answer("bad"), answer("good"))
        assert [(await handler.next()).attempt for _ in range(4)] == [1, 2, 3, 1]
        (dead,) = await bus.take(bus.dead)
    assert handler.texts == ["bad", "bad", "bad", "good"]
    assert json.loads(dead.body)["answer"] == "bad"
    assert dead.headers["x-first-death-reason"] == "delivery_limit"
    assert dead.message_id == answer("bad")["event_id"]


async def test_an_event_that_can_never_be_handled_is_set_aside_at_once(
    bus: Bus, make: Start, log: Log
) -> None:
    handler = Handler(InputError("whose answer is this?"))
    async with running(make(), handler, log):
        await bus.send(answer("bad"), answer("good"))
        (dead,) = await bus.take(bus.dead)
        await handler.next(), await handler.next()
    assert handler.texts == ["bad", "good"]
    assert dead.headers["x-first-death-reason"] == "rejected"
    line = await log.until("whose answer is this?")
    assert line == f"'{answer('bad')['event_id']}' goes to {bus.dead}: whose answer is this?"


async def test_a_stray_cancellation_is_a_failure(bus: Bus, make: Start, log: Log) -> None:
    """Libraries let CancelledError out when a connection of theirs goes."""
    handler = Handler(asyncio.CancelledError())
    async with running(make(), handler, log) as task:
        await bus.send(answer())
        assert [(await handler.next()).attempt for _ in range(2)] == [1, 2]
        assert not task.done()


async def test_a_cancelled_consumer_leaves_the_event_in_the_queue(
    bus: Bus, make: Start, log: Log
) -> None:
    begun = asyncio.Event()

    async def hang(event: Received) -> None:
        begun.set()
        await asyncio.Event().wait()

    async with running(make(), hang, log) as task:
        await bus.send(answer("first"), answer("second"))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await bus.count(bus.queue) == 2
    handler = Handler()
    async with running(make(), handler):
        await handler.next(), await handler.next()
    assert handler.texts == ["first", "second"]


async def test_order_is_kept(bus: Bus, make: Start, log: Log) -> None:
    handler = Handler()
    texts = [f"answer {n}" for n in range(100)]
    async with running(make(), handler, log):
        await bus.send(*[answer(text) for text in texts])
        for _ in texts:
            await handler.next()
    assert handler.texts == texts
    assert [event.seq for event in handler.events] == list(range(100))


async def test_only_the_keys_asked_for(bus: Bus, make: Start, log: Log) -> None:
    handler = Handler()
    failed = verification_failed(received(answer()), reason="it is late")
    async with running(make(keys=["verification.*"]), handler, log):
        await bus.send(answer(), failed)
        assert (await handler.next()).event_type == "verification.failed"
    assert len(handler.events) == 1


# What is no event.

POISON: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"{'a': 1}",
    "half": data(answer())[:-1],
    "not UTF-8": b'{"event_id": "\xff"}',
    "UTF-16": json.dumps(answer()).encode("utf-16"),
    "a list": data([answer()]),
    "null": b"null",
    "another schema": data({"hello": "world"}),
    "version 2": data(answer() | {"schema_version": 2}),
    "NaN": data(answer() | {"metadata": answer()["metadata"] | {"temperature": float("nan")}}),
    "NaN in a new field": data(answer() | {"new": float("nan")}),
    "infinity": data(answer()).replace(b"0.3", b"1e999"),
    "infinity in a new field": data(answer())[:-1] + b', "new": 1e999}',
    "a lone surrogate": data(answer() | {"question": "\ud800"}),
    "NUL": data(answer() | {"question": "a\0b"}),
    "a field twice": b'{"event_id": 1, ' + data(answer())[1:],
    "a huge figure": data(answer()).replace(b"0.3", b"-1" + b"0" * 4000),
    "a huge number": data(answer())[:-1] + b', "new": ' + b"9" * 10_000 + b"}",
    "deep": b"[" * 1024 * 1024,
    "deep in a field": data(answer())[:-1] + b', "new": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    "deep objects": b'{"event_type":' * 5000 + b"1" + b"}" * 5000,
    "too large": data(answer() | {"new": "x" * 1024 * 1024}),
}


async def test_poison_is_set_aside_and_the_queue_moves_on(bus: Bus, make: Start, log: Log) -> None:
    handler = Handler()
    async with running(make(), handler, log):
        await bus.send(*POISON.values(), answer())
        await bus.send(answer("renamed"), message_id=str(uuid4()))
        await bus.send(answer("last"))
        await handler.next(), await handler.next()
        dead = await bus.take(bus.dead, len(POISON) + 1)
    assert handler.texts == ["Ray scales Python.", "last"]
    assert {message.headers["x-first-death-reason"] for message in dead} == {"rejected"}
    assert [message.body for message in dead] == [*POISON.values(), data(answer("renamed"))]
    lines = [line for line in log.lines if "goes to" in line]
    assert len(lines) == len(dead)
    assert max(map(len, lines)) < 500
    assert all(line.isprintable() for line in lines)


async def test_the_largest_valid_event_is_read(bus: Bus, make: Start, log: Log) -> None:
    body = answer()
    body["new"] = "x" * (messages.MAX_BYTES - len(data(body | {"new": ""})))
    handler = Handler()
    async with running(make(), handler, log):
        await bus.send(body)
        assert (await handler.next()).body == body


async def test_a_message_without_properties_is_read(bus: Bus, make: Start, log: Log) -> None:
    """Whoever publishes without an id, or with odd headers, is known by the body."""
    handler = Handler()
    async with running(make(), handler, log):
        with pytest.MonkeyPatch.context() as patch:  # aiormq gives messages without id a random one
            patch.setattr("aiormq.channel.UUID", lambda **_: SimpleNamespace(hex=None))
            await bus.send(data(answer()), data(answer()), headers=None)
        await bus.send(answer("odd"), headers={"seq": "first", "x-delivery-count": "many"})
        first, odd = await handler.next(), await handler.next()
    assert (first.seq, first.attempt) == (None, 1)
    assert (odd.seq, odd.attempt) == (None, 1)
    assert handler.texts == ["Ray scales Python.", "odd"]


async def test_every_event_of_a_batch_says_where_its_trace_goes_on(
    bus: Bus, make: Start, log: Log
) -> None:
    """Whatever a header says that is none, and where there is none: the ids say it, too."""
    given = f"00-{'1' * 32}-{'2' * 16}-00"
    handler = Handler()
    document = events.document_ingested(
        document_id=ids.derive("d"), number=0, filename="a.md", num_chunks=2, at=datetime.now(UTC)
    )
    async with running(make(keys=["#"]), handler, log):
        await bus.send(answer("given"), headers={"traceparent": given})
        await bus.send(answer("nonsense"), headers={"traceparent": "nonsense"})
        await bus.send(answer("a number"), headers={"traceparent": 7})
        await bus.send(answer("none"))
        await bus.send(dict(document.body))
        found = [await handler.next() for _ in range(5)]
    of_batches = found[:4]
    derived = [f"00-{e.batch_id.hex}-{e.event_id.hex[16:]}-01" for e in of_batches if e.batch_id]
    assert [event.traceparent for event in found] == [given, *derived[1:], None]


# Repeats.


async def test_a_repeat_is_not_handled_again(bus: Bus, make: Start, log: Log) -> None:
    handler = Handler(OSError("once"))
    async with running(make(prefetch=1), handler, log):
        await bus.send(answer("one"), answer("two"), answer("one"), answer("three"))
        for _ in range(4):
            await handler.next()
    assert handler.texts == ["one", "one", "two", "three"]
    assert await bus.count(bus.dead) == 0


async def test_repeats_are_known_after_a_restart(
    bus: Bus, make: Start, log: Log, tmp_path: Path
) -> None:
    path = tmp_path / "seen.db"
    for seen, texts in [(path, ["one", "two"]), (path, ["three"]), (None, ["one", "two", "four"])]:
        handler = Handler()
        async with running(make(seen=seen), handler, log):
            await bus.send(answer("one"), answer("two"), answer(texts[-1]))
            for _ in texts:
                await handler.next()
        assert handler.texts == texts
    with contextlib.closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT count(*) FROM seen").fetchone() == (3,)


async def test_an_ack_that_was_lost_repeats_nothing(bus: Bus, make: Start, log: Log) -> None:
    handler = Handler()
    reading = make()

    async def lose(event: Received) -> None:
        await handler(event)
        if event.body["answer"] == "one":
            assert reading._connection is not None
            await reading._connection.close()

    async with running(reading, lose, log):
        await bus.send(answer("one"), answer("two"))
        await handler.next(), await handler.next()
        await log.until("reading events", 2)
    assert handler.texts == ["one", "two"]


async def test_the_oldest_ids_are_forgotten(
    bus: Bus, make: Start, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handled, "KEEP_IN_MEMORY", 2)
    handler = Handler()
    async with running(make(), handler, log):
        await bus.send(*[answer(text) for text in ["one", "two", "three", "three", "two", "one"]])
        for _ in range(4):
            await handler.next()
    assert handler.texts == ["one", "two", "three", "one"]


async def test_a_file_of_ids_has_one_owner(make: Start, log: Log, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database, but long enough to look like one" * 100)
    for path in (tmp_path / "missing" / "seen.db", tmp_path, tmp_path / "text"):
        with pytest.raises(ConfigError, match="cannot keep the ids of handled events in"):
            await make(seen=path).run(Handler())
    path = tmp_path / "seen.db"
    with contextlib.closing(HandledIds(path)):
        connect = sqlite3.connect
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sqlite3, "connect", lambda file: connect(file, timeout=0))
            with pytest.raises(ConfigError, match="locked"):
                HandledIds(path)


# Trouble with the broker.


async def test_it_waits_for_the_exchange(broker: Broker, exchange_name: str, log: Log) -> None:
    bus = Bus(broker.url, exchange_name)
    handler = Handler()
    async with running(Consumer(bus.url, bus.queue, exchange=bus.exchange), handler):
        line = await log.until("does not exist yet", 2)
        assert line.startswith(f"exchange {exchange_name} does not exist yet; is the mirror on?")
        await bus.declare()
        await log.until("reading events")
        await bus.send(answer())
        await handler.next()
    await bus.delete(bus.queue, bus.dead)


async def test_it_declares_a_queue_again_that_was_deleted(bus: Bus, make: Start, log: Log) -> None:
    handler = Handler()
    async with running(make(), handler, log):
        await bus.delete(bus.queue)
        await log.until("ended the subscription")
        await log.until("reading events", 2)
        await bus.send(answer())
        await handler.next()


@pytest.mark.slow
async def test_it_outlasts_a_broker_that_is_down_restarts_or_crashes(
    broker: Broker, bus: Bus, make: Start, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(amqp, "SETUP_S", 1)
    handler = Handler()
    await asyncio.to_thread(broker.stop)
    try:
        async with running(make(), handler):
            await log.until("Connect call failed", 2)
            await asyncio.to_thread(broker.start)
            await log.until("reading events")
            await bus.send(answer("one"))
            await handler.next()
            await asyncio.to_thread(broker.kill)
            await log.until("Connect call failed", 3)
            await asyncio.to_thread(broker.start)
            await log.until("reading events", 2)
            await bus.send(answer("two"))
            await handler.next()
    finally:
        if not broker.processes():
            await asyncio.to_thread(broker.start)
    assert handler.texts == ["one", "two"]


@pytest.mark.slow
async def test_it_outlasts_a_broker_that_hangs(
    broker: Broker, bus: Bus, make: Start, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three missed heartbeats end the connection; new ones are not answered."""
    monkeypatch.setattr(amqp, "HEARTBEAT_S", 1)
    monkeypatch.setattr(amqp, "SETUP_S", 1)
    handler = Handler()
    async with running(make(), handler, log):
        broker.pause()
        try:
            await log.until("trying again")
            await log.until("did not answer in time")
        finally:
            broker.resume()
        await log.until("reading events", 2)
        await bus.send(answer())
        await handler.next()


async def test_it_can_be_cancelled_while_the_broker_hangs(
    broker: Broker, bus: Bus, make: Start, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(amqp, "CLOSE_S", 0.1)
    async with running(make(), Handler(), log) as task:
        broker.pause()
        try:
            task.cancel()
            async with asyncio.timeout(PATIENCE_S):
                with pytest.raises(asyncio.CancelledError):
                    await task
        finally:
            broker.resume()


# What only a person can mend.


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "must look like amqp://"),
        ("http://localhost", "must look like amqp://"),
        ("amqp:///", "must look like amqp://"),
        ("amqp://host:port/", "the broker's URL is none"),
        ("amqp://:secret@[::1/", "the broker's URL is none"),
    ],
)
async def test_what_is_no_url_is_refused(url: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        Consumer(url, QUEUE)
    assert "secret" not in str(caught.value)
    with pytest.raises(ConfigError, match=message):
        await anext(aiter(tail(url)))


@pytest.mark.parametrize("prefetch", [0, -1, 65_536])
def test_a_prefetch_out_of_range_is_refused(prefetch: int) -> None:
    with pytest.raises(ConfigError, match="prefetch must be from 1 to 65535"):
        Consumer("amqp://localhost", QUEUE, prefetch=prefetch)


async def test_wrong_credentials_are_told(broker: Broker, bus: Bus, make: Start) -> None:
    place = broker.url.rpartition("@")[2]
    for url in (f"amqp://guest:secret@{place}", f"amqp://nobody:secret@{place}"):
        with pytest.raises(ConfigError, match="ACCESS_REFUSED") as caught:
            await make(url=url).run(Handler())
        assert "secret" not in str(caught.value)
        with pytest.raises(ConfigError, match="ACCESS_REFUSED"):
            await anext(aiter(tail(url, bus.exchange)))


async def test_a_missing_virtual_host_is_told(broker: Broker, make: Start) -> None:
    with pytest.raises(ConfigError, match="virtual host elsewhere"):
        await make(url=f"{broker.url.rstrip('/')}/elsewhere").run(Handler())


async def test_missing_rights_are_told(broker: Broker, bus: Bus, make: Start) -> None:
    everything = ".*"
    for name, rights in {
        "reader": {"configure": "^$", "write": "^$", "read": everything},
        "stranger": {"configure": everything, "write": everything, "read": "^$"},
    }.items():
        url = broker.add_user(f"{name}-{bus.exchange}", "password", **rights)
        with pytest.raises(ConfigError, match=r"ACCESS_REFUSED - .* refused"):
            await make(url=url).run(Handler())


async def test_a_queue_of_another_kind_is_told(bus: Bus, make: Start) -> None:
    async with bus.channel() as channel:
        await channel.declare_queue(bus.queue, durable=True)
    with pytest.raises(ConfigError, match="PRECONDITION_FAILED - inequivalent arg"):
        await make().run(Handler())


async def test_a_queue_with_another_limit_is_told(bus: Bus, make: Start, log: Log) -> None:
    async with running(make(), Handler(), log):
        with pytest.raises(ConfigError, match="inequivalent arg 'x-delivery-limit'"):
            await make(delivery_limit=6).run(Handler())


# Answering.

VERIFIER = {
    "faithfulness": "theirs",
    "relevancy": "theirs",
    "model": "big-judge",
    "embedder": "none",
    "version": "3",
}


def received(body: Body) -> Received:
    return Received(
        event_id=UUID(body["event_id"]),
        event_type=body["event_type"],
        batch_id=UUID(body["batch_id"]),
        correlation_id=body["correlation_id"],
        timestamp=datetime.fromisoformat(body["timestamp"]),
        body=body,
    )


def scored(answer: Received) -> Body:
    return verification_completed(
        answer, faithfulness=1.0, relevancy=0.5, verifier=VERIFIER, duration_ms=7
    )


async def test_an_answer_is_verified(bus: Bus, make: Start, log: Log) -> None:
    verifier = make(keys=["answer.generated"])
    results = Consumer(bus.url, f"{bus.queue}.2", exchange=bus.exchange, keys=["verification.*"])
    handler = Handler()

    async def verify(answer: Received) -> None:
        await verifier.publish(scored(answer))

    async with running(results, handler, log), running(verifier, verify, log):
        await bus.send(answer(index=2))
        event = await handler.next()
    assert event.event_type == "verification.completed"
    assert event.event_id == ids.verification_event(UUID(answer()["batch_id"]), 2)
    assert event.body["answer_event_id"] == answer(index=2)["event_id"]
    assert (event.body["score"], event.body["confidence"]) == (0.75, "high")
    await bus.delete(f"{bus.queue}.2", f"{bus.queue}.2.dead")


@pytest.mark.parametrize("correlation", ["mine", "ä" * 127, "ä" * 128, "ä" * 200])
async def test_what_is_published_is_a_durable_message(
    bus: Bus, make: Start, log: Log, correlation: str
) -> None:
    """A correlation id of more than 255 bytes is in the body alone."""
    consumer = make(keys=["answer.generated"])
    body = scored(received(answer() | {"correlation_id": correlation}))
    async with bus.channel() as channel:
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(bus.exchange, "#")
        async with running(consumer, Handler(), log):
            await consumer.publish(body)
        message = await queue.get()
    assert json.loads(message.body) == body
    assert message.routing_key == message.type == "verification.completed"
    assert message.message_id == body["event_id"]
    assert message.correlation_id == (correlation if len(correlation.encode()) < 256 else None)
    assert message.delivery_mode == aio_pika.DeliveryMode.PERSISTENT
    assert message.content_type == "application/json"
    batch_id, event_id = body["batch_id"].replace("-", ""), body["event_id"].replace("-", "")
    trace = f"00-{batch_id}-{event_id[16:]}-01"
    assert message.headers == {"schema_version": 1, "traceparent": trace}


async def test_what_is_no_event_is_not_published(make: Start) -> None:
    with pytest.raises(InputError, match="score: nan is not"):
        await make().publish(scored(received(answer())) | {"score": float("nan")})
    with pytest.raises(InputError, match="none reads more than 1048576"):
        await make().publish(answer("x" * messages.MAX_BYTES))


async def test_publishing_needs_a_connection(make: Start) -> None:
    with pytest.raises(Unavailable, match=r"not connected: publish while run\(\) is running"):
        await make().publish(answer())


async def test_an_event_that_nobody_takes_is_not_published(
    broker: Broker, exchange_name: str, log: Log
) -> None:
    """An answer to it is tried again, and the publisher outlives the failure."""
    bus = Bus(broker.url, exchange_name)
    async with bus.channel() as channel:
        await channel.declare_exchange(exchange_name, "topic", durable=True)
    consumer = Consumer(bus.url, bus.queue, exchange=exchange_name, keys=["answer.*"])
    handler, problems = Handler(), []

    async def verify(answer: Received) -> None:
        await handler(answer)
        try:
            await consumer.publish(scored(answer))
        except Unavailable as error:
            problems.append(str(error))
            raise

    async with running(consumer, verify, log):
        await bus.send(answer())
        await handler.next(), await handler.next()
        async with bus.channel() as channel:
            queue = await channel.declare_queue(exclusive=True)
            await queue.bind(exchange_name, "verification.completed")
            async with queue.iterator() as messages, asyncio.timeout(PATIENCE_S):
                message = await anext(messages)
    assert json.loads(message.body)["answer_event_id"] == answer()["event_id"]
    assert set(problems) == {f"no queue of {exchange_name} takes verification.completed"}
    await bus.delete(bus.queue, bus.dead)


async def test_publishing_without_the_right_is_told_each_time(
    broker: Broker, bus: Bus, make: Start, log: Log
) -> None:
    """A refusal closes the channel; the next attempt has a new one."""
    own = rf"^{bus.queue}.*|{bus.exchange}\.dead$"
    url = broker.add_user(f"w-{bus.exchange}", "password", configure=own, write=own, read=".*")
    consumer = make(url=url)
    async with running(consumer, Handler(), log):
        for _ in range(2):
            with pytest.raises(ConfigError, match="ACCESS_REFUSED"):
                await consumer.publish(scored(received(answer())))


async def test_publishing_to_a_blocked_broker_gives_up(
    broker: Broker, bus: Bus, make: Start, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    consumer_ = make()
    async with running(consumer_, Handler(), log):
        await asyncio.to_thread(broker.block)
        try:
            monkeypatch.setattr(consumer, "PUBLISH_S", 0.3)
            with pytest.raises(Unavailable, match="did not answer in time"):
                await consumer_.publish(answer())
        finally:
            monkeypatch.setattr(consumer, "PUBLISH_S", PATIENCE_S)
            await asyncio.to_thread(broker.unblock)
        await consumer_.publish(answer())


# Watching.


async def follow(bus: Bus, *keys: str) -> list[tuple[str, Body]]:
    """Events up to the answer "last"."""
    found = []
    async with contextlib.aclosing(tail(bus.url, bus.exchange, keys or ("#",))) as live:
        async for key, body in live:
            found.append((key, body))
            if body.get("answer") == "last":
                break
    return found


async def watched(bus: Bus) -> None:
    """Wait until somebody reads the exchange."""
    async with bus.channel() as channel, asyncio.timeout(PATIENCE_S):
        exchange = await channel.get_exchange(bus.exchange)
        while True:
            with contextlib.suppress(PublishError):
                await exchange.publish(aio_pika.Message(b"no event"), "answer.generated")
                return
            await asyncio.sleep(0.01)


async def test_tail_shows_what_comes(broker: Broker, exchange_name: str, log: Log) -> None:
    bus = Bus(broker.url, exchange_name)
    async with bus.channel() as channel:
        await channel.declare_exchange(exchange_name, "topic", durable=True)
    watching = asyncio.create_task(follow(bus))
    await watched(bus)
    odd = data({"hello": "world"})
    await bus.send(answer("one"), odd, answer("last"))
    async with asyncio.timeout(PATIENCE_S):
        assert await watching == [
            ("answer.generated", answer("one")),
            ("answer.generated", {"hello": "world"}),
            ("answer.generated", answer("last")),
        ]
    await log.until("the message is not JSON")


async def test_tail_says_that_there_is_no_exchange(broker: Broker) -> None:
    with pytest.raises(Unavailable, match="exchange nowhere does not exist yet"):
        await anext(aiter(tail(broker.url, "nowhere")))


async def test_tail_says_that_there_is_no_broker() -> None:
    with pytest.raises(Unavailable, match=r"RabbitMQ at 127\.0\.0\.1:1 is not there: .*Connect"):
        await anext(aiter(tail("amqp://127.0.0.1:1/")))


async def test_tail_ends_with_the_connection(broker: Broker, exchange_name: str) -> None:
    bus = Bus(broker.url, exchange_name)
    async with bus.channel() as channel:
        await channel.declare_exchange(exchange_name, "topic", durable=True)
    watching = asyncio.create_task(follow(bus))
    await watched(bus)
    await asyncio.to_thread(broker.ctl, "close_all_connections", "for a test")
    with pytest.raises(Unavailable, match="the broker ended the subscription"):
        await watching


async def test_examples_of_this_file_are_events() -> None:
    validate(answer())
    validate(scored(received(answer())))
