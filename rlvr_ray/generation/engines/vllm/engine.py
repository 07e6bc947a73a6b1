"""The Engine over one model.

The samples of a prompt are requests over the same token ids: the first one's blocks are in the
prefix cache before the others are scheduled, so they share one prefill. In the same way, prompts
with the same beginning share its whole blocks.
"""

import contextlib
import math
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from rlvr_ray.core.answer_text import Answer, AnswerStream, answer_in, opens_reasoning
from rlvr_ray.core.concurrency import emitted_by, gather
from rlvr_ray.core.errors import ConfigError, InputError, Overloaded, Unavailable
from rlvr_ray.core.fields import storable
from rlvr_ray.core.records import Usage
from rlvr_ray.generation.engines.chat import MarkedChat, time_limit
from rlvr_ray.generation.engines.vllm import startup
from rlvr_ray.generation.engines.vllm.startup import MISSING, is_installed, model
from rlvr_ray.generation.generator import Completion, CompletionChunk, FinishReason, Prompt
from rlvr_ray.settings import EngineSettings

#: Llama's template tells the date, which would make every day's prompts other ones.
TEMPLATE = {"date_string": "26 Jul 2024"}
#: Why vLLM stops; anything else is not known, but for what breaks the answer off.
ENDS: Mapping[str, FinishReason] = {"stop": "stop", "length": "length"}


class VLLM:
    """An Engine over one model in Hugging Face's format: a folder, or a name on the hub."""

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        if not is_installed():
            raise ConfigError(MISSING)
        self.model = model(settings)
        if self.model.startswith(("/", ".", "~")) and not Path(self.model).is_dir():
            raise ConfigError(f"{settings.section}.model: there is no folder {self.model}")
        with startup.reasons(self.model) as environment:
            os.environ.update(environment | startup.environment(settings))
            import vllm
            from vllm.exceptions import QueueOverflowError, VLLMClientError
            from vllm.v1.engine.async_llm import AsyncLLM
            from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError
            from vllm.v1.metrics.ray_wrappers import RayPrometheusStatLogger

            arguments = vllm.AsyncEngineArgs(**startup.options(settings, self.model))
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

        async def write(emit: Callable[[CompletionChunk], None]) -> None:
            async with self._limit():
                tokens = self._tokens(prompt)
                samples = range(len(prompt.samples))
                await gather(*(self._write(tokens, prompt, index, emit) for index in samples))

        return emitted_by(write)

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
            raise InputError(f"vLLM refuses the prompt: {startup.line(error)}") from None

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


def _likeliest(place: Mapping[int, Any], count: int) -> dict[str, float]:
    """The likeliest tokens; vLLM adds the one that was drawn, which need not be among them.

    Of tokens that are different bytes of the same text, the likelier counts.
    """
    likeliest: dict[str, float] = {}
    for entry in sorted(place.values(), key=lambda entry: entry.rank):
        if entry.rank <= count and math.isfinite(entry.logprob):
            likeliest.setdefault(entry.decoded_token, entry.logprob)
    return likeliest
