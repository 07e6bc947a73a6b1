"""The contexts of a question, indexed by sentences, words and quantities."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from rlvr_ray.core.statements import split_statements, unglued
from rlvr_ray.core.text import Quantity, Sentence, Token, normalise, parse, quantities, same
from rlvr_ray.verification.grounding.structured import entries, prose

#: Texts whose readings are kept: the candidates of a question have its passages in common.
KEPT = 1024
# Letters that the forms of one name have in common: Canada and Canadian.
_ROOT, _ENDING = 4, 3


@dataclass(slots=True)
class Index:
    """The sentences of all contexts, their passages and neighbours, and where each key occurs."""

    question: Sentence
    asked: frozenset[str]  #: the keys of the question
    sentences: list[Sentence] = field(default_factory=list)
    passage: list[int] = field(default_factory=list)  #: of each sentence
    neighbours: list[list[int]] = field(default_factory=list)
    near: list[frozenset[str]] = field(default_factory=list)  #: keys of a sentence and neighbours
    passages: list[frozenset[str]] = field(default_factory=list)  #: keys of a passage
    where: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    spelled: set[str] = field(default_factory=set)  #: words in lower case, the question's too
    letters: str = ""  #: of all contexts, without what stands between them
    quantities: list[Quantity] = field(default_factory=list)  #: the question's, too
    structured: bool = False  #: whether a context is a JSON document

    def lacks(self, token: Token) -> bool:
        """Whether a word occurs nowhere.

        A name has to be spelled alike, but for its ending, hyphens, and what it is abbreviated to
        (California and CA).
        """
        if token.kind != "name":
            return token.key not in self.where
        text = token.text.casefold()
        if token.key in self.where and {text, text + "s", text.removesuffix("s")} & self.spelled:
            return False
        if len(text) < _ROOT or token.text.isupper():
            return True
        if text in self.letters or text[:2] in self.spelled:
            return False
        root = text[: max(_ROOT, len(text) - _ENDING)]
        return not any(word.startswith(root) for word in self.spelled)

    def equal(self, quantity: Quantity) -> Quantity | None:
        """The same quantity of the contexts, in any unit; two days are no two slides."""
        for known in self.quantities:
            counted = bool(known.units) and not measured(known)
            if same(quantity, known) and not (counted and measured(quantity)):
                return known
        return None


def measured(quantity: Quantity) -> bool:
    """Whether it is in a unit, and not a count of things."""
    return bool(quantity.units) and quantity.units[0].known


def index(question: str, contexts: Sequence[str]) -> Index:
    """Index the contexts in an order of its own, so that theirs cannot matter."""
    asked = parse(normalise(question))
    made = Index(asked, frozenset(token.key for token in asked.tokens))
    made.spelled.update(token.text.casefold() for token in asked.tokens)
    made.quantities += quantities(question)
    for number, context in enumerate(sorted(set(contexts))):
        found = _sentences(context)
        keys = [sentence.affirmed | sentence.negated for sentence in found]
        low, high = len(made.sentences), len(made.sentences) + len(found)
        for at, sentence in enumerate(found, start=low):
            made.sentences.append(sentence)
            made.passage.append(number)
            made.spelled.update(token.text.casefold() for token in sentence.tokens)
            made.neighbours.append([near for near in (at - 1, at + 1) if low <= near < high])
            made.near.append(frozenset().union(*keys[max(0, at - low - 1) : at - low + 2]))
            for key in keys[at - low]:
                made.where[key].append(at)
        made.passages.append(frozenset().union(*keys))
        made.quantities += quantities_of(context)
        made.structured = made.structured or bool(entries(context))
    made.letters = "".join(filter(str.isalnum, " ".join(contexts).casefold()))
    return made


@lru_cache(maxsize=KEPT)
def _sentences(context: str) -> tuple[Sentence, ...]:
    return tuple(map(parse, split_statements(unglued(normalise(prose(context))))))


@lru_cache(maxsize=KEPT)
def quantities_of(context: str) -> tuple[Quantity, ...]:
    """Those of a text, but for what is data."""
    return tuple(quantities(prose(context)))
