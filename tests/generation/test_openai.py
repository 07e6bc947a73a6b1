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
from pydantic import SecretStr

from rlvr_ray.core.errors import (
    ConfigError,
    ContextOverflow,
    InputError,
    Overloaded,
    ReplyError,
    RlvrError,
    TimedOut,
    Unavailable,
)
from rlvr_ray.core.records import Usage
from rlvr_ray.generation.engines.openai import OpenAIChat
from rlvr_ray.generation.generator import Completion, CompletionChunk, Prompt, Sample
from rlvr_ray.generation.model_files import SMOLLM2_135M
from rlvr_ray.generation.prompts import Message
from rlvr_ray.settings import EngineSettings, GeneratorSettings, JudgeSettings
from tests.openai_server import (
    OpenAIServer,
    Reply,
    Request,
    chunk,
    completion,
    problem,
    streamed,
)
from tests.patience import PATIENCE_S

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

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


async def pieces(engine: OpenAIChat, asked: Prompt) -> list[CompletionChunk]:
    """All that a stream tells."""
    async with contextlib.aclosing(engine.stream(asked)) as stream:
        return [piece async for piece in stream]


async def streams(engine: OpenAIChat, asked: Prompt | None = None) -> Completion:
    """The completion of a prompt's only sample, which is that of its pieces."""
    *parts, last = await pieces(engine, asked or prompt())
    assert last.completion is not None and not any(part.completion for part in parts)
    text = "".join(piece.text for piece in (*parts, last))
    assert last.completion.text == text.strip()
    return last.completion


async def fails_to_stream(engine: OpenAIChat, asked: Prompt | None = None) -> RlvrError:
    """The error that a stream ends in."""
    with pytest.raises(RlvrError) as caught:
        await pieces(engine, asked or prompt())
    return checked(caught.value)


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

    async def test_a_stream_tells_each_token(self, engine: OpenAIChat) -> None:
        asked = prompt("Write a story of a fox.", (0.7, 1), (0.0, 2), max_tokens=12, logprobs=2)
        told = await pieces(engine, asked)
        for index in range(2):
            *parts, last = [piece for piece in told if piece.sample == index]
            assert len(parts) > 6, "its tokens, but for those that are no whole characters"
            whole = last.completion
            assert whole is not None and whole.model == "smol"
            assert whole.text == "".join(part.text for part in (*parts, last)).strip() != ""
            assert whole.finish_reason == "length"
            assert whole.usage.prompt_tokens > 15 and whole.usage.completion_tokens == 12
            assert len(whole.logprobs) == 12
        ended = next(place for place, piece in enumerate(told) if piece.completion)
        assert {piece.sample for piece in told[:ended]} == {0, 1}, "they are written together"

    async def test_a_stream_follows_the_schema(self, engine: OpenAIChat) -> None:
        asked = prompt("No JSON!", (1.5, 1), max_tokens=60, json_schema=choice("yes", "no"))
        assert json.loads((await streams(engine, asked)).text)["word"] in ("yes", "no")

    async def test_a_stream_of_too_long_a_prompt(self, engine: OpenAIChat) -> None:
        long = prompt("word " * (CONTEXT + 100))
        assert isinstance(await fails_to_stream(engine, long), ContextOverflow)

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
    with pytest.raises((Unavailable, Overloaded, ReplyError)) as caught:
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
        await draw(opened(), prompt("Hi."))
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
    async def test_what_it_asks_for(self, server: OpenAIServer, opened: Opening) -> None:
        engine = opened(api_key=KEY)
        asked = prompt("Hi.", (0.7, 41), json_schema=choice("a"))
        await draw(engine, asked)
        await streams(engine, asked)
        whole, stream = server.bodies
        assert stream == whole | {"stream": True, "stream_options": {"include_usage": True}}

    async def test_what_it_tells(self, server: OpenAIServer, opened: Opening) -> None:
        events = streamed(" A", " quick", "", " fox\n", finish_reason="max_tokens")
        server.replies = [Reply(events=events)]
        *parts, last = await pieces(opened(), prompt())
        assert [part.text for part in parts] == ["A quick", " fox"]
        assert last == CompletionChunk(
            sample=0,
            text="",
            completion=Completion(
                text="A quick fox",
                finish_reason="length",
                model="served-model",
                usage=Usage(prompt_tokens=11, completion_tokens=3, cached_tokens=0),
            ),
        )

    async def test_pieces_come_while_it_writes_and_samples_mix(
        self, server: OpenAIServer, opened: Opening
    ) -> None:
        def script(request: Request) -> Reply:
            return Reply(events=streamed(f"{request.body['seed']}, ")[:2], hang=True)

        server.script = script
        asked = prompt("a", (0.0, 7), (0.0, 8))
        async with contextlib.aclosing(opened().stream(asked)) as stream:
            told = [await anext(stream), await anext(stream)]
            assert server.running == 2, "neither has ended"
        assert sorted((p.sample, p.text) for p in told) == [(0, "7,"), (1, "8,")]

    @pytest.mark.parametrize("reply", [Reply(events=streamed("a b")[:2], hang=True), None])
    async def test_leaving_closes_the_connections(
        self, server: OpenAIServer, opened: Opening, reply: Reply | None
    ) -> None:
        """Also that of a sample which did not begin."""
        begun = Reply(events=streamed("a b")[:2], hang=True)
        server.script = lambda request: begun if request.body["seed"] else reply or Reply(hang=True)
        stream = opened(retries=2, timeout_s=600).stream(prompt("a", (0.0, 1), (0.0, 0)))
        await anext(stream)
        await server.until(lambda: server.running == 2)
        async with asyncio.timeout(PATIENCE_S):
            await stream.aclose()
        await server.until(lambda: server.left == 2 and server.running == 0)
        assert len(server.requests) == 2

    async def test_cancelling_closes_the_connections(
        self, server: OpenAIServer, opened: Opening
    ) -> None:
        server.script = lambda _: Reply(events=streamed("a b")[:2], hang=True)
        task = asyncio.create_task(pieces(opened(), prompt("a", (0.0, 1), (0.0, 2))))
        await server.until(lambda: server.running == 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.until(lambda: server.left == 2 and server.running == 0)

    async def test_a_connection_serves_again(self, server: OpenAIServer, opened: Opening) -> None:
        engine = opened()
        for _ in range(3):
            assert (await streams(engine)).text == "seed 1"
        assert len(server.requests) == 3

    async def test_a_failure_is_raised_and_ends_the_others(
        self, server: OpenAIServer, opened: Opening
    ) -> None:
        def script(request: Request) -> Reply:
            hang = Reply(events=streamed("a b")[:2], hang=True)
            return hang if request.body["seed"] else Reply(status=500)

        server.script = script
        asked = prompt("a", (0.0, 0), (0.0, 1))
        assert type(await fails_to_stream(opened(), asked)) is Unavailable
        await server.until(lambda: server.running == 0)

    @pytest.mark.parametrize(
        ("reply", "said"),
        [
            (Reply(events=streamed("Once ")[:2], broken=True), "broke off"),
            (Reply(events=[*streamed("Once ")[:3], b"data: {"], broken=True), "broke off"),
            (Reply(events=streamed("Once ")[:2]), "broke off the answer"),
            (Reply(events=[*streamed("Once ")[:2], "[DONE]"]), "broke off the answer"),
            (Reply(events=[chunk("Once "), chunk(finish_reason="error")]), "broke off the answer"),
            (Reply(events=[chunk("Once "), chunk(finish_reason="abort")]), "broke off the answer"),
            (
                Reply(
                    events=[chunk("Once "), {"error": {"message": "out of memory", "code": 500}}]
                ),
                "memory",
            ),
            (
                Reply(events=[chunk("Once "), {"error": {"message": f"{KEY} at: {QUESTION}"}}]),
                "an error, and does not say why",
            ),
            (Reply(events=[chunk("Once "), {"error": "worker died"}]), "an error: worker died"),
            (
                Reply(events=[chunk("Once "), b'event: error\ndata: {"error": {}, "x": 1}\n\n']),
                "broke off the answer",
            ),
            (Reply(events=[chunk("Once "), "{"]), "no chat completion"),
            (Reply(events=[chunk("Once "), b"data: \xff\n\n"]), "no chat completion"),
            (Reply(events=[chunk("Once "), "[]"]), "no chat completion"),
            (Reply(events=[chunk("Once "), "[" * 100_000]), "no chat completion"),
            (Reply(events=[chunk("Once "), chunk([7])], hang=True), "no chat completion"),
            (Reply(events=[chunk("Once "), chunk(choices=[7])]), "no chat completion"),
            (Reply(events=[chunk("Once "), chunk(delta="a")]), "no chat completion"),
        ],
        ids=range(17),
    )
    async def test_a_stream_that_breaks(
        self, server: OpenAIServer, opened: Opening, reply: Reply, said: str
    ) -> None:
        """What was told is not told again by another try."""
        server.script = lambda _: reply
        told = []
        with pytest.raises(RlvrError) as caught:
            async for piece in opened(api_key=KEY, retries=2).stream(prompt()):
                told.append(piece.text)
        kind = (
            Unavailable if said in ("broke off", "broke off the answer", "memory") else ReplyError
        )
        assert type(checked(caught.value)) is kind and said in str(caught.value)
        assert told == ["Once"]
        await server.until(lambda: server.running == 0)
        assert len(server.requests) == 1

    @pytest.mark.parametrize(
        "reply",
        [
            Reply(body=""),
            Reply(body="<html>Welcome!</html>"),
            Reply(body={}),
            Reply(body=b"{"),
            Reply(events=[]),
            Reply(events=["[DONE]"]),
            Reply(events=[b": still here\n\n"]),
        ],
    )
    async def test_what_is_no_stream(
        self, server: OpenAIServer, opened: Opening, reply: Reply
    ) -> None:
        server.script = lambda _: reply
        error = await fails_to_stream(opened())
        assert type(error) in (ReplyError, Unavailable)
        assert "no chat completion" in str(error) or "broke off the answer" in str(error)

    @pytest.mark.parametrize(
        ("reply", "kind"),
        [
            (problem(401, "no"), Unavailable),
            (problem(429, "no"), Overloaded),
            (problem(500, "no"), Unavailable),
            (problem(404, "The model `judge` does not exist"), Unavailable),
            (problem(400, "maximum context length"), ContextOverflow),
            (problem(400, "filtered", code="content_filter"), InputError),
            (Reply(events=[chunk("a"), chunk(finish_reason="content_filter")]), InputError),
            (Reply(events=[chunk(delta={"refusal": "I will not"}), *streamed()]), InputError),
            (Reply(hang=True), TimedOut),
            (Reply(drip=True), TimedOut),
            (Reply(events=streamed("a b")[:2], hang=True), TimedOut),
        ],
    )
    async def test_failures_mean_what_they_mean_elsewhere(
        self, server: OpenAIServer, opened: Opening, reply: Reply, kind: type[RlvrError]
    ) -> None:
        server.script = lambda _: reply
        engine = opened(timeout_s=0.5 if kind is TimedOut else 30)
        assert type(await fails_to_stream(engine)) is kind
        await server.until(lambda: server.running == 0)

    async def test_trouble_before_it_begins_is_tried_again(
        self, server: OpenAIServer, opened: Opening
    ) -> None:
        server.replies = [problem(429, "slow down", headers=AT_ONCE), Reply(status=503)]
        assert (await streams(opened(retries=2), prompt("a", (0.0, 5)))).text == "seed 5"
        assert len(server.requests) == 3

    async def test_a_slow_reader_holds_nothing_up(
        self, server: OpenAIServer, opened: Opening
    ) -> None:
        """The time limit is the server's, not the reader's."""
        server.script = lambda _: Reply(events=streamed("x" * 1_000_000, "y"))
        async with contextlib.aclosing(opened().stream(prompt("a", (0.0, 1), (0.0, 2)))) as stream:
            await anext(stream)
            await server.until(lambda: len(server.requests) == 2 and server.running == 0)
            told = [piece async for piece in stream]
        assert [len(piece.completion.text) for piece in told if piece.completion] == [1_000_001] * 2

    async def test_a_server_that_does_not_stream(
        self, server: OpenAIServer, opened: Opening
    ) -> None:
        server.replies = [Reply(body=completion(" all at once "))]
        drawn = await streams(opened())
        assert drawn.text == "all at once" and drawn.usage.completion_tokens == 3

    @pytest.mark.parametrize(
        "events",
        [
            [chunk("a", finish_reason="stop")],
            [chunk("a"), chunk(None, finish_reason="stop"), chunk(usage={}, choices=[])],
            [chunk("a"), {"choices": [{"delta": {}, "finish_reason": "stop"}]}],
            [
                b": ping\n\n",
                b"event: x\r\ndata:" + json.dumps(chunk("a")).encode() + b"\r\n\r\n",
                chunk(delta=None, finish_reason="stop"),
                {"object": "ping"},
                "[DONE]",
                "{",
            ],
        ],
        ids=range(4),
    )
    async def test_streams_differ(
        self, server: OpenAIServer, opened: Opening, events: list[Any]
    ) -> None:
        server.replies = [Reply(events=events)]
        drawn = await streams(opened())
        assert (drawn.text, drawn.finish_reason, drawn.model) == ("a", "stop", "served-model")
        assert drawn.usage == Usage(prompt_tokens=0, completion_tokens=0, cached_tokens=0)

    async def test_the_last_usage_counts(self, server: OpenAIServer, opened: Opening) -> None:
        counts = [{"prompt_tokens": 4, "completion_tokens": n} for n in (1, 2, 3)]
        events = [chunk("a", usage=count) for count in counts]
        server.replies = [Reply(events=[*events, chunk(finish_reason="stop")])]
        assert (await streams(opened())).usage.completion_tokens == 3

    @pytest.mark.parametrize(
        ("parts", "told"),
        [
            ([r"a\ud83e", r"\udd86b"], "a🦆b"),
            ([r"\ud83e", "x"], "?x"),
            ([r"x\ud83e"], "x?"),
            ([r"\udd86\u0000"], "?\ufffd"),
            ([r"\ud83e\udd86"], "🦆"),
            ([r"\ud83e", r"\ud83e", r"\udd86"], "?🦆"),
            (["ß", "🦆", "e\u0301"], "ß🦆e\u0301"),
        ],
    )
    async def test_pieces_are_whole_characters(
        self, server: OpenAIServer, opened: Opening, parts: list[str], told: str
    ) -> None:
        """JSON can escape half of one."""
        marks = [f"MARK{index}" for index in range(len(parts))]
        text = json.dumps([json.dumps(event) for event in streamed(*marks)[:-1]])
        events = json.loads(text)
        for mark, part in zip(marks, parts, strict=True):
            events = [event.replace(mark, part) for event in events]
        server.replies = [Reply(events=events)]
        found = await pieces(opened(), prompt())
        assert "".join(piece.text for piece in found) == told
        assert found[-1].completion is not None and found[-1].completion.text == told

    async def test_log_probabilities_of_all_its_chunks(
        self, server: OpenAIServer, opened: Opening
    ) -> None:
        def place(token: str) -> dict[str, Any]:
            return {"content": [{"token": token, "logprob": -0.5, "top_logprobs": []}]}

        events = [chunk(token, logprobs=place(token)) for token in ("a", "b")]
        server.replies = [Reply(events=[*events, chunk(finish_reason="stop", logprobs=None)])]
        drawn = await streams(opened(), prompt(logprobs=2))
        assert drawn.logprobs == ({"a": -0.5}, {"b": -0.5})
        assert server.bodies[0]["top_logprobs"] == 2

    async def test_no_log_probabilities(self, server: OpenAIServer, opened: Opening) -> None:
        error = await fails_to_stream(opened(), prompt(logprobs=2))
        assert type(error) is Unavailable and "`ragas`" in str(error)


def without(*parameters: str) -> Callable[[Request], Reply]:
    """A server that knows all but some parameters, and says so as OpenAI does."""

    def script(request: Request) -> Reply:
        for name in parameters:
            if name in request.body:
                said = f"Unsupported parameter: '{name}' is not supported with this model."
                return problem(400, said, param=name, code="unsupported_parameter")
        text = f"seed {request.body.get('seed')}"
        stream = request.body.get("stream")
        return Reply(events=streamed(text)) if stream else Reply(body=completion(text))

    return script


class TestCapabilities:
    """What becomes of parameters that a server does not take."""

    ASKED = prompt(QUESTION, (0.5, 1), json_schema=choice("a"))
    SPARED = ("response_format", "seed", "stream_options", "max_tokens")

    @staticmethod
    def told(caplog: pytest.LogCaptureFixture) -> list[str]:
        ours = [each for each in caplog.records if each.name.startswith("rlvr_ray.")]
        for record in ours:
            assert QUESTION not in record.getMessage() and KEY not in repr(vars(record))
        return [f"{record.levelname} {record.getMessage()}" for record in ours]

    @pytest.mark.parametrize(
        ("parameter", "lost"),
        [
            ("response_format", "WARNING the judge's server {where} refuses `response_format`"),
            ("seed", "runs are not repeatable"),
            ("stream_options", "no token counts"),
            ("max_tokens", "INFO the judge's server {where} refuses `max_tokens`"),
        ],
    )
    async def test_once_refused_never_sent_again(
        self,
        server: OpenAIServer,
        opened: Opening,
        caplog: pytest.LogCaptureFixture,
        parameter: str,
        lost: str,
    ) -> None:
        caplog.set_level(logging.DEBUG)
        server.script = without(parameter)
        engine = opened(api_key=KEY)
        for _ in range(3):
            drawn = await streams(engine, self.ASKED)
            assert drawn.text == ("seed None" if parameter == "seed" else "seed 1")
        await draw(engine, self.ASKED)
        first, *others = server.bodies
        assert len(others) == 4 and parameter in first
        new = {"max_completion_tokens": 6} if parameter == "max_tokens" else {}
        kept = {name: value for name, value in first.items() if name != parameter} | new
        assert others[:3] == [kept] * 3
        assert parameter not in others[3]
        (told,) = self.told(caplog)
        assert lost.format(where=server.address) in told and "HTTP 400" in told

    async def test_its_own_table_for_each_client(
        self, server: OpenAIServer, opened: Opening
    ) -> None:
        server.script = without("seed")
        for _ in range(2):
            await draw(opened(), prompt())
        assert ["seed" in body for body in server.bodies] == [True, False] * 2

    async def test_one_after_another(
        self, server: OpenAIServer, opened: Opening, caplog: pytest.LogCaptureFixture
    ) -> None:
        server.script = without(*self.SPARED)
        engine = opened()
        assert (await streams(engine, self.ASKED)).text == "seed None"
        assert len(server.requests) == 5
        assert await texts(engine, self.ASKED) == ["seed None"]
        assert len(server.requests) == 6 and len(self.told(caplog)) == 3

    async def test_first_requests_at_once(
        self, server: OpenAIServer, opened: Opening, caplog: pytest.LogCaptureFixture
    ) -> None:
        server.script = without("response_format", "seed")
        server.hold()
        engine = opened()
        asked = prompt("a", *((0.0, seed) for seed in range(4)), json_schema=choice("a"))
        task = asyncio.create_task(engine.generate([asked, self.ASKED]))
        await server.until(lambda: server.running == 5)
        server.release()
        assert [len(drawn) for drawn in await task if isinstance(drawn, list)] == [4, 1]
        assert len(self.told(caplog)) == 2
        known = len(server.requests)
        assert known <= 15, "each parameter costs a request one more at most"
        await draw(engine, asked)
        assert len(server.requests) == known + 4

    @pytest.mark.parametrize("parameter", SPARED)
    async def test_a_server_that_refuses_whatever_it_is_sent(
        self, server: OpenAIServer, opened: Opening, parameter: str
    ) -> None:
        server.script = lambda _: problem(400, f"Unknown {parameter}", param=parameter)
        error = await fails_to_stream(opened(), self.ASKED)
        assert "refuses the request" in str(error)
        # Without its newer name, the parameter's value may be what is wrong.
        assert len(server.requests) == (1 if parameter == "max_tokens" else 2)

    @pytest.mark.parametrize(
        ("parameter", "reply"),
        [
            ("seed", problem(400, "seed: Extra inputs are not permitted")),
            ("seed", problem(400, "Unrecognized request argument supplied: seed")),
            ("seed", problem(404, "no such thing", param="seed")),
            ("seed", problem(501, "This model has no support for seed")),
            (
                "seed",
                Reply(
                    status=422,
                    body={"detail": [{"loc": ["body", "seed"], "msg": "No.", "input": QUESTION}]},
                ),
            ),
            (
                "stream_options",
                Reply(
                    status=422,
                    body={
                        "object": "error",
                        "message": {
                            "detail": [
                                {
                                    "type": "extra_forbidden",
                                    "loc": ["body", "stream_options", "include_usage"],
                                    "msg": "Extra inputs are not permitted",
                                    "input": True,
                                }
                            ]
                        },
                        "param": None,
                    },
                ),
            ),
            (
                "stream_options",
                problem(
                    400,
                    "[{'type': 'extra_forbidden', 'loc': ('body', 'stream_options'), 'msg': 'Extra "
                    "inputs are not permitted', 'input': {'include_usage': True}}]",
                    code=400,
                ),
            ),
            ("response_format", problem(400, "`json_schema` is not available for this model")),
            ("response_format", problem(400, "no structured outputs", param=None)),
            (
                "response_format",
                problem(400, "Invalid schema", param="response_format.json_schema.schema"),
            ),
            (
                "response_format",
                problem(400, "Not with this model: response_format. Supported: temperature, seed"),
            ),
            (
                "max_tokens",
                problem(400, "'max_tokens' is unsupported. Use 'max_completion_tokens' instead."),
            ),
        ],
        ids=range(12),
    )
    async def test_ways_to_refuse(
        self, server: OpenAIServer, opened: Opening, parameter: str, reply: Reply
    ) -> None:
        server.replies = [reply]
        await streams(opened(), self.ASKED)
        before, after = server.bodies
        assert set(before) - set(after) == {parameter}

    @pytest.mark.parametrize(
        "reply",
        [
            problem(400, "Unknown parameter: 'top_k'", param="top_k"),
            problem(400, "logprobs are not supported"),
            problem(400, "max_tokens is too large: this model supports 4", param="max_tokens"),
            problem(400, "cannot read: where to plant a seed in a room of high temperature"),
            problem(418, "Unsupported parameter: 'seed'", param="seed"),
            Reply(status=400, body={"detail": [{"loc": ["body"], "input": {"param": "seed"}}]}),
            Reply(status=400, body={"error": [[[[[[[[{"param": "seed"}]]]]]]]]}),
        ],
        ids=range(7),
    )
    async def test_refusals_that_name_nothing_that_was_sent(
        self, server: OpenAIServer, opened: Opening, reply: Reply
    ) -> None:
        server.script = lambda _: reply
        assert "refuses the request" in str(await fails(opened(), self.ASKED))
        assert len(server.requests) == 1

    async def test_a_prompt_that_is_too_long_is_just_that(
        self, server: OpenAIServer, opened: Opening
    ) -> None:
        said = "'max_tokens' or 'max_completion_tokens' exceeds the maximum context length"
        server.script = lambda _: problem(400, said, param="max_tokens")
        (overflow,) = await opened().generate([self.ASKED])
        assert isinstance(overflow, ContextOverflow)
        assert len(server.requests) == 1

    @pytest.mark.parametrize(
        ("declared", "sent"),
        [
            ((), set()),
            (("schema",), {"response_format"}),
            (("seed",), {"seed"}),
            (("seed", "logprobs", "schema"), {"seed", "response_format"}),
            (None, {"seed", "response_format"}),
        ],
    )
    async def test_what_is_declared(
        self, server: OpenAIServer, opened: Opening, declared: Any, sent: set[str]
    ) -> None:
        engine = opened(capabilities=declared)
        await draw(engine, self.ASKED)
        await streams(engine, self.ASKED)
        for body in server.bodies:
            assert {"seed", "response_format"} & set(body) == sent

    async def test_log_probabilities_that_are_not_declared(
        self, server: OpenAIServer, opened: Opening
    ) -> None:
        engine = opened(capabilities=("schema", "seed"))
        for error in (
            await fails(engine, prompt(logprobs=2)),
            await fails_to_stream(engine, prompt(logprobs=2)),
        ):
            assert type(error) is Unavailable
            assert "judge.capabilities" in str(error) and "`ragas`" in str(error)
        assert not server.requests
        assert await texts(engine, prompt()) == ["seed 1"]

    @pytest.mark.parametrize("name", ["logprobs", "top_logprobs"])
    async def test_log_probabilities_that_are_refused(
        self, server: OpenAIServer, opened: Opening, name: str
    ) -> None:
        """Asked again they are sent again: the server may be another one by then."""
        server.script = without(name)
        engine = opened()
        for count in (1, 2):
            error = await fails(engine, prompt(logprobs=2))
            assert type(error) is Unavailable
            assert f"HTTP 400): Unsupported parameter: '{name}'" in str(error)
            assert "verifier `ragas`" in str(error)
            assert len(server.requests) == count
        assert await texts(engine, prompt()) == ["seed 1"]

    async def test_temperatures_that_are_refused(
        self, server: OpenAIServer, opened: Opening
    ) -> None:
        said = "Unsupported value: 'temperature' does not support 0.5 with this model. Only the …"
        server.script = lambda _: problem(400, said, param="temperature", code="unsupported_value")
        error = await fails(opened(), self.ASKED)
        assert type(error) is Unavailable
        assert "refuses `temperature` (HTTP 400): Unsupported value" in str(error)
        assert "other temperatures, or another model" in str(error)
        assert len(server.requests) == 1

    async def test_the_key_is_in_no_warning(
        self, server: OpenAIServer, opened: Opening, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        said = f"seed is not supported for {KEY} in {QUESTION}"
        server.replies = [problem(400, said, param="seed")]
        await draw(opened(api_key=KEY), self.ASKED)
        (told,) = self.told(caplog)
        assert "refuses `seed` (HTTP 400)." in told
        assert KEY not in caplog.text


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
            ("MAX_TOKENS", "length"),
            ("max_output_tokens", "length"),
            ("incomplete", "length"),
            ("tool_calls", "unknown"),
            ("stopped_by_the_moon", "unknown"),
        ],
    )
    async def test_why_it_ended(
        self, server: OpenAIServer, opened: Opening, given: Any, means: str
    ) -> None:
        drawn = await self.given(server, opened(), content=" yes\n", finish_reason=given)
        assert (drawn.text, drawn.finish_reason) == ("yes", means)

    @pytest.mark.parametrize("reason", [None, "", 7])
    @pytest.mark.parametrize(
        ("completion_tokens", "means"), [(3, "stop"), (64, "length"), (0, "unknown")]
    )
    @pytest.mark.parametrize("stream", [False, True])
    async def test_where_it_does_not_say_the_tokens_tell(
        self,
        server: OpenAIServer,
        opened: Opening,
        reason: Any,
        completion_tokens: int,
        means: str,
        stream: bool,
    ) -> None:
        usage = {"prompt_tokens": 9, "completion_tokens": completion_tokens}
        changes = {"finish_reason": reason, "usage": usage}
        events = streamed("yes, it is", **changes)
        server.replies = [
            Reply(events=events) if stream else Reply(body=completion("yes, it is", **changes))
        ]
        asked = prompt(max_tokens=64)
        drawn = await streams(opened(), asked) if stream else (await draw(opened(), asked))[0]
        assert (drawn.text, drawn.finish_reason) == ("yes, it is", means)

    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.parametrize(
        ("message", "text", "chars"),
        [
            ({"content": "<think>It says 330.</think>\n330 m"}, "330 m", 12),
            ({"content": "<think>It says 330."}, "", 12),
            ({"content": "It says 330.</think>330 m"}, "330 m", 12),
            ({"content": "330 m", "reasoning_content": "It says 330."}, "330 m", 12),
            ({"content": "330 m", "reasoning": "It says 330."}, "330 m", 12),
            ({"content": "330 m", "thinking": "It says 330."}, "330 m", 12),
            ({"content": None, "reasoning_content": "It says 330."}, "", 12),
            (
                {"content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "It says 330."}]},
                    {"type": "text", "text": "330 m"},
                ]},
                "330 m",
                12,
            ),
            (
                {"content": [{"type": "reasoning", "summary": ["It says 330."]}, "330", " m"]},
                "330 m",
                12,
            ),
            ({"content": [{"type": "text", "text": "330 "}, {"type": "text", "text": "m"}]},
             "330 m", 0),
            ({"content": "330 m<|im_end|>\n<|im_start|>user\nHow wide?"}, "330 m", 0),
            ({"content": "330 m</s>"}, "330 m", 0),
            ({"content": "It is 330 m.\n\nUser: How wide?\nAssistant: 125 m."}, "It is 330 m.", 0),
            ({"content": None}, "", 0),
            ({"content": ""}, "", 0),
            ({}, "", 0),
        ],
    )  # fmt: skip
    async def test_an_answer_is_what_was_said_to_the_reader(
        self,
        server: OpenAIServer,
        opened: Opening,
        message: dict[str, Any],
        text: str,
        chars: int,
        stream: bool,
    ) -> None:
        whole = completion(message=message)
        events = [chunk(delta=message, finish_reason="stop"), chunk(choices=[], usage={})]
        server.replies = [Reply(events=events) if stream else Reply(body=whole)]
        drawn = await streams(opened(), prompt()) if stream else (await draw(opened(), prompt()))[0]
        assert (drawn.text, drawn.reasoning_chars) == (text, chars)
        assert drawn.finish_reason == "stop"

    async def test_what_came_behind_the_answer_is_what_the_limit_cut(
        self, server: OpenAIServer, opened: Opening
    ) -> None:
        content = "It is 330 m.\n\nUser: How wide?\nAssistant: It is"
        drawn = await self.given(server, opened(), content=content, finish_reason="length")
        assert (drawn.text, drawn.finish_reason) == ("It is 330 m.", "stop")

    @pytest.mark.parametrize(
        ("counted", "fits"),
        [(256, False), (700, False), (900, True), (11, True), (0, True), (None, True)],
    )
    async def test_a_server_that_drops_a_part_of_the_prompt(
        self, server: OpenAIServer, opened: Opening, counted: int | None, fits: bool
    ) -> None:
        server.script = lambda _: Reply(body=completion(usage={"prompt_tokens": counted}))
        (answer,) = await opened().generate([prompt("The house at the corner is old. " * 130)])
        assert isinstance(answer, list) is fits
        if not fits:
            assert type(answer) is ContextOverflow
            assert f"read {counted} tokens of a prompt of 9" in str(answer)

    @pytest.mark.parametrize("reason", ["safety", "RECITATION", "prohibited_content"])
    async def test_what_a_filter_withholds(
        self, server: OpenAIServer, opened: Opening, reason: str
    ) -> None:
        server.replies = [Reply(body=completion("half", finish_reason=reason))]
        (answer,) = await opened().generate([prompt()])
        assert type(answer) is InputError and "content filter" in str(answer)

    @pytest.mark.parametrize(
        ("error", "kind", "said"),
        [
            ({"message": "no such model", "code": 404}, ReplyError, "an error: no such model"),
            ({"message": "no credits"}, ReplyError, "an error: no credits"),
            ("worker died", ReplyError, "an error: worker died"),
            ({}, ReplyError, "no chat completion"),
            ({"message": "slow down", "code": 429}, Overloaded, "slow down"),
            ({"message": "upstream", "code": 502}, Unavailable, "upstream"),
            ({"message": "maximum context length is 8"}, ContextOverflow, "too long"),
            ({"message": "no", "code": "content_filter"}, InputError, "withholds"),
        ],
    )
    async def test_an_error_with_the_status_of_success(
        self,
        server: OpenAIServer,
        opened: Opening,
        error: Any,
        kind: type[RlvrError],
        said: str,
    ) -> None:
        server.script = lambda _: Reply(body={"error": error})
        with pytest.raises(kind, match=said) as caught:
            (found,) = await opened().generate([prompt()])
            assert isinstance(found, InputError)
            raise found
        assert type(checked(caught.value)) is kind

    @pytest.mark.parametrize("reason", ["abort", "error", "cancelled", "timeout"])
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
            {"choices": [{"message": {"content": [7]}}]},
            {"choices": [{"message": {"content": {"text": "yes"}}}]},
            {"choices": [{"message": {"content": float("nan")}}]},
            {"error": None},
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
        monkeypatch.setattr("rlvr_ray.generation.engines.openai.client.CONNECT_S", 0.2)
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
        assert len(server.requests) <= 1, "no time is left for another"

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
        await streams(engine)
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


class TestOpening:
    @pytest.fixture(params=[GeneratorSettings, JudgeSettings])
    def section(self, request: pytest.FixtureRequest) -> type[EngineSettings]:
        given: type[EngineSettings] = request.param
        return given

    @staticmethod
    def refused(section: type[EngineSettings], **changes: Any) -> str:
        given: Any = {"base_url": "http://localhost:1/v1", "model": "m"} | changes
        with pytest.raises(ConfigError) as caught:
            OpenAIChat(section.model_construct(**given))
        return str(checked(caught.value))

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
    async def test_a_url_that_is_none(self, section: type[EngineSettings], url: str | None) -> None:
        said = self.refused(section, base_url=url)
        assert f"{section.section}.base_url" in said
        assert "word" not in said.replace("password", "")

    async def test_no_model(self, section: type[EngineSettings]) -> None:
        assert f"{section.section}.model" in self.refused(section, model=None)

    @pytest.mark.parametrize("key", [f"{KEY}\n", f"{KEY} ", f"{KEY}ü", f"{KEY}\0", f"a\r\n{KEY}"])
    async def test_a_key_that_no_header_holds(
        self, section: type[EngineSettings], key: str
    ) -> None:
        said = self.refused(section, api_key=SecretStr(key))
        assert f"{section.section}.api_key" in said

    async def test_a_proxy_that_is_none(
        self, section: type[EngineSettings], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HTTP_PROXY", "nonsense://proxy")
        assert f"{section.section}.base_url" in self.refused(section)
