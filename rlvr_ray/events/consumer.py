"""For other people's programs: read rlvr_ray's events from RabbitMQ, and answer them.

    import asyncio

    from rlvr_ray.events import Consumer, Received, verification_completed

    url = "amqp://user:password@broker:5672/"
    consumer = Consumer(url, "my-verifier", keys=["answer.generated"])

    async def verify(answer: Received) -> None:
        faithfulness, relevancy = await my_judge(answer.body)
        event = verification_completed(
            answer, faithfulness=faithfulness, relevancy=relevancy, verifier=..., duration_ms=1234
        )
        await consumer.publish(event)

    asyncio.run(consumer.run(verify))

Events come at least once, one at a time, in the order of their queue. A handler that returns has
taken the event. One that raises InputError says that the event can never be handled: it goes to
the queue ``<queue>.dead`` at once, as does what is no event. After any other exception the event
is tried again, with pauses, until the delivery limit sends it there too. What the fields mean
stands in ``rlvr_ray/events/schema.json``.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import aio_pika
from aio_pika import abc
from aiormq.exceptions import PublishError
from pamqp.common import FieldTable

from rlvr_ray.core.concurrency import cancelled_by_caller
from rlvr_ray.core.errors import ConfigError, InputError, Unavailable
from rlvr_ray.core.retry import Backoff
from rlvr_ray.events import amqp
from rlvr_ray.events.bodies import headers
from rlvr_ray.events.handled import HandledIds
from rlvr_ray.events.validation import MAX_BYTES, Received, parse, validate
from rlvr_ray.observability import trace_ids

log = logging.getLogger(__name__)

PUBLISH_S = 30.0  #: until the broker has confirmed an event
BACKOFF = Backoff(first_s=0.5, longest_s=30.0)


class Consumer:
    """A place in a durable queue of events that is bound to the exchange by ``keys``.

    Keys are topic patterns: ``#`` is everything, ``pair.*`` both ends of a batch. They are only
    ever added to a queue: those of earlier runs stay bound until the queue is deleted. Several
    Consumers with the same queue name compete: each event goes to one of them, and its order
    against others is lost. ``prefetch`` events wait in memory; after a failure they come before
    the one that failed, so strict order needs ``prefetch=1``. ``delivery_limit`` failures are
    forgiven for each event. Before RabbitMQ 4.3 a lost connection counts as one for every event
    that was in memory.

    Handled events are known by their ids, the last 100,000 in memory; with ``seen``, an SQLite
    file of this Consumer alone, the last million, across restarts. So a handler that returned is
    not called for the event again, but one that was interrupted is: make its effects idempotent.

    The user in ``url`` needs the rights to configure, write and read ``<queue>``,
    ``<queue>.dead`` and ``<exchange>.dead``, to read ``<exchange>``, and to write it for
    ``publish``.
    """

    def __init__(
        self,
        url: str,
        queue: str,
        *,
        keys: Sequence[str] = ("#",),
        exchange: str = amqp.EXCHANGE,
        prefetch: int = 16,
        delivery_limit: int = 5,
        seen: Path | None = None,
    ) -> None:
        if not 1 <= prefetch <= 65_535:
            raise ConfigError(f"prefetch must be from 1 to 65535, not {prefetch}")
        self._url = url
        self._broker = amqp.address(url)
        self._queue = queue
        self._keys = [keys] if isinstance(keys, str) else keys
        self._exchange = exchange
        self._prefetch = prefetch
        self._delivery_limit = delivery_limit
        self._seen = seen
        self._connection: abc.AbstractConnection | None = None
        self._publisher: abc.AbstractChannel | None = None

    async def run(self, handle: Callable[[Received], Awaitable[None]]) -> None:
        """Give each event to ``handle``, one after the other, until cancelled.

        Outlasts every trouble of the broker, its absence included, and logs it. The event in hand
        when this is cancelled stays in the queue. Raises ConfigError where only a person can
        help: wrong credentials, missing rights, a queue that exists with other arguments, a
        ``seen`` that cannot be used. A handler must not block the event loop, since heartbeats
        would stop, and must end within the broker's ``consumer_timeout`` (30 minutes).
        """
        with contextlib.closing(HandledIds(self._seen)) as seen:
            async for attempt in BACKOFF.attempts(
                lambda error: isinstance(error, Unavailable),
                lambda error, pause: log.warning("%s; trying again in %.1f s", error, pause),
            ):
                with attempt:
                    async with self._subscribed() as deliveries:
                        log.info("reading events from %s at %s", self._queue, self._broker)
                        attempt.retry_state.attempt_number = 1  # pauses start from the shortest
                        while True:
                            await self._deliver(await amqp.next_message(deliveries), handle, seen)

    async def publish(self, body: Mapping[str, Any]) -> None:
        """Publish an event from inside a handler; return once the broker has it on disk.

        Raises InputError if it is no valid event, and Unavailable if the broker did not confirm it
        within 30 s or no queue takes it. It may have arrived all the same: publish it again,
        under the same id.
        """
        validate(body)
        data = json.dumps(dict(body), ensure_ascii=False).encode()
        if len(data) > MAX_BYTES:
            raise InputError(f"the event has {len(data)} bytes; none reads more than {MAX_BYTES}")
        message = aio_pika.Message(
            data,
            content_type="application/json",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            message_id=body["event_id"],
            correlation_id=amqp.short(body["correlation_id"]),
            headers={**headers(body)},
            type=body["event_type"],
        )
        key = body["event_type"]
        if self._connection is None:
            raise Unavailable("not connected: publish while run() is running")
        with amqp.translated(self._broker):
            async with asyncio.timeout(PUBLISH_S):
                if self._publisher is None or self._publisher.is_closed:
                    self._publisher = await self._connection.channel(on_return_raises=True)
                exchange = await self._publisher.get_exchange(self._exchange, ensure=False)
                try:
                    await exchange.publish(message, key, mandatory=True)
                except PublishError:
                    raise Unavailable(f"no queue of {self._exchange} takes {key}") from None

    @contextlib.asynccontextmanager
    async def _subscribed(self) -> AsyncIterator[amqp.Deliveries]:
        async with amqp.connected(self._url) as connection:
            with amqp.translated(self._broker):
                async with asyncio.timeout(amqp.SETUP_S):
                    channel = await connection.channel()
                    await channel.set_qos(self._prefetch)
                    queue = await self.declare(channel)
                    deliveries = await amqp.subscribe(channel, queue)
            self._connection = connection
            try:
                yield deliveries
            finally:
                self._connection = self._publisher = None

    async def declare(self, channel: abc.AbstractChannel) -> abc.AbstractQueue:
        """Make the queue and bind it: from now on it misses nothing, read or not.

        ``run`` does this by itself. Raises Unavailable where the exchange does not exist yet.
        """
        await amqp.find_exchange(channel, self._exchange)
        dead = await channel.declare_exchange(f"{self._exchange}.dead", durable=True)
        # RabbitMQ 4 drops what was looked at and put back 20 times, unless told otherwise.
        last: FieldTable = {"x-queue-type": "quorum", "x-delivery-limit": 1_000_000}
        stop = await channel.declare_queue(f"{self._queue}.dead", durable=True, arguments=last)
        await stop.bind(dead, self._queue)
        queue = await channel.declare_queue(
            self._queue,
            durable=True,
            arguments={
                "x-queue-type": "quorum",
                "x-delivery-limit": self._delivery_limit,
                "x-dead-letter-exchange": dead.name,
                "x-dead-letter-routing-key": self._queue,
                "x-dead-letter-strategy": "at-least-once",
                "x-overflow": "reject-publish",  # at-least-once asks for it
            },
        )
        for key in self._keys:
            await queue.bind(self._exchange, key)
        return queue

    async def _deliver(
        self,
        message: abc.AbstractIncomingMessage,
        handle: Callable[[Received], Awaitable[None]],
        seen: HandledIds,
    ) -> None:
        attempt = _attempt(message)
        try:
            event = _received(message)
            if event.event_id not in seen:
                await handle(event)
                seen.add(event.event_id)
        except InputError as error:
            log.warning("%r goes to %s.dead: %s", message.message_id, self._queue, error)
            settle = message.reject(requeue=False)
        except (Exception, asyncio.CancelledError) as error:
            # aio-pika may raise CancelledError by itself when the connection goes.
            if isinstance(error, asyncio.CancelledError) and cancelled_by_caller():
                raise
            log.warning("%r failed, attempt %d", message.message_id, attempt, exc_info=error)
            await asyncio.sleep(BACKOFF.pause(attempt))
            # reject, not nack: RabbitMQ 4.3 counts only the former towards the delivery limit.
            settle = message.reject(requeue=True)
        else:
            settle = message.ack()
        with amqp.translated(self._broker):
            await settle


def _received(message: abc.AbstractIncomingMessage) -> Received:
    body = parse(message.body)
    validate(body)
    if message.message_id not in (None, body["event_id"]):
        raise InputError(f"message_id is {message.message_id!r}, event_id {body['event_id']}")
    seq = message.headers.get("seq")
    traceparent = message.headers.get("traceparent")
    if not isinstance(traceparent, str) or trace_ids.parsed(traceparent) is None:
        derived = headers(body).get("traceparent")
        traceparent = None if derived is None else str(derived)
    return Received(
        event_id=UUID(body["event_id"]),
        event_type=body["event_type"],
        batch_id=UUID(body["batch_id"]) if body["batch_id"] else None,
        correlation_id=body["correlation_id"],
        timestamp=datetime.fromisoformat(body["timestamp"]),
        body=body,
        seq=seq if isinstance(seq, int) else None,
        attempt=_attempt(message),
        traceparent=traceparent,
    )


def _attempt(message: abc.AbstractIncomingMessage) -> int:
    count = message.headers.get("x-delivery-count")
    return count + 1 if isinstance(count, int) else 1
