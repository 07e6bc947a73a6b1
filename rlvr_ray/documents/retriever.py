"""The interface of vector stores: queries, passages, documents."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from rlvr_ray.core.fields import clean_text, whole
from rlvr_ray.core.records import Context


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A question and how many passages it wants."""

    text: str
    top_k: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A text to be searched; ``source`` names it: the same source again replaces it."""

    source: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingested:
    """What became of a document."""

    document_id: UUID
    source: str
    num_chunks: int
    content_id: UUID  #: the same for the same passages
    changed: bool  #: False where the store held just this already

    def __post_init__(self) -> None:
        clean_text("source", self.source)
        whole("num_chunks", self.num_chunks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A document in the store."""

    document_id: UUID
    source: str
    num_chunks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Where a passage is: its own id, and its document's."""

    chunk_id: UUID
    document_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A stored passage; ``metadata`` is that of a ``Context``."""

    chunk_id: UUID
    content: str
    metadata: Mapping[str, Any]


class Retriever(Protocol):
    """Passages for questions."""

    async def search(self, queries: Sequence[Query]) -> list[list[Context]]:
        """The best passages of each query, best first; an empty list where there are none."""
        ...

    async def ingest(self, documents: Sequence[Document]) -> list[Ingested]:
        """Store documents; ingesting the same again changes nothing."""
        ...

    async def count(self) -> int:
        """How many passages are stored."""
        ...

    async def documents(self) -> list[Stored]:
        """All documents that have passages in the store, by source."""
        ...

    async def delete(self, document_id: UUID) -> bool:
        """Remove a document's passages; False where there are none of it."""
        ...

    async def chunks(self, first: UUID | None, limit: int) -> tuple[list[Chunk], UUID | None]:
        """At most so many passages, in the order of their ids, from this id on or from the start.

        Also the first id of the next page; None where there is none.
        """
        ...

    async def fetch(self, chunk_ids: Sequence[UUID]) -> list[Passage]:
        """The passages of these ids, in their order; those that are gone are left out."""
        ...
