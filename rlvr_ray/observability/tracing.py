"""Spans of batches, over OpenTelemetry's API, which records nothing without a provider.

A trace id is a batch's id, and span ids follow from the ids of events, so no context goes from one
process to the next. What the spans say is in ``pipeline/spans``; ``opentelemetry`` sends them.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from uuid import UUID

from opentelemetry import context as contexts
from opentelemetry import trace

from rlvr_ray.observability import trace_ids

#: None is left out.
Attributes = Mapping[str, str | int | float | bool | Sequence[str] | None]

_SAMPLED = trace.TraceFlags(trace.TraceFlags.SAMPLED)


class Tracer:
    """Starts spans of batches. Safe in several threads; never raises, never waits.

    ``share`` of all batches is traced; the span that is started within ``next_ids`` has these ids
    of trace and span, a random span id where that is None.
    """

    def __init__(
        self,
        tracer: trace.Tracer,
        share: float,
        next_ids: Callable[[int, int | None], AbstractContextManager[None]],
    ) -> None:
        self._tracer = tracer
        self._share = share
        self._next_ids = next_ids

    @contextlib.contextmanager
    def span(
        self,
        name: str,
        batch_id: UUID,
        attributes: Attributes | None = None,
        *,
        event_id: UUID | None = None,
        start: datetime | None = None,
        caller: str | None = None,
    ) -> Iterator[trace.Span]:
        """A span of the block, or since ``start``; an exception marks it as failed.

        Spans of the same batch inside of the block are its children, other ones those of ``ask``.
        ``event_id`` is that of the event about it; ``caller`` is the W3C
        ``traceparent`` of whoever asked.
        """
        if not trace_ids.sampled(batch_id, self._share):
            yield trace.INVALID_SPAN
            return
        span = self._start(name, batch_id, attributes or {}, event_id, start, caller)
        with trace.use_span(
            span, end_on_exit=True, record_exception=False, set_status_on_exception=False
        ):
            try:
                yield span
            except BaseException as error:
                # Its message may quote what was asked.
                span.set_attribute("error.type", type(error).__name__)
                span.set_status(trace.StatusCode.ERROR)
                raise

    def record(
        self,
        name: str,
        batch_id: UUID,
        start: datetime,
        end: datetime,
        attributes: Attributes,
        *,
        event_id: UUID | None = None,
    ) -> None:
        """A span that is over."""
        if not trace_ids.sampled(batch_id, self._share):
            return
        span = self._start(name, batch_id, attributes, event_id, start, None)
        if "error.type" in attributes:
            span.set_status(trace.StatusCode.ERROR)
        span.end(_nanoseconds(end))

    def close(self) -> None:
        """Send what waits, for a few seconds at most."""

    def _start(
        self,
        name: str,
        batch_id: UUID,
        attributes: Attributes,
        event_id: UUID | None,
        start: datetime | None,
        caller: str | None,
    ) -> trace.Span:
        parent = trace.get_current_span()
        around = parent.get_span_context()
        links = []
        if name == "ask":
            parent, wanted = trace.INVALID_SPAN, trace_ids.ask_span_id(batch_id)
            links = _links(batch_id, around, caller)
        else:
            wanted = trace_ids.span_id(event_id) if event_id else ""
            if around.trace_id != batch_id.int:
                parent = _remote(batch_id.int, int(trace_ids.ask_span_id(batch_id), 16))
        with self._next_ids(batch_id.int, int(wanted, 16) if wanted else None):
            return self._tracer.start_span(
                name,
                trace.set_span_in_context(parent, contexts.Context()),
                attributes=_there({**attributes, "rlvr.batch_id": str(batch_id)}),
                links=links,
                start_time=None if start is None else _nanoseconds(start),
            )


#: Where nothing is traced.
OFF = Tracer(trace.NoOpTracer(), 0.0, lambda *_: contextlib.nullcontext())


def _links(batch_id: UUID, around: trace.SpanContext, caller: str | None) -> list[trace.Link]:
    """Whoever asked, and the span around, which is Serve's: traces that this one belongs to."""
    found: dict[tuple[int, int], str] = {}
    if caller is not None and (ids := trace_ids.parsed(caller)) is not None:
        found[ids] = "caller"
    if around.is_valid:
        found.setdefault((around.trace_id, around.span_id), "around")
    return [
        trace.Link(_remote(*ids).get_span_context(), {"rlvr.link": kind})
        for ids, kind in found.items()
        if ids[0] != batch_id.int
    ]


def _remote(trace_id: int, span_id: int) -> trace.Span:
    return trace.NonRecordingSpan(trace.SpanContext(trace_id, span_id, True, _SAMPLED))


def _there(attributes: "Attributes") -> Mapping[str, str | int | float | bool | Sequence[str]]:
    return {name: value for name, value in attributes.items() if value is not None}


def _nanoseconds(time: datetime) -> int:
    return round(time.timestamp() * 1e6) * 1000
