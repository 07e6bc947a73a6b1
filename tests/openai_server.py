"""A server that speaks OpenAI's protocol as badly as it is told to, over real HTTP."""

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from tests.patience import PATIENCE_S


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What is sent: text and bytes as they are, anything else as JSON."""

    body: Any = ""
    events: Sequence[Any] | None = None  #: instead of a body, a stream of them
    broken: bool = False  #: closes the connection in the midst of a stream
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    hang: bool = False  #: sends nothing (more, of a stream), until the client goes
    drip: bool = False  #: sends spaces, one after another, until the client goes
    cut: int | None = None  #: closes the connection after so many bytes of the body


@dataclass(frozen=True, kw_only=True)
class Request:
    """What came in; header names are in small letters."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any


def completion(content: Any = "yes", **changes: Any) -> dict[str, Any]:
    """The body of a completion; changes are its own, or of its choice where they belong there."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": content},
        "finish_reason": "stop",
        "logprobs": None,
    }
    choice |= {name: changes.pop(name) for name in list(changes) if name in choice}
    body: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "served-model",
        "choices": [choice],
        "usage": {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14},
    }
    return body | changes


def chunk(content: Any = None, **changes: Any) -> dict[str, Any]:
    """An event of a streamed completion; changes are its own, or of its choice."""
    delta = {} if content is None else {"content": content}
    choice = {"index": 0, "delta": delta, "finish_reason": None, "logprobs": None}
    choice |= {name: changes.pop(name) for name in list(changes) if name in choice}
    body: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "model": "served-model",
        "choices": [choice],
        "usage": None,
    }
    return body | changes


def streamed(*contents: str, **changes: Any) -> list[Any]:
    """The events of a completion in pieces; changes as for ``completion``."""
    whole = completion("", **changes)
    reason = whole["choices"][0]["finish_reason"]
    return [
        chunk(delta={"role": "assistant", "content": ""}),
        *map(chunk, contents),
        chunk(finish_reason=reason),
        chunk(choices=[], usage=whole["usage"]),
        "[DONE]",
    ]


def problem(status: int, message: str, **more: Any) -> Reply:
    """An error as OpenAI words it; ``headers`` are the reply's."""
    headers = more.pop("headers", {})
    return Reply(status=status, body={"error": {"message": message} | more}, headers=headers)


def _by_seed(request: Request) -> Reply:
    if request.method == "GET":
        return Reply(body={"object": "list", "data": []})
    text = f"seed {request.body.get('seed')}"
    if request.body.get("stream"):
        return Reply(events=streamed(text))
    return Reply(body=completion(text))


class OpenAIServer:
    """Listens on a free port while it is entered.

    ``replies`` are given first, one each; then ``script`` decides. ``hold`` keeps all replies back
    until ``release``. ``requests``, ``running``, ``most_running``, ``left`` (clients that did not
    wait) and ``connections`` count.
    """

    def __init__(self) -> None:
        self.replies: list[Reply] = []
        self.script: Callable[[Request], Reply] = _by_seed
        self.requests: list[Request] = []
        self.running = 0
        self.most_running = 0
        self.left = 0
        self.connections = 0
        self._go = asyncio.Event()
        self._go.set()
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "OpenAIServer":
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()
        self.address = f"{host}:{port}"
        self.url = f"http://{self.address}/v1"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def bodies(self) -> list[Any]:
        """The bodies of all requests so far."""
        return [request.body for request in self.requests]

    def hold(self) -> None:
        """Keep replies back, those to come included."""
        self._go.clear()

    def release(self) -> None:
        """Let all replies go."""
        self._go.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition over the counters holds; AssertionError if it never does."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            counts = f"{len(self.requests)} requests, {self.running} running, {self.left} left"
            raise AssertionError(f"after {PATIENCE_S:g} s it still has {counts}") from None

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connections += 1
        try:
            # Ended by __aexit__ it ends quietly: asyncio would log the cancellation.
            with contextlib.suppress(
                asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError
            ):
                ahead: bytes | None = b""
                while ahead is not None:
                    ahead = await self._serve(ahead, reader, writer)
        finally:
            writer.close()

    async def _serve(
        self, ahead: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bytes | None:
        """Answer one request, whose first bytes are ``ahead``.

        Returns what was read of the next one, or None where the connection ends.
        """
        head = (ahead + await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.strip().split("\r\n")
        headers = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in lines)
        }
        content = await reader.readexactly(int(headers.get("content-length", 0)))
        method, path, _ = first.split(" ")
        request = Request(
            method=method,
            path=path,
            headers=headers,
            body=json.loads(content) if content else None,
        )
        self.requests.append(request)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        self._changed.set()
        try:
            reply = self.replies.pop(0) if self.replies else self.script(request)
            answer = asyncio.create_task(self._answer(reply, writer))
            more = asyncio.create_task(reader.read(1))
            try:
                await asyncio.wait({answer, more}, return_when=asyncio.FIRST_COMPLETED)
                if not answer.done():  # nobody sends more before the answer: it is the end
                    self.left += 1
                    return None
                goes_on = await answer
            finally:
                for task in (answer, more):
                    task.cancel()
                await asyncio.gather(answer, more, return_exceptions=True)
            if not goes_on:
                return None
            return b"" if more.cancelled() else more.result() or None
        finally:
            self.running -= 1
            self._changed.set()

    async def _answer(self, reply: Reply, writer: asyncio.StreamWriter) -> bool:
        await self._go.wait()
        if reply.events is not None:
            return await self._stream(reply, writer)
        if reply.hang:
            await asyncio.Event().wait()
        body, kind = _encoded(reply.body)
        headers = {"content-type": kind, "content-length": str(len(body))} | dict(reply.headers)
        if reply.drip:
            headers["content-length"] = "1000000"
        lines = [f"HTTP/1.1 {reply.status} Such", *(f"{k}: {v}" for k, v in headers.items())]
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        while reply.drip:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.01)
        writer.write(body[: reply.cut])
        await writer.drain()
        return reply.cut is None

    async def _stream(self, reply: Reply, writer: asyncio.StreamWriter) -> bool:
        assert reply.events is not None
        headers = {"content-type": "text/event-stream", "transfer-encoding": "chunked"}
        lines = [f"{name}: {value}" for name, value in (headers | dict(reply.headers)).items()]
        writer.write("\r\n".join(["HTTP/1.1 200 Such", *lines, "", ""]).encode("latin-1"))
        for part in _events(reply.events):
            writer.write(part)
            await writer.drain()
        if reply.hang:
            await asyncio.Event().wait()
        if not reply.broken:
            writer.write(b"0\r\n\r\n")
            await writer.drain()
        return not reply.broken


def _events(events: Sequence[Any]) -> Iterator[bytes]:
    """Each event as one part of a body whose length nobody knows; bytes as they are."""
    for event in events:
        text = event if isinstance(event, str | bytes) else json.dumps(event)
        content = text if isinstance(text, bytes) else f"data: {text}\n\n".encode()
        yield b"%x\r\n%s\r\n" % (len(content), content)


def _encoded(body: Any) -> tuple[bytes, str]:
    if isinstance(body, bytes):
        return body, "application/json"
    if isinstance(body, str):
        return body.encode(), "text/html; charset=utf-8"
    return json.dumps(body).encode(), "application/json"
