"""Group commit: operations that wait for the disk at the same time share one fsync."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

from rlvr_ray.core.concurrency import OneThread
from rlvr_ray.observability.metrics import NO_METRICS, Metrics

if TYPE_CHECKING:
    from rlvr_ray.dataset.ledger import Ledger, Operation

log = logging.getLogger(__name__)
T = TypeVar("T")
P = ParamSpec("P")

Waiting = tuple["Operation", asyncio.Future[Any], Callable[[Any], object] | None]


class Write(Protocol):
    """Have one operation of the ledger committed; returns its result once that is on the disk."""

    def __call__(
        self,
        operation: Callable[Concatenate["Ledger", P], T],
        /,
        *arguments: P.args,
        **named: P.kwargs,
    ) -> T:
        """Such as ``write(Ledger.mirrored, 7)``."""
        ...


class Commits:
    """The writer's thread and the queue before it."""

    def __init__(self, ledger: "Ledger", metrics: Metrics = NO_METRICS) -> None:
        self._ledger = ledger
        self._metrics = metrics
        self._thread = OneThread("ledger")
        self._waiting: list[Waiting] = []
        self._task: asyncio.Task[None] | None = None

    async def commit(
        self,
        operation: Callable[["Ledger"], T],
        then: Callable[[T], object] | None = None,
    ) -> T:
        """Return the operation's result once it is on the disk; raise what it raised.

        An operation that fails does not hold up or undo the others. ``then`` is called with the
        result after the commit, even where the caller has been cancelled meanwhile: the operation
        holds all the same.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((operation, future, then))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())
        return await future

    def from_threads(self) -> Write:
        """The same for other threads than that of the running loop: blocking."""
        loop = asyncio.get_running_loop()

        def write(
            operation: Callable[Concatenate["Ledger", P], T],
            /,
            *arguments: P.args,
            **named: P.kwargs,
        ) -> T:
            committed = self.commit(lambda ledger: operation(ledger, *arguments, **named))
            return asyncio.run_coroutine_threadsafe(committed, loop).result()

        return write

    async def close(self) -> None:
        """Commit what waits, then close the ledger."""
        if self._task is not None:
            await self._task
        await self._thread.run(self._ledger.close)
        self._thread.close()

    async def _work(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting, []
            await self._commit(group)

    async def _commit(self, group: Sequence[Waiting]) -> None:
        operations = [operation for operation, *_ in group]
        try:
            results = await self._thread.run(partial(self._timed, operations))
        except Exception as error:
            if len(group) == 1:
                _settle(group[0][1], error=error)
                return
            for one in group:  # one bad operation must not fail the others
                await self._commit([one])
            return
        for (_, future, _), result in zip(group, results, strict=True):
            _settle(future, result=result)
        for (_, _, then), result in zip(group, results, strict=True):
            if then is None:
                continue
            try:
                then(result)
            except Exception:  # a defect: what is committed holds, and others wait for theirs
                log.exception("what follows a commit failed")

    def _timed(self, operations: Sequence["Operation"]) -> list[Any]:
        began = time.perf_counter()
        results = self._ledger.commit(operations)
        self._metrics.committed(time.perf_counter() - began)
        return results


def _settle(
    future: asyncio.Future[Any], *, result: Any = None, error: Exception | None = None
) -> None:
    """Answer a waiter, unless it has gone away."""
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)
