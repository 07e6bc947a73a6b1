"""How answers are verified, and which of them make a pair."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, TypeAdapter, WrapValidator, field_validator, model_validator

from rlvr_ray.core.pairing import PairingRule, Strategy
from rlvr_ray.settings.section import Section


class VerifierSettings(Section):
    name: str = Field(pattern="^[a-z][a-z0-9_-]{0,63}$")
    """An entry point of the group rlvr_ray.verifiers."""
    weight: float = Field(default=1.0, ge=0, le=1000, allow_inf_nan=False)
    """Its share of the score; 0 makes it a check only."""
    options: dict[str, Any] = Field(default={})
    """What it takes; see docs/verification.md."""


_LIST: TypeAdapter[tuple[VerifierSettings, ...]] = TypeAdapter(
    Annotated[tuple[VerifierSettings, ...], Field(min_length=1)]
)


def _verifiers(value: Any, handler: object) -> Any:
    """``auto``, or a list in which ``grounded`` stands for ``{name: grounded}``.

    By hand, since of a union an error would name each branch.
    """
    if value == "auto":
        return value
    if isinstance(value, str):
        raise ValueError(f"auto, or a list such as [{value}]")
    if isinstance(value, list | tuple):
        value = [{"name": item} if isinstance(item, str) else item for item in value]
    return _LIST.validate_python(value)


class VerificationSettings(Section):
    source: Literal["internal", "external"] = "internal"
    """Who verifies: this system, or programs that answer `answer.generated` on the broker."""
    external_timeout_s: float = Field(default=3600, gt=0)
    """Seconds from recording until an answer that nobody else verified counts as failed."""
    verifiers: Annotated[
        Literal["auto"] | tuple[VerifierSettings, ...], WrapValidator(_verifiers)
    ] = "auto"
    """Who scores: names, or `{name, weight, options}`. Shipped: `ragas`, `logprob`, `grounded`,
    `exact`, `numeric`, `regex`, `json_schema`. `auto`: `logprob` where the judge has 2.5 billion
    parameters or more and gives log-probabilities, `ragas` where it gives none; else `grounded`,
    which asks no language model."""
    max_disagreement: float = Field(default=0.7, gt=0, le=1)
    """Verifiers that count and are further apart than this leave an answer unscored."""
    abstention: Literal["contexts", "ragas", "unscored"] = "contexts"
    """An answer that says the passages do not say: right where they do not; or as RAGAS scores it
    (0, or no score); or always without a score."""
    min_retrieval_score: float = Field(default=0.3, ge=-1, le=1)
    """Contexts whose best cosine with the question is lower do not answer it."""
    screening: bool = True
    """Refuse answers that talk to the judge or say nothing; take such sentences out of contexts."""
    min_answer_chars: int = Field(default=1, ge=1)
    """Letters and digits that an answer must have; below, its score is 0."""
    batches: int = Field(default=2, ge=1)
    """Batches verified at once."""
    timeout_s: float = Field(default=600, gt=0)
    """Of one batch's verification, waiting included; past it the attempt counts as failed."""
    max_attempts: int = Field(default=3, ge=1)
    """Attempts before a verification that times out is recorded as failed."""

    @property
    def chosen(self) -> tuple[VerifierSettings, ...]:
        """The verifiers, which must be settled: see ``selection.choose``."""
        assert self.verifiers != "auto", "the verifiers are not chosen yet"
        return self.verifiers

    @model_validator(mode="after")
    def _one_counts(self) -> Self:
        if self.verifiers == "auto":
            return self
        names = [verifier.name for verifier in self.verifiers]
        if len(set(names)) < len(names):
            raise ValueError("verifiers: each name once")
        if not any(verifier.weight for verifier in self.verifiers):
            raise ValueError("verifiers: at least one needs a weight above 0")
        return self


class DpoSettings(Section):
    min_score_diff: float = Field(default=0.05, gt=0, le=1)
    """Least margin between chosen and rejected, inclusive."""
    min_chosen_score: float = Field(default=0.6, ge=0, le=1)
    """Least score of the chosen answer, inclusive."""
    min_chosen_faithfulness: float = Field(default=0.75, ge=0, le=1)
    """Least faithfulness of the chosen answer, inclusive, where it has one."""
    min_chosen_relevancy: float = Field(default=0.6, ge=0, le=1)
    """Least relevancy of the chosen answer, inclusive, where it has one."""
    rejected_needs_defect: bool = True
    """Whether something must be known to be wrong with the rejected answer; or else a lower score
    is enough."""
    quality_filter: bool = False
    """Also refuse a chosen answer of under three words."""
    prompt: Literal["question", "rag"] = "question"
    """What a pair's prompt is: the bare question, or the full prompt with its contexts."""
    strategy: Strategy = "best_worst"
    """Which of the answers that make a pair with the best is rejected: the worst, a random one, or
    (`best_low`) the one nearest to the batch's mean less two standard deviations."""
    max_length_ratio: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Pairs whose longer answer has more than this many times the characters of the shorter are
    refused; 0 means that length does not matter."""

    @field_validator("max_length_ratio")
    @classmethod
    def _longer_to_shorter(cls, ratio: float) -> float:
        if 0 < ratio < 1:
            raise ValueError("the longer answer to the shorter: 1 or more; 0 for any")
        return ratio

    def rule(self) -> PairingRule:
        return PairingRule(
            min_score_diff=self.min_score_diff,
            min_chosen_score=self.min_chosen_score,
            min_chosen_faithfulness=self.min_chosen_faithfulness,
            min_chosen_relevancy=self.min_chosen_relevancy,
            rejected_needs_defect=self.rejected_needs_defect,
            quality_filter=self.quality_filter,
            prompt=self.prompt,
            strategy=self.strategy,
            max_length_ratio=self.max_length_ratio,
        )
