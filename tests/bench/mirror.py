"""What the mirror costs an ask, and how fast it catches up.

    python tests/bench/mirror.py                     # asks with and without a broker, in turns
    python tests/bench/mirror.py --backlog 100000    # events that wait while the broker is away

The broker is a real one. The ask is the whole pipeline and a real ledger, with a generator that
answers at once: what the mirror adds is not hidden behind a model.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from uuid import uuid4

import aio_pika

from rlvr_ray.core.concurrency import smooth
from rlvr_ray.core.pairing import PairingRule, decide
from rlvr_ray.core.records import Kind
from rlvr_ray.dataset.files import Dataset
from rlvr_ray.dataset.ledger import Ledger
from rlvr_ray.events.mirror import Mirror
from rlvr_ray.events.rabbitmq import RabbitMQ
from rlvr_ray.pipeline.aggregator import Aggregator
from rlvr_ray.pipeline.ask import Ask, Pipeline
from rlvr_ray.settings import Settings, load
from tests.bench.ledger import batches
from tests.broker import Broker
from tests.builders import DECIDED, verification
from tests.fakes import FakeGenerator, FakePanel, FakeRetriever

WINDOW_S = 6.0
#: Asks a second, while the broker is there and while it is not.
RATE = 40


def settings_for(folder: Path, broker: Broker) -> Settings:
    return load(data_dir=folder, mirror={"url": broker.url, "timeout_s": 10})


async def listen(broker: Broker, exchange: str) -> None:
    """A durable queue that takes everything, as a consumer that is away would leave it."""
    async with await aio_pika.connect(broker.url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(
            "bench", durable=True, arguments={"x-queue-type": "quorum"}
        )
        await queue.bind(exchange, "#")


async def window(pipeline: Pipeline) -> list[float]:
    """Milliseconds of each ask, at a fixed rate for a while."""
    took: list[float] = []

    async def one(due: float) -> None:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        await pipeline.ask(
            Ask(
                batch_id=uuid4(),
                correlation_id="bench",
                question="What is Ray?",
                kind=Kind.PREFERENCE,
                num_candidates=3,
                temperatures=(0.3, 0.7, 0.9),
                top_k=5,
            )
        )
        took.append(1000 * (time.perf_counter() - due))

    start = time.perf_counter() + 0.05
    await asyncio.gather(*(one(start + n / RATE) for n in range(int(RATE * WINDOW_S))))
    return took


async def paired(folder: Path, broker: Broker, rounds: int) -> None:
    settings = settings_for(folder, broker)
    publisher = RabbitMQ(settings.mirror)
    await publisher.open()
    await listen(broker, settings.mirror.exchange)
    aggregator = Aggregator(Ledger(folder), Dataset(folder), FakePanel(), settings, publisher)
    await aggregator.start()
    smooth()
    pipeline = Pipeline(FakeRetriever(), FakeGenerator(), aggregator, 128)
    await window(pipeline)
    there: list[float] = []
    away: list[float] = []
    for _ in range(rounds):
        there += await window(pipeline)
        await asyncio.to_thread(broker.kill)
        away += await window(pipeline)
        await asyncio.to_thread(broker.start)
        while (await aggregator.stats())["mirror"]["pending"]:
            await asyncio.sleep(0.1)
    await aggregator.close()
    p95 = [sorted(took)[int(len(took) * 0.95)] for took in (there, away)]
    p50 = [statistics.median(took) for took in (there, away)]
    print(f"{len(there)} asks with the broker: p50 {p50[0]:.2f} ms, p95 {p95[0]:.2f} ms")
    print(f"{len(away)} asks without it:      p50 {p50[1]:.2f} ms, p95 {p95[1]:.2f} ms")
    print(f"p95 without / with: {p95[1] / p95[0]:.2f}")


async def drain(folder: Path, broker: Broker, events: int) -> None:
    ledger = Ledger(folder)
    for start in range(0, events // 7, 500):
        asked = batches(min(500, events // 7 - start), f"backlog-{start}")
        results = [
            {c.event_id: verification(c, 0.9 - 0.2 * c.index) for c in one.candidates}
            for one in asked
        ]
        ledger.write(Ledger.record, asked)
        ledger.commit(
            [
                partial(
                    Ledger.decide,
                    batch=one,
                    results=found,
                    outcome=decide(one, found, PairingRule(), DECIDED),
                )
                for one, found in zip(asked, results, strict=True)
            ]
        )
    print(f"{ledger.backlog().pending:,} events wait")
    settings = settings_for(folder, broker)
    publisher = RabbitMQ(settings.mirror)
    await publisher.open()
    await listen(broker, settings.mirror.exchange)
    aggregator = Aggregator(ledger, Dataset(folder), FakePanel(), settings, publisher)
    total = ledger.backlog().pending
    # The mirror alone, as after an outage: the files are up to date by then.
    mirror = aggregator._mirror
    assert isinstance(mirror, Mirror)
    started = time.perf_counter()
    task = asyncio.create_task(mirror.run())
    while pending := aggregator._reader.backlog().pending:
        await asyncio.sleep(1)
        done = total - pending
        print(f"  {done:>7,} sent, {done / (time.perf_counter() - started):,.0f}/s", flush=True)
    took = time.perf_counter() - started
    print(f"{total:,} events drained in {took:.1f} s: {total / took:,.0f}/s")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await aggregator.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--backlog", type=int, default=0, metavar="EVENTS")
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as data,
        tempfile.TemporaryDirectory() as own,
        Broker(Path(own)) as broker,
    ):
        folder = Path(data)
        if arguments.backlog:
            asyncio.run(drain(folder, broker, arguments.backlog))
        else:
            asyncio.run(paired(folder, broker, arguments.rounds))


if __name__ == "__main__":
    main()
