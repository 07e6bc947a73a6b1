"""The engines that run language models: one file or folder each, all listed in ``ENGINES``.

To add one, write a class like ``generator.Engine``, add its name to ``settings.EngineName`` and one
entry to ``ENGINES``. Everything else uses the entry. Vendors' packages are imported when an engine
is opened.
"""

from collections.abc import Callable
from dataclasses import dataclass

from rlvr_ray.generation.engines import llamacpp, openai, vllm
from rlvr_ray.generation.generator import Engine
from rlvr_ray.generation.throttle import Limited
from rlvr_ray.settings import EngineSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineType:
    """What is known of an engine before it is opened."""

    open: Callable[[EngineSettings], Engine]
    model: Callable[[EngineSettings], str]  #: the model's name, as completions have it
    #: Raises ConfigError where something is missing on this machine; loads nothing.
    check_files: Callable[[EngineSettings], None] = lambda settings: None
    #: Parameters of the model by its files; None where they are not known.
    parameters: Callable[[EngineSettings], float | None] = lambda settings: None
    is_remote: bool = False  #: a server's client: it runs in the process that uses it
    on_gpus: bool = False  #: it takes ``gpus``, and minutes to load
    has_slots: bool = False  #: ``slots`` limit its completions in flight, so nothing else has to


ENGINES: dict[str, EngineType] = {
    "llamacpp": EngineType(
        open=llamacpp.LlamaCpp,
        model=llamacpp.model,
        check_files=llamacpp.check_files,
        parameters=llamacpp.parameters,
        has_slots=True,
    ),
    "vllm": EngineType(
        open=vllm.VLLM, model=vllm.model, check_files=vllm.check_files, on_gpus=True
    ),
    "openai": EngineType(open=openai.OpenAIChat, model=openai.model, is_remote=True),
}


def engine_type(settings: EngineSettings) -> EngineType:
    """The entry of these settings' engine, which must be chosen (``selection.choose``)."""
    assert settings.engine in ENGINES, f"{settings.engine} is not chosen yet"
    return ENGINES[settings.engine]


def open_engine(settings: EngineSettings) -> Engine:
    """An engine in this process, without limits. Raises ConfigError where it cannot be had."""
    return engine_type(settings).open(settings)


def open_limited(settings: EngineSettings) -> Engine:
    """An engine in this process, within the limits of its settings. Raises ConfigError."""
    engine = open_engine(settings)
    return engine if engine_type(settings).has_slots else Limited(engine, settings)


async def probe(settings: EngineSettings) -> str:
    """Model and engine, having had it do something; a model for GPUs is not loaded for that.

    Raises ConfigError or Unavailable where it does not work.
    """
    kind = engine_type(settings)
    if kind.on_gpus:
        kind.check_files(settings)
        return f"{kind.model(settings)} on {settings.engine}"
    engine = open_engine(settings)
    try:
        where = f" at {settings.base_url}" if kind.is_remote else ""
        return f"{await engine.check()} on {settings.engine}{where}"
    finally:
        await engine.close()
