"""Pairs of a sentence and a copy with exactly one number, name or negation changed.

They measure what length and vocabulary cannot fake: both sentences are equally long and share all
words but one, and only one of them is what its passage says.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["number", "name", "negation"]
KINDS: tuple[Kind, ...] = ("number", "name", "negation")

# Sentences are cut here more plainly than by the code under test, which must not mark itself.
_BREAK = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"])|\n\s*(?:[-*+\u2022]|\d+[.)])\s+|\n\s*\n")
_NUMBER = re.compile(r"(?<![\w.,-])\d+(?:,\d{3})*(?:\.\d+)?(?![\w-]|[.,]\d)")
_NAME = re.compile(r"(?<=[a-z,] )[A-Z][a-z]{2,}(?![\w'.-])")
_NEGATION = re.compile(r"\b(?:is|are|was|were|can|could|should|will|does|do|did)\b( not\b)?")
_PROSE = re.compile(r"[\"'(]?[A-Z][^|`<>{}=\[\]\\*#]+[.!?][\"')]?")


@dataclass(frozen=True, slots=True)
class Edit:
    """A passage, one of its sentences, and the corrupted copy of that sentence."""

    kind: Kind
    passage: str
    original: str
    corrupted: str


def minimal_edits(passages: Sequence[str], *, seed: int = 0) -> list[Edit]:
    """At most one edit of each kind for each sentence of the passages; the same for a seed."""
    chance = random.Random(seed)
    words = {word for passage in passages for word in re.findall(r"\b[a-z]+", passage)}
    found = {name for passage in passages for name in _NAME.findall(passage)}
    names = sorted(name for name in found if not {name.lower(), name.lower()[:-1]} & words)
    edits: list[Edit] = []
    for passage in dict.fromkeys(passages):
        foreign = [name for name in names if name.casefold() not in passage.casefold()]
        for sentence in _sentences(passage):
            corrupted: dict[Kind, str | None] = {
                "number": _other_number(sentence, chance),
                "name": _other_name(sentence, foreign, chance),
                "negation": _negated(sentence, chance),
            }
            edits += [
                Edit(kind, passage, sentence, copy) for kind, copy in corrupted.items() if copy
            ]
    return edits


def _sentences(passage: str) -> list[str]:
    parts = (" ".join(part.split()) for part in _BREAK.split(passage))
    return [part for part in parts if 6 <= len(part.split()) <= 40 and _PROSE.fullmatch(part)]


def _replace(sentence: str, match: re.Match[str], new: str) -> str:
    return sentence[: match.start()] + new + sentence[match.end() :]


def _other_number(sentence: str, chance: random.Random) -> str | None:
    """Another number of the same magnitude: the last digit, or of long ones the last two."""
    matches = list(_NUMBER.finditer(sentence))
    if not matches:
        return None
    match = chance.choice(matches)
    old = match.group()
    digits = [at for at, char in enumerate(old) if char.isdigit()]
    new = old
    while float(new.replace(",", "")) == float(old.replace(",", "")):
        chars = list(old)
        for at in digits[-2:] if len(digits) > 2 else digits[-1:]:
            chars[at] = chance.choice("0123456789" if len(digits) > 1 else "123456789")
        new = "".join(chars)
    return _replace(sentence, match, new)


def _other_name(sentence: str, foreign: Sequence[str], chance: random.Random) -> str | None:
    matches = list(_NAME.finditer(sentence))
    if not matches or not foreign:
        return None
    return _replace(sentence, chance.choice(matches), chance.choice(foreign))


def _negated(sentence: str, chance: random.Random) -> str | None:
    matches = list(_NEGATION.finditer(sentence))
    if not matches:
        return None
    match = chance.choice(matches)
    verb = match.group().removesuffix(" not")
    return _replace(sentence, match, verb if match.group(1) else f"{verb} not")
