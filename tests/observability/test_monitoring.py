"""What is shipped for Prometheus and Grafana: valid, whole, of one piece with what we measure."""

import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from rlvr_ray.observability.metrics import METRICS
from tests import dashboards, prometheus
from tests.prometheus import DEPLOY, ROOT, RULES, promtool

pytestmark = pytest.mark.integration


DOCS = (ROOT / "docs" / "monitoring.md").read_text("utf-8")
TESTS = ROOT / "tests" / "data" / "alerts_test.yml"
#: Grafana's ids of units that we use.
UNITS = {"short", "percentunit", "s", "ms", "bytes", "opm", "reqps"}


def test_prometheus_takes_rules_and_configuration() -> None:
    found = len(dashboards.rules())
    assert f"{found} rules found" in promtool("check", "rules", RULES)
    assert "SUCCESS" in promtool("check", "config", DEPLOY / "prometheus" / "prometheus.yml")


def test_alerts_fire_when_they_should_and_only_then() -> None:
    promtool("test", "rules", TESTS)


def test_every_alert_is_tested_both_ways() -> None:
    tests = yaml.safe_load(TESTS.read_text("utf-8"))["tests"]
    cases = [case for test in tests for case in test["alert_rule_test"]]
    for alert in dashboards.alerts():
        fires = {bool(case.get("exp_alerts")) for case in cases if case["alertname"] == alert}
        assert fires == {True, False}, alert


def test_an_alert_compares_recorded_figures() -> None:
    """So that the test on a real run, where none fires, sees that all have data."""
    records = dashboards.records()
    for name, alert in dashboards.alerts().items():
        figures = re.findall(r"\b\w+(?::\w+)+", alert["expr"])
        assert figures and set(figures) <= set(records), name
        assert not re.search(r"\bray_", alert["expr"]), name


@pytest.mark.parametrize("name", dashboards.alerts())
def test_an_alert_says_what_to_do(name: str) -> None:
    alert = dashboards.alerts()[name]
    assert alert["labels"]["severity"] in {"warning", "critical"}
    assert alert["for"] and alert["annotations"]["summary"]
    assert alert["annotations"]["runbook"] == f"docs/monitoring.md#{name.lower()}"
    assert re.search(f"^#+ {name}$", DOCS, re.MULTILINE)


def test_every_metric_is_shown_and_described() -> None:
    shown = set().union(*(dashboards.names(query) for query in dashboards.queries().values()))
    asked = set().union(*(dashboards.names(expr) for expr in dashboards.records().values()))
    assert shown == set(METRICS)
    assert asked <= set(METRICS)
    described = set(re.findall(r"^\| `(rlvr_\w+)` \|", DOCS, re.MULTILINE))
    assert described == set(METRICS)


def test_a_counter_is_asked_for_its_increase() -> None:
    """After a restart it begins anew: its value alone says nothing."""
    expressions = [*dashboards.queries().values(), *dashboards.records().values()]
    for expression in expressions:
        for name in re.findall(r"(?<!rate\()(?<!increase\()\bray_(rlvr_\w+)", expression):
            assert METRICS[name].kind == "gauge", expression


def test_panels_are_whole() -> None:
    found = [*dashboards.panels()]
    assert len(found) > 20
    for panel in found:
        title = panel["title"]
        assert panel["description"].endswith("."), title
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, title
        assert panel["targets"], title
        assert panel["datasource"]["uid"] == "${datasource}"
        for target in panel["targets"]:
            assert target["expr"] and target["legendFormat"], title
            assert target["datasource"]["uid"] == "${datasource}", title
    titles = [panel["title"] for panel in found]
    assert len(set(titles)) == len(titles)
    ids = [panel["id"] for panel in dashboards.dashboard()["panels"]]
    assert len(set(ids)) == len(ids)


def test_no_panel_lies_on_another() -> None:
    places = [panel["gridPos"] for panel in dashboards.dashboard()["panels"]]

    def apart(a: dict[str, int], b: dict[str, int]) -> bool:
        beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        return beside or a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]

    assert all(place["x"] + place["w"] <= 24 for place in places)
    assert all(apart(a, b) for a, b in combinations(places, 2))


def test_the_dashboard_finds_its_source() -> None:
    board = dashboards.dashboard()
    assert board["uid"] == "rlvr_ray"
    (variable,) = board["templating"]["list"]
    assert (variable["name"], variable["type"], variable["query"]) == (
        "datasource",
        "datasource",
        "prometheus",
    )


def provisioned(kind: str) -> dict[str, Any]:
    (file,) = (DEPLOY / "grafana" / "provisioning" / kind).glob("*.yaml")
    loaded: dict[str, Any] = yaml.safe_load(file.read_text("utf-8"))
    return loaded


def test_grafana_is_provisioned_with_both() -> None:
    (source,) = provisioned("datasources")["datasources"]
    assert (source["type"], source["url"]) == ("prometheus", "http://localhost:9090")
    assert source["jsonData"]["timeInterval"] == prometheus.config()["global"]["scrape_interval"]
    (provider,) = provisioned("dashboards")["providers"]
    assert provider["options"]["path"] == "$DASHBOARDS"
    assert "DASHBOARDS=" in DOCS
    assert Path(dashboards.DASHBOARD).parent.name == "grafana" and "deploy/grafana" in DOCS
