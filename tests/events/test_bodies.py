"""Events: what others are told, and that a repeat is the same event."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from rlvr_ray.core import codec, ids
from rlvr_ray.core.pairing import PairingRule, Result, decide
from rlvr_ray.core.records import Assessment, Batch, Defect, Outcome
from rlvr_ray.dataset import rows
from rlvr_ray.events.bodies import (
    Event,
    answer_generated,
    document_ingested,
    outcome_decided,
    verification_ended,
)
from tests.builders import DECIDED, assessment, batch, failed, plain_assessment, verification

BATCH = batch(
    ["Ray is a fish.", "Ray scales Python.", "Ray is nice."], references=("It scales Python.",)
)
FIRST, SECOND, THIRD = BATCH.candidates
SCORED: dict[UUID, Result] = {
    c.event_id: verification(c, (0.1, 1.0, 0.5)[c.index], (0.4, 0.8, 0.6)[c.index])
    for c in BATCH.candidates
}
BROKEN = SCORED | {c.event_id: failed(c, "the judge wrote no JSON") for c in (FIRST, THIRD)}

COMMON = [
    "event_id",
    "event_type",
    "schema_version",
    "timestamp",
    "batch_id",
    "correlation_id",
    "question",
]


def decided(results: Mapping[UUID, Result] = SCORED, **rule: Any) -> Outcome:
    return decide(BATCH, results, PairingRule(**rule), DECIDED)


def told(
    recorded: Batch = BATCH,
    results: Mapping[UUID, Result] = SCORED,
    outcome: Outcome | None = None,
) -> list[Event]:
    """All that a batch tells."""
    return [
        *(answer_generated(recorded, c) for c in recorded.candidates),
        *(verification_ended(recorded, c, results[c.event_id]) for c in recorded.candidates),
        outcome_decided(recorded, outcome or decided(results), results),
    ]


def own(event: Event) -> dict[str, Any]:
    """The fields after the common ones, which are checked here."""
    assert list(event.body)[: len(COMMON)] == COMMON
    assert event.body["event_id"] == str(event.event_id)
    assert event.body["event_type"] == event.event_type
    assert event.body["schema_version"] == 1
    assert event.body["batch_id"] == str(BATCH.batch_id)
    assert event.body["correlation_id"] == "test-correlation"
    assert event.body["question"] == "What is Ray?"
    return {key: value for key, value in event.body.items() if key not in COMMON}


def test_answer_generated() -> None:
    event = answer_generated(BATCH, SECOND)
    assert event.event_type == "answer.generated"
    assert event.event_id == SECOND.event_id
    assert own(event) == {
        "answer": "Ray scales Python.",
        "contexts": [
            {"content": c.content, "score": c.score, "metadata": dict(c.metadata)}
            for c in BATCH.contexts
        ],
        "references": ["It scales Python."],
        "metadata": {
            "temperature": 0.7,
            "candidate_index": 1,
            "total_candidates": 3,
            "model": "test-model",
            "seed": SECOND.seed,
            "finish_reason": "stop",
            "reasoning_chars": 0,
            "usage": {"prompt_tokens": 100, "completion_tokens": 11, "cached_tokens": 60},
        },
    }
    assert event.body["timestamp"] == "2026-03-14T09:26:53+00:00"


def test_verification_completed() -> None:
    event = verification_ended(BATCH, SECOND, SCORED[SECOND.event_id])
    assert event.event_type == "verification.completed"
    assert event.event_id == ids.verification_event(BATCH.batch_id, 1)
    assert own(event) == {
        "answer_event_id": str(SECOND.event_id),
        "answer": "Ray scales Python.",
        "faithfulness": 1.0,
        "relevancy": 0.8,
        "score": 0.9,
        "confidence": "high",
        "defect": None,
        "verifier": {
            "faithfulness": "grounded",
            "relevancy": "ragas",
            "model": "test-model",
            "embedder": "test-embedder",
            "version": "test-version",
            "engine": "test-engine",
        },
        "assessments": [
            {
                "verifier": "grounded",
                "weight": 1.0,
                "score": 0.9,
                "faithfulness": 1.0,
                "relevancy": 0.8,
                "defect": None,
                "detail": "",
                "judge": event.body["verifier"],
                "prompt_tokens": 200,
                "completion_tokens": 20,
                "cached_tokens": 0,
                "duration_ms": 1200,
            }
        ],
        "duration_ms": 1234,
    }
    assert event.body["timestamp"] == "2026-03-14T09:26:58+00:00"


def completed(*assessments: Assessment) -> dict[str, Any]:
    return own(
        verification_ended(BATCH, SECOND, verification(SECOND, assessments=assessments)),
    )


def test_verification_completed_by_several_names_the_heaviest_judge() -> None:
    heavy = plain_assessment(0.5, "numeric", weight=3.0)
    fields = completed(assessment(0.9, 0.7), heavy, plain_assessment(1.0, weight=2.0))
    assert fields["verifier"] == asdict(heavy.judge)
    assert (fields["faithfulness"], fields["relevancy"]) == (0.9, 0.7)
    assert fields["score"] == 0.716667
    assert [(a["verifier"], a["weight"], a["score"]) for a in fields["assessments"]] == [
        ("grounded", 1.0, 0.8),
        ("numeric", 3.0, 0.5),
        ("exact", 2.0, 1.0),
    ]


def test_the_defect_is_the_one_that_the_rule_goes_by() -> None:
    named = completed(assessment(0.9, 0.9, defect=Defect.ECHO))
    assert (named["defect"], named["assessments"][0]["defect"]) == ("echo", "echo")
    derived = completed(assessment(0.2, 0.9))
    assert (derived["defect"], derived["assessments"][0]["defect"]) == ("unsupported", None)


def test_of_equally_heavy_judges_the_first_is_named() -> None:
    check, first = assessment(verifier="check", weight=0.0), plain_assessment(1.0, "exact")
    fields = completed(check, first, plain_assessment(1.0, "regex"))
    assert fields["verifier"] == asdict(first.judge)


def test_metrics_that_nobody_measured_are_null() -> None:
    fields = completed(plain_assessment(1.0), assessment(0.5, 0.5, weight=0.0))
    assert (fields["faithfulness"], fields["relevancy"], fields["score"]) == (None, None, 1.0)


def test_verification_failed() -> None:
    event = verification_ended(BATCH, THIRD, BROKEN[THIRD.event_id])
    assert event.event_type == "verification.failed"
    assert event.event_id == ids.verification_event(BATCH.batch_id, 2)
    assert own(event) == {
        "answer_event_id": str(THIRD.event_id),
        "reason": "the judge wrote no JSON",
        "attempts": 3,
    }
    assert event.body["timestamp"] == "2026-03-14T09:26:58+00:00"


@pytest.mark.parametrize("prompt", ["question", "rag"])
def test_pair_created_carries_the_row_of_the_files(prompt: str) -> None:
    outcome = decided(prompt=prompt)
    event = outcome_decided(BATCH, outcome, SCORED)
    assert event.event_type == "pair.created"
    assert event.event_id == ids.outcome_event(BATCH.batch_id)
    assert own(event) == {"pair": rows.dpo(BATCH, outcome, SCORED)}
    assert event.body["timestamp"] == "2026-03-14T09:27:01+00:00"


def test_pair_skipped_with_the_figures() -> None:
    outcome = decided(min_score_diff=0.7)
    event = outcome_decided(BATCH, outcome, SCORED)
    assert event.event_type == "pair.skipped"
    assert event.event_id == ids.outcome_event(BATCH.batch_id)
    assert own(event) == {
        "reason": "margin_too_small",
        "detail": outcome.detail,
        "score_diff": 0.65,
        "chosen_score": 0.9,
        "rejected_score": 0.25,
        "rule": {
            "min_score_diff": 0.7,
            "min_chosen_score": 0.6,
            "min_chosen_faithfulness": 0.75,
            "min_chosen_relevancy": 0.6,
            "rejected_needs_defect": True,
            "quality_filter": False,
            "prompt": "question",
            "strategy": "best_worst",
            "max_length_ratio": 0.0,
            "version": 3,
        },
    }


def test_pair_skipped_of_a_batch_that_could_not_be_ranked() -> None:
    event = outcome_decided(BATCH, decided(BROKEN), BROKEN)
    fields = own(event)
    assert event.event_type == "pair.skipped"
    assert fields["reason"] == "unscored"
    assert "the judge wrote no JSON" in fields["detail"]
    assert (fields["score_diff"], fields["chosen_score"]) == (None, None)


DOCUMENT_ID = ids.derive("document", "documents", "ray.md")


def ingested(number: int = 0, document_id: UUID = DOCUMENT_ID, **changes: Any) -> Event:
    fields: dict[str, Any] = {
        "filename": "ray.md",
        "num_chunks": 7,
        "at": datetime(2026, 3, 14, 9, 30, tzinfo=UTC),
    }
    return document_ingested(document_id=document_id, number=number, **fields | changes)


def test_document_ingested() -> None:
    event = ingested()
    assert event.event_type == "document.ingested"
    assert event.event_id == ids.document_event(DOCUMENT_ID, 0)
    assert list(event.body)[: len(COMMON)] == COMMON
    assert event.body == {
        "event_id": str(event.event_id),
        "event_type": "document.ingested",
        "schema_version": 1,
        "timestamp": "2026-03-14T09:30:00+00:00",
        "batch_id": None,
        "correlation_id": None,
        "question": None,
        "document_id": str(DOCUMENT_ID),
        "filename": "ray.md",
        "num_pages": None,
        "num_chunks": 7,
    }
    assert json.loads(json.dumps(event.body, allow_nan=False)) == event.body


def test_each_content_of_a_document_is_an_event_of_its_own() -> None:
    other = ids.derive("document", "documents", "other.md")
    found = [ingested(number, document) for number in range(3) for document in (DOCUMENT_ID, other)]
    assert len({event.event_id for event in found}) == 6
    assert all(event.event_id.version == 5 for event in found)
    assert ingested(1) == ingested(1)
    assert ingested(1, filename="renamed.md", num_chunks=1).event_id == ingested(1).event_id


@pytest.mark.parametrize("results", [SCORED, BROKEN], ids=["pair", "no pair"])
def test_a_batch_of_three_tells_three_and_three_and_one(results: Mapping[UUID, Result]) -> None:
    events = told(results=results)
    kinds = [event.event_type.split(".")[0] for event in events]
    assert kinds == ["answer"] * 3 + ["verification"] * 3 + ["pair"]
    assert len({event.event_id for event in events}) == 7
    assert all(event.event_id.version == 5 for event in events)


@pytest.mark.parametrize("results", [SCORED, BROKEN], ids=["pair", "no pair"])
def test_a_repeat_is_the_same_event_also_after_a_restart(results: Mapping[UUID, Result]) -> None:
    first = told(results=results)
    assert told(results=results) == first
    read = told(
        codec.loads(Batch, codec.dumps(BATCH)),
        {key: codec.loads(type(value), codec.dumps(value)) for key, value in results.items()},
        codec.loads(Outcome, codec.dumps(decided(results))),
    )
    assert read == first
    assert [json.dumps(event.body) for event in read] == [json.dumps(event.body) for event in first]


def test_ids_depend_on_the_batch_and_not_on_what_it_says() -> None:
    """A judge that says another thing the second time tells the same fact."""
    again = verification_ended(BATCH, FIRST, failed(FIRST))
    assert again.event_id == verification_ended(BATCH, FIRST, SCORED[FIRST.event_id]).event_id
    other = batch(["Ray is a fish."], batch_id=ids.derive("another"))
    assert answer_generated(other, other.candidates[0]).event_id != FIRST.event_id


@pytest.mark.parametrize("results", [SCORED, BROKEN], ids=["pair", "no pair"])
def test_bodies_are_strict_json(results: Mapping[UUID, Result]) -> None:
    for event in told(results=results):
        assert json.loads(json.dumps(event.body, allow_nan=False)) == event.body


def test_a_pair_event_needs_the_results_of_its_pair() -> None:
    with pytest.raises(KeyError):
        outcome_decided(BATCH, decided(), {})
