"""Spans sent by OTLP over HTTP, with OpenTelemetry's SDK.

A thread sends them from a bounded queue: if a receiver is unavailable, spans are lost, and nothing
waits.
"""

import atexit
import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from importlib.metadata import version

from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from rlvr_ray.core.errors import ConfigError
from rlvr_ray.observability.tracing import Tracer
from rlvr_ray.settings import TracingSettings, load

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


class OpenTelemetry(Tracer):
    """Raises ConfigError where the exporter is not installed.

    It has a provider of its own, so that others in the process, Serve's, keep theirs.
    """

    def __init__(self, settings: TracingSettings) -> None:
        ids = _Ids()
        self._provider = TracerProvider(
            sampler=ALWAYS_ON,  # a batch's id decides whether it is traced
            resource=Resource.create(
                {SERVICE_NAME: "rlvr_ray", SERVICE_VERSION: version("rlvr-ray")}
            ),
            shutdown_on_exit=False,
            id_generator=ids,
        )
        self._provider.add_span_processor(_processor(settings))
        super().__init__(self._provider.get_tracer("rlvr_ray"), settings.sample, ids.next)
        self._closing: threading.Thread | None = None
        atexit.register(self.close)

    def close(self) -> None:
        """See ``Tracer``. A second call changes nothing."""
        if self._closing is None:
            # A receiver that hangs must not hold up the end of a process.
            self._closing = threading.Thread(target=self._provider.shutdown, daemon=True)
            self._closing.start()
            self._closing.join(CLOSE_S)
            atexit.unregister(self.close)


class _Ids(IdGenerator):
    """The ids that the starting thread has set, or random ones."""

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
