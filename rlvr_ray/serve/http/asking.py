"""Asks in flight, including those that reply at once (``Prefer: respond-async``)."""

import asyncio
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4

from rlvr_ray.core import ids
from rlvr_ray.core.errors import KeyReused, Overloaded, RlvrError
from rlvr_ray.core.records import Batch, Kind
from rlvr_ray.pipeline.ask import Ask, Pipeline, Prepared
from rlvr_ray.pipeline.live_publisher import LivePublisher
from rlvr_ray.serve.http.access import Gate
from rlvr_ray.serve.http.bodies import QuestionBody
from rlvr_ray.serve.http.services import Services
from rlvr_ray.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class _Running:
    """An ask with `respond-async`; ``begun`` is done once its answers are on their way."""

    ask: Ask
    begun: asyncio.Future[None]
    task: asyncio.Task[None]


class Asking:
    """Asks over the pipeline, those that nobody waits for included."""

    def __init__(self, settings: Settings, services: Services) -> None:
        self._settings = settings
        self._recorder = services.recorder
        self._pipeline = Pipeline(
            services.retriever,
            services.generator,
            services.recorder,
            settings.generator.max_tokens,
            services.tracer,
            services.metrics,
        )
        self._metrics = services.metrics
        self._gate = Gate(settings.api.max_asks)
        self._running: dict[UUID, _Running] = {}

    def of(
        self,
        body: QuestionBody,
        key: str | None,
        kind: Kind,
        num_candidates: int,
        temperatures: Sequence[float] | None,
        traceparent: str | None,
    ) -> Ask:
        """The ask that a request means."""
        return Ask(
            batch_id=ids.batch_for_key(key) if key else uuid4(),
            correlation_id=body.correlation_id or str(uuid4()),
            question=body.question,
            kind=kind,
            num_candidates=num_candidates,
            temperatures=tuple(temperatures or self._settings.generator.temperatures),
            top_k=body.top_k or self._settings.retrieval.top_k,
            fingerprint=_fingerprint(body, kind) if key else None,
            seed=body.seed,
            references=tuple(body.reference or ()),
            traceparent=traceparent,
        )

    async def ask(self, ask: Ask) -> Batch:
        """The batch, once it is recorded."""
        self._enter()
        try:
            async with self._gate.at_work():
                return await self._pipeline.ask(ask)
        finally:
            self._gate.leave()

    async def begin(self, ask: Ask) -> None:
        """Return once the answers are on their way, or recorded; the hub gets the rest."""
        running = self._running.get(ask.batch_id)
        if running is None:
            self._enter()
            begun = asyncio.get_running_loop().create_future()
            task = asyncio.create_task(self._run(ask, begun))
            running = self._running[ask.batch_id] = _Running(ask=ask, begun=begun, task=task)
        elif running.ask.fingerprint != ask.fingerprint:
            raise KeyReused
        await asyncio.shield(running.begun)  # others may wait for it, too

    def _enter(self) -> None:
        try:
            self._gate.enter()
        except Overloaded:
            self._metrics.turned_away()
            raise

    async def _run(self, ask: Ask, begun: asyncio.Future[None]) -> None:
        try:
            prepared = await self._pipeline.prepare(ask)
            publisher = LivePublisher(self._recorder.publish_live, ask.batch_id)
            if isinstance(prepared, Prepared):
                await publisher.open(prepared.contexts)
            begun.set_result(None)
            if isinstance(prepared, Prepared):
                await self._answer(prepared, publisher)
        except Exception as error:
            if begun.done():
                raise
            begun.set_exception(error)
            begun.exception()  # whoever asked may be gone
        finally:
            begun.cancel()
            del self._running[ask.batch_id]
            self._gate.leave()

    async def _answer(self, prepared: Prepared, publisher: LivePublisher) -> None:
        try:
            async with self._gate.at_work(), publisher:
                await self._pipeline.answer(prepared, publisher.piece)
        except RlvrError as error:
            await publisher.failed(error)
        except Exception:
            await publisher.failed(RlvrError("internal error; the server's log says more"))
            raise


def _fingerprint(body: QuestionBody, kind: Kind) -> str:
    """Of what a request says, however it is written; not of defaults, which settings may change."""
    fields = body.model_dump(mode="json", exclude_none=True)
    text = json.dumps([kind, fields], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
