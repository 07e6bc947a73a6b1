"""Reading quantities out of a text: numbers as people write them, with units, dates and ranges.

This is the one place that reads numbers. Digits inside words and identifiers are none, and what is
no amount says so by its kind. Values are exact fractions. "1,234" is a thousand and "1.234" is not,
whoever wrote it.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

from rlvr_ray.core.numbers.dates import DATE, MONTH_NAMES, TIME, dates, duration, groups
from rlvr_ray.core.numbers.labels import YEAR, labelled
from rlvr_ray.core.numbers.numerals import (
    DIGITS,
    FIRST_WORDS,
    RUN,
    SCALES,
    SPELLED,
    WORDS,
    amounts,
    doubtful,
    powered,
    spelled,
)
from rlvr_ray.core.numbers.quantity import Kind, Quantity, ended
from rlvr_ray.core.numbers.units import Unit, currency_before, in_word, unit_after

# A text of more characters says something besides a number word.
_NEAR = 40
# Pieces of one identifier.
_PIECES = 20

_SHARES = {"half": 2, "halve": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6}
_SHARES |= {"seventh": 7, "eighth": 8, "ninth": 9, "tenth": 10}
_SHARE = Unit("fraction", name="share")
_PARTS = "half|halves|(?:third|quarter|fourth|fifth|sixth|seventh|eighth|ninth|tenth)s?"
_FEW = {"once": 1, "twice": 2, "thrice": 3, "both": 2, "a single": 1}
_SPAN = "hour|minute|second|day|week|fortnight|month|year|decade|century"
_NUMERAL = re.compile(
    rf"(?P<date>{DATE})|(?i:(?P<time>{TIME}))"
    r"|(?P<mixed>(?<![\w./-])(?P<whole>[0-9]{1,9}) (?P<top>[0-9]{1,3})/(?P<under>[1-9][0-9]{0,2}))"
    r"(?![\w/])"
    rf"|(?P<digits>{RUN}(?:[-/:]{RUN}){{0,{_PIECES}}}+)"
    r"|(?i:\b(?:(?P<part>(?:(?P<count>an?|one|two|three|four|five|six|seven|eight|nine)[ -])?+"
    rf"(?P<share>{_PARTS})\b(?P<of>(?: of\b)?+(?: (?:an?|the)\b)?+))"
    rf"|(?P<few>{'|'.join(_FEW)})\b|(?P<span>an?) (?=(?:{_SPAN})\b)|(?P<words>{SPELLED})))"
)
# Where one may begin, so that the pattern above is not tried at every character.
_START = re.compile(r"\.?[0-9]|[^\W\d_]++")
_STARTS = {word.casefold() for word in (*FIRST_WORDS, *MONTH_NAMES, *_FEW, *_SHARES)}
_STARTS |= {"a", "an", "halves", "noon", "midday", "midnight"}
_PIECE = re.compile(rf"(?P<before>[-/:]?)(?P<run>{RUN})")
_GLUED_SCALES = {"k": 10**3, "K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}
_GLUED_SCALES |= {"千": 10**3, "万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8}
_SCALE = re.compile(rf"[ -]?(?:{'|'.join(SCALES)}|(?-i:k))(?![^\W_])", re.IGNORECASE)
_AND_PART = re.compile(rf" and an? ({_PARTS})\b", re.IGNORECASE)
_OTHER_HALF = re.compile(r"\b(?:first|second|other|latter|last|better) $", re.IGNORECASE)
_ORDINAL = re.compile(r"(?:st|nd|rd|th)(?![^\W_])", re.IGNORECASE)
_SIGN = re.compile(
    r"(?:(?<![0-9])(?<![0-9] )\b(?:minus|negative|moins|menos) |[-+])$", re.IGNORECASE
)
_DENIED = re.compile(
    r"(?:\bnot|n't|\bneither|\bnor|\brather than|\binstead of)"
    r"(?: be| have| equal| the| exactly| about)? ?$",
    re.IGNORECASE,
)
_VAGUE = re.compile(r"\b(?:several|many|few|couple of) $", re.IGNORECASE)
_NO_COUNT = re.compile(r"-(?:hundred|thousand|million)th", re.IGNORECASE)
_PRONOUN_BEFORE = re.compile(
    r"\b(?:no|the|this|that|any|every|each|which|another|some|other)[ -]$", re.IGNORECASE
)
_PRONOUN_AFTER = re.compile(
    r"\s*(?:$|[^\w\s]|(?:of|that|who|which|is|was|has|can|should|must|another|or|and|to|in|at|by"
    r"|with|for|on|as|from)\b)",
    re.IGNORECASE,
)
# Before "an hour" these make it one hour; after "five euros" it would be each.
_LASTS = re.compile(
    r"(?:^|[(,;:]|\b(?:in|for|about|takes?|took|lasts?|lasted|within|than|is|was|after|over|under"
    r"|nearly|almost|around|roughly|exactly|only|least|most|be|of)) *$",
    re.IGNORECASE,
)
_CITATION = re.compile(r"\[(?:20|1?[0-9])(?:[,;-] ?(?:20|1?[0-9])){0,9}+\]")
# Beginnings of a word after whose hyphen a number is one.
_PREFIX = re.compile(r"\b(?:pre|post|mid|early|late|circa|ca|non|sub|to)-$", re.IGNORECASE)


def numbers(text: str) -> Iterator[Quantity]:
    """All numbers of a text in one way of writing, in order, a date or a time as one each."""
    last = at = 0
    while start := _START.search(text, at):
        word, begin, at = start.group(), *start.span()
        if not word[-1].isdecimal() and word.casefold() not in _STARTS:
            continue
        match = _NUMERAL.match(text, begin)
        if match is None and word[0] == ".":
            match = _NUMERAL.match(text, begin + 1)
        if match:
            at = match.end()
            for number in _read(text, match, last):
                last = number.end
                yield number
            at = max(at, last)  # behind an exponent, and a multiplier's word


def _read(text: str, match: re.Match[str], last: int) -> Iterator[Quantity]:
    """The numbers of a match; ``last`` is where the number before them ended."""
    start, end = match.span()
    if match["date"]:
        yield _date(text, match)
    elif match["time"]:
        found = duration(groups(match))
        if found is None:
            yield _name(text, start, end)
        else:
            kind: Kind = "time" if found[1].dimension == "clock" else "plain"
            yield _new(text, start, end, found[0], kind=kind, units=(found[1],))
    elif match["mixed"]:
        share = Fraction(int(match["top"]), int(match["under"]))
        yield _number(text, start, end, int(match["whole"]) + share, last)
    elif match["digits"]:
        yield from _written(text, match, last)
    elif match["part"]:
        yield from _share(text, match)
    elif match["few"]:
        word = match["few"].casefold()
        foreign = word in WORDS and not doubtful(word, text)  # Spanish "once"
        value = Fraction(WORDS[word] if foreign else _FEW[word])
        units, end = unit_after(text, end) or ((), end)
        yield _new(text, start, end, value, kind="plain" if foreign else "few", units=units)
    elif match["span"]:
        units, end = unit_after(text, match.end() - 1) or ((), end)
        one = _with_part(text, _new(text, start, end, Fraction(1), kind="few", units=units))
        if one.low != 1 or _LASTS.search(text, max(0, start - 12), start):
            yield one
    else:
        yield from _spelled(text, match)


def _new(
    text: str,
    start: int,
    end: int,
    value: Fraction | None,
    *,
    kind: Kind = "plain",
    units: tuple[Unit, ...] = (),
    numeral: tuple[int, int] | None = None,
) -> Quantity:
    return Quantity(
        text=text[start:end],
        low=value,
        high=value,
        units=units,
        kind=kind,
        start=start,
        end=end,
        numeral=numeral or (start, end),
        denied=_denied(text, start),
    )


def _name(text: str, start: int, end: int) -> Quantity:
    return _new(text, start, end, None, kind="name")


def _date(text: str, match: re.Match[str]) -> Quantity:
    parts = groups(match)
    start, end = match.span()
    found = dates(parts)
    if not found:
        return _name(text, start, end)
    named = not parts.get("month", ("1",))[0].isdecimal()
    kinds: tuple[tuple[str, Kind], ...] = (("day", "date"), ("year", "year"))
    inner = [
        _new(text, parts[name][1], parts[name][2], Fraction(parts[name][0]), kind=kind)
        for name, kind in kinds
        if name in parts and (named or kind == "year")
    ]
    if len(parts) == 1:
        return inner[0]
    year, month, day = found[0]
    value = Fraction(10000 * year + 100 * month + day)
    inner.sort(key=lambda part: part.start)
    return replace(_new(text, start, end, value, kind="date"), dates=found, parts=tuple(inner))


def _written(text: str, match: re.Match[str], last: int) -> Iterator[Quantity]:
    """The numbers of digits with dashes, slashes and colons between them."""
    chain, (start, end) = match.group(), match.span()
    pieces = list(_PIECE.finditer(chain))
    between = "".join(piece["before"] for piece in pieces)
    if ":" in between or (len(between) > 1 and sum(c.isdecimal() for c in chain) >= 6):
        yield _name(text, start, end)  # a ratio, a telephone number
        return
    if between == "/" and all(len(part) <= DIGITS for part in chain.split("/")):
        top, _, bottom = chain.partition("/")
        if top.isdecimal() and bottom.isdecimal() and int(bottom):
            yield _number(text, start, end, Fraction(int(top), int(bottom)), last)
            return
    found: list[Quantity] = []
    for piece in pieces:
        at = start + piece.start("run")
        for first, past, value in amounts(piece["run"]):
            found.append(_number(text, at + first, at + past, value, last))
        if not found or found[0].kind == "name":
            yield _name(text, start, end)  # the rest belongs to the same identifier
            return
    known = any(unit.known for number in found for unit in number.units)
    if between == "-" and not known and found[0].kind == "label":
        yield _name(text, start, end)
    else:
        yield from found


def _number(text: str, start: int, end: int, value: Fraction | None, last: int) -> Quantity:
    """The number with what stands around it; a name where that makes it no quantity."""
    begin, units, negative = _before(text, start)
    previous = text[begin - 1 : begin]
    tied = begin > 1 and previous in "-/" and in_word(text[begin - 2]) and begin - 1 != last
    if in_word(previous) or (tied and not _PREFIX.search(text, max(0, begin - 8), begin)):
        return _name(text, start, end)  # "GPT-4", but "5k-10k"
    if text[max(0, begin - 4) : begin].rstrip().endswith(("±", "+/-")):
        return _name(text, start, end)
    digits, (value, end) = text[start:end], powered(text, start, end, value)
    number = _new(text, begin, end, value, units=units, numeral=(start, end))
    opened = text.rfind("[", max(0, start - 12), start)
    if ordinal := _ORDINAL.match(text, end):
        return ended(text, replace(number, kind="ordinal"), ordinal.end())
    if text[end : end + 1] == "s" and YEAR.fullmatch(digits):
        return ended(text, replace(number, kind="year"), end + 1)
    if opened >= 0 and (cited := _CITATION.match(text, opened)) and cited.end() > start:
        return replace(number, kind="citation")
    number = _with_unit(text, _scaled(text, number), negative)
    return labelled(text, number, digits) if number.kind == "plain" else number


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


def _scaled(text: str, number: Quantity) -> Quantity:
    """The number with "and a half" and with its multiplier: k, bn, million."""
    number = _with_part(text, number)
    end, scale = number.end, 1
    after = text[end : end + 3]
    money = after.lstrip(" ")[:1].upper() if number.units else ""
    glued = _GLUED_SCALES.get(after[:1]) or (money in ("M", "B") and _GLUED_SCALES[money])
    skip = 2 if after[:1] == " " else 1
    following = after[skip : skip + 1]
    if glued and not in_word(following) and not following.isdecimal():
        scale, end = glued, end + skip
    while match := _SCALE.match(text, end):
        scale *= SCALES.get(match.group().strip(" -.").casefold(), 10**3)
        end = match.end()
    if scale == 1:
        return (
            number
            if end == number.numeral[1]
            else replace(number, numeral=(number.numeral[0], end))
        )
    value = None if number.low is None else number.low * scale
    numeral = (number.numeral[0], end)
    return replace(ended(text, number, end), low=value, high=value, scale=scale, numeral=numeral)


def _with_part(text: str, number: Quantity) -> Quantity:
    """The number with the "and a half" that follows."""
    match = _AND_PART.match(text, number.end)
    if match is None or number.low is None:
        return number
    value = number.low + Fraction(1, _SHARES[match[1].casefold()])
    return replace(ended(text, number, match.end()), low=value, high=value, kind="plain")


def _with_unit(text: str, number: Quantity, negative: bool) -> Quantity:
    """The number with its sign and unit; a name where what follows makes it an identifier."""
    after = text[number.end : number.end + 2]
    found = unit_after(text, number.end)
    if found is None or (after[:1] == "." and after[1:].islower()):
        return replace(number, low=None, high=None, kind="name")  # "3D", "file2.txt"
    units, end = found
    if number.low is not None and negative:
        number = replace(number, low=-number.low, high=-number.low)
    if number.units and not {u.dimension for u in units} & {u.dimension for u in number.units}:
        return number
    number = replace(ended(text, number, end), units=units) if units else number
    return _with_part(text, number) if units and units[0].known else number


def _spelled(text: str, match: re.Match[str]) -> Iterator[Quantity]:
    """The numbers of a row of number words."""
    start = match.start()
    if start > 1 and text[start - 1] == "-" and in_word(text[start - 2]):
        return  # the end of a word
    for begin, end, value, ordinal in spelled(match.group(), text):
        first, past = start + begin, start + end
        number = _new(text, first, past, Fraction(value), kind="ordinal" if ordinal else "plain")
        sign = _SIGN.search(text, max(0, first - 12), first)
        if _NO_COUNT.match(text, past) or _VAGUE.search(text, max(0, first - 12), first):
            continue
        if text[first:past].casefold() == "one" and not _AND_PART.match(text, past):
            before = _PRONOUN_BEFORE.search(text, max(0, first - 9), first)
            pronoun = before or _PRONOUN_AFTER.match(text, past)
            number = replace(
                number, kind="one" if pronoun and not _alone(text, first, past) else "few"
            )
        if not ordinal:
            number = _with_unit(text, _scaled(text, number), sign is not None and len(sign[0]) > 1)
        yield number


def _alone(text: str, start: int, end: int) -> bool:
    """Whether a text says nothing else."""
    return len(text) <= _NEAR and not any(map(str.isalnum, text[:start] + text[end:]))


def _share(text: str, match: re.Match[str]) -> Iterator[Quantity]:
    """The number of "half an hour", "two thirds"; none where they are no share of anything."""
    share, end = match["share"].casefold(), match.end("share")
    count, of = (match["count"] or "").casefold(), match["of"]
    value = Fraction(WORDS.get(count, 1), _SHARES[share.rstrip("s")])
    number = _new(text, match.start(), match.end(), value, kind="few")
    whole = _with_unit(text, _scaled(text, number), negative=False)
    measured = whole.scale > 1 or any(unit.known for unit in whole.units)
    if share == "half":
        alone = _alone(text, match.start(), end)
        valid = bool(count or of or measured) or alone
        valid = valid and not _OTHER_HALF.search(text, max(0, match.start() - 8), match.start())
    else:
        valid = value.numerator > 1 if share[-1] == "s" else count == "one" or " of" in of
        valid = valid and bool(count)
    if valid and measured:
        yield replace(whole, kind="plain")
    elif valid:
        yield ended(text, replace(number, units=(_SHARE,)), end)
