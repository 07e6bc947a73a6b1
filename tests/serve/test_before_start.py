"""What `serve` finds out before Ray starts, and `doctor` without leaving a trace."""

import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rlvr_ray.cli.main import app
from rlvr_ray.core.errors import ConfigError, RlvrError, Unavailable
from rlvr_ray.documents.qdrant import server as qdrant
from rlvr_ray.documents.qdrant.store import QdrantRetriever
from rlvr_ray.serve import doctor
from rlvr_ray.settings import Settings, load
from tests.dropping_server import DroppingServer, reply
from tests.fakes import FakeEmbedder

pytestmark = pytest.mark.integration


CLOSED = "127.0.0.1:9"
GRPC_NONE = {"grpc_port": 0}


@pytest.fixture(autouse=True)
def here(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """An empty folder, and no server of this user."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
    return tmp_path


def refusal(kind: type[RlvrError], **arguments: Any) -> str:
    with pytest.raises(RlvrError) as caught:
        doctor.before_start(settings(**arguments))
    assert type(caught.value) is kind, caught.value
    assert "\n" not in str(caught.value)
    return str(caught.value)


def settings(**arguments: Any) -> Settings:
    return load(**{"api": {"port": 0}} | arguments)


def collection(points: int | None) -> list[bytes]:
    """What Qdrant says of a collection; None: there is none."""
    exists = reply(200, {"result": {"exists": points is not None}, "status": "ok", "time": 0})
    count = reply(200, {"result": {"count": points}, "status": "ok", "time": 0})
    return [exists] if points is None else [exists, count]


class TestQdrant:
    def test_nobody_answers(self) -> None:
        said = refusal(Unavailable, retrieval={"url": f"http://me:secret@{CLOSED}/q"})
        assert said.startswith(f"Qdrant at {CLOSED}/q does not answer: ")
        assert said.endswith("(retrieval.url)")
        assert "secret" not in said

    @pytest.mark.parametrize(
        ("status", "kind", "said"),
        [
            (401, ConfigError, "refuses the key: set retrieval.api_key"),
            (403, ConfigError, "refuses the key: set retrieval.api_key"),
            (404, Unavailable, "refuses: HTTP 404; is it Qdrant?"),
            (500, Unavailable, "refuses: HTTP 500; is it Qdrant?"),
        ],
    )
    def test_it_refuses(self, status: int, kind: type[RlvrError], said: str) -> None:
        with DroppingServer([reply(status, "no", "text/plain")]) as server:
            found = refusal(kind, retrieval={"url": server.url, "api_key": "k", **GRPC_NONE})
        assert found == f"Qdrant at {server.url.removeprefix('http://')} {said}"
        assert server.requests[0].headers["api-key"] == "k"

    @pytest.mark.parametrize(("points", "said"), [(1234, "1,234 passages"), (None, "none yet")])
    def test_it_is_there(self, points: int | None, said: str) -> None:
        with DroppingServer(collection(points)) as server:
            found = settings(retrieval={"url": server.url, "collection": "own", **GRPC_NONE})
            told = qdrant.check(found.retrieval, 5)
        where = server.url.removeprefix("http://")
        assert told == f"Qdrant at {where}, without gRPC, collection own: {said}"

    def test_a_grpc_port_that_is_set_must_answer(self) -> None:
        with DroppingServer(collection(1)) as server:
            said = refusal(ConfigError, retrieval={"url": server.url, "grpc_port": 9})
        assert "nothing answers at gRPC port 9; correct retrieval.grpc_port" in said

    @pytest.mark.parametrize(
        ("url", "set_", "open_", "port"),
        [
            ("http://h:6333", None, True, 6334),
            ("http://h", None, True, 6334),
            ("https://h:6333/q", None, True, 6334),
            ("http://h:6333", None, False, None),  # docker run -p 6333:6333
            ("http://h:16333", None, True, None),  # the next port may be anybody's
            ("https://h:443", None, True, None),
            ("http://h:16333", 16334, False, 16334),
            ("http://h:6333", 0, True, None),
        ],
    )
    def test_which_grpc_port(
        self,
        url: str,
        set_: int | None,
        open_: bool,
        port: int | None,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(qdrant, "_answers", lambda *_: open_)
        retrieval = settings(retrieval={"url": url, "grpc_port": set_}).retrieval
        assert qdrant._grpc_port(retrieval) == port

    def test_a_port_answers_or_not(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            assert qdrant._answers("http://127.0.0.1:1", port, 5)
        assert not qdrant._answers("http://127.0.0.1:1", port, 5)

    def test_what_grpc_says_is_one_of_ours(self, here: Path) -> None:
        retrieval = settings(retrieval={"url": f"http://{CLOSED}", "grpc_port": 9}).retrieval
        with pytest.raises(Unavailable, match=r"9 does not answer over gRPC: UNAVAILABLE"):
            QdrantRetriever(retrieval, here, FakeEmbedder())


class TestModelFiles:
    @pytest.mark.parametrize("section", ["generator", "judge"])
    def test_a_file_must_be_there_and_be_a_model(self, section: str, here: Path) -> None:
        def said(path: str) -> str:
            given = {"engine": "llamacpp", "model_path": path}
            return refusal(ConfigError, **{section: given})

        assert said("no.gguf") == f"{section}.model_path: there is no file {here}/no.gguf"
        Path("page.gguf").write_text("<html>not found</html>")
        assert said("page.gguf").startswith(f"{section}.model_path: {here}/page.gguf is no GGUF")
        Path("empty.gguf").touch()
        assert "is no GGUF file" in said("empty.gguf")

    def test_a_judge_that_nobody_asks_needs_no_file(self) -> None:
        judge = {"engine": "llamacpp", "model_path": "no.gguf"}
        doctor.before_start(settings(judge=judge, verification={"verifiers": ["grounded"]}))

    @pytest.mark.parametrize("model", ["/no/model", "./model"])
    def test_a_folder_must_hold_a_model(self, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("rlvr_ray.generation.engines.vllm.startup.find_spec", lambda name: True)
        said = refusal(ConfigError, generator={"engine": "vllm", "model": model})
        assert said.startswith(f"generator.model: there is no model in {model}")

    def test_vllm_must_be_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("rlvr_ray.generation.engines.vllm.startup.find_spec", lambda name: None)
        assert "vllm is not installed" in refusal(ConfigError, generator={"engine": "vllm"})


class TestServersThatMayComeLater:
    """It serves all the same: in Kubernetes, say, they start at the same time."""

    @pytest.fixture(autouse=True)
    def heard(self, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
        logger = logging.getLogger("rlvr_ray")
        was, logger.propagate = logger.propagate, True
        with caplog.at_level("WARNING"):
            yield
        logger.propagate = was

    @pytest.mark.parametrize("section", ["generator", "judge"])
    def test_a_language_model(self, section: str, caplog: pytest.LogCaptureFixture) -> None:
        engine = {"engine": "openai", "base_url": f"http://{CLOSED}/v1", "model": "m-7b"}
        doctor.before_start(settings(**{section: engine}))
        (record,) = caplog.records
        what = "questions" if section == "generator" else "verifications"
        assert f"the {section}'s server {CLOSED} is not there" in record.getMessage()
        assert record.getMessage().endswith(f"; {what} fail until that is mended")

    def test_one_that_refuses_the_key(self, caplog: pytest.LogCaptureFixture) -> None:
        with DroppingServer([reply(401, {"error": {"message": "bad key"}})]) as server:
            engine = {"engine": "openai", "base_url": server.url, "model": "m", "api_key": "sk-1"}
            doctor.before_start(settings(generator=engine))
        assert "refuses the key (generator.api_key)" in caplog.text
        assert "sk-1" not in caplog.text

    def test_the_broker(self, caplog: pytest.LogCaptureFixture) -> None:
        doctor.before_start(settings(mirror={"url": f"amqp://{CLOSED}/"}))
        assert "events wait in the ledger" in caplog.text


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        said = refusal(ConfigError, api={"port": port})
    assert said.endswith("choose another port (--port)")


@pytest.mark.parametrize(
    ("setting", "code", "said"),
    [
        (f"retrieval.url=http://{CLOSED}", 3, f"rlvr: Qdrant at {CLOSED} does not answer"),
        (
            "verification.verifiers=[{name: numeric, options: {tolerance: 2}}]",
            2,
            "must be 0.5 or less",
        ),
        ("verification.verifiers=[nobody]", 2, "there is no nobody"),
        ("generator.model_path=no.gguf", 2, "rlvr: generator.model_path: there is no file"),
        ("dpo.promt=rag", 2, "did you mean dpo.prompt?"),
    ],
)
def test_serve_ends_before_ray_starts(setting: str, code: int, said: str, here: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "rlvr_ray.cli", "serve", "--port", "0", "--set", setting],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"RAY_TMPDIR": str(here)},
        check=False,
    )
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (here / "ray").exists(), "Ray was started"


class TestDoctor:
    def checks(self, *arguments: str, code: int = 0) -> dict[str, list[str]]:
        result = CliRunner().invoke(app, ["doctor", "--json", *arguments])
        assert result.exit_code == code, result.output
        return {each["name"]: [each["state"], each["detail"]] for each in json.loads(result.stdout)}

    def test_it_makes_nothing(self, here: Path) -> None:
        found = self.checks()
        assert list(here.iterdir()) == []
        assert found["disk"][1].startswith(f"{here}/data: ")
        assert found["documents"] == ["ok", "none yet; rlvr ingest stores some"]
        assert found["server"] == ["ok", "none runs: rlvr serve"]

    def test_libraries_say_nothing_beside_it(self) -> None:
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "rlvr_ray.cli",
                "doctor",
                "--set",
                f"mirror.url=amqp://{CLOSED}",
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert (done.returncode, done.stderr) == (1, "")

    def test_a_folder_that_cannot_be_made(self, here: Path) -> None:
        (here / "file").touch()
        assert self.checks("--data-dir", "file/data", code=1)["disk"][0] == "failed"

    def test_all_that_is_wrong_is_named_at_once(self) -> None:
        found = self.checks(
            *("--set", f"retrieval.url=http://{CLOSED}", "--set", f"mirror.url=amqp://{CLOSED}/"),
            *("--set", f"generator.base_url=http://{CLOSED}/v1", "--set", "generator.model=m-7b"),
            code=1,
        )
        failed = {name for name, (state, _) in found.items() if state == "failed"}
        assert failed == {"documents", "generator", "mirror"}
        assert f"Qdrant at {CLOSED}" in found["documents"][1]
        assert found["verifiers"][0] == "ok"


def test_folders_of_clusters_that_have_ended_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ours alone: not those of others, nor of clusters that run."""
    from rlvr_ray.client import servers
    from rlvr_ray.serve import app as application
    from rlvr_ray.serve import deployments

    names = ("session_ended", "session_running", "session_others", "session_own")
    for name in names:
        (tmp_path / name / "logs").mkdir(parents=True)
    (tmp_path / "session_latest").symlink_to("session_own")
    servers.hold(tmp_path / "session_ended" / application.SESSION_MARK).close()
    running = servers.hold(tmp_path / "session_running" / application.SESSION_MARK)
    monkeypatch.setattr(deployments, "session_folder", lambda: tmp_path / "session_own")
    application._take_away_old_sessions()
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {*names, "session_latest"} - {"session_ended"}
    assert servers.is_held(tmp_path / "session_own" / application.SESSION_MARK)
    running.close()
    application._held.pop().close()
