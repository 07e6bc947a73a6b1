"""gather: in order, all or nothing, and nothing left running."""

import asyncio

import pytest

from rlvr_ray.errors import Overloaded, Unavailable
from rlvr_ray.tasks import gather


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
    async with asyncio.timeout(5):
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
