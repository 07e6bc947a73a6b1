"""Shared by publisher and consumer: names, connections, subscriptions, and RabbitMQ's errors."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit

import aio_pika
import aiormq
from aio_pika.abc import (
    AbstractChannel,
    AbstractConnection,
    AbstractIncomingMessage,
    AbstractQueue,
)
from aiormq import exceptions as amqp
from yarl import URL

from rlvr_ray.core.concurrency import cancelled_by_caller
from rlvr_ray.core.errors import ConfigError, Unavailable

# Connections that fail are raised to the caller, and need no log line.
logging.getLogger("aiormq").addHandler(logging.NullHandler())

EXCHANGE = "rlvr_events"
#: Seconds of silence, twice over, after which a peer counts as gone.
HEARTBEAT_S = 10
#: For connecting, and for declaring what is needed. While RabbitMQ starts, it takes requests that
#: it never answers.
SETUP_S = 10.0
CLOSE_S = 5.0  #: for saying goodbye to a broker that may be hanging

#: What the broker sent, and at the end why no more will come.
Deliveries = asyncio.Queue[AbstractIncomingMessage | Unavailable]

#: What no repetition will mend.
_MISCONFIGURED = (
    amqp.AuthenticationError,
    amqp.ProbableAuthenticationError,
    amqp.IncompatibleProtocolError,
    amqp.ConnectionNotAllowed,
    amqp.ChannelAccessRefused,
    amqp.ChannelPreconditionFailed,
)


def address(url: str) -> str:
    """Its host and port, for messages; the whole URL may hold a password."""
    try:
        parts = urlsplit(url)
        port = parts.port or (5671 if parts.scheme == "amqps" else 5672)
    except ValueError as error:
        raise ConfigError(f"the broker's URL is none: {error}") from None
    if parts.scheme not in {"amqp", "amqps"} or not parts.hostname:
        raise ConfigError("the broker's URL must look like amqp://user:password@host:5672/")
    return f"RabbitMQ at {parts.hostname}:{port}"


def unrouted(exchange: str) -> str:
    """The exchange and the queue for events that no queue was bound for."""
    return f"{exchange}.unrouted"


def short(text: str | None) -> str | None:
    """The text where it fits a message's property, which holds 255 bytes; bodies have it all."""
    return text if text is None or len(text.encode()) < 256 else None


async def connect(url: str, name: str) -> AbstractConnection:
    """A plain connection, which does not come back by itself; ``name`` is what the broker shows.

    Call it inside ``translated``.
    """
    parsed = URL(url)
    asked = parsed.with_query({"heartbeat": HEARTBEAT_S, "name": name, **parsed.query})
    connection = aio_pika.Connection(asked)
    try:
        await connection.connect()
    except BaseException as error:
        await connection.close()  # else it complains when it is collected
        if not isinstance(error, amqp.InvalidFrameError):
            raise
        # The broker's reply for a virtual host that it does not open.
        raise ConfigError(
            f"the broker at {parsed.host} does not open the virtual host {parsed.path[1:] or '/'}: "
            "it does not exist, or the user may not use it"
        ) from None
    return connection


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncIterator[AbstractConnection]:
    """A consumer's connection for the block."""
    with translated(address(url)):
        async with asyncio.timeout(SETUP_S):
            connection = await connect(url, "rlvr_ray consumer")
    try:
        yield connection
    finally:
        closing = asyncio.gather(connection.close(), return_exceptions=True)
        await asyncio.wait([closing], timeout=CLOSE_S)


async def find_exchange(channel: AbstractChannel, exchange: str) -> None:
    """It is the publisher's to declare, who alone knows its arguments."""
    try:
        await channel.get_exchange(exchange, ensure=True)
    except amqp.ChannelNotFoundEntity:
        why = f"exchange {exchange} does not exist yet; is the mirror on?"
        raise Unavailable(why) from None


async def subscribe(
    channel: AbstractChannel, queue: AbstractQueue, *, no_ack: bool = False
) -> Deliveries:
    """Messages as they come. aio-pika's own iterator waits without limit for a hung broker."""
    deliveries = Deliveries()

    def end(_: object, error: BaseException | None = None) -> None:
        while not deliveries.empty() and not no_ack:
            deliveries.get_nowait()  # all of these come again
        why = error or "the queue is gone"
        deliveries.put_nowait(Unavailable(f"the broker ended the subscription: {why}"))

    channel.close_callbacks.add(end)
    (await channel.get_underlay_channel()).on_consumer_cancel_callbacks.add(end)
    await queue.consume(deliveries.put, no_ack=no_ack)
    return deliveries


async def next_message(deliveries: Deliveries) -> AbstractIncomingMessage:
    """The next one that the broker delivers; raises Unavailable where no more will come."""
    message = await deliveries.get()
    if isinstance(message, Unavailable):
        raise message
    return message


@contextlib.contextmanager
def translated(peer: str) -> Iterator[None]:
    """Raise ConfigError for what a person must mend, Unavailable for all other trouble.

    A connection that breaks may show as a CancelledError that nobody asked for; left alone it
    would end the task in silence.
    """
    try:
        yield
    except asyncio.CancelledError:
        if cancelled_by_caller():
            raise
        raise Unavailable(f"{peer}: the connection broke") from None
    except _MISCONFIGURED as error:
        raise ConfigError(f"{peer} refuses: {_reason(error)}") from None
    except TimeoutError:
        raise Unavailable(f"{peer} did not answer in time") from None
    except (aiormq.AMQPError, OSError, RuntimeError) as error:
        raise Unavailable(f"{peer} is not there: {_reason(error)}") from None
    except ValueError as error:
        raise ConfigError(f"{peer}'s URL cannot be used: {error}") from None


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
