"""The Retriever over a Qdrant collection.

The id of a point follows from its content and place, so ingesting a document twice changes nothing,
and a changed document replaces only the changed points. A collection may have points of another
program; ``payload_of`` says what is read from them. Local mode keeps vectors as pickles inside
SQLite: never open a folder that somebody else wrote.
"""

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from rlvr_ray.core import ids
from rlvr_ray.core.errors import ConfigError
from rlvr_ray.core.records import METADATA, Context
from rlvr_ray.documents.embedder import Embedder, Vectors
from rlvr_ray.documents.passages import Splitter, document_id
from rlvr_ray.documents.qdrant.payloads import (
    chunk_of,
    document_of,
    metadata_of,
    payload_of,
    point_of,
)
from rlvr_ray.documents.qdrant.server import connect, host, translated
from rlvr_ray.documents.retriever import Chunk, Document, Ingested, Passage, Query, Stored
from rlvr_ray.settings import RetrievalSettings

T = TypeVar("T")

#: Points written in one call.
UPSERT = 256
#: Points read in one call when documents are listed.
LISTED = 10_000


class QdrantRetriever:
    """A Retriever. The client lives in one thread, since local mode is not thread-safe."""

    def __init__(self, settings: RetrievalSettings, folder: Path, embedder: Embedder) -> None:
        self._collection = settings.collection
        self._embedder = embedder
        self._splitter = Splitter(settings)
        self._where = "Qdrant" if settings.url is None else f"Qdrant at {host(settings.url)}"
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="qdrant")
        self._client = self._thread.submit(self._open, settings, folder).result()

    async def search(self, queries: Sequence[Query]) -> list[list[Context]]:
        vectors = await self._embed([query.text for query in queries])
        return await self._run(partial(self._search, queries, vectors))

    async def ingest(self, documents: Sequence[Document]) -> list[Ingested]:
        """See ``Retriever``; raises InputError for a document without text."""
        return [await self._ingest(document) for document in documents]

    async def count(self) -> int:
        return await self._run(lambda: self._client.count(self._collection).count)

    async def documents(self) -> list[Stored]:
        """See ``Retriever``. Looks at every passage's payload."""
        return await self._run(self._documents)

    async def delete(self, document_id: UUID) -> bool:
        return await self._run(partial(self._delete, document_id))

    async def chunks(self, first: UUID | None, limit: int) -> tuple[list[Chunk], UUID | None]:
        return await self._run(partial(self._chunks, first, limit))

    async def fetch(self, chunk_ids: Sequence[UUID]) -> list[Passage]:
        return await self._run(partial(self._fetch, chunk_ids))

    def close(self) -> None:
        """Release the folder."""
        self._thread.submit(self._client.close).result()
        self._thread.shutdown()

    async def _embed(self, texts: Sequence[str]) -> Vectors:
        """Outside the client's thread: a question need not wait while a document is embedded."""
        return await asyncio.to_thread(self._embedder.embed, texts)

    async def _run(self, work: Callable[[], T]) -> T:
        def call() -> T:
            with translated(self._where):
                return work()

        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    def _open(self, settings: RetrievalSettings, folder: Path) -> Any:
        from qdrant_client import QdrantClient, models

        self._models = models
        with translated(self._where):
            if settings.url:
                client = connect(settings)
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
        replies = self._client.query_batch_points(
            self._collection,
            [
                self._models.QueryRequest(
                    query=vector.tolist(), limit=query.top_k, with_payload=True
                )
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
                metadata = metadata_of(record.payload)
                if document := document_of(metadata):
                    counts[str(metadata.get("source", "")), document] += 1
            if following is None:
                break
        return [
            Stored(document_id=document, source=source, num_chunks=count)
            for (source, document), count in sorted(counts.items())
        ]

    def _delete(self, document_id: UUID) -> bool:
        of_document = self._models.Filter(must=[self._of(document_id)])
        if not self._client.count(self._collection, count_filter=of_document).count:
            return False
        self._client.delete(self._collection, self._models.FilterSelector(filter=of_document))
        return True

    def _chunks(self, first: UUID | None, limit: int) -> tuple[list[Chunk], UUID | None]:
        records, following = self._client.scroll(
            self._collection,
            limit=limit,
            offset=None if first is None else point_of(first),
            with_payload=[f"metadata.{name}" for name in METADATA],
        )
        found = []
        for record in records:
            metadata = metadata_of(record.payload)
            document = document_of(metadata)
            if document and metadata.keys() >= METADATA.keys():
                found.append(Chunk(chunk_id=chunk_of(record.id), document_id=document))
        return found, None if following is None else chunk_of(following)

    def _fetch(self, chunk_ids: Sequence[UUID]) -> list[Passage]:
        records = self._client.retrieve(self._collection, [point_of(each) for each in chunk_ids])
        found = {}
        for record in records:
            if payload := payload_of(record.payload):
                name = chunk_of(record.id)
                found[name] = Passage(chunk_id=name, content=payload[0], metadata=payload[1])
        return [found[each] for each in chunk_ids if each in found]

    async def _ingest(self, document: Document) -> Ingested:
        name = document_id(self._collection, document.source)
        passages = self._splitter.passages(document)
        points = [str(passage.chunk_id) for passage in passages]
        known, stored = await self._run(partial(self._known, name, points))
        missing = [passage for passage in passages if str(passage.chunk_id) not in known]
        for start in range(0, len(missing), UPSERT):
            part = missing[start : start + UPSERT]
            vectors = await self._embed([passage.content for passage in part])
            await self._run(partial(self._upsert, part, vectors))
        stale = stored > len(known)
        if stale:
            await self._run(partial(self._delete_others, name, points))
        return Ingested(
            document_id=name,
            source=document.source,
            num_chunks=len(passages),
            content_id=ids.derive(name, *points),
            changed=bool(missing or stale),
        )

    def _known(self, document: UUID, points: list[str]) -> tuple[set[str], int]:
        """Which of the points are stored, and how many points the document has in the store."""
        records = self._client.retrieve(
            self._collection, points, with_payload=False, with_vectors=False
        )
        of_document = self._models.Filter(must=[self._of(document)])
        stored = self._client.count(self._collection, count_filter=of_document).count
        return {str(record.id) for record in records}, stored

    def _upsert(self, passages: Sequence[Passage], vectors: Vectors) -> None:
        self._client.upsert(
            self._collection,
            [
                self._models.PointStruct(
                    id=str(passage.chunk_id),
                    vector=vector.tolist(),
                    payload={"content": passage.content, "metadata": passage.metadata},
                )
                for passage, vector in zip(passages, vectors, strict=True)
            ],
        )

    def _delete_others(self, document: UUID, keep: list[str]) -> None:
        others = self._models.Filter(
            must=[self._of(document)], must_not=[self._models.HasIdCondition(has_id=list(keep))]
        )
        self._client.delete(self._collection, self._models.FilterSelector(filter=others))

    def _of(self, document: UUID) -> Any:
        """The points of a document."""
        return self._models.FieldCondition(
            key="metadata.document_id", match=self._models.MatchValue(value=str(document))
        )
