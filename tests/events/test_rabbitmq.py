"""The mirror's publisher, on a real RabbitMQ."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue
from pydantic import SecretStr

from rlvr_ray.core import ids
from rlvr_ray.core.errors import ConfigError, Unavailable
from rlvr_ray.core.records import Batch
from rlvr_ray.events import amqp, bodies
from rlvr_ray.events.outbox import Posted
from rlvr_ray.events.rabbitmq import RabbitMQ
from rlvr_ray.settings import MirrorSettings
from tests.broker import Broker
from tests.builders import batch
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.integration


def mirror(url: str, exchange: str, timeout_s: float = 10) -> RabbitMQ:
    settings = MirrorSettings(url=SecretStr(url), exchange=exchange, timeout_s=timeout_s)
    return RabbitMQ(settings)


def posted(*batches: Batch, first: int = 1) -> list[Posted]:
    """The answers of batches, as their ledger would number them."""
    told = [bodies.answer_generated(b, c) for b in batches for c in b.candidates]
    return [Posted(seq=first + n, event=event) for n, event in enumerate(told)]


def some(count: int, prefix: str = "q") -> list[Batch]:
    return [batch(question=f"{prefix}{n}?") for n in range(count)]


@pytest.fixture
async def channel(broker: Broker) -> AsyncIterator[AbstractChannel]:
    async with await aio_pika.connect(broker.url) as connection:
        yield await connection.channel()


async def bound(channel: AbstractChannel, exchange: str, key: str = "#") -> AbstractQueue:
    queue = await channel.declare_queue(
        f"{exchange}.test", durable=True, arguments={"x-queue-type": "quorum"}
    )
    await queue.bind(exchange, key)
    return queue


async def arrived(queue: AbstractQueue, count: int) -> list[AbstractIncomingMessage]:
    """So many messages, acknowledged; there must be no more."""
    found: list[AbstractIncomingMessage] = []
    async with asyncio.timeout(PATIENCE_S), queue.iterator() as messages:
        async for message in messages:
            await message.ack()
            found.append(message)
            if len(found) == count:
                break
    assert await queue.get(fail=False) is None, f"more than {count} messages"
    return found


def by_batch(messages: Sequence[AbstractIncomingMessage]) -> dict[UUID, list[str | None]]:
    found: dict[UUID, list[str | None]] = {}
    for message in messages:
        found.setdefault(UUID(json.loads(message.body)["batch_id"]), []).append(message.message_id)
    return found


async def test_a_message_says_all_that_a_consumer_needs(
    broker: Broker, channel: AbstractChannel, exchange_name: str
) -> None:
    publisher = mirror(broker.url, exchange_name)
    await publisher.open()
    queue = await bound(channel, exchange_name, "answer.generated")
    asked = batch(question="Ünïcode 🦆?", correlation_id="🦆" * 100)
    (one, *_) = posted(asked, first=41)
    await publisher.publish([one])
    (message,) = await arrived(queue, 1)
    await publisher.close()
    assert json.loads(message.body) == one.event.body
    assert message.message_id == str(one.event.event_id)
    assert message.routing_key == message.type == "answer.generated"
    assert message.delivery_mode == aio_pika.DeliveryMode.PERSISTENT
    assert message.content_type == "application/json"
    event = one.event.event_id.hex[16:]
    assert message.headers == {
        "schema_version": 1,
        "seq": 41,
        "traceparent": f"00-{asked.batch_id.hex}-{event}-01",
    }
    assert message.correlation_id is None, "AMQP holds 255 bytes; the body has all of it"


async def test_the_correlation_id_is_a_property_too(
    broker: Broker, channel: AbstractChannel, exchange_name: str
) -> None:
    publisher = mirror(broker.url, exchange_name)
    await publisher.open()
    queue = await bound(channel, exchange_name)
    document = bodies.document_ingested(
        document_id=ids.derive("d"), number=0, filename="a.md", num_chunks=2, at=datetime.now(UTC)
    )
    await publisher.publish(
        [*posted(batch(correlation_id="c-1"))[:1], Posted(seq=2, event=document)]
    )
    first, second = await arrived(queue, 2)
    await publisher.close()
    assert {first.correlation_id, second.correlation_id} == {"c-1", None}
    assert len([m for m in (first, second) if "traceparent" in m.headers]) == 1, "a document's none"


async def test_the_events_of_a_batch_arrive_in_order(
    broker: Broker, channel: AbstractChannel, exchange_name: str
) -> None:
    publisher = mirror(broker.url, exchange_name)
    await publisher.open()
    queue = await bound(channel, exchange_name)
    asked = some(40)
    await publisher.publish(posted(*asked))
    messages = await arrived(queue, 120)
    await publisher.close()
    expected = {b.batch_id: [str(c.event_id) for c in b.candidates] for b in asked}
    assert by_batch(messages) == expected


async def test_order_holds_where_the_broker_refuses_some(
    broker: Broker, channel: AbstractChannel, exchange_name: str
) -> None:
    """A queue that is full says no to some: what was sent again must not overtake."""
    publisher = mirror(broker.url, exchange_name)
    await publisher.open()
    queue = await channel.declare_queue(
        f"{exchange_name}.small",
        durable=True,
        arguments={"x-max-length": 35, "x-overflow": "reject-publish"},
    )
    await queue.bind(exchange_name, "#")
    for _ in range(15):
        await channel.default_exchange.publish(aio_pika.Message(b"other"), queue.name)

    async def drain() -> list[AbstractIncomingMessage]:
        found = []
        while message := await queue.get(fail=False, no_ack=True):
            found.append(message)
        return [message for message in found if message.body != b"other"]

    asked = some(10)
    with pytest.raises(Unavailable):
        await publisher.publish(posted(*asked))
    got = await drain()
    assert 0 < len(got) < 30, "some were taken, some refused"
    await publisher.publish(posted(*asked))
    got += await drain()
    await publisher.close()
    for b in asked:
        order = [str(c.event_id) for c in b.candidates]
        firsts = list(dict.fromkeys(by_batch(got)[b.batch_id]))
        assert firsts == order


async def test_what_nobody_wants_is_kept_aside(broker: Broker, exchange_name: str) -> None:
    publisher = mirror(broker.url, exchange_name)
    await publisher.publish(posted(*some(2)))
    assert await publisher.unrouted() == 6
    await publisher.close()


async def test_a_broker_that_is_not_there_is_unavailable(exchange_name: str) -> None:
    publisher = mirror("amqp://127.0.0.1:1/", exchange_name)
    with pytest.raises(Unavailable, match="the broker"):
        await publisher.publish(posted(batch()))


@pytest.mark.parametrize("path", ["", "/nowhere"])
async def test_who_may_not_in_is_told_so(broker: Broker, exchange_name: str, path: str) -> None:
    url = broker.url.replace("guest:guest", "guest:secret-word") if not path else broker.url
    publisher = mirror(url.rstrip("/") + path, exchange_name)
    with pytest.raises(ConfigError, match="the broker") as caught:
        await publisher.open()
    assert "secret-word" not in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_an_exchange_of_another_type_is_told_so(
    broker: Broker, channel: AbstractChannel, exchange_name: str
) -> None:
    await channel.declare_exchange(exchange_name, aio_pika.ExchangeType.DIRECT, durable=True)
    with pytest.raises(ConfigError, match=f"{exchange_name}.*topic"):
        await mirror(broker.url, exchange_name).open()


async def test_rights_are_checked_without_a_message(
    broker: Broker, channel: AbstractChannel, exchange_name: str
) -> None:
    owner = mirror(broker.url, exchange_name)
    await owner.open()
    queue = await bound(channel, exchange_name)
    await owner.try_publishing()
    reader = broker.add_user(f"reader-{exchange_name}", "x", write="unrouted$")
    lesser = mirror(reader, exchange_name)
    await lesser.open()
    with pytest.raises(ConfigError, match="access to exchange"):
        await lesser.try_publishing()
    await lesser.close()
    with pytest.raises(ConfigError, match="access to exchange"):
        await lesser.publish(posted(batch()))
    await owner.close()
    assert await queue.get(fail=False) is None


async def test_a_hung_broker_is_unavailable_in_time_and_later_works(
    broker: Broker, channel: AbstractChannel, exchange_name: str
) -> None:
    publisher = mirror(broker.url, exchange_name, timeout_s=1)
    await publisher.open()
    queue = await bound(channel, exchange_name)
    broker.pause()
    try:
        for _ in range(2):
            with pytest.raises(Unavailable, match="in time"):
                async with asyncio.timeout(PATIENCE_S):
                    await publisher.publish(posted(batch()))
    finally:
        broker.resume()
    patient = mirror(broker.url, exchange_name)
    await patient.publish(posted(batch()))
    await patient.close()
    messages = []
    while message := await queue.get(fail=False, no_ack=True):
        messages.append(message.message_id)
    order = [str(c.event_id) for c in batch().candidates]
    assert list(dict.fromkeys(messages)) == order, "duplicates have the same message_id"


async def test_a_disk_alarm_is_waited_for(broker: Broker, exchange_name: str) -> None:
    publisher = mirror(broker.url, exchange_name, timeout_s=1)
    await publisher.open()
    broker.block()
    try:
        with pytest.raises(Unavailable):
            await publisher.publish(posted(batch()))
    finally:
        broker.unblock()
    patient = mirror(broker.url, exchange_name)
    await patient.publish(posted(batch()))
    await patient.close()


async def test_a_lost_connection_is_unavailable_and_comes_back(
    broker: Broker, exchange_name: str
) -> None:
    publisher = mirror(broker.url, exchange_name)
    await publisher.open()

    async def publish_on() -> None:
        """However long it takes until the connection is closed."""
        while True:
            await publisher.publish(posted(*some(100)))

    publishing = asyncio.create_task(publish_on())
    await asyncio.to_thread(broker.ctl, "close_all_connections", "a test")
    with pytest.raises(Unavailable):
        await publishing
    await publisher.publish(posted(batch()))
    await publisher.close()


async def test_a_lost_exchange_is_declared_again(
    broker: Broker, channel: AbstractChannel, exchange_name: str
) -> None:
    publisher = mirror(broker.url, exchange_name)
    await publisher.open()
    await channel.exchange_delete(exchange_name)
    with pytest.raises(Unavailable):
        await publisher.publish(posted(batch()))
    await publisher.publish(posted(batch()))
    await publisher.close()


async def test_a_cancelled_publish_lets_the_connection_go(
    broker: Broker, exchange_name: str
) -> None:
    publisher = mirror(broker.url, exchange_name)
    await publisher.open()
    broker.pause()
    try:
        publishing = asyncio.create_task(publisher.publish(posted(batch())))
        await asyncio.sleep(0)
        publishing.cancel()
        with pytest.raises(asyncio.CancelledError):
            async with asyncio.timeout(PATIENCE_S):
                await publishing
    finally:
        broker.resume()
    await publisher.publish(posted(batch()))
    await publisher.close()


async def test_a_cancellation_from_inside_the_library_is_unavailable(
    broker: Broker, exchange_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It happens when a hung connection is torn down; taken as it is, it would end the mirror."""
    publisher = mirror(broker.url, exchange_name)
    await publisher.open()

    async def torn(*_: object, **__: object) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(publisher._exchange, "publish", torn)
    with pytest.raises(Unavailable, match="broke"):
        await publisher.publish(posted(batch()))
    await publisher.publish(posted(batch()))
    await publisher.close()


def test_a_url_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="amqp://"):
        MirrorSettings(url=SecretStr("http://localhost/"))


def test_properties_are_short() -> None:
    assert amqp.short("a" * 255) == "a" * 255
    assert amqp.short("a" * 256) is None
    assert amqp.short(None) is None
