"""What others are told: one event for each fact, derived from the records alone.

An event is a pure function of the ledger, so it can be told again at any time, the same.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from rlvr_ray.core import ids
from rlvr_ray.core.pairing import Result, defect_of
from rlvr_ray.core.records import Assessment, Batch, Candidate, Outcome, Verification
from rlvr_ray.core.scoring import confidence, score
from rlvr_ray.dataset import rows
from rlvr_ray.observability import trace_ids

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """``event_type`` is the routing key; ``body`` is plain JSON data with the common fields."""

    event_id: UUID
    event_type: str
    body: Mapping[str, Any]


def headers(body: Mapping[str, Any]) -> dict[str, str | int]:
    """What a message of the event says beside its body: the schema, and the trace of its batch."""
    found: dict[str, str | int] = {"schema_version": SCHEMA_VERSION}
    if body["batch_id"] is not None:
        batch_id, event_id = UUID(body["batch_id"]), UUID(body["event_id"])
        found["traceparent"] = trace_ids.traceparent(batch_id, event_id)
    return found


def answer_generated(batch: Batch, candidate: Candidate) -> Event:
    """One for each candidate, when the batch is recorded."""
    return _event(
        batch,
        candidate.event_id,
        "answer.generated",
        batch.created_at.isoformat(),
        answer=candidate.answer,
        contexts=[rows.context(c) for c in batch.contexts],
        references=list(batch.references),
        metadata={
            "temperature": candidate.temperature,
            "candidate_index": candidate.index,
            "total_candidates": len(batch.candidates),
            "model": candidate.model,
            "seed": candidate.seed,
            "finish_reason": candidate.finish_reason,
            "reasoning_chars": candidate.reasoning_chars,
            "usage": asdict(candidate.usage),
        },
    )


def verification_ended(batch: Batch, candidate: Candidate, result: Result) -> Event:
    """``verification.completed`` with the scores, or ``verification.failed`` with the reason."""
    event_id = ids.verification_event(batch.batch_id, candidate.index)
    time = result.completed_at.isoformat()
    answer_event_id = str(candidate.event_id)
    if not isinstance(result, Verification):
        return _event(
            batch,
            event_id,
            "verification.failed",
            time,
            answer_event_id=answer_event_id,
            reason=result.reason,
            attempts=result.attempts,
        )
    value = score(result)
    return _event(
        batch,
        event_id,
        "verification.completed",
        time,
        answer_event_id=answer_event_id,
        answer=candidate.answer,
        faithfulness=result.faithfulness,
        relevancy=result.relevancy,
        score=value,
        confidence=confidence(value),
        defect=defect_of(candidate, result),
        verifier=asdict(_main(result).judge),
        assessments=[rows.assessment(a, whole=False) for a in result.assessments],
        duration_ms=result.duration_ms,
    )


def outcome_decided(batch: Batch, outcome: Outcome, results: Mapping[UUID, Result]) -> Event:
    """``pair.created`` with the pair's row, or ``pair.skipped`` with the reason and figures."""
    event_id = ids.outcome_event(batch.batch_id)
    time = outcome.decided_at.isoformat()
    if outcome.reason is None:
        row = rows.dpo(batch, outcome, results)
        return _event(batch, event_id, "pair.created", time, pair=row)
    return _event(
        batch,
        event_id,
        "pair.skipped",
        time,
        reason=outcome.reason.value,
        detail=outcome.detail,
        score_diff=outcome.score_diff,
        chosen_score=outcome.chosen_score,
        rejected_score=outcome.rejected_score,
        rule=dict(outcome.rule),
    )


def document_ingested(
    *, document_id: UUID, number: int, filename: str, num_chunks: int, at: datetime
) -> Event:
    """A document was stored with new content, the ``number``-th of its life."""
    event_id = ids.document_event(document_id, number)
    return _event(
        None,
        event_id,
        "document.ingested",
        at.isoformat(),
        document_id=str(document_id),
        filename=filename,
        num_pages=None,
        num_chunks=num_chunks,
    )


def _main(result: Verification) -> Assessment:
    """The one that counts most, the first of equals."""
    return max(result.assessments, key=lambda assessment: assessment.weight)


def _event(
    batch: Batch | None, event_id: UUID, event_type: str, timestamp: str, **fields: Any
) -> Event:
    common = {
        "event_id": str(event_id),
        "event_type": event_type,
        "schema_version": SCHEMA_VERSION,
        "timestamp": timestamp,
        "batch_id": str(batch.batch_id) if batch else None,
        "correlation_id": batch.correlation_id if batch else None,
        "question": batch.question if batch else None,
    }
    return Event(event_id=event_id, event_type=event_type, body=common | fields)
