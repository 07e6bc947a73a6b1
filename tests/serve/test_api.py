"""The HTTP interface over fakes: what it lets in, what it answers, and how it fails."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from rlvr_ray.client.models.system import Problem
from rlvr_ray.core import ids
from rlvr_ray.core.errors import (
    ContextOverflow,
    LedgerError,
    NotFound,
    Overloaded,
    Unavailable,
    Unreadable,
)
from rlvr_ray.core.pairing import PairingRule, Result, decide
from rlvr_ray.dataset.state import BatchState
from rlvr_ray.serve.http import problems, system
from tests.builders import DECIDED, batch, context, failed, verification
from tests.fake_services import FakeServices
from tests.patience import PATIENCE_S
from tests.pdfs import pdf

pytestmark = pytest.mark.integration


MULTI = "/ask/multi-candidate"
QUESTION = "What is Ray?"
HEAD = {"batch_id", "correlation_id", "question", "contexts"}
METADATA = {
    "event_id",
    "candidate_index",
    "temperature",
    "seed",
    "model",
    "finish_reason",
    "reasoning_chars",
    "usage",
}


class Api(FakeServices):
    """The interface and the fakes behind it."""

    def __init__(self, data_dir: Path, **sections: Any) -> None:
        super().__init__(
            [context(f"Passage {n}.", 0.9 - n / 100) for n in range(9)], data_dir, **sections
        )
        # What no handler caught fails the test with its traceback, unless the test expects a 500.
        self.transport = httpx.ASGITransport(self.app)
        self.http = httpx.AsyncClient(
            transport=self.transport,
            base_url="http://127.0.0.1:8000",
            timeout=10,
        )

    async def ask(self, path: str = MULTI, key: str | None = None, **body: Any) -> httpx.Response:
        headers = {"Idempotency-Key": key} if key is not None else {}
        return await self.http.post(path, json={"question": QUESTION} | body, headers=headers)

    async def send(self, body: Any, respond_async: bool, path: str = MULTI) -> httpx.Response:
        """Ask under the key ``k``."""
        headers = {"Idempotency-Key": "k"} | ({"Prefer": "respond-async"} if respond_async else {})
        return await self.http.post(path, json={"question": QUESTION} | body, headers=headers)

    async def raw(self, body: str | bytes, path: str = MULTI) -> httpx.Response:
        """Send a body as it is."""
        return await self.http.post(
            path, content=body, headers={"content-type": "application/json"}
        )


Make = Callable[..., Api]


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    made: list[Api] = []

    def one(**sections: Any) -> Api:
        made.append(Api(tmp_path, **sections))
        return made[-1]

    yield one
    for api in made:
        await api.http.aclose()


@pytest.fixture
def api(make: Make) -> Api:
    return make()


PROBLEM = {field.name for field in fields(Problem)}


def ok(reply: httpx.Response) -> Any:
    assert reply.status_code == 200, f"{reply.status_code}: {reply.text[:500]}"
    return reply.json()


def problem(reply: httpx.Response, status: int) -> Any:
    """The body of an error, which always has the same form."""
    assert reply.status_code == status, f"{reply.status_code}: {reply.text[:500]}"
    assert reply.headers["content-type"] == "application/problem+json"
    body = reply.json()
    assert {"type", "status", "detail"} <= set(body) <= PROBLEM, body
    Problem.from_json(body)
    assert body["status"] == status
    assert isinstance(body["detail"], str) and body["detail"]
    return body


class TestAsk:
    async def test_the_reply_of_several_candidates(self, api: Api) -> None:
        body = ok(await api.ask(correlation_id="mine"))
        assert set(body) == HEAD | {"candidates", "num_candidates"}
        assert (body["question"], body["correlation_id"]) == (QUESTION, "mine")
        assert body["num_candidates"] == len(body["candidates"]) == 3
        batch_id = UUID(body["batch_id"])
        assert len(body["contexts"]) == 5
        for passage in body["contexts"]:
            assert set(passage) == {"content", "score", "metadata"}
            assert {"document_id", "chunk_index", "source"} <= set(passage["metadata"])
        for index, candidate in enumerate(body["candidates"]):
            assert set(candidate) == {"answer", "metadata"}
            assert set(candidate["metadata"]) == METADATA
            assert candidate["metadata"]["candidate_index"] == index
            assert candidate["metadata"]["event_id"] == str(ids.answer_event(batch_id, index))
            assert candidate["answer"].startswith(f"answer {index} ")
            assert set(candidate["metadata"]["usage"]) == {
                "prompt_tokens",
                "completion_tokens",
                "cached_tokens",
            }
        assert [c["metadata"]["temperature"] for c in body["candidates"]] == [0.3, 0.7, 0.9]
        assert set(api.recorder.states) == {batch_id}

    async def test_the_reply_of_one_answer(self, api: Api) -> None:
        body = ok(await api.ask("/ask"))
        assert set(body) == HEAD | {"answer", "metadata"}
        assert set(body["metadata"]) == METADATA
        state = api.recorder.states[UUID(body["batch_id"])]
        assert state.batch.kind == "single"
        assert len(state.batch.candidates) == 1

    async def test_options_reach_the_parts(self, api: Api) -> None:
        body = ok(await api.ask(num_candidates=8, temperatures=[0.0, 2.0], top_k=2, seed=2**31 - 1))
        temperatures = [c["metadata"]["temperature"] for c in body["candidates"]]
        assert temperatures == [0.0, 2.0] * 4
        assert [query.top_k for query in api.retriever.queries] == [2]
        assert len(body["contexts"]) == 2
        again = ok(await api.ask(num_candidates=8, temperatures=[0, 2], seed=2**31 - 1))
        seeds = [[c["metadata"]["seed"] for c in b["candidates"]] for b in (body, again)]
        assert seeds[0] == seeds[1]
        assert len(set(seeds[0])) == 8

    async def test_defaults_are_told(self, make: Make) -> None:
        api = make(generator={"temperatures": (0.1, 0.2)}, retrieval={"top_k": 7})
        told = ok(await api.http.get("/ask/defaults"))
        assert told == {"num_candidates": 3, "temperatures": [0.1, 0.2], "top_k": 7}
        assert ok(await api.ask(key="k", num_candidates=told["num_candidates"])) == ok(
            await api.ask(key="k")
        )

    async def test_a_correlation_id_is_minted_where_none_is_given(self, api: Api) -> None:
        first, second = [ok(await api.ask())["correlation_id"] for _ in range(2)]
        assert UUID(first) != UUID(second)

    @pytest.mark.parametrize("path", [MULTI, "/ask"])
    async def test_the_longest_question_passes(self, api: Api, path: str) -> None:
        question = "ü" * 8000
        assert ok(await api.ask(path, question=question))["question"] == question

    @pytest.mark.parametrize("question", ["<script>alert(1)</script>", "🦆\u2028\x85", " x "])
    async def test_a_question_is_data(self, api: Api, question: str) -> None:
        assert ok(await api.ask(question=question))["question"] == question

    async def test_no_documents_is_a_conflict(self, api: Api) -> None:
        api.retriever.passages = []
        assert "rlvr ingest" in problem(await api.ask(), 409)["detail"]
        assert api.generator.calls == 0
        assert api.recorder.states == {}

    async def test_a_prompt_that_does_not_fit_is_the_callers_to_mend(self, api: Api) -> None:
        api.generator.script = lambda _: ContextOverflow("ask for fewer passages")
        assert problem(await api.ask(), 422)["detail"] == "ask for fewer passages"
        assert api.recorder.states == {}


class TestReferences:
    """Right answers that come with a question."""

    @pytest.mark.parametrize("path", [MULTI, "/ask"])
    @pytest.mark.parametrize(
        ("given", "kept"),
        [
            ("It scales Python.", ["It scales Python."]),
            (["b", "a", "a"], ["b", "a", "a"]),
            ([" ü\u2028 "], [" ü\u2028 "]),
            ([], []),
            (None, []),
            ([str(n) for n in range(20)], [str(n) for n in range(20)]),
            ("x" * 8000, ["x" * 8000]),
        ],
        ids=["one", "several", "odd", "none", "null", "20", "8,000 characters"],
    )
    async def test_they_are_kept_with_the_batch_and_shown(
        self, api: Api, path: str, given: Any, kept: list[str]
    ) -> None:
        asked = ok(await api.ask(path, reference=given))
        state = api.recorder.states[UUID(asked["batch_id"])]
        assert state.batch.references == tuple(kept)
        shown = ok(await api.http.get(f"/batches/{asked['batch_id']}"))
        assert shown["references"] == kept

    async def test_the_model_does_not_see_them(self, api: Api) -> None:
        ok(await api.ask(reference="the secret answer"))
        (prompt,) = api.generator.prompts
        assert "the secret answer" not in str(prompt)

    async def test_they_are_part_of_what_a_key_belongs_to(self, api: Api) -> None:
        first = ok(await api.ask(key="k", reference=["a", "b"]))
        assert ok(await api.ask(key="k", reference=["a", "b"])) == first
        for other in (["b", "a"], ["a"], "a", None):
            body = problem(await api.ask(key="k", reference=other), 422)
            assert "Idempotency-Key" in body["detail"]
        assert ok(await api.ask(key="one", reference="a")) == ok(
            await api.ask(key="one", reference=["a"])
        ), "one text is a list of one"
        assert api.generator.calls == 2


#: What makes a request another one than that of the question alone.
OTHER_REQUESTS: list[tuple[str, dict[str, Any]]] = [
    (MULTI, {"question": "Another?"}),
    (MULTI, {"temperatures": [0.3, 0.7, 0.9]}),
    (MULTI, {"top_k": 5}),
    (MULTI, {"seed": 0}),
    (MULTI, {"num_candidates": 2}),
    (MULTI, {"correlation_id": "other"}),
    (MULTI, {"reference": "a"}),
    ("/ask", {}),
]


class TestIdempotency:
    async def test_the_same_key_gives_the_same_batch(self, api: Api) -> None:
        first = ok(await api.ask(key="k"))
        assert ok(await api.ask(key="k")) == first
        assert api.generator.calls == 1
        assert ok(await api.ask(key="other"))["batch_id"] != first["batch_id"]
        assert ok(await api.ask())["batch_id"] != first["batch_id"]

    async def test_a_key_belongs_to_one_question(self, api: Api) -> None:
        ok(await api.ask(key="k"))
        problem(await api.ask(key="k", question="Another?"), 422)
        problem(await api.ask(key="k", num_candidates=4), 422)
        problem(await api.ask("/ask", key="k"), 422)
        assert api.generator.calls == 1

    async def test_the_same_key_at_the_same_time_gives_the_same_batch(self, api: Api) -> None:
        api.generator.hang()
        asks = [asyncio.create_task(api.ask(key="k")) for _ in range(3)]
        await api.generator.until(lambda: api.generator.running == 3)
        api.generator.release()
        bodies = [ok(reply) for reply in await asyncio.gather(*asks)]
        assert bodies[0] == bodies[1] == bodies[2]
        assert len(api.recorder.states) == 1

    @pytest.mark.parametrize("then", ["while it runs", "afterwards", "after a restart"])
    @pytest.mark.parametrize(
        ("first_async", "then_async"), [(a, b) for a in (0, 1) for b in (0, 1)]
    )
    async def test_a_key_belongs_to_one_request_while_it_runs_and_afterwards(
        self, make: Make, first_async: bool, then_async: bool, then: str
    ) -> None:
        api = make()
        api.generator.hang()
        first = asyncio.create_task(api.send({}, first_async))
        await api.generator.until(lambda: api.generator.running == 1)
        if then != "while it runs":
            api.generator.release()
            await first
            await api.recorder.until(lambda: bool(api.recorder.states))
        if then == "after a restart":
            old, api = api, make(generator={"temperatures": (0.5,)}, retrieval={"top_k": 2})
            api.recorder.states = old.recorder.states
        for path, changes in OTHER_REQUESTS:
            body = problem(await api.send(changes, then_async, path), 422)
            assert body["error"] == "KeyReused", changes
        api.generator.release()
        await api.recorder.until(lambda: bool(api.recorder.states))
        recorded = ok(await api.http.get(f"/batches/{ids.batch_for_key('k')}"))
        assert recorded["question"] == QUESTION
        # The first request is still answered, in either form.
        batch_ids = {(await api.send({}, each)).json()["batch_id"] for each in (True, False)}
        assert batch_ids == {recorded["batch_id"]}
        assert (await first).status_code == (202 if first_async else 200)
        assert len(api.recorder.states) == 1

    @pytest.mark.parametrize(
        "changes",
        [
            {"seed": None, "top_k": None},
            {"num_candidates": 3},
            {"reference": ["a"], "temperatures": [1, 0]},
        ],
    )
    async def test_the_same_request_in_other_words(self, api: Api, changes: Any) -> None:
        first: dict[str, Any] = {}
        if "reference" in changes:
            first = {"reference": "a", "temperatures": [1.0, 0.0]}
        one = ok(await api.ask(key="k", **first))
        assert ok(await api.ask(key="k", **changes)) == one

    async def test_two_replicas_tell_two_requests_apart(self, make: Make) -> None:
        one, two = make(), make()
        two.recorder.states, two.recorder.reserved = one.recorder.states, one.recorder.reserved
        one.generator.hang()
        begun = await one.send({}, True)
        assert begun.status_code == 202
        problem(await two.send({"question": "Another?"}, True), 422)
        problem(await two.send({"top_k": 1}, False), 422)
        same = ok(await two.send({}, False))
        assert same["batch_id"] == begun.json()["batch_id"]
        one.generator.release()
        await one.generator.until(lambda: one.generator.running == 0)
        assert ok(await one.send({}, False)) == same
        assert len(one.recorder.states) == 1

    async def test_the_same_key_begins_once(self, api: Api) -> None:
        api.retriever.hang()
        asks = [asyncio.create_task(api.send({}, True)) for _ in range(40)]
        await api.retriever.until(lambda: api.retriever.running == 1)
        other = asyncio.create_task(api.send({"top_k": 1}, True))
        problem(await other, 422)
        api.retriever.release()
        replies = await asyncio.gather(*asks)
        assert {reply.status_code for reply in replies} == {202}
        await api.generator.until(lambda: api.generator.calls == 1 and not api.generator.running)
        assert (api.retriever.calls, api.generator.calls) == (1, 1)

    async def test_what_fails_at_once_fails_for_all_and_may_be_sent_again(self, api: Api) -> None:
        passages, api.retriever.passages = api.retriever.passages, []
        for _ in range(20):  # no place at work is lost
            for reply in await asyncio.gather(*(api.send({}, True) for _ in range(4))):
                problem(reply, 409)
        problem(await api.send({"question": "Another?"}, True), 422)
        api.retriever.passages = passages
        assert (await api.send({}, True)).status_code == 202
        ok(await api.send({}, False))

    async def test_a_key_has_bounds(self, api: Api) -> None:
        ok(await api.ask(key="k" * 200))
        body = problem(await api.ask(key="k" * 201), 422)
        assert body["errors"][0]["field"] == "Idempotency-Key"


#: What is wrong, the field that the reply has to name, and the JSON text to send.
INVALID = {
    "no question": ("question", "{}"),
    "empty": ("question", '{"question": ""}'),
    "whitespace": ("question", '{"question": " \\t\\n\\u2003 "}'),
    "null": ("question", '{"question": null}'),
    "a number": ("question", '{"question": 5}'),
    "NaN as question": ("question", '{"question": NaN}'),
    "8,001 characters": ("question", json.dumps({"question": "SECRET" * 1333 + "abc"})),
    "NUL": ("question", '{"question": "SECRET\\u0000"}'),
    "lone surrogate": ("question", '{"question": "SECRET\\ud800"}'),
    "1 candidate": ("num_candidates", '{"question": "SECRET", "num_candidates": 1}'),
    "9 candidates": ("num_candidates", '{"question": "SECRET", "num_candidates": 9}'),
    "half a candidate": ("num_candidates", '{"question": "SECRET", "num_candidates": 2.5}'),
    "1e999 candidates": ("num_candidates", '{"question": "SECRET", "num_candidates": 1e999}'),
    "top_k 0": ("top_k", '{"question": "SECRET", "top_k": 0}'),
    "top_k 21": ("top_k", '{"question": "SECRET", "top_k": 21}'),
    "seed too large": ("seed", '{"question": "SECRET", "seed": 2147483648}'),
    "seed negative": ("seed", '{"question": "SECRET", "seed": -1}'),
    "NaN temperature": ("temperatures.0", '{"question": "SECRET", "temperatures": [NaN]}'),
    "infinite temperature": ("temperatures.1", '{"question": "Q", "temperatures": [1, Infinity]}'),
    "temperature 2.1": ("temperatures.0", '{"question": "SECRET", "temperatures": [2.1]}'),
    "negative temperature": ("temperatures.0", '{"question": "SECRET", "temperatures": [-1]}'),
    "no temperatures": ("temperatures", '{"question": "SECRET", "temperatures": []}'),
    "too many temperatures": ("body", '{"question": "SECRET", "temperatures": [1, 1, 1, 1]}'),
    "blank correlation id": ("correlation_id", '{"question": "SECRET", "correlation_id": " "}'),
    "NUL in correlation id": ("correlation_id", '{"question": "Q", "correlation_id": "\\u0000"}'),
    "long correlation id": (
        "correlation_id",
        json.dumps({"question": "SECRET", "correlation_id": "x" * 201}),
    ),
    "blank reference": ("reference.0", '{"question": "SECRET", "reference": " \\n"}'),
    "blank among references": ("reference.1", '{"question": "Q", "reference": ["SECRET", ""]}'),
    "NUL in a reference": ("reference.0", '{"question": "Q", "reference": "SECRET\\u0000"}'),
    "surrogate in a reference": ("reference.0", '{"question": "Q", "reference": ["\\ud800"]}'),
    "a number as reference": ("reference", '{"question": "SECRET", "reference": 42}'),
    "null among references": ("reference.0", '{"question": "SECRET", "reference": [null]}'),
    "21 references": ("reference", json.dumps({"question": "SECRET", "reference": ["a"] * 21})),
    "long reference": ("reference.0", json.dumps({"question": "Q", "reference": "x" * 8001})),
    "not an object": ("body", '["SECRET"]'),
    "a string": ("body", '"SECRET"'),
    "empty body": ("body", ""),
    "invalid JSON": (None, '{"question": "SECRET"'),
    "trailing text": (None, '{"question": "Q"} SECRET'),
}


class TestInvalid:
    @pytest.mark.parametrize("case", INVALID)
    async def test_it_is_refused_with_field_and_reason(self, api: Api, case: str) -> None:
        field, text = INVALID[case]
        reply = await api.raw(text)
        body = problem(reply, 422)
        assert all(set(error) == {"field", "reason"} for error in body["errors"]), body
        if field is not None:
            assert field in [error["field"] for error in body["errors"]], body
        assert all(error["reason"] for error in body["errors"])
        assert "SECRET" not in reply.text, "the reply repeats what was sent"
        assert api.generator.calls == api.retriever.calls == 0
        assert api.recorder.states == {}

    async def test_an_unknown_field_is_refused(self, api: Api) -> None:
        body = problem(await api.ask(num_candidate=4), 422)
        assert [error["field"] for error in body["errors"]] == ["num_candidate"]

    async def test_an_unknown_field_of_any_name_is_refused(self, api: Api) -> None:
        for name in ("\\ud800", "\\u0000", "\\u2028", "x" * 5000, "<script>"):
            problem(await api.raw(f'{{"question": "Q", "{name}": 1}}'), 422)

    async def test_one_answer_takes_no_number_of_candidates(self, api: Api) -> None:
        problem(await api.ask("/ask", num_candidates=3), 422)

    @pytest.mark.parametrize("opening", ["[", '{"question":'])
    async def test_deep_nesting_is_refused(self, api: Api, opening: str) -> None:
        body = problem(await api.raw(opening * (60_000 // len(opening))), 422)
        assert body["errors"]

    async def test_deeper_nesting_is_too_large(self, api: Api) -> None:
        problem(await api.raw("[" * 100_000), 413)

    async def test_a_long_number_is_refused(self, api: Api) -> None:
        """Python refuses to read integers of more than 4,300 digits."""
        problem(await api.raw(f'{{"question": "Q", "seed": {"9" * 5000}}}'), 422)

    async def test_bytes_that_are_no_text_are_refused(self, api: Api) -> None:
        problem(await api.raw(b'{"question": "\xff\xfe"}'), 422)

    async def test_another_content_type_is_refused(self, api: Api) -> None:
        reply = await api.http.post(MULTI, content=b"question=SECRET")
        problem(reply, 422)
        assert "SECRET" not in reply.text

    async def test_an_unknown_path_is_a_problem(self, api: Api) -> None:
        problem(await api.http.get("/nothing"), 404)

    async def test_a_wrong_method_is_a_problem(self, api: Api) -> None:
        reply = await api.http.get(MULTI)
        problem(reply, 405)
        assert reply.headers["allow"] == "POST"


class TestBodyLimit:
    SIZE = 64 * 1024

    def body(self, size: int) -> bytes:
        start = b'{"question": "Q"'
        return start + b" " * (size - len(start) - 1) + b"}"

    async def test_the_limit_itself_passes(self, api: Api) -> None:
        ok(await api.raw(self.body(self.SIZE)))

    async def test_a_declared_length_over_it_is_refused(self, api: Api) -> None:
        body = problem(await api.raw(self.body(self.SIZE + 1)), 413)
        assert "65,536" in body["detail"]
        assert api.generator.calls == 0

    async def test_chunks_without_a_length_are_counted(self, api: Api) -> None:
        sent = 0

        async def chunks() -> AsyncIterator[bytes]:
            nonlocal sent
            for _ in range(200):
                sent += 1024
                yield b" " * 1024

        headers = {"content-type": "application/json"}
        problem(await api.http.post(MULTI, content=chunks(), headers=headers), 413)
        assert api.generator.calls == 0

    async def test_a_false_declaration_does_not_help(self, api: Api) -> None:
        headers = {"content-type": "application/json", "content-length": "10"}
        reply = await api.http.post(MULTI, content=self.body(self.SIZE + 1), headers=headers)
        problem(reply, 413)

    async def test_uploads_have_a_limit_of_their_own(
        self, api: Api, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(problems, "MAX_UPLOAD", 200_000)
        large = {"files": ("a.md", b"x" * 150_000)}
        ok(await api.http.post("/documents", files=large))
        problem(await api.http.post("/documents", files={"files": ("a.md", b"x" * 250_000)}), 413)
        assert list(api.retriever.texts.values()) == ["x" * 150_000]


class TestOverload:
    @pytest.mark.parametrize("error", [Unavailable, Overloaded, LedgerError])
    @pytest.mark.parametrize("part", ["generator", "retriever", "recorder"])
    async def test_a_part_that_is_down(self, api: Api, part: str, error: type[Exception]) -> None:
        getattr(api, part).failures = [error("the reason")]
        reply = await api.ask()
        assert problem(reply, 503)["detail"] == "the reason"
        assert int(reply.headers["retry-after"]) > 0
        assert api.recorder.states == {}
        ok(await api.ask())

    async def test_a_batch_that_cannot_be_read_is_no_reason_to_wait(self, api: Api) -> None:
        api.recorder.failures = [Unreadable("batch x cannot be read")]
        reply = await api.http.get(f"/batches/{uuid4()}")
        assert problem(reply, 500)["detail"] == "batch x cannot be read"
        assert "retry-after" not in reply.headers

    @pytest.mark.parametrize("path", [MULTI, "/ask"])
    async def test_a_full_disk_refuses_before_anything_is_generated(
        self, api: Api, path: str
    ) -> None:
        kept = ok(await api.ask(path, key="k"))
        generated = api.generator.calls
        api.recorder.full = Overloaded("free some room")
        reply = await api.ask(path)
        assert problem(reply, 503)["detail"] == "free some room"
        assert int(reply.headers["retry-after"]) > 0
        assert api.generator.calls == generated
        assert len(api.recorder.states) == 1
        assert ok(await api.ask(path, key="k")) == kept, "what is recorded can be asked for"
        ok(await api.http.get(f"/batches/{kept['batch_id']}"))
        api.recorder.full = None
        ok(await api.ask(path))

    async def test_asks_beyond_the_gate_are_refused_at_once(self, make: Make) -> None:
        api = make(api={"max_asks": 2})
        api.generator.hang()
        pending = {asyncio.create_task(api.ask()) for _ in range(7)}
        refused: set[asyncio.Task[httpx.Response]] = set()
        while len(refused) < 3:
            done, pending = await asyncio.wait(
                pending, timeout=PATIENCE_S, return_when=asyncio.FIRST_COMPLETED
            )
            assert done, f"only {len(refused)} of 7 asks were turned away"
            refused |= done
        for task in refused:
            problem(task.result(), 503)
            assert int(task.result().headers["retry-after"]) > 0
        assert len(pending) == 4, "so many work or wait"
        await api.generator.until(lambda: api.generator.running == 2)
        for _ in range(20):
            await asyncio.sleep(0)
        assert api.generator.calls == 2, "only max_asks are worked on"
        api.generator.release()
        for reply in await asyncio.gather(*pending):
            ok(reply)
        assert api.generator.most_running == 2
        ok(await api.ask())

    async def test_the_gate_recovers_from_failures_and_departures(self, make: Make) -> None:
        api = make(api={"max_asks": 1})
        api.transport.raise_app_exceptions = False
        api.generator.failures = [Unavailable("down"), ZeroDivisionError("a defect")]
        assert [(await api.ask()).status_code for _ in range(2)] == [503, 500]
        for _ in range(3):
            api.generator.hang()
            gone = [asyncio.create_task(api.ask()) for _ in range(2)]
            await api.generator.until(lambda: api.generator.running == 1)
            for task in gone[::-1]:
                task.cancel()
            await asyncio.gather(*gone, return_exceptions=True)
            api.generator.release()
        ok(await api.ask())
        assert api.generator.running == 0

    async def test_a_full_gate_does_not_close_the_other_routes(self, make: Make) -> None:
        api = make(api={"max_asks": 1})
        asked = ok(await api.ask())
        api.generator.hang()
        inside = [asyncio.create_task(api.ask()) for _ in range(2)]
        await api.generator.until(lambda: api.generator.running == 1)
        ok(await api.http.get(f"/batches/{asked['batch_id']}"))
        ok(await api.http.get("/stats"))
        ok(await api.http.get("/livez"))
        api.generator.release()
        await asyncio.gather(*inside)

    async def test_a_defect_is_a_problem_that_tells_nothing(self, api: Api) -> None:
        api.transport.raise_app_exceptions = False
        api.generator.failures = [ZeroDivisionError("SECRET")]
        reply = await api.ask()
        problem(reply, 500)
        assert "SECRET" not in reply.text


class TestKey:
    ROUTES = (
        ("POST", MULTI),
        ("POST", "/ask"),
        ("GET", "/batches/6ba7b810-9dad-11d1-80b4-00c04fd430c8"),
        ("GET", "/stats"),
        ("POST", "/documents"),
    )

    @pytest.fixture
    def locked(self, make: Make) -> Api:
        return make(api={"key": "s3cret-ü"})

    @pytest.mark.parametrize(
        "given", [None, "Bearer wrong", "Bearer ", "Basic s3cret", "Bearer s3cret-", "s3cret"]
    )
    @pytest.mark.parametrize(("method", "path"), ROUTES)
    async def test_without_it_nothing_opens(
        self, locked: Api, method: str, path: str, given: str | None
    ) -> None:
        headers = {"Authorization": given} if given else {}
        reply = await locked.http.request(
            method, path, headers=headers, json={"question": QUESTION} if method == "POST" else None
        )
        problem(reply, 401)
        assert locked.generator.calls == locked.retriever.calls == locked.recorder.calls == 0

    async def test_the_refusal_names_the_scheme(self, locked: Api) -> None:
        reply = await locked.http.get("/stats")
        problem(reply, 401)
        assert reply.headers["www-authenticate"].startswith("Bearer"), "RFC 9110, 11.6.1"

    async def test_with_it_all_opens(self, make: Make) -> None:
        locked = make(api={"key": "s3cret"})
        locked.http.headers["Authorization"] = "Bearer s3cret"
        asked = ok(await locked.ask())
        ok(await locked.http.get(f"/batches/{asked['batch_id']}"))
        ok(await locked.http.get("/stats"))
        ok(await locked.http.post("/documents", files={"files": ("a.md", b"text")}))

    async def test_probes_are_open(self, locked: Api) -> None:
        ok(await locked.http.get("/livez"))
        ok(await locked.http.get("/readyz"))

    async def test_a_key_that_is_not_ascii_does_not_crash(self, locked: Api) -> None:
        headers = [(b"authorization", "Bearer s3cret-é".encode())]
        problem(await locked.http.get("/stats", headers=headers), 401)

    async def test_any_host_name_may_be_used_with_a_key(self, locked: Api) -> None:
        ok(await locked.http.get("/livez", headers={"host": "rlvr.example.com"}))


class TestHost:
    @pytest.mark.parametrize(
        "host", ["evil.example", "evil.example:8000", "localhost.evil.example"]
    )
    @pytest.mark.parametrize("path", ["/livez", "/stats", MULTI])
    async def test_foreign_names_are_refused(self, api: Api, host: str, path: str) -> None:
        """A page that has its own name point here must not reach us from a browser."""
        method = "POST" if path == MULTI else "GET"
        reply = await api.http.request(method, path, headers={"host": host})
        assert reply.status_code == 400
        assert api.retriever.calls == 0

    async def test_the_refusal_is_a_problem(self, api: Api) -> None:
        problem(await api.http.get("/livez", headers={"host": "evil.example"}), 400)

    @pytest.mark.parametrize(
        "host", ["localhost", "localhost:8000", "127.0.0.1", "127.0.0.1:80", "[::1]", "[::1]:8000"]
    )
    async def test_loopback_names_pass(self, api: Api, host: str) -> None:
        ok(await api.http.get("/livez", headers={"host": host}))


class TestBatches:
    async def test_an_unknown_batch_is_not_found(self, api: Api) -> None:
        problem(await api.http.get(f"/batches/{uuid4()}"), 404)

    @pytest.mark.parametrize("name", ["x", "123", "%00", "6ba7b810-9dad-11d1-80b4-00c04fd430c80"])
    async def test_a_malformed_id_is_refused(self, api: Api, name: str) -> None:
        body = problem(await api.http.get(f"/batches/{name}"), 422)
        assert [error["field"] for error in body["errors"]] == ["batch_id"]

    async def test_an_open_batch(self, api: Api) -> None:
        asked = ok(await api.ask())
        body = ok(await api.http.get(f"/batches/{asked['batch_id']}"))
        assert set(body) == HEAD | {
            "kind",
            "references",
            "prompt_version",
            "state",
            "created_at",
            "candidates",
            "outcome",
        }
        assert body["references"] == []
        assert (body["kind"], body["state"], body["outcome"]) == ("preference", "open", None)
        assert {key: body[key] for key in HEAD} == {key: asked[key] for key in HEAD}
        for found, answered in zip(body["candidates"], asked["candidates"], strict=True):
            assert found == answered | {"verification": None}

    async def test_a_pair(self, api: Api) -> None:
        state = self.decided((0.9, 0.7, 0.5))
        api.recorder.states[state.batch.batch_id] = state
        body = ok(await api.http.get(f"/batches/{state.batch.batch_id}"))
        assert body["state"] == "decided"
        assert state.outcome is not None
        assert body["outcome"] == {
            "batch_id": str(state.batch.batch_id),
            "pair": True,
            "reason": None,
            "chosen": 0,
            "rejected": 2,
            "chosen_score": 0.9,
            "rejected_score": 0.5,
            "score_diff": 0.4,
            "rule": {
                "min_score_diff": 0.05,
                "min_chosen_score": 0.6,
                "min_chosen_faithfulness": 0.75,
                "min_chosen_relevancy": 0.6,
                "rejected_needs_defect": True,
                "quality_filter": False,
                "prompt": "question",
                "strategy": "best_worst",
                "max_length_ratio": 0.0,
                "version": 3,
            },
            "decided_at": "2026-03-14T09:27:01Z",
            "detail": state.outcome.detail,
        }
        first = body["candidates"][0]["verification"]
        assert (first["faithfulness"], first["relevancy"], first["score"]) == (0.9, 0.9, 0.9)
        assert (first["status"], first["confidence"]) == ("completed", "high")
        wrong = [candidate["verification"]["defect"] for candidate in body["candidates"]]
        assert wrong == [None, "unsupported", "unsupported"]
        (one,) = first["assessments"]
        assert (one["verifier"], one["weight"], one["score"]) == ("grounded", 1.0, 0.9)
        assert set(one["judge"]) == {
            "faithfulness",
            "relevancy",
            "model",
            "embedder",
            "version",
            "engine",
        }
        assert [set(s) for s in one["statements"]] == [{"text", "verdict", "reason", "passage"}]

    async def test_a_batch_that_could_not_be_scored(self, api: Api) -> None:
        state = self.decided((0.9, "the judge is silent", "no JSON"))
        api.recorder.states[state.batch.batch_id] = state
        body = ok(await api.http.get(f"/batches/{state.batch.batch_id}"))
        assert (body["outcome"]["pair"], body["outcome"]["reason"]) == (False, "unscored")
        assert body["outcome"]["chosen"] is body["outcome"]["score_diff"] is None
        failure = body["candidates"][1]["verification"]
        assert (failure["status"], failure["reason"]) == ("failed", "the judge is silent")
        assert failure["score"] is None
        assert failure["assessments"] == []

    def decided(self, scores: tuple[float | str, ...]) -> BatchState:
        asked = batch()
        results: dict[UUID, Result] = {
            c.event_id: failed(c, s) if isinstance(s, str) else verification(c, s, s)
            for c, s in zip(asked.candidates, scores, strict=True)
        }
        outcome = decide(asked, results, PairingRule(), DECIDED)
        return BatchState(batch=asked, results=results, outcome=outcome)

    async def test_stats(self, api: Api) -> None:
        ok(await api.ask())
        stats = ok(await api.http.get("/stats"))
        assert (stats["batches"], stats["passages"]) == ({"open": 1}, 9)

    async def test_stats_while_a_part_is_down(self, api: Api) -> None:
        api.recorder.failures = [Unavailable("down")]
        problem(await api.http.get("/stats"), 503)
        api.recorder.failures = [NotFound("gone")]
        problem(await api.http.get("/stats"), 404)


class TestDocuments:
    async def upload(self, api: Api, *files: tuple[str, bytes]) -> httpx.Response:
        return await api.http.post("/documents", files=[("files", file) for file in files])

    async def test_texts_are_stored(self, api: Api) -> None:
        reply = await self.upload(api, ("a.md", "# Ü\r\n".encode()), ("B.TXT", b"\xef\xbb\xbfx"))
        body = ok(reply)
        assert set(body) == {"documents"}
        for document in body["documents"]:
            assert set(document) == {
                "document_id",
                "source",
                "num_chunks",
                "content_id",
                "changed",
            }
        assert [d["source"] for d in body["documents"]] == ["a.md", "B.TXT"]
        assert api.retriever.texts == {"a.md": "# Ü\n", "B.TXT": "x"}

    async def test_the_ledger_is_told(self, api: Api) -> None:
        """It decides by the content what is news, so it hears of all of them."""
        for text in (b"one", b"one", b"two"):
            ok(await self.upload(api, ("a.md", text), ("b.md", b"other")))
        told = [(d.source, d.changed, d.content_id) for d in api.recorder.documents]
        one, other, two = ids.derive("one"), ids.derive("other"), ids.derive("two")
        assert told == [
            ("a.md", True, one),
            ("b.md", True, other),
            ("a.md", False, one),
            ("b.md", False, other),
            ("a.md", True, two),
            ("b.md", False, other),
        ]

    async def test_the_ledger_is_not_told_what_was_not_stored(self, api: Api) -> None:
        api.retriever.failures = [Unavailable("down")]
        problem(await self.upload(api, ("a.md", b"text")), 503)
        problem(await self.upload(api, ("a.pdf", b"%PDF-1.7")), 422)
        assert api.recorder.documents == []

    async def test_the_same_twice_changes_nothing(self, api: Api) -> None:
        first, second = [ok(await self.upload(api, ("a.md", b"text"))) for _ in range(2)]
        assert [d["changed"] for d in first["documents"] + second["documents"]] == [True, False]
        assert first["documents"][0]["document_id"] == second["documents"][0]["document_id"]

    @pytest.mark.parametrize(
        ("name", "data"),
        [
            ("a.pdf", b"%PDF-1.7"),
            ("a.html", b"<p hidden>text"),
            ("a", b"text"),
            ("a.md.exe", b"text"),
            ("a.md", b"\xff\xfe\x00"),
            ("a.md", "café".encode("latin-1")),
            ("a.md", b"tru\xf0\x9f"),
        ],
    )
    async def test_what_is_no_text_is_refused(self, api: Api, name: str, data: bytes) -> None:
        detail = problem(await self.upload(api, ("fine.md", b"fine"), (name, data)), 422)["detail"]
        assert name in detail
        assert api.retriever.texts == {}, "all files of an upload, or none"

    async def test_html_and_pdf_are_read(self, api: Api) -> None:
        page = b"<title>Owls</title><p>They hunt.<script>x</script>"
        ok(await self.upload(api, ("a.HTM", page), ("b.pdf", pdf("They hear."))))
        assert api.retriever.texts == {"a.HTM": "# Owls\n\nThey hunt.", "b.pdf": "They hear."}

    async def test_an_upload_without_files_is_refused(self, api: Api) -> None:
        problem(await api.http.post("/documents"), 422)
        problem(await api.http.post("/documents", data={"files": "text"}), 422)
        problem(await api.http.post("/documents", content=b"{}"), 422)

    async def test_a_broken_upload_is_refused(self, api: Api) -> None:
        headers = {"content-type": "multipart/form-data; boundary=x"}
        for body in (b"--x\r\nnonsense", b"--y\r\n\r\n", b"--x\r\n" * 100):
            reply = await api.http.post("/documents", content=body, headers=headers)
            assert 400 <= reply.status_code < 500, f"{body!r}: {reply.status_code} {reply.text}"
            problem(reply, reply.status_code)


class TestProbes:
    async def test_live(self, api: Api) -> None:
        body = ok(await api.http.get("/livez"))
        assert body["status"] == "ok"

    async def test_ready(self, api: Api) -> None:
        body = ok(await api.http.get("/readyz"))
        assert body["status"] == "ready"
        assert {name: part["ok"] for name, part in body["parts"].items()} == {
            "generator": True,
            "retriever": True,
            "aggregator": True,
        }
        assert body["parts"]["generator"]["engine"] == "fake: a test"
        assert body["verifiers"] == "fakes: a test"

    @pytest.mark.parametrize("error", [Unavailable("the reason"), OSError("the reason")])
    @pytest.mark.parametrize("part", ["generator", "retriever", "aggregator"])
    async def test_a_part_that_is_down(self, api: Api, part: str, error: Exception) -> None:
        if part == "generator":
            api.generator.down = error
        elif part == "retriever":
            api.retriever.failures = [error]
        else:
            api.recorder.failures = [error]
        reply = await api.http.get("/readyz")
        assert reply.status_code == 503, reply.text
        parts = reply.json()["parts"]
        assert [name for name, state in parts.items() if not state["ok"]] == [part]
        assert "the reason" in parts[part]["detail"]

    @pytest.mark.parametrize("part", ["generator", "retriever", "recorder"])
    async def test_a_part_that_hangs(
        self, api: Api, part: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(system, "PROBE_TIMEOUT_S", 0.05)
        getattr(api, part).hang()
        reply = await asyncio.wait_for(api.http.get("/readyz"), 5)
        assert reply.status_code == 503
        assert [state["ok"] for state in reply.json()["parts"].values()].count(False) == 1
        ok(await api.http.get("/livez"))


async def test_the_schema_names_every_route(api: Api) -> None:
    schema = ok(await api.http.get("/openapi.json"))
    assert {MULTI, "/ask", "/batches/{batch_id}", "/stats", "/documents"} <= set(schema["paths"])


async def test_two_questions_at_once_do_not_mix(api: Api) -> None:
    api.generator.script = lambda prompt: [
        f"answer {n} to {prompt.messages[-1].content[-20:]}" for n in range(len(prompt.samples))
    ]
    questions = [f"Which number? {n:05}" for n in range(12)]
    api.retriever.passages = [replace(context(), content="Numbers.")]
    replies = await asyncio.gather(*(api.ask(question=question) for question in questions))
    for question, reply in zip(questions, replies, strict=True):
        body = ok(reply)
        assert body["question"] == question
        assert all(c["answer"].endswith(question[-5:]) for c in body["candidates"]), body
