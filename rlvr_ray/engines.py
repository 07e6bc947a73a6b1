"""What runs the language models: which engine, why, and how one is opened.

Plain parts, without Ray: deployments are made of them, and so are the tools that run by themselves.
"""

from dataclasses import dataclass

from rlvr_ray.ports import Engine
from rlvr_ray.settings import EngineSettings, Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Settings whose ``generator.engine`` is one of those that there are, and why that one."""

    settings: Settings
    reason: str


def choose(settings: Settings) -> Choice:
    """Settle ``generator.engine = "auto"``."""
    generator = settings.generator
    if generator.engine != "auto":
        return Choice(settings=settings, reason="generator.engine says so")
    if generator.base_url is not None:
        engine, reason = "openai", "generator.base_url is set"
    elif generator.model_path is not None:
        engine, reason = "llamacpp", "generator.model_path is set"
    else:
        engine, reason = "llamacpp", "it needs nothing else"
    chosen = generator.model_copy(update={"engine": engine})
    return Choice(settings=settings.model_copy(update={"generator": chosen}), reason=reason)


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
    assert settings.engine == "llamacpp", f"{settings.engine} is not chosen yet"
    from rlvr_ray.adapters.llamacpp import LlamaCpp

    return LlamaCpp(settings)


async def probe(settings: EngineSettings) -> str:
    """Model and engine, having had it answer. Raises ConfigError or Unavailable."""
    engine = open_engine(settings)
    try:
        where = f" at {settings.base_url}" if is_remote(settings) else ""
        return f"{await engine.check()} on {settings.engine}{where}"
    finally:
        await engine.close()
