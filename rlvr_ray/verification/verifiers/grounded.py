"""The verifier ``grounded``: evidence in the contexts, without a language model.

It names the defect of an answer, if it can be shown.
"""

import asyncio
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from types import ModuleType
from typing import Any

from rlvr_ray.core import scoring
from rlvr_ray.core.concurrency import gather
from rlvr_ray.core.errors import JudgeError
from rlvr_ray.core.records import Assessment, Judge, Statement
from rlvr_ray.documents.embedder import Embedder, cosines
from rlvr_ray.verification import grounding
from rlvr_ray.verification.verifier import Claim, VerifierContext
from rlvr_ray.verification.verifiers.shared import (
    Options,
    check_claim,
    code_version,
    read_options,
    since,
    unit,
)


def create(context: VerifierContext, options: Mapping[str, Any]) -> "GroundedVerifier":
    """A verifier without options."""
    read_options(Options, "grounded", options)
    return GroundedVerifier(context.embedder)


class GroundedVerifier:
    """A Verifier."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._version = code_version(*_rules())

    async def verify(self, claims: Sequence[Claim]) -> list[Assessment | JudgeError | None]:
        return await gather(*(asyncio.to_thread(self._assess, claim) for claim in claims))

    def _assess(self, claim: Claim) -> Assessment | JudgeError | None:
        started = time.monotonic()
        similarity = partial(cosines, self._embedder)
        try:
            check_claim(claim)
            found = grounding.assess(claim.question, claim.answer, claim.contexts, similarity)
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
        except JudgeError as error:
            return error
        except ValueError as error:  # a record refused what was found
            return JudgeError(f"the judge's answer cannot be kept: {error}")


def _rules() -> list[ModuleType]:
    """The modules that shape a score."""
    packages = ("rlvr_ray.verification.grounding", "rlvr_ray.core.numbers")
    names = [name for name in sys.modules if name.startswith(packages)]
    names += ["rlvr_ray.core.language", "rlvr_ray.core.statements", "rlvr_ray.core.text"]
    return [sys.modules[name] for name in (__name__, *sorted(names))]
