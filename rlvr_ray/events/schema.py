"""The bodies of events as types, and the JSON Schema that is made of them.

``bodies.py`` builds these types. ``validation.py`` checks events of others against ``schema.json``,
which programs in other languages can use, too. To change a field, or to add a type of event to
``Body``, edit it here and run ``make schema``; a test compares the file with the types.
"""

import json
import sys
from typing import Annotated, Any, Literal, NotRequired, get_args

from pydantic import ConfigDict, Field, TypeAdapter, with_config
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema
from typing_extensions import TypedDict  # before Python 3.12, pydantic takes no other one

from rlvr_ray.core.pairing import Prompt, Strategy
from rlvr_ray.core.records import Defect, Reason
from rlvr_ray.core.scoring import Confidence

VERSION: Literal[1] = 1

Text = Annotated[str, Field(pattern=r"^[^\u0000]*$", description="valid Unicode without NUL")]
Uuid = Annotated[
    str,
    Field(
        max_length=36,
        pattern="^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
        json_schema_extra={"format": "uuid"},
        description="UUID in lower case",
    ),
]
Time = Annotated[
    str,
    Field(
        max_length=35,
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}"
        r"(\.[0-9]{1,9})?(Z|\+00:00)$",
        json_schema_extra={"format": "date-time"},
        description="UTC, ISO 8601",
    ),
]
Score = Annotated[float, Field(ge=0, le=1, description="from 0 (worst) to 1 (best)")]
Count = Annotated[int, Field(ge=0)]
Milliseconds = Annotated[int, Field(ge=0, le=2**53 - 1)]

AnswerId = Annotated[Uuid, Field(description="event_id of the answer.generated")]
Temperature = Annotated[float, Field(ge=0, description="sampling temperature")]
Model = Annotated[Text, Field(description="the model that wrote the answer")]
Seed = Annotated[int, Field(ge=0, le=2**31 - 1, description="sampling seed")]
FinishReason = Annotated[
    Text,
    Field(
        description="stop, length where the token limit cut the answer, unknown where the server "
        "did not say"
    ),
]
ReasoningChars = Annotated[
    int,
    Field(ge=0, description="characters of reasoning that the model wrote besides the answer"),
]
Faithfulness = Annotated[
    Score | None,
    Field(
        description="part of the answer's claims that the contexts support; null where nobody "
        "measured it"
    ),
]
Relevancy = Annotated[
    Score | None,
    Field(description="how well the answer answers the question; null where nobody measured it"),
]
DefectName = Annotated[
    str | None,
    Field(
        examples=[defect.value for defect in Defect],
        description="what is wrong with the answer; null or left out where nothing is known to be; "
        "later versions may add some",
    ),
]
References = Annotated[
    list[Text],
    Field(description="right answers, any of them; empty where the question came with none"),
]

_documented = with_config(ConfigDict(use_attribute_docstrings=True))


@_documented
class Passage(TypedDict):
    """A retrieved passage."""

    content: Text
    """text of the passage"""
    score: Annotated[float, Field(ge=-1, le=1)]
    """cosine of passage and question"""
    metadata: dict[str, Text | int]
    """where it is from: document_id, source, chunk_index, start (character offset)"""


Contexts = Annotated[
    list[Passage], Field(description="the passages that the model saw, best first")
]


@_documented
class Usage(TypedDict):
    """Tokens of an answer."""

    prompt_tokens: Count
    """tokens that the model read"""
    completion_tokens: Count
    """tokens that the model wrote"""
    cached_tokens: Count
    """tokens of the prompt that were not computed again"""


@_documented
class Judge(TypedDict):
    """What produced the scores; a field is empty where no such thing took part."""

    faithfulness: Text
    """method; rlvr_ray's own are ragas (an LLM's verdicts), logprob (their probabilities) and
    grounded (containment)"""
    relevancy: Text
    """method; rlvr_ray's own are ragas and logprob"""
    model: Text
    """the LLM that judged"""
    embedder: Text
    """the embedding model"""
    version: Text
    """version of prompts and method"""
    engine: NotRequired[Text]
    """where the LLM ran, such as llamacpp or openai; may be left out"""


@_documented
class Assessment(TypedDict):
    """What one verifier said of the answer."""

    verifier: Text
    """its name in the settings, or external"""
    weight: Annotated[float, Field(ge=0)]
    """its share of the score; 0 is a check that does not count"""
    score: Score
    """what it gives the answer"""
    faithfulness: Faithfulness
    relevancy: Relevancy
    defect: NotRequired[DefectName]
    detail: Text
    """one sentence for people, or empty"""
    judge: Judge
    """what produced the scores"""
    prompt_tokens: Count
    """tokens that its language model read"""
    completion_tokens: Count
    """tokens that its language model wrote"""
    cached_tokens: Count
    """tokens that it read and that were not computed again"""
    duration_ms: Milliseconds
    """milliseconds that it took"""


Assessments = Annotated[
    list[Assessment], Field(min_length=1, description="what each verifier said of the answer")
]


@_documented
class Provenance(TypedDict):
    """How one answer of the pair came about and what it scored."""

    event_id: AnswerId
    model: Model
    seed: Seed
    finish_reason: FinishReason
    reasoning_chars: NotRequired[ReasoningChars]
    faithfulness: Faithfulness
    relevancy: Relevancy
    score: Score
    """mean of the assessments' scores by their weights"""
    defect: NotRequired[DefectName]
    assessments: Assessments


@_documented
class Rule(TypedDict):
    """The rule of pairing in force."""

    min_score_diff: Annotated[float, Field(gt=0, le=1)]
    """least margin of a pair, inclusive"""
    min_chosen_score: Score
    """least score of the better answer, inclusive"""
    min_chosen_faithfulness: NotRequired[Score]
    """least faithfulness of the better answer, inclusive, where it has one; may be left out"""
    min_chosen_relevancy: NotRequired[Score]
    """least relevancy of the better answer, inclusive, where it has one; may be left out"""
    rejected_needs_defect: NotRequired[bool]
    """whether something must be known to be wrong with the worse answer; may be left out"""
    quality_filter: bool
    """whether a very short chosen answer is refused"""
    prompt: Prompt
    """what the prompt of a pair is: the bare question, or with its contexts"""
    strategy: NotRequired[Annotated[str, Field(examples=list(get_args(Strategy)))]]
    """whom the best answer is set against; may be left out"""
    max_length_ratio: NotRequired[Annotated[float, Field(ge=0)]]
    """most times that one answer is as long as the other; 0 where any will do"""
    version: NotRequired[Annotated[int, Field(ge=1)]]
    """version of the rule; 1 where it is left out"""


@_documented
class PairMetadata(TypedDict):
    """Where a pair comes from."""

    chosen_temp: Temperature
    rejected_temp: Temperature
    created_at: Time
    """when the pair was decided; its month names the file"""
    batch_id: Uuid
    """the batch"""
    correlation_id: Text
    """the caller's own id of the request"""
    question: Text
    """what was asked"""
    references: References
    prompt_version: Text
    """which prompt the model got"""
    num_candidates: Annotated[int, Field(ge=2)]
    """candidates of the batch"""
    chosen_provenance: Provenance
    rejected_provenance: Provenance
    rule: Rule
    contexts: Contexts


@_documented
class Pair(TypedDict):
    """The row of the file dpo_data_YYYYMM.jsonl."""

    prompt: Text
    """the bare question, or the full prompt with its contexts"""
    chosen: Text
    """the better answer"""
    rejected: Text
    """the worse answer"""
    score_diff: Annotated[float, Field(gt=0, le=1)]
    """chosen_score minus rejected_score"""
    chosen_score: Score
    """score of the better answer"""
    rejected_score: Score
    """score of the worse answer"""
    metadata: PairMetadata


@_documented
class AnswerMetadata(TypedDict):
    """How an answer came about."""

    temperature: Temperature
    candidate_index: Count
    """place within the batch, from 0"""
    total_candidates: Annotated[int, Field(ge=1)]
    """candidates of the batch"""
    model: Model
    seed: Seed
    finish_reason: FinishReason
    reasoning_chars: NotRequired[ReasoningChars]
    usage: Usage


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


@_documented
class AnswerGenerated(Named, OfBatch):
    """A candidate answer was recorded; one for each candidate of a batch."""

    event_type: Literal["answer.generated"]
    """what happened"""
    answer: Text
    """what the model wrote"""
    contexts: Contexts
    references: References
    metadata: AnswerMetadata


@_documented
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


@_documented
class VerificationFailed(Named, OfBatch):
    """No judge could score a candidate answer; it has no scores."""

    event_type: Literal["verification.failed"]
    """what happened"""
    answer_event_id: AnswerId
    reason: Text
    """why, one sentence for people"""
    attempts: Annotated[int, Field(ge=1)]
    """how often it was tried"""


@_documented
class PairCreated(Named, OfBatch):
    """A batch ended in a preference pair."""

    event_type: Literal["pair.created"]
    """what happened"""
    pair: Pair


@_documented
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


@_documented
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


if __name__ == "__main__":
    sys.stdout.write(json.dumps(schema(), indent=2) + "\n")
