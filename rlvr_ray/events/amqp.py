"""What both sides of RabbitMQ share: names, a connection, and its errors as ours."""

import asyncio
import contextlib
import logging
from collections.abc import Iterator

import aio_pika
import aiormq
from aio_pika.abc import AbstractConnection
from aiormq import exceptions as amqp
from yarl import URL

from rlvr_ray.core.concurrency import cancelled_by_caller
from rlvr_ray.core.errors import ConfigError, Unavailable

# What it logs of connections that fail, whoever calls is told.
logging.getLogger("aiormq").addHandler(logging.NullHandler())

#: Seconds of silence, twice over, after which a peer counts as gone.
HEARTBEAT_S = 10

#: What no repetition will mend.
_MISCONFIGURED = (
    amqp.AuthenticationError,
    amqp.ProbableAuthenticationError,
    amqp.IncompatibleProtocolError,
    amqp.ConnectionNotAllowed,
    amqp.ChannelAccessRefused,
    amqp.ChannelPreconditionFailed,
)


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
        # What it says to a virtual host that it does not open.
        raise ConfigError(
            f"the broker at {parsed.host} does not open the virtual host {parsed.path[1:] or '/'}: "
            "it does not exist, or the user may not use it"
        ) from None
    return connection


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
