"""Structured concurrency: grouped tasks, one thread for blocking work, supervised loops."""

import asyncio
import contextlib
import gc
import logging
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, Generic, TypeVar

log = logging.getLogger(__name__)
T = TypeVar("T")
R = TypeVar("R")

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


async def emitted_by(
    produce: Callable[[Callable[[T], None]], Awaitable[None]],
) -> AsyncGenerator[T]:
    """The items that a coroutine passes to the function it is given, as an iterator.

    Its failure is raised after the items before it; closing the iterator cancels it.
    """
    emitted: asyncio.Queue[tuple[T] | None] = asyncio.Queue()

    async def run() -> None:
        try:
            await produce(lambda item: emitted.put_nowait((item,)))
        finally:
            emitted.put_nowait(None)

    running = asyncio.create_task(run())
    try:
        while item := await emitted.get():
            yield item[0]
        await running
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def bursts(items: AsyncGenerator[T], pause_s: float) -> AsyncGenerator[list[T]]:
    """The items of an iterator: the first at once, then all that came in each ``pause_s`` seconds.

    A hop between processes for each token would cost more than to write it.
    """
    waiting: asyncio.Queue[T] = asyncio.Queue()

    async def read() -> None:
        async with contextlib.aclosing(items):
            async for item in items:
                waiting.put_nowait(item)

    reading = asyncio.create_task(read())
    try:
        while True:
            first = asyncio.create_task(waiting.get())
            await asyncio.wait([first, reading], return_when=asyncio.FIRST_COMPLETED)
            burst = [first.result()] if first.done() else []
            first.cancel()
            while not waiting.empty():
                burst.append(waiting.get_nowait())
            if burst:
                yield burst
            elif reading.done():
                break
            if not reading.done():
                await asyncio.wait([reading], timeout=pause_s)
        await reading
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


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


class Together(Generic[T, R]):
    """A call that takes many items, for callers with a few each: what waits goes together.

    One call is under way at a time; alone, a caller waits for nothing. A hop between processes
    costs as much for thirty items as for one.
    """

    def __init__(self, call: Callable[[Sequence[T]], Awaitable[Sequence[R]]]) -> None:
        self._call = call
        self._waiting: list[tuple[Sequence[T], asyncio.Future[Sequence[R]]]] = []
        self._task: asyncio.Task[None] | None = None

    async def __call__(self, items: Sequence[T]) -> Sequence[R]:
        """The results of these items, in order; what the call raises concerns all in it."""
        future: asyncio.Future[Sequence[R]] = asyncio.get_running_loop().create_future()
        self._waiting.append((items, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())
        return await future

    async def _work(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting, []
            try:
                results = iter(await self._call([item for items, _ in group for item in items]))
            except Exception as error:
                for _, future in group:
                    if not future.done():  # its caller may have gone away
                        future.set_exception(error)
                continue
            for items, future in group:
                own = list(islice(results, len(items)))
                if not future.done():
                    future.set_result(own)


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
