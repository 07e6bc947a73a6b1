"""A real RabbitMQ for the test run: one node of its own, on loopback, that tests may mistreat.

The server is the one that is installed, or else Debian's packages, unpacked into the user's cache
and never installed.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self
from urllib.parse import quote
from uuid import uuid4

import psutil

from tests import debian

HOST = "127.0.0.1"
CONFIG = """listeners.tcp.local = {}:{}
log.console = false
vm_memory_high_watermark.absolute = 512MB
disk_free_limit.absolute = 50MB
raft.wal_max_size_bytes = 4194304
"""
ON_LOOPBACK = "-kernel inet_dist_use_interface {127,0,0,1}"
# Raising and clearing are casts; the call after them returns when they have been acted upon.
RAISE = "rabbit_alarm:set_alarm({{resource_limit, disk, node()}, []}), rabbit_alarm:get_alarms()."
CLEAR = "rabbit_alarm:clear_alarm({resource_limit, disk, node()}), rabbit_alarm:get_alarms()."

# Our processes die with the thread that forked them. This one lasts as long as the interpreter; a
# thread of an event loop's pool would take the broker along at the end of a test.
_parent = ThreadPoolExecutor(1, "broker-parent")


def find_server() -> tuple[Path, dict[str, str]]:
    """The folder of the server's inner scripts, and the environment that they need.

    The scripts that a distribution puts around these want to be root, or the user rabbitmq.
    """
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/lib/rabbitmq/bin"
    command = shutil.which("rabbitmq-server", path=path)
    if command and shutil.which("erl", path=path):
        inner = sorted(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin"))
        return [Path(command).resolve().parent, *inner][-1], {"PATH": path}
    # All of Erlang: it looks for its parts in one folder.
    root = debian.unpacked("rabbitmq-server", whole=("erlang-", "rabbitmq-"), finish=_mend)
    scripts = next(root.glob("usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin"))
    libraries = debian.environment(root)["LD_LIBRARY_PATH"]
    return scripts, {"PATH": f"{root}/usr/lib/erlang/bin:{path}", "LD_LIBRARY_PATH": libraries}


def _mend(root: Path) -> None:
    """Make it run from its folder, and start quickly."""
    for script in root.glob("usr/lib/erlang/**/bin/erl"):  # they have their folder built in
        erlang = os.path.relpath(root / "usr/lib/erlang", script.parent)
        home = f'ROOTDIR="$(readlink -f "$(dirname "$0")/{erlang}")"'
        script.write_text(re.sub('ROOTDIR="?/usr/lib/erlang"?', home, script.read_text()))
    for plugin in root.glob("usr/lib/rabbitmq/lib/*/plugins/rabbitmq_*"):
        # All but this one slow the start, even when they are off.
        if plugin.is_dir() and "prelaunch" not in plugin.name:
            shutil.rmtree(plugin)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE  # nobody may reap the server's orphans
    except psutil.NoSuchProcess:
        return False


class Broker:
    """A node with a folder, ports, a name and a cookie of its own, the same at every start."""

    def __init__(self, folder: Path, deadline: float = 60) -> None:
        self.folder = folder
        self.deadline = deadline  #: of every wait, in seconds
        self._paused = False
        self._children: list[subprocess.Popen[bytes]] = []  # epmd, then the server
        # Bound and never listening: these stay ours, and refuse, while the broker is down.
        held = [socket.socket() for _ in range(3)]
        for holder in held:
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            holder.bind((HOST, 0))
            weakref.finalize(self, holder.close)
        self.port, nodes, self._epmd_port = (holder.getsockname()[1] for holder in held)
        (folder / "rabbitmq.conf").write_text(CONFIG.format(HOST, self.port))
        (folder / "advanced.config").write_text("[].")
        self._scripts, found = find_server()
        self._env = found | {
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "ERL_EPMD_ADDRESS": HOST,
            "ERL_EPMD_PORT": str(self._epmd_port),
            "RABBITMQ_NODENAME": f"rabbit_{uuid4().hex[:8]}@localhost",
            "RABBITMQ_DIST_PORT": str(nodes),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder),  # crash dumps too
            "RABBITMQ_LOGS": str(folder / "broker.log"),
            "RABBITMQ_SCHEDULER_BIND_TYPE": "u",  # by default its one scheduler sticks to a core
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"{ON_LOOPBACK} +S 1:1 +SDcpu 1:1 +SDio 2 +A 2",
            "RABBITMQ_CTL_ERL_ARGS": ON_LOOPBACK,
            "RABBITMQ_CTL_DIST_PORT_MIN": "0",
            "RABBITMQ_CTL_DIST_PORT_MAX": "0",
            "RUNNING_UNDER_SYSTEMD": "true",  # the script becomes the server: its pid is ours
        }

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@{HOST}:{self.port}/"

    def start(self) -> None:
        """Start it, the first time or with the data that it left; it answers when this returns."""
        assert not self._children, "it has been started"
        try:
            # An epmd of the server's own would outlive it.
            self._spawn("epmd", "-relaxed_command_check", "-port", str(self._epmd_port))
            self._until(lambda: self._answers(self._epmd_port), "epmd did not start")
            self._spawn(str(self._scripts / "rabbitmq-server"))
            self._until(lambda: self._answers(self.port, b"AMQP\0\0\x09\x01"), "it did not start")
        except BaseException:
            self._end(self.processes())
            raise

    def stop(self) -> None:
        """Shut it down in good order; nothing happens if it is down."""
        processes = self.processes()
        try:
            if self._children:
                self.resume()
                self._children[-1].terminate()
                self._children[-1].wait(self.deadline)
        except subprocess.TimeoutExpired:
            raise self._failure("it did not stop") from None
        finally:
            self._end(processes)

    def kill(self) -> None:
        """SIGKILL, and wait until all is gone; what it wrote stays for the next start."""
        processes = self.processes()
        try:
            if not self._paused and self._children and self._children[-1].poll() is None:
                # Old ones write a new quorum queue down half a second late, and forget it with all
                # that was confirmed. Tests would meet that by chance, and it is not about them.
                self.ctl("eval", "[dets:sync(Table) || Table <- dets:all()].")
        finally:
            self._end(processes)

    def pause(self) -> None:
        """Freeze it: connections stay open, and nothing answers."""
        server = psutil.Process(self._children[-1].pid)
        server.suspend()
        self._paused = True
        self._until(lambda: server.status() == psutil.STATUS_STOPPED, "it did not pause")

    def resume(self) -> None:
        """Let it go on after a pause."""
        self._children[-1].send_signal(signal.SIGCONT)
        self._paused = False

    def block(self) -> None:
        """Raise the disk alarm: it takes no more from connections that publish."""
        self.ctl("eval", RAISE)

    def unblock(self) -> None:
        """Clear the alarm."""
        self.ctl("eval", CLEAR)

    def ctl(self, *arguments: str) -> str:
        """What rabbitmqctl prints, without headings."""
        command = str(self._scripts / "rabbitmqctl"), "--silent", *arguments
        try:
            return debian.run(self.folder, *command, env=self._env, timeout=self.deadline)
        except RuntimeError as error:
            raise self._failure(str(error)) from error

    def add_user(
        self, name: str, password: str, configure: str = ".*", write: str = ".*", read: str = ".*"
    ) -> str:
        """Add a user with these permissions; return the URL to connect with."""
        self.ctl("add_user", name, password)
        self.ctl("set_permissions", name, configure, write, read)
        return f"amqp://{quote(name, '')}:{quote(password, '')}@{HOST}:{self.port}/"

    def processes(self) -> list[psutil.Process]:
        """All that belongs to it: epmd, the server and the server's helpers."""
        own = [psutil.Process(child.pid) for child in self._children if child.poll() is None]
        return own + [below for process in own for below in process.children(recursive=True)]

    def _end(self, processes: list[psutil.Process]) -> None:
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        for child in self._children:
            child.wait(self.deadline)
        self._until(lambda: not any(_lives(process) for process in processes), "it did not end")
        self._children.clear()
        self._paused = False

    def _spawn(self, *command: str) -> None:
        with (self.folder / "output.log").open("ab") as log:
            started = _parent.submit(
                lambda: subprocess.Popen(
                    ["setpriv", "--pdeathsig", "KILL", *command],
                    cwd=self.folder,
                    env=self._env,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            )
            self._children.append(started.result())

    def _answers(self, port: int, greeting: bytes = b"") -> bool:
        """Whether a port is open, and greets back if it is greeted."""
        if self._children[-1].poll() is not None:
            raise self._failure("it ended while it started")
        try:
            with socket.create_connection((HOST, port), timeout=5) as connection:
                connection.sendall(greeting)
                return not greeting or connection.recv(1) == b"\x01"
        except OSError:
            return False

    def _until(self, condition: Callable[[], bool], failure: str) -> None:
        end = time.monotonic() + self.deadline
        while not condition():
            if time.monotonic() > end:
                raise self._failure(failure)
            time.sleep(0.02)

    def _failure(self, what: str) -> RuntimeError:
        logs = [p for name in ("output.log", "broker.log") if (p := self.folder / name).exists()]
        tails = [x for log in logs for x in log.read_text("utf-8", "replace").splitlines()[-60:]]
        return RuntimeError("\n".join([f"RabbitMQ: {what}", *tails]))
