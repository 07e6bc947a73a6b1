"""Reading text without a model: sentences, and their words, names, numbers and negations.

English in its word lists; other languages are read, with less understanding.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Literal

from rlvr_ray.core.language import normalise, stem

__all__ = [
    "SELF",
    "YES_NO_WORDS",
    "Sentence",
    "Token",
    "keys",
    "normalise",
    "parse",
    "scopes",
    "split_statements",
    "stem",
    "storable",
    "unglued",
]

_Kind = Literal["word", "name", "number"]

# Content words this far apart still stand in order: room for an apposition.
_REACH = 4
# How many content words a negation governs: later ones mostly stand outside its clause.
_SCOPE = 3
# A longer text in capitals throughout is shouted: its capitals name nothing.
_SHOUT = 3
# No abbreviation is longer, and a bound keeps texts full of them from costing their square.
_LONGEST = 40


def _words(text: str) -> list[str]:
    return text.split()


_NEGATIONS = frozenset(
    _words(
        "not no never cannot cant dont doesnt didnt isnt wasnt arent werent wont without "
        "neither nor none nobody nothing nowhere hardly barely scarcely"
    )
)
# Words too common to be evidence, pronouns, and what fills a spoken answer.
_FUNCTION = _NEGATIONS | frozenset(
    _words(
        "a an the this that these those there here it its he him his she her hers they "
        "them their theirs we us our ours you your yours one and or but so if then than "
        "as of at by for from in into on onto to with about during per via is are was "
        "were be been being am has have had having do does did doing can could may might "
        "must shall should will would which who whom whose what when where why how "
        "whether while because since also too very just such some any each both other "
        "another own same yes yeah yea yep nope ok okay well sure oh hi hello indeed "
        "however therefore thus hence although though even still quite rather really "
        "absolutely definitely certainly actually let lets eg ie etc s t re ve ll d m n"
    )
)
SELF = frozenset(_words("i im my me myself"))
_ORDINAL = frozenset(_words("st nd rd th s"))  # 19th, 1930s: the number says it
YES_NO_WORDS = {"yes": True, "yeah": True, "yep": True, "no": False, "nope": False}
_ONES = _words("two three four five six seven eight nine ten eleven twelve thirteen fourteen")
_ONES += _words("fifteen sixteen seventeen eighteen nineteen")
_TENS = _words("twenty thirty forty fifty sixty seventy eighty ninety")
_NUMBER_WORDS = {"zero": 0} | {word: value for value, word in enumerate(_ONES, start=2)}
_NUMBER_WORDS |= {word: 10 * value for value, word in enumerate(_TENS, start=2)}
_MULTIPLIERS = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_ABBREVIATIONS = frozenset(
    _words(
        "mr mrs ms dr prof st jr sr vs cf al fig figs nos vol pp ca approx inc ltd co "
        "corp dept est gen gov sen rep rev hon col capt lt sgt jan feb mar apr jun jul "
        "aug sep sept oct nov dec phd"
    )
)

# Possessive quantifiers (++, *+) give nothing back, so no input makes these backtrack.
_TOKEN = re.compile(
    r"(?:v(?=\d))?(?P<number>(?:(?<!\S)-)?(?:\d{1,3}(?:,\d{3})++|\d++)(?:\.\d++)?(?:e[+-]?\d{1,3}+)?)"
    r"(?:(?P<unit>[^\W\d_]{1,3})\b|(?!\w|\.\d))"
    r"|(?P<dotted>(?:[^\W\d_]\.){2,}+(?:[^\W\d_]\b)?)"
    r"|(?P<cjk>[\u3040-\u30ff\u3400-\u9fff])"
    r"|(?P<word>\w++(?:['.]\w++)*+)"
    r"|(?P<sign>[%.,;:!?()])",
    re.IGNORECASE,
)
_END = re.compile(r"[.!?]++[\"')\]*`\u201d]*+(?=\s|$)|[\u3002\uff01\uff1f]")
_BULLET = re.compile(r"^\s*+(?:[-*+\u2022\u2013>]++|#++|\(?\d{1,2}[.)])\s++(?=\S)")
_GLUED = re.compile(r"(?<=[a-z\d)\"\]][.!?])(?=[A-Z\"])")


@dataclass(frozen=True, slots=True)
class Token:
    """A content word: its key (stem or value), its text, and what kind it is."""

    key: str
    text: str
    kind: _Kind
    doubtful: bool = False  # a capitalised first word, or "I"
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


def split_statements(text: str) -> list[str]:
    """Cut a text into sentences, at line ends and bullets too; never returns an empty one.

    A line that starts in lower case continues the line before it. Abbreviations, initials,
    decimals, versions, URLs and identifiers hold together.
    """
    statements: list[str] = []
    for block in _blocks(text):
        start = 0
        for end in _END.finditer(block):
            before = block[max(start, end.start() - _LONGEST) : end.start()]
            if not _continues(before, end.group(), block[end.end() : end.end() + 2]):
                statements.append(block[start : end.end()].strip())
                start = end.end()
        statements.append(block[start:].strip())
    return [statement for statement in statements if statement]


def unglued(text: str) -> str:
    """A space where a sentence was glued to the next one."""
    return _GLUED.sub(" ", text)


def _blocks(text: str) -> list[str]:
    blocks: list[str] = []
    joins = False
    for line in text.splitlines():
        content = _BULLET.sub("", line, count=1).strip()
        if joins and content[:1].islower() and content == line.strip():
            blocks[-1] += " " + content
        elif content:
            blocks.append(content)
        joins = bool(content)
    return blocks


def _continues(before: str, mark: str, after: str) -> bool:
    """Whether a full stop is one of an abbreviation, of an initial, or of a trailing-off."""
    if not mark.startswith("."):
        return False
    lower_next = after.strip()[:1].islower()
    if mark.startswith(".."):
        return lower_next
    last = before.rsplit(maxsplit=1)[-1].lstrip("(\"'[").casefold() if before.strip() else ""
    if last in ("no", "etc"):
        return after.strip()[:1].isdigit() if last == "no" else lower_next
    letters = last.split(".")
    initials = all(len(letter) == 1 and letter.isalpha() for letter in letters) and last != "i"
    return initials or last.replace(".", "") in _ABBREVIATIONS


def _tokens(text: str) -> Iterator[tuple[str, _Kind | None]]:
    """Raw pieces and their kinds, in order; punctuation has None. Capitals are judged later."""
    for match in _TOKEN.finditer(text):
        group, piece = match.lastgroup, match.group()
        if group in ("number", "unit"):
            yield match["number"], "number"
            if match["unit"] and match["unit"].casefold() not in _ORDINAL:
                yield match["unit"], "word"
        elif group == "dotted":
            yield piece.replace(".", ""), "name" if piece.isupper() else "word"
        elif piece == "%":
            yield "percent", "word"
        elif group == "sign":
            yield piece, None
        elif any(part.isdecimal() for part in piece.split(".")):
            yield piece, "name"  # a version, an address
        else:
            for part in piece.split("."):
                yield from _word(part.strip("_"), dotted="." in piece)


def _word(text: str, *, dotted: bool) -> Iterator[tuple[str, _Kind | None]]:
    base, _, rest = text.partition("'")
    if text.casefold().endswith("n't"):
        yield "not", "word"  # what carries it is an auxiliary
    elif base:
        odd = any(char.isupper() or not char.isalpha() for char in base[1:])
        name = odd or (dotted and base.casefold() not in _FUNCTION)
        ending = rest in ("s", "m", "re", "ve", "ll", "d")
        yield base if ending else base + rest, "name" if name else "word"


def parse(text: str) -> Sentence:
    """The content words of a normalised sentence, with kinds and negations."""
    raw = list(_tokens(text))
    shouting = text.isupper() and len(raw) > _SHOUT
    tokens: list[Token] = []
    negation, reach, first, skip = -1, 0, True, False
    for at, (piece, kind) in enumerate(raw):
        lower = piece.casefold()
        following = raw[at + 1][0] if at + 1 < len(raw) else ""
        if skip:
            skip = False
            continue
        if kind is None or lower == "but":
            if reach == _SCOPE and tokens:  # "is not," governs what stands before it
                tokens[-1] = replace(tokens[-1], negation=negation)
            reach = 0
            continue
        if lower in _NEGATIONS:  # "not only" denies no more than the "only"
            negation, reach = negation + 1, 1 if following.casefold() == "only" else _SCOPE
        if kind == "number" or lower in _NUMBER_WORDS:
            key, skip = _number(lower, following.casefold())
            kind = "number"
        elif lower in _FUNCTION and kind == "word":
            first = False
            continue
        else:
            key = stem(lower)
        capital = piece[:1].isupper() and lower not in SELF and not shouting
        alone = not following[:1].isupper() or following.casefold() in _FUNCTION
        if kind == "word" and capital and not (first and alone):
            kind = "name"
        elif shouting and kind == "name" and piece.isalpha():
            kind = "word"
        opens = first and capital and kind == "word" and not lower.endswith("ly")
        doubtful = opens or lower in SELF
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


def _number(text: str, following: str) -> tuple[str, bool]:
    """The value as a key, exact and without trailing zeros; whether the next word belongs to it."""
    if text in _NUMBER_WORDS:
        value = _NUMBER_WORDS[text]
        joins = value >= 20 and 0 < _NUMBER_WORDS.get(following, 0) < 10
        text = str(value + _NUMBER_WORDS[following] if joins else value)
    else:
        joins = False
        text = text.lstrip("v").replace(",", "")
    sign, digits, exponent = Decimal(text).as_tuple()
    shift = int(exponent) + (0 if joins else _MULTIPLIERS.get(following, 0))
    plain = "".join(map(str, digits)).lstrip("0")
    kept = plain.rstrip("0")
    shift = shift + len(plain) - len(kept) if kept else 0
    return f"#{'-' * sign if kept else ''}{kept}e{shift}", joins or following in _MULTIPLIERS


def scopes(tokens: Sequence[Token]) -> list[list[str]]:
    """The keys that each negation governs, nearest first."""
    scopes: dict[int, list[str]] = defaultdict(list)
    for token in tokens:
        if token.negation >= 0:
            scopes[token.negation].append(token.key)
    return list(scopes.values())


def storable(text: str) -> str:
    """The text as records can hold it, of the same length: no halves of characters, no NUL.

    Models write both; in JSON they hide behind escapes.
    """
    return text.encode(errors="replace").decode().replace("\0", "\ufffd")
