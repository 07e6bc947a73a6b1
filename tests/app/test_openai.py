"""An OpenAI-compatible engine: llama.cpp's own HTTP server, and one that fails as it is told to."""

import asyncio
import contextlib
import json
import logging
import os
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
import pytest_asyncio

from rlvr_ray.adapters.openai import OpenAIChat
from rlvr_ray.core.prompts import Message
from rlvr_ray.core.records import Usage
from rlvr_ray.errors import (
    ConfigError,
    ContextOverflow,
    InputError,
    Overloaded,
    RlvrError,
    TimedOut,
    Unavailable,
)
from rlvr_ray.models import SMOLLM2_135M
from rlvr_ray.ports import Completion, Prompt, Sample
from rlvr_ray.settings import JudgeSettings
from tests.openai_server import OpenAIServer, Reply, Request, completion, problem

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = "sk-this-is-a-secret-0123456789"
QUESTION = "Does the passage about the blue whale say how long it gets?"
AT_ONCE = {"retry-after-ms": "1"}  #: has the client repeat without a pause
CONTEXT = 2048


def prompt(text: str = QUESTION, *samples: tuple[float, int], **more: Any) -> Prompt:
    """A chat and samples of it, each a temperature and a seed; without any, one."""
    return Prompt(
        messages=(
            Message(role="system", content="Be brief."),
            Message(role="user", content=text),
        ),
        samples=tuple(Sample(temperature=t, seed=s) for t, s in samples or ((0.0, 1),)),
        **{"max_tokens": 6} | more,
    )


def settings(url: str | None, **changes: Any) -> JudgeSettings:
    known: dict[str, Any] = {"base_url": url, "model": "judge", "retries": 0, "timeout_s": 30}
    return JudgeSettings(**known | changes)


async def draw(engine: OpenAIChat, asked: Prompt) -> list[Completion]:
    (completions,) = await engine.generate([asked])
    assert not isinstance(completions, InputError), repr(completions)
    assert len(completions) == len(asked.samples)
    return completions


async def texts(engine: OpenAIChat, asked: Prompt) -> list[str]:
    return [each.text for each in await draw(engine, asked)]


def choice(*words: str) -> dict[str, Any]:
    """The schema of an object that holds one of some words."""
    return {
        "type": "object",
        "properties": {"word": {"type": "string", "enum": list(words)}},
        "required": ["word"],
        "additionalProperties": False,
    }


class TestOverLlamaCpp:
    """What any server of this kind has to do, with one that is real."""

    SLOTS = 2

    @pytest_asyncio.fixture(scope="class", loop_scope="module")
    async def url(self) -> AsyncIterator[str]:
        """llama.cpp's HTTP server with the model that the installation brings."""
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        import xllamacpp

        params = xllamacpp.CommonParams()
        params.model.path = str(SMOLLM2_135M.locate())
        params.model_alias = {"smol"}
        params.hostnames, params.port = ["127.0.0.1"], 0
        params.n_parallel, params.n_ctx = self.SLOTS, self.SLOTS * CONTEXT
        params.kv_unified = params.ctx_shift = params.warmup = False
        params.cache_ram_mib = 0
        params.endpoint_slots = params.endpoint_metrics = True
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 2
        params.n_threads_http = 8
        params.verbosity = -1
        server = xllamacpp.Server(params)
        yield server.listening_address
        del server

    @pytest_asyncio.fixture(scope="class", loop_scope="module")
    async def engine(self, url: str) -> AsyncIterator[OpenAIChat]:
        opened = OpenAIChat(settings(f"{url}/v1", model="smol", timeout_s=120))
        yield opened
        await opened.close()

    async def test_it_says_which_model_judges(self, engine: OpenAIChat) -> None:
        assert await engine.check() == "smol"

    async def test_what_a_completion_tells(self, engine: OpenAIChat) -> None:
        asked = prompt("Name a colour.", (0.8, 1), (0.8, 2), (0.8, 3))
        for each in await draw(engine, asked):
            assert each.model == "smol"
            assert each.text == each.text.strip() != ""
            assert each.finish_reason in ("stop", "length")
            assert each.usage.prompt_tokens > 15
            assert 1 <= each.usage.completion_tokens <= 6
            assert each.logprobs == ()

    async def test_a_known_prompt_is_not_computed_again(self, engine: OpenAIChat) -> None:
        asked = prompt("Is an owl a bird, or is it something else?")
        await draw(engine, asked)
        (again,) = await draw(engine, asked)
        assert again.usage.cached_tokens >= again.usage.prompt_tokens - 1

    async def test_seeds_and_temperatures_count(self, engine: OpenAIChat) -> None:
        asked = prompt("Invent a name.", (1.5, 1), (1.5, 2), (1.5, 3), (0.0, 4), (0.0, 5))
        first = await texts(engine, asked)
        assert await texts(engine, asked) == first, "the same seeds, the same texts"
        assert len(set(first[:3])) > 1, "seeds make a difference"
        assert first[3] == first[4], "temperature 0 knows no chance"

    async def test_an_answer_ends_at_max_tokens(self, engine: OpenAIChat) -> None:
        (cut,) = await draw(engine, prompt("Write a long story of a dragon.", max_tokens=5))
        assert cut.usage.completion_tokens == 5
        assert cut.finish_reason == "length"

    async def test_the_server_enforces_the_schema(self, engine: OpenAIChat) -> None:
        asked = prompt(
            "Say whatever you like, but no JSON.",
            *((2.0, seed) for seed in range(3)),
            max_tokens=60,
            json_schema=choice("yes", "no"),
        )
        for each in await draw(engine, asked):
            assert each.finish_reason == "stop"
            assert json.loads(each.text)["word"] in ("yes", "no")

    async def test_prompts_at_once_do_not_mix(self, engine: OpenAIChat) -> None:
        words = ["alpha", "beta", "gamma", "eins"]
        asked = [
            prompt(f"Write {w}.", (1.0, n), (1.0, n + 9), max_tokens=60, json_schema=choice(w))
            for n, w in enumerate(words)
        ]
        for word, completions in zip(words, await engine.generate(asked), strict=True):
            assert isinstance(completions, list)
            assert [json.loads(c.text) for c in completions] == [{"word": word}] * 2

    async def test_log_probabilities_are_those_of_its_choice(self, engine: OpenAIChat) -> None:
        asked = prompt("Is snow white? Say yes or no.", logprobs=5, max_tokens=2)
        (drawn,) = await draw(engine, asked)
        assert len(drawn.logprobs) == 2
        likeliest = [max(place, key=lambda token: place[token]) for place in drawn.logprobs]
        assert "".join(likeliest).strip() == drawn.text, "at temperature 0 it writes the likeliest"
        for place in drawn.logprobs:
            assert 1 < len(place) <= 5
            assert all(value <= 0 for value in place.values())
            assert sum(2.718281828**value for value in place.values()) <= 1.001

    async def test_a_prompt_that_does_not_fit_leaves_the_others_alone(
        self, engine: OpenAIChat
    ) -> None:
        long = prompt("word " * (CONTEXT + 100))
        before, overflow, after = await engine.generate([prompt(), long, prompt("Name a fish.")])
        assert isinstance(overflow, ContextOverflow)
        assert str(CONTEXT) in str(overflow) and "word word" not in str(overflow)
        assert isinstance(before, list) and isinstance(after, list)

    async def test_cancelling_stops_the_server(self, engine: OpenAIChat, url: str) -> None:
        """The schema keeps the model from ending by itself; see the module on how late it may be.

        llama.cpp looks for closed connections where it answered nobody for a second: so the
        questions about its slots are rare.
        """
        hundred = {"type": "array", "items": {"const": "a"}, "minItems": 100}
        endless = {"type": "array", "items": hundred, "minItems": 100}
        limit = CONTEXT - 200
        asked = prompt("Go on.", (1.0, 1), (1.0, 2), max_tokens=limit, json_schema=endless)

        async with httpx.AsyncClient(base_url=url) as http:

            async def until_busy(count: int, pause_s: float) -> None:
                async with asyncio.timeout(60):
                    while True:
                        slots = (await http.get("/slots")).json()
                        if sum(slot["is_processing"] for slot in slots) == count:
                            return
                        assert not task.done() or task.cancelled(), "it ended by itself"
                        await asyncio.sleep(pause_s)

            async def decoded() -> int:
                (line,) = [
                    line
                    for line in (await http.get("/metrics")).text.splitlines()
                    if line.startswith("llamacpp:tokens_predicted_total ")
                ]
                return int(line.split()[1])

            before = await decoded()
            task = asyncio.create_task(engine.generate([asked]))
            await until_busy(self.SLOTS, pause_s=0.05)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert task.cancelled()
            await until_busy(0, pause_s=1.5)
            assert 0 < await decoded() - before < limit, "nobody waits, and it decodes to the end"
        (after,) = await draw(engine, prompt("Name a tree.", max_tokens=1))
        assert after.finish_reason == "length"


@pytest_asyncio.fixture(loop_scope="module")
async def server() -> AsyncIterator[OpenAIServer]:
    async with OpenAIServer() as running:
        yield running


Opening = Callable[..., OpenAIChat]


@pytest_asyncio.fixture(loop_scope="module")
async def opened(server: OpenAIServer) -> AsyncIterator[Opening]:
    """Opens engines on the server, and closes them."""
    engines: list[OpenAIChat] = []

    def opening(url: str | None = None, **changes: Any) -> OpenAIChat:
        engines.append(OpenAIChat(settings(url or server.url, **changes)))
        return engines[-1]

    yield opening
    for engine in engines:
        await engine.close()


async def fails(engine: OpenAIChat, asked: Prompt | None = None) -> RlvrError:
    """The error that a prompt ends in, one of those that a Generator may raise."""
    with pytest.raises((Unavailable, Overloaded)) as caught:
        await engine.generate([asked or prompt()])
    return checked(caught.value)


def checked(error: BaseException) -> RlvrError:
    """The error, if it is one line that gives nothing away."""
    assert isinstance(error, RlvrError)
    assert str(error).isprintable() and len(str(error)) < 500
    said = "".join(traceback.format_exception(error)) + repr(error)
    assert KEY not in said and QUESTION not in said and "blue whale say how long" not in said
    return error


class TestAsking:
    async def test_what_it_asks_for(self, server: OpenAIServer, opened: Opening) -> None:
        asked = prompt("Hi.", (0.7, 41), max_tokens=9, json_schema=choice("a"), logprobs=3)
        server.replies = [Reply(body=completion("x", logprobs={"content": []}))]
        await draw(opened(api_key=KEY), asked)
        (request,) = server.requests
        assert (request.method, request.path) == ("POST", "/v1/chat/completions")
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert request.body == {
            "model": "judge",
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Hi."},
            ],
            "temperature": 0.7,
            "seed": 41,
            "max_tokens": 9,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "reply", "strict": True, "schema": choice("a")},
            },
            "logprobs": True,
            "top_logprobs": 3,
        }

    async def test_nothing_that_it_does_not_need(
        self, server: OpenAIServer, opened: Opening
    ) -> None:
        await draw(opened(capabilities=()), prompt("Hi.", json_schema=choice("a")))
        assert set(server.bodies[0]) == {"model", "messages", "temperature", "seed", "max_tokens"}

    async def test_the_environment_is_for_other_servers(
        self, server: OpenAIServer, opened: Opening, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        names = ("API_KEY", "ADMIN_KEY", "ORG_ID", "PROJECT_ID")
        for name in names:
            monkeypatch.setenv(f"OPENAI_{name}", f"foreign-{name}")
        engine = opened()
        await draw(engine, prompt())
        await engine.check()
        await draw(opened(api_key=""), prompt())
        assert len(server.requests) == 3
        for request in server.requests:
            assert "foreign" not in str(request.headers)

    async def test_samples_and_prompts_in_order(
        self, server: OpenAIServer, opened: Opening
    ) -> None:
        asked = [prompt("a", (0.0, 3), (0.0, 1)), prompt("b", (0.0, 2)), prompt("c", (0.0, 9))]
        results = await opened().generate(asked)
        found = [[each.text for each in r] for r in results if isinstance(r, list)]
        assert found == [["seed 3", "seed 1"], ["seed 2"], ["seed 9"]]
        assert await opened().generate([]) == []

    async def test_all_samples_at_once_and_connections_again(
        self, server: OpenAIServer, opened: Opening
    ) -> None:
        engine = opened()
        server.hold()
        asked = [prompt("a", *((0.0, seed) for seed in range(5))), prompt("b")]
        task = asyncio.create_task(engine.generate(asked))
        await server.until(lambda: server.running == 6)
        server.release()
        await task
        await engine.generate(asked)
        assert server.connections == 6

    async def test_cancelling_closes_the_requests(
        self, server: OpenAIServer, opened: Opening
    ) -> None:
        engine = opened(retries=3)
        server.hold()
        task = asyncio.create_task(engine.generate([prompt("a", (0.0, 1), (0.0, 2))]))
        await server.until(lambda: server.running == 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.until(lambda: server.left == 2 and server.running == 0)
        server.release()
        assert await texts(engine, prompt()) == ["seed 1"]
        assert len(server.requests) == 3, "what was cancelled is not repeated"

    async def test_the_first_failure_cancels_the_others(
        self, server: OpenAIServer, opened: Opening
    ) -> None:
        def script(request: Request) -> Reply:
            return Reply(hang=True) if request.body["seed"] else Reply(status=500)

        server.script = script
        await fails(opened(), prompt("a", (0.0, 1), (0.0, 2), (0.0, 0)))
        await server.until(lambda: server.running == 0)
        assert server.left == 2


class TestStreaming:
    async def test_each_sample_comes_whole_as_soon_as_it_is_there(
        self, server: OpenAIServer, opened: Opening
    ) -> None:
        pieces = [p async for p in opened().stream(prompt("a", (0.0, 3), (0.0, 1)))]
        assert sorted((p.sample, p.text) for p in pieces) == [(0, "seed 3"), (1, "seed 1")]
        assert all(p.completion is not None and p.completion.text == p.text for p in pieces)

    async def test_leaving_closes_the_requests(self, server: OpenAIServer, opened: Opening) -> None:
        def script(request: Request) -> Reply:
            seed = request.body["seed"]
            return Reply(hang=True) if seed else Reply(body=completion("first"))

        server.script = script
        async with contextlib.aclosing(opened().stream(prompt("a", (0.0, 0), (0.0, 1)))) as pieces:
            assert (await anext(pieces)).text == "first"
        await server.until(lambda: server.running == 0)
        assert server.left == 1

    async def test_a_failure_is_raised_and_ends_the_others(
        self, server: OpenAIServer, opened: Opening
    ) -> None:
        def script(request: Request) -> Reply:
            return Reply(hang=True) if request.body["seed"] else Reply(status=500)

        server.script = script
        with pytest.raises(Unavailable):
            await anext(opened().stream(prompt("a", (0.0, 0), (0.0, 1))))
        await server.until(lambda: server.running == 0)


class TestReplies:
    """What becomes of a reply that was sent with status 200."""

    async def given(self, server: OpenAIServer, engine: OpenAIChat, **changes: Any) -> Completion:
        server.replies = [Reply(body=completion(**changes))]
        (drawn,) = await draw(engine, prompt())
        return drawn

    @pytest.mark.parametrize(
        ("given", "means"),
        [
            ("stop", "stop"),
            ("length", "length"),
            ("max_tokens", "length"),
            ("model_length", "length"),
            ("end_turn", "stop"),
            ("eos_token", "stop"),
            ("tool_calls", "stop"),
            (None, "stop"),
            (7, "stop"),
        ],
    )
    async def test_why_it_ended(
        self, server: OpenAIServer, opened: Opening, given: Any, means: str
    ) -> None:
        drawn = await self.given(server, opened(), content=" yes\n", finish_reason=given)
        assert (drawn.text, drawn.finish_reason) == ("yes", means)

    @pytest.mark.parametrize("reason", ["abort", "error"])
    async def test_a_server_that_gives_up_gave_no_answer(
        self, server: OpenAIServer, opened: Opening, reason: str
    ) -> None:
        server.replies = [Reply(body=completion("ye", finish_reason=reason))]
        assert "broke off" in str(await fails(opened()))

    @pytest.mark.parametrize(
        "reply",
        [
            Reply(body=completion("half an ans", finish_reason="content_filter")),
            Reply(body=completion(message={"content": None, "refusal": "I would rather not."})),
            problem(400, "The response was filtered.", code="content_filter"),
        ],
    )
    async def test_a_withheld_answer_is_its_prompts_affair(
        self, server: OpenAIServer, opened: Opening, reply: Reply
    ) -> None:
        def script(request: Request) -> Reply:
            return reply if request.body["seed"] == 5 else Reply(body=completion("fine"))

        server.script = script
        asked = [prompt("a", (0.0, 1)), prompt(QUESTION, (0.0, 4), (0.0, 5)), prompt("c")]
        before, withheld, after = await opened().generate(asked)
        assert isinstance(withheld, InputError) and "withholds" in str(checked(withheld))
        assert isinstance(before, list) and isinstance(after, list)

    @pytest.mark.parametrize(
        ("usage", "known"),
        [
            (None, (0, 0, 0)),
            ({}, (0, 0, 0)),
            ([], (0, 0, 0)),
            ({"prompt_tokens": 5, "completion_tokens": 2}, (5, 2, 0)),
            (
                {
                    "prompt_tokens": 5,
                    "completion_tokens": 2,
                    "prompt_tokens_details": {"cached_tokens": 4},
                },
                (5, 2, 4),
            ),
            ({"prompt_tokens": 5, "prompt_tokens_details": None}, (5, 0, 0)),
            ({"prompt_tokens": -1, "completion_tokens": True}, (0, 0, 0)),
            ({"prompt_tokens": "many", "completion_tokens": float("nan")}, (0, 0, 0)),
            ({"prompt_tokens": float("inf"), "completion_tokens": 10**40}, (0, 0, 0)),
        ],
    )
    async def test_tokens_that_it_counted(
        self, server: OpenAIServer, opened: Opening, usage: Any, known: tuple[int, int, int]
    ) -> None:
        drawn = await self.given(server, opened(), usage=usage)
        names = ("prompt_tokens", "completion_tokens", "cached_tokens")
        assert drawn.usage == Usage(**dict(zip(names, known, strict=True)))

    @pytest.mark.parametrize(
        ("named", "known"),
        [("other", "other"), (None, "judge"), ("", "judge"), (3, "judge"), ("a\0b", "a\ufffdb")],
    )
    async def test_the_model_as_the_server_names_it(
        self, server: OpenAIServer, opened: Opening, named: Any, known: str
    ) -> None:
        assert (await self.given(server, opened(), model=named)).model == known

    async def test_text_that_no_record_holds(self, server: OpenAIServer, opened: Opening) -> None:
        body = json.dumps(completion("MARK")).replace("MARK", r"a\ud800b\u0000c🦆 ")
        server.replies = [Reply(body=body.encode())]
        assert await texts(opened(), prompt()) == ["a?b\ufffdc🦆"]

    async def test_a_long_one(self, server: OpenAIServer, opened: Opening) -> None:
        drawn = await self.given(server, opened(), content="x" * 20_000_000)
        assert len(drawn.text) == 20_000_000

    @pytest.mark.parametrize(
        "body",
        [
            "",
            "Not Found",
            "<html><body>Welcome to the gateway!</body></html>",
            b"",
            b"{",
            b"\xff\xfe\x00",
            b"null",
            b"[]",
            b"1e999",
            b"NaN",
            b"[" * 100_000,
            b'{"choices": [{"message": {"content": "' + b"x" * 20_000_000,
            {},
            {"choices": None},
            {"choices": []},
            {"choices": [None]},
            {"choices": [{}]},
            {"choices": [{"message": None}]},
            {"choices": [{"message": {"content": ["yes"]}}]},
            {"choices": [{"message": {"content": float("nan")}}]},
            {"error": {"message": "out of memory"}},
        ],
        ids=lambda body: str(body)[:20],
    )
    async def test_what_is_no_completion(
        self, server: OpenAIServer, opened: Opening, body: Any
    ) -> None:
        server.script = lambda _: Reply(body=body)
        assert "no chat completion" in str(await fails(opened()))


class TestLogProbabilities:
    @staticmethod
    def place(*top: tuple[Any, Any], token: Any = "yes", logprob: Any = -0.1) -> dict[str, Any]:
        likely = [{"token": t, "logprob": v, "bytes": None} for t, v in top]
        return {"token": token, "logprob": logprob, "top_logprobs": likely}

    async def found(self, server: OpenAIServer, engine: OpenAIChat, logprobs: Any) -> Any:
        server.replies = [Reply(body=completion("yes", logprobs=logprobs))]
        (drawn,) = await draw(engine, prompt(logprobs=2))
        return drawn.logprobs

    async def test_each_place_by_itself(self, server: OpenAIServer, opened: Opening) -> None:
        content = [self.place(("yes", -0.1), ("no", -2.5)), self.place((".", 0), ("!", -40))]
        found = await self.found(server, opened(), {"content": content})
        assert found == ({"yes": -0.1, "no": -2.5}, {".": 0.0, "!": -40.0})

    @pytest.mark.parametrize(
        "odd",
        [float("nan"), float("inf"), float("-inf"), -9999, -3.4e38, 0.9, None, "-1", 10**400],
        ids=lambda odd: str(odd)[:9],
    )
    async def test_what_is_no_logarithm_is_left_out(
        self, server: OpenAIServer, opened: Opening, odd: Any
    ) -> None:
        content = [self.place(("yes", -0.1), ("no", odd))]
        assert await self.found(server, opened(), {"content": content}) == ({"yes": -0.1},)
        content = [self.place(("yes", odd))]
        assert await self.found(server, opened(), {"content": content}) == ({},)

    async def test_1e999(self, server: OpenAIServer, opened: Opening) -> None:
        body = json.dumps(completion("yes", logprobs={"content": [self.place(("yes", 77))]}))
        for odd in ("1e999", "-1e999"):
            server.replies = [Reply(body=body.replace("77", odd).encode())]
            (drawn,) = await draw(opened(), prompt(logprobs=2))
            assert drawn.logprobs == ({},)

    async def test_the_likelier_of_two_that_read_the_same(
        self, server: OpenAIServer, opened: Opening
    ) -> None:
        content = [self.place(("\ufffd", -3), ("\ufffd", -1), ("\ufffd", -2), (None, -0.5))]
        assert await self.found(server, opened(), {"content": content}) == ({"\ufffd": -1},)

    async def test_rounding_is_no_more_than_certain(
        self, server: OpenAIServer, opened: Opening
    ) -> None:
        content = [self.place(("yes", 1e-7))]
        assert await self.found(server, opened(), {"content": content}) == ({"yes": 0.0},)

    async def test_a_server_that_tells_only_of_its_choice(
        self, server: OpenAIServer, opened: Opening
    ) -> None:
        content = [self.place(token="no", logprob=-0.25)]
        assert await self.found(server, opened(), {"content": content}) == ({"no": -0.25},)

    @pytest.mark.parametrize("given", [None, {}, {"content": None}, {"tokens": ["yes"]}])
    async def test_a_server_that_tells_none(
        self, server: OpenAIServer, opened: Opening, given: Any
    ) -> None:
        server.replies = [Reply(body=completion("yes", logprobs=given))]
        error = await fails(opened(), prompt(logprobs=2))
        assert "no log-probabilities" in str(error) and "`ragas`" in str(error)

    async def test_where_it_wrote_nothing_there_is_nothing_to_tell(
        self, server: OpenAIServer, opened: Opening
    ) -> None:
        server.replies = [Reply(body=completion("", logprobs=None))]
        (drawn,) = await draw(opened(), prompt(logprobs=2))
        assert drawn.logprobs == ()

    @pytest.mark.parametrize("given", ["many", [1], {"content": 3}, {"content": [None]}])
    async def test_what_has_another_shape(
        self, server: OpenAIServer, opened: Opening, given: Any
    ) -> None:
        server.replies = [Reply(body=completion("yes", logprobs=given))]
        assert "no chat completion" in str(await fails(opened(), prompt(logprobs=2)))


class TestRefusals:
    @pytest.mark.parametrize(
        "reply",
        [
            problem(
                400,
                "This model's maximum context length is 4097 tokens. However, …",
                code="context_length_exceeded",
            ),
            problem(400, "too long", code="context_length_exceeded"),
            problem(400, "request (900 tokens) exceeds the available context size (512 tokens)"),
            problem(422, "the input length exceeds the context length"),
            problem(400, "The prompt is longer than the maximum model length of 2048"),
            problem(400, "prompt is too long: 9000 tokens > 4096 maximum"),
            Reply(status=400, body={"object": "error", "message": "… maximum context length …"}),
            Reply(status=413, body="<html>Request Entity Too Large</html>"),
        ],
    )
    async def test_a_prompt_that_is_too_long(
        self, server: OpenAIServer, opened: Opening, reply: Reply
    ) -> None:
        def script(request: Request) -> Reply:
            long = request.body["messages"][1]["content"] == QUESTION
            return reply if long else Reply(body=completion("fine"))

        server.script = script
        before, overflow, after = await opened().generate([prompt("a"), prompt(), prompt("c")])
        assert isinstance(overflow, ContextOverflow)
        assert "top_k" in str(checked(overflow))
        assert isinstance(before, list) and isinstance(after, list)

    @pytest.mark.parametrize(
        ("reply", "said"),
        [
            (problem(404, "The model `judge` does not exist"), "HTTP 404): The model `judge` does"),
            (
                problem(400, "response_format is\nnot\x1b[31m supported"),
                "response_format is not [31",
            ),
            (problem(400, "max_tokens must be at most 4096"), "max_tokens must be at most 4096"),
            (
                Reply(status=404, body={"error": "model 'judge' not found"}),
                "model 'judge' not found",
            ),
            (Reply(status=404, body={"detail": "Not Found"}), "HTTP 404): Not Found"),
            (
                Reply(status=422, body={"detail": [{"msg": "Extra fields", "input": QUESTION}]}),
                "HTTP 422): Extra fields",
            ),
            (Reply(status=400, body={"message": "bad", "code": 400}), "HTTP 400): bad"),
            (Reply(status=404, body="<html><h1>404</h1></html>"), "(HTTP 404);"),
            (Reply(status=404, body="404 page not found"), "404 page not found"),
            (Reply(status=400, body={"error": [[[None]]]}), "(HTTP 400);"),
            (Reply(status=418, body=b"\xff" * 9), "HTTP 418"),
            (Reply(status=302, body=""), "HTTP 302"),
            (problem(400, "long " * 500), "long long"),
            (problem(400, f"cannot parse: {QUESTION}"), "(HTTP 400);"),
            (problem(400, "near 'passage about the blue whale say how lo…'"), "(HTTP 400);"),
        ],
    )
    async def test_a_setting_that_is_wrong_loses_nothing(
        self, server: OpenAIServer, opened: Opening, reply: Reply, said: str
    ) -> None:
        server.script = lambda _: reply
        error = await fails(opened(retries=2))
        assert type(error) is Unavailable
        assert said in str(error) and "check judge.base_url, judge.model" in str(error)
        assert len(server.requests) == 1, "it will not get better"

    @pytest.mark.parametrize("status", [401, 403])
    async def test_a_key_that_is_refused(
        self, server: OpenAIServer, opened: Opening, status: int
    ) -> None:
        server.script = lambda _: problem(status, f"Incorrect API key provided: {KEY}")
        error = await fails(opened(api_key=KEY, retries=2))
        assert type(error) is Unavailable and "judge.api_key" in str(error)
        assert len(server.requests) == 1

    @pytest.mark.parametrize("retries", [0, 2])
    @pytest.mark.parametrize(
        ("status", "kind"), [(429, Overloaded), (500, Unavailable), (503, Unavailable)]
    )
    async def test_trouble_for_the_moment_is_tried_again(
        self,
        server: OpenAIServer,
        opened: Opening,
        status: int,
        kind: type[RlvrError],
        retries: int,
    ) -> None:
        server.script = lambda _: problem(status, "come back later", headers=AT_ONCE)
        error = await fails(opened(retries=retries))
        assert type(error) is kind
        assert f"HTTP {status}" in str(error) and "come back later" in str(error)
        assert len(server.requests) == 1 + retries

    async def test_the_last_try_counts(self, server: OpenAIServer, opened: Opening) -> None:
        server.replies = [
            problem(429, "slow down", headers=AT_ONCE),
            problem(503, "loading", headers=AT_ONCE),
        ]
        assert await texts(opened(retries=2), prompt()) == ["seed 1"]
        assert server.bodies[0] == server.bodies[1] == server.bodies[2]

    async def test_retry_after(self, server: OpenAIServer, opened: Opening) -> None:
        """By itself it would wait for half a second at most."""
        server.replies = [problem(429, "slow down", headers={"retry-after": "1"})]
        started = time.monotonic()
        await draw(opened(retries=1), prompt())
        assert time.monotonic() - started > 0.98

    async def test_retry_after_hours(self, server: OpenAIServer, opened: Opening) -> None:
        server.script = lambda _: problem(429, "tomorrow", headers={"retry-after": "36000"})
        assert isinstance(await fails(opened(retries=2)), Overloaded)
        assert len(server.requests) == 1


class TestConnections:
    async def test_nobody_listens(self, opened: Opening) -> None:
        async with OpenAIServer() as gone:
            pass
        engine = opened(gone.url)
        error = await fails(engine)
        assert type(error) is Unavailable and gone.address in str(error)
        with pytest.raises(Unavailable, match="is not there"):
            await engine.check()

    @pytest.mark.parametrize("host", ["judge.invalid", "a..b", "x" * 70])
    async def test_a_name_that_is_none(self, opened: Opening, host: str) -> None:
        assert type(await fails(opened(f"http://{host}/v1"))) is Unavailable

    async def test_a_connection_that_does_not_come_about(
        self, server: OpenAIServer, opened: Opening, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A server without TLS waits for a request, the client for a handshake: it is down."""
        monkeypatch.setattr("rlvr_ray.adapters.openai.CONNECT_S", 0.2)
        url = server.url.replace("http:", "https:")
        assert type(await fails(opened(url))) is Unavailable

    @pytest.mark.parametrize("cut", [0, 20])
    async def test_a_connection_that_ends_midway(
        self, server: OpenAIServer, opened: Opening, cut: int
    ) -> None:
        reply = Reply(body=completion(), cut=cut)
        server.replies = [reply]
        assert type(await fails(opened())) is Unavailable
        server.replies = [reply]
        assert await texts(opened(retries=1), prompt()) == ["seed 1"]
        assert len(server.requests) == 3

    @pytest.mark.parametrize("reply", [Reply(hang=True), Reply(drip=True)])
    async def test_past_the_time_limit(
        self, server: OpenAIServer, opened: Opening, reply: Reply
    ) -> None:
        """Also where a byte comes now and then, and whatever the retries."""
        server.script = lambda _: reply
        error = await fails(opened(retries=5, timeout_s=0.3))
        assert type(error) is TimedOut
        assert "did not answer within 0.3 s" in str(error)
        await server.until(lambda: server.running == 0)
        assert len(server.requests) == 1

    async def test_pauses_between_tries_are_part_of_it(
        self, server: OpenAIServer, opened: Opening
    ) -> None:
        server.script = lambda _: problem(503, "busy", headers={"retry-after": "60"})
        assert type(await fails(opened(retries=5, timeout_s=0.3))) is TimedOut


class TestChecking:
    async def test_it_asks_for_the_models_once(self, server: OpenAIServer, opened: Opening) -> None:
        server.script = lambda _: Reply(body={"object": "list", "data": []})
        assert await opened(api_key=KEY).check() == "judge"
        (request,) = server.requests
        assert (request.method, request.path) == ("GET", "/v1/models")
        assert request.headers["authorization"] == f"Bearer {KEY}"

    @pytest.mark.parametrize(
        "reply",
        [
            Reply(status=404, body="404 page not found"),
            Reply(status=405),
            Reply(status=501),
            Reply(body="<html>"),
        ],
    )
    async def test_not_every_server_has_a_list(
        self, server: OpenAIServer, opened: Opening, reply: Reply
    ) -> None:
        server.script = lambda _: reply
        assert await opened().check() == "judge"

    @pytest.mark.parametrize(
        ("reply", "kind"),
        [
            (problem(401, "no"), Unavailable),
            (problem(403, "no"), Unavailable),
            (problem(429, "no"), Overloaded),
            (problem(500, "no"), Unavailable),
            (problem(503, "loading"), Unavailable),
            (Reply(hang=True), TimedOut),
        ],
    )
    async def test_what_is_wrong(
        self, server: OpenAIServer, opened: Opening, reply: Reply, kind: type[RlvrError]
    ) -> None:
        server.script = lambda _: reply
        with pytest.raises(kind) as caught:
            await opened(api_key=KEY, retries=3, timeout_s=0.5).check()
        checked(caught.value)
        assert len(server.requests) == 1, "who checks is not kept waiting"


class TestSecrets:
    async def test_the_key_is_nowhere(
        self, server: OpenAIServer, opened: Opening, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Not even where the server repeats it, and the libraries log all they can."""
        caplog.set_level(logging.DEBUG)
        for name in ("openai", "httpx2", "httpcore2", "httpx", "httpcore"):
            caplog.set_level(logging.DEBUG, logger=name)
        async with OpenAIServer() as gone:
            pass
        engine = opened(api_key=KEY, retries=1, timeout_s=1)
        ends: list[Callable[[], Awaitable[Any]]] = [
            lambda: engine.check(),
            lambda: fails(opened(gone.url, api_key=KEY)),
        ]
        await draw(engine, prompt())
        for status in (400, 401, 404, 413, 422, 429, 500):
            server.replies = [problem(status, f"{KEY} is not right", headers=AT_ONCE)] * 2
            outcome = await asyncio.gather(engine.generate([prompt()]), return_exceptions=True)
            error = outcome[0][0] if isinstance(outcome[0], list) else outcome[0]
            assert isinstance(error, RlvrError)
            checked(error)
            server.replies.clear()
        for end in ends:
            await end()
        server.replies = [Reply(hang=True)]
        await fails(engine)
        assert any(record.name.startswith("openai") for record in caplog.records), "it did log"
        assert KEY not in caplog.text
        assert not any(KEY in repr(vars(record)) for record in caplog.records)
        assert KEY not in repr(engine) + repr(engine._settings) + repr(engine._client)

    @pytest.mark.parametrize("key", [f"{KEY}\n", f"{KEY} ", f"{KEY}ü", f"{KEY}\0", f"a\r\n{KEY}"])
    async def test_a_key_that_no_header_holds(self, key: str) -> None:
        with pytest.raises(ConfigError, match=r"judge\.api_key") as caught:
            OpenAIChat(settings("http://localhost:1/v1", api_key=key))
        checked(caught.value)


class TestOpening:
    @pytest.mark.parametrize(
        "url",
        [
            None,
            "http://",
            "http:///v1",
            "http://[bad/v1",
            "http://localhost:99999/v1",
            "http://user:word@localhost/v1",
            "http://localhost/\x01",
        ],
    )
    async def test_a_url_that_is_none(self, url: str | None) -> None:
        with pytest.raises(ConfigError, match=r"judge\.base_url") as caught:
            OpenAIChat(settings(url))
        assert "word" not in str(checked(caught.value)).replace("password", "")

    async def test_no_model(self) -> None:
        with pytest.raises(ConfigError, match=r"judge\.model"):
            OpenAIChat(settings("http://localhost:1/v1", model=None))

    async def test_a_proxy_that_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTP_PROXY", "nonsense://proxy")
        with pytest.raises(ConfigError, match=r"judge\.base_url"):
            OpenAIChat(settings("http://localhost:1/v1"))
