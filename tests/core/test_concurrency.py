"""gather: in order, all or nothing, and nothing left running. supervise: it goes on."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Awaitable, Callable, Sequence

import pytest

from rlvr_ray.core import concurrency as module
from rlvr_ray.core.concurrency import (
    OneThread,
    Together,
    cancelled_by_caller,
    emitted_by,
    gather,
    supervise,
)
from rlvr_ray.core.errors import Overloaded, Unavailable
from tests.patience import PATIENCE_S


class Probe:
    """A coroutine that says how it ended."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.ended = ""

    async def run(self) -> None:
        try:
            self.started.set()
            await asyncio.sleep(60)
            self.ended = "finished"
        except asyncio.CancelledError:
            await asyncio.sleep(0)  # cleaning up takes a moment
            self.ended = "cancelled"
            raise


async def later(turns: int, result: int) -> int:
    for _ in range(turns):
        await asyncio.sleep(0)
    return result


async def fail(error: BaseException, turns: int = 0) -> None:
    await later(turns, 0)
    raise error


async def test_results_come_in_the_order_of_the_coroutines() -> None:
    assert await gather(later(5, 1), later(0, 2), later(2, 3)) == [1, 2, 3]


async def test_nothing_gathers_to_nothing() -> None:
    assert await gather() == []


async def test_they_run_at_the_same_time() -> None:
    meeting = asyncio.Barrier(3)
    async with asyncio.timeout(PATIENCE_S):
        assert sorted(await gather(meeting.wait(), meeting.wait(), meeting.wait())) == [0, 1, 2]


async def test_a_failure_is_raised_as_it_is_and_the_others_are_cancelled_first() -> None:
    one, two = Probe(), Probe()
    error = Unavailable("the model did not finish")
    with pytest.raises(Unavailable) as caught:
        await gather(one.run(), fail(error, 3), two.run())
    assert caught.value is error
    assert caught.value.__cause__ is None
    assert (one.ended, two.ended) == ("cancelled", "cancelled")


async def test_of_several_failures_the_first_in_time_is_raised() -> None:
    with pytest.raises(Overloaded):
        await gather(fail(Unavailable("later"), 5), fail(Overloaded("first"), 1))


async def test_a_failure_while_cleaning_up_does_not_hide_the_first() -> None:
    async def clean_badly() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            raise ValueError("second")

    with pytest.raises(Unavailable, match="first"):
        await gather(clean_badly(), fail(Unavailable("first"), 2))


async def test_a_failing_group_inside_is_raised_as_it_is() -> None:
    group = ExceptionGroup("of its own", [ValueError("inner")])
    with pytest.raises(ExceptionGroup) as caught:
        await gather(later(1, 0), fail(group))
    assert caught.value is group


async def test_gathers_nest_without_wrapping() -> None:
    probe = Probe()
    with pytest.raises(Unavailable, match="deep"):
        await gather(probe.run(), gather(fail(Unavailable("deep"), 3)))
    assert probe.ended == "cancelled"


async def test_cancellation_reaches_every_coroutine() -> None:
    one, two = Probe(), Probe()
    task = asyncio.create_task(gather(one.run(), two.run()))
    await one.started.wait()
    await two.started.wait()
    task.cancel("enough")
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()
    assert (one.ended, two.ended) == ("cancelled", "cancelled")


async def test_a_timeout_around_it_is_a_timeout() -> None:
    probe = Probe()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await gather(probe.run(), later(1, 1))
    assert probe.ended == "cancelled"


async def test_nothing_is_left_running() -> None:
    before = asyncio.all_tasks()
    with pytest.raises(ValueError, match="stop"):
        await gather(Probe().run(), Probe().run(), fail(ValueError("stop")))
    assert asyncio.all_tasks() == before


async def test_a_failure_does_not_look_like_a_cancellation_afterwards() -> None:
    """Else whoever asks whose a CancelledError is would get the wrong answer from then on."""
    with pytest.raises(ValueError, match="stop"):
        await gather(Probe().run(), fail(ValueError("stop"), 2))
    assert not cancelled_by_caller()


class TestWhoCancelled:
    async def test_the_caller(self) -> None:
        found: list[bool] = []

        async def wait() -> None:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                found.append(cancelled_by_caller())
                raise

        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert found == [True]

    async def test_nobody(self) -> None:
        """As where a library's own task was cancelled and it lets us see that."""
        with pytest.raises(asyncio.CancelledError):
            await fail(asyncio.CancelledError())
        assert not cancelled_by_caller()


class Loop:
    """A loop that ends as it is told, one ending a start, and then runs on."""

    def __init__(self, *endings: BaseException | None) -> None:
        self.endings = list(endings)
        self.starts = 0
        self.running = asyncio.Event()
        self.notes: list[tuple[str, str]] = []

    async def __call__(self) -> None:
        self.starts += 1
        if self.endings:
            if (ending := self.endings.pop(0)) is not None:
                raise ending
            return
        self.running.set()
        await asyncio.Event().wait()

    def note(self, name: str, problem: str) -> None:
        self.notes.append((name, problem))


class TestSupervise:
    @pytest.fixture(autouse=True)
    def _no_pauses(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "RESTART_PAUSE", 0)

    async def until_it_runs(self, loop: Loop) -> "asyncio.Task[None]":
        task = asyncio.create_task(supervise("mirror", loop, loop.note))
        await asyncio.wait_for(loop.running.wait(), 5)
        return task

    async def end(self, task: "asyncio.Task[None]") -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()

    async def test_it_survives_failures(self, caplog: pytest.LogCaptureFixture) -> None:
        loop = Loop(ValueError("one"), Unavailable("two"), ExceptionGroup("three", [OSError()]))
        await self.end(await self.until_it_runs(loop))
        assert loop.starts == 4
        assert loop.notes == [
            ("mirror", "ValueError('one')"),
            ("mirror", "Unavailable('two')"),
            ("mirror", "ExceptionGroup('three', [OSError()])"),
        ]
        errors = [r for r in caplog.records if r.levelno == logging.ERROR]
        assert len(errors) == 3
        assert all("mirror" in r.getMessage() and r.exc_info for r in errors)

    async def test_it_survives_a_cancellation_that_nobody_asked_for(self) -> None:
        loop = Loop(asyncio.CancelledError(), asyncio.CancelledError("of a library's"))
        await self.end(await self.until_it_runs(loop))
        assert loop.starts == 3
        assert loop.notes == [("mirror", "cancelled from within")] * 2

    async def test_one_of_its_own_after_a_failing_gather(self) -> None:
        """A failure that a group of tasks ended in must not be taken for our end."""
        rounds = 0
        running = asyncio.Event()

        async def loop() -> None:
            nonlocal rounds
            rounds += 1
            if rounds == 3:
                running.set()
                await asyncio.Event().wait()
            with pytest.raises(ValueError, match="stop"):
                await gather(Probe().run(), fail(ValueError("stop")))
            raise asyncio.CancelledError

        task = asyncio.create_task(supervise("mirror", loop, lambda *_: None))
        await asyncio.wait_for(running.wait(), 5)
        await self.end(task)

    async def test_a_loop_that_ends_by_itself_starts_over(self) -> None:
        loop = Loop(None, None)
        await self.end(await self.until_it_runs(loop))
        assert (loop.starts, loop.notes) == (3, [])

    async def test_it_ends_when_it_is_cancelled(self) -> None:
        loop = Loop()
        await self.end(await self.until_it_runs(loop))
        assert (loop.starts, loop.notes) == (1, [])

    async def test_also_while_it_pauses(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "RESTART_PAUSE", 60)
        loop = Loop(ValueError("one"))
        task = asyncio.create_task(supervise("mirror", loop, loop.note))
        for _ in range(3):
            await asyncio.sleep(0)
        assert len(loop.notes) == 1
        await self.end(task)
        assert loop.starts == 1

    async def test_the_loop_may_clean_up_when_it_is_cancelled(self) -> None:
        probe = Probe()
        task = asyncio.create_task(supervise("mirror", probe.run, lambda *_: None))
        await probe.started.wait()
        await self.end(task)
        assert probe.ended == "cancelled"

    async def test_what_is_no_failure_ends_it(self) -> None:
        class Exit(BaseException):
            pass

        ending: Callable[[], Awaitable[None]] = Loop(Exit())
        with pytest.raises(Exit):
            await supervise("mirror", ending, lambda *_: None)


class TestOneThread:
    async def test_one_piece_after_another_in_one_thread(self) -> None:
        thread = OneThread("files")
        threads: list[str] = []
        works = [lambda: threads.append(threading.current_thread().name) for _ in range(5)]
        await asyncio.gather(*(thread.run(work) for work in works))
        thread.close()
        assert len(threads) == 5
        assert len(set(threads)) == 1
        assert threads[0].startswith("files")

    async def test_it_returns_and_raises_what_the_work_does(self) -> None:
        def bad() -> None:
            raise Overloaded("no room")

        thread = OneThread("files")
        assert await thread.run(lambda: 7) == 7
        with pytest.raises(Overloaded, match="no room"):
            await thread.run(bad)
        assert await thread.run(lambda: 8) == 8
        thread.close()


class TestToldBy:
    async def test_what_is_told_comes_in_order(self) -> None:
        async def produce(emit: Callable[[int | None], None]) -> None:
            for item in (1, 0, None, 2):  # also what is false
                emit(item)
                await asyncio.sleep(0)

        assert [item async for item in emitted_by(produce)] == [1, 0, None, 2]

    async def test_a_failure_comes_after_what_was_told(self) -> None:
        async def produce(emit: Callable[[int], None]) -> None:
            emit(1)
            raise Overloaded("full")

        told = emitted_by(produce)
        assert await anext(told) == 1
        with pytest.raises(Overloaded, match="full"):
            await anext(told)

    async def test_closing_ends_who_tells_before_it_returns(self) -> None:
        probe = Probe()

        async def produce(emit: Callable[[int], None]) -> None:
            emit(1)
            await probe.run()

        async with contextlib.aclosing(emitted_by(produce)) as told:
            assert await anext(told) == 1
            await probe.started.wait()
        assert probe.ended == "cancelled"


class Doubler:
    """Doubles numbers once it may; refuses -1."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.may = asyncio.Event()

    async def __call__(self, numbers: Sequence[int]) -> list[int]:
        self.calls.append(list(numbers))
        await self.may.wait()
        if -1 in numbers:
            raise ValueError("-1")
        return [2 * number for number in numbers]


async def test_what_waits_goes_together_and_each_caller_gets_its_own() -> None:
    doubler = Doubler()
    together = Together(doubler)
    callers = [asyncio.create_task(together([n, 10 * n])) for n in range(4)]
    await asyncio.sleep(0)
    late = asyncio.create_task(together([]))
    doubler.may.set()
    assert await asyncio.gather(*callers) == [[2 * n, 20 * n] for n in range(4)]
    assert await late == []
    assert await together([7]) == [14], "and again, after a pause"
    assert [n for call in doubler.calls for n in call] == [0, 0, 1, 10, 2, 20, 3, 30, 7]
    assert len(doubler.calls) < 5, doubler.calls


async def test_a_failure_is_that_of_one_call_and_a_caller_that_left_harms_nobody() -> None:
    doubler = Doubler()
    together = Together(doubler)
    failing = asyncio.create_task(together([-1]))
    while not doubler.calls:
        await asyncio.sleep(0)
    left, staying = (asyncio.create_task(together([n])) for n in (1, 2))
    await asyncio.sleep(0)
    left.cancel()
    doubler.may.set()
    with pytest.raises(ValueError, match="-1"):
        await failing
    assert await staying == [4]
    assert left.cancelled()
