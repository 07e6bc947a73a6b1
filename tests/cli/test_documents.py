"""`rlvr documents` and what `rlvr ingest` says, with a running server and without one."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from rlvr_ray.cli import terminal
from rlvr_ray.cli.main import app
from rlvr_ray.client import Client, servers
from rlvr_ray.client.servers import Server
from tests.browser.stage import Stage, open_stage

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with open_stage(piece_s=0.001, result_s=0.001) as running:
        yield running


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No server is known, and nobody answers where one would be."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr("rlvr_ray.settings.ApiSettings.url", "http://127.0.0.1:9")
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def rlvr(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == code, f"{result.output}\n{result.exception!r}"
    return result


def owls(name: str = "owls.md") -> str:
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_text("Owls hunt at night.")
    return name


class TestWithAServer:
    def test_listed_and_deleted(self, stage: Stage) -> None:
        with Client(stage.url) as client:
            before = {each.source: each.num_chunks for each in client.documents()}
        rlvr("ingest", owls(), "--url", stage.url)
        found = json.loads(rlvr("documents", "--url", stage.url, "--json").stdout)
        assert {each["source"]: each["num_chunks"] for each in found} == before | {"owls.md": 1}
        shown = rlvr("documents", "--url", stage.url).stdout
        assert all(each["source"] in shown and each["document_id"] in shown for each in found)
        (own,) = [each for each in found if each["source"] == "owls.md"]
        said = rlvr("documents", "delete", "owls.md", "--url", stage.url).stdout
        assert said == "deleted owls.md, 1 passages\n"
        with Client(stage.url) as client:
            assert {each.source: each.num_chunks for each in client.documents()} == before
        rlvr("ingest", "owls.md", "--url", stage.url)
        by_id = rlvr("documents", "delete", own["document_id"], "--url", stage.url, "--json").stdout
        assert json.loads(by_id) == [own]

    def test_it_is_found(self, stage: Stage, here: Path) -> None:
        """From any folder, without a word about where it is; and said where that surprises."""
        elsewhere = Server(
            pid=1, url=stage.url, data_dir="/elsewhere", ray_address="", dashboard=None
        )
        with servers.announced(elsewhere):
            result = rlvr("ingest", owls())
            assert result.stderr == f"Server: {stage.url}, data in /elsewhere\n"
            for command in (["documents"], ["status"], ["documents", "delete", "owls.md"]):
                assert f"Server: {stage.url}" in rlvr(*command).stderr
        at_home = Server(
            pid=1, url=stage.url, data_dir=str(here / "data"), ray_address="", dashboard=None
        )
        with servers.announced(at_home):
            assert rlvr("status").stderr == ""
        assert not (here / "data").exists(), "nothing was stored here"

    def test_that_of_another_folder_is_not_asked(
        self, stage: Stage, here: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("rlvr_ray.settings.ApiSettings.url", stage.url)
        other = Server(pid=1, url=stage.url, data_dir="/elsewhere", ray_address="", dashboard=None)
        with servers.announced(other):
            result = rlvr("ask", "Why?", "--data-dir", "own", code=3)
            assert f"no server over {here}/own runs" in result.stderr
            assert "No server is running" in rlvr("ingest", owls(), "--data-dir", "own").stderr
        with Client(stage.url) as client:
            assert "owls.md" not in [each.source for each in client.documents()]

    def test_a_port_alone_will_do(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.undo()
        port = stage.url.rpartition(":")[2]
        for command in (["status"], ["documents"], ["ask", "Why?"]):
            rlvr(*command, "--port", port)


class TestWithout:
    def test_listed_and_deleted(self, here: Path) -> None:
        said = rlvr("ingest", owls(), owls("docs/more.md")).stderr
        assert f"writing to {here}/data/qdrant directly, a new store." in said
        assert "new store" not in rlvr("ingest", "owls.md").stderr
        result = rlvr("documents", "--json")
        assert f"No server is running: using {here}/data/qdrant." in result.stderr
        assert [each["source"] for each in json.loads(result.stdout)] == ["docs/more.md", "owls.md"]
        # By whatever path the file is reached.
        assert "docs/more.md" in rlvr("documents", "delete", f"{here}/docs/../docs/more.md").stdout
        rlvr("documents", "delete", "owls.md")
        assert rlvr("documents").stdout == "no documents; rlvr ingest PATH… adds some\n"

    def test_looking_makes_no_store(self, here: Path) -> None:
        result = rlvr("documents", code=1)
        assert "there is no store" in result.stderr
        assert list(here.iterdir()) == []

    def test_what_is_not_there_deletes_nothing(self) -> None:
        rlvr("ingest", owls())
        result = rlvr("documents", "delete", "owls.md", "owl.md", code=1)
        assert "there is no document owl.md; did you mean owls.md?" in result.stderr
        assert "xyz; rlvr documents lists them" in rlvr("documents", "delete", "xyz", code=1).stderr
        assert len(json.loads(rlvr("documents", "--json").stdout)) == 1

    def test_options_stand_behind_the_command_that_they_are_for(self) -> None:
        assert "behind delete" in rlvr("documents", "--json", "delete", "x", code=2).stderr


class TestFolders:
    def test_what_is_skipped_is_said(self) -> None:
        for name in ("docs/a.md", "docs/b.png", "docs/README", "docs/.hidden.md", "docs/.git/c.md"):
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_text("text")
        Path("docs/gone.md").symlink_to("nowhere.md")
        Path("docs/up").symlink_to("..")
        for number in range(20):
            Path(f"docs/{number:02}.csv").touch()
        said = rlvr("ingest", "docs", "docs/a.md").stderr.splitlines()
        assert said[:4] == [
            "Skipped 2 (hidden): docs/.git, docs/.hidden.md",
            "Skipped 1 (link to a folder): docs/up",
            "Skipped 22 (another kind of file): docs/00.csv, docs/01.csv, docs/02.csv, "
            "docs/03.csv, docs/04.csv, docs/05.csv, docs/06.csv, docs/07.csv and 14 more",
            "Skipped 1 (not a file): docs/gone.md",
        ]

    def test_it_says_how_far_it_is_where_no_terminal_is(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(terminal, "LINE_S", 0.0)
        said = rlvr("ingest", owls(), owls("docs/more.md")).stderr
        for line in ("Reading owls.md (1 of 2) …", "Embedding docs/more.md (2 of 2) …"):
            assert line in said.splitlines()

    def test_and_nothing_where_it_is_quick(self) -> None:
        said = rlvr("ingest", owls()).stderr
        assert len(said.splitlines()) == 1, said
