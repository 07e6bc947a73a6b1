"""Verification by other programs: their events become results, checked like internal ones.

A program that reads ``answer.generated`` and publishes ``verification.completed`` or
``verification.failed`` is a verifier. The first result of an answer counts; an answer without a
result in time counts as failed.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

from rlvr_ray.core import codec, ids
from rlvr_ray.core.errors import InputError, NotFound, RlvrError, Unreadable
from rlvr_ray.core.pairing import Result
from rlvr_ray.core.records import Batch, Candidate, FailedVerification, Judge
from rlvr_ray.core.scoring import confidence, score
from rlvr_ray.dataset.state import BatchState, Page
from rlvr_ray.events import bodies
from rlvr_ray.events.validation import verified_elsewhere

log = logging.getLogger(__name__)

#: Open batches read at once.
STEP = 100
#: By which a score may differ from the mean of its parts.
ROUNDING = 1e-5
#: Longest time between two searches for overdue batches, in seconds.
SEARCH_S = 60.0


class Inbox(Protocol):
    """Events from others."""

    async def run(self, handle: Callable[[Mapping[str, Any]], Awaitable[None]]) -> None:
        """Give each event to ``handle``, one after another, until cancelled.

        It is taken off the queue once ``handle`` returned, put aside where that raises InputError,
        and given again after any other failure.
        """
        ...


class External:
    """Takes results from outside; ``run`` closes the batches that nobody finishes.

    ``keep`` and ``decide`` return only when what they are given is on the disk.
    """

    def __init__(
        self,
        find: Callable[[UUID], Awaitable[BatchState | None]],
        open_batches: Callable[[int, int], Awaitable[Page[tuple[int, BatchState]]]],
        keep: Callable[[Batch, Mapping[UUID, Result]], Awaitable[None]],
        decide: Callable[[Batch, Mapping[UUID, Result]], Awaitable[None]],
        timeout_s: float,
    ) -> None:
        self._find = find
        self._open_batches = open_batches
        self._keep = keep
        self._decide = decide
        self._timeout = timedelta(seconds=timeout_s)
        # An outcome must see just the results that are on record when it is decided.
        self._one = asyncio.Lock()

    async def accept(self, body: Mapping[str, Any]) -> None:
        """Take an event that fits the schema; raise InputError where it does not fit the answer.

        What is known already, our own events of it included, changes nothing.
        """
        batch_id = UUID(body["batch_id"])
        async with self._one:
            try:
                state = await self._find(batch_id)
            except NotFound:  # past retention
                return
            except Unreadable as error:
                raise InputError(str(error)) from None
            if state is None:
                raise InputError(f"there is no batch {batch_id}")
            candidate = answer_of(state.batch, body)
            known = state.results.get(candidate.event_id)
            if known and body == bodies.verification_ended(state.batch, candidate, known).body:
                return  # our own, which need not be one that others may send
            result = result_of(candidate, body)
            if state.outcome is not None or known:
                return
            results = {**state.results, result.answer_event_id: result}
            if len(results) == len(state.batch.candidates):
                await self._decide(state.batch, results)
            else:
                await self._keep(state.batch, results)

    async def run(self) -> None:
        """Decide what a crash left complete, and in time what stays incomplete."""
        longest = min(self._timeout.total_seconds(), SEARCH_S)
        due = await self._close_due(everything=True)
        while True:
            wait = (due - datetime.now(UTC)).total_seconds() if due else longest
            await asyncio.sleep(min(max(wait, 0.01), longest))
            due = await self._close_due()

    async def _close_due(self, *, everything: bool = False) -> datetime | None:
        """Close what is complete or overdue; return when the first of the others is due.

        Batches become due in the order of recording: without ``everything`` it ends there.
        """
        first_due: datetime | None = None
        page = await self._open_batches(0, STEP)
        while page.more:
            for _, state in page:
                age = datetime.now(UTC) - state.batch.created_at
                complete = len(state.results) == len(state.batch.candidates)
                if complete or age >= self._timeout:
                    try:
                        await self._close(state.batch.batch_id)
                    except RlvrError as error:  # the others must not wait for it
                        log.warning("batch %s is not closed: %s", state.batch.batch_id, error)
                    continue
                due = datetime.now(UTC) + min(self._timeout - age, timedelta(seconds=SEARCH_S))
                first_due = min(due, first_due or due)
                if not everything:
                    return first_due
            page = await self._open_batches(page.last, STEP)
        return first_due

    async def _close(self, batch_id: UUID) -> None:
        async with self._one:
            state = await self._find(batch_id)
            if state is None or state.outcome is not None:
                return
            now = datetime.now(UTC)
            reason = f"not verified within {self._timeout.total_seconds():g} s"
            missing = {
                candidate.event_id: FailedVerification(
                    answer_event_id=candidate.event_id,
                    reason=reason,
                    attempts=1,
                    completed_at=now,
                )
                for candidate in state.batch.candidates
            }
            await self._decide(state.batch, {**missing, **state.results})


def answer_of(batch: Batch, body: Mapping[str, Any]) -> Candidate:
    """The answer of the batch that an event is about; raises InputError where its ids are wrong."""
    answer_event_id = UUID(body["answer_event_id"])
    named = [c for c in batch.candidates if c.event_id == answer_event_id]
    if not named:
        raise InputError(f"batch {batch.batch_id} has no answer {answer_event_id}")
    (candidate,) = named
    expected = ids.verification_event(batch.batch_id, candidate.index)
    if UUID(body["event_id"]) != expected:
        raise InputError(f"the event_id of a verification of {answer_event_id} is {expected}")
    return candidate


def result_of(candidate: Candidate, body: Mapping[str, Any]) -> Result:
    """The result of an answer in an event: one assessment, whose score is the mean.

    Raises InputError where answer and figures do not belong together.
    """
    completed_at = datetime.fromisoformat(body["timestamp"])
    try:
        if body["event_type"] == "verification.failed":
            return FailedVerification(
                answer_event_id=candidate.event_id,
                reason=body["reason"],
                attempts=int(body["attempts"]),  # JSON's 1.0 is the schema's integer 1
                completed_at=completed_at,
            )
        if body["answer"] != candidate.answer:
            raise InputError(f"what was verified is not the answer {candidate.event_id}")
        if body["faithfulness"] is None or body["relevancy"] is None:
            raise InputError(f"faithfulness and relevancy of {candidate.event_id} must be numbers")
        result = verified_elsewhere(
            candidate.event_id,
            faithfulness=body["faithfulness"],
            relevancy=body["relevancy"],
            judge=codec.loads(Judge, codec.dumps(dict(body["verifier"]))),
            defect=body.get("defect"),
            duration_ms=int(body["duration_ms"]),
            completed_at=completed_at,
        )
    except (ValueError, TypeError) as error:
        raise InputError(f"the verification cannot be kept: {error}") from None
    value = score(result)
    if abs(body["score"] - value) > ROUNDING or body["confidence"] != confidence(value):
        raise InputError(
            f"score and confidence of {candidate.event_id} must be {value} and {confidence(value)}"
        )
    return result
