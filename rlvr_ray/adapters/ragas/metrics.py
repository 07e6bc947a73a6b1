"""RAGAS's two metrics with its stock prompts, bound so that a judge cannot change the question."""

import asyncio
import hashlib
import inspect
import re
import sys
from types import ModuleType
from typing import Any

from ragas.embeddings.base import BaseRagasEmbedding
from ragas.metrics.collections import AnswerRelevancy, Faithfulness
from ragas.metrics.collections.answer_relevancy import util as relevancy_prompts
from ragas.metrics.collections.faithfulness import util as faithfulness_prompts
from ragas.metrics.collections.faithfulness.util import (
    NLIStatementInput,
    NLIStatementOutput,
    StatementGeneratorInput,
    StatementGeneratorOutput,
)

from rlvr_ray.adapters.ragas import judge
from rlvr_ray.adapters.ragas.judge import STRICTNESS, JudgeLLM
from rlvr_ray.core import guard
from rlvr_ray.core.records import COSINE_ERROR, Statement
from rlvr_ray.core.statements import objection, same_text
from rlvr_ray.errors import JudgeError
from rlvr_ray.ports import Claim, Embedder

#: Statements of one answer; more than it has sentences, and less than an endless list.
_MAX_STATEMENTS = 40


class BoundFaithfulness(Faithfulness):
    """RAGAS divides by the verdicts that came back; here they must be those that were asked for."""

    def __init__(self, llm: JudgeLLM) -> None:
        super().__init__(llm)
        self._llm = llm
        self.statements: tuple[Statement, ...] = ()

    async def statements_of(self, claim: Claim) -> list[str]:
        """The answer's statements; raises JudgeError unless they are all of it and only that."""
        return await self._create_statements(claim.question, claim.answer)

    async def share(self, claim: Claim) -> float:
        """Share of supported statements; ``statements`` then has verdicts and reasons."""
        result = await self.ascore(claim.question, claim.answer, list(claim.contexts))
        return unit("faithfulness", result.value)

    async def _create_statements(self, question: str, response: str) -> list[str]:
        def check(output: StatementGeneratorOutput) -> None:
            if not any(statement.strip() for statement in output.statements):
                raise JudgeError("the judge found no statement in the answer")
            if problem := objection(question, response, output.statements):
                raise JudgeError(problem)

        output = await self._llm.ask(
            self.statement_generator_prompt.to_string(
                StatementGeneratorInput(question=question, answer=response)
            ),
            StatementGeneratorOutput,
            "Break down the given answer into statements.",
            check,
            {"statements": {"minItems": 1, "maxItems": _MAX_STATEMENTS}},
        )
        texts = (guard.visible(statement).strip() for statement in output.statements)
        return list(dict.fromkeys(text for text in texts if text))

    async def _create_verdicts(self, statements: list[str], context: str) -> NLIStatementOutput:
        def check(output: NLIStatementOutput) -> None:
            if len(output.statements) != len(statements):
                raise JudgeError(
                    f"the judge gave {len(output.statements)} verdicts for {len(statements)} "
                    "statements"
                )
            for sent, got in zip(statements, output.statements, strict=True):
                if not same_text(sent, got.statement):
                    raise JudgeError(
                        f"the judge gave a verdict on another statement: {got.statement[:100]}"
                    )

        output = await self._llm.ask(
            self.nli_statement_prompt.to_string(
                NLIStatementInput(context=context, statements=statements)
            ),
            NLIStatementOutput,
            "Judge each of the given statements by the given context.",
            check,
            {
                "statements": {"minItems": len(statements), "maxItems": len(statements)},
                "statement": {"enum": statements},
            },
        )
        self.statements = tuple(
            Statement(text=sent, verdict=got.verdict, reason=guard.visible(got.reason))
            for sent, got in zip(statements, output.statements, strict=True)
        )
        return output


async def relevancy(claim: Claim, llm: JudgeLLM, embedder: Embedder) -> float:
    """RAGAS's answer relevancy; ``llm.questions`` then has the reverse questions.

    0 without asking where the answer repeats the question and says nothing else: the judge would
    only hand the question back.
    """
    answer = without_question(claim.question, claim.answer)
    if not answer:
        return 0.0
    metric = AnswerRelevancy(llm, _Embeddings(embedder), strictness=STRICTNESS)
    result = await metric.ascore(claim.question, answer)
    return unit("relevancy", result.value, least=-1.0)


def without_question(question: str, answer: str) -> str:
    """The answer without copies of the question."""
    words = r"\s+".join(re.escape(word) for word in question.split())
    return re.sub(words, " ", answer, flags=re.IGNORECASE).strip()


def unit(name: str, value: float, least: float = 0.0) -> float:
    """A score in [0, 1], or JudgeError: NaN is RAGAS's way to say that it does not know.

    ``least`` is -1 for a mean cosine: what points away from the question is not relevant to it.
    """
    if not least - COSINE_ERROR <= value <= 1 + COSINE_ERROR:  # false of NaN too
        raise JudgeError(f"{name} came out as {value}, which is no score")
    return float(min(max(value, 0.0), 1.0))


def version(*modules: ModuleType) -> str:
    """Hash of all that shapes a score: RAGAS's prompts, and the code of ours that is given."""
    used = (sys.modules[__name__], judge, guard, relevancy_prompts, faithfulness_prompts, *modules)
    parts = [inspect.getsource(module) for module in used]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


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
