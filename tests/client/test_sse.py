"""Server-sent events out of bytes, however they are cut."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from rlvr_ray.client.sse import EventStream, Sent

TEXT = (
    b'\xef\xbb\xbfid: 7-1\nevent: piece\ndata: {"text": "a\xe2\x80\xa8b\xc2\x85"}\n\n'
    b": a heartbeat\n\n"
    b"event:state\r\ndata:one\r\ndata:  two\r\n\r\n"
    b"retry: 1500\rid\rdata\r\r"
    b"id: x\0y\nretry: soon\nunknown: x\nevent: nothing\n\n"
    b"data: \xff\n\n"
    b"event: cut\ndata: never"
)
EVENTS = [
    Sent("piece", '{"text": "a\u2028b\x85"}'),
    Sent("state", "one\n two"),
    Sent("message", ""),
    Sent("message", "\ufffd"),
]


def test_the_events_of_a_stream() -> None:
    stream = EventStream()
    assert list(stream.feed(TEXT)) == EVENTS
    assert stream.last_id == "", "an empty id takes the last one back"


@given(st.lists(st.integers(0, len(TEXT)), max_size=20))
def test_it_does_not_matter_where_it_is_cut(places: list[int]) -> None:
    cuts = [0, *sorted(places), len(TEXT)]
    stream = EventStream()
    chunks = [TEXT[a:b] for a, b in pairwise(cuts)]
    assert [event for chunk in chunks for event in stream.feed(chunk)] == EVENTS


def test_byte_for_byte() -> None:
    stream = EventStream()
    assert [e for n in range(len(TEXT)) for e in stream.feed(TEXT[n : n + 1])] == EVENTS


def test_the_id_is_known_with_its_event() -> None:
    stream = EventStream()
    ids = [stream.last_id for _ in stream.feed(b"id: 1\ndata: a\n\nid: 2\ndata: b\n\n")]
    assert ids == ["1", "2"]
