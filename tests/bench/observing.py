"""What it costs to be seen: metrics and log lines of a batch, and a look at a large ledger.

    python -m tests.bench.observing [--outcomes 1000000]

Metrics are real ones, in an actor of a Ray cluster of its own; lines go to a file. A batch is three
answers, as in a bulk run: asked, recorded, verified, decided, written, and two commits.
"""

import argparse
import logging
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import ray

from rlvr_ray.dataset.ledger import Ledger
from rlvr_ray.dataset.stats import Statistics
from rlvr_ray.observability import logs
from rlvr_ray.observability.metrics import Metrics
from rlvr_ray.settings import LogSettings
from tests.folders import Scores, decide_in, decided

ROUNDS = 2000


def per_call_us(work: Callable[[], object]) -> float:
    """Microseconds of this thread's CPU for one call; the median of five rounds."""
    costs = []
    for _ in range(5):
        began = time.thread_time()
        for _ in range(ROUNDS):
            work()
        costs.append((time.thread_time() - began) / ROUNDS * 1e6)
    return median(costs)


@ray.remote(num_cpus=0)
class Measuring:
    def measure(self) -> dict[str, float]:
        from rlvr_ray.serve.ray_metrics import RayMeter

        metrics = Metrics(RayMeter(counts=True))
        state = decided(0)
        outcome = state.outcome
        assert outcome is not None

        def measured() -> None:
            with metrics.ask(state.batch.created_at):
                pass
            metrics.recorded(state.batch)
            for result in state.results.values():
                metrics.verified(state.batch, result)
            metrics.decided(state.batch, state.results, outcome)
            metrics.committed(0.005)
            metrics.committed(0.005)

        log = logging.getLogger("rlvr_ray.bench")

        def lines() -> None:
            with logs.about(state.batch.batch_id, state.batch.correlation_id):
                log.info("asked: %s, answers %d, top_k %d", "preference", 3, 5)
                log.info("recorded: %d answers", 3)
                for index in range(3):
                    log.info("verified: answer %d has score %s", index, 0.9)
                log.info("decided: %s, score difference %s", "pair", 0.4)
                log.info("written: 3 rows of training_data, 1 rows of dpo_data")

        found = {"metrics": per_call_us(measured)}
        for name in ("json", "text"):
            with tempfile.TemporaryFile("w") as stream:
                logs.configure(LogSettings(format=name), stream)
                found[f"lines, {name}"] = per_call_us(lines)
        return found


def fill(ledger: Ledger, outcomes: int) -> None:
    """So many outcomes, evenly over two days, by copying one of each kind."""
    kinds: tuple[Scores, ...] = ((0.9, 0.5), (0.9, 0.89), (0.9, "silent"))
    for number, scores in enumerate(kinds):
        decide_in(ledger, decided(number, scores))
    db, start = ledger._db, datetime.now(UTC) - timedelta(days=2)

    def at(*number: Any) -> str:
        return (start + timedelta(days=2 * int(number[0]) / outcomes)).isoformat()

    db.create_scalar_function("at", at, 1)
    with db:
        db.execute(
            "WITH RECURSIVE n(i) AS (SELECT 4 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
            "INSERT INTO batch SELECT i, 'copy ' || i, 0, record "
            "FROM n JOIN batch ON seq = i % 3 + 1",
            (outcomes,),
        )
        db.execute(
            "INSERT INTO outcome SELECT batch.seq, batch.seq, one.reason, one.month, one.answers, "
            "json_set(one.record, '$.decided_at', at(batch.seq)) "
            "FROM batch JOIN outcome AS one ON one.seq = batch.seq % 3 + 1 WHERE batch.seq > 3"
        )


def looks(outcomes: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder))
        fill(ledger, outcomes)
        reader, statistics, now = ledger.reader(), Statistics(), datetime.now(UTC)
        took = []
        for number in range(6):
            decide_in(ledger, decided(10 + number, at=now + timedelta(seconds=2 * number)))
            began = time.perf_counter()
            found = statistics.look(reader, now + timedelta(seconds=2 * number))
            took.append((time.perf_counter() - began) * 1000)
        count = sum(found["batches"].values())
        print(f"/stats over {count:,} outcomes: {took[0]:.0f} ms, then {median(took[1:]):.1f} ms")
        reader.close()
        ledger.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--outcomes", type=int, default=1_000_000)
    outcomes = parser.parse_args().outcomes
    ray.init(address="local", num_cpus=1, log_to_driver=False, logging_level=logging.ERROR)
    measuring = Measuring.remote()  # type: ignore[attr-defined]
    costs: dict[str, float] = ray.get(measuring.measure.remote())
    for name, us in costs.items():
        print(f"{name}: {us:.0f} µs of CPU a batch")
    ray.shutdown()
    looks(outcomes)


if __name__ == "__main__":
    main()
