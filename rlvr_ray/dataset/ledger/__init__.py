"""The durable truth: one SQLite file with one writer and any number of readers.

WAL with ``synchronous=FULL``: what ``commit`` returned survives ``kill -9`` and loss of power.
Records are kept as JSON; the columns beside them are what is searched.
"""

from rlvr_ray.dataset.ledger.reader import Reader
from rlvr_ray.dataset.ledger.search import Browser
from rlvr_ray.dataset.ledger.writer import Ledger, Operation

__all__ = ["Browser", "Ledger", "Operation", "Reader"]
