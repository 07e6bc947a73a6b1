"""The mirror over a real ledger; the broker is a fake that fails and hangs."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from rlvr_ray.core import retry
from rlvr_ray.core.errors import ConfigError, LedgerError, RlvrError, Unavailable
from rlvr_ray.core.retry import Backoff
from rlvr_ray.dataset.ledger import Ledger
from rlvr_ray.dataset.state import Page
from rlvr_ray.events import mirror as module
from rlvr_ray.events import outbox
from rlvr_ray.events.mirror import Mirror
from rlvr_ray.events.outbox import Posted
from tests.builders import batch
from tests.fakes import FakePublisher
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.integration


class System:
    """A mirror, the ledger that it reads and the broker that it tells."""

    def __init__(self, folder: Path) -> None:
        self.ledger = Ledger(folder)
        self.publisher = FakePublisher()
        self.reads: list[int] = []  # from where the ledger was asked for events
        self.notes: list[tuple[str, str | None]] = []  # without repetitions
        self.broken: Exception | None = None  # what noting the place raises, once
        self.mirror = Mirror(
            self.publisher,
            self.position,
            self.events,
            self.confirmed,
            self.note,
        )
        self.marked = asyncio.Event()

    def note(self, name: str, problem: str | None) -> None:
        if [(name, problem)] != self.notes[-1:]:
            self.notes.append((name, problem))

    async def position(self) -> int:
        return self.ledger.mark("mirrored")

    async def events(self, after: int, limit: int) -> Page[Posted]:
        self.reads.append(after)
        return outbox.events(self.ledger, after, limit)

    async def confirmed(self, seq: int) -> None:
        if self.broken is not None:
            error, self.broken = self.broken, None
            raise error
        self.ledger.write(Ledger.mirrored, seq)
        self.marked.set()

    def record(self, *questions: str) -> None:
        """Three events each."""
        asked = [batch(question=question) for question in questions]
        self.ledger.commit([lambda it: it.record(asked)])
        self.mirror.wake()

    def mark(self) -> int:
        return self.ledger.mark("mirrored")

    async def until_marked(self, seq: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while self.mark() < seq:
                self.marked.clear()
                await self.marked.wait()

    def published(self) -> list[int]:
        return [posted.seq for posted in self.publisher.published]

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["asyncio.Task[None]"]:
        """A mirror that is connected and has looked for events once."""
        looks = len(self.reads)
        task = asyncio.create_task(self.mirror.run())
        try:
            await self.publisher.until(lambda: self.publisher.calls > self.publisher.running)
            async with asyncio.timeout(PATIENCE_S):
                while len(self.reads) == looks:
                    await asyncio.sleep(0)
            yield task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    made = System(tmp_path)
    yield made
    made.ledger.close()


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses after failures, which take no time here."""
    taken: list[float] = []

    def pause(backoff: Backoff, failures: int) -> float:
        taken.append(usual(backoff, failures))
        return 0.0

    usual = Backoff.pause
    monkeypatch.setattr(Backoff, "pause", pause)
    monkeypatch.setattr(retry, "random", SimpleNamespace(uniform=lambda low, high: 1.0))
    return taken


def sent(system: System) -> list[list[int]]:
    """What the broker was given, by call; the connection was made before."""
    connecting, *calls = system.publisher.sent
    assert connecting == []
    return calls


async def test_every_event_goes_out_in_the_order_of_commits(system: System) -> None:
    system.record("One?", "Two?")
    async with system.running():
        await system.until_marked(6)
        system.record("Three?")
        await system.until_marked(9)
    assert system.publisher.published == outbox.events(system.ledger, 0, 100)
    assert system.published() == list(range(1, 10))
    assert system.ledger.backlog().pending == 0


async def test_it_connects_before_there_is_anything_to_tell(system: System) -> None:
    """Consumers can bind their queues, and a wrong URL shows at once."""
    async with system.running():
        assert system.publisher.sent == [[]]
        assert system.mark() == 0


async def test_the_place_is_noted_only_after_the_broker_has_confirmed(system: System) -> None:
    async with system.running():
        system.publisher.hang()
        system.record("One?")
        await system.publisher.until(lambda: system.publisher.running == 1)
        assert system.mark() == 0
        system.record("Two?")
        system.publisher.release()
        await system.until_marked(6)
    assert sent(system) == [[1, 2, 3], [4, 5, 6]]


async def test_it_goes_in_windows(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WINDOW", 4)
    marks = []

    class Watching(FakePublisher):
        async def publish(self, events: Sequence[Posted]) -> None:
            marks.append(system.mark())
            await super().publish(events)

    system.publisher = system.mirror._publisher = Watching()
    system.record("One?", "Two?", "Three?")
    async with system.running():
        await system.until_marked(9)
    assert sent(system) == [[1, 2, 3, 4], [5, 6, 7, 8], [9]]
    assert marks == [0, 0, 4, 8]


async def test_it_starts_where_the_ledger_says(system: System) -> None:
    system.record("One?", "Two?")
    system.ledger.commit([lambda it: it.mirrored(4)])
    async with system.running():
        await system.until_marked(6)
    assert sent(system) == [[5, 6]]


async def test_it_looks_only_when_it_is_woken(system: System) -> None:
    async def idle(reads: list[int]) -> None:
        for _ in range(20):
            await asyncio.sleep(0)
        assert system.reads == reads

    async with system.running():
        await idle([0])
        system.record("One?")
        await idle([0, 0, 3])
        system.record("Two?")
        await idle([0, 0, 3, 3, 6])
        system.mirror.wake()
        await idle([0, 0, 3, 3, 6, 6])
    assert system.mark() == 6


async def test_what_is_committed_while_it_looks_is_seen(system: System) -> None:
    read = system.events

    async def late(after: int, limit: int) -> Page[Posted]:
        found = await read(after, limit)
        if len(system.reads) == 1:
            system.record("Just now?")
        return found

    system.mirror._events = late
    async with system.running():
        await system.until_marked(3)


class TestTrouble:
    @pytest.mark.parametrize("error", [Unavailable("gone"), ConfigError("refused")])
    async def test_the_same_events_are_sent_again(
        self, system: System, pauses: list[float], error: RlvrError
    ) -> None:
        async with system.running():
            system.publisher.failures = [error, error]
            system.record("One?")
            await system.until_marked(3)
        assert sent(system) == [[1, 2, 3]] * 3
        assert system.published() == [1, 2, 3]
        assert len(pauses) == 2

    async def test_it_is_told_and_when_it_is_over(
        self, system: System, pauses: list[float]
    ) -> None:
        async with system.running():
            system.publisher.failures = [Unavailable("gone"), ConfigError("refused")]
            system.record("One?")
            await system.until_marked(3)
        assert system.notes == [
            ("mirror", None),
            ("mirror", "gone"),
            ("mirror", "refused"),
            ("mirror", None),
        ]

    async def test_a_broker_that_is_not_there_at_the_start(
        self, system: System, pauses: list[float]
    ) -> None:
        system.record("One?")
        system.publisher.failures = [Unavailable("gone")] * 3
        async with system.running():
            await system.until_marked(3)
        assert system.publisher.sent == [[]] * 4 + [[1, 2, 3]]

    async def test_later_events_wait_for_the_earlier_ones(
        self, system: System, pauses: list[float]
    ) -> None:
        async with system.running():
            system.publisher.failures = [Unavailable("gone")] * 3
            system.record("One?")
            await system.publisher.until(lambda: system.publisher.calls >= 3)
            system.record("Two?")
            await system.until_marked(6)
        assert sent(system) == [[1, 2, 3]] * 4 + [[4, 5, 6]]
        assert system.published() == [1, 2, 3, 4, 5, 6]

    async def test_pauses_grow_to_a_limit_and_start_over(
        self, system: System, pauses: list[float]
    ) -> None:
        async with system.running():
            system.publisher.failures = [Unavailable("gone")] * 9
            system.record("One?")
            await system.until_marked(3)
            assert pauses == [0.25, 0.5, 1, 2, 4, 8, 15, 15, 15]
            pauses.clear()
            system.publisher.failures = [Unavailable("gone")]
            system.record("Two?")
            await system.until_marked(6)
            assert pauses == [0.25]

    async def test_pauses_are_not_those_of_others(
        self, system: System, pauses: list[float], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Else all that lost one broker would come back to it at once."""
        monkeypatch.setattr(retry, "random", SimpleNamespace(uniform=lambda low, high: high))
        async with system.running():
            system.publisher.failures = [Unavailable("gone")]
            system.record("One?")
            await system.until_marked(3)
        assert pauses == [pytest.approx(0.3)]

    async def test_a_place_that_cannot_be_noted_repeats_events_and_loses_none(
        self, system: System
    ) -> None:
        system.record("One?")
        system.broken = LedgerError("no room")
        with pytest.raises(LedgerError):
            await asyncio.wait_for(system.mirror.run(), PATIENCE_S)
        assert (system.mark(), system.publisher.closed) == (0, 1)
        async with system.running():
            await system.until_marked(3)
        assert system.published() == [1, 2, 3, 1, 2, 3]

    async def test_a_defect_ends_it_with_the_connection_closed(self, system: System) -> None:
        """Whoever supervises it starts it over."""
        async with system.running() as task:
            system.publisher.failures = [ZeroDivisionError("a defect")]
            system.record("One?")
            with pytest.raises(ZeroDivisionError):
                await asyncio.wait_for(task, PATIENCE_S)
        assert system.publisher.closed == 1
        async with system.running():
            await system.until_marked(3)
        assert system.published() == [1, 2, 3]


class TestCancelled:
    """The connection is let go, and the place stays what the broker has confirmed."""

    async def end(self, system: System, task: "asyncio.Task[None]") -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()
        assert system.publisher.closed == 1

    async def test_while_it_is_idle(self, system: System) -> None:
        async with system.running() as task:
            system.record("One?")
            await system.until_marked(3)
            await self.end(system, task)
        assert system.mark() == 3

    async def test_while_the_broker_hangs(self, system: System) -> None:
        async with system.running() as task:
            system.publisher.hang()
            system.record("One?")
            await system.publisher.until(lambda: system.publisher.running == 1)
            await self.end(system, task)
        assert (system.mark(), system.publisher.cancelled) == (0, 1)

    async def test_while_it_pauses(self, system: System) -> None:
        async with system.running() as task:
            system.publisher.failures = [Unavailable("gone")]
            system.record("One?")
            await system.publisher.until(lambda: system.publisher.calls == 2)
            await asyncio.sleep(0)
            assert system.notes[-1] == ("mirror", "gone")
            await self.end(system, task)
        assert (system.mark(), system.publisher.calls) == (0, 2)

    async def test_while_it_connects(self, system: System) -> None:
        system.publisher.hang()
        system.record("One?")
        task = asyncio.create_task(system.mirror.run())
        await system.publisher.until(lambda: system.publisher.running == 1)
        await self.end(system, task)
        assert (system.mark(), system.published()) == (0, [])
