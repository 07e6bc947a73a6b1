"""Publishing to RabbitMQ: a durable topic exchange, and confirms.

Nothing is retried here, and no library reconnects on its own: a failure drops the connection, and
the mirror starts again from the last confirmed event.
"""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import groupby
from typing import Any

from aio_pika import DeliveryMode, ExchangeType, Message
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange

from rlvr_ray.core.concurrency import gather
from rlvr_ray.core.errors import ConfigError
from rlvr_ray.events import amqp
from rlvr_ray.events.bodies import headers
from rlvr_ray.events.consumer import Consumer
from rlvr_ray.events.outbox import Posted
from rlvr_ray.events.validation import Received
from rlvr_ray.settings import MirrorSettings

#: Messages that nobody's queue wanted are kept up to this number, the latest of them.
UNROUTED_LIMIT = 100_000
#: Longest wait for a connection to say goodbye, in seconds.
CLOSE_S = 2.0


class RabbitMQ:
    """See ``mirror.Publisher``.

    ``inbox`` is where replies go, if there are to be any: its queue is there before the first event
    that somebody may reply to.
    """

    def __init__(self, settings: MirrorSettings, inbox: "Verifications | None" = None) -> None:
        if settings.url is None:
            raise ConfigError("mirror.url is not set; give one, for example amqp://localhost/")
        self._url = settings.url.get_secret_value()
        self._name = settings.exchange
        self._timeout_s = settings.timeout_s
        self._inbox = inbox
        self._connection: AbstractConnection | None = None
        self._exchange: AbstractExchange | None = None

    async def open(self) -> None:
        """Connect and declare the exchanges.

        Raises ConfigError where the broker refuses, Unavailable where it does not answer.
        """
        try:
            with amqp.translated("the broker"):
                async with asyncio.timeout(self._timeout_s):
                    await self._open()
        except BaseException:
            await self.close()
            raise

    async def publish(self, events: Sequence[Posted]) -> None:
        """See ``mirror.Publisher``.

        Batches go side by side. The events of one go one after another, each confirmed before
        the next is sent: order within a batch holds even where the broker refuses one of them.
        """
        if self._exchange is None:
            await self.open()
        try:
            with amqp.translated("the broker"):
                async with asyncio.timeout(self._timeout_s):
                    await gather(*(self._in_order(chain) for chain in _chains(events)))
        except BaseException:
            await self.close()
            raise

    async def try_publishing(self) -> None:
        """Have the broker check our rights by a message that is taken back before it goes out."""
        assert self._connection is not None, "open() comes first"
        with amqp.translated("the broker"):
            async with asyncio.timeout(self._timeout_s):
                channel = await self._connection.channel(publisher_confirms=False)
                exchange = await channel.get_exchange(self._name, ensure=False)
                transaction = channel.transaction()
                await transaction.select()
                await exchange.publish(Message(b""), "rlvr_ray.serve.doctor", mandatory=False)
                await transaction.rollback()
                await channel.close()

    async def unrouted(self) -> int:
        """Messages that waited for nobody: no queue was bound for them."""
        assert self._connection is not None, "open() comes first"
        with amqp.translated("the broker"):
            async with asyncio.timeout(self._timeout_s):
                channel = await self._connection.channel()
                queue = await channel.get_queue(amqp.unrouted(self._name), ensure=True)
                return queue.declaration_result.message_count or 0

    async def close(self) -> None:
        """See ``mirror.Publisher``."""
        connection, self._connection, self._exchange = self._connection, None, None
        if connection is not None:
            # A hung broker must not hold us up, and its reply is of no interest.
            with contextlib.suppress(Exception):
                async with asyncio.timeout(CLOSE_S):
                    await connection.close()

    async def _open(self) -> None:
        self._connection = await amqp.connect(self._url, "rlvr_ray mirror")
        channel = await self._connection.channel(publisher_confirms=True, on_return_raises=True)
        unrouted = amqp.unrouted(self._name)
        fallback = await channel.declare_exchange(unrouted, ExchangeType.FANOUT, durable=True)
        queue = await channel.declare_queue(
            unrouted,
            durable=True,
            arguments={"x-max-length": UNROUTED_LIMIT, "x-overflow": "drop-head"},
        )
        await queue.bind(fallback)
        exchange = await channel.declare_exchange(
            self._name,
            ExchangeType.TOPIC,
            durable=True,
            arguments={"alternate-exchange": unrouted},
        )
        if self._inbox is not None:
            await self._inbox.declare(channel)
        self._exchange = exchange

    async def _in_order(self, chain: Sequence[Posted]) -> None:
        assert self._exchange is not None, "open() comes first"
        for posted in chain:
            with amqp.translated("the broker"):
                await self._exchange.publish(
                    _message(posted), posted.event.event_type, mandatory=True
                )


class Verifications:
    """The verifications that others publish to the mirror's exchange: a ``pipeline`` Inbox."""

    def __init__(self, settings: MirrorSettings) -> None:
        assert settings.url is not None, "the settings are checked"
        self._consumer = Consumer(
            settings.url.get_secret_value(),
            f"{settings.exchange}.verifications",
            keys=["verification.*"],
            exchange=settings.exchange,
        )

    async def declare(self, channel: AbstractChannel) -> None:
        """Have the queue made and bound."""
        await self._consumer.declare(channel)

    async def run(self, handle: Callable[[Mapping[str, Any]], Awaitable[None]]) -> None:
        """Give each to ``handle``, one after another, until cancelled; see ``Consumer.run``."""

        async def body_of(event: Received) -> None:
            await handle(event.body)

        await self._consumer.run(body_of)


def _chains(events: Sequence[Posted]) -> list[list[Posted]]:
    """The events of each batch, in order; what belongs to no batch stands alone."""

    def key(posted: Posted) -> str:
        return posted.event.body["batch_id"] or str(posted.event.event_id)

    return [list(chain) for _, chain in groupby(sorted(events, key=key), key)]


def _message(posted: Posted) -> Message:
    event = posted.event
    return Message(
        json.dumps(event.body, ensure_ascii=False, allow_nan=False).encode(),
        delivery_mode=DeliveryMode.PERSISTENT,
        content_type="application/json",
        content_encoding="utf-8",
        message_id=str(event.event_id),
        correlation_id=amqp.short(event.body["correlation_id"]),
        type=event.event_type,
        app_id="rlvr_ray",
        headers={**headers(event.body), "seq": posted.seq},
    )
