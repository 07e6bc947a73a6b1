"""Live events of a question, and their hub; ``live_publisher`` sends it those of an ask.

The hub is in the aggregator, which every process can reach. It keeps the events of a batch in
memory for a while. After a restart, a watcher gets the recorded state from the ledger.
"""

import asyncio
import contextlib
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal
from uuid import UUID

from rlvr_ray.core.errors import NotFound, Unreadable
from rlvr_ray.core.pairing import Result
from rlvr_ray.core.records import Batch, Outcome
from rlvr_ray.dataset.state import BatchState

Kind = Literal["contexts", "piece", "state", "failed", "restart", "end"]

#: Batches whose events are kept; the one that was touched longest ago goes first.
TOPICS = 500
#: Seconds after a watcher's request for which a batch counts as watched.
WATCHED_S = 60.0
#: Of an event in its id. Not what ``str.isdigit`` holds for digits: ``int`` cannot read all of it.
_NUMBER = re.compile("[0-9]{1,15}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveEvent:
    """One event. ``data`` is a tuple of Context, a pair (candidate, text), a BatchState, an
    RlvrError, or None; ``id`` names its place, for a watcher who continues after it."""

    kind: Kind
    data: Any = None
    id: str = ""


#: The hub's reply to a publisher: the events were taken, the batch is unknown here (send all
#: again), or another publisher sends its events.
Acknowledgement = Literal["taken", "unknown", "other"]


class _Topic:
    """The events of one batch: a state replaces all before it, so only the last is kept."""

    def __init__(self) -> None:
        self.epoch = secrets.token_hex(4)  # the batch may get another topic, which counts anew
        self.events: list[tuple[int, LiveEvent]] = []
        self.number = 0
        self.publisher: str | None = None
        self.watched_at = 0.0
        self.grew = asyncio.Event()

    @property
    def state(self) -> BatchState | None:
        return next((event.data for _, event in self.events if event.kind == "state"), None)

    def has(self, kind: Kind) -> bool:
        return any(event.kind == kind for _, event in self.events)

    def id(self, number: int) -> str:
        return f"{self.epoch}-{number}"

    def place(self, last_id: str | None) -> int | None:
        """The number of the event with this id, which may be any text; None where it is none."""
        epoch, _, digits = (last_id or "").partition("-")
        if epoch != self.epoch or not _NUMBER.fullmatch(digits) or int(digits) > self.number:
            return None
        return int(digits)

    def after(self, number: int) -> list[LiveEvent]:
        return [replace(event, id=self.id(n)) for n, event in self.events if n > number]

    def add(self, event: LiveEvent) -> None:
        if event.kind in ("state", "failed", "restart"):
            self.events.clear()
        self.number += 1
        self.events.append((self.number, event))
        self.grew.set()
        self.grew = asyncio.Event()


class LiveHub:
    """A CommitObserver; ``find`` reads a batch from the ledger."""

    def __init__(self, find: Callable[[UUID], Awaitable[BatchState | None]]) -> None:
        self._find = find
        self._topics: OrderedDict[UUID, _Topic] = OrderedDict()

    def publish(
        self, batch_id: UUID, publisher: str, events: Sequence[LiveEvent], *, opens: bool = False
    ) -> Acknowledgement:
        """Take events from the process that asks; with ``opens``, all events so far."""
        topic = self._topics.get(batch_id)
        if topic is not None and topic.has("state"):
            return "taken"  # the ledger has the batch: this is old
        if opens:
            topic = topic or self._open(batch_id)
            topic.watched_at = time.monotonic()  # who asks so means to watch
            if topic.publisher not in (None, publisher) or topic.events:
                topic.add(LiveEvent(kind="restart"))
            topic.publisher = publisher
        if topic is None:
            return "unknown"
        if topic.publisher != publisher:
            return "other"
        for event in () if topic.has("failed") else events:
            topic.add(event)
            if event.kind == "failed":
                topic.add(LiveEvent(kind="end"))
        return "taken"

    def state(self, state: BatchState) -> None:
        """Publish the state of a batch that has a topic."""
        topic = self._topics.get(state.batch.batch_id)
        if topic is None:
            return
        topic.add(LiveEvent(kind="state", data=state))
        if state.outcome is not None:
            topic.add(LiveEvent(kind="end"))

    def recorded(self, batch: Batch) -> None:
        """See CommitObserver."""
        if batch.batch_id in self._topics:
            self.state(BatchState(batch=batch, results={}, outcome=None))

    def verified(self, batch: Batch, result: Result) -> None:
        """See CommitObserver."""
        topic = self._topics.get(batch.batch_id)
        if topic is not None and (state := topic.state) is not None and state.outcome is None:
            results = {**state.results, result.answer_event_id: result}
            self.state(replace(state, results=results))

    def decided(self, batch: Batch, results: Mapping[UUID, Result], outcome: Outcome) -> None:
        """See CommitObserver."""
        if batch.batch_id in self._topics:
            self.state(BatchState(batch=batch, results=results, outcome=outcome))

    async def refresh(self, batch_id: UUID) -> None:
        """Publish the state in the ledger of a batch that has a topic."""
        topic = self._topics.get(batch_id)
        if topic is None:
            return
        try:
            if state := await self._find(batch_id):
                self.state(state)
        except Unreadable as error:
            topic.add(LiveEvent(kind="failed", data=error))
            topic.add(LiveEvent(kind="end"))

    def is_watched(self, batch_id: UUID) -> bool:
        """Whether a watcher asked for it just now."""
        topic = self._topics.get(batch_id)
        return topic is not None and time.monotonic() - topic.watched_at < WATCHED_S

    async def watch(self, batch_id: UUID, last_id: str | None, wait_s: float) -> list[LiveEvent]:
        """The events after that one, or from the start; waits for some, but no longer than this.

        Raises NotFound where nobody knows the batch.
        """
        topic = self._topics.get(batch_id) or await self._found(batch_id)
        topic.watched_at = time.monotonic()
        if batch_id in self._topics:
            self._topics.move_to_end(batch_id)
        after = topic.place(last_id)
        if not (found := topic.after(after or 0)):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await topic.grew.wait()
            found = topic.after(after or 0)
        topic.watched_at = time.monotonic()
        unknown = last_id and after is None
        if found and unknown and found[0].kind not in ("state", "failed", "restart"):
            found.insert(0, LiveEvent(kind="restart", id=topic.id(0)))
        return found

    async def _found(self, batch_id: UUID) -> _Topic:
        """A topic for a batch that has none."""
        state = await self._find(batch_id)
        topic = self._topics.get(batch_id)  # another watcher may have been faster
        if topic is not None:
            return topic
        if state is None:
            raise NotFound(f"there is no batch {batch_id}")
        topic = self._open(batch_id)
        self.state(state)
        if state.outcome is None:
            # It may have been decided between the reading and now, when there was no topic.
            await self.refresh(batch_id)
        return topic

    def _open(self, batch_id: UUID) -> _Topic:
        topic = self._topics[batch_id] = _Topic()
        while len(self._topics) > TOPICS:
            self._topics.popitem(last=False)
        return topic
