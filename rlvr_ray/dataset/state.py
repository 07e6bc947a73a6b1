"""The state of a batch, and of the files."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from rlvr_ray.core import pairing
from rlvr_ray.core.pairing import Result
from rlvr_ray.core.records import (
    NO_TOKENS,
    Batch,
    Candidate,
    Outcome,
    Usage,
)
from rlvr_ray.dataset.reviews import Verdict
from rlvr_ray.documents.retriever import Ingested

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchState:
    """All that is known of a batch; ``outcome`` is None while it is being verified.

    Raises ValueError where these do not belong together.
    """

    batch: Batch
    results: Mapping[UUID, Result]
    outcome: Outcome | None

    def __post_init__(self) -> None:
        pairing.check(self.batch, self.results, self.outcome)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchCommit:
    """A record of a batch that was committed; ``seq`` is its place in the order of commits."""

    seq: int
    state: BatchState  #: as it is now
    record: Candidate | Result | Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentCommit:
    """A document that was stored with new content, the ``version``-th of its life."""

    seq: int
    document: Ingested
    version: int
    at: datetime


#: A row of the ledger's outbox, with the record that it stands for.
Commit = BatchCommit | DocumentCommit


class Page(list[T]):
    """What can be read of a stretch of the ledger, in its order: what cannot is left out.

    ``last`` is the place of the last row that was looked at, readable or not; ``more`` says
    whether there was one: beyond a page without, there is nothing.
    """

    def __init__(self, items: Iterable[T] = (), *, last: int, more: bool) -> None:
        super().__init__(items)
        self.last = last
        self.more = more


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonlFile:
    """A JSONL file's durable length. Its first ``kept`` bytes, whose hash is ``sha256``, cannot be
    written again, since their records are past retention."""

    bytes: int
    kept: int = 0
    sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A Parquet part: the rows of one dataset from the outcomes ``first_seq`` to ``last_seq``.

    ``sha256`` is None until the file is known to be whole.
    """

    path: str
    dataset: str
    first_seq: int
    last_seq: int
    rows: int
    sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeSummary:
    """How a decided batch ended, and the tokens that it took.

    ``margins`` are those of its pairs or, where it has none but was ranked, that of best and worst.
    What verifications took that failed is not known, nor what all took that is past retention.
    """

    reason: str | None  #: why there is no pair
    margins: tuple[float, ...] = ()
    answers: Usage = NO_TOKENS
    judging: Usage = NO_TOKENS

    @property
    def pairs(self) -> int:
        """How many there are of it."""
        return len(self.margins) if self.reason is None else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """Events that the broker has not confirmed: how many, and when the oldest was committed."""

    pending: int
    oldest: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviewed:
    """A batch, and what people say of its pair: their latest word."""

    state: BatchState
    verdict: Verdict | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenPair:
    """A pair for a person to judge, its answers in random order."""

    batch: Batch
    a: int  #: index of a candidate
    b: int
    left: int  #: pairs that are still to be judged, this one included
