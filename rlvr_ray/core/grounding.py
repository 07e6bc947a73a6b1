"""Grounding: how far the contexts contain what an answer states, without a language model.

An answer is cut into sentences. A sentence is supported as far as its content words, numbers and
names occur close together and in the same order at one place of the contexts; a number or a name
that occurs nowhere, or a negation on one side only, overrules any other agreement. Embedding
similarity fills in a little. This measures containment, not truth.
"""

import heapq
import math
import re
import textwrap
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import pairwise
from typing import Literal

Similarity = Callable[[Sequence[str], Sequence[str]], Sequence[Sequence[float]]]
"""Cosines: one row a statement, one column a context sentence."""

_Kind = Literal["word", "name", "number"]

# What repeats the question says little: what the answer adds is what has to be found.
_ASKED = 0.5
# A word outside the best place may belong to another fact: it counts as half found.
_SCATTERED = 0.5
# A neighbour of the best sentence mostly continues it ("He ..."): nearly as good.
_NEIGHBOUR = 0.95
# Share of the lexical support that hangs on word order: paraphrases reorder, so not most of it.
_ORDER = 0.3
# Content words this far apart still stand in order: room for an apposition.
_REACH = 4
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
# How many content words a negation governs: later ones mostly stand outside its clause.
_SCOPE = 3
# For reasons only: below this lexical support the words do not stand together; what is cited.
_TOGETHER, _NAMED, _QUOTED = 0.8, 5, 100
# Among places with the same words of the claim, one about the question is the better one.
_TIE_BREAK = 0.01
# No abbreviation is longer, and a bound keeps texts full of them from costing their square.
_LONGEST = 40


def _words(text: str) -> list[str]:
    return text.split()


_NEGATIONS = frozenset(
    _words(
        "not no never cannot cant dont doesnt didnt isnt wasnt arent werent wont without neither nor "
        "none nobody nothing nowhere hardly barely scarcely"
    )
)
# Words too common to be evidence, pronouns, and what fills a spoken answer.
_FUNCTION = _NEGATIONS | frozenset(
    _words(
        "a an the this that these those there here it its he him his she her hers they them their "
        "theirs we us our ours you your yours one and or but so if then than as of at by for from in "
        "into on onto to with about during per via is are was were be been being am has have had "
        "having do does did doing can could may might must shall should will would which who whom "
        "whose what when where why how whether while because since also too very just such some any "
        "each both other another own same yes yeah yea yep nope ok okay well sure oh hi hello indeed "
        "however therefore thus hence although though even still quite rather really absolutely "
        "definitely certainly actually let lets eg ie etc s t re ve ll d m n"
    )
)
_SELF = frozenset(_words("i im my me myself"))
_ORDINAL = frozenset(_words("st nd rd th s"))  # 19th, 1930s: the number says it
_PLAIN = str.maketrans("\u2018\u2019\u201c\u201d\u2212", "''\"\"-")
_YES_NO_WORDS = {"yes": True, "yeah": True, "yep": True, "no": False, "nope": False}
_ONES = _words("two three four five six seven eight nine ten eleven twelve thirteen fourteen")
_ONES += _words("fifteen sixteen seventeen eighteen nineteen")
_TENS = _words("twenty thirty forty fifty sixty seventy eighty ninety")
_NUMBER_WORDS = {"zero": 0} | {word: value for value, word in enumerate(_ONES, start=2)}
_NUMBER_WORDS |= {word: 10 * value for value, word in enumerate(_TENS, start=2)}
_MULTIPLIERS = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_ABBREVIATIONS = frozenset(
    _words(
        "mr mrs ms dr prof st jr sr vs cf al fig figs nos vol pp ca approx inc ltd co corp dept est "
        "gen gov sen rep rev hon col capt lt sgt jan feb mar apr jun jul aug sep sept oct nov dec phd"
    )
)

# Possessive quantifiers (++, *+) give nothing back, so no input makes these backtrack.
_TOKEN = re.compile(
    r"(?:v(?=\d))?(?P<number>(?:(?<!\S)-)?(?:\d{1,3}(?:,\d{3})++|\d++)(?:\.\d++)?(?:e[+-]?\d{1,3}+)?)"
    r"(?:(?P<unit>[^\W\d_]{1,3})\b|(?!\w|\.\d))"
    r"|(?P<dotted>(?:[^\W\d_]\.){2,}+(?:[^\W\d_]\b)?)"
    r"|(?P<cjk>[\u3040-\u30ff\u3400-\u9fff])"
    r"|(?P<word>\w++(?:['.]\w++)*+)"
    r"|(?P<sign>[%.,;:!?()])",
    re.IGNORECASE,
)
_END = re.compile(r"[.!?]++[\"')\]*`\u201d]*+(?=\s|$)|[\u3002\uff01\uff1f]")
_BULLET = re.compile(r"^\s*+(?:[-*+\u2022\u2013>]++|#++|\(?\d{1,2}[.)])\s++(?=\S)")
_GLUED = re.compile(r"(?<=[a-z\d)\"\]][.!?])(?=[A-Z\"])")
_SUFFIXES = re.compile(r"(?:at(?:ions?|ing|ed|es?)|ings?|ions?|ed|ly|es|s)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Support:
    """One statement, how far the contexts support it (0 to 1), and why in a few words."""

    statement: str
    support: float
    reason: str


@dataclass(frozen=True, slots=True)
class _Token:
    key: str
    text: str
    kind: _Kind
    doubtful: bool = False  # a capitalised first word, or "I"
    negation: int = -1  # which negation of the sentence governs it; -1: none


@dataclass(frozen=True, slots=True)
class _Sentence:
    text: str
    tokens: tuple[_Token, ...]
    affirmed: frozenset[str]
    negated: frozenset[str]
    pairs: frozenset[tuple[str, str]]

    def has(self, key: str) -> bool:
        return key in self.affirmed or key in self.negated


@dataclass(frozen=True, slots=True)
class _Index:
    """The sentences of all contexts, their neighbours, and where each key occurs."""

    sentences: list[_Sentence]
    neighbours: list[list[int]]
    where: dict[str, list[int]]
    spelled: set[str]

    def lacks(self, token: _Token) -> bool:
        """Whether it occurs nowhere; a name has to be spelled alike, but for a plural."""
        text = token.text.casefold()
        spellings = (text, text + "s", text.removesuffix("s"))
        named = token.kind != "name" or any(form in self.spelled for form in spellings)
        return token.key not in self.where or not named


@dataclass(frozen=True, slots=True)
class _Claim:
    text: str
    tokens: tuple[_Token, ...]  # of a bare "yes" or "no": those of the question
    weights: dict[str, float]  # of its distinct keys
    around: tuple[str, ...]  # the other keys of the question
    short: bool
    affirms: bool | None  # what a bare "yes" or "no" says to the question


def split_statements(text: str) -> list[str]:
    """Cut a text into sentences, at line ends and bullets too; never returns an empty one.

    A line that starts in lower case continues the line before it. Abbreviations, initials,
    decimals, versions, URLs and identifiers hold together.
    """
    statements: list[str] = []
    for block in _blocks(text):
        start = 0
        for end in _END.finditer(block):
            before = block[max(start, end.start() - _LONGEST) : end.start()]
            if not _continues(before, end.group(), block[end.end() : end.end() + 2]):
                statements.append(block[start : end.end()].strip())
                start = end.end()
        statements.append(block[start:].strip())
    return [statement for statement in statements if statement]


def ground(
    question: str, answer: str, contexts: Sequence[str], similarity: Similarity
) -> list[Support]:
    """Support of each statement of the answer, in its order; repeated statements count once.

    `similarity` is called at most once, with the statements and only those context sentences that
    share words with them; a cosine that is not a number counts as 0. Sentences that claim nothing
    ("Sure!", questions, a bare "Yes." before an explanation) are left out, unless the answer has
    no others. The order of the contexts does not matter. A blank answer gives an empty list.
    """
    asked = _parse(_normalise(question)).tokens
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


# --- Text to tokens -----------------------------------------------------------------------------


def _normalise(text: str) -> str:
    return unicodedata.normalize("NFKC", text).translate(_PLAIN)


def _blocks(text: str) -> list[str]:
    blocks: list[str] = []
    joins = False
    for line in text.splitlines():
        content = _BULLET.sub("", line, count=1).strip()
        if joins and content[:1].islower() and content == line.strip():
            blocks[-1] += " " + content
        elif content:
            blocks.append(content)
        joins = bool(content)
    return blocks


def _continues(before: str, mark: str, after: str) -> bool:
    """Whether a full stop is one of an abbreviation, of an initial, or of a trailing-off."""
    if not mark.startswith("."):
        return False
    lower_next = after.strip()[:1].islower()
    if mark.startswith(".."):
        return lower_next
    last = before.rsplit(maxsplit=1)[-1].lstrip("(\"'[").casefold() if before.strip() else ""
    if last in ("no", "etc"):
        return after.strip()[:1].isdigit() if last == "no" else lower_next
    letters = last.split(".")
    initials = all(len(letter) == 1 and letter.isalpha() for letter in letters) and last != "i"
    return initials or last.replace(".", "") in _ABBREVIATIONS


def _tokens(text: str) -> Iterator[tuple[str, _Kind | None]]:
    """Raw pieces and their kinds, in order; punctuation has None. Capitals are judged later."""
    for match in _TOKEN.finditer(text):
        group, piece = match.lastgroup, match.group()
        if group in ("number", "unit"):
            yield match["number"], "number"
            if match["unit"] and match["unit"].casefold() not in _ORDINAL:
                yield match["unit"], "word"
        elif group == "dotted":
            yield piece.replace(".", ""), "name" if piece.isupper() else "word"
        elif piece == "%":
            yield "percent", "word"
        elif group == "sign":
            yield piece, None
        elif any(part.isdecimal() for part in piece.split(".")):
            yield piece, "name"  # a version, an address
        else:
            for part in piece.split("."):
                yield from _word(part.strip("_"), dotted="." in piece)


def _word(text: str, *, dotted: bool) -> Iterator[tuple[str, _Kind | None]]:
    base, _, rest = text.partition("'")
    if text.casefold().endswith("n't"):
        yield "not", "word"  # what carries it is an auxiliary
    elif base:
        odd = any(char.isupper() or not char.isalpha() for char in base[1:])
        name = odd or (dotted and base.casefold() not in _FUNCTION)
        ending = rest in ("s", "m", "re", "ve", "ll", "d")
        yield base if ending else base + rest, "name" if name else "word"


def _parse(text: str) -> _Sentence:
    """The content words of a normalised sentence, with kinds and negations."""
    raw = list(_tokens(text))
    shouting = text.isupper() and len(raw) > _SHORT
    tokens: list[_Token] = []
    negation, reach, first, skip = -1, 0, True, False
    for at, (piece, kind) in enumerate(raw):
        lower = piece.casefold()
        following = raw[at + 1][0] if at + 1 < len(raw) else ""
        if skip:
            skip = False
            continue
        if kind is None or lower == "but":
            if reach == _SCOPE and tokens:  # "is not," governs what stands before it
                tokens[-1] = replace(tokens[-1], negation=negation)
            reach = 0
            continue
        if lower in _NEGATIONS:  # "not only" denies no more than the "only"
            negation, reach = negation + 1, 1 if following.casefold() == "only" else _SCOPE
        if kind == "number" or lower in _NUMBER_WORDS:
            key, skip = _number(lower, following.casefold())
            kind = "number"
        elif lower in _FUNCTION and kind == "word":
            first = False
            continue
        else:
            key = _stem(lower)
        capital = piece[:1].isupper() and lower not in _SELF and not shouting
        alone = not following[:1].isupper() or following.casefold() in _FUNCTION
        if kind == "word" and capital and not (first and alone):
            kind = "name"
        elif shouting and kind == "name" and piece.isalpha():
            kind = "word"
        opens = first and capital and kind == "word" and not lower.endswith("ly")
        doubtful = opens or lower in _SELF
        tokens.append(_Token(key, piece, kind, doubtful, negation if reach else -1))
        first, reach = False, max(reach - 1, 0)
    return _Sentence(text, tuple(tokens), _keys(tokens, False), _keys(tokens, True), _pairs(tokens))


def _keys(tokens: Sequence[_Token], negated: bool) -> frozenset[str]:
    return frozenset(token.key for token in tokens if (token.negation >= 0) is negated)


def _pairs(tokens: Sequence[_Token]) -> frozenset[tuple[str, str]]:
    return frozenset(
        (token.key, later.key)
        for at, token in enumerate(tokens)
        for later in tokens[at + 1 : at + 1 + _REACH]
    )


def _number(text: str, following: str) -> tuple[str, bool]:
    """The value as a key, exact and without trailing zeros; whether the next word belongs to it."""
    if text in _NUMBER_WORDS:
        value = _NUMBER_WORDS[text]
        joins = value >= 20 and 0 < _NUMBER_WORDS.get(following, 0) < 10
        text = str(value + _NUMBER_WORDS[following] if joins else value)
    else:
        joins = False
        text = text.lstrip("v").replace(",", "")
    sign, digits, exponent = Decimal(text).as_tuple()
    shift = int(exponent) + (0 if joins else _MULTIPLIERS.get(following, 0))
    plain = "".join(map(str, digits)).lstrip("0")
    kept = plain.rstrip("0")
    shift = shift + len(plain) - len(kept) if kept else 0
    return f"#{'-' * sign if kept else ''}{kept}e{shift}", joins or following in _MULTIPLIERS


def _stem(word: str) -> str:
    suffix = _SUFFIXES.search(word, 3)
    if suffix and not word.endswith("eed"):
        word = word[: suffix.start()]
    if len(word) > 3 and word.endswith("e"):
        word = word[:-1]
    if len(word) > 3 and word[-1] == word[-2]:
        word = word[:-1]
    return word[:-1] + "i" if len(word) > 2 and word.endswith("y") else word


def _index(contexts: Sequence[str]) -> _Index:
    """Index the contexts in an order of its own, so that theirs cannot matter."""
    index = _Index([], [], defaultdict(list), set())
    for context in sorted({_normalise(context) for context in contexts}):
        texts = split_statements(_GLUED.sub(" ", context))
        low, high = len(index.sentences), len(index.sentences) + len(texts)
        for at, text in enumerate(texts, start=low):
            sentence = _parse(text)
            index.sentences.append(sentence)
            index.spelled.update(token.text.casefold() for token in sentence.tokens)
            index.neighbours.append([near for near in (at - 1, at + 1) if low <= near < high])
            for key in sentence.affirmed | sentence.negated:
                index.where[key].append(at)
    return index


# --- Statements against places --------------------------------------------------------------------


def _claim(text: str, asked: tuple[_Token, ...]) -> _Claim:
    sentence = _parse(_normalise(text))
    affirms: bool | None = None
    if text.rstrip().endswith("?") or all(token.key in _SELF for token in sentence.tokens):
        sentence = _parse("")
    if not sentence.tokens:
        affirms = _YES_NO_WORDS.get(text.casefold().strip(" .!,"))
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
    keys = [token.key for token in claim.tokens]
    astray: list[str] = []
    for place, token in enumerate(claim.tokens):
        beside = {*keys[max(0, place - 1) : place + 2]} & index.where.keys() - {token.key}
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
    for scope in _scopes(claim.tokens):
        met = next(((key, other) for key in scope for other in near if other.has(key)), None)
        denied = met[0] in met[1].negated if met else sentence.negated or scope == [_stem("only")]
        if not denied:
            return True
    affirmed, negated = _keys(claim.tokens, False), _keys(claim.tokens, True)
    return any(
        scope[0] in affirmed
        and scope[0] not in sentence.affirmed
        and not any(key in negated for key in scope)
        for scope in _scopes(sentence.tokens)
    )


def _scopes(tokens: Sequence[_Token]) -> list[list[str]]:
    """The keys that each negation governs, nearest first."""
    scopes: dict[int, list[str]] = defaultdict(list)
    for token in tokens:
        if token.negation >= 0:
            scopes[token.negation].append(token.key)
    return list(scopes.values())


def _quote(text: str) -> str:
    return f"'{textwrap.shorten(text, _QUOTED, placeholder=' ...')}'"
