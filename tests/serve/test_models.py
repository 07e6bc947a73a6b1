"""Replies and their models: every route has one, and what is sent is what it says."""

import json
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import TypeAdapter

from rlvr_ray.client.models.batches import Batch
from rlvr_ray.client.models.dataset import Page
from rlvr_ray.client.models.system import Problem, Readiness, Trace
from rlvr_ray.client.watch import EVENT_TYPES
from rlvr_ray.pipeline.live import LiveEvent
from rlvr_ray.serve.http import replies
from rlvr_ray.serve.http.batches import event_data
from tests.archives import Served
from tests.fake_services import FakeServices
from tests.folders import MIXED

#: Routes that send no JSON, and the media types that they declare.
FILES = {
    "/pairs": {"application/jsonl", "application/vnd.apache.parquet"},
    "/answers": {"application/jsonl", "application/vnd.apache.parquet"},
    "/batches/{batch_id}/events": {"text/event-stream"},
}


@pytest.fixture
def api(tmp_path: Path) -> FastAPI:
    return FakeServices([], tmp_path).app


def check(model: Any, reply: Any) -> None:
    """The reply has the model's keys in the model's order, and reads as its values."""
    adapter = TypeAdapter(model)
    again = adapter.dump_python(adapter.validate_python(reply), mode="json")
    assert again == reply
    assert json.dumps(again) == json.dumps(reply), "the order of keys, too"


def test_every_route_has_a_response_model(api: FastAPI) -> None:
    operations = [
        (method, path, operation["responses"])
        for path, methods in api.openapi()["paths"].items()
        for method, operation in methods.items()
    ]
    assert len(operations) > 20
    for method, path, responses in operations:
        for code in responses.keys() - {"default"}:
            content = responses[code].get("content", {})
            if path in FILES:
                assert set(content) == FILES[path]
            elif code == "204":
                assert not content, path
            else:
                assert set(content) == {"application/json"}, path
                model = content["application/json"]["schema"]
                assert "$ref" in model, f"{method} {path} has no response model for {code}"


def test_every_route_declares_its_errors(api: FastAPI) -> None:
    schema = api.openapi()
    assert schema is api.openapi(), "made once"
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            content = operation["responses"]["default"]["content"]
            reference = {"$ref": f"#/components/schemas/{Problem.__name__}"}
            assert content == {"application/problem+json": {"schema": reference}}, path
            assert "422" not in operation["responses"], "it is a problem like the others"


@pytest.mark.parametrize("number", range(len(MIXED)))
def test_a_batch_is_sent_as_it_is_built(number: int) -> None:
    check(Batch, replies.batch(MIXED[number]))


@pytest.mark.parametrize(
    "event",
    [
        LiveEvent(kind="contexts", data=MIXED[0].batch.contexts),
        LiveEvent(kind="piece", data=(1, "Ray")),
        LiveEvent(kind="restart"),
    ],
    ids=lambda event: event.kind,
)
def test_a_live_event_is_sent_as_the_client_reads_it(event: LiveEvent) -> None:
    check(EVENT_TYPES[event.kind], event_data(event))


def test_a_live_state_is_the_batch() -> None:
    assert event_data(LiveEvent(kind="state", data=MIXED[0])) == replies.batch(MIXED[0])


async def test_replies_past_their_models_are_what_these_say(tmp_path: Path) -> None:
    served = Served(tmp_path)
    try:
        served.decide(*MIXED)
        check(Page, await served.get("/batches", limit=5))
        check(Readiness, await served.get("/readyz"))
        batch_id = str(MIXED[0].batch.batch_id)
        trace = await served.get(f"/batches/{batch_id}/trace")
        traces = await served.get("/traces", id=batch_id)
        assert traces == {"traces": [trace], "left": 0}
        check_but_steps(Trace, trace)
    finally:
        await served.close()


def check_but_steps(model: Any, trace: Any) -> None:
    """Each step begins with what the model names; what else it has is of its kind."""
    named = ["at", "after_s", "step", "detail"]
    for step in trace["steps"]:
        assert list(step)[: len(named)] == named
    check(model, trace | {"steps": [{name: s[name] for name in named} for s in trace["steps"]]})
