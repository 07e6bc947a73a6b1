"""Labelled data from JSONL: which of two answers is right, or whether one answer is.

A row is a pair

    {"question": …, "context": …, "right_answer": …, "wrong_answer": …}

or a labelled answer

    {"question": …, "context": …, "answer": …, "supported": true}

Other names of these fields are accepted (``_NAMES``), so that HaluEval, BEGIN and rlvr_ray's own
``dpo_data`` files can be read directly. A file has pairs or answers, not both. ``kind`` may divide
rows into kinds.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from rlvr_ray.core.errors import InputError
from rlvr_ray.core.fields import clean_text

#: Names under which a field is looked for, in this order.
_NAMES = {
    "question": ("question", "message"),
    "contexts": ("contexts", "context"),
    "references": ("references", "reference"),
    "right": ("right_answer", "chosen"),
    "wrong": ("wrong_answer", "rejected"),
    "answer": ("answer", "response"),
    "label": ("supported", "label"),
}
#: These may also stand in a row's ``metadata``, where our own rows have them.
_IN_METADATA = ("question", "contexts", "references")
#: Of a value that an error message quotes.
_QUOTED_CHARS = 40


class Kind(StrEnum):
    """What a row holds."""

    PAIRS = "pairs"
    ANSWERS = "answers"


_WANTED = {
    Kind.PAIRS: "a pair (right_answer and wrong_answer, or chosen and rejected)",
    Kind.ANSWERS: "a labelled answer (answer or response, with supported or label)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer and whether it is right."""

    text: str
    right: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A question, what is to answer it from, and its labelled answers: of a pair the right first.

    ``line`` is its place in the file, from 1; ``kind`` is empty where the row has none.
    """

    line: int
    kind: str
    question: str
    contexts: tuple[str, ...]
    references: tuple[str, ...]
    answers: tuple[Answer, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """What a file holds, or its first ``limit`` rows; ``sha256`` is that of the whole file."""

    file: str
    sha256: str
    limit: int | None
    kind: Kind
    rows: tuple[Row, ...]

    @property
    def answers(self) -> list[Answer]:
        """Those of all rows, in order."""
        return [answer for row in self.rows for answer in row.answers]

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Right and wrong answer of each pair, by their places among all answers."""
        if self.kind is not Kind.PAIRS:
            return []
        return [(place, place + 1) for place in range(0, len(self.answers), 2)]


def read(path: Path, limit: int | None = None) -> Labelled:
    """The first ``limit`` rows, or all; blank lines are left out.

    Raises InputError, which names file and line, for what is no labelled data.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}:{line}: not UTF-8; save the file as UTF-8") from None
    rows: list[Row] = []
    kind: Kind | None = None
    for number, json_text in enumerate(text.split("\n"), 1):
        if not json_text.strip():
            continue
        if limit is not None and len(rows) >= limit:
            break
        try:
            data = _loads(json_text)
            found = _kind(data)
            if kind not in (None, found):
                raise InputError(
                    f"this is {_WANTED[found]}, but line {rows[0].line} is {_WANTED[kind]}; "
                    "put each kind into a file of its own"
                )
            kind = found
            rows.append(_row(number, data, found))
        except InputError as error:
            raise InputError(f"{path}:{number}: {error}") from None
    if kind is None:
        raise InputError(f"{path} holds no rows; each line must be {' or '.join(_WANTED.values())}")
    digest = hashlib.sha256(content).hexdigest()
    return Labelled(file=path.name, sha256=digest, limit=limit, kind=kind, rows=tuple(rows))


def _loads(line: str) -> Mapping[str, Any]:
    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"not JSON: {error}; each line must be one JSON object") from None
    if not isinstance(data, dict):
        raise InputError(f"a JSON object is wanted, not {_quoted(data)}")
    return data


def _kind(data: Mapping[str, Any]) -> Kind:
    kinds = [
        kind
        for kind, fields in ((Kind.PAIRS, ("right", "wrong")), (Kind.ANSWERS, ("answer", "label")))
        if all(_find(data, field)[1] is not None for field in fields)
    ]
    if len(kinds) == 2:
        raise InputError("both a pair and a labelled answer; take out the fields of one of them")
    if not kinds:
        has = ", ".join(map(ascii, data)) or "nothing"
        raise InputError(f"neither {' nor '.join(_WANTED.values())}; the row has {has[:200]}")
    return kinds[0]


def _row(line: int, data: Mapping[str, Any], kind: Kind) -> Row:
    question, contexts = _text(data, "question"), _texts(data, "contexts")
    references = _texts(data, "references")
    if not contexts and not references:
        raise InputError("there is nothing to judge by; add context (or contexts) or reference")
    labels = {"right": True, "wrong": False} if kind is Kind.PAIRS else {"answer": _label(data)}
    answers = tuple(Answer(text=_text(data, field), right=labels[field]) for field in labels)
    if len({answer.text for answer in answers}) < len(answers):
        raise InputError("right and wrong answer are the same; take the row out")
    return Row(
        line=line,
        kind=data["kind"] if isinstance(data.get("kind"), str) else "",
        question=question,
        contexts=contexts,
        references=references,
        answers=answers,
    )


def _find(data: Mapping[str, Any], field: str) -> tuple[str, Any]:
    """The name under which a row has a field, and its value; None where it has none."""
    places = [data]
    if field in _IN_METADATA and isinstance(data.get("metadata"), dict):
        places.append(data["metadata"])
    for place in places:
        for name in _NAMES[field]:
            if place.get(name) is not None:
                return name, place[name]
    return _NAMES[field][0], None


def _text(data: Mapping[str, Any], field: str) -> str:
    name, value = _find(data, field)
    if value is None:
        raise InputError(f"{' or '.join(_NAMES[field])} is missing")
    return _clean(name, value)


def _texts(data: Mapping[str, Any], field: str) -> tuple[str, ...]:
    """A text, or a list of texts and of objects with a ``content``; none where it is missing."""
    name, value = _find(data, field)
    if value is None:
        return ()
    entries: Sequence[Any] = value if isinstance(value, list) else [value]
    return tuple(
        _clean(name, entry.get("content") if isinstance(entry, dict) else entry)
        for entry in entries
    )


def _clean(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InputError(f"{name} must be text, not {_quoted(value)}")
    try:
        return clean_text(name, value)
    except ValueError as error:
        raise InputError(str(error)) from None


def _label(data: Mapping[str, Any]) -> bool:
    name, value = _find(data, "label")
    if value not in (0, 1):  # True and False are among them
        raise InputError(f"{name} must be true, false, 0 or 1, not {_quoted(value)}")
    return bool(value)


def _quoted(value: Any) -> str:
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    text = json.dumps(value)
    return text if len(text) <= _QUOTED_CHARS else f"{text[:_QUOTED_CHARS]} …"
