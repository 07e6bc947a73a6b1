"""Structured concurrency in a few functions."""

import asyncio
import gc
import logging
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

log = logging.getLogger(__name__)
T = TypeVar("T")

#: Pause before a failed loop starts over, in seconds.
RESTART_PAUSE = 5.0


async def gather(*coroutines: Coroutine[Any, Any, T]) -> list[T]:
    """Run all at once; the first failure cancels the others and is raised as it is.

    ``asyncio.gather`` leaves the others running. ``TaskGroup`` wraps the failure in a group and,
    before Python 3.13, leaves the task marked as cancelled.
    """
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def told_by(tell_all: Callable[[Callable[[T], None]], Awaitable[None]]) -> AsyncGenerator[T]:
    """What a coroutine tells through the function that it is given, as an iterator.

    Its failure is raised after what it told before; closing the iterator cancels it.
    """
    told: asyncio.Queue[tuple[T] | None] = asyncio.Queue()

    async def run() -> None:
        try:
            await tell_all(lambda item: told.put_nowait((item,)))
        finally:
            told.put_nowait(None)

    running = asyncio.create_task(run())
    try:
        while item := await told.get():
            yield item[0]
        await running
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def cancelled_by_caller() -> bool:
    """Whether a CancelledError in hand is this task's own, not one that a library let escape."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def supervise(
    name: str, loop: Callable[[], Awaitable[None]], note: Callable[[str, str], None]
) -> None:
    """Keep a loop running until this task is cancelled: whatever ends it, it starts over."""
    while True:
        try:
            await loop()
        except asyncio.CancelledError:
            if cancelled_by_caller():
                raise
            note(name, "cancelled from within")
        except Exception as error:
            log.exception("the %s loop failed and starts over", name)
            note(name, repr(error))
        await asyncio.sleep(RESTART_PAUSE)


def smooth() -> None:
    """Keep this process's pauses short; call it once all is imported and set up.

    A full garbage collection over everything imported takes 50 ms and more, and a thread that
    computes gives way only every 5 ms: both would show in each hundredth acknowledgement.
    """
    gc.collect()
    gc.freeze()
    sys.setswitchinterval(0.0005)


class OneThread:
    """A thread for blocking work, one piece after another."""

    def __init__(self, name: str) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name)

    async def run(self, work: Callable[[], T]) -> T:
        """Return or raise what the work does."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    def close(self) -> None:
        """Wait for the work in hand, and end the thread."""
        self._executor.shutdown()
