"""All verifiers together: what they say of an answer becomes one verification, or a reason.

Before they are asked, the material is made fit to be seen by a judge, and answers that no judge
should be asked about are set apart. Afterwards their assessments are compared: where they
contradict each other, nobody is believed.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from operator import itemgetter
from typing import Any
from uuid import UUID

from rlvr_ray.core import abstention, guard, screening, statements
from rlvr_ray.core.records import DIGITS, Assessment, Judge, Verification
from rlvr_ray.errors import JudgeError
from rlvr_ray.ports import Claim, ContextJudge, Embedder, Judged, Verifier, cosines
from rlvr_ray.settings import VerificationSettings
from rlvr_ray.tasks import gather, told_by

#: What gives an assessment of its own, without a verifier; also the version of its rules.
SCREENING, ABSTENTION = "screening", "abstention"
_RULES = "1"

#: What verifiers are compared by, each with its own kind: the score of one that has neither may
#: well differ, since it measures something else.
_METRICS = ("faithfulness", "relevancy")
# The verdict from which on a statement counts as called supported.
_SUPPORTED = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A verifier, under its name in the settings, with its share of the score (0: a check)."""

    name: str
    weight: float
    verifier: Verifier


@dataclass(slots=True)
class _Sorted:
    """Claims that are decided already, those for the verifiers, and those that abstain.

    ``left_out`` counts the sentences that judges do not get to see of a claim's contexts.
    """

    ended: dict[UUID, Judged] = field(default_factory=dict)
    fit: list[Claim] = field(default_factory=list)
    abstaining: list[Claim] = field(default_factory=list)
    left_out: dict[UUID, int] = field(default_factory=dict)


class WeightedPanel:
    """A Panel."""

    def __init__(
        self,
        members: Sequence[Member],
        context_judge: ContextJudge,
        settings: VerificationSettings,
        embedder: Embedder | None = None,
    ) -> None:
        """With an embedder, statements that a judge calls supported must be about the matter."""
        self._members = members
        self._context_judge = context_judge
        self._settings = settings
        self._embedder = embedder

    async def verify(self, claims: Sequence[Claim]) -> list[Verification | JudgeError]:
        """See ``ports.Panel``. Claims with the same question and contexts belong together."""
        sorted_ = self._sorted(claims)
        results = dict(sorted_.ended)
        results |= await self._judged(sorted_.fit, sorted_.left_out)
        results |= await self._abstentions(sorted_, results)
        return [results[claim.answer_event_id] for claim in claims]

    async def stream(self, claims: Sequence[Claim]) -> AsyncGenerator[tuple[UUID, Judged]]:
        """See ``ports.Panel``. Every claim is judged by itself, as it would be among the others."""
        sorted_ = self._sorted(claims)
        results = dict(sorted_.ended)
        for ended in sorted_.ended.items():
            yield ended

        async def judge(tell: Callable[[dict[UUID, Judged]], None]) -> None:
            async def one(claim: Claim) -> None:
                tell(await self._judged([claim], sorted_.left_out))

            await gather(*(one(claim) for claim in sorted_.fit))

        async with contextlib.aclosing(told_by(judge)) as judged:
            async for found in judged:
                results |= found
                for each in found.items():
                    yield each
        for abstention_ in (await self._abstentions(sorted_, results)).items():
            yield abstention_

    # Before the verifiers.

    def _sorted(self, claims: Sequence[Claim]) -> "_Sorted":
        """Claims by what is to be done with them."""
        found = _Sorted()
        for claim in claims:
            screened = self._screen(claim)
            if not isinstance(screened, tuple):
                found.ended[claim.answer_event_id] = screened
                continue
            claim, found.left_out[claim.answer_event_id] = screened
            (found.abstaining if self._abstains(claim) else found.fit).append(claim)
        return found

    def _abstains(self, claim: Claim) -> bool:
        """Whether the contexts decide about it, not the verifiers."""
        if self._settings.abstention == "ragas" or not claim.contexts or _is_reference(claim):
            return False
        similarity = partial(cosines, self._embedder) if self._embedder else None
        return abstention.abstains(claim.answer, claim.question, claim.contexts, similarity)

    def _screen(self, claim: Claim) -> tuple[Claim, int] | Verification | JudgeError:
        """The claim as judges may see it, with what was left out of it; or its end."""
        answer, question = guard.visible(claim.answer), guard.visible(claim.question)
        if not answer.strip():
            return JudgeError("the answer is empty")
        if not self._settings.screening:
            contexts = tuple(guard.visible(context) for context in claim.contexts)
            return replace(claim, question=question, answer=answer, contexts=contexts), 0
        problem = screening.empty_words(claim.answer, self._settings.min_answer_chars)
        if problem and not _is_reference(claim):  # what a reference says is something
            return _verification(
                claim, [_own(SCREENING, 0.0, f"the answer says nothing: {problem}")]
            )
        if screening.steers(question):
            return JudgeError("the question talks to the judge: no answer to it is scored")
        if screening.steers(answer):
            return JudgeError("the answer talks to the judge")
        cleaned = [screening.without_steering(guard.visible(c)) for c in claim.contexts]
        contexts = tuple(text for text, _ in cleaned if text.strip())
        left_out = sum(count for _, count in cleaned)
        if left_out and not contexts:
            return JudgeError("every context talks to the judge or is blank")
        return replace(claim, question=question, answer=answer, contexts=contexts), left_out

    # The verifiers.

    async def _judged(
        self, claims: Sequence[Claim], left_out: Mapping[UUID, int]
    ) -> dict[UUID, Verification | JudgeError]:
        if not claims:
            return {}
        said: list[list[Any]] = await gather(*(m.verifier.verify(claims) for m in self._members))
        results = {
            claim.answer_event_id: self._combined(claim, opinions, left_out[claim.answer_event_id])
            for claim, *opinions in zip(claims, *said, strict=True)
        }
        if self._embedder is not None:
            for claim in claims:
                result = results[claim.answer_event_id]
                if isinstance(result, Verification):
                    problem = await asyncio.to_thread(_foreign, claim, result, self._embedder)
                    if problem:
                        results[claim.answer_event_id] = JudgeError(problem)
        return results

    def _combined(
        self,
        claim: Claim,
        opinions: Sequence[Assessment | JudgeError | None],
        left_out: int,
    ) -> Verification | JudgeError:
        assessments: list[Assessment] = []
        for member, opinion in zip(self._members, opinions, strict=True):
            if isinstance(opinion, JudgeError):
                return JudgeError(f"{member.name}: {opinion}")
            if opinion is not None:
                detail = opinion.detail
                if left_out:
                    note = f"left out of the contexts, since they talk to the judge: {left_out}"
                    detail = f"{detail}; {note}" if detail else note
                assessments.append(
                    replace(opinion, verifier=member.name, weight=member.weight, detail=detail)
                )
        if not any(assessment.weight for assessment in assessments):
            names = ", ".join(member.name for member in self._members)
            return JudgeError(
                f"no verifier has anything to go by ({names}): is a reference missing?"
            )
        if problem := self._disagreement(assessments):
            return JudgeError(problem)
        return _verification(claim, assessments)

    def _disagreement(self, assessments: Sequence[Assessment]) -> str | None:
        """Which of them are further apart than may be, or None.

        A cosine of question and answer is no measure of relevancy, only a ceiling: what is far
        from the question in any words does not answer it.
        """
        bound = self._settings.max_disagreement
        for metric in _METRICS:
            found = [(value, a) for a in assessments if (value := getattr(a, metric)) is not None]
            tops = [f for f in found if metric != "relevancy" or f[1].judge.relevancy != "cosine"]
            if not tops:
                continue
            high, one = max(tops, key=itemgetter(0))
            low, other = min(found, key=itemgetter(0))
            if round(high - low, DIGITS) > bound:
                return (
                    f"verifiers disagree on {metric}: {one.verifier} {high:g}, "
                    f"{other.verifier} {low:g} (more than {bound:g} apart)"
                )
        return None

    # Abstentions.

    async def _abstentions(
        self, claims: "_Sorted", results: Mapping[UUID, Judged]
    ) -> dict[UUID, Judged]:
        """Decide answers that say that the contexts do not say; the judge is asked once a batch."""
        by_material: dict[tuple[str, tuple[str, ...]], list[Claim]] = {}
        for claim in claims.abstaining:
            by_material.setdefault((claim.question, claim.contexts), []).append(claim)
        views = await gather(*(self._view(*material) for material in by_material))
        decided: dict[UUID, Judged] = {}
        for (material, group), view in zip(by_material.items(), views, strict=True):
            scores = [
                found
                for claim in claims.fit
                if (claim.question, claim.contexts) == material
                and isinstance(result := results[claim.answer_event_id], Verification)
                and (found := _standing(result)) is not None
            ]
            for claim in group:
                whole = not claims.left_out[claim.answer_event_id]
                decided[claim.answer_event_id] = self._abstention(claim, view, scores, whole)
        return decided

    async def _view(self, question: str, contexts: Sequence[str]) -> float | JudgeError:
        if self._settings.abstention == "unscored":
            return JudgeError("the answer abstains, and abstentions are not scored")
        try:
            return await self._context_judge.answerable(question, contexts)
        except JudgeError as error:
            return JudgeError(f"the answer abstains, and the contexts were not judged: {error}")

    def _abstention(
        self, claim: Claim, view: float | JudgeError, scores: Sequence[float], whole: bool
    ) -> Verification | JudgeError:
        if isinstance(view, JudgeError):
            return view
        score, detail = abstention.judge(
            claim.retrieval_score, self._settings.min_retrieval_score, view, scores
        )
        if score is None:
            return JudgeError(detail)
        if score and not whole:
            return JudgeError(
                f"{detail}; but sentences that talk to the judge were left out of them"
            )
        return _verification(claim, [_own(ABSTENTION, score, detail)])


def _foreign(claim: Claim, verification: Verification, embedder: Embedder) -> str | None:
    """What is wrong where a verifier calls supported what has nothing to do with the matter."""
    supported = {
        statement.text: assessment.verifier
        for assessment in verification.assessments
        for statement in assessment.statements
        if statement.verdict >= _SUPPORTED
    }
    found = statements.foreign(
        claim.question, claim.contexts, list(supported), partial(cosines, embedder)
    )
    if found is None:
        return None
    return (
        f"{supported[found]} calls supported what question and contexts do not speak of: "
        f"{found[:100]}"
    )


def _is_reference(claim: Claim) -> bool:
    return claim.answer.strip() in (reference.strip() for reference in claim.references)


def _verification(claim: Claim, assessments: Sequence[Assessment]) -> Verification:
    return Verification(
        answer_event_id=claim.answer_event_id,
        assessments=tuple(assessments),
        duration_ms=max(assessment.duration_ms for assessment in assessments),
        completed_at=datetime.now(UTC),
    )


def _own(name: str, score: float, detail: str) -> Assessment:
    """What the panel itself says of an answer."""
    judge = Judge(faithfulness="", relevancy="", model="", embedder="", version=_RULES)
    return Assessment(score=score, judge=judge, verifier=name, detail=detail)


def _standing(verification: Verification) -> float | None:
    """How far an answer stands on the contexts: its worse metric."""
    values = (verification.faithfulness, verification.relevancy)
    return min((value for value in values if value is not None), default=None)
