"""What a commit says is new: counted and told in the log, once each.

A repeat after a crash, or of a call that Ray makes twice, is no news.
"""

import logging
from collections.abc import Sequence

from rlvr_ray.core.pairing import Result
from rlvr_ray.core.records import Batch, Outcome, Verification
from rlvr_ray.core.scoring import score
from rlvr_ray.observability import logs
from rlvr_ray.observability.metrics import Metrics
from rlvr_ray.pipeline.spans import failure

log = logging.getLogger(__name__)


class Facts:
    """Is given the results of the ledger's operations, after their commit."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def recorded(self, batches: Sequence[Batch], recorded: Sequence[Batch]) -> None:
        """Of ``Ledger.record``: what it was given, and what it returned."""
        for batch, kept in zip(batches, recorded, strict=True):
            if kept is batch:
                self._metrics.recorded(batch)
                with logs.about(batch.batch_id, batch.correlation_id):
                    log.info("recorded: %d answers", len(batch.candidates))

    def verified(self, batch: Batch, new: Sequence[Result]) -> None:
        """Of ``Ledger.keep``."""
        with logs.about(batch.batch_id, batch.correlation_id):
            for result in new:
                self._metrics.verified(result)
                log.info("verified: %s", _told(batch, result))

    def decided(self, batch: Batch, outcome: Outcome, new: Sequence[Result] | None) -> None:
        """Of ``Ledger.decide``."""
        if new is None:
            return
        self.verified(batch, new)
        self._metrics.decided(batch, outcome)
        end = "pair" if outcome.reason is None else f"no pair, {outcome.reason}"
        with logs.about(batch.batch_id, batch.correlation_id):
            log.info("decided: %s, score difference %s", end, outcome.score_diff)


def _told(batch: Batch, result: Result) -> str:
    """A result for the log, without what a reason has from the texts."""
    (candidate,) = [c for c in batch.candidates if c.event_id == result.answer_event_id]
    if isinstance(result, Verification):
        return f"answer {candidate.index + 1} has score {score(result)}"
    return f"answer {candidate.index + 1} has no score: {failure(batch, candidate, result)}"
