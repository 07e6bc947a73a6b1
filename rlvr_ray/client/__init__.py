"""The HTTP client: what the command line uses, and any Python program may.

``Client`` waits, ``AsyncClient`` is for asyncio; both take and return the same.
"""

from rlvr_ray.client.asynchronous import AsyncClient
from rlvr_ray.client.blocking import Client
from rlvr_ray.client.results import Batch, BatchLine, Histogram, ReviewTask, Stats
from rlvr_ray.client.watch import (
    Board,
    ContextsFound,
    LiveEvent,
    Piece,
    Restarted,
    StateChanged,
    Submitted,
)
from rlvr_ray.ports import Document

__all__ = [
    "AsyncClient",
    "Batch",
    "BatchLine",
    "Board",
    "Client",
    "ContextsFound",
    "Document",
    "Histogram",
    "LiveEvent",
    "Piece",
    "Restarted",
    "ReviewTask",
    "StateChanged",
    "Stats",
    "Submitted",
]
