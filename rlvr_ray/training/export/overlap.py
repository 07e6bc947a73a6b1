"""The share of words that texts have in common.

Words are compared in lower case, without punctuation and layout. Every Chinese and Japanese
character is a word.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence, Set

#: Words of a shingle: few enough for a question, enough to tell questions apart that differ in a
#: name or a number.
SHINGLE = 3
#: Words in a row that two texts do not share by chance.
NGRAM = 13
#: Symbols that change what a text says (C++ and C#, 3 < 5 and 3 > 5) are words, too.
_WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff]"
    r"|[^\W\u3040-\u30ff\u3400-\u9fff]+"
    r"|[+<>=#%$€£¥°±×÷−]|(?<!\w)-(?=\d)"
)


def words(text: str) -> list[str]:
    """The words of a text in order, none with white space in it; never an empty list."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return _WORD.findall(plain) or plain.split() or [""]


def shingles(found: Sequence[str], size: int) -> set[str]:
    """Every ``size`` words that follow each other (Broder 1997); all words where there are fewer.

    https://doi.org/10.1109/SEQUEN.1997.666900
    """
    return {" ".join(found[at : at + size]) for at in range(max(1, len(found) - size + 1))}


def ngrams(found: Sequence[str], size: int) -> Iterator[str]:
    """Every ``size`` words that follow each other, in order; none where there are fewer."""
    return (" ".join(found[at : at + size]) for at in range(len(found) - size + 1))


def jaccard(one: Set[str], other: Set[str]) -> float:
    """What two sets share, from 0 (nothing) to 1 (all); at least one of them has something."""
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared)
