"""The figures of ``GET /stats`` and of the gauges, cheap enough to be read every second."""

from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

from rlvr_ray.observability.metrics import Metrics

if TYPE_CHECKING:
    from rlvr_ray.dataset.ledger import Reader

#: Over which outcomes are counted.
WINDOWS: Mapping[str, timedelta] = {
    "1m": timedelta(minutes=1),
    "1h": timedelta(hours=1),
    "24h": timedelta(hours=24),
}
#: Latest outcomes and parts that are told, and troubles that are kept.
RECENT, TROUBLES = 10, 20
#: Characters of a trouble that are kept.
DETAIL_CHARS = 1000


@dataclass(slots=True)
class _Stretch:
    """The outcomes of a moving stretch of time, counted: each look reads what came and what went.

    ``after`` and ``last`` are sequence numbers; those behind ``after`` up to ``last`` are in it.
    """

    after: int = 0
    last: int = 0
    ended: Counter[str] = field(default_factory=Counter)

    def move(self, ledger: "Reader", after: int, last: int) -> None:
        if after >= self.last:  # nothing of what was counted is left
            self.ended = Counter(ledger.ended(after, last))
        else:
            self.ended += Counter(ledger.ended(self.last, last))
            self.ended -= Counter(ledger.ended(self.after, after))
        self.after, self.last = after, last


class Troubles:
    """The latest troubles of the parts; one that goes on is told once, with its latest time."""

    def __init__(self) -> None:
        self._latest: OrderedDict[tuple[str, str], datetime] = OrderedDict()

    def add(self, part: str, detail: str) -> None:
        """A part failed at something, just now."""
        key = part, detail[:DETAIL_CHARS]
        self._latest[key] = datetime.now(UTC)
        self._latest.move_to_end(key)
        while len(self._latest) > TROUBLES:
            self._latest.popitem(last=False)

    def plain(self) -> list[dict[str, str]]:
        """Latest first."""
        return [
            {"at": at.isoformat(), "part": part, "detail": detail}
            for (part, detail), at in reversed(self._latest.items())
        ]


class Statistics:
    """What a ledger tells, through one reader. Blocking; looks by turns in one thread."""

    def __init__(self) -> None:
        self._all = _Stretch()
        self._windows = {name: _Stretch() for name in WINDOWS}

    def look(self, ledger: "Reader", now: datetime) -> dict[str, Any]:
        """Counts by state, rates, what waits, the latest outcomes, files and events."""
        last = ledger.last_outcome()
        self._all.move(ledger, 0, last)
        rates = {}
        for name, length in WINDOWS.items():
            window = self._windows[name]
            window.move(ledger, max(ledger.last_outcome_before(now - length), window.after), last)
            rates[name] = {"decided": window.ended.total(), "pairs": window.ended["pair"]}
        (waiting, oldest), backlog = ledger.waiting(), ledger.backlog()
        num_parts, parts = ledger.sealed(RECENT)
        return {
            "batches": {"open": waiting, **self._all.ended},
            "rates": rates,
            "queue": {"open": waiting, "oldest": oldest and oldest.isoformat()},
            "recent": _recent(ledger),
            "files": {path: file.bytes for path, file in ledger.files().items()},
            "num_parts": num_parts,
            "parts": parts,
            "set_aside": {
                "count": len(ledger.set_aside),
                "records": [
                    {"record": what, "reason": why}
                    for what, why in islice(ledger.set_aside.items(), RECENT)
                ],
            },
            "mirror": {
                "pending": backlog.pending,
                "oldest": backlog.oldest and backlog.oldest.isoformat(),
            },
        }


def measure(ledger: "Reader", metrics: Metrics, now: datetime, *, mirrored: bool) -> None:
    """Set the gauges of what waits. Without a mirror no event does."""
    waiting, oldest = ledger.waiting()
    metrics.open(waiting, _age(oldest, now))
    backlog = ledger.backlog()
    metrics.outbox(
        backlog.pending if mirrored else 0, _age(backlog.oldest if mirrored else None, now)
    )


def _age(since: datetime | None, now: datetime) -> float:
    return max((now - since).total_seconds(), 0.0) if since else 0.0


def _recent(ledger: "Reader") -> list[dict[str, Any]]:
    return [
        {
            "batch_id": str(state.batch.batch_id),
            "question": state.batch.question,
            "outcome": state.outcome.reason or "pair",
            "detail": state.outcome.detail,
            "score_diff": state.outcome.score_diff,
            "decided_at": state.outcome.decided_at.isoformat(),
        }
        for state in ledger.recent(RECENT)
        if state.outcome is not None
    ]
