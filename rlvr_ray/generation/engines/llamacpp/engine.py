"""The Engine over one GGUF file.

The samples of a prompt share one prefill: the prompt is evaluated in one slot, and the slot's state
is copied to the slots of the other samples through files in memory. Prompts that want only one
token and have the same beginning go through one slot in turn, and each evaluates only the rest.
"""

import contextlib
import math
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from rlvr_ray.core.answer_text import AnswerStream, answer_in, opens_reasoning
from rlvr_ray.core.concurrency import emitted_by, gather
from rlvr_ray.core.errors import ConfigError, InputError, Unavailable
from rlvr_ray.core.records import Usage
from rlvr_ray.generation.engines.chat import MarkedChat, time_limit
from rlvr_ray.generation.engines.llamacpp.files import model
from rlvr_ray.generation.engines.llamacpp.server import Server
from rlvr_ray.generation.engines.llamacpp.slots import Slot, Slots, common
from rlvr_ray.generation.generator import Completion, CompletionChunk, FinishReason, Prompt
from rlvr_ray.generation.model_files import SMOLLM2_135M, verify
from rlvr_ray.generation.prompts import Message
from rlvr_ray.settings import EngineSettings

#: Why llama.cpp stops; anything else is not known.
ENDS: Mapping[str, FinishReason] = {"eos": "stop", "word": "stop", "limit": "length"}
#: Takes each chunk of a sample.
Emit = Callable[[CompletionChunk], None]


@dataclass(slots=True)
class _Probe:
    """A prompt of one token, and its place among those of the call."""

    place: int
    prompt: Prompt
    tokens: list[int]


class LlamaCpp:
    """An Engine over one GGUF file."""

    def __init__(self, settings: EngineSettings) -> None:
        self.model = model(settings)
        path = settings.model_path
        if path is None:
            path = SMOLLM2_135M.locate()
        elif not path.is_file():
            raise ConfigError(f"{settings.section}.model_path: there is no file {path}")
        elif settings.model_sha256:
            verify(path, settings.model_sha256, "download the model again")
        self._settings = settings
        self._server = Server(settings, path)
        self._slots = Slots(settings.slots)
        self._begun = ""  # of an answer, by the model's template

    async def generate(self, prompts: Sequence[Prompt]) -> list[list[Completion] | InputError]:
        """See ``Generator``. Unavailable where llama.cpp fails, TimedOut past the limit."""
        async with time_limit(self._settings.timeout_s):
            return await self._generate(prompts)

    def stream(self, prompt: Prompt) -> AsyncGenerator[CompletionChunk]:
        """See ``Engine``. More samples than slots are written in waves."""

        async def write(emit: Emit) -> None:
            async with time_limit(self._settings.timeout_s):
                tokens = await self._tokens(prompt.messages)
                self._settings.check_fits(len(tokens), prompt.max_tokens)
                await self._complete(prompt, tokens, emit)

        return emitted_by(write)

    async def check(self) -> str:
        """The model's name; raises Unavailable if llama.cpp does not answer."""
        await self._server.request("GET", "/health")
        return self.model

    async def close(self) -> None:
        """Stop the engine and remove its files; again does nothing."""
        await self._server.close()

    def _lease(self, tokens: list[int], count: int) -> AbstractAsyncContextManager[list[Slot]]:
        return self._slots.lease(tokens, count, self._settings.timeout_s / 2)

    async def _generate(self, prompts: Sequence[Prompt]) -> list[list[Completion] | InputError]:
        tokens = await gather(*(self._tokens(prompt.messages) for prompt in prompts))
        results: dict[int, list[Completion] | InputError] = {}
        whole: list[int] = []
        probes: list[_Probe] = []
        for place, (prompt, its) in enumerate(zip(prompts, tokens, strict=True)):
            try:
                self._settings.check_fits(len(its), prompt.max_tokens)
            except InputError as error:
                results[place] = error
                continue
            if prompt.max_tokens == 1 and len(prompt.samples) == 1:
                probes.append(_Probe(place, prompt, its))
            else:
                whole.append(place)
        chains = _chains(probes)
        done = await gather(
            *(self._complete(prompts[place], tokens[place]) for place in whole),
            *(self._probe(chain) for chain in chains),
        )
        for place, completions in zip(whole, done, strict=False):
            results[place] = completions
        for chain, answers in zip(chains, done[len(whole) :], strict=True):
            results |= {probe.place: [answer] for probe, answer in zip(chain, answers, strict=True)}
        return [results[place] for place in range(len(prompts))]

    async def _complete(
        self, prompt: Prompt, tokens: list[int], emit: Emit | None = None
    ) -> list[Completion]:
        completions: list[Completion] = []
        for start in range(0, len(prompt.samples), self._settings.slots):
            wave = range(start, min(start + self._settings.slots, len(prompt.samples)))
            completions += await self._draw(tokens, prompt, wave, emit)
        return completions

    async def _probe(self, chain: Sequence[_Probe]) -> list[Completion]:
        """One token for each, in one slot: each evaluates only what the last one did not have."""
        async with self._lease(chain[0].tokens, 1) as (slot,):
            return [await self._sample(probe.tokens, probe.prompt, 0, slot) for probe in chain]

    async def _tokens(self, messages: Sequence[Message]) -> list[int]:
        """The chat in the model's template; see ``MarkedChat``."""
        chat = MarkedChat(messages)
        reply = await self._server.post("/apply-template", {"messages": chat.messages})
        self._begun = opens_reasoning(reply["prompt"])
        bodies = [
            {"content": text, "add_special": place == 0, "parse_special": is_template}
            for place, (text, is_template) in enumerate(chat.texts(reply["prompt"]))
        ]
        replies = await gather(*(self._server.post("/tokenize", body) for body in bodies))
        return [token for reply in replies for token in reply["tokens"]]

    async def _draw(
        self, tokens: list[int], prompt: Prompt, wave: Sequence[int], emit: Emit | None
    ) -> list[Completion]:
        """Draw some samples, as many as there are slots or fewer, at the same time."""
        async with self._lease(tokens, len(wave)) as slots:
            prefilled = 0
            if len(slots) > 1:
                prefilled = await self._share_prefill(tokens, slots)
            # The shared prefill is on the first sample's account.
            costs = [prefilled, *([0] * (len(slots) - 1))]
            return await gather(
                *(
                    self._sample(tokens, prompt, index, slot, cost, emit)
                    for index, slot, cost in zip(wave, slots, costs, strict=True)
                )
            )

    async def _share_prefill(self, tokens: list[int], slots: Sequence[Slot]) -> int:
        """Evaluate the prompt once and copy its state; return the tokens that it cost."""
        first, *others = slots
        body = {"prompt": tokens, "n_predict": 0, "id_slot": first.number, "cache_prompt": True}
        timings = (await self._server.post("/completion", body))["timings"]
        first.tokens = tokens
        state = {"filename": f"slot-{first.number}"}
        # Where the state cannot be copied (memory is full), each sample prefills for itself.
        with contextlib.suppress(Unavailable):
            await self._server.post(f"/slots/{first.number}?action=save", state)
            for slot in others:
                await self._server.post(f"/slots/{slot.number}?action=restore", state)
                slot.tokens = tokens
        (self._server.folder / state["filename"]).unlink(missing_ok=True)
        return int(timings["prompt_n"])

    async def _sample(
        self,
        tokens: list[int],
        prompt: Prompt,
        index: int,
        slot: Slot,
        prefilled: int = 0,
        emit: Emit | None = None,
    ) -> Completion:
        """One sample, for which ``prefilled`` tokens were evaluated before: no cache's gain."""
        sample = prompt.samples[index]
        stream = AnswerStream(self._begun)

        def on_text(text: str) -> None:
            if emit is not None and (new := stream.add(text)):
                emit(CompletionChunk(sample=index, text=new))

        body: dict[str, Any] = {
            "prompt": tokens,
            "id_slot": slot.number,
            "cache_prompt": True,
            "n_predict": prompt.max_tokens,
            "temperature": sample.temperature,
            "seed": sample.seed,
        }
        if prompt.json_schema is not None:
            body["json_schema"] = prompt.json_schema
        if prompt.logprobs:
            body["n_probs"] = prompt.logprobs
        reply = await self._server.stream("/completion", body, on_text)
        slot.tokens = tokens
        timings = reply["timings"]
        if emit is None:
            rest, answer = "", answer_in(self._begun + reply["content"])
        else:
            rest, answer = stream.end()
        completion = Completion(
            text=answer.text,
            reasoning_chars=answer.reasoning_chars,
            finish_reason="stop" if answer.ended else ENDS.get(reply["stop_type"], "unknown"),
            model=self.model,
            usage=Usage(
                prompt_tokens=timings["cache_n"] + timings["prompt_n"],
                completion_tokens=timings["predicted_n"],
                cached_tokens=max(0, timings["cache_n"] - prefilled),
            ),
            logprobs=tuple(_likeliest(token) for token in reply["completion_probabilities"]),
        )
        if emit is not None:
            emit(CompletionChunk(sample=index, text=rest, completion=completion))
        return completion


def _chains(probes: Sequence[_Probe]) -> list[list[_Probe]]:
    """Probes in groups that begin alike: each has half of the group's first one, or more."""
    chains: list[list[_Probe]] = []
    for probe in probes:
        for chain in chains:
            first = chain[0].tokens
            if 2 * common(first, probe.tokens) >= len(first):
                chain.append(probe)
                break
        else:
            chains.append([probe])
    return chains


def _likeliest(token: Mapping[str, Any]) -> dict[str, float]:
    """Log-probabilities of the likeliest tokens at a place, from llama.cpp's account of it."""
    likeliest: dict[str, float] = {}
    for entry in token["top_logprobs"]:
        if math.isfinite(entry["logprob"]):
            likeliest.setdefault(entry["token"], entry["logprob"])
    return likeliest
