"""A run: many questions through the pipeline, with bounded work in flight, until each is decided.

A question's batch id follows from the run's name and the question, so that a run which was broken
off goes on where it was: what is recorded is not asked again. What is down or has too much to do is
waited for; what is wrong with one question is counted, and the others go on.
"""

import asyncio
import random
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar
from uuid import UUID

from rlvr_ray.core.questions import Question, Refused, chosen
from rlvr_ray.core.records import Kind
from rlvr_ray.errors import InputError, Overloaded, RlvrError, TimedOut, Unavailable
from rlvr_ray.pipeline import Ask, Pipeline
from rlvr_ray.ports import Recorder
from rlvr_ray.tasks import gather

T = TypeVar("T")

#: Questions that are looked up at once.
CHUNK = 128
#: Questions that may be undecided, for each that is asked at once: verification may lag behind.
AHEAD = 8
#: Seconds between two looks at what is undecided.
POLL_S = 0.5
#: Longest pause before something is tried again, in seconds; the first one is ``POLL_S``.
PAUSE_S = 30.0
#: Times that a question may run into the time limit: then it is the reason, and is left out.
ATTEMPTS = 3
#: Examples that are kept of each kind of failure.
EXAMPLES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How the questions of a run are asked."""

    run: str  #: its name; part of every batch id
    num_candidates: int
    temperatures: tuple[float, ...]
    top_k: int
    at_once: int  #: questions that are answered at the same time
    resume: bool = False  #: the run has begun already
    limit: int | None = None  #: so many questions and no more
    shuffle_seed: int | None = None  #: in a random order that follows from this


@dataclass(slots=True, kw_only=True)
class Tally:
    """What became of the questions so far. Tokens are those of the answers, not of the judge's."""

    read: int = 0
    known: int = 0  #: were recorded before this run of the program
    asked: int = 0
    undecided: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)  #: ``pair``, or why there is none
    failures: Counter[str] = field(default_factory=Counter)  #: not asked, or not answered
    examples: dict[str, list[str]] = field(default_factory=dict)
    repeats: int = 0  #: waits for something that was down or had too much to do
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    stopped: bool = False  #: before all was asked

    def failed(self, kind: str, message: str) -> None:
        """Count a question that makes no batch."""
        self.failures[kind] += 1
        examples = self.examples.setdefault(kind, [])
        if len(examples) < EXAMPLES:
            examples.append(message)

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        names = (name for name in self.__slots__ if name not in ("outcomes", "failures"))
        return {
            **{name: getattr(self, name) for name in names},
            "outcomes": dict(self.outcomes),
            "failures": dict(self.failures),
        }


class Bulk:
    """One run. ``tell`` hears of every change of the tally, which is the same object each time."""

    def __init__(
        self, pipeline: Pipeline, recorder: Recorder, plan: Plan, tell: Callable[[Tally], None]
    ) -> None:
        self._pipeline = pipeline
        self._recorder = recorder
        self._plan = plan
        self._tell = tell
        self.tally = Tally()
        self._asking = asyncio.Semaphore(plan.at_once)
        self._ahead = asyncio.Semaphore(plan.at_once * AHEAD)
        self._undecided: set[UUID] = set()
        self._all_asked = False
        self._stopping = False

    def stop(self) -> None:
        """Ask nothing more; what is being answered is answered, recorded and decided."""
        self._stopping = True

    async def run(self, questions: Iterable[Question | Refused]) -> Tally:
        """Ask all, wait until all are decided. Raises InputError where the run cannot begin."""
        started = time.monotonic()
        try:
            async with asyncio.TaskGroup() as whole:
                whole.create_task(self._watch())
                async with asyncio.TaskGroup() as asks:
                    await self._ask_all(questions, asks)
                self._all_asked = True
        except* RlvrError as errors:
            raise _first(errors) from None
        finally:
            self.tally.seconds = time.monotonic() - started
        return self.tally

    async def _ask_all(
        self, questions: Iterable[Question | Refused], group: asyncio.TaskGroup
    ) -> None:
        left = _chosen(questions, self._plan)
        # Reading a file takes its time, in which answers come.
        while chunk := await asyncio.to_thread(lambda: list(islice(left, CHUNK))):
            ids = [q.batch_id(self._plan.run) for q in chunk if isinstance(q, Question)]
            recorded = await self._persist(lambda ids=ids: self._recorder.outcomes(ids))  # type: ignore[misc]
            if recorded and not self._plan.resume and not self.tally.read:
                raise InputError(
                    f"the run {self._plan.run!r} has begun already: add --resume to go on with "
                    "it, or give this one another name (--run)"
                )
            for question in chunk:
                if self._stopping:
                    self.tally.stopped = True
                    return
                await self._take(question, recorded, group)

    async def _take(
        self,
        question: Question | Refused,
        recorded: Mapping[UUID, str | None],
        group: asyncio.TaskGroup,
    ) -> None:
        self.tally.read += 1
        if isinstance(question, Refused):
            self.tally.failed(question.kind, str(question))
            self._tell(self.tally)
            return
        batch_id = question.batch_id(self._plan.run)
        await self._ahead.acquire()
        if batch_id in recorded:
            self.tally.known += 1
            self._follow(batch_id)
            return
        await self._asking.acquire()
        group.create_task(self._ask(question, batch_id))

    async def _ask(self, question: Question, batch_id: UUID) -> None:
        ask = Ask(
            batch_id=batch_id,
            correlation_id=self._plan.run,
            question=question.text,
            kind=Kind.PREFERENCE,
            num_candidates=self._plan.num_candidates,
            temperatures=self._plan.temperatures,
            top_k=self._plan.top_k,
            references=() if question.reference is None else (question.reference,),
        )
        try:
            batch = await self._persist(lambda: self._pipeline.ask(ask))
        except (InputError, TimedOut) as error:
            self.tally.failed(type(error).__name__, f"{question.source}:{question.line}: {error}")
            self._ahead.release()
        else:
            self.tally.asked += 1
            for usage in (candidate.usage for candidate in batch.candidates):
                self.tally.prompt_tokens += usage.prompt_tokens
                self.tally.cached_tokens += usage.cached_tokens
                self.tally.completion_tokens += usage.completion_tokens
            self._follow(batch_id)
        finally:
            self._asking.release()
            self._tell(self.tally)

    def _follow(self, batch_id: UUID) -> None:
        self._undecided.add(batch_id)
        self.tally.undecided = len(self._undecided)

    async def _watch(self) -> None:
        """Count outcomes as they come, until all questions are asked and decided."""
        while self._undecided or not self._all_asked:
            await asyncio.sleep(POLL_S)
            known = await self._outcomes(list(self._undecided))
            for batch_id, outcome in known:
                if outcome is None:
                    continue
                self._undecided.discard(batch_id)
                self._ahead.release()
                self.tally.outcomes[outcome] += 1
            self.tally.undecided = len(self._undecided)
            self._tell(self.tally)

    async def _outcomes(self, ids: Sequence[UUID]) -> list[tuple[UUID, str | None]]:
        parts = [ids[at : at + CHUNK] for at in range(0, len(ids), CHUNK)]
        found = await gather(
            *(
                self._persist(lambda part=part: self._recorder.outcomes(part))  # type: ignore[misc]
                for part in parts
            )
        )
        return [item for part in found for item in part.items()]

    async def _persist(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Try until it works; raises what will not change by waiting."""
        pause, late = POLL_S, 0
        while True:
            try:
                return await attempt()
            except TimedOut:
                late += 1
                if late == ATTEMPTS:
                    raise
            except (Overloaded, Unavailable):
                pass
            self.tally.repeats += 1
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 not a secret
            pause = min(2 * pause, PAUSE_S)


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _chosen(found: Iterable[Question | Refused], plan: Plan) -> Iterator[Question | Refused]:
    """The questions that the plan wants, and what was refused on the way to them."""
    refused: deque[Refused] = deque()

    def accepted() -> Iterator[Question]:
        for each in found:
            if isinstance(each, Question):
                yield each
            else:
                refused.append(each)

    for question in chosen(accepted(), limit=plan.limit, shuffle_seed=plan.shuffle_seed):
        while refused:
            yield refused.popleft()
        yield question
    yield from refused
