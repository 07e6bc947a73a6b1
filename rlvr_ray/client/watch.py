"""Live events of an ask: their types, and the position of a watch in them."""

import json
import math
import time
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, cast

from httpx_sse import ServerSentEvent
from pydantic import Field

from rlvr_ray.client import problems
from rlvr_ray.client.models.base import Whole
from rlvr_ray.client.models.batches import Batch, Context
from rlvr_ray.core.errors import InputError, NotFound, RlvrError, Unavailable

#: Seconds without a byte after which a stream counts as dropped: a server sends one every 15 s.
SILENCE_S = 45.0
#: Seconds for which a watch goes on connecting again while nothing comes.
PATIENCE_S = 120.0
#: Pauses between two connections, in seconds: they double from the first to the last.
_PAUSE_S, _MAX_PAUSE_S = 0.1, 3.0
#: So often a question that the server has lost is asked again: it may be what ends the server.
_MAX_REPEATS = 3


class Event(Whole):
    """Base of the live events; ``raw`` is an event's data as it came."""

    name: ClassVar[str]

    def line(self) -> dict[str, Any]:
        """The event as one JSON object that names it."""
        return {"event": self.name, **self.raw}


class Submitted(Event):
    """The question was accepted; the same ``key`` returns this batch again."""

    name: ClassVar[str] = "submitted"
    batch_id: str
    correlation_id: str
    question: str
    events: str = ""  #: the path of its live events
    key: Annotated[str, Field(exclude=True)] = ""


class ContextsFound(Event):
    """The passages that the answers are written from."""

    name: ClassVar[str] = "contexts"
    contexts: tuple[Context, ...]


class AnswerChunk(Event):
    """What a candidate's answer grew by."""

    name: ClassVar[str] = "piece"
    candidate: int
    text: str


class Restarted(Event):
    """It begins anew: passages and chunks so far are void."""

    name: ClassVar[str] = "restart"


class StateChanged(Event):
    """The batch as it is on record now: it replaces all that came before."""

    name: ClassVar[str] = "state"
    batch: Batch


LiveEvent = Submitted | ContextsFound | AnswerChunk | Restarted | StateChanged
EVENT_TYPES: Mapping[str, type[Event]] = {
    kind.name: kind for kind in (ContextsFound, AnswerChunk, Restarted, StateChanged)
}


class Watch:
    """Where a watch of one batch's events stands, whoever does the reading.

    Until it has ``ended`` the reader connects with ``options`` and gives ``take`` what comes. After
    any failure ``after`` says how long to wait; then, if the server has lost the question, which is
    ``lost``, the reader asks it again and calls ``asked_again``. With ``wait_s`` it raises
    Unavailable after so many seconds, however much comes.
    """

    def __init__(
        self,
        url: str,
        batch_id: object,
        patience_s: float,
        wait_s: float | None = None,
        *,
        may_ask_again: bool,
        has_answered: bool,
    ) -> None:
        self.ended = False
        self.lost = False
        self._url = url
        self._patience_s = patience_s
        self._wait_s = wait_s
        self._late = f"batch {batch_id} is still being verified after {wait_s or 0:g} s"
        self._repeats = _MAX_REPEATS if may_ask_again else 0
        self._has_answered = has_answered
        self._began = self._since = time.monotonic()
        self._pause_s = _PAUSE_S
        self._last_id: str | None = None

    @property
    def options(self) -> dict[str, Any]:
        """Of the next request: it goes on after the last event that came."""
        headers = {"Accept": b"text/event-stream"}
        if self._last_id is not None:
            headers["Last-Event-ID"] = self._last_id.encode()
        return {"headers": headers, "timeout": min(max(self._left_s, 0.01), SILENCE_S)}

    def opened(self) -> None:
        """The server has answered: from now on it is waited for if it goes."""
        self._has_answered = True

    def take(self, sent: ServerSentEvent) -> LiveEvent | None:
        """The event for the caller, if it is one; raises the error of an ask that failed.

        Comments come as events without a name or data: they say that the server is there.
        """
        self._since = time.monotonic()
        self._check_time()
        self._last_id = sent.id or self._last_id
        self._pause_s = _PAUSE_S
        if sent.event in EVENT_TYPES:
            try:
                return self._read(EVENT_TYPES[sent.event], sent.data)
            except RlvrError:  # it would read the same another time
                self.ended = True
                raise
        if sent.event == "failed":
            self.ended = True
            raise problems.of_text(sent.data)
        if sent.event == "end":
            self.ended = True
        return None

    def _read(self, kind: type[Event], text: str) -> LiveEvent:
        try:
            data = json.loads(text)
        except ValueError:
            raise RlvrError(f"{self._url}: the event {kind.name!r} holds no JSON") from None
        if kind is StateChanged:
            return StateChanged(batch=Batch.from_json(data), raw=data)
        return cast("LiveEvent", kind.from_json(data))

    def after(self, error: Exception | None) -> float:
        """Seconds until the next request; raises where another would not help, or none did.

        ``error`` is None where the server closed the stream before its end.
        """
        if self.ended and error is not None:
            raise error
        if isinstance(error, NotFound) and self._repeats > 0:
            self.lost = True
        elif isinstance(error, InputError | NotFound):
            raise error
        if isinstance(error, RlvrError):
            # Somebody is there: whoever waits until a certain time waits for a busy server, too.
            if self._left_s <= 0 or (self._wait_s is None and self._is_impatient):
                raise error
        else:
            self._check_time()
            if self._is_impatient or not self._has_answered:
                raise problems.unreachable(self._url, error) from None
        pause_s, self._pause_s = self._pause_s, min(2 * self._pause_s, _MAX_PAUSE_S)
        return pause_s

    @property
    def _left_s(self) -> float:
        """Seconds until the wait is over."""
        return math.inf if self._wait_s is None else self._began + self._wait_s - time.monotonic()

    def _check_time(self) -> None:
        if self._left_s <= 0:
            raise Unavailable(self._late)

    @property
    def _is_impatient(self) -> bool:
        return time.monotonic() - self._since >= self._patience_s

    def asked_again(self) -> Restarted:
        """The server has the question again: its events so far are void."""
        self.lost = False
        self._repeats -= 1
        self._last_id = None
        return Restarted()


class Board:
    """What there is to show of an ask: it grows with each event."""

    def __init__(self) -> None:
        self.contexts: tuple[Context, ...] = ()
        self.answers: dict[int, str] = {}  #: by candidate, as far as they are written
        self.batch: Batch | None = None  #: once it is recorded

    def add(self, event: LiveEvent) -> None:
        """Take an event in."""
        match event:
            case ContextsFound():
                self.contexts = event.contexts
            case AnswerChunk():
                self.answers[event.candidate] = self.answers.get(event.candidate, "") + event.text
            case Restarted():
                self.contexts, self.answers = (), {}
            case StateChanged():
                self.batch = event.batch
                self.contexts = event.batch.contexts
                self.answers = {c.candidate_index: c.answer for c in event.batch.candidates}
