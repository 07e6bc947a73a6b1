"""How commands find the servers that run: their files, and which one is meant."""

import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from rlvr_ray.client import servers
from rlvr_ray.client.servers import Server
from rlvr_ray.core.errors import ConfigError
from rlvr_ray.settings import load


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def server(port: int, folder: str = "/there/data", pid: int = 0) -> Server:
    return Server(
        pid=pid or port,
        url=f"http://127.0.0.1:{port}",
        data_dir=folder,
        ray_address=f"10.0.0.1:{port + 1}",
        dashboard=None,
    )


@pytest.fixture
def run() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


class TestAnnounced:
    def test_for_as_long_as_the_block_runs(self) -> None:
        with servers.announced(server(8123)):
            with servers.announced(server(8124)):
                assert servers.running() == [server(8123), server(8124)]
            assert servers.running() == [server(8123)]
        assert servers.running() == []
        assert list(servers.folder().iterdir()) == []

    def test_only_its_user_reads_it(self, run: ExitStack) -> None:
        run.enter_context(servers.announced(server(8123)))
        (path,) = servers.folder().iterdir()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700

    def test_one_that_was_killed_is_forgotten(self) -> None:
        code = (
            "import signal\n"
            "from rlvr_ray.client import servers\n"
            "with servers.announced(servers.Server(pid=7, url='http://h:1', data_dir='/d',"
            " ray_address='h:2', dashboard=None)):\n"
            "    print('up', flush=True)\n"
            "    signal.pause()\n"
        )
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert process.stdout and process.stdout.readline() == "up\n"
        assert [each.pid for each in servers.running()] == [7]
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        assert len(list(servers.folder().iterdir())) == 1, "nobody has looked yet"
        assert servers.running() == []
        assert list(servers.folder().iterdir()) == []

    @pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"pid": 1}', '{"x": 1}', "\xff"])
    def test_a_file_that_says_nothing_is_no_server(self, text: str, run: ExitStack) -> None:
        run.enter_context(servers.announced(server(8123)))
        run.enter_context(servers.hold(servers.folder() / "1.json", text))
        assert servers.running() == [server(8123)]

    @pytest.mark.parametrize("state", ["/proc/none", "/dev/null"])
    def test_where_there_is_no_room_for_files_it_serves_all_the_same(
        self, state: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setenv("XDG_STATE_HOME", state)
        with caplog.at_level("WARNING"), servers.announced(server(8123)):
            assert servers.running() == []
        assert "need --url http://127.0.0.1:8123" in caplog.text


class TestWhichOne:
    def test_none(self) -> None:
        assert servers.find(load()) is None
        assert servers.address(load()) == "http://127.0.0.1:8000"
        assert servers.address(load(api={"port": 9000})) == "http://127.0.0.1:9000"
        assert servers.at_home(load()) == load()
        assert servers.joining(load()).ray_address is None

    def test_the_only_one(self, run: ExitStack) -> None:
        run.enter_context(servers.announced(server(8123)))
        assert servers.find(load()) == server(8123)
        assert servers.address(load()) == "http://127.0.0.1:8123"
        assert servers.at_home(load()).data_dir == Path("/there/data")
        assert servers.joining(load()).ray_address == "10.0.0.1:8124"

    def test_the_one_over_the_folder_here(self, run: ExitStack) -> None:
        own = server(8124, str(Path("data").absolute()))
        for each in (server(8123), own, server(8125, "/elsewhere")):
            run.enter_context(servers.announced(each))
        assert servers.find(load()) == own

    def test_of_several_one_must_be_named(self, run: ExitStack) -> None:
        for each in (server(8123), server(8124, "/elsewhere")):
            run.enter_context(servers.announced(each))
        for use in (servers.find, servers.address, servers.at_home, servers.joining):
            with pytest.raises(ConfigError, match=r"8123, data in .*8124, data in .*--data-dir"):
                use(load())
        assert servers.find(load(api={"port": 8124})) == server(8124, "/elsewhere")
        assert servers.find(load(data_dir="/there/data")) == server(8123)
        assert servers.find(load(data_dir="/there/../there/./data")) == server(8123)

    def test_a_name_means_no_other(self, run: ExitStack) -> None:
        run.enter_context(servers.announced(server(8123)))
        assert servers.find(load(api={"port": 9000})) is None
        assert servers.address(load(api={"port": 9000})) == "http://127.0.0.1:9000"
        assert servers.find(load(data_dir="/another")) is None
        assert servers.at_home(load(data_dir="/another")).data_dir == Path("/another")

    @pytest.mark.parametrize("how", ["RLVR_DATA_DIR", "RLVR_API__PORT"])
    def test_a_name_in_the_environment_is_one(
        self, how: str, run: ExitStack, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run.enter_context(servers.announced(server(8123)))
        monkeypatch.setenv(how, {"RLVR_DATA_DIR": "/another", "RLVR_API__PORT": "9000"}[how])
        assert servers.find(load()) is None

    def test_another_folders_server_is_not_asked(self, run: ExitStack) -> None:
        run.enter_context(servers.announced(server(8000)))
        assert servers.address(load(data_dir="/another")) is None
        assert servers.address(load(data_dir="/there/data")) == "http://127.0.0.1:8000"

    def test_a_ledger_here_comes_first(self, run: ExitStack) -> None:
        run.enter_context(servers.announced(server(8123)))
        Path("data").mkdir()
        Path("data/ledger.db").touch()
        assert servers.at_home(load()).data_dir == Path("data").absolute()

    @pytest.mark.parametrize("how", ["RLVR_RAY_ADDRESS", "RAY_ADDRESS"])
    def test_a_cluster_that_is_named_is_kept(
        self, how: str, run: ExitStack, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run.enter_context(servers.announced(server(8123)))
        monkeypatch.setenv(how, "10.9.9.9:1")
        expected = "10.9.9.9:1" if how == "RLVR_RAY_ADDRESS" else None
        assert servers.joining(load()).ray_address == expected


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("localhost", "http://localhost:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),
        ("::", "http://[::1]:8000"),
        ("::1", "http://[::1]:8000"),
        ("", "http://127.0.0.1:8000"),
        ("10.1.2.3", "http://10.1.2.3:8000"),
    ],
)
def test_the_url_of_a_host(host: str, url: str) -> None:
    assert load(api={"host": host, "key": "k"}).api.url == url


def test_whoever_may_not_look_takes_it_for_held(tmp_path: Path) -> None:
    held = servers.hold(tmp_path / "lock")
    assert servers.is_held(tmp_path / "lock")
    held.close()
    assert not servers.is_held(tmp_path / "lock")
    assert not servers.is_held(tmp_path / "none")
    assert servers.is_held(tmp_path), "a folder cannot be opened"
