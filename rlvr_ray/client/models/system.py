"""The state of the server, and traces of batches."""

from collections.abc import Mapping
from dataclasses import field
from typing import Any, ClassVar

from pydantic import ConfigDict

from rlvr_ray.client.models.base import CONFIG, Raw, Reply, Time, Whole, Wholes


class Recent(Reply):
    """A recently decided batch; ``outcome`` is ``pair``, or the reason why there is none."""

    batch_id: str
    question: str
    outcome: str
    detail: str
    score_diff: float | None = None
    decided_at: Time


class Rate(Reply):
    """Decided batches in a period, and the pairs among them."""

    decided: int
    pairs: int


class Queue(Reply):
    """Batches that wait for their verification, and the time of the oldest."""

    open: int
    oldest: Time | None = None


class Backlog(Reply):
    """Events that the broker has not confirmed, and the time of the oldest."""

    pending: int
    oldest: Time | None = None


class Trouble(Reply):
    """An error of a part of the server."""

    at: Time
    part: str
    detail: str


class AsideRecord(Reply):
    """A record of the ledger that cannot be read, and why."""

    record: str
    reason: str


class SetAside(Reply):
    """The number of unreadable records that were found, and the first ones."""

    count: int = 0
    records: tuple[AsideRecord, ...] = ()


class Disk(Reply):
    """Free space on the ledger's disk; below ``min_free_bytes`` questions are refused."""

    free_bytes: int
    min_free_bytes: int


class Stats(Whole):
    """The state of the server."""

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


class Step(Whole):
    """A step in the history of a batch; further fields are in ``raw``."""

    __pydantic_config__: ClassVar = CONFIG | ConfigDict(
        json_schema_extra={"additionalProperties": True}
    )

    at: Time
    after_s: float = 0.0  #: seconds since the question was asked
    step: str
    detail: str


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


class Traces(Whole):
    """The batches of an id, latest first, and the number of further ones."""

    traces: Wholes[Trace]
    left: int = 0


class Liveness(Reply):
    """This process answers."""

    status: str = "ok"
    version: str


class ServiceState(Reply):
    """Whether a part of the server answers; ``detail`` is its answer, or its error."""

    ok: bool
    detail: Any


class GeneratorState(ServiceState):
    """The state of the generator, with its engine and the reason for that."""

    engine: str


class Readiness(Reply):
    """Whether every part answers, and who verifies."""

    status: str  #: ``ready`` or ``not ready``
    parts: Mapping[str, GeneratorState | ServiceState]
    verifiers: str


class InvalidField(Reply):
    """A field of a request that is refused."""

    field: str
    reason: str


class Problem(Reply):
    """An error (RFC 9457), sent as ``application/problem+json``."""

    __pydantic_config__: ClassVar = ConfigDict(title="Problem")

    type: str = "about:blank"
    status: int
    detail: str
    error: str | None = None  #: which one, where it is one of ours
    errors: tuple[InvalidField, ...] = ()  #: only where fields of the request are refused
