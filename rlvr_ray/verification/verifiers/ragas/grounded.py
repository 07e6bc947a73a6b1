"""The verifier ``grounded``: evidence in the contexts, without a language model."""

import asyncio
import sys
from functools import partial
from types import ModuleType

from rlvr_ray.core import scoring
from rlvr_ray.core.records import Assessment, Judge, Statement
from rlvr_ray.documents.embedder import cosines
from rlvr_ray.verification import grounding
from rlvr_ray.verification.verifier import Claim, Equipment
from rlvr_ray.verification.verifiers.ragas.metrics import unit, version
from rlvr_ray.verification.verifiers.ragas.verifier import EachClaim, since


class GroundedVerifier(EachClaim):
    """A Verifier that names what is wrong with an answer, where that can be shown."""

    def __init__(self, equipment: Equipment) -> None:
        self._embedder = equipment.embedder
        self._version = version(*_rules())

    async def _judge(self, claim: Claim, started: float) -> Assessment:
        found = await asyncio.to_thread(
            grounding.assess,
            claim.question,
            claim.answer,
            claim.contexts,
            partial(cosines, self._embedder),
        )
        faithfulness = unit("faithfulness", found.faithfulness)
        relevancy = unit("relevancy", found.relevancy)
        return Assessment(
            score=scoring.mean(faithfulness, relevancy),
            faithfulness=faithfulness,
            relevancy=relevancy,
            defect=found.defect,
            detail=found.detail,
            judge=Judge(
                faithfulness="grounded",
                relevancy="grounded",
                model="",
                embedder=self._embedder.name,
                version=self._version,
            ),
            statements=tuple(
                Statement(text=s.statement, verdict=s.verdict, reason=s.reason)
                for s in found.supports
            ),
            duration_ms=since(started),
        )


def _rules() -> list[ModuleType]:
    """The modules that shape a score."""
    packages = ("rlvr_ray.verification.grounding", "rlvr_ray.core.numbers")
    names = [name for name in sys.modules if name.startswith(packages)]
    names += ["rlvr_ray.core.language", "rlvr_ray.core.text"]
    return [sys.modules[name] for name in sorted(names)]
