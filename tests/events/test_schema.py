"""The published schema: it fits what is told, refuses what is not, and explains every field."""

import copy
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib import resources
from typing import Any
from uuid import UUID, uuid4

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr_ray.core import ids
from rlvr_ray.core.errors import InputError
from rlvr_ray.core.pairing import PairingRule, Result, decide
from rlvr_ray.core.records import Batch, Defect, Reason
from rlvr_ray.core.scoring import confidence, mean
from rlvr_ray.events import Received, schema, validate, verification_completed, verification_failed
from rlvr_ray.events import bodies as events
from tests.builders import DECIDED, batch, failed, plain_assessment, verification
from tests.strategies import batches, failures, rules, texts, times, verifications

SCHEMA = json.loads((resources.files("rlvr_ray.events") / "schema.json").read_text("utf-8"))
TYPES = SCHEMA["properties"]["event_type"]["enum"]

Body = dict[str, Any]
Path = tuple[str | int, ...]


def told(batch: Batch, results: Mapping[UUID, Result], rule: PairingRule) -> list[Body]:
    """All that a batch tells, as it comes out of a message."""
    made = [
        *(events.answer_generated(batch, c) for c in batch.candidates),
        *(events.verification_ended(batch, c, results[c.event_id]) for c in batch.candidates),
        events.outcome_decided(batch, decide(batch, results, rule, DECIDED), results),
    ]
    return [json.loads(json.dumps(event.body)) for event in made]


def ingested(**fields: Any) -> Body:
    known: Body = {
        "document_id": ids.derive("document", "ray.md"),
        "number": 0,
        "filename": "ray.md",
        "num_chunks": 3,
        "at": DECIDED,
    }
    return dict(events.document_ingested(**known | fields).body)


def examples() -> dict[str, Body]:
    """One event of each type."""
    scored = batch(["Ray is a fish.", "Ray scales Python.", "Ray is nice."], references=("It?",))
    first, second, third = scored.candidates
    results: dict[UUID, Result] = {
        first.event_id: verification(first, 0.1, 0.2),
        second.event_id: verification(second, 1.0, 0.8),
        third.event_id: verification(third, 0.5, 0.5),
    }
    broken: dict[UUID, Result] = {c.event_id: failed(c) for c in scored.candidates}
    both = told(scored, results, PairingRule()) + told(scored, broken, PairingRule())
    return {body["event_type"]: body for body in [*both, ingested()]}


EXAMPLES = examples()
ANSWER = EXAMPLES["answer.generated"]


def received(body: Body = ANSWER) -> Received:
    return Received(
        event_id=UUID(body["event_id"]),
        event_type=body["event_type"],
        batch_id=body["batch_id"] and UUID(body["batch_id"]),
        correlation_id=body["correlation_id"],
        timestamp=datetime.fromisoformat(body["timestamp"]),
        body=body,
    )


def test_there_is_an_example_of_every_type() -> None:
    assert sorted(EXAMPLES) == sorted(TYPES)


@pytest.mark.parametrize("kind", TYPES)
def test_what_is_told_is_valid(kind: str) -> None:
    validate(EXAMPLES[kind])


@st.composite
def stories(draw: Any) -> tuple[Batch, dict[UUID, Result], PairingRule]:
    batch = draw(batches(max_size=3))
    results = {c.event_id: draw(st.one_of(verifications, failures)) for c in batch.candidates}
    return batch, results, draw(rules)


@given(stories())
def test_whatever_is_recorded_tells_valid_events(
    story: tuple[Batch, dict[UUID, Result], PairingRule],
) -> None:
    for body in told(*story):
        validate(body)


@given(st.uuids(), st.integers(0, 2**53), texts, st.integers(0, 2**53), times)
def test_every_document_tells_a_valid_event(
    document_id: UUID, number: int, filename: str, num_chunks: int, time: datetime
) -> None:
    validate(
        ingested(
            document_id=document_id,
            number=number,
            filename=filename,
            num_chunks=num_chunks,
            at=time.astimezone(UTC),
        )
    )


def test_metrics_that_nobody_measured_may_be_null() -> None:
    scored = batch(["a", "b"])
    results: dict[UUID, Result] = {
        c.event_id: verification(c, assessments=(plain_assessment(1.0 - c.index),))
        for c in scored.candidates
    }
    bodies = told(scored, results, PairingRule())
    for body in bodies:
        validate(body)
    assert bodies[2]["faithfulness"] is bodies[2]["relevancy"] is None
    assert bodies[-1]["event_type"] == "pair.created"


# The schema as a document.


def objects(schema: Any, path: str = "#") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema within it that has properties."""
    if isinstance(schema, dict):
        if "properties" in schema and "if" not in path.split("/"):
            yield path, schema
        for key, value in schema.items():
            yield from objects(value, f"{path}/{key}")
    elif isinstance(schema, list):
        for index, value in enumerate(schema):
            yield from objects(value, f"{path}/{index}")


def test_it_is_a_schema_of_the_draft_it_names() -> None:
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_it_is_generated_from_the_types() -> None:
    assert schema.schema() == SCHEMA, "run: make schema"


def test_every_field_is_explained() -> None:
    def text(field: dict[str, Any]) -> str:
        if "description" in field or "$ref" not in field:
            return str(field.get("description", ""))
        return text(SCHEMA["$defs"][field["$ref"].removeprefix("#/$defs/")])

    fields = [
        (f"{path}/{name}", text(field))
        for path, schema in objects(SCHEMA)
        for name, field in schema["properties"].items()
    ]
    assert len(fields) > 80
    assert [path for path, description in fields if not description] == []


@pytest.mark.parametrize("kind", TYPES)
def test_every_field_that_is_told_is_in_it(kind: str) -> None:
    """With all objects closed, the events still fit."""
    closed = copy.deepcopy(SCHEMA)
    for path, part in objects(closed):
        if path != "#":
            part["additionalProperties"] = False
    strict = jsonschema.Draft202012Validator(closed)
    strict.validate(EXAMPLES[kind])
    assert not strict.is_valid(EXAMPLES[kind] | {"new": 1})


OWN_ALONE = ("verification.completed", ("assessments",))


def optional(kind: str, path: Path) -> bool:
    """A passage's metadata, what is not asked of verifications from outside, what came later."""
    metadata = path[-4:-3] == ("contexts",)
    first = ("min_score_diff", "min_chosen_score", "quality_filter", "prompt")
    later = path[-2:-1] == ("rule",) and path[-1] not in first
    return (
        metadata
        or later
        or path[-1] in ("engine", "defect", "reasoning_chars")
        or (kind, path) == OWN_ALONE
    )


@pytest.mark.parametrize("kind", TYPES)
def test_every_field_that_is_told_is_required(kind: str) -> None:
    for path in paths(EXAMPLES[kind]):
        assert refused(without(EXAMPLES[kind], path)) is not optional(kind, path), path


def test_it_names_every_reason() -> None:
    field = SCHEMA["$defs"]["pair.skipped"]["properties"]["reason"]
    assert field["examples"] == [reason.value for reason in Reason]


# What is refused, and how.


def paths(value: Any, start: Path = ()) -> Iterator[Path]:
    """The places of all fields of all objects."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield (*start, key)
            yield from paths(part, (*start, key))
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from paths(part, (*start, index))


def put(body: Body, path: Path, value: Any) -> Body:
    changed = copy.deepcopy(body)
    place: Any = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return changed


def without(body: Body, path: Path) -> Body:
    changed = copy.deepcopy(body)
    place: Any = changed
    for key in path[:-1]:
        place = place[key]
    del place[path[-1]]
    return changed


def refused(body: Body) -> bool:
    try:
        validate(body)
    except InputError as error:
        assert str(error).isprintable()
        assert len(str(error)) <= 300
        return True
    return False


VERIFIED = EXAMPLES["verification.completed"]
FAILED = EXAMPLES["verification.failed"]
PAIR = EXAMPLES["pair.created"]
SKIPPED = EXAMPLES["pair.skipped"]
DOCUMENT = EXAMPLES["document.ingested"]
CHOSEN: Path = ("pair", "metadata", "chosen_provenance")

BAD: list[tuple[Body, Path, Any, str]] = [
    (ANSWER, ("event_type",), "answer.lost", "event_type: 'answer.lost' is not one of"),
    (ANSWER, ("event_type",), None, "event_type: None is not one of"),
    (ANSWER, ("event_type",), ["answer.generated"], "event_type: ['answer.generated'] is not"),
    (ANSWER, ("schema_version",), 2, "schema_version: 1 was expected"),
    (ANSWER, ("schema_version",), "1", "schema_version: 1 was expected"),
    (ANSWER, ("schema_version",), True, "schema_version: 1 was expected"),
    (ANSWER, ("event_id",), "7", "event_id: '7' does not match"),
    (ANSWER, ("event_id",), ANSWER["event_id"].upper(), "event_id: "),
    (ANSWER, ("event_id",), ANSWER["event_id"] + "\n", "event_id: "),
    (ANSWER, ("event_id",), "{" + ANSWER["event_id"][1:-1] + "}", "event_id: "),
    (ANSWER, ("batch_id",), None, "batch_id: None is not of type 'string'"),
    (ANSWER, ("correlation_id",), 5, "correlation_id: 5 is not of type 'string'"),
    (ANSWER, ("question",), "a\0b", r"question: 'a\x00b' does not match"),
    (ANSWER, ("question",), "a\ud800b", r"question: 'a\ud800b' is not of type 'string'"),
    (ANSWER, ("timestamp",), 1700000000, "timestamp: 1700000000 is not of type 'string'"),
    (ANSWER, ("timestamp",), "2026-03-14T09:26:53", "timestamp: '2026-03-14T09:26:53' does"),
    (ANSWER, ("timestamp",), "2026-03-14T09:26:53+01:00", "timestamp: "),
    (ANSWER, ("timestamp",), "2026-02-30T09:26:53Z", "timestamp: '2026-02-30T09:26:53Z' is not"),
    (ANSWER, ("timestamp",), "2026-03-14T09:26:53Z\n", "timestamp: "),
    (ANSWER, ("timestamp",), "٢٠٢٦-03-14T09:26:53Z", "timestamp: "),
    (ANSWER, ("answer",), None, "answer: None is not of type 'string'"),
    (ANSWER, ("contexts",), {}, "contexts: {} is not of type 'array'"),
    (ANSWER, ("references",), None, "references: None is not of type 'array'"),
    (ANSWER, ("references", 0), "a\0b", r"references[0]: 'a\x00b' does not match"),
    (ANSWER, ("contexts", 0), "text", "contexts[0]: 'text' is not of type 'object'"),
    (ANSWER, ("contexts", 1, "score"), 1.5, "contexts[1].score: 1.5 is greater than"),
    (ANSWER, ("contexts", 0, "metadata", "page"), None, "contexts[0].metadata.page: None"),
    (ANSWER, ("contexts", 0, "metadata", "a\nb\x1b[2J"), None, "contexts[0].metadata['a b [2J']"),
    (ANSWER, ("metadata", "candidate_index"), -1, "metadata.candidate_index: -1 is less"),
    (ANSWER, ("metadata", "candidate_index"), 0.5, "metadata.candidate_index: 0.5 is not"),
    (ANSWER, ("metadata", "candidate_index"), True, "metadata.candidate_index: True is not"),
    (ANSWER, ("metadata", "total_candidates"), 0, "metadata.total_candidates: 0 is less"),
    (ANSWER, ("metadata", "temperature"), float("inf"), "metadata.temperature: inf is not of"),
    (ANSWER, ("metadata", "seed"), 2**31, "metadata.seed: 2147483648 is greater"),
    (ANSWER, ("metadata", "usage", "prompt_tokens"), "9", "metadata.usage.prompt_tokens: '9'"),
    (VERIFIED, ("score",), 1.5, "score: 1.5 is greater than the maximum of 1"),
    (VERIFIED, ("score",), -0.1, "score: -0.1 is less than the minimum of 0"),
    (VERIFIED, ("score",), float("nan"), "score: nan is not of type 'number'"),
    (VERIFIED, ("faithfulness",), float("nan"), "faithfulness: nan is not of type 'number'"),
    (VERIFIED, ("relevancy",), "0.5", "relevancy: '0.5' is not of type 'number'"),
    (VERIFIED, ("relevancy",), True, "relevancy: True is not of type 'number'"),
    (VERIFIED, ("relevancy",), 10**400, "relevancy: 1000000000000000"),
    (VERIFIED, ("confidence",), "sure", "confidence: 'sure' is not one of"),
    (VERIFIED, ("verifier", "model"), None, "verifier.model: None is not of type 'string'"),
    (VERIFIED, ("verifier",), "me", "verifier: 'me' is not of type 'object'"),
    (VERIFIED, ("duration_ms",), -5, "duration_ms: -5 is less than the minimum of 0"),
    (VERIFIED, ("duration_ms",), 2**53, "duration_ms: 9007199254740992 is greater than"),
    (VERIFIED, ("verifier", "engine"), None, "verifier.engine: None is not of type 'string'"),
    (VERIFIED, ("assessments",), None, "assessments: None is not of type 'array'"),
    (VERIFIED, ("assessments",), [], "assessments: [] should be non-empty"),
    (VERIFIED, ("assessments", 0), 1, "assessments[0]: 1 is not of type 'object'"),
    (VERIFIED, ("assessments", 0, "score"), None, "assessments[0].score: None is not of"),
    (VERIFIED, ("assessments", 0, "weight"), -1, "assessments[0].weight: -1 is less than"),
    (VERIFIED, ("assessments", 0, "faithfulness"), 2, "assessments[0].faithfulness: 2 is"),
    (VERIFIED, ("assessments", 0, "judge", "model"), 7, "assessments[0].judge.model: 7 is"),
    (VERIFIED, ("answer_event_id",), "x" * 10**6, "answer_event_id: 'xxxxxxxxxxxx...xxx"),
    (FAILED, ("attempts",), 0, "attempts: 0 is less than the minimum of 1"),
    (FAILED, ("reason",), ["why"], "reason: ['why'] is not of type 'string'"),
    (PAIR, ("pair",), None, "pair: None is not of type 'object'"),
    (PAIR, ("pair", "score_diff"), 0, "pair.score_diff: 0 is less than or equal to"),
    (PAIR, ("pair", "chosen"), 3, "pair.chosen: 3 is not of type 'string'"),
    (PAIR, ("pair", "metadata", "rule", "prompt"), "x", "pair.metadata.rule.prompt: 'x' is"),
    (PAIR, ("pair", "metadata", "references"), "It?", "pair.metadata.references: 'It?' is not"),
    (PAIR, (*CHOSEN, "assessments"), {}, "pair.metadata.chosen_provenance.assessments: {} is"),
    (PAIR, (*CHOSEN, "assessments", 0, "judge"), {}, "pair.metadata.chosen_provenance.assess"),
    (PAIR, (*CHOSEN, "score"), None, "pair.metadata.chosen_provenance.score: None is not"),
    (SKIPPED, ("reason",), None, "reason: None is not of type 'string'"),
    (SKIPPED, ("chosen_score",), 2, "chosen_score: 2 is greater than the maximum of 1"),
    (DOCUMENT, ("num_chunks",), -1, "num_chunks: -1 is less than the minimum of 0"),
    (DOCUMENT, ("num_pages",), "3", "num_pages: '3' is not of type 'integer', 'null'"),
    (DOCUMENT, ("batch_id",), ANSWER["batch_id"], "batch_id: "),
]


@pytest.mark.parametrize(("body", "path", "value", "message"), BAD)
def test_a_wrong_value_is_refused_by_name(body: Body, path: Path, value: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        validate(put(body, path, value))
    text = str(caught.value)
    assert text.startswith(message)
    assert text.isprintable()
    assert len(text) <= 300


@pytest.mark.parametrize("kind", TYPES)
def test_a_missing_field_is_refused_by_name(kind: str) -> None:
    for field in EXAMPLES[kind]:
        if optional(kind, (field,)):
            continue
        with pytest.raises(InputError, match=rf"^the event: '{field}' is a required property$"):
            validate(without(EXAMPLES[kind], (field,)))


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("wrong", [object, [[]], {"a": {}}], ids=["no JSON", "list", "object"])
def test_no_field_takes_what_is_of_another_type(kind: str, wrong: Any) -> None:
    for path in paths(EXAMPLES[kind]):
        assert refused(put(EXAMPLES[kind], path, wrong)), path


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (float("nan"), "the event is not JSON data: "),
        (float("-inf"), "the event is not JSON data: "),
        ("\ud800", "the event is not JSON data: 'utf-8' codec can't encode"),
        (uuid4(), "the event is not JSON data: Object of type UUID"),
        (nested(100_000), "the event is nested too deeply"),
    ],
    ids=["nan", "inf", "surrogate", "uuid", "deep"],
)
def test_unknown_fields_are_welcome_but_not_what_is_no_json(value: Any, message: str) -> None:
    validate(ANSWER | {"new": {"field": [1, "a\0b", None]}})
    with pytest.raises(InputError) as caught:
        validate(ANSWER | {"new": value})
    assert str(caught.value).startswith(message)


def test_depth_in_a_known_field_is_refused() -> None:
    for path in [("event_type",), ("question",), ("contexts",), ("schema_version",)]:
        assert refused(put(ANSWER, path, nested(100_000)))


@pytest.mark.parametrize("time", ["2026-03-14T09:26:53Z", "2026-03-14T09:26:53.123456789+00:00"])
def test_other_spellings_of_utc_are_valid(time: str) -> None:
    validate(ANSWER | {"timestamp": time})


# Answers of other verifiers.

VERIFIER = {
    "faithfulness": "theirs",
    "relevancy": "theirs",
    "model": "big-judge",
    "embedder": "none",
    "version": "3",
}


def completed(**changes: Any) -> Body:
    given: Body = {"faithfulness": 1.0, "relevancy": 0.5, "verifier": VERIFIER, "duration_ms": 12}
    return verification_completed(received(), **given | changes)


def test_verification_completed_answers_the_answer() -> None:
    before = datetime.now(UTC)
    body = completed(faithfulness=0.1234561)
    validate(body)
    assert before <= datetime.fromisoformat(body.pop("timestamp")) <= datetime.now(UTC)
    index = ANSWER["metadata"]["candidate_index"]
    assert body == {
        "event_id": str(ids.verification_event(UUID(ANSWER["batch_id"]), index)),
        "event_type": "verification.completed",
        "schema_version": 1,
        "batch_id": ANSWER["batch_id"],
        "correlation_id": "test-correlation",
        "question": "What is Ray?",
        "answer_event_id": ANSWER["event_id"],
        "answer": ANSWER["answer"],
        "faithfulness": 0.123456,
        "relevancy": 0.5,
        "score": 0.311728,
        "confidence": "low",
        "defect": None,
        "verifier": VERIFIER | {"engine": ""},
        "duration_ms": 12,
    }


def test_verification_failed_answers_the_answer() -> None:
    body = verification_failed(received(), reason="the model is down", attempts=3)
    assert (body["reason"], body["attempts"]) == ("the model is down", 3)


def test_answers_of_others_have_the_fields_and_the_id_of_our_own() -> None:
    assert FAILED["answer_event_id"] == ANSWER["event_id"]
    theirs = verification_failed(received(), reason="the model is down")
    assert theirs["event_id"] == FAILED["event_id"] == completed()["event_id"]
    assert list(theirs) == list(FAILED)
    assert list(completed()) == [field for field in VERIFIED if field != "assessments"]


def test_another_verifier_may_name_its_engine() -> None:
    assert completed(verifier=VERIFIER | {"engine": "vllm"})["verifier"]["engine"] == "vllm"


def test_another_verifier_may_name_a_defect() -> None:
    assert completed(defect="other_subject")["defect"] == "other_subject"
    validate(without(completed(), ("defect",)))


def test_it_names_every_defect() -> None:
    assert SCHEMA["$defs"]["Assessment"]["properties"]["defect"]["examples"] == [
        defect.value for defect in Defect
    ]


def test_scores_and_confidence_are_those_that_a_reader_of_the_event_comes_to() -> None:
    """Computed from the parts as they stand in it, not from what they were before."""
    for faithfulness in (0.7000004, 0.7000006, 0.1234565, 1 / 3):
        for relevancy in (0.7000004, 0.7000006, 0.9999995, 2 / 3):
            body = completed(faithfulness=faithfulness, relevancy=relevancy)
            value = mean(body["faithfulness"], body["relevancy"])
            assert (body["score"], body["confidence"]) == (value, confidence(value))


@pytest.mark.parametrize(
    "changes",
    [
        {"faithfulness": 1.5},
        {"faithfulness": float("nan")},
        {"relevancy": -0.1},
        {"relevancy": None},
        {"relevancy": "1"},
        {"verifier": {}},
        {"verifier": VERIFIER | {"model": None}},
        {"verifier": VERIFIER | {"model": "a\0b"}},
        {"verifier": VERIFIER | {"mood": "good"}},
        {"defect": "ugly"},
        {"defect": 1},
        {"duration_ms": -1},
        {"duration_ms": 0.5},
        {"duration_ms": None},
    ],
    ids=str,
)
def test_a_verification_that_is_none_is_refused(changes: Body) -> None:
    with pytest.raises(InputError):
        completed(**changes)


def test_only_answers_are_verified() -> None:
    with pytest.raises(InputError, match=r"not a pair\.created"):
        verification_failed(received(PAIR), reason="no")
    for attempts in (0, "1"):
        with pytest.raises(InputError, match="attempts"):
            verification_failed(received(), reason="no", attempts=attempts)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="reason"):
        verification_failed(received(), reason="a\0b")
