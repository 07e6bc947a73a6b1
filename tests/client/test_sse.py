"""Server-sent events as ``httpx_sse`` reads them, however they are cut, and what a watch takes."""

import time
from collections.abc import Sequence
from itertools import pairwise

import httpx
import pytest
from httpx_sse import EventSource, ServerSentEvent
from hypothesis import given
from hypothesis import strategies as st

from rlvr_ray.client.watch import AnswerChunk, Watch

TEXT = (
    b'id: 7-1\nevent: piece\ndata: {"text": "a\xe2\x80\xa8b\xc2\x85"}\n\n'
    b": a heartbeat\n\n"
    b"event:state\r\ndata:one\r\ndata:  two\r\n\r\n"
    b"retry: 1500\rid\rdata\r\r"
    b"id: x\0y\nretry: soon\nunknown: x\nevent: nothing\n\n"
    b"data: \xff\n\n"
    b"event: cut\ndata: never"
)
#: By name, data and id. An event without data is none, says the standard; the library tells of it,
#: and so of each heartbeat once there was an id. Nor does it skip a byte order mark, which our
#: server does not send.
EVENTS = [
    ("piece", '{"text": "a\u2028b\x85"}', "7-1"),
    ("message", "", "7-1"),
    ("state", "one\n two", "7-1"),
    ("message", "", ""),
    ("nothing", "", ""),
    ("message", "\ufffd", ""),
]


def events(chunks: Sequence[bytes]) -> list[tuple[str, str, str]]:
    headers = {"content-type": "text/event-stream; charset=utf-8"}
    reply = httpx.Response(200, headers=headers, content=iter(chunks))
    return [(each.event, each.data, each.id) for each in EventSource(reply).iter_sse()]


@given(st.lists(st.integers(0, len(TEXT)), max_size=20))
def test_it_does_not_matter_where_it_is_cut(places: list[int]) -> None:
    cuts = [0, *sorted(places), len(TEXT)]
    assert events([TEXT[a:b] for a, b in pairwise(cuts)]) == EVENTS


def test_byte_for_byte() -> None:
    assert events([TEXT[n : n + 1] for n in range(len(TEXT))]) == EVENTS


def watch() -> Watch:
    return Watch("http://x", "a batch", 120.0, may_ask_again=False, has_answered=True)


def test_a_watch_tells_its_own_events_only_and_goes_on_after_the_last_id() -> None:
    watching = watch()
    given = [ServerSentEvent(*each) for each in (("weather", "{}", "é-1"), ("message", "", "é-1"))]
    assert [watching.take(each) for each in given] == [None, None]
    chunk = ServerSentEvent("piece", '{"candidate": 1, "text": "x"}', "é-2")
    assert watching.take(chunk) == AnswerChunk(candidate=1, text="x")
    watching.take(ServerSentEvent("message", ""))
    assert watching.options["headers"]["Last-Event-ID"] == "é-2".encode()


def test_a_heartbeat_keeps_a_watch_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long silence between two events is none while the server is heard."""
    watching = watch()
    heartbeat = ServerSentEvent(*EVENTS[1])
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 1000)
    watching.take(heartbeat)
    assert watching.after(httpx.ReadError("it dropped")) > 0
