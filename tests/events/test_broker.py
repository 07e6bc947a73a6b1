"""The RabbitMQ that other tests rely on: what they do to it must do what they think."""

import asyncio
import contextlib
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aio_pika
import psutil
import pytest
from aio_pika.abc import AbstractChannel
from aiormq.exceptions import ChannelAccessRefused

from tests import debian
from tests.broker import Broker
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.integration


SOON = 0.5  # long enough to see that nothing happens

# Started from a thread that ends, and then never stopped: what a test run does when it is killed.
ABANDONS = """
import asyncio, pathlib, sys, time
from tests.broker import Broker
broker = Broker(pathlib.Path(sys.argv[1]))
asyncio.run(asyncio.to_thread(broker.start))
broker.ctl("eval", "1.")
print(*(process.pid for process in broker.processes()), flush=True)
time.sleep(600)
"""


@contextlib.asynccontextmanager
async def channel(url: str) -> AsyncIterator[AbstractChannel]:
    """A channel with publisher confirms; a dead connection is no error on the way out."""
    connection = await aio_pika.connect(url, timeout=PATIENCE_S)
    try:
        yield await connection.channel()
    finally:
        with contextlib.suppress(Exception):
            await asyncio.wait_for(connection.close(), PATIENCE_S)


async def declare(on: AbstractChannel, name: str) -> None:
    await on.declare_queue(name, durable=True, arguments={"x-queue-type": "quorum"})


async def publish(on: AbstractChannel, queue: str, body: bytes) -> None:
    """Return once the broker has confirmed."""
    message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
    await on.default_exchange.publish(message, queue, mandatory=True)


async def take(on: AbstractChannel, name: str) -> bytes:
    queue = await on.get_queue(name)
    async with asyncio.timeout(PATIENCE_S), queue.iterator(no_ack=True) as messages:
        return (await anext(messages)).body


@pytest.mark.slow
async def test_confirmed_messages_survive_kill_9(broker: Broker, exchange_name: str) -> None:
    url = broker.url
    async with channel(url) as before:
        await declare(before, exchange_name)
        await publish(before, exchange_name, b"kept")
        broker.kill()
    with pytest.raises(ConnectionError):
        await aio_pika.connect(url, timeout=PATIENCE_S)

    broker.start()

    assert broker.url == url
    async with channel(url) as after:
        assert await take(after, exchange_name) == b"kept"


@pytest.mark.slow
async def test_an_orderly_stop_leaves_no_process_and_all_messages(
    broker: Broker, exchange_name: str
) -> None:
    async with channel(broker.url) as before:
        await declare(before, exchange_name)
        await publish(before, exchange_name, b"kept")
    processes = broker.processes()
    assert {"beam.smp", "epmd"} <= {process.name() for process in processes}
    broker.pause()  # is no hindrance

    broker.stop()

    assert [process for process in processes if alive(process)] == []
    assert broker.processes() == []
    broker.stop()  # is nothing
    broker.start()
    async with channel(broker.url) as after:
        assert await take(after, exchange_name) == b"kept"


async def test_a_paused_broker_says_nothing_until_it_resumes(
    broker: Broker, exchange_name: str
) -> None:
    async with channel(broker.url) as open_channel:
        await declare(open_channel, exchange_name)
        broker.pause()
        try:
            publishing = asyncio.create_task(publish(open_channel, exchange_name, b"late"))
            await asyncio.sleep(SOON)
            assert not publishing.done()
        finally:
            broker.resume()
        await asyncio.wait_for(publishing, PATIENCE_S)
        assert await take(open_channel, exchange_name) == b"late"


async def test_a_blocked_broker_confirms_nothing_and_still_delivers(
    broker: Broker, exchange_name: str
) -> None:
    async with channel(broker.url) as publisher, channel(broker.url) as consumer:
        await declare(publisher, exchange_name)
        await publish(publisher, exchange_name, b"before")
        broker.block()
        try:
            publishing = asyncio.create_task(publish(publisher, exchange_name, b"during"))
            assert await take(consumer, exchange_name) == b"before"
            await asyncio.sleep(SOON)
            assert not publishing.done()
        finally:
            broker.unblock()
        await asyncio.wait_for(publishing, PATIENCE_S)
        assert await take(consumer, exchange_name) == b"during"


async def test_a_user_may_do_what_was_granted(broker: Broker, exchange_name: str) -> None:
    url = broker.add_user(exchange_name, "p@ss/word", configure="^$")
    async with channel(broker.url) as owner, channel(url) as guest:
        await declare(owner, exchange_name)
        await publish(guest, exchange_name, b"granted")
        with pytest.raises(ChannelAccessRefused):
            await declare(guest, f"{exchange_name}_more")
        assert await take(owner, exchange_name) == b"granted"
    assert exchange_name in broker.ctl("list_queues", "name").splitlines()


def test_it_listens_on_loopback_alone(broker: Broker) -> None:
    listening = {
        address.laddr
        for process in broker.processes()
        for address in process.net_connections("inet")
        if address.status == psutil.CONN_LISTEN
    }
    assert ("127.0.0.1", broker.port) in listening
    assert {ip for ip, _ in listening} <= {"127.0.0.1", "::1"}  # epmd adds the other loopback
    assert len({port for _, port in listening}) == 3


@pytest.mark.slow
def test_it_lives_as_long_as_the_run_and_no_longer(tmp_path: Path) -> None:
    command = [sys.executable, "-c", ABANDONS, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
        try:
            assert run.stdout is not None
            processes = [psutil.Process(int(pid)) for pid in run.stdout.readline().split()]
        finally:
            run.send_signal(signal.SIGKILL)
    assert len(processes) > 1
    psutil.wait_procs(processes, timeout=PATIENCE_S)
    assert [process for process in processes if alive(process)] == []


def test_a_failed_start_shows_the_log_and_leaves_nothing(tmp_path: Path) -> None:
    broken = Broker(tmp_path)
    (tmp_path / "rabbitmq.conf").write_text("no_such_key = 1\n")
    with pytest.raises(RuntimeError, match="no_such_key"):
        broken.start()
    assert broken.processes() == []


def test_without_a_server_it_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match="apt-get install rabbitmq-server"):
        debian.unpacked("rabbitmq-server", cache=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
