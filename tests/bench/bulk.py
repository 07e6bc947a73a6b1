"""Questions a second from the start of a job to the last batch decided, and who pays for them.

    python tests/bench/bulk.py --questions 2000

A stand-in for a server speaks OpenAI's protocol and answers every chat after 50 ms, so that what is
measured is ours: three candidates at three temperatures, and the judge's calls for each (`logprob`:
a verdict on the answer's one sentence and one on its relevancy). Prints CPU milliseconds a question
by process.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import psutil
import ray

from rlvr_ray.cli import demo
from rlvr_ray.client import Client
from rlvr_ray.serve import app
from rlvr_ray.settings import load

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.bench.stand_in import StandIn, write_questions

ROOT = Path(__file__).parents[2]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--questions", type=int, default=2000)
    parser.add_argument("--at-once", type=int, default=64)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, StandIn() as server:
        settings = demo.on_free_port(load(data_dir=Path(folder) / "data", **server.settings()))
        url = app.start(settings).url
        try:
            with Client(url) as client:
                client.ingest(demo.descriptions())
                client.wait(client.ask("Is it warm?").batch_id)
            measure(options, Path(folder))
        finally:
            app.stop(settings)


def measure(options: argparse.Namespace, folder: Path) -> None:
    questions = write_questions(folder, options.questions)
    report = folder / "report.json"
    before = cpu()
    started = time.perf_counter()
    job = subprocess.Popen(
        [
            sys.executable,
            str(ROOT / "jobs" / "generate.py"),
            *(str(questions), "--run", "bench", "--at-once", str(options.at_once)),
            *("--report", str(report)),
        ],
        stdout=subprocess.DEVNULL,
        # By its address: other clusters may run on this machine.
        env=os.environ
        | {
            "RLVR_RAY_ADDRESS": ray.get_runtime_context().gcs_address,
            "RAY_AUTH_MODE": "token",
        },
    )
    peak, spent = 0, 0.0
    process = psutil.Process(job.pid)
    while job.poll() is None:
        try:
            peak = max(peak, process.memory_info().rss)
            spent = sum(process.cpu_times()[:2])
        except psutil.Error:
            break
        time.sleep(0.2)
    assert job.wait() == 0, "the job failed"
    seconds = time.perf_counter() - started
    found = json.loads(report.read_text())
    decided = sum(found["outcomes"].values())
    assert decided == options.questions, found
    print(
        f"{options.questions} questions in {seconds:.1f} s, {decided / seconds:.1f} a second from "
        f"the job's start ({decided / found['seconds']:.1f} from its first question); "
        f"outcomes {json.dumps(found['outcomes'])}, {found['repeats']} waits"
    )
    print(f"driver: {peak / 2**20:.0f} MiB at most")
    used = {name: total - before.get(name, 0.0) for name, total in cpu().items()}
    used["driver"] = spent
    for name, total in sorted(used.items(), key=lambda item: -item[1]):
        if total * 1000 / decided >= 0.05:
            print(f"{1000 * total / decided:7.2f} ms of CPU a question: {name}")
    print(f"{1000 * sum(used.values()) / decided:7.2f} ms in all, on {os.cpu_count()} cores")


def cpu() -> dict[str, float]:
    """Seconds of CPU by the names of the processes below this one."""
    spent: dict[str, float] = defaultdict(float)
    for process in psutil.Process().children(recursive=True):
        try:
            title = process.cmdline()[0].split()[0] if process.cmdline() else process.name()
            name = title if "ray::" in title else process.name()
            spent[name] += sum(process.cpu_times()[:2])
        except psutil.Error:
            continue
    return spent


if __name__ == "__main__":
    main()
