"""Reading quantities out of a text: numbers as people write them, with units, and ranges.

What is no quantity is left out: digits inside words, identifiers, versions, times of day, telephone
numbers, and numbers that are denied ("not 42"). Values are exact fractions. English in its words;
"1,234" is a thousand and "1.234" is not, whoever wrote it.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice, pairwise
from typing import Literal

from rlvr_ray.core.numbers.numerals import (
    DATE,
    DIGITS,
    RUN,
    SCALES,
    SPELLED,
    amounts,
    powered,
    spelled,
    year_of,
)
from rlvr_ray.core.numbers.units import Unit, currency_before, in_word, unit_after

Kind = Literal["plain", "date", "year", "ordinal", "citation", "one"]

#: A text with more numbers than this is not read.
MOST = 200
# Quantities further apart than this, in characters, are not linked with each other.
_NEAR = 40
# How far a converted quantity in parentheses may be off by rounding.
_ROUNDING = Fraction(1, 20)
# The highest number that is taken for a citation in brackets.
_CITED = 20

# Pieces of one identifier.
_PIECES = 20
_NUMERAL = re.compile(
    rf"(?P<digits>{RUN}(?:[-/:]{RUN}){{0,{_PIECES}}}+)|\b(?P<words>{SPELLED})\b", re.IGNORECASE
)
_PIECE = re.compile(rf"(?P<before>[-/:]?)(?P<run>{RUN})")
_GLUED_SCALES = {"k": 10**3, "K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}
_GLUED_SCALES |= {"千": 10**3, "万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8}
_LONG_SCALES = SCALES | {"mn": 10**6, "mln": 10**6, "bn": 10**9, "tn": 10**12, "trn": 10**12}
_SCALE = re.compile(rf"[ -]?(?:{'|'.join(_LONG_SCALES)}|(?-i:k))(?![^\W_])", re.IGNORECASE)
_ORDINAL = re.compile(r"(?:st|nd|rd|th)(?![^\W_])", re.IGNORECASE)
_SIGN = re.compile(r"(?:(?<![0-9])(?<![0-9] )\b(?:minus|negative) |[-+])$", re.IGNORECASE)
_DENIED = re.compile(
    r"(?:\bnot|n't|\bnor|\brather than|\binstead of)(?: be| have| equal| the| exactly| about)? ?$",
    re.IGNORECASE,
)

_MONTHS = (
    "Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?"
    "|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?"
)
_DAY = r"[0-9]{1,2}(?:st|nd|rd|th)?"
_DATE = re.compile(
    rf"(?:\b{_DAY} (?:of )?)?\b(?:{_MONTHS})\b\.?(?: {_DAY}(?![\w%]|\.[0-9]))?"
    rf"(?:,? [12][0-9]{{3}}\b)?|{DATE}"
)
_YEAR_BEFORE = re.compile(r"(?:\b(?:in|since|during|year|as of) |\()$", re.IGNORECASE)
_YEAR_AFTER = (re.compile(r"[,.;)]|\s*$| (?!or\b)[a-z]"), re.compile(r"\)"))
_YEAR = re.compile(r"(?:1[0-9]{3}|20[0-9]{2})(?![\d.,'_]*\d)")

_NO_COUNT = re.compile(
    r"-(?:first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|half|hal|quarter|tenth)",
    re.IGNORECASE,
)
_BETWEEN = re.compile(r"\bbetween (?:about |around )?$", re.IGNORECASE)
_TO = re.compile(r" ?(?:-|-to-|to|through|until|till|up to) ?", re.IGNORECASE)
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
# A name right before "737-800", and words that are none.
_NAME = re.compile(
    r"\b(?!(?:A|About|Approximately|Around|Between|From|It|Roughly|The)\b)[A-Z]\w* $"
)

_URL = re.compile(r"https?://\S+")
_ITEM = re.compile(r"^[^\S\n]*([0-9]{1,2})[.)][^\S\n]+(?=\S)", re.MULTILINE)
_LATEX = (
    (re.compile(r"\\[dt]?frac\{([0-9]+)\}\{([0-9]+)\}"), r" \1/\2 "),
    (re.compile(r"\\(?:text|mathrm|mathbf|operatorname)\{([^{}\n]*)\}"), r"\1"),
    (re.compile(r"\$([^$\n]{0,80}[^$\s])\$(?![0-9])"), r" \1 "),
    (re.compile(r"\\([%$])"), r"\1"),
    (re.compile(r"\\[,;! ]"), " "),
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"(?<![0-9])\*\*|\*\*(?![-0-9])|`"), ""),
)
_ALIKE = str.maketrans(
    {"％": "%", "＝": "=", "￥": "¥"}
    | dict.fromkeys("\u00a0\u202f\u2009\u2007", " ")
    | dict.fromkeys("\u2010\u2011\u2012\u2013\u2212", "-")
    | dict.fromkeys("\u2018\u2019", "'")
)


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number or a range: ``low`` to ``high``, None where it is too long to be compared."""

    text: str
    low: Fraction | None
    high: Fraction | None
    units: tuple[Unit, ...] = ()  #: what the unit may be, likeliest first; () where there is none
    kind: Kind = "plain"
    start: int = 0  #: where it stands in the plain text, its currency and unit included
    end: int = 0
    hedged: bool = False  #: an alternative to another one: "5 or 6"
    also: "Quantity | None" = None  #: the same in another unit: "330 m (1,083 ft)"

    @property
    def point(self) -> bool:
        """Whether it is one number."""
        return self.low == self.high


@dataclass(slots=True)
class _Number:
    """A number being read, and where it stands, its currency and unit included."""

    start: int
    end: int
    value: Fraction | None
    units: tuple[Unit, ...] = ()
    kind: Kind = "plain"
    scale: int = 1  # 10**6 of "million"; the value has it already


def plain(text: str) -> str:
    """The text with one kind of space, hyphen and digit, without LaTeX and without URLs."""
    if not text.isascii():
        text = "".join(
            str(unicodedata.decimal(c)) if not c.isascii() and c.isdecimal() else c for c in text
        ).translate(_ALIKE)
    for pattern, better in _LATEX:
        text = pattern.sub(better, text)
    text = _URL.sub(" ", text)
    items = [int(item[1]) for item in islice(_ITEM.finditer(text), 2)]
    return _ITEM.sub("", text) if items == [1, 2] else text


class TooManyError(ValueError):
    """A text has more than ``MOST`` numbers."""


def quantities(text: str) -> list[Quantity]:
    """The quantities of a plain text, in order; raises TooManyError."""
    numbers = list(_numbers(text))
    _mark_dates(text, numbers)
    return _listed(text, _merged(text, _ranges(text, numbers)))


def _numbers(text: str) -> Iterator[_Number]:
    end = looked_at = 0
    for match in _NUMERAL.finditer(text):
        if match.start() < end:
            continue  # an exponent, or a multiplier's word
        looked_at += 1
        for number in _spelled(text, match) if match["words"] else _written(text, match, end):
            end, looked_at = number.end, looked_at + 1
            yield number
        if looked_at > MOST:
            raise TooManyError(f"more than {MOST} numbers")


def _written(text: str, match: re.Match[str], last: int) -> Iterator[_Number]:
    """The numbers of digits with dashes, slashes and colons between them.

    ``last`` is where the number before them ended.
    """
    chain, start = match.group(), match.start()
    pieces = list(_PIECE.finditer(chain))
    between = "".join(piece["before"] for piece in pieces)
    digits = sum(c.isdecimal() for c in chain) if len(between) > 1 else 0
    if ":" in between or digits >= 6:
        for begin, end, year in year_of(chain):
            yield _Number(start + begin, start + end, year)
        return  # a time, a telephone number
    if between == "/" and all(len(part) <= DIGITS for part in chain.split("/")):
        top, _, bottom = chain.partition("/")
        if top.isdecimal() and bottom.isdecimal() and int(bottom):
            number = _number(text, start, match.end(), Fraction(int(top), int(bottom)), last)
            if number:
                yield number
            return
    numbers: list[_Number] = []
    for piece in pieces:
        for begin, end, value in amounts(piece["run"]):
            at = start + piece.start("run")
            numbers += filter(None, [_number(text, at + begin, at + end, value, last)])
        if not numbers:
            return  # the rest belongs to the same identifier
    known = any(unit.known for number in numbers for unit in number.units)
    if not (between == "-" and not known and _NAME.search(text, max(0, start - _NEAR), start)):
        yield from numbers


def _number(text: str, start: int, end: int, value: Fraction | None, last: int) -> _Number | None:
    """The number with what stands around it, or None where that makes it no quantity."""
    digits = text[start:end]
    begin, units, negative = _before(text, start)
    previous = text[begin - 1 : begin]
    if in_word(previous):
        return None
    tied = begin > 1 and previous in "-/" and in_word(text[begin - 2])
    if tied and begin - 1 != last and text[max(0, begin - 4) : begin] != "-to-":
        return None  # "GPT-4", but "5k-10k"
    if _denied(text, begin) or text[:begin].rstrip().endswith(("±", "+/-")):
        return None
    value, end = powered(text, start, end, value)
    number = _Number(begin, end, value, units)
    if ordinal := _ORDINAL.match(text, end):
        number.kind, number.end = "ordinal", ordinal.end()
    elif text[end : end + 1] == "s" and _YEAR.fullmatch(digits):
        number.kind, number.end = "year", end + 1
    elif digits.isdecimal() and previous == "[" and text[end : end + 1] == "]":
        number.kind = "citation" if len(digits) < 3 and int(digits) <= _CITED else "plain"
    else:
        _scale(text, number)
    return _with_unit(text, number, negative)


def _before(text: str, start: int) -> tuple[int, tuple[Unit, ...], bool]:
    """Where sign and currency before a number begin, the currency, and whether it is negative."""
    units, begin = currency_before(text, start)
    sign = _SIGN.search(text, max(0, begin - 12), begin)
    if sign is None:
        return begin, units, False
    outer, at = ((), sign.start()) if units else currency_before(text, sign.start())
    previous = text[at - 1 : at]
    if sign.group() in "+-" and (previous.isalnum() or previous in tuple("_)]%.'$€£¥")):
        return begin, units, False  # a hyphen
    return at, units or outer, sign.group() != "+"


def _denied(text: str, begin: int) -> bool:
    return _DENIED.search(text, max(0, begin - 24), begin) is not None


def _scale(text: str, number: _Number) -> None:
    """Take in a multiplier: k, bn, million."""
    after = text[number.end : number.end + 3]
    money = after.lstrip(" ")[:1].upper() if number.units else ""
    glued = _GLUED_SCALES.get(after[:1]) or (money in ("M", "B") and _GLUED_SCALES[money])
    skip = 2 if after[:1] == " " else 1
    following = after[skip : skip + 1]
    if glued and not in_word(following) and not following.isdecimal():
        number.scale, number.end = glued, number.end + skip
    while match := _SCALE.match(text, number.end):
        number.scale *= _LONG_SCALES.get(match.group().lstrip(" -").casefold(), 10**3)
        number.end = match.end()
    if number.value is not None:
        number.value *= number.scale


def _with_unit(text: str, number: _Number, negative: bool) -> _Number | None:
    """The number with its sign and unit, or None where what follows makes it an identifier."""
    after = text[number.end : number.end + 2]
    if after[:1] == "." and after[1:].islower():
        return None  # a file, a domain
    found = unit_after(text, number.end)
    if found is None:
        return None
    units, end = found
    if not number.units or {u.dimension for u in units} & {u.dimension for u in number.units}:
        number.units, number.end = units or number.units, end
    if negative and number.value is not None:
        number.value = -number.value
    return number


def _spelled(text: str, match: re.Match[str]) -> Iterator[_Number]:
    """The numbers of a row of number words."""
    start = match.start()
    if start > 1 and text[start - 1] == "-" and in_word(text[start - 2]):
        return  # the end of a word
    for begin, end, value in spelled(match.group()):
        number = _Number(start + begin, start + end, Fraction(value))
        sign = _SIGN.search(text, max(0, number.start - 12), number.start)
        if text[number.start : number.end].casefold() == "one":
            number.kind = "one"
        if not _NO_COUNT.match(text, number.end) and not _denied(text, number.start):
            negative = sign is not None and len(sign.group()) > 1
            yield from filter(None, [_with_unit(text, number, negative)])


def _mark_dates(text: str, numbers: Sequence[_Number]) -> None:
    spans = [match.span() for match in _DATE.finditer(text)] if numbers else []
    at = 0
    for number in numbers:
        while at < len(spans) and spans[at][1] <= number.start:
            at += 1
        dated = at < len(spans) and spans[at][0] <= number.start
        year = _YEAR.match(text, number.start, number.end)
        if dated:
            number.kind, number.units = "year" if year else "date", ()
        elif year and number.kind == "plain" and not number.units:
            before = _YEAR_BEFORE.search(text, max(0, number.start - 8), number.start)
            if before and _YEAR_AFTER[before.group() == "("].match(text, number.end):
                number.kind = "year"


def _ranges(text: str, numbers: Sequence[_Number]) -> Iterator[Quantity]:
    """The numbers as quantities, those of a range as one."""
    rest = iter([*pairwise(numbers), *((number, None) for number in numbers[-1:])])
    for low, high in rest:
        found = _range(text, low, high) if high else None
        if found:
            next(rest)
        yield found or Quantity(
            text=text[low.start : low.end],
            low=low.value,
            high=low.value,
            units=low.units,
            kind=low.kind,
            start=low.start,
            end=low.end,
        )


def _range(text: str, low: _Number, high: _Number) -> Quantity | None:
    glue = text[low.end : high.start]
    between = _BETWEEN.search(text, max(0, low.start - 20), low.start)
    if len(glue) > _NEAR or not (_AND if between else _TO).fullmatch(glue):
        return None
    if low.value is None or high.value is None or not {low.kind, high.kind} <= {"plain", "year"}:
        return None
    first, units = low.value, high.units or low.units
    if low.units and high.units:
        pair = common(low.units, high.units)
        if pair is None:
            return None
        first, units = first * pair[0].factor / pair[1].factor, (pair[1],)
    if low.scale == 1 and first * high.scale < high.value:
        first *= high.scale  # "1.2 to 1.5 million"
    if first >= high.value:
        return None
    return Quantity(
        text=text[low.start : high.end],
        low=first,
        high=high.value,
        units=units,
        start=low.start,
        end=high.end,
    )


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
    return one.low.denominator == 1 and one.low > 0 and 0 <= other.low * ratio < 1


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
