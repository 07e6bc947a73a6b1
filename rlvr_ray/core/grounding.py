"""Grounding: how far the contexts contain what an answer states, without a language model.

An answer is cut into sentences. A sentence is supported as far as its content words, numbers and
names occur close together and in the same order at one place of the contexts; a number or a name
that occurs nowhere, or a negation on one side only, overrules any other agreement. Embedding
similarity fills in a little. This measures containment, not truth.
"""

import heapq
import math
import textwrap
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rlvr_ray.core.text import (
    SELF,
    YES_NO_WORDS,
    Sentence,
    Token,
    keys,
    normalise,
    parse,
    scopes,
    split_statements,
    stem,
    unglued,
)

Similarity = Callable[[Sequence[str], Sequence[str]], Sequence[Sequence[float]]]
"""Cosines: one row a statement, one column a context sentence."""

# What repeats the question says little: what the answer adds is what has to be found.
_ASKED = 0.5
# A word outside the best place may belong to another fact: it counts as half found.
_SCATTERED = 0.5
# A neighbour of the best sentence mostly continues it ("He ..."): nearly as good.
_NEIGHBOUR = 0.95
# Share of the lexical support that hangs on word order: paraphrases reorder, so not most of it.
_ORDER = 0.3
# Share of the similarity: it knows paraphrase from chance overlap but is blind to details.
_SIMILARITY = 0.1
# Exponent of the coverage: one word that is not there can make the whole sentence another claim.
_DEMAND = 1.5
# Factors for a number or name found nowhere, and for a one-sided negation: well below 0.5.
_MISSING = 0.35
_NEGATED = 0.3
# A number that the contexts have, but nowhere near what the claim counts or dates with it.
_ASTRAY = 0.5
# The same, milder, for a first word, which is only perhaps a name, and for "I": contexts that do
# not speak of themselves cannot support what a speaker says of himself.
_DOUBTFUL = 0.6
# Up to this many content words a statement is a fragment that only the question completes.
_SHORT = 3
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
    """One statement, how far the contexts support it (0 to 1), and why in a few words."""

    statement: str
    support: float
    reason: str


@dataclass(frozen=True, slots=True)
class _Index:
    """The sentences of all contexts, their neighbours, and where each key occurs."""

    sentences: list[Sentence]
    neighbours: list[list[int]]
    where: dict[str, list[int]]
    spelled: set[str]

    def lacks(self, token: Token) -> bool:
        """Whether it occurs nowhere; a name has to be spelled alike, but for a plural."""
        text = token.text.casefold()
        spellings = (text, text + "s", text.removesuffix("s"))
        named = token.kind != "name" or any(form in self.spelled for form in spellings)
        return token.key not in self.where or not named


@dataclass(frozen=True, slots=True)
class _Claim:
    text: str
    tokens: tuple[Token, ...]  # of a bare "yes" or "no": those of the question
    weights: dict[str, float]  # of its distinct keys
    around: tuple[str, ...]  # the other keys of the question
    short: bool
    affirms: bool | None  # what a bare "yes" or "no" says to the question


def ground(
    question: str, answer: str, contexts: Sequence[str], similarity: Similarity
) -> list[Support]:
    """Support of each statement of the answer, in its order; repeated statements count once.

    `similarity` is called at most once, with the statements and only those context sentences that
    share words with them; a cosine that is not a number counts as 0. Sentences that claim nothing
    ("Sure!", questions, a bare "Yes." before an explanation) are left out, unless the answer has
    no others. The order of the contexts does not matter. A blank answer gives an empty list.
    """
    asked = parse(normalise(question)).tokens
    index = _index(contexts)
    unique: dict[str, str] = {}
    for text in split_statements(answer):
        unique.setdefault(" ".join(text.casefold().split()), text)
    claims = [_claim(text, asked) for text in unique.values()]
    claims = (
        [claim for claim in claims if claim.tokens and claim.affirms is None]
        or [claim for claim in claims if claim.tokens]
        or claims
    )
    places = [_places(claim, index) for claim in claims]
    cosines = _cosines(question, claims, places, index, similarity)
    return [
        _support(claim, ranked, index, cosine)
        for claim, ranked, cosine in zip(claims, places, cosines, strict=True)
    ]


def faithfulness(supports: Sequence[Support]) -> float:
    """Mean support, in [0, 1]; ValueError where there are no statements."""
    if not supports:
        raise ValueError("an answer without statements has no faithfulness")
    return math.fsum(support.support for support in supports) / len(supports)


def answerable(question: str, contexts: Sequence[str]) -> float:
    """How far one place of the contexts has what a question speaks of, in [0, 1].

    1 does not mean that they answer it: what is asked for may be the one thing that is not said.
    """
    index = _index(contexts)
    tokens = parse(normalise(question)).tokens
    claim = _claim(" ".join(token.text for token in tokens), ())
    keys = list(dict.fromkeys(token.key for token in tokens))
    places = _places(claim, index)
    if not keys or not places:
        return 0.0
    near = max(math.fsum(_presence(key, index, at) for key in keys) for at in places) / len(keys)
    unknown = any(index.lacks(token) for token in tokens if token.kind != "word")
    return near * (_MISSING if unknown else 1.0)


def _index(contexts: Sequence[str]) -> _Index:
    """Index the contexts in an order of its own, so that theirs cannot matter."""
    index = _Index([], [], defaultdict(list), set())
    for context in sorted({normalise(context) for context in contexts}):
        texts = split_statements(unglued(context))
        low, high = len(index.sentences), len(index.sentences) + len(texts)
        for at, text in enumerate(texts, start=low):
            sentence = parse(text)
            index.sentences.append(sentence)
            index.spelled.update(token.text.casefold() for token in sentence.tokens)
            index.neighbours.append([near for near in (at - 1, at + 1) if low <= near < high])
            for key in sentence.affirmed | sentence.negated:
                index.where[key].append(at)
    return index


def _claim(text: str, asked: tuple[Token, ...]) -> _Claim:
    sentence = parse(normalise(text))
    affirms: bool | None = None
    if text.rstrip().endswith("?") or all(token.key in SELF for token in sentence.tokens):
        sentence = parse("")
    if not sentence.tokens:
        affirms = YES_NO_WORDS.get(text.casefold().strip(" .!,"))
    tokens = sentence.tokens if affirms is None else asked
    weights: dict[str, float] = {}
    repeated = {token.key for token in asked} if affirms is None else set()
    for token in tokens:
        weights[token.key] = _ASKED if token.key in repeated else 1.0
    short = affirms is None and len(weights) <= _SHORT
    around = [token.key for token in asked if token.key not in weights]
    return _Claim(text, tokens, weights, tuple(dict.fromkeys(around)), short, affirms)


def _places(claim: _Claim, index: _Index) -> list[int]:
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


def _cosines(
    question: str,
    claims: Sequence[_Claim],
    places: Sequence[Sequence[int]],
    index: _Index,
    similarity: Similarity,
) -> list[dict[int, float]]:
    columns = sorted({at for ranked in places for at in ranked})
    if not columns:
        return [{} for _ in claims]
    rows = [f"{question} {claim.text}".strip() if claim.short else claim.text for claim in claims]
    matrix = similarity(rows, [index.sentences[at].text for at in columns])
    return [
        {at: min(max(0.0, float(cosine)), 1.0) for at, cosine in zip(columns, row, strict=True)}
        for row in matrix
    ]


def _support(
    claim: _Claim, places: Sequence[int], index: _Index, cosine: dict[int, float]
) -> Support:
    if not claim.tokens:
        return Support(statement=claim.text, support=0.0, reason="claims nothing to look up")
    if not places:
        return Support(statement=claim.text, support=0.0, reason="nothing of it in the contexts")
    lexical, agrees, at = max(
        (_lexical(claim, index, at), not _one_sided(claim, index, at), at) for at in places
    )
    score = lexical * (1 - _SIMILARITY * (1 - cosine[at]))
    if claim.short and claim.around:
        near = math.fsum(_presence(key, index, at) for key in claim.around) / len(claim.around)
        score *= 1 - _RELEVANCE * (1 - near)
    if claim.affirms is not None:
        score *= _YES_NO
        agrees = agrees is claim.affirms
    missing = [token for token in claim.tokens if index.lacks(token)]
    wrong = [token.text for token in missing if token.kind != "word"]
    if wrong:
        score *= _MISSING
    elif any(token.doubtful for token in missing):
        score *= _DOUBTFUL
    astray = _astray(claim, index, at)
    if astray and not wrong:
        score *= _ASTRAY
    if not agrees:
        score *= _NEGATED
    if wrong:
        reason = f"not in the contexts: {', '.join(dict.fromkeys(wrong))}"
    elif not agrees:
        reason = f"negated on one side only: {_quote(index.sentences[at].text)}"
    elif astray:
        reason = f"not beside these words in the contexts: {', '.join(astray)}"
    elif missing:
        words = list(dict.fromkeys(token.text for token in missing))
        reason = f"words not in the contexts: {', '.join(words[:_NAMED])}"
    elif lexical < _TOGETHER:
        reason = f"its words stand apart, most of them in {_quote(index.sentences[at].text)}"
    else:
        reason = f"found in {_quote(index.sentences[at].text)}"
    return Support(statement=claim.text, support=min(max(score, 0.0), 1.0), reason=reason)


def _lexical(claim: _Claim, index: _Index, at: int) -> float:
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


def _astray(claim: _Claim, index: _Index, at: int) -> list[str]:
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


def _presence(key: str, index: _Index, at: int) -> float:
    """1 in the sentence itself, less beside it, less still elsewhere, 0 nowhere."""
    if index.sentences[at].has(key):
        return 1.0
    if any(index.sentences[near].has(key) for near in index.neighbours[at]):
        return _NEIGHBOUR
    return _SCATTERED if key in index.where else 0.0


def _one_sided(claim: _Claim, index: _Index, at: int) -> bool:
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
