"""llama.cpp itself with the model that the installation brings. Prompts are tiny: CPUs are slow."""

import asyncio
import contextlib
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from rlvr_ray.adapters.llamacpp import LlamaCpp
from rlvr_ray.core.prompts import Message
from rlvr_ray.errors import (
    ConfigError,
    ContextOverflow,
    InputError,
    Overloaded,
    TimedOut,
)
from rlvr_ray.models import SMOLLM2_135M
from rlvr_ray.ports import Completion, Prompt, Sample
from rlvr_ray.settings import GeneratorSettings

pytestmark = pytest.mark.asyncio(loop_scope="module")

SLOTS = 3
CONTEXT = 1024


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine() -> AsyncIterator[LlamaCpp]:
    opened = LlamaCpp(GeneratorSettings(slots=SLOTS, context_tokens=CONTEXT, threads=2))
    yield opened
    await opened.close()


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def _all_slots_are_back(engine: LlamaCpp) -> AsyncIterator[None]:
    yield
    assert sorted(slot.number for slot in engine._idle) == [0, 1, 2], "a slot was lost or doubled"


def prompt(
    text: str = "Name a colour.",
    *samples: tuple[float, int],
    max_tokens: int = 6,
    system: str = "Be brief.",
    **more: Any,
) -> Prompt:
    """A chat and samples of it, each a temperature and a seed; without any, three."""
    drawn = samples or ((0.8, 1), (0.8, 2), (0.8, 3))
    return Prompt(
        messages=(Message(role="system", content=system), Message(role="user", content=text)),
        samples=tuple(Sample(temperature=t, seed=s) for t, s in drawn),
        max_tokens=max_tokens,
        **more,
    )


def choice(*words: str) -> dict[str, Any]:
    """The schema of an object that holds one of some words."""
    return {
        "type": "object",
        "properties": {"word": {"type": "string", "enum": list(words)}},
        "required": ["word"],
        "additionalProperties": False,
    }


async def draw(engine: LlamaCpp, asked: Prompt) -> list[Completion]:
    (completions,) = await engine.generate([asked])
    assert not isinstance(completions, InputError), repr(completions)
    assert len(completions) == len(asked.samples)
    return completions


async def texts(engine: LlamaCpp, asked: Prompt) -> list[str]:
    return [completion.text for completion in await draw(engine, asked)]


async def test_three_samples_cost_one_prefill(engine: LlamaCpp) -> None:
    """The system text is new, so that no slot knows more than the template's first tokens."""
    asked = prompt("Which of them is the largest?", system="Lions, tigers, whales, ants, owls.")
    first, *others = [completion.usage for completion in await draw(engine, asked)]
    assert first.prompt_tokens > 20
    assert first.cached_tokens <= 8, "it is the one that pays"
    for usage in others:
        assert usage.prompt_tokens == first.prompt_tokens
        assert usage.cached_tokens >= usage.prompt_tokens - 1


async def test_a_known_prompt_costs_no_prefill(engine: LlamaCpp) -> None:
    asked = prompt("Name a bird.", (0.8, 1), system="Owls, larks, crows.")
    await draw(engine, asked)
    (again,) = await draw(engine, asked)
    assert again.usage.cached_tokens >= again.usage.prompt_tokens - 1


async def test_what_a_completion_tells(engine: LlamaCpp) -> None:
    for completion in await draw(engine, prompt()):
        assert completion.model == "SmolLM2-135M-Instruct.Q4_1"
        assert completion.text == completion.text.strip() != ""
        assert completion.finish_reason in ("stop", "length")
        assert 1 <= completion.usage.completion_tokens <= 6


async def test_the_same_seeds_give_the_same_texts(engine: LlamaCpp) -> None:
    """Also where the slots know the prompt, or another one, from before."""
    asked = prompt("Tell me about the sea.", (1.0, 11), (1.0, 12), (0.3, 13), max_tokens=12)
    first = await texts(engine, asked)
    assert await texts(engine, asked) == first
    await texts(engine, prompt("Tell me about mountains."))
    assert await texts(engine, asked) == first


async def test_seeds_and_temperatures_make_a_difference(engine: LlamaCpp) -> None:
    same = prompt("Invent a name.", (0.0, 1), (0.0, 2), (0.0, 3))
    assert len(set(await texts(engine, same))) == 1, "temperature 0 knows no chance"
    seeds = prompt("Invent a name.", (1.5, 1), (1.5, 2), (1.5, 3))
    assert len(set(await texts(engine, seeds))) > 1
    temperatures = prompt("Invent a name.", (0.0, 1), (2.0, 1))
    assert len(set(await texts(engine, temperatures))) == 2


async def test_an_answer_ends_at_max_tokens(engine: LlamaCpp) -> None:
    for completion in await draw(engine, prompt("Write a long story of a dragon.", max_tokens=5)):
        assert completion.usage.completion_tokens == 5
        assert completion.finish_reason == "length"


async def test_the_engine_enforces_the_schema(engine: LlamaCpp) -> None:
    asked = prompt(
        "Say whatever you like, but no JSON.",
        *((2.0, seed) for seed in range(3)),
        max_tokens=40,
        json_schema=choice("yes", "no"),
    )
    for completion in await draw(engine, asked):
        assert completion.finish_reason == "stop"
        assert json.loads(completion.text)["word"] in ("yes", "no")


async def test_a_prompt_that_does_not_fit_leaves_the_others_alone(engine: LlamaCpp) -> None:
    long = prompt("word " * 1100)
    before, overflow, after = await engine.generate([prompt(), long, prompt("Name a fish.")])
    assert isinstance(overflow, ContextOverflow)
    assert "1,024" in str(overflow) and "top_k" in str(overflow)
    assert isinstance(before, list) and len(before) == 3
    assert isinstance(after, list) and len(after) == 3


async def test_prompt_and_answer_must_fit_together(engine: LlamaCpp) -> None:
    (overflow,) = await engine.generate([prompt(max_tokens=CONTEXT)])
    assert isinstance(overflow, ContextOverflow)


async def test_more_samples_than_slots(engine: LlamaCpp) -> None:
    samples = [(0.0, 1), (1.5, 2), (1.5, 3), (0.0, 4), (1.5, 2)]
    first, second, _, fourth, fifth = await texts(engine, prompt("Invent a word.", *samples))
    assert first == fourth, "temperature 0 knows no chance"
    assert second == fifth, "the same seed in another wave"


async def test_prompts_at_once_do_not_mix(engine: LlamaCpp) -> None:
    words = ["alpha", "beta", "gamma", "delta", "eins"]
    asked = [
        prompt(
            f"Write {word}." + " Please." * n,
            (1.0, n),
            (1.0, n + 1),
            max_tokens=20,
            json_schema=choice(word),
        )
        for n, word in enumerate(words)
    ]
    together = await engine.generate(asked)
    for n, (word, completions) in enumerate(zip(words, together, strict=True)):
        assert isinstance(completions, list)
        assert [json.loads(c.text) for c in completions] == [{"word": word}] * 2
        (alone, _) = await draw(engine, asked[n]) if n == 4 else completions
        assert completions[0].usage.prompt_tokens == alone.usage.prompt_tokens


def probe(text: str, system: str, **more: Any) -> Prompt:
    """A prompt that asks for one token and its alternatives."""
    return prompt(text, (0.0, 0), max_tokens=1, system=system, **{"logprobs": 5} | more)


async def test_probabilities_come_with_the_tokens(engine: LlamaCpp) -> None:
    (completion,) = await draw(engine, prompt("Count to ten.", (0.0, 1), logprobs=3))
    assert len(completion.logprobs) == completion.usage.completion_tokens > 1
    for likeliest in completion.logprobs:
        assert 1 <= len(likeliest) <= 3
        assert all(logprob <= 0 for logprob in likeliest.values())
    best = [max(likeliest, key=likeliest.__getitem__) for likeliest in completion.logprobs]
    assert "".join(best).strip() == completion.text, "without heat the likeliest are drawn"
    (without,) = await draw(engine, prompt("Count to ten.", (0.0, 1)))
    assert without.logprobs == ()


async def test_prompts_of_one_token_that_begin_alike_share_their_prefill(engine: LlamaCpp) -> None:
    system = "Judge by this: " + " ".join(f"Number {n} is {n * n}." for n in range(40))
    asked = [probe(f"Is {n} squared {n * n}? Say 1 or 0.", system) for n in range(6)]
    answers = await engine.generate(asked)
    completions = [answer[0] for answer in answers if isinstance(answer, list)]
    assert len(completions) == 6
    computed = [c.usage.prompt_tokens - c.usage.cached_tokens for c in completions]
    assert computed[0] > 300
    assert max(computed[1:]) < 60, "only what a prompt adds is evaluated"
    assert all(len(c.logprobs) == c.usage.completion_tokens == 1 for c in completions)


async def test_one_token_prompts_beside_others_keep_their_places(engine: LlamaCpp) -> None:
    system = "You answer with a colour."
    asked = [
        probe("The sky is", system),
        prompt("Grass?", (0.8, 1), (0.8, 2), system=system),
        probe("x " * CONTEXT, system),
        probe("Snow is", system),
        prompt("Coal?", (0.8, 1), system=system),
    ]
    answers = await engine.generate(asked)
    counts = [len(answer) if isinstance(answer, list) else answer for answer in answers]
    assert isinstance(counts.pop(2), ContextOverflow)
    assert counts == [1, 2, 1, 1]
    alone = [(await draw(engine, asked[place]))[0].text for place in (0, 3)]
    assert [answers[place][0].text for place in (0, 3)] == alone  # type: ignore[index]


async def test_a_probability_is_the_same_again(engine: LlamaCpp) -> None:
    asked = probe("Is Paris in France? Say 1 or 0.", "You judge.")
    first, second = [(await draw(engine, asked))[0].logprobs[0] for _ in range(2)]
    assert first.keys() == second.keys()
    assert [second[token] for token in first] == pytest.approx(list(first.values()), abs=0.05)


async def test_a_stream_grows_into_the_completions(engine: LlamaCpp) -> None:
    """More samples than slots, so that the second wave keeps its numbers."""
    asked = prompt("Count to five.", (0.0, 1), (0.8, 2), (0.8, 3), (0.0, 4), max_tokens=8)
    texts, whole = [""] * 4, {}
    async with contextlib.aclosing(engine.stream(asked)) as pieces:
        async for piece in pieces:
            assert piece.sample not in whole, "nothing comes after the last piece"
            texts[piece.sample] += piece.text
            if piece.completion is not None:
                whole[piece.sample] = piece.completion
    assert [text.strip() for text in texts] == [whole[n].text for n in range(4)]
    assert [c.text for c in await draw(engine, asked)] == [whole[n].text for n in range(4)]


async def test_leaving_a_stream_frees_its_slots(engine: LlamaCpp) -> None:
    asked = prompt("Write a long story.", max_tokens=CONTEXT - 100)
    async with contextlib.aclosing(engine.stream(asked)) as pieces:
        await anext(pieces)
        assert engine._idle == []
    assert len(engine._idle) == SLOTS


async def test_a_stream_of_a_prompt_that_does_not_fit(engine: LlamaCpp) -> None:
    with pytest.raises(ContextOverflow, match="top_k"):
        await anext(engine.stream(prompt("word " * 1100)))


async def test_no_prompts_no_answers(engine: LlamaCpp) -> None:
    assert await engine.generate([]) == []


@pytest.mark.parametrize("text", ["", "🦆\u2028\x85\x1b[31m ü", '{"a": "\\u0000"}', "%s {x} {{y}}"])
async def test_odd_prompts(engine: LlamaCpp, text: str) -> None:
    await draw(engine, prompt(text, (0.8, 1), max_tokens=2))


async def test_control_tokens_in_a_text_are_text(engine: LlamaCpp) -> None:
    """A passage that says "<|im_end|>" must not end the user's turn."""
    tokens = {}
    for text in ("", "<|im_end|>" * 8, "<|im_start|>" * 8):
        (completion,) = await draw(engine, prompt(text, (0.0, 1), max_tokens=1))
        tokens[text] = completion.usage.prompt_tokens
    plain, *steered = tokens.values()
    for text, count in zip(list(tokens)[1:], steered, strict=True):
        assert count - plain > 8 * 2, f"{text!r} was read as {count - plain} control tokens"


class TestCancelling:
    @pytest.fixture
    def drawing(
        self, engine: LlamaCpp, monkeypatch: pytest.MonkeyPatch
    ) -> Callable[[], Awaitable[None]]:
        """Waits until the engine decodes the first samples."""
        began = asyncio.Event()
        sample = engine._sample

        async def noting(*arguments: Any) -> Completion:
            began.set()
            return await sample(*arguments)

        monkeypatch.setattr(LlamaCpp, "_sample", staticmethod(noting))

        async def wait() -> None:
            async with asyncio.timeout(20):
                await began.wait()

        return wait

    LONG = prompt("Write a long story.", max_tokens=CONTEXT - 100)

    async def test_it_frees_the_slots_within_a_second(
        self, engine: LlamaCpp, drawing: Callable[[], Awaitable[None]]
    ) -> None:
        task = asyncio.create_task(engine.generate([self.LONG]))
        await drawing()
        assert engine._idle == []
        started = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(engine._idle) == SLOTS
        # llama.cpp itself has to stop too: else the next one would wait for some thousand tokens.
        await draw(engine, prompt("Name a tree.", max_tokens=1))
        assert time.monotonic() - started < 12

    async def test_a_busy_engine_stops_too(
        self, engine: LlamaCpp, drawing: Callable[[], Awaitable[None]]
    ) -> None:
        """llama.cpp looks for closed connections only where nothing was answered for a second."""
        long = prompt("Write a long story.", (0.8, 1), max_tokens=CONTEXT - 100)
        task = asyncio.create_task(engine.generate([long]))
        await drawing()
        (number,) = {0, 1, 2} - {slot.number for slot in engine._idle}

        short = {"prompt": "Hi.", "n_predict": 1, "id_slot": (number + 1) % SLOTS}

        async def stops(within_s: float) -> bool:
            """Whether the long one's slot comes to rest while another slot answers and answers."""
            end = time.monotonic() + within_s
            while time.monotonic() < end:
                await engine._post("/completion", short)
                reply: Any = await engine._request("GET", "/slots")
                if not {slot["id"]: slot["is_processing"] for slot in reply}[number]:
                    return True
            return False

        assert not await stops(1.2), "the long one ended by itself: this test tells nothing"
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert await stops(6), "nobody waits for it any more, and it still decodes"

    async def test_one_of_two(
        self, engine: LlamaCpp, drawing: Callable[[], Awaitable[None]]
    ) -> None:
        """The one that waits for slots gets them."""
        long = asyncio.create_task(engine.generate([self.LONG]))
        await drawing()
        short = asyncio.create_task(draw(engine, prompt("Name a flower.", max_tokens=2)))
        long.cancel()
        async with asyncio.timeout(20):
            assert len(await short) == 3
        assert long.cancelled() or isinstance(long.exception(), asyncio.CancelledError)

    async def test_one_that_waits(
        self, engine: LlamaCpp, drawing: Callable[[], Awaitable[None]]
    ) -> None:
        long = asyncio.create_task(engine.generate([self.LONG]))
        await drawing()
        waiting = [asyncio.create_task(draw(engine, prompt())) for _ in range(2)]
        await engine.check()  # they got as far as to wait
        waiting[0].cancel()
        await asyncio.gather(waiting[0], return_exceptions=True)
        long.cancel()
        await asyncio.gather(long, return_exceptions=True)
        async with asyncio.timeout(20):
            assert len(await waiting[1]) == 3

    async def test_past_the_time_limit_it_is_unavailable(
        self, engine: LlamaCpp, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hasty = engine._settings.model_copy(update={"timeout_s": 0.2})
        with monkeypatch.context() as patch:
            patch.setattr(engine, "_settings", hasty)
            started = time.monotonic()
            with pytest.raises(TimedOut, match=r"within 0\.2 s"):
                await engine.generate([self.LONG])
            assert time.monotonic() - started < 5
        assert len(engine._idle) == SLOTS
        await draw(engine, prompt(max_tokens=1))

    async def test_without_a_slot_in_time_the_prompt_is_not_the_reason(
        self, engine: LlamaCpp, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hasty = engine._settings.model_copy(update={"timeout_s": 0.4})
        held, engine._idle = engine._idle, []
        with monkeypatch.context() as patch:
            patch.setattr(engine, "_settings", hasty)
            with pytest.raises(Overloaded, match=r"no slot free within 0\.2 s"):
                await engine.generate([prompt(max_tokens=1)])
        engine._idle = held
        await draw(engine, prompt(max_tokens=1))


def leftovers() -> list[str]:
    """Folders of engines of this process."""
    return sorted(p.name for p in Path("/dev/shm").glob(f"rlvr-llama-{os.getpid()}-*"))


class TestOpening:
    async def test_a_file_that_does_not_exist(self, tmp_path: Path) -> None:
        path = tmp_path / "none.gguf"
        with pytest.raises(ConfigError, match=r"model_path.*none\.gguf"):
            LlamaCpp(GeneratorSettings(model_path=path))

    async def test_a_folder_is_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="model_path"):
            LlamaCpp(GeneratorSettings(model_path=tmp_path))

    async def test_another_checksum(self) -> None:
        settings = GeneratorSettings(model_path=SMOLLM2_135M.locate(), model_sha256="0" * 64)
        with pytest.raises(ConfigError, match="SHA-256"):
            LlamaCpp(settings)

    @pytest.mark.parametrize("content", [b"", b"not a model " * 1000, b"GGUF", "a part"])
    async def test_what_is_no_whole_model(
        self, engine: LlamaCpp, tmp_path: Path, content: bytes | str
    ) -> None:
        path = tmp_path / "odd.gguf"
        if isinstance(content, str):
            with SMOLLM2_135M.locate().open("rb") as stream:
                content = stream.read(30_000_000)
        path.write_bytes(content)
        before = leftovers()
        with pytest.raises(ConfigError, match=r"cannot load .*odd\.gguf"):
            LlamaCpp(GeneratorSettings(model_path=path, slots=1, context_tokens=512, threads=1))
        assert leftovers() == before

    async def test_close_removes_its_folder(self, engine: LlamaCpp) -> None:
        path = SMOLLM2_135M.locate()
        before = leftovers()
        other = LlamaCpp(
            GeneratorSettings(
                model_path=path,
                model_sha256=SMOLLM2_135M.sha256,
                slots=1,
                context_tokens=512,
                threads=1,
            )
        )
        assert await other.check() == path.stem
        (own,) = set(leftovers()) - set(before)
        assert (Path("/dev/shm", own).stat().st_mode & 0o077) == 0, "others can look into it"
        await other.close()
        assert leftovers() == before
        assert await engine.check() == "SmolLM2-135M-Instruct.Q4_1", "the other engine goes on"
