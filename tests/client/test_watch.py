"""Asks that reply at once, their events over a real connection, documents, and who may come in."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from rlvr_ray.core import ids
from rlvr_ray.core.errors import Overloaded, Unavailable
from rlvr_ray.core.pairing import PairingRule, decide
from rlvr_ray.dataset.state import BatchState
from rlvr_ray.serve.http import batches
from tests.asgi_server import serving
from tests.builders import DECIDED, batch, context, verification
from tests.fake_services import FakeServices
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.integration


MULTI = "/ask/multi-candidate"
ASYNC = {"Prefer": "respond-async"}
BODY = {"question": "What is Ray?"}
KEY = "a secret of ours"


class Server(FakeServices):
    """The interface over fakes, at a real address."""

    def __init__(self, data_dir: Path, **sections: Any) -> None:
        super().__init__([context(f"Passage {n}.") for n in range(3)], data_dir, **sections)
        self.http = httpx.AsyncClient(timeout=10)

    async def begin(self, **headers: str) -> dict[str, Any]:
        reply = await self.http.post(MULTI, json=BODY, headers=ASYNC | headers)
        assert reply.status_code == 202, reply.text
        begun: dict[str, Any] = reply.json()
        assert set(begun) == {"batch_id", "correlation_id", "question", "events"}
        assert reply.headers["location"] == f"/batches/{begun['batch_id']}"
        assert reply.headers["preference-applied"] == "respond-async"
        return begun

    async def events(self, path: str, **headers: Any) -> AsyncGenerator[dict[str, str]]:
        """Server-sent events as a browser reads them; comments come as ``{"comment": …}``."""
        async with self.http.stream("GET", path, headers=headers) as reply:
            assert reply.status_code == 200, (await reply.aread()).decode()
            assert reply.headers["content-type"].startswith("text/event-stream")
            event: dict[str, str] = {}
            async for line in reply.aiter_lines():
                if not line:
                    if event:
                        yield event
                    event = {}
                    continue
                name, _, value = line.partition(":")
                event[name or "comment"] = value.removeprefix(" ")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    made = Server(tmp_path)
    async with serving(made.app) as url, made.http:
        made.http.base_url = httpx.URL(url)
        yield made


@pytest.fixture
async def locked(tmp_path: Path) -> AsyncIterator[Server]:
    made = Server(tmp_path, api={"key": KEY})
    async with serving(made.app) as url, made.http:
        made.http.base_url = httpx.URL(url)
        yield made


async def all_of(server: Server, path: str, **headers: Any) -> list[dict[str, str]]:
    async with asyncio.timeout(PATIENCE_S):
        return [event async for event in server.events(path, **headers)]


def decided(name: str = "x") -> BatchState:
    subject = batch(question=name)
    results = {c.event_id: verification(c, 0.9 - c.index / 10) for c in subject.candidates}
    outcome = decide(subject, results, PairingRule(), DECIDED)
    return BatchState(batch=subject, results=results, outcome=outcome)


class TestLive:
    async def test_from_passages_over_pieces_to_the_state(self, server: Server) -> None:
        server.generator.piece_s = 0.05
        begun = await server.begin()
        stream = server.events(begun["events"])
        answers: dict[int, str] = {}
        seen: list[str] = []
        async with asyncio.timeout(PATIENCE_S):
            async for event in stream:
                seen.append(event["event"])
                data = json.loads(event["data"])
                if event["event"] == "contexts":
                    assert [c["content"] for c in data["contexts"]] == [
                        "Passage 0.",
                        "Passage 1.",
                        "Passage 2.",
                    ]
                if event["event"] == "piece":
                    answers[data["candidate"]] = answers.get(data["candidate"], "") + data["text"]
                if event["event"] == "state":
                    state = data
                    break
        await stream.aclose()
        assert seen[0] == "contexts"
        assert seen.count("piece") > 3, "pieces came while the answers were written"
        for candidate in state["candidates"]:
            told = answers[candidate["metadata"]["candidate_index"]]
            assert candidate["answer"].startswith(told.strip())
        assert state == (await server.http.get(f"/batches/{begun['batch_id']}")).json()

    async def test_the_stream_of_a_decided_batch_ends(self, server: Server) -> None:
        state = decided()
        server.recorder.states[state.batch.batch_id] = state
        path = f"/batches/{state.batch.batch_id}/events"
        first, end = await all_of(server, path)
        assert (first["event"], end["event"]) == ("state", "end")
        assert json.loads(first["data"])["outcome"]["pair"] is True
        again = await all_of(server, path, **{"Last-Event-ID": first["id"]})
        assert [event["event"] for event in again] == ["end"]

    @pytest.mark.parametrize(
        "last", ["", "²", "٣", "-9", "x", "9" * 5000, b"\xff\xb2-\xb2", b"\xe2\x80\xa8-1"]
    )
    async def test_last_event_ids_of_any_form(self, server: Server, last: str | bytes) -> None:
        state = decided()
        server.recorder.states[state.batch.batch_id] = state
        path = f"/batches/{state.batch.batch_id}/events"
        epoch = (await all_of(server, path))[0]["id"].partition("-")[0].encode()
        given = last if isinstance(last, bytes) else last.encode()
        for one in (given, epoch + given, epoch + b"-" + given):
            events = await all_of(server, path, **{"Last-Event-ID": one})
            assert [event["event"] for event in events] == ["state", "end"]

    async def test_heartbeats_while_nothing_happens(
        self, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("fastapi.routing._PING_INTERVAL", 0.05)
        server.generator.hang()
        begun = await server.begin()
        async with asyncio.timeout(PATIENCE_S):
            async for event in server.events(begun["events"]):
                if "comment" in event:
                    break
        server.generator.release()

    async def test_what_can_be_said_at_once_is(self, server: Server) -> None:
        async def status() -> int:
            return (await server.http.post(MULTI, json=BODY, headers=ASYNC)).status_code

        server.recorder.full = Overloaded("no room")
        assert await status() == 503
        server.recorder.full = None
        server.retriever.passages = []
        assert await status() == 409
        reply = await server.http.post(MULTI, json={"question": ""}, headers=ASYNC)
        assert reply.status_code == 422

    async def test_a_failed_ask_says_why(self, server: Server) -> None:
        server.generator.failures.append(Unavailable("the generator is not there"))
        begun = await server.begin()
        *_, failed, end = await all_of(server, begun["events"])
        assert (failed["event"], end["event"]) == ("failed", "end")
        problem = json.loads(failed["data"])
        assert problem["status"] == 503
        assert problem["detail"] == "the generator is not there"
        assert (await server.http.get(f"/batches/{begun['batch_id']}")).status_code == 404

    async def test_the_same_key_while_it_is_answered_and_afterwards(self, server: Server) -> None:
        server.generator.hang()
        first = await server.begin(**{"Idempotency-Key": "once"})
        second = await server.begin(**{"Idempotency-Key": "once"})
        assert first["batch_id"] == second["batch_id"] == str(ids.batch_for_key("once"))
        server.generator.release()
        await server.generator.until(lambda: server.generator.running == 0)
        async with asyncio.timeout(PATIENCE_S):
            async for event in server.events(first["events"]):
                if event["event"] == "state":
                    break
        assert (await server.begin(**{"Idempotency-Key": "once"}))["batch_id"] == first["batch_id"]
        assert server.generator.calls == 1

    @pytest.mark.slow
    async def test_no_place_is_lost_by_asks_that_nobody_waits_for(self, server: Server) -> None:
        for _ in range(40):  # more than there are places
            server.generator.failures.append(Unavailable("down"))
            begun = await server.begin()
            assert (await all_of(server, begun["events"]))[-1]["event"] == "end"
        server.generator.hang()
        begun_all = [await server.begin() for _ in range(32)]
        reply = await server.http.post(MULTI, json=BODY, headers=ASYNC)
        assert reply.status_code == 503
        assert reply.headers["retry-after"]
        server.generator.release()
        for begun in begun_all:
            async with asyncio.timeout(PATIENCE_S):
                async for event in server.events(begun["events"]):
                    if event["event"] == "state":
                        break

    async def test_an_unknown_batch(self, server: Server) -> None:
        reply = await server.http.get(f"/batches/{uuid4()}/events")
        assert reply.status_code == 404
        assert reply.headers["content-type"] == "application/problem+json"

    async def test_too_many_watchers_are_turned_away(
        self, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(batches, "MAX_WATCHERS", 1)
        server.generator.hang()
        begun = await server.begin()
        watching = server.events(begun["events"])
        await anext(watching)
        assert (await server.http.get(begun["events"])).status_code == 503
        await watching.aclose()
        server.generator.release()


class TestDocuments:
    async def test_list_and_delete(self, server: Server) -> None:
        (document,) = (await server.http.get("/documents")).json()["documents"]
        assert document["source"] == "ray.md"
        assert document["num_chunks"] == 3
        path = f"/documents/{document['document_id']}"
        assert (await server.http.delete(path)).status_code == 204
        assert (await server.http.delete(path)).status_code == 404
        assert (await server.http.get("/documents")).json() == {"documents": []}

    async def test_search(self, server: Server) -> None:
        reply = await server.http.get("/search", params={"question": "What?", "top_k": 2})
        assert [c["content"] for c in reply.json()["contexts"]] == ["Passage 0.", "Passage 1."]
        for wrong in ("?question=%20", "?question=x&top_k=0", ""):
            assert (await server.http.get(f"/search{wrong}")).status_code == 422


class TestAccess:
    async def test_the_page_gives_the_key_once(self, locked: Server) -> None:
        assert (await locked.http.get("/documents")).status_code == 401
        wrong = await locked.http.post("/session", json={"key": "wrong"})
        assert wrong.status_code == 401
        assert not wrong.cookies
        right = await locked.http.post("/session", json={"key": KEY})
        assert right.status_code == 204
        cookie = right.headers["set-cookie"]
        assert "HttpOnly" in cookie and "SameSite=strict" in cookie
        assert KEY not in cookie
        assert (await locked.http.get("/documents")).status_code == 200
        assert (await locked.http.delete("/session")).status_code == 204
        assert (await locked.http.get("/documents")).status_code == 401

    async def test_a_cookie_does_not_help_a_wrong_token(self, locked: Server) -> None:
        await locked.http.post("/session", json={"key": KEY})
        reply = await locked.http.get("/documents", headers={"Authorization": "Bearer no"})
        assert reply.status_code == 401

    async def test_another_servers_page_changes_nothing(self, server: Server) -> None:
        for origin in ("http://evil.example", "null", "http://127.0.0.1:1"):
            headers = {"Origin": origin}
            reply = await server.http.post(MULTI, json=BODY, headers=headers)
            assert reply.status_code == 403, origin
            files = {"files": ("a.md", b"text")}
            reply = await server.http.post("/documents", files=files, headers=headers)
            assert reply.status_code == 403, origin
        own = {"Origin": str(server.http.base_url).rstrip("/")}
        assert (await server.http.post(MULTI, json=BODY, headers=own)).status_code == 200


class TestPage:
    async def test_the_page_is_served_with_its_policy(self, server: Server) -> None:
        page = await server.http.get("/")
        assert page.status_code == 200
        assert page.headers["content-type"].startswith("text/html")
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
        script = await server.http.get("/ui/app.js")
        assert script.status_code == 200
        assert "javascript" in script.headers["content-type"]
        assert script.headers["content-security-policy"] == policy
        tag = {"If-None-Match": script.headers["etag"]}
        assert (await server.http.get("/ui/app.js", headers=tag)).status_code == 304

    @pytest.mark.parametrize("path", ["../api/page.py", "%2e%2e/api/page.py", "nothing.js", ""])
    async def test_nothing_else_is_served(self, server: Server, path: str) -> None:
        assert (await server.http.get(f"/ui/{path}")).status_code == 404
