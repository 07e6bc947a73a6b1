"""The verifier ``numeric``: compares the number in an answer with that of a reference.

Units are converted. The verifier does not guess: if an answer has several numbers and none is
clearly the answer, there is no score, so listing numbers does not help.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from pydantic import Field

from rlvr_ray.core import language
from rlvr_ray.core.numbers import dates, labels, linking, numerals, quantity, units
from rlvr_ray.core.numbers import quantities as quantities_module
from rlvr_ray.core.numbers.linking import TooManyError, common, quantities
from rlvr_ray.core.numbers.quantity import Quantity, plain
from rlvr_ray.core.numbers.units import Unit
from rlvr_ray.verification.verifier import Claim
from rlvr_ray.verification.verifiers import stated_numbers
from rlvr_ray.verification.verifiers.rules import Match, RuleVerifier
from rlvr_ray.verification.verifiers.shared import Options, quote, read_options

# Relative error that decimals may have where no tolerance is set; integers have to be the same.
_DECIMAL = Fraction(1, 10**6)
#: Numbers that a detail names.
_NAMED = 8

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
_WHEN = re.compile(r"\b(?:when|year|wann|jahr|quand|année|cu[aá]ndo|año)\b", re.IGNORECASE)
_PERCENT = re.compile(r"%|\bper ?cent", re.IGNORECASE)


class _Numeric(Options):
    # Half of the reference at most: with more, an answer far too low would do.
    tolerance: float | None = Field(default=None, ge=0, le=0.5)
    absolute: float = Field(default=0.0, ge=0)


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


def create(options: Mapping[str, Any]) -> RuleVerifier:
    """1 where the answer's number is a reference's, else 0; None without references.

    A JudgeError where the answer has several numbers. Options ``tolerance``, a share of the
    reference up to 0.5 (left out: integers exactly, others to a millionth), and ``absolute``.
    """
    chosen = read_options(_Numeric, "numeric", options)
    tolerance = Tolerance(
        relative=None if chosen.tolerance is None else Fraction(repr(chosen.tolerance)),
        absolute=Fraction(repr(chosen.absolute)),
    )

    def rule(claim: Claim) -> Match | None:
        if not claim.references:
            return None
        return match(claim.question, claim.answer, claim.references, tolerance)

    reading = (stated_numbers, language, linking, quantity, quantities_module, dates, numerals)
    return RuleVerifier(rule, chosen, sys.modules[__name__], *reading, units, labels)


def match(question: str, answer: str, references: Sequence[str], tolerance: Tolerance) -> Match:
    """How far the answer's number is that of a reference; any of the references will do.

    1 or 0, but for two ranges, which give the length of what they share over the length of both.
    None where the answer has several numbers, or a reference none.
    """
    try:
        candidates = stated_numbers.candidates(plain(answer))
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


def _reference(text: str) -> Quantity | Match:
    """The one quantity of a reference, or the match that says that it has not one."""
    try:
        stated = stated_numbers.candidates(plain(text))
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


def _list(numbers: Sequence[Quantity]) -> str:
    named = ", ".join(dict.fromkeys(quote(number.text) for number in numbers[:_NAMED]))
    return named + (" ..." if len(numbers) > _NAMED else "")
