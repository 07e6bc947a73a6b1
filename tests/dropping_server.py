"""An HTTP server that says what a test tells it to say, byte by byte, and drops connections."""

import json
import socket
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from tests.patience import PATIENCE_S

DROP = b""  #: a connection that closes without an answer


@dataclass(frozen=True)
class Request:
    """What came over one connection; names of headers are in small letters."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def reply(status: int, body: Any, kind: str = "application/json") -> bytes:
    """A whole answer."""
    text = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    head = f"HTTP/1.1 {status} Said\r\nContent-Type: {kind}\r\nContent-Length: {len(text)}\r\n"
    return head.encode() + b"Connection: close\r\n\r\n" + text


def problem(status: int, detail: str, **more: Any) -> bytes:
    """An answer that is an error of ours."""
    body = {"type": "about:blank", "status": status, "detail": detail, **more}
    return reply(status, body, "application/problem+json")


def stream(*events: str | bytes) -> bytes:
    """A stream of events that ends when the connection does, as HTTP/1.0 does it."""
    body = b"".join(e if isinstance(e, bytes) else e.encode() for e in events)
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n" + body


def event(name: str, data: Any = None, event_id: str | None = None) -> str:
    """One event as it is sent."""
    mark = f"id: {event_id}\n" if event_id is not None else ""
    return f"{mark}event: {name}\ndata: {json.dumps(data or {}, ensure_ascii=False)}\n\n"


class DroppingServer:
    """Gives each connection the next of ``replies`` and closes it; then it listens no more.

    ``requests`` are those that came.
    """

    def __init__(self, replies: Sequence[bytes]) -> None:
        self.requests: list[Request] = []
        self._replies = list(replies)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run, name="dropping", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # Whoever waits in accept() wakes up.
        self._listener.close() if not self._thread.is_alive() else self._wake()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()

    def _wake(self) -> None:
        self._replies.clear()
        try:
            socket.create_connection(self._listener.getsockname()[:2]).close()
        except OSError:
            return

    def _run(self) -> None:
        with self._listener:
            while self._replies:
                connection, _ = self._listener.accept()
                with connection:
                    request = self._read(connection)
                    if request is None or not self._replies:
                        continue
                    self.requests.append(request)
                    connection.sendall(self._replies.pop(0))

    def _read(self, connection: socket.socket) -> Request | None:
        with connection.makefile("rb") as file:
            first = file.readline().decode().split()
            if len(first) != 3:
                return None
            headers = {}
            while line := file.readline().decode().strip():
                name, _, value = line.partition(":")
                headers[name.lower()] = value.strip()
            body = file.read(int(headers.get("content-length", 0)))
        return Request(first[0], first[1], headers, body)
