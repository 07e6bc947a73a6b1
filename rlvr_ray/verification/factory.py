"""Who judges and who verifies, from the settings.

Plain parts, without Ray: the Verifier deployment and ``rlvr judge-report`` are made of them.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import cast

from rlvr_ray.core.errors import ConfigError, InputError
from rlvr_ray.documents.embedder import Embedder
from rlvr_ray.documents.embedding_cache import KeptVectors
from rlvr_ray.generation import engines, selection
from rlvr_ray.generation.generator import Completion, Generator, Prompt
from rlvr_ray.generation.throttle import Throttled
from rlvr_ray.settings import Settings, VerifierSettings
from rlvr_ray.verification.panel import Member, WeightedPanel
from rlvr_ray.verification.verifier import ContextJudge, Equipment, Panel, Verifier, VerifierFactory

#: The group of entry points that verifiers are found in, our own as well as others'.
GROUP = "rlvr_ray.verifiers"
#: Those that need nothing but their options.
RULES = ("exact", "numeric", "regex", "json_schema")
#: Those that need no language model. Others', by entry point, may.
ALONE = ("grounded", *RULES)


def needs_judge(settings: Settings) -> bool:
    """Whether some verifier may ask a language model: of those that are not chosen yet, one may."""
    verifiers = settings.verification.verifiers
    return verifiers == "auto" or any(verifier.name not in ALONE for verifier in verifiers)


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
        _entry_point(verifier.name)
        if verifier.name in RULES:
            _verifier(verifier, cast(Equipment, None))


def build_panel(settings: Settings, judge: Generator | None, embedder: Embedder) -> WeightedPanel:
    """The verifiers of the settings around one judge, or around none (``needs_judge``)."""
    equipment = Equipment(
        judge=Throttled(judge or NoJudge(), settings.judge),
        engine=selection.judging(settings).engine,
        embedder=KeptVectors(embedder),
        max_tokens=settings.judge.max_tokens,
    )
    members = [
        Member(name=verifier.name, weight=verifier.weight, verifier=_verifier(verifier, equipment))
        for verifier in settings.verification.chosen
    ]
    names = [member.name for member in members]
    return WeightedPanel(
        members, _context_judge(names, equipment), settings.verification, equipment.embedder
    )


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


def _context_judge(names: Sequence[str], equipment: Equipment) -> ContextJudge | None:
    """A language model's view where one gives verdicts."""
    if "ragas" not in names and "logprob" not in names:
        return None
    from rlvr_ray.verification.verifiers.ragas import AskedContexts

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
