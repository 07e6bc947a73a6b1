"""For other people's programs: read rlvr_ray's events from RabbitMQ, and answer them.

    import asyncio

    from rlvr_ray.consumer import Consumer, Received, verification_completed

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
import random
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import aio_pika
from aio_pika.abc import (
    AbstractChannel,
    AbstractConnection,
    AbstractIncomingMessage,
    AbstractQueue,
)
from aiormq.exceptions import ChannelNotFoundEntity, PublishError
from pamqp.common import FieldTable

from rlvr_ray.core.concurrency import cancelled_by_caller
from rlvr_ray.core.errors import ConfigError, InputError, Unavailable
from rlvr_ray.events import amqp
from rlvr_ray.events.bodies import headers
from rlvr_ray.events.validation import (
    MAX_BYTES,
    Received,
    parse,
    validate,
    verification_completed,
    verification_failed,
)
from rlvr_ray.observability import trace_ids

__all__ = [
    "Consumer",
    "Received",
    "tail",
    "validate",
    "verification_completed",
    "verification_failed",
]

log = logging.getLogger(__name__)

EXCHANGE = "rlvr_events"
#: For connecting, and for declaring what is needed. While RabbitMQ starts, it takes requests that
#: it never answers.
SETUP_S = 10.0
PUBLISH_S = 30.0  #: until the broker has confirmed an event
CLOSE_S = 5.0  #: for saying goodbye to a broker that may be hanging
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0  #: between attempts; doubles from one to the next
KEEP_IN_MEMORY, KEEP_IN_FILE = 100_000, 1_000_000  #: ids of handled events


#: What the broker sent, and at the end why no more will come.
_Deliveries = asyncio.Queue[AbstractIncomingMessage | Unavailable]


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
        exchange: str = EXCHANGE,
        prefetch: int = 16,
        delivery_limit: int = 5,
        seen: Path | None = None,
    ) -> None:
        if not 1 <= prefetch <= 65_535:
            raise ConfigError(f"prefetch must be from 1 to 65535, not {prefetch}")
        self._url = url
        self._broker = _broker(url)
        self._queue = queue
        self._keys = [keys] if isinstance(keys, str) else keys
        self._exchange = exchange
        self._prefetch = prefetch
        self._delivery_limit = delivery_limit
        self._seen = seen
        self._connection: AbstractConnection | None = None
        self._publisher: AbstractChannel | None = None

    async def run(self, handle: Callable[[Received], Awaitable[None]]) -> None:
        """Give each event to ``handle``, one after the other, until cancelled.

        Outlasts every trouble of the broker, its absence included, and logs it. The event in hand
        when this is cancelled stays in the queue. Raises ConfigError where only a person can
        help: wrong credentials, missing rights, a queue that exists with other arguments, a
        ``seen`` that cannot be used. A handler must not block the event loop, since heartbeats
        would stop, and must end within the broker's ``consumer_timeout`` (30 minutes).
        """
        with contextlib.closing(_Seen(self._seen)) as seen:
            failures = 0
            while True:
                try:
                    async with self._subscribed() as deliveries:
                        log.info("reading events from %s at %s", self._queue, self._broker)
                        failures = 0
                        while True:
                            await self._deliver(await _next(deliveries), handle, seen)
                except Unavailable as error:
                    pause = _pause(failures)
                    log.warning("%s; trying again in %.1f s", error, pause)
                failures += 1
                await asyncio.sleep(pause)

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
    async def _subscribed(self) -> AsyncIterator[_Deliveries]:
        async with _connected(self._url) as connection:
            with amqp.translated(self._broker):
                async with asyncio.timeout(SETUP_S):
                    channel = await connection.channel()
                    await channel.set_qos(self._prefetch)
                    queue = await self.declare(channel)
                    deliveries = await _subscribe(channel, queue)
            self._connection = connection
            try:
                yield deliveries
            finally:
                self._connection = self._publisher = None

    async def declare(self, channel: AbstractChannel) -> AbstractQueue:
        """Make the queue and bind it: from now on it misses nothing, read or not.

        ``run`` does this by itself. Raises Unavailable where the exchange does not exist yet.
        """
        await _find(channel, self._exchange)
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
        message: AbstractIncomingMessage,
        handle: Callable[[Received], Awaitable[None]],
        seen: "_Seen",
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
            await asyncio.sleep(_pause(attempt - 1))
            # reject, not nack: RabbitMQ 4.3 counts only the former towards the delivery limit.
            settle = message.reject(requeue=True)
        else:
            settle = message.ack()
        with amqp.translated(self._broker):
            await settle


async def tail(
    url: str,
    exchange: str = EXCHANGE,
    keys: Sequence[str] = ("#",),
    listening: Callable[[], object] = lambda: None,
) -> AsyncGenerator[tuple[str, dict[str, Any]], None]:
    """The routing key and the body of each event from now on; nothing is kept for later.

    ``listening`` is called once nothing is missed any more.
    Bodies are JSON objects that need not fit the schema; other messages are logged and left out.
    Raises Unavailable when the broker or the exchange is not there or goes away, and ConfigError
    where it refuses the user.
    """
    broker = _broker(url)
    async with _connected(url) as connection:
        with amqp.translated(broker):
            async with asyncio.timeout(SETUP_S):
                channel = await connection.channel()
                await _find(channel, exchange)
                queue = await channel.declare_queue(
                    exclusive=True, auto_delete=True, arguments={"x-queue-type": "classic"}
                )
                for key in [keys] if isinstance(keys, str) else keys:
                    await queue.bind(exchange, key)
                deliveries = await _subscribe(channel, queue, no_ack=True)
        listening()
        while True:
            message = await _next(deliveries)
            try:
                body = parse(message.body)
            except InputError as error:
                log.warning("left out %r: %s", message.message_id, error)
            else:
                yield message.routing_key or "", body


def _received(message: AbstractIncomingMessage) -> Received:
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


def _attempt(message: AbstractIncomingMessage) -> int:
    count = message.headers.get("x-delivery-count")
    return count + 1 if isinstance(count, int) else 1


class _Seen:
    """Ids of handled events: the newest, in the order of handling."""

    def __init__(self, path: Path | None) -> None:
        self._keep = KEEP_IN_FILE if path else KEEP_IN_MEMORY
        try:
            self._db = sqlite3.connect(path or ":memory:")
            # One owner: two connections at once can corrupt a WAL in SQLite before 3.51.3.
            self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            with self._db:
                self._db.execute(
                    "CREATE TABLE IF NOT EXISTS seen"
                    " (seq INTEGER PRIMARY KEY, event_id BLOB NOT NULL UNIQUE)"
                )
        except sqlite3.Error as error:
            raise ConfigError(f"cannot keep the ids of handled events in {path}: {error}") from None

    def __contains__(self, event_id: UUID) -> bool:
        query = "SELECT 1 FROM seen WHERE event_id = ?"
        return self._db.execute(query, (event_id.bytes,)).fetchone() is not None

    def add(self, event_id: UUID) -> None:
        """Returns once it is on disk."""
        with self._db:
            self._db.execute("INSERT OR IGNORE INTO seen (event_id) VALUES (?)", (event_id.bytes,))
            self._db.execute(
                "DELETE FROM seen WHERE seq <= (SELECT max(seq) FROM seen) - ?", (self._keep,)
            )

    def close(self) -> None:
        """Let the next owner in."""
        self._db.close()


# The broker.


def _broker(url: str) -> str:
    """Its host and port, for messages; the whole URL may hold a password."""
    try:
        parts = urlsplit(url)
        port = parts.port or (5671 if parts.scheme == "amqps" else 5672)
    except ValueError as error:
        raise ConfigError(f"the broker's URL is none: {error}") from None
    if parts.scheme not in {"amqp", "amqps"} or not parts.hostname:
        raise ConfigError("the broker's URL must look like amqp://user:password@host:5672/")
    return f"RabbitMQ at {parts.hostname}:{port}"


@contextlib.asynccontextmanager
async def _connected(url: str) -> AsyncIterator[AbstractConnection]:
    with amqp.translated(_broker(url)):
        async with asyncio.timeout(SETUP_S):
            connection = await amqp.connect(url, "rlvr_ray consumer")
    try:
        yield connection
    finally:
        closing = asyncio.gather(connection.close(), return_exceptions=True)
        await asyncio.wait([closing], timeout=CLOSE_S)


async def _find(channel: AbstractChannel, exchange: str) -> None:
    """It is the publisher's to declare, who alone knows its arguments."""
    try:
        await channel.get_exchange(exchange, ensure=True)
    except ChannelNotFoundEntity:
        why = f"exchange {exchange} does not exist yet; is the mirror on?"
        raise Unavailable(why) from None


async def _subscribe(
    channel: AbstractChannel, queue: AbstractQueue, *, no_ack: bool = False
) -> _Deliveries:
    """Messages as they come. aio-pika's own iterator waits without limit for a hung broker."""
    deliveries = _Deliveries()

    def end(_: object, error: BaseException | None = None) -> None:
        while not deliveries.empty() and not no_ack:
            deliveries.get_nowait()  # all of these come again
        why = error or "the queue is gone"
        deliveries.put_nowait(Unavailable(f"the broker ended the subscription: {why}"))

    channel.close_callbacks.add(end)
    (await channel.get_underlay_channel()).on_consumer_cancel_callbacks.add(end)
    await queue.consume(deliveries.put, no_ack=no_ack)
    return deliveries


async def _next(deliveries: _Deliveries) -> AbstractIncomingMessage:
    message = await deliveries.get()
    if isinstance(message, Unavailable):
        raise message
    return message


def _pause(failures: int) -> float:
    longest = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(failures, 20))
    return longest * random.uniform(0.5, 1)  # noqa: S311 - no secret
