"""Asking a judge for one structured answer, and checking it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from uuid import UUID

from pydantic import BaseModel
from ragas.llms.base import InstructorBaseRagasLLM
from ragas.metrics.collections.answer_relevancy.util import AnswerRelevanceOutput

from rlvr_ray.core import ids, sanitising
from rlvr_ray.core.errors import InputError, JudgeError
from rlvr_ray.core.records import Usage
from rlvr_ray.generation.generator import Completion, Prompt, Sample
from rlvr_ray.generation.prompts import Message
from rlvr_ray.verification.verifier import Claim, VerifierContext
from rlvr_ray.verification.verifiers.ragas.structured import guarded, parse, strict_schema

Model = TypeVar("Model", bound=BaseModel)

#: Reverse questions of one answer, RAGAS's default.
STRICTNESS = 3
#: They must differ to be worth averaging; verdicts must not.
QUESTION_TEMPERATURE, VERDICT_TEMPERATURE = 0.4, 0.0
#: Repeated behind the input: in few words, which small models need.
RELEVANCE_AGAIN = "Generate a question for the given answer."
#: A judge that wrote something unusable is asked once more, with another seed and twice the limit.
ATTEMPTS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked(Generic[Model]):
    """A stock prompt for structured answers, behind whose input ``again`` says the task once more.

    ``check`` raises JudgeError where an answer cannot be used; ``fields`` are JSON schemas for
    fields of these names, closer than RAGAS's own; ``account`` hears of every completion.
    """

    prompt: str
    response_model: type[Model]
    again: str
    mark: str
    seed_of: UUID
    account: Callable[[Completion], None]
    count: int = 1
    temperature: float = VERDICT_TEMPERATURE
    check: Callable[[Model], None] | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)

    def to_judge(self, attempt: int, limit: int) -> Prompt:
        """What the judge sees, with other seeds at each attempt."""
        seed = ids.seed(self.seed_of, "judge", attempt)
        return Prompt(
            messages=(Message(role="user", content=guarded(self.prompt, self.mark, self.again)),),
            samples=tuple(
                Sample(temperature=self.temperature, seed=(seed + n) % 2**31)
                for n in range(self.count)
            ),
            max_tokens=limit,
            json_schema=strict_schema(self.response_model, self.fields),
        )

    def read(self, completions: list[Completion] | InputError, limit: int) -> list[Model]:
        """The answers; raises JudgeError where one of them is not sound."""
        if isinstance(completions, InputError):
            raise JudgeError(f"the judge cannot take this answer: {completions}")
        for completion in completions:
            self.account(completion)
        return [self._read(completion, limit) for completion in completions]

    def _read(self, completion: Completion, limit: int) -> Model:
        if completion.finish_reason == "length":
            raise JudgeError(f"the judge's answer was cut at {limit:,} tokens")
        if not completion.text and completion.reasoning_chars:
            raise JudgeError(
                "the judge wrote reasoning only: give it more tokens (judge.max_tokens), or switch "
                "its reasoning off"
            )
        answer = parse(completion.text, self.response_model, self.mark)
        if self.check is not None:
            self.check(answer)
        return answer


def mark_of(claim: Claim) -> str:
    """The mark of a claim's batch: the same for all its answers, whose prompts then begin alike."""
    return sanitising.mark(claim.question, claim.contexts)


async def ask(
    context: VerifierContext, asked: Sequence[Asked[Model]]
) -> list[list[Model] | JudgeError]:
    """The answers to each prompt, all asked in one call, and once more those that were no use."""
    found: dict[int, list[Model] | JudgeError] = {}
    unread = list(range(len(asked)))
    for attempt in range(ATTEMPTS):
        if not unread:
            break
        limit = context.max_tokens * (attempt + 1)
        prompts = [asked[at].to_judge(attempt, limit) for at in unread]
        answers = await context.judge.generate(prompts)
        for at, completions in zip(unread, answers, strict=True):
            try:
                found[at] = asked[at].read(completions, limit)
            except JudgeError as error:
                found[at] = error
        unread = [at for at in unread if isinstance(found[at], JudgeError)]
    return [found[at] for at in range(len(asked))]


class JudgeLLM(InstructorBaseRagasLLM):
    """RAGAS's view of a Generator, for one answer; keeps what the judge wrote and what it cost."""

    def __init__(self, context: VerifierContext, seed_of: UUID, mark: str) -> None:
        self.context = context
        self.seed_of = seed_of
        self.mark = mark
        self._drawn: list[AnswerRelevanceOutput] = []
        self.questions: list[str] = []
        self.usage = Usage(prompt_tokens=0, completion_tokens=0)
        self.model = ""

    def generate(self, prompt: str, response_model: type[Model]) -> Model:
        """RAGAS never calls it."""
        raise NotImplementedError("this judge is asynchronous: call agenerate")

    async def agenerate(self, prompt: str, response_model: type[Model]) -> Model:
        """One structured answer to a stock prompt; raises JudgeError if there is no sound one."""
        if not issubclass(response_model, AnswerRelevanceOutput):
            raise NotImplementedError(f"{response_model.__name__} is asked for by ``ask``")
        # RAGAS asks the same prompt STRICTNESS times in a row. Drawn together, they share one
        # prefill and decode at the same time.
        if not self._drawn:
            self._drawn = await self._ask(
                self.asked(
                    prompt,
                    AnswerRelevanceOutput,
                    RELEVANCE_AGAIN,
                    count=STRICTNESS,
                    temperature=QUESTION_TEMPERATURE,
                    check=_check_question,
                )
            )
            self.questions = [answer.question for answer in self._drawn]
        return self._drawn.pop(0)  # type: ignore[return-value]

    def asked(
        self, prompt: str, response_model: type[Model], again: str, **how: Any
    ) -> Asked[Model]:
        """A prompt about this answer, whose cost counts as its own; ``how`` as in ``Asked``."""
        return Asked(
            prompt=prompt,
            response_model=response_model,
            again=again,
            mark=self.mark,
            seed_of=self.seed_of,
            account=self.account,
            **how,
        )

    async def ask(self, prompt: str, response_model: type[Model], again: str, **how: Any) -> Model:
        """The answer to a prompt about this answer; raises JudgeError if there is no sound one."""
        (answer,) = await self._ask(self.asked(prompt, response_model, again, **how))
        return answer

    def account(self, completion: Completion) -> None:
        """Add a completion's cost, and note who wrote it."""
        self.model = completion.model
        self.usage += completion.usage

    async def _ask(self, asked: Asked[Model]) -> list[Model]:
        (answers,) = await ask(self.context, [asked])
        if isinstance(answers, JudgeError):
            raise answers
        return answers


def _check_question(answer: AnswerRelevanceOutput) -> None:
    answer.question = " ".join(sanitising.visible(answer.question).split())
    if not answer.question:
        raise JudgeError("the judge wrote no question for the answer")
