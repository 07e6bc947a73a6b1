"""Documents and passages."""

from rlvr_ray.client.models.base import Reply, Whole, Wholes
from rlvr_ray.client.models.batches import Context


class StoredDocument(Reply):
    """A document that can be searched, and its number of passages."""

    document_id: str
    source: str
    num_chunks: int


class IngestedDocument(Whole):
    """The result for a document; ``changed`` is False if the same content was already stored."""

    document_id: str
    source: str
    num_chunks: int
    content_id: str = ""
    changed: bool


class StoredDocuments(Reply):
    """The stored documents, by source."""

    documents: tuple[StoredDocument, ...]


class IngestedDocuments(Reply):
    """The results of an upload, in its order."""

    documents: Wholes[IngestedDocument]


class FoundContexts(Reply):
    """The passages that would be used to answer a question, best first."""

    contexts: tuple[Context, ...]
