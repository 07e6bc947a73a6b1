"""The metrics for Prometheus, and the interface that records them.

To add one, add an entry to ``METRICS``, from which exporter, dashboard, alerts and tests read. Tags
have few values, which are all listed; ids, questions and other free text are never tags.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from typing import Literal, Protocol
from uuid import UUID

from rlvr_ray.core.errors import InputError, NoDocuments, NotFound, Overloaded, Unavailable
from rlvr_ray.core.pairing import Result
from rlvr_ray.core.records import Batch, Outcome, Reason, Usage, Verification

Kind = Literal["counter", "gauge", "histogram"]

#: What a tag says where its value is none of those that are listed.
OTHER = "other"
#: Upper bounds of buckets: of an ask or a verification, of a commit, of waiting (seconds), of a
#: score and of a difference of scores (0 to 1; it must be above 0, so a 0 is in the first).
SECONDS = (0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0, 300.0)
COMMIT_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
WAITING_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0)
SCORES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
DIFFERENCES = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric; ``tags`` has each tag's values, ``bounds`` are those of a histogram's buckets."""

    kind: Kind
    description: str
    tags: Mapping[str, Sequence[str]] | None = None
    bounds: Sequence[float] = ()

    def combinations(self) -> Iterator[dict[str, str]]:
        """Every combination of listed values."""
        tags = self.tags or {}
        for values in product(*tags.values()):
            yield dict(zip(tags, values, strict=True))

    def fitting(self, tags: Mapping[str, str]) -> dict[str, str]:
        """The tags, with what is not listed as ``other``."""
        listed = self.tags or {}
        return {name: v if v in listed[name] else OTHER for name, v in tags.items()}


_ASKED = ("ok", "refused", "overloaded", "unavailable", "cancelled", "failed")
_PARTS = ("verify", "project", "parts", "mirror", "inbox", "ledger", "measure")

METRICS: Mapping[str, Metric] = {
    "rlvr_ask_duration_seconds": Metric(
        "histogram",
        "Seconds from a question to its recorded answers, by how that ended.",
        {"result": _ASKED},
        SECONDS,
    ),
    "rlvr_candidates_total": Metric(
        "counter",
        "Answers recorded, by what ended their writing: length means that the limit cut it.",
        {"finish_reason": ("stop", "length", "unknown")},
    ),
    "rlvr_verifications_total": Metric(
        "counter",
        "Answers that verification is done with: scored, or failed.",
        {"result": ("scored", "failed")},
    ),
    "rlvr_verification_duration_seconds": Metric(
        "histogram", "Seconds that an answer's verification took, if scored.", None, SECONDS
    ),
    "rlvr_decision_delay_seconds": Metric(
        "histogram", "Seconds from a batch's recording to its outcome.", None, WAITING_SECONDS
    ),
    "rlvr_faithfulness": Metric("histogram", "Faithfulness of answers, 0 to 1.", None, SCORES),
    "rlvr_relevancy": Metric("histogram", "Relevancy of answers, 0 to 1.", None, SCORES),
    "rlvr_score_difference": Metric(
        "histogram", "Best score minus that of the other one, of ranked batches.", None, DIFFERENCES
    ),
    "rlvr_pairs_total": Metric("counter", "Batches that made a pair."),
    "rlvr_no_pair_total": Metric(
        "counter", "Batches that made none, by reason.", {"reason": tuple(Reason)}
    ),
    "rlvr_tokens_total": Metric(
        "counter",
        "Tokens of recorded answers and of their verification: computed of prompts, taken from the "
        "prefix cache, written.",
        {"stage": ("generation", "verification"), "kind": ("prompt", "cached", "completion")},
    ),
    "rlvr_outbox_pending": Metric("gauge", "Events that the broker has not confirmed."),
    "rlvr_outbox_oldest_age_seconds": Metric(
        "gauge", "Seconds since the oldest of them was committed; 0 where none waits."
    ),
    "rlvr_open_batches": Metric("gauge", "Recorded batches without an outcome."),
    "rlvr_open_oldest_age_seconds": Metric(
        "gauge", "Seconds since the oldest of them was recorded; 0 where there is none."
    ),
    "rlvr_disk_free_bytes": Metric("gauge", "Bytes that are free on the disk of data_dir."),
    "rlvr_disk_min_free_bytes": Metric("gauge", "Bytes below which asks are refused."),
    "rlvr_ledger_commit_seconds": Metric(
        "histogram", "Seconds of a transaction of the ledger, fsync included.", None, COMMIT_SECONDS
    ),
    "rlvr_errors_total": Metric(
        "counter", "Troubles of the aggregator's parts, each attempt.", {"part": _PARTS}
    ),
}


class Meter(Protocol):
    """Takes what is measured. Safe in several threads; never raises, never waits."""

    def add(self, name: str, amount: float, **tags: str) -> None:
        """Raise a counter by an amount of 0 or more."""
        ...

    def observe(self, name: str, value: float, **tags: str) -> None:
        """Put a value into a histogram."""
        ...

    def set(self, name: str, value: float) -> None:
        """Set a gauge."""
        ...


class NoMeter:
    """A Meter that keeps nothing."""

    def add(self, name: str, amount: float, **tags: str) -> None:
        """See Meter."""

    def observe(self, name: str, value: float, **tags: str) -> None:
        """See Meter."""

    def set(self, name: str, value: float) -> None:
        """See Meter."""


class Metrics:
    """What happens, in the words of the parts; a CommitObserver of the pipeline, too.

    Without a meter nothing is measured.
    """

    def __init__(self, meter: Meter | None = None) -> None:
        self._meter: Meter = NoMeter() if meter is None else meter

    @contextlib.contextmanager
    def ask(self, asked_at: datetime) -> Iterator[None]:
        """Around the answering of a question: how long it takes, and how it ends."""
        result = "ok"
        try:
            yield
        except BaseException as error:
            result = _result(error)
            raise
        finally:
            took = (datetime.now(UTC) - asked_at).total_seconds()
            self._meter.observe("rlvr_ask_duration_seconds", max(took, 0.0), result=result)

    def turned_away(self) -> None:
        """A question was refused at the door, since there are too many."""
        self._meter.observe("rlvr_ask_duration_seconds", 0.0, result="overloaded")

    def recorded(self, batch: Batch) -> None:
        """A batch is on the disk, for the first time."""
        for candidate in batch.candidates:
            self._meter.add("rlvr_candidates_total", 1, finish_reason=candidate.finish_reason)
            self._tokens("generation", candidate.usage)

    def verified(self, _: Batch, result: Result) -> None:
        """An answer's result is on the disk, for the first time."""
        if not isinstance(result, Verification):
            self._meter.add("rlvr_verifications_total", 1, result="failed")
            return
        self._meter.add("rlvr_verifications_total", 1, result="scored")
        seconds = result.duration_ms / 1000
        self._meter.observe("rlvr_verification_duration_seconds", seconds)
        for name, value in (
            ("rlvr_faithfulness", result.faithfulness),
            ("rlvr_relevancy", result.relevancy),
        ):
            if value is not None:
                self._meter.observe(name, value)
        self._tokens("verification", result.usage)

    def decided(self, batch: Batch, _: Mapping[UUID, Result], outcome: Outcome) -> None:
        """A batch's outcome is on the disk, for the first time."""
        if outcome.reason is None:
            self._meter.add("rlvr_pairs_total", 1)
        else:
            self._meter.add("rlvr_no_pair_total", 1, reason=outcome.reason)
        if outcome.score_diff is not None:
            self._meter.observe("rlvr_score_difference", outcome.score_diff)
        delay = (outcome.decided_at - batch.created_at).total_seconds()
        self._meter.observe("rlvr_decision_delay_seconds", max(delay, 0.0))

    def committed(self, seconds: float) -> None:
        """A transaction of the ledger took so long."""
        self._meter.observe("rlvr_ledger_commit_seconds", seconds)

    def trouble(self, part: str) -> None:
        """A part of the aggregator failed at something."""
        self._meter.add("rlvr_errors_total", 1, part=part)

    def outbox(self, pending: int, oldest_s: float) -> None:
        """Events that wait for the broker, and for how long the oldest does."""
        self._meter.set("rlvr_outbox_pending", pending)
        self._meter.set("rlvr_outbox_oldest_age_seconds", oldest_s)

    def open(self, batches: int, oldest_s: float) -> None:
        """Batches that wait for their outcome, and for how long the oldest does."""
        self._meter.set("rlvr_open_batches", batches)
        self._meter.set("rlvr_open_oldest_age_seconds", oldest_s)

    def disk(self, free: int, min_free: int) -> None:
        """Bytes that are free on the ledger's disk, and below which asks are refused."""
        self._meter.set("rlvr_disk_free_bytes", free)
        self._meter.set("rlvr_disk_min_free_bytes", min_free)

    def _tokens(self, stage: str, usage: Usage) -> None:
        """The prompt's tokens without those that the cache had, so that kinds can be added."""
        for kind, count in (
            ("prompt", usage.prompt_tokens - usage.cached_tokens),
            ("cached", usage.cached_tokens),
            ("completion", usage.completion_tokens),
        ):
            if count > 0:
                self._meter.add("rlvr_tokens_total", count, stage=stage, kind=kind)


NO_METRICS = Metrics()  #: where nothing is measured


def _result(error: BaseException) -> str:
    """How an ask ended that raised this."""
    if isinstance(error, InputError | NoDocuments | NotFound):
        return "refused"
    if isinstance(error, Overloaded):
        return "overloaded"
    if isinstance(error, Unavailable):
        return "unavailable"
    return "failed" if isinstance(error, Exception) else "cancelled"
