"""What /stats and the gauges tell of a ledger, and that it costs no more as the ledger grows."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rlvr_ray.core.records import Kind
from rlvr_ray.dataset.ledger import Ledger, Reader
from rlvr_ray.dataset.stats import TROUBLES, Statistics, Troubles, measure
from rlvr_ray.observability.metrics import Metrics
from tests.builders import batch
from tests.fakes import FakeMeter
from tests.folders import MIXED, decide_in, decided

pytestmark = pytest.mark.integration


NOW = datetime(2026, 3, 14, 12, tzinfo=UTC)
Both = tuple[Ledger, Reader]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Both]:
    ledger = Ledger(tmp_path)
    reader = ledger.reader()
    yield ledger, reader
    reader.close()
    ledger.close()


def ago(**time: float) -> datetime:
    return NOW - timedelta(**time)


def test_an_empty_ledger(ledger: Both) -> None:
    told = Statistics().look(ledger[1], NOW)
    assert told["batches"] == {"open": 0}
    assert told["queue"] == {"open": 0, "oldest": None}
    assert told["rates"] == {w: {"decided": 0, "pairs": 0} for w in ("1m", "1h", "24h")}
    assert told["recent"] == [] and told["parts"] == []


def test_counts_are_those_of_the_ledger_whenever_one_looks(ledger: Both) -> None:
    statistics = Statistics()
    for state in MIXED:
        decide_in(ledger[0], state)
        counts = statistics.look(ledger[1], NOW)["batches"]
        rows = ledger[1]._rows(
            "SELECT coalesce(reason, 'pair'), count(*) FROM outcome GROUP BY reason"
        )
        assert counts == {"open": 0, **dict(rows)} == ledger[1].counts()
    assert Statistics().look(ledger[1], NOW)["batches"] == counts, "from the start as step by step"


def test_rates_count_the_outcomes_of_their_time(ledger: Both) -> None:
    times = (ago(hours=30), ago(hours=23), ago(minutes=59), ago(seconds=59), ago(seconds=1))
    for number, at in enumerate(times):
        decide_in(ledger[0], decided(number, (0.9, 0.5) if number % 2 else (0.9, 0.89), at=at))
    statistics = Statistics()
    assert statistics.look(ledger[1], NOW)["rates"] == {
        "1m": {"decided": 2, "pairs": 1},
        "1h": {"decided": 3, "pairs": 1},
        "24h": {"decided": 4, "pairs": 2},
    }
    later = NOW + timedelta(hours=1, seconds=30)
    decide_in(ledger[0], decided(9, at=later))
    assert statistics.look(ledger[1], later)["rates"] == {
        "1m": {"decided": 1, "pairs": 1},
        "1h": {"decided": 1, "pairs": 1},
        "24h": {"decided": 4, "pairs": 2},
    }
    assert statistics.look(ledger[1], later + timedelta(days=3))["rates"] == {
        w: {"decided": 0, "pairs": 0} for w in ("1m", "1h", "24h")
    }


def test_a_clock_that_was_set_back_loses_no_outcome_and_counts_none_twice(ledger: Both) -> None:
    for number, at in enumerate((ago(minutes=2), ago(seconds=1), ago(seconds=30), ago(seconds=2))):
        decide_in(ledger[0], decided(number, at=at))
    statistics = Statistics()
    for _ in range(2):
        rates = statistics.look(ledger[1], NOW)["rates"]
        assert rates["1m"]["decided"] == 3 and rates["1h"]["decided"] == 4
    earlier = ago(minutes=5)
    assert statistics.look(ledger[1], earlier)["rates"]["1h"] == {"decided": 4, "pairs": 4}


def test_what_is_open_and_since_when(ledger: Both) -> None:
    first = batch(question="first", created_at=ago(minutes=9))
    second = batch(question="second", created_at=ago(minutes=3))
    ledger[0].commit([lambda it: it.record([first, second])])
    told = Statistics().look(ledger[1], NOW)
    assert told["queue"] == {"open": 2, "oldest": first.created_at.isoformat()}
    assert told["batches"]["open"] == 2


def test_a_look_reads_only_what_is_new(ledger: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(300):
        state = decided(number, (0.9,), kind=Kind.SINGLE, at=ago(seconds=300 - number))
        decide_in(ledger[0], state)
    statistics = Statistics()
    statistics.look(ledger[1], NOW)
    counted: list[tuple[int, int]] = []
    ended = Reader.ended

    def watched(self: Reader, after: int, last: int) -> dict[str, int]:
        counted.append((after, last))
        return ended(self, after, last)

    monkeypatch.setattr(Reader, "ended", watched)
    decide_in(ledger[0], decided(300, at=NOW))
    told = statistics.look(ledger[1], NOW + timedelta(seconds=1))
    assert told["batches"] == {"open": 0, "single_answer": 300, "pair": 1}
    assert all(last - after <= 2 for after, last in counted), counted


def test_a_trouble_that_goes_on_is_told_once() -> None:
    troubles = Troubles()
    troubles.add("mirror", "the broker is away")
    troubles.add("verify", "the judge hangs")
    troubles.add("mirror", "the broker is away")
    told = troubles.plain()
    assert [(each["part"], each["detail"]) for each in told] == [
        ("mirror", "the broker is away"),
        ("verify", "the judge hangs"),
    ]
    assert told[0]["at"] >= told[1]["at"]
    assert datetime.fromisoformat(told[0]["at"]).tzinfo is not None


def test_only_the_latest_troubles_are_kept() -> None:
    troubles = Troubles()
    for number in range(TROUBLES + 5):
        troubles.add("verify", f"trouble {number}")
    assert [each["detail"] for each in troubles.plain()] == [
        f"trouble {number}" for number in reversed(range(5, TROUBLES + 5))
    ]


@pytest.mark.parametrize("mirrored", [True, False])
def test_gauges(ledger: Both, mirrored: bool) -> None:
    ledger[0].commit([lambda it: it.record([batch(created_at=ago(seconds=90))])])
    meter, later = FakeMeter(), datetime.now(UTC) + timedelta(seconds=60)
    measure(ledger[1], Metrics(meter), NOW, mirrored=mirrored)
    assert meter.gauges["rlvr_open_batches"] == 1
    assert meter.gauges["rlvr_open_oldest_age_seconds"] == 90
    assert meter.gauges["rlvr_outbox_pending"] == (3 if mirrored else 0)
    measure(ledger[1], Metrics(meter), later, mirrored=mirrored)
    age = meter.gauges["rlvr_outbox_oldest_age_seconds"]
    assert 60 <= age < 90 if mirrored else age == 0


def test_gauges_of_nothing(ledger: Both) -> None:
    meter = FakeMeter()
    measure(ledger[1], Metrics(meter), NOW, mirrored=True)
    assert set(meter.gauges.values()) == {0.0} and len(meter.gauges) == 4
