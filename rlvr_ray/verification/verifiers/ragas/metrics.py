"""RAGAS's two metrics with its stock prompts, restricted so that a judge cannot change the task."""

import asyncio
import re
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from ragas.embeddings.base import BaseRagasEmbedding
from ragas.metrics.collections import AnswerRelevancy
from ragas.metrics.collections.answer_relevancy import util as relevancy_prompts
from ragas.metrics.collections.faithfulness import util as faithfulness_prompts
from ragas.metrics.collections.faithfulness.util import (
    NLIStatementInput,
    NLIStatementOutput,
    NLIStatementPrompt,
    StatementGeneratorInput,
    StatementGeneratorOutput,
    StatementGeneratorPrompt,
)

from rlvr_ray.core import sanitising, spelling
from rlvr_ray.core.errors import JudgeError
from rlvr_ray.core.statements import claims
from rlvr_ray.documents.embedder import Embedder
from rlvr_ray.verification import controls, screening
from rlvr_ray.verification.statements import objection, same_text
from rlvr_ray.verification.verifier import Claim
from rlvr_ray.verification.verifiers.ragas import assessment, judge, structured
from rlvr_ray.verification.verifiers.ragas.judge import STRICTNESS, Asked, JudgeLLM
from rlvr_ray.verification.verifiers.shared import code_version, unit

#: Statements of one answer; more than it has sentences, and less than an endless list.
_MAX_STATEMENTS = 40
_STATEMENTS, _VERDICTS = StatementGeneratorPrompt(), NLIStatementPrompt()


async def statements_of(claim: Claim, llm: JudgeLLM) -> list[str]:
    """The answer's statements; raises JudgeError unless they are all of it and only that."""

    def check(output: StatementGeneratorOutput) -> None:
        if not any(statement.strip() for statement in output.statements):
            raise JudgeError("the judge found no statement in the answer")
        if problem := objection(claim.question, claim.answer, output.statements):
            raise JudgeError(problem)

    output = await llm.ask(
        _STATEMENTS.to_string(
            StatementGeneratorInput(question=claim.question, answer=claim.answer)
        ),
        StatementGeneratorOutput,
        "Break down the given answer into statements.",
        check=check,
        fields={"statements": {"minItems": 1, "maxItems": _MAX_STATEMENTS}},
    )
    texts = (sanitising.visible(statement).strip() for statement in output.statements)
    return list(dict.fromkeys(_bare(text) for text in texts if text))


def _bare(statement: str) -> str:
    """A statement without what stands around it and claims nothing."""
    return screening.without_key(" ".join(claims(statement)) or statement)


def verdict_on(statement: str, contexts: Sequence[str], llm: JudgeLLM) -> Asked[NLIStatementOutput]:
    """RAGAS's prompt with one statement, so that a text can only plead for itself.

    RAGAS divides by the verdicts that come back; here one must, and on the statement that was sent.
    """

    def check(output: NLIStatementOutput) -> None:
        if len(output.statements) != 1:
            raise JudgeError(f"the judge gave {len(output.statements)} verdicts for 1 statement")
        (got,) = output.statements
        if not same_text(statement, got.statement):
            raise JudgeError(
                f"the judge gave a verdict on another statement: {got.statement[:100]}"
            )

    return llm.asked(
        _VERDICTS.to_string(NLIStatementInput(context="\n".join(contexts), statements=[statement])),
        NLIStatementOutput,
        "Judge the given statement by the given context.",
        check=check,
        fields={"statements": {"minItems": 1, "maxItems": 1}, "statement": {"enum": [statement]}},
    )


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


def version(*modules: ModuleType) -> str:
    """Hash of all that shapes a score: RAGAS's prompts, and the code of ours that is given."""
    ours = (
        sys.modules[__name__],
        judge,
        structured,
        assessment,
        sanitising,
        spelling,
        controls,
        screening,
    )
    used = (*ours, relevancy_prompts, faithfulness_prompts, *modules)
    return code_version(*used)


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
