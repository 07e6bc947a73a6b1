"""What verifiers that judge each claim by itself share."""

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from rlvr_ray.core import sanitising
from rlvr_ray.core.concurrency import gather
from rlvr_ray.core.errors import JudgeError
from rlvr_ray.core.records import Assessment
from rlvr_ray.verification.verifier import Claim


class VerifierOptions(BaseModel):
    """No options."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class EachClaim(ABC):
    """A Verifier that judges claims concurrently and independently."""

    async def verify(self, claims: Sequence[Claim]) -> list[Assessment | JudgeError | None]:
        """See ``ports.Verifier``."""
        return await gather(*(self._verify(claim) for claim in claims))

    async def _verify(self, claim: Claim) -> Assessment | JudgeError | None:
        started = time.monotonic()
        try:
            check_claim(claim)
            return await self._judge(claim, started)
        except JudgeError as error:
            return error
        except ValueError as error:  # a record refused what the judge wrote
            return JudgeError(f"the judge's answer cannot be kept: {error}")

    @abstractmethod
    async def _judge(self, claim: Claim, started: float) -> Assessment: ...


def check_claim(claim: Claim) -> None:
    """Raise JudgeError where there is nothing to judge, or nothing to judge it by."""
    if not claim.answer.strip():
        raise JudgeError("the answer is empty")
    if not any(context.strip() for context in claim.contexts):
        raise JudgeError("there are no contexts to be faithful to")


def mark_of(claim: Claim) -> str:
    """The mark of a claim's batch: the same for all its answers, whose prompts then begin alike."""
    return sanitising.mark(claim.question, claim.contexts)


def since(started: float) -> int:
    """Milliseconds since a time of the monotonic clock."""
    return round((time.monotonic() - started) * 1000)
