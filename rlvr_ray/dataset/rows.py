"""The rows of the two datasets, as plain JSON data. Keys and their order are a contract."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any
from uuid import UUID

from rlvr_ray.core.pairing import PairingRule, Result, defect_of
from rlvr_ray.core.records import Assessment, Batch, Candidate, Context, Outcome, Verification
from rlvr_ray.core.scoring import confidence, score
from rlvr_ray.generation.prompts import rag_prompt

Row = dict[str, Any]

#: Their names are also those of their folders.
DATASETS = ("dpo_data", "training_data")


def context(value: Context) -> Row:
    """A retrieved passage."""
    return {"content": value.content, "score": value.score, "metadata": dict(value.metadata)}


def dpo(batch: Batch, outcome: Outcome, results: Mapping[UUID, Result]) -> Row:
    """The preference pair of a batch; raises ValueError if the batch made none."""
    if outcome.reason is not None or outcome.chosen is None or outcome.rejected is None:
        raise ValueError(f"batch {batch.batch_id} made no pair: {outcome.reason}")
    prompt, rule = batch.question, PairingRule.on_record(outcome.rule)
    if rule.prompt == "rag":
        prompt = rag_prompt(batch.question, batch.contexts)
    chosen, rejected = batch.candidates[outcome.chosen], batch.candidates[outcome.rejected]
    return {
        "prompt": prompt,
        "chosen": chosen.answer,
        "rejected": rejected.answer,
        "score_diff": outcome.score_diff,
        "chosen_score": outcome.chosen_score,
        "rejected_score": outcome.rejected_score,
        "metadata": {
            "chosen_temp": chosen.temperature,
            "rejected_temp": rejected.temperature,
            "created_at": outcome.decided_at.isoformat(),
            "batch_id": str(batch.batch_id),
            "correlation_id": batch.correlation_id,
            "question": batch.question,
            "references": list(batch.references),
            "prompt_version": batch.prompt_version,
            "num_candidates": len(batch.candidates),
            "chosen_provenance": _provenance(chosen, results[chosen.event_id]),
            "rejected_provenance": _provenance(rejected, results[rejected.event_id]),
            # All of it: what an earlier version did not know has its default.
            "rule": asdict(rule),
            "contexts": [context(c) for c in batch.contexts],
        },
    }


def training(
    batch: Batch,
    candidate: Candidate,
    result: Result,
    outcome: Outcome,
) -> Row:
    """One answer with its contexts and verification."""
    return {
        "question": batch.question,
        "answer": candidate.answer,
        "contexts": [context(c) for c in batch.contexts],
        "verification": verification(candidate, result),
        "metadata": {
            "event_id": str(candidate.event_id),
            "batch_id": str(batch.batch_id),
            "correlation_id": batch.correlation_id,
            "references": list(batch.references),
            "candidate_index": candidate.index,
            "num_candidates": len(batch.candidates),
            "temperature": candidate.temperature,
            "seed": candidate.seed,
            "model": candidate.model,
            "finish_reason": candidate.finish_reason,
            "reasoning_chars": candidate.reasoning_chars,
            "prompt_version": batch.prompt_version,
            "generated_at": batch.created_at.isoformat(),
            "created_at": outcome.decided_at.isoformat(),
            "outcome": outcome.reason.value if outcome.reason else "pair",
            **asdict(candidate.usage),
        },
    }


def verification(candidate: Candidate, result: Result) -> Row:
    """Scores and who gave them, or the reason why there are none; always the same keys.

    ``defect`` is what the rule of pairing goes by, also where no verifier names one.
    """
    if not isinstance(result, Verification):
        return {
            "status": "failed",
            "reason": result.reason,
            "faithfulness": None,
            "relevancy": None,
            "score": None,
            "confidence": None,
            "defect": None,
            "assessments": [],
            "duration_ms": None,
        }
    value = score(result)
    return {
        "status": "completed",
        "reason": None,
        "faithfulness": result.faithfulness,
        "relevancy": result.relevancy,
        "score": value,
        "confidence": confidence(value),
        "defect": defect_of(candidate, result),
        "assessments": [assessment(a) for a in result.assessments],
        "duration_ms": result.duration_ms,
    }


def assessment(value: Assessment, *, whole: bool = True) -> Row:
    """What one verifier says; what it is made of (statements, questions) only where ``whole``."""
    made_of: Row = {
        "statements": [asdict(s) for s in value.statements],
        "reverse_questions": list(value.reverse_questions),
    }
    return {
        "verifier": value.verifier,
        "weight": value.weight,
        "score": value.score,
        "faithfulness": value.faithfulness,
        "relevancy": value.relevancy,
        "defect": value.defect,
        "detail": value.detail,
        "judge": asdict(value.judge),
        **(made_of if whole else {}),
        **asdict(value.usage),
        "duration_ms": value.duration_ms,
    }


def of_batch(
    batch: Batch, results: Mapping[UUID, Result], outcome: Outcome
) -> dict[str, Sequence[Row]]:
    """All rows that a decided batch adds, by dataset."""
    return {
        "dpo_data": [dpo(batch, outcome, results)] if outcome.reason is None else [],
        "training_data": [
            training(batch, c, results[c.event_id], outcome) for c in batch.candidates
        ],
    }


def _provenance(candidate: Candidate, result: Result) -> Row:
    assert isinstance(result, Verification), "only scored candidates make a pair"
    return {
        "event_id": str(candidate.event_id),
        "model": candidate.model,
        "seed": candidate.seed,
        "finish_reason": candidate.finish_reason,
        "reasoning_chars": candidate.reasoning_chars,
        "faithfulness": result.faithfulness,
        "relevancy": result.relevancy,
        "score": score(result),
        "defect": defect_of(candidate, result),
        "assessments": [assessment(a, whole=False) for a in result.assessments],
    }
