"""llama.cpp in this process: the engine where there is no GPU.

``xllamacpp`` runs llama.cpp's own server, continuous batching included, on a Unix socket that only
this user can reach; we are its one client. That gives cancellation (a closed connection frees its
slot) and concurrency without threads of ours.

The samples of a prompt share one prefill: the prompt is evaluated in one slot, whose state is then
copied to the other samples' slots through files in memory. Prompts that ask for one token only and
begin alike go through one slot, one after another, each evaluating what it adds. Slots are ours to
lease, so that no request ever reads a state that another one wrote; the server's own prompt cache
is off.
"""

import asyncio
import contextlib
import json
import math
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlvr_ray.core.answer_text import AnswerStream, answer_in, opens_reasoning
from rlvr_ray.core.concurrency import gather, told_by
from rlvr_ray.core.errors import ConfigError, InputError, Overloaded, TimedOut, Unavailable
from rlvr_ray.core.records import Usage
from rlvr_ray.core.text import storable
from rlvr_ray.generation.generator import Completion, FinishReason, Piece, Prompt
from rlvr_ray.generation.model_files import SMOLLM2_135M, verify
from rlvr_ray.generation.prompts import Message
from rlvr_ray.settings import EngineSettings

#: Why llama.cpp stops; anything else is not known.
ENDS: Mapping[str, FinishReason] = {"eos": "stop", "word": "stop", "limit": "length"}
#: Hears of each piece of a sample.
Told = Callable[[Piece], None]


@dataclass(slots=True)
class _Slot:
    """A llama.cpp slot and the prompt that it was last used for, whose state it holds."""

    number: int
    tokens: list[int] = field(default_factory=list)


@dataclass(slots=True)
class _Probe:
    """A prompt of one token, and its place among those of the call."""

    place: int
    prompt: Prompt
    tokens: list[int]


class LlamaCpp:
    """A Generator over one GGUF file."""

    def __init__(self, settings: EngineSettings) -> None:
        # Read once, when llama.cpp's OpenMP is loaded. Threads that spin at a barrier while
        # another process has their core make a completion take a hundred times as long.
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        import httpx
        import xllamacpp

        if settings.model_path is None:
            path, self.model = SMOLLM2_135M.locate(), "SmolLM2-135M-Instruct.Q4_1"
        else:
            path, self.model = settings.model_path, settings.model_path.stem
            if not path.is_file():
                raise ConfigError(f"{settings.section}.model_path: there is no file {path}")
            if settings.model_sha256:
                verify(path, settings.model_sha256, "download the model again")

        self._settings = settings
        self._folder = _private_folder()
        socket = self._folder / "server.sock"
        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.hostnames = [str(socket)]
        params.n_parallel = settings.slots
        params.n_ctx = settings.slots * settings.context_tokens
        params.kv_unified = False  # slots cannot crowd each other out
        params.cache_ram_mib = 0
        params.cache_idle_slots = False
        params.ctx_shift = False  # an answer that outgrows its context ends, it does not drift
        params.slot_save_path = f"{self._folder}/"
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = settings.threads
        params.n_threads_http = settings.slots + 2
        params.warmup = False
        params.verbosity = -1
        try:
            self._server: Any = xllamacpp.Server(params)
        except RuntimeError as error:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise ConfigError(f"llama.cpp cannot load {path}: {error}") from None

        self._http = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(
                uds=str(socket),
                # The server closes a connection that it streamed on: none is used twice.
                limits=httpx.Limits(max_keepalive_connections=0),
            ),
            base_url="http://llama.cpp",
            timeout=httpx.Timeout(settings.timeout_s, connect=10),
        )
        # RuntimeError is what a client says that was closed.
        self._errors = (httpx.HTTPError, RuntimeError)
        self._idle = [_Slot(number) for number in range(settings.slots)]
        self._begun = ""  # of an answer, by the model's template
        self._turn = asyncio.Lock()
        self._returned = asyncio.Event()

    async def generate(self, prompts: Sequence[Prompt]) -> list[list[Completion] | InputError]:
        """See ``ports.Generator``. Unavailable where llama.cpp fails, TimedOut past the limit."""
        async with self._limit():
            return await self._generate(prompts)

    def stream(self, prompt: Prompt) -> AsyncGenerator[Piece]:
        """See ``ports.Engine``. More samples than slots are written in waves."""

        async def write(told: Told) -> None:
            async with self._limit():
                tokens = await self._tokens(prompt.messages)
                self._settings.check_fits(len(tokens), prompt.max_tokens)
                await self._complete(prompt, tokens, told)

        return told_by(write)

    async def check(self) -> str:
        """The model's name; raises Unavailable if llama.cpp does not answer."""
        await self._request("GET", "/health")
        return self.model

    async def close(self) -> None:
        """Stop the engine and remove its files; again does nothing."""
        await self._http.aclose()
        self._server = None
        shutil.rmtree(self._folder, ignore_errors=True)

    @contextlib.asynccontextmanager
    async def _limit(self) -> AsyncIterator[None]:
        limit = self._settings.timeout_s
        try:
            async with asyncio.timeout(limit):
                yield
        except TimeoutError:
            raise TimedOut(f"the model did not finish within {limit:g} s") from None

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
        self, prompt: Prompt, tokens: list[int], told: Told | None = None
    ) -> list[Completion]:
        completions: list[Completion] = []
        for start in range(0, len(prompt.samples), self._settings.slots):
            wave = range(start, min(start + self._settings.slots, len(prompt.samples)))
            completions += await self._draw(tokens, prompt, wave, told)
        return completions

    async def _probe(self, chain: Sequence[_Probe]) -> list[Completion]:
        """One token for each, in one slot: each evaluates only what the last one did not have."""
        async with self._lease(chain[0].tokens, 1) as (slot,):
            return [await self._sample(probe.tokens, probe.prompt, 0, slot) for probe in chain]

    async def _tokens(self, messages: Sequence[Message]) -> list[int]:
        """The chat in the model's template. Only the template's own control tokens are such.

        The template is filled with marks, and what stands for a mark is tokenized as plain text:
        a passage that says ``<|im_end|>`` does not end the user's turn.
        """
        mark = secrets.token_hex(8)
        chat = [{"role": m.role, "content": f"{mark}.{i}."} for i, m in enumerate(messages)]
        template = (await self._post("/apply-template", {"messages": chat}))["prompt"]
        self._begun = opens_reasoning(template)
        pieces = re.split(rf"{mark}\.(\d+)\.", template)  # text, index, text, index, …, text
        bodies = [
            {"content": messages[int(piece)].content, "add_special": False, "parse_special": False}
            if place % 2
            else {"content": piece, "add_special": place == 0, "parse_special": True}
            for place, piece in enumerate(pieces)
        ]
        replies = await gather(*(self._post("/tokenize", body) for body in bodies))
        return [token for reply in replies for token in reply["tokens"]]

    async def _draw(
        self, tokens: list[int], prompt: Prompt, wave: Sequence[int], told: Told | None
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
                    self._sample(tokens, prompt, index, slot, cost, told)
                    for index, slot, cost in zip(wave, slots, costs, strict=True)
                )
            )

    async def _share_prefill(self, tokens: list[int], slots: Sequence[_Slot]) -> int:
        """Evaluate the prompt once and copy its state; return the tokens that it cost."""
        first, *others = slots
        body = {"prompt": tokens, "n_predict": 0, "id_slot": first.number, "cache_prompt": True}
        timings = (await self._post("/completion", body))["timings"]
        first.tokens = tokens
        state = {"filename": f"slot-{first.number}"}
        # Where the state cannot be copied (memory is full), each sample prefills for itself.
        with contextlib.suppress(Unavailable):
            await self._post(f"/slots/{first.number}?action=save", state)
            for slot in others:
                await self._post(f"/slots/{slot.number}?action=restore", state)
                slot.tokens = tokens
        (self._folder / state["filename"]).unlink(missing_ok=True)
        return int(timings["prompt_n"])

    async def _sample(
        self,
        tokens: list[int],
        prompt: Prompt,
        index: int,
        slot: _Slot,
        prefilled: int = 0,
        told: Told | None = None,
    ) -> Completion:
        """One sample, for which ``prefilled`` tokens were evaluated before: no cache's gain."""
        sample = prompt.samples[index]
        stream = AnswerStream(self._begun)

        def grew(text: str) -> None:
            if told is not None and (new := stream.add(text)):
                told(Piece(sample=index, text=new))

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
        reply = await self._stream("/completion", body, grew)
        slot.tokens = tokens
        timings = reply["timings"]
        if told is None:
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
        if told is not None:
            told(Piece(sample=index, text=rest, completion=completion))
        return completion

    @contextlib.asynccontextmanager
    async def _lease(self, tokens: list[int], count: int) -> AsyncIterator[list[_Slot]]:
        """Wait for idle slots: first the one that holds most of the prompt, then the oldest.

        Raises Overloaded where that takes half of the time limit: the prompt is not the reason.
        """
        wait_s = self._settings.timeout_s / 2
        try:
            async with asyncio.timeout(wait_s), self._turn:  # in order: nobody is overtaken
                while len(self._idle) < count:
                    self._returned.clear()
                    await self._returned.wait()
                best = max(self._idle, key=lambda slot: _common(slot.tokens, tokens))
                self._idle.remove(best)
                slots = [best, *self._idle[: count - 1]]
                del self._idle[: count - 1]
        except TimeoutError:
            raise Overloaded(
                f"the model had no slot free within {wait_s:g} s; try again in a while"
            ) from None
        try:
            yield slots
        finally:
            self._idle += slots
            self._returned.set()

    async def _stream(
        self, path: str, body: dict[str, Any], grew: Callable[[str], None]
    ) -> dict[str, Any]:
        """The last event of a stream, with the text and the probabilities of all.

        Not for the text's sake: llama.cpp notices a closed connection at its next write, and else
        only where no slot answered anybody for a second.
        """
        text, rest = "", b""
        last: dict[str, Any] = {}
        probabilities: list[dict[str, Any]] = []
        try:
            async with self._http.stream("POST", path, json=body | {"stream": True}) as reply:
                if reply.is_error:
                    problem = (await reply.aread()).decode(errors="replace")[:500]
                    raise Unavailable(f"llama.cpp refused {path}: {problem}")
                async for piece in reply.aiter_bytes():  # aiter_lines would split at U+2028
                    *lines, rest = (rest + piece).split(b"\n")
                    for line in lines:
                        if line.startswith(b"data: "):
                            last = json.loads(line.removeprefix(b"data: "))
                            if new := storable(last.get("content", "")):
                                grew(new)
                                text += new
                            probabilities += last.get("completion_probabilities", [])
        except self._errors as error:
            raise Unavailable(f"llama.cpp did not answer {path}: {error!r}") from None
        if "timings" not in last:
            raise Unavailable(f"llama.cpp broke off {path}: {str(last)[:500]}")
        return last | {"content": text, "completion_probabilities": probabilities}

    async def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return await self._request("POST", path, body)

    async def _request(
        self, method: str, path: str, body: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        try:
            reply = await self._http.request(method, path, json=body)
        except self._errors as error:
            raise Unavailable(f"llama.cpp did not answer {path}: {error!r}") from None
        if reply.is_error:
            raise Unavailable(f"llama.cpp refused {path}: {reply.text[:500]}")
        result: dict[str, Any] = reply.json()
        return result


def _private_folder() -> Path:
    """A folder in memory, where there is some, that only we can read.

    What a killed process left there is removed: it may hold many megabytes of memory.
    """
    shared = Path("/dev/shm")  # noqa: S108
    memory = shared if shared.is_dir() else Path(tempfile.gettempdir())
    for old in memory.glob("rlvr-llama-*"):
        if not Path("/proc", old.name.split("-")[2]).exists():
            shutil.rmtree(old, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"rlvr-llama-{os.getpid()}-", dir=memory))


def _chains(probes: Sequence[_Probe]) -> list[list[_Probe]]:
    """Probes in groups that begin alike: each has half of the group's first one, or more."""
    chains: list[list[_Probe]] = []
    for probe in probes:
        for chain in chains:
            first = chain[0].tokens
            if 2 * _common(first, probe.tokens) >= len(first):
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


def _common(one: Sequence[int], two: Sequence[int]) -> int:
    """How many tokens both start with."""
    return next(
        (i for i, (a, b) in enumerate(zip(one, two, strict=False)) if a != b),
        min(len(one), len(two)),
    )
