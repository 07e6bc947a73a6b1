"""Documents cut into passages, and their ids.

Ids are derived from names and content, so a repeated document gets the same ids.
"""

from hashlib import sha256
from uuid import UUID

from rlvr_ray.core import ids
from rlvr_ray.core.errors import InputError
from rlvr_ray.core.fields import clean_text
from rlvr_ray.documents.retriever import Document, Passage
from rlvr_ray.settings import RetrievalSettings


def document_id(collection: str, source: str) -> UUID:
    """The same source in the same collection is the same document."""
    return ids.derive("document", collection, source)


def chunk_id(document: UUID, index: int, content: str) -> UUID:
    """The same passage at the same place of the same document is the same point."""
    return ids.derive("chunk", document, index, sha256(content.encode()).hexdigest())


class Splitter:
    """Cuts documents into passages as the settings say."""

    def __init__(self, settings: RetrievalSettings) -> None:
        from langchain_text_splitters import RecursiveCharacterTextSplitter

        self._collection = settings.collection
        self._splitter = RecursiveCharacterTextSplitter(
            chunk_size=settings.chunk_chars,
            chunk_overlap=settings.chunk_overlap,
            add_start_index=True,
        )

    def passages(self, document: Document) -> list[Passage]:
        """The document's passages in order; raises InputError where it holds no text."""
        try:
            text = clean_text("the document", document.text)
        except ValueError as error:
            raise InputError(f"{document.source}: {error}") from None
        name = document_id(self._collection, document.source)
        passages: list[Passage] = []
        for index, chunk in enumerate(self._splitter.create_documents([text])):
            content, start = chunk.page_content, chunk.metadata["start_index"]
            if text[start : start + len(content)] != content:
                start = text.find(content)  # the splitter guesses among repeats
            passages.append(
                Passage(
                    chunk_id=chunk_id(name, index, content),
                    content=content,
                    metadata={
                        "document_id": str(name),
                        "source": document.source,
                        "chunk_index": index,
                        "start": start,
                    },
                )
            )
        if not passages:
            raise InputError(f"{document.source} holds no text")
        return passages
