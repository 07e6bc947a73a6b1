"""A real Prometheus beside the whole system: every query of the dashboard and the alerts has data,
and the log lines of its processes are what docs/monitoring.md says."""

import json
import time
from collections.abc import Iterator
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

import pytest

from rlvr_ray.core.records import Reason
from rlvr_ray.observability.metrics import METRICS
from tests import dashboards, prometheus
from tests.broker import Broker
from tests.cluster.conftest import System, free_port, serve
from tests.patience import PATIENCE_S
from tests.prometheus import Prometheus

pytestmark = pytest.mark.slow


#: Pairs come easily, and most answers end before their limit.
SETTINGS = {
    "RLVR_DPO__MIN_CHOSEN_FAITHFULNESS": "0",
    "RLVR_DPO__MIN_CHOSEN_RELEVANCY": "0",
    "RLVR_DPO__MIN_CHOSEN_SCORE": "0",
    "RLVR_DPO__MIN_SCORE_DIFF": "0.001",
    "RLVR_DPO__REJECTED_NEEDS_DEFECT": "false",
    "RLVR_GENERATOR__MAX_TOKENS": "64",
    "RLVR_LOG__FORMAT": "json",
}
QUESTIONS = (
    "What is FastAPI?",
    "How do I install FastAPI?",
    "What are the key features of FastAPI?",
    "Who uses FastAPI?",
    "What does FastAPI depend on?",
)
#: Longest time until everything has data, in seconds; Ray brings its figures up to date every 10.
DATA_S = 150.0


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory, broker: Broker) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("measured")
    yield from serve(folder, SETTINGS | {"RLVR_MIRROR__URL": broker.url}, broker.url)


@pytest.fixture(scope="module")
def observed(measured: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that has seen the figures grow: questions were asked before and after."""
    discovery = measured.ray_session / "prom_metrics_service_discovery.json"
    folder = tmp_path_factory.mktemp("prometheus")
    with prometheus.serving(folder, free_port(), discovery) as running:
        file = folder / "fastapi.md"
        file.write_text(str(metadata("fastapi").json["description"])[:6000], "utf-8")
        measured.rlvr("ingest", str(file), "--url", measured.url)
        deadline = time.monotonic() + DATA_S
        questions = iter(QUESTIONS * 10)
        while missing := [name for name, query in wanted().items() if not running.query(query)]:
            assert time.monotonic() < deadline, f"no data: {missing}"
            asked = measured.client.ask(next(questions), top_k=2)
            measured.client.wait(asked.batch_id)
            measured.http.post("/ask", json={"question": QUESTIONS[0], "top_k": 1})
        yield running


def wanted() -> dict[str, str]:
    """Every query of the panels, every recorded figure, and what that is made of."""
    records = dashboards.records()
    return dashboards.queries() | records | {f"{name} itself": name for name in records}


def test_every_panel_and_every_figure_of_an_alert_has_data(observed: Prometheus) -> None:
    for name, query in wanted().items():
        assert observed.query(query), f"{name} has no data: {query}"


def test_prometheus_finds_every_node_and_takes_the_rules(observed: Prometheus) -> None:
    targets = observed.get("targets")["activeTargets"]
    assert targets and {target["health"] for target in targets} == {"up"}
    groups = observed.get("rules")["groups"]
    found = [rule for group in groups for rule in group["rules"]]
    assert {rule["name"] for rule in found} == {
        *dashboards.records(),
        *dashboards.alerts(),
    }
    assert {rule["health"] for rule in found} == {"ok"}, found
    firing = [rule["name"] for rule in found if rule.get("state") == "firing"]
    assert not firing


def test_the_counters_say_what_the_ledger_says(observed: Prometheus, measured: System) -> None:
    def total(query: str) -> float:
        (series,) = observed.query(query)
        return float(series["value"][1])

    counted: dict[str, float] = {}
    counts = measured.client.stats().batches
    deadline = time.monotonic() + PATIENCE_S
    while True:
        counted = {"pair": total("sum(ray_rlvr_pairs_total)")}
        for reason in Reason:
            counted[reason] = total(f'sum(ray_rlvr_no_pair_total{{reason="{reason}"}})')
        if {"open": 0} | {name: n for name, n in counted.items() if n} == counts:
            break
        assert time.monotonic() < deadline, (counted, counts)
        time.sleep(0.5)
        counts = measured.client.stats().batches
    assert counted["pair"] and counted["single_answer"]
    answers = len(measured.jsonl("training_data"))
    assert total("sum(ray_rlvr_candidates_total)") == answers
    assert total("sum(ray_rlvr_verifications_total)") == answers


def test_all_metrics_are_there_with_listed_tags_only(observed: Prometheus) -> None:
    for name, metric in METRICS.items():
        suffix = "_count" if metric.kind == "histogram" else ""
        series = observed.query(f"ray_{name}{suffix}")
        assert series, name
        for tag, values in (metric.tags or {}).items():
            assert {one["metric"][tag] for one in series} <= {*values}, name


def test_log_lines_name_their_batch(observed: Prometheus, measured: System) -> None:
    secret = "the-caller-of-the-log"
    reply = measured.http.post(
        "/ask/multi-candidate",
        json={"question": QUESTIONS[0], "correlation_id": secret, "top_k": 2},
    )
    state = measured.client.wait(reply.json()["batch_id"])
    measured.await_rows("training_data", state.batch_id, 3)
    own: list[dict[str, Any]] = []
    deadline = time.monotonic() + PATIENCE_S
    while not any(line["message"].startswith("written") for line in own):
        assert time.monotonic() < deadline, own
        own = sorted(
            (line for line in logged(measured) if line["batch_id"] == state.batch_id),
            key=lambda line: str(line["time"]),
        )
    assert {line["correlation_id"] for line in own} == {secret}
    steps = [line["message"].split(":")[0] for line in own]
    assert steps == ["asked", "recorded", *["verified"] * 3, "decided", "written"]
    assert {line["logger"] for line in own} == {
        "rlvr_ray.pipeline.ask",
        "rlvr_ray.pipeline.commit_observer",
        "rlvr_ray.dataset.projection",
    }


def logged(system: System) -> list[dict[str, Any]]:
    """The lines of ours in the files that Ray keeps of its workers."""
    found = []
    for file in (system.ray_session / "logs").glob("worker-*.err"):
        for line in file.read_text("utf-8").splitlines():
            if line.startswith('{"time"'):
                found.append(json.loads(line))
                assert {"batch_id", "correlation_id"} <= set(found[-1])
    return found


def test_what_serve_says_of_replicas_is_json_as_well(measured: System) -> None:
    files = [*(measured.ray_session / "logs" / "serve").glob("replica_rlvr_*.log")]
    assert len(files) == 4
    for file in files:
        for line in file.read_text("utf-8").splitlines():
            assert json.loads(line)["message"], file


def test_no_log_has_what_was_asked_or_answered(observed: Prometheus, measured: System) -> None:
    rows = measured.jsonl("training_data")
    texts = {row["answer"] for row in rows if len(row["answer"]) > 30} | set(QUESTIONS)
    assert len(texts) > len(QUESTIONS)
    logs = measured.ray_session / "logs"
    for file in [*logs.glob("worker-*"), *logs.glob("serve/*.log")]:
        content = file.read_text("utf-8", "replace")
        for text in texts:
            assert text not in content and json.dumps(text)[1:-1] not in content, file


def test_statistics_name_the_dashboard(measured: System) -> None:
    stats = measured.http.get("/stats").json()
    assert stats["dashboard"].startswith("http://")
    assert stats["disk"]["free_bytes"] > stats["disk"]["min_free_bytes"]
    assert stats["rates"]["1h"]["decided"] >= stats["rates"]["1h"]["pairs"] >= 1


def test_discovery_stands_where_the_configuration_looks(measured: System) -> None:
    """At the place that every cluster on a machine shares: the last one that was started."""
    (job,) = prometheus.config()["scrape_configs"]
    (place,) = job["file_sd_configs"][0]["files"]
    assert Path(place).parent == measured.ray_session.parent
    assert json.loads(Path(place).read_text("utf-8"))[0]["targets"]
