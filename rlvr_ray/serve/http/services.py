"""The services behind the HTTP interface: retriever, generator, recorder, queries, metrics."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from rlvr_ray.dataset.queries import Queries
from rlvr_ray.documents.retriever import Retriever
from rlvr_ray.generation.generator import CheckedGenerator
from rlvr_ray.generation.throttle import Limited
from rlvr_ray.observability.metrics import NO_METRICS, Metrics
from rlvr_ray.observability.tracing import OFF, Tracer
from rlvr_ray.pipeline.recorder import LiveRecorder


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The running services, as this process reaches them."""

    retriever: Retriever
    generator: CheckedGenerator
    recorder: LiveRecorder
    archive: Queries
    engine: str  #: what runs the generator's model, and why
    verifiers: str  #: who verifies, and why
    tracer: Tracer = OFF
    logs: Path | None = None  #: where Ray keeps the logs of this node
    dashboard: str | None = None  #: the URL of Ray's dashboard
    metrics: Metrics = NO_METRICS

    async def close(self) -> None:
        """Let go of what this process holds: the client, where the generator is a server's."""
        if isinstance(self.generator, Limited):
            await self.generator.close()
        await asyncio.to_thread(self.tracer.close)
