"""A language model's view of whether contexts answer a question, before any answer is seen."""

from collections.abc import Sequence

from pydantic import BaseModel
from ragas.prompt.metrics.base_prompt import BasePrompt

from rlvr_ray.adapters.ragas.judge import JudgeLLM
from rlvr_ray.adapters.ragas.logprob import verdict_prompt, weigh
from rlvr_ray.core import guard, ids
from rlvr_ray.ports import Equipment

_TASK = (
    "Your task is to judge whether a question can be answered from a given context alone. Give the "
    "verdict as 1 if the context contains the answer, or 0 if it does not."
)
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
    instruction = _TASK.replace("the verdict", "answerable")
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

    def __init__(self, equipment: Equipment, *, logprobs: bool) -> None:
        self._equipment = equipment
        self._logprobs = logprobs

    async def answerable(self, question: str, contexts: Sequence[str]) -> float:
        """See ``ports.ContextJudge``."""
        mark = guard.mark(question, contexts)
        llm = JudgeLLM(self._equipment, ids.derive("contexts", mark), mark)
        material = {"Context": "\n".join(contexts), "Question": question}
        if self._logprobs:
            prompt = verdict_prompt(_TASK, mark, material, _AGAIN)
            (answer,) = await self._equipment.judge.generate([prompt])
            return weigh(answer, llm)
        asked = _ContextPrompt().to_string(_Input(context=material["Context"], question=question))
        return float((await llm.ask(asked, _Output, _AGAIN_JSON)).answerable)
