"""What it costs to look for near-duplicates and held-out questions among exported pairs.

    python tests/bench/export.py [ROWS]

Makes that many pairs (100,000; a question of 12 words, answers of 60), a tenth of them
near-duplicates of earlier ones, and 10,000 held-out questions of 25 words. Exports them without and
with each test, each in a process of its own, and prints its seconds of wall time and of CPU and its
largest resident memory.
"""

import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

from tests.folders import MIXED, expected

ROWS = 100_000
HELD_OUT = 10_000
WORDS = [f"{head}{tail}" for head in "bcdfghklmnprstvwz" for tail in map(str, range(1_000))]
CASES = {
    "neither": (),
    "--near-duplicates 0.8": ("--near-duplicates", "0.8"),
    "--decontaminate": ("--decontaminate", "exam.txt"),
    "both": ("--near-duplicates", "0.8", "--decontaminate", "exam.txt"),
}


def text(draw: random.Random, words: int) -> str:
    return " ".join(draw.choices(WORDS, k=words))


def rows(count: int) -> Iterator[str]:
    draw = random.Random(6)
    base = expected(MIXED)["dpo_data"][0]
    last = base
    for number in range(count):
        row = deepcopy(base)
        row["metadata"]["batch_id"] = f"batch {number}"
        if number % 10 == 9:
            for name in ("chosen", "rejected"):
                row[name] = f"{last[name]} {draw.choice(WORDS)}"
            row["metadata"]["question"] = last["metadata"]["question"]
        else:
            row |= {"chosen": text(draw, 60), "rejected": text(draw, 60)}
            row["metadata"]["question"] = text(draw, 12)
        last = row
        yield json.dumps(row)


def measure(folder: Path, case: str, options: tuple[str, ...]) -> None:
    target = folder / case
    arguments = ["export", "--format", "trl", "--data-dir", "data", "--eval", "0", *options]
    program = "from rlvr_ray.cli import app; app()"
    begun = time.perf_counter()
    process = os.posix_spawn(
        sys.executable,
        [sys.executable, "-c", program, *arguments, "--out", str(target)],
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_WRONLY, 0) for number in (1, 2)
        ],
    )
    _, status, usage = os.wait4(process, 0)
    took = time.perf_counter() - begun
    if status:
        raise SystemExit(f"{case}: the export failed")
    kept = sum(1 for _ in (target / "train.jsonl").open("rb"))
    cpu, memory = usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
    print(f"{case:24} {took:8.1f} s {cpu:8.1f} s CPU {memory:8.0f} MB {kept:10,} rows", flush=True)


def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "data" / "dpo_data").mkdir(parents=True)
        with (folder / "data" / "dpo_data" / "dpo_data_202603.jsonl").open("w") as stream:
            stream.writelines(f"{line}\n" for line in rows(count))
        draw = random.Random(7)
        questions = (text(draw, 25) for _ in range(HELD_OUT))
        (folder / "exam.txt").write_text("".join(f"{question}\n" for question in questions))
        os.chdir(folder)
        for case, options in CASES.items():
            measure(folder, case, options)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS)
