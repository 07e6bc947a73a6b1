"""Group commit over a real ledger: durable before it is answered, and nobody pays for another."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from rlvr_ray.core.errors import InputError, LedgerError, Overloaded
from rlvr_ray.core.records import Batch
from rlvr_ray.dataset.group_commit import Commits
from rlvr_ray.dataset.ledger import Ledger, Operation, Reader
from rlvr_ray.events import outbox
from tests.builders import batch, context
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.integration


class GatedLedger(Ledger):
    """A Ledger that counts its transactions, and holds them until it is let go."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.groups: list[int] = []
        self.threads: set[int] = set()
        self.gate = threading.Event()
        self.gate.set()
        self.entered = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def commit(self, operations: Sequence[Operation]) -> list[Any]:
        self.groups.append(len(operations))
        self.threads.add(threading.get_ident())
        self._loop.call_soon_threadsafe(self.entered.set)
        assert self.gate.wait(PATIENCE_S), "nobody let it go"
        return super().commit(operations)


class System:
    def __init__(self, folder: Path) -> None:
        self.ledger = GatedLedger(folder)
        self.commits = Commits(self.ledger)
        self.reader = self.ledger.reader()

    async def held(self, operation: Operation) -> "asyncio.Task[Any]":
        """A commit that is at work and cannot end."""
        self.ledger.gate.clear()
        self.ledger.entered.clear()
        task = asyncio.create_task(self.commits.commit(operation))
        await asyncio.wait_for(self.ledger.entered.wait(), PATIENCE_S)
        return task

    async def waiting(self, *operations: Operation) -> "list[asyncio.Task[Any]]":
        """Commits that wait for the one at work."""
        tasks = [asyncio.create_task(self.commits.commit(it)) for it in operations]
        await asyncio.sleep(0)  # each has its turn
        return tasks

    def questions(self) -> list[str]:
        return [state.batch.question for _, state in self.reader.open_batches(0, 1000)]


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    made = System(tmp_path)
    yield made
    made.ledger.gate.set()
    made.reader.close()
    await made.commits.close()


def asked(number: int) -> Batch:
    return batch(question=f"{number}")


def recording(number: int) -> Operation:
    return lambda ledger: ledger.record([asked(number)])


def failing(error: Exception) -> Operation:
    def fail(_: Ledger) -> None:
        raise error

    return fail


async def test_it_answers_once_it_is_on_the_disk(system: System) -> None:
    task = await system.held(recording(0))
    assert system.questions() == []
    system.ledger.gate.set()
    assert await task == [asked(0)]
    assert system.questions() == ["0"]


async def test_all_that_wait_share_a_transaction(system: System) -> None:
    first = await system.held(recording(0))
    others = await system.waiting(*(recording(n) for n in range(1, 100)))
    assert not any(task.done() for task in others)
    system.ledger.gate.set()
    assert await first == [asked(0)]
    assert await asyncio.gather(*others) == [[asked(n)] for n in range(1, 100)]
    assert system.ledger.groups == [1, 99]
    assert system.questions() == [str(n) for n in range(100)], "in the order of asking"


async def test_it_has_one_thread_which_is_not_the_loops(system: System) -> None:
    await asyncio.gather(*(system.commits.commit(recording(n)) for n in range(10)))
    await system.commits.commit(recording(10))
    assert len(system.ledger.threads) == 1
    assert threading.get_ident() not in system.ledger.threads


async def test_results_are_those_of_the_operations(system: System) -> None:
    first = await system.held(lambda _: "first")
    others = await system.waiting(*(lambda _, n=n: n for n in range(5)))
    system.ledger.gate.set()
    assert await first == "first"
    assert await asyncio.gather(*others) == list(range(5))


@pytest.mark.parametrize("place", [0, 3, 6])
async def test_one_that_fails_fails_alone(system: System, place: int) -> None:
    first = await system.held(recording(0))
    operations = [recording(n) for n in range(1, 7)]
    error = ValueError("a bad one")
    operations.insert(place, failing(error))
    others = await system.waiting(*operations)
    system.ledger.gate.set()
    await first
    results = await asyncio.gather(*others, return_exceptions=True)
    assert results.pop(place) is error
    assert results == [[asked(n)] for n in range(1, 7)]
    assert system.questions() == [str(n) for n in range(7)]


async def test_what_a_failing_one_wrote_is_undone(system: System) -> None:
    def half(ledger: Ledger) -> None:
        ledger.record([asked(7)])
        raise ValueError("half way")

    first = await system.held(recording(0))
    bad, good = await system.waiting(half, recording(1))
    system.ledger.gate.set()
    await first
    with pytest.raises(ValueError, match="half way"):
        await bad
    await good
    assert system.questions() == ["0", "1"]
    assert len(outbox.events(system.reader, 0, 100)) == 6


async def test_a_record_that_could_not_be_read_back_is_refused_alone(system: System) -> None:
    def bad(ledger: Ledger) -> list[Batch]:
        return ledger.record([batch(contexts=(context(page=None),))])

    first = await system.held(recording(0))
    refused, good = await system.waiting(bad, recording(1))
    system.ledger.gate.set()
    await first
    with pytest.raises(InputError, match=r"batch .*: Batch cannot be kept: contexts\.0\.metadata"):
        await refused
    await good
    assert system.questions() == ["0", "1"]


async def test_each_hears_its_own_failure(system: System) -> None:
    first = await system.held(failing(ValueError("first")))
    errors: list[Exception] = [ValueError("a"), LedgerError("b"), Overloaded("c")]
    others = await system.waiting(*map(failing, errors))
    system.ledger.gate.set()
    with pytest.raises(ValueError, match="first"):
        await first
    assert await asyncio.gather(*others, return_exceptions=True) == errors
    assert await system.commits.commit(recording(1)) == [asked(1)], "it goes on"


async def test_a_statement_that_fails_is_a_failure_of_the_ledger(system: System) -> None:
    with pytest.raises(LedgerError, match="no such table"):
        await system.commits.commit(lambda it: it._db.execute("SELECT * FROM missing"))
    await system.commits.commit(recording(1))
    assert system.questions() == ["1"]


class TestCancelled:
    """A caller that went away: the others get what is theirs, and so does the ledger."""

    async def test_one_that_waits(self, system: System) -> None:
        first = await system.held(recording(0))
        before, gone, after = await system.waiting(*(recording(n) for n in (1, 2, 3)))
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        assert gone.cancelled()
        system.ledger.gate.set()
        assert list(await asyncio.gather(first, before, after)) == [[asked(n)] for n in (0, 1, 3)]
        assert system.questions() == ["0", "1", "2", "3"], "it was asked for"

    async def test_one_whose_operation_fails(self, system: System) -> None:
        first = await system.held(recording(0))
        gone, after = await system.waiting(failing(ValueError("unheard")), recording(1))
        gone.cancel()
        system.ledger.gate.set()
        assert list(await asyncio.gather(first, after)) == [[asked(0)], [asked(1)]]
        assert gone.cancelled()

    async def test_one_that_is_at_work(self, system: System) -> None:
        gone = await system.held(recording(0))
        (after,) = await system.waiting(recording(1))
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        assert gone.cancelled()
        system.ledger.gate.set()
        assert await after == [asked(1)]
        assert system.questions() == ["0", "1"]


class TestThen:
    """What is to be done after a commit does not depend on who still waits for it."""

    async def test_it_comes_after_the_commit(self, system: System) -> None:
        seen: list[tuple[Any, list[str]]] = []
        await system.commits.commit(
            recording(0), lambda result: seen.append((result, system.questions()))
        )
        await asyncio.sleep(0)
        assert seen == [([asked(0)], ["0"])], "it gets the operation's result"

    async def test_also_where_the_caller_has_gone(self, system: System) -> None:
        first = await system.held(recording(0))
        called = asyncio.Event()
        gone = asyncio.create_task(system.commits.commit(recording(1), lambda _: called.set()))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        assert not called.is_set()
        system.ledger.gate.set()
        await first
        await asyncio.wait_for(called.wait(), PATIENCE_S)
        assert system.questions() == ["0", "1"]

    async def test_one_that_fails_holds_up_nobody(self, system: System) -> None:
        called: list[int] = []

        def fail(_: Any) -> None:
            raise ZeroDivisionError

        first = await system.held(recording(0))
        both = [
            asyncio.create_task(system.commits.commit(recording(1), fail)),
            asyncio.create_task(system.commits.commit(recording(2), lambda _: called.append(2))),
        ]
        await asyncio.sleep(0)
        system.ledger.gate.set()
        await asyncio.wait_for(asyncio.gather(first, *both), PATIENCE_S)
        await asyncio.wait_for(system.commits.commit(recording(3)), PATIENCE_S)
        assert called == [2] and system.questions() == ["0", "1", "2", "3"]

    async def test_not_after_a_failure(self, system: System) -> None:
        called: list[int] = []
        first = await system.held(recording(0))
        bad = asyncio.create_task(
            system.commits.commit(failing(ValueError("bad")), lambda _: called.append(1))
        )
        good = asyncio.create_task(system.commits.commit(recording(1), lambda _: called.append(2)))
        await asyncio.sleep(0)
        system.ledger.gate.set()
        await first
        await good
        with pytest.raises(ValueError, match="bad"):
            await bad
        assert called == [2]


class TestFromThreads:
    async def test_it_returns_once_it_is_on_the_disk(self, system: System) -> None:
        commit = system.commits.from_threads()

        def work() -> tuple[Any, list[str]]:
            return commit(recording(0)), system.questions()

        assert await asyncio.to_thread(work) == ([asked(0)], ["0"])

    async def test_it_blocks_until_then(self, system: System) -> None:
        first = await system.held(recording(0))
        commit = system.commits.from_threads()
        started, ended = asyncio.Event(), threading.Event()
        loop = asyncio.get_running_loop()

        def work() -> None:
            loop.call_soon_threadsafe(started.set)
            commit(recording(1))
            ended.set()

        thread = asyncio.create_task(asyncio.to_thread(work))
        await started.wait()
        assert not ended.is_set()
        assert not thread.done()
        system.ledger.gate.set()
        await asyncio.gather(first, thread)
        assert system.questions() == ["0", "1"]

    async def test_it_raises_what_the_operation_raised(self, system: System) -> None:
        commit = system.commits.from_threads()
        error = Overloaded("no room")
        with pytest.raises(Overloaded) as caught:
            await asyncio.to_thread(commit, failing(error))
        assert caught.value is error

    async def test_it_shares_transactions_with_the_others(self, system: System) -> None:
        first = await system.held(recording(0))
        commit = system.commits.from_threads()
        threads = [asyncio.create_task(asyncio.to_thread(commit, recording(n))) for n in (1, 2)]
        others = await system.waiting(recording(3))
        async with asyncio.timeout(PATIENCE_S):
            while len(system.commits._waiting) < 3:
                await asyncio.sleep(0.001)  # threads have no event that says "it waits"
        system.ledger.gate.set()
        await asyncio.gather(first, *threads, *others)
        assert system.ledger.groups == [1, 3]


class TestClose:
    async def test_what_waits_is_committed_first(self, tmp_path: Path) -> None:
        system = System(tmp_path)
        first = await system.held(recording(0))
        others = await system.waiting(*(recording(n) for n in range(1, 4)))
        closing = asyncio.create_task(system.commits.close())
        await asyncio.sleep(0)
        assert not closing.done()
        system.ledger.gate.set()
        await closing
        assert await asyncio.gather(first, *others) == [[asked(n)] for n in range(4)]
        assert system.questions() == ["0", "1", "2", "3"]
        system.reader.close()

    async def test_the_next_one_gets_in(self, tmp_path: Path) -> None:
        for number in range(3):
            commits = Commits(Ledger(tmp_path))
            await commits.commit(recording(number))
            await commits.close()
        reader = Reader(tmp_path)
        assert reader.counts() == {"open": 3}
        reader.close()

    async def test_one_that_was_never_used(self, tmp_path: Path) -> None:
        await Commits(Ledger(tmp_path)).close()
        Ledger(tmp_path).close()
