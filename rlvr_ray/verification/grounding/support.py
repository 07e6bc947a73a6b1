"""How far the contexts support an answer, statement by statement, without a model.

A statement is supported as far as its content words, numbers and names occur close together and in
the same order at one place of the contexts. A number or a name that occurs nowhere, or a negation
on one side only, overrides any other agreement. Embedding similarity contributes a little. This
measures containment, not truth.
"""

import heapq
import math
import re
import textwrap
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rlvr_ray.core.records import Defect
from rlvr_ray.core.text import Token, keys, scopes, stem
from rlvr_ray.verification.grounding.defects import shown
from rlvr_ray.verification.grounding.index import Index
from rlvr_ray.verification.grounding.statement import SHORT, Claim, claim_of

Similarity = Callable[[Sequence[str], Sequence[str]], Sequence[Sequence[float]]]
"""Cosines: one row for each of the first texts, one column for each of the second."""

#: Questions that ask for yes or no.
YES_NO = re.compile(
    r"\W*(?:is|are|was|were|am|do|does|did|has|have|had|can|could|may|might|must|shall|should|will"
    r"|would)\b",
    re.IGNORECASE,
)
# A word outside the best place may belong to another fact: it counts as partly found.
_SCATTERED = 0.7
# A neighbour of the best sentence mostly continues it ("He ..."): nearly as good.
_NEIGHBOUR = 0.85
# Share of the lexical support that hangs on word order: paraphrases reorder, so not most of it.
_ORDER = 0.3
# Share of the similarity: it knows paraphrase from chance overlap but is blind to details.
_SIMILARITY = 0.1
# Exponent of the coverage: one word that is not there can make the whole sentence another claim.
_DEMAND = 1.25
# Factors for a number or name found nowhere, and for a one-sided negation.
_MISSING = 0.35
_NEGATED = 0.5
# A sentence that has so much of the claim says the same but for the negation, unless denials are
# tangled: whether "not only" or "except" denies is not told by its words.
_SAME = 0.9
_TANGLED = re.compile(
    r"\b(?:except|neither|nor|unless|only|but|without|until|hardly|rarely|cannot be \w+ out)\b",
    re.IGNORECASE,
)
# A number that the contexts have, but nowhere near what the claim counts or dates with it.
_ASTRAY = 0.5
# The same, milder, for a first word, which is only perhaps a name, and for "I": contexts that do
# not speak of themselves cannot support what a speaker says of himself.
_DOUBTFUL = 0.6
# Share of a fragment's support that hangs on the question's words standing around it.
_RELEVANCE = 0.2
# "Yes" can be looked up only as the question's words, which proves little.
_YES_NO = 0.5
# Places compared for a statement: the one with the most of its words is rarely beaten.
_PLACES = 3
# For reasons only: below this lexical support the words do not stand together; what is cited.
_TOGETHER, _NAMED, _QUOTED = 0.8, 5, 100
# Among places with the same words of the claim, one about the question is the better one.
_TIE_BREAK = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Support:
    """One statement and how far the contexts support it.

    A ``defect`` is what can be shown to be wrong with it; without one, low support means that
    nothing is known.
    """

    statement: str
    tokens: tuple[Token, ...]
    support: float  #: from 0 to 1
    reason: str  #: in a few words
    place: int | None = None  #: the sentence of the index with most of it; None: none has any
    cosine: float = 0.0  #: of the sentence that is nearest in meaning
    covered: float = 0.0  #: share of its words at that place
    bare: bool = False  #: it is a "yes" or "no" alone
    repeats: bool = False  #: it adds nothing to a question that asks for yes or no
    defect: Defect | None = None

    @property
    def verdict(self) -> float:
        """Its support as a verdict: 0.5 where nothing is known, less only where it is wrong."""
        return self.support / 2 if self.defect else (1 + self.support) / 2


def supports(
    statements: Sequence[str],
    question: str,
    contexts: Sequence[str],
    index: Index,
    similarity: Similarity,
) -> tuple[tuple[Support, ...], list[float]]:
    """Support of each statement, in order, and the cosine of the question with each sentence.

    Repeated statements count once. ``similarity`` is called once; a cosine that is not a number
    counts as 0. Sentences that claim nothing ("Sure!", questions, a bare "Yes." before an
    explanation) are left out, unless there are no others. The order of contexts does not matter.
    """
    unique: dict[str, str] = {}
    for text in statements:
        unique.setdefault(" ".join(text.casefold().split()), text)
    claims = [claim_of(text, index) for text in unique.values()]
    claims = (
        [claim for claim in claims if claim.tokens and claim.affirms is None]
        or [claim for claim in claims if claim.tokens]
        or claims
    )
    rows = [f"{question} {claim.text}".strip() if claim.short else claim.text for claim in claims]
    columns = [sentence.text for sentence in index.sentences]
    matrix = similarity([question, *rows], columns) if columns else [[]] * (len(rows) + 1)
    closeness, *cosines = [[min(max(0.0, float(x)), 1.0) for x in row] for row in matrix]
    found = tuple(
        _support(claim, index, row, contexts) for claim, row in zip(claims, cosines, strict=True)
    )
    return found, closeness


def _support(
    claim: Claim, index: Index, cosines: Sequence[float], contexts: Sequence[str]
) -> Support:
    places = _places(claim, index)
    if not places:
        defect, reason = None, "nothing of it in the contexts"
        if not claim.tokens:
            reason = "claims nothing to look up"
        elif finding := shown(claim, (), index, contexts):
            defect, reason = finding
        return Support(
            statement=claim.text,
            tokens=claim.tokens,
            support=0.0,
            reason=reason,
            cosine=max(cosines, default=0.0),
            defect=defect,
        )
    lexical, agrees, at = max(
        (_lexical(claim, index, at), not _one_sided(claim, index, at), at) for at in places
    )
    score = lexical * (1 - _SIMILARITY * (1 - cosines[at]))
    if claim.short and claim.around:
        near = math.fsum(_presence(key, index, at) for key in claim.around) / len(claim.around)
        score *= 1 - _RELEVANCE * (1 - near)
    if claim.affirms is not None:
        score *= _YES_NO
        agrees = agrees is claim.affirms
    missing = [token for token in claim.tokens if index.lacks(token)]
    wrong = [token.text for token in missing if token.kind != "word"]
    astray = _astray(claim, index, at)
    if wrong:
        score *= _MISSING
    elif any(token.doubtful for token in missing):
        score *= _DOUBTFUL
    if astray and not wrong:
        score *= _ASTRAY
    if not agrees:
        score *= _NEGATED
    place = _quote(index.sentences[at].text)
    if wrong:
        reason = f"not in the contexts: {', '.join(dict.fromkeys(wrong))}"
    elif not agrees:
        reason = f"negated on one side only: {place}"
    elif astray:
        reason = f"not beside these words in the contexts: {', '.join(astray)}"
    elif missing:
        words = list(dict.fromkeys(token.text for token in missing))
        reason = f"words not in the contexts: {', '.join(words[:_NAMED])}"
    elif lexical < _TOGETHER:
        reason = f"its words stand apart, most of them in {place}"
    else:
        reason = f"found in {place}"
    denied = not agrees and lexical >= _SAME and len(claim.tokens) > SHORT
    if found := shown(claim, places, index, contexts):
        defect, reason = found
    elif denied and not _TANGLED.search(f"{claim.text} {index.sentences[at].text}"):
        defect = Defect.CONTRADICTION
    else:
        defect = None
    covered = math.fsum(w for key, w in claim.weights.items() if key in index.near[at])
    new = any(key not in index.asked and key in index.near[at] for key in claim.weights)
    return Support(
        statement=claim.text,
        tokens=claim.tokens,
        support=min(max(score, 0.0), 1.0),
        reason=reason,
        place=at,
        cosine=max(cosines),
        covered=covered / math.fsum(claim.weights.values()),
        bare=claim.affirms is not None,
        repeats=not new and YES_NO.match(index.question.text) is not None,
        defect=defect,
    )


def _places(claim: Claim, index: Index) -> list[int]:
    """The sentences with the most of the claim's words, best first; the question breaks ties."""
    found: dict[int, float] = defaultdict(float)
    for key, weight in claim.weights.items():
        for at in index.where.get(key, ()):
            found[at] += weight
    for key in claim.around:
        for at in index.where.get(key, ()):
            if at in found:
                found[at] += _TIE_BREAK
    return heapq.nsmallest(_PLACES, found, key=lambda at: (-found[at], at))


def _lexical(claim: Claim, index: Index, at: int) -> float:
    """Share of the claim's words found at a place, less for another order; in [0, 1]."""
    found = math.fsum(w * _presence(key, index, at) for key, w in claim.weights.items())
    coverage: float = (found / math.fsum(claim.weights.values())) ** _DEMAND
    near = [index.sentences[other].pairs for other in (at, *index.neighbours[at])]
    total = ordered = 0.0
    for one, two in pairwise(token.key for token in claim.tokens):
        if one != two and one in index.where and two in index.where:
            weight = max(claim.weights[one], claim.weights[two])
            total += weight
            ordered += weight * any((one, two) in pairs for pairs in near)
    return coverage * (1 - _ORDER * (1 - ordered / total)) if total else coverage


def _astray(claim: Claim, index: Index, at: int) -> list[str]:
    """Numbers that no sentence of the place has together with a word beside them in the claim."""
    near = [index.sentences[other] for other in (at, *index.neighbours[at])]
    order = [token.key for token in claim.tokens]
    astray: list[str] = []
    for place, token in enumerate(claim.tokens):
        beside = {*order[max(0, place - 1) : place + 2]} & index.where.keys() - {token.key}
        together = any(
            sentence.has(token.key) and sentence.has(key) for sentence in near for key in beside
        )
        if token.kind == "number" and beside and not together:
            astray.append(token.text)
    return astray


def _presence(key: str, index: Index, at: int) -> float:
    """1 in the sentence itself, less beside it, less still elsewhere, 0 nowhere."""
    if index.sentences[at].has(key):
        return 1.0
    if any(index.sentences[near].has(key) for near in index.neighbours[at]):
        return _NEIGHBOUR
    return _SCATTERED if key in index.where else 0.0


def _one_sided(claim: Claim, index: Index, at: int) -> bool:
    """Whether the claim or the sentence negates words that the other one affirms."""
    sentence = index.sentences[at]
    near = [sentence, *(index.sentences[other] for other in index.neighbours[at])]
    for scope in scopes(claim.tokens):
        met = next(((key, other) for key in scope for other in near if other.has(key)), None)
        denied = met[0] in met[1].negated if met else sentence.negated or scope == [stem("only")]
        if not denied:
            return True
    affirmed, negated = keys(claim.tokens, negated=False), keys(claim.tokens, negated=True)
    return any(
        scope[0] in affirmed
        and scope[0] not in sentence.affirmed
        and not any(key in negated for key in scope)
        for scope in scopes(sentence.tokens)
    )


def _quote(text: str) -> str:
    return f"'{textwrap.shorten(text, _QUOTED, placeholder=' ...')}'"
