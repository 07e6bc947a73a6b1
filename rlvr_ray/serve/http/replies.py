"""Batches as JSON of their response models, and replies that are sent unchanged."""

from typing import Any

from fastapi import Response
from pydantic_core import to_json

from rlvr_ray.core import codec
from rlvr_ray.core.records import Batch, Candidate
from rlvr_ray.dataset import rows
from rlvr_ray.dataset.state import BatchState
from rlvr_ray.verification.citing import cite


def sent(data: dict[str, Any], status: int = 200) -> Response:
    """A reply past its model: where data is large (a page of lines takes ten times as long through
    it), or has more fields than the model names. Tests compare such replies with their models."""
    return Response(to_json(data), status, media_type="application/json")


def asked(batch: Batch) -> dict[str, Any]:
    """What question and passages are."""
    return {
        "batch_id": str(batch.batch_id),
        "correlation_id": batch.correlation_id,
        "question": batch.question,
        "contexts": [rows.context(context) for context in batch.contexts],
    }


def answer(value: Candidate) -> dict[str, Any]:
    """An answer and how it came about."""
    metadata = codec.plain(value)
    metadata["candidate_index"] = metadata.pop("index")
    return {"answer": metadata.pop("answer"), "metadata": metadata}


def batch(value: BatchState) -> dict[str, Any]:
    """The whole batch, as far as it is known."""
    record, outcome = value.batch, value.outcome
    candidates = []
    for each in record.candidates:
        result = value.results.get(each.event_id)
        verification = rows.verification(each, result) if result else None
        if verification:
            _cite(verification, record)
        candidates.append(answer(each) | {"verification": verification})
    return {
        **asked(record),
        "kind": record.kind,
        "references": list(record.references),
        "prompt_version": record.prompt_version,
        "state": "open" if outcome is None else "decided",
        "created_at": record.created_at.isoformat(),
        "candidates": candidates,
        "outcome": None
        if outcome is None
        else {**codec.plain(outcome), "pair": outcome.reason is None}
        | {"score_diff": outcome.score_diff},
    }


def _cite(verification: dict[str, Any], batch: Batch) -> None:
    """Add to each statement where the contexts say it."""
    contents = [context.content for context in batch.contexts]
    for assessment in verification["assessments"]:
        statements = assessment["statements"]
        passages = cite([statement["text"] for statement in statements], contents)
        for statement, passage in zip(statements, passages, strict=True):
            statement["passage"] = passage and codec.plain(passage)
