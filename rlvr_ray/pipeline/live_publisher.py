"""The live events of one ask, sent to the hub by the process that answers it."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Self
from uuid import UUID

from rlvr_ray.core.errors import RlvrError
from rlvr_ray.core.records import Context
from rlvr_ray.pipeline.live import Acknowledgement, LiveEvent

#: Seconds in which what an answer grows by is gathered before it is sent.
BURST_S = 0.08

Publish = Callable[[UUID, str, Sequence[LiveEvent], bool], Awaitable[Acknowledgement]]


class LivePublisher:
    """Sends the hub the events of one ask; inside its block text is sent every ``BURST_S``.

    A hub that is away, or new and without the first events, changes nothing for the ask.
    """

    def __init__(self, publish: Publish, batch_id: UUID) -> None:
        self._publish = publish
        self._batch_id = batch_id
        self._name = secrets.token_hex(8)
        self._contexts: tuple[Context, ...] = ()
        self._answers: dict[int, str] = {}
        self._fresh: dict[int, str] = {}
        self._silent = False
        self._behind = False  #: events may be lost: the next time, all are sent again
        self._task: asyncio.Task[None] | None = None

    async def open(self, contexts: Sequence[Context]) -> None:
        """Send the contexts; raises Unavailable where the hub is away."""
        self._contexts = tuple(contexts)
        await self._send_all()

    def piece(self, candidate: int, text: str) -> None:
        """What a candidate's answer grew by."""
        self._answers[candidate] = self._answers.get(candidate, "") + text
        self._fresh[candidate] = self._fresh.get(candidate, "") + text

    async def failed(self, error: RlvrError) -> None:
        """Send that the ask failed, and why."""
        await self._send([LiveEvent(kind="failed", data=error)])

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while not self._silent:
            if self._fresh:
                fresh, self._fresh = self._fresh, {}
                await self._send([LiveEvent(kind="piece", data=piece) for piece in fresh.items()])
            await asyncio.sleep(BURST_S)

    async def _send(self, events: Sequence[LiveEvent]) -> None:
        """Send these; where the hub lacks what came before, that first."""
        try:
            if not self._behind:
                reply = await self._publish(self._batch_id, self._name, events, False)
                self._silent = reply == "other"
                if reply != "unknown":
                    return
            await self._send_all()
            rest = [event for event in events if event.kind != "piece"]
            if rest:
                await self._publish(self._batch_id, self._name, rest, False)
        except RlvrError:
            self._behind = True

    async def _send_all(self) -> None:
        self._fresh.clear()
        events = [LiveEvent(kind="contexts", data=self._contexts)]
        events += [LiveEvent(kind="piece", data=piece) for piece in self._answers.items()]
        await self._publish(self._batch_id, self._name, events, True)
        self._behind = False
