"""The trace of a batch from the ledger, as plain data, without a collector."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any
from uuid import UUID

from rlvr_ray.core import codec, ids
from rlvr_ray.core.pairing import Result, defect_of
from rlvr_ray.core.records import Batch, Candidate, Outcome, Verification
from rlvr_ray.core.scoring import score
from rlvr_ray.dataset.provenance import BatchProvenance
from rlvr_ray.dataset.reviews import Review
from rlvr_ray.dataset.state import BatchState
from rlvr_ray.observability import trace_ids

Step = dict[str, Any]


def batch_trace(
    state: BatchState,
    provenance: BatchProvenance,
    *,
    mirrored: bool,
    logs: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """All of a batch; ``mirrored`` says whether events go to a broker at all."""
    batch = state.batch
    trace = _Steps(batch, provenance, mirrored=mirrored)
    steps = [trace.asked()]
    for candidate in batch.candidates:
        steps.append(trace.answered(candidate))
        if result := state.results.get(candidate.event_id):
            steps.append(trace.verified(candidate, result))
    if state.outcome is not None:
        steps.append(trace.decided(state.outcome))
    steps += [trace.reviewed(review) for review in provenance.reviews]
    return {
        "trace_id": trace_ids.trace_id(batch.batch_id),
        "batch_id": str(batch.batch_id),
        "correlation_id": batch.correlation_id,
        "question": batch.question,
        "state": "open" if state.outcome is None else "decided",
        "steps": sorted(steps, key=lambda step: step["at"]),
        "documents": _documents(batch),
        "files": codec.plain(provenance.files),
        "logs": list(logs),
    }


class _Steps:
    def __init__(self, batch: Batch, provenance: BatchProvenance, *, mirrored: bool) -> None:
        self._batch = batch
        self._provenance = provenance
        self._mirrored = mirrored
        self._asked_at = batch.asked_at or batch.created_at

    def asked(self) -> Step:
        batch = self._batch
        temperatures = ", ".join(f"{candidate.temperature:g}" for candidate in batch.candidates)
        answers, passages = len(batch.candidates), len(batch.contexts)
        detail = (
            f"{answers} {'answers' if answers > 1 else 'answer'} at {temperatures}, "
            f"from {passages} {'passages' if passages > 1 else 'passage'}"
        )
        return self._step(self._asked_at, "asked", detail, kind=batch.kind.value)

    def answered(self, candidate: Candidate) -> Step:
        usage = candidate.usage
        detail = (
            f"answer {candidate.index + 1} at {candidate.temperature:g}: {usage.completion_tokens} "
            f"tokens of {candidate.model}, {candidate.finish_reason}"
        )
        return self._step(
            self._batch.created_at,
            "answered",
            detail,
            candidate=candidate.index,
            temperature=candidate.temperature,
            model=candidate.model,
            finish_reason=candidate.finish_reason,
            usage=codec.plain(usage),
            event=self._event(candidate.event_id),
        )

    def verified(self, candidate: Candidate, result: Result) -> Step:
        event = self._event(ids.verification_event(self._batch.batch_id, candidate.index))
        if not isinstance(result, Verification):
            return self._step(
                result.completed_at,
                "not verified",
                f"answer {candidate.index + 1}: {result.reason}",
                candidate=candidate.index,
                reason=result.reason,
                attempts=result.attempts,
                event=event,
            )
        value, defect = score(result), defect_of(candidate, result)
        parts = {"faithfulness": result.faithfulness, "relevancy": result.relevancy}
        figures = ", ".join(f"{name} {v:.3g}" for name, v in parts.items() if v is not None)
        verifiers = [assessment.verifier for assessment in result.assessments]
        wrong = f"defect: {defect}, " if defect else ""
        return self._step(
            result.completed_at,
            "verified",
            f"answer {candidate.index + 1}: score {value:.3g}{f' ({figures})' if figures else ''}, "
            f"{wrong}{', '.join(verifiers)}, {result.duration_ms:,} ms",
            candidate=candidate.index,
            score=value,
            **parts,
            defect=defect,
            verifiers=verifiers,
            duration_ms=result.duration_ms,
            event=event,
        )

    def decided(self, outcome: Outcome) -> Step:
        end = "pair" if outcome.reason is None else f"no pair, {outcome.reason}"
        return self._step(
            outcome.decided_at,
            "decided",
            f"{end}: {outcome.detail}",
            pair=outcome.reason is None,
            reason=outcome.reason,
            margin=outcome.score_diff,
            event=self._event(ids.outcome_event(self._batch.batch_id)),
        )

    def reviewed(self, review: Review) -> Step:
        who = review.reviewer or "a person"
        return self._step(
            review.reviewed_at,
            "reviewed",
            f"{who}: {review.verdict}{f', {review.note}' if review.note else ''}",
            verdict=review.verdict,
            a=review.a,
            b=review.b,
            said=review.said,
        )

    def _step(self, at: datetime, name: str, detail: str, **more: Any) -> Step:
        after = (at - self._asked_at).total_seconds()
        return {
            "at": at.isoformat(),
            "after_s": round(after, 3),
            "step": name,
            "detail": detail,
            **more,
        }

    def _event(self, event_id: UUID) -> dict[str, Any]:
        """Its place in the order of commits, and whether the broker has it; None with no broker."""
        seq = self._provenance.numbers.get(event_id)
        there = seq is not None and seq <= self._provenance.mirrored
        return {
            "event_id": str(event_id),
            "seq": seq,
            "mirrored": there if self._mirrored else None,
        }


def _documents(batch: Batch) -> list[dict[str, Any]]:
    """Where the passages are from, and how many of each."""
    named = sorted(
        (str(context.metadata.get("source", "")), str(context.metadata.get("document_id", "")))
        for context in batch.contexts
    )
    return [
        {"document_id": document_id, "source": source, "passages": len(list(group))}
        for (source, document_id), group in groupby(named)
    ]
