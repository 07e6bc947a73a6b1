"""How long it takes to look through a large ledger over HTTP, and whether commits notice.

python tests/bench/browse.py --batches 100000
"""

import argparse
import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, get_args
from uuid import UUID

import psutil

from rlvr_ray.core.pairing import PairingRule, decide
from rlvr_ray.core.records import Batch
from rlvr_ray.dataset import rows
from rlvr_ray.dataset.filters import Filter
from rlvr_ray.dataset.ledger import Ledger, Operation
from rlvr_ray.dataset.rows import Row
from rlvr_ray.dataset.state import Reviewed
from rlvr_ray.serve.http import dataset, downloads
from tests.archives import Served
from tests.bench.ledger import batches
from tests.builders import DECIDED, verification

MODELS = ("llama-3.2-3b", "qwen-3-4b", "smollm-2")
QUERIES: dict[str, dict[str, Any]] = {
    "all": {},
    "pairs": {"outcome": "pair"},
    "a rare reason": {"outcome": "tie"},
    "a model": {"model": MODELS[1]},
    "a score, a margin": {"min_score": 0.9, "min_margin": 0.5},
    "a day": {"since": "2026-03-20", "until": "2026-03-20"},
    "a correlation id": {"correlation_id": "asked-777"},
    "reviewed": {"review": "disagree"},
    "not reviewed": {"review": "none", "outcome": "pair"},
    "a frequent text": {"text": "the 9"},
    "a rare text": {"text": "THE 77777TH"},
    "a text that the passages have": {"text": "online inference"},
}


def fill(served: Served, count: int, group: int = 250) -> None:
    """Decided batches of three answers over five passages, a hundredth of them reviewed."""
    draw = random.Random(7)
    for start in range(0, count, group):
        operations: list[Operation] = []
        for n, one in enumerate(batches(min(group, count - start), f"browse-{start}"), start):
            model = draw.choice(MODELS)
            asked = replace(
                one,
                correlation_id=f"asked-{n}",
                question=f"What is Ray, asked for the {n}th time?",
                candidates=tuple(replace(c, model=model) for c in one.candidates),
            )
            results = {
                c.event_id: verification(c, draw.random(), draw.random()) for c in asked.candidates
            }
            at = DECIDED + timedelta(seconds=15 * n)
            outcome = decide(asked, results, PairingRule(), at)
            operations.append(partial(Ledger.record, batches=[asked]))
            operations.append(partial(Ledger.decide, batch=asked, results=results, outcome=outcome))
        served.ledger.commit(operations)


async def review(served: Served, count: int) -> None:
    """Some pairs, at random."""
    page = await served.get("/batches", outcome="pair", limit=500)
    for n, line in enumerate(page["batches"][:count]):
        batch_id = UUID(line["batch_id"])
        state = served.ledger.find(batch_id)
        assert state is not None and state.outcome is not None
        chosen, rejected = state.outcome.chosen, state.outcome.rejected
        assert chosen is not None and rejected is not None
        await served.say(batch_id, chosen, rejected, ("a", "b", "tie")[n % 3])


async def timed(call: Callable[[], Awaitable[Any]], rounds: int) -> tuple[float, float, Any]:
    """Median and longest time in milliseconds, and what came."""
    took = []
    for _ in range(rounds):
        started = time.perf_counter()
        found = await call()
        took.append(1000 * (time.perf_counter() - started))
    return statistics.median(took), max(took), found


async def acknowledgements(
    served: Served, asked: Sequence[Batch], until: asyncio.Event
) -> list[float]:
    """Milliseconds of commits of one batch each, one after another, until told to end."""
    took = []
    for one in asked:
        if until.is_set():
            break
        started = time.perf_counter()
        await served.commits.commit(partial(Ledger.record, batches=[one]))
        took.append(1000 * (time.perf_counter() - started))
        await asyncio.sleep(0.005)
    return sorted(took)


async def beside(served: Served, name: str, work: Awaitable[Any]) -> list[float]:
    """How long commits take while something else is done."""
    done, asked = asyncio.Event(), batches(5000, name)
    commits = asyncio.create_task(acknowledgements(served, asked, done))
    await work
    done.set()
    return await commits


async def download(served: Served, file_format: downloads.Format) -> tuple[int, float, float]:
    """Bytes and seconds of all pairs, and by how many MiB the process grew at most."""
    process = psutil.Process()
    before, most, size = process.memory_info().rss, 0, 0
    started = time.perf_counter()
    pages = dataset._pages(served.archive, Filter(outcomes=("pair",)), _row)
    async for chunk in downloads.stream("dpo_data", file_format, pages):
        size += len(chunk)
        most = max(most, process.memory_info().rss - before)
    return size, time.perf_counter() - started, most / 2**20


async def drained(served: Served) -> None:
    """All pairs as the ingress gets them, which makes rows and files of them elsewhere."""
    async for _ in dataset._pages(served.archive, Filter(outcomes=("pair",)), lambda _: ()):
        pass


def _row(reviewed: Reviewed) -> list[Row]:
    state = reviewed.state
    assert state.outcome is not None
    return [rows.dpo(state.batch, state.outcome, state.results)]


async def measure(folder: Path, count: int, rounds: int) -> None:
    served = Served(folder)
    started = time.perf_counter()
    fill(served, count)
    await review(served, 300)
    size = sum(file.stat().st_size for file in folder.iterdir()) / 2**20
    print(f"{count:,} decided batches, {size:,.0f} MiB, in {time.perf_counter() - started:.0f} s")
    print(f"{'':32} {'fit':>8} {'page of 50':>20} {'histogram':>20}")
    for name, query in QUERIES.items():
        mid, most, page = await timed(partial(served.get, "/batches", **query), rounds)
        hist_mid, hist_most, _ = await timed(
            partial(served.get, "/batches/histogram", **query), rounds
        )
        print(
            f"{name:32} {page['total']:8,} {mid:8.0f} (max {most:5.0f}) ms "
            f"{hist_mid:8.0f} (max {hist_most:5.0f}) ms"
        )
    others: dict[str, Callable[[], Awaitable[Any]]] = {
        "a page of 500": lambda: served.get("/batches", limit=500),
        "the next to review": lambda: served.http.get("/reviews/next"),
        "the summary of reviews": lambda: served.get("/reviews/summary"),
    }
    for name, call in others.items():
        mid, most, _ = await timed(call, rounds)
        print(f"{name}: {mid:.0f} ms, at most {most:.0f}")
    for file_format in get_args(downloads.Format):
        size, took, grew = await download(served, file_format)
        print(f"pairs as {file_format}: {size / 2**20:,.0f} MiB, {took:.0f} s, {grew:.0f} MiB more")
    beside_what: dict[str, Awaitable[Any]] = {
        "nothing": asyncio.sleep(5),
        "searches for a text": timed(
            partial(served.get, "/batches", **QUERIES["a text that the passages have"]), 5
        ),
        "a download, as far as it reaches this process": drained(served),
    }
    for name, work in beside_what.items():
        waits = await beside(served, name, work)
        p50, p99 = waits[len(waits) // 2], waits[int(len(waits) * 0.99)]
        print(f"{len(waits)} commits beside {name}: p50 {p50:.1f}, p99 {p99:.1f} ms")
    await served.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", help="on the disk to be measured")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="rlvr-bench-") as folder:
        asyncio.run(measure(Path(folder), arguments.batches, arguments.rounds))


if __name__ == "__main__":
    main()
