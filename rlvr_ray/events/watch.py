"""Events as they come, for people: nothing is stored, and nothing is acknowledged."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

from rlvr_ray.core.errors import InputError
from rlvr_ray.events import amqp
from rlvr_ray.events.validation import parse

log = logging.getLogger(__name__)


async def tail(
    url: str,
    exchange: str = amqp.EXCHANGE,
    keys: Sequence[str] = ("#",),
    listening: Callable[[], object] = lambda: None,
) -> AsyncGenerator[tuple[str, dict[str, Any]], None]:
    """The routing key and the body of each event from now on; nothing is kept for later.

    ``listening`` is called once nothing is missed any more.
    Bodies are JSON objects that need not fit the schema; other messages are logged and left out.
    Raises Unavailable when the broker or the exchange is not there or goes away, and ConfigError
    where it refuses the user.
    """
    broker = amqp.address(url)
    async with amqp.connected(url) as connection:
        with amqp.translated(broker):
            async with asyncio.timeout(amqp.SETUP_S):
                channel = await connection.channel()
                await amqp.find_exchange(channel, exchange)
                queue = await channel.declare_queue(
                    exclusive=True, auto_delete=True, arguments={"x-queue-type": "classic"}
                )
                for key in [keys] if isinstance(keys, str) else keys:
                    await queue.bind(exchange, key)
                deliveries = await amqp.subscribe(channel, queue, no_ack=True)
        listening()
        while True:
            message = await amqp.next_message(deliveries)
            try:
                body = parse(message.body)
            except InputError as error:
                log.warning("left out %r: %s", message.message_id, error)
            else:
                yield message.routing_key or "", body
