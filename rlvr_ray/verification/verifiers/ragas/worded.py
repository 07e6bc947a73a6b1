"""The verifier ``ragas``: RAGAS's two metrics with its stock prompts, verdicts in words."""

import math
import sys
import time
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from ragas.metrics.collections.faithfulness.util import NLIStatementOutput

from rlvr_ray.core import sanitising, scoring
from rlvr_ray.core.concurrency import gather
from rlvr_ray.core.errors import JudgeError
from rlvr_ray.core.records import Assessment, Judge, Statement
from rlvr_ray.verification.verifier import Claim, Equipment
from rlvr_ray.verification.verifiers.ragas.controlled import Controlled
from rlvr_ray.verification.verifiers.ragas.judge import JudgeLLM, ask
from rlvr_ray.verification.verifiers.ragas.metrics import (
    relevancy,
    statements_of,
    verdict_on,
    version,
)
from rlvr_ray.verification.verifiers.ragas.verifier import check_claim, mark_of, since

T = TypeVar("T")


class RagasVerifier:
    """A Verifier. The verdicts on all statements of a call are asked for together."""

    def __init__(self, equipment: Equipment) -> None:
        self._equipment = equipment
        self._version = version(sys.modules[__name__])

    async def verify(self, claims: Sequence[Claim]) -> list[Assessment | JudgeError | None]:
        """See ``ports.Verifier``."""
        started = time.monotonic()
        llms = [JudgeLLM(self._equipment, c.answer_event_id, mark_of(c)) for c in claims]
        both: list[list[Any]] = await gather(
            self._verdicts(claims, llms),
            gather(
                *(_caught(self._relevancy(c, llm)) for c, llm in zip(claims, llms, strict=True))
            ),
        )
        share = since(started) // max(len(claims), 1)
        return [
            self._assessment(llm, verdicts, relevant, share)
            for llm, verdicts, relevant in zip(llms, *both, strict=True)
        ]

    async def _verdicts(
        self, claims: Sequence[Claim], llms: Sequence[JudgeLLM]
    ) -> list[tuple[tuple[Statement, ...], str] | JudgeError]:
        """The judged statements of each claim, and a note for the record."""
        said: list[list[str] | JudgeError] = await gather(
            *(_caught(_statements(c, llm)) for c, llm in zip(claims, llms, strict=True))
        )
        sound = [
            (claim, llm, texts)
            for claim, llm, texts in zip(claims, llms, said, strict=True)
            if not isinstance(texts, JudgeError)
        ]
        llm_of = {claim.answer_event_id: llm for claim, llm, _ in sound}
        controlled = Controlled([claim for claim, *_ in sound])
        asked = [verdict_on(text, c.contexts, llm) for c, llm, texts in sound for text in texts]
        asked += [
            verdict_on(text, claim.contexts, llm_of[claim.answer_event_id])
            for claim, text in controlled.statements()
        ]
        answers = iter(await ask(self._equipment, asked))
        judged = {
            claim.answer_event_id: [(text, next(answers)) for text in texts]
            for claim, _, texts in sound
        }
        controlled.judged([bit(answer) for answer in answers])
        return [
            texts
            if isinstance(texts, JudgeError)
            else _read(judged[claim.answer_event_id], controlled, claim)
            for claim, texts in zip(claims, said, strict=True)
        ]

    async def _relevancy(self, claim: Claim, llm: JudgeLLM) -> float:
        check_claim(claim)
        return await relevancy(claim, llm, self._equipment.embedder)

    def _assessment(
        self,
        llm: JudgeLLM,
        verdicts: tuple[tuple[Statement, ...], str] | JudgeError,
        relevant: float | JudgeError,
        duration_ms: int,
    ) -> Assessment | JudgeError:
        if isinstance(verdicts, JudgeError):
            return verdicts
        if isinstance(relevant, JudgeError):
            return relevant
        statements, note = verdicts
        faithfulness = math.fsum(s.verdict for s in statements) / len(statements)
        try:
            return Assessment(
                score=scoring.mean(faithfulness, relevant),
                faithfulness=faithfulness,
                relevancy=relevant,
                judge=Judge(
                    faithfulness="ragas",
                    relevancy="ragas",
                    engine=self._equipment.engine,
                    model=llm.model,
                    embedder=self._equipment.embedder.name,
                    version=self._version,
                ),
                detail=note,
                statements=statements,
                reverse_questions=tuple(llm.questions),
                usage=llm.usage,
                duration_ms=duration_ms,
            )
        except ValueError as error:  # a record refused what the judge wrote
            return JudgeError(f"the judge's answer cannot be kept: {error}")


def bit(answers: list[NLIStatementOutput] | JudgeError) -> float | JudgeError:
    """The verdict on a single statement."""
    return answers if isinstance(answers, JudgeError) else answers[0].statements[0].verdict


async def _statements(claim: Claim, llm: JudgeLLM) -> list[str]:
    check_claim(claim)
    return await statements_of(claim, llm)


def _read(
    judged: Sequence[tuple[str, list[NLIStatementOutput] | JudgeError]],
    controlled: Controlled,
    claim: Claim,
) -> tuple[tuple[Statement, ...], str] | JudgeError:
    statements: list[Statement] = []
    try:
        note = controlled.note(claim)
        for text, answers in judged:
            if isinstance(answers, JudgeError):
                return answers
            (got,) = answers[0].statements
            reason = sanitising.visible(got.reason)
            statements.append(Statement(text=text, verdict=got.verdict, reason=reason))
    except JudgeError as error:
        return error
    except ValueError as error:  # a record refused what the judge wrote
        return JudgeError(f"the judge's answer cannot be kept: {error}")
    return tuple(statements), note


async def _caught(coroutine: Coroutine[Any, Any, T]) -> T | JudgeError:
    """What it returns, or its JudgeError in that place."""
    try:
        return await coroutine
    except JudgeError as error:
        return error
