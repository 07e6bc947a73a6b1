"""The ledger, the durable source of truth: one SQLite file with one writer and many readers.

WAL with ``synchronous=FULL``: what ``commit`` returned survives ``kill -9`` and loss of power.
Records are stored as JSON; the columns beside them are for searches. ``schema`` has the tables,
``writer`` the operations, ``reader`` and ``search`` the queries.
"""

from rlvr_ray.dataset.ledger.reader import Reader
from rlvr_ray.dataset.ledger.search import Browser
from rlvr_ray.dataset.ledger.writer import Ledger, Operation

__all__ = ["Browser", "Ledger", "Operation", "Reader"]
