"""What is measured: few tags with listed values, and the words of the parts as numbers."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from rlvr_ray.core.errors import ContextOverflow, InputError, NoDocuments, Overloaded, TimedOut
from rlvr_ray.core.records import Reason, Usage
from rlvr_ray.observability.metrics import METRICS, NO_METRICS, OTHER, Metric, Metrics
from tests.builders import CREATED, batch, candidate, failed, verification
from tests.fakes import FakeMeter
from tests.folders import decided


@pytest.fixture
def meter() -> FakeMeter:
    return FakeMeter()


@pytest.fixture
def metrics(meter: FakeMeter) -> Metrics:
    return Metrics(meter)


@pytest.mark.parametrize("name", METRICS)
def test_names_say_kind_and_unit(name: str) -> None:
    metric = METRICS[name]
    assert name.startswith("rlvr_")
    assert name.endswith("_total") == (metric.kind == "counter")
    assert bool(metric.bounds) == (metric.kind == "histogram")
    assert list(metric.bounds) == sorted(set(metric.bounds)) and all(b > 0 for b in metric.bounds)
    assert metric.description.endswith(".")
    assert ("Seconds" in metric.description) == ("_seconds" in name)


@pytest.mark.parametrize("metric", METRICS.values())
def test_a_metric_has_few_series(metric: Metric) -> None:
    combinations = [*metric.combinations()]
    assert len(combinations) <= 12
    assert len({tuple(one.items()) for one in combinations}) == len(combinations)
    assert not {"batch_id", "question", "model", "correlation_id"} & set(metric.tags or ())


def test_what_is_not_listed_is_other() -> None:
    metric = METRICS["rlvr_candidates_total"]
    assert metric.fitting({"finish_reason": "stop"}) == {"finish_reason": "stop"}
    assert metric.fitting({"finish_reason": "What is Ray?"}) == {"finish_reason": OTHER}


def test_every_reason_is_listed() -> None:
    assert METRICS["rlvr_no_pair_total"].tags == {"reason": tuple(Reason)}


@pytest.mark.parametrize(
    ("error", "result"),
    [
        (None, "ok"),
        (InputError("wrong"), "refused"),
        (ContextOverflow("long"), "refused"),
        (NoDocuments("none"), "refused"),
        (Overloaded("much"), "overloaded"),
        (TimedOut("late"), "unavailable"),
        (ZeroDivisionError(), "failed"),
        (KeyboardInterrupt(), "cancelled"),
    ],
)
def test_an_ask(
    metrics: Metrics, meter: FakeMeter, error: BaseException | None, result: str
) -> None:
    asked_at = datetime.now(UTC) - timedelta(seconds=60)
    try:
        with metrics.ask(asked_at):
            if error is not None:
                raise error
    except BaseException as raised:
        assert raised is error
    (took,) = meter.observed.pop(("rlvr_ask_duration_seconds", result))
    assert took >= 60 and not meter.observed


def test_one_that_is_turned_away(metrics: Metrics, meter: FakeMeter) -> None:
    metrics.turned_away()
    assert meter.observed == {("rlvr_ask_duration_seconds", "overloaded"): [0.0]}


def test_a_recorded_batch(metrics: Metrics, meter: FakeMeter) -> None:
    made = batch(("a", "b"))
    cut = candidate(made.batch_id, 2, "c", finish_reason="length")
    odd = candidate(made.batch_id, 3, "d", finish_reason="content_filter")
    metrics.recorded(batch(("a", "b", "c", "d"), candidates=(*made.candidates, cut, odd),
                           batch_id=made.batch_id))  # fmt: skip
    assert meter.counters == {
        ("rlvr_candidates_total", "stop"): 2,
        ("rlvr_candidates_total", "length"): 1,
        ("rlvr_candidates_total", OTHER): 1,
        ("rlvr_tokens_total", "generation", "prompt"): 4 * 40,
        ("rlvr_tokens_total", "generation", "cached"): 4 * 60,
        ("rlvr_tokens_total", "generation", "completion"): 10 + 11 + 12 + 13,
    }


def test_a_scored_answer(metrics: Metrics, meter: FakeMeter) -> None:
    metrics.verified(
        batch(), verification(candidate(batch().batch_id), 0.9, None, duration_ms=1500)
    )
    assert meter.observed == {
        ("rlvr_verification_duration_seconds",): [1.5],
        ("rlvr_faithfulness",): [0.9],
    }
    assert meter.counters == {
        ("rlvr_verifications_total", "scored"): 1,
        ("rlvr_tokens_total", "verification", "prompt"): 200,
        ("rlvr_tokens_total", "verification", "completion"): 20,
    }


def test_one_without_tokens(metrics: Metrics, meter: FakeMeter) -> None:
    subject = candidate(batch().batch_id)
    metrics.verified(
        batch(), verification(subject, 0.9, 0.7, usage=Usage(prompt_tokens=0, completion_tokens=0))
    )
    assert set(meter.counters) == {("rlvr_verifications_total", "scored")}
    assert meter.observed["rlvr_relevancy",] == [0.7]


def test_one_without_a_score(metrics: Metrics, meter: FakeMeter) -> None:
    metrics.verified(batch(), failed(candidate(batch().batch_id)))
    assert meter.counters == {("rlvr_verifications_total", "failed"): 1} and not meter.observed


def test_outcomes(metrics: Metrics, meter: FakeMeter) -> None:
    at = CREATED + timedelta(seconds=30)
    for state in (
        decided(0, (0.9, 0.5), at=at),
        decided(1, (0.9, 0.89), at=at),
        decided(2, (0.9, "silent"), at=at),
    ):
        assert state.outcome
        metrics.decided(state.batch, state.results, state.outcome)
    assert meter.counters == {
        ("rlvr_pairs_total",): 1,
        ("rlvr_no_pair_total", "margin_too_small"): 1,
        ("rlvr_no_pair_total", "unscored"): 1,
    }
    assert meter.observed == {
        ("rlvr_score_difference",): [0.4, 0.01],
        ("rlvr_decision_delay_seconds",): [30.0] * 3,
    }


def test_the_rest(metrics: Metrics, meter: FakeMeter) -> None:
    metrics.committed(0.004)
    metrics.trouble("mirror")
    metrics.trouble("something new")
    metrics.outbox(3, 1.5)
    metrics.open(2, 0.5)
    metrics.disk(10**9, 512 * 2**20)
    assert meter.observed == {("rlvr_ledger_commit_seconds",): [0.004]}
    assert meter.counters == {
        ("rlvr_errors_total", "mirror"): 1,
        ("rlvr_errors_total", OTHER): 1,
    }
    assert meter.gauges == {
        "rlvr_outbox_pending": 3,
        "rlvr_outbox_oldest_age_seconds": 1.5,
        "rlvr_open_batches": 2,
        "rlvr_open_oldest_age_seconds": 0.5,
        "rlvr_disk_free_bytes": 10**9,
        "rlvr_disk_min_free_bytes": 512 * 2**20,
    }


@pytest.mark.parametrize(
    "tell",
    [
        lambda m: m.recorded(batch()),
        lambda m: m.verified(batch(), failed(candidate(batch().batch_id))),
        lambda m: m.committed(1.0),
        lambda m: m.open(1, 1.0),
    ],
)
def test_without_a_meter_nothing_happens(tell: Callable[[Metrics], None]) -> None:
    tell(NO_METRICS)
