"""vLLM in this process: the engine for GPUs.

The samples of a prompt are requests over the same token ids: the first one's blocks are in the
prefix cache before the others are scheduled, so they share one prefill. In the same way, prompts
with the same beginning share its whole blocks.

vLLM runs in its own processes. If one fails to start, the reason is only in its log, so the errors
of that log are kept in a file, from which the reason is read.
"""

import contextlib
import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

from rlvr_ray.core.answer_text import Answer, AnswerStream, answer_in, opens_reasoning
from rlvr_ray.core.concurrency import gather, told_by
from rlvr_ray.core.errors import ConfigError, InputError, Overloaded, Unavailable
from rlvr_ray.core.records import Usage
from rlvr_ray.core.text import storable
from rlvr_ray.generation.engines.chat import MarkedChat, time_limit
from rlvr_ray.generation.generator import Completion, CompletionChunk, FinishReason, Prompt
from rlvr_ray.generation.model_files import LLAMA_3B
from rlvr_ray.settings import EngineSettings

MISSING = "vllm is not installed: in the folder of rlvr_ray, pip install -e '.[vllm]'"
#: Share of a card's memory that vLLM takes where it has the card to itself.
GPU_MEMORY = 0.9
#: Bytes of the key-value cache without a GPU; ``vllm.kv_cache_memory_bytes`` says otherwise.
CPU_CACHE = 2 * 2**30
#: Llama's template tells the date, which would make every day's prompts other ones.
TEMPLATE = {"date_string": "26 Jul 2024"}
#: Why vLLM stops; anything else is not known, but for what breaks the answer off.
ENDS: Mapping[str, FinishReason] = {"stop": "stop", "length": "length"}
#: A line of a traceback that names an exception.
EXCEPTION = re.compile(r"^(?:\w+\.)*(\w*(?:Error|Exception|Exit)\b.*)$", re.MULTILINE)
#: What says only that another process failed.
ELSEWHERE = re.compile(r"root cause|background process|failed core proc", re.IGNORECASE)


class VLLM:
    """An Engine over one model in Hugging Face's format: a folder, or a name on the hub."""

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        if not is_installed():
            raise ConfigError(MISSING)
        self.model = model(settings)
        if self.model.startswith(("/", ".", "~")) and not Path(self.model).is_dir():
            raise ConfigError(f"{settings.section}.model: there is no folder {self.model}")
        with _reasons(self.model) as environment:
            os.environ.update(environment | _environment(settings))
            import vllm
            from vllm.exceptions import QueueOverflowError, VLLMClientError
            from vllm.v1.engine.async_llm import AsyncLLM
            from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError
            from vllm.v1.metrics.ray_wrappers import RayPrometheusStatLogger

            arguments = vllm.AsyncEngineArgs(**_options(settings, self.model))
            self._engine = AsyncLLM.from_engine_args(
                arguments, stat_loggers=[RayPrometheusStatLogger]
            )
        self._vllm = vllm
        self._broken = (EngineDeadError, EngineGenerateError)
        self._full = QueueOverflowError
        self._refused = (VLLMClientError, ValueError)
        self._tokenizer: Any = self._engine.get_tokenizer()
        self._begun = ""  # of an answer, by the model's template

    async def generate(self, prompts: Sequence[Prompt]) -> list[list[Completion] | InputError]:
        """See ``Generator``. Unavailable where vLLM is gone, TimedOut past the limit."""
        async with self._limit():
            return await gather(*(self._complete(prompt) for prompt in prompts))

    def stream(self, prompt: Prompt) -> AsyncGenerator[CompletionChunk]:
        """See ``Engine``."""

        async def write(emit: Callable[[CompletionChunk], None]) -> None:
            async with self._limit():
                tokens = self._tokens(prompt)
                samples = range(len(prompt.samples))
                await gather(*(self._write(tokens, prompt, index, emit) for index in samples))

        return told_by(write)

    async def check(self) -> str:
        """The model's name; raises Unavailable where one of vLLM's processes has died."""
        with self._translated():
            await self._engine.check_health()
        return self.model

    async def close(self) -> None:
        """End vLLM's processes, and what waits for them with Unavailable."""
        dead, _ = self._broken
        self._engine.shutdown()
        # vLLM itself would leave them waiting for ever.
        self._engine.output_processor.propagate_error(dead())

    @contextlib.asynccontextmanager
    async def _limit(self) -> AsyncIterator[None]:
        async with time_limit(self._settings.timeout_s):
            with self._translated():
                yield

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except self._full:
            raise Overloaded("vLLM has too much to do; try again in a while") from None
        except self._broken as error:
            raise Unavailable(
                f"vLLM has died ({type(error).__name__}); it is started again in a moment"
            ) from None

    async def _complete(self, prompt: Prompt) -> list[Completion] | InputError:
        try:
            tokens = self._tokens(prompt)
            return await gather(
                *(self._sample(tokens, prompt, index) for index in range(len(prompt.samples)))
            )
        except InputError as error:
            return error

    async def _sample(self, tokens: list[int], prompt: Prompt, index: int) -> Completion:
        kind = self._vllm.sampling_params.RequestOutputKind.FINAL_ONLY
        replies = [reply async for reply in self._replies(tokens, prompt, index, kind)]
        answer = answer_in(self._begun + storable(replies[-1].outputs[0].text))
        return self._completion(replies[-1], prompt, answer)

    async def _write(
        self, tokens: list[int], prompt: Prompt, index: int, emit: Callable[[CompletionChunk], None]
    ) -> None:
        """Emit a sample's chunks as it grows."""
        kind = self._vllm.sampling_params.RequestOutputKind.CUMULATIVE
        stream = AnswerStream(self._begun)
        written = ""
        async for reply in self._replies(tokens, prompt, index, kind):
            text = storable(reply.outputs[0].text)
            if new := stream.add(text.removeprefix(written)):
                emit(CompletionChunk(sample=index, text=new))
            written = text
            if reply.finished:
                rest, answer = stream.end()
                completion = self._completion(reply, prompt, answer)
                emit(CompletionChunk(sample=index, text=rest, completion=completion))

    async def _replies(
        self, tokens: list[int], prompt: Prompt, index: int, kind: Any
    ) -> AsyncGenerator[Any]:
        """vLLM's outputs of a sample."""
        # vLLM adds to the ids and to the parameters that it is given.
        given = {"prompt_token_ids": list(tokens)}
        replies = self._engine.generate(given, self._params(prompt, index, kind), uuid4().hex)
        try:
            async with contextlib.aclosing(replies):
                async for reply in replies:
                    if reply.outputs[0].finish_reason in ("abort", "error"):
                        raise Unavailable("vLLM broke off the answer")
                    yield reply
        except self._refused as error:
            if isinstance(error, (*self._broken, self._full)):
                raise
            raise InputError(f"vLLM refuses the prompt: {_line(error)}") from None

    def _params(self, prompt: Prompt, index: int, kind: Any) -> Any:
        sample = prompt.samples[index]
        structure = None
        if prompt.json_schema is not None:
            structure = self._vllm.sampling_params.StructuredOutputsParams(
                json=dict(prompt.json_schema)
            )
        return self._vllm.SamplingParams(
            temperature=sample.temperature,
            seed=sample.seed,
            max_tokens=prompt.max_tokens,
            logprobs=prompt.logprobs or None,
            structured_outputs=structure,
            output_kind=kind,
        )

    def _tokens(self, prompt: Prompt) -> list[int]:
        """The chat in the model's template; see ``MarkedChat``. Raises ContextOverflow."""
        chat = MarkedChat(prompt.messages)
        filled = self._tokenizer.apply_chat_template(
            chat.messages, tokenize=False, add_generation_prompt=True, **TEMPLATE
        )
        self._begun = opens_reasoning(filled)
        tokens: list[int] = []
        for text, is_template in chat.texts(filled):
            tokens += self._tokenizer.encode(
                text, add_special_tokens=False, split_special_tokens=not is_template
            )
        self._settings.check_fits(len(tokens), prompt.max_tokens)
        return tokens

    def _completion(self, reply: Any, prompt: Prompt, answer: Answer) -> Completion:
        (output,) = reply.outputs
        return Completion(
            text=answer.text,
            reasoning_chars=answer.reasoning_chars,
            finish_reason="stop" if answer.ended else ENDS.get(output.finish_reason, "unknown"),
            model=self.model,
            usage=Usage(
                prompt_tokens=len(reply.prompt_token_ids),
                completion_tokens=len(output.token_ids),
                cached_tokens=reply.num_cached_tokens or 0,
            ),
            logprobs=tuple(_likeliest(place, prompt.logprobs) for place in output.logprobs or ()),
        )


def is_installed() -> bool:
    """Whether vLLM can be had in this environment."""
    return find_spec("vllm") is not None


def model(settings: EngineSettings) -> str:
    """The model's name, as completions have it."""
    return settings.model or LLAMA_3B


def check_files(settings: EngineSettings) -> None:
    """Raise ConfigError where vLLM or a model's folder is missing; nothing is loaded."""
    if not is_installed():
        raise ConfigError(MISSING)
    name = model(settings)
    if name.startswith(("/", ".", "~")) and not Path(name, "config.json").is_file():
        raise ConfigError(
            f"{settings.section}.model: there is no model in {name}, which has no config.json"
        )


def _options(settings: EngineSettings, model: str) -> dict[str, Any]:
    """vLLM's engine options: ours, then the user's over them."""
    gpus = settings.gpus
    options: dict[str, Any] = {
        "model": model,
        "max_model_len": settings.context_tokens,
        "tensor_parallel_size": max(1, int(gpus)),
        # Small models fill free whitespace until their tokens are used up.
        "structured_outputs_config": {"backend": "xgrammar", "disable_any_whitespace": True},
    }
    if gpus == 0:
        options |= {
            "enforce_eager": True,
            "block_size": 32,
            "kv_cache_memory_bytes": CPU_CACHE,
            # A prompt that is read in parts rewinds its seed, which dies without a GPU.
            "enable_chunked_prefill": False,
            "max_num_batched_tokens": settings.context_tokens,
        }
    else:
        options["gpu_memory_utilization"] = GPU_MEMORY * min(1, gpus)
    return options | settings.vllm


def _environment(settings: EngineSettings) -> dict[str, str]:
    """What vLLM and its processes read from the environment; who set it before is obeyed."""
    environment = {
        # A fork of a process with Ray's threads can hang.
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
    }
    if settings.gpus == 0:
        # Bound threads would share a core with whatever else is bound to it. Ray sets
        # OMP_NUM_THREADS to the CPUs that it set aside, so that variable says nothing.
        environment["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"
        os.environ["OMP_NUM_THREADS"] = str(settings.threads)
    return {name: value for name, value in environment.items() if name not in os.environ}


@contextlib.contextmanager
def _reasons(model: str) -> Iterator[dict[str, str]]:
    """Environment for a start whose failure is to be told; raises ConfigError with the reason."""
    folder = Path(tempfile.mkdtemp(prefix="rlvr-vllm-"))
    errors = folder / "errors.log"
    config = {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
        "handlers": {
            "console": {"class": "logging.StreamHandler", "formatter": "line"},
            # Opened at once: later, when an engine dies, the folder is long gone.
            "errors": {"class": "logging.FileHandler", "filename": str(errors), "level": "ERROR"},
        },
        "loggers": {"vllm": {"handlers": ["console", "errors"], "level": "INFO"}},
    }
    (folder / "logging.json").write_text(json.dumps(config))
    name = "VLLM_LOGGING_CONFIG_PATH"
    theirs = name in os.environ
    try:
        yield {} if theirs else {name: str(folder / "logging.json")}
    except ImportError as error:
        raise ConfigError(f"vLLM cannot be imported: {_line(error)}") from None
    except Exception as error:  # of torch, of the hub's client, of pydantic, ...
        told = errors.read_text(errors="replace") if errors.exists() else ""
        reason = _reason(told) or _line(error).split(" [type=")[0]
        raise ConfigError(f"vLLM cannot load {model}: {reason}") from None
    finally:
        if not theirs:
            os.environ.pop(name, None)
        shutil.rmtree(folder, ignore_errors=True)


def _reason(log: str) -> str | None:
    """The last exception in a log that is not about another one."""
    found = [line for line in EXCEPTION.findall(log) if not ELSEWHERE.search(line)]
    return _line(found[-1]) if found else None


def _line(error: object) -> str:
    return " ".join(str(error).split())[:500]


def _likeliest(place: Mapping[int, Any], count: int) -> dict[str, float]:
    """The likeliest tokens; vLLM adds the one that was drawn, which need not be among them.

    Of tokens that are different bytes of the same text, the likelier counts.
    """
    likeliest: dict[str, float] = {}
    for entry in sorted(place.values(), key=lambda entry: entry.rank):
        if entry.rank <= count and math.isfinite(entry.logprob):
            likeliest.setdefault(entry.decoded_token, entry.logprob)
    return likeliest
