"""The documents that questions are asked about."""

from pathlib import PurePath
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, UploadFile

from rlvr_ray import codec, ports
from rlvr_ray.api.asks import Text
from rlvr_ray.api.parts import Parts
from rlvr_ray.core import rows
from rlvr_ray.core.documents import TEXT_SUFFIXES
from rlvr_ray.errors import InputError, NotFound
from rlvr_ray.ports import Document
from rlvr_ray.settings import MAX_QUESTION_CHARS, MAX_TOP_K, Settings


def routes(settings: Settings, parts: Parts) -> APIRouter:
    """Store, list, remove, search."""
    router = APIRouter(tags=["documents"])
    retriever = parts.retriever

    @router.post("/documents")
    async def add_documents(files: list[UploadFile]) -> dict[str, Any]:
        """Ingest Markdown and text files; a file of a name that is known replaces that one."""
        documents = [await _document(file) for file in files]
        ingested = await retriever.ingest(documents)
        await parts.recorder.ingested(ingested)
        return {"documents": codec.plain(ingested)}

    @router.get("/documents")
    async def list_documents() -> dict[str, Any]:
        """All documents, by name."""
        return {"documents": codec.plain(await retriever.documents())}

    @router.delete("/documents/{document_id}", status_code=204)
    async def delete_document(document_id: UUID) -> None:
        """Remove a document's passages. What was written with them keeps them."""
        if not await retriever.delete(document_id):
            raise NotFound(f"there is no document {document_id}")

    @router.get("/search")
    async def search(
        question: Annotated[Text, Query(max_length=MAX_QUESTION_CHARS)],
        top_k: Annotated[int | None, Query(ge=1, le=MAX_TOP_K)] = None,
    ) -> dict[str, Any]:
        """The passages that a question would be answered from, best first."""
        query = ports.Query(text=question, top_k=top_k or settings.retrieval.top_k)
        (found,) = await retriever.search([query])
        return {"contexts": [rows.context(context) for context in found]}

    return router


async def _document(file: UploadFile) -> Document:
    name = file.filename or ""
    if PurePath(name).suffix.lower() not in TEXT_SUFFIXES:
        raise InputError(f"{name!r} is not a text: {', '.join(TEXT_SUFFIXES)} can be ingested")
    try:
        text = (await file.read()).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{name} is not UTF-8: {error.reason} at byte {error.start}") from None
    return Document(source=name, text=text)
