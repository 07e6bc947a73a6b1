"""Ask every question of some files, and wait until each is decided.

    python jobs/generate.py questions.jsonl --run first

Runs as a driver on a node of a Ray cluster: it uses the application that runs there, or deploys it.
The same command with ``--resume`` goes on where a run was broken off, for whatever reason.
Ctrl-C lets what is in flight finish; a second one ends it at once.
"""

import argparse
import asyncio
import json
import signal
import sys
import time
from pathlib import Path

from rlvr_ray import app
from rlvr_ray.adapters.questions import read_questions
from rlvr_ray.bulk import Bulk, Plan, Tally
from rlvr_ray.core.questions import Columns
from rlvr_ray.errors import RlvrError
from rlvr_ray.pipeline import Pipeline
from rlvr_ray.settings import MAX_CANDIDATES, load

#: Seconds between two lines of progress.
LINE_S = 5.0


def main() -> int:
    """The command; returns its exit code: 0 done, 1 failed, 130 stopped before all was asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("questions", nargs="+", help="JSONL, CSV, Parquet, text; paths or URIs")
    parser.add_argument("--run", required=True, help="the run's name; part of every batch id")
    parser.add_argument("--resume", action="store_true", help="go on with a run that has begun")
    parser.add_argument("--limit", type=int, help="so many questions and no more")
    parser.add_argument("--shuffle-seed", type=int, help="in a random order; reads all first")
    for name in ("question", "id", "reference"):
        parser.add_argument(f"--{name}-column", help=f"that holds it; default: {name}")
    parser.add_argument("--candidates", type=int, default=3, choices=range(2, MAX_CANDIDATES + 1))
    parser.add_argument("--at-once", type=int, default=32, help="questions answered at once")
    parser.add_argument("--report", type=Path, help="where to write the counts, as JSON")
    options = parser.parse_args()
    try:
        tally = asyncio.run(generate(options))
    except RlvrError as error:
        print(f"generate: {error}", file=sys.stderr)
        return 1
    report = json.dumps(tally.plain(), indent=1)
    if options.report:
        options.report.write_text(report + "\n")
    print(report)
    if tally.stopped:
        print(f"stopped; the same command with --resume goes on: --run {options.run} --resume")
        return 130
    return 0


async def generate(options: argparse.Namespace) -> Tally:
    """Run to the end, or until told to stop."""
    settings, parts = await asyncio.to_thread(app.attach, load())
    pipeline = Pipeline(
        parts.retriever, parts.generator, parts.recorder, settings.generator.max_tokens
    )
    plan = Plan(
        run=options.run,
        num_candidates=options.candidates,
        temperatures=settings.generator.temperatures,
        top_k=settings.retrieval.top_k,
        at_once=options.at_once,
        resume=options.resume,
        limit=options.limit,
        shuffle_seed=options.shuffle_seed,
    )
    bulk = Bulk(pipeline, parts.recorder, plan, Progress().show)
    loop = asyncio.get_running_loop()

    def stop() -> None:
        print("finishing what is in flight; again to end at once", file=sys.stderr, flush=True)
        bulk.stop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    columns = Columns(
        question=options.question_column or "question",
        question_id=options.id_column,
        reference=options.reference_column,
    )
    return await bulk.run(read_questions(options.questions, columns))


class Progress:
    """A line now and then."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._next = self._started + LINE_S

    def show(self, tally: Tally) -> None:
        """Print where the run is, if it is time for that."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + LINE_S
        decided = tally.outcomes.total()
        print(
            f"{tally.read} read, {tally.asked} asked, {tally.known} known, {decided} decided "
            f"({tally.outcomes['pair']} pairs), {tally.failures.total()} left out, "
            f"{decided / (now - self._started):.1f} a second",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main())
