"""Every setting, with its default. The defaults need no GPU, no server and no network.

Precedence: arguments (command line, ``args`` of a Serve config) over environment
(``RLVR_GENERATOR__SLOTS=4``) over a YAML file (``--config``, ``RLVR_CONFIG=file.yaml``) over these
defaults. Unknown keys are refused.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    TypeAdapter,
    ValidationError,
    WrapValidator,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    YamlConfigSettingsSource,
)

from rlvr_ray.core import questions
from rlvr_ray.core.errors import ConfigError, ContextOverflow
from rlvr_ray.core.pairing import PairingRule, Strategy
from rlvr_ray.settings import errors

MAX_CANDIDATES = 8
MAX_TOP_K = 20
MAX_QUESTION_CHARS = questions.MAX_QUESTION_CHARS

#: Seen from where settings are read: Ray's workers stand in other folders.
Place = Annotated[Path, AfterValidator(lambda path: path.expanduser().absolute())]
Temperature = Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)]
Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Section(BaseModel):
    """A frozen part of the tree; attribute docstrings below are the documentation."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


#: See ``generation.engines.ENGINES``.
EngineName = Literal["llamacpp", "vllm", "openai"]
Capability = Literal["schema", "logprobs", "seed"]


class EngineSettings(Section):
    """A language model and what runs it; Generator and judge have these in common."""

    section: ClassVar[str]  #: its name in the tree, for messages
    engine: Literal["auto", "generator", EngineName]
    model: str | None = None
    """vllm: a folder, or a name on the model hub; openai: the model's name on the server."""
    context_tokens: int = Field(default=4096, ge=512)
    """llamacpp, vllm: prompt and answer of one completion; memory grows with it."""
    concurrency: int = Field(default=64, ge=1)
    """Samples in flight; further ones wait, for half of timeout_s at most."""
    timeout_s: float = Field(default=300, gt=0)
    """Of one call with all its samples, waiting included."""
    model_path: Place | None = None
    """llamacpp: a GGUF file."""
    model_sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    """llamacpp: verified before the file at model_path is used."""
    slots: int = Field(default=4, ge=1, le=64)
    """llamacpp: completions that decode together; memory grows with it."""
    threads: int = Field(default=min(4, os.cpu_count() or 1), ge=1)
    """llamacpp, and vllm without a GPU: CPU threads."""
    gpus: float = Field(default=1, ge=0)
    """vllm: GPUs of one replica. 2 and more: tensor parallel; under 1: a share of a card and of
    its memory, beside others; 0: vLLM's CPU build."""
    vllm: dict[str, Any] = {}
    """vllm: engine options by the names of vLLM's `AsyncEngineArgs`."""
    base_url: str | None = Field(default=None, pattern="^https?://")
    """openai: the server, such as `http://localhost:11434/v1`."""
    api_key: SecretStr | None = None
    """openai: the server's key; none where it asks for none."""
    capabilities: tuple[Capability, ...] | None = None
    """openai: what the server can: `schema`, `logprobs`, `seed`; none means that it is tried."""
    requests_per_minute: int | None = Field(default=None, ge=1)
    """openai: calls started in a minute; none means no limit."""
    retries: int = Field(default=2, ge=0)
    """openai: times that a call is repeated after a dropped connection, a 429 or a 5xx."""
    price_prompt: Price | None = None
    """Of a million prompt tokens, in any currency: for the cost of bulk runs."""
    price_cached: Price | None = None
    """Of a million of them that the prefix cache had; none means price_prompt."""
    price_completion: Price | None = None
    """Of a million tokens that are written."""

    @field_validator("gpus")
    @classmethod
    def _whole_cards(cls, gpus: float) -> float:
        if gpus > 1 and gpus != int(gpus):
            raise ValueError("above 1, whole GPUs only")
        return gpus

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.engine == "openai" and (self.base_url is None or self.model is None):
            raise ValueError("engine = openai needs base_url and model")
        return self

    def check_fits(self, tokens: int, max_tokens: int) -> None:
        """Raise ContextOverflow for a prompt of so many tokens, unless its answer fits as well."""
        if tokens + max_tokens > self.context_tokens:
            raise ContextOverflow(
                f"the prompt has {tokens:,} tokens and the answer may take {max_tokens:,}; the "
                f"model takes {self.context_tokens:,} together: ask for fewer passages (top_k), "
                f"or raise {self.section}.context_tokens"
            )


class GeneratorSettings(EngineSettings):
    section = "generator"
    engine: Literal["auto", EngineName] = "auto"
    """`auto`: openai where base_url is set, llamacpp where model_path is; else vllm where it is
    installed and there is a GPU; else llamacpp."""
    model: str | None = None
    """vllm: a folder, or a name on the model hub, none means Llama-3.2-3B-Instruct; openai: the
    model's name on the server."""
    model_path: Place | None = None
    """llamacpp: a GGUF file; none means the SmolLM2-135M-Instruct that the installation brings."""
    max_tokens: int = Field(default=128, ge=1)
    """Limit of one answer."""
    temperatures: tuple[Temperature, ...] = Field(default=(0.3, 0.7, 0.9), min_length=1)
    """Of the candidates in turn, cycled where more are asked for."""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.engine == "auto" and self.base_url is not None and self.model is None:
            raise ValueError("base_url needs model, the model's name on that server")
        return self


class RetrievalSettings(Section):
    url: str | None = Field(default=None, pattern="^https?://[^/]+")
    """A Qdrant server, such as `http://localhost:6333`; none means a local store under data_dir."""
    grpc_port: int | None = Field(default=None, ge=0, le=65535)
    """Of the Qdrant server; none means 6334, if the URL's port is 6333 and 6334 answers, and else
    that all goes over the URL, as 0 does."""
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


class JudgeSettings(EngineSettings):
    section = "judge"
    engine: Literal["generator", EngineName] = "generator"
    """Who judges: the Generator's model, or one of its own."""
    concurrency: int = Field(default=16, ge=1)
    """Samples in flight; further ones wait, for half of timeout_s at most."""
    requests_per_minute: int | None = Field(default=None, ge=1)
    """Calls started in a minute, of any engine; none means no limit."""
    max_tokens: int = Field(default=512, ge=16)
    """Limit of one judge completion; one that is cut is repeated with twice as many."""

    @model_validator(mode="after")
    def _has_a_model(self) -> Self:
        if self.engine == "llamacpp" and self.model_path is None:
            raise ValueError("engine = llamacpp needs model_path, a GGUF file")
        if self.engine == "vllm" and self.model is None:
            raise ValueError("engine = vllm needs model, a folder or a name on the model hub")
        return self


class VerifierSettings(Section):
    name: str = Field(pattern="^[a-z][a-z0-9_-]{0,63}$")
    """An entry point of the group rlvr_ray.verifiers."""
    weight: float = Field(default=1.0, ge=0, le=1000, allow_inf_nan=False)
    """Its share of the score; 0 makes it a check only."""
    options: dict[str, Any] = {}
    """What it takes; see docs/verification.md."""


_LIST: TypeAdapter[tuple[VerifierSettings, ...]] = TypeAdapter(
    Annotated[tuple[VerifierSettings, ...], Field(min_length=1)]
)


def _verifiers(value: Any, handler: object) -> Any:
    """``auto``, or a list in which ``grounded`` stands for ``{name: grounded}``.

    By hand, since of a union an error would name each branch.
    """
    if value == "auto":
        return value
    if isinstance(value, str):
        raise ValueError(f"auto, or a list such as [{value}]")
    if isinstance(value, list | tuple):
        value = [{"name": item} if isinstance(item, str) else item for item in value]
    return _LIST.validate_python(value)


class VerificationSettings(Section):
    source: Literal["internal", "external"] = "internal"
    """Who verifies: this system, or programs that answer `answer.generated` on the broker."""
    external_timeout_s: float = Field(default=3600, gt=0)
    """Seconds from recording until an answer that nobody else verified counts as failed."""
    verifiers: Annotated[
        Literal["auto"] | tuple[VerifierSettings, ...], WrapValidator(_verifiers)
    ] = "auto"
    """Who scores: names, or `{name, weight, options}`. Shipped: `ragas`, `logprob`, `grounded`,
    `exact`, `numeric`, `regex`, `json_schema`. `auto`: `logprob` where the judge has 2.5 billion
    parameters or more and gives log-probabilities, `ragas` where it gives none; else `grounded`,
    which asks no language model."""
    max_disagreement: float = Field(default=0.7, gt=0, le=1)
    """Verifiers that count and are further apart than this leave an answer unscored."""
    abstention: Literal["contexts", "ragas", "unscored"] = "contexts"
    """An answer that says the passages do not say: right where they do not; or as RAGAS scores it
    (0, or no score); or always without a score."""
    min_retrieval_score: float = Field(default=0.3, ge=-1, le=1)
    """Contexts whose best cosine with the question is lower do not answer it."""
    screening: bool = True
    """Refuse answers that talk to the judge or say nothing; take such sentences out of contexts."""
    min_answer_chars: int = Field(default=1, ge=1)
    """Letters and digits that an answer must have; below, its score is 0."""
    batches: int = Field(default=2, ge=1)
    """Batches verified at once."""
    timeout_s: float = Field(default=600, gt=0)
    """Of one batch's verification, waiting included; past it the attempt counts as failed."""
    max_attempts: int = Field(default=3, ge=1)
    """Attempts before a verification that times out is recorded as failed."""

    @property
    def chosen(self) -> tuple[VerifierSettings, ...]:
        """The verifiers, which must be settled: see ``selection.choose``."""
        assert self.verifiers != "auto", "the verifiers are not chosen yet"
        return self.verifiers

    @model_validator(mode="after")
    def _one_counts(self) -> "VerificationSettings":
        if self.verifiers == "auto":
            return self
        names = [verifier.name for verifier in self.verifiers]
        if len(set(names)) < len(names):
            raise ValueError("verifiers: each name once")
        if not any(verifier.weight for verifier in self.verifiers):
            raise ValueError("verifiers: at least one needs a weight above 0")
        return self


class DpoSettings(Section):
    min_score_diff: float = Field(default=0.05, gt=0, le=1)
    """Least margin between chosen and rejected, inclusive."""
    min_chosen_score: float = Field(default=0.6, ge=0, le=1)
    """Least score of the chosen answer, inclusive."""
    min_chosen_faithfulness: float = Field(default=0.75, ge=0, le=1)
    """Least faithfulness of the chosen answer, inclusive, where it has one."""
    min_chosen_relevancy: float = Field(default=0.6, ge=0, le=1)
    """Least relevancy of the chosen answer, inclusive, where it has one."""
    rejected_needs_defect: bool = True
    """Whether something must be known to be wrong with the rejected answer; or else a lower score
    is enough."""
    quality_filter: bool = False
    """Also refuse a chosen answer of under three words."""
    prompt: Literal["question", "rag"] = "question"
    """What a pair's prompt is: the bare question, or the full prompt with its contexts."""
    strategy: Strategy = "best_worst"
    """Which of the answers that make a pair with the best is rejected: the worst, a random one, or
    (`best_low`) the one nearest to the batch's mean less two standard deviations."""
    max_length_ratio: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Pairs whose longer answer has more than this many times the characters of the shorter are
    refused; 0 means that length does not matter."""

    @field_validator("max_length_ratio")
    @classmethod
    def _longer_to_shorter(cls, ratio: float) -> float:
        if 0 < ratio < 1:
            raise ValueError("the longer answer to the shorter: 1 or more; 0 for any")
        return ratio

    def rule(self) -> PairingRule:
        return PairingRule(
            min_score_diff=self.min_score_diff,
            min_chosen_score=self.min_chosen_score,
            min_chosen_faithfulness=self.min_chosen_faithfulness,
            min_chosen_relevancy=self.min_chosen_relevancy,
            rejected_needs_defect=self.rejected_needs_defect,
            quality_filter=self.quality_filter,
            prompt=self.prompt,
            strategy=self.strategy,
            max_length_ratio=self.max_length_ratio,
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


class TracingSettings(Section):
    endpoint: str | None = Field(default=None, pattern="^https?://[^/]+")
    """Where OpenTelemetry traces go, by OTLP over HTTP, such as `http://localhost:4318`; none
    leaves tracing off."""
    sample: float = Field(default=1.0, ge=0, le=1, allow_inf_nan=False)
    """Share of the batches that are traced."""


class LogSettings(Section):
    format: Literal["text", "json"] = "text"
    """Of the log lines of every process: for people, or an object a line."""
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """What is less important is left out."""


class ApiSettings(Section):
    host: str = "127.0.0.1"
    """Address to listen on; anything but loopback needs a key."""
    port: int = Field(default=8000, ge=0, le=65535)
    """TCP port."""
    key: SecretStr | None = None
    """Bearer token that every request but /livez and /readyz must carry."""
    max_asks: int = Field(default=16, ge=1)
    """Asks worked on at once; as many again wait, further ones get 503."""

    @property
    def url(self) -> str:
        """As this machine reaches it."""
        host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(  # noqa: S104 - to, not at
            self.host, self.host
        )
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

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

    data_dir: Place = Field(default=Path("data"), validate_default=True)
    """Ledger, datasets and the local vector store; only one server per folder."""
    ray_address: str | None = None
    """A Ray cluster to join (`auto`, or `ray://…`); none starts one here."""
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
        problems = "; ".join(errors.problem(each, Settings) for each in error.errors())
        raise ConfigError(f"settings: {problems}") from None


def _check_environment() -> None:
    """Raise ConfigError for a variable of ours that names no setting or section."""
    known = {"CONFIG", *(name.upper() for name in Settings.model_fields)}
    for name in os.environ:
        head, _, rest = name.partition("_")
        if head.upper() == "RLVR" and rest.split("__")[0].upper() not in known:
            names = [_variable(key) for key in errors.keys(Settings)]
            meant = errors.suggestion(name.upper(), [*names, "RLVR_CONFIG"])
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
