"""Settings of the generator and the judge: language models and their engines."""

import os
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from rlvr_ray.core.errors import ContextOverflow
from rlvr_ray.settings.section import Place, Price, Section, Temperature

#: API, commands, page and plans ask for as many candidates as there are temperatures here.
DEFAULT_TEMPERATURES = (0.3, 0.7, 0.9)
DEFAULT_CANDIDATES = len(DEFAULT_TEMPERATURES)

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
    """Samples in flight; further samples wait, for at most half of timeout_s."""
    timeout_s: float = Field(default=300, gt=0)
    """Limit of one call with all its samples, including waiting, in seconds."""
    model_path: Place | None = None
    """llamacpp: a GGUF file."""
    model_sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    """llamacpp: SHA-256 that the file at model_path must have."""
    slots: int = Field(default=4, ge=1, le=64)
    """llamacpp: completions decoded at the same time; memory grows with it."""
    threads: int = Field(default=min(4, os.cpu_count() or 1), ge=1)
    """llamacpp, and vllm without a GPU: CPU threads."""
    gpus: float = Field(default=1, ge=0)
    """vllm: GPUs of one replica. 2 or more: tensor parallel; below 1: a share of a GPU and of its
    memory; 0: vLLM's CPU build."""
    vllm: dict[str, Any] = Field(default={})
    """vllm: engine options by the names of vLLM's `AsyncEngineArgs`."""
    base_url: str | None = Field(default=None, pattern="^https?://")
    """openai: the server, such as `http://localhost:11434/v1`."""
    api_key: SecretStr | None = None
    """openai: the server's key; none if it needs no key."""
    capabilities: tuple[Capability, ...] | None = None
    """openai: features of the server: `schema`, `logprobs`, `seed`; none: all are tried."""
    requests_per_minute: int | None = Field(default=None, ge=1)
    """openai: calls started per minute; none means no limit."""
    retries: int = Field(default=2, ge=0)
    """openai: repetitions of a call after a dropped connection, a 429 or a 5xx."""
    price_prompt: Price | None = None
    """Price of a million prompt tokens, in any currency: for the cost of bulk runs."""
    price_cached: Price | None = None
    """Price of a million prompt tokens from the prefix cache; none means price_prompt."""
    price_completion: Price | None = None
    """Price of a million generated tokens."""

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
    """`auto`: openai if base_url is set, llamacpp if model_path is set, vllm if it is installed and
    there is a GPU, otherwise llamacpp."""
    model: str | None = None
    """vllm: a folder, or a name on the model hub; none means Llama-3.2-3B-Instruct. openai: the
    model's name on the server."""
    model_path: Place | None = None
    """llamacpp: a GGUF file; none means the embedded SmolLM2-135M-Instruct."""
    max_tokens: int = Field(default=128, ge=1)
    """Token limit of one answer."""
    temperatures: tuple[Temperature, ...] = Field(default=DEFAULT_TEMPERATURES, min_length=1)
    """Temperatures of the candidates in turn, repeated for further candidates."""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.engine == "auto" and self.base_url is not None and self.model is None:
            raise ValueError("base_url needs model, the model's name on that server")
        return self


class JudgeSettings(EngineSettings):
    section = "judge"
    engine: Literal["generator", EngineName] = "generator"
    """generator: the Generator's model judges; otherwise the engine of another model."""
    concurrency: int = Field(default=16, ge=1)
    """Samples in flight; further samples wait, for at most half of timeout_s."""
    requests_per_minute: int | None = Field(default=None, ge=1)
    """Calls started per minute, with any engine; none means no limit."""
    max_tokens: int = Field(default=512, ge=16)
    """Token limit of one judge completion; a completion that is cut off is repeated with twice the
    limit."""

    @model_validator(mode="after")
    def _has_a_model(self) -> Self:
        if self.engine == "llamacpp" and self.model_path is None:
            raise ValueError("engine = llamacpp needs model_path, a GGUF file")
        if self.engine == "vllm" and self.model is None:
            raise ValueError("engine = vllm needs model, a folder or a name on the model hub")
        return self
