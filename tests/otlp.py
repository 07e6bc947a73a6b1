"""A receiver of OpenTelemetry traces: OTLP over HTTP, protobuf, as a collector takes it."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.patience import PATIENCE_S


@dataclass(frozen=True)
class Span:
    """As it was sent; ids in hexadecimal, times in nanoseconds."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    start: int
    end: int
    failed: bool
    attributes: dict[str, Any]
    links: tuple[tuple[str, str], ...]  #: trace and span ids
    service: str


class Receiver:
    """What came, and how it answers: with ``hold`` not at all, until it is let go."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.raw = b""
        self.requests = 0
        self.paths: set[str] = set()
        self._changed = threading.Condition()
        self._go = threading.Event()
        self._go.set()
        self.url = ""

    def hold(self) -> None:
        self._go.clear()

    def let_go(self) -> None:
        self._go.set()

    def wait(self, enough: Callable[[list[Span]], bool]) -> list[Span]:
        """The spans, once there are enough; an AssertionError that shows them if that never is."""
        deadline = time.monotonic() + PATIENCE_S
        with self._changed:
            while not enough(self.spans):
                left = deadline - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    raise AssertionError(f"only {[span.name for span in self.spans]} came")
            return list(self.spans)

    def wait_for(self, *names: str) -> list[Span]:
        """The spans, once there is one of each name."""
        return self.wait(lambda spans: set(names) <= {span.name for span in spans})

    def wait_for_request(self) -> None:
        """Until somebody has sent something, answered or not."""
        deadline = time.monotonic() + PATIENCE_S
        with self._changed:
            while not self.requests:
                assert self._changed.wait(max(0.0, deadline - time.monotonic())), "nothing came"

    def take(self, path: str, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        with self._changed:
            self.requests += 1
            self._changed.notify_all()
        self._go.wait()
        found = [
            _span(span, {a.key: _value(a.value) for a in of.resource.attributes})
            for of in request.resource_spans
            for scope in of.scope_spans
            for span in scope.spans
        ]
        with self._changed:
            self.paths.add(path)
            self.raw += body
            self.spans += found
            self._changed.notify_all()


def _span(span: Any, resource: dict[str, Any]) -> Span:
    return Span(
        name=span.name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        start=span.start_time_unix_nano,
        end=span.end_time_unix_nano,
        failed=span.status.code == 2,
        attributes={a.key: _value(a.value) for a in span.attributes},
        links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
        service=resource["service.name"],
    )


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(one) for one in value.array_value.values]
    return getattr(value, kind)


@contextmanager
def receiver() -> Iterator[Receiver]:
    """One that listens on a port of its own, at ``url``."""
    received = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.take(self.path, self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing to say."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    received.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield received
    finally:
        received.let_go()
        server.shutdown()
        server.server_close()
        thread.join()
