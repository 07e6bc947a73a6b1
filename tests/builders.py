"""Valid records for tests: the same arguments always make the same record."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from rlvr_ray.core import ids
from rlvr_ray.core.records import (
    Assessment,
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
from rlvr_ray.core.scoring import mean

CREATED = datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)
VERIFIED = CREATED + timedelta(seconds=5)
DECIDED = CREATED + timedelta(seconds=8)
TEMPERATURES = (0.3, 0.7, 0.9)
#: Least faithfulness of an answer without a defect, where a test says nothing else.
SUPPORTED = 0.75


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


def assessment(
    faithfulness: float | None = 0.8, relevancy: float | None = 0.8, **changes: Any
) -> Assessment:
    """Of a judge; its score is the mean of the metrics that it has, unless ``score`` is given."""
    fields: dict[str, Any] = {
        "verifier": "grounded",
        "faithfulness": faithfulness,
        "relevancy": relevancy,
        "judge": Judge(
            faithfulness="grounded",
            relevancy="ragas",
            model="test-model",
            embedder="test-embedder",
            version="test-version",
            engine="test-engine",
        ),
        "statements": (Statement(text="Ray scales.", verdict=1.0, reason="it is there"),),
        "reverse_questions": ("What is Ray?", "What does Ray do?"),
        "usage": Usage(prompt_tokens=200, completion_tokens=20),
        "duration_ms": 1200,
    }
    if "score" not in changes:
        metrics = [value for value in (faithfulness, relevancy) if value is not None]
        fields["score"] = mean(metrics[0], metrics[-1])
    return Assessment(**fields | changes)


def plain_assessment(score: float, verifier: str = "exact", **changes: Any) -> Assessment:
    """Of a verifier that has a score and nothing else."""
    judge = Judge(faithfulness="", relevancy="", model="", embedder="", version=f"{verifier}-1")
    fields: dict[str, Any] = {"score": score, "verifier": verifier, "judge": judge}
    return Assessment(**fields | changes)


def verification(
    candidate: Candidate,
    faithfulness: float | None = 0.8,
    relevancy: float | None = 0.8,
    **changes: Any,
) -> Verification:
    """Of one assessment, to which changes go that are not the verification's own.

    Below ``SUPPORTED`` the answer's one statement is unsupported, which is its defect.
    """
    fields: dict[str, Any] = {
        "answer_event_id": candidate.event_id,
        "duration_ms": 1234,
        "completed_at": VERIFIED,
    }
    own = {name: changes.pop(name) for name in (*fields, "assessments") if name in changes}
    if "assessments" not in own:
        supported = faithfulness is None or faithfulness >= SUPPORTED
        statement = Statement(
            text=candidate.answer,
            verdict=float(supported),
            reason="it is there" if supported else "it is not there",
        )
        given = {"statements": (statement,)} | changes
        fields["assessments"] = (assessment(faithfulness, relevancy, **given),)
    return Verification(**fields | own)


def failed(candidate: Candidate, reason: str = "the judge did not answer") -> FailedVerification:
    return FailedVerification(
        answer_event_id=candidate.event_id, reason=reason, attempts=3, completed_at=VERIFIED
    )
