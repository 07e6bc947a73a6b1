"""The one writer: records batches, has them verified, decides them, and keeps the files current.

Everything is driven from the ledger, so a restart goes on where the last process stopped: what is
recorded and undecided is verified, what is decided and not in the files is written.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from operator import methodcaller
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from rlvr_ray.core.pairing import Result, decide
from rlvr_ray.core.records import Batch, FailedVerification
from rlvr_ray.errors import JudgeError, Overloaded, Unavailable
from rlvr_ray.ports import BatchState, Claim, Verifier
from rlvr_ray.projection import Projector
from rlvr_ray.settings import Settings

if TYPE_CHECKING:
    from rlvr_ray.adapters.dataset import Dataset
    from rlvr_ray.adapters.ledger import Ledger, Operation

log = logging.getLogger(__name__)
T = TypeVar("T")

#: Longest pause between attempts while a part is down, in seconds.
MAX_BACKOFF = 30.0
#: Pause before a failed loop starts over, in seconds.
RESTART_PAUSE = 5.0
#: Characters of a failure's reason that are kept.
REASON_CHARS = 1000


class Aggregator:
    """A plain class; the actor around it adds nothing but a name."""

    def __init__(
        self, ledger: "Ledger", dataset: "Dataset", verifier: Verifier, settings: Settings
    ) -> None:
        self._ledger = ledger
        self._projector = Projector(ledger, dataset, settings.dataset)
        self._verifier = verifier
        self._settings = settings
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self._waiting: list[tuple[Operation, asyncio.Future[Any]]] = []
        self._committing: asyncio.Task[None] | None = None
        self._recorded = asyncio.Event()
        self._decided = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.last_error: str | None = None

    async def start(self) -> None:
        """Mend the files and go on with what is unfinished."""
        await self._in_thread(self._projector.mend)
        self._tasks = [
            asyncio.create_task(self._forever("verify", self._dispatch)),
            asyncio.create_task(self._forever("project", self._project)),
        ]

    async def close(self) -> None:
        """Stop verifying (it goes on at the next start), bring the files up to date, seal."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._committing is not None:
            await self._committing
        try:
            await self._in_thread(self._projector.project)
            await self._in_thread(self._projector.seal_all)
        finally:  # whatever the disk said: the next start goes on from the ledger
            await self._in_thread(self._ledger.close)
            self._thread.shutdown()

    async def record(self, batches: Sequence[Batch]) -> list[Batch]:
        """See ``ports.Recorder``. When this returns, the batches are on disk."""
        recorded = await asyncio.gather(
            *(self._commit(methodcaller("record", batch)) for batch in batches)
        )
        self._recorded.set()
        return recorded

    async def find(self, batch_id: UUID) -> BatchState | None:
        """See ``ports.Recorder``."""
        return await self._in_thread(partial(self._ledger.find, batch_id))

    async def stats(self) -> dict[str, Any]:
        """Counts by state, the latest outcomes, the files, and the last error of a part."""

        def read() -> dict[str, Any]:
            return {
                "batches": self._ledger.counts(),
                "recent": [
                    {
                        "batch_id": str(state.batch.batch_id),
                        "question": state.batch.question,
                        "outcome": state.outcome.reason or "pair",
                        "detail": state.outcome.detail,
                        "score_diff": state.outcome.score_diff,
                        "decided_at": state.outcome.decided_at.isoformat(),
                    }
                    for state in self._ledger.recent(10)
                    if state.outcome is not None
                ],
                "data_dir": str(self._settings.data_dir),
                "files": self._ledger.files(),
                "parts": self._ledger.sealed_paths(),
            }

        return await self._in_thread(read) | {"last_error": self.last_error}

    # Committing.

    async def _commit(self, operation: "Operation") -> Any:
        """Have an operation committed, together with all others that wait for the disk."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((operation, future))
        if self._committing is None or self._committing.done():
            self._committing = asyncio.create_task(self._commit_waiting())
        return await future

    async def _commit_waiting(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting, []
            await self._commit_group(group)

    async def _commit_group(self, group: list[tuple["Operation", asyncio.Future[Any]]]) -> None:
        operations = [operation for operation, _ in group]
        try:
            results = await self._in_thread(partial(self._ledger.commit, operations))
        except Exception as error:
            if len(group) == 1:
                _settle(group[0][1], error=error)
                return
            for one in group:  # one bad operation must not fail the others
                await self._commit_group([one])
            return
        for (_, future), result in zip(group, results, strict=True):
            _settle(future, result=result)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    # Verifying.

    async def _dispatch(self) -> None:
        """Verify open batches in order, a bounded number at a time."""
        free = asyncio.Semaphore(self._settings.verification.batches)
        seq = 0
        async with asyncio.TaskGroup() as group:
            while True:
                await free.acquire()
                self._recorded.clear()
                found = await self._in_thread(partial(self._ledger.open_batches, seq, 1))
                if not found:
                    free.release()
                    await self._recorded.wait()
                    continue
                ((seq, batch),) = found
                task = group.create_task(self._verify(batch))
                task.add_done_callback(lambda _: free.release())

    async def _verify(self, batch: Batch) -> None:
        """Have every candidate scored, then decide. Ends only with an outcome on disk."""
        contexts = tuple(context.content for context in batch.contexts)
        claims = [
            Claim(
                answer_event_id=candidate.event_id,
                question=batch.question,
                answer=candidate.answer,
                contexts=contexts,
            )
            for candidate in batch.candidates
        ]
        results = await self._scored(claims)
        rule = self._settings.dpo.rule()
        outcome = decide(batch, results, rule, datetime.now(UTC))
        await self._persist(methodcaller("decide", results, outcome))
        self._decided.set()
        log.info("batch %s: %s (%s)", batch.batch_id, outcome.reason or "pair", outcome.detail)

    async def _scored(self, claims: Sequence[Claim]) -> dict[UUID, Result]:
        """A result for each claim. A part that is down is waited for; a judge that hangs is not."""
        settings = self._settings.verification
        backoff, failures, reason = 0.5, 0, ""
        while True:
            try:
                async with asyncio.timeout(settings.timeout_s):
                    results = await self._verifier.verify(claims)
                return {
                    claim.answer_event_id: _failed(claim, str(result), failures + 1)
                    if isinstance(result, JudgeError)
                    else result
                    for claim, result in zip(claims, results, strict=True)
                }
            except TimeoutError:
                failures += 1
                reason = f"the judge did not finish within {settings.timeout_s:g} s"
                self._note("verify", reason)
            except (Unavailable, Overloaded) as error:
                self._note("verify", str(error))
            except Exception as error:  # a defect: it must not hold up the other batches
                log.exception("verification failed")
                failures += 1
                reason = f"internal error: {error!r}"
                self._note("verify", reason)
            if failures >= settings.max_attempts:
                return {c.answer_event_id: _failed(c, reason, failures) for c in claims}
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, MAX_BACKOFF)

    async def _persist(self, operation: "Operation") -> None:
        """Commit, waiting for room on the disk if need be."""
        while True:
            try:
                await self._commit(operation)
                return
            except Overloaded as error:
                self._note("ledger", str(error))
                await asyncio.sleep(MAX_BACKOFF)

    # Projecting.

    async def _project(self) -> None:
        """Bring the files up to date whenever a batch was decided, and seal when it is time."""
        while True:
            self._decided.clear()
            await self._in_thread(self._projector.project)
            await self._in_thread(self._projector.seal_due)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.dataset.seal_seconds):
                    await self._decided.wait()

    # Supervision.

    async def _forever(self, name: str, loop: Callable[[], Awaitable[None]]) -> None:
        """Keep a loop running: what it does is driven from the ledger, so it can start over."""
        while True:
            try:
                await loop()
            except Exception as error:
                log.exception("the %s loop failed and starts over", name)
                self._note(name, repr(error))
                await asyncio.sleep(RESTART_PAUSE)

    def _note(self, name: str, problem: str) -> None:
        self.last_error = f"{name}: {problem}"
        log.warning("%s", self.last_error)


def _failed(claim: Claim, reason: str, attempts: int) -> FailedVerification:
    return FailedVerification(
        answer_event_id=claim.answer_event_id,
        # It may quote a judge or a traceback: make it fit to keep.
        reason=reason[:REASON_CHARS].replace("\0", "\\0").encode("utf-8", "replace").decode(),
        attempts=attempts,
        completed_at=datetime.now(UTC),
    )


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
