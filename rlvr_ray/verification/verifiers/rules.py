"""The base of verifiers by rule, without a model: the same claim always gets the same result."""

import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType

from rlvr_ray.core.errors import JudgeError
from rlvr_ray.core.records import Assessment, Judge
from rlvr_ray.verification.verifier import Claim
from rlvr_ray.verification.verifiers.shared import Options, code_version

#: Seconds that all patterns of a verifier together may take on one answer.
PATTERN_S = 1.0


@dataclass(frozen=True, slots=True)
class Match:
    """How far an answer matches: ``score`` in [0, 1], or None where that cannot be told."""

    score: float | None
    detail: str  #: what was expected and what was found, in one line


#: Scores a claim; None where it has nothing to go by. It waits for nothing.
Rule = Callable[[Claim], Match | None]


class RuleVerifier:
    """A Verifier by a rule, whose version is that of the modules and options that shape it."""

    def __init__(self, rule: Rule, options: Options, *modules: ModuleType) -> None:
        self._rule = rule
        version = code_version(
            sys.modules[__name__],
            *modules,
            options=json.dumps(options.model_dump(by_alias=True), sort_keys=True),
        )
        self._judge = Judge(faithfulness="", relevancy="", model="", embedder="", version=version)

    async def verify(self, claims: Sequence[Claim]) -> list[Assessment | JudgeError | None]:
        return await asyncio.to_thread(lambda: [self._assess(claim) for claim in claims])

    def _assess(self, claim: Claim) -> Assessment | JudgeError | None:
        try:
            match = self._rule(claim)
        except JudgeError as error:
            return error
        if match is None:
            return None
        if match.score is None:
            return JudgeError(match.detail)
        return Assessment(score=match.score, judge=self._judge, detail=match.detail)
