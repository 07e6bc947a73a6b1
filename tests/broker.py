"""A real RabbitMQ for the test run: one node of its own, on loopback, that tests may mistreat.

The server is the one that is installed, or else Debian's packages, unpacked into the user's cache
and never installed.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import psutil

HOST = "127.0.0.1"
MISSING = """there is no RabbitMQ for the tests, and Debian's packages could not be unpacked either.
Install it (apt-get install rabbitmq-server), or run where apt-get reaches its package mirror.
{}"""
CONFIG = """listeners.tcp.local = 127.0.0.1:{port}
log.console = false
vm_memory_high_watermark.absolute = 512MB
disk_free_limit.absolute = 50MB
raft.wal_max_size_bytes = 4194304
"""
DISK_ALARM = "rabbit_alarm:{}_alarm({}), rabbit_alarm:get_alarms()."  # the call waits for the cast

#: Processes are asked to die with the thread that forked them: this one ends with the interpreter,
#: where one of an event loop's threads would take the broker along when its test ends.
_parent = ThreadPoolExecutor(1, "broker-parent")


def cache_folder() -> Path:
    """Where an unpacked server is kept from run to run."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rlvr_ray"


def find_server(cache: Path) -> tuple[Path, dict[str, str]]:
    """The folder of the server's own scripts, and the environment they need.

    A distribution's wrappers around these scripts want to be root, or the user rabbitmq.
    """
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/lib/rabbitmq/bin"
    on_path = shutil.which("rabbitmq-server", path=path)
    installed = sorted(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin"))
    if on_path and shutil.which("erl", path=path):
        return [Path(on_path).resolve().parent, *installed][-1], {"PATH": path}
    root = next(iter(sorted(cache.glob("rabbitmq-*"), reverse=True)), None) or unpack(cache)
    scripts = next(root.glob("usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin"))
    libraries = [str(p) for p in root.glob("**/lib/*-linux-gnu*")]
    path = f"{root}/usr/lib/erlang/bin:{path}"
    return scripts, {"PATH": path, "LD_LIBRARY_PATH": ":".join(libraries)}


def unpack(cache: Path) -> Path:
    """Fetch Debian's packages and unpack them; whoever is first puts the folder in place."""
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix="unpacking-") as temporary:
        folder = Path(temporary)
        own = [f"-oDir::State::lists={folder}/lists", f"-oDir::Cache={folder}/cache"]
        (folder / "lists/partial").mkdir(parents=True)
        (folder / "cache").mkdir()
        try:
            try:
                _download(folder, own[1:])
            except RuntimeError:  # apt's lists are empty or old; fresh ones of ours need no root
                _run(folder, "apt-get", *own, "update")
                _download(folder, own)
            for package in folder.glob("*.deb"):
                _run(folder, "dpkg", "-x", package.name, "root")
        except (OSError, RuntimeError, subprocess.TimeoutExpired) as error:
            raise RuntimeError(MISSING.format(error)) from error
        _relocate(folder / "root")
        version = next(folder.glob("rabbitmq-server_*.deb")).name.split("_")[1]
        target = cache / f"rabbitmq-{version}"
        try:
            (folder / "root").rename(target)
        except OSError:
            if not target.is_dir():  # otherwise another run was faster
                raise
        return target


def _download(folder: Path, options: list[str]) -> None:
    """All of Erlang that the server needs, and the libraries that this machine lacks."""
    install = ["apt-get", *options, "-s", "--no-install-recommends", "install", "rabbitmq-server"]
    new = r"^Inst (\S+) \("  # where a version stands before the bracket, it is an upgrade
    # As if nothing were installed: half an Erlang here and half there would not start.
    every = re.findall(new, _run(folder, *install, "-oDir::State::status=/dev/null"), re.M)
    here = re.findall(new, _run(folder, *install), re.M)
    names = [n for n in every if n.startswith(("erlang-", "rabbitmq-server"))]
    names += [n for n in here if n.startswith("lib")]
    unpriv = "-oAPT::Sandbox::User=" + ("root" if os.geteuid() == 0 else "")
    _run(folder, "apt-get", *options, unpriv, "-oAcquire::Retries=2", "download", *names)


def _relocate(root: Path) -> None:
    """Let Erlang find itself where it now is, and leave out plugins, which slow the start."""
    erlang = root / "usr/lib/erlang"
    for script, up in [(erlang / "bin/erl", ".."), *((e, "../..") for e in erlang.glob("e*/*/erl"))]:
        there = f'ROOTDIR="$(readlink -f "$(dirname "$0")/{up}")"'
        script.write_text(re.sub('ROOTDIR="?/usr/lib/erlang"?', lambda _: there, script.read_text()))
    for plugin in root.glob("usr/lib/rabbitmq/lib/*/plugins/rabbitmq_*"):
        if not plugin.name.startswith("rabbitmq_prelaunch"):
            shutil.rmtree(plugin) if plugin.is_dir() else plugin.unlink()


def _run(folder: Path, *command: str, env: dict[str, str] | None = None, limit: float = 180) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        env=env or os.environ | {"LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=limit,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{command}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout
