"""Reading documents from a disk, and storing them where no server runs."""

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from operator import methodcaller
from pathlib import Path
from typing import Any

from rlvr_ray import codec
from rlvr_ray.core.documents import MAX_UPLOAD, TEXT_SUFFIXES
from rlvr_ray.core.records import clean_text
from rlvr_ray.errors import InputError
from rlvr_ray.ports import Document, Retriever
from rlvr_ray.settings import Settings


def read(paths: Sequence[Path]) -> list[Document]:
    """The text files among the paths and below them, hidden ones left out.

    A document is named by its path as seen from here, so that the same command replaces it later.
    Raises InputError for a path that does not exist, is no text, or holds none.
    """
    documents: dict[str, Document] = {}
    for path in paths:
        if path.is_dir():
            files = [f for f in sorted(path.rglob("*")) if _is_text(f.relative_to(path), f)]
            if not files:
                raise InputError(f"{path} holds no {', '.join(TEXT_SUFFIXES)} files")
        elif path.is_file():
            if path.suffix.lower() not in TEXT_SUFFIXES:
                raise InputError(f"{path}: only {', '.join(TEXT_SUFFIXES)} can be ingested")
            files = [path]
        else:
            raise InputError(f"{path} does not exist")
        documents |= {document.source: document for document in map(_read, files)}
    return list(documents.values())


def local_store(settings: Settings) -> Callable[[Sequence[Document]], list[dict[str, Any]]]:
    """Storing without a server: the same store, opened by this process."""
    from rlvr_ray.adapters.embedding import MiniLM
    from rlvr_ray.adapters.ledger import Ledger
    from rlvr_ray.adapters.qdrant import QdrantRetriever

    ledger = Ledger(settings.data_dir)
    store = QdrantRetriever(settings.retrieval, settings.data_dir / "qdrant", MiniLM())

    def ingest(documents: Sequence[Document]) -> list[dict[str, Any]]:
        ingested = asyncio.run(store.ingest(documents))
        ledger.commit([methodcaller("ingested", ingested)])
        stored: list[dict[str, Any]] = codec.plain(ingested)
        return stored

    return ingest


@contextlib.contextmanager
def local_retriever(settings: Settings) -> Iterator[Retriever]:
    """The store without a server. Raises ConfigError where another process has it."""
    from rlvr_ray.adapters.embedding import MiniLM
    from rlvr_ray.adapters.qdrant import QdrantRetriever

    store = QdrantRetriever(settings.retrieval, settings.data_dir / "qdrant", MiniLM())
    try:
        yield store
    finally:
        store.close()


def _is_text(relative: Path, file: Path) -> bool:
    hidden = any(part.startswith(".") for part in relative.parts)
    return not hidden and file.suffix.lower() in TEXT_SUFFIXES and file.is_file()


def _read(file: Path) -> Document:
    if file.stat().st_size > MAX_UPLOAD:
        raise InputError(f"{file} is larger than {MAX_UPLOAD:,} bytes")
    try:
        text = file.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not UTF-8: {error.reason} at byte {error.start}") from None
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from None
    return Document(source=_name(file), text=text)


def _name(file: Path) -> str:
    """The path below the current folder or, elsewhere, the whole path."""
    path, here = Path(os.path.abspath(file)), Path.cwd()  # noqa: PTH100 - links keep their names
    name = str(path.relative_to(here) if path.is_relative_to(here) else path)
    try:
        return clean_text("the name", name)
    except ValueError:
        raise InputError(f"{name!r}: the file's name is not UTF-8; rename it") from None
