"""Valid records for tests: the same arguments always make the same record."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from rlvr_ray.core import ids
from rlvr_ray.core.records import (
    Batch,
    Candidate,
    Context,
    FailedVerification,
    Judge,
    Kind,
    Statement,
    Usage,
    Verification,
)

CREATED = datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)
VERIFIED = CREATED + timedelta(seconds=5)
DECIDED = CREATED + timedelta(seconds=8)
TEMPERATURES = (0.3, 0.7, 0.9)


def context(
    content: str = "Ray is a framework for scaling Python.", score: float = 0.8, **metadata: Any
) -> Context:
    known: dict[str, Any] = {
        "document_id": str(ids.derive("document", "documents", "ray.md")),
        "source": "ray.md",
        "chunk_index": 0,
        "start": 0,
    }
    return Context(content=content, score=score, metadata=known | metadata)


def candidate(
    batch_id: UUID, index: int = 0, answer: str = "Ray scales Python programs.", **changes: Any
) -> Candidate:
    fields: dict[str, Any] = {
        "event_id": ids.answer_event(batch_id, index),
        "index": index,
        "answer": answer,
        "temperature": TEMPERATURES[index % len(TEMPERATURES)],
        "seed": ids.seed(batch_id, index),
        "model": "test-model",
        "finish_reason": "stop",
        "usage": Usage(prompt_tokens=100, completion_tokens=10 + index, cached_tokens=60),
    }
    return Candidate(**fields | changes)


def batch(
    answers: Sequence[str] = ("a", "b", "c"),
    question: str = "What is Ray?",
    batch_id: UUID | None = None,
    kind: Kind = Kind.PREFERENCE,
    **changes: Any,
) -> Batch:
    """A recorded batch; without an id it gets one from its question, answers and kind."""
    batch_id = batch_id or ids.derive("test", kind, question, *answers)
    fields: dict[str, Any] = {
        "batch_id": batch_id,
        "correlation_id": "test-correlation",
        "kind": kind,
        "question": question,
        "contexts": (context(), context("Serve runs on Ray.", 0.6, chunk_index=1, start=38)),
        "candidates": tuple(candidate(batch_id, i, answer) for i, answer in enumerate(answers)),
        "prompt_version": "rag-test",
        "created_at": CREATED,
    }
    return Batch(**fields | changes)


def verification(
    candidate: Candidate, faithfulness: float = 0.8, relevancy: float = 0.8, **changes: Any
) -> Verification:
    fields: dict[str, Any] = {
        "answer_event_id": candidate.event_id,
        "faithfulness": faithfulness,
        "relevancy": relevancy,
        "judge": Judge(
            faithfulness="grounded",
            relevancy="ragas",
            model="test-model",
            embedder="test-embedder",
            version="test-version",
        ),
        "statements": (Statement(text=candidate.answer, verdict=1.0, reason="it is there"),),
        "reverse_questions": ("What is Ray?", "What does Ray do?"),
        "usage": Usage(prompt_tokens=200, completion_tokens=20),
        "duration_ms": 1234,
        "completed_at": VERIFIED,
    }
    return Verification(**fields | changes)


def failed(candidate: Candidate, reason: str = "the judge did not answer") -> FailedVerification:
    return FailedVerification(
        answer_event_id=candidate.event_id, reason=reason, attempts=3, completed_at=VERIFIED
    )
