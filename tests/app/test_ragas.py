"""RAGAS itself over a judge that says what a test wants: every answer is a score or a reason."""

import asyncio
import json
import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal
from uuid import UUID

import pytest

from rlvr_ray.adapters.ragas import RagasVerifier
from rlvr_ray.core import ids
from rlvr_ray.core.records import Usage, Verification
from rlvr_ray.errors import ContextOverflow, InputError, JudgeError, Overloaded, Unavailable
from rlvr_ray.ports import Claim, Completion, Prompt
from rlvr_ray.settings import VerificationSettings
from tests.fakes import FakeEmbedder, FakeGenerator, Reply, completion

QUESTION = "What is Ray?"
ANSWER = "Ray scales Python programs. It runs on clusters. It was written in Berkeley."
CONTEXT = "Ray scales Python programs and runs on clusters."
STATEMENTS = ["Ray scales Python programs.", "Ray runs on clusters.", "Ray was born in Berkeley."]
Kind = Literal["questions", "statements", "verdicts"]
Mode = Literal["grounded", "llm"]


def kind_of(prompt: Prompt) -> Kind:
    """Which of RAGAS's three prompts this is."""
    assert prompt.json_schema is not None, "a judge's answer always has a schema"
    schema = json.dumps(prompt.json_schema)
    if '"verdict"' in schema:
        return "verdicts"
    return "questions" if '"noncommittal"' in schema else "statements"


class Script:
    """A judge's answers; ``replies`` by kind of prompt, one list for each prompt of that kind.

    What is not scripted is a sound answer: three statements of which two are supported, three
    reverse questions.
    """

    def __init__(self, **replies: Sequence[Sequence[Reply] | InputError]) -> None:
        self.replies = {kind: list(scripted) for kind, scripted in replies.items()}
        self.verdicts = (1, 1, 0)
        self.prompts: dict[Kind, list[Prompt]] = {"questions": [], "statements": [], "verdicts": []}

    def __call__(self, prompt: Prompt) -> Sequence[Reply] | InputError:
        kind = kind_of(prompt)
        self.prompts[kind].append(prompt)
        if scripted := self.replies.get(kind):
            return scripted.pop(0)
        if kind == "questions":
            return questions(*[QUESTION] * 3)
        if kind == "statements":
            return [json.dumps({"statements": STATEMENTS})]
        return [verdicts(*self.verdicts)]


def questions(*texts: str, noncommittal: Sequence[Any] = (0, 0, 0)) -> list[Reply]:
    return [
        json.dumps({"question": text, "noncommittal": flag})
        for text, flag in zip(texts, noncommittal, strict=True)
    ]


def verdicts(*values: Any) -> str:
    return json.dumps(
        {
            "statements": [
                {"statement": f"statement {n}", "reason": f"reason {n}", "verdict": value}
                for n, value in enumerate(values)
            ]
        }
    )


def claim(answer: str = ANSWER, name: str = "one", contexts: Sequence[str] = (CONTEXT,)) -> Claim:
    return Claim(
        answer_event_id=ids.derive("claim", name),
        question=QUESTION,
        answer=answer,
        contexts=tuple(contexts),
    )


async def judge(
    script: Script,
    *claims: Claim,
    mode: Mode = "llm",
    embedder: FakeEmbedder | None = None,
) -> list[Verification | JudgeError]:
    settings = VerificationSettings(faithfulness=mode, max_tokens=77)
    verifier = RagasVerifier(FakeGenerator(script), embedder or FakeEmbedder(), settings)
    async with asyncio.timeout(60):
        results = await verifier.verify(claims or [claim()])
    assert len(results) == len(claims or [claim()])
    return results


async def scored(script: Script | None = None, *claims: Claim, **options: Any) -> Verification:
    """The verification of the only claim."""
    (result,) = await judge(script or Script(), *claims, **options)
    assert isinstance(result, Verification), repr(result)
    return result


async def refused(script: Script, *claims: Claim, **options: Any) -> str:
    """The reason why the only claim has no score."""
    (result,) = await judge(script, *claims, **options)
    assert isinstance(result, JudgeError), (
        f"a number came out: faithfulness {result.faithfulness}, relevancy {result.relevancy}"
    )
    return str(result)


class TestFaithfulness:
    async def test_two_of_three_supported_statements_are_two_thirds(self) -> None:
        result = await scored(mode="llm")
        assert result.faithfulness == 0.666667
        assert [s.text for s in result.statements] == STATEMENTS
        assert [s.verdict for s in result.statements] == [1, 1, 0]
        assert [s.reason for s in result.statements] == ["reason 0", "reason 1", "reason 2"]

    @pytest.mark.parametrize(("values", "score"), [((0, 0, 0), 0.0), ((1, 1, 1), 1.0)])
    async def test_none_and_all(self, values: tuple[int, ...], score: float) -> None:
        script = Script()
        script.verdicts = values  # type: ignore[assignment]
        assert (await scored(script)).faithfulness == score

    async def test_the_judge_reads_answer_and_contexts(self) -> None:
        script = Script()
        await scored(script, claim(contexts=("First passage.", "Second passage.")))
        (statements,), (verdict,) = script.prompts["statements"], script.prompts["verdicts"]
        assert ANSWER in statements.messages[-1].content
        assert "First passage." in verdict.messages[-1].content
        assert "Second passage." in verdict.messages[-1].content
        for prompt in (statements, verdict):
            assert [s.temperature for s in prompt.samples] == [0.0]
            assert prompt.max_tokens == 77

    async def test_grounded_needs_no_judge_for_it(self) -> None:
        script = Script()
        result = await scored(script, mode="grounded")
        assert (script.prompts["statements"], script.prompts["verdicts"]) == ([], [])
        assert result.judge.faithfulness == "grounded"
        assert len(result.statements) == 3
        assert all(0 <= s.verdict <= 1 and s.reason for s in result.statements)
        mean = math.fsum(s.verdict for s in result.statements) / 3
        assert result.faithfulness == pytest.approx(mean, abs=1e-5)

    async def test_grounded_tells_support_from_invention(self) -> None:
        good = await scored(None, claim("Ray scales Python programs."), mode="grounded")
        bad = await scored(None, claim("Elephants eat 300 kilos of hay."), mode="grounded")
        assert good.faithfulness > 0.8
        assert bad.faithfulness < 0.2


class TestRelevancy:
    #: Angles between the question and the reverse questions, as vectors.
    VECTORS: ClassVar = {
        QUESTION: (1.0, 0.0),
        "same": (1.0, 0.0),
        "half": (0.5, 0.75**0.5),
        "no": (0, 1.0),
    }

    async def test_it_is_the_mean_cosine_of_the_reverse_questions(self) -> None:
        script = Script(questions=[questions("same", "half", "no")])
        result = await scored(script, embedder=FakeEmbedder(self.VECTORS))
        assert result.relevancy == pytest.approx((1 + 0.5 + 0) / 3, abs=1e-5)
        assert result.reverse_questions == ("same", "half", "no")

    async def test_one_prompt_draws_all_three(self) -> None:
        script = Script()
        await scored(script, mode="grounded")
        (prompt,) = script.prompts["questions"]
        assert len(prompt.samples) == 3
        assert len({sample.seed for sample in prompt.samples}) == 3
        assert all(sample.temperature > 0 for sample in prompt.samples)
        assert all(0 <= sample.seed < 2**31 for sample in prompt.samples)

    async def test_a_negative_cosine_is_zero(self) -> None:
        vectors = {QUESTION: (1.0, 0.0), "opposite": (-1.0, 0.0)}
        script = Script(questions=[questions(*["opposite"] * 3)])
        assert (await scored(script, embedder=FakeEmbedder(vectors))).relevancy == 0.0

    async def test_a_cosine_a_hair_above_one_is_one(self) -> None:
        assert (await scored(Script(questions=[questions(*[QUESTION] * 3)]))).relevancy == 1.0

    @pytest.mark.parametrize(("flags", "score"), [((1, 1, 1), 0.0), ((0, 1, 0), 1.0)])
    async def test_an_evasive_answer_scores_zero(
        self, flags: tuple[int, ...], score: float
    ) -> None:
        script = Script(questions=[questions(*[QUESTION] * 3, noncommittal=flags)])
        assert (await scored(script)).relevancy == score

    @pytest.mark.parametrize("mode", ["grounded", "llm"])
    @pytest.mark.parametrize("answer", [QUESTION, "what  is\nRAY?", f"{QUESTION} {QUESTION}\n"])
    async def test_an_answer_that_repeats_the_question_says_nothing(
        self, answer: str, mode: Mode
    ) -> None:
        script = Script()
        result = await scored(script, claim(answer), mode=mode)
        assert result.relevancy == 0.0
        assert result.reverse_questions == ()
        assert script.prompts["questions"] == []

    async def test_a_copy_of_the_question_is_kept_from_the_judge(self) -> None:
        script = Script()
        await scored(script, claim(f"{QUESTION} It scales Python."), mode="grounded")
        (prompt,) = script.prompts["questions"]
        assert "It scales Python." in prompt.messages[-1].content
        assert QUESTION not in prompt.messages[-1].content


#: Answers that cannot be used, and a word that the reason must have: kind, reply, word.
UNUSABLE: dict[str, tuple[Kind, Sequence[Reply] | InputError, str]] = {
    "no JSON": ("questions", ["Sure! Here it is:"] * 3, "cannot be read"),
    "one of three is no JSON": (
        "questions",
        [*questions("a?", "b?", noncommittal=(0, 0)), "{"],
        "cannot be read",
    ),
    "empty text": ("questions", [""] * 3, "cannot be read"),
    "another object": ("questions", ['{"verdict": 1}'] * 3, "cannot be read"),
    "cut off": ("questions", [completion('{"question": "Wh', "length")] * 3, "cut at 77 tokens"),
    "cut off though it parses": (
        "questions",
        [completion(str(q), "length") for q in questions("a?", "b?", "c?")],
        "cut at 77 tokens",
    ),
    "noncommittal 3": (
        "questions",
        questions("a?", "b?", "c?", noncommittal=(0, 3, 0)),
        "3 as noncommittal",
    ),
    "noncommittal null": (
        "questions",
        questions("a?", "b?", "c?", noncommittal=(0, None, 0)),
        "noncommittal",
    ),
    "no questions": ("questions", questions("", "", ""), "no question"),
    "the prompt does not fit": ("questions", ContextOverflow("900 tokens"), "900 tokens"),
    "statements are no JSON": ("statements", ["1. Ray is."], "cannot be read"),
    "no statements": ("statements", ['{"statements": []}'], "no statement"),
    "statements cut off": ("statements", [completion('{"statements": [', "length")], "cut at 77"),
    "the answer does not fit": ("statements", InputError("too long"), "too long"),
    "verdicts are no JSON": ("verdicts", ["yes, yes, no"], "cannot be read"),
    "verdict 7": ("verdicts", [verdicts(1, 7, 0)], "7 as verdict"),
    "verdict -1": ("verdicts", [verdicts(1, -1, 0)], "-1 as verdict"),
    "verdict null": ("verdicts", [verdicts(1, None, 0)], "verdict"),
    "verdict NaN": ("verdicts", [verdicts(1, math.nan, 0)], "cannot be read"),
    "a verdict is missing": ("verdicts", [verdicts(1, 1)], "2 verdicts for 3 statements"),
    "a verdict too many": ("verdicts", [verdicts(1, 1, 1, 1)], "4 verdicts for 3 statements"),
    "no verdicts": ("verdicts", ['{"statements": []}'], "0 verdicts for 3 statements"),
    "verdicts cut off": ("verdicts", [completion(verdicts(1, 1, 0), "length")], "cut at 77"),
    "contexts do not fit": ("verdicts", ContextOverflow("900 tokens"), "900 tokens"),
}


class TestUnusable:
    @pytest.mark.parametrize("case", UNUSABLE)
    async def test_twice_unusable_is_a_failure_with_a_reason(self, case: str) -> None:
        kind, reply, word = UNUSABLE[case]
        script = Script(**{kind: [reply, reply]})
        assert word in await refused(script, mode="llm")
        assert len(script.prompts[kind]) == 2, "it is asked once more, and no more than that"

    @pytest.mark.parametrize("case", UNUSABLE)
    async def test_once_unusable_is_asked_again_with_another_seed(self, case: str) -> None:
        kind, reply, _ = UNUSABLE[case]
        script = Script(**{kind: [reply]})
        result = await scored(script, mode="llm")
        assert (result.faithfulness, result.relevancy) == (0.666667, 1.0)
        first, second = [{s.seed for s in p.samples} for p in script.prompts[kind]]
        assert not first & second

    @pytest.mark.parametrize(
        "case", [name for name, (k, *_) in UNUSABLE.items() if k == "questions"]
    )
    async def test_grounded_needs_usable_questions_too(self, case: str) -> None:
        kind, reply, word = UNUSABLE[case]
        assert word in await refused(Script(**{kind: [reply, reply]}), mode="grounded")

    @pytest.mark.parametrize("mode", ["grounded", "llm"])
    @pytest.mark.parametrize("answer", ["", " \n\t\u2003"])
    async def test_a_blank_answer_is_a_failure(self, answer: str, mode: Mode) -> None:
        script = Script()
        assert "empty" in await refused(script, claim(answer), mode=mode)
        assert not any(script.prompts.values()), "there is nothing to ask a judge"

    @pytest.mark.parametrize("mode", ["grounded", "llm"])
    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    @pytest.mark.parametrize("text", [QUESTION, "reverse?"])
    @pytest.mark.filterwarnings("ignore::RuntimeWarning")
    async def test_vectors_that_are_no_numbers(self, mode: Mode, value: float, text: str) -> None:
        """RAGAS then says NaN, which Python's max() and min() may take for a bound."""
        reply = questions(*["reverse?"] * 3)
        embedder = FakeEmbedder({text: [value] * 32})
        reason = await refused(Script(questions=[reply, reply]), mode=mode, embedder=embedder)
        assert "relevancy" in reason

    @pytest.mark.filterwarnings("ignore::RuntimeWarning")
    async def test_vectors_without_a_direction(self) -> None:
        reply = questions(*["reverse?"] * 3)
        embedder = FakeEmbedder({"reverse?": [0.0]})
        reason = await refused(Script(questions=[reply, reply]), embedder=embedder)
        assert "relevancy" in reason

    async def test_one_vector_of_three_that_is_no_number(self) -> None:
        reply = questions("fine?", "reverse?", "fine?")
        embedder = FakeEmbedder({"reverse?": [math.nan] * 32})
        assert "relevancy" in await refused(Script(questions=[reply, reply]), embedder=embedder)

    async def test_an_answer_without_contexts_fails_alone(self) -> None:
        one, two = await judge(Script(), claim(contexts=()), claim(name="two"), mode="llm")
        assert isinstance(one, JudgeError)
        assert isinstance(two, Verification)


class TestSchema:
    """What the engine enforces, so that most of the above cannot happen."""

    async def test_bits_are_bits_and_nothing_is_open(self) -> None:
        script = Script()
        await scored(script)
        bit = {"type": "integer", "enum": [0, 1]}
        (asked,), (verdict,) = script.prompts["questions"], script.prompts["verdicts"]
        assert asked.json_schema is not None and verdict.json_schema is not None
        assert asked.json_schema["properties"]["noncommittal"] == bit
        assert asked.json_schema["properties"]["question"]["maxLength"] == 200
        assert asked.json_schema["additionalProperties"] is False
        text = json.dumps(verdict.json_schema)
        assert json.dumps(bit) in text
        assert text.count('"additionalProperties": false') == text.count('"properties"') == 2


class TestPartsThatAreDown:
    @pytest.mark.parametrize("error", [Unavailable("no judge"), Overloaded("busy")])
    @pytest.mark.parametrize("mode", ["grounded", "llm"])
    async def test_it_is_no_judgement(self, mode: Mode, error: Exception) -> None:
        generator = FakeGenerator(Script())
        settings = VerificationSettings(faithfulness=mode)
        verifier = RagasVerifier(generator, FakeEmbedder(), settings)
        generator.failures = [error]
        with pytest.raises(type(error), match=str(error)):
            await verifier.verify([claim(), claim(name="two")])
        assert generator.running == 0, "what else was asked is stopped"
        (result,) = await verifier.verify([claim()])
        assert isinstance(result, Verification)

    async def test_cancelling_stops_the_judge(self) -> None:
        generator = FakeGenerator(Script())
        generator.hang()
        verifier = RagasVerifier(generator, FakeEmbedder(), VerificationSettings())
        task = asyncio.create_task(verifier.verify([claim(), claim(name="two")]))
        await generator.until(lambda: generator.running == 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (generator.running, generator.cancelled) == (0, 2)


class TestSeveral:
    @pytest.mark.parametrize("mode", ["grounded", "llm"])
    async def test_one_bad_answer_leaves_the_other_alone(self, mode: Mode) -> None:
        def script(prompt: Prompt) -> Sequence[Reply] | InputError:
            bad = "Elephants" in prompt.messages[-1].content
            return ["nonsense"] * len(prompt.samples) if bad else sound(prompt)

        sound = Script()
        settings = VerificationSettings(faithfulness=mode)
        verifier = RagasVerifier(FakeGenerator(script), FakeEmbedder(), settings)
        good, bad = claim(), claim("Elephants are large.", name="two")
        alone = await verifier.verify([good])
        for order in ([good, bad], [bad, good]):
            results = await verifier.verify(order)
            assert isinstance(results[order.index(bad)], JudgeError)
            found = results[order.index(good)]
            assert isinstance(found, Verification)
            assert isinstance(alone[0], Verification)
            assert found.answer_event_id == good.answer_event_id
            assert found.statements == alone[0].statements
            assert (found.faithfulness, found.relevancy) == (
                alone[0].faithfulness,
                alone[0].relevancy,
            )
            assert found.usage == alone[0].usage

    async def test_results_are_in_the_order_of_the_claims(self) -> None:
        claims = [claim(f"Ray scales {n} programs.", name=str(n)) for n in range(6)]
        results = await judge(Script(), *claims, mode="grounded")
        found: list[UUID] = [r.answer_event_id for r in results if isinstance(r, Verification)]
        assert found == [c.answer_event_id for c in claims]

    async def test_no_claims_no_results(self) -> None:
        verifier = RagasVerifier(FakeGenerator(), FakeEmbedder(), VerificationSettings())
        assert await verifier.verify([]) == []

    async def test_the_same_claim_is_judged_with_the_same_seeds(self) -> None:
        one, two = Script(), Script()
        await scored(one)
        await scored(two)
        for kind in one.prompts:
            assert one.prompts[kind] == two.prompts[kind]
        other = Script()
        await scored(other, claim(name="two"))
        seeds = [script.prompts["questions"][0].samples[0].seed for script in (one, other)]
        assert seeds[0] != seeds[1]


class TestProvenance:
    @pytest.mark.parametrize("mode", ["grounded", "llm"])
    async def test_a_score_says_what_produced_it(self, mode: Mode) -> None:
        def script(prompt: Prompt) -> list[Completion]:
            replies = sound(prompt)
            assert not isinstance(replies, InputError)
            return [
                completion(str(reply), prompt_tokens=10, completion_tokens=2, cached_tokens=1)
                for reply in replies
            ]

        sound = Script()
        settings = VerificationSettings(faithfulness=mode)
        verifier = RagasVerifier(FakeGenerator(script), FakeEmbedder(), settings)
        (result,) = await verifier.verify([claim()])
        assert isinstance(result, Verification)
        assert result.judge.faithfulness == {"grounded": "grounded", "llm": "ragas"}[mode]
        assert (result.judge.relevancy, result.judge.model) == ("ragas", "fake-model")
        assert result.judge.embedder == "fake-embedder"
        assert len(result.judge.version) == 12
        assert result.statements
        assert result.reverse_questions == (QUESTION,) * 3
        samples = {"grounded": 3, "llm": 5}[mode]
        assert result.usage == Usage(
            prompt_tokens=10 * samples, completion_tokens=2 * samples, cached_tokens=samples
        )
        assert result.duration_ms >= 0

    async def test_the_modes_have_different_versions(self) -> None:
        found = {(await scored(mode=mode)).judge.version for mode in ("grounded", "llm")}
        assert len(found) == 2


async def test_what_no_file_could_hold_fails_alone() -> None:
    """A judge may write a NUL; the record refuses it, and the other claims go on."""
    reply = questions(*["nul \0?"] * 3)
    odd = Script(questions=[reply, reply])
    reason = await refused(odd)
    assert "cannot be kept" in reason
