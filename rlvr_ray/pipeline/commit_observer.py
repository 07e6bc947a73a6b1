"""Observers of commits, which get every new record of the ledger: logs, metrics, live events.

To add one, write its three methods and list it in ``Aggregator``. Steps before a commit (search,
generation, verification) are traced where they happen: see ``spans``.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Protocol
from uuid import UUID

from rlvr_ray.core.pairing import Result
from rlvr_ray.core.records import Batch, Outcome, Verification
from rlvr_ray.core.scoring import score
from rlvr_ray.observability import logs
from rlvr_ray.pipeline.spans import failure

log = logging.getLogger(__name__)


class CommitObserver(Protocol):
    """Called once for each record, after its commit; must not fail, and must not wait."""

    def recorded(self, batch: Batch) -> None:
        """A batch is on the disk."""
        ...

    def verified(self, batch: Batch, result: Result) -> None:
        """The result of one of its answers is on the disk."""
        ...

    def decided(self, batch: Batch, results: Mapping[UUID, Result], outcome: Outcome) -> None:
        """Its outcome is on the disk, with all results."""
        ...


class CommitObservers:
    """Calls each observer with what is new; a repeat, after a crash or by Ray, is not."""

    def __init__(self, *observers: CommitObserver) -> None:
        self._observers = observers

    def recorded(self, batches: Sequence[Batch], kept: Sequence[Batch]) -> None:
        """After ``Ledger.record``: what it was given, and what it returned."""
        for batch, on_disk in zip(batches, kept, strict=True):
            if on_disk is batch:
                for observer in self._observers:
                    observer.recorded(batch)

    def verified(self, batch: Batch, new: Sequence[Result]) -> None:
        """After ``Ledger.keep``."""
        for result in new:
            for observer in self._observers:
                observer.verified(batch, result)

    def decided(
        self,
        batch: Batch,
        results: Mapping[UUID, Result],
        outcome: Outcome,
        new: Sequence[Result] | None,
    ) -> None:
        """After ``Ledger.decide``, which returns None where there was an outcome already."""
        if new is not None:
            self.verified(batch, new)
            for observer in self._observers:
                observer.decided(batch, results, outcome)


class CommitLog:
    """A CommitObserver that writes a log line for each record, without any text of the batch."""

    def recorded(self, batch: Batch) -> None:
        """See CommitObserver."""
        with logs.about(batch.batch_id, batch.correlation_id):
            log.info("recorded: %d answers", len(batch.candidates))

    def verified(self, batch: Batch, result: Result) -> None:
        """See CommitObserver."""
        (candidate,) = [c for c in batch.candidates if c.event_id == result.answer_event_id]
        with logs.about(batch.batch_id, batch.correlation_id):
            if isinstance(result, Verification):
                log.info("verified: answer %d has score %s", candidate.index + 1, score(result))
            else:
                why = failure(batch, candidate, result)
                log.info("verified: answer %d has no score: %s", candidate.index + 1, why)

    def decided(self, batch: Batch, _: Mapping[UUID, Result], outcome: Outcome) -> None:
        """See CommitObserver."""
        end = "pair" if outcome.reason is None else f"no pair, {outcome.reason}"
        with logs.about(batch.batch_id, batch.correlation_id):
            log.info("decided: %s, score difference %s", end, outcome.score_diff)
