"""Which engine and which verifiers ``auto`` means, and why."""

import asyncio
import logging
import math
import re
from dataclasses import dataclass
from pathlib import Path, PurePath

from rlvr_ray.core.errors import InputError, Overloaded, Unavailable
from rlvr_ray.generation.engines import engine_type, open_engine, vllm
from rlvr_ray.generation.generator import Prompt, Sample
from rlvr_ray.generation.prompts import Message
from rlvr_ray.settings import EngineName, EngineSettings, Settings, VerifierSettings

log = logging.getLogger(__name__)

#: Parameters that a judge needs: those of the smallest models that their makers call 3B. The
#: embedded one, with a twentieth of them, keeps to the form of a verdict and says little with it.
LEAST_PARAMETERS = 2.5e9
#: A number of parameters in a model's name: `8x7b`, `-0.5B-`, `:135m`; not `a3b`, `128k`, `v1.5`.
_SIZE = re.compile(r"(?<![a-z0-9.])(?:(\d+)x)?(\d+(?:\.\d+)?)([bm])(?![a-z0-9])")
#: Families of small models, and what their bare name means on a server.
_SMALL = {"smollm": 1.7e9, "tinyllama": 1.1e9}
#: Longest wait for a server's verdict, in seconds: it may have to load the model for it.
VERDICT_S = 60.0
#: Asked of a server once, as the verifier `logprob` asks: one token, and the likeliest there.
_VERDICT = Prompt(
    messages=(
        Message(
            role="user",
            content="Is Paris in France? Answer with the verdict alone, one digit: 1 if it is, "
            "0 if it is not.\nVerdict:",
        ),
    ),
    samples=(Sample(temperature=0.0, seed=0),),
    max_tokens=1,
    logprobs=20,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Settings in which nothing is ``auto``, and why they are as they are."""

    settings: Settings
    reason: str  #: of the generator's engine
    verifiers: str  #: who verifies, and why


def choose(settings: Settings, gpus: float | None = None, *, ask: bool = False) -> Choice:
    """Settle ``generator.engine``, then ``verification.verifiers``, where they are ``auto``.

    ``gpus``: of the cluster; none means this machine. A language model that is no toy judges; where
    there is none, the verifier does without. Nothing tells whether a server gives
    log-probabilities: unless ``capabilities`` do, it is asked for one token, if ``ask``. That is
    done once, here, so that a running system never changes its mind.

    Raises ConfigError where a server has to be asked and its settings do not do.
    """
    settings, reason = _with_engine(settings, gpus)
    verification = settings.verification
    if verification.verifiers != "auto":
        names = ", ".join(verifier.name for verifier in verification.verifiers)
        why = f"{names}: verification.verifiers says so"
        return Choice(settings=settings, reason=reason, verifiers=why)
    name, why = _verifier_for(judging(settings), ask=ask)
    chosen = verification.model_copy(update={"verifiers": (VerifierSettings(name=name),)})
    settings = settings.model_copy(update={"verification": chosen})
    return Choice(settings=settings, reason=reason, verifiers=f"{name}: {why}")


def _with_engine(settings: Settings, gpus: float | None) -> tuple[Settings, str]:
    """The generator's engine, and why that one."""
    generator = settings.generator
    if generator.engine != "auto":
        return settings, "generator.engine says so"
    where = "in the cluster" if gpus is not None else "on this machine"
    count = local_gpus() if gpus is None else gpus
    engine: EngineName
    if generator.base_url is not None:
        engine, reason = "openai", "generator.base_url is set"
    elif generator.model_path is not None:
        engine, reason = "llamacpp", "generator.model_path is set"
    elif not count:
        engine, reason = "llamacpp", f"there is no GPU {where}"
    elif not vllm.is_installed():
        engine, reason = "llamacpp", vllm.MISSING
    else:
        engine, reason = "vllm", f"it is installed and there is a GPU {where}"
    chosen = generator.model_copy(update={"engine": engine})
    return settings.model_copy(update={"generator": chosen}), reason


def _verifier_for(judge: EngineSettings, *, ask: bool) -> tuple[str, str]:
    """A verifier's name, and in one sentence why that one."""
    kind = engine_type(judge)
    model = PurePath(kind.model(judge)).name
    size = kind.parameters(judge) or _size_in(model)
    if size is not None and size < LEAST_PARAMETERS:
        return "grounded", (
            f"{model} has {size / 1e9:.2g} billion parameters, and a judge needs "
            f"{LEAST_PARAMETERS / 1e9:g}"
        )
    if not kind.is_remote:
        return "logprob", f"{model} judges, and {judge.engine} gives log-probabilities"
    if judge.capabilities is not None:
        if "logprobs" in judge.capabilities:
            return "logprob", f"{model} judges, and {judge.section}.capabilities has `logprobs`"
        return "ragas", f"{model} judges, and {judge.section}.capabilities has no `logprobs`"
    if not ask:
        return "ragas", f"{model} judges; whether its server gives log-probabilities is not known"
    lack = asyncio.run(lacks_probabilities(judge))
    if lack is None:
        return "logprob", f"{model} judges, and its server gives log-probabilities"
    why = f"{model} judges in words, since {lack}"
    log.warning("the verifier is ragas: %s", why)
    return "ragas", why


def _size_in(name: str) -> float | None:
    """How many parameters a model's name says; None where it says nothing."""
    name = name.casefold()
    sizes = [
        float(experts or 1) * float(count) * (1e9 if unit == "b" else 1e6)
        for experts, count, unit in _SIZE.findall(name)
    ]
    families = (size for family, size in _SMALL.items() if family in name)
    return max(sizes) if sizes else next(families, None)


def local_gpus() -> int:
    """How many GPUs this machine has, by the device files of NVIDIA's and AMD's drivers."""
    dev = Path("/dev")
    return len([*dev.glob("nvidia[0-9]*"), *dev.glob("kfd")])


def judging(settings: Settings) -> EngineSettings:
    """The settings of the engine that would judge; the generator's must be chosen."""
    return settings.generator if settings.judge.engine == "generator" else settings.judge


async def lacks_probabilities(settings: EngineSettings) -> str | None:
    """Ask a server for a verdict; why that told nothing of its probability, or None where it did.

    Raises ConfigError where the settings do not do.
    """
    limit_s = min(settings.timeout_s, VERDICT_S)
    engine = open_engine(settings.model_copy(update={"retries": 0, "timeout_s": limit_s}))
    try:
        (answer,) = await engine.generate([_VERDICT])
    except (Unavailable, Overloaded) as error:
        return str(error)
    finally:
        await engine.close()
    if isinstance(answer, InputError):
        return str(answer)
    likeliest = answer[0].logprobs[0] if answer[0].logprobs else {}
    verdicts = [likeliest[t] for t in likeliest if t.strip(" \u2581\u0120") in ("0", "1")]
    if math.fsum(map(math.exp, verdicts)) < 0.5:  # a model that reasons first, for one
        return f"{answer[0].model} does not begin its answer with the verdict"
    return None
