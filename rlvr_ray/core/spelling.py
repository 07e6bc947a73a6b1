"""Whether two texts look the same, or are spellings of the same answer.

Bold, italics and code, case, white space, invisible characters, typographic quotes and dashes,
composed and full-width characters and a final full stop do not matter. Signs, decimal places,
powers, units and the order of words do. In doubt, two texts count as one: that loses a pair, but
never teaches anything wrong.
"""

import re
import unicodedata
from functools import lru_cache

_TYPOGRAPHY = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb", '"'),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"),
        "\u2026": "...",
    }
)
#: Drawn as nothing, though not all are of the category of such characters.
INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\ufe00-\ufe0f\ufff0-\ufff8\U000e0000-\U000e0fff]"
)
#: Drawn as a blank, though they are no white space.
BLANKS = "\u2800\u3164\uffa0"


class _Displayed(dict[int, str | None]):
    """By code point: a character as it is drawn, None where it is not. It fills as it is used."""

    def __missing__(self, code: int) -> str | None:
        char = chr(code)
        category = unicodedata.category(char)
        hidden = category == "Cf" or (category == "Cc" and not char.isspace())
        shown = " " if char in BLANKS else char
        self[code] = found = None if hidden or INVISIBLE.match(char) else shown
        return found


class _Plain(dict[int, str]):
    """By code point: a character without its width and its typography. ``²`` stays a power."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        kind = unicodedata.decomposition(char).partition(" ")[0]
        wide = kind in ("<wide>", "<narrow>", "<noBreak>")
        found = unicodedata.normalize("NFKC", char) if wide else char
        self[code] = found = found.translate(_TYPOGRAPHY)
        return found


_DISPLAYED, _PLAIN = _Displayed(), _Plain()
#: Texts whose forms are kept: those of a row are wanted several times.
_KEPT = 64
#: What a mark encloses has none of its kind, so that no text costs its square. A star within a
#: word or a number is none: ``2*3*4``.
_MARKS = {
    "*": re.compile(r"(?<![a-zA-Z0-9*])(\*{1,3})(?=[^\s*])([^*]*)(?<=[^\s*])\1(?![a-zA-Z0-9*])"),
    "_": re.compile(r"(?<!\w)(_{1,3})(?=[^\s_])([^_]*)(?<=[^\s_])\1(?!\w)"),
    "`": re.compile(r"(?<!`)(`{1,3})([^`]*)\1(?!`)"),
}
#: Bold within italics within code.
_DEPTH = 3
#: White space around punctuation and signs.
_AROUND = re.compile(r"\s*([^\w\s])\s*")
#: What a sentence may begin or end with.
_ENDS = (
    " .?!,:;'\"\u00a1\u00bf\u0387\u055c\u055e\u0589\u060c\u061b\u061f\u0964\u0965\u06d4"
    "\u1362\u1367\u203d\u2047\u2048\u2049\u3001\u3002"
)
_STOPS = (".", "\u3002", "\u0964", "\u06d4")


def displayed(text: str) -> str:
    """What a reader sees: without invisible characters, each stretch of white space as one space,
    letters composed with their accents (NFC). Empty where there is nothing to see.
    """
    return unicodedata.normalize("NFC", " ".join(text.translate(_DISPLAYED).split()))


@lru_cache(maxsize=_KEPT)
def canonical(text: str) -> str:
    """The one form of all spellings of an answer."""
    text = " ".join(displayed(text).translate(_PLAIN).split())
    for _ in range(_DEPTH):
        for sign, mark in _MARKS.items():
            if sign in text:
                text = mark.sub(r"\2", text)
    text = unicodedata.normalize("NFC", text.casefold()).strip()
    if text.endswith(_STOPS) and not text.endswith(".."):
        text = text[:-1].rstrip()
    return text


def canonical_question(text: str) -> str:
    """The one form of all spellings of a question, among which punctuation at its ends is none, and
    neither is white space around punctuation.
    """
    text = _AROUND.sub(r"\1", canonical(text))
    return text.strip(_ENDS) or text


def letters(text: str) -> str:
    """A text without white space and invisible characters, in one form of Unicode (NFKC)."""
    return "".join(displayed(unicodedata.normalize("NFKC", text)).split())


def same_answer(one: str, other: str) -> bool:
    """Whether two texts are spellings of one answer."""
    return canonical(one) == canonical(other)
