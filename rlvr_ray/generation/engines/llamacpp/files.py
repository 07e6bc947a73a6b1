"""The model's file: its name, its size, and whether it is there, before anything is loaded."""

from pathlib import Path

from rlvr_ray.core.errors import ConfigError
from rlvr_ray.generation.engines.llamacpp import gguf
from rlvr_ray.generation.model_files import SMOLLM2_135M
from rlvr_ray.settings import EngineSettings


def model(settings: EngineSettings) -> str:
    """The model's name, as completions have it."""
    return Path(settings.model_path or SMOLLM2_135M.path).stem


def parameters(settings: EngineSettings) -> float | None:
    """How many parameters the model has; None where its file does not tell."""
    return gguf.parameters(settings.model_path) if settings.model_path else None


def check_files(settings: EngineSettings) -> None:
    """Raise ConfigError where the model's file is missing or no GGUF; nothing is loaded."""
    path = settings.model_path
    if path is None:
        SMOLLM2_135M.locate()
        return
    if not path.is_file():
        raise ConfigError(f"{settings.section}.model_path: there is no file {path}")
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise ConfigError(
            f"{settings.section}.model_path: {path} cannot be read: {error.strerror}"
        ) from None
    if magic != b"GGUF":
        raise ConfigError(
            f"{settings.section}.model_path: {path} is no GGUF file; download the model again, or "
            "convert it"
        )
