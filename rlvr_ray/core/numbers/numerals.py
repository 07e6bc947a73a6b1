"""The values of numbers, as digits with separators and as English words. All are exact fractions.

Thousands may be separated by commas, spaces, apostrophes or underscores, decimals by a point. The
continental way ("1.234.567,5", "3,14") is read where it cannot be the English one: "1,234" is a
thousand and "1.234" is not, whoever wrote it.
"""

import re
import unicodedata
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice

#: Longer numbers are not compared: they cost time, and no honest answer has them.
DIGITS = 100
_EXPONENT = 300
# Numbers that are read out of one row of digits and commas, words that make one number.
_MOST, _WORDS_MOST = 200, 20

Place = tuple[int, int, Fraction | None]  #: where a number begins and ends, and its value

_ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
_ONES += " fifteen sixteen seventeen eighteen nineteen"
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_WORDS = {word: value for value, word in enumerate(_ONES.split())}
_WORDS |= {word: 10 * value for value, word in enumerate(_TENS.split(), start=2)}
#: Words that multiply.
SCALES = {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9}
SCALES |= {"trillion": 10**12, "lakh": 10**5, "crore": 10**7}

# Possessive quantifiers (++, *+) give nothing back, so no input makes these backtrack.
_VULGAR = "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞"
_GROUPS = r"[0-9]++(?:[.,'_][0-9]++| [0-9]{3}(?![0-9]))*+"
#: A regular expression for digits and separators, one number or several.
RUN = rf"(?:{_GROUPS}[{_VULGAR}]?|(?<![\w.])\.[0-9]++|[{_VULGAR}])"
_SPELLED = "|".join((*_WORDS, *SCALES))
#: One for number words in a row.
SPELLED = rf"(?:{_SPELLED})(?:(?:[ -]| and )(?:{_SPELLED})\b){{0,{_WORDS_MOST}}}+"
#: One for dates in digits.
DATE = (
    r"\b[0-9]{4}[-/.][0-9]{1,2}[-/.][0-9]{1,2}\b"
    r"|\b[0-9]{1,2}(?:-[0-9]{1,2}-|/[0-9]{1,2}/|\.[0-9]{1,2}\.)[0-9]{4}\b"
)

_ENGLISH = re.compile(
    r"(?:\d+|[1-9]\d{0,2}(?P<by>[,'_ ])\d{3}(?:(?P=by)\d{3})*|[1-9]\d?(?:,\d{2})+,\d{3})?(?:\.\d+)?"
)
_CONTINENTAL = re.compile(
    r"[1-9]\d{0,2}(?:\.\d{3})+,\d+|[1-9]\d{0,2}(?:\.\d{3}){2,}|[1-9]\d{0,2}(?:[ ']\d{3})+,\d+"
    r"|\d+,(?:\d{1,2}|\d{4,})|0,\d+"
)
_RAISED = "[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺]++"
_TO_THE = rf"(?:(?:\^|\*\*)\{{?([-+]?[0-9]++)\}}?|({_RAISED}))"
_POWER = re.compile(
    rf"e([-+]?[0-9]++)(?![^\W_])| ?(?:[x×*·⋅]|\\times|\\cdot) ?10{_TO_THE}", re.IGNORECASE
)
_OF_TEN = re.compile(_TO_THE)
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")


def amounts(run: str) -> list[Place]:
    """The numbers of a match of ``RUN``; none where it is a version or an address.

    The value is None where a number is too long.
    """
    body = run.rstrip(_VULGAR)
    part = Fraction(unicodedata.numeric(run[-1])).limit_denominator(8) if body != run else 0
    english = _ENGLISH.fullmatch(body)
    if english or _CONTINENTAL.fullmatch(body):
        if sum(char.isdecimal() for char in body) > DIGITS:
            return [(0, len(run), None)]
        bare = body.translate(dict.fromkeys(map(ord, ",'_ " if english else "'_. "), None))
        return [(0, len(run), Fraction(bare.replace(",", ".") or 0) + part)]
    if separator := " " if " " in body else "," if "," in body else "":
        places: list[Place] = []
        at = 0
        for piece in run.split(separator, _MOST)[:_MOST]:
            places += [(at + begin, at + end, value) for begin, end, value in amounts(piece)]
            at += len(piece) + 1
        return places
    return list(year_of(body))


def year_of(date: str) -> Iterator[Place]:
    """The year, where the text is a date in digits."""
    if re.fullmatch(DATE, date):
        for match in islice(re.finditer("[0-9]{4}", date), 1):
            yield (*match.span(), Fraction(match.group()))


def powered(text: str, start: int, end: int, value: Fraction | None) -> tuple[Fraction | None, int]:
    """The value times the power of ten that stands behind it, and where that ends."""
    ten = _OF_TEN.match(text, end) if text[start:end] == "10" else None
    power = ten or _POWER.match(text, end)
    if power is None:
        return value, end
    exponent = next(filter(None, power.groups())).translate(_SUPERSCRIPTS)
    if value is None or len(exponent) > 5 or not exponent[-1].isdecimal():
        return None, power.end()
    if not re.fullmatch(r"[-+]?\d+", exponent) or abs(int(exponent)) > _EXPONENT:
        return None, power.end()
    return (Fraction(1) if ten else value) * Fraction(10) ** int(exponent), power.end()


def spelled(words: str) -> Iterator[tuple[int, int, int]]:
    """The numbers of a match of ``SPELLED``: where each begins and ends, and its value."""
    begin = end = total = current = limit = 0
    begun = False
    for match in re.finditer("[a-z]+", words, re.IGNORECASE):
        word = match.group().casefold()
        size, scale = _WORDS.get(word, 0), SCALES.get(word, 0)
        if word == "and":
            begun = begun and current % 100 == 0  # "two hundred and five", but "two and three"
            continue
        if scale > 100:
            fits = begun and current > 0 and scale < limit
        elif scale:
            fits = begun and 0 < current < 100
        else:
            ones = 0 < size < 10 and current % 10 == 0 and current % 100 >= 20
            fits = begun and size > 0 and (current % 100 == 0 or ones)
        if not fits:
            if end:
                yield begin, end, total + current
            begin, total, current, limit = match.start(), 0, 1 if scale else 0, 10**15
        if scale > 100:
            total, current, limit = total + current * scale, 0, scale
        else:
            current = current * scale if scale else current + size
        begun, end = True, match.end()
    yield begin, end, total + current
