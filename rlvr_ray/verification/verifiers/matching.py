"""Comparing an answer with right ones: as text, and as a number.

``exact`` compares texts after the normalisation of SQuAD (Rajpurkar et al., 2016, "SQuAD: 100,000+
Questions for Machine Comprehension of Text"). ``numeric`` finds the number that an answer gives and
compares it, units included. It never guesses: where an answer names several numbers and none of
them plainly is the answer, there is no score, so that to list numbers does not pay.
"""

import re
import unicodedata
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from rlvr_ray.core import language
from rlvr_ray.core.numbers.linking import TooManyError, common, quantities
from rlvr_ray.core.numbers.quantity import Quantity, plain
from rlvr_ray.core.numbers.units import Unit

# Relative error that decimals may have where no tolerance is set; integers have to be the same.
_DECIMAL = Fraction(1, 10**6)
# Characters of a quoted text, and numbers named, in a detail.
_QUOTED, _NAMED = 80, 4
# How many markers of an answer are looked at, the last ones; how many characters behind one, and
# around an equals sign.
_MARKERS, _SENTENCE, _EQUATION = 20, 300, 60

# "a" in capitals names something ("vitamin A") unless a text begins with it.
_ARTICLES = re.compile(r"(?:\b(?:(?i:the|an)|a)|\A\W?A) (?=\w)(?!(?i:the|an?)\b)")
_MARKUP = re.compile(r"(?<![\w*`])[*_`]++(?=\w)|(?<=[^\W_]|[.,!?)%\"'])[*_`]++(?!\w)")
_GROUPS = re.compile(
    r"(?<![\w.,'])(?:[1-9]\d{0,2}(?:,\d{3})+|[1-9]\d{0,2}(?:'\d{3})+|[1-9]\d?(?:,\d{2})+,\d{3})"
    r"(?![\w,'])"
)
# The spaces around what stands between two operands, and before a percent sign.
_SPACED = re.compile(
    r"(?: ?([<>=^≤≥≠]+) ?|(?:(?<=\d)|(?<=\b\w)) ([-+*/×÷]) (?=\w\b|\d)|(?<=\d) (%))"
)
# Signs, but for those between two digits.
_SIGNS = re.compile(r"(?!(?<=[0-9]).[0-9])(?:[^\w\s]|_)")
# "re-sign" is not "resign", but "co-op" is "coop".
_APART = re.compile(r"\bre$")
_IS = r"(?:\b(?:is|was|equals|(?:would|should|must) be)\b(?!\s*(?:not|n't)\b)|[:=])"
_STRONG = re.compile(
    rf"####|\\boxed\{{|\bfinal (?:answer|result)\b[^\n.:=0-9]{{0,80}}?{_IS}", re.IGNORECASE
)
_WEAK = re.compile(rf"\b(?:answer|result)\b[^\n.:=0-9]{{0,80}}?{_IS}", re.IGNORECASE)
_CONCLUDES = re.compile(r"\b(?:therefore|thus|hence|in total|altogether)\b[,:]?", re.IGNORECASE)
# None of what a question counts, unless it says that nothing is known.
_COUNTS = re.compile(
    r"\b(?:how (?:many|often|much)|number of|wie viele|combien|cu[aá]nt[oa]s)\b", re.IGNORECASE
)
_NONE = re.compile(
    r"\A\W*+(?:none|nobody|nothing|nil|never|keine[rs]?|aucune?|ninguno)\b(?!.*\b(?:say|mention"
    r"|state|specif|provid|given|known))|\b(?:none|no one|nobody)\W*\Z"
    r"|\b(?:no(?! (?:idea|answer|information|mention|way|evidence|doubt|longer|more|one|data"
    r"|indication|details?|number|specific)\b) \w|keine[rnms]?\b|aucune?\b|ning[uú]n)",
    re.IGNORECASE | re.DOTALL,
)
_END = re.compile(r"[.!?](?=\s|$)|\n|(?<=[\w%])\}|(?<=[\w%] )\}")
# An alternative, or a bare number, in the next sentence belongs to this one.
_GOES_ON = re.compile(
    r"[\s.!?}]*(?:(?:or|alternatively|maybe|perhaps|possibly)\b|[^\w\s]*\s*[0-9])", re.IGNORECASE
)
# What follows such a word explains the number before it.
_EXPLAINS = re.compile(
    r"\b(?:as|because|by|for|from|given|if|since|than|when|where|which|with)\b", re.IGNORECASE
)
# Two numbers that something is done with.
_SUM = re.compile(r"[0-9].*(?:[-+*/×÷·^]|\bx\b|\\(?:times|cdot|div)).*[0-9]")
_HEAD = re.compile(
    r"[\s:(~≈\"'*]*(?:(?:about|approximately|around|roughly|exactly|only|just|equal to|the)\s)*",
    re.IGNORECASE,
)
_OR = re.compile(r"\b(?:or|either)\b", re.IGNORECASE)
_WHEN = re.compile(r"\b(?:when|year|wann|jahr|quand|année|cu[aá]ndo|año)\b", re.IGNORECASE)
_PERCENT = re.compile(r"%|\bper ?cent", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Match:
    """How far an answer matches: ``score`` in [0, 1], or None where that cannot be told."""

    score: float | None
    detail: str  #: what was expected and what was found, in one line


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """How far a number may be off: by ``relative`` of the reference, or by ``absolute``."""

    relative: Fraction | None = None  #: None: integers not at all, others by a millionth
    absolute: Fraction = Fraction(0)

    def agree(self, value: Fraction, reference: Fraction) -> bool:
        """Whether the value is near enough."""
        return abs(value - reference) <= self.around(reference, value)

    def around(self, reference: Fraction, value: Fraction) -> Fraction:
        """How far a value may be from the reference."""
        relative = self.relative
        if relative is None:
            whole = reference.denominator == value.denominator == 1
            relative = Fraction(0) if whole else _DECIMAL
        return max(relative * abs(reference), self.absolute)


def exact(answer: str, references: Sequence[str], *, contains: bool = False) -> Match:
    """1 where the normalised answer is one of the normalised references, else 0.

    With ``contains``, also where it contains one as whole words.
    """
    found = f" {normalise(answer)} "
    for reference in references:
        expected = f" {normalise(reference)} "
        if found.strip() and (expected == found or (contains and expected in found)):
            return Match(1.0, f"expected {quote(reference)}, found {quote(answer)}")
    return Match(0.0, f"expected {_any_of(references)}, found {quote(answer)}")


def normalise(text: str) -> str:
    """A text as SQuAD's exact match sees it: without case, punctuation, articles, extra spaces.

    Stricter where that would make different things equal: what stands within a number or between
    two operands stays ("1,5", "10:30", "x < y", "3-4"), as do signs, percent signs and the end of
    "C++". A text that would be empty keeps what it has.
    """
    text = language.normalise(text)
    if not text.isascii():
        text = "".join(char for char in text if not _invisible(char))
    text = _ARTICLES.sub("", _MARKUP.sub("", " ".join(text.split()))).casefold()
    text = _GROUPS.sub(lambda match: re.sub("[,']", "", match[0]), language.normalise(text))
    text = _SPACED.sub(r"\1\2\3", text)
    bare = _SIGNS.sub(_kept, text)
    return " ".join(bare.split()) or " ".join(text.split())


def _invisible(char: str) -> bool:
    return unicodedata.category(char) == "Cf" or "\ufe00" <= char <= "\ufe0f"


def _kept(match: re.Match[str]) -> str:
    """What is left of a sign: itself, a space, or nothing of punctuation around words."""
    char, text, at = match.group(), match.string, match.start()
    before, after = text[max(0, at - 1) : at], text[at + 1 : at + 2]
    if not unicodedata.category(char).startswith("P") and char not in "$+<=>^`|~":
        return char
    if char in "<=>^":
        keep = bool(before and after) or after.isdigit()
    elif before.isalnum() and after.isalnum():
        if char in ",;:—(" or (char == "." and before.isdigit() + after.isdigit()):
            return " "
        letters = before.isalpha() and after.isalpha()
        keep = (
            not letters or char not in ".'-" or _APART.search(text, max(0, at - 3), at) is not None
        )
    elif char in "-.":  # a sign, or a decimal
        keep = after.isdigit() or (char == "-" and after == ".")
        keep = keep and not before.strip(" $€£¥(")
    elif char in "+#" and not after.isalnum():
        keep = text[max(0, at - 3) : at].rstrip("+#")[-1:].isalpha() or (before == after == " ")
    else:
        keep = (char == "%" and before.isdigit()) or (char == "!" and after == "=")
        keep = keep or (char in "*/" and before == after == " ")
    return char if keep else ""


def numeric(question: str, answer: str, references: Sequence[str], tolerance: Tolerance) -> Match:
    """How far the answer's number is that of a reference; any of the references will do.

    1 or 0, but for two ranges, which give the length of what they share over the length of both.
    None where the answer has several numbers, or a reference none.
    """
    try:
        candidates = _candidates(plain(answer))
    except TooManyError as error:
        return Match(None, f"found several numbers: {error} in {quote(answer)}")
    counted = any(candidate.kind != "one" for candidate in candidates)
    none = None if counted or not _COUNTS.search(question) else _NONE.search(answer)
    if none:
        candidates = [Quantity(none.group().strip(), Fraction(0), Fraction(0))]
    try:
        asked = frozenset(end for q in quantities(plain(question)) for end in (q.low, q.high))
    except TooManyError:
        asked = frozenset()
    matches: list[Match] = []
    for text in sorted(set(references)):
        reference = _reference(text)
        if isinstance(reference, Match):
            matches.append(reference)
        else:
            comparison = _Comparison(reference, text, question, asked, tolerance)
            matches.append(comparison.match(candidates, answer))
    best = max(matches, key=lambda match: match.score or 0.0)
    unclear = [match for match in matches if match.score is None]
    return unclear[0] if unclear and best.score != 1.0 else best


def _candidates(text: str) -> list[Quantity]:
    """The quantities of a plain text that may be its answer."""
    for marker in (_STRONG, _WEAK, _CONCLUDES):
        marked = deque(marker.finditer(text), maxlen=_MARKERS)
        if stated := [quantity for match in marked for quantity in _stated(text, match.end())]:
            return stated
    result = _result(text)
    return [result] if result else quantities(text)


def _stated(text: str, start: int) -> list[Quantity]:
    """What the sentence that begins there, after a marker, gives as the answer."""
    start += len(text[start : start + _SENTENCE]) - len(text[start : start + _SENTENCE].lstrip())
    longest = start + _SENTENCE
    end, stop = start, _END.search(text, start, longest)
    while stop and _GOES_ON.match(text, stop.end()):
        end = stop.end()
        stop = _END.search(text, end, longest)
    sentence = text[start : stop.end() if stop else longest]
    if not stop and longest < len(text):
        sentence = sentence[: sentence.rfind(" ")]  # no half number
    if end == start and (result := _result(sentence)):
        return [result]
    numbers = quantities(sentence)
    head = _HEAD.match(sentence)
    if end == start and len(numbers) > 1 and head and numbers[0].start <= head.end():
        between = sentence[numbers[0].end : numbers[1].start]
        if _EXPLAINS.search(between) and not numbers[0].hedged:
            return numbers[:1]
    return numbers


def _result(text: str) -> Quantity | None:
    """The X of a text that ends in "= X", if the text says so without alternatives."""
    text = text.rstrip(" .!*\n$})")
    at = max(text.rfind(sign, len(text) - _EQUATION) for sign in "=≈")
    if at < 0:
        return None
    left = re.split(r"[=≈\n]|[.;,] ", text[max(0, at - _EQUATION) : at])[-1]
    if _OR.search(text, max(0, at - _EQUATION)) or "±" in text[at:]:
        return None
    counted = any(char.isdecimal() for char in left)
    if not counted and text.count("=") + text.count("≈") > 1:
        return None  # "x = 5, x = 6"
    equation = left + text[at:]
    right = [number for number in quantities(equation) if number.end > len(left)]
    if len(right) != 1 or equation[len(left) + 1 : right[0].start].strip(" ~*({"):
        return None
    converts = right[0].start < len(left)
    return right[0] if converts or not counted or _SUM.search(left) else None


def _reference(text: str) -> Quantity | Match:
    """The one quantity of a reference, or the match that says that it has not one."""
    try:
        stated = _candidates(plain(text))
    except TooManyError as error:
        return Match(None, f"the reference {quote(text)} has several numbers: {error}")
    numbers = [q for q in stated if q.kind not in ("date", "year")]
    if not numbers and all(q.kind == "year" for q in stated):
        numbers = stated
    if not numbers:
        return Match(None, f"the reference {quote(text)} has no number; compare it with exact")
    if any(q.low is None or q.high is None for q in numbers):
        return Match(None, f"the reference {quote(text)} has too many digits")
    if len({(q.low, q.high, q.units) for q in numbers}) > 1:
        return Match(None, f"the reference {quote(text)} has several numbers: {_list(numbers)}")
    return numbers[0]


@dataclass(frozen=True, slots=True)
class _Comparison:
    """What an answer is compared with; ``asked`` are the numbers of the question."""

    reference: Quantity
    text: str
    question: str
    asked: frozenset[Fraction | None]
    tolerance: Tolerance

    def match(self, candidates: list[Quantity], answer: str) -> Match:
        """The score of an answer that has these candidates, which may be none."""
        wanted = f"expected {quote(self.text)}"
        fitting = self._hard(self._fitting(candidates))
        if not fitting:
            what = "no number of such a unit" if candidates else "no number"
            return Match(0.0, f"{wanted}, found {what} in {quote(answer)}")
        if not all(self._same(fitting[0], other) for other in fitting[1:]):
            return Match(None, f"{wanted}, found several numbers: {_list(fitting)}")
        scores = [self._score(candidate) for candidate in fitting]
        known = [score for score in scores if score is not None]
        if len(known) < len(scores):
            return Match(None, f"{wanted}, found several numbers: {_list(fitting)}")
        return Match(min(known), f"{wanted}, found {quote(fitting[0].text)}")

    def _fitting(self, candidates: list[Quantity]) -> list[Quantity]:
        """Those of a unit that the reference's can be converted to, or else those without one."""
        units = self.reference.units
        if not units:
            dated = self._year and _WHEN.search(self.question) is not None
            years = [q for q in candidates if dated and q.kind == "year" and not q.hedged]
            return years or candidates
        return [q for q in candidates if common(q.units, units)] or [
            q for q in candidates if not any(unit.known for unit in q.units)
        ]

    @property
    def _year(self) -> bool:
        return len(self.reference.text) == 4 and self.reference.text.isdecimal()

    def _hard(self, candidates: list[Quantity]) -> list[Quantity]:
        """Without those that hardly are the answer, unless one of them is right or all are such."""
        hard = [q for q in candidates if not self._soft(q)]
        soft = [q for q in candidates if self._soft(q)]
        return candidates if not hard or any(self._score(q) != 0.0 for q in soft) else hard

    def _soft(self, candidate: Quantity) -> bool:
        if candidate.hedged:
            return False
        if candidate.kind == "year":
            return not self._year or candidate.low in self.asked
        if candidate.kind == "ordinal" and self.reference.kind == "ordinal":
            return False
        return candidate.kind != "plain" or self.asked.issuperset((candidate.low, candidate.high))

    def _value(self, candidate: Quantity) -> tuple[Fraction, Fraction] | None:
        """The candidate in the reference's unit; a bare number is taken to be in it."""
        if candidate.low is None or candidate.high is None:
            return None
        ratio = self._ratio(candidate.units)
        return candidate.low * ratio, candidate.high * ratio

    def _ratio(self, units: Sequence[Unit]) -> Fraction:
        if pair := common(units, self.reference.units):
            return pair[0].factor / pair[1].factor
        share = any(unit.dimension == "fraction" for unit in units) and not _PERCENT.search(
            self.question
        )
        within = (self.reference.low, self.reference.high)
        if share and not self.reference.units and all(end and abs(end) <= 1 for end in within):
            return units[0].factor  # 50% is 0.5
        return Fraction(1)

    def _same(self, one: Quantity, other: Quantity) -> bool:
        ours, theirs = self._value(one), self._value(other)
        if ours is None or theirs is None:
            return one.text == other.text
        return all(map(self.tolerance.agree, ours, theirs))

    def _score(self, candidate: Quantity) -> float | None:
        """1 or 0, or what two ranges share; None where a range ends at the right number."""
        low, high = self.reference.low, self.reference.high
        scores: list[float | None] = [0.0]
        for reading in filter(None, (candidate, candidate.also)):
            value = self._value(reading)
            if value is None or low is None or high is None:
                continue
            ends = [self.tolerance.agree(value[0], low), self.tolerance.agree(value[1], high)]
            if all(ends):
                return 1.0
            if low == high:
                scores.append(None if any(ends) and not reading.point else 0.0)
            elif reading.point:
                inside = low <= value[0] <= high or any(ends)
                scores.append(float(inside))
            else:
                shared = max(min(high, value[1]) - max(low, value[0]), Fraction(0))
                scores.append(float(shared / (max(high, value[1]) - min(low, value[0]))))
        return None if None in scores else max(score for score in scores if score is not None)


def quote(text: str) -> str:
    """A text in quotes, on one line and shortened, that every file can hold."""
    line = " ".join(text[: 5 * _QUOTED].split())
    line = line if len(line) <= _QUOTED else line[: _QUOTED - 4] + " ..."
    return f"'{line.encode('utf-8', 'backslashreplace').decode().replace(chr(0), '?')}'"


def _any_of(references: Sequence[str]) -> str:
    more = len(references) - _NAMED
    named = ", ".join(map(quote, references[:_NAMED]))
    prefix = "one of " if len(references) > 1 else ""
    return prefix + named + (f" and {more} more" if more > 0 else "")


def _list(numbers: Sequence[Quantity]) -> str:
    named = ", ".join(dict.fromkeys(quote(number.text) for number in numbers[: 2 * _NAMED]))
    return named + (" ..." if len(numbers) > 2 * _NAMED else "")
