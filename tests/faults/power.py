"""A disk that forgets: at the loss of power only what was synced is sure to be there.

What was not may be gone, or there in part, or there in length only. A new, renamed or deleted name
is sure once its folder was synced; the data folder's own name, and the lock, are taken as sure.
"""

import logging
import os
import random
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NoReturn, TypeVar

import apsw

from tests.faults.disk import Half, Kind, die, file_name, interpose

log = logging.getLogger(__name__)
T = TypeVar("T")

#: What becomes of what was not synced: all of it is gone; files keep their length and their names
#: and are filled with zeros; or chance decides.
Survives = Literal["nothing", "zeros", "something"]


@dataclass(slots=True)
class _Database:
    """One of SQLite's files, whose durable content is that of the real file."""

    content: bytearray
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)  #: None truncates

    def write(self, offset: int, data: bytes) -> None:
        if offset > len(self.content):
            self.content += bytes(offset - len(self.content))
        self.content[offset : offset + len(data)] = data
        self.pending.append((offset, data))

    def truncate(self, size: int) -> None:
        del self.content[size:]
        self.pending.append((size, None))


class Forgetting:
    """The disk of one child. ``at`` is the operation that finds the power gone.

    ``deaf`` names the endings of files whose fsync does nothing, as on a disk that lies.
    """

    def __init__(
        self, folder: Path, seed: object, at: int, survives: Survives, deaf: tuple[str, ...] = ()
    ) -> None:
        self._folder = folder.absolute()
        self._chance = random.Random(repr(seed))
        self._left = at
        self._survives = survives
        self._deaf = deaf
        self._lost = False
        self.lock = threading.RLock()
        self._databases: dict[str, _Database] = {}
        #: Files written to, with what of them is durable.
        self._synced: dict[str, bytes] = {}
        #: How to take back what happened to the names in each folder since it was synced.
        self._changes: dict[str, list[Callable[[], object]]] = {}

    def step(self) -> None:
        """Before each operation, with the lock held."""
        self._left -= 1
        if not self._left:
            self.lose()

    # Data files: what is written is in the real file at once, and what is synced is noted here.

    def around(
        self,
        kind: Kind,
        file: str,
        do: Callable[[], T],
        *,
        half: Half | None = None,
        to: str | None = None,
    ) -> T:
        if kind == "commit":
            return do()
        with self.lock:
            if self._lost:  # it is ``lose`` itself that asks
                return do()
            self.step()
            if kind == "sync" and file.endswith(self._deaf):
                return do()
            if kind == "sync":
                self._sync(file)
            elif kind in ("write", "truncate"):
                self._touch(file)
            there = (self._folder / file).exists()
            replaced = _content(self._folder / to) if to else None
            done = do()
            if to:
                self._rename(file, to, replaced)
            elif not there:  # it has been made
                self._touch(file, durable=b"")
                self._changed(file, lambda: _remove(self._folder / file))
            return done

    def _sync(self, file: str) -> None:
        path = self._folder / file
        if path.is_dir():
            self._changes.pop(file, None)
        else:
            self._synced[file] = path.read_bytes()

    def _touch(self, file: str, durable: bytes | None = None) -> None:
        path = self._folder / file
        if file not in self._synced and not path.is_dir():
            self._synced[file] = path.read_bytes() if durable is None else durable

    def _rename(self, old: str, new: str, replaced: bytes | None) -> None:
        if old in self._synced:
            self._synced[new] = self._synced.pop(old)

        def undo() -> None:
            (self._folder / new).rename(self._folder / old)
            if replaced is not None:
                (self._folder / new).write_bytes(replaced)

        self._changed(new, undo)

    def _changed(self, file: str, undo: Callable[[], object]) -> None:
        parent = str(Path(file).parent)
        if file not in (".", "ledger.lock"):
            self._changes.setdefault(parent, []).append(undo)

    # SQLite's files: what is written stays in memory until it is synced.

    def database(self, path: str) -> _Database:
        """The file, the same for all connections."""
        with self.lock:
            if path not in self._databases:
                self._databases[path] = _Database(bytearray(Path(path).read_bytes()))
            return self._databases[path]

    def deleted(self, path: str) -> None:
        self._databases.pop(path, None)

    def holds(self, path: str) -> bool:
        """Whether such a file is there and not empty."""
        return path in self._databases and bool(self._databases[path].content)

    # The end.

    def lose(self) -> NoReturn:
        """The power is gone. Does not return, and lets nobody write any more."""
        self.lock.acquire()
        self._lost = True
        try:
            self._forget()
        except BaseException:
            log.exception("the power cannot be lost")
            os._exit(1)
        die()

    def _forget(self) -> None:
        for file, synced in self._synced.items():
            path = self._folder / file
            if path.is_file() and (content := path.read_bytes()) != synced:
                path.write_bytes(self._left_of(content, synced))
        inner_first = sorted(self._changes, key=lambda name: -len(Path(name).parts))
        for changes in [self._changes[name] for name in inner_first]:
            sure = {"nothing": 0, "zeros": len(changes)}.get(
                self._survives, self._chance.randint(0, len(changes))
            )
            for undo in reversed(changes[sure:]):
                undo()
        for name, database in self._databases.items():
            self._write_some(Path(name), database)

    def _left_of(self, content: bytes, synced: bytes) -> bytes:
        how = self._survives
        if how == "something":
            how = self._chance.choice(("nothing", "zeros", "something"))
        if how == "nothing":
            return synced
        same = _in_common(content, synced)
        if how == "zeros":
            return content[:same] + bytes(len(content) - same)
        return content[: self._chance.randint(same, len(content))]

    def _write_some(self, path: Path, database: _Database) -> None:
        """Any of the pending writes may have come to the disk, in any order, or half of one."""
        if self._survives != "something" or not path.is_file():
            return
        share = self._chance.choice((0, 0.5, 0.9, 1))
        with path.open("r+b") as file:
            for offset, data in database.pending:
                if self._chance.random() >= share:
                    continue
                if data is None:
                    file.truncate(offset)
                    continue
                cut = self._chance.random() < 0.1
                file.seek(offset)
                file.write(data[: self._chance.randrange(len(data))] if cut else data)


def _in_common(one: bytes, other: bytes) -> int:
    """How many first bytes are the same."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((n for n, (a, b) in pairs if a != b), min(len(one), len(other)))


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


class _Vfs(apsw.VFS):
    def __init__(self, disk: Forgetting) -> None:
        super().__init__("forgetting", "unix", makedefault=True)
        self._disk = disk

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        if name is None:
            return super().xOpen(name, flags)
        return _VfsFile(name, flags, self._disk)

    def xAccess(self, pathname: str, flags: int) -> bool:
        if flags == apsw.SQLITE_ACCESS_EXISTS and self._disk.holds(pathname):
            return True
        return super().xAccess(pathname, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        with self._disk.lock:
            self._disk.step()
            super().xDelete(filename, syncdir)
            self._disk.deleted(filename)


class _VfsFile(apsw.VFSFile):
    """Locks and the shared memory are those of the real file."""

    def __init__(self, name: str | apsw.URIFilename, flags: list[int], disk: Forgetting) -> None:
        super().__init__("unix", name, flags)
        self._disk = disk
        self._file = disk.database(file_name(name))

    def xRead(self, amount: int, offset: int) -> bytes:
        with self._disk.lock:
            return bytes(self._file.content[offset : offset + amount])

    def xFileSize(self) -> int:
        with self._disk.lock:
            return len(self._file.content)

    def xWrite(self, data: bytes, offset: int) -> None:
        with self._disk.lock:
            self._disk.step()
            self._file.write(offset, bytes(data))

    def xTruncate(self, newsize: int) -> None:
        with self._disk.lock:
            self._disk.step()
            self._file.truncate(newsize)

    def xSync(self, flags: int) -> None:
        with self._disk.lock:
            self._disk.step()
            for offset, data in self._file.pending:
                if data is None:
                    super().xTruncate(offset)
                else:
                    super().xWrite(data, offset)
            self._file.pending.clear()


_disk: Forgetting | None = None
_vfs: _Vfs | None = None


def forget(
    folder: Path, seed: object, at: int, survives: Survives, deaf: tuple[str, ...] = ()
) -> Callable[[], object]:
    """Give this process, a child, such a disk; returns what takes the power from it."""
    global _disk, _vfs  # noqa: PLW0603 - SQLite knows them by address, ``lose_power`` by name
    _disk = Forgetting(folder, seed, at, survives, deaf)
    _vfs = _Vfs(_disk)
    interpose(folder, _disk, sqlite=False)
    return _disk.lose


def lose_power() -> None:
    """In such a child: now."""
    assert _disk is not None
    _disk.lose()
