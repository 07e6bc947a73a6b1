"""Who judges and who verifies, from the settings; and a judge that is asked no more than it takes.

Plain parts, without Ray: the Verifier deployment and ``rlvr judge-report`` are made of them.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from importlib.metadata import EntryPoint, entry_points
from typing import Protocol

from aiolimiter import AsyncLimiter

from rlvr_ray.core import grounding
from rlvr_ray.errors import ConfigError, InputError, Overloaded, TimedOut
from rlvr_ray.panel import Member, WeightedPanel
from rlvr_ray.ports import (
    Completion,
    ContextJudge,
    Embedder,
    Equipment,
    Generator,
    Panel,
    Prompt,
    Verifier,
    VerifierFactory,
)
from rlvr_ray.settings import JudgeSettings, Settings, VerifierSettings
from rlvr_ray.tasks import gather

#: A prompt's place in a call, and what is asked of it at a time.
_Piece = tuple[int, Prompt]


class Throttled:
    """A Generator around another one, with the limits of the settings ``judge.*``.

    ``concurrency`` samples are in flight at most, and ``requests_per_minute`` are begun in any
    60 s: evenly, since a minute's worth at once would let nearly twice as many into the first one.
    Who came first goes first. What does not fit together goes in several calls; with a limit a
    minute, each sample goes by itself, else the prompts of a call stay together where they can,
    so that those which begin alike share their prefill.
    """

    def __init__(self, inner: Generator, settings: JudgeSettings) -> None:
        self._inner = inner
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
        """See ``ports.Generator``. Raises TimedOut past ``judge.timeout_s``, waiting included.

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
                raise TimedOut(f"the judge did not finish within {self._timeout_s:g} s") from None
            raise Overloaded(
                f"the judge did not come to it within {self._timeout_s:g} s; raise "
                "judge.timeout_s, judge.concurrency or judge.requests_per_minute"
            ) from None
        answers: list[list[Completion] | InputError] = [[] for _ in prompts]
        for load, replies in zip(loads, results, strict=True):
            for (place, _), reply in zip(load, replies, strict=True):
                answer = answers[place]
                if isinstance(answer, InputError):
                    continue
                answers[place] = reply if isinstance(reply, InputError) else [*answer, *reply]
        return answers

    async def _ask(
        self, load: Sequence[_Piece], began: list[float]
    ) -> list[list[Completion] | InputError]:
        """Ask for one load, once there is room for it."""
        count = sum(len(prompt.samples) for _, prompt in load)
        async with self._turn:  # who waits for much is not overtaken for ever
            while self._free < count:
                self._returned.clear()
                await self._returned.wait()
            if self._rate is not None:
                await self._rate.acquire()
            self._free -= count
        try:
            began.append(asyncio.get_running_loop().time())
            return await self._inner.generate([prompt for _, prompt in load])
        finally:
            self._free += count
            self._returned.set()


def _loads(prompts: Sequence[Prompt], limit: int) -> Iterator[list[_Piece]]:
    """All prompts in order, at most ``limit`` samples together; no prompt is split without need."""
    load: list[_Piece] = []
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


#: The group of entry points that verifiers are found in, our own as well as others'.
GROUP = "rlvr_ray.verifiers"
#: Those that a language model takes part in, and the one that checks them.
ASKING = ("ragas", "logprob", "grounded")
CHECK = VerifierSettings(name="grounded", weight=0.0, options={"relevancy": "cosine"})


class Engine(Generator, Protocol):
    """A Generator that this process holds."""

    async def check(self) -> str:
        """The model's name."""
        ...

    async def close(self) -> None:
        """Let it go."""
        ...


class GroundedContexts:
    """A ContextJudge without a language model."""

    async def answerable(self, question: str, contexts: Sequence[str]) -> float:
        """See ``ports.ContextJudge``."""
        return grounding.answerable(question, contexts)


def check_verifiers(settings: Settings) -> None:
    """Raise ConfigError for a verifier that is not installed, before anything is started."""
    for verifier in settings.verification.verifiers:
        _entry_point(verifier.name)


def judge_engine(settings: JudgeSettings) -> Engine | None:
    """The judge's own engine; None where the Generator judges."""
    if settings.engine == "openai":
        from rlvr_ray.adapters.openai import OpenAIChat

        return OpenAIChat(settings)
    if settings.engine == "llamacpp":
        from rlvr_ray.adapters.llamacpp import LlamaCpp

        return LlamaCpp(settings.llamacpp())
    return None


def build_panel(settings: Settings, judge: Generator, embedder: Embedder) -> WeightedPanel:
    """The verifiers of the settings around one judge."""
    equipment = Equipment(
        judge=Throttled(judge, settings.judge),
        engine="openai" if settings.judge.engine == "openai" else "llamacpp",
        embedder=embedder,
        max_tokens=settings.judge.max_tokens,
    )
    members = [
        Member(name=verifier.name, weight=verifier.weight, verifier=_verifier(verifier, equipment))
        for verifier in settings.verification.verifiers
    ]
    names = [member.name for member in members]
    checked = settings.verification.cross_check and not {*names}.isdisjoint(ASKING)
    if checked:
        members.append(Member(name="check", weight=0.0, verifier=_verifier(CHECK, equipment)))
    return WeightedPanel(
        members,
        _context_judge(names, equipment),
        settings.verification,
        embedder if checked else None,
    )


@contextlib.asynccontextmanager
async def local_panel(settings: Settings) -> AsyncIterator[Panel]:
    """The panel with an engine and an embedder of its own, in this process."""
    from rlvr_ray.adapters.embedding import MiniLM
    from rlvr_ray.adapters.llamacpp import LlamaCpp

    check_verifiers(settings)
    engine = judge_engine(settings.judge) or LlamaCpp(settings.generator)
    try:
        yield build_panel(settings, engine, MiniLM())
    finally:
        await engine.close()


def _context_judge(names: Sequence[str], equipment: Equipment) -> ContextJudge:
    """A language model's view where one gives verdicts; else what the words say."""
    if "ragas" not in names and "logprob" not in names:
        return GroundedContexts()
    from rlvr_ray.adapters.ragas import AskedContexts

    return AskedContexts(equipment, logprobs="logprob" in names)


def _verifier(settings: VerifierSettings, equipment: Equipment) -> Verifier:
    try:
        factory: VerifierFactory = _entry_point(settings.name).load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"the verifier {settings.name} cannot be loaded: {error}") from None
    return factory(equipment, settings.options)


def _entry_point(name: str) -> EntryPoint:
    found = [*entry_points(group=GROUP, name=name)]
    if not found:
        known = ", ".join(sorted(entry_points(group=GROUP).names))
        raise ConfigError(f"verification.verifiers: there is no {name}; installed: {known}")
    if len({entry.value for entry in found}) > 1:
        places = ", ".join(entry.value for entry in found)
        raise ConfigError(f"verification.verifiers: {name} is given twice: {places}")
    entry: EntryPoint = found[0]
    return entry
