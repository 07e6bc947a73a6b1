"""What a plan counts is what pipeline and verifiers really ask, in tokens of a real model."""

import asyncio
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import get_args
from uuid import uuid4

import pytest

from rlvr_ray.bulk import capacity
from rlvr_ray.bulk.capacity import Asked, Verifier, Workload
from rlvr_ray.core import ids
from rlvr_ray.core.errors import InputError
from rlvr_ray.core.records import Kind
from rlvr_ray.core.statements import split_statements
from rlvr_ray.generation.engines.llamacpp import LlamaCpp
from rlvr_ray.generation.generator import Prompt
from rlvr_ray.pipeline.ask import Ask, Pipeline
from rlvr_ray.settings import GeneratorSettings, load
from rlvr_ray.verification import factory
from rlvr_ray.verification.verifier import Claim
from tests.builders import context
from tests.fakes import (
    FakeEmbedder,
    FakeGenerator,
    FakeRecorder,
    FakeRetriever,
    Reply,
    completion,
)

pytestmark = pytest.mark.integration


VERIFIERS: tuple[Verifier, ...] = get_args(Verifier)
REASON = "The context says this in other words, so that it can be inferred."
#: Questions, the answers to each, its passages.
MATERIAL = [
    (
        "When did the Eiffel Tower in Paris open to the public?",
        [
            "It opened to visitors on 15 May 1889. It is in Paris, and 330 metres high.",
            "The tower was opened in May 1889. It was built by the company of Gustave Eiffel.",
            "Visitors came to the tower from 1889 on. Most of them climbed the stairs at first.",
        ],
        [
            "The Eiffel Tower is a lattice tower in Paris. It was opened on 15 May 1889. " * 4,
            "Gustave Eiffel's company built the tower from 1887 to 1889 for a world's fair. " * 3,
        ],
    ),
    (
        "How does a compiler find out which variables a loop changes?",
        [
            "A compiler walks over the loop's body. It notes each variable that is assigned to.",
            "It solves equations of data flow. Each block has a set of definitions.",
            "The body of the loop is read first. All its assignments are put into a set.",
        ],
        [
            "Compilers walk over the body of a loop and note the variables it assigns to. " * 3,
            "Data flow analysis works on blocks, which generate and kill definitions. " * 4,
        ],
    ),
]


@dataclass
class Seen:
    """What was really asked by one kind of prompt, in tokens of the embedded model."""

    prompts: list[Prompt] = field(default_factory=list)
    tokens: list[list[int]] = field(default_factory=list)  #: of each prompt
    written: list[int] = field(default_factory=list)  #: of each completion


@dataclass
class Measured:
    """The question that is planned, and what was asked for it and for the one before it."""

    load: Workload
    before: dict[str, Seen]
    seen: dict[str, Seen]


def kind_of(prompt: Prompt) -> str:
    """The name that the plan has for it."""
    if prompt.json_schema is None:
        if prompt.max_tokens > 1:
            return "answers"
        about = "\n\nStatement: " in prompt.messages[0].content
        return "verdict tokens" if about else "relevancy tokens"
    schema = json.dumps(prompt.json_schema)
    if '"noncommittal"' in schema:
        return "reverse questions"
    return "verdicts in words" if '"verdict"' in schema else "statements"


def answers_of(answers: Sequence[str], prompt: Prompt) -> list[Reply]:
    """A judge that follows RAGAS's schemas; ``answers`` are those it may be asked about."""
    kind = kind_of(prompt)
    if kind.endswith("tokens"):
        return [completion("1", logprobs=[{"1": -0.1, "0": -3.0}])]
    if kind == "verdicts in words":
        (statement,) = re.findall(r'"enum": \["(.*?)"\]', json.dumps(prompt.json_schema))
        verdict = {"statement": statement, "reason": REASON, "verdict": 1}
        return [json.dumps({"statements": [verdict]})]
    said = prompt.messages[0].content.rpartition("\ninput: ")[2]
    (about,) = [answer for answer in answers if split_statements(answer)[0] in said]
    if kind == "reverse questions":
        (question,) = [q for q, its, _ in MATERIAL if about in its]
        return [json.dumps({"question": question, "noncommittal": 0})] * len(prompt.samples)
    return [json.dumps({"statements": split_statements(about)})]


async def generated(question: str, answers: list[str], passages: list[str]) -> FakeGenerator:
    generator = FakeGenerator(lambda prompt: answers)
    found = [context(text, 0.8, chunk_index=n) for n, text in enumerate(passages)]
    ask = Ask(
        batch_id=uuid4(),
        correlation_id="one",
        question=question,
        kind=Kind.PREFERENCE,
        num_candidates=len(answers),
        temperatures=(0.3, 0.7, 0.9),
        top_k=len(passages),
    )
    await Pipeline(FakeRetriever(found), generator, FakeRecorder(), max_tokens=99).ask(ask)
    return generator


async def judged(
    verifier: str, question: str, answers: list[str], passages: list[str]
) -> FakeGenerator:
    """All verifiers as the system has them, controls included."""
    judge = FakeGenerator(lambda prompt: answers_of(answers, prompt))
    settings = load(verification={"verifiers": [verifier]})
    claims = [
        Claim(
            answer_event_id=ids.derive("claim", answer),
            question=question,
            answer=answer,
            contexts=tuple(passages),
        )
        for answer in answers
    ]
    await factory.build_panel(settings, judge, FakeEmbedder()).verify(claims)
    return judge


async def measure() -> dict[str, Measured]:
    """By verifier, and ``generator``."""
    engine = LlamaCpp(GeneratorSettings())

    async def size(text: str) -> int:
        reply = await engine._server.post("/tokenize", {"content": text, "add_special": False})
        return len(reply["tokens"])

    async def sizes(texts: Iterable[str]) -> float:
        return fmean([await size(text) for text in texts])

    async def seen(generator: FakeGenerator) -> dict[str, Seen]:
        kinds: dict[str, Seen] = {}
        for prompt in generator.prompts:
            result = kinds.setdefault(kind_of(prompt), Seen())
            result.prompts.append(prompt)
            result.tokens.append(await engine._tokens(prompt.messages))
            replies = generator.script(prompt)
            assert not isinstance(replies, InputError)
            for reply in replies:
                text = reply if isinstance(reply, str) else reply.text
                result.written.append(await size(text))
        return kinds

    try:
        question, answers, passages = MATERIAL[1]
        load = Workload(
            candidates=len(answers),
            top_k=len(passages),
            passage_tokens=await sizes(passages),
            question_tokens=await size(question),
            answer_tokens=await sizes(answers),
            statements=fmean([len(split_statements(answer)) for answer in answers]),
            reason_tokens=await size(REASON),
        )
        found = {
            "generator": Measured(load, *[await seen(await generated(*one)) for one in MATERIAL])
        }
        for name in VERIFIERS:
            both = [await seen(await judged(name, *one)) for one in MATERIAL]
            found[name] = Measured(replace(load, verifier=name), *both)
        return found
    finally:
        await engine.close()


@pytest.fixture(scope="module")
def measured() -> dict[str, Measured]:
    return asyncio.run(measure())


def evaluated(before: Seen, seen: Seen) -> int:
    """Prompt tokens that no earlier prompt began with: what an endless prefix cache leaves."""
    known, total = [*before.tokens], 0
    for tokens in seen.tokens:
        total += len(tokens) - max(common(tokens, other) for other in known)
        known.append(tokens)
    return total


def common(one: list[int], two: list[int]) -> int:
    differ = (n for n, (a, b) in enumerate(zip(one, two, strict=False)) if a != b)
    return next(differ, min(len(one), len(two)))


def asked_of(name: str, load: Workload) -> tuple[Asked, ...]:
    return (capacity.generating(load),) if name == "generator" else capacity.judging(load)


@pytest.mark.parametrize("name", ["generator", *VERIFIERS])
class TestWhatThePipelineAsks:
    def test_prompts_and_samples_are_as_many(
        self, name: str, measured: dict[str, Measured]
    ) -> None:
        it = measured[name]
        planned = {a.name: (a.calls, a.calls * a.samples) for a in asked_of(name, it.load)}
        assert planned == {
            kind: (len(seen.prompts), sum(len(prompt.samples) for prompt in seen.prompts))
            for kind, seen in it.seen.items()
        }

    def test_prompt_tokens_agree(self, name: str, measured: dict[str, Measured]) -> None:
        it = measured[name]
        for asked in asked_of(name, it.load):
            seen = it.seen[asked.name]
            pairs = zip(seen.prompts, seen.tokens, strict=True)
            real = sum(len(prompt.samples) * len(tokens) for prompt, tokens in pairs)
            assert asked.prefill + asked.cached == pytest.approx(real, rel=0.02), asked.name

    def test_what_a_prefix_cache_leaves_agrees(
        self, name: str, measured: dict[str, Measured]
    ) -> None:
        it = measured[name]
        for asked in asked_of(name, it.load):
            real = evaluated(it.before[asked.name], it.seen[asked.name])
            assert asked.prefill == pytest.approx(real, rel=0.05), asked.name

    def test_what_is_written_agrees(self, name: str, measured: dict[str, Measured]) -> None:
        it = measured[name]
        for asked in asked_of(name, it.load):
            if asked.name.endswith("tokens"):
                assert {prompt.max_tokens for prompt in it.seen[asked.name].prompts} == {1}
                assert asked.written == 1
            else:
                real = sum(it.seen[asked.name].written)
                assert asked.decode == pytest.approx(real, rel=0.05), asked.name
