"""The HTTP client: what the command line uses, and any Python program may.

``Client`` waits, ``AsyncClient`` is for asyncio; both take and return the same.
"""

from rlvr_ray.client.asynchronous import AsyncClient
from rlvr_ray.client.blocking import Client
from rlvr_ray.client.results import (
    Assessment,
    Batch,
    BatchLine,
    Candidate,
    Context,
    Histogram,
    IngestedDocument,
    Outcome,
    Review,
    ReviewSummary,
    ReviewTask,
    Statement,
    StoredDocument,
    Verification,
)
from rlvr_ray.client.system import Stats, Trace, Traces
from rlvr_ray.client.watch import (
    Board,
    ContextsFound,
    LiveEvent,
    Piece,
    Restarted,
    StateChanged,
    Submitted,
)
from rlvr_ray.documents.retriever import Document

__all__ = [
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
    "Piece",
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
