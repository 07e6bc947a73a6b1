"""The codec: every record survives the ledger, and nothing else comes out of it."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlvr_ray.core import codec, ids
from rlvr_ray.core.errors import InputError
from rlvr_ray.core.pairing import PairingRule, decide
from rlvr_ray.core.records import Batch, FailedVerification, Outcome, Usage, Verification
from tests.builders import DECIDED, batch, candidate, context, failed, verification
from tests.strategies import records

BATCH = batch()
FIRST = BATCH.candidates[0]
PAIR = decide(
    BATCH,
    {c.event_id: verification(c, (0.9, 0.5, 0.7)[c.index]) for c in BATCH.candidates},
    PairingRule(),
    DECIDED,
)
RECORDS = (BATCH, verification(FIRST), failed(FIRST), PAIR, context())
NUL: Any = {"a\0": 1}
ONE = ("assessments", 0)  #: the place of an assessment in a verification
each_record = pytest.mark.parametrize("record", RECORDS, ids=lambda r: type(r).__name__)


def changed(record: Any, path: tuple[str | int, ...], value: object) -> str:
    """The record's JSON with one value replaced."""
    data = json.loads(codec.dumps(record))
    place = data
    for step in path[:-1]:
        place = place[step]
    assert path[-1] in place if isinstance(place, dict) else True, f"{path} is no field"
    place[path[-1]] = value
    return json.dumps(data)


@settings(max_examples=100)
@given(records)
def test_records_survive_a_round_trip(record: Any) -> None:
    text = codec.dumps(record)
    read = codec.loads(type(record), text)
    assert read == record
    assert codec.dumps(read) == text
    assert codec.loads(type(record), text.encode()) == record


@settings(max_examples=50)
@given(records)
def test_records_are_one_line_of_strict_json(record: Any) -> None:
    text = codec.dumps(record)
    assert "\n" not in text
    assert "\0" not in text

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    assert json.loads(text, parse_constant=refuse) == codec.plain(record)


def test_a_record_reads_well() -> None:
    assert codec.dumps(context("Größe \N{SNOWMAN}", 0.25)) == (
        '{"content":"Größe \N{SNOWMAN}","score":0.25,"metadata":{"document_id":'
        '"bc3471a6-5355-552c-bb32-ff7c671fdd09","source":"ray.md","chunk_index":0,"start":0}}'
    )


def test_metadata_keeps_the_types_of_its_values() -> None:
    read = codec.loads(type(context()), codec.dumps(context(page="12", start=12)))
    assert read.metadata["page"] == "12"
    assert read.metadata["start"] == 12


def test_a_rule_keeps_the_types_of_its_values() -> None:
    rule = codec.loads(Outcome, codec.dumps(PAIR)).rule
    assert rule == PAIR.rule
    assert {name: type(value) for name, value in rule.items()} == {
        "min_score_diff": float,
        "min_chosen_score": float,
        "min_chosen_faithfulness": float,
        "min_chosen_relevancy": float,
        "rejected_needs_defect": bool,
        "quality_filter": bool,
        "prompt": str,
        "strategy": str,
        "max_length_ratio": float,
        "version": int,
    }


@each_record
@pytest.mark.parametrize(
    "data",
    ["", " ", "null", "[]", "{}", "1", '"text"', "NaN", "{", "\0", b"\xff\xfe", b"\x80", "{}{}"],
    ids=repr,
)
def test_what_is_no_record_is_refused(record: Any, data: str | bytes) -> None:
    with pytest.raises(ValueError, match="validation error"):
        codec.loads(type(record), data)


@each_record
def test_torn_and_doubled_records_are_refused(record: Any) -> None:
    text = codec.dumps(record)
    for end in range(0, len(text), 7):
        with pytest.raises(ValueError, match="validation error"):
            codec.loads(type(record), text[:end])
    with pytest.raises(ValueError, match="validation error"):
        codec.loads(type(record), text + text)


@each_record
def test_no_field_may_be_missing(record: Any) -> None:
    optional = {"detail", "references", "asked_at", "fingerprint"}  # have defaults
    for name in json.loads(codec.dumps(record)):
        data = json.loads(codec.dumps(record))
        del data[name]
        if name not in optional:
            with pytest.raises(ValueError, match=name):
                codec.loads(type(record), json.dumps(data))


@pytest.mark.parametrize("kind", [Batch, Verification, FailedVerification, Outcome])
def test_a_record_of_another_kind_is_refused(kind: type) -> None:
    for record in RECORDS:
        if not isinstance(record, kind):
            with pytest.raises(ValueError, match="validation error"):
                codec.loads(kind, codec.dumps(record))


FLOATS: list[tuple[Any, tuple[str | int, ...]]] = [
    (BATCH, ("contexts", 0, "score")),
    (BATCH, ("candidates", 1, "temperature")),
    (verification(FIRST), (*ONE, "score")),
    (verification(FIRST), (*ONE, "weight")),
    (verification(FIRST), (*ONE, "faithfulness")),
    (verification(FIRST), (*ONE, "relevancy")),
    (verification(FIRST), (*ONE, "statements", 0, "verdict")),
    (PAIR, ("chosen_score",)),
    (PAIR, ("rejected_score",)),
]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(("record", "path"), FLOATS, ids=[str(path[-1]) for _, path in FLOATS])
def test_nan_and_infinities_are_refused(
    record: Any, path: tuple[str | int, ...], value: float
) -> None:
    with pytest.raises(ValueError, match="validation error"):
        codec.loads(type(record), changed(record, path, value))


@pytest.mark.parametrize(
    ("record", "path", "value"),
    [
        pytest.param(BATCH, ("question",), "a\0", id="NUL"),
        pytest.param(BATCH, ("candidates", 0, "answer"), "\ud800", id="surrogate"),
        pytest.param(BATCH, ("created_at",), "2026-03-14T09:26:53", id="naive time"),
        pytest.param(BATCH, ("created_at",), "0001-01-01T00:00:00+05:00", id="before all time"),
        pytest.param(BATCH, ("created_at",), "yesterday", id="no time"),
        pytest.param(BATCH, ("kind",), "triple", id="unknown kind"),
        pytest.param(BATCH, ("batch_id",), "42", id="no id"),
        pytest.param(BATCH, ("candidates",), [], id="no candidates"),
        pytest.param(BATCH, ("candidates", 0, "index"), "first", id="no index"),
        pytest.param(BATCH, ("candidates", 0, "usage"), None, id="no usage"),
        pytest.param(BATCH, ("contexts", 0, "metadata"), {"a": [1]}, id="deep metadata"),
        pytest.param(verification(FIRST), (*ONE, "score"), 1.1, id="score above 1"),
        pytest.param(verification(FIRST), (*ONE, "score"), None, id="no score"),
        pytest.param(verification(FIRST), (*ONE, "faithfulness"), -0.1, id="metric below 0"),
        pytest.param(verification(FIRST), (*ONE, "weight"), -1, id="weight below 0"),
        pytest.param(verification(FIRST), (*ONE, "weight"), 0, id="none that counts"),
        pytest.param(verification(FIRST), (*ONE, "judge"), None, id="no judge"),
        pytest.param(verification(FIRST), ("assessments",), [], id="no assessment"),
        pytest.param(BATCH, ("references",), ["a\0"], id="NUL in a reference"),
        pytest.param(PAIR, ("chosen_score",), PAIR.rejected_score, id="pair without margin"),
        pytest.param(PAIR, ("reason",), "mood", id="unknown reason"),
    ],
)
def test_json_that_breaks_a_records_rules_is_refused(
    record: Any, path: tuple[str | int, ...], value: object
) -> None:
    with pytest.raises(ValueError, match="validation error"):
        codec.loads(type(record), changed(record, path, value))


@each_record
def test_unknown_fields_are_refused(record: Any) -> None:
    """A ledger of a newer version must not lose on the way what this one does not know."""
    data = json.loads(codec.dumps(record)) | {"surprise": 1}
    with pytest.raises(ValueError, match="surprise"):
        codec.loads(type(record), json.dumps(data))


def test_unknown_fields_deep_inside_are_refused() -> None:
    text = changed(BATCH, ("candidates", 0, "usage"), {"prompt_tokens": 1, "completion_tokens": 1})
    assert codec.loads(Batch, text)
    with pytest.raises(ValueError, match="surprise"):
        codec.loads(Batch, text.replace('"prompt_tokens": 1', '"prompt_tokens": 1, "surprise": 1'))
    text = codec.dumps(verification(FIRST))
    for place in ('"verifier":"grounded"', '"engine":"test-engine"', '"verdict":1.0'):
        assert place in text
        with pytest.raises(ValueError, match="surprise"):
            codec.loads(Verification, text.replace(place, f'{place},"surprise":1'))


def test_metrics_that_nobody_measured_survive() -> None:
    found = verification(FIRST, None, None, score=0.25)
    read = codec.loads(Verification, codec.dumps(found))
    assert read == found
    assert (read.faithfulness, read.relevancy) == (None, None)


def test_a_batch_of_before_there_were_references_is_read() -> None:
    data = json.loads(codec.dumps(BATCH))
    assert data.pop("references") == []
    assert codec.loads(Batch, json.dumps(data)) == BATCH


def test_references_survive_in_their_order() -> None:
    asked = batch(references=("b", "a", "a\u2028ü"))
    assert codec.loads(Batch, codec.dumps(asked)).references == ("b", "a", "a\u2028ü")


@pytest.mark.parametrize(
    ("record", "path", "value"),
    [
        pytest.param(verification(FIRST), (*ONE, "score"), "0.5", id="score as text"),
        pytest.param(verification(FIRST), (*ONE, "faithfulness"), "0.5", id="metric as text"),
        pytest.param(verification(FIRST), (*ONE, "relevancy"), True, id="metric as truth"),
        pytest.param(BATCH, ("references",), "the answer", id="one text as references"),
        pytest.param(verification(FIRST), ("duration_ms",), "12", id="count as text"),
        pytest.param(BATCH, ("created_at",), 1_773_480_413, id="time as number"),
    ],
)
def test_values_of_another_type_are_refused(
    record: Any, path: tuple[str | int, ...], value: object
) -> None:
    with pytest.raises(ValueError, match="validation error"):
        codec.loads(type(record), changed(record, path, value))


@settings(max_examples=100)
@given(st.sampled_from(RECORDS), st.data())
def test_damage_is_refused_or_harmless(record: Any, data: st.DataObject) -> None:
    """Whatever a disk does to a byte, the answer is a record or a ValueError."""
    raw = bytearray(codec.dumps(record).encode())
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        read = codec.loads(type(record), bytes(raw))
    except ValueError:
        return
    assert isinstance(read, type(record))


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (verification(FIRST, duration_ms=12.0), "Verification cannot be kept: duration_ms: "),
        (verification(FIRST, duration_ms=None), "duration_ms: "),
        (verification(FIRST, usage=None), "assessments.0.usage: "),
        (batch(contexts=(context(page=None),)), "contexts.0.metadata.page"),
        (batch(contexts=(context(page=1.5),)), "contexts.0.metadata.page"),
        (batch(contexts=(context(page=[1]),)), "contexts.0.metadata.page"),
        (batch(contexts=[context()]), "Batch cannot be kept: a value in it comes back as another"),
        (replace(BATCH, kind=cast(Any, "x")), "kind: "),
        (
            replace(PAIR, reason=cast(Any, math.nan)),
            "Outcome cannot be kept: a value in it comes back as",
        ),
        (replace(PAIR, rule={"a": math.nan}), "rule.a"),
        (replace(PAIR, rule={"a": "\ud800"}), "Outcome cannot be kept: "),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_could_not_be_read_back_is_not_written(record: Any, reason: str) -> None:
    with pytest.raises(InputError) as refused:
        codec.dumps(record)
    assert reason in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: context(start="1"),
        lambda: context(source=1),
        lambda: context(page=2**63),
        lambda: context(**NUL),
        lambda: candidate(ids.derive("x"), seed=2**31),
        lambda: candidate(ids.derive("x"), seed=-1),
        lambda: candidate(ids.derive("x"), reasoning_chars=-1),
        lambda: candidate(ids.derive("x"), temperature=-0.1),
        lambda: candidate(ids.derive("x"), usage=Usage(prompt_tokens=-1, completion_tokens=0)),
        lambda: candidate(ids.derive("x"), usage=Usage(prompt_tokens=2**53, completion_tokens=0)),
        lambda: verification(FIRST, duration_ms=-1),
        lambda: verification(FIRST, duration_ms=10**30),
        lambda: verification(FIRST, weight=1e308),
        lambda: FailedVerification(
            answer_event_id=FIRST.event_id, reason="", attempts=0, completed_at=DECIDED
        ),
        lambda: replace(PAIR, decided_at=datetime(1, 1, 1, tzinfo=UTC)),
    ],
)
def test_what_no_event_or_file_could_hold_is_no_record(make: Callable[[], Any]) -> None:
    with pytest.raises(ValueError, match=r"must|NUL"):
        make()
