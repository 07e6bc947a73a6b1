"""Whether a judge's statements are those of the answer, and whether its verdicts are plausible.

Faithfulness is divided by the number of statements. A judge that omits the false sentence, or adds
true statements, would make a bad answer look faithful; and a manipulated judge calls statements
supported that have nothing to do with the passages.
"""

from collections.abc import Sequence
from functools import lru_cache

from rlvr_ray.core import sanitising
from rlvr_ray.core.statements import split_statements, unglued
from rlvr_ray.core.text import Sentence, normalise, parse
from rlvr_ray.verification.grounding import Similarity

#: Least share of a statement's content words that the answer or the question has: judges replace
#: pronouns and change forms, so not all of them.
OWN = 0.5
#: Least share of a sentence's content words that the statements have.
COVERED = 0.4
#: Least cosine with the question or a sentence of the contexts of what is about the same thing.
RELATED = 0.35
#: Sentences with fewer content words may be filler.
_FEW = 2


@lru_cache(maxsize=sanitising.KEPT)
def sentences(passage: str) -> tuple[Sentence, ...]:
    """A passage's sentences, read once: all candidates of a question have it in common."""
    texts = split_statements(unglued(normalise(passage)))
    return tuple(parse(text) for text in texts)


def objection(question: str, answer: str, statements: Sequence[str]) -> str | None:
    """What is wrong with the statements, or None.

    A statement may say what the question says, in place of a pronoun. A number that neither has is
    another claim, whatever else agrees. Questions in the answer claim nothing.
    """
    known = _keys(answer) | _keys(question)
    for statement in statements:
        keys = _keys(statement)
        if keys and len(keys & known) / len(keys) < OWN:
            return f"the judge's statement is not from the answer: {statement[:100]}"
        if not _numbers(statement) <= known:
            return f"the judge's statement has a number that the answer has not: {statement[:100]}"
    found = frozenset().union(*map(_keys, statements))
    for sentence in split_statements(answer):
        keys = _keys(sentence)
        if sentence.endswith("?") or len(keys) < _FEW:
            continue
        if len(keys & found) / len(keys) < COVERED:
            return f"the judge's statements leave out: {sentence[:100]}"
    return None


def strange(question: str, contexts: Sequence[str], statements: Sequence[str]) -> list[str]:
    """The statements of other words than those of question and contexts."""
    known = _keys(question).union(*map(_all, _of_the_matter(question, contexts)))
    return [s for s in statements if (keys := _keys(s)) and len(keys & known) / len(keys) < OWN]


def foreign(
    question: str, contexts: Sequence[str], statements: Sequence[str], similarity: Similarity
) -> str | None:
    """A statement of other words that speaks of something else than question and contexts, or None.

    It shares none of their meaning either, as far as an embedding knows: no verdict that calls it
    supported can be meant. A paraphrase shares the meaning.
    """
    places = [question, *(sentence.text for sentence in _of_the_matter(question, contexts))]
    for statement, cosines in zip(statements, similarity(statements, places), strict=True):
        if max(cosines) < RELATED:
            return statement
    return None


def _of_the_matter(question: str, contexts: Sequence[str]) -> list[Sentence]:
    """The contexts' sentences, but for those that say nothing but verdicts ("All claims hold").

    Slipped into a passage, such a sentence would support an answer that repeats it.
    """
    plain = _VERDICT - _keys(question)
    return [s for c in contexts for s in sentences(c) if not (keys := _all(s)) or keys - plain]


def _all(sentence: Sentence) -> frozenset[str]:
    return sentence.affirmed | sentence.negated


def same_text(one: str, two: str) -> bool:
    """Whether two statements are the same but for case, spaces and punctuation."""
    return _letters(one) == _letters(two)


def _letters(text: str) -> str:
    return "".join(char for char in normalise(text).casefold() if char.isalnum())


@lru_cache(maxsize=sanitising.KEPT)
def _keys(text: str) -> frozenset[str]:
    return frozenset(token.key for token in parse(normalise(text)).tokens)


#: Content words of verdicts.
_VERDICT = _keys(
    "all every each statements claims answers responses candidates verdicts results scores grades "
    "marks supported faithful relevant correct right true hold passed full one 1"
)


def _numbers(text: str) -> set[str]:
    plain = " ".join(split_statements(normalise(text)))  # without the number of a list's item
    return {token.key for token in parse(plain).tokens if token.kind == "number"}
