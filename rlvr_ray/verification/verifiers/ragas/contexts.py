"""Whether the contexts answer the question, by a language model, for answers that abstain."""

from collections.abc import Sequence

from pydantic import BaseModel
from ragas.prompt.metrics.base_prompt import BasePrompt

from rlvr_ray.core import ids
from rlvr_ray.core.errors import JudgeError
from rlvr_ray.core.statements import claims as claims_of
from rlvr_ray.generation.generator import Prompt
from rlvr_ray.verification.abstention import LIKELY, UNLIKELY
from rlvr_ray.verification.verifier import Claim, VerifierContext
from rlvr_ray.verification.verifiers.ragas.controlled import Controlled
from rlvr_ray.verification.verifiers.ragas.judge import JudgeLLM, ask, mark_of
from rlvr_ray.verification.verifiers.ragas.logprob import faithful, verdict, verdict_prompt, weigh
from rlvr_ray.verification.verifiers.ragas.metrics import verdict_on
from rlvr_ray.verification.verifiers.ragas.worded import bit

_TASK = (
    "Your task is to judge whether a question can be answered from a given context alone, as the "
    "statement says. Give the verdict as 1 if the context contains the answer, or 0 if it does not."
)
_STATEMENT = "The context contains the answer to the question."
_AGAIN = (
    "Does the context contain the answer to the question? Answer with the verdict alone, one "
    "digit: 1 if it does, 0 if it does not."
)
_AGAIN_JSON = "Judge whether the given context contains the answer to the given question."


class _Input(BaseModel):
    context: str
    question: str


class _Output(BaseModel):
    answerable: int


class _ContextPrompt(BasePrompt[_Input, _Output]):
    """Built as RAGAS builds its own."""

    input_model = _Input
    output_model = _Output
    instruction = (
        "Your task is to judge whether a question can be answered from a given context alone. Give "
        "answerable as 1 if the context contains the answer, or 0 if it does not."
    )
    examples = [  # noqa: RUF012 # as the base class declares it
        (
            _Input(
                context="The Eiffel Tower is in Paris. It was finished in 1889.",
                question="When was the Eiffel Tower finished?",
            ),
            _Output(answerable=1),
        ),
        (
            _Input(
                context="The Eiffel Tower is in Paris. It was finished in 1889.",
                question="How many visitors does the Eiffel Tower have?",
            ),
            _Output(answerable=0),
        ),
    ]


class AskedContexts:
    """A ContextJudge: asks the judge, for a probability or, without ``logprobs``, for 0 or 1."""

    def __init__(self, context: VerifierContext, *, logprobs: bool) -> None:
        self._context = context
        self._logprobs = logprobs

    async def unanswered(self, refusals: Sequence[Claim]) -> list[float]:
        """See ``ContextJudge``. Where its view of the contexts is unsure, what it says of a
        refusal's own statements counts as much.
        """
        claim, controlled = refusals[0], Controlled(refusals)
        mark = mark_of(claim)
        llm = JudgeLLM(self._context, ids.derive("contexts", mark), mark)
        if self._logprobs:
            return await self._weighed(claim, refusals, controlled, llm)
        asked = _ContextPrompt().to_string(
            _Input(context="\n".join(claim.contexts), question=claim.question)
        )
        controls = [verdict_on(text, c.contexts, llm) for c, text in controlled.statements()]
        answerable = (await llm.ask(asked, _Output, _AGAIN_JSON)).answerable
        controlled.judged([bit(answer) for answer in await ask(self._context, controls)])
        controlled.note(claim)
        return [1.0 - answerable] * len(refusals)

    async def _weighed(
        self, claim: Claim, refusals: Sequence[Claim], controlled: Controlled, llm: JudgeLLM
    ) -> list[float]:
        own = [claims_of(refusal.answer) for refusal in refusals]
        controls = [text for _, text in controlled.statements()]
        statements = [*controls, *(text for texts in own for text in texts)]
        answers = await self._context.judge.generate(
            [_view(claim), *(faithful(claim, text) for text in statements)]
        )
        view = 1.0 - weigh(answers[0], llm)
        verdicts = [verdict(answer, llm) for answer in answers[1:]]
        controlled.judged(verdicts[: len(controls)])
        controlled.note(claim)
        if not UNLIKELY < view < LIKELY:
            return [view] * len(refusals)
        found = iter(verdicts[len(controls) :])
        return [(view + _least([next(found) for _ in texts])) / 2 for texts in own]


def _view(claim: Claim) -> Prompt:
    material = {
        "Context": "\n".join(claim.contexts),
        "Statement": _STATEMENT,
        "Question": claim.question,
    }
    return verdict_prompt(_TASK, mark_of(claim), material, _AGAIN)


def _least(verdicts: Sequence[float | JudgeError]) -> float:
    """The lowest of them; 0.5 where there is none."""
    return min((v for v in verdicts if not isinstance(v, JudgeError)), default=0.5)
