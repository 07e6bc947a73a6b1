"""The throttle around a judge. Time is the loop's own: it passes where everybody waits."""

import asyncio
import random
import selectors
from collections.abc import Coroutine, Sequence
from typing import Any

import pytest

from rlvr_ray.core.errors import InputError, Overloaded, RlvrError, TimedOut, Unavailable
from rlvr_ray.generation.engines.openai import OpenAIChat
from rlvr_ray.generation.generator import Completion, Prompt, Sample
from rlvr_ray.generation.prompts import Message
from rlvr_ray.generation.throttle import Throttled
from rlvr_ray.settings import JudgeSettings
from tests.fakes import FakeGenerator
from tests.openai_server import OpenAIServer

pytestmark = pytest.mark.integration


class _Skipping(selectors.SelectSelector):
    """Waits for nothing: the time until the next timer is over at once, and work takes a little."""

    now = 1000.0

    def select(self, timeout: float | None = None) -> list[Any]:
        assert timeout is not None, "all wait for each other"
        self.now += max(1e-9, timeout)
        return super().select(0)


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._clock = _Skipping()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.now


def run(scenario: Coroutine[Any, Any, None]) -> None:
    """Run a scenario in its own time, which starts at 1000 s."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        runner.run(scenario)


def now() -> float:
    return asyncio.get_running_loop().time()


class Engine(FakeGenerator):
    """Takes ``seconds`` for a call; notes when calls began, with what, and the samples at once."""

    def __init__(self, seconds: float = 1.0, **more: Any) -> None:
        super().__init__(**more)
        self.seconds = seconds
        self.began: list[float] = []
        self.loads: list[list[str]] = []
        self.samples_running = 0
        self.most_samples = 0

    async def generate(self, prompts: Sequence[Prompt]) -> list[list[Completion] | InputError]:
        self.began.append(now())
        self.loads.append([f"{p.messages[0].content}*{len(p.samples)}" for p in prompts])
        count = sum(len(prompt.samples) for prompt in prompts)
        self.samples_running += count
        self.most_samples = max(self.most_samples, self.samples_running)
        try:
            await asyncio.sleep(self.seconds)
            return await super().generate(prompts)
        finally:
            self.samples_running -= count


def throttled(engine: FakeGenerator, **settings: Any) -> Throttled:
    return Throttled(engine, JudgeSettings(**{"concurrency": 4, "timeout_s": 1e6} | settings))


def prompt(name: str, count: int = 1, seed: int = 0) -> Prompt:
    return Prompt(
        messages=(Message(role="user", content=name),),
        samples=tuple(Sample(temperature=0.0, seed=seed + n) for n in range(count)),
        max_tokens=16,
    )


def echo(asked: Prompt) -> list[str]:
    return [f"{asked.messages[0].content} {sample.seed}" for sample in asked.samples]


def said(results: Sequence[list[Completion] | InputError]) -> list[list[str] | str]:
    return [
        str(each) if isinstance(each, InputError) else [completion.text for completion in each]
        for each in results
    ]


async def asleep(seconds: float = 0.1) -> None:
    """Let the others come as far as they can within this time of the loop's."""
    await asyncio.sleep(seconds)


class TestTogether:
    @pytest.mark.parametrize(
        ("counts", "limit", "loads"),
        [
            ([], 4, []),
            ([1, 1, 1, 1], 4, [["0*1", "1*1", "2*1", "3*1"]]),
            ([1] * 5, 4, [["0*1", "1*1", "2*1", "3*1"], ["4*1"]]),
            ([1, 3], 3, [["0*1"], ["1*3"]]),
            ([3], 2, [["0*2"], ["0*1"]]),
            ([1, 3, 1], 2, [["0*1"], ["1*2"], ["1*1", "2*1"]]),
            ([2, 2], 1, [["0*1"], ["0*1"], ["1*1"], ["1*1"]]),
            ([0, 1], 2, [["1*1"]]),
        ],
    )
    def test_what_fits_goes_in_one_call(
        self, counts: list[int], limit: int, loads: list[list[str]]
    ) -> None:
        """Prompts are told apart by name; ``1*3`` is the second one with three samples."""

        async def scenario() -> None:
            engine = Engine(script=echo)
            asked = [prompt(str(place), count) for place, count in enumerate(counts)]
            results = await throttled(engine, concurrency=limit).generate(asked)
            assert said(results) == [echo(each) for each in asked]
            assert engine.loads == loads

        run(scenario())

    @pytest.mark.parametrize("bad", [0, 1, 2])
    def test_an_error_has_its_prompts_place(self, bad: int) -> None:
        """Also where the prompt goes in parts, whichever of them it comes from."""

        def script(asked: Prompt) -> list[str] | InputError:
            seeds = [sample.seed for sample in asked.samples]
            return InputError(f"not {seeds}") if 7 + bad in seeds else echo(asked)

        async def scenario() -> None:
            engine = Engine(script=script)
            asked = [prompt("a", 2), prompt("b", 3, seed=7), prompt("c", 1)]
            before, found, after = said(await throttled(engine, concurrency=1).generate(asked))
            assert (before, found, after) == (["a 0", "a 1"], f"not [{7 + bad}]", ["c 0"])

        run(scenario())

    @pytest.mark.parametrize("limit", [1, 2, 5, 16])
    def test_never_more_than_its_concurrency(self, limit: int) -> None:
        async def scenario() -> None:
            chance = random.Random(limit)
            engine = Engine(script=echo)
            judge = throttled(engine, concurrency=limit)

            async def call(number: int) -> None:
                await asyncio.sleep(chance.uniform(0, 9))
                engine.seconds = chance.uniform(0, 3)
                counts = [chance.randrange(1, 8) for _ in range(chance.randrange(4))]
                asked = [prompt(f"{number}.{p}", count) for p, count in enumerate(counts)]
                assert said(await judge.generate(asked)) == [echo(each) for each in asked]

            await asyncio.gather(*(call(number) for number in range(60)))
            assert engine.most_samples == limit
            assert engine.samples_running == 0

        run(scenario())

    def test_who_wants_much_is_not_overtaken(self) -> None:
        async def scenario() -> None:
            engine = Engine(seconds=10, script=echo)
            judge = throttled(engine, concurrency=3)
            calls = [
                asyncio.create_task(judge.generate([prompt(name, count)]))
                for name, count in [("first", 2), ("much", 3), ("little", 1)]
            ]
            await asyncio.gather(*calls)
            assert engine.loads == [["first*2"], ["much*3"], ["little*1"]]

        run(scenario())

    async def test_over_http(self) -> None:
        """A sample is a request there."""
        async with OpenAIServer() as server:
            settings = JudgeSettings(base_url=server.url, model="m", concurrency=3)
            chat = OpenAIChat(settings)
            server.hold()
            asked = [prompt("a", 5), prompt("b", 2), prompt("c", 1)]
            task = asyncio.create_task(Throttled(chat, settings).generate(asked))
            await server.until(lambda: server.running == 3)
            server.release()
            assert [len(each) for each in said(await task)] == [5, 2, 1]
            assert len(server.requests) == 8
            assert server.most_running == 3
            await chat.close()


class TestRate:
    @pytest.mark.parametrize("limit", [1, 7, 60, 1000])
    def test_no_minute_has_more(self, limit: int) -> None:
        """Bursts, pauses, calls of many and of one: as many as allowed, as soon as allowed."""

        async def scenario() -> None:
            engine = Engine(seconds=0, script=echo)
            judge = throttled(engine, requests_per_minute=limit, concurrency=64)
            burst = [prompt("a", 3), *(prompt("b") for _ in range(2 * limit))]
            started = now()
            await judge.generate(burst)
            count = 3 + 2 * limit
            assert now() - started == pytest.approx((count - 1) * 60 / limit)
            await asleep(500)  # what was not used is not saved up
            await asyncio.gather(*(judge.generate([prompt(str(n))]) for n in range(limit + 5)))
            await asleep(60 / limit * 1.5)
            await judge.generate(burst[:2])
            assert len(engine.began) == count + limit + 5 + 4
            for first in engine.began:
                within = [t for t in engine.began if first <= t < first + 60 - 1e-6]
                assert len(within) <= limit

        run(scenario())

    def test_without_a_limit_nobody_waits(self) -> None:
        async def scenario() -> None:
            engine = Engine(seconds=0, script=echo)
            await throttled(engine).generate([prompt(str(n)) for n in range(500)])
            assert engine.began[-1] - engine.began[0] < 0.001

        run(scenario())

    def test_who_leaves_lets_the_next_one_go(self) -> None:
        async def scenario() -> None:
            engine = Engine(seconds=0, script=echo)
            judge = throttled(engine, requests_per_minute=6)
            started = now()
            calls = [asyncio.create_task(judge.generate([prompt(name)])) for name in "abc"]
            await asleep()
            calls[1].cancel()
            await asyncio.gather(*calls, return_exceptions=True)
            assert engine.loads == [["a*1"], ["c*1"]]
            assert now() - started == pytest.approx(10)

        run(scenario())


class TestFailing:
    @pytest.mark.parametrize("error", [Unavailable("down"), Overloaded("busy"), TimedOut("late")])
    def test_what_the_engine_raises_is_raised(self, error: RlvrError) -> None:
        """The rest of the call is called off, and its places are free again."""

        async def scenario() -> None:
            engine = Engine(script=echo)
            engine.failures = [error]
            judge = throttled(engine, concurrency=2)
            with pytest.raises(type(error)) as caught:
                await judge.generate([prompt(str(n), 1) for n in range(9)])
            assert caught.value is error
            assert len(engine.loads) <= 2, "nothing is begun after a failure"
            assert engine.samples_running == 0
            assert said(await judge.generate([prompt("a", 2)])) == [["a 0", "a 1"]]

        run(scenario())

    def test_an_engine_that_is_too_slow(self) -> None:
        async def scenario() -> None:
            engine = Engine(seconds=100, script=echo)
            judge = throttled(engine, concurrency=1, timeout_s=30)
            started = now()
            with pytest.raises(TimedOut, match="did not finish within 30 s"):
                await judge.generate([prompt("a")])
            assert now() - started == pytest.approx(30)
            assert engine.samples_running == 0
            engine.seconds = 1
            assert said(await judge.generate([prompt("b")])) == [["b 0"]]

        run(scenario())

    def test_who_had_to_wait_is_not_to_blame(self) -> None:
        """Waiting is part of the time limit, and is no reason to count it as an attempt."""

        async def scenario() -> None:
            engine = Engine(seconds=100, script=echo)
            judge = throttled(engine, concurrency=1, timeout_s=120)
            calls = []
            for name in "abcd":
                calls.append(asyncio.create_task(judge.generate([prompt(name)])))
                await asleep(0 if name == "c" else 0.1)
            done, *others = await asyncio.gather(*calls, return_exceptions=True)
            assert isinstance(done, list)
            for each in others:  # 20 s of its own; 0.1 s; none
                assert isinstance(each, Overloaded) and "judge.concurrency" in str(each)
            assert engine.loads == [["a*1"], ["b*1"], ["c*1"]]

        run(scenario())

    def test_who_had_most_of_the_time_is(self) -> None:
        async def scenario() -> None:
            engine = Engine(seconds=50, script=echo)
            judge = throttled(engine, concurrency=1, timeout_s=120)
            first = asyncio.create_task(judge.generate([prompt("a")]))
            await asleep()
            engine.seconds = 1000
            with pytest.raises(TimedOut):
                await judge.generate([prompt("b")])
            await first

        run(scenario())

    def test_a_call_that_the_rate_does_not_let_finish(self) -> None:
        """It would take as long again, and cost as much: that is its own affair."""

        async def scenario() -> None:
            engine = Engine(seconds=0, script=echo)
            judge = throttled(engine, requests_per_minute=1, timeout_s=100)
            with pytest.raises(TimedOut):
                await judge.generate([prompt("a", 5)])
            assert engine.calls == 2

        run(scenario())

    def test_cancelling(self) -> None:
        """Those at work and those that wait: their places go to others, the engine stops."""

        async def scenario() -> None:
            engine = Engine(seconds=1000, script=echo)
            judge = throttled(engine, concurrency=2)
            working = asyncio.create_task(judge.generate([prompt("a", 2)]))
            await asleep()
            waiting = asyncio.create_task(judge.generate([prompt("b", 2), prompt("c", 2)]))
            await asleep()
            last = asyncio.create_task(judge.generate([prompt("d", 2)]))
            await asleep()
            waiting.cancel()
            working.cancel()
            results = await asyncio.gather(working, waiting, return_exceptions=True)
            assert all(isinstance(result, asyncio.CancelledError) for result in results)
            await asleep()
            assert engine.loads == [["a*2"], ["d*2"]]
            assert engine.samples_running == 2
            last.cancel()
            await asyncio.gather(last, return_exceptions=True)
            assert engine.samples_running == 0

        run(scenario())
