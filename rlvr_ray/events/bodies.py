"""The published events, each built from records alone.

An event is a pure function of the ledger, so publishing it again gives the same event. To add a
type of event, add its body to ``schema.Body``, a function here and its record to ``outbox.py``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from rlvr_ray.core import codec, ids
from rlvr_ray.core.pairing import Result, defect_of
from rlvr_ray.core.records import Batch, Candidate, Outcome, Verification
from rlvr_ray.core.scoring import confidence, score
from rlvr_ray.dataset import row_types, rows
from rlvr_ray.events import schema
from rlvr_ray.events.schema import Body
from rlvr_ray.observability import trace_ids


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """``event_type`` is the routing key; ``body`` is plain JSON data with the common fields."""

    event_id: UUID
    event_type: str
    body: Mapping[str, Any]


def headers(body: Mapping[str, Any]) -> dict[str, str | int]:
    """The headers of an event's message: the schema's version, and the trace of its batch."""
    found: dict[str, str | int] = {"schema_version": schema.VERSION}
    if body["batch_id"] is not None:
        batch_id, event_id = UUID(body["batch_id"]), UUID(body["event_id"])
        found["traceparent"] = trace_ids.traceparent(batch_id, event_id)
    return found


def answer_generated(batch: Batch, candidate: Candidate) -> Event:
    """One for each candidate, when the batch is recorded."""
    body: schema.AnswerGenerated = {
        "event_id": str(candidate.event_id),
        "event_type": "answer.generated",
        **_of_batch(batch, batch.created_at),
        "answer": candidate.answer,
        "contexts": [cast(row_types.Passage, rows.context(c)) for c in batch.contexts],
        "references": list(batch.references),
        "metadata": {
            "temperature": candidate.temperature,
            "candidate_index": candidate.index,
            "total_candidates": len(batch.candidates),
            "model": candidate.model,
            "seed": candidate.seed,
            "finish_reason": candidate.finish_reason,
            "reasoning_chars": candidate.reasoning_chars,
            "usage": codec.plain(candidate.usage),
        },
    }
    return _event(body)


def verification_ended(batch: Batch, candidate: Candidate, result: Result) -> Event:
    """``verification.completed`` with the scores, or ``verification.failed`` with the reason."""
    event_id = str(ids.verification_event(batch.batch_id, candidate.index))
    if not isinstance(result, Verification):
        failed: schema.VerificationFailed = {
            "event_id": event_id,
            "event_type": "verification.failed",
            **_of_batch(batch, result.completed_at),
            "answer_event_id": str(candidate.event_id),
            "reason": result.reason,
            "attempts": result.attempts,
        }
        return _event(failed)
    value = score(result)
    main = max(result.assessments, key=lambda assessment: assessment.weight)  # first of equals
    completed: schema.VerificationCompleted = {
        "event_id": event_id,
        "event_type": "verification.completed",
        **_of_batch(batch, result.completed_at),
        "answer_event_id": str(candidate.event_id),
        "answer": candidate.answer,
        "faithfulness": result.faithfulness,
        "relevancy": result.relevancy,
        "score": value,
        "confidence": confidence(value),
        "defect": defect_of(candidate, result),
        "verifier": codec.plain(main.judge),
        "assessments": [
            cast(row_types.Assessment, rows.assessment(a, whole=False)) for a in result.assessments
        ],
        "duration_ms": result.duration_ms,
    }
    return _event(completed)


def outcome_decided(batch: Batch, outcome: Outcome, results: Mapping[UUID, Result]) -> Event:
    """``pair.created`` with the pair's row, or ``pair.skipped`` with the reason and figures."""
    event_id = str(ids.outcome_event(batch.batch_id))
    if outcome.reason is None:
        created: schema.PairCreated = {
            "event_id": event_id,
            "event_type": "pair.created",
            **_of_batch(batch, outcome.decided_at),
            "pair": cast(row_types.Pair, rows.dpo(batch, outcome, results)),
        }
        return _event(created)
    skipped: schema.PairSkipped = {
        "event_id": event_id,
        "event_type": "pair.skipped",
        **_of_batch(batch, outcome.decided_at),
        "reason": outcome.reason.value,
        "detail": outcome.detail,
        "score_diff": outcome.score_diff,
        "chosen_score": outcome.chosen_score,
        "rejected_score": outcome.rejected_score,
        "rule": cast(row_types.Rule, dict(outcome.rule)),
    }
    return _event(skipped)


def document_ingested(
    *, document_id: UUID, number: int, filename: str, num_chunks: int, at: datetime
) -> Event:
    """A document was stored with new content, the ``number``-th of its life."""
    body: schema.DocumentIngested = {
        "event_id": str(ids.document_event(document_id, number)),
        "event_type": "document.ingested",
        "schema_version": schema.VERSION,
        "timestamp": at.isoformat(),
        "batch_id": None,
        "correlation_id": None,
        "question": None,
        "document_id": str(document_id),
        "filename": filename,
        "num_pages": None,
        "num_chunks": num_chunks,
    }
    return _event(body)


def _of_batch(batch: Batch, time: datetime) -> schema.OfBatch:
    return {
        "schema_version": schema.VERSION,
        "timestamp": time.isoformat(),
        "batch_id": str(batch.batch_id),
        "correlation_id": batch.correlation_id,
        "question": batch.question,
    }


def _event(body: Body) -> Event:
    return Event(event_id=UUID(body["event_id"]), event_type=body["event_type"], body=body)
