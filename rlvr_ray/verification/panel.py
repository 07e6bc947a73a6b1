"""All verifiers together: their results for an answer become one verification, or a reason.

First, texts are sanitised, and answers that no judge should see are scored by rules. Then the
verifiers are asked, and their assessments are compared: if two contradict each other, none is used.
A problem with one answer affects only that answer.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from uuid import UUID

from rlvr_ray.core import codec, sanitising, scoring
from rlvr_ray.core.concurrency import emitted_by, gather
from rlvr_ray.core.errors import InputError, JudgeError
from rlvr_ray.core.fields import DIGITS
from rlvr_ray.core.records import Assessment, Defect, Judge, Verification
from rlvr_ray.documents.embedder import Embedder, cosines
from rlvr_ray.settings import VerificationSettings
from rlvr_ray.verification import abstention, screening, statements, steering
from rlvr_ray.verification.verifier import Claim, ContextJudge, Judged, Verifier

#: What gives an assessment of its own, without a verifier; also the version of its rules.
SCREENING, ABSTENTION = "screening", "abstention"
_RULES = "2"

#: What verifiers are compared by, each with its own kind: the score of one that has neither may
#: well differ, since it measures something else.
_METRICS = ("faithfulness", "relevancy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A verifier, under its name in the settings, with its share of the score (0: none)."""

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
        context_judge: ContextJudge | None,
        settings: VerificationSettings,
        embedder: Embedder | None = None,
    ) -> None:
        """Without a context judge, other answers alone show whether the contexts answer.

        With an embedder, which should keep its vectors (``KeptVectors``), abstentions and what is
        foreign to the contexts are told by their meaning.
        """
        self._members = members
        self._context_judge = context_judge
        self._settings = settings
        self._embedder = embedder

    async def verify(self, claims: Sequence[Claim]) -> list[Verification | JudgeError]:
        """See ``Panel``. Claims with the same question and contexts belong together."""
        sorted_ = await asyncio.to_thread(self._sorted, claims)
        results = dict(sorted_.ended)
        results |= await self._judged(sorted_.fit, sorted_.left_out)
        results |= await self._abstentions(sorted_, results)
        return [results[claim.answer_event_id] for claim in claims]

    async def stream(self, claims: Sequence[Claim]) -> AsyncGenerator[tuple[UUID, Judged]]:
        """See ``Panel``. Every claim is judged by itself, as it would be among the others."""
        sorted_ = await asyncio.to_thread(self._sorted, claims)
        results = dict(sorted_.ended)
        for ended in sorted_.ended.items():
            yield ended

        async def judge(tell: Callable[[dict[UUID, Judged]], None]) -> None:
            async def one(claim: Claim) -> None:
                tell(await self._judged([claim], sorted_.left_out))

            await gather(*(one(claim) for claim in sorted_.fit))

        async with contextlib.aclosing(emitted_by(judge)) as judged:
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
        answer, question = sanitising.visible(claim.answer), sanitising.visible(claim.question)
        if not answer.strip():
            return JudgeError("the answer is empty")
        if not self._settings.screening:
            contexts = tuple(sanitising.visible(context) for context in claim.contexts)
            return replace(claim, question=question, answer=answer, contexts=contexts), 0
        problem = screening.empty_words(claim.answer, self._settings.min_answer_chars)
        if problem and not _is_reference(claim):  # what a reference says is something
            defect, what = problem
            return _verification(
                claim, [_own(SCREENING, 0.0, f"this is no answer: {what}", defect)]
            )
        if steering.steers(question):
            return JudgeError("the question talks to the judge: no answer to it is scored")
        if steering.steers(answer):
            return JudgeError("the answer talks to the judge")
        cleaned = [steering.without_steering(sanitising.visible(c)) for c in claim.contexts]
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
        opinions_of = [
            _opinions(found, len(claims))
            for found in await gather(*(m.verifier.verify(claims) for m in self._members))
        ]
        results = {
            claim.answer_event_id: self._combined(claim, opinions, left_out[claim.answer_event_id])
            for claim, *opinions in zip(claims, *opinions_of, strict=True)
        }
        for claim in claims:
            result = results[claim.answer_event_id]
            if isinstance(result, Verification) and (problem := await self._foreign(claim, result)):
                results[claim.answer_event_id] = JudgeError(problem)
        return results

    async def _foreign(self, claim: Claim, verification: Verification) -> str | None:
        """What is wrong where a verifier calls supported what has nothing to do with the matter."""
        supported = {
            statement.text: assessment.verifier
            for assessment in verification.assessments
            if assessment.judge.model  # a language model can be talked to, rules cannot
            if assessment.defect is None  # who names one calls nothing right
            for statement in assessment.statements
            if statement.verdict >= scoring.LOW
        }
        strange = statements.strange(claim.question, claim.contexts, list(supported))
        if not strange or self._embedder is None:
            return None
        found = await asyncio.to_thread(
            statements.foreign,
            claim.question,
            claim.contexts,
            strange,
            partial(cosines, self._embedder),
        )
        if found is None:
            return None
        return (
            f"{supported[found]} calls supported what question and contexts do not speak of: "
            f"{found[:100]}"
        )

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
        """Which of those that count are further apart than may be, or None."""
        bound = self._settings.max_disagreement
        for metric in _METRICS:
            found = [
                (value, assessment.verifier)
                for assessment in assessments
                if assessment.weight and (value := getattr(assessment, metric)) is not None
            ]
            if not found:
                continue
            (low, other), (high, one) = min(found), max(found)
            if round(high - low, DIGITS) > bound:
                return (
                    f"verifiers disagree on {metric}: {one} {high:g}, {other} {low:g} "
                    f"(more than {bound:g} apart)"
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
        views = await gather(*(self._views(group) for group in by_material.values()))
        decided: dict[UUID, Judged] = {}
        for (material, group), view in zip(by_material.items(), views, strict=True):
            answered = max(
                (
                    _standing(results[claim.answer_event_id])
                    for claim in claims.fit
                    if (claim.question, claim.contexts) == material
                ),
                default=0.0,
            )
            for at, claim in enumerate(group):
                decided[claim.answer_event_id] = (
                    view
                    if isinstance(view, JudgeError)
                    else self._abstention(
                        claim, view[at], answered, claims.left_out[claim.answer_event_id]
                    )
                )
        return decided

    async def _views(self, group: Sequence[Claim]) -> Sequence[float | None] | JudgeError:
        if self._settings.abstention == "unscored":
            return JudgeError("the answer abstains, and abstentions are not scored")
        if self._context_judge is None:
            return [None] * len(group)
        try:
            return await self._context_judge.unanswered(group)
        except JudgeError as error:
            return JudgeError(f"the answer abstains, and the contexts were not judged: {error}")

    def _abstention(
        self, claim: Claim, unanswered: float | None, answered: float, left_out: int
    ) -> Verification | JudgeError:
        score, detail = abstention.judge(
            unanswered, answered, claim.retrieval_score, self._settings.min_retrieval_score
        )
        if score is None:
            return JudgeError(detail)
        if score and left_out:
            return JudgeError(
                f"{detail}; but sentences that talk to the judge were left out of them"
            )
        defect = None if score else Defect.REFUSAL
        return _verification(claim, [_own(ABSTENTION, score, detail, defect)])


def _opinions(results: object, wanted: int) -> list[Assessment | JudgeError | None]:
    """What a verifier says: it may be anybody's, and return anything."""
    if not isinstance(results, Sequence) or len(results) != wanted:
        what = (
            f"{len(results)} results"
            if isinstance(results, Sequence)
            else f"a {type(results).__name__}"
        )
        return [JudgeError(f"it returns {what} for {wanted} answers")] * wanted
    return [_opinion(one) for one in results]


def _opinion(result: object) -> Assessment | JudgeError | None:
    """One that can be kept, or why it cannot."""
    if result is None or isinstance(result, JudgeError):
        return result
    if not isinstance(result, Assessment):
        return JudgeError(f"its result is a {type(result).__name__}, not an Assessment")
    try:
        codec.dumps(result, Assessment)
    except InputError as error:
        return JudgeError(str(error))
    return result


def _is_reference(claim: Claim) -> bool:
    return claim.answer.strip() in (reference.strip() for reference in claim.references)


def _verification(claim: Claim, assessments: Sequence[Assessment]) -> Verification:
    return Verification(
        answer_event_id=claim.answer_event_id,
        assessments=tuple(assessments),
        duration_ms=max(assessment.duration_ms for assessment in assessments),
        completed_at=datetime.now(UTC),
    )


def _own(name: str, score: float, detail: str, defect: Defect | None) -> Assessment:
    """What the panel itself says of an answer."""
    judge = Judge(faithfulness="", relevancy="", model="", embedder="", version=_RULES)
    return Assessment(score=score, judge=judge, verifier=name, detail=detail, defect=defect)


def _standing(result: Judged) -> float:
    """How far an answer is supported and answers: its worse metric; 0 where one is not known."""
    if isinstance(result, JudgeError) or scoring.defect(result) is not None:
        return 0.0
    return min(result.faithfulness or 0.0, result.relevancy or 0.0)
