"""The ledger, the durable source of truth: one SQLite file with one writer and many readers.

WAL with ``synchronous=FULL``: what ``commit`` returned survives ``kill -9`` and loss of power.
Records are stored as JSON; the columns beside them are for searches. ``schema`` has the tables.
``connection`` reads records; ``counts``, ``reader``, ``provenance`` and ``search`` have the
queries, each on top of the one before, with ``conditions`` for filters. ``writer`` has the
operations and ``soundness`` the checks.
"""

from rlvr_ray.dataset.ledger.reader import Reader
from rlvr_ray.dataset.ledger.search import Browser
from rlvr_ray.dataset.ledger.writer import Ledger, Operation

__all__ = ["Browser", "Ledger", "Operation", "Reader"]
