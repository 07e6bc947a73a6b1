"""Bulk generation as a job of a cluster that asks for a token, with the embedded engine.

The cluster is Ray's own (`ray start`): the first job deploys the application. Order matters.
"""

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

import psutil
import pytest

from rlvr_ray.dataset.ledger import Reader
from tests.cluster.conftest import RLVR, START_S, free_port

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
QUESTIONS = 50
#: Any answer counts, so that no model judges: 50 questions in a minute, on two cores.
SETTINGS = {
    "verification.verifiers": "[{name: regex, options: {pattern: '[a-m]'}}]",
    "generator.max_tokens": "8",
}


@dataclass
class Cluster:
    """A Ray cluster and what a user has beside it."""

    address: str
    server: str  #: of jobs
    folder: Path
    env: dict[str, str]

    def start(self, *command: str, **env: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            env=self.env | env,
            start_new_session=True,
        )

    def run(self, *command: str, code: int = 0, **env: str) -> str:
        process = self.start(*command, **env)
        try:
            said, _ = process.communicate(timeout=280)
        finally:
            process.kill()
        assert process.returncode == code, said
        return said

    def generate(self, *arguments: str) -> list[str]:
        settings = [
            word
            for name, value in {"api.port": str(free_port()), **SETTINGS}.items()
            for word in ("--set", f"{name}={value}")
        ]
        own = ["--top-k", "1", "--candidates", "2", *settings]
        return [*RLVR, "generate", *arguments, *own]

    def report(self, run: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.data / "runs" / f"{run}.json").read_text())
        return found

    def counts(self) -> dict[str, int]:
        """Batches of the ledger by state."""
        with contextlib.closing(Reader(self.data)) as reader:
            return reader.counts()

    def rows(self) -> list[dict[str, Any]]:
        files = sorted((self.data / "training_data").glob("*.jsonl"))
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]

    @property
    def data(self) -> Path:
        return self.folder / "data"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("jobs")
    port, dashboard, agent = free_port(), free_port(), free_port()
    env = {name: value for name, value in os.environ.items() if not name.startswith("RLVR_")} | {
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RLVR_DATA_DIR": str(folder / "data"),
        "RLVR_RAY_ADDRESS": f"127.0.0.1:{port}",
        "MALLOC_ARENA_MAX": "2",
    }
    scratch = tempfile.mkdtemp(prefix="rlvr-")  # a socket's path must be short
    options = [
        *(f"--port={port}", f"--dashboard-port={dashboard}", "--node-ip-address=127.0.0.1"),
        *(f"--dashboard-agent-listen-port={agent}", f"--temp-dir={scratch}"),
        *("--num-cpus=2", f"--object-store-memory={256 * 2**20}", "--disable-usage-stats"),
    ]
    log = folder / "ray.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [str(BIN / "ray"), "start", "--head", "--block", *options],
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=env,
            start_new_session=True,
        )
    try:
        running = Cluster(f"127.0.0.1:{port}", f"http://127.0.0.1:{dashboard}", folder, env)
        deadline = time.monotonic() + START_S
        ready = [str(BIN / "ray"), "job", "list", "--address", running.server]
        while subprocess.run(ready, env=env, capture_output=True, check=False).returncode:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.5)
        yield running
    finally:
        family = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait()
        for left in family:
            with contextlib.suppress(psutil.Error):
                left.kill()
        shutil.rmtree(scratch, ignore_errors=True)


@pytest.fixture(scope="module")
def questions(cluster: Cluster) -> Path:
    """Of one passage, whose prefill is paid once; one line is none."""
    documents = cluster.folder / "fastapi.md"
    documents.write_text(str(metadata("fastapi").json["description"]), "utf-8")
    cluster.run(*RLVR, "ingest", str(documents))
    lines = [json.dumps({"question": f"What is FastAPI, asked {n} times?"}) for n in range(50)]
    path = cluster.folder / "questions.jsonl"
    path.write_text("\n".join([*lines[:20], "{", *lines[20:]]))
    return path


@pytest.mark.slow
def test_nothing_is_asked_to_see_what_it_takes(cluster: Cluster, questions: Path) -> None:
    """There is no application yet, and none is deployed for that."""
    said = cluster.run(*cluster.generate(str(questions), "--run", "first", "--dry-run"))
    assert "50 questions, 1 left out; nothing is asked now" in said
    assert "the application does not run" in said
    assert cluster.counts() == {"open": 0}


def test_another_token_is_refused(cluster: Cluster, questions: Path) -> None:
    command = cluster.generate(str(questions), "--run", "first")
    said = cluster.run(*command, code=2, RAY_AUTH_TOKEN=secrets.token_hex(32))
    assert "token" in said and "Traceback" not in said


def test_a_job_decides_every_question_once(cluster: Cluster, questions: Path) -> None:
    said = cluster.run(*cluster.generate(str(questions), "--run", "first"))
    assert "run first: all questions are decided" in said
    assert "left out, malformed: 1" in said
    report = cluster.report("first")
    assert (report["read"], report["asked"], report["known"]) == (51, QUESTIONS, 0)
    assert sum(report["outcomes"].values()) == QUESTIONS == sum(report["throughput"]["decided"])
    assert report["tokens"]["answers"]["completion"] > QUESTIONS
    assert (cluster.data / "runs" / "first.png").read_bytes().startswith(b"\x89PNG")
    assert cluster.counts() == {"open": 0, **report["outcomes"]}
    rows = cluster.rows()
    assert len(rows) == 2 * QUESTIONS
    assert len({row["metadata"]["batch_id"] for row in rows}) == QUESTIONS
    assert {row["metadata"]["correlation_id"] for row in rows} == {"first"}


@pytest.mark.slow
def test_ray_s_own_command_does_the_same_and_asks_nothing_again(
    cluster: Cluster, questions: Path
) -> None:
    submit = [str(BIN / "ray"), "job", "submit", "--address", cluster.server, "--"]
    command = [*submit, "python", f"{ROOT}/jobs/generate.py", str(questions), "--run", "first"]
    before = cluster.report("first")
    assert "--resume" in cluster.run(*command, code=1)  # whatever the driver said
    said = cluster.run(*command, "--resume")
    assert "51 read, 0 asked (50 were known)" in said
    after = cluster.report("first")
    same = ("outcomes", "pairs", "tokens", "failures")
    assert [after[name] for name in same] == [before[name] for name in same]


@pytest.mark.slow
def test_what_detach_prints_can_be_pasted(cluster: Cluster, questions: Path) -> None:
    command = cluster.generate(str(questions), "--run", "first", "--resume", "--detach")
    said = cluster.run(*command, code=0)
    assert f"Ray cluster at {cluster.address}, dashboard {cluster.server}" in said
    (follow,) = [line for line in said.splitlines() if "ray job logs -f" in line]
    assert "51 read, 0 asked" in cluster.run("bash", "-c", f"unset RAY_AUTH_MODE; {follow}")


@pytest.mark.slow
def test_ctrl_c_finishes_what_is_in_flight_and_the_run_goes_on(
    cluster: Cluster, questions: Path
) -> None:
    many = questions.with_name("many.txt")
    many.write_text("\n".join(f"What is FastAPI, asked {n} times?" for n in range(2000)))
    command = cluster.generate(str(many), "--run", "second")
    process = cluster.start(*command)
    try:
        assert process.stdout
        said = []
        for line in process.stdout:
            said.append(line)
            if " of 0 decided" not in line and " decided, " in line:
                process.send_signal(signal.SIGINT)
                break
        rest, _ = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130, "".join([*said, rest])
    assert "finishing what is in flight" in rest
    assert "to continue, give the same command with --resume" in rest
    stopped = cluster.report("second")
    assert stopped["state"] == "stopped" and stopped["undecided"] == 0
    assert 0 < stopped["asked"] < 2000
    cluster.run(*command, "--resume", "--limit", str(stopped["asked"] + 5))
    whole = cluster.report("second")
    assert (whole["known"], whole["asked"]) == (stopped["asked"], 5)
    assert sum(whole["outcomes"].values()) == stopped["asked"] + 5
