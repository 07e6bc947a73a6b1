"""Duplicates and near-duplicates among questions."""

import re
from collections import defaultdict

from rlvr_ray.bulk.question_making.gates import Reason, letters
from rlvr_ray.core.text import SELF, normalise, parse

#: Questions of which this share of words is the same are one, unless a name or number differs.
NEAR = 0.8
_HOW = ("who", "whom", "whose", "when", "where", "why", "how")


class Known:
    """The questions so far, to notice repeats.

    Two are near duplicates where the Jaccard similarity of their words reaches ``NEAR``. To find
    them without comparing all, only the first few words of each, in one fixed order, are looked up:
    sets that are so alike have one of those in common (Chaudhuri et al., A Primitive Operator for
    Similarity Joins in Data Cleaning, 2006). Words that were met later come first: they are rarer.
    """

    def __init__(self) -> None:
        self._letters: set[str] = set()
        self._sets: list[frozenset[str]] = []
        self._met: dict[str, int] = {}  # when a word was first met
        self._where: dict[tuple[str, frozenset[str]], list[int]] = defaultdict(list)

    def add(self, question: str) -> Reason | None:
        """Note a question; or say why not."""
        spelled = letters(question)
        if spelled in self._letters:
            return "duplicate"
        words, facts = _words(question)
        places = [(word, facts) for word in self._prefix(words)]
        near = {at for place in places for at in self._where.get(place, ())}
        if any(_are_near(words, self._sets[at]) for at in near):
            return "near_duplicate"
        self._letters.add(spelled)
        for place in places:
            self._where[place].append(len(self._sets))
        self._sets.append(words)
        return None

    def _prefix(self, words: frozenset[str]) -> list[str]:
        ordered = sorted(
            words, key=lambda word: self._met.setdefault(word, len(self._met)), reverse=True
        )
        # Integers: 0.8 * 5 must not become 4.000000000000001.
        least = -(-len(words) * round(NEAR * 100) // 100)
        return ordered[: len(words) - least + 1]


def _are_near(words: frozenset[str], others: frozenset[str]) -> bool:
    shorter, longer = sorted((len(words), len(others)))
    return shorter >= NEAR * longer and len(words & others) >= NEAR * len(words | others)


def _words(question: str) -> tuple[frozenset[str], frozenset[str]]:
    """The words that tell a question from others, and those of them that are names or numbers.

    Who, when, where, why and how are among them; what and which are not.
    """
    plain = normalise(question)
    tokens = [token for token in parse(plain).tokens if token.key not in SELF]
    asking = {word for word in re.findall(r"[a-z]+", plain.casefold()) if word in _HOW}
    # Names as they are spelled: their stems would make one of "Step1" and "Step11".
    facts = frozenset(
        token.key if token.kind == "number" else token.text.casefold()
        for token in tokens
        if token.kind != "word"
    )
    return frozenset(token.key for token in tokens) | asking, facts
