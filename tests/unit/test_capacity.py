"""The plan is held against what the pipeline asks, and against arithmetic by hand."""

import asyncio
import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any, get_args
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from rlvr_ray import judging
from rlvr_ray.adapters.llamacpp import LlamaCpp
from rlvr_ray.cli import app
from rlvr_ray.core import capacity, ids
from rlvr_ray.core.capacity import Asked, Cluster, Verifier, Workload
from rlvr_ray.core.records import Kind
from rlvr_ray.core.text import split_statements
from rlvr_ray.errors import InputError
from rlvr_ray.pipeline import Ask, Pipeline
from rlvr_ray.ports import Claim, Prompt
from rlvr_ray.settings import GeneratorSettings, load
from tests.builders import context
from tests.fakes import (
    FakeEmbedder,
    FakeGenerator,
    FakeRecorder,
    FakeRetriever,
    Reply,
    completion,
)

PAGE = Path(__file__).parents[2] / "docs/capacity.md"
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
    said = prompt.messages[0].content.rpartition("\ninput: ")[2]
    (about,) = [answer for answer in answers if split_statements(answer)[0] in said]
    if kind == "reverse questions":
        (question,) = [q for q, its, _ in MATERIAL if about in its]
        return [json.dumps({"question": question, "noncommittal": 0})] * len(prompt.samples)
    statements = split_statements(about)
    if kind == "statements":
        return [json.dumps({"statements": statements})]
    verdicts = [{"statement": s, "reason": REASON, "verdict": 1} for s in statements]
    return [json.dumps({"statements": verdicts})]


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
    """All verifiers as the system has them, the check included."""
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
    await judging.build_panel(settings, judge, FakeEmbedder()).verify(claims)
    return judge


async def measure() -> dict[str, Measured]:
    """By verifier, and ``generator``."""
    engine = LlamaCpp(GeneratorSettings())

    async def size(text: str) -> int:
        reply = await engine._post("/tokenize", {"content": text, "add_special": False})
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


class TestTokens:
    def test_samples_share_a_prefill(self) -> None:
        load = Workload(
            candidates=4, top_k=2, passage_tokens=94, question_tokens=10, template_tokens=57
        )
        asked = capacity.generating(load)
        # Two passages of 100 tokens, the question, and the template but for its first 47.
        assert (asked.prefill, asked.cached, asked.decode) == (220, 4 * 267 - 220, 240)

    def test_without_a_prefix_cache_every_sample_reads_its_prompt(self) -> None:
        for verifier in VERIFIERS:
            load = Workload(verifier=verifier)
            bare = replace(load, prefix_cache=False)
            pairs = zip(asked_all(load), asked_all(bare), strict=True)
            for with_cache, without in pairs:
                assert without.cached == 0
                assert without.prefill == pytest.approx(with_cache.prefill + with_cache.cached)
                assert without.decode == with_cache.decode

    def test_passages_are_read_once_for_all_verdicts(self) -> None:
        few, many = (Workload(verifier="logprob", candidates=n) for n in (2, 8))
        longer = [replace(load, passage_tokens=load.passage_tokens + 100) for load in (few, many)]
        for short, long in zip((few, many), longer, strict=True):
            extra = sum(a.prefill for a in capacity.judging(long)) - sum(
                a.prefill for a in capacity.judging(short)
            )
            assert extra == pytest.approx(100 * short.top_k)

    def test_the_judge_may_be_said_to_write_so_much(self) -> None:
        load = Workload(verifier="ragas", judge_tokens=200)
        assert {asked.written for asked in capacity.judging(load)} == {200}


def asked_all(load: Workload) -> list[Asked]:
    return [capacity.generating(load), *capacity.judging(load)]


def simple(**changes: Any) -> tuple[Workload, Cluster]:
    """A question that takes 0.3 s of a GPU to generate and 0.6 s to judge."""
    load = Workload()
    generate, judge = asked_all(load)
    fields: dict[str, Any] = {
        "judge": "own",
        "gpus": 9,
        "aggregator_rate": 1e6,
        "prefill_rate": generate.prefill / 0.1,
        "decode_rate": generate.decode / 0.2,
        "judge_prefill_rate": judge.prefill / 0.4,
        "judge_decode_rate": judge.decode / 0.2,
    }
    return load, Cluster(**fields | changes)


class TestCluster:
    def test_gpu_seconds_are_prefill_and_decode(self) -> None:
        assert capacity.gpu_seconds(*simple()) == pytest.approx((0.3, 0.6))

    def test_a_judge_without_rates_has_the_generators(self) -> None:
        load = Workload()
        cluster = Cluster(prefill_rate=1000, decode_rate=100)
        same = Cluster(
            judge="own",
            prefill_rate=1000,
            decode_rate=100,
            judge_prefill_rate=1000,
            judge_decode_rate=100,
        )
        assert capacity.gpu_seconds(load, cluster) == capacity.gpu_seconds(load, same)

    @pytest.mark.parametrize(
        ("changes", "bottleneck", "rate", "judging"),
        [
            ({}, "generator GPUs", 10, 6),  # both sides take 10
            ({"judge_gpus": 3}, "judge GPUs", 5, 3),
            ({"judge_gpus": 7}, "generator GPUs", 2 / 0.3, 7),
            ({"judge": "share", "judge_share": 1 / 3}, "judge GPUs", 5, 3),
            ({"judge": "share", "judge_share": 8 / 9}, "generator GPUs", 1 / 0.3, 8),
            ({"aggregator_rate": 2.5}, "aggregator", 2.5, 6),
            ({"cpus": 6, "ingress_cpu_s": 0.5, "verifier_cpu_s": 1}, "verifier CPUs", 4, 6),
            ({"cpus": 6, "ingress_cpu_s": 1, "verifier_cpu_s": 0.5}, "ingress CPUs", 4, 6),
            ({"ingress_cpu_s": 0, "verifier_cpu_s": 20}, "verifier CPUs", 8 * 9 / 20, 6),
        ],
    )
    def test_the_part_that_takes_least_decides(
        self, changes: dict[str, Any], bottleneck: str, rate: float, judging: float
    ) -> None:
        point = capacity.chosen(*simple(**changes))
        assert point.rate == pytest.approx(rate)
        assert point.judge_gpus == pytest.approx(judging)
        if changes:  # without any, both kinds of GPUs take the same
            assert point.bottleneck == bottleneck

    def test_one_model_for_both_divides_its_time(self) -> None:
        none = {"judge_prefill_rate": None, "judge_decode_rate": None}
        load, cluster = simple(judge="generator", **none)
        point = capacity.chosen(load, cluster)
        generate, judge = capacity.gpu_seconds(load, cluster)
        assert point.bottleneck == "GPUs"
        assert point.rate == pytest.approx(9 / (generate + judge))
        assert point.judge_gpus == pytest.approx(9 * judge / (generate + judge))

    @given(gpus=st.integers(2, 300), slow=st.floats(1, 1e5), fast=st.floats(1, 1e5))
    def test_no_other_split_is_better(self, gpus: int, slow: float, fast: float) -> None:
        load = Workload(verifier="ragas")
        cluster = Cluster(gpus=gpus, judge="own", decode_rate=slow, judge_decode_rate=fast)
        generate, judge = capacity.gpu_seconds(load, cluster)

        def gpu_rate(judging: float) -> float:
            return min((gpus - judging) / generate, judging / judge)

        chosen = capacity.chosen(load, cluster).judge_gpus
        best = max(gpu_rate(judging) for judging in range(1, gpus))
        assert gpu_rate(chosen) == pytest.approx(best)
        assert chosen == int(chosen)

    def test_growth_goes_past_the_cluster_until_something_else_holds_up(self) -> None:
        load, cluster = simple(gpus=6, aggregator_rate=10)
        points = capacity.growth(load, cluster)
        assert [point.gpus for point in points] == [2, 4, 6, 8, 16]
        assert [point.rate for point in points] == pytest.approx(
            [1 / 0.6, 10 / 3, 20 / 3, 25 / 3, 10]
        )
        assert [point.bottleneck for point in points][-2:] == ["judge GPUs", "aggregator"]
        first, *_ = capacity.growth(load, replace(cluster, judge="share"))
        assert first.gpus == 1


def plan(*options: str) -> Result:
    return CliRunner().invoke(app, ["plan", *options], catch_exceptions=False)


def said(*options: str) -> dict[str, Any]:
    done = plan("--json", *options)
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


class TestCommand:
    def test_the_page_shows_what_it_says(self) -> None:
        done = plan("--gpus", "8", "--questions", "1e6", "--verifier", "logprob")
        assert done.exit_code == 0
        assert f"```\n{done.stdout}```" in PAGE.read_text("utf-8"), done.stdout

    def test_json_holds_the_same_plan(self) -> None:
        found = said("--gpus", "8", "--questions", "2e6", "--judge", "own", "--judge-gpus", "3")
        cluster = Cluster(judge="own", judge_gpus=3)
        point = capacity.chosen(Workload(), cluster)
        assert found["plan"]["limits"] == point.limits
        assert found["plan"]["judge_gpus"] == 3
        hours = found["plan"]["hours_for_all"]
        assert hours * found["plan"]["questions_per_hour"] == pytest.approx(2e6)
        best = capacity.point(Workload(), cluster, 8).judge_gpus
        assert found["best_judge_gpus"] == best
        assert math.isclose(found["busy_cores"]["ingress"], point.rate * 0.06)
        assert found["plan"]["aggregator_share"] == pytest.approx(point.rate / 500)
        assert [at["gpus"] for at in found["growth"]] == [2, 4, 8, 16, 32]

    def test_what_was_not_measured_is_said(self) -> None:
        every = "Assumed, not measured: --prefill-rate, --decode-rate, --cpus."
        assert every in plan().stdout
        rate = ("--prefill-rate", "1e4", "--cpus", "16")
        assert "Assumed, not measured: --decode-rate." in plan(*rate).stdout
        assert "Assumed" not in plan(*rate, "--decode-rate", "2000").stdout
        assert said(*rate, "--decode-rate", "2000")["assumed"] == []
        assert said()["assumed"] == ["prefill_rate", "decode_rate", "cpus"]

    @pytest.mark.parametrize("judge", ["generator", "share", "own"])
    @pytest.mark.parametrize("verifier", VERIFIERS)
    def test_every_kind_of_plan_can_be_read(self, verifier: str, judge: str) -> None:
        done = plan("--verifier", verifier, "--judge", judge, "--questions", "10")
        assert done.exit_code == 0
        assert "bottleneck" in done.stdout
        assert re.search(r"^10 questions +\d[\d.]* s$", done.stdout, re.MULTILINE)

    @pytest.mark.parametrize(
        ("options", "problem"),
        [
            ("--gpus 0", "gpus must be 1 or more"),
            ("--gpus 1e300", "1e+12 at most"),
            ("--gpus 2.5", "gpus must be a whole number"),
            ("--questions 1.5", "questions must be a whole number"),
            ("--questions inf", "questions must be a whole number"),
            ("--questions nan", "questions must be a whole number"),
            ("--answer-tokens -1", "answer tokens must be 1 or more"),
            ("--passage-tokens nan", "passage tokens must be 0 or more"),
            ("--decode-rate 0", "decode rate must be above 0"),
            ("--cpus -4", "cpus must be above 0"),
            ("--judge own --gpus 1", "gpus must be more than the judge's 1"),
            ("--judge own --judge-gpus 8", "gpus must be more than the judge's 8"),
            ("--judge-gpus 2", "goes with judge = own"),
            ("--judge-share 0.5", "goes with judge = share"),
            ("--judge share --judge-share 1", "must be below 1"),
            ("--judge-decode-rate 100", "go with judge = share or own"),
        ],
    )
    def test_what_cannot_be_is_refused_in_one_line(self, options: str, problem: str) -> None:
        done = plan(*options.split())
        assert (done.exit_code, done.stdout) == (2, "")
        assert problem in done.stderr
        assert done.stderr.startswith("rlvr: ")
        assert done.stderr.count("\n") == 1

    @pytest.mark.parametrize("options", ["--gpus many", "--verifier vibes", "--judge nobody"])
    def test_what_cannot_be_read_is_refused(self, options: str) -> None:
        assert plan(*options.split()).exit_code == 2


@pytest.mark.parametrize("kind", [Workload, Cluster])
def test_unknown_choices_are_refused_without_the_command_too(kind: Any) -> None:
    name = "verifier" if kind is Workload else "judge"
    with pytest.raises(ValueError, match=f"{name} must be .*; not vibes"):
        kind(**{name: "vibes"})
