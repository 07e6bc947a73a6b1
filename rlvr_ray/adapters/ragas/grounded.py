"""The verifier ``grounded``: containment for faithfulness, and no language model for it."""

import asyncio
from functools import partial
from typing import Any, Literal

from rlvr_ray.adapters.ragas.judge import JudgeLLM
from rlvr_ray.adapters.ragas.metrics import relevancy, unit, version
from rlvr_ray.adapters.ragas.verifier import EachClaim, VerifierOptions, mark_of, since
from rlvr_ray.core import grounding, scoring, text
from rlvr_ray.core.records import Assessment, Judge, Statement
from rlvr_ray.errors import JudgeError
from rlvr_ray.ports import Claim, Equipment, cosines
from rlvr_ray.tasks import gather


class GroundedOptions(VerifierOptions):
    """How relevancy comes about."""

    #: ``ragas``: its reverse questions; ``cosine``: of question and answer, without a language
    #: model; False: not at all, and the score is faithfulness alone.
    relevancy: Literal["ragas", "cosine", False] = "ragas"


class GroundedVerifier(EachClaim):
    """See ``core.grounding``."""

    def __init__(self, equipment: Equipment, options: GroundedOptions) -> None:
        self._equipment = equipment
        self._relevancy = options.relevancy
        self._version = version(grounding, text)

    async def _judge(self, claim: Claim, started: float) -> Assessment:
        llm = JudgeLLM(self._equipment, claim.answer_event_id, mark_of(claim))
        both: list[Any] = await gather(
            asyncio.to_thread(self._faithfulness, claim), self._relevant(claim, llm)
        )
        (faithfulness, statements), relevant = both
        return Assessment(
            score=faithfulness if relevant is None else scoring.mean(faithfulness, relevant),
            faithfulness=faithfulness,
            relevancy=relevant,
            judge=Judge(
                faithfulness="grounded",
                relevancy=self._relevancy or "",
                engine=self._equipment.engine if llm.model else "",
                model=llm.model,
                embedder=self._equipment.embedder.name,
                version=self._version,
            ),
            statements=statements,
            reverse_questions=tuple(llm.questions),
            usage=llm.usage,
            duration_ms=since(started),
        )

    def _faithfulness(self, claim: Claim) -> tuple[float, tuple[Statement, ...]]:
        supports = grounding.ground(
            claim.question,
            claim.answer,
            claim.contexts,
            partial(cosines, self._equipment.embedder),
        )
        if not supports:
            raise JudgeError("the answer makes no statement")
        statements = tuple(
            Statement(text=s.statement, verdict=s.support, reason=s.reason) for s in supports
        )
        return unit("faithfulness", grounding.faithfulness(supports)), statements

    async def _relevant(self, claim: Claim, llm: JudgeLLM) -> float | None:
        embedder = self._equipment.embedder
        if self._relevancy == "ragas":
            return await relevancy(claim, llm, embedder)
        if self._relevancy == "cosine":
            ((cosine,),) = await asyncio.to_thread(
                cosines, embedder, [claim.question], [claim.answer]
            )
            return unit("relevancy", cosine, least=-1.0)
        return None
