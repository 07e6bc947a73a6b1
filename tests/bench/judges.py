"""What `logprob` saves against stock RAGAS and how well it repeats: one engine, the same answers.

    python tests/bench/judges.py --questions 4

The embedded model answers the demo's questions over the demo's documents, three answers each. Then
each way to judge goes over the same answers with the same model, one answer at a time: RAGAS as it
comes (its prompts, its schemas, its limit of 1,024 tokens), and `logprob`, twice. Tokens are
counted at the engine, those of failed judgements too.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from ragas.llms.base import InstructorBaseRagasLLM
from ragas.metrics.collections import AnswerRelevancy, Faithfulness

from rlvr_ray.cli import demo
from rlvr_ray.core import ids
from rlvr_ray.core.errors import InputError
from rlvr_ray.documents.minilm import MiniLM
from rlvr_ray.documents.qdrant.store import QdrantRetriever
from rlvr_ray.documents.retriever import Query
from rlvr_ray.generation.engines.llamacpp import LlamaCpp
from rlvr_ray.generation.generator import Completion, Generator, Prompt, Sample
from rlvr_ray.generation.prompts import Message, rag_messages
from rlvr_ray.settings import GeneratorSettings, RetrievalSettings
from rlvr_ray.verification.calibration.measures import agreement
from rlvr_ray.verification.verifier import Claim, VerifierContext
from rlvr_ray.verification.verifiers.ragas import logprob
from rlvr_ray.verification.verifiers.ragas.metrics import _Embeddings

#: RAGAS's own, of ``ragas.llms.llm_factory``.
MAX_TOKENS, TEMPERATURE = 1024, 0.01
Score = Callable[[Claim], Awaitable[float | None]]


class Counter:
    """A Generator that counts what the one inside generates."""

    def __init__(self, inner: Generator) -> None:
        self._inner = inner
        self.tokens = self.cut = 0

    async def generate(self, prompts: Sequence[Prompt]) -> list[list[Completion] | InputError]:
        results = await self._inner.generate(prompts)
        for prompt, result in zip(prompts, results, strict=True):
            assert not isinstance(result, InputError), result
            self.tokens += sum(completion.usage.completion_tokens for completion in result)
            long = [c for c in result if c.finish_reason == "length"]
            self.cut += len(long) if prompt.max_tokens > 1 else 0
        return results


class Stock(InstructorBaseRagasLLM):
    """RAGAS's judge as it would be without us: one completion a call, RAGAS's JSON schema."""

    def __init__(self, generator: Generator) -> None:
        self._generator = generator

    def generate(self, prompt: str, response_model: Any) -> Any:
        raise NotImplementedError

    async def agenerate(self, prompt: str, response_model: Any) -> Any:
        (result,) = await self._generator.generate(
            [
                Prompt(
                    messages=(Message(role="user", content=prompt),),
                    samples=(Sample(temperature=TEMPERATURE, seed=0),),
                    max_tokens=MAX_TOKENS,
                    json_schema=response_model.model_json_schema(),
                )
            ]
        )
        assert not isinstance(result, InputError), result
        return response_model.model_validate_json(result[0].text)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=4)
    options = parser.parse_args()
    engine = LlamaCpp(GeneratorSettings())
    embedder = MiniLM()
    claims = await answers(engine, embedder, demo.QUESTIONS[: options.questions])
    print(f"{len(claims)} answers to {options.questions} questions", flush=True)
    counter = Counter(engine)

    async def stock(claim: Claim) -> float | None:
        llm = Stock(counter)
        try:
            one = await Faithfulness(llm).ascore(claim.question, claim.answer, list(claim.contexts))
            other = await AnswerRelevancy(llm, _Embeddings(embedder)).ascore(
                claim.question, claim.answer
            )
        except ValueError:
            return None
        return float(one.value + other.value) / 2

    def weighing(statements: str) -> Score:
        context = VerifierContext(
            judge=counter, engine="llamacpp", embedder=embedder, max_tokens=512
        )
        verifier = logprob.create(context, {"statements": statements})

        async def weighed(claim: Claim) -> float | None:
            (result,) = await verifier.verify([claim])
            return getattr(result, "score", None)

        return weighed

    one, other = [
        await measure(f"logprob, run {run}", counter, claims, weighing("sentences"))
        for run in (1, 2)
    ]
    print(f"  two runs: {agreement(list(zip(one[0], other[0], strict=True)))}", flush=True)
    _, base = await measure("stock RAGAS", counter, claims, stock)
    print(f"  generated tokens: {base / one[1]:.0f} times as many as logprob", flush=True)
    await measure("logprob, statements: ragas", counter, claims, weighing("ragas"))
    await engine.close()


async def measure(
    title: str, counter: Counter, claims: Sequence[Claim], score: Score
) -> tuple[list[float | None], int]:
    counter.tokens = counter.cut = 0
    started = time.perf_counter()
    scores = [await score(claim) for claim in claims]
    seconds = (time.perf_counter() - started) / len(claims)
    scored = sum(value is not None for value in scores)
    print(
        f"{title}: {counter.tokens / len(claims):.1f} generated tokens and {seconds:.1f} s an "
        f"answer; {counter.cut} completions cut, {scored} of {len(claims)} answers scored",
        flush=True,
    )
    return scores, counter.tokens


async def answers(engine: LlamaCpp, embedder: MiniLM, questions: Sequence[str]) -> list[Claim]:
    claims = []
    with tempfile.TemporaryDirectory() as folder:
        store = QdrantRetriever(RetrievalSettings(), Path(folder), embedder)
        await store.ingest(demo.descriptions())
        found = await store.search([Query(text=q, top_k=demo.TOP_K) for q in questions])
        store.close()
    for question, contexts in zip(questions, found, strict=True):
        samples = tuple(
            Sample(temperature=temperature, seed=number)
            for number, temperature in enumerate((0.3, 0.7, 0.9))
        )
        prompt = Prompt(messages=rag_messages(question, contexts), samples=samples, max_tokens=128)
        (drawn,) = await engine.generate([prompt])
        assert not isinstance(drawn, InputError), drawn
        claims += [
            Claim(
                answer_event_id=event_id(question, number),
                question=question,
                answer=completion.text,
                contexts=tuple(context.content for context in contexts),
            )
            for number, completion in enumerate(drawn)
            if completion.text
        ]
    return claims


def event_id(question: str, number: int) -> UUID:
    return ids.derive("bench", question, number)


if __name__ == "__main__":
    asyncio.run(main())
