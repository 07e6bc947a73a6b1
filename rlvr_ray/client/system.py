"""What the server holds and does, and what became of a batch: immutable values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from rlvr_ray.client.reply import Raw, Reply, Whole, Wholes


@dataclass(frozen=True, slots=True, kw_only=True)
class Recent(Reply):
    """A batch that was decided lately; ``outcome`` is ``pair`` or the reason for none."""

    batch_id: str
    question: str
    outcome: str
    detail: str
    decided_at: datetime
    score_diff: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate(Reply):
    """Batches that were decided within some time, and pairs among them."""

    decided: int
    pairs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue(Reply):
    """Batches that wait for their verification, and since when the oldest does."""

    open: int
    oldest: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog(Reply):
    """Events that the broker has not confirmed, and since when the oldest waits."""

    pending: int
    oldest: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble(Reply):
    """An error of a part of the server."""

    at: datetime
    part: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AsideRecord(Reply):
    """A record of the ledger that cannot be read, and why."""

    record: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAside(Reply):
    """Records that were met and cannot be read, the first of them in ``records``."""

    count: int = 0
    records: tuple[AsideRecord, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk(Reply):
    """Room where the ledger is; below ``min_free_bytes`` questions are refused."""

    free_bytes: int
    min_free_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats(Whole):
    """What the server holds and does."""

    batches: Mapping[str, int]  #: by outcome, ``open`` for those without
    recent: tuple[Recent, ...] = ()
    passages: int = 0
    data_dir: str = ""
    files: Mapping[str, int] = field(default_factory=dict)  #: JSONL files below data_dir: bytes
    parts: tuple[str, ...] = ()  #: the latest Parquet files
    num_parts: int = 0
    mirror: Backlog | None = None  #: None where the mirror is off
    last_error: str | None = None
    rates: Mapping[str, Rate] = field(default_factory=dict)  #: by time: ``1m``, ``1h``, ``24h``
    queue: Queue | None = None
    errors: tuple[Trouble, ...] = ()
    disk: Disk | None = None
    set_aside: SetAside | None = None
    dashboard: str | None = None  #: URL of Ray's dashboard
    version: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step(Whole):
    """Something that happened to a batch; what else is told of it is in ``raw``."""

    at: datetime
    step: str
    detail: str
    after_s: float = 0.0  #: seconds since the question was asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace(Whole):
    """Every step of a batch, the files that hold its rows, and its log lines."""

    trace_id: str
    batch_id: str
    correlation_id: str = ""
    steps: Wholes[Step] = ()
    files: tuple[Raw, ...] = ()
    logs: tuple[Raw, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Traces(Whole):
    """The batches that an id leads to, latest first, and how many more there are."""

    traces: Wholes[Trace]
    left: int = 0
