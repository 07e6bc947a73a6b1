"""The routes of the system's state: readiness and statistics."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Response

from rlvr_ray import __version__
from rlvr_ray.client.models.system import Liveness, Readiness, Stats
from rlvr_ray.serve.http import replies
from rlvr_ray.serve.http.services import Services

#: Longest wait for one part when readiness is asked.
PROBE_TIMEOUT_S = 5.0


def routes(services: Services) -> APIRouter:
    """What needs the key."""
    router = APIRouter(tags=["system"])

    @router.get("/stats", response_model=Stats)
    async def get_stats() -> Any:
        """Counts by outcome, the latest outcomes, files."""
        passages = await services.retriever.count()
        stats = await services.recorder.stats()
        return {**stats, "passages": passages, "dashboard": services.dashboard}

    return router


def probes(services: Services) -> APIRouter:
    """What a supervisor asks, without a key."""
    router = APIRouter(tags=["system"])

    @router.get("/livez")
    async def livez() -> Liveness:
        """Whether this process answers."""
        return Liveness(version=__version__)

    @router.get(
        "/readyz",
        response_model=Readiness,
        responses={503: {"model": Readiness, "description": "A part does not answer."}},
    )
    async def readyz() -> Response:
        """Whether every part answers: 200, or 503 with the answer of each; and who verifies."""
        states = dict(
            await asyncio.gather(
                _probe("generator", services.generator.check),
                _probe("retriever", services.retriever.count),
                _probe("aggregator", lambda: services.recorder.find(UUID(int=0))),
            )
        )
        ready = all(state["ok"] for state in states.values())
        states["generator"]["engine"] = services.engine
        body = {
            "status": "ready" if ready else "not ready",
            "parts": states,
            "verifiers": services.verifiers,
        }
        return replies.sent(body, 200 if ready else 503)

    return router


async def _probe(name: str, call: Callable[[], Awaitable[Any]]) -> tuple[str, dict[str, Any]]:
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            answer = await call()
    except Exception as error:
        return name, {"ok": False, "detail": str(error) or "no answer in time"}
    return name, {"ok": True, "detail": answer}
