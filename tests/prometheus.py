"""A real Prometheus for the tests: the one that is installed, or Debian's package."""

import contextlib
import json
import math
import subprocess
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.debian import find, unpacked

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
RULES = DEPLOY / "prometheus" / "alerts.yml"
#: Longest wait for it to start, in seconds.
START_S = 60.0


@cache
def program(name: str) -> str:
    """The path of ``prometheus`` or ``promtool``."""
    return str(find(name) or unpacked("prometheus") / "usr" / "bin" / name)


def promtool(*arguments: str | Path) -> str:
    """What it prints; AssertionError with that where it finds something wrong."""
    done = subprocess.run(
        [program("promtool"), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def config() -> dict[str, Any]:
    """The shipped configuration."""
    loaded: dict[str, Any] = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    return loaded


class Prometheus:
    """A running server."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=30)

    def close(self) -> None:
        self._http.close()

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series of an instant query, those that are numbers."""
        reply = self._http.post("/api/v1/query", data={"query": expression})
        answer = reply.json()
        assert answer["status"] == "success", f"{expression}: {answer}"
        series: list[dict[str, Any]] = answer["data"]["result"]
        return [one for one in series if not math.isnan(float(one["value"][1]))]

    def get(self, path: str) -> Any:
        return self._http.get(f"/api/v1/{path}").json()["data"]

    def is_up(self) -> bool:
        try:
            return self._http.get("/-/ready").status_code == 200
        except httpx.TransportError:
            return False


@contextlib.contextmanager
def serving(folder: Path, port: int, discovery: Path, every: str = "2s") -> Iterator[Prometheus]:
    """The shipped configuration over another session's file of nodes, in more of a hurry."""
    changed = config()
    changed["global"] = {"scrape_interval": every, "evaluation_interval": every}
    changed["rule_files"] = [str(RULES)]
    (job,) = changed["scrape_configs"]
    job["file_sd_configs"] = [{"files": [str(discovery)], "refresh_interval": every}]
    file = folder / "prometheus.json"  # JSON is YAML
    file.write_text(json.dumps(changed), "utf-8")
    log = folder / "prometheus.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [
                program("prometheus"),
                f"--config.file={file}",
                f"--storage.tsdb.path={folder / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    running = Prometheus(f"http://127.0.0.1:{port}")
    try:
        deadline = time.monotonic() + START_S
        while not running.is_up():
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield running
    finally:
        running.close()
        process.terminate()
        process.wait(30)
