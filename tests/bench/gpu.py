"""What vLLM can do by itself, what is left of it through our Generator, and from ask to pair.

    python tests/bench/gpu.py MODEL                  # one GPU
    python tests/bench/gpu.py MODEL --gpus 0 …       # vLLM's CPU build

Three stages in one run, on the same model and options:

1. the ceiling: ``vllm.LLM`` with all prompts at once, tokenized before the clock starts;
2. the same prompts and samples as calls to the Generator deployment of a running system;
3. questions over HTTP until each is decided, the judge (``logprob``) on the same engine.

Prompts are words drawn at random, so that nothing is shared but by the samples of a prompt; each
is drawn three times. Each stage begins with a few prompts that are not counted. MODEL is a folder
in Hugging Face's format; ``--vllm '{"load_format": "dummy"}'`` needs no weights in it: the speed is
that of the model, the words are nonsense.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from rlvr_ray.cli import demo
from rlvr_ray.client import Client
from rlvr_ray.generation.generator import Prompt, Sample
from rlvr_ray.generation.prompts import Message
from rlvr_ray.serve import app, handles
from rlvr_ray.settings import Settings, load

TEMPERATURES = (0.3, 0.7, 0.9)
WARM = 8  #: prompts that are not counted
CEILING = "ceiling:"  #: begins the line in which a process hands it over
CALL = 4  #: prompts in a call to the Generator


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--gpus", type=float, default=1)
    parser.add_argument("--prompts", type=int, default=512)
    parser.add_argument("--words", type=int, default=600, help="of a prompt")
    parser.add_argument("--output-tokens", type=int, default=150)
    parser.add_argument("--questions", type=int, default=512)
    parser.add_argument("--context-tokens", type=int, default=4096)
    parser.add_argument("--vllm", type=json.loads, default={}, help="engine options, as JSON")
    parser.add_argument("--ceiling", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ceiling:
        print(CEILING, json.dumps(ceiling(options)), flush=True)
        return
    print(
        f"model {options.model}, {options.gpus:g} GPUs, {options.prompts} prompts x 3", flush=True
    )
    # In a process of its own: its memory is free afterwards.
    command = [sys.executable, __file__, *sys.argv[1:], "--ceiling"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    (found,) = [line for line in done.stdout.splitlines() if line.startswith(CEILING)]
    raw = json.loads(found.removeprefix(CEILING))  # vLLM logs to stdout as well
    show("vllm.LLM", raw)
    with tempfile.TemporaryDirectory() as folder:
        settings = demo.on_free_port(settings_of(options, Path(folder)))
        url = app.start(settings).url
        try:
            ours = asyncio.run(through_generator(options))
            show("Generator", ours)
            share = (
                ours["output_tokens"] / ours["seconds"] / (raw["output_tokens"] / raw["seconds"])
            )
            print(f"share of the ceiling, in output tokens/s: {share:.3f}", flush=True)
            with gpu_busy() as busy:
                ask_to_pair(options, url, settings)
            if busy:
                print(f"GPU busy: {statistics.mean(busy):.0f} % of {len(busy)} samples")
        finally:
            app.stop(settings)


def settings_of(options: argparse.Namespace, folder: Path) -> Settings:
    """A system that accepts every answer: with random weights none would be good enough."""
    return load(
        data_dir=folder,
        generator={
            "engine": "vllm",
            "model": str(options.model),
            "gpus": options.gpus,
            "context_tokens": options.context_tokens,
            "concurrency": 1024,
            "max_tokens": options.output_tokens,
            "timeout_s": 3600,
            "vllm": options.vllm,
        },
        judge={"concurrency": 1024, "timeout_s": 3600},
        verification={
            "verifiers": ["logprob"],
            "screening": False,
            "batches": 64,
            "timeout_s": 3600,
        },
        dpo={"min_score_diff": 1e-9, "min_chosen_score": 0},
        api={"max_asks": 64},
        ledger={"min_free_mb": 0},
    )


def prompts_of(options: argparse.Namespace) -> list[Prompt]:
    """The same ones for each stage."""
    rng = random.Random(1)
    pages = " ".join(document.text for document in demo.descriptions())
    words = sorted({word for word in pages.split() if word.isalpha()})
    return [
        Prompt(
            messages=(Message(role="user", content=" ".join(rng.choices(words, k=options.words))),),
            samples=tuple(
                Sample(temperature=heat, seed=3 * number + place)
                for place, heat in enumerate(TEMPERATURES)
            ),
            max_tokens=options.output_tokens,
        )
        for number in range(options.prompts + WARM)
    ]


def ceiling(options: argparse.Namespace) -> dict[str, float]:
    import vllm

    from rlvr_ray.generation.engines.vllm.startup import environment
    from rlvr_ray.generation.engines.vllm.startup import options as engine_options

    engine = settings_of(options, Path()).generator
    os.environ.update(environment(engine))
    llm: Any = vllm.LLM(**engine_options(engine, str(options.model)))
    tokenizer = llm.get_tokenizer()
    requests = []
    for prompt in prompts_of(options):
        chat = [{"role": m.role, "content": m.content} for m in prompt.messages]
        text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        tokens = tokenizer.encode(text, add_special_tokens=False)
        requests += [
            (
                {"prompt_token_ids": list(tokens)},
                vllm.SamplingParams(
                    temperature=sample.temperature, seed=sample.seed, max_tokens=prompt.max_tokens
                ),
            )
            for sample in prompt.samples
        ]
    warm, counted = requests[: 3 * WARM], requests[3 * WARM :]
    llm.generate([p for p, _ in warm], [s for _, s in warm], use_tqdm=False)
    started = time.perf_counter()
    outputs = llm.generate([p for p, _ in counted], [s for _, s in counted], use_tqdm=False)
    return {
        "seconds": time.perf_counter() - started,
        "prompt_tokens": sum(len(o.prompt_token_ids) for o in outputs),
        "cached_tokens": sum(o.num_cached_tokens or 0 for o in outputs),
        "output_tokens": sum(len(o.outputs[0].token_ids) for o in outputs),
    }


async def through_generator(options: argparse.Namespace) -> dict[str, float]:
    generator = handles.generator()
    prompts = prompts_of(options)
    await generator.generate(prompts[:WARM])
    counted = prompts[WARM:]
    started = time.perf_counter()
    answers = await asyncio.gather(
        *(generator.generate(counted[at : at + CALL]) for at in range(0, len(counted), CALL))
    )
    seconds = time.perf_counter() - started
    usages = []
    for answer in (each for call in answers for each in call):
        assert isinstance(answer, list), answer
        usages += [completion.usage for completion in answer]
    return {
        "seconds": seconds,
        "prompt_tokens": sum(usage.prompt_tokens for usage in usages),
        "cached_tokens": sum(usage.cached_tokens for usage in usages),
        "output_tokens": sum(usage.completion_tokens for usage in usages),
    }


def ask_to_pair(options: argparse.Namespace, url: str, settings: Settings) -> None:
    with Client(url) as client:
        client.ingest(demo.descriptions())
        first = client.ask("Is it warm?", top_k=1)
        client.wait(first.batch_id)
        started = time.perf_counter()
        repeats = asyncio.run(ask_all(url, options.questions, settings.api.max_asks))
        asked = time.perf_counter() - started
        while (counts := client.stats().batches).get("open", 0):
            time.sleep(0.2)
        seconds = time.perf_counter() - started
    decided = sum(counts.values()) - 1
    assert decided == options.questions, counts
    print(f"batches: {json.dumps(dict(counts))}, {repeats} asks repeated for want of room")
    print(
        f"ask to pair: {decided} batches of 3 in {seconds:.1f} s (asked within {asked:.1f} s), "
        f"{3600 * decided / seconds:,.0f} an hour"
    )


async def ask_all(url: str, count: int, at_once: int) -> int:
    """Ask, so many at once; return how many asks were refused for want of room and repeated."""
    free = asyncio.Semaphore(at_once)
    refused = 0
    limits = httpx.Limits(max_connections=at_once)
    async with httpx.AsyncClient(base_url=url, timeout=3600, limits=limits) as http:

        async def ask(number: int) -> None:
            nonlocal refused
            topic = demo.QUESTIONS[number % len(demo.QUESTIONS)]
            body = {"question": f"{topic} ({number})", "seed": number}
            async with free:
                while (reply := await http.post("/ask/multi-candidate", json=body)).is_error:
                    assert reply.status_code == httpx.codes.SERVICE_UNAVAILABLE, reply.text
                    refused += 1
                    await asyncio.sleep(0.2)

        await asyncio.gather(*(ask(number) for number in range(count)))
    return refused


@contextlib.contextmanager
def gpu_busy() -> Iterator[list[float]]:
    """The GPU's busy share in percent, each second while the block runs; empty without NVIDIA's."""
    busy: list[float] = []
    tool = shutil.which("nvidia-smi")
    if tool is None:
        yield busy
        return
    query = [tool, "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-l", "1"]
    with subprocess.Popen(query, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield busy
        finally:
            process.terminate()
            busy += [float(line) for line in process.communicate()[0].split()]


def show(name: str, found: dict[str, float]) -> None:
    print(
        f"{name}: {found['output_tokens'] / found['seconds']:,.0f} output tokens/s "
        f"({found['output_tokens']:,.0f} in {found['seconds']:.2f} s; prompts "
        f"{found['prompt_tokens']:,.0f} tokens, {found['cached_tokens']:,.0f} of them cached)",
        flush=True,
    )


if __name__ == "__main__":
    main()
