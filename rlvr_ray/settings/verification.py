"""Settings of verification, and of the pairing rule."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, TypeAdapter, WrapValidator, field_validator, model_validator

from rlvr_ray.core.pairing import PairingRule, Strategy
from rlvr_ray.settings.section import Section


class VerifierSettings(Section):
    name: str = Field(pattern="^[a-z][a-z0-9_-]{0,63}$")
    """A built-in verifier, or an entry point of the group rlvr_ray.verifiers."""
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
    """internal: rlvr_ray verifies; external: other programs do, by `answer.generated` events."""
    external_timeout_s: float = Field(default=3600, gt=0)
    """external: seconds from recording until an answer without a verification counts as failed."""
    verifiers: Annotated[
        Literal["auto"] | tuple[VerifierSettings, ...], WrapValidator(_verifiers)
    ] = "auto"
    """Verifiers that score answers: names, or `{name, weight, options}`. `auto`: with a judge of
    2.5 billion parameters or more, `logprob` if it gives log-probabilities, else `ragas`; with a
    smaller judge, `grounded`, which asks no language model."""
    max_disagreement: float = Field(default=0.7, gt=0, le=1)
    """If verifiers that count differ by more than this, the answer has no score."""
    abstention: Literal["contexts", "ragas", "unscored"] = "contexts"
    """Score of an answer that abstains. contexts: right if the passages do not answer the question;
    ragas: as RAGAS scores it (0, or no score); unscored: never a score."""
    min_retrieval_score: float = Field(default=0.3, ge=-1, le=1)
    """Contexts whose best cosine with the question is below this do not answer it."""
    screening: bool = True
    """Refuse answers that address the judge or are empty; remove such sentences from contexts."""
    min_answer_chars: int = Field(default=1, ge=1)
    """Letters and digits that an answer must have; with fewer, its score is 0."""
    batches: int = Field(default=2, ge=1)
    """Batches verified at the same time."""
    timeout_s: float = Field(default=600, gt=0)
    """Limit of one attempt to verify a batch, including waiting, in seconds."""
    max_attempts: int = Field(default=3, ge=1)
    """Attempts that may time out before a verification is recorded as failed."""

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
    """Smallest margin between chosen and rejected, inclusive."""
    min_chosen_score: float = Field(default=0.6, ge=0, le=1)
    """Smallest score of the chosen answer, inclusive."""
    min_chosen_faithfulness: float = Field(default=0.75, ge=0, le=1)
    """Smallest faithfulness of the chosen answer, inclusive, if it has one."""
    min_chosen_relevancy: float = Field(default=0.6, ge=0, le=1)
    """Smallest relevancy of the chosen answer, inclusive, if it has one."""
    rejected_needs_defect: bool = True
    """true: the rejected answer must have a known defect; false: a lower score is enough."""
    quality_filter: bool = False
    """Also refuse a chosen answer with fewer than three words."""
    prompt: Literal["question", "rag"] = "question"
    """A pair's prompt. question: the question alone; rag: the full prompt with its contexts."""
    strategy: Strategy = "best_worst"
    """Which answer is rejected, of those that make a pair with the chosen one: the worst
    (`best_worst`), a random one (`best_random`), or the one nearest to the batch's mean minus two
    standard deviations (`best_low`)."""
    max_length_ratio: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Refuse pairs whose longer answer has more than this many times the characters of the shorter
    one; 0 means no limit."""

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
