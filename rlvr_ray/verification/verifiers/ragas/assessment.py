"""The assessment of an answer from a judge's verdicts on its statements."""

import math
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from rlvr_ray.core import scoring
from rlvr_ray.core.errors import JudgeError
from rlvr_ray.core.records import Assessment, Judge, Statement
from rlvr_ray.verification.verifiers.ragas.judge import JudgeLLM

T = TypeVar("T")
#: A statement, from 0 to 1 how far the contexts support it, and why.
Verdict = tuple[str, float, str]


def assessment(
    metric: str,
    llm: JudgeLLM,
    verdicts: Sequence[Verdict],
    relevancy: float,
    *,
    version: str,
    detail: str,
    duration_ms: int,
    embedder: str = "",
) -> Assessment:
    """The mean of both metrics; raises JudgeError where a record refuses what the judge wrote."""
    faithfulness = math.fsum(verdict for _, verdict, _ in verdicts) / len(verdicts)
    try:
        return Assessment(
            score=scoring.mean(faithfulness, relevancy),
            faithfulness=faithfulness,
            relevancy=relevancy,
            judge=Judge(
                faithfulness=metric,
                relevancy=metric,
                engine=llm.context.engine,
                model=llm.model,
                embedder=embedder,
                version=version,
            ),
            detail=detail,
            statements=tuple(
                Statement(text=text, verdict=verdict, reason=reason)
                for text, verdict, reason in verdicts
            ),
            reverse_questions=tuple(llm.questions),
            usage=llm.usage,
            duration_ms=duration_ms,
        )
    except ValueError as error:
        raise JudgeError(f"the judge's answer cannot be kept: {error}") from None


async def caught(coroutine: Coroutine[Any, Any, T]) -> T | JudgeError:
    """What it returns, or its JudgeError in that place."""
    try:
        return await coroutine
    except JudgeError as error:
        return error
