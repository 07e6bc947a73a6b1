"""The routes of documents and passages."""

import asyncio
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, UploadFile

from rlvr_ray.client.models.documents import FoundContexts, IngestedDocuments, StoredDocuments
from rlvr_ray.core import codec
from rlvr_ray.core.errors import NotFound
from rlvr_ray.dataset import rows
from rlvr_ray.documents import parsers
from rlvr_ray.documents.parsers import File
from rlvr_ray.documents.retriever import Document
from rlvr_ray.documents.retriever import Query as SearchQuery
from rlvr_ray.serve.http.bodies import Text
from rlvr_ray.serve.http.services import Services
from rlvr_ray.settings import MAX_QUESTION_CHARS, MAX_TOP_K, Settings


def routes(settings: Settings, services: Services) -> APIRouter:
    """Store, list, remove, search."""
    router = APIRouter(tags=["documents"])
    retriever = services.retriever

    @router.post(
        "/documents",
        response_model=IngestedDocuments,
        description=f"Ingest documents: {', '.join(parsers.SUFFIXES)}. A document with a "
        "known name replaces the earlier one. If one cannot be read, none is stored.",
    )
    async def add_documents(files: list[UploadFile]) -> Any:
        given = [File(source=file.filename or "", data=await file.read()) for file in files]
        documents = await asyncio.to_thread(_read, given)
        ingested = await retriever.ingest(documents)
        await services.recorder.ingested(ingested)
        return {"documents": codec.plain(ingested)}

    @router.get("/documents", response_model=StoredDocuments)
    async def list_documents() -> Any:
        """All documents, by name."""
        return {"documents": codec.plain(await retriever.documents())}

    @router.delete("/documents/{document_id}", status_code=204)
    async def delete_document(document_id: UUID) -> None:
        """Remove a document's passages. Recorded batches keep the passages that they used."""
        if not await retriever.delete(document_id):
            raise NotFound(f"there is no document {document_id}")

    @router.get("/search", response_model=FoundContexts)
    async def search(
        question: Annotated[Text, Query(max_length=MAX_QUESTION_CHARS)],
        top_k: Annotated[int | None, Query(ge=1, le=MAX_TOP_K)] = None,
    ) -> Any:
        """The passages that would be used to answer a question, best first."""
        query = SearchQuery(text=question, top_k=top_k or settings.retrieval.top_k)
        (found,) = await retriever.search([query])
        return {"contexts": [rows.context(context) for context in found]}

    return router


def _read(files: list[File]) -> list[Document]:
    return [parsers.document(file) for file in files]
