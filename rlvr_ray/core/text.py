"""Sentences without a model: their words, names, quantities and negations.

The word lists are English, German, French and Spanish, and Chinese and Arabic for negations; other
languages are read with less understanding (``language.readable``).
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

from rlvr_ray.core.language import FUNCTION, NEGATIONS, language, normalise, stem
from rlvr_ray.core.numbers.dates import MONTHS
from rlvr_ray.core.numbers.linking import linked, same
from rlvr_ray.core.numbers.quantities import numbers
from rlvr_ray.core.numbers.quantity import Quantity, plain

__all__ = [
    "SELF",
    "YES_NO_WORDS",
    "Quantity",
    "Sentence",
    "Token",
    "keys",
    "normalise",
    "parse",
    "plain",
    "quantities",
    "same",
    "scopes",
    "stem",
]

_Kind = Literal["word", "name", "number"]
_Raw = tuple[str, _Kind | None, str | None]  # the text, its kind, its key where that is known

# Content words this far apart still stand in order: room for an apposition.
_REACH = 4
# How many content words a negation governs: later ones mostly stand outside its clause.
_SCOPE = 3
# A longer text in capitals throughout is shouted: its capitals name nothing.
_SHOUT = 3
SELF = frozenset({"i", "im", "my", "me", "myself"})
YES_NO_WORDS = {"yes": True, "yeah": True, "yep": True, "no": False, "nope": False}
# Words that deny only before another one.
_DENYING = {("fail", "to"), ("fails", "to"), ("failed", "to"), ("failing", "to"), ("instead", "of")}
_ANY_NEGATION = frozenset().union(*NEGATIONS.values())
_FUNCTION = {code: FUNCTION["en"] | words for code, words in FUNCTION.items()}
# Possessive quantifiers (++, *+) give nothing back, so no input makes these backtrack.
_TOKEN = re.compile(
    r"(?P<dotted>(?:[^\W\d_]\.){2,}+(?:[^\W\d_]\b)?)"
    r"|(?P<cjk>[\u3040-\u30ff\u3400-\u9fff])"
    r"|(?P<code>\w++(?:[-:/](?=[^\W\d]*+\d)\w++)++)"
    r"|(?P<word>\w++(?:['.]\w++)*+)"
    r"|(?P<sign>[%.,;:!?()])"
)
_VERSION = re.compile(r"[vV](\d{1,9}(?:\.\d{1,9})?)")
_ELIDED = frozenset(["l", "d", "n", "qu", "j", "c", "m", "t", "s", "jusqu", "lorsqu", "puisqu"])


@dataclass(frozen=True, slots=True)
class Token:
    """A content word: its key (stem or value), its text, and what kind it is."""

    key: str
    text: str
    kind: _Kind
    doubtful: bool = False  # a capitalised first word, a German noun, or "I"
    negation: int = -1  # which negation of the sentence governs it; -1: none


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence, its content words, and the keys that it affirms and negates."""

    text: str
    tokens: tuple[Token, ...]
    affirmed: frozenset[str]
    negated: frozenset[str]
    pairs: frozenset[tuple[str, str]]

    def has(self, key: str) -> bool:
        """Whether it occurs, affirmed or negated."""
        return key in self.affirmed or key in self.negated


def quantities(text: str) -> list[Quantity]:
    """All quantities of a text, each one number; places are those in ``plain(text)``.

    A range gives its two ends, a sum ("1 hour 30 minutes") what it comes to. What ``kind`` calls a
    label or a citation is here, too, and is no amount: an answer may take its number from there.
    """
    text = plain(text)
    read = [number for number in numbers(text) if number.kind not in ("name", "one")]
    found: list[Quantity] = []
    for quantity in linked(text, read):
        if quantity.point:
            found.append(quantity)
        else:
            found += replace(quantity, high=quantity.low), replace(quantity, low=quantity.high)
        if quantity.also:
            found.append(quantity.also)
    return found


def _raw(text: str) -> Iterator[_Raw]:
    """Pieces, kinds and keys, in order; punctuation has no kind. Capitals are judged later."""
    at = 0
    for number in numbers(text):
        digits = text[slice(*number.numeral)]
        counts = digits.casefold() in ("one", "twice", "thrice")
        counts = counts or (
            number.low is not None and number.low.numerator % number.low.denominator > 1
        )
        if number.kind in ("name", "one") or (number.kind == "few" and not counts):
            continue  # words like others
        yield from _words(text, at, number.start)
        yield from _figure(text, number, digits)
        measured = not number.units or number.units[0].known
        at = number.end if measured else number.numeral[1]
    yield from _words(text, at, len(text))


def _figure(text: str, number: Quantity, digits: str) -> Iterator[_Raw]:
    """A number and its unit, where that is known; day, month and year of a date."""
    if number.dates:
        year, month, day = number.dates[0]
        if len(number.dates) == 1:
            yield number.text, "number", MONTHS[month]
        day_key = f"#{day}" if len(number.dates) == 1 else f"#{month}.{day}."
        for value, key in ((day, day_key), (year, f"#{year}")):
            if value:
                yield number.text if len(number.dates) > 1 else str(value), "number", key
    elif number.kind == "time" or number.low is None:
        yield number.text, "number", f"@{number.low or number.text}"
    else:
        raw = number.kind == "version" and re.search(r"\.\d+0$", digits)
        yield digits, "number", f"#{digits if raw else number.low}"
        if number.units and number.units[0].known:
            start, end = number.numeral
            unit = text[end : number.end].strip(" -") or text[number.start : start].strip()
            yield unit or number.text, "word", number.units[0].name


def _words(text: str, start: int, end: int) -> Iterator[_Raw]:
    for match in _TOKEN.finditer(text, start, end):
        group, piece = match.lastgroup, match.group()
        if group == "dotted":
            yield piece.replace(".", ""), "name" if piece.isupper() else "word", None
        elif piece == "%":
            yield piece, "word", "percent"
        elif group == "sign":
            yield piece, None, None
        elif version := _VERSION.fullmatch(piece):
            raw = re.search(r"\.\d+0$", version[1])
            yield version[1], "number", f"#{version[1] if raw else Fraction(version[1])}"
        elif any(part.isdecimal() for part in re.split("[.:/-]", piece)):
            yield piece, "name", None  # a version, an address, an identifier
        else:
            for part in piece.split("."):
                yield from _word(part.strip("_"), dotted="." in piece)


def _word(text: str, *, dotted: bool) -> Iterator[_Raw]:
    base, _, rest = text.partition("'")
    if base.casefold() in _ELIDED and len(rest) > 1:
        yield base, "word", None
        base, _, rest = rest.partition("'")
    if text.casefold().endswith("n't"):
        yield "not", "word", None  # what carries it is an auxiliary
    elif base:
        odd = any(char.isupper() or not char.isalpha() for char in base[1:])
        name = odd or (dotted and base.casefold() not in FUNCTION["en"])
        ending = rest in ("s", "m", "re", "ve", "ll", "d")
        yield base if ending else base + rest, "name" if name else "word", None


def parse(text: str) -> Sentence:
    """The content words of a normalised sentence, with kinds and negations."""
    raw = list(_raw(text))
    code = language(text) or ""
    negations, function = NEGATIONS.get(code, _ANY_NEGATION), _FUNCTION.get(code, FUNCTION["en"])
    shouting = text.isupper() and len(raw) > _SHOUT
    tokens: list[Token] = []
    negation, reach, first = -1, 0, True
    for at, (piece, kind, known) in enumerate(raw):
        lower = piece.casefold()
        following = raw[at + 1][0] if at + 1 < len(raw) else ""
        if kind is None or lower == "but":
            if reach == _SCOPE and tokens:  # "is not," governs what stands before it
                tokens[-1] = replace(tokens[-1], negation=negation)
            reach = 0
            continue
        if kind == "word" and (lower in negations or (lower, following.casefold()) in _DENYING):
            # "not only" denies no more than the "only"
            negation, reach = negation + 1, 1 if following.casefold() == "only" else _SCOPE
            first = False
            continue
        if known is None and lower in function and kind == "word":
            first = False
            continue
        capital = piece[:1].isupper() and lower not in SELF and not shouting
        alone = not following[:1].isupper() or following.casefold() in function
        noun = capital and code == "de" and kind == "word"  # as any other in German
        if known is None and kind == "word" and capital and not noun and not (first and alone):
            kind = "name"
        elif shouting and kind == "name" and piece.isalpha():
            kind = "word"
        opens = first and capital and kind == "word" and not lower.endswith("ly")
        doubtful = known is None and (opens or noun or lower in SELF)
        key = known or stem(lower)
        tokens.append(Token(key, piece, kind, doubtful, negation if reach else -1))
        first, reach = False, max(reach - 1, 0)
    return Sentence(
        text, tuple(tokens), keys(tokens, negated=False), keys(tokens, negated=True), _pairs(tokens)
    )


def keys(tokens: Sequence[Token], *, negated: bool) -> frozenset[str]:
    """The keys that stand under a negation, or those that do not."""
    return frozenset(token.key for token in tokens if (token.negation >= 0) is negated)


def _pairs(tokens: Sequence[Token]) -> frozenset[tuple[str, str]]:
    return frozenset(
        (token.key, later.key)
        for at, token in enumerate(tokens)
        for later in tokens[at + 1 : at + 1 + _REACH]
    )


def scopes(tokens: Sequence[Token]) -> list[list[str]]:
    """The keys that each negation governs, nearest first."""
    scopes: dict[int, list[str]] = defaultdict(list)
    for token in tokens:
        if token.negation >= 0:
            scopes[token.negation].append(token.key)
    return list(scopes.values())
