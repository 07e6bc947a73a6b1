"""Checking incoming events: JSON that fits ``schema.json``, with valid numbers and texts."""

import json
import math
import reprlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import Any
from uuid import UUID

import jsonschema

from rlvr_ray.core import codec, ids
from rlvr_ray.core.errors import InputError
from rlvr_ray.core.fields import one_line, unit_interval
from rlvr_ray.core.records import Assessment, Defect, Judge, Verification
from rlvr_ray.core.scoring import confidence, mean
from rlvr_ray.events import schema

MAX_BYTES = 1024 * 1024  #: of one message; larger ones are refused unread
REASON_CHARS = 300  #: of what is said of a wrong event


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """An event as it came; ``body`` is the whole of it and fits the schema."""

    event_id: UUID
    event_type: str
    batch_id: UUID | None
    correlation_id: str | None
    timestamp: datetime
    body: Mapping[str, Any]
    seq: int | None = None  #: place in the publisher's order; a gap means that others come late
    attempt: int = 1  #: 1, and one more for each time that the broker counted a failure
    traceparent: str | None = None  #: W3C trace context: the batch's trace, this event's span


def parse(data: bytes) -> dict[str, Any]:
    """The JSON object of a message; raises InputError, in one line, where it is none."""
    if len(data) > MAX_BYTES:
        raise InputError(f"the message has {len(data)} bytes, more than {MAX_BYTES}")
    try:
        body = codec.parse(data.decode())
    except RecursionError:
        raise InputError("the message is nested too deeply") from None
    except ValueError as error:
        raise InputError(_reason(f"the message is not JSON: {error}")) from None
    if not isinstance(body, dict):
        raise InputError("the message is not a JSON object")
    return body


def validate(body: Mapping[str, Any]) -> None:
    """Raise InputError, with one line that names the field, unless this is a valid event."""
    try:
        for error in _validator().iter_errors(dict(body)):
            # The library quotes the value, which may be long.
            why = error.message.replace(repr(error.instance), reprlib.repr(error.instance))
            raise InputError(_reason(f"{error.json_path[2:] or 'the event'}: {why}"))
        # Fields that the schema does not know must be JSON data all the same.
        json.dumps(dict(body), allow_nan=False, ensure_ascii=False).encode()
    except RecursionError:
        raise InputError("the event is nested too deeply") from None
    except (TypeError, ValueError) as error:
        raise InputError(_reason(f"the event is not JSON data: {error}")) from None


def verification_completed(
    answer: Received,
    *,
    faithfulness: float,
    relevancy: float,
    verifier: Mapping[str, str],
    duration_ms: int,
    defect: str | None = None,
) -> dict[str, Any]:
    """The event with an answer's scores, for an ``answer.generated``.

    Scores are in [0, 1]; ``verifier`` names faithfulness and relevancy (the methods), model,
    embedder, version and, if it likes, engine, all strings; ``defect`` is one of
    ``records.Defect``, or None where none was found. Raises InputError if anything of this is not
    so. The same answer always gives the same event id.
    """
    try:
        (assessment,) = verified_elsewhere(
            answer.event_id,
            faithfulness=faithfulness,
            relevancy=relevancy,
            judge=Judge(**verifier),
            defect=defect,
            duration_ms=duration_ms,
            completed_at=datetime.now(UTC),
        ).assessments
    except (TypeError, ValueError) as error:
        raise InputError(_reason(f"this is no verification: {error}")) from None
    return _answering(
        answer,
        "verification.completed",
        answer=answer.body["answer"],
        faithfulness=assessment.faithfulness,
        relevancy=assessment.relevancy,
        score=assessment.score,
        confidence=confidence(assessment.score),
        defect=assessment.defect,
        verifier=asdict(assessment.judge),
        duration_ms=duration_ms,
    )


def verified_elsewhere(
    answer_event_id: UUID,
    *,
    faithfulness: float,
    relevancy: float,
    judge: Judge,
    defect: str | None,
    duration_ms: int,
    completed_at: datetime,
) -> Verification:
    """The verification of another program: one assessment, whose score is the mean of both.

    Raises ValueError or TypeError where a value is not what it must be.
    """
    faithfulness = unit_interval("faithfulness", faithfulness)
    relevancy = unit_interval("relevancy", relevancy)
    assessment = Assessment(
        verifier="external",
        # Of the rounded parts, so that whoever reads them comes to the same.
        score=mean(faithfulness, relevancy),
        faithfulness=faithfulness,
        relevancy=relevancy,
        defect=None if defect is None else Defect(defect),
        judge=judge,
        duration_ms=duration_ms,
    )
    return Verification(
        answer_event_id=answer_event_id,
        assessments=(assessment,),
        duration_ms=duration_ms,
        completed_at=completed_at,
    )


def verification_failed(answer: Received, *, reason: str, attempts: int = 1) -> dict[str, Any]:
    """The event for an ``answer.generated`` that could not be scored, with the reason.

    Raises InputError where the reason is no text or the attempts are under 1.
    """
    return _answering(answer, "verification.failed", reason=reason, attempts=attempts)


def _reason(text: str) -> str:
    return one_line(text)[:REASON_CHARS]


@cache
def _validator() -> Any:
    path = resources.files("rlvr_ray.events") / "schema.json"
    draft = jsonschema.Draft202012Validator
    types = draft.TYPE_CHECKER.redefine("number", _is_number).redefine("string", _is_string)
    formats = jsonschema.FormatChecker(formats=())
    formats.checks("date-time", raises=(TypeError, ValueError))(datetime.fromisoformat)
    strict = jsonschema.validators.extend(draft, type_checker=types)
    return strict(json.loads(path.read_text("utf-8")), format_checker=formats)


def _is_number(_: Any, value: object) -> bool:
    """Without NaN and the infinities, which pass every comparison or some."""
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


def _is_string(_: Any, value: object) -> bool:
    """Without lone surrogates, which no file and no peer takes."""
    try:
        return isinstance(value, str) and value.encode() is not None
    except UnicodeEncodeError:
        return False


def _answering(answer: Received, event_type: str, /, **fields: Any) -> dict[str, Any]:
    if answer.event_type != "answer.generated" or answer.batch_id is None:
        raise InputError(f"only an answer.generated is verified, not a {answer.event_type}")
    index = answer.body["metadata"]["candidate_index"]
    body = {
        "event_id": str(ids.verification_event(answer.batch_id, index)),
        "event_type": event_type,
        "schema_version": schema.VERSION,
        "timestamp": datetime.now(UTC).isoformat(),
        "batch_id": str(answer.batch_id),
        "correlation_id": answer.correlation_id,
        "question": answer.body["question"],
        "answer_event_id": str(answer.event_id),
        **fields,
    }
    validate(body)
    return body
