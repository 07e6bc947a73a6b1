"""Asking, and watching what becomes of it."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID, uuid4

from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from rlvr_ray.core import ids
from rlvr_ray.core.errors import KeyReused, NotFound, Overloaded, RlvrError
from rlvr_ray.core.questions import filled
from rlvr_ray.core.records import Batch, Kind
from rlvr_ray.dataset import rows
from rlvr_ray.pipeline.ask import Ask, Pipeline, Prepared
from rlvr_ray.pipeline.live import LiveEvent, LivePublisher
from rlvr_ray.serve.http import problems, states
from rlvr_ray.serve.http.access import Gate
from rlvr_ray.serve.http.services import Parts
from rlvr_ray.settings import MAX_CANDIDATES, MAX_QUESTION_CHARS, MAX_TOP_K, Settings, Temperature

MAX_REFERENCES = 20
#: Longest wait for the next event in one call to the hub, in seconds.
WATCH_S = 20.0
#: Watchers of one process. Each holds a place in the aggregator while it waits.
MAX_WATCHERS = 100


def _listed(given: Any) -> list[Any]:
    if isinstance(given, str):
        return [given]
    if not isinstance(given, list):
        raise ValueError("must be a text or a list of texts")
    return given


Text = Annotated[str, AfterValidator(filled)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Reference = Annotated[Text, Field(max_length=MAX_QUESTION_CHARS)]
#: One text is taken for a list of one, not as another form: errors then name ``reference.0``.
References = Annotated[
    list[Reference],
    Field(max_length=MAX_REFERENCES),
    BeforeValidator(
        _listed,
        json_schema_input_type=Reference
        | Annotated[list[Reference], Field(max_length=MAX_REFERENCES)],
    ),
]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class QuestionBody(_Body):
    """One question."""

    question: Annotated[Text, Field(max_length=MAX_QUESTION_CHARS)]
    top_k: int | None = Field(default=None, ge=1, le=MAX_TOP_K)
    correlation_id: Annotated[Text, Field(max_length=200)] | None = None
    seed: Seed | None = None
    reference: References | None = None
    """The right answer, or several of which any is right."""


class MultiCandidateBody(QuestionBody):
    """A question and how many answers it gets."""

    num_candidates: int = Field(default=3, ge=2, le=MAX_CANDIDATES)
    temperatures: list[Temperature] | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _one_each(self) -> "MultiCandidateBody":
        if self.temperatures and len(self.temperatures) > self.num_candidates:
            raise ValueError("more temperatures than candidates")
        return self


Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        description=(
            "Names this request: sent again, it changes nothing and has the same result, while the "
            "first one runs and after restarts, with and without `Prefer`. With another route or "
            "any other field of the body, what is left out included, the key is refused with 422 "
            "and `error: KeyReused`."
        ),
    ),
]
Prefer = Annotated[str | None, Header(description="`respond-async`: reply at once, with 202.")]
Traceparent = Annotated[str | None, Header(description="Of your own trace; ours links to it.")]
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Running:
    """An ask that nobody waits for; ``begun`` is done once its answers are on their way."""

    ask: Ask
    begun: asyncio.Future[None]
    task: asyncio.Task[None]


class Asking:
    """Asks over the pipeline, those that nobody waits for included."""

    def __init__(self, settings: Settings, parts: Parts) -> None:
        self._settings = settings
        self._recorder = parts.recorder
        self._pipeline = Pipeline(
            parts.retriever,
            parts.generator,
            parts.recorder,
            settings.generator.max_tokens,
            parts.tracer,
            parts.metrics,
        )
        self._metrics = parts.metrics
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
    said = body.model_dump(mode="json", exclude_none=True)
    text = json.dumps([kind, said], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def routes(settings: Settings, parts: Parts) -> APIRouter:
    """Asks, batches, and their events."""
    router = APIRouter(tags=["questions"])
    asking = Asking(settings, parts)
    recorder = parts.recorder
    watchers = 0

    @router.post("/ask/multi-candidate")
    async def ask_multi_candidate(
        body: MultiCandidateBody,
        response: Response,
        key: Key = None,
        prefer: Prefer = None,
        traceparent: Traceparent = None,
    ) -> dict[str, Any]:
        """Several answers to one question. They are verified next, and may become a pair.

        With `Prefer: respond-async` the reply is a 202 as soon as the passages are found, and the
        answers can be watched at `events` while they are written.
        """
        ask = asking.of(
            body, key, Kind.PREFERENCE, body.num_candidates, body.temperatures, traceparent
        )
        if prefer is not None and "respond-async" in prefer:
            await asking.begin(ask)
            where = f"/batches/{ask.batch_id}"
            response.status_code = 202
            response.headers["Location"] = where
            response.headers["Preference-Applied"] = "respond-async"
            return {
                "batch_id": str(ask.batch_id),
                "correlation_id": ask.correlation_id,
                "question": ask.question,
                "events": f"{where}/events",
            }
        batch = await asking.ask(ask)
        return {
            **states.head(batch),
            "candidates": [states.candidate(candidate) for candidate in batch.candidates],
            "num_candidates": len(batch.candidates),
        }

    @router.get("/ask/defaults")
    async def get_defaults() -> dict[str, Any]:
        """What an ask uses for fields that it leaves out."""
        return {
            "num_candidates": MultiCandidateBody.model_fields["num_candidates"].default,
            "temperatures": settings.generator.temperatures,
            "top_k": settings.retrieval.top_k,
        }

    @router.post("/ask")
    async def ask_once(
        body: QuestionBody, key: Key = None, traceparent: Traceparent = None
    ) -> dict[str, Any]:
        """One answer. It is verified and kept as training data; it makes no pair."""
        batch = await asking.ask(asking.of(body, key, Kind.SINGLE, 1, None, traceparent))
        return {**states.head(batch), **states.candidate(batch.candidates[0])}

    @router.get("/batches/{batch_id}")
    async def get_batch(batch_id: UUID) -> dict[str, Any]:
        """A batch with its candidates, verifications and outcome, as far as they are known."""
        state = await recorder.find(batch_id)
        if state is None:
            raise NotFound(f"there is no batch {batch_id}")
        return states.state(state)

    async def first_look(batch_id: UUID, last_id: LastEventId = None) -> list[LiveEvent]:
        """Whatever is wrong is said before the stream begins."""
        if watchers >= MAX_WATCHERS:
            raise Overloaded(f"{watchers} watchers are connected already; try again in a while")
        return await recorder.watch(batch_id, last_id, 0.0)

    @router.get("/batches/{batch_id}/events", response_class=EventSourceResponse)
    async def watch(
        batch_id: UUID,
        request: Request,
        first: Annotated[list[LiveEvent], Depends(first_look)],
        last_id: LastEventId = None,
    ) -> AsyncIterator[ServerSentEvent]:
        """What happens to a question, as server-sent events, resumable by `Last-Event-ID`.

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
                    yield ServerSentEvent(event=event.kind, id=event.id, data=_data(event))
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


def _data(event: LiveEvent) -> dict[str, Any]:
    match event.kind:
        case "contexts":
            return {"contexts": [rows.context(context) for context in event.data]}
        case "piece":
            candidate, text = event.data
            return {"candidate": candidate, "text": text}
        case "state":
            return states.state(event.data)
        case "failed":
            return problems.body_of_error(event.data)
        case _:
            return {}
