"""The bodies of events as types, and the JSON Schema that is made of them.

``bodies.py`` builds these types. ``validation.py`` checks events of others against ``schema.json``,
which programs in other languages can use, too. To change a field, or to add a type of event to
``Body``, edit it here and run ``make schema``; a test compares the file with the types.
"""

from typing import Annotated, Any, Literal, NotRequired, get_args

from pydantic import Field, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema
from typing_extensions import TypedDict  # before Python 3.12, pydantic takes no other one

from rlvr_ray.core.records import Reason
from rlvr_ray.core.scoring import Confidence
from rlvr_ray.dataset.row_types import (
    AnswerId,
    AnswerMetadata,
    Assessments,
    Contexts,
    Count,
    DefectName,
    Faithfulness,
    Judge,
    Milliseconds,
    Pair,
    References,
    Relevancy,
    Rule,
    Score,
    Text,
    Time,
    Uuid,
    documented,
)

VERSION: Literal[1] = 1


# What every event has.


class Named(TypedDict):
    """The id of an event, which is first in its body."""

    event_id: Annotated[Uuid, Field(description="names the fact: a repeat has the same id")]


class Common(TypedDict):
    """Other fields of every event."""

    schema_version: Annotated[Literal[1], Field(description="version of this schema")]
    timestamp: Annotated[Time, Field(description="when it happened")]


class OfBatch(Common):
    """Fields of every event of a batch, which is one question with its answers."""

    batch_id: Annotated[Uuid, Field(description="the batch")]
    correlation_id: Annotated[Text, Field(description="the caller's own id of the request")]
    question: Annotated[Text, Field(description="what was asked")]


# The events.


@documented
class AnswerGenerated(Named, OfBatch):
    """A candidate answer was recorded; one for each candidate of a batch."""

    event_type: Literal["answer.generated"]
    """what happened"""
    answer: Text
    """what the model wrote"""
    contexts: Contexts
    references: References
    metadata: AnswerMetadata


@documented
class VerificationCompleted(Named, OfBatch):
    """A candidate answer was scored. A verification from outside gives faithfulness and relevancy,
    and no assessments."""

    event_type: Literal["verification.completed"]
    """what happened"""
    answer_event_id: AnswerId
    answer: Text
    """the answer that was scored"""
    faithfulness: Faithfulness
    relevancy: Relevancy
    score: Score
    """mean of the assessments' scores by their weights; without assessments, mean of faithfulness
    and relevancy; to six decimal places"""
    confidence: Confidence
    """high: score above 0.7; medium: above 0.5; low: all others"""
    defect: NotRequired[DefectName]
    verifier: Judge
    """what produced the scores; of several assessments, the one of most weight"""
    assessments: NotRequired[Assessments]
    duration_ms: Milliseconds
    """milliseconds that the verification took"""


@documented
class VerificationFailed(Named, OfBatch):
    """No judge could score a candidate answer; it has no scores."""

    event_type: Literal["verification.failed"]
    """what happened"""
    answer_event_id: AnswerId
    reason: Text
    """why, one sentence for people"""
    attempts: Annotated[int, Field(ge=1)]
    """how often it was tried"""


@documented
class PairCreated(Named, OfBatch):
    """A batch ended in a preference pair."""

    event_type: Literal["pair.created"]
    """what happened"""
    pair: Pair


@documented
class PairSkipped(Named, OfBatch):
    """A batch ended without a pair."""

    event_type: Literal["pair.skipped"]
    """what happened"""
    reason: Annotated[str, Field(examples=[reason.value for reason in Reason])]
    """why there is no pair; later versions may add reasons"""
    detail: Text
    """the reason, one sentence for people"""
    score_diff: Score | None
    """score of the best answer minus that of the worst; null if not ranked"""
    chosen_score: Score | None
    """score of the best answer; null if not ranked"""
    rejected_score: Score | None
    """score of the worst answer; null if not ranked"""
    rule: Rule


@documented
class DocumentIngested(Named, Common):
    """A document can be searched now."""

    event_type: Literal["document.ingested"]
    """what happened"""
    batch_id: None
    """always null: it belongs to no batch"""
    correlation_id: None
    """always null: it belongs to no batch"""
    question: None
    """always null: it belongs to no batch"""
    document_id: Uuid
    """the document"""
    filename: Text
    """name that it was given"""
    num_pages: Count | None
    """pages; null where the format has none"""
    num_chunks: Count
    """passages that it was cut into"""


Body = (
    AnswerGenerated
    | VerificationCompleted
    | VerificationFailed
    | PairCreated
    | PairSkipped
    | DocumentIngested
)
#: The body of each type of event, by its type, which is also the routing key.
EVENTS: dict[str, Any] = {
    get_args(body.__annotations__["event_type"])[0]: body for body in get_args(Body)
}


class _Generator(GenerateJsonSchema):
    """pydantic's schema without titles, and with a list of types instead of ``anyOf``."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def typed_dict_schema(self, schema: core_schema.TypedDictSchema) -> JsonSchemaValue:
        return {k: v for k, v in super().typed_dict_schema(schema).items() if k != "title"}

    def get_union_of_schemas(self, schemas: list[JsonSchemaValue]) -> JsonSchemaValue:
        merged = {name: value for each in schemas for name, value in each.items()}
        return merged | {"type": [each["type"] for each in schemas]}

    def literal_schema(self, schema: core_schema.LiteralSchema) -> JsonSchemaValue:
        return {k: v for k, v in super().literal_schema(schema).items() if k != "type"}

    def sort(self, value: Any, parent_key: str | None = None) -> Any:
        """Type and format first: their errors say more than those of bounds and patterns."""
        if isinstance(value, list):
            return [self.sort(each) for each in value]
        if not isinstance(value, dict):
            return value
        first = {k: value[k] for k in ("type", "format") if k in value}
        return {key: self.sort(each) for key, each in (first | value).items()}


def schema() -> dict[str, Any]:
    """The JSON Schema of all events: what ``schema.json`` holds."""
    definitions: dict[str, Any] = {}
    for name, body in EVENTS.items():
        made = TypeAdapter(body).json_schema(
            schema_generator=_Generator, ref_template="#/$defs/{model}"
        )
        definitions |= made.pop("$defs", {})
        definitions[name] = made
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:rlvr-ray:events:{VERSION}",
        "title": "Events of rlvr_ray",
        "description": "The JSON messages on the durable topic exchange rlvr_events. The routing "
        "key is the event type, the AMQP message_id is the event_id. Every event is delivered at "
        "least once; a repeat has the same event_id. Later versions may add fields: ignore those "
        "that you do not know.",
        "type": "object",
        "required": ["event_type"],
        "properties": {
            "event_type": {
                "description": "what happened; also the routing key",
                "enum": list(EVENTS),
            }
        },
        "allOf": [
            {
                "if": {"properties": {"event_type": {"const": name}}, "required": ["event_type"]},
                "then": {"$ref": f"#/$defs/{name}"},
            }
            for name in EVENTS
        ],
        "$defs": definitions,
    }
