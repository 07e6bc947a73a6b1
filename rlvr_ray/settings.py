"""Every setting, with its default. The defaults need no GPU, no server and no network.

Precedence: arguments (command line, ``args`` of a Serve config) over environment
(``RLVR_GENERATOR__SLOTS=4``) over a YAML file (``RLVR_CONFIG=file.yaml``) over these defaults.
Unknown keys are refused.
"""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    YamlConfigSettingsSource,
)

from rlvr_ray.core.pairing import PairingRule
from rlvr_ray.errors import ConfigError

MAX_CANDIDATES = 8
MAX_TOP_K = 20
MAX_QUESTION_CHARS = 8_000

Temperature = Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)]
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Section(BaseModel):
    """A frozen part of the tree; attribute docstrings below are the documentation."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class GeneratorSettings(Section):
    model_path: Path | None = None
    """A GGUF file; none means the SmolLM2-135M-Instruct that the installation brings."""
    model_sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    """Verified before the file at model_path is used."""
    slots: int = Field(default=4, ge=1, le=64)
    """Completions that decode together."""
    context_tokens: int = Field(default=4096, ge=512)
    """Prompt and answer of one completion; memory grows with slots times this."""
    threads: int = Field(default=min(4, os.cpu_count() or 1), ge=1)
    """CPU threads of the engine."""
    max_tokens: int = Field(default=128, ge=1)
    """Limit of one answer."""
    temperatures: tuple[Temperature, ...] = Field(default=(0.3, 0.7, 0.9), min_length=1)
    """Of the candidates in turn, cycled where more are asked for."""
    timeout_s: float = Field(default=300, gt=0)
    """Of all samples of one prompt, waiting included."""


class RetrievalSettings(Section):
    url: str | None = None
    """A Qdrant server; none means a local store under data_dir."""
    api_key: SecretStr | None = None
    """Of the Qdrant server."""
    collection: str = Field(default="documents", pattern="^[A-Za-z0-9_-]{1,64}$")
    """Qdrant collection."""
    top_k: int = Field(default=5, ge=1, le=MAX_TOP_K)
    """Passages for each question, unless the request says otherwise."""
    chunk_chars: int = Field(default=1000, ge=100)
    """Longest passage, in characters."""
    chunk_overlap: int = Field(default=200, ge=0)
    """Characters that neighbouring passages share."""

    @model_validator(mode="after")
    def _overlap_is_smaller(self) -> "RetrievalSettings":
        if self.chunk_overlap >= self.chunk_chars:
            raise ValueError("chunk_overlap must be smaller than chunk_chars")
        return self


class VerificationSettings(Section):
    source: Literal["internal", "external"] = "internal"
    """Who verifies: this system, or programs that answer `answer.generated` on the broker."""
    external_timeout_s: float = Field(default=3600, gt=0)
    """Seconds from recording until an answer that nobody else verified counts as failed."""
    faithfulness: Literal["grounded", "llm"] = "grounded"
    """Who gives the verdicts: containment and similarity, or RAGAS's prompts to the model.
    A model under some 3B parameters cannot give them."""
    batches: int = Field(default=2, ge=1)
    """Batches verified at once."""
    max_tokens: int = Field(default=512, ge=16)
    """Limit of one judge completion."""
    timeout_s: float = Field(default=600, gt=0)
    """Of one batch's verification, waiting included; past it the attempt counts as failed."""
    max_attempts: int = Field(default=3, ge=1)
    """Attempts before a verification that times out is recorded as failed."""


class DpoSettings(Section):
    min_score_diff: float = Field(default=0.05, gt=0, le=1)
    """Least margin between best and worst, inclusive."""
    min_chosen_score: float = Field(default=0.6, ge=0, le=1)
    """Least score of the best, inclusive."""
    quality_filter: bool = False
    """Also refuse a chosen answer that was cut off or has under three words."""
    prompt: Literal["question", "rag"] = "question"
    """What a pair's prompt is: the bare question, or the full prompt with its contexts."""

    def rule(self) -> PairingRule:
        return PairingRule(
            min_score_diff=self.min_score_diff,
            min_chosen_score=self.min_chosen_score,
            quality_filter=self.quality_filter,
            prompt=self.prompt,
        )


class DatasetSettings(Section):
    seal_rows: int = Field(default=1000, ge=1)
    """Rows at which a Parquet part is sealed."""
    seal_seconds: float = Field(default=600, gt=0)
    """Seconds after which it is sealed all the same; shutdown seals too."""
    parquet_uri: str | None = None
    """Where Parquet parts go: `s3://…`, `gs://…`, `file:///…`; none means data_dir."""


class LedgerSettings(Section):
    min_free_mb: int = Field(default=512, ge=0)
    """MiB that must be free on the disk of data_dir; below, asks get 503."""
    retention_days: int | None = Field(default=None, ge=1)
    """Days after which a past month leaves the ledger; its files and ids stay. None keeps all."""


class MirrorSettings(Section):
    url: SecretStr | None = None
    """RabbitMQ, `amqp://user:password@host:5672/`; none leaves the mirror off."""
    exchange: str = Field(default="rlvr_events", pattern="^[A-Za-z0-9_.:-]{1,200}$")
    """The topic exchange that events are published to."""
    timeout_s: float = Field(default=30, gt=0)
    """Longest wait for a connection or for the broker's confirms."""

    @model_validator(mode="after")
    def _url_is_one(self) -> "MirrorSettings":
        if self.url is not None and not self.url.get_secret_value().startswith(
            ("amqp://", "amqps://")
        ):
            raise ValueError("url must start with amqp:// or amqps://")
        return self


class ApiSettings(Section):
    host: str = "127.0.0.1"
    """Address to listen on; anything but loopback needs a key."""
    port: int = Field(default=8000, ge=0, le=65535)
    """TCP port."""
    key: SecretStr | None = None
    """Bearer token that every request but /livez and /readyz must carry."""
    max_asks: int = Field(default=16, ge=1)
    """Asks worked on at once; as many again wait, further ones get 503."""

    @model_validator(mode="after")
    def _open_only_with_a_key(self) -> "ApiSettings":
        if self.key is not None and not self.key.get_secret_value().strip():
            raise ValueError("the key is blank; give one, or leave it out")
        if self.key is None and self.host not in LOOPBACK:
            raise ValueError(f"listening on {self.host} needs api.key; without one, use 127.0.0.1")
        return self


class Settings(BaseSettings):
    """The whole tree."""

    model_config = SettingsConfigDict(
        env_prefix="RLVR_",
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
    )

    data_dir: Path = Path("data")
    """Ledger, datasets and the local vector store; one running system a folder."""
    ray_address: str | None = None
    """A Ray cluster to join (`auto`, or `ray://…`); none starts one here."""
    generator: GeneratorSettings = GeneratorSettings()
    retrieval: RetrievalSettings = RetrievalSettings()
    verification: VerificationSettings = VerificationSettings()
    dpo: DpoSettings = DpoSettings()
    dataset: DatasetSettings = DatasetSettings()
    ledger: LedgerSettings = LedgerSettings()
    mirror: MirrorSettings = MirrorSettings()
    api: ApiSettings = ApiSettings()

    @model_validator(mode="after")
    def _external_needs_a_broker(self) -> "Settings":
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
        file = os.environ.get("RLVR_CONFIG")
        yaml = (YamlConfigSettingsSource(settings_cls, file),) if file else ()
        return (init_settings, env_settings, *yaml)


def load(**arguments: Any) -> Settings:
    """Read settings from everywhere; raises ConfigError naming each wrong key."""
    if file := os.environ.get("RLVR_CONFIG"):
        _check_file(Path(file))
    known = {"CONFIG", *(name.upper() for name in Settings.model_fields)}
    for name in os.environ:
        head, _, rest = name.partition("_")
        if head.upper() == "RLVR" and rest.split("__")[0].upper() not in known:
            raise ConfigError(f"environment variable {name} is no setting; see the README's table")
    try:
        settings = Settings(**arguments)
    except SettingsError as error:
        raise ConfigError(f"settings: {error}; write lists and sections as JSON") from None
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'settings'}: {e['msg']}" for e in error.errors()
        )
        raise ConfigError(f"settings: {problems}") from None
    return settings.model_copy(update={"data_dir": settings.data_dir.absolute()})


def _check_file(file: Path) -> None:
    """Raise ConfigError unless the file is a YAML mapping; what stands in it is not repeated."""
    if not file.is_file():
        raise ConfigError(f"RLVR_CONFIG names {file}, which does not exist")
    try:
        content = yaml.safe_load(file.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        raise ConfigError(f"{file} is not YAML{where}") from None
    if content is not None and not (
        isinstance(content, dict) and all(isinstance(key, str) for key in content)
    ):
        raise ConfigError(f"{file} must be a mapping of settings, such as `dpo: {{prompt: rag}}`")
