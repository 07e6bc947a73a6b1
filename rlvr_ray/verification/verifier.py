"""The interfaces of verifiers and panels, and their input and output."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from rlvr_ray.core.errors import JudgeError
from rlvr_ray.core.records import Assessment, Verification
from rlvr_ray.documents.embedder import Embedder
from rlvr_ray.generation.generator import Generator


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A candidate as a judge sees it: no temperature, no index, no rival."""

    answer_event_id: UUID
    question: str
    answer: str
    contexts: tuple[str, ...]
    references: tuple[str, ...] = ()  #: right answers, any of them; none where nobody gave one
    retrieval_score: float | None = None  #: best cosine of a context with the question


class Verifier(Protocol):
    """One way to score answers. Others may bring theirs: see ``VerifierFactory``."""

    async def verify(self, claims: Sequence[Claim]) -> list[Assessment | JudgeError | None]:
        """One result for each claim, in order; None where it has nothing to go by.

        Raises TimedOut, Unavailable or Overloaded where it cannot work now: it is asked again.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierContext:
    """What a verifier may work with."""

    judge: Generator
    engine: str  #: what runs the judge, for the record
    embedder: Embedder
    max_tokens: int  #: limit of one judge completion; a retry may have twice as many


#: Makes a verifier from its ``options`` in the settings; raises ConfigError where they are wrong.
#: Found by its name: see ``verifiers``.
VerifierFactory = Callable[[VerifierContext, Mapping[str, Any]], Verifier]


class ContextJudge(Protocol):
    """Says whether contexts leave a question unanswered, as some answers to it say."""

    async def unanswered(self, refusals: Sequence[Claim]) -> list[float]:
        """For each of these claims, which all have the same question and contexts and abstain: from
        0 (they answer) to 1 (they do not). Raises JudgeError, TimedOut, Unavailable.
        """
        ...


Judged = Verification | JudgeError


class Panel(Protocol):
    """All verifiers together, as the aggregator sees them."""

    async def verify(self, claims: Sequence[Claim]) -> list[Verification | JudgeError]:
        """One result for each claim, in order. Raises TimedOut, Unavailable, Overloaded."""
        ...


class StreamingPanel(Panel, Protocol):
    """A Panel whose results can be read as they come."""

    def stream(self, claims: Sequence[Claim]) -> AsyncGenerator[tuple[UUID, Judged]]:
        """The same as they come, each with its answer's event id: for batches that are watched.

        Whoever leaves the loop closes the iterator (``contextlib.aclosing``).
        """
        ...
