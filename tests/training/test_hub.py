"""`rlvr export --push` and `rlvr push`: the hub's real client against a hub of the test's own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from rlvr_ray.cli.main import app
from tests.exports import contents, export, refused, rlvr
from tests.folders import Folder, decided
from tests.hub_server import READER, WRITER, HubServer, serving

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    Folder(folder).run([decided(number) for number in range(4)])
    return folder


@pytest.fixture(scope="module")
def server() -> Iterator[HubServer]:
    with serving() as hub:
        yield hub


@pytest.fixture
def hub(server: HubServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> HubServer:
    """An empty one, where HF_ENDPOINT and HF_TOKEN would be set. It reads them once."""
    from huggingface_hub import constants

    server.datasets.clear()
    server.requests.clear()
    server.refused_license = server.failing = None
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    for name in ("HUGGING_FACE_HUB_TOKEN", "HF_OIDC_RESOURCE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_TOKEN", WRITER)
    return server


@pytest.fixture
def folder(data: Path, tmp_path: Path) -> Path:
    """An exported one."""
    export(data, tmp_path / "my-pairs", "--eval", 0)
    return tmp_path / "my-pairs"


def push(folder: Path, repo: str, *options: str) -> Result:
    return CliRunner().invoke(app, ["push", str(folder), repo, *options])


class TestUpload:
    def test_what_arrives_is_what_was_exported_and_nobody_else_can_read_it(
        self, hub: HubServer, data: Path, tmp_path: Path
    ) -> None:
        out = tmp_path / "out"
        result = rlvr(data, out, "--push", "team/pairs", "--eval", 0)
        assert result.exit_code == 0, result.output
        assert f"{hub.url}/datasets/team/pairs" in result.stdout
        (name,) = hub.datasets
        assert name == "team/pairs"
        assert hub.datasets[name].private
        assert hub.datasets[name].files == contents(out)
        assert set(hub.datasets[name].files) == {"README.md", "train.jsonl"}
        assert hub.datasets[name].commits == ["Export of rlvr_ray"]

    def test_in_a_process_of_its_own_with_the_variables_that_people_set(
        self, hub: HubServer, data: Path, tmp_path: Path
    ) -> None:
        out = tmp_path / "out"
        program = "from rlvr_ray.cli import app; app()"
        arguments = ["export", "--format", "llamafactory", "--data-dir", str(data), "--json"]
        arguments += ["--out", str(out), "--push", "pairs", "--public"]
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            env=os.environ
            | {"HF_ENDPOINT": hub.url, "HF_TOKEN": WRITER, "HF_HOME": str(tmp_path / "home")},
            capture_output=True,
            check=False,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert f"{hub.url}/datasets/me/pairs" in done.stderr
        assert not hub.datasets["me/pairs"].private
        assert hub.datasets["me/pairs"].files == contents(out)
        assert "dataset_info.json" in hub.datasets["me/pairs"].files
        assert WRITER not in done.stdout + done.stderr

    def test_the_login_file_has_a_token_too(
        self, hub: HubServer, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("HF_TOKEN")
        (tmp_path / "token").write_text(f"{WRITER}\n")
        assert push(folder, "team/pairs").exit_code == 0
        assert hub.datasets["team/pairs"].files == contents(folder)

    def test_pushing_again_leaves_nothing_of_the_export_before_and_all_else(
        self, hub: HubServer, data: Path, folder: Path, tmp_path: Path
    ) -> None:
        assert push(folder, "team/pairs").exit_code == 0
        files = hub.datasets["team/pairs"].files
        files |= {"eval.jsonl": b"old", "dataset_info.json": b"old", "figure.png": b"mine"}
        export(data, tmp_path / "second", "--parquet", "--eval", 0)
        assert push(tmp_path / "second", "team/pairs").exit_code == 0
        assert files == contents(tmp_path / "second") | {"figure.png": b"mine"}
        assert "train.parquet" in files

    def test_only_what_an_export_writes_is_uploaded(self, hub: HubServer, folder: Path) -> None:
        (folder / ".env").write_text("secret")
        (folder / "checkpoint").mkdir()
        (folder / "checkpoint" / "train.jsonl").write_text("other")
        assert push(folder, "team/pairs").exit_code == 0
        assert set(hub.datasets["team/pairs"].files) == {"README.md", "train.jsonl"}

    def test_a_public_dataset_is_not_written_to_by_accident(
        self, hub: HubServer, folder: Path
    ) -> None:
        assert push(folder, "team/pairs", "--public").exit_code == 0
        assert not hub.datasets["team/pairs"].private
        before = dict(hub.datasets["team/pairs"].files)
        (folder / "train.jsonl").write_text("{}\n")
        refused(push(folder, "team/pairs"), "everybody can read it", "--public")
        hub.failing = (503, "busy")
        again = f"rlvr push {folder} team/pairs --public pushes it again"
        refused(push(folder, "team/pairs", "--public"), again, code=3)
        hub.failing = None
        assert hub.datasets["team/pairs"].files == before
        assert push(folder, "team/pairs", "--public").exit_code == 0
        assert hub.datasets["team/pairs"].files == contents(folder)

    def test_a_private_dataset_stays_private(self, hub: HubServer, folder: Path) -> None:
        assert push(folder, "team/pairs").exit_code == 0
        assert push(folder, "team/pairs", "--public").exit_code == 0
        assert hub.datasets["team/pairs"].private


class TestFailures:
    """Each is one line, leaves the folder and says how to go on."""

    def told(self, result: Result, folder: Path, *parts: str, code: int = 2) -> None:
        again = f"; the folder is complete: rlvr push {folder} team/pairs pushes it again"
        refused(result, *parts, again, code=code)
        assert WRITER not in result.output
        assert READER not in result.output

    def test_no_token(self, hub: HubServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("HF_TOKEN")
        self.told(push(folder, "team/pairs"), folder, "no token", "HF_TOKEN", "hf auth login")
        assert hub.requests == []

    def test_a_token_that_the_hub_does_not_know(
        self, hub: HubServer, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HF_TOKEN", "hf_unknown")
        result = push(folder, "team/pairs")
        self.told(result, folder, "does not accept the token", f"{hub.url}/settings/tokens")
        assert "hf_unknown" not in result.output

    def test_a_token_without_the_right_to_write(
        self, hub: HubServer, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HF_TOKEN", READER)
        self.told(push(folder, "team/pairs"), folder, "may not write to team/pairs", "rights")
        assert hub.datasets == {}

    def test_no_network(
        self, hub: HubServer, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from huggingface_hub import constants

        monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
        result = push(folder, "team/pairs")
        self.told(result, folder, "http://127.0.0.1:9 cannot be reached", code=3)

    def test_a_hub_that_fails_and_repeats_the_token(self, hub: HubServer, folder: Path) -> None:
        hub.failing = (500, f"no such thing as\n{WRITER}")
        self.told(push(folder, "team/pairs"), folder, "answers 500", "try again later", code=3)

    def test_offline(self, hub: HubServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from huggingface_hub import constants

        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        self.told(push(folder, "team/pairs"), folder, "HF_HUB_OFFLINE is set")

    def test_a_license_that_the_hub_does_not_know(
        self, hub: HubServer, data: Path, tmp_path: Path
    ) -> None:
        hub.refused_license = "mine"
        out = tmp_path / "out"
        result = rlvr(data, out, "--push", "team/pairs", "--license", "mine")
        assert result.exit_code == 2
        assert '"license" must be one of' in result.stderr
        assert f"rlvr push {out} team/pairs" in result.stderr
        assert (out / "train.jsonl").is_file()
        assert hub.datasets["team/pairs"].files == {}

    @pytest.mark.parametrize("repo", ["a/b/c", "a b", "-x-", ""])
    def test_what_is_no_repository(self, hub: HubServer, folder: Path, repo: str) -> None:
        result = CliRunner().invoke(app, ["push", "--", str(folder), repo])
        refused(result, "cannot be a repository's name")
        assert hub.requests == []

    def test_what_is_no_exported_folder(self, hub: HubServer, tmp_path: Path) -> None:
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "README.md").write_text("# Other")
        for name in ("other", "missing"):
            refused(push(tmp_path / name, "team/pairs"), "is no exported folder")
        assert hub.requests == []

    def test_public_without_push(self, data: Path, tmp_path: Path) -> None:
        refused(rlvr(data, tmp_path / "out", "--public"), "--push")
        assert not (tmp_path / "out").exists()
