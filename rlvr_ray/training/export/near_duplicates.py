"""Near-duplicates among many texts, by MinHash and locality-sensitive hashing.

Hashes only propose candidates (Broder 1997; Indyk and Motwani 1998), which are compared word for
word: chance can hide a similarity, but never create one.
"""

import json
from array import array
from collections.abc import Iterable, Sequence, Set
from typing import IO, Any, NamedTuple

from rlvr_ray.training.export.overlap import SHINGLE, jaccard, shingles

#: Hashes of a signature: a power of two, which bands of any smaller one divide.
HASHES = 64
#: Least chance to miss a likeness that just reaches the bound.
MISS = 0.001
#: Rows with a like question that are compared without asking whether the answers may be alike: that
#: takes long where very many have one answer, such as that the passages do not say.
FEW = 8
_SEED = 1


class Lookalikes:
    """Sets that may be like others, by numbers that they are given."""

    def __init__(self, similarity: float) -> None:
        """``similarity`` is the Jaccard bound, above 0 and up to 1."""
        from rensa import RMinHash, RMinHashLSH

        self._signature = RMinHash
        self._index = RMinHashLSH(similarity, HASHES, bands(similarity))

    def sketch(self, items: Iterable[str]) -> Any:
        """What ``find`` and ``add`` take for a set. It depends on nothing but its items."""
        found = self._signature(HASHES, _SEED)
        found.update(list(items))
        return found

    def find(self, sketch: Any) -> set[int]:
        """Numbers of sets that may reach the bound."""
        return set(self._index.query(sketch))

    def add(self, number: int, sketch: Any) -> None:
        """Let a set be found from now on."""
        self._index.insert(number, sketch)


def bands(similarity: float) -> int:
    """Into how many bands a signature is cut: the fewest that miss no more than MISS.

    Two sets of that similarity agree in all r hashes of one band with probability s^r.
    """
    for rows in (32, 16, 8, 4, 2):
        if (1 - similarity**rows) ** (HASHES // rows) <= MISS:
            return HASHES // rows
    return HASHES


class Like(NamedTuple):
    """A row that says nearly the same."""

    name: str
    similarity: float  #: of the part that is least alike


class NearDuplicates:
    """Rows, each a question and its answers, and which earlier one a row is like.

    They are alike where the question and every answer reach the bound, each with its own: rows
    with the same answer to different questions are not, nor other answers to the same question.

    In memory are some 3 KB of hashes a row; the texts are in a file, to be compared.
    """

    def __init__(self, similarity: float, file: IO[bytes]) -> None:
        self._similarity = similarity
        self._file = file
        self._places = array("Q")
        self._questions = Lookalikes(similarity)
        self._answers = Lookalikes(similarity)

    def admit(self, name: str, texts: Sequence[Sequence[str]]) -> Like | None:
        """The first kept row that this one is like; None where it is kept itself.

        ``texts`` are the words of its question and of its answers.
        """
        parts = [shingles(words, SHINGLE) for words in texts]
        asked = self._questions.sketch(parts[0])
        # Each answer's items are marked, since the places of chosen and rejected matter.
        answers = self._answers.sketch(
            f"{number} {item}" for number, part in enumerate(parts[1:]) for item in part
        )
        found = self._questions.find(asked)
        if len(found) > FEW:
            # Where every part reaches the bound, so do all answers together.
            found &= self._answers.find(answers)
        for number in sorted(found):
            if like := self._compare(number, parts):
                return like
        number = len(self._places)
        self._places.append(self._file.seek(0, 2))
        self._file.write(json.dumps([name, *map(" ".join, texts)]).encode() + b"\n")
        self._questions.add(number, asked)
        self._answers.add(number, answers)
        return None

    def _compare(self, number: int, parts: Sequence[Set[str]]) -> Like | None:
        self._file.seek(self._places[number])
        name, *texts = json.loads(self._file.readline())
        if len(texts) != len(parts):
            return None
        least = 1.0
        for text, part in zip(texts, parts, strict=True):
            least = min(least, jaccard(shingles(text.split(" "), SHINGLE), part))
            if least < self._similarity:
                return None
        return Like(name, least)
