"""The spans of a batch: their attributes, and a span for each candidate.

Texts of questions, passages and answers never become attributes.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from difflib import SequenceMatcher
from uuid import UUID

from rlvr_ray.core import ids
from rlvr_ray.core.pairing import Result, defect_of
from rlvr_ray.core.records import Batch, Candidate, FailedVerification, Outcome, Usage, Verification
from rlvr_ray.core.scoring import score
from rlvr_ray.observability.tracing import OFF, Attributes, Tracer

#: Characters of a failure's reason that are recorded.
REASON_CHARS = 200
#: So many characters in a row that stand in a text of the batch, too, are a quotation.
QUOTED_CHARS = 12


def record_answers(
    tracer: Tracer, batch: Batch, started: datetime, ended: Mapping[int, datetime] | None = None
) -> None:
    """The candidates of a batch; ``ended`` says when each was written, where that is known."""
    if tracer is OFF:
        return
    now = datetime.now(UTC)
    for candidate in batch.candidates:
        tracer.record(
            "generate candidate",
            batch.batch_id,
            started,
            (ended or {}).get(candidate.index, now),
            _answer(candidate),
            event_id=candidate.event_id,
        )


def record_results(
    tracer: Tracer, batch: Batch, results: Mapping[UUID, Result], started: datetime
) -> None:
    """The verification of candidates, of those that ``results`` has."""
    if tracer is OFF:
        return
    for candidate in batch.candidates:
        result = results.get(candidate.event_id)
        if result is None:
            continue
        took = result.duration_ms if isinstance(result, Verification) else None
        begun = started
        if took is not None:
            begun = max(started, result.completed_at - timedelta(milliseconds=took))
        tracer.record(
            "verify candidate",
            batch.batch_id,
            begun,
            max(begun, result.completed_at),
            _result(batch, candidate, result),
            event_id=ids.verification_event(batch.batch_id, candidate.index),
        )


def asked(
    correlation_id: str, kind: str, num_candidates: int, temperatures: Sequence[float]
) -> Attributes:
    """Of a question: who asked, and for what."""
    return {
        "rlvr.correlation_id": correlation_id,
        "rlvr.kind": kind,
        "rlvr.num_candidates": num_candidates,
        "rlvr.temperatures": [f"{temperature:g}" for temperature in temperatures],
    }


def decided(outcome: Outcome) -> Attributes:
    """Of an outcome: a pair with its margin, or the reason for none."""
    return {
        "rlvr.outcome": "pair" if outcome.reason is None else "no pair",
        "rlvr.reason": outcome.reason,
        "rlvr.margin": outcome.score_diff,
        "rlvr.chosen_score": outcome.chosen_score,
        "rlvr.rejected_score": outcome.rejected_score,
    }


def failure(batch: Batch, candidate: Candidate, result: FailedVerification) -> str:
    """Why a candidate has no score, without what the reason has from the batch's texts."""
    texts = [batch.question, candidate.answer, *(context.content for context in batch.contexts)]
    return without_quotations(result.reason, [*texts, *batch.references])


def without_quotations(text: str, sources: Sequence[str]) -> str:
    """The text, cut, and without what it has word for word from a source."""
    text = text[:REASON_CHARS]
    while True:
        matches = [
            SequenceMatcher(None, text, source, autojunk=False).find_longest_match()
            for source in sources
        ]
        found = max(matches, key=lambda match: match.size, default=None)
        if found is None or found.size < QUOTED_CHARS:
            return text
        text = f"{text[: found.a]}…{text[found.a + found.size :]}"


def _answer(candidate: Candidate) -> Attributes:
    return {
        "rlvr.candidate_index": candidate.index,
        "rlvr.event_id": str(candidate.event_id),
        "gen_ai.operation.name": "chat",
        "gen_ai.request.temperature": candidate.temperature,
        "gen_ai.request.seed": candidate.seed,
        "gen_ai.response.model": candidate.model,
        "gen_ai.response.finish_reasons": [candidate.finish_reason],
        **_usage(candidate.usage),
    }


def _result(batch: Batch, candidate: Candidate, result: Result) -> Attributes:
    event_id = ids.verification_event(batch.batch_id, candidate.index)
    common: Attributes = {
        "rlvr.candidate_index": candidate.index,
        "rlvr.event_id": str(event_id),
        "rlvr.answer_event_id": str(candidate.event_id),
    }
    if not isinstance(result, Verification):
        return {
            **common,
            "error.type": "verification_failed",
            "rlvr.reason": failure(batch, candidate, result),
            "rlvr.attempts": result.attempts,
        }
    return {
        **common,
        "rlvr.score": score(result),
        "rlvr.faithfulness": result.faithfulness,
        "rlvr.relevancy": result.relevancy,
        "rlvr.defect": defect_of(candidate, result),
        "rlvr.verifiers": [assessment.verifier for assessment in result.assessments],
        "rlvr.judges": sorted({a.judge.model for a in result.assessments} - {""}),
        **_usage(result.usage),
    }


def _usage(usage: Usage) -> Attributes:
    return {
        "gen_ai.usage.input_tokens": usage.prompt_tokens,
        "gen_ai.usage.output_tokens": usage.completion_tokens,
        "gen_ai.usage.cache_read.input_tokens": usage.cached_tokens,
    }
