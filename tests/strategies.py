"""Hypothesis strategies for valid records, extreme ones included."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta, timezone
from typing import Any

from hypothesis import strategies as st

from rlvr_ray.core import ids
from rlvr_ray.core.fields import MAX_COUNT
from rlvr_ray.core.pairing import PairingRule
from rlvr_ray.core.records import (
    MAX_INTEGER,
    Assessment,
    Batch,
    Candidate,
    Context,
    Defect,
    FailedVerification,
    Judge,
    Kind,
    Outcome,
    Reason,
    Statement,
    Usage,
    Verification,
)

MILLION = 10**6  #: scores count in millionths

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)
scores = st.floats(0, 1)
#: Scores on the grid of six decimals, as whole millionths.
millionths = st.integers(0, MILLION)
counts = st.integers(0, MAX_COUNT)
zones = st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m)))
times = st.datetimes(datetime(1970, 1, 1), datetime(2199, 12, 31), timezones=zones)

usages = st.builds(Usage, prompt_tokens=counts, completion_tokens=counts, cached_tokens=counts)
contexts = st.builds(
    Context,
    content=texts,
    score=st.floats(-1, 1),
    metadata=st.dictionaries(texts, texts | st.integers(-MAX_INTEGER, MAX_INTEGER), max_size=4),
)
statements = st.builds(Statement, text=texts, verdict=scores, reason=texts)
judges = st.builds(
    Judge,
    faithfulness=texts,
    relevancy=texts,
    model=texts,
    embedder=texts,
    version=texts,
    engine=texts,
)
weights = st.sampled_from([0.0, 1.0, 2.0]) | st.floats(0.001, 1000)
assessments = st.builds(
    Assessment,
    score=scores,
    judge=judges,
    verifier=texts,
    weight=weights,
    faithfulness=st.none() | scores,
    relevancy=st.none() | scores,
    defect=st.none() | st.sampled_from(Defect),
    detail=texts,
    statements=st.lists(statements, max_size=3).map(tuple),
    reverse_questions=st.lists(texts, max_size=3).map(tuple),
    usage=usages,
    duration_ms=counts,
)
verifications = st.builds(
    Verification,
    answer_event_id=st.uuids(),
    assessments=st.lists(assessments, min_size=1, max_size=3)
    .map(tuple)
    .filter(lambda found: any(assessment.weight for assessment in found)),
    duration_ms=counts,
    completed_at=times,
)
failures = st.builds(
    FailedVerification,
    answer_event_id=st.uuids(),
    reason=texts,
    attempts=st.integers(1, 99),
    completed_at=times,
)
rules = st.builds(
    PairingRule,
    min_score_diff=st.floats(0, 1, exclude_min=True),
    min_chosen_score=scores,
    min_chosen_faithfulness=scores,
    min_chosen_relevancy=scores,
    rejected_needs_defect=st.booleans(),
    quality_filter=st.booleans(),
    strategy=st.sampled_from(["best_worst", "best_random", "best_low"]),
    max_length_ratio=st.sampled_from([0.0, 1.0, 1.5, 4.0]),
    prompt=st.sampled_from(["question", "rag"]),
)


@st.composite
def batches(draw: Any, answers: st.SearchStrategy[str] = texts, max_size: int = 8) -> Batch:
    batch_id = draw(st.uuids())
    count = draw(st.integers(1, max_size))
    candidates = tuple(
        Candidate(
            event_id=ids.answer_event(batch_id, index),
            index=index,
            answer=draw(answers),
            temperature=draw(st.floats(0, 2)),
            seed=draw(st.integers(0, 2**31 - 1)),
            model=draw(texts),
            finish_reason=draw(st.sampled_from(["stop", "length"])),
            usage=draw(usages),
        )
        for index in range(count)
    )
    return Batch(
        batch_id=batch_id,
        correlation_id=draw(texts),
        kind=draw(st.sampled_from(Kind)),
        question=draw(texts),
        contexts=tuple(draw(st.lists(contexts, max_size=2))),
        candidates=candidates,
        prompt_version=draw(texts),
        created_at=draw(times),
        references=tuple(draw(st.lists(texts, max_size=2))),
    )


@st.composite
def outcomes(draw: Any) -> Outcome:
    """Pairs, no pairs with figures, no pairs without."""
    fields: dict[str, Any] = {
        "batch_id": draw(st.uuids()),
        "rule": asdict(draw(rules)),
        "decided_at": draw(times),
        "detail": draw(texts),
    }
    reason = draw(st.none() | st.sampled_from(Reason))
    places: Sequence[int | None] = draw(st.permutations(range(8)))[:2]
    low, high = sorted(draw(st.tuples(millionths, millionths)))
    if reason is None and low == high:
        reason = Reason.TIE
    figures: Sequence[float | None] = (high / MILLION, low / MILLION)
    if reason is not None and draw(st.booleans()):
        places = figures = (None, None)
    return Outcome(
        reason=reason,
        chosen=places[0],
        rejected=places[1],
        chosen_score=figures[0],
        rejected_score=figures[1],
        **fields,
    )


records = st.one_of(batches(max_size=3), verifications, failures, outcomes(), contexts)
