"""The document store for commands, without a server."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rlvr_ray.core import codec
from rlvr_ray.documents.retriever import Document, Retriever
from rlvr_ray.documents.stores import open_store
from rlvr_ray.settings import Settings


@contextlib.contextmanager
def local_store(
    settings: Settings,
) -> Iterator[Callable[[Sequence[Document]], list[dict[str, Any]]]]:
    """Storing without a server: the same store, opened by this process."""
    from rlvr_ray.dataset.ledger import Ledger

    def ingest(documents: Sequence[Document]) -> list[dict[str, Any]]:
        ingested = asyncio.run(store.ingest(documents))
        ledger.write(Ledger.ingested, ingested)
        stored: list[dict[str, Any]] = codec.plain(ingested)
        return stored

    with contextlib.closing(Ledger(settings.data_dir)) as ledger:
        store = open_store(settings)
        with contextlib.closing(store):
            yield ingest


@contextlib.contextmanager
def local_retriever(settings: Settings) -> Iterator[Retriever]:
    """The store without a server. Raises ConfigError where another process has it."""
    with contextlib.closing(open_store(settings)) as store:
        yield store
