"""Bodies and headers of requests, and their limits."""

from typing import Annotated, Any

from fastapi import Header
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from rlvr_ray.core.questions import filled
from rlvr_ray.settings import (
    DEFAULT_CANDIDATES,
    MAX_CANDIDATES,
    MAX_QUESTION_CHARS,
    MAX_TOP_K,
    Temperature,
)

MAX_REFERENCES = 20


def _listed(given: Any) -> list[Any]:
    if isinstance(given, str):
        return [given]
    if not isinstance(given, list):
        raise ValueError("must be a text or a list of texts")
    return given


Text = Annotated[str, AfterValidator(filled)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Reference = Annotated[Text, Field(max_length=MAX_QUESTION_CHARS)]
#: One text is taken for a list of one, not as another form: errors then name ``reference.0``.
References = Annotated[
    list[Reference],
    Field(max_length=MAX_REFERENCES),
    BeforeValidator(
        _listed,
        json_schema_input_type=Reference
        | Annotated[list[Reference], Field(max_length=MAX_REFERENCES)],
    ),
]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class QuestionBody(_Body):
    """One question."""

    question: Annotated[Text, Field(max_length=MAX_QUESTION_CHARS)]
    top_k: int | None = Field(default=None, ge=1, le=MAX_TOP_K)
    correlation_id: Annotated[Text, Field(max_length=200)] | None = None
    seed: Seed | None = None
    reference: References | None = None
    """The right answer, or several of which any is right."""


class MultiCandidateBody(QuestionBody):
    """A question and how many answers it gets."""

    num_candidates: int = Field(default=DEFAULT_CANDIDATES, ge=2, le=MAX_CANDIDATES)
    temperatures: list[Temperature] | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _one_each(self) -> "MultiCandidateBody":
        if self.temperatures and len(self.temperatures) > self.num_candidates:
            raise ValueError("more temperatures than candidates")
        return self


Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        description=(
            "Names this request: sent again, it changes nothing and has the same result, while the "
            "first one runs and after restarts, with and without `Prefer`. With another route or "
            "any other field of the body, what is left out included, the key is refused with 422 "
            "and `error: KeyReused`."
        ),
    ),
]
Prefer = Annotated[str | None, Header(description="`respond-async`: reply at once, with 202.")]
Traceparent = Annotated[
    str | None, Header(description="Your trace; the trace of the batch links to it.")
]
