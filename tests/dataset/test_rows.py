"""Rows: their keys and order are a contract with whoever trains on the files."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlvr_ray.core import codec
from rlvr_ray.core.pairing import PairingRule, Result, decide
from rlvr_ray.core.records import Batch, Defect, Kind, Outcome, Statement
from rlvr_ray.dataset import rows
from rlvr_ray.dataset.arrow import SCHEMAS
from rlvr_ray.generation.prompts import rag_prompt
from tests.builders import (
    DECIDED,
    assessment,
    batch,
    context,
    failed,
    plain_assessment,
    verification,
)
from tests.strategies import assessments, batches, scores, texts, verifications

CONTEXT = ["content", "score", "metadata"]
JUDGE = ["faithfulness", "relevancy", "model", "embedder", "version", "engine"]
ASSESSMENT = [
    "verifier",
    "weight",
    "score",
    "faithfulness",
    "relevancy",
    "defect",
    "detail",
    "judge",
    "statements",
    "reverse_questions",
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "duration_ms",
]
#: A pair names the judges; what they went by stands with the answers.
BRIEF = [key for key in ASSESSMENT if key not in {"statements", "reverse_questions"}]
PROVENANCE = [
    "event_id",
    "model",
    "seed",
    "finish_reason",
    "reasoning_chars",
    "faithfulness",
    "relevancy",
    "score",
    "defect",
    "assessments",
]
DPO = ["prompt", "chosen", "rejected", "score_diff", "chosen_score", "rejected_score", "metadata"]
DPO_METADATA = [
    "chosen_temp",
    "rejected_temp",
    "created_at",
    "batch_id",
    "correlation_id",
    "question",
    "references",
    "prompt_version",
    "num_candidates",
    "chosen_provenance",
    "rejected_provenance",
    "rule",
    "contexts",
]
TRAINING = ["question", "answer", "contexts", "verification", "metadata"]
VERIFICATION = [
    "status",
    "reason",
    "faithfulness",
    "relevancy",
    "score",
    "confidence",
    "defect",
    "assessments",
    "duration_ms",
]
TRAINING_METADATA = [
    "event_id",
    "batch_id",
    "correlation_id",
    "references",
    "candidate_index",
    "num_candidates",
    "temperature",
    "seed",
    "model",
    "finish_reason",
    "reasoning_chars",
    "prompt_version",
    "generated_at",
    "created_at",
    "outcome",
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
]

BATCH = batch(
    ["Ray is a fish.", "Ray scales Python.", "Ray is nice."],
    references=("It scales Python.", "Ray scales."),
)
RESULTS = {
    c.event_id: verification(c, (0.1, 1.0, 0.5)[c.index], (0.4, 0.8, 0.6)[c.index])
    for c in BATCH.candidates
}


JUDGED_BY = {
    "faithfulness": "grounded",
    "relevancy": "ragas",
    "model": "test-model",
    "embedder": "test-embedder",
    "version": "test-version",
    "engine": "test-engine",
}


def decided(**rule: Any) -> Outcome:
    return decide(BATCH, RESULTS, PairingRule(**rule), DECIDED)


def text(row: rows.Row) -> str:
    return json.dumps(row, ensure_ascii=False, allow_nan=False)


# The pair.


def test_a_pairs_keys_and_their_order() -> None:
    row = rows.dpo(BATCH, decided(), RESULTS)
    assert list(row) == DPO
    assert list(row["metadata"]) == DPO_METADATA
    assert list(row["metadata"]["chosen_provenance"]) == PROVENANCE
    assert list(row["metadata"]["rejected_provenance"]) == PROVENANCE
    for side in ("chosen_provenance", "rejected_provenance"):
        (found,) = row["metadata"][side]["assessments"]
        assert list(found) == BRIEF
        assert list(found["judge"]) == JUDGE
    assert list(row["metadata"]["rule"]) == [
        "min_score_diff",
        "min_chosen_score",
        "min_chosen_faithfulness",
        "min_chosen_relevancy",
        "rejected_needs_defect",
        "quality_filter",
        "prompt",
        "strategy",
        "max_length_ratio",
        "version",
    ]
    assert [list(c) for c in row["metadata"]["contexts"]] == [CONTEXT, CONTEXT]


def test_a_pair_tells_best_from_worst_and_explains_itself() -> None:
    row = rows.dpo(BATCH, decided(), RESULTS)
    worst, best, _ = BATCH.candidates
    metadata = row.pop("metadata")
    assert row == {
        "prompt": "What is Ray?",
        "chosen": "Ray scales Python.",
        "rejected": "Ray is a fish.",
        "score_diff": 0.65,
        "chosen_score": 0.9,
        "rejected_score": 0.25,
    }
    chosen, rejected = metadata.pop("chosen_provenance"), metadata.pop("rejected_provenance")
    assert metadata == {
        "chosen_temp": 0.7,
        "rejected_temp": 0.3,
        "created_at": "2026-03-14T09:27:01+00:00",
        "batch_id": str(BATCH.batch_id),
        "correlation_id": "test-correlation",
        "question": "What is Ray?",
        "references": ["It scales Python.", "Ray scales."],
        "prompt_version": "rag-test",
        "num_candidates": 3,
        "rule": {
            "min_score_diff": 0.05,
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
        "contexts": [
            {"content": c.content, "score": c.score, "metadata": dict(c.metadata)}
            for c in BATCH.contexts
        ],
    }
    assert chosen == {
        "event_id": str(best.event_id),
        "model": "test-model",
        "seed": best.seed,
        "finish_reason": "stop",
        "reasoning_chars": 0,
        "faithfulness": 1.0,
        "relevancy": 0.8,
        "score": 0.9,
        "defect": None,
        "assessments": [
            {
                "verifier": "grounded",
                "weight": 1.0,
                "score": 0.9,
                "faithfulness": 1.0,
                "relevancy": 0.8,
                "defect": None,
                "detail": "",
                "judge": JUDGED_BY,
                "prompt_tokens": 200,
                "completion_tokens": 20,
                "cached_tokens": 0,
                "duration_ms": 1200,
            }
        ],
    }
    assert rejected["event_id"] == str(worst.event_id)
    assert rejected["seed"] == worst.seed
    assert (rejected["faithfulness"], rejected["relevancy"]) == (0.1, 0.4)
    assert rejected["score"] == rejected["assessments"][0]["score"] == 0.25
    assert rejected["defect"] == "unsupported", "its figures say so"
    assert rejected["assessments"][0]["defect"] is None, "and no verifier names it"


def test_a_pair_of_answers_that_have_a_score_and_no_metric() -> None:
    """Where only references decide, nobody measured faithfulness."""
    found = {
        c.event_id: verification(c, assessments=(plain_assessment((0.0, 1.0, 0.5)[c.index]),))
        for c in BATCH.candidates
    }
    row = rows.dpo(BATCH, decide(BATCH, found, PairingRule(), DECIDED), found)
    assert (row["chosen"], row["score_diff"]) == ("Ray scales Python.", 1.0)
    for side, value in (("chosen_provenance", 1.0), ("rejected_provenance", 0.0)):
        provenance = row["metadata"][side]
        assert list(provenance) == PROVENANCE
        assert (provenance["faithfulness"], provenance["relevancy"]) == (None, None)
        assert provenance["score"] == value
        (found_here,) = provenance["assessments"]
        assert (found_here["verifier"], found_here["score"]) == ("exact", value)
        assert (found_here["faithfulness"], found_here["relevancy"]) == (None, None)


def test_the_prompt_is_the_question_or_the_one_that_the_model_saw() -> None:
    assert rows.dpo(BATCH, decided(prompt="question"), RESULTS)["prompt"] == "What is Ray?"
    row = rows.dpo(BATCH, decided(prompt="rag"), RESULTS)
    assert row["prompt"] == rag_prompt(BATCH.question, BATCH.contexts)
    assert "What is Ray?" in row["prompt"]
    for passage in BATCH.contexts:
        assert passage.content in row["prompt"]
    assert row["metadata"]["question"] == "What is Ray?"
    assert row["metadata"]["rule"]["prompt"] == "rag"


def test_a_question_with_braces_stays_as_it_is() -> None:
    """The prompt's text is a format string; what users write is not."""
    asked = batch(["a b c", "d e f"], question="What is {question} or {0}?")
    found = {c.event_id: verification(c, (0.9, 0.1)[c.index]) for c in asked.candidates}
    outcome = decide(asked, found, PairingRule(prompt="rag"), DECIDED)
    assert "What is {question} or {0}?" in rows.dpo(asked, outcome, found)["prompt"]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ((0.5, 0.5, 0.5), Kind.PREFERENCE),
        ((0.1, 0.2, 0.3), Kind.PREFERENCE),
        ((0.9,), Kind.SINGLE),
    ],
)
def test_a_batch_without_a_pair_has_no_pairs_row(values: tuple[float, ...], kind: Kind) -> None:
    recorded = batch(["a", "b", "c"][: len(values)], kind=kind)
    found = {c.event_id: verification(c, values[c.index], 0.1) for c in recorded.candidates}
    outcome = decide(recorded, found, PairingRule(), DECIDED)
    with pytest.raises(ValueError, match=f"batch {recorded.batch_id} made no pair: "):
        rows.dpo(recorded, outcome, found)
    assert rows.of_batch(recorded, found, outcome)["dpo_data"] == []


# One answer.


def _training(result: Result) -> rows.Row:
    return rows.training(BATCH, BATCH.candidates[0], result, decided())


def test_an_answers_keys_and_their_order_whether_it_was_scored_or_not() -> None:
    for result in (RESULTS[BATCH.candidates[0].event_id], failed(BATCH.candidates[0])):
        row = _training(result)
        assert list(row) == TRAINING
        assert list(row["verification"]) == VERIFICATION
        assert [list(a) for a in row["verification"]["assessments"]] in ([ASSESSMENT], [])
        assert list(row["metadata"]) == TRAINING_METADATA
        assert [list(c) for c in row["contexts"]] == [CONTEXT, CONTEXT]


def test_an_answer_that_was_scored() -> None:
    first = BATCH.candidates[0]
    result = verification(
        first,
        0.5,
        0.9,
        statements=(
            Statement(text="Ray is.", verdict=1.0, reason="said"),
            Statement(text="It is a fish.", verdict=0.0, reason="not said"),
        ),
        defect=Defect.OFF_TOPIC,
    )
    assert _training(result) == {
        "question": "What is Ray?",
        "answer": "Ray is a fish.",
        "contexts": [rows.context(c) for c in BATCH.contexts],
        "verification": {
            "status": "completed",
            "reason": None,
            "faithfulness": 0.5,
            "relevancy": 0.9,
            "score": 0.7,
            "confidence": "medium",
            "defect": "off_topic",
            "assessments": [
                {
                    "verifier": "grounded",
                    "weight": 1.0,
                    "score": 0.7,
                    "faithfulness": 0.5,
                    "relevancy": 0.9,
                    "defect": "off_topic",
                    "detail": "",
                    "judge": JUDGED_BY,
                    "statements": [
                        {"text": "Ray is.", "verdict": 1.0, "reason": "said"},
                        {"text": "It is a fish.", "verdict": 0.0, "reason": "not said"},
                    ],
                    "reverse_questions": ["What is Ray?", "What does Ray do?"],
                    "prompt_tokens": 200,
                    "completion_tokens": 20,
                    "cached_tokens": 0,
                    "duration_ms": 1200,
                }
            ],
            "duration_ms": 1234,
        },
        "metadata": {
            "event_id": str(first.event_id),
            "batch_id": str(BATCH.batch_id),
            "correlation_id": "test-correlation",
            "references": ["It scales Python.", "Ray scales."],
            "candidate_index": 0,
            "num_candidates": 3,
            "temperature": 0.3,
            "seed": first.seed,
            "model": "test-model",
            "finish_reason": "stop",
            "reasoning_chars": 0,
            "prompt_version": "rag-test",
            "generated_at": "2026-03-14T09:26:53+00:00",
            "created_at": "2026-03-14T09:27:01+00:00",
            "outcome": "pair",
            "prompt_tokens": 100,
            "completion_tokens": 10,
            "cached_tokens": 60,
        },
    }


def test_an_answer_that_several_verifiers_scored() -> None:
    """Each with what it says; the means are of those that count."""
    result = verification(
        BATCH.candidates[0],
        assessments=(
            assessment(0.5, 0.9, weight=3.0),
            plain_assessment(0.1, detail="no reference matches"),
            assessment(0.2, None, verifier="check", weight=0.0),
        ),
    )
    found = _training(result)["verification"]
    assert (found["faithfulness"], found["relevancy"], found["score"]) == (0.5, 0.9, 0.55)
    first, exact, check = found["assessments"]
    for each in (first, exact, check):
        assert list(each) == ASSESSMENT
        assert list(each["judge"]) == JUDGE
    assert (first["verifier"], first["weight"], first["score"]) == ("grounded", 3.0, 0.7)
    assert exact == {
        "verifier": "exact",
        "weight": 1.0,
        "score": 0.1,
        "faithfulness": None,
        "relevancy": None,
        "defect": None,
        "detail": "no reference matches",
        "judge": dict.fromkeys(JUDGE, "") | {"version": "exact-1"},
        "statements": [],
        "reverse_questions": [],
        "prompt_tokens": 0,
        "completion_tokens": 0,
        "cached_tokens": 0,
        "duration_ms": 0,
    }
    assert (check["weight"], check["faithfulness"], check["relevancy"]) == (0.0, 0.2, None)


def test_an_answer_that_no_judge_could_score_has_a_reason_and_no_number() -> None:
    row = _training(failed(BATCH.candidates[0], "the judge wrote no JSON"))
    assert row["verification"] == {
        "status": "failed",
        "reason": "the judge wrote no JSON",
        "faithfulness": None,
        "relevancy": None,
        "score": None,
        "confidence": None,
        "defect": None,
        "assessments": [],
        "duration_ms": None,
    }


def test_a_batch_adds_one_row_an_answer_in_order_and_at_most_one_pair() -> None:
    added = rows.of_batch(BATCH, RESULTS, decided())
    assert list(added) == ["dpo_data", "training_data"]
    assert added["dpo_data"] == [rows.dpo(BATCH, decided(), RESULTS)]
    assert [row["answer"] for row in added["training_data"]] == [c.answer for c in BATCH.candidates]
    assert [row["metadata"]["outcome"] for row in added["training_data"]] == ["pair"] * 3


def test_the_rows_of_a_skipped_batch_say_why() -> None:
    found: dict[UUID, Result] = dict(RESULTS)
    first, second, _ = BATCH.candidates
    found |= {one.event_id: failed(one) for one in (first, second)}
    outcome = decide(BATCH, found, PairingRule(), DECIDED)
    added = rows.of_batch(BATCH, found, outcome)["training_data"]
    assert [row["metadata"]["outcome"] for row in added] == ["unscored"] * 3
    assert [row["verification"]["status"] for row in added] == ["failed", "failed", "completed"]


def test_an_answer_that_was_cut_off_has_that_defect_wherever_no_verifier_names_one() -> None:
    best = replace(BATCH.candidates[1], finish_reason="length")
    result = RESULTS[best.event_id]
    assert rows.verification(best, result)["defect"] == "cut_off"
    worst = replace(BATCH.candidates[0], finish_reason="length")
    assert rows.verification(worst, RESULTS[worst.event_id])["defect"] == "unsupported"


def test_an_outcome_of_the_first_rule_has_its_row() -> None:
    """Whatever the rule of now would say of it: here, that nothing is wrong with the rejected."""
    worst, best, _ = BATCH.candidates
    found = dict(RESULTS) | {worst.event_id: verification(worst, 0.8, 0.8)}
    old: dict[str, Any] = {"min_score_diff": 0.05, "min_chosen_score": 0.6, "prompt": "question"}
    outcome = Outcome(
        batch_id=BATCH.batch_id,
        reason=None,
        chosen=best.index,
        rejected=worst.index,
        chosen_score=0.9,
        rejected_score=0.8,
        rule={**old, "quality_filter": False},
        decided_at=DECIDED,
    )
    assert decide(BATCH, found, PairingRule(), DECIDED).rejected != worst.index
    row = rows.dpo(BATCH, outcome, found)
    assert (row["chosen"], row["rejected"]) == (best.answer, worst.answer)
    assert row["metadata"]["rejected_provenance"]["defect"] is None
    assert row["metadata"]["rule"] == {
        **old,
        "min_chosen_faithfulness": 0.0,
        "min_chosen_relevancy": 0.0,
        "rejected_needs_defect": False,
        "quality_filter": False,
        "strategy": "best_worst",
        "max_length_ratio": 0.0,
        "version": 1,
    }


# As JSON, and typed.


@st.composite
def states(draw: Any) -> tuple[Batch, Mapping[UUID, Result], Outcome]:
    recorded = draw(batches(max_size=3))
    apart = draw(st.booleans())  # a clear margin and a good first one, so that pairs are common
    sound: dict[str, Any] = {"defect": None, "faithfulness": None, "statements": ()}
    found: dict[UUID, Result] = {}
    for c in recorded.candidates:
        value = draw(scores) / 8 + 7 / 8 - c.index / 4 if apart else draw(scores)
        made = replace(draw(verifications), answer_event_id=c.event_id)
        if apart:
            said = replace(draw(assessments), score=value, weight=1.0)
            if c.index == 0:
                said = replace(said, relevancy=None, **sound)
            made = replace(made, assessments=(said,))
        found[c.event_id] = made
        if not apart and draw(st.booleans()):
            found[c.event_id] = failed(c, draw(texts))
    prompt = draw(st.sampled_from(["question", "rag"]))
    rule = PairingRule(prompt=prompt, rejected_needs_defect=draw(st.booleans()))
    return recorded, found, decide(recorded, found, rule, DECIDED)


@settings(max_examples=25)
@given(states())
def test_rows_are_strict_json_and_the_same_after_the_ledger(
    state: tuple[Batch, Mapping[UUID, Result], Outcome],
) -> None:
    recorded, found, outcome = state
    written = rows.of_batch(recorded, found, outcome)
    for row in (*written["dpo_data"], *written["training_data"]):
        assert json.loads(text(row)) == row, "plain JSON data, without NaN, dates or tuples"
    read = rows.of_batch(
        codec.loads(Batch, codec.dumps(recorded)),
        {key: codec.loads(type(value), codec.dumps(value)) for key, value in found.items()},
        codec.loads(Outcome, codec.dumps(outcome)),
    )
    for name in SCHEMAS:
        assert [text(row) for row in read[name]] == [text(row) for row in written[name]]


@pytest.mark.parametrize("value", [0, 1, True])
def test_rows_of_whole_scores_are_the_same_after_the_ledger(value: Any) -> None:
    """A judge's verdict is a bit: ``1`` in memory must not become ``1.0`` in the ledger."""
    result = verification(
        BATCH.candidates[0],
        value,
        value,
        statements=(Statement(text="Ray is.", verdict=value, reason="said"),),
    )
    first, again = BATCH.candidates[0], codec.loads(type(result), codec.dumps(result))
    assert text(rows.verification(first, again)) == text(rows.verification(first, result))


def _type_of(value: object) -> object:
    """A row as a nest of keys, for comparison with a Parquet schema."""
    if isinstance(value, dict):
        return {key: _type_of(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_type_of(item) for item in value[:1]]
    return None


def _type_of_schema(kind: Any) -> object:
    import pyarrow as pa

    if isinstance(kind, pa.Schema):
        return {field.name: _type_of_schema(field.type) for field in kind}
    if pa.types.is_struct(kind):
        return {field.name: _type_of_schema(field.type) for field in kind.fields}
    if pa.types.is_list(kind):
        inner = _type_of_schema(kind.value_type)
        return [inner]
    return None


@pytest.mark.parametrize("name", SCHEMAS)
def test_parquet_has_a_column_for_every_key_of_a_row(name: str) -> None:
    """pyarrow drops a key that its schema lacks, without a word."""
    row = rows.of_batch(BATCH, RESULTS, decided())[name][0]
    assert _type_of_schema(SCHEMAS[name]) == _type_of(row)


def test_a_contexts_metadata_is_a_copy() -> None:
    passage = context()
    rows.context(passage)["metadata"]["source"] = "changed"
    assert passage.metadata["source"] == "ray.md"
