"""The routes of traces: every step of a batch, and the batches of an id."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Response

from rlvr_ray.client.models.system import Trace, Traces
from rlvr_ray.core.errors import NotFound, Unreadable
from rlvr_ray.observability import log_lines
from rlvr_ray.pipeline.trace import batch_trace
from rlvr_ray.serve.http import replies
from rlvr_ray.serve.http.services import Services
from rlvr_ray.settings import Settings

#: Batches of one correlation id that are sent at once, the latest.
AT_ONCE = 20


def routes(settings: Settings, services: Services) -> APIRouter:
    """Traces without a collector."""
    router = APIRouter(tags=["tracing"])

    async def traces_of(batch_ids: Sequence[UUID]) -> list[dict[str, Any]]:
        found = []
        for batch_id in batch_ids:
            try:
                found.append(await services.archive.provenance(batch_id))
            except Unreadable:  # it takes no other batch with it
                if len(batch_ids) == 1:
                    raise
        lines = await asyncio.to_thread(log_lines.find, services.logs, batch_ids)
        mirrored = settings.mirror.url is not None
        return [
            batch_trace(*one, mirrored=mirrored, logs=lines[one[0].batch.batch_id])
            for one in found
            if one is not None
        ]

    @router.get("/batches/{batch_id}/trace", response_model=Trace)
    async def trace(batch_id: UUID) -> Response:
        """Every step of a batch with times, its events, its rows in the files, its log lines.

        Log lines are those of the node that answers.
        """
        found = await traces_of([batch_id])
        if not found:
            raise NotFound(f"there is no batch {batch_id}")
        return replies.sent(found[0])

    @router.get("/traces", response_model=Traces)
    async def traces(
        id: Annotated[
            str,
            Query(
                min_length=1,
                max_length=200,
                description="The id of a batch, an event or a trace, or a correlation id.",
            ),
        ],
    ) -> Response:
        """The traces of all batches of an id, latest first; `left` counts those not shown."""
        batch_ids, left = await services.archive.named(id, AT_ONCE)
        if not batch_ids:
            raise NotFound("no batch, event or correlation id is this")
        return replies.sent({"traces": await traces_of(batch_ids), "left": left})

    return router
