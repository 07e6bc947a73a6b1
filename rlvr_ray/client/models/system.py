"""What the server holds and does, and what became of a batch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from pydantic import ConfigDict

from rlvr_ray.client.models.base import CONFIG, Raw, Reply, Time, Whole, Wholes


@dataclass(frozen=True, slots=True, kw_only=True)
class Recent(Reply):
    """A batch that was decided lately; ``outcome`` is ``pair`` or the reason for none."""

    batch_id: str
    question: str
    outcome: str
    detail: str
    score_diff: float | None = None
    decided_at: Time


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate(Reply):
    """Batches that were decided within some time, and pairs among them."""

    decided: int
    pairs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue(Reply):
    """Batches that wait for their verification, and since when the oldest does."""

    open: int
    oldest: Time | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog(Reply):
    """Events that the broker has not confirmed, and since when the oldest waits."""

    pending: int
    oldest: Time | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble(Reply):
    """An error of a part of the server."""

    at: Time
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
    rates: Mapping[str, Rate] = field(default_factory=dict)  #: by time: ``1m``, ``1h``, ``24h``
    queue: Queue | None = None
    recent: tuple[Recent, ...] = ()
    files: Mapping[str, int] = field(default_factory=dict)  #: JSONL files below data_dir: bytes
    num_parts: int = 0
    parts: tuple[str, ...] = ()  #: the latest Parquet files
    set_aside: SetAside | None = None
    mirror: Backlog | None = None  #: None where the mirror is off
    data_dir: str = ""
    disk: Disk | None = None
    errors: tuple[Trouble, ...] = ()
    last_error: str | None = None
    dashboard: str | None = None  #: URL of Ray's dashboard
    version: str | None = None
    passages: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Step(Whole):
    """Something that happened to a batch; the rest of its fields are in ``raw``."""

    __pydantic_config__: ClassVar = CONFIG | ConfigDict(
        json_schema_extra={"additionalProperties": True}
    )

    at: Time
    after_s: float = 0.0  #: seconds since the question was asked
    step: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace(Whole):
    """Every step of a batch, the files that hold its rows, and its log lines."""

    trace_id: str
    batch_id: str
    correlation_id: str = ""
    question: str = ""
    state: str = ""  #: ``open`` or ``decided``
    steps: Wholes[Step] = ()
    documents: tuple[Raw, ...] = ()  #: where the passages are from, and how many of each
    files: tuple[Raw, ...] = ()
    logs: tuple[Raw, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Traces(Whole):
    """The batches that an id leads to, latest first, and how many more there are."""

    traces: Wholes[Trace]
    left: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Liveness(Reply):
    """This process answers."""

    status: str = "ok"
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceState(Reply):
    """Whether a part of the server answers; ``detail`` is its answer, or its error."""

    ok: bool
    detail: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorState(ServiceState):
    """The generator's says what runs its model, and why."""

    engine: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness(Reply):
    """Whether every part answers, and who verifies."""

    status: str  #: ``ready`` or ``not ready``
    parts: Mapping[str, GeneratorState | ServiceState]
    verifiers: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InvalidField(Reply):
    """A field of a request that is refused."""

    field: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem(Reply):
    """An error (RFC 9457), sent as ``application/problem+json``."""

    __pydantic_config__: ClassVar = ConfigDict(title="Problem")

    type: str = "about:blank"
    status: int
    detail: str
    error: str | None = None  #: which one, where it is one of ours
    errors: tuple[InvalidField, ...] = ()  #: only where fields of the request are refused
