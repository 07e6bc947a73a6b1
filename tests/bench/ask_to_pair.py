"""How long it takes from a question to its row on disk, and what memory that needs.

    make bench        (or: python tests/bench/ask_to_pair.py --questions 10)

Starts the embedded system in a folder of its own, ingests the demo's documents, asks the demo's
questions one after another with the default number of passages, and prints seconds. The first
question is not counted. Who verifies is what the default settings choose.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import httpx
import psutil

from rlvr_ray.cli import demo
from rlvr_ray.client import Client
from rlvr_ray.serve import app
from rlvr_ray.settings import load


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=10)
    parser.add_argument("--top-k", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = demo.on_free_port(load(data_dir=Path(folder)))
        started = time.perf_counter()
        url = app.start(settings).url
        print(f"start: {time.perf_counter() - started:.1f} s")
        try:
            print(f"verifiers: {httpx.get(f'{url}/readyz').json()['verifiers']}")
            with Client(url) as client:
                measure(client, settings.data_dir, options.questions, options.top_k)
        finally:
            app.stop(settings)


def measure(client: Client, data_dir: Path, questions: int, top_k: int) -> None:
    client.ingest(demo.descriptions())
    client.wait(client.ask("Is it warm?", top_k=1).batch_id)
    answered, written = [], []
    for number in range(questions):
        started = time.perf_counter()
        batch = client.ask(demo.QUESTIONS[number % len(demo.QUESTIONS)], top_k=top_k, seed=number)
        answered.append(time.perf_counter() - started)
        while batch.batch_id not in rows(data_dir):
            time.sleep(0.05)
        written.append(time.perf_counter() - started)
    verified = [end - middle for middle, end in zip(answered, written, strict=True)]
    for name, seconds in (
        ("ask to answer", answered),
        ("verifying three answers, until their rows are on disk", verified),
        ("ask to row on disk", written),
    ):
        print(
            f"{name}: p50 {statistics.median(seconds):.2f} s, "
            f"least {min(seconds):.2f}, most {max(seconds):.2f} over {questions} questions"
        )
    print(json.dumps(dict(client.stats().batches)))
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    total = sum(process.memory_full_info().pss for process in processes)
    print(f"memory: {total / 2**30:.2f} GiB (sum of PSS of {len(processes)} processes)")


def rows(data_dir: Path) -> set[str]:
    files = (data_dir / "training_data").glob("*.jsonl")
    lines = [line for file in files for line in file.read_text("utf-8").split("\n") if line]
    return {json.loads(line)["metadata"]["batch_id"] for line in lines}


if __name__ == "__main__":
    main()
