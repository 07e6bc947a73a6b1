"""Rows of the datasets as pairs and answers to train on.

What comes in are rows of ``dataset.rows`` that went through a file; ValueError says what is wrong
with one. ``choosing`` makes pairs of answers.
"""

import sys
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any, Literal, NamedTuple

from rlvr_ray.core.fields import clean_text
from rlvr_ray.core.records import Context, Defect
from rlvr_ray.core.spelling import canonical_question, letters
from rlvr_ray.generation.prompts import rag_messages

#: Which pairs a batch gives: the one that was decided, or those of the rule in force now.
Pairs = Literal["decided", "best_worst", "best_random", "best_low", "all"]
PromptStyle = Literal["question", "rag-messages"]
#: What is never in train and eval at once.
SplitBy = Literal["document", "question"]
Messages = list[dict[str, str]]


class Judged(NamedTuple):
    """Who gave a score; empty texts where no such thing took part."""

    verifier: str
    model: str
    engine: str
    faithfulness: str
    relevancy: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What pairs and answers have in common."""

    batch_id: str
    question: str
    contexts: tuple[Context, ...]
    prompt_version: str
    models: tuple[str, ...]  #: that wrote the answers
    judges: tuple[Judged, ...]

    def prompt(self, style: PromptStyle) -> Messages:
        """The question alone, or the chat that the model answered, contexts included."""
        if style == "question":
            return [{"role": "user", "content": self.question}]
        return [asdict(message) for message in rag_messages(self.question, self.contexts)]

    def links(self, by: SplitBy = "document") -> Iterator[str]:
        """Rows with one of these in common stand on the same side of the split.

        The question, whatever its spelling; by document also the documents of its passages, and
        the passages themselves, of which a document under another name may have a copy.
        """
        yield f"question {unicodedata.normalize('NFKC', canonical_question(self.question))}"
        if by == "question":
            return
        for context in self.contexts:
            if text := letters(context.content):
                yield f"passage {sha256(text.encode()).hexdigest()}"
            for name in ("document_id", "source"):
                if context.metadata.get(name):
                    yield f"{name} {context.metadata[name]}"

    @property
    def documents(self) -> set[str]:
        """The documents that its passages are of, by id or name; a passage of none is its own."""
        return {
            str(c.metadata.get("document_id") or c.metadata.get("source") or c.content)
            for c in self.contexts
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair(Source):
    """A row of ``dpo_data``, or two answers of a batch that make a pair."""

    chosen: str
    rejected: str
    chosen_score: float
    margin: float | None  #: None where a person turned it round
    rule: tuple[tuple[str, str], ...]  #: thresholds by name
    defect: Defect | None  #: of the rejected one; None where it is not known
    cut_off: tuple[bool, bool]  #: whether the token limit cut the chosen, and the rejected one
    indices: tuple[int, int] | None = None  #: of the answers, where it was not decided then

    @property
    def answers(self) -> tuple[str, ...]:
        """Both texts."""
        return self.chosen, self.rejected

    @property
    def score(self) -> float:
        """Of the chosen one."""
        return self.chosen_score


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Source):
    """A row of ``training_data``; ``score`` is None where the verification failed."""

    event_id: str
    index: int
    answer: str
    score: float | None
    faithfulness: float | None
    relevancy: float | None
    defect: Defect | None
    temperature: float
    finish_reason: str
    num_candidates: int  #: answers of its batch
    outcome: str  #: ``pair``, or why its batch made none

    @property
    def cut_off(self) -> tuple[bool]:
        """Whether the token limit cut it."""
        return (self.finish_reason == "length",)

    @property
    def answers(self) -> tuple[str, ...]:
        """The one text."""
        return (self.answer,)


@dataclass(frozen=True, slots=True, kw_only=True)
class NoPair(Source):
    """A batch that made no pair, by its scored answers; the best one comes first."""

    answers: tuple[str, ...]
    scores: tuple[float, ...]
    reason: str
    cut_off: tuple[bool, ...]  #: which of the answers the token limit cut

    @property
    def score(self) -> float:
        """Of the best answer."""
        return self.scores[0]

    @property
    def answer(self) -> str:
        """The best one."""
        return self.answers[0]


def pair(row: Any) -> Pair:
    """Read a row of ``dpo_data``; raises ValueError saying what it lacks."""
    metadata = _part(row, "metadata")
    sides = [_part(metadata, f"{side}_provenance") for side in ("chosen", "rejected")]
    return Pair(
        **_source(metadata, _part(metadata, "contexts", list), sides),
        question=_text(metadata, "question"),
        chosen=_text(row, "chosen"),
        rejected=_text(row, "rejected"),
        chosen_score=_number(row, "chosen_score"),
        margin=_number(row, "score_diff"),
        rule=tuple(sorted((name, str(v)) for name, v in _part(metadata, "rule").items())),
        defect=_defect(sides[1]),
        cut_off=(_is_cut(sides[0]), _is_cut(sides[1])),
    )


def answer(row: Any) -> Answer:
    """Read a row of ``training_data``; raises ValueError saying what it lacks."""
    metadata, verification = _part(row, "metadata"), _part(row, "verification")
    return Answer(
        **_source(metadata, _part(row, "contexts", list), [{**verification, **metadata}]),
        question=_text(row, "question"),
        event_id=_text(metadata, "event_id"),
        index=int(_number(metadata, "candidate_index")),
        answer=_text(row, "answer"),
        score=_or_none(verification, "score"),
        faithfulness=_or_none(verification, "faithfulness"),
        relevancy=_or_none(verification, "relevancy"),
        defect=_defect(verification),
        temperature=_number(metadata, "temperature"),
        finish_reason=_text(metadata, "finish_reason"),
        num_candidates=int(_number(metadata, "num_candidates")),
        outcome=_text(metadata, "outcome"),
    )


def _source(
    metadata: Mapping[str, Any], contexts: Sequence[Any], sides: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    assessments = [each for side in sides for each in _part(side, "assessments", list)]
    return {
        "batch_id": _text(metadata, "batch_id"),
        "prompt_version": _text(metadata, "prompt_version"),
        "contexts": tuple(map(_context, contexts)),
        "models": tuple(dict.fromkeys(_text(side, "model") for side in sides)),
        "judges": tuple(dict.fromkeys(map(_judged, assessments))),
    }


def _context(value: Any) -> Context:
    score = _number(value, "score")
    metadata = {k: v for k, v in _part(value, "metadata").items() if v is not None}
    return Context(content=_text(value, "content"), score=score, metadata=metadata)


def _judged(value: Any) -> Judged:
    judge = _part(value, "judge")
    names = ("model", "engine", "faithfulness", "relevancy", "version")
    return Judged(_text(value, "verifier"), *(_text(judge, name) for name in names))


def _part(row: Any, name: str, kind: type = dict) -> Any:
    value = row.get(name) if isinstance(row, dict) else None
    if not isinstance(value, kind):
        what = "an object" if kind is dict else "a list"
        raise ValueError(f"{name} is missing or is not {what}")
    return value


def _text(row: Any, name: str) -> str:
    value = row.get(name) if isinstance(row, dict) else None
    if not isinstance(value, str):
        raise ValueError(f"{name} is missing or is not text")
    return clean_text(name, value)


def _number(row: Any, name: str) -> float:
    value: Any = row.get(name) if isinstance(row, dict) else None
    number = isinstance(value, int | float) and not isinstance(value, bool)
    # Whole numbers can be larger than any float, and NaN is not smaller.
    if number and abs(value) <= sys.float_info.max:
        return float(value)
    raise ValueError(f"{name} is missing or is not a number")


def _or_none(row: Any, name: str) -> float | None:
    return None if row.get(name) is None else _number(row, name)


def _is_cut(row: Any) -> bool:
    return bool(row.get("finish_reason") == "length")


def _defect(row: Any) -> Defect | None:
    name = row.get("defect")
    try:
        return None if name is None else Defect(name)
    except ValueError:
        raise ValueError(f"there is no defect {name!r}") from None
