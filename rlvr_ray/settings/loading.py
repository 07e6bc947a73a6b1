"""The whole tree of settings, and loading it from arguments, environment and file."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    YamlConfigSettingsSource,
)

from rlvr_ray.core.errors import ConfigError
from rlvr_ray.settings.engines import GeneratorSettings, JudgeSettings
from rlvr_ray.settings.errors import keys, problem, suggestion
from rlvr_ray.settings.section import Place
from rlvr_ray.settings.services import ApiSettings, LogSettings, MirrorSettings, TracingSettings
from rlvr_ray.settings.storage import DatasetSettings, LedgerSettings, RetrievalSettings
from rlvr_ray.settings.verification import DpoSettings, VerificationSettings


class Settings(BaseSettings):
    """The whole tree."""

    model_config = SettingsConfigDict(
        env_prefix="RLVR_",
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
    )

    data_dir: Place = Field(default=Path("data"), validate_default=True)
    """Ledger, datasets and the local vector store; only one server per folder."""
    ray_address: str | None = None
    """A Ray cluster to join (`auto`, or `ray://…`); none starts one on this machine."""
    generator: GeneratorSettings = GeneratorSettings()
    retrieval: RetrievalSettings = RetrievalSettings()
    judge: JudgeSettings = JudgeSettings()
    verification: VerificationSettings = VerificationSettings()
    dpo: DpoSettings = DpoSettings()
    dataset: DatasetSettings = DatasetSettings()
    ledger: LedgerSettings = LedgerSettings()
    mirror: MirrorSettings = MirrorSettings()
    tracing: TracingSettings = TracingSettings()
    log: LogSettings = LogSettings()
    api: ApiSettings = ApiSettings()

    @model_validator(mode="after")
    def _external_needs_a_broker(self) -> Self:
        if self.verification.source == "external" and self.mirror.url is None:
            raise ValueError("verification.source = external needs mirror.url")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        file, _ = _config()
        yaml = (YamlConfigSettingsSource(settings_cls, file),) if file else ()
        return (init_settings, env_settings, *yaml)


#: The file that ``--config`` names.
_NAMED: ContextVar[Path | None] = ContextVar("config", default=None)


@contextlib.contextmanager
def config(file: Path | None) -> Iterator[None]:
    """Within the block the file is read, and not the one that RLVR_CONFIG names; None: no other."""
    token = _NAMED.set(file or _NAMED.get())
    try:
        yield
    finally:
        _NAMED.reset(token)


def _config() -> tuple[Path | None, str]:
    """The YAML file, and what names it."""
    if (named := _NAMED.get()) is not None:
        return named, "--config"
    file = os.environ.get("RLVR_CONFIG")
    return Path(file) if file else None, "RLVR_CONFIG"


def parsed(pairs: Sequence[str]) -> dict[str, Any]:
    """``KEY=VALUE``, keys with dots, values in YAML, as arguments for ``load``."""
    arguments: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise ConfigError(f"--set {pair}: write KEY=VALUE, for example generator.max_tokens=64")
        *sections, name = key.strip().split(".")
        tree = arguments
        for section in sections:
            tree = tree.setdefault(section, {})
            if not isinstance(tree, dict):
                raise ConfigError(f"--set {key}=…: {section} has a value already")
        try:
            tree[name] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise ConfigError(
                f"--set {key}=…: the value is not YAML; put it into quotes: '{key}=\"…\"'"
            ) from None
    return arguments


def load(**arguments: Any) -> Settings:
    """Read settings from everywhere; raises ConfigError naming each wrong key."""
    file, named_by = _config()
    if file is not None:
        _check_file(file, named_by)
    _check_environment()
    try:
        return Settings(**arguments)
    except SettingsError as error:
        raise ConfigError(f"settings: {_not_json(error)}") from None
    except ValidationError as error:
        problems = "; ".join(problem(each, Settings) for each in error.errors())
        raise ConfigError(f"settings: {problems}") from None


def _check_environment() -> None:
    """Raise ConfigError for a variable of ours that names no setting or section."""
    known = {"CONFIG", *(name.upper() for name in Settings.model_fields)}
    for name in os.environ:
        head, _, rest = name.partition("_")
        if head.upper() == "RLVR" and rest.split("__")[0].upper() not in known:
            names = [_variable(key) for key in keys(Settings)]
            meant = suggestion(name.upper(), [*names, "RLVR_CONFIG"])
            raise ConfigError(
                f"environment variable {name} is no setting{meant or '; see docs/settings.md'}"
            )


def _variable(key: str) -> str:
    return "RLVR_" + key.replace(".", "__").upper()


def _not_json(error: SettingsError) -> str:
    """Which variable holds something else than a list or a section."""
    value = getattr(error.__cause__, "doc", None)
    names = [n for n in os.environ if n.upper().startswith("RLVR_") and os.environ[n] == value]
    where = " or ".join(names) or str(error)
    return f"{where}: write lists and sections as JSON, such as [0.3, 0.9]"


def _check_file(file: Path, named_by: str) -> None:
    """Raise ConfigError unless the file is a YAML mapping; what stands in it is not repeated."""
    if not file.is_file():
        raise ConfigError(f"{named_by} names {file}, which does not exist")
    try:
        content = yaml.safe_load(file.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        raise ConfigError(f"{file} is not YAML{where}") from None
    if content is not None and not (
        isinstance(content, dict) and all(isinstance(key, str) for key in content)
    ):
        raise ConfigError(f"{file} must be a mapping of settings, such as `dpo: {{prompt: rag}}`")
