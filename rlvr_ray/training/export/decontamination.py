"""Rows that contain held-out questions, so that an evaluation on these would measure memory.

Two tests are needed, one for long texts and one for short questions: a common n-gram of 13 words
(GPT-3, arXiv:2005.14165, appendix C), and questions with most of their words in common.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rlvr_ray.core.errors import InputError
from rlvr_ray.core.questions import Columns, Question, Refused
from rlvr_ray.training.export.near_duplicates import Lookalikes
from rlvr_ray.training.export.overlap import NGRAM, jaccard, ngrams, shingles, words

#: Share of their single words, in any order, from which two questions count as the same one.
SIMILARITY = 0.8


@dataclass(slots=True)
class HeldOutFile:
    """A file of held-out questions."""

    source: str
    questions: int = 0
    rows: int = 0  #: that were left out on its account


class Hit(NamedTuple):
    """Which held-out question a row gives away."""

    source: str
    line: int
    why: str


class HeldOut:
    """Held-out questions, with their right answers where the files have them."""

    def __init__(self) -> None:
        self.files: list[HeldOutFile] = []
        self._places: list[tuple[int, int]] = []  # of each question: its file, its line
        self._ngrams: dict[str, int] = {}  # the first question that has it
        self._questions = Lookalikes(SIMILARITY)
        self._words: list[set[str]] = []
        self._numbers: dict[frozenset[str], int] = {}

    def add(self, found: Iterable[Question], *, running: bool = False) -> int:
        """Add questions and return how many they are.

        In a ``running`` text an n-gram may go from one line to the next.
        """
        known = len(self._places)
        before: list[str] = []
        for question in found:
            if not self.files or self.files[-1].source != question.source:
                self.files.append(HeldOutFile(question.source))
                before = []
            self.files[-1].questions += 1
            place = len(self._places)
            self._places.append((len(self.files) - 1, question.line))
            asked = words(question.text)
            for text in (before + asked, words(question.reference or "")):
                for ngram in ngrams(text, NGRAM):
                    self._ngrams.setdefault(ngram, place)
            if running:
                before = (before + asked)[1 - NGRAM :]
            self._words.append(bag := shingles(asked, 1))
            if self._numbers.setdefault(frozenset(bag), place) == place:
                self._questions.add(place, self._questions.sketch(bag))
        return len(self._places) - known

    def hit(self, asked: Sequence[str], texts: Iterable[Sequence[str]]) -> Hit | None:
        """The held-out question that a row gives away, which is counted for its file.

        ``asked`` are the words of the row's question, ``texts`` those of all that a model is
        trained on: of each message of the prompt, of each answer.
        """
        bag = shingles(asked, 1)
        for number in sorted(self._questions.find(self._questions.sketch(bag))):
            share = jaccard(bag, self._words[number])
            if share >= SIMILARITY:
                return self._found(number, f"{share:.0%} of the words of the question")
        for text in texts:
            for ngram in ngrams(text, NGRAM):
                if ngram in self._ngrams:
                    return self._found(self._ngrams[ngram], f'"{ngram}"')
        return None

    def _found(self, number: int, why: str) -> Hit:
        file, line = self._places[number]
        self.files[file].rows += 1
        return Hit(self.files[file].source, line, why)


def read(uris: Sequence[str], column: str | None) -> HeldOut:
    """Read files and folders of held-out questions, each whole.

    Files that ``question_files`` knows have a question a row; of any other, which must be text,
    each line counts as one, and the whole as a text that runs on.

    Raises InputError for whatever cannot be read: a question that is passed over in silence would
    count as clean.
    """
    held = HeldOut()
    for uri in uris:
        try:
            found = held.add(_questions(uri, column))
        except _OtherFormatError:
            found = held.add(_questions(uri, column, running=True), running=True)
        if not found:
            raise InputError(f"--decontaminate: {uri}: there is no question in it")
    return held


class _OtherFormatError(Exception):
    """The name of a file tells no format."""


def _questions(uri: str, column: str | None, *, running: bool = False) -> Iterator[Question]:
    from rlvr_ray.bulk.question_files import Format, read_rows

    columns = Columns(question=column) if column else Columns()
    for found in read_rows([uri], columns, Format.TEXT if running else None):
        if isinstance(found, Question):
            yield found
        elif found.kind == "unknown_format":
            raise _OtherFormatError
        elif not _harmless(found):
            raise InputError(f"--decontaminate: {found}")


def _harmless(refused: Refused) -> bool:
    """A row that holds no question hides none."""
    return refused.kind == "empty" and refused.line is not None
