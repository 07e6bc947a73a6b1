"""The vector store of the settings.

To add another one, write its file or folder with a class like ``Store`` and a function like
``qdrant.server.check``, and choose it here by the settings. No other module names a store.
"""

from pathlib import Path
from typing import Protocol

from rlvr_ray.documents.embedder import Embedder
from rlvr_ray.documents.retriever import Retriever
from rlvr_ray.settings import Settings


class Store(Retriever, Protocol):
    """A Retriever that this process holds open."""

    def close(self) -> None:
        """Release its files and connections."""
        ...


def folder(settings: Settings) -> Path | None:
    """Where a store of this machine keeps its files; None where the store is a server."""
    return None if settings.retrieval.url else settings.data_dir / "qdrant"


def open_store(settings: Settings, embedder: Embedder | None = None) -> Store:
    """The store, with MiniLM's embeddings unless told otherwise.

    Raises ConfigError where another process has its folder, or its collection is of another kind,
    and Unavailable where a server does not answer.
    """
    from rlvr_ray.documents.minilm import MiniLM
    from rlvr_ray.documents.qdrant.store import QdrantRetriever

    return QdrantRetriever(settings.retrieval, settings.data_dir / "qdrant", embedder or MiniLM())


def check_server(settings: Settings, timeout_s: float) -> str:
    """What the store's server says of the collection; only where ``folder`` is None.

    Raises Unavailable where it does not answer, ConfigError where the settings are wrong.
    """
    from rlvr_ray.documents.qdrant import server

    return server.check(settings.retrieval, timeout_s)
