"""A question becomes a recorded batch: search once, generate the candidates, commit."""

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import cycle, islice
from typing import Any
from uuid import UUID

from rlvr_ray.core import ids
from rlvr_ray.core.concurrency import gather
from rlvr_ray.core.errors import InputError, KeyReused, NoDocuments, RlvrError, Unavailable
from rlvr_ray.core.records import Batch, Candidate, Context, Kind
from rlvr_ray.documents.retriever import Query, Retriever
from rlvr_ray.generation.generator import Completion, Prompt, Sample, StreamingGenerator
from rlvr_ray.generation.prompts import PROMPT_VERSION, rag_messages
from rlvr_ray.observability import logs
from rlvr_ray.observability.metrics import NO_METRICS, Metrics
from rlvr_ray.observability.tracing import OFF, Tracer
from rlvr_ray.pipeline.recorder import Recorder
from rlvr_ray.pipeline.spans import asked, record_answers, without_quotations

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A validated question. ``seed`` makes the answers repeatable; none derives it from the id."""

    batch_id: UUID
    correlation_id: str
    question: str
    kind: Kind
    num_candidates: int
    temperatures: tuple[float, ...]
    top_k: int
    #: Of the request, where an Idempotency-Key was given: the id may be recorded already.
    fingerprint: str | None = None
    seed: int | None = None
    references: tuple[str, ...] = ()  #: right answers, any of them
    traceparent: str | None = None  #: the W3C header of the request, if it had one


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A question with what was found for it: all that is left is to answer it."""

    ask: Ask
    asked_at: datetime
    contexts: tuple[Context, ...]


#: Called with the index of a candidate and the text that was added to its answer.
OnText = Callable[[int, str], None]


class Pipeline:
    """The ask, over ports. Nothing is recorded unless every candidate came."""

    def __init__(
        self,
        retriever: Retriever,
        generator: StreamingGenerator,
        recorder: Recorder,
        max_tokens: int,
        tracer: Tracer = OFF,
        metrics: Metrics = NO_METRICS,
    ) -> None:
        self._retriever = retriever
        self._generator = generator
        self._recorder = recorder
        self._max_tokens = max_tokens
        self._tracer = tracer
        self._metrics = metrics

    async def ask(self, ask: Ask) -> Batch:
        """Return the committed batch; a batch id that is recorded already returns as it was.

        Raises InputError where the same id was used for another request, NoDocuments where
        nothing is ingested, ContextOverflow, Unavailable, Overloaded.
        """
        prepared = await self.prepare(ask)
        return prepared if isinstance(prepared, Batch) else await self.answer(prepared)

    async def prepare(self, ask: Ask) -> Prepared | Batch:
        """The first half of ``ask``: what was found, or the batch that is recorded already."""
        if ask.fingerprint is not None:
            known = await self._recorder.reserve(ask.batch_id, ask.fingerprint)
            if known is not None:
                return _same_ask(known.batch, ask)
        asked_at = datetime.now(UTC)
        try:
            with logs.about(ask.batch_id, ask.correlation_id):
                log.info("asked: %s, answers %d, top_k %d", ask.kind, ask.num_candidates, ask.top_k)
                contexts = await self._contexts(ask)
        except BaseException:
            with self._observed(ask, asked_at):  # it ends here
                raise
        return Prepared(ask=ask, asked_at=asked_at, contexts=tuple(contexts))

    async def answer(self, prepared: Prepared, on_text: OnText | None = None) -> Batch:
        """The second half of ``ask``; ``on_text`` gets the answers while they are written."""
        ask = prepared.ask
        with self._observed(ask, prepared.asked_at):
            batch = await self._generated(prepared, on_text)
            with self._tracer.span("record", ask.batch_id):
                (recorded,) = await self._recorder.record([batch])
        return _same_ask(recorded, ask)

    @contextlib.contextmanager
    def _observed(self, ask: Ask, asked_at: datetime) -> Iterator[None]:
        """Around what answers a question: trace, metrics, log."""
        attributes = asked(ask.correlation_id, ask.kind, ask.num_candidates, ask.temperatures)
        span = self._tracer.span(
            "ask", ask.batch_id, attributes, start=asked_at, caller=ask.traceparent
        )
        with logs.about(ask.batch_id, ask.correlation_id), self._metrics.ask(asked_at), span:
            try:
                yield
            except RlvrError as error:
                reason = without_quotations(str(error), [ask.question, *ask.references])
                log.info("not answered: %s: %s", type(error).__name__, reason)
                raise

    async def _contexts(self, ask: Ask) -> Sequence[Context]:
        query = Query(text=ask.question, top_k=ask.top_k)
        with self._tracer.span("search", ask.batch_id, {"rlvr.top_k": ask.top_k}) as span:
            # Asked now, not when the answers are written: on a full disk that would be in vain.
            found: list[Any] = await gather(self._recorder.admit(), self._retriever.search([query]))
            contexts: Sequence[Context] = found[1][0]
            span.set_attributes({"rlvr.contexts": len(contexts)})
        if not contexts:
            raise NoDocuments("no documents are ingested yet; add some with: rlvr ingest PATH")
        return contexts

    async def _generated(self, prepared: Prepared, on_text: OnText | None) -> Batch:
        ask = prepared.ask
        samples = _samples(ask)
        prompt = Prompt(
            messages=rag_messages(ask.question, prepared.contexts),
            samples=samples,
            max_tokens=self._max_tokens,
        )
        started = datetime.now(UTC)
        ended: dict[int, datetime] = {}
        limit = {"gen_ai.request.max_tokens": self._max_tokens}
        with self._tracer.span("generate", ask.batch_id, limit):
            completions = await self._completions(prompt, on_text, ended)
            batch = _batch(prepared, samples, completions)
            record_answers(self._tracer, batch, started, ended)
        return batch

    async def _completions(
        self, prompt: Prompt, on_text: OnText | None, ended_at: dict[int, datetime]
    ) -> list[Completion]:
        """Notes when each sample was whole, where the answers are streamed."""
        if on_text is None:
            (completions,) = await self._generator.generate([prompt])
            if isinstance(completions, InputError):
                raise completions
            return completions
        ended: dict[int, Completion] = {}
        async with contextlib.aclosing(self._generator.stream(prompt)) as pieces:
            async for piece in pieces:
                if piece.text:
                    on_text(piece.sample, piece.text)
                if piece.completion is not None:
                    ended[piece.sample] = piece.completion
                    ended_at[piece.sample] = datetime.now(UTC)
        return [ended[sample] for sample in range(len(prompt.samples))]


def _samples(ask: Ask) -> tuple[Sample, ...]:
    source = ask.batch_id if ask.seed is None else ask.seed
    temperatures = islice(cycle(ask.temperatures), ask.num_candidates)
    return tuple(
        Sample(temperature=temperature, seed=ids.seed(source, index))
        for index, temperature in enumerate(temperatures)
    )


def _batch(
    prepared: Prepared, samples: Sequence[Sample], completions: Sequence[Completion]
) -> Batch:
    ask = prepared.ask
    try:
        return Batch(
            batch_id=ask.batch_id,
            correlation_id=ask.correlation_id,
            kind=ask.kind,
            question=ask.question,
            contexts=prepared.contexts,
            candidates=tuple(
                Candidate(
                    event_id=ids.answer_event(ask.batch_id, index),
                    index=index,
                    answer=completion.text,
                    temperature=sample.temperature,
                    seed=sample.seed,
                    model=completion.model,
                    finish_reason=completion.finish_reason,
                    usage=completion.usage,
                    reasoning_chars=completion.reasoning_chars,
                )
                for index, (sample, completion) in enumerate(zip(samples, completions, strict=True))
            ),
            prompt_version=PROMPT_VERSION,
            created_at=datetime.now(UTC),
            references=ask.references,
            asked_at=prepared.asked_at,
            fingerprint=ask.fingerprint,
        )
    except ValueError as error:
        raise Unavailable(f"the model's answers cannot be kept: {error}") from None


def _same_ask(batch: Batch, ask: Ask) -> Batch:
    """The batch, unless it answers another request: then an idempotency key was used twice.

    What was recorded by an earlier version has no fingerprint.
    """
    asked = (ask.question, ask.kind, ask.num_candidates, ask.references)
    same = (batch.question, batch.kind, len(batch.candidates), batch.references) == asked
    if not same or (batch.fingerprint and batch.fingerprint != ask.fingerprint):
        raise KeyReused
    return batch
