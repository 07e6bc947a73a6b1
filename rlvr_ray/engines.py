"""What runs the language models: which engine, why, and how one is opened.

Plain parts, without Ray: deployments are made of them, and so are the tools that run by themselves.
"""

import math
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from rlvr_ray.core.prompts import Message
from rlvr_ray.errors import ConfigError, InputError, Overloaded, Unavailable
from rlvr_ray.models import LLAMA_3B
from rlvr_ray.ports import Engine, Prompt, Sample
from rlvr_ray.settings import EngineSettings, Settings

VLLM_MISSING = "vllm is not installed: pip install 'rlvr-ray[vllm]'"
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
    """Settings whose ``generator.engine`` is one of those that there are, and why that one."""

    settings: Settings
    reason: str


def choose(settings: Settings, gpus: float | None = None) -> Choice:
    """Settle ``generator.engine = "auto"``. ``gpus``: of the cluster; none means this machine."""
    generator = settings.generator
    if generator.engine != "auto":
        return Choice(settings=settings, reason="generator.engine says so")
    where = "in the cluster" if gpus is not None else "on this machine"
    count = local_gpus() if gpus is None else gpus
    if generator.base_url is not None:
        engine, reason = "openai", "generator.base_url is set"
    elif generator.model_path is not None:
        engine, reason = "llamacpp", "generator.model_path is set"
    elif not count:
        engine, reason = "llamacpp", f"there is no GPU {where}"
    elif find_spec("vllm") is None:
        engine, reason = "llamacpp", VLLM_MISSING
    else:
        engine, reason = "vllm", f"it is installed and there is a GPU {where}"
    chosen = generator.model_copy(update={"engine": engine})
    return Choice(settings=settings.model_copy(update={"generator": chosen}), reason=reason)


def local_gpus() -> int:
    """How many GPUs this machine has, by the device files of NVIDIA's and AMD's drivers."""
    dev = Path("/dev")
    return len([*dev.glob("nvidia[0-9]*"), *dev.glob("kfd")])


def judging(settings: Settings) -> EngineSettings:
    """The settings of the engine that judges; the generator's must be chosen."""
    return settings.generator if settings.judge.engine == "generator" else settings.judge


def is_remote(settings: EngineSettings) -> bool:
    """Whether the engine is a server's: its client runs in the process that uses it."""
    return settings.engine == "openai"


def open_engine(settings: EngineSettings) -> Engine:
    """An engine in this process. Raises ConfigError where it cannot be had."""
    if settings.engine == "openai":
        from rlvr_ray.adapters.openai import OpenAIChat

        return OpenAIChat(settings)
    if settings.engine == "vllm":
        if find_spec("vllm") is None:
            raise ConfigError(VLLM_MISSING)
        from rlvr_ray.adapters.vllm import VLLM

        return VLLM(settings)
    assert settings.engine == "llamacpp", f"{settings.engine} is not chosen yet"
    from rlvr_ray.adapters.llamacpp import LlamaCpp

    return LlamaCpp(settings)


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


async def probe(settings: EngineSettings) -> str:
    """Model and engine, having had it do something; a model for GPUs is not loaded for that.

    Raises ConfigError or Unavailable where it does not work.
    """
    if settings.engine == "vllm":
        if find_spec("vllm") is None:
            raise ConfigError(VLLM_MISSING)
        return f"{settings.model or LLAMA_3B} on vllm"
    engine = open_engine(settings)
    try:
        where = f" at {settings.base_url}" if is_remote(settings) else ""
        return f"{await engine.check()} on {settings.engine}{where}"
    finally:
        await engine.close()
