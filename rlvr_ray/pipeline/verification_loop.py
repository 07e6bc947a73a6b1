"""The loop that verifies every open batch, in order, until its outcome is on disk.

The ledger says which batches are open, so verification survives every crash: a batch that is
recorded but not decided is verified after a restart.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from rlvr_ray.core import codec
from rlvr_ray.core.concurrency import cancelled_by_caller
from rlvr_ray.core.errors import (
    InputError,
    JudgeError,
    Overloaded,
    ReplyError,
    RlvrError,
    TimedOut,
    Unavailable,
    Unreadable,
)
from rlvr_ray.core.pairing import Result, unscorable
from rlvr_ray.core.records import Batch, FailedVerification
from rlvr_ray.core.retry import Backoff
from rlvr_ray.dataset.state import BatchState, Page
from rlvr_ray.observability import logs
from rlvr_ray.observability.tracing import Tracer
from rlvr_ray.pipeline.live import LiveHub
from rlvr_ray.pipeline.spans import record_results
from rlvr_ray.settings import VerificationSettings
from rlvr_ray.verification.verifier import Claim, Judged, StreamingPanel

log = logging.getLogger(__name__)

#: Pauses between attempts while a part is down.
BACKOFF = Backoff(first_s=0.5, longest_s=30.0, low=1.0)
#: Characters of a failure's reason that are kept.
REASON_CHARS = 1000


class VerificationLoop:
    """``open_batches`` reads undecided ones; ``decide`` returns once the outcome is on the disk."""

    def __init__(
        self,
        open_batches: Callable[[int, int], Awaitable[Page[tuple[int, BatchState]]]],
        decide: Callable[[Batch, Mapping[UUID, Result]], Awaitable[None]],
        panel: StreamingPanel,
        live: LiveHub,
        settings: VerificationSettings,
        tracer: Tracer,
        note: Callable[[str, str | None], None],
    ) -> None:
        self._open_batches = open_batches
        self._decide = decide
        self._panel = panel
        self._live = live
        self._settings = settings
        self._tracer = tracer
        self._note = note
        self._recorded = asyncio.Event()

    def wake(self) -> None:
        """There may be another open batch."""
        self._recorded.set()

    async def run(self) -> None:
        """Verify open batches in order, a bounded number at a time."""
        free = asyncio.Semaphore(self._settings.batches)
        seq = 0
        async with asyncio.TaskGroup() as group:
            while True:
                await free.acquire()
                self._recorded.clear()
                found = await self._open_batches(seq, 1)
                seq = found.last
                if not found:
                    free.release()
                    if not found.more:
                        await self._recorded.wait()
                    continue
                ((_, state),) = found
                task = group.create_task(self._end(state))
                task.add_done_callback(lambda _: free.release())

    async def _end(self, state: BatchState) -> None:
        """Verify and decide. A batch that cannot be decided stays open, and holds up no other."""
        batch_id = state.batch.batch_id
        try:
            await self._verify(state)
        except (InputError, Unreadable) as error:
            self._note("verify", f"batch {batch_id} stays open: {error}")
        except RlvrError:
            raise  # the ledger's trouble: the loop starts over
        except Exception as error:
            log.exception("batch %s stays open", batch_id)
            self._note("verify", f"batch {batch_id} stays open: {error!r}")

    async def _verify(self, state: BatchState) -> None:
        """Have every candidate scored, then decide. Ends only with an outcome on disk."""
        state = replace(state, results=_unscorable(state.batch) | dict(state.results))
        claims = [
            claim for claim in claims_of(state.batch) if claim.answer_event_id not in state.results
        ]
        started = datetime.now(UTC)
        with logs.about(state.batch.batch_id, state.batch.correlation_id):
            with self._tracer.span("verify", state.batch.batch_id):
                scored = await self._scored(state, claims) if claims else {}
                record_results(self._tracer, state.batch, scored, started)
            results = {**scored, **state.results}
            try:
                await self._decide(state.batch, results)
            except InputError:  # a result cannot be kept
                kept = {event_id: _kept(event_id, result) for event_id, result in scored.items()}
                await self._decide(state.batch, {**kept, **state.results})

    async def _scored(self, state: BatchState, claims: Sequence[Claim]) -> dict[UUID, Result]:
        """A result for each claim. A part that is down is waited for; a judge that hangs is not."""
        failures, reason = 0, ""

        def again(error: BaseException) -> bool:
            nonlocal failures, reason
            if isinstance(error, asyncio.CancelledError) and cancelled_by_caller():
                return False
            if isinstance(error, TimeoutError | TimedOut):
                limit = f"the judge did not finish within {self._settings.timeout_s:g} s"
                reason = str(error) or limit
            elif isinstance(error, Unavailable | Overloaded | ReplyError):
                self._note("verify", str(error))
                return True
            elif isinstance(error, Exception | asyncio.CancelledError):
                # A defect: it must not hold up the other batches.
                log.error("verification failed", exc_info=error)
                reason = f"internal error: {error!r}"
            else:
                return False
            failures += 1
            self._note("verify", reason)
            return failures < self._settings.max_attempts

        try:
            async for attempt in BACKOFF.attempts(again):
                with attempt:
                    async with asyncio.timeout(self._settings.timeout_s):
                        judged = await self._judged(state, claims)
                    results = {
                        claim.answer_event_id: failed(
                            claim.answer_event_id, str(result), failures + 1
                        )
                        if isinstance(result, JudgeError)
                        else result
                        for claim, result in zip(claims, judged, strict=True)
                    }
        except BaseException:
            if failures < self._settings.max_attempts:
                raise
            return {c.answer_event_id: failed(c.answer_event_id, reason, failures) for c in claims}
        self._note("verify", None)
        return results

    async def _judged(self, state: BatchState, claims: Sequence[Claim]) -> Sequence[Judged]:
        """The panel's results; whoever watches the batch gets each as it comes."""
        if not self._live.is_watched(state.batch.batch_id):
            return await self._panel.verify(claims)
        judged: dict[UUID, Judged] = {}
        shown = dict(state.results)
        async with contextlib.aclosing(self._panel.stream(claims)) as results:
            async for event_id, result in results:
                judged[event_id] = result
                shown[event_id] = (
                    failed(event_id, str(result), 1) if isinstance(result, JudgeError) else result
                )
                self._live.state(replace(state, results=dict(shown)))
        return [judged[claim.answer_event_id] for claim in claims]


def claims_of(batch: Batch) -> list[Claim]:
    """A batch's candidates as a judge sees them."""
    contexts = tuple(context.content for context in batch.contexts)
    return [
        Claim(
            answer_event_id=candidate.event_id,
            question=batch.question,
            answer=candidate.answer,
            contexts=contexts,
            references=batch.references,
            retrieval_score=max((context.score for context in batch.contexts), default=None),
        )
        for candidate in batch.candidates
    ]


def _kept(event_id: UUID, result: Result) -> Result:
    """A result that the ledger takes: where this one is not, why."""
    try:
        if result.answer_event_id != event_id:
            raise InputError(f"it is of answer {result.answer_event_id}")
        codec.dumps(result)
    except (InputError, AttributeError) as error:
        return failed(event_id, f"its verification cannot be kept: {error}", 1)
    return result


def _unscorable(batch: Batch) -> dict[UUID, Result]:
    """A result for each answer that no verifier is to be asked about."""
    return {
        candidate.event_id: failed(candidate.event_id, problem, 1)
        for candidate in batch.candidates
        if (problem := unscorable(candidate))
    }


def failed(answer_event_id: UUID, reason: str, attempts: int) -> FailedVerification:
    """Of an answer that has no score, from now on."""
    return FailedVerification(
        answer_event_id=answer_event_id,
        # It may quote a judge or a traceback: make it fit to keep.
        reason=reason[:REASON_CHARS].replace("\0", "\\0").encode("utf-8", "replace").decode(),
        attempts=attempts,
        completed_at=datetime.now(UTC),
    )
