"""What goes wrong with vLLM says so in a sentence, in bounded time, and gives back what it held."""

import asyncio
import contextlib
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from rlvr_ray.core.errors import ConfigError, TimedOut, Unavailable
from rlvr_ray.generation.engines.vllm import VLLM
from rlvr_ray.generation.generator import Prompt, Sample
from rlvr_ray.generation.prompts import Message
from rlvr_ray.settings import GeneratorSettings

in_session = pytest.mark.asyncio(loop_scope="session")

BOUND_S = 120


def prompt(text: str = "Name a colour.", max_tokens: int = 4, samples: int = 3) -> Prompt:
    return Prompt(
        messages=(Message(role="user", content=text),),
        samples=tuple(Sample(temperature=0.7, seed=seed) for seed in range(samples)),
        max_tokens=max_tokens,
    )


def cores() -> list[psutil.Process]:
    """vLLM's processes below this one."""
    return [p for p in psutil.Process().children(recursive=True) if "EngineCore" in p.name()]


async def works(engine: VLLM) -> None:
    async with asyncio.timeout(BOUND_S):
        (answers,) = await engine.generate([prompt()])
    assert isinstance(answers, list), answers
    assert len(answers) == 3
    assert not engine._engine.output_processor.has_unfinished_requests()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"model": "/no/such/folder"}, r"generator\.model: there is no folder /no/such/folder"),
        ({"vllm": {"kv_cache_memory_bytes": 900 * 2**30}}, "memory"),
        ({"vllm": {"no_such_option": 1}}, "no_such_option"),
        ({"context_tokens": 100_000}, r"max_model_len \(100000\)"),
    ],
    ids=["missing", "out of memory", "unknown option", "longer than the model's context"],
)
def test_a_load_that_fails_gives_the_reason(
    options: dict[str, Any], wrong: dict[str, Any], said: str
) -> None:
    before = len(cores())
    started = time.monotonic()
    with pytest.raises(ConfigError, match=said) as caught:
        VLLM(GeneratorSettings(**(options | wrong)))
    assert time.monotonic() - started < BOUND_S
    assert "\n" not in str(caught.value)
    assert len(cores()) == before, "no process is left behind"


def test_a_folder_without_a_model_is_said(options: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.json"):
        VLLM(GeneratorSettings(**(options | {"model": str(tmp_path)})))


@in_session
async def test_a_client_that_leaves_frees_its_place(engine: VLLM) -> None:
    asking = asyncio.create_task(engine.generate([prompt("Tell all.", max_tokens=8000)]))
    async with asyncio.timeout(BOUND_S):
        while not engine._engine.output_processor.has_unfinished_requests():
            await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    await works(engine)


@in_session
async def test_leaving_a_stream_frees_its_place(engine: VLLM) -> None:
    async with asyncio.timeout(BOUND_S):
        async with contextlib.aclosing(engine.stream(prompt(max_tokens=8000))) as pieces:
            await anext(pieces)
    await works(engine)


@in_session
async def test_more_than_fits_in_a_step_is_read_in_several(engine: VLLM) -> None:
    """Without a GPU, vLLM dies of a seeded prompt that it reads in parts."""
    asked = [prompt(f"{number} {'tell me of the sea ' * 500}") for number in range(8)]
    async with asyncio.timeout(BOUND_S):
        answers = await engine.generate(asked)
    sizes = [len(answer) for answer in answers if isinstance(answer, list)]
    assert sizes == [3] * 8, answers
    await works(engine)


@in_session
async def test_a_timeout_is_one_and_the_next_request_works(engine: VLLM) -> None:
    given = engine._settings
    engine._settings = given.model_copy(update={"timeout_s": 0.001})
    try:
        with pytest.raises(TimedOut, match=r"0\.001 s"):
            await engine.generate([prompt(max_tokens=8000)])
    finally:
        engine._settings = given
    await works(engine)


@in_session
async def test_a_killed_engine_is_noticed(options: dict[str, Any]) -> None:
    before = {p.pid for p in cores()}
    engine = VLLM(GeneratorSettings(**options))
    try:
        await works(engine)
        (core,) = [p for p in cores() if p.pid not in before]
        asking = asyncio.create_task(engine.generate([prompt(max_tokens=8000)]))
        async with asyncio.timeout(BOUND_S):
            while not engine._engine.output_processor.has_unfinished_requests():
                await asyncio.sleep(0)
            core.kill()
            with pytest.raises(Unavailable, match="vLLM has died"):
                await asking
            with pytest.raises(Unavailable, match="vLLM has died"):
                await engine.check()
            with pytest.raises(Unavailable, match="vLLM has died"):
                await engine.generate([prompt()])
    finally:
        await engine.close()
