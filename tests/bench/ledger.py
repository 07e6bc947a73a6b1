"""What the ledger costs: acknowledged batches a second, latency under load, cost as it grows.

python tests/bench/ledger.py            # all but growth
python tests/bench/ledger.py --growth 1000000
"""

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import apsw
import psutil

from rlvr_ray.core import codec, ids
from rlvr_ray.core.concurrency import smooth
from rlvr_ray.core.pairing import PairingRule, decide
from rlvr_ray.core.records import Batch
from rlvr_ray.dataset.files import Dataset
from rlvr_ray.dataset.ledger import Ledger
from rlvr_ray.pipeline.aggregator import Aggregator
from rlvr_ray.settings import load
from tests.builders import DECIDED, batch, context, verification
from tests.fakes import FakePanel

PASSAGE = "Ray Serve is a scalable model serving library for building online inference APIs. " * 8


def batches(count: int, prefix: str) -> list[Batch]:
    """Three answers over five passages of 650 characters, as a live ask records them."""
    contexts = tuple(context(PASSAGE, 0.8, chunk_index=i) for i in range(5))
    answers = [f"Answer {n}: it scales Python programs over many machines. " * 3 for n in range(3)]
    return [
        batch(
            answers,
            f"What is Ray, asked for the {n}th time?",
            ids.derive(prefix, n),
            contexts=contexts,
        )
        for n in range(count)
    ]


@contextmanager
def scratch(under: str | None) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=under, prefix="rlvr-bench-") as folder:
        yield Path(folder)


async def acknowledged(folder: Path, asked: list[Batch], callers: int) -> tuple[float, list[int]]:
    """Batches a second through the aggregator, and the sizes of the commit groups."""
    ledger = Ledger(folder)
    groups: list[int] = []
    commit = ledger.commit

    def counted(operations):
        groups.append(len(operations))
        return commit(operations)

    ledger.commit = counted  # type: ignore[method-assign]
    aggregator = Aggregator(ledger, Dataset(folder), FakePanel(), load(data_dir=folder))
    waiting = iter(asked)

    async def caller() -> None:
        for one in waiting:
            await aggregator.record([one])

    started = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(callers)))
    rate = len(asked) / (time.perf_counter() - started)
    await aggregator.close()
    return rate, groups


def raw(folder: Path, asked: list[Batch], groups: list[int]) -> float:
    """Plain inserts of the same bytes in the same groups, batches a second."""
    rows = [(str(one.batch_id), codec.dumps(one)) for one in asked]
    db = apsw.Connection(str(folder / "raw.db"))
    db.pragma("journal_mode", "wal")
    db.pragma("synchronous", "full")
    db.execute("CREATE TABLE batch (seq INTEGER PRIMARY KEY, id TEXT UNIQUE, record TEXT) STRICT")
    started, place = time.perf_counter(), 0
    for size in groups:
        with db:
            db.executemany(
                "INSERT INTO batch (id, record) VALUES (?, ?)", rows[place : place + size]
            )
        place += size
    return len(asked) / (time.perf_counter() - started)


async def latencies(folder: Path, asked: list[Batch], rate: float) -> list[float]:
    """Milliseconds from asking for an acknowledgement to having it, at a fixed rate."""
    settings = load(data_dir=folder, verification={"batches": 8})
    aggregator = Aggregator(Ledger(folder), Dataset(folder), FakePanel(), settings)
    await aggregator.start()
    smooth()  # as the actor does
    took: list[float] = []

    async def one(item: Batch, due: float) -> None:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        await aggregator.record([item])
        took.append(1000 * (time.perf_counter() - due))

    start = time.perf_counter() + 0.1
    await asyncio.gather(*(one(item, start + n / rate) for n, item in enumerate(asked)))
    await aggregator.close()
    return took


def cost(ledger: Ledger, count: int, prefix: str, group: int = 64) -> float:
    """Microseconds to record and decide a batch."""
    asked = batches(count, prefix)
    decided = []
    for one in asked:
        results = {c.event_id: verification(c, 0.9 - 0.2 * c.index) for c in one.candidates}
        decided.append((one, results, decide(one, results, PairingRule(), DECIDED)))
    started = time.perf_counter()
    for n in range(0, count, group):
        ledger.write(Ledger.record, asked[n : n + group])
    for n in range(0, count, group):
        ledger.commit(
            [
                partial(Ledger.decide, batch=b, results=r, outcome=o)
                for b, r, o in decided[n : n + group]
            ]
        )
    return 1e6 * (time.perf_counter() - started) / count


def growth(folder: Path, total: int, window: int = 10_000, turns: int = 15) -> None:
    """The cost of a batch in a ledger of that size and in one of 10,000, in turns; and memory."""
    large, small = Ledger(folder / "large"), Ledger(folder / "small")
    process = psutil.Process()
    for done in range(window, total + 1, window):
        each = cost(large, window, f"growth-{done}")
        if done == window or done % (total // 10) == 0:
            size = sum(file.stat().st_size for file in (folder / "large").iterdir())
            print(
                f"{done:>9,} batches: {each:6.0f} µs each, {size / 2**20:8,.0f} MiB on disk, "
                f"{process.memory_info().rss / 2**20:5.0f} MiB resident",
                flush=True,
            )
    cost(small, window, "small")
    pairs = [
        (cost(small, 1000, f"small-{turn}"), cost(large, 1000, f"large-{turn}"))
        for turn in range(turns)
    ]
    small_cost, large_cost = (statistics.median(costs) for costs in zip(*pairs, strict=True))
    ratio = statistics.median(b / a for a, b in pairs)
    print(f"in turns, medians: {small_cost:.0f} µs at 10,000 and {large_cost:.0f} µs at {total:,}")
    print(f"the median of {turns} ratios is {ratio:.2f}")
    large.close()
    small.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--growth", type=int, default=0, metavar="BATCHES")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=10, help="of each latency round")
    parser.add_argument("--folder", help="on the disk to be measured")
    arguments = parser.parse_args()
    if arguments.growth:
        with scratch(arguments.folder) as folder:
            growth(folder, arguments.growth)
        return
    size = len(codec.dumps(batches(1, "size")[0]))
    print(f"a batch is {size:,} bytes of JSON; {os.cpu_count()} cores")
    ratios = []
    for n in range(arguments.rounds):
        asked = batches(6000, f"round-{n}")
        with scratch(arguments.folder) as folder:
            rate, groups = asyncio.run(acknowledged(folder, asked, 256))
            plain = raw(folder, asked, groups)
        ratios.append(plain / rate)
        print(
            f"acknowledged {rate:6,.0f}/s in groups of {statistics.mean(groups):.0f}; "
            f"plain SQLite {plain:6,.0f}/s; {plain / rate:.2f} times"
        )
    print(f"median: plain SQLite is {statistics.median(ratios):.2f} times as fast")
    for n in range(arguments.rounds):
        with scratch(arguments.folder) as folder:
            asked = batches(arguments.seconds * 200, f"late-{n}")
            took = sorted(asyncio.run(latencies(folder, asked, 200)))
        p50, p99 = took[len(took) // 2], took[int(len(took) * 0.99)]
        print(f"at 200 batches/s, all verified and written: p50 {p50:.1f} ms, p99 {p99:.1f} ms")


if __name__ == "__main__":
    main()
