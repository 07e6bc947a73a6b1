"""The disk as a child's process sees it, with somebody who has a say in every operation on it.

What rlvr_ray writes with is replaced in the child: ``os``'s functions, Arrow's file system,
SQLite's VFS. Operations on files elsewhere go their way unseen.
"""

import contextlib
import json
import os
import re
import signal
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn, Protocol, TypeVar

import apsw
import pyarrow as pa

from rlvr_ray.dataset import files
from rlvr_ray.dataset.ledger import Ledger

T = TypeVar("T")

Kind = Literal["create", "write", "sync", "truncate", "rename", "delete", "folder", "commit"]
Half = Callable[[], object]


class Policy(Protocol):
    """Who has a say."""

    def around(
        self,
        kind: Kind,
        file: str,
        do: Callable[[], T],
        *,
        half: Half | None = None,
        to: str | None = None,
    ) -> T:
        """Do it, or something else; ``half`` does half of it, where that can be.

        ``file`` is its path in the data folder, ``to`` the one that it is renamed to.
        """
        ...


def interpose(folder: Path, policy: Policy, *, sqlite: bool = True) -> None:
    """Give the policy a say; in this process there is no way back."""
    folder = folder.absolute()
    names = _Names(folder)
    _interpose_os(names, policy)
    _interpose_arrow(policy)
    commit = Ledger.commit

    def committing(self: Ledger, operations: Any) -> list[Any]:
        return policy.around("commit", "ledger", lambda: commit(self, operations))

    Ledger.commit = committing  # type: ignore[method-assign]
    if sqlite:
        _Sqlite(names, policy)


class _Names:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def of(self, path: Any) -> str | None:
        """A path's name in the data folder; None for others."""
        if isinstance(path, int):
            path = Path(f"/proc/self/fd/{path}").readlink()
        path = Path(path).absolute()
        return str(path.relative_to(self._folder)) if path.is_relative_to(self._folder) else None


def _interpose_os(names: _Names, policy: Policy) -> None:
    open_, mkdir = os.open, os.mkdir
    rest: dict[str, Kind] = {
        "fsync": "sync",
        "fdatasync": "sync",
        "ftruncate": "truncate",
        "truncate": "truncate",
        "rename": "rename",
        "replace": "rename",
        "unlink": "delete",
        "remove": "delete",
    }

    def watched(function: Callable[..., Any], kind: Kind) -> Callable[..., Any]:
        def call(subject: Any, *arguments: Any, **named: Any) -> Any:
            name = names.of(subject)
            if name is None:
                return function(subject, *arguments, **named)
            to = names.of(arguments[0]) if kind == "rename" else None
            return policy.around(kind, name, lambda: function(subject, *arguments, **named), to=to)

        return call

    for function, kind in rest.items():
        setattr(os, function, watched(getattr(os, function), kind))
    os.mkdir = watched(mkdir, "folder")

    def opening(path: Any, flags: int, *arguments: Any, **named: Any) -> int:
        def do() -> int:
            return open_(path, flags, *arguments, **named)

        name = names.of(path) if flags & os.O_CREAT else None
        if name is None or Path(path).exists():
            return do()
        return policy.around("create", name, do)

    os.open = opening
    write = os.write

    def writing(descriptor: int, data: Any) -> int:
        name = names.of(descriptor)
        if name is None:
            return write(descriptor, data)
        half = memoryview(data)[: len(data) // 2]
        return policy.around(
            "write",
            name,
            lambda: write(descriptor, data),
            half=lambda: write(descriptor, half),
        )

    os.write = writing


def _interpose_arrow(policy: Policy) -> None:
    target = files._target

    def watched(uri: str) -> Any:
        return _Parts(target(uri), policy)

    files._target = watched


class _Parts:
    """Arrow's file system for the parts."""

    def __init__(self, inner: Any, policy: Policy) -> None:
        self._inner = inner
        self._policy = policy

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def create_dir(self, path: str) -> None:
        self._policy.around("folder", path, lambda: self._inner.create_dir(path))

    def open_output_stream(self, path: str) -> "_Stream":
        inner = self._policy.around("create", path, lambda: self._inner.open_output_stream(path))
        return _Stream(inner, path, self._policy)

    def move(self, old: str, new: str) -> None:
        self._policy.around("rename", old, lambda: self._inner.move(old, new), to=new)


class _Stream:
    def __init__(self, inner: Any, name: str, policy: Policy) -> None:
        self._inner = inner
        self._name = name
        self._policy = policy

    def __enter__(self) -> "_Stream":
        return self

    def __exit__(self, *_: object) -> None:
        self._inner.close()

    def write(self, data: pa.Buffer) -> None:
        half = data.slice(0, data.size // 2)
        self._policy.around(
            "write",
            self._name,
            lambda: self._inner.write(data),
            half=lambda: self._inner.write(half),
        )


class _Sqlite(apsw.VFS):
    """SQLite's files, those of readers included."""

    def __init__(self, names: _Names, policy: Policy) -> None:
        super().__init__("watched", "unix", makedefault=True)
        self._names = names
        self._policy = policy
        _KEPT.append(self)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        return _SqliteFile(name, flags, self._names, self._policy)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        delete = super().xDelete
        self._policy.around(
            "delete", self._names.of(filename) or "?", lambda: delete(filename, syncdir)
        )


class _SqliteFile(apsw.VFSFile):
    def __init__(
        self,
        name: str | apsw.URIFilename | None,
        flags: list[int],
        names: _Names,
        policy: Policy,
    ) -> None:
        self._name = (names.of(file_name(name)) if name else None) or "temporary"
        self._policy = policy
        super().__init__("unix", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        write, half = super().xWrite, data[: len(data) // 2]
        self._policy.around(
            "write", self._name, lambda: write(data, offset), half=lambda: write(half, offset)
        )

    def xSync(self, flags: int) -> None:
        sync = super().xSync
        self._policy.around("sync", self._name, lambda: sync(flags))

    def xTruncate(self, newsize: int) -> None:
        truncate = super().xTruncate
        self._policy.around("truncate", self._name, lambda: truncate(newsize))


#: SQLite knows them by address.
_KEPT: list[apsw.VFS] = []


def file_name(name: str | apsw.URIFilename) -> str:
    return name if isinstance(name, str) else name.filename()


# Policies.


@dataclass(frozen=True, slots=True)
class Point:
    """A moment of a run: the ``nth`` operation of its kind on a file, counted from 1."""

    kind: Kind
    file: str
    nth: int


class _Counting:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[tuple[Kind, str]] = Counter()

    def point(self, kind: Kind, file: str) -> Point:
        file = re.sub(r"_\d{6}(?=[_.])", "_YYYYMM", file)  # the next run may be in the next month
        with self._lock:
            self._counts[kind, file] += 1
            return Point(kind, file, self._counts[kind, file])


class Listing(_Counting):
    """Writes down what is done, in order, one line each."""

    def __init__(self, log: Path) -> None:
        super().__init__()
        self._log = log.open("a", buffering=1)

    def around(
        self,
        kind: Kind,
        file: str,
        do: Callable[[], T],
        *,
        half: Half | None = None,
        to: str | None = None,
    ) -> T:
        point = self.point(kind, file)
        self.note(point.kind, point.file, point.nth, half is not None)
        return do()

    def note(self, *what: object) -> None:
        self._log.write(json.dumps(what) + "\n")


Mode = Literal["before", "torn", "after"]


class Killing(_Counting):
    """SIGKILL before, halfway through, or after one operation."""

    def __init__(self, at: Point, mode: Mode) -> None:
        super().__init__()
        self._at = at
        self._mode = mode

    def around(
        self,
        kind: Kind,
        file: str,
        do: Callable[[], T],
        *,
        half: Half | None = None,
        to: str | None = None,
    ) -> T:
        if self.point(kind, file) == self._at:
            with contextlib.suppress(OSError):  # such as that the folder is there
                if self._mode == "torn":
                    assert half is not None
                    half()
                elif self._mode == "after":
                    do()
            die()
        return do()


def die() -> NoReturn:
    """SIGKILL, from within."""
    while True:  # it may take a moment
        os.kill(os.getpid(), signal.SIGKILL)


def list_operations(folder: Path, log: Path) -> None:
    """Interpose a Listing; for a child."""
    interpose(folder, Listing(log))


def kill_at(folder: Path, at: Point, mode: Mode) -> None:
    """Interpose a Killing; for a child."""
    interpose(folder, Killing(at, mode))
