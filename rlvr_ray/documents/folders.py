"""Documents from files and folders, and how to store them without a server."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rlvr_ray.core.errors import InputError
from rlvr_ray.core.fields import clean_text
from rlvr_ray.documents import parsers
from rlvr_ray.documents.parsers import MAX_UPLOAD, SUFFIXES, File, suffix
from rlvr_ray.documents.retriever import Document


def read(paths: Sequence[Path]) -> list[Document]:
    """The documents in ``files(paths)``; raises InputError as that and ``parsers.document``."""
    return [parsers.document(file) for file in files(paths)]


def files(
    paths: Sequence[Path], skipped: Callable[[Path, str], None] = lambda *_: None
) -> list[File]:
    """The documents' files among the paths and below them, hidden ones left out.

    A document is named by its path as seen from here, so that the same command replaces it later.
    ``skipped`` is told of each file of a folder that is none, of hidden and of linked folders as a
    whole, and why. Raises InputError for a path that does not exist, is no document, or holds none.
    """
    given: dict[str, File] = {}
    for path in paths:
        if path.is_dir():
            found = sorted(_below(path, skipped))
            if not found:
                raise InputError(f"{path} holds no {', '.join(SUFFIXES)} files")
        elif path.is_file():
            if suffix(path.name) not in SUFFIXES:
                raise InputError(f"{path}: only {', '.join(SUFFIXES)} can be ingested")
            found = [path]
        else:
            raise InputError(f"{path} does not exist")
        given |= {file.source: file for file in map(_file, found)}
    return list(given.values())


def _below(folder: Path, skipped: Callable[[Path, str], None]) -> Iterator[Path]:
    """The documents in and below a folder."""

    def unreadable(error: OSError) -> None:
        skipped(Path(error.filename), error.strerror or "cannot be read")

    for name, folders, names in os.walk(folder, onerror=unreadable):
        inside = Path(name)
        for each in sorted(folders):
            if each.startswith(".") or (inside / each).is_symlink():
                skipped(inside / each, "hidden" if each.startswith(".") else "link to a folder")
                folders.remove(each)
        for each in sorted(names):
            if each.startswith("."):
                skipped(inside / each, "hidden")
            elif suffix(each) not in SUFFIXES:
                skipped(inside / each, "another kind of file")
            elif not (inside / each).is_file():
                skipped(inside / each, "not a file")
            else:
                yield inside / each


def _file(file: Path) -> File:
    if file.stat().st_size > MAX_UPLOAD:
        raise InputError(f"{file} is larger than {MAX_UPLOAD:,} bytes")
    try:
        data = file.read_bytes()
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from None
    return File(source=name(file), data=data)


def name(file: Path) -> str:
    """The path below the current folder or, elsewhere, the whole path."""
    path, here = Path(os.path.abspath(file)), Path.cwd()  # noqa: PTH100 - links keep their names
    source = str(path.relative_to(here) if path.is_relative_to(here) else path)
    try:
        return clean_text("the name", source)
    except ValueError:
        raise InputError(f"{source!r}: the file's name is not UTF-8; rename it") from None
