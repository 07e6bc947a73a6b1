"""RAGAS as the judge: faithfulness and answer relevancy of one answer.

RAGAS's metrics and prompts are used as they come. Around them: every completion goes through our
Generator, which enforces the JSON schema; verdicts must answer the statements that were sent; a
number that is not a score, or an answer that cannot be read, fails with a reason.

Faithfulness has two verdict makers. ``llm`` is RAGAS's own. ``grounded`` (``core.grounding``)
needs no LLM, for installations whose only model is too small to judge.
"""

import asyncio
import hashlib
import inspect
import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

os.environ.setdefault("RAGAS_DO_NOT_TRACK", "true")  # read when ragas is imported

from pydantic import BaseModel, ValidationError
from ragas.embeddings.base import BaseRagasEmbedding
from ragas.llms.base import InstructorBaseRagasLLM
from ragas.metrics.collections import AnswerRelevancy, Faithfulness
from ragas.metrics.collections.answer_relevancy.util import AnswerRelevanceOutput
from ragas.metrics.collections.faithfulness.util import NLIStatementOutput

from rlvr_ray.core import grounding, ids
from rlvr_ray.core.prompts import Message
from rlvr_ray.core.records import COSINE_ERROR, Judge, Statement, Usage, Verification
from rlvr_ray.errors import InputError, JudgeError
from rlvr_ray.ports import Claim, Embedder, Generator, Prompt, Sample
from rlvr_ray.settings import VerificationSettings
from rlvr_ray.tasks import gather

Model = TypeVar("Model", bound=BaseModel)

#: Reverse questions of one answer, RAGAS's default.
STRICTNESS = 3
#: They must differ to be worth averaging; verdicts must not.
QUESTION_TEMPERATURE, VERDICT_TEMPERATURE = 0.4, 0.0
#: Characters of a reverse question: small models do not know when to stop.
QUESTION_CHARS = 200
#: A judge that wrote something unusable is asked once more, with another seed.
ATTEMPTS = 2


class RagasVerifier:
    """A Verifier. Claims are judged concurrently and independently."""

    def __init__(
        self, generator: Generator, embedder: Embedder, settings: VerificationSettings
    ) -> None:
        self._generator = generator
        self._embedder = embedder
        self._settings = settings
        self._version = _version(settings.faithfulness)

    async def verify(self, claims: Sequence[Claim]) -> list[Verification | JudgeError]:
        """See ``ports.Verifier``."""
        return await gather(*(self._verify(claim) for claim in claims))

    async def _verify(self, claim: Claim) -> Verification | JudgeError:
        problem = JudgeError("not attempted")
        for attempt in range(ATTEMPTS):
            try:
                return await self._judge(claim, attempt)
            except JudgeError as error:
                problem = error
            except ValueError as error:  # a record refused what the judge wrote
                problem = JudgeError(f"the judge's answer cannot be kept: {error}")
        return problem

    async def _judge(self, claim: Claim, attempt: int) -> Verification:
        if not claim.answer.strip():
            raise JudgeError("the answer is empty")
        if not claim.contexts:
            raise JudgeError("there are no contexts to be faithful to")
        started = time.monotonic()
        llm = _JudgeLLM(
            self._generator,
            ids.seed(claim.answer_event_id, "judge", attempt),
            self._settings.max_tokens,
        )
        both: list[Any] = await gather(self._faithfulness(claim, llm), self._relevancy(claim, llm))
        (faithfulness, statements), relevancy = both
        return Verification(
            answer_event_id=claim.answer_event_id,
            faithfulness=faithfulness,
            relevancy=relevancy,
            judge=Judge(
                faithfulness="grounded" if self._settings.faithfulness == "grounded" else "ragas",
                relevancy="ragas",
                model=llm.model,
                embedder=self._embedder.name,
                version=self._version,
            ),
            statements=statements,
            reverse_questions=tuple(llm.questions),
            usage=llm.usage,
            duration_ms=round((time.monotonic() - started) * 1000),
            completed_at=datetime.now(UTC),
        )

    async def _faithfulness(
        self, claim: Claim, llm: "_JudgeLLM"
    ) -> tuple[float, tuple[Statement, ...]]:
        if self._settings.faithfulness == "grounded":
            return await asyncio.to_thread(self._grounded, claim)
        metric = _BoundFaithfulness(llm)
        result = await metric.ascore(claim.question, claim.answer, list(claim.contexts))
        return _score("faithfulness", result.value), metric.statements

    def _grounded(self, claim: Claim) -> tuple[float, tuple[Statement, ...]]:
        supports = grounding.ground(claim.question, claim.answer, claim.contexts, self._similarity)
        if not supports:
            raise JudgeError("the answer makes no statement")
        statements = tuple(
            Statement(text=s.statement, verdict=s.support, reason=s.reason) for s in supports
        )
        return _score("faithfulness", grounding.faithfulness(supports)), statements

    def _similarity(self, rows: Sequence[str], columns: Sequence[str]) -> list[list[float]]:
        cosines = self._embedder.embed(rows) @ self._embedder.embed(columns).T
        matrix: list[list[float]] = cosines.tolist()
        return matrix

    async def _relevancy(self, claim: Claim, llm: "_JudgeLLM") -> float:
        answer = _without(claim.question, claim.answer)
        if not answer:
            return 0.0  # it repeats the question and says nothing
        metric = AnswerRelevancy(llm, _Embeddings(self._embedder), strictness=STRICTNESS)
        result = await metric.ascore(claim.question, answer)
        if not llm.questions:
            raise JudgeError("the judge wrote no question for the answer")
        return _score("relevancy", result.value, least=-1.0)


class _BoundFaithfulness(Faithfulness):
    """RAGAS divides by the verdicts that came back; here they must be those that were asked for."""

    def __init__(self, llm: "_JudgeLLM") -> None:
        super().__init__(llm)
        self.statements: tuple[Statement, ...] = ()

    async def _create_statements(self, question: str, response: str) -> list[str]:
        statements: list[str] = await super()._create_statements(question, response)
        if not statements:
            raise JudgeError("the judge found no statement in the answer")
        return statements

    async def _create_verdicts(self, statements: list[str], context: str) -> NLIStatementOutput:
        output = await super()._create_verdicts(statements, context)
        if len(output.statements) != len(statements):
            raise JudgeError(
                f"the judge gave {len(output.statements)} verdicts for {len(statements)} statements"
            )
        self.statements = tuple(
            Statement(text=sent, verdict=got.verdict, reason=got.reason)
            for sent, got in zip(statements, output.statements, strict=True)
        )
        return output


class _JudgeLLM(InstructorBaseRagasLLM):
    """RAGAS's view of a Generator, for one answer; keeps what the judge wrote and what it cost."""

    def __init__(self, generator: Generator, seed: int, max_tokens: int) -> None:
        self._generator = generator
        self._seed = seed
        self._max_tokens = max_tokens
        self._drawn: list[AnswerRelevanceOutput] = []
        self.questions: list[str] = []
        self.usage = Usage(prompt_tokens=0, completion_tokens=0)
        self.model = ""

    def generate(self, prompt: str, response_model: type[Model]) -> Model:
        raise NotImplementedError("this judge is asynchronous: call agenerate")

    async def agenerate(self, prompt: str, response_model: type[Model]) -> Model:
        """One structured answer; raises JudgeError if it cannot be read."""
        if not issubclass(response_model, AnswerRelevanceOutput):
            (answer,) = await self._ask(prompt, response_model, 1, VERDICT_TEMPERATURE)
            return answer
        # RAGAS asks the same prompt STRICTNESS times in a row. Drawn together, they share one
        # prefill and decode at the same time.
        if not self._drawn:
            drawn = await self._ask(prompt, response_model, STRICTNESS, QUESTION_TEMPERATURE)
            self._drawn = list(drawn)
            self.questions = [answer.question for answer in drawn if answer.question]
        return self._drawn.pop(0)  # type: ignore[return-value]

    async def _ask(
        self, prompt: str, response_model: type[Model], count: int, temperature: float
    ) -> list[Model]:
        (completions,) = await self._generator.generate(
            [
                Prompt(
                    messages=(Message(role="user", content=prompt),),
                    samples=tuple(
                        Sample(temperature=temperature, seed=(self._seed + i) % 2**31)
                        for i in range(count)
                    ),
                    max_tokens=self._max_tokens,
                    json_schema=_strict(response_model.model_json_schema()),
                )
            ]
        )
        if isinstance(completions, InputError):
            raise JudgeError(f"the judge cannot take this answer: {completions}")
        answers = []
        for completion in completions:
            self.model = completion.model
            self.usage += completion.usage
            if completion.finish_reason == "length":
                raise JudgeError(f"the judge's answer was cut at {self._max_tokens} tokens")
            try:
                answer = response_model.model_validate_json(completion.text)
            except ValidationError as error:
                raise JudgeError(f"the judge's answer cannot be read: {_first(error)}") from None
            _check_binary(answer.model_dump())
            answers.append(answer)
        return answers


class _Embeddings(BaseRagasEmbedding):
    """RAGAS's view of an Embedder."""

    def __init__(self, embedder: Embedder) -> None:
        super().__init__()
        self._embedder = embedder

    def embed_text(self, text: str, **_: Any) -> list[float]:
        vector: list[float] = self._embedder.embed([text])[0].tolist()
        return vector

    async def aembed_text(self, text: str, **_: Any) -> list[float]:
        return await asyncio.to_thread(self.embed_text, text)


def _without(question: str, answer: str) -> str:
    """The answer without copies of the question: the judge would only hand them back."""
    words = r"\s+".join(re.escape(word) for word in question.split())
    return re.sub(words, " ", answer, flags=re.IGNORECASE).strip()


def _score(name: str, value: float, least: float = 0.0) -> float:
    """A score in [0, 1], or JudgeError: NaN is RAGAS's way to say that it does not know.

    ``least`` is -1 for a mean cosine: what points away from the question is not relevant to it.
    """
    if not least - COSINE_ERROR <= value <= 1 + COSINE_ERROR:  # false of NaN too
        raise JudgeError(f"{name} came out as {value}, which is no score")
    return float(min(max(value, 0.0), 1.0))


#: Fields that RAGAS types as int and means as a bit.
BINARY = ("verdict", "noncommittal")


def _strict(schema: Any) -> Any:
    """RAGAS's JSON schema with what it leaves open closed: bits, extra keys, endless questions."""
    if isinstance(schema, list):
        return [_strict(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    strict = {key: _strict(value) for key, value in schema.items()}
    if "properties" in strict:
        strict["additionalProperties"] = False
        properties = strict["properties"]
        for name in BINARY:
            if name in properties:
                properties[name] = {"type": "integer", "enum": [0, 1]}
        if "question" in properties:
            properties["question"] = {"type": "string", "maxLength": QUESTION_CHARS}
    return strict


def _check_binary(value: Any) -> None:
    """Raise JudgeError where a bit is something else, for engines that do not enforce schemas."""
    if isinstance(value, list):
        for item in value:
            _check_binary(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key in BINARY and item not in (0, 1):
                raise JudgeError(f"the judge gave {item} as {key}, which must be 0 or 1")
            _check_binary(item)


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc'])) or 'JSON'}: {first['msg']}"


def _version(verdicts: str) -> str:
    """Hash of all that shapes a score: RAGAS's prompts and, where it judges, our own code."""
    from ragas.metrics.collections.answer_relevancy import util as relevancy
    from ragas.metrics.collections.faithfulness import util as faithfulness

    verdict_maker = grounding if verdicts == "grounded" else faithfulness
    modules = (sys.modules[__name__], relevancy, verdict_maker)
    parts = [inspect.getsource(module) for module in modules]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
