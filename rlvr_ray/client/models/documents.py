"""Documents and passages."""

from rlvr_ray.client.models.base import Reply, Whole, Wholes
from rlvr_ray.client.models.batches import Context


class StoredDocument(Reply):
    """A document that can be searched, and its number of passages."""

    document_id: str
    source: str
    num_chunks: int


class IngestedDocument(Whole):
    """What became of a document; ``changed`` is False where just this was stored already."""

    document_id: str
    source: str
    num_chunks: int
    content_id: str = ""
    changed: bool


class StoredDocuments(Reply):
    """What can be searched, by source."""

    documents: tuple[StoredDocument, ...]


class IngestedDocuments(Reply):
    """What became of an upload, in its order."""

    documents: Wholes[IngestedDocument]


class FoundContexts(Reply):
    """The passages that a question would be answered from, best first."""

    contexts: tuple[Context, ...]
