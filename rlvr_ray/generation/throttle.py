"""A generator with a limit on calls in flight and on calls per minute."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from dataclasses import replace

from aiolimiter import AsyncLimiter

from rlvr_ray.core.concurrency import gather
from rlvr_ray.core.errors import InputError, Overloaded, TimedOut
from rlvr_ray.generation.generator import Completion, CompletionChunk, Engine, Generator, Prompt
from rlvr_ray.settings import EngineSettings

#: A prompt's place in a call, and what is asked of it at a time.
_Place = tuple[int, Prompt]


class Throttled:
    """A Generator around another one, with the limits of an engine's settings.

    ``concurrency`` samples are in flight at most, and ``requests_per_minute`` are begun in any
    60 s: evenly, since a minute's worth at once would let nearly twice as many into the first one.
    Who came first goes first. What does not fit together goes in several calls; with a limit a
    minute, each sample goes by itself, else the prompts of a call stay together where they can,
    so that those which begin alike share their prefill.
    """

    def __init__(self, inner: Generator, settings: EngineSettings) -> None:
        self._inner = inner
        self._section = settings.section
        self._free = settings.concurrency
        self._timeout_s = settings.timeout_s
        self._together = settings.concurrency
        self._rate: AsyncLimiter | None = None
        if settings.requests_per_minute is not None:
            self._rate = AsyncLimiter(1, 60 / settings.requests_per_minute)
            self._together = 1
        self._turn = asyncio.Lock()
        self._returned = asyncio.Event()

    async def generate(self, prompts: Sequence[Prompt]) -> list[list[Completion] | InputError]:
        """See ``Generator``. Raises TimedOut past ``timeout_s``, waiting included.

        Where most of that time went by before its turn came, it raises Overloaded: what it asked
        is not the reason, and asking the same again later is right.
        """
        started = asyncio.get_running_loop().time()
        began: list[float] = []  # when each load's turn came
        loads = list(_loads(prompts, self._together))
        try:
            async with asyncio.timeout(self._timeout_s):
                results = await gather(*(self._ask(load, began) for load in loads))
        except TimeoutError:
            if began and began[0] - started < self._timeout_s / 2:
                raise TimedOut(
                    f"the {self._section} did not finish within {self._timeout_s:g} s"
                ) from None
            raise self._late(self._timeout_s) from None
        answers: list[list[Completion] | InputError] = [[] for _ in prompts]
        for load, replies in zip(loads, results, strict=True):
            for (place, _), reply in zip(load, replies, strict=True):
                answer = answers[place]
                if isinstance(answer, InputError):
                    continue
                answers[place] = reply if isinstance(reply, InputError) else [*answer, *reply]
        return answers

    def _late(self, waited_s: float) -> Overloaded:
        names = ("timeout_s", "concurrency", "requests_per_minute")
        *most, last = (f"{self._section}.{name}" for name in names)
        return Overloaded(
            f"the {self._section} did not come to it within {waited_s:g} s; raise "
            f"{', '.join(most)} or {last}"
        )

    async def _ask(
        self, load: Sequence[_Place], began: list[float]
    ) -> list[list[Completion] | InputError]:
        """Ask for one load, once there is room for it."""
        async with self._room(sum(len(prompt.samples) for _, prompt in load)):
            began.append(asyncio.get_running_loop().time())
            return await self._inner.generate([prompt for _, prompt in load])

    @contextlib.asynccontextmanager
    async def _room(self, count: int, wait_s: float | None = None) -> AsyncIterator[None]:
        """Wait until so many samples may be in flight; raise Overloaded after ``wait_s``."""
        try:
            async with asyncio.timeout(wait_s):
                await self._take(count)
        except TimeoutError:
            assert wait_s is not None
            raise self._late(wait_s) from None
        try:
            yield
        finally:
            self._free += count
            self._returned.set()

    async def _take(self, count: int) -> None:
        async with self._turn:  # who waits for much is not overtaken for ever
            while self._free < count:
                self._returned.clear()
                await self._returned.wait()
            if self._rate is not None:
                await self._rate.acquire()
            self._free -= count


class Limited(Throttled):
    """An Engine around another one, with the limits of its settings."""

    def __init__(self, inner: Engine, settings: EngineSettings) -> None:
        super().__init__(inner, settings)
        self._engine = inner

    @property
    def model(self) -> str:
        return self._engine.model

    async def stream(self, prompt: Prompt) -> AsyncGenerator[CompletionChunk]:
        """See ``Generator``. The limit of time is the engine's own, once its turn came."""
        for start in range(0, len(prompt.samples), self._together):
            part = replace(prompt, samples=prompt.samples[start : start + self._together])
            async with (
                self._room(len(part.samples), self._timeout_s / 2),
                contextlib.aclosing(self._engine.stream(part)) as chunks,
            ):
                async for chunk in chunks:
                    yield replace(chunk, sample=start + chunk.sample)

    async def check(self) -> str:
        return await self._engine.check()

    async def close(self) -> None:
        await self._engine.close()


def _loads(prompts: Sequence[Prompt], limit: int) -> Iterator[list[_Place]]:
    """All prompts in order, at most ``limit`` samples together; no prompt is split without need."""
    load: list[_Place] = []
    room = limit
    for place, prompt in enumerate(prompts):
        for start in range(0, len(prompt.samples), limit):
            samples = prompt.samples[start : start + limit]
            if len(samples) > room:
                yield load
                load, room = [], limit
            load.append((place, replace(prompt, samples=samples)))
            room -= len(samples)
    if load:
        yield load
