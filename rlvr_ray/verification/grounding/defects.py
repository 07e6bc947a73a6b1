"""Defects of a statement: contradictions by data, numbers, names and opposites."""

import re
from collections.abc import Sequence
from itertools import pairwise, product

from rlvr_ray.core.records import Defect
from rlvr_ray.core.text import Quantity, Token, keys, quantities, same, stem
from rlvr_ray.verification.grounding.index import Index, measured, quantities_of
from rlvr_ray.verification.grounding.statement import Claim
from rlvr_ray.verification.grounding.structured import contradiction

Finding = tuple[Defect, str]  #: what is wrong, and how it shows, for people

# So many words of a line in capitals make a title, whose capitals name nothing.
_TITLE, _TITLE_WORDS = 0.6, 6
# Counts up to this are worked out, or fill a sentence.
_SMALL = 12
# Letters of an abbreviation, which may stand for words that nobody can look up.
_ABBREVIATED = 5
# Years, which are not worked out from other numbers.
_YEARS = range(1000, 2101)
# Numbers that others are worked out from; more of them give any number.
_OPERANDS = 40
# Share of a claim's words that show that a sentence speaks of the same.
_MOST = 0.6
# Share of a statement's other words that a sentence has which says the opposite.
_SAME = 0.7
# Questions that a name or a number answers.
_FACTOID = re.compile(
    r"\b(?:who|whom|whose|where|when|which"
    r"|what (?:is the (?:name|title)|\w+ (?:is|are|was|were|did|does|do|has)))\b",
    re.IGNORECASE,
)


def _opposites(text: str) -> dict[str, tuple[frozenset[str], frozenset[str]]]:
    """For each stem, those that say the same and those that say the opposite."""
    found: dict[str, tuple[frozenset[str], frozenset[str]]] = {}
    for entry in text.split(";"):
        one, other = (frozenset(map(stem, side.split())) for side in entry.split("|"))
        found |= dict.fromkeys(one, (one, other)) | dict.fromkeys(other, (other, one))
    return found


_OPPOSITES = _opposites(
    """
    increase rise rose risen grow grew gain raise up |
    decrease fall fell fallen drop dropped shrink shrank decline reduce lower lose down;
    open opened | close closed shut; minimum least lowest smallest | maximum most highest largest;
    upstream | downstream; enable enabled on | disable disabled off;
    allow allowed permit permitted | forbid forbidden prohibit prohibited ban banned;
    clockwise | counterclockwise anticlockwise; expand expands | contract contracts;
    before earlier | after later; first | last; more above over | fewer less below under;
    warm hot heat | cold cool; accept accepted approve | reject rejected refuse refused;
    include included | exclude excluded omit; win won | lost; buy bought purchase | sell sold;
    lend lent | borrow borrowed; safe | unsafe dangerous; able | unable;
    start begin began | end finish stop; left | right; north | south; east | west;
    inside | outside; required mandatory must | optional; common frequent | uncommon rare;
    better | worse; public | private
    """
)


def shown(
    claim: Claim, places: Sequence[int], index: Index, contexts: Sequence[str]
) -> Finding | None:
    """What is wrong with a claim, or None; ``places`` are the sentences with most of its words."""
    if claim.affirms is not None:
        return None
    if key := contradiction(claim.text, contexts):
        return Defect.CONTRADICTION, f"the data say otherwise: {key}"
    if numbers := [q.text for q in quantities(claim.text) if _unknown(q, index)]:
        return Defect.UNSUPPORTED_NUMBER, f"not in the contexts: {_list(numbers)}"
    if borrowed := [q.text for q in quantities(claim.text) if _borrowed(q, claim, index)]:
        return Defect.UNSUPPORTED_NUMBER, f"of something else: {_list(borrowed)}"
    if names := [
        t.text
        for at, t in enumerate(claim.tokens)
        if _unknown_name(at, claim, index, nowhere=not places)
    ]:
        return Defect.UNSUPPORTED_NAME, f"not in the contexts: {_list(names)}"
    opposites = filter(None, (_opposed(claim, at, index) for at in places))
    return next(((Defect.CONTRADICTION, opposite) for opposite in opposites), None)


def _list(texts: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(texts))


def _unknown(quantity: Quantity, index: Index) -> bool:
    """Whether the contexts have no such quantity, and it is not one that follows from theirs."""
    value = quantity.low
    if not quantity.amount or value is None or index.equal(quantity) is not None:
        return False
    if quantity.text.casefold().startswith(("a ", "an ", "one ")):
        return False  # "a year" is as long as it takes
    if abs(value) <= _SMALL and quantity.kind != "time":
        # Unless it can be taken for another one: six months for six weeks, four days for three.
        return any(_alike(quantity, known) for known in index.quantities)
    if quantity.dates or measured(quantity):
        return True
    return value in _YEARS or not _follows(quantity, index)


def _borrowed(quantity: Quantity, claim: Claim, index: Index) -> bool:
    """Whether a sentence has most of a claim with another number in the same unit, and the
    sentences with its number have nothing of it: the width said to be the height.

    What a fragment is about stands in the question.
    """
    if not measured(quantity) or quantity.kind == "time":
        return False
    unit = quantity.units[0].name
    words = {token.key for token in claim.tokens if token.kind != "number"} - {unit}
    if claim.short:
        words.update(claim.around)
    its, others = [0], [0]
    for sentence in index.sentences:
        known = [q for q in quantities_of(sentence.text) if measured(q) and q.units[0].name == unit]
        if known:
            has = sum(map(sentence.has, words))
            (its if any(same(quantity, q) for q in known) else others).append(has)
    return max(its) == 0 and max(others) >= max(2, _MOST * len(words))


def _alike(one: Quantity, other: Quantity) -> bool:
    """Whether two quantities are of the same things, or have one number and other units."""
    if not (one.units and other.units):
        return False
    alike = measured(one) and measured(other) and one.low == other.low
    return alike or one.units[0].name == other.units[0].name


def _follows(quantity: Quantity, index: Index) -> bool:
    """Whether it is the sum, difference, product or quotient of two numbers of the contexts."""
    known = {q.low for q in index.quantities if q.low is not None and q.amount}
    if len(known) > _OPERANDS:
        return False
    return any(
        quantity.low in (one + two, one - two, one * two) or (two and quantity.low == one / two)
        for one, two in product(known, known)
    )


def _unknown_name(place: int, claim: Claim, index: Index, *, nowhere: bool) -> bool:
    """Whether a word is a name that the contexts have not.

    A first name is none before a name that stands without one in the contexts.
    """
    token, following = claim.tokens[place], claim.tokens[place + 1 : place + 2]
    if (
        token.key in index.asked
        or not index.lacks(token)
        or not _names(token, claim, index, nowhere)
    ):
        return False
    return not any(
        other.kind == "name"
        and not index.lacks(other)
        and f"{token.text} {other.text}" in claim.text
        and not _has_first_name(other, index)
        for other in following
    )


def _has_first_name(name: Token, index: Index) -> bool:
    sentences = (index.sentences[at].tokens for at in index.where.get(name.key, ()))
    return any(
        one.kind == "name" and two.key == name.key
        for tokens in sentences
        for one, two in pairwise(tokens)
    )


def _names(token: Token, claim: Claim, index: Index, nowhere: bool) -> bool:
    """Whether a word is a name: by its capital, where that is not a title's or a beginning's."""
    if token.kind == "number" or not token.text[:1].isupper():
        return False
    if token.text.isupper() and len(token.text) <= _ABBREVIATED and not claim.short:
        return False
    if claim.short:  # it begins with a name, where one is asked for and no word of it is known
        asked = nowhere and _FACTOID.search(index.question.text)
        return token.kind == "name" or bool(asked)
    capitals = sum(t.text[:1].isupper() for t in claim.tokens)
    many = len(claim.tokens) > _TITLE_WORDS and capitals > _TITLE * len(claim.tokens)
    titled = many and claim.text[-1].isalnum()
    begins = re.search(rf"[.:;*)(\]\u2022\u2013-]\s*{re.escape(token.text)}\b", claim.text)
    return token.kind == "name" and not titled and begins is None


def _opposed(claim: Claim, at: int, index: Index) -> str | None:
    """A word whose opposite stands in the sentence that has the rest of the claim."""
    sentence = index.sentences[at]
    others = [key for key in claim.weights if key not in _OPPOSITES]
    if not others or sum(map(sentence.has, others)) < _SAME * len(others):
        return None
    denied = keys(claim.tokens, negated=True)
    for token in claim.tokens:
        alike, opposites = _OPPOSITES.get(token.key, (frozenset(), frozenset()))
        found = [key for key in opposites if sentence.has(key)]
        if not found or not alike.isdisjoint(index.near[at]):
            continue
        if (token.key in denied) is (found[0] in sentence.negated):
            return f"{token.text} is the opposite of what stands in: {sentence.text[:100]}"
    return None
