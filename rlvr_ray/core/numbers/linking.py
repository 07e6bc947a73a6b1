"""Quantities of several numbers (ranges, sums, conversions, lists), and equal quantities."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

from rlvr_ray.core.numbers.dates import Date
from rlvr_ray.core.numbers.quantities import numbers
from rlvr_ray.core.numbers.quantity import Quantity, ended
from rlvr_ray.core.numbers.units import Unit

#: A text with more numbers than this is not read.
MOST = 200
# Quantities further apart than this, in characters, are not linked with each other.
_NEAR = 40
# How far a converted quantity in parentheses may be off by rounding.
_ROUNDING = Fraction(1, 20)
# How far the same in another unit may be off in what two texts say.
_CONVERSION = Fraction(1, 200)
_BETWEEN = re.compile(r"\bbetween (?:about |around )?$", re.IGNORECASE)
_TO = re.compile(r" ?(?:-|-to-|to|through|until|till|up to|bis|à|a) ?", re.IGNORECASE)
_AND = re.compile(r" and ", re.IGNORECASE)
# What stands between the members of a list, and between alternatives.
_LIST = re.compile(
    r"(?:\W|\b(?:or|vs|versus|maybe|perhaps|possibly|alternatively|either|else|and|to|then|but|again"
    r"|aka|ie|i\.e|even|about|around|some|x)\b)*",
    re.IGNORECASE,
)
_OR = re.compile(
    r"/|\b(?:or|vs|versus|maybe|perhaps|possibly|alternatively|either|else)\b", re.IGNORECASE
)
# A sentence or a label ends a list.
_LIST_ENDS = re.compile(r"(?<!i\.e)[.!?:]\s")
_SUMMED = ("length", "time", "mass", "calendar")
_SUM = re.compile(r",? (?:and )?")
_CONVERTED = re.compile(r" ?[(/=≈] ?(?:about |around |or |~)?|,? or (?:about |around )?")


class TooManyError(ValueError):
    """A text has more than ``MOST`` numbers."""


def quantities(text: str) -> list[Quantity]:
    """What may be the answer to a question for a number, in order; raises TooManyError."""
    found: list[Quantity] = []
    for at, number in enumerate(numbers(text)):
        if at >= MOST:
            raise TooManyError(f"more than {MOST} numbers")
        if not number.denied and number.kind not in ("name", "time"):
            found += number.parts or (number,)
    return linked(text, found)


def linked(text: str, found: Sequence[Quantity]) -> list[Quantity]:
    """The numbers of a text with ranges, sums and conversions as one quantity each."""
    return _listed(text, _merged(text, _ranges(text, found)))


def _ranges(text: str, numbers: Sequence[Quantity]) -> Iterator[Quantity]:
    """The numbers as quantities, those of a range as one."""
    rest = iter([*pairwise(numbers), *((number, None) for number in numbers[-1:])])
    for low, high in rest:
        found = _range(text, low, high) if high else None
        if found:
            next(rest)
        yield found or low


def _range(text: str, low: Quantity, high: Quantity) -> Quantity | None:
    glue = text[low.end : high.start]
    between = _BETWEEN.search(text, max(0, low.start - 20), low.start)
    if len(glue) > _NEAR or not (_AND if between else _TO).fullmatch(glue):
        return None
    if low.low is None or high.low is None or not {low.kind, high.kind} <= {"plain", "year"}:
        return None
    first, units = low.low, high.units or low.units
    if low.units and high.units:
        pair = common(low.units, high.units)
        if pair is None:
            return None
        first, units = first * pair[0].factor / pair[1].factor, (pair[1],)
    if low.scale == 1 and first * high.scale < high.low:
        first *= high.scale  # "1.2 to 1.5 million"
    if first >= high.low:
        return None
    whole = replace(low, units=units, numeral=(low.numeral[0], high.numeral[1]), kind="plain")
    return replace(ended(text, whole, high.end), low=first, high=high.low)


def common(ours: Sequence[Unit], theirs: Sequence[Unit]) -> tuple[Unit, Unit] | None:
    """The likeliest two units of one dimension, or None where there are none."""
    return next(((u, v) for u in ours for v in theirs if u.dimension == v.dimension), None)


def _merged(text: str, quantities: Iterable[Quantity]) -> list[Quantity]:
    """Sums ("1 hour 30 minutes") and conversions ("330 m (1,083 ft)") as one quantity each."""
    merged: list[Quantity] = []
    for quantity in quantities:
        last = merged[-1] if merged else None
        pair = common(last.units, quantity.units) if last else None
        if last is None or pair is None or pair[0].factor == pair[1].factor or last.also:
            merged.append(quantity)
            continue
        ratio = pair[1].factor / pair[0].factor
        glue = text[last.end : quantity.end][: quantity.start - last.end]
        whole = replace(last, text=text[last.start : quantity.end], end=quantity.end)
        if last.low is None or quantity.low is None or len(glue) > _NEAR:
            merged.append(quantity)
        elif _CONVERTED.fullmatch(glue) and _alike(last, quantity, ratio):
            merged[-1] = replace(whole, text=last.text, also=quantity)
        elif (
            pair[0].dimension in _SUMMED
            and _SUM.fullmatch(glue)
            and _continues(last, quantity, ratio)
        ):
            total = last.low + quantity.low * ratio
            merged[-1] = replace(whole, low=total, high=total, units=(pair[0],))
        else:
            merged.append(quantity)
    return merged


def _alike(one: Quantity, other: Quantity, ratio: Fraction) -> bool:
    ends = ((one.low, other.low), (one.high, other.high))
    return all(
        a is not None and b is not None and abs(a - b * ratio) <= _ROUNDING * abs(a)
        for a, b in ends
    )


def _continues(one: Quantity, other: Quantity, ratio: Fraction) -> bool:
    """Whether the other counts what is left over from whole ones of the first unit."""
    if one.low is None or other.low is None or not (one.point and other.point):
        return False
    summed = any(char.isdecimal() for char in one.text[one.numeral[1] - one.start :])
    whole = (one.low / ratio if summed else one.low).denominator == 1
    return whole and one.low > 0 and 0 <= other.low * ratio < 1


def _listed(text: str, quantities: list[Quantity]) -> list[Quantity]:
    """Mark what stands in one list; a unit there is that of all: "5, 6 or 7 km"."""
    joined: list[int] = []
    for at, (last, quantity) in enumerate(pairwise(quantities)):
        glue = text[last.end : quantity.start]
        if len(glue) > _NEAR or not _LIST.fullmatch(glue):
            continue
        hedged = _OR.search(glue) is not None
        if hedged or not _LIST_ENDS.search(glue):
            joined.append(at)
        if hedged:
            quantities[at] = replace(quantities[at], hedged=True)
            quantities[at + 1] = replace(quantities[at + 1], hedged=True)
    for at, source in [(at + 1, at) for at in joined] + [(at, at + 1) for at in reversed(joined)]:
        if not quantities[at].units and "plain" == quantities[at].kind == quantities[source].kind:
            quantities[at] = replace(quantities[at], units=quantities[source].units)
    return quantities


def same(claimed: Quantity, found: Quantity) -> bool:
    """Whether what is found says what is claimed: the number, and the unit where both have one.

    A date says its year, too. A unit of the same dimension is converted; of what is only counted
    ("300 people", "300 seats") the numbers are compared. "5 mg" is what "5 mg per day" says.
    """
    if claimed.dates and found.dates:
        readings = [(c, f) for c in claimed.dates for f in found.dates]
        alike = len(claimed.dates) == len(found.dates)
        return any(_within(c, f) for c, f in (readings[:1] if alike else readings))
    if found.dates and not claimed.dates:
        return not claimed.units and claimed.low == found.dates[0][0]
    if claimed.dates or claimed.low is None or found.low is None:
        return claimed.text.casefold() == found.text.casefold()
    if "version" in (claimed.kind, found.kind):
        return claimed.text == found.text
    known = all(q.units and q.units[0].known for q in (claimed, found))
    pair = common(claimed.units, found.units)
    if pair is None:
        pair = common(*(tuple(u.daily or u for u in q.units) for q in (claimed, found)))
    if pair is None:
        return claimed.low == found.low and not known
    ours, theirs = claimed.low * pair[0].factor, found.low * pair[1].factor
    near = pair[0].factor != pair[1].factor and abs(ours - theirs) <= _CONVERSION * abs(theirs)
    return ours == theirs or near


def _within(claimed: Date, found: Date) -> bool:
    return all(part in (0, other) for part, other in zip(claimed, found, strict=True))
