"""The verifier ``logprob``: RAGAS's question, answered by the probability of the verdict.

The judge gets each statement of an answer in RAGAS's form. The verdict is one token, and the score
is the probability of 1 relative to 0 at its position (G-Eval weighs scores by token probabilities
in the same way: Liu et al., 2023). No reasons are generated, and scores are continuous and
repeatable. Prompts of a batch have the same beginning, so its contexts are computed once for all
statements of all answers and controls.
"""

import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ragas.metrics.collections.faithfulness.util import NLIStatementPrompt

from rlvr_ray.core import sanitising
from rlvr_ray.core.concurrency import gather
from rlvr_ray.core.errors import InputError, JudgeError, Unavailable
from rlvr_ray.core.records import Assessment
from rlvr_ray.core.statements import claims as claims_of
from rlvr_ray.generation.generator import Completion, Prompt, Sample
from rlvr_ray.generation.prompts import Message
from rlvr_ray.verification import screening
from rlvr_ray.verification.verifier import Claim, VerifierContext
from rlvr_ray.verification.verifiers.ragas.assessment import assessment
from rlvr_ray.verification.verifiers.ragas.controlled import Controlled
from rlvr_ray.verification.verifiers.ragas.judge import JudgeLLM, mark_of
from rlvr_ray.verification.verifiers.ragas.metrics import statements_of, version, without_question
from rlvr_ray.verification.verifiers.shared import Options, check_claim, read_options, since

#: Alternatives asked for at the verdict's place: the most that OpenAI's API gives.
_ALTERNATIVES = 20
#: Least probability of 0 and 1 together: below, the judge was saying something else.
_MASS = 0.01

_FAITHFUL_AGAIN = (
    "Can the statement be directly inferred from the context? Answer with the verdict alone, one "
    "digit: 1 if it can, 0 if it can not."
)
_RELEVANT = (
    "Your task is to judge whether a response answers a question. Give the verdict as 1 if the "
    "response is about what is asked and answers it, or 0 if it is about something else, or "
    "noncommittal (evasive, vague, or ambiguous)."
)
_RELEVANT_AGAIN = (
    "Does the response answer the question? Answer with the verdict alone, one digit: 1 if it "
    "does, 0 if it does not."
)


class LogprobOptions(Options):
    """Where statements come from."""

    #: ``sentences``: those of the answer, and the judge writes nothing; ``ragas``: the judge writes
    #: them, from RAGAS's prompt.
    statements: Literal["sentences", "ragas"] = "sentences"


@dataclass(frozen=True, slots=True)
class _Case:
    """A claim whose statements are known."""

    claim: Claim
    llm: JudgeLLM
    statements: tuple[str, ...]

    def prompts(self) -> list[Prompt]:
        """One for each statement, then the one for relevancy."""
        return [*(faithful(self.claim, text) for text in self.statements), _relevant(self.claim)]


def create(context: VerifierContext, options: Mapping[str, Any]) -> "LogprobVerifier":
    """A verifier with the options ``LogprobOptions``."""
    return LogprobVerifier(context, read_options(LogprobOptions, "logprob", options))


class LogprobVerifier:
    """A Verifier. All verdicts of a call are asked for together."""

    def __init__(self, context: VerifierContext, options: LogprobOptions) -> None:
        self._context = context
        self._statements = options.statements
        self._version = version(sys.modules[__name__])

    async def verify(self, claims: Sequence[Claim]) -> list[Assessment | JudgeError | None]:
        """See ``Verifier``. Raises Unavailable where the judge gives no probabilities."""
        started = time.monotonic()
        cases = await gather(*(self._case(claim) for claim in claims))
        sound = [case for case in cases if isinstance(case, _Case)]
        llms = {case.claim.answer_event_id: case.llm for case in sound}
        controlled = Controlled([case.claim for case in sound])
        controls = list(controlled.statements())
        prompts = [prompt for case in sound for prompt in case.prompts()]
        prompts += [faithful(claim, text) for claim, text in controls]
        answers = iter(await self._context.judge.generate(prompts) if prompts else [])
        judged = {
            case.claim.answer_event_id: [next(answers) for _ in case.prompts()] for case in sound
        }
        controlled.judged(
            [verdict(next(answers), llms[claim.answer_event_id]) for claim, _ in controls]
        )
        share = since(started) // max(len(claims), 1)
        return [
            self._weighed(case, judged[case.claim.answer_event_id], controlled, share)
            if isinstance(case, _Case)
            else case
            for case in cases
        ]

    async def _case(self, claim: Claim) -> _Case | JudgeError:
        llm = JudgeLLM(self._context, claim.answer_event_id, mark_of(claim))
        try:
            check_claim(claim)
            if self._statements == "ragas":
                statements = await statements_of(claim, llm)
            else:
                texts = map(screening.without_key, claims_of(claim.answer))
                statements = list(dict.fromkeys(texts)) or [claim.answer]
        except JudgeError as error:
            return error
        return _Case(claim, llm, tuple(statements))

    def _weighed(
        self,
        case: _Case,
        answers: Sequence[list[Completion] | InputError],
        controlled: Controlled,
        duration_ms: int,
    ) -> Assessment | JudgeError:
        claim, llm = case.claim, case.llm
        try:
            note = controlled.note(claim)
            *verdicts, relevant = [weigh(answer, llm) for answer in answers]
            if not without_question(claim.question, claim.answer):
                relevant = 0.0  # it repeats the question and says nothing
            return assessment(
                "logprob",
                llm,
                [(text, v, "") for text, v in zip(case.statements, verdicts, strict=True)],
                relevant,
                version=self._version,
                detail=note,
                duration_ms=duration_ms,
            )
        except JudgeError as error:
            return error


def weigh(answer: "list[Completion] | InputError", llm: JudgeLLM) -> float:
    """The probability of verdict 1 against 0; raises JudgeError where neither is likely."""
    if isinstance(answer, InputError):
        raise JudgeError(f"the judge cannot take this answer: {answer}")
    (completion,) = answer
    llm.account(completion)
    if not completion.logprobs:
        raise Unavailable(
            "the judge gives no log-probabilities; choose the verifier `ragas`, or another judge"
        )
    return probability(completion.logprobs[0])


def verdict(answer: "list[Completion] | InputError", llm: JudgeLLM) -> float | JudgeError:
    """The same, with the error in its place."""
    try:
        return weigh(answer, llm)
    except JudgeError as error:
        return error


def probability(likeliest: Mapping[str, float]) -> float:
    """P(1) / (P(0) + P(1)) from the log-probabilities of the likeliest tokens at a place."""
    mass = {"0": 0.0, "1": 0.0}
    for token, logprob in likeliest.items():
        digit = token.strip(" \n\t\"'*`\u2581\u0120")  # as tokenizers show a space
        if digit in mass and logprob <= 0:  # false of NaN too
            mass[digit] += math.exp(logprob)
    total = mass["0"] + mass["1"]
    if total < _MASS:
        raise JudgeError("the judge did not answer with a verdict of 0 or 1")
    return mass["1"] / total


def verdict_prompt(task: str, mark: str, material: Mapping[str, str], again: str) -> Prompt:
    """A prompt whose answer is one digit. ``material`` is in order; what differs comes last."""
    parts = "\n\n".join(
        f"{name}: {sanitising.between(mark, text)}" for name, text in material.items()
    )
    content = f"{sanitising.NOTICE}\n{task}\n\n{parts}\n\n{again}\nVerdict:"
    return Prompt(
        messages=(Message(role="user", content=content),),
        samples=(Sample(temperature=0.0, seed=0),),
        max_tokens=1,
        logprobs=_ALTERNATIVES,
    )


def faithful(claim: Claim, statement: str) -> Prompt:
    """Whether the contexts support a statement, as RAGAS asks."""
    material = {"Context": "\n".join(claim.contexts), "Statement": statement}
    return verdict_prompt(NLIStatementPrompt.instruction, mark_of(claim), material, _FAITHFUL_AGAIN)


def _relevant(claim: Claim) -> Prompt:
    material = {"Question": claim.question, "Response": claim.answer}
    return verdict_prompt(_RELEVANT, mark_of(claim), material, _RELEVANT_AGAIN)
