"""The HTTP client: what the command line uses, and any Python program may.

``Client`` waits, ``AsyncClient`` is for asyncio; both take and return the same. ``asynchronous``
has the code of both (``blocking`` is generated from it), ``models`` every reply, which the server
uses too, ``watch`` live events, ``servers`` finds the servers that run on this machine.
"""

from rlvr_ray.client.asynchronous import AsyncClient
from rlvr_ray.client.blocking import Client
from rlvr_ray.client.models.batches import (
    Assessment,
    Batch,
    Candidate,
    Context,
    Outcome,
    Statement,
    Verification,
)
from rlvr_ray.client.models.dataset import BatchLine, Histogram
from rlvr_ray.client.models.documents import IngestedDocument, StoredDocument
from rlvr_ray.client.models.reviews import Review, ReviewSummary, ReviewTask
from rlvr_ray.client.models.system import Recent, Stats, Trace, Traces
from rlvr_ray.client.watch import (
    AnswerChunk,
    Board,
    ContextsFound,
    LiveEvent,
    Restarted,
    StateChanged,
    Submitted,
)
from rlvr_ray.documents.retriever import Document

__all__ = [
    "AnswerChunk",
    "Assessment",
    "AsyncClient",
    "Batch",
    "BatchLine",
    "Board",
    "Candidate",
    "Client",
    "Context",
    "ContextsFound",
    "Document",
    "Histogram",
    "IngestedDocument",
    "LiveEvent",
    "Outcome",
    "Recent",
    "Restarted",
    "Review",
    "ReviewSummary",
    "ReviewTask",
    "StateChanged",
    "Statement",
    "Stats",
    "StoredDocument",
    "Submitted",
    "Trace",
    "Traces",
    "Verification",
]
