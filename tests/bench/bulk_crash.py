"""A run that is broken off by kill -9 at half its questions, and resumed: what is lost, what twice?

    python tests/bench/bulk_crash.py --questions 2000

Kills the driver, the aggregator, the Verifier, the Retriever, and at last every process of the
cluster at once; each in a run of its own. Answers are counted by the server that gives them.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import yaml

sys.path.insert(0, str(Path(__file__).parents[2]))
from rlvr_ray.cli import demo
from tests.bench.stand_in import StandIn, write_questions
from tests.cluster.conftest import System, serve

ROOT = Path(__file__).parents[2]
#: Candidates of a question.
ANSWERS = 3


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--questions", type=int, default=2000)
    parser.add_argument("--at-once", type=int, default=32)
    parser.add_argument("--only", choices=VICTIMS)
    options = parser.parse_args()
    for victim in [options.only] if options.only else VICTIMS:
        with tempfile.TemporaryDirectory() as folder, StandIn() as server:
            _break(victim, options, Path(folder), server)


def _break(victim: str, options: argparse.Namespace, folder: Path, server: StandIn) -> None:
    questions = write_questions(folder, options.questions)
    with _system(folder, server) as system:
        system.client.ingest(demo.descriptions())
        started = time.monotonic()
        job = _job(system, questions, options.at_once)
        _until_half(system, job, options.questions)
        VICTIMS[victim](system, job)
        if victim != "cluster":
            job.wait()
            _finish(victim, options, questions, system, server, job, started)
            return
    job.wait()
    with _system(folder, server) as system:
        _finish(victim, options, questions, system, server, job, started)


def _finish(
    victim: str,
    options: argparse.Namespace,
    questions: Path,
    system: System,
    server: StandIn,
    job: "subprocess.Popen[bytes]",
    started: float,
) -> None:
    code = job.returncode
    if code:
        done = _job(system, questions, options.at_once, "--resume").wait()
        assert done == 0, f"the resumed job ended with {done}"
    seconds = time.monotonic() - started
    system.stop()
    audited = system.rlvr("verify-store")
    rows = system.jsonl("training_data")
    batches = {row["metadata"]["batch_id"] for row in rows}
    events = {row["metadata"]["event_id"] for row in rows}
    paid = server.answers.value + server.verdicts.value
    needed = options.questions * ANSWERS * 3  # an answer and its two verdicts
    print(
        json.dumps(
            {
                "killed": victim,
                "questions": options.questions,
                "job": code,
                "seconds": round(seconds, 1),
                "lost": options.questions - len(batches),
                "twice": len(rows) - len(events),
                "answers paid twice": server.answers.value - options.questions * ANSWERS,
                "completions paid twice": f"{(paid - needed) / needed:.2%}",
                "store": audited.strip().splitlines()[-1],
            }
        ),
        flush=True,
    )


def _job(system: System, questions: Path, at_once: int, *more: str) -> "subprocess.Popen[bytes]":
    command = ["jobs/generate.py", str(questions), "--run", "crash", "--at-once", str(at_once)]
    return subprocess.Popen(
        [sys.executable, *command, *more],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        env=system.env | {"RLVR_RAY_ADDRESS": system.ray_address, "RAY_AUTH_MODE": "token"},
    )


def _until_half(system: System, job: "subprocess.Popen[bytes]", questions: int) -> None:
    while True:
        assert job.poll() is None, f"the job ended by itself: {job.returncode}"
        counts = system.client.stats().batches
        if sum(n for state, n in counts.items() if state != "open") >= questions / 2:
            return
        time.sleep(0.05)


def _kill_driver(_: System, job: "subprocess.Popen[bytes]") -> None:
    job.kill()


def _kill(name: str) -> Callable[[System, "subprocess.Popen[bytes]"], None]:
    return lambda system, _: system.kill(name)


def _kill_all(system: System, _: "subprocess.Popen[bytes]") -> None:
    family = system.family()
    for process in family:
        process.kill()
    psutil.wait_procs(family, timeout=30)
    system.process.wait()


VICTIMS: dict[str, Callable[[System, "subprocess.Popen[bytes]"], None]] = {
    "driver": _kill_driver,
    "aggregator": _kill("ray::AggregatorActor"),
    "Verifier": _kill("ray::ServeReplica:rlvr:Verifier"),
    "Retriever": _kill("ray::ServeReplica:rlvr:Retriever"),
    "cluster": _kill_all,
}


@contextmanager
def _system(folder: Path, server: StandIn) -> Iterator[System]:
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(server.settings()))
    yield from serve(folder, {"RLVR_CONFIG": str(config)})


if __name__ == "__main__":
    main()
