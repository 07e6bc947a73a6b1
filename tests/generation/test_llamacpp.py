"""llama.cpp itself: what it does beyond the contract (``tests/engine_contract.py``)."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from rlvr_ray.core.errors import ConfigError, ContextOverflow, InputError, Overloaded
from rlvr_ray.generation.engines.llamacpp import LlamaCpp
from rlvr_ray.generation.generator import Completion, Prompt, Sample
from rlvr_ray.generation.model_files import SMOLLM2_135M
from rlvr_ray.generation.prompts import Message
from rlvr_ray.settings import GeneratorSettings
from tests.patience import PATIENCE_S

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

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
    assert sorted(slot.number for slot in engine._slots.idle) == [0, 1, 2], (
        "a slot was lost or doubled"
    )


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


async def draw(engine: LlamaCpp, asked: Prompt) -> list[Completion]:
    (completions,) = await engine.generate([asked])
    assert not isinstance(completions, InputError), repr(completions)
    assert len(completions) == len(asked.samples)
    return completions


async def test_a_known_prompt_costs_no_prefill(engine: LlamaCpp) -> None:
    asked = prompt("Name a bird.", (0.8, 1), system="Owls, larks, crows.")
    await draw(engine, asked)
    (again,) = await draw(engine, asked)
    assert again.usage.cached_tokens >= again.usage.prompt_tokens - 1


async def test_prompt_and_answer_must_fit_together(engine: LlamaCpp) -> None:
    (overflow,) = await engine.generate([prompt(max_tokens=CONTEXT)])
    assert isinstance(overflow, ContextOverflow)
    assert "1,024" in str(overflow)


async def test_a_probability_is_the_same_again(engine: LlamaCpp) -> None:
    asked = prompt("Is Paris in France? Say 1 or 0.", (0.0, 0), max_tokens=1, logprobs=5)
    first, second = [(await draw(engine, asked))[0].logprobs[0] for _ in range(2)]
    assert first.keys() == second.keys()
    assert [second[token] for token in first] == pytest.approx(list(first.values()), abs=0.05)


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
            async with asyncio.timeout(PATIENCE_S):
                await began.wait()

        return wait

    LONG = prompt("Write a long story.", max_tokens=CONTEXT - 100)

    async def test_a_busy_engine_stops_too(
        self, engine: LlamaCpp, drawing: Callable[[], Awaitable[None]]
    ) -> None:
        """llama.cpp looks for closed connections only where nothing was answered for a second."""
        long = prompt("Write a long story.", (0.8, 1), max_tokens=CONTEXT - 100)
        task = asyncio.create_task(engine.generate([long]))
        await drawing()
        (number,) = {0, 1, 2} - {slot.number for slot in engine._slots.idle}

        short = {"prompt": "Hi.", "n_predict": 1, "id_slot": (number + 1) % SLOTS}

        async def stops(within_s: float) -> bool:
            """Whether the long one's slot comes to rest while another slot answers and answers."""
            end = time.monotonic() + within_s
            while time.monotonic() < end:
                await engine._server.post("/completion", short)
                reply: Any = await engine._server.request("GET", "/slots")
                if not {slot["id"]: slot["is_processing"] for slot in reply}[number]:
                    return True
            return False

        assert not await stops(1.2), "the long one ended by itself: this test tells nothing"
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert await stops(6), "nobody waits for it any more, and it still decodes"

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
        async with asyncio.timeout(PATIENCE_S):
            assert len(await waiting[1]) == 3

    async def test_without_a_slot_in_time_the_prompt_is_not_the_reason(
        self, engine: LlamaCpp, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hasty = engine._settings.model_copy(update={"timeout_s": 0.4})
        held, engine._slots.idle = engine._slots.idle, []
        with monkeypatch.context() as patch:
            patch.setattr(engine, "_settings", hasty)
            with pytest.raises(Overloaded, match=r"no slot free within 0\.2 s"):
                await engine.generate([prompt(max_tokens=1)])
        engine._slots.idle = held
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
