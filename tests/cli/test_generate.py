"""`rlvr generate`: what it passes on, what it refuses, and how it follows a job."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.dashboard.modules.job.common import JobStatus
from typer.testing import CliRunner

from rlvr_ray.bulk import driver as bulk_driver
from rlvr_ray.bulk import submission
from rlvr_ray.bulk.report import is_complete
from rlvr_ray.bulk.request import Request
from rlvr_ray.bulk.submission import Jobs
from rlvr_ray.cli import generate
from rlvr_ray.cli.main import app
from rlvr_ray.client import servers
from rlvr_ray.core.errors import ConfigError, InputError, Unavailable
from rlvr_ray.settings import Settings, load
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.integration


@pytest.fixture
def request_of(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a command line up to the request that it makes, and returns that."""

    def parse(*arguments: str) -> Request:
        found: list[Request] = []

        def keep(request: Request, **_: Any) -> int:
            found.append(request)
            return 0

        monkeypatch.setattr(generate, "_here", keep)
        monkeypatch.setattr(generate, "_submit", keep)
        done = CliRunner().invoke(app, ["generate", *arguments])
        assert done.exit_code == 0, done.output
        return found[0]

    return parse


def test_a_job_is_asked_for_the_same(
    request_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("-odd name.jsonl").touch()
    wanted = request_of(
        *("--run", "first", "--resume", "--limit", "7", "--shuffle-seed", "0", "--max-cost", "0"),
        *("--give-up-after", "1.5", "--report", "report.json", "--id-column", "a b", "--json"),
        *("--set", "generator.max_tokens=9", "--set", "dpo.prompt=rag", "--top-k", "2"),
        *("--", "-odd name.jsonl", "s3://bucket/q.jsonl"),
    )
    program, command, *arguments = wanted.command()
    assert (program, command, arguments[0]) == ("rlvr", "generate", "--here")
    there = request_of(*arguments)
    here = {"files": [f"{tmp_path}/-odd name.jsonl", "s3://bucket/q.jsonl"]}
    assert asdict(there) == asdict(wanted) | here | {"report": tmp_path / "report.json"}
    assert (there.shuffle_seed, there.max_cost, there.at_once) == (0, 0.0, None)


@pytest.mark.parametrize("run", ["", "a/b", "../x", ".hidden", "-x", "x" * 101, "naïve", "a b"])
def test_a_run_has_a_name_that_can_be_a_file_s(run: str) -> None:
    done = CliRunner().invoke(app, ["generate", "q.jsonl", f"--run={run}"])
    assert done.exit_code == 2
    assert "--run" in done.output


def test_a_limit_of_cost_needs_prices(request_of: Any) -> None:
    request = request_of("q.jsonl", "--run", "first", "--max-cost", "5")
    running = load(generator={"engine": "llamacpp"})
    with pytest.raises(InputError, match=r"set generator\.price_prompt"):
        bulk_driver.plan_of(request, running)
    own = Settings(generator={"price_prompt": 1, "price_completion": 2})  # type: ignore[arg-type]
    plan = bulk_driver.plan_of(request, bulk_driver.priced(running, own))
    assert plan.rates is not None and plan.rates.judge.completion == 2
    assert bulk_driver.plan_of(replace(request, max_cost=None), running).rates is None


@pytest.mark.parametrize(
    "given",
    ["generator.api_key=sk-123", "judge={api_key: sk-123}", "mirror.url=amqp://me:pw@localhost/"],
)
def test_no_key_becomes_part_of_a_job(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submission, "Jobs", None)
    done = CliRunner().invoke(app, ["generate", "q.jsonl", "--run", "first", "--set", given])
    assert done.exit_code == 2
    assert "RLVR_GENERATOR__API_KEY" in done.output.replace("\n", " ")
    assert "sk-123" not in done.output and "pw" not in done.output


def test_pipes_are_not_counted(request_of: Any, tmp_path: Path) -> None:
    questions, pipe = tmp_path / "q.txt", tmp_path / "pipe"
    questions.write_text("What?\n\nWhy?\n")
    os.mkfifo(pipe)
    assert bulk_driver.total_of(request_of(str(questions), "--run", "first")) == 2
    assert bulk_driver.total_of(request_of(str(questions), str(pipe), "--run", "first")) is None


class Server:
    """A stand-in for Ray's client of a job server."""

    def __init__(self) -> None:
        self.jobs: list[Any] = []
        self.submitted: dict[str, Any] = {}
        self.chunks = ["one\ntw", "o\n", "three"]  #: the last line has no end
        self.stopped = asyncio.Event()
        self.hangs = False
        self.job = SimpleNamespace(
            status=JobStatus.SUCCEEDED, driver_exit_code=0, message="", submission_id="job"
        )
        self.failure: Exception | None = None
        self.applications: dict[str, Any] = {}

    def get_address(self) -> str:
        return "http://head:8266"

    def _do_request(self, method: str, path: str) -> Any:
        assert (method, path) == ("GET", "/api/serve/applications/")
        return SimpleNamespace(ok=True, json=lambda: {"applications": self.applications})

    def list_jobs(self) -> list[Any]:
        if self.failure:
            raise self.failure
        return self.jobs

    def submit_job(self, **submitted: Any) -> str:
        self.submitted = submitted
        return "job"

    def stop_job(self, job_id: str) -> None:
        self.loop.call_soon_threadsafe(self.stopped.set)

    def get_job_info(self, job_id: str) -> Any:
        return self.job

    async def tail_job_logs(self, job_id: str) -> AsyncIterator[str]:
        self.loop = asyncio.get_running_loop()
        for chunk in self.chunks:
            yield chunk
        if self.hangs:
            os.kill(os.getpid(), signal.SIGINT)
            await self.stopped.wait()
            yield "finishing\n"


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def jobs(server: Server) -> Jobs:
    found = Jobs.__new__(Jobs)
    found._client, found._address = server, None
    return found


class TestJobs:
    def test_one_run_has_one_job_at_a_time(self, server: Server, jobs: Jobs) -> None:
        def job(run: str, status: JobStatus) -> Any:
            return SimpleNamespace(metadata={"rlvr_run": run}, status=status, submission_id="j1")

        server.jobs = [
            SimpleNamespace(metadata=None, status=JobStatus.RUNNING, submission_id="other"),
            job("second", JobStatus.RUNNING),
            job("first", JobStatus.FAILED),
        ]
        assert jobs.submit(["rlvr", "generate", "a b"], "first") == "job"
        assert server.submitted["entrypoint"] == "rlvr generate 'a b'"
        assert server.submitted["metadata"] == {"rlvr_run": "first"}
        server.jobs.append(job("first", JobStatus.PENDING))
        with pytest.raises(InputError, match="under way in job j1") as caught:
            jobs.submit(["rlvr"], "first")
        for line in ("logs -f", "stop"):
            assert f"ray job {line} --address http://head:8266 j1" in str(caught.value)

    def test_a_command_of_rays_is_told_whole(
        self, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(submission, "BIN", "/x/bin/")
        line = "/x/bin/ray job logs -f --address http://head:8266 job"
        assert jobs.command("logs -f", "job") == line
        monkeypatch.setenv("RAY_AUTH_MODE", "token")
        assert jobs.command("logs -f", "job") == f"RAY_AUTH_MODE=token {line}"

    def test_a_cluster_of_others_is_told_from_ours(self, server: Server, jobs: Jobs) -> None:
        server.applications = {"theirs": {}}
        with pytest.raises(
            ConfigError, match="does not run on the Ray cluster of http://head:8266"
        ):
            jobs.check_runs("rlvr")
        server.applications["rlvr"] = {}
        jobs.check_runs("rlvr")

    @pytest.mark.parametrize(
        ("address", "told"),
        [("10.0.0.7:6379", True), ("http://10.0.0.7:8265", False), ("auto", False), (None, False)],
    )
    def test_a_job_joins_the_cluster_that_it_was_submitted_to(
        self, server: Server, jobs: Jobs, address: str | None, told: bool
    ) -> None:
        jobs._address = address
        jobs.submit(["rlvr"], "first")
        env = server.submitted["runtime_env"]["env_vars"]
        assert env.get("RLVR_RAY_ADDRESS") == (address if told else None)
        assert int(env["RAY_JOB_STOP_WAIT_TIME_S"]) > 60, "Ray gives three seconds"

    def test_a_server_that_fails_says_what_to_do(self, server: Server, jobs: Jobs) -> None:
        server.failure = RuntimeError("Request failed with status code 500: No available agent")
        with pytest.raises(ConfigError, match="--here"):
            jobs.submit(["rlvr"], "first")
        server.failure = OSError("connection refused\nand more")
        with pytest.raises(Unavailable, match=r"not there: connection refused$"):
            jobs.submit(["rlvr"], "first")

    def test_lines_are_told_whole(self, jobs: Jobs) -> None:
        told: list[str] = []
        assert jobs.follow("job", told.append, is_complete).code == 0
        assert told == ["one", "two", "three"]

    @pytest.mark.parametrize(
        ("status", "code", "expected", "said"),
        [
            (JobStatus.SUCCEEDED, 0, 0, ""),
            (JobStatus.STOPPED, None, 130, ""),
            (JobStatus.FAILED, 2, 2, ""),
            (JobStatus.FAILED, 127, 1, "no rlvr on its PATH"),
            (JobStatus.FAILED, None, 1, "the node died"),
        ],
    )
    def test_its_exit_code_is_the_job_s(
        self,
        server: Server,
        jobs: Jobs,
        status: JobStatus,
        code: int | None,
        expected: int,
        said: str,
    ) -> None:
        server.job = SimpleNamespace(status=status, driver_exit_code=code, message="the node died")
        ended = jobs.follow("job", lambda line: None, is_complete)
        assert ended.code == expected
        assert said in ended.message and bool(said) == bool(ended.message)

    def test_ctrl_c_has_it_finish_and_follows_on(self, server: Server, jobs: Jobs) -> None:
        server.hangs = True
        server.job.status = JobStatus.STOPPED
        told: list[str] = []
        assert jobs.follow("job", told.append, is_complete).code == 130
        assert told[-1].endswith("finishing")
        (line,) = [line for line in told if "Ctrl-C" in line]
        assert line == "the job will finish what is in flight; a second Ctrl-C detaches from it"

    def test_a_job_that_had_nothing_left_to_ask_is_done(self, server: Server, jobs: Jobs) -> None:
        """Ray says of it only that it was stopped."""
        server.hangs = True
        server.job.status = JobStatus.STOPPED
        server.chunks = ["run first: all questions are decided\n"]
        assert jobs.follow("job", lambda line: None, is_complete).code == 0

    def test_a_second_one_leaves_it_alone(
        self, server: Server, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server.hangs = True

        def stop(job_id: str) -> None:
            os.kill(os.getpid(), signal.SIGINT)

        monkeypatch.setattr(server, "stop_job", stop)
        ended = jobs.follow("job", lambda line: None, is_complete)
        assert ended.code == 130 and "ray job logs -f --address" in ended.message


class TestWhichCluster:
    @pytest.fixture(autouse=True)
    def alone(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
        monkeypatch.delenv("RAY_ADDRESS", raising=False)

    def test_it_is_said(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert generate._cluster(load()) == "Ray cluster: the one that Ray finds here"
        server = servers.Server(
            pid=1, url="http://h:1", data_dir="/d", ray_address="h:2", dashboard=None
        )
        with servers.announced(server):
            assert generate._cluster(load()) == "Ray cluster at h:2 of http://h:1, data in /d"
            assert generate._cluster(load(ray_address="x:3")) == "Ray cluster at x:3"
            monkeypatch.setenv("RAY_ADDRESS", "y:4")
            assert generate._cluster(load()) == "Ray cluster at y:4"

    def test_one_in_this_process_says_it_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(generate, "_here", lambda request: 0)
        command = ["generate", "x", "--run", "r", "--here", "--set", "ray_address=x:3"]
        assert CliRunner().invoke(app, command).stderr == "Ray cluster at x:3\n"

    def test_the_one_of_a_server_that_is_named(
        self, request_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        given = request_of("x", "--run", "r", "--port", "8124", "--data-dir", "own")
        assert given.settings.api.port == 8124
        assert given.settings.data_dir == tmp_path / "own"


def test_a_token_is_used_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    submission.use_token()
    assert "RAY_AUTH_MODE" not in os.environ
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("secret")
    submission.use_token()
    assert os.environ["RAY_AUTH_MODE"] == "token"
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    submission.use_token()
    assert os.environ["RAY_AUTH_MODE"] == "disabled"


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (signal.SIGINT, "finishing what is in flight; a second Ctrl-C ends at once"),
        (signal.SIGTERM, "finishing what is in flight"),
    ],
)
async def test_what_a_second_ctrl_c_does_is_told_by_whom_it_reaches(
    number: signal.Signals, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """A job is stopped by SIGTERM; its lines stand between those of the command that follows it."""
    stopped = asyncio.Event()
    bulk = SimpleNamespace(stop=stopped.set)
    bulk_driver._stop_on_signals(bulk)  # type: ignore[arg-type]
    os.kill(os.getpid(), number)
    async with asyncio.timeout(PATIENCE_S):
        await stopped.wait()
    assert capfd.readouterr().err.strip() == said
