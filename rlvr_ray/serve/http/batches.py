"""The routes of one batch: its state, and its live events."""

from collections.abc import AsyncIterator
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent

from rlvr_ray.client.models.batches import Batch
from rlvr_ray.core.errors import NotFound, Overloaded, RlvrError
from rlvr_ray.dataset import rows
from rlvr_ray.pipeline.live import LiveEvent
from rlvr_ray.serve.http import problems, replies
from rlvr_ray.serve.http.services import Services

#: Longest wait for the next event in one call to the hub, in seconds.
WATCH_S = 20.0
#: Watchers of one process. Each holds a place in the aggregator while it waits.
MAX_WATCHERS = 100


LastEventId = Annotated[
    str | None,
    Header(
        alias="Last-Event-ID",
        description=(
            "`id` of the last event that was read. Any other text begins the stream with what "
            "holds now, after a `restart` where pieces read before are void."
        ),
    ),
]


def routes(services: Services) -> APIRouter:
    """A batch and its events."""
    router = APIRouter(tags=["questions"])
    recorder = services.recorder
    watchers = 0

    @router.get("/batches/{batch_id}", response_model=Batch)
    async def get_batch(batch_id: UUID) -> Any:
        """A batch with its candidates, verifications and outcome, as far as they are known."""
        state = await recorder.find(batch_id)
        if state is None:
            raise NotFound(f"there is no batch {batch_id}")
        return replies.batch(state)

    async def first_events(batch_id: UUID, last_id: LastEventId = None) -> list[LiveEvent]:
        """Raises before the stream begins, so that the reply is a problem."""
        if watchers >= MAX_WATCHERS:
            raise Overloaded(f"{watchers} watchers are connected already; try again in a while")
        return await recorder.watch(batch_id, last_id, 0.0)

    @router.get("/batches/{batch_id}/events", response_class=EventSourceResponse)
    async def watch(
        batch_id: UUID,
        request: Request,
        first: Annotated[list[LiveEvent], Depends(first_events)],
        last_id: LastEventId = None,
    ) -> AsyncIterator[ServerSentEvent]:
        """The live events of a question, as server-sent events, resumable by `Last-Event-ID`.

        `contexts`, `piece` (candidate, text), `state` (as the batch's own route; it replaces all
        before it), `failed` (a problem), `restart` (forget the pieces so far), `end`.
        """
        nonlocal watchers
        watchers += 1
        try:
            events = first
            while True:
                for event in events:
                    last_id = event.id
                    yield ServerSentEvent(event=event.kind, id=event.id, data=event_data(event))
                    if event.kind == "end":
                        return
                if await request.is_disconnected():
                    return
                try:
                    events = await recorder.watch(batch_id, last_id, WATCH_S)
                except RlvrError:  # it comes back, and so does the watcher
                    return
        finally:
            watchers -= 1

    return router


def event_data(event: LiveEvent) -> dict[str, Any]:
    """What an event is sent with: the fields of its type in ``client.watch``."""
    match event.kind:
        case "contexts":
            return {"contexts": [rows.context(context) for context in event.data]}
        case "piece":
            candidate, text = event.data
            return {"candidate": candidate, "text": text}
        case "state":
            return replies.batch(event.data)
        case "failed":
            return problems.body_of_error(event.data)
        case _:
            return {}
