"""The question files of a path or URI, and the format in their names."""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa
from pyarrow.fs import FileSelector, FileSystem, FileType, LocalFileSystem

from rlvr_ray.core.questions import Refusal, Refused

BUFFER = 2**16  #: bytes that are read at once
_SHOWN_CHARS = 200


class Format(StrEnum):
    """How questions stand in a file."""

    JSONL = "jsonl"  #: an object a line
    CSV = "csv"  #: with a header
    PARQUET = "parquet"
    TEXT = "text"  #: a question a line


SUFFIXES = {
    ".jsonl": Format.JSONL,
    ".ndjson": Format.JSONL,
    ".csv": Format.CSV,
    ".parquet": Format.PARQUET,
    ".txt": Format.TEXT,
}
_COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
_ADVICE = f"name it {', '.join(SUFFIXES)} (all but Parquet also with .gz or .zst)"


@dataclass(frozen=True, slots=True)
class QuestionFile:
    """A file of questions, and how to open it."""

    filesystem: FileSystem
    path: str
    source: str  #: for people: without secrets
    format: Format
    compression: str | None


def find(uri: str, format: Format | None) -> Iterator[QuestionFile | Refused]:
    """The files that a path or URI stands for; a name that stands for none is refused."""
    shown = _shown(uri)
    try:
        filesystem, path = FileSystem.from_uri(uri) if "://" in uri else (LocalFileSystem(), uri)
        kind = filesystem.get_file_info(path).type
        if kind == FileType.NotFound:
            yield whole(shown, "unreadable", "does not exist; check its name")
            return
        if kind == FileType.Directory:
            infos = filesystem.get_file_info(FileSelector(path, recursive=True))
            below = {str(PurePosixPath(i.path).relative_to(path)): i for i in infos if i.is_file}
            paths = {
                f"{shown.rstrip('/')}/{name}": info.path
                for name, info in sorted(below.items())
                if not any(part.startswith(".") for part in name.split("/"))
                and (format or _format(name))
            }
        else:
            paths = {shown: path}
    except (OSError, pa.ArrowException, ValueError) as error:  # ValueError: of names
        why = f"cannot be read: {reason(error, uri)}; check its name, and what you may read"
        yield whole(shown, "unreadable", why)
        return
    if not paths:
        yield whole(shown, "empty", f"holds no {', '.join(SUFFIXES)} files")
    for source, path in paths.items():
        known = format or _format(path)
        if known is None:
            yield whole(source, "unknown_format", f"is of no known format; {_ADVICE}")
        else:
            compression = _COMPRESSIONS.get(PurePosixPath(path).suffix.lower())
            yield QuestionFile(filesystem, path, source, known, compression)


def _format(path: str) -> Format | None:
    file = PurePosixPath(path.lower())
    if file.suffix not in _COMPRESSIONS:
        return SUFFIXES.get(file.suffix)
    inner = SUFFIXES.get(PurePosixPath(file.stem).suffix)
    return None if inner is Format.PARQUET else inner


def _shown(uri: str) -> str:
    """A URI without user, password and query, as valid Unicode."""
    if "://" in uri:
        scheme, _, rest = uri.partition("://")
        uri = f"{scheme}://{re.split(r'[?#]', rest)[0].rpartition('@')[2]}"
    return uri.encode(errors="replace").decode() or "''"


def reason(error: Exception, uri: str = "") -> str:
    """The first line of what another library says, without secrets of the URI."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = (str(error).replace(uri, _shown(uri)) if uri else str(error)).partition("\n")[0]
    try:
        parts = urlsplit(uri)
        secrets = [parts.username, parts.password, parts.query]
    except ValueError:  # no URI at all: then nobody knows what is secret in it
        return "that is no URI"
    if any(secret in text for some in secrets if some for secret in (some, unquote(some))):
        return "its URI is refused"
    return text[:_SHOWN_CHARS].rstrip(" .")


@contextmanager
def opened(file: QuestionFile) -> Iterator[BufferedReader]:
    """The bytes of a file, without its compression."""
    with ExitStack() as stack:
        if file.filesystem.type_name == "local":
            # Python's own, which reads pipes too; pyarrow's seeks.
            raw: Any = stack.enter_context(Path(file.path).open("rb", buffering=0))
            if file.compression:
                packed = stack.enter_context(pa.PythonFile(raw, "r"))
                raw = stack.enter_context(pa.CompressedInputStream(packed, file.compression))
        else:
            raw = stack.enter_context(
                file.filesystem.open_input_stream(file.path, compression=file.compression)
            )
        yield stack.enter_context(BufferedReader(raw, BUFFER))


def whole(source: str, kind: Refusal, message: str) -> Refused:
    """A whole file that is refused."""
    return Refused(source=source, line=None, kind=kind, message=message)
