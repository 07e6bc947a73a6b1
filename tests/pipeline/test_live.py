"""Live events: what a watcher is told, from wherever and whenever he comes."""

import asyncio
import contextlib
from collections.abc import Sequence
from uuid import UUID, uuid4

import pytest

from rlvr_ray.core.errors import NotFound, RlvrError, Unavailable
from rlvr_ray.dataset.state import BatchState
from rlvr_ray.pipeline import live as module
from rlvr_ray.pipeline import live_publisher
from rlvr_ray.pipeline.live import Acknowledgement, LiveEvent, LiveHub
from rlvr_ray.pipeline.live_publisher import LivePublisher
from tests.builders import DECIDED, batch, context, verification
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.integration


BATCH = batch()
ID = BATCH.batch_id
OPEN = BatchState(batch=BATCH, results={}, outcome=None)


def decided() -> BatchState:
    from rlvr_ray.core.pairing import PairingRule, decide

    results = {c.event_id: verification(c, 0.9 - c.index / 10) for c in BATCH.candidates}
    return BatchState(
        batch=BATCH, results=results, outcome=decide(BATCH, results, PairingRule(), DECIDED)
    )


class Store:
    """What the ledger knows."""

    def __init__(self, *states: BatchState) -> None:
        self.states = {state.batch.batch_id: state for state in states}
        self.reads = 0

    async def find(self, batch_id: UUID) -> BatchState | None:
        self.reads += 1
        await asyncio.sleep(0)
        return self.states.get(batch_id)


def piece(candidate: int, text: str) -> LiveEvent:
    return LiveEvent(kind="piece", data=(candidate, text))


def kinds(told: list[LiveEvent]) -> list[str]:
    return [event.kind for event in told]


async def test_a_batch_that_nobody_knows() -> None:
    with pytest.raises(NotFound, match="no batch"):
        await LiveHub(Store().find).watch(uuid4(), None, 0)


async def test_a_decided_batch_is_told_whole_and_ends() -> None:
    hub = LiveHub(Store(decided()).find)
    state, end = await hub.watch(ID, None, 0)
    assert (state.kind, state.data) == ("state", decided())
    assert end.kind == "end"
    assert await hub.watch(ID, end.id, 0) == []


async def test_who_comes_late_is_told_all_from_the_start() -> None:
    hub = LiveHub(Store().find)
    assert (
        hub.publish(ID, "one", [LiveEvent(kind="contexts", data=(context(),))], opens=True)
        == "taken"
    )
    hub.publish(ID, "one", [piece(0, "Ray ")])
    hub.publish(ID, "one", [piece(0, "scales")])
    told = await hub.watch(ID, None, 0)
    assert kinds(told) == ["contexts", "piece", "piece"]
    assert [event.data for event in told[1:]] == [(0, "Ray "), (0, "scales")]
    assert [e.data for e in await hub.watch(ID, told[1].id, 0)] == [(0, "scales")]


async def test_a_watcher_is_woken_by_what_comes() -> None:
    hub = LiveHub(Store().find)
    hub.publish(ID, "one", [LiveEvent(kind="contexts")], opens=True)
    (first,) = await hub.watch(ID, None, 0)
    waiting = asyncio.create_task(hub.watch(ID, first.id, 30))
    await asyncio.sleep(0)
    hub.publish(ID, "one", [piece(1, "x")])
    async with asyncio.timeout(PATIENCE_S):
        assert [e.data for e in await waiting] == [(1, "x")]


async def test_a_state_replaces_what_was_before_and_pieces_after_it_are_old() -> None:
    hub = LiveHub(Store().find)
    hub.publish(ID, "one", [LiveEvent(kind="contexts"), piece(0, "a")], opens=True)
    hub.state(OPEN)
    assert hub.publish(ID, "one", [piece(0, "b")]) == "taken"
    assert kinds(await hub.watch(ID, None, 0)) == ["state"]
    hub.state(decided())
    told = await hub.watch(ID, None, 0)
    assert kinds(told) == ["state", "end"]
    assert told[0].data.outcome is not None


async def test_states_of_what_nobody_watches_are_not_kept() -> None:
    store = Store(decided())
    hub = LiveHub(store.find)
    hub.state(OPEN)
    await hub.refresh(ID)
    assert store.reads == 0
    assert not hub.is_watched(ID)
    await hub.watch(ID, None, 0)
    assert hub.is_watched(ID)


async def test_who_asks_without_waiting_will_watch() -> None:
    """Verification may begin before he is connected."""
    hub = LiveHub(Store().find)
    hub.publish(ID, "one", [LiveEvent(kind="contexts")], opens=True)
    assert hub.is_watched(ID)


async def test_a_batch_that_is_decided_while_it_is_looked_up() -> None:
    class Slow(Store):
        async def find(self, batch_id: UUID) -> BatchState | None:
            found = await super().find(batch_id)
            self.states[ID] = decided()  # right after the reading, when nobody watches yet
            return found

    told = await LiveHub(Slow(OPEN).find).watch(ID, None, 0)
    assert kinds(told) == ["state", "end"]


async def test_after_a_restart_a_watcher_is_told_to_forget() -> None:
    before, after = LiveHub(Store().find), LiveHub(Store().find)
    before.publish(ID, "one", [LiveEvent(kind="contexts"), piece(0, "a")], opens=True)
    last = (await before.watch(ID, None, 0))[-1].id
    after.publish(ID, "one", [LiveEvent(kind="contexts"), piece(0, "ab")], opens=True)
    told = await after.watch(ID, last, 0)
    assert kinds(told) == ["restart", "contexts", "piece"]
    assert [e.data for e in await after.watch(ID, told[1].id, 0)] == [(0, "ab")]


#: What may come instead of an event's id; ``{}`` is the place of what identifies the stream.
NO_IDS = [
    *("", "x", "-", "1-", "-1", "abc-def", "\u2028-3", "é", "ÿ-1", "0", "{}"),
    *("{}-", "{}--1", "{}-²", "{}-٣", "{}-১", "{}-1.0", "{}- 1", "{}-1 ", "{}-1\n", "{}-0x1"),
    *("{}-3", "{}-1_0", "{}-1e0", "{}-NaN", "x{}-1", "{}-" + "9" * 5000, "9" * 5000),
]


@pytest.mark.parametrize("last", NO_IDS)
async def test_an_id_that_is_none_means_from_the_start(last: str) -> None:
    hub = LiveHub(Store(decided()).find)
    (first, _) = await hub.watch(ID, None, 0)
    epoch = first.id.partition("-")[0]
    assert kinds(await hub.watch(ID, last.format(epoch), 0)) == ["state", "end"]


@pytest.mark.parametrize("last", [last for last in NO_IDS if last])
async def test_whoever_brings_such_an_id_is_told_to_forget_what_he_read(last: str) -> None:
    hub = LiveHub(Store().find)
    hub.publish(ID, "one", [LiveEvent(kind="contexts"), piece(0, "a")], opens=True)
    (first, _) = await hub.watch(ID, None, 0)
    told = await hub.watch(ID, last.format(first.id.partition("-")[0]), 0)
    assert kinds(told) == ["restart", "contexts", "piece"]
    assert kinds(await hub.watch(ID, told[0].id, 0)) == ["contexts", "piece"]


async def test_an_id_of_what_the_hub_has_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """The batch's events are counted anew: the old place must not hide the first of them."""
    monkeypatch.setattr(module, "TOPICS", 1)
    hub = LiveHub(Store(OPEN).find)
    hub.publish(uuid4(), "one", [LiveEvent(kind="contexts")], opens=True)
    for _ in range(3):
        hub.state(OPEN)
        (state,) = await hub.watch(ID, None, 0)
        hub.publish(uuid4(), "one", [LiveEvent(kind="contexts")], opens=True)
        assert kinds(await hub.watch(ID, state.id, 0)) == ["state"]


async def test_one_teller_at_a_time() -> None:
    hub = LiveHub(Store().find)
    hub.publish(ID, "one", [LiveEvent(kind="contexts"), piece(0, "a")], opens=True)
    hub.publish(ID, "two", [LiveEvent(kind="contexts"), piece(0, "b")], opens=True)
    assert hub.publish(ID, "one", [piece(0, "c")]) == "other"
    told = await hub.watch(ID, None, 0)
    assert kinds(told) == ["restart", "contexts", "piece"]
    assert told[-1].data == (0, "b")


async def test_a_failed_ask_ends_and_may_be_asked_again() -> None:
    hub = LiveHub(Store().find)
    error = Unavailable("the generator is not there")
    hub.publish(ID, "one", [LiveEvent(kind="contexts")], opens=True)
    hub.publish(ID, "one", [LiveEvent(kind="failed", data=error)])
    assert hub.publish(ID, "one", [piece(0, "late")]) == "taken"
    told = await hub.watch(ID, None, 0)
    assert kinds(told) == ["failed", "end"]
    assert told[0].data is error
    hub.publish(ID, "two", [LiveEvent(kind="contexts")], opens=True)
    assert kinds(await hub.watch(ID, told[-1].id, 0)) == ["restart", "contexts"]


async def test_the_hub_forgets_what_was_touched_longest_ago(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "TOPICS", 2)
    hub = LiveHub(Store().find)
    first, second, third = uuid4(), uuid4(), uuid4()
    for batch_id in (first, second):
        hub.publish(batch_id, "one", [LiveEvent(kind="contexts")], opens=True)
    await hub.watch(first, None, 0)
    hub.publish(third, "one", [LiveEvent(kind="contexts")], opens=True)
    assert kinds(await hub.watch(first, None, 0)) == ["contexts"]
    with pytest.raises(NotFound):
        await hub.watch(second, None, 0)
    assert hub.publish(second, "one", [piece(0, "x")]) == "unknown"


class Hub:
    """A hub that can be away, or be replaced by one that knows nothing."""

    def __init__(self) -> None:
        self.live = LiveHub(Store().find)
        self.away = False
        self.calls = 0
        self.called = asyncio.Event()

    async def publish_live(
        self, batch_id: UUID, publisher: str, events: Sequence[LiveEvent], opens: bool
    ) -> Acknowledgement:
        self.calls += 1
        self.called.set()
        if self.away:
            raise Unavailable("the aggregator is not there")
        return self.live.publish(batch_id, publisher, events, opens=opens)

    async def text(self) -> dict[int, str]:
        """The answers as a watcher would read them."""
        answers: dict[int, str] = {}
        events: list[LiveEvent] = []
        with contextlib.suppress(NotFound):
            events = await self.live.watch(ID, None, 0)
        for event in events:
            if event.kind == "restart":
                answers.clear()
            if event.kind == "piece":
                candidate, text = event.data
                answers[candidate] = answers.get(candidate, "") + text
        return answers

    async def until(self, text: dict[int, str]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while await self.text() != text:
                self.called.clear()
                await self.called.wait()


async def test_a_teller_gathers_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub()
    publisher = LivePublisher(hub.publish_live, ID)
    await publisher.open([context()])
    monkeypatch.setattr(live_publisher, "BURST_S", 0.01)
    async with publisher:
        for word in ("Ray ", "scales ", "Python"):
            publisher.piece(0, word)
        publisher.piece(1, "It ")
        await hub.until({0: "Ray scales Python", 1: "It "})
    assert hub.calls == 2, "one to open, one for all pieces"


async def test_a_teller_tells_a_new_hub_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_publisher, "BURST_S", 0.01)
    hub = Hub()
    publisher = LivePublisher(hub.publish_live, ID)
    await publisher.open([context()])
    async with publisher:
        publisher.piece(0, "Ray ")
        await hub.until({0: "Ray "})
        hub.away = True
        publisher.piece(0, "scales ")
        hub.called.clear()
        await hub.called.wait()
        hub.live, hub.away = LiveHub(Store().find), False
        publisher.piece(0, "Python")
        await hub.until({0: "Ray scales Python"})
    await publisher.failed(RlvrError("broken off"))
    assert kinds(await hub.live.watch(ID, None, 0)) == ["failed", "end"]


async def test_what_a_hub_missed_is_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_publisher, "BURST_S", 0.01)
    hub = Hub()
    publisher = LivePublisher(hub.publish_live, ID)
    await publisher.open([context()])
    async with publisher:
        hub.away = True
        publisher.piece(0, "Ray ")
        hub.called.clear()
        await hub.called.wait()
        hub.away = False
        publisher.piece(0, "scales")
        await hub.until({0: "Ray scales"})


async def test_a_teller_falls_silent_where_another_one_tells(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live_publisher, "BURST_S", 0.01)
    hub = Hub()
    first, second = LivePublisher(hub.publish_live, ID), LivePublisher(hub.publish_live, ID)
    await first.open([context()])
    await second.open([context()])
    async with first, second:
        first.piece(0, "mine")
        second.piece(0, "yours")
        await hub.until({0: "yours"})


async def test_a_hub_that_is_away_at_the_start_is_said() -> None:
    hub = Hub()
    hub.away = True
    with pytest.raises(Unavailable):
        await LivePublisher(hub.publish_live, ID).open([])
