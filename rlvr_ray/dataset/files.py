"""The dataset files: JSONL that grows by whole lines, and sealed Parquet parts."""

import contextlib
import hashlib
import json
import os
from collections.abc import Container, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.fs import FileSelector, FileSystem, LocalFileSystem, SubTreeFileSystem

from rlvr_ray.core import codec
from rlvr_ray.core.errors import ConfigError, LedgerError, Unavailable
from rlvr_ray.dataset.arrow import SCHEMAS, table
from rlvr_ray.dataset.rows import Row


class Dataset:
    """JSONL under one folder, and Parquet parts there or at a URI. Blocking; paths are relative.

    Raises ConfigError for a URI that cannot be used, Unavailable where a write fails: what was
    there before is then still there.
    """

    def __init__(self, folder: Path, parts_uri: str | None = None) -> None:
        self._folder = folder
        self._uri = parts_uri or folder.absolute().as_uri()

    @cached_property
    def _parts(self) -> SubTreeFileSystem:
        """Looked up when it is needed: JSONL must go on where a distant store is away."""
        return _target(self._uri)

    @cached_property
    def _disk(self) -> Path | None:
        """Where parts lie on a disk of this machine; None elsewhere."""
        local = isinstance(self._parts.base_fs, LocalFileSystem)
        return Path(self._parts.base_path) if local else None

    def open(self) -> None:
        """Raise ConfigError where parts cannot be put at their URI, Unavailable where not now."""
        try:
            _ = self._parts
        except Unavailable as error:
            if urlsplit(self._uri).scheme in ("", "file"):
                raise ConfigError(str(error)) from None
            raise

    def jsonl_path(self, dataset: str, month: str) -> str:
        """``month`` is YYYYMM."""
        return f"{dataset}/{dataset}_{month}.jsonl"

    def part_path(self, dataset: str, month: str, first_seq: int, last_seq: int) -> str:
        """Named by the outcomes that it covers, so that names sort and never clash."""
        return f"{dataset}/parquet/{dataset}_{month}_{first_seq:012d}-{last_seq:012d}.parquet"

    @staticmethod
    def lines(rows: Iterable[Row]) -> bytes:
        """Rows as they lie in a JSONL file, one line each."""
        return b"".join(_line(row) for row in rows)

    def append(self, path: str, rows: Sequence[Row], offset: int) -> int:
        """Write rows at ``offset``, cutting what lies behind it; return the new, durable length.

        A reader that looks meanwhile may find the last line unfinished, since a file's length grows
        page by page. Renaming a whole new file would copy the month's rows for each append.

        Raises LedgerError where the file is shorter than that: it must be mended first.
        """
        data = self.lines(rows)
        file = self._folder / path
        with _writing(path):
            file.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT, 0o644)
            try:
                if os.fstat(descriptor).st_size < offset:
                    raise LedgerError(f"{path} is shorter than the {offset:,} bytes on record")
                os.ftruncate(descriptor, offset)
                os.lseek(descriptor, offset, os.SEEK_SET)
                try:
                    view = memoryview(data)
                    while view:
                        view = view[os.write(descriptor, view) :]
                    os.fsync(descriptor)
                except OSError:
                    os.ftruncate(descriptor, offset)  # no half line stays
                    raise
            finally:
                os.close(descriptor)
            if offset == 0:
                _fsync(file.parent)
        return offset + len(data)

    def size(self, path: str) -> int:
        """A JSONL file's length; 0 where there is none."""
        file = self._folder / path
        return file.stat().st_size if file.is_file() else 0

    def cut(self, path: str, length: int) -> None:
        """Cut what lies behind ``length`` bytes of a JSONL file."""
        if self.size(path) > length:
            os.truncate(self._folder / path, length)

    def digest(self, path: str, end: int, start: int = 0) -> str | None:
        """SHA-256 of a JSONL file's bytes from start to end; None where it has fewer."""
        if self.size(path) < end:
            return None
        digest = hashlib.sha256()
        if start < end:
            with (self._folder / path).open("rb") as stream:
                stream.seek(start)
                while start < end and (block := stream.read(min(end - start, 2**20))):
                    digest.update(block)
                    start += len(block)
        return digest.hexdigest()

    def stray(self, known: Container[str]) -> list[str]:
        """JSONL files and local parts that lie among the dataset's files and are not of it."""
        found = [
            *self._folder.glob("*_data/*.jsonl"),
            *(self._disk.glob("*_data/parquet/*.parquet") if self._disk else ()),
        ]
        roots = [root for root in (self._folder, self._disk) if root]
        names = {
            file.relative_to(root).as_posix()
            for file in found
            for root in roots
            if file.is_relative_to(root)
        }
        return sorted(name for name in names if name not in known)

    def parts(self) -> set[str]:
        """Paths of the parts that lie there."""
        paths: set[str] = set()
        with _writing("the Parquet parts", "listed"):
            for name in SCHEMAS:
                selector = FileSelector(f"{name}/parquet", allow_not_found=True, recursive=True)
                paths |= {info.path for info in self._parts.get_file_info(selector) if info.is_file}
        return paths

    def write_part(self, dataset: str, path: str, rows: Sequence[Row]) -> str:
        """Make a Parquet part appear whole, and return its SHA-256."""
        made = table(dataset, rows)
        sink = pa.BufferOutputStream()
        pq.write_table(made, sink, compression="zstd")
        data = sink.getvalue()
        folder, temporary = path.rpartition("/")[0], f"{path}.tmp"
        with _writing(path):
            self._parts.create_dir(folder)
            with self._parts.open_output_stream(temporary) as stream:
                stream.write(data)
            if self._disk:
                _fsync(self._disk / temporary)
            self._parts.move(temporary, path)
            if self._disk:
                _fsync(self._disk / folder)
        return hashlib.sha256(data).hexdigest()

    def part_holds(self, dataset: str, path: str, rows: Sequence[Row]) -> bool:
        """Whether a part has just these rows, in this order."""
        with _writing(path, "read"):
            found = pq.read_table(path, filesystem=self._parts, schema=SCHEMAS[dataset])
        return bool(found.equals(table(dataset, rows)))

    def part_digest(self, path: str) -> str | None:
        """SHA-256 of a part; None where there is none."""
        with _writing(path, "read"):
            if not self._parts.get_file_info(path).is_file:
                return None
            with self._parts.open_input_file(path) as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest()


def _line(row: Row) -> bytes:
    return codec.line(json.dumps(row, ensure_ascii=False, allow_nan=False, separators=(",", ":")))


def _fsync(path: Path) -> None:
    """Of a file, or of a folder's entries."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _target(uri: str) -> SubTreeFileSystem:
    shown = urlsplit(uri)._replace(netloc=urlsplit(uri).hostname or "", query="").geturl()
    try:
        filesystem, base = FileSystem.from_uri(uri)
    except (pa.ArrowException, ValueError) as error:
        why = str(error).replace(uri, shown)
        raise ConfigError(f"dataset.parquet_uri {shown} cannot be used: {why}") from None
    except OSError as error:
        raise Unavailable(f"{shown} is out of reach: {str(error).replace(uri, shown)}") from None
    try:
        filesystem.create_dir(base)
    except (OSError, pa.ArrowException) as error:
        raise Unavailable(f"dataset.parquet_uri {shown} cannot be written: {error}") from None
    return SubTreeFileSystem(base, filesystem)


@contextlib.contextmanager
def _writing(path: str, verb: str = "written") -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise Unavailable(f"{path} cannot be {verb}: {error}") from error
