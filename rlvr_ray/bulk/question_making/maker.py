"""A run of ``rlvr questions``: from passages to a growing file of questions.

The seed determines the order of the passages. Several are processed at the same time, but their
questions are written in this order, so repeats do not depend on the order of replies. A passage is
done when one of the two files has a line of it.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from rlvr_ray.bulk.question_making import MakingStatistics, Plan, writing
from rlvr_ray.bulk.question_making.files import QuestionFiles
from rlvr_ray.bulk.question_making.gates import Draft, Reason, objection
from rlvr_ray.bulk.question_making.repeats import Known
from rlvr_ray.core import ids
from rlvr_ray.core.errors import InputError, NoDocuments, TimedOut
from rlvr_ray.core.retry import persist
from rlvr_ray.documents.retriever import Chunk, Passage, Retriever
from rlvr_ray.generation.generator import Completion, Generator, Prompt, Sample

T = TypeVar("T")

#: Passages whose ids are read at once, and whose texts are.
PAGE, FETCH = 4096, 64
#: Seconds before something that is down is tried again: the first pause and the longest.
PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
#: Times that a passage may run into the time limit: then it is the reason, and is left out.
ATTEMPTS = 3
#: Low: the words should be the passage's.
TEMPERATURE = 0.3
#: Limit of a reply, for each question: with an answer, and without.
TOKENS, TOKENS_WITHOUT = 200, 80


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reply:
    """What a passage gave: drafts, or the reason why there are none."""

    passage: Passage
    text: str = ""  #: as the model read it
    model: str = ""
    drafts: tuple[Draft, ...] = ()
    reason: Reason | None = None


class QuestionMaker:
    """One run. ``notify`` is given the statistics, always the same object, when they change."""

    def __init__(
        self,
        retriever: Retriever,
        generator: Generator,
        files: QuestionFiles,
        plan: Plan,
        notify: Callable[[MakingStatistics], None],
    ) -> None:
        self._retriever = retriever
        self._generator = generator
        self._files = files
        self._plan = plan
        self._notify = notify
        self._known = Known()
        self._stopping = False
        self.stats = MakingStatistics(limit=plan.limit)

    def stop(self) -> None:
        """Ask about no further passage; what is being written is still taken."""
        self._stopping = True

    async def run(self) -> MakingStatistics:
        """Go on until all passages are done, or there are as many questions as are wanted.

        Raises NoDocuments where nothing is ingested, InputError where a file cannot be written.
        """
        started = time.monotonic()
        for question in self._files.questions:
            self._known.add(question)
        self.stats.made = len(self._files.questions)
        self.stats.left_out.update(self._files.left_out)
        flying: deque[asyncio.Task[_Reply]] = deque()
        passages = self._passages(await self._order())
        more = True
        try:
            while not self._is_enough():
                while more and len(flying) < self._room():
                    passage = await anext(passages, None)
                    more = passage is not None and not self._stopping
                    if passage is not None and more:
                        flying.append(asyncio.create_task(self._ask(passage)))
                if not flying:
                    break
                self._take(await flying.popleft())
        finally:
            for task in flying:
                task.cancel()
            await asyncio.gather(*flying, return_exceptions=True)
            self.stats.seconds = time.monotonic() - started
        self.stats.stopped = self._stopping and not self._is_enough()
        return self.stats

    def _is_enough(self) -> bool:
        return self._plan.limit is not None and self.stats.made >= self._plan.limit

    def _room(self) -> int:
        """How many passages may be asked about now: no more than can still be needed."""
        if self._plan.limit is None:
            return self._plan.at_once
        wanted = -(-(self._plan.limit - self.stats.made) // self._plan.per_chunk)
        return min(self._plan.at_once, max(wanted, 1))

    async def _order(self) -> list[UUID]:
        """Ids of the passages that are not done, as they are to be asked about."""
        chunks: list[Chunk] = []
        page: list[Chunk]
        first = None
        while True:
            page, first = await self._persist(
                lambda first=first: self._retriever.chunks(first, PAGE)  # type: ignore[misc]
            )
            chunks += page
            if first is None:
                break
        if not chunks:
            raise NoDocuments("no documents are ingested yet; add some with: rlvr ingest PATH")
        self.stats.passages = len(chunks)
        self.stats.documents = len({chunk.document_id for chunk in chunks})
        order = writing.spread(
            ((chunk.chunk_id, chunk.document_id) for chunk in chunks), self._plan.seed
        )
        left = [each for each in order if each not in self._files.done]
        self.stats.done = len(order) - len(left)
        return left

    async def _passages(self, order: list[UUID]) -> AsyncIterator[Passage]:
        for start in range(0, len(order), FETCH):
            part = order[start : start + FETCH]
            found = await self._persist(lambda part=part: self._retriever.fetch(part))  # type: ignore[misc]
            for passage in found:
                yield passage

    async def _ask(self, passage: Passage) -> _Reply:
        """One call; raises nothing that concerns this passage alone."""
        plan, source = self._plan, str(passage.metadata["source"])
        text = writing.readable(passage.content)
        if isinstance(text, writing.Nothing):
            return _Reply(passage=passage, reason=text.reason)
        prompt = Prompt(
            messages=writing.messages(text, source, plan.per_chunk, answers=plan.references),
            samples=(
                Sample(
                    temperature=TEMPERATURE,
                    seed=ids.seed("questions", plan.seed, passage.chunk_id),
                ),
            ),
            max_tokens=plan.per_chunk * (TOKENS if plan.references else TOKENS_WITHOUT),
            json_schema=writing.schema(plan.per_chunk, answers=plan.references),
        )
        self.stats.asked += 1
        try:
            (result,) = await self._persist(lambda: self._generator.generate([prompt]))
        except TimedOut:
            return _Reply(passage=passage, reason="timed_out")
        if isinstance(result, InputError):
            return _Reply(passage=passage, reason="does_not_fit")
        return self._read(passage, text, source, result[0])

    def _read(self, passage: Passage, text: str, source: str, completion: Completion) -> _Reply:
        self.stats.prompt_tokens += completion.usage.prompt_tokens
        self.stats.cached_tokens += completion.usage.cached_tokens
        self.stats.completion_tokens += completion.usage.completion_tokens
        plan = self._plan
        try:
            drafts = writing.drafts(
                completion.text, text, source, plan.per_chunk, answers=plan.references
            )
        except writing.Unreadable:
            return _Reply(passage=passage, reason="unreadable")
        return _Reply(passage=passage, text=text, model=completion.model, drafts=tuple(drafts))

    def _take(self, reply: _Reply) -> None:
        """Write what a passage gave, all of it in one go."""
        made: list[dict[str, Any]] = []
        left_out: list[dict[str, Any]] = []
        place = _place(reply.passage)
        if reply.reason is not None:
            left_out.append({"reason": reply.reason, **place})
        for draft, reason in self._judged(reply):
            if reason is None:
                made.append(_row(reply, draft, place))
            else:
                written = {"question": draft.question, "reference": draft.answer}
                left_out.append({"reason": reason, **written, **place})
        self._files.write(reply.passage.chunk_id, made, left_out)
        self.stats.made += len(made)
        self.stats.left_out.update(row["reason"] for row in left_out)
        self.stats.done += 1
        self._notify(self.stats)

    def _judged(self, reply: _Reply) -> Iterator[tuple[Draft, Reason | None]]:
        """Each draft, and why it is not kept; nothing beyond the limit."""
        room = None if self._plan.limit is None else self._plan.limit - self.stats.made
        source = str(reply.passage.metadata["source"])
        for draft in reply.drafts:
            if room == 0:
                return
            reason = objection(draft, reply.text, source) or self._known.add(draft.question)
            if reason is None and room is not None:
                room -= 1
            yield draft, reason

    async def _persist(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Try until it works; raises what will not change by waiting."""
        result = await persist(
            attempt, self._pause, first_s=PAUSE_S, longest_s=LONGEST_PAUSE_S, attempts=ATTEMPTS
        )
        self.stats.waiting = None
        return result

    async def _pause(self, seconds: float, reason: str) -> None:
        self.stats.waiting = reason
        self.stats.repeats += 1
        self._notify(self.stats)
        await asyncio.sleep(seconds)


def _place(passage: Passage) -> dict[str, Any]:
    known = ("source", "document_id", "chunk_index", "start")
    place = {name: passage.metadata[name] for name in known}
    return {"chunk_id": str(passage.chunk_id), **place}


def _row(reply: _Reply, draft: Draft, place: dict[str, Any]) -> dict[str, Any]:
    return {
        "question": draft.question,
        "id": str(writing.question_id(reply.passage.chunk_id, draft.question)),
        "reference": draft.answer,
        **place,
        "model": reply.model,
        "prompt_version": writing.PROMPT_VERSION,
    }
