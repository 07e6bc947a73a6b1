"""Questions a second from the start of a job to the last batch decided, and who pays for them.

    python tests/bench/bulk.py --questions 2000

A stand-in for a server speaks OpenAI's protocol and answers every chat after 50 ms, so that what is
measured is ours: three candidates at three temperatures, and the judge's calls for each (`logprob`:
a verdict on the answer's one sentence and one on its relevancy). Prints CPU milliseconds a question
by process.
"""

import argparse
import asyncio
import json
import math
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
import zlib
from collections import defaultdict
from multiprocessing.connection import Connection
from pathlib import Path

import psutil
import ray

from rlvr_ray import app, demo
from rlvr_ray.client import Client
from rlvr_ray.settings import load

LATENCY_S = 0.05
ROOT = Path(__file__).parents[2]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--questions", type=int, default=2000)
    parser.add_argument("--at-once", type=int, default=64)
    options = parser.parse_args()
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.Process(target=serve, args=(theirs,), daemon=True)
    server.start()
    port = ours.recv()
    with tempfile.TemporaryDirectory() as folder:
        settings = demo.on_free_port(
            load(
                data_dir=Path(folder) / "data",
                generator={
                    "base_url": f"http://127.0.0.1:{port}/v1",
                    "model": "stand-in",
                    "concurrency": 512,
                },
                judge={"concurrency": 512},
                verification={"verifiers": ["logprob"], "cross_check": False, "batches": 32},
            )
        )
        url = app.start(settings)
        try:
            with Client(url) as client:
                client.ingest(demo.documents(None))
                client.wait(client.ask("Is it warm?")["batch_id"])
            measure(options, Path(folder))
        finally:
            app.stop(settings)
            server.terminate()


def measure(options: argparse.Namespace, folder: Path) -> None:
    questions = folder / "questions.txt"
    names = [topic.rstrip("?") for topic in demo.QUESTIONS]
    lines = (f"{names[n % len(names)]}, asked {n} times?" for n in range(options.questions))
    questions.write_text("\n".join(lines))
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


def serve(ready: Connection) -> None:
    """The stand-in: a chat takes ``LATENCY_S``, whatever it asks."""
    asyncio.run(_serve(ready))


async def _serve(ready: Connection) -> None:
    server = await asyncio.start_server(_connection, "127.0.0.1", 0, backlog=1024)
    ready.send(server.sockets[0].getsockname()[1])
    async with server:
        await server.serve_forever()


async def _connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            _, _, rest = head.partition(b"content-length: ")
            body = await reader.readexactly(int(rest.split(b"\r\n")[0])) if rest else b""
            await asyncio.sleep(LATENCY_S)
            reply = json.dumps(_reply(json.loads(body)) if body else {"data": []}).encode()
            writer.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
                + f"content-length: {len(reply)}\r\n\r\n".encode()
                + reply
            )
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


def _reply(asked: dict[str, object]) -> dict[str, object]:
    seed = int(str(asked.get("seed", 0)))
    choice: dict[str, object] = {"index": 0, "finish_reason": "stop"}
    if asked.get("logprobs"):
        share = 0.2 + 0.75 * (zlib.crc32(str(asked["messages"]).encode()) % 997) / 997
        likely = [
            {"token": "1", "logprob": math.log(share)},
            {"token": "0", "logprob": math.log(1 - share)},
        ]
        choice["logprobs"] = {"content": [likely[0] | {"top_logprobs": likely}]}
        text = "1"
    else:
        text = f"It is a library that does {seed % 1000} things for those who build services."
    choice["message"] = {"role": "assistant", "content": text}
    usage = {"prompt_tokens": 900, "completion_tokens": 20, "total_tokens": 920}
    head = {"id": "x", "object": "chat.completion", "model": "stand-in"}
    return {**head, "choices": [choice], "usage": usage}


if __name__ == "__main__":
    main()
