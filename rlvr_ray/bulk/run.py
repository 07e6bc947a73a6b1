"""A run: many questions through the pipeline, with bounded work in flight, until each is decided.

A question's batch id follows from the run's name and the question, so an interrupted run continues
where it was: recorded questions are not asked again. The run waits for parts that are down or
overloaded; a problem with one question is counted and does not affect the others.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar
from uuid import UUID

from rlvr_ray.bulk.statistics import Rates, RunStatistics
from rlvr_ray.core.concurrency import gather
from rlvr_ray.core.errors import (
    InputError,
    Overloaded,
    RlvrError,
    TimedOut,
    Unavailable,
    Unreadable,
)
from rlvr_ray.core.questions import Question, Refused, chosen
from rlvr_ray.core.records import NO_TOKENS, Kind
from rlvr_ray.core.retry import persist
from rlvr_ray.dataset.state import OutcomeSummary
from rlvr_ray.pipeline.ask import Ask, Pipeline
from rlvr_ray.pipeline.recorder import Recorder

T = TypeVar("T")

#: Questions that are read, and batches that are looked up, at once.
CHUNK = 128
#: Questions that may be undecided, for each that is asked at once: verification may lag behind.
AHEAD = 8
#: Seconds between two checks of what is undecided.
POLL_S = 0.5
#: Longest pause before something is tried again, in seconds; the first one is ``POLL_S``.
PAUSE_S = 30.0
#: Times that a question may run into the time limit: then it is the reason, and is left out.
ATTEMPTS = 3
#: Seconds without an outcome after which it is asked why.
STALL_S = 10.0
#: Longest wait of a run that was stopped for outcomes: verification goes on without it.
DRAIN_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How the questions of a run are asked."""

    run: str  #: its name; part of every batch id
    num_candidates: int
    temperatures: tuple[float, ...]
    top_k: int
    max_tokens: int  #: of an answer
    at_once: int  #: questions that are answered at the same time
    resume: bool = False  #: the run has begun already
    limit: int | None = None  #: so many questions and no more
    shuffle_seed: int | None = None  #: in a random order that follows from this
    max_pairs: int | None = None  #: nothing is asked once there are so many
    max_cost: float | None = (
        None  #: nothing is asked once it will have cost so much; needs ``rates``
    )
    rates: Rates | None = None
    give_up_s: float | None = None  #: ends in Unavailable when nothing moves for so many seconds


class _StoppedError(Exception):
    """Something that would have been tried again, had the run not been stopped."""


async def _nothing_known() -> str | None:
    return None


def _silent(line: str) -> None:
    pass


class Bulk:
    """One run. ``stats`` is up to date all the time.

    ``last_error`` explains why no outcome comes. ``notify`` is given what whoever started the run
    should know at once.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        recorder: Recorder,
        plan: Plan,
        last_error: Callable[[], Awaitable[str | None]] = _nothing_known,
        notify: Callable[[str], None] = _silent,
    ) -> None:
        self._pipeline = pipeline
        self._recorder = recorder
        self._plan = plan
        self._last_error = last_error
        self._notify = notify
        self.stats = RunStatistics()
        self._earlier: set[UUID] = set()  # recorded before this program began
        self._answering = 0  # questions
        self._undecided: set[UUID] = set()
        self._changed = asyncio.Event()  # there may be room, or a reason to end
        self._all_asked = False
        self._dropped = False  # a question that had its turn when the run was stopped
        self._stopping = asyncio.Event()
        self._started = self._moved = self._looked = time.monotonic()

    def stop(self) -> None:
        """Ask nothing more; what is being answered is answered, recorded and, soon, decided."""
        self._stopping.set()
        self._changed.set()

    async def run(self, questions: Iterable[Question | Refused]) -> RunStatistics:
        """Ask all, wait until all are decided.

        Raises InputError where the run cannot begin, Unavailable where it gives up.
        """
        self._started = self._moved = self._looked = time.monotonic()
        stats = self.stats
        try:
            async with asyncio.TaskGroup() as whole:
                watching = whole.create_task(self._watch())
                giving_up = whole.create_task(self._give_up())
                async with asyncio.TaskGroup() as asks:
                    ended = await self._ask_all(questions, asks)
                self._all_asked = True
                await watching
                giving_up.cancel()
            # Told to stop when there was nothing left to ask, it is none the less complete.
            stats.state = "stopped" if self._dropped or stats.undecided else ended
        except* RlvrError as errors:
            stats.state = "failed"
            raise _first(errors) from None
        finally:
            stats.seconds = time.monotonic() - self._started
        return stats

    # Asking.

    async def _ask_all(
        self, questions: Iterable[Question | Refused], group: asyncio.TaskGroup
    ) -> str:
        """The state that the run is in when nothing more is to be asked."""
        try:
            await self._look_back()
        except _StoppedError:
            return "stopped"
        left = selected(questions, self._plan)
        # Reading a file takes its time, in which answers come.
        while chunk := await asyncio.to_thread(lambda: list(islice(left, CHUNK))):
            for question in chunk:
                if ended := self._enough() or await self._take(question, group):
                    return ended
        return "finished"

    async def _look_back(self) -> None:
        """Count what was done of this run before, wherever it stands in the files, or nowhere."""
        run = self._plan.run
        place: int | None = 0
        while place is not None:
            found, place = await self._persist(
                lambda after=place: self._recorder.of_run(run, after, CHUNK)  # type: ignore[misc]
            )
            if found and not self._plan.resume:
                raise InputError(
                    f"the run {run!r} has begun already: add --resume to go on with it, or give "
                    "this one another name (--run)"
                )
            for batch_id, ending in found.items():
                self._earlier.add(batch_id)
                if ending is None:
                    self._follow(batch_id)
                else:
                    self._count(batch_id, ending)
            self.stats.earlier = len(self._earlier)
        if self._plan.resume and not self._earlier:
            self._notify(f"no run {run!r} has begun: it begins now (check --run if it should have)")

    def _enough(self) -> str | None:
        """The state of a run that asks nothing more, though there are questions left."""
        plan, stats = self._plan, self.stats
        if self._stopping.is_set():
            return "stopped"
        if plan.max_pairs is not None and stats.pairs >= plan.max_pairs:
            return "max_pairs"
        if plan.max_cost is None or plan.rates is None:
            return None
        return "max_cost" if stats.cost(plan.rates) >= plan.max_cost else None

    def _has_room(self) -> bool:
        """Whether one more may be asked beside what is in flight."""
        plan, under_way = self._plan, self._answering + len(self._undecided)
        if self._answering >= plan.at_once or under_way >= plan.at_once * AHEAD:
            return False
        if plan.max_cost is None or plan.rates is None:
            return True
        if not self.stats.judging_of:  # nobody knows yet what one costs
            return under_way < plan.at_once
        unknown = self._answering + len(self._undecided & self._earlier)
        coming = self.stats.coming(plan.rates, answers=unknown, judgements=under_way)
        return self.stats.cost(plan.rates) + coming < plan.max_cost

    async def _take(self, question: Question | Refused, group: asyncio.TaskGroup) -> str | None:
        """Ask one, unless it is known; the run's state where that ended while it waited."""
        if isinstance(question, Refused):
            self.stats.read += 1
            self.stats.failed(question.kind, str(question))
            return None
        batch_id = question.batch_id(self._plan.run)
        if batch_id in self._earlier:
            self.stats.read += 1
            self.stats.known += 1
            return None
        while not self._has_room():
            self._changed.clear()
            await self._changed.wait()
            if ended := self._enough():
                return ended
        self.stats.read += 1
        self._answering += 1
        group.create_task(self._ask(question, batch_id))
        return None

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
        except (InputError, TimedOut, Unreadable) as error:
            self.stats.failed(type(error).__name__, f"{question.source}:{question.line}: {error}")
            self._moved = time.monotonic()
        except _StoppedError:
            self._dropped = True
            self.stats.read -= 1  # as if it had not been its turn yet
        else:
            self.stats.asked += 1
            self.stats.answered(sum((one.usage for one in batch.candidates), NO_TOKENS))
            self._moved = time.monotonic()
            self._follow(batch_id)
        finally:
            self._answering -= 1
            self._changed.set()

    def _follow(self, batch_id: UUID) -> None:
        self._undecided.add(batch_id)
        self.stats.undecided = len(self._undecided)

    # Waiting for outcomes.

    async def _watch(self) -> None:
        """Count outcomes as they come, until all questions are asked and decided."""
        deadline = None
        while self._undecided or not self._all_asked:
            await asyncio.sleep(POLL_S)
            self.stats.seconds = time.monotonic() - self._started
            if self._stopping.is_set() and self._all_asked:
                deadline = deadline or time.monotonic() + DRAIN_S
                if time.monotonic() >= deadline:
                    return
            try:
                found = await self._outcomes(list(self._undecided))
            except _StoppedError:
                continue
            for batch_id, ending in found:
                if ending is not None:
                    self._undecided.remove(batch_id)
                    self._count(batch_id, ending)
                    self._changed.set()
            self.stats.undecided = len(self._undecided)
            await self._explain_stall()

    def _count(self, batch_id: UUID, ending: OutcomeSummary) -> None:
        """What was decided; tokens of answers that were asked for here are counted already."""
        self._moved = self._looked = time.monotonic()
        self.stats.stalled = ""
        earlier = batch_id in self._earlier
        if earlier:
            self.stats.answered(ending.answers)
        self.stats.ended(ending, None if earlier else self._moved - self._started)

    async def _explain_stall(self) -> None:
        """Find out why nothing is decided, where that lasts."""
        now = time.monotonic()
        if not self._undecided or now < max(self._moved, self._looked) + STALL_S:
            return
        self._looked = now
        with contextlib.suppress(Overloaded, Unavailable):
            self.stats.stalled = await self._last_error() or "verification takes its time"

    async def _give_up(self) -> None:
        """Raise Unavailable once nothing was asked or decided for too long."""
        limit = self._plan.give_up_s
        while limit is not None:
            left = self._moved + limit - time.monotonic()
            if left <= 0:
                why = self.stats.stalled or self.stats.reason or "no reason is known"
                raise Unavailable(f"nothing has moved for {limit / 60:g} minutes: {why}")
            await asyncio.sleep(left)

    async def _outcomes(self, ids: Sequence[UUID]) -> list[tuple[UUID, OutcomeSummary | None]]:
        parts = [ids[at : at + CHUNK] for at in range(0, len(ids), CHUNK)]
        found = await gather(
            *(
                self._persist(lambda part=part: self._recorder.outcomes(part))  # type: ignore[misc]
                for part in parts
            )
        )
        return [item for part in found for item in part.items()]

    async def _persist(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Try until it works; raises what will not change by waiting, and _StoppedError."""
        return await persist(
            attempt, self._pause, first_s=POLL_S, longest_s=PAUSE_S, attempts=ATTEMPTS
        )

    async def _pause(self, seconds: float, reason: str) -> None:
        self.stats.repeats += 1
        self.stats.reason = reason
        self.stats.waiting += 1
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
            raise _StoppedError
        except TimeoutError:
            pass
        finally:
            self.stats.waiting -= 1


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def selected(found: Iterable[Question | Refused], plan: Plan) -> Iterator[Question | Refused]:
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
