"""The rows of the dataset as types, each with its meaning and limits.

The Parquet columns (``arrow``) and the JSON Schema of events follow from them.
"""

from typing import Annotated, NotRequired, get_args

from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict  # before Python 3.12, pydantic takes no other one

from rlvr_ray.core.pairing import Prompt, Strategy
from rlvr_ray.core.records import Defect

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
        description="part of the answer's claims that the contexts support; null if no "
        "verifier measures it"
    ),
]
Relevancy = Annotated[
    Score | None,
    Field(description="how well the answer answers the question; null if no verifier measures it"),
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

documented = with_config(ConfigDict(use_attribute_docstrings=True))


class PassageSource(TypedDict):
    """What Parquet keeps of a passage's metadata."""

    document_id: str
    source: str
    chunk_index: int
    start: int


@documented
class Passage(TypedDict):
    """A retrieved passage."""

    content: Text
    """text of the passage"""
    score: Annotated[float, Field(ge=-1, le=1)]
    """cosine of passage and question"""
    metadata: Annotated[dict[str, Text | int], PassageSource]
    """where it is from: document_id, source, chunk_index, start (character offset)"""


Contexts = Annotated[
    list[Passage], Field(description="the passages that the model saw, best first")
]


@documented
class Usage(TypedDict):
    """Tokens of an answer."""

    prompt_tokens: Count
    """tokens that the model read"""
    completion_tokens: Count
    """tokens that the model wrote"""
    cached_tokens: Count
    """tokens of the prompt that were not computed again"""


@documented
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


@documented
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


@documented
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


@documented
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


@documented
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


@documented
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


@documented
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


class Statement(TypedDict):
    """A statement of an answer, and how far it is supported."""

    text: str
    verdict: float
    reason: str


class Parts(TypedDict):
    """What an assessment is made of: it stands with the answer, not with the pair."""

    statements: list[Statement]
    reverse_questions: list[str]


class AnswerVerification(TypedDict):
    """The verification of an answer, or why it has none."""

    status: str
    reason: str | None
    faithfulness: Faithfulness
    relevancy: Relevancy
    score: Score | None
    confidence: str | None
    defect: DefectName
    assessments: Annotated[list[Assessment], Parts]
    duration_ms: Milliseconds | None


class AnswerOrigin(TypedDict):
    """Where an answer comes from."""

    event_id: AnswerId
    batch_id: Uuid
    correlation_id: Text
    references: References
    candidate_index: Count
    num_candidates: Count
    temperature: Temperature
    seed: Seed
    model: Model
    finish_reason: FinishReason
    reasoning_chars: ReasoningChars
    prompt_version: Text
    generated_at: Time
    created_at: Time
    outcome: Text
    prompt_tokens: Count
    completion_tokens: Count
    cached_tokens: Count


class Answer(TypedDict):
    """The row of the file training_data_YYYYMM.jsonl."""

    question: Text
    answer: Text
    contexts: Contexts
    verification: AnswerVerification
    metadata: AnswerOrigin
