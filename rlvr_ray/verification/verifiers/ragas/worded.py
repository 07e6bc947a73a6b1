"""The verifier ``ragas``: RAGAS's two metrics with its stock prompts, verdicts in words.

For judges of some 3B parameters or more.
"""

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ragas.metrics.collections.faithfulness.util import NLIStatementOutput

from rlvr_ray.core import sanitising
from rlvr_ray.core.concurrency import gather
from rlvr_ray.core.errors import JudgeError
from rlvr_ray.core.records import Assessment
from rlvr_ray.verification.verifier import Claim, VerifierContext
from rlvr_ray.verification.verifiers.ragas.assessment import Verdict, assessment, caught
from rlvr_ray.verification.verifiers.ragas.controlled import Controlled
from rlvr_ray.verification.verifiers.ragas.judge import JudgeLLM, ask, mark_of
from rlvr_ray.verification.verifiers.ragas.metrics import (
    relevancy,
    statements_of,
    verdict_on,
    version,
)
from rlvr_ray.verification.verifiers.shared import Options, check_claim, read_options, since


def create(context: VerifierContext, options: Mapping[str, Any]) -> "RagasVerifier":
    """A verifier without options."""
    read_options(Options, "ragas", options)
    return RagasVerifier(context)


class RagasVerifier:
    """A Verifier. The verdicts on all statements of a call are asked for together."""

    def __init__(self, context: VerifierContext) -> None:
        self._context = context
        self._version = version(sys.modules[__name__])

    async def verify(self, claims: Sequence[Claim]) -> list[Assessment | JudgeError | None]:
        started = time.monotonic()
        llms = [JudgeLLM(self._context, c.answer_event_id, mark_of(c)) for c in claims]
        relevancies = (caught(self._relevancy(c, llm)) for c, llm in zip(claims, llms, strict=True))
        both: list[list[Any]] = await gather(self._verdicts(claims, llms), gather(*relevancies))
        share = since(started) // max(len(claims), 1)
        return [
            self._assessment(llm, verdicts, relevant, share)
            for llm, verdicts, relevant in zip(llms, *both, strict=True)
        ]

    async def _verdicts(
        self, claims: Sequence[Claim], llms: Sequence[JudgeLLM]
    ) -> list[tuple[list[Verdict], str] | JudgeError]:
        """The verdicts on each claim's statements, and a note for the record."""
        found: list[list[str] | JudgeError] = await gather(
            *(caught(_statements(c, llm)) for c, llm in zip(claims, llms, strict=True))
        )
        sound = [
            (claim, llm, texts)
            for claim, llm, texts in zip(claims, llms, found, strict=True)
            if not isinstance(texts, JudgeError)
        ]
        llm_of = {claim.answer_event_id: llm for claim, llm, _ in sound}
        controlled = Controlled([claim for claim, *_ in sound])
        asked = [verdict_on(text, c.contexts, llm) for c, llm, texts in sound for text in texts]
        asked += [
            verdict_on(text, claim.contexts, llm_of[claim.answer_event_id])
            for claim, text in controlled.statements()
        ]
        answers = iter(await ask(self._context, asked))
        judged = {
            claim.answer_event_id: [(text, next(answers)) for text in texts]
            for claim, _, texts in sound
        }
        controlled.judged([bit(answer) for answer in answers])
        return [
            texts
            if isinstance(texts, JudgeError)
            else _read(judged[claim.answer_event_id], controlled, claim)
            for claim, texts in zip(claims, found, strict=True)
        ]

    async def _relevancy(self, claim: Claim, llm: JudgeLLM) -> float:
        check_claim(claim)
        return await relevancy(claim, llm, self._context.embedder)

    def _assessment(
        self,
        llm: JudgeLLM,
        verdicts: tuple[list[Verdict], str] | JudgeError,
        relevant: float | JudgeError,
        duration_ms: int,
    ) -> Assessment | JudgeError:
        if isinstance(verdicts, JudgeError):
            return verdicts
        if isinstance(relevant, JudgeError):
            return relevant
        try:
            return assessment(
                "ragas",
                llm,
                verdicts[0],
                relevant,
                version=self._version,
                detail=verdicts[1],
                duration_ms=duration_ms,
                embedder=self._context.embedder.name,
            )
        except JudgeError as error:
            return error


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
) -> tuple[list[Verdict], str] | JudgeError:
    try:
        note = controlled.note(claim)
    except JudgeError as error:
        return error
    verdicts: list[Verdict] = []
    for text, answers in judged:
        if isinstance(answers, JudgeError):
            return answers
        (got,) = answers[0].statements
        verdicts.append((text, got.verdict, sanitising.visible(got.reason)))
    return verdicts, note
