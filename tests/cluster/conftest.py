"""The whole system, once for the run: `rlvr serve` as a user starts it, in a process of its own."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from rlvr_ray.client import Client
from tests.broker import Broker
from tests.browser.fixtures import browser, new_page, page, trouble
from tests.patience import PATIENCE_S

__all__ = ["browser", "new_page", "page", "trouble"]

START_S = 180
STOP_S = 90
RLVR = [sys.executable, "-m", "rlvr_ray.cli"]


@dataclass
class System:
    """A running server, and what tests do to it."""

    url: str
    data_dir: Path
    process: subprocess.Popen[bytes]
    log: Path
    client: Client
    http: httpx.Client
    mirror_url: str | None

    def rlvr(self, *arguments: str, code: int = 0) -> str:
        """Run a command against this server; return what it printed on stdout."""
        done = subprocess.run(
            [*RLVR, *arguments],
            capture_output=True,
            text=True,
            timeout=180,
            env=self.env,
            check=False,
        )
        assert done.returncode == code, (
            f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
        )
        return done.stdout

    @property
    def env(self) -> dict[str, str]:
        """The environment in which commands find this server's folder and broker."""
        mirror = {"RLVR_MIRROR__URL": self.mirror_url} if self.mirror_url else {}
        return os.environ | {"RLVR_DATA_DIR": str(self.data_dir)} | mirror

    @contextlib.contextmanager
    def tail(self, *keys: str) -> Iterator[Iterator[dict[str, Any]]]:
        """Events as `rlvr events tail` prints them, from now on."""
        options = [option for key in keys for option in ("--key", key)]
        process = subprocess.Popen(
            [*RLVR, "events", "tail", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.env,
        )
        assert process.stdout and process.stderr
        try:
            assert "Ctrl-C" in process.stderr.readline(), "it says when it listens"
            yield map(json.loads, process.stdout)
        finally:
            process.terminate()
            process.communicate(timeout=30)

    def pending(self) -> int:
        """Events that the broker has not confirmed."""
        mirror = self.client.stats().mirror
        assert mirror is not None, "the mirror is off"
        return mirror.pending

    def await_mirrored(self) -> None:
        """Wait until the broker has confirmed every event."""
        deadline = time.monotonic() + PATIENCE_S
        while self.pending():
            assert time.monotonic() < deadline, self.client.stats()
            time.sleep(0.1)

    def family(self) -> list[psutil.Process]:
        """The server's process and all below it."""
        root = psutil.Process(self.process.pid)
        return [root, *root.children(recursive=True)]

    def actor(self, name: str) -> psutil.Process:
        """The process of an actor or replica, by what Ray titles it."""
        for process in self.family():
            with contextlib.suppress(psutil.Error):
                if name in " ".join(process.cmdline()):
                    return process
        raise AssertionError(f"no process {name}: {[p.pid for p in self.family()]}")

    @property
    def ray_address(self) -> str:
        """Of this server's cluster, whichever others there are."""
        return self._raylet("--gcs-address=")

    @property
    def ray_session(self) -> Path:
        """The folder of that cluster's logs and whatever else it leaves."""
        return Path(self._raylet("--raylet_socket_name=")).parents[1]

    def _raylet(self, option: str) -> str:
        (raylet,) = [p for p in self.family() if p.name() == "raylet"]
        parts = [part for part in raylet.cmdline() if part.startswith(option)]
        assert parts, f"no {option} in {raylet.cmdline()}"
        return parts[0].partition("=")[2]

    def kill(self, name: str) -> None:
        """kill -9, and wait until it is gone."""
        process = self.actor(name)
        process.kill()
        gone, _ = psutil.wait_procs([process], timeout=10)
        assert gone, f"{name} survived kill -9"

    def jsonl(self, dataset: str) -> list[dict[str, Any]]:
        """All rows of a dataset's JSONL files; each whole line must parse."""
        files = sorted((self.data_dir / dataset).glob("*.jsonl"))
        return [json.loads(line) for file in files for line in file.read_bytes().split(b"\n")[:-1]]

    def await_rows(self, dataset: str, batch_id: str, count: int) -> list[dict[str, Any]]:
        """The rows of a batch, once there are so many: files follow the ledger."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            rows = [r for r in self.jsonl(dataset) if r["metadata"]["batch_id"] == batch_id]
            if len(rows) >= count or time.monotonic() > deadline:
                assert len(rows) == count, f"{dataset} has {len(rows)} rows of {batch_id}"
                return rows
            time.sleep(0.1)

    def stop(self) -> None:
        """SIGTERM, as a supervisor does."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(STOP_S)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory, broker: Broker) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("system")
    yield from serve(folder, {"RLVR_MIRROR__URL": broker.url}, broker.url)


def serve(
    folder: Path, settings: dict[str, str], mirror_url: str | None = None
) -> Iterator[System]:
    """`rlvr serve` over data in the folder, with these settings in its environment."""
    port = free_port()
    log = folder / "serve.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [*RLVR, "serve", "--data-dir", str(folder / "data"), "--port", str(port)],
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=os.environ | settings,
        )
    url = f"http://127.0.0.1:{port}"
    with Client(url) as client, httpx.Client(base_url=url, timeout=120) as http:
        yield from serving(System(url, folder / "data", process, log, client, http, mirror_url))


def serving(running: System) -> Iterator[System]:
    """Hand out the system once it is ready; end it afterwards, whatever happened."""
    process, log = running.process, running.log
    try:
        deadline = time.monotonic() + START_S
        while not running.client.is_up():
            assert process.poll() is None, f"rlvr serve ended: {log.read_text()}"
            assert time.monotonic() < deadline, f"rlvr serve did not start: {log.read_text()}"
            time.sleep(0.5)
        yield running
    finally:
        family = running.family() if process.poll() is None else []
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.stop()
        for left in family:
            with contextlib.suppress(psutil.Error):
                left.kill()
