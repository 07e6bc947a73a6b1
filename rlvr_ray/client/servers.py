"""The running servers of this user on this machine, and which of them a command means.

``rlvr serve`` keeps a small file while it runs, and holds a lock on it. A file without a lock
belongs to a killed server, and the next reader deletes it.
"""

import contextlib
import fcntl
import json
import logging
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from rlvr_ray.core.errors import ConfigError
from rlvr_ray.settings import Settings

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One that runs."""

    pid: int
    url: str
    data_dir: str
    ray_address: str  #: of its cluster, HOST:PORT
    dashboard: str | None  #: of Ray, a URL

    def __str__(self) -> str:
        return f"{self.url}, data in {self.data_dir}"

    def is_over(self, folder: Path) -> bool:
        """Whether this is its data folder, by whatever path."""
        return os.path.realpath(folder) == os.path.realpath(self.data_dir)


def folder() -> Path:
    """Where the files are: of this user, and of this machine where a home is shared."""
    state = os.environ.get("XDG_STATE_HOME")
    root = Path(state) if state else Path.home() / ".local" / "state"
    return root / "rlvr_ray" / "servers" / socket.gethostname()


@contextlib.contextmanager
def announced(server: Server) -> Iterator[None]:
    """For as long as the block runs, this user's commands find the server."""
    path = None
    try:
        place = folder()
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = place / f"{server.pid}.json"
        file = hold(path, json.dumps(asdict(server)))
    except (OSError, RuntimeError) as error:  # no home, or none to write to
        log.warning("other commands need --url %s: %s", server.url, error)
        yield
        return
    with file:
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def hold(path: Path, text: str = "") -> IO[str]:
    """Make a file for this user alone, locked until it is closed or this process ends."""
    # Locked before it has its name. The name keeps the lock, since it is the same file.
    file = tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=".", delete=False)  # noqa: SIM115
    fcntl.flock(file, fcntl.LOCK_EX)
    file.write(text)
    file.flush()
    Path(file.name).rename(path)
    return file


def is_held(path: Path) -> bool:
    """Whether a process holds the file; also where this user may not look."""
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return not isinstance(error, FileNotFoundError)
    return False


def running() -> list[Server]:
    """Those that run now, in the order of their URLs."""
    found = []
    with contextlib.suppress(OSError, RuntimeError):
        for path in folder().glob("*.json"):
            with contextlib.suppress(OSError, ValueError, TypeError):
                if is_held(path):
                    found.append(Server(**json.loads(path.read_text())))
                else:
                    path.unlink(missing_ok=True)
    return sorted(found, key=lambda server: server.url)


def find(settings: Settings) -> Server | None:
    """The server that the settings mean; None where none is known that they could.

    A port or a folder that somebody has set means the server that has it. Otherwise the one over
    the folder that is used here, or the only one there is. Raises ConfigError where several run
    and none of that tells which.
    """
    servers = running()
    if "port" in settings.api.model_fields_set:
        return next((each for each in servers if _same(each.url, settings.api.url)), None)
    of_folder = [each for each in servers if each.is_over(settings.data_dir)]
    if of_folder or "data_dir" in settings.model_fields_set:
        return next(iter(of_folder), None)
    if len(servers) > 1:
        raise ConfigError(
            "several servers run: " + "; ".join(map(str, servers)) + " (name one: --port, "
            "--url or --data-dir)"
        )
    return next(iter(servers), None)


def address(settings: Settings) -> str | None:
    """The URL of that server or, where none is known, the one that the settings have.

    None where a folder is named whose server does not run, and another one has that URL.
    """
    server = find(settings)
    if server is not None:
        return server.url
    taken = any(_same(each.url, settings.api.url) for each in running())
    return None if taken and "data_dir" in settings.model_fields_set else settings.api.url


def at_home(settings: Settings) -> Settings:
    """The settings, with the data folder of the server that runs where nobody has set one.

    A folder here that has a ledger comes first.
    """
    if "data_dir" in settings.model_fields_set or (settings.data_dir / "ledger.db").exists():
        return settings
    server = find(settings)
    if server is None:
        return settings
    return settings.model_copy(update={"data_dir": Path(server.data_dir)})


def joining(settings: Settings) -> Settings:
    """The settings, with the cluster of the server that runs where nobody has named one."""
    if settings.ray_address is not None or os.environ.get("RAY_ADDRESS"):
        return settings
    server = find(settings)
    if server is None:
        return settings
    return settings.model_copy(update={"ray_address": server.ray_address})


def _same(one: str, other: str) -> bool:
    """Whether two URLs are of one port here: a server may listen on every address."""
    return urlsplit(one).port == urlsplit(other).port


def _prefix() -> str:
    """What must stand before the names of our commands: nothing where a shell finds them."""
    own = Path(sys.executable).parent
    found = shutil.which("rlvr")
    return "" if found and Path(found).parent.samefile(own) else f"{own}/"


#: As the shell that began this process sees it: for Ray's jobs the PATH is changed later.
BIN = _prefix()
