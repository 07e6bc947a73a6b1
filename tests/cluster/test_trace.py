"""One id leads through the whole system, with Ray Serve's own tracing beside ours."""

import json
from collections.abc import Iterator
from importlib.metadata import metadata
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from rlvr_ray.core import ids
from rlvr_ray.observability import trace_ids
from tests.broker import Broker
from tests.cluster.conftest import System, serve
from tests.otlp import Receiver, Span, receiver

pytestmark = pytest.mark.slow


CALLER = ("a" * 32, "b" * 16)
#: Any answer counts, so that no model judges.
SETTINGS = {
    "RLVR_VERIFICATION__VERIFIERS": '[{"name": "regex", "options": {"pattern": "[a-m]"}}]',
    "RLVR_GENERATOR__MAX_TOKENS": "16",
    "RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH": "rlvr_ray.observability.opentelemetry:serve_spans",
    "RAY_SERVE_TRACING_SAMPLING_RATIO": "1.0",
}


@pytest.fixture(scope="module")
def received() -> Iterator[Receiver]:
    with receiver() as running:
        yield running


@pytest.fixture(scope="module")
def traced(
    tmp_path_factory: pytest.TempPathFactory, broker: Broker, received: Receiver
) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("traced")
    own = {"RLVR_MIRROR__URL": broker.url, "RLVR_TRACING__ENDPOINT": received.url}
    yield from serve(folder, SETTINGS | own, broker.url)


@pytest.fixture(scope="module")
def batch(traced: System) -> dict[str, Any]:
    """Asked, decided, written and told."""
    path = traced.data_dir.parent / "fastapi.md"
    path.write_text(str(metadata("fastapi").json["description"])[:2000], "utf-8")
    traced.rlvr("ingest", str(path), "--url", traced.url)
    reply = traced.http.post(
        "/ask/multi-candidate",
        json={"question": "What is FastAPI?", "correlation_id": "the-whole-way", "top_k": 1},
        headers={"traceparent": f"00-{CALLER[0]}-{CALLER[1]}-01"},
    )
    assert reply.status_code == 200, reply.text
    asked: dict[str, Any] = reply.json()
    traced.client.wait(asked["batch_id"])
    traced.await_rows("training_data", asked["batch_id"], 3)
    traced.await_mirrored()
    return asked


def trace_of(system: System, name: str, *options: str) -> dict[str, Any]:
    (found,) = json.loads(system.rlvr("trace", name, "--json", *options))["traces"]
    return dict(found)


def test_one_id_leads_from_the_ask_to_rows_events_and_log_lines(
    traced: System, batch: dict[str, Any]
) -> None:
    found = trace_of(traced, batch["batch_id"], "--url", traced.url)
    assert found["trace_id"] == batch["batch_id"].replace("-", "")
    steps = found["steps"]
    assert [step["step"] for step in steps] == [
        "asked",
        *["answered"] * 3,
        *["verified"] * 3,
        "decided",
    ]
    assert [step["at"] for step in steps] == sorted(step["at"] for step in steps)
    assert 0 < steps[1]["after_s"] <= steps[4]["after_s"] <= steps[7]["after_s"]
    assert [step["temperature"] for step in steps[1:4]] == [0.3, 0.7, 0.9]
    events = [step["event"] for step in steps[1:]]
    assert all(event["mirrored"] for event in events)
    assert len({event["seq"] for event in events}) == 7
    answers = [candidate["metadata"]["event_id"] for candidate in batch["candidates"]]
    assert [event["event_id"] for event in events[:3]] == answers
    (document,) = found["documents"]
    assert document["source"].endswith("/fastapi.md") and document["passages"] == 1
    for file in found["files"]:
        lines = (traced.data_dir / file["path"]).read_text("utf-8").splitlines()
        rows = [json.loads(line) for line in lines[file["line"] - 1 :][: file["rows"]]]
        assert {row["metadata"]["batch_id"] for row in rows} == {batch["batch_id"]}
    said = [line["message"] for line in found["logs"]]
    for word in ("asked", "recorded", "verified", "decided"):
        assert any(word in line for line in said), said


def test_every_id_leads_there(traced: System, batch: dict[str, Any]) -> None:
    event = batch["candidates"][2]["metadata"]["event_id"]
    for name in (batch["batch_id"].replace("-", ""), event, "the-whole-way"):
        assert trace_of(traced, name, "--url", traced.url)["batch_id"] == batch["batch_id"]
    shown = traced.rlvr("trace", "the-whole-way", "--url", traced.url)
    assert "What is FastAPI?" in shown and "log lines" in shown
    assert "no batch" in traced.http.get("/traces?id=unknown").json()["detail"]


def test_the_spans_of_every_process_are_one_trace(
    received: Receiver, traced: System, batch: dict[str, Any]
) -> None:
    trace_id = batch["batch_id"].replace("-", "")
    names = {"ask", "search", "generate", "record", "verify", "decide", "write"}

    def own(spans: list[Span]) -> list[Span]:
        return [s for s in spans if s.trace_id == trace_id and s.service == "rlvr_ray"]

    spans = received.wait(lambda spans: names <= {span.name for span in own(spans)})
    ours = own(spans)
    (root,) = [span for span in ours if span.name == "ask"]
    batch_id = UUID(batch["batch_id"])
    assert root.span_id == trace_ids.ask_span_id(batch_id)
    assert {span.parent_id for span in ours if span.name in names - {"ask"}} == {root.span_id}
    assert len([span for span in ours if span.name == "generate candidate"]) == 3
    judged = {span.span_id for span in ours if span.name == "verify candidate"}
    assert judged == {trace_ids.span_id(ids.verification_event(batch_id, n)) for n in range(3)}
    assert CALLER in root.links


def test_serve_s_spans_are_beside_ours(
    received: Receiver, traced: System, batch: dict[str, Any]
) -> None:
    """The ask links to the one around it; those of the parts that it calls are in its trace."""
    spans = list(received.spans)
    (root,) = [s for s in spans if s.name == "ask"]
    serves = {(s.trace_id, s.span_id): s for s in spans if s.service != "rlvr_ray"}
    assert serves, "Serve sends its own"
    around = [serves[link] for link in root.links if link in serves]
    assert around, (root.links, sorted(s.name for s in serves.values()))
    inside = [s.name for s in serves.values() if s.trace_id == root.trace_id]
    assert inside, sorted(s.name for s in serves.values())


def test_the_ledger_tells_it_when_the_server_is_gone(traced: System, batch: dict[str, Any]) -> None:
    before = trace_of(traced, batch["batch_id"], "--url", traced.url)
    traced.stop()
    after = trace_of(traced, "the-whole-way", "--data-dir", str(traced.data_dir))
    assert after["steps"] == before["steps"]
    for file in after["files"]:
        assert file["sealed"]
        assert Path(traced.data_dir, file["part"]).is_file()
