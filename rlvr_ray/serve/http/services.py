"""The services behind the HTTP interface: retriever, generator, recorder, queries, metrics."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

from rlvr_ray.dataset.queries import Queries
from rlvr_ray.documents.retriever import Retriever
from rlvr_ray.generation.generator import StreamingGenerator
from rlvr_ray.generation.throttle import Limited
from rlvr_ray.observability.metrics import NO_METRICS, Metrics
from rlvr_ray.observability.tracing import OFF, Tracer
from rlvr_ray.pipeline.live import Acknowledgement, LiveEvent
from rlvr_ray.pipeline.recorder import Recorder


class CheckedGenerator(StreamingGenerator, Protocol):
    """A Generator that can say whether it is there."""

    async def check(self) -> str:
        """The model's name."""
        ...


class LiveRecorder(Recorder, Protocol):
    """A Recorder that can say what it holds, and where one can watch."""

    async def stats(self) -> dict[str, Any]:
        """Counts, files, the last error."""
        ...

    async def publish_live(
        self, batch_id: UUID, publisher: str, events: Sequence[LiveEvent], opens: bool
    ) -> Acknowledgement:
        """See ``live.LiveHub``."""
        ...

    async def watch(self, batch_id: UUID, last_id: str | None, wait_s: float) -> list[LiveEvent]:
        """See ``live.LiveHub``."""
        ...


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
    metrics: Metrics = NO_METRICS

    async def close(self) -> None:
        """Let go of what this process holds: the client, where the generator is a server's."""
        if isinstance(self.generator, Limited):
            await self.generator.close()
        await asyncio.to_thread(self.tracer.close)
