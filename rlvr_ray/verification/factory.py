"""The panel of the settings: its verifiers and its judge.

Plain parts, without Ray, for the Verifier deployment and ``rlvr judge-report``.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

from rlvr_ray.core.errors import ConfigError, InputError
from rlvr_ray.documents.embedder import Embedder
from rlvr_ray.documents.embedding_cache import KeptVectors
from rlvr_ray.generation import engines, selection
from rlvr_ray.generation.generator import Completion, Generator, Prompt
from rlvr_ray.generation.throttle import Throttled
from rlvr_ray.settings import Settings
from rlvr_ray.verification import verifiers
from rlvr_ray.verification.panel import Member, WeightedPanel
from rlvr_ray.verification.verifier import Panel, VerifierContext


def needs_judge(settings: Settings) -> bool:
    """Whether some verifier may ask a language model: of those that are not chosen yet, one may."""
    chosen = settings.verification.verifiers
    return chosen == "auto" or any(verifiers.asks_judge(each.name) for each in chosen)


class NoJudge:
    """A Generator where no verifier asks one."""

    async def generate(self, prompts: Sequence[Prompt]) -> list[list[Completion] | InputError]:
        """Raises ConfigError: whoever asks is missing among those that do."""
        raise ConfigError("no judge is there, since no verifier of the settings asks one")


def check_verifiers(settings: Settings) -> None:
    """Raise ConfigError for a verifier that is not installed, or a rule whose options are wrong.

    Before anything is started.
    """
    if settings.verification.verifiers == "auto":
        return
    for verifier in settings.verification.verifiers:
        verifiers.check(verifier.name, verifier.options)


def build_panel(settings: Settings, judge: Generator | None, embedder: Embedder) -> WeightedPanel:
    """The verifiers of the settings around one judge, or around none (``needs_judge``)."""
    context = VerifierContext(
        judge=Throttled(judge or NoJudge(), settings.judge),
        engine=selection.judging(settings).engine,
        embedder=KeptVectors(embedder),
        max_tokens=settings.judge.max_tokens,
    )
    members = [
        Member(
            name=verifier.name,
            weight=verifier.weight,
            verifier=verifiers.create(verifier.name, context, verifier.options),
        )
        for verifier in settings.verification.chosen
    ]
    names = [member.name for member in members]
    context_judge = verifiers.context_judge(names, context)
    return WeightedPanel(members, context_judge, settings.verification, context.embedder)


@contextlib.asynccontextmanager
async def local_panel(settings: Settings) -> AsyncIterator[Panel]:
    """The panel with an embedder and, where it needs one, an engine of its own, in this process."""
    from rlvr_ray.documents.minilm import MiniLM

    check_verifiers(settings)
    settings = (await asyncio.to_thread(selection.choose, settings, ask=True)).settings
    async with contextlib.AsyncExitStack() as opened:
        engine = None
        if needs_judge(settings):
            engine = engines.open_engine(selection.judging(settings))
            opened.push_async_callback(engine.close)
        yield build_panel(settings, engine, MiniLM())
