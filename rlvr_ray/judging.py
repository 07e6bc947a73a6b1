"""Who judges and who verifies, from the settings.

Plain parts, without Ray: the Verifier deployment and ``rlvr judge-report`` are made of them.
"""

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import PurePath

from rlvr_ray import engines
from rlvr_ray.adapters import gguf
from rlvr_ray.core import grounding
from rlvr_ray.errors import ConfigError, InputError
from rlvr_ray.models import LLAMA_3B
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
from rlvr_ray.settings import EngineSettings, Settings, VerifierSettings
from rlvr_ray.throttle import Throttled

log = logging.getLogger(__name__)

#: The group of entry points that verifiers are found in, our own as well as others'.
GROUP = "rlvr_ray.verifiers"
#: Those that a language model takes part in, and the one that checks them.
ASKING = ("ragas", "logprob", "grounded")
CHECK = VerifierSettings(name="grounded", weight=0.0, options={"relevancy": "cosine"})
#: Those that need no language model. Others', by entry point, may.
ALONE = ("exact", "numeric", "regex", "json_schema")
#: Parameters that a judge needs: those of the smallest models that their makers call 3B. The
#: embedded one, with a twentieth of them, keeps to the form of a verdict and says little with it.
LEAST_PARAMETERS = 2.5e9
#: A number of parameters in a model's name: `8x7b`, `-0.5B-`, `:135m`; not `a3b`, `128k`, `v1.5`.
_SIZE = re.compile(r"(?<![a-z0-9.])(?:(\d+)x)?(\d+(?:\.\d+)?)([bm])(?![a-z0-9])")
#: Families of small models, and what their bare name means on a server.
_SMALL = {"smollm": 1.7e9, "tinyllama": 1.1e9}


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice(engines.Choice):
    """Settings in which nothing is ``auto``; ``reason`` is that of the generator's engine."""

    verifiers: str  #: who verifies, and why


def choose(settings: Settings, gpus: float | None = None, *, ask: bool = True) -> Choice:
    """Settle ``generator.engine`` as ``engines.choose`` does, then ``verification.verifiers``.

    Where that is ``auto``, a language model that is no toy judges, else none does. Nothing tells
    whether a server gives log-probabilities: unless ``judge.capabilities`` do, it is asked for one
    token, if ``ask``. That is done once, here, so that a running system never changes its mind.

    Raises ConfigError where a server has to be asked and its settings do not do.
    """
    engine = engines.choose(settings, gpus)
    verification = engine.settings.verification
    if verification.verifiers != "auto":
        names = ", ".join(verifier.name for verifier in verification.verifiers)
        why = f"{names}: verification.verifiers says so"
        return Choice(settings=engine.settings, reason=engine.reason, verifiers=why)
    name, why = _verifier_for(engines.judging(engine.settings), ask=ask)
    chosen = verification.model_copy(update={"verifiers": (VerifierSettings(name=name),)})
    return Choice(
        settings=engine.settings.model_copy(update={"verification": chosen}),
        reason=engine.reason,
        verifiers=f"{name}: {why}",
    )


def _verifier_for(judge: EngineSettings, *, ask: bool) -> tuple[str, str]:
    """A verifier's name, and in one sentence why that one."""
    model = _model(judge)
    size = _size(judge) or _size_in(model)
    if size is not None and size < LEAST_PARAMETERS:
        return "grounded", (
            f"{model} has {size / 1e9:.2g} billion parameters, and a judge needs "
            f"{LEAST_PARAMETERS / 1e9:g}"
        )
    if judge.engine != "openai":
        return "logprob", f"{model} judges, and {judge.engine} gives log-probabilities"
    if judge.capabilities is not None:
        if "logprobs" in judge.capabilities:
            return "logprob", f"{model} judges, and {judge.section}.capabilities has `logprobs`"
        return "ragas", f"{model} judges, and {judge.section}.capabilities has no `logprobs`"
    if not ask:
        return "ragas", f"{model} judges; whether its server gives log-probabilities is not known"
    lack = asyncio.run(engines.lacks_probabilities(judge))
    if lack is None:
        return "logprob", f"{model} judges, and its server gives log-probabilities"
    why = f"{model} judges in words, since it gives no log-probabilities: {lack}"
    log.warning("the verifier is ragas: %s", why)
    return "ragas", why


def _model(judge: EngineSettings) -> str:
    """The model's name, as far as the settings know it."""
    if judge.engine == "llamacpp":
        return judge.model_path.stem if judge.model_path else "SmolLM2-135M-Instruct"
    return PurePath(judge.model or LLAMA_3B).name


def _size(judge: EngineSettings) -> float | None:
    """How many parameters a model has whose file is here; None where there is none."""
    if judge.engine != "llamacpp" or judge.model_path is None:
        return None
    return gguf.parameters(judge.model_path)


def _size_in(name: str) -> float | None:
    """How many parameters a model's name says; None where it says nothing."""
    name = name.casefold()
    sizes = [
        float(experts or 1) * float(count) * (1e9 if unit == "b" else 1e6)
        for experts, count, unit in _SIZE.findall(name)
    ]
    families = (size for family, size in _SMALL.items() if family in name)
    return max(sizes) if sizes else next(families, None)


def needs_judge(settings: Settings) -> bool:
    """Whether some verifier may ask a language model: of those that are not chosen yet, one may."""
    verifiers = settings.verification.verifiers
    return verifiers == "auto" or any(verifier.name not in ALONE for verifier in verifiers)


class NoJudge:
    """A Generator where no verifier asks one."""

    async def generate(self, prompts: Sequence[Prompt]) -> list[list[Completion] | InputError]:
        """Raises ConfigError: whoever asks is missing among those that do."""
        raise ConfigError("no judge is there, since no verifier of the settings asks one")


class GroundedContexts:
    """A ContextJudge without a language model."""

    async def answerable(self, question: str, contexts: Sequence[str]) -> float:
        """See ``ports.ContextJudge``."""
        return grounding.answerable(question, contexts)


def check_verifiers(settings: Settings) -> None:
    """Raise ConfigError for a verifier that is not installed, before anything is started."""
    if settings.verification.verifiers == "auto":
        return
    for verifier in settings.verification.verifiers:
        _entry_point(verifier.name)


def build_panel(settings: Settings, judge: Generator | None, embedder: Embedder) -> WeightedPanel:
    """The verifiers of the settings around one judge, or around none (``needs_judge``)."""
    equipment = Equipment(
        judge=Throttled(judge or NoJudge(), settings.judge),
        engine=engines.judging(settings).engine,
        embedder=embedder,
        max_tokens=settings.judge.max_tokens,
    )
    members = [
        Member(name=verifier.name, weight=verifier.weight, verifier=_verifier(verifier, equipment))
        for verifier in settings.verification.chosen
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
    """The panel with an embedder and, where it needs one, an engine of its own, in this process."""
    from rlvr_ray.adapters.embedding import MiniLM

    check_verifiers(settings)
    settings = (await asyncio.to_thread(choose, settings)).settings
    async with contextlib.AsyncExitStack() as opened:
        engine = None
        if needs_judge(settings):
            engine = engines.open_engine(engines.judging(settings))
            opened.push_async_callback(engine.close)
        yield build_panel(settings, engine, MiniLM())


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
