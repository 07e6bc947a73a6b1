"""What the shipped dashboard and alerts ask of Prometheus: all of it, as it stands in the files."""

import json
import re
from collections.abc import Iterator
from typing import Any

import yaml

from tests.prometheus import DEPLOY, RULES

DASHBOARD = DEPLOY / "grafana" / "rlvr_ray.json"


def dashboard() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(DASHBOARD.read_text("utf-8"))
    return loaded


def panels(inside: Any = None) -> Iterator[dict[str, Any]]:
    """Every panel that shows something, those of collapsed rows included."""
    for panel in (inside or dashboard())["panels"]:
        if panel["type"] == "row":
            yield from panels(panel)
        else:
            yield panel


def queries(interval: str = "5m", over: str = "15m") -> dict[str, str]:
    """Every query of every panel by panel and letter, Grafana's variables put in."""
    return {
        f"{panel['title']} {target['refId']}": target["expr"]
        .replace("$__rate_interval", interval)
        .replace("$__range", over)
        for panel in panels()
        for target in panel["targets"]
    }


def rules() -> list[dict[str, Any]]:
    return [
        r for group in yaml.safe_load(RULES.read_text("utf-8"))["groups"] for r in group["rules"]
    ]


def records() -> dict[str, str]:
    """Recorded figures and what they are made of."""
    return {rule["record"]: rule["expr"] for rule in rules() if "record" in rule}


def alerts() -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def names(expression: str) -> set[str]:
    """Metrics of ours that an expression reads, as ``METRICS`` has them."""
    found = re.findall(r"\bray_(rlvr_\w+)", expression)
    return {re.sub("_(bucket|count|sum)$", "", name) for name in found}
