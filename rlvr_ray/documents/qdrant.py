"""Passages in Qdrant: a local folder with one owner, or a server by URL.

Points are named by their content and place, so a document that is ingested twice changes nothing,
and one that changed replaces just what changed. A collection may have points of another tool: what
``payload_of`` makes of them is all that is seen of them. Local mode keeps vectors as pickles inside
SQLite: never open a folder that somebody else wrote.
"""

import asyncio
import contextlib
import json
import math
import socket
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit
from uuid import UUID

from rlvr_ray.core import ids
from rlvr_ray.core.errors import ConfigError, InputError, RlvrError, Unavailable
from rlvr_ray.core.records import MAX_INTEGER, METADATA, Context, clean_text
from rlvr_ray.core.text import storable
from rlvr_ray.documents.embedder import Embedder, Vectors
from rlvr_ray.documents.naming import chunk_id, document_id
from rlvr_ray.documents.retriever import Chunk, Document, Ingested, Passage, Query, Stored
from rlvr_ray.settings import RetrievalSettings

T = TypeVar("T")

#: Longest wait for the gRPC port where none is set, in seconds.
GRPC_S = 2.0
#: Points written in one call.
UPSERT = 256
#: Points read in one call when documents are listed.
LISTED = 10_000


class QdrantRetriever:
    """A Retriever. The client lives in one thread, since local mode is not thread-safe."""

    def __init__(self, settings: RetrievalSettings, folder: Path, embedder: Embedder) -> None:
        from langchain_text_splitters import RecursiveCharacterTextSplitter

        self._collection = settings.collection
        self._embedder = embedder
        self._splitter = RecursiveCharacterTextSplitter(
            chunk_size=settings.chunk_chars,
            chunk_overlap=settings.chunk_overlap,
            add_start_index=True,
        )
        self._where = "Qdrant" if settings.url is None else f"Qdrant at {_host(settings.url)}"
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="qdrant")
        self._client = self._thread.submit(self._open, settings, folder).result()

    async def search(self, queries: Sequence[Query]) -> list[list[Context]]:
        """See ``ports.Retriever``."""
        vectors = await self._embed([query.text for query in queries])
        return await self._run(partial(self._search, queries, vectors))

    async def ingest(self, documents: Sequence[Document]) -> list[Ingested]:
        """See ``ports.Retriever``; raises InputError for a document without text."""
        return [await self._ingest(document) for document in documents]

    async def count(self) -> int:
        """See ``ports.Retriever``."""
        return await self._run(lambda: self._client.count(self._collection).count)

    async def documents(self) -> list[Stored]:
        """See ``ports.Retriever``. Looks at every passage's payload."""
        return await self._run(self._documents)

    async def delete(self, document_id: UUID) -> bool:
        """See ``ports.Retriever``."""
        return await self._run(partial(self._delete, document_id))

    async def chunks(self, first: UUID | None, limit: int) -> tuple[list[Chunk], UUID | None]:
        """See ``ports.Retriever``."""
        return await self._run(partial(self._chunks, first, limit))

    async def fetch(self, chunk_ids: Sequence[UUID]) -> list[Passage]:
        """See ``ports.Retriever``."""
        return await self._run(partial(self._fetch, chunk_ids))

    def close(self) -> None:
        """Release the folder."""
        self._thread.submit(self._client.close).result()
        self._thread.shutdown()

    async def _embed(self, texts: Sequence[str]) -> Vectors:
        """Outside the client's thread: a question need not wait while a document is embedded."""
        return await asyncio.to_thread(self._embedder.embed, texts)

    async def _run(self, work: Callable[[], T]) -> T:
        def translated() -> T:
            with _translated(self._where):
                return work()

        return await asyncio.get_running_loop().run_in_executor(self._thread, translated)

    def _open(self, settings: RetrievalSettings, folder: Path) -> Any:
        from qdrant_client import QdrantClient, models

        with _translated(self._where):
            if settings.url:
                client = _connect(settings)
            else:
                folder.mkdir(parents=True, exist_ok=True)
                client = QdrantClient(path=str(folder))
            dimensions = self._embedder.dimensions
            if not client.collection_exists(self._collection):
                client.create_collection(
                    self._collection,
                    vectors_config=models.VectorParams(
                        size=dimensions, distance=models.Distance.COSINE
                    ),
                )
            vectors = client.get_collection(self._collection).config.params.vectors
        if not isinstance(vectors, models.VectorParams) or vectors.size != dimensions:
            raise ConfigError(
                f"collection {self._collection!r} was not made with {self._embedder.name} "
                f"({dimensions} dimensions); set retrieval.collection to another name"
            )
        if vectors.distance != models.Distance.COSINE:
            raise ConfigError(
                f"collection {self._collection!r} measures by {vectors.distance.value}, not by "
                "cosine; set retrieval.collection to another name"
            )
        return client

    def _search(self, queries: Sequence[Query], vectors: Vectors) -> list[list[Context]]:
        from qdrant_client import models

        replies = self._client.query_batch_points(
            self._collection,
            [
                models.QueryRequest(query=vector.tolist(), limit=query.top_k, with_payload=True)
                for query, vector in zip(queries, vectors, strict=True)
            ],
        )
        return [
            [
                Context(content=found[0], score=point.score, metadata=found[1])
                for point in reply.points
                if math.isfinite(point.score) and (found := payload_of(point.payload))
            ]
            for reply in replies
        ]

    def _documents(self) -> list[Stored]:
        counts: Counter[tuple[str, UUID]] = Counter()
        following: Any = None
        while True:
            records, following = self._client.scroll(
                self._collection,
                limit=LISTED,
                offset=following,
                with_payload=["metadata.document_id", "metadata.source"],
            )
            for record in records:
                metadata = _metadata((record.payload or {}).get("metadata"))
                if document := _document(metadata):
                    counts[str(metadata.get("source", "")), document] += 1
            if following is None:
                break
        return [
            Stored(document_id=document, source=source, num_chunks=count)
            for (source, document), count in sorted(counts.items())
        ]

    def _delete(self, document_id: UUID) -> bool:
        from qdrant_client import models

        of_document = models.Filter(must=[_of(document_id)])
        if not self._client.count(self._collection, count_filter=of_document).count:
            return False
        self._client.delete(self._collection, models.FilterSelector(filter=of_document))
        return True

    def _chunks(self, first: UUID | None, limit: int) -> tuple[list[Chunk], UUID | None]:
        records, following = self._client.scroll(
            self._collection,
            limit=limit,
            offset=None if first is None else _point(first),
            with_payload=[f"metadata.{name}" for name in METADATA],
        )
        found = []
        for record in records:
            metadata = _metadata((record.payload or {}).get("metadata"))
            document = _document(metadata)
            if document and metadata.keys() >= METADATA.keys():
                found.append(Chunk(chunk_id=_chunk(record.id), document_id=document))
        return found, None if following is None else _chunk(following)

    def _fetch(self, chunk_ids: Sequence[UUID]) -> list[Passage]:
        records = self._client.retrieve(self._collection, [_point(each) for each in chunk_ids])
        found = {}
        for record in records:
            if payload := payload_of(record.payload):
                name = _chunk(record.id)
                found[name] = Passage(chunk_id=name, content=payload[0], metadata=payload[1])
        return [found[each] for each in chunk_ids if each in found]

    async def _ingest(self, document: Document) -> Ingested:
        name = document_id(self._collection, document.source)
        points = self._points(document)
        known, stored = await self._run(partial(self._known, name, list(points)))
        missing = [(key, value) for key, value in points.items() if key not in known]
        for start in range(0, len(missing), UPSERT):
            part = missing[start : start + UPSERT]
            vectors = await self._embed([payload["content"] for _, payload in part])
            await self._run(partial(self._upsert, part, vectors))
        stale = stored > len(known)
        if stale:
            await self._run(partial(self._delete_others, name, list(points)))
        return Ingested(
            document_id=name,
            source=document.source,
            num_chunks=len(points),
            content_id=ids.derive(name, *points),
            changed=bool(missing or stale),
        )

    def _known(self, document: UUID, points: list[str]) -> tuple[set[str], int]:
        """Which of the points are stored, and how many points the document has in the store."""
        from qdrant_client import models

        records = self._client.retrieve(
            self._collection, points, with_payload=False, with_vectors=False
        )
        of_document = models.Filter(must=[_of(document)])
        stored = self._client.count(self._collection, count_filter=of_document).count
        return {str(record.id) for record in records}, stored

    def _upsert(self, part: Sequence[tuple[str, dict[str, Any]]], vectors: Vectors) -> None:
        from qdrant_client import models

        self._client.upsert(
            self._collection,
            [
                models.PointStruct(id=key, vector=vector.tolist(), payload=payload)
                for (key, payload), vector in zip(part, vectors, strict=True)
            ],
        )

    def _delete_others(self, document: UUID, keep: list[str]) -> None:
        from qdrant_client import models

        others = models.Filter(
            must=[_of(document)], must_not=[models.HasIdCondition(has_id=list(keep))]
        )
        self._client.delete(self._collection, models.FilterSelector(filter=others))

    def _points(self, document: Document) -> dict[str, dict[str, Any]]:
        """Point id → payload, for each passage."""
        try:
            text = clean_text("the document", document.text)
        except ValueError as error:
            raise InputError(f"{document.source}: {error}") from None
        name = document_id(self._collection, document.source)
        points: dict[str, dict[str, Any]] = {}
        for index, chunk in enumerate(self._splitter.create_documents([text])):
            start = chunk.metadata["start_index"]
            if text[start : start + len(chunk.page_content)] != chunk.page_content:
                start = text.find(chunk.page_content)  # the splitter guesses among repeats
            points[str(chunk_id(name, index, chunk.page_content))] = {
                "content": chunk.page_content,
                "metadata": {
                    "document_id": str(name),
                    "source": document.source,
                    "chunk_index": index,
                    "start": start,
                },
            }
        if not points:
            raise InputError(f"{document.source} holds no text")
        return points


def payload_of(payload: Any) -> tuple[str, dict[str, str | int]] | None:
    """A point's text and its metadata as a Context keeps them; None where it has no text.

    Of metadata that another tool wrote, texts and whole numbers stay (1.0 is 1), other numbers and
    truth values become text, and null, lists and objects are left out. So is a ``chunk_index`` or
    ``start`` that is no whole number. NUL and halves of characters become U+FFFD or ``?``.
    """
    content = payload.get("content") if isinstance(payload, Mapping) else None
    if not isinstance(content, str):
        return None
    return storable(content), _metadata(payload.get("metadata"))


def _metadata(found: Any) -> dict[str, str | int]:
    kept: dict[str, str | int] = {}
    for key, value in found.items() if isinstance(found, Mapping) else ():
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool | float):
            value = json.dumps(value)
        elif isinstance(value, int) and not -MAX_INTEGER <= value <= MAX_INTEGER:
            value = str(value)
        kind = METADATA.get(key)
        if kind is str and isinstance(value, int):
            value = str(value)
        if isinstance(value, str | int) and isinstance(value, kind or object):
            kept[storable(str(key))] = storable(value) if isinstance(value, str) else value
    return kept


def _document(metadata: Mapping[str, str | int]) -> UUID | None:
    """The document of a passage; None where another tool names it in its own way."""
    try:
        return UUID(str(metadata.get("document_id")))
    except ValueError:
        return None


def _chunk(point: Any) -> UUID:
    """A point's id, which may be a number, too."""
    return UUID(int=point) if isinstance(point, int) else UUID(str(point))


def _point(chunk: UUID) -> int | str:
    return chunk.int if chunk.int < 2**64 else str(chunk)


def _of(document: UUID) -> Any:
    from qdrant_client import models

    return models.FieldCondition(
        key="metadata.document_id", match=models.MatchValue(value=str(document))
    )


def check(settings: RetrievalSettings, timeout_s: float) -> str:
    """What a server says of the collection, and how it is spoken to.

    Raises Unavailable where it does not answer, ConfigError where it refuses the key or the gRPC
    port that is set does not answer.
    """
    assert settings.url is not None
    where = f"Qdrant at {_host(settings.url)}"
    with (
        _translated(where, ConfigError),
        contextlib.closing(_connect(settings, rest=timeout_s)) as client,
    ):
        name = settings.collection
        known = client.collection_exists(name)
        found = f"{client.count(name).count:,} passages" if known else "none yet"
    port = _grpc_port(settings)
    if settings.grpc_port and not _answers(settings.url, settings.grpc_port, timeout_s):
        raise ConfigError(
            f"{where}: nothing answers at gRPC port {settings.grpc_port}; correct "
            "retrieval.grpc_port, or set it to 0 to have all go over retrieval.url"
        )
    how = "without gRPC" if port is None else f"gRPC port {port}"
    return f"{where}, {how}, collection {name}: {found}"


def _connect(settings: RetrievalSettings, rest: float | None = None) -> Any:
    """A client of the server; ``rest``: without gRPC, and with so many seconds for each call."""
    from qdrant_client import QdrantClient

    port = None if rest else _grpc_port(settings)
    grpc: dict[str, Any] = {} if port is None else {"grpc_port": port, "prefer_grpc": True}
    with warnings.catch_warnings():
        # A key over plain HTTP: in a cluster's own network that is as it should be.
        warnings.simplefilter("ignore", UserWarning)
        return QdrantClient(
            url=settings.url,
            api_key=settings.api_key.get_secret_value() if settings.api_key else None,
            check_compatibility=False,  # it only warns, and waits for a server that is away
            timeout=None if rest is None else math.ceil(rest),
            **grpc,
        )


def _grpc_port(settings: RetrievalSettings) -> int | None:
    """The one to use; None for none."""
    if settings.grpc_port is not None:
        return settings.grpc_port or None
    assert settings.url is not None
    usual = urlsplit(settings.url).port in (None, 6333)
    return 6334 if usual and _answers(settings.url, 6334, GRPC_S) else None


def _answers(url: str, port: int, timeout_s: float) -> bool:
    try:
        with socket.create_connection((urlsplit(url).hostname or "", port), timeout_s):
            return True
    except OSError:
        return False


def _host(url: str) -> str:
    """For messages: without a password."""
    parts = urlsplit(url)
    return parts.netloc.rpartition("@")[2] + parts.path.rstrip("/")


@contextlib.contextmanager
def _translated(where: str, refusal: type[RlvrError] = Unavailable) -> Iterator[None]:
    """Qdrant's exceptions, as ours; ``refusal``: of one that refuses the key."""
    import grpc
    from qdrant_client.http.exceptions import (
        ApiException,
        ResponseHandlingException,
        UnexpectedResponse,
    )

    try:
        yield
    except UnexpectedResponse as error:
        if error.status_code in (401, 403):
            raise refusal(f"{where} refuses the key: set retrieval.api_key") from None
        raise Unavailable(f"{where} refuses: HTTP {error.status_code}; is it Qdrant?") from None
    except (ApiException, ResponseHandlingException) as error:
        raise Unavailable(f"{where} does not answer: {error} (retrieval.url)") from None
    except grpc.RpcError as error:
        code = error.code().name if isinstance(error, grpc.Call) else type(error).__name__
        raise Unavailable(f"{where} does not answer over gRPC: {code}") from None
    except RuntimeError as error:
        if "already accessed" in str(error):
            raise ConfigError(
                "the local vector store is in use by another process; stop that one first, "
                "or set retrieval.url to a Qdrant server"
            ) from None
        raise
