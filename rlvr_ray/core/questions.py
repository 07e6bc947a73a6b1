"""Questions from files: valid questions, their ids, and their order.

A text is valid in a file if it is valid in a request.
"""

import heapq
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from typing import Literal
from uuid import UUID

from rlvr_ray.core import ids
from rlvr_ray.core.fields import clean_text
from rlvr_ray.core.spelling import displayed

#: Of a question, and of a reference.
MAX_QUESTION_CHARS = 8_000
MAX_ID_CHARS = 200
_SHOWN_CHARS = 200


#: Why a row, or a whole file, is no question.
Refusal = Literal[
    "malformed",  # not what its format wants, or a value of the wrong type
    "empty",  # no question in it
    "too_long",
    "wrong_encoding",  # not UTF-8
    "missing_column",
    "duplicate",  # the run has it already
    "unreadable",  # not there, not allowed, cut off, out of reach
    "unknown_format",  # the file's name does not tell
]


class Unfit(ValueError):
    """A value, a row or a file that is refused; the message says what to do."""

    def __init__(self, kind: Refusal, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A row that is no question; where ``line`` is None, a whole file."""

    source: str
    line: int | None
    kind: Refusal
    message: str  #: one line that says what to do; nothing of what stands in the file

    def __str__(self) -> str:
        place = self.source if self.line is None else f"{self.source}:{self.line}"
        return f"{place}: {self.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question of a bulk run. One that exists may be asked; else construction raises Unfit."""

    text: str
    question_id: str | None = None  #: what its file calls it
    reference: str | None = None  #: the right answer
    source: str  #: path or URI of its file, without secrets
    line: int  #: from 1: the line where it starts, or a Parquet file's row

    def __post_init__(self) -> None:
        _check("question", self.text, MAX_QUESTION_CHARS)
        if self.reference is not None:
            _check("reference", self.reference, MAX_QUESTION_CHARS)
        if self.question_id is not None:
            _check("id", self.question_id, MAX_ID_CHARS)

    def batch_id(self, run: str) -> UUID:
        """The batch that it makes in a run, wherever it stands and however often it is read.

        Of its id, where it has one. Otherwise of what a reader sees of text and reference: white
        space is one space, invisible characters are none, letters have their accents composed.
        """
        if self.question_id is not None:
            kind, content = "id", self.question_id
        else:
            reference = None if self.reference is None else displayed(self.reference)
            kind, content = "content", json.dumps([displayed(self.text), reference])
        # Hashed, since parts of a fixed length cannot run together, whatever a run is called.
        return ids.derive("question", run, kind, sha256(content.encode()).hexdigest())


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Which columns (JSONL: fields) hold what. One that is named must be there."""

    question: str = "question"
    question_id: str | None = None  #: None: ``id``, where there is such a column
    reference: str | None = None  #: None: ``reference``, where there is such a column

    def places(self, names: Sequence[str]) -> tuple[int, int | None, int | None]:
        """Where in the names question, id and reference stand.

        Raises Unfit for a column that is not there, or is there twice.
        """
        question = _place(names, self.question)
        assert question is not None  # it is never optional
        return (
            question,
            _place(names, self.question_id or "id", optional=self.question_id is None),
            _place(names, self.reference or "reference", optional=self.reference is None),
        )


def filled(text: str) -> str:
    """Return the text, or raise ValueError if it is blank or no file could hold it."""
    if not displayed(text):
        raise ValueError("must not be blank")
    return clean_text("it", text)


def question(
    source: str, line: int, text: object, question_id: object = None, reference: object = None
) -> Question | Refused:
    """The question that a row's values make, or why they make none.

    An id may be a whole number. An id or a reference that is None or blank is none.
    """
    try:
        if text is None:
            raise Unfit("empty", "the question is missing; write one, or take the row out")
        if isinstance(question_id, int) and not isinstance(question_id, bool):
            question_id = str(question_id)
        return Question(
            source=source,
            line=line,
            text=_text("question", text),
            question_id=_optional("id", question_id),
            reference=_optional("reference", reference),
        )
    except Unfit as unfit:
        return Refused(source=source, line=line, kind=unfit.kind, message=str(unfit))


def chosen(
    questions: Iterable[Question], *, limit: int | None = None, shuffle_seed: int | None = None
) -> Iterator[Question]:
    """The first ``limit`` questions, in their order or, with a seed, in a random one.

    The random order depends on the seed and the questions only, not on the order of the files,
    and further questions do not change it among the others. It reads all questions before it
    gives the first, and holds ``limit`` of them, or all where there is no limit.
    """
    if shuffle_seed is None:
        return islice(questions, limit)

    def rank(question: Question) -> int:
        return ids.derive("shuffle", shuffle_seed, question.batch_id("")).int

    if limit is None:
        return iter(sorted(questions, key=rank))
    return iter(heapq.nsmallest(limit, questions, key=rank))


def _place(names: Sequence[str], name: str, *, optional: bool = False) -> int | None:
    found = [place for place, known in enumerate(names) if known == name]
    if len(found) > 1:
        raise Unfit("malformed", f"there are {len(found)} columns {name!a}; rename all but one")
    if found:
        return found[0]
    if optional:
        return None
    there = ", ".join(map(ascii, names))
    if len(there) > _SHOWN_CHARS:
        there = f"{there[:_SHOWN_CHARS]} …"
    raise Unfit(
        "missing_column",
        f"there is no column {name!a}, only {there or 'nothing'}; "
        "say which column it is, or rename it",
    )


def _optional(name: str, value: object) -> str | None:
    if value is None or (isinstance(value, str) and not displayed(value)):
        return None
    return _text(name, value)


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        wanted = "text or a whole number" if name == "id" else "text"
        raise Unfit("malformed", f"the {name} must be {wanted}, not {_named(value)}")
    return value


def _named(value: object) -> str:
    match value:
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case list():
            return "a list"
        case dict():
            return "an object"
        case _:
            return type(value).__name__


def _check(name: str, text: str, longest: int) -> None:
    if len(text) > longest:
        raise Unfit(
            "too_long",
            f"the {name} has {len(text):,} characters; shorten it to {longest:,} at most",
        )
    try:
        filled(text)
    except ValueError as error:
        kind: Refusal = "malformed" if displayed(text) else "empty"
        raise Unfit(kind, f"{name}: {error}; mend it, or take the row out") from None
