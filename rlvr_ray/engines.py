"""What runs the language models: which engine, why, and how one is opened.

Plain parts, without Ray: deployments are made of them, and so are the tools that run by themselves.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from rlvr_ray.errors import ConfigError
from rlvr_ray.models import LLAMA_3B
from rlvr_ray.ports import Engine
from rlvr_ray.settings import EngineSettings, Settings

VLLM_MISSING = "vllm is not installed: pip install 'rlvr-ray[vllm]'"


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
