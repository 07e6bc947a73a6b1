"""Traces by OTLP over HTTP: see ``rlvr_ray.observability.tracing``.

A trace id is a batch's id, and span ids follow from the ids of events, so no context goes from one
process to the next. Spans are sent by a thread of their own from a bounded queue: a receiver that
is away costs spans and nothing else.
"""

import atexit
import contextlib
import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from importlib.metadata import version
from typing import TYPE_CHECKING
from uuid import UUID

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from rlvr_ray.core.errors import ConfigError
from rlvr_ray.observability import trace_ids
from rlvr_ray.settings import TracingSettings, load

if TYPE_CHECKING:
    from rlvr_ray.observability.tracing import Attributes

#: Where a receiver takes traces, below its base URL.
PATH = "/v1/traces"
#: Spans that wait at most; further ones push the oldest out.
QUEUE = 4096
#: Milliseconds between two sendings.
EVERY_MS = 1000
#: Seconds that one sending may take, repeats included, and that a close waits.
TIMEOUT_S, CLOSE_S = 5.0, 3.0
#: Seconds in which the receiver's trouble is logged once.
SELDOM_S = 60.0

_SAMPLED = trace.TraceFlags(trace.TraceFlags.SAMPLED)


class OpenTelemetry:
    """A Tracer. Raises ConfigError where the exporter is not installed.

    It has a provider of its own, so that others in the process, Serve's, keep theirs.
    """

    def __init__(self, settings: TracingSettings) -> None:
        self._share = settings.sample
        self._ids = _Ids()
        self._provider = TracerProvider(
            sampler=ALWAYS_ON,  # which batches are traced is said by their ids
            resource=Resource.create(
                {SERVICE_NAME: "rlvr_ray", SERVICE_VERSION: version("rlvr-ray")}
            ),
            shutdown_on_exit=False,
            id_generator=self._ids,
        )
        self._provider.add_span_processor(_processor(settings))
        self._tracer = self._provider.get_tracer("rlvr_ray")
        self._closing: threading.Thread | None = None
        atexit.register(self.close)

    @contextlib.contextmanager
    def span(
        self,
        name: str,
        batch_id: UUID,
        attributes: "Attributes | None" = None,
        *,
        event_id: UUID | None = None,
        start: datetime | None = None,
        caller: str | None = None,
    ) -> Iterator["_Span"]:
        """See ``tracing.Tracer``."""
        if not trace_ids.sampled(batch_id, self._share):
            yield _Span(trace.INVALID_SPAN)
            return
        span = self._start(name, batch_id, attributes or {}, event_id, start, caller)
        with trace.use_span(
            span, end_on_exit=True, record_exception=False, set_status_on_exception=False
        ):
            try:
                yield _Span(span)
            except BaseException as error:
                # Its message may quote what was asked.
                span.set_attribute("error.type", type(error).__name__)
                span.set_status(trace.StatusCode.ERROR)
                raise

    def told(
        self,
        name: str,
        batch_id: UUID,
        start: datetime,
        end: datetime,
        attributes: "Attributes",
        *,
        event_id: UUID | None = None,
    ) -> None:
        """See ``tracing.Tracer``."""
        if not trace_ids.sampled(batch_id, self._share):
            return
        span = self._start(name, batch_id, attributes, event_id, start, None)
        if "error.type" in attributes:
            span.set_status(trace.StatusCode.ERROR)
        span.end(_nanoseconds(end))

    def close(self) -> None:
        """See ``tracing.Tracer``. A second call changes nothing."""
        if self._closing is None:
            # A receiver that hangs must not hold up the end of a process.
            self._closing = threading.Thread(target=self._provider.shutdown, daemon=True)
            self._closing.start()
            self._closing.join(CLOSE_S)
            atexit.unregister(self.close)

    def _start(
        self,
        name: str,
        batch_id: UUID,
        attributes: "Attributes",
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
        with self._ids.next(batch_id.int, int(wanted, 16) if wanted else None):
            return self._tracer.start_span(
                name,
                trace.set_span_in_context(parent, contexts.Context()),
                attributes=_there({**attributes, "rlvr.batch_id": str(batch_id)}),
                links=links,
                start_time=None if start is None else _nanoseconds(start),
            )


class _Span:
    """See ``tracing.Span``."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def set(self, attributes: "Attributes") -> None:
        """See ``tracing.Span``."""
        self._span.set_attributes(_there(attributes))


class _Ids(IdGenerator):
    """The ids that the starting thread has said, or random ones."""

    def __init__(self) -> None:
        self._random = RandomIdGenerator()
        self._wanted = threading.local()

    @contextlib.contextmanager
    def next(self, trace_id: int, span_id: int | None) -> Iterator[None]:
        """Those of the span that is started in the block."""
        self._wanted.trace, self._wanted.span = trace_id, span_id
        try:
            yield
        finally:
            self._wanted.trace = self._wanted.span = None

    def generate_trace_id(self) -> int:
        """See IdGenerator."""
        return getattr(self._wanted, "trace", None) or self._random.generate_trace_id()

    def generate_span_id(self) -> int:
        """See IdGenerator."""
        return getattr(self._wanted, "span", None) or self._random.generate_span_id()

    def is_trace_id_random(self) -> bool:
        """Not as W3C means it: some bits of a UUID are fixed."""
        return False


class _Seldom(logging.Filter):
    """Lets a logger say something once in a while."""

    def __init__(self) -> None:
        super().__init__()
        self._again_at = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is time again."""
        now = time.monotonic()
        if now < self._again_at:
            return False
        self._again_at = now + SELDOM_S
        return True


_seldom = _Seldom()


def serve_spans() -> list[SpanProcessor]:
    """Where Ray Serve's own spans go, for ``RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH``.

    To ``tracing.endpoint`` of the settings; raises ConfigError where that is not set.
    """
    settings = load().tracing
    if settings.endpoint is None:
        raise ConfigError("tracing.endpoint is not set; Serve's spans have nowhere to go")
    return [_processor(settings)]


def _processor(settings: TracingSettings) -> SpanProcessor:
    try:
        from opentelemetry.exporter.otlp.proto.http import trace_exporter
    except ImportError:
        raise ConfigError(
            "tracing.endpoint is set, and what sends traces is not installed: "
            "in the folder of rlvr_ray, pip install -e '.[tracing]'"
        ) from None
    assert settings.endpoint is not None, "whoever traces has an endpoint"
    logging.getLogger(trace_exporter.__name__).addFilter(_seldom)
    url = settings.endpoint.rstrip("/")
    exporter = trace_exporter.OTLPSpanExporter(
        url if url.endswith(PATH) else url + PATH, timeout=TIMEOUT_S
    )
    return BatchSpanProcessor(exporter, max_queue_size=QUEUE, schedule_delay_millis=EVERY_MS)


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
