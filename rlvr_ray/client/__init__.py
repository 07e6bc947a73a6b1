"""The HTTP client, for Python programs and for the command line.

``Client`` blocks, ``AsyncClient`` is for asyncio; both have the same methods. ``asynchronous`` has
the code of both (``blocking`` is generated from it), ``models`` has every reply, which the server
uses, too, ``watch`` follows live events, ``servers`` finds the running servers of this machine.
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
