"""Dates, times of day and durations: equal ones have equal values, however they are written."""

import re
from fractions import Fraction

from rlvr_ray.core.language import stem
from rlvr_ray.core.numbers.numerals import WORDS
from rlvr_ray.core.numbers.units import Unit, named

#: Year, month and day; 0 where it is not values.
Date = tuple[int, int, int]

_NAMES = (
    "January Jan Januar Jänner janvier enero",
    "February Feb Februar février febrero",
    "March Mar März mars marzo",
    "April Apr avril abril",
    "May Mai mai mayo",
    "June Jun Juni juin junio",
    "July Jul Juli juillet julio",
    "August Aug août agosto",
    "September Sept Sep septembre septiembre",
    "October Oct Oktober Okt octobre octubre",
    "November Nov novembre noviembre",
    "December Dec Dezember Dez décembre diciembre",
)
MONTH_NAMES = {name: month for month, names in enumerate(_NAMES, 1) for name in names.split()}
#: The stems of the months' English names, from 1 on.
MONTHS = ["", *(stem(names.split()[0].casefold()) for names in _NAMES)]
_MONTH = "|".join(sorted(MONTH_NAMES, key=len, reverse=True))
_OF = "(?:of |de |del )?"
# The groups are named after what they hold, and numbered by the form they stand in.
DATE = (
    rf"\b(?P<day1>[0-9]{{1,2}})(?:st|nd|rd|th|er|\.)? {_OF}(?P<month1>{_MONTH})\b\.?"
    rf"(?:,? {_OF}(?P<year1>[12][0-9]{{3}})\b)?"
    rf"|\b(?P<month2>{_MONTH})\b\.? (?P<day2>[0-9]{{1,2}})(?:st|nd|rd|th)?(?![\w%]|[.,/:][0-9])"
    r"(?:,? (?P<year2>[12][0-9]{3})\b)?"
    rf"|\b(?P<month3>{_MONTH})\b\.?,? {_OF}(?P<year3>[12][0-9]{{3}})\b(?![.,][0-9])"
    r"|\b(?P<year4>[0-9]{4})(?P<by4>[-/.])(?P<month4>[0-9]{1,2})(?P=by4)(?P<day4>[0-9]{1,2})\b"
    r"|\b(?P<day5>[0-9]{1,2})(?P<by5>[-/.])(?P<month5>[0-9]{1,2})(?P=by5)(?P<year5>[0-9]{4})\b"
    r"|(?P<year6>[12][0-9]{3}) ?年 ?"
    r"(?:(?P<month6>[0-9]{1,2}) ?月 ?(?:(?P<day6>[0-9]{1,2}) ?[日号])?)?"
    r"|(?P<month7>[0-9]{1,2}) ?月 ?(?P<day7>[0-9]{1,2}) ?[日号]"
)
TIME = (
    r"(?<![\w:.,])(?P<hour1>[0-9]{1,3}):(?P<minute1>[0-5][0-9])"
    r"(?::(?P<second1>[0-5][0-9])(?:\.[0-9]++)?)?(?![0-9:]|\.[0-9])"
    r"(?: ?(?P<half1>[ap]\.?m\b)\.?| (?:o'clock|Uhr)\b| ?(?P<unit1>h|hrs?|hours?|min|minutes?)\b)?"
    r"|\b(?P<hour2>1?[0-9])(?:\.(?P<minute2>[0-5][0-9]))? ?(?P<half2>[ap]\.m\b\.?|[ap]m\b)"
    r"|\b(?P<hour8>1?[0-9]|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)"
    r" (?:o'clock )?(?:in the|at) (?P<half8>morning|afternoon|evening|night)\b"
    r"|\b(?P<hour3>[0-9]{1,2})(?:\.(?P<minute3>[0-5][0-9]))? ?(?:o'clock|Uhr)\b"
    r"|\b(?P<hour4>[0-9]{1,3})(?P<unit4>h) ?(?P<minute4>[0-5]?[0-9])(?: ?m(?:in)?)?\b"
    r"|\b(?P<minute5>[0-9]{1,3})m ?(?P<second5>[0-5]?[0-9])s\b"
    r"|\b(?P<noon7>noon|midday|midnight)\b"
    r"|\b(?P<foot6>[0-9]{1,2})' ?(?P<inch6>1?[0-9])(?:\"|'')"
)
_HALVES = {"morning": "a", "afternoon": "p", "evening": "p", "night": "p"}
_CLOCK = Unit("clock", name="clock")


def groups(match: re.Match[str]) -> dict[str, tuple[str, int, int]]:
    """The groups of a match of ``DATE`` or ``TIME``: text, start and end, without their form."""
    return {
        name[:-1]: (text, *match.span(name))
        for name, text in match.groupdict().items()
        if text is not None and name[-1].isdecimal()
    }


def dates(parts: dict[str, tuple[str, int, int]]) -> tuple[Date, ...]:
    """What the groups of a date may mean, as written first: 3/5 is in March or in May."""
    values = {name: part[0] for name, part in parts.items()}
    year, day = int(values.get("year", 0)), int(values.get("day", 0))
    month = MONTH_NAMES.get(values.get("month", ""), 0) or int(values.get("month", 0))
    readings = [(year, month, day)]
    if values.get("by", ".") in "-/" and parts["day"][1] < parts["year"][1] and month != day:
        readings = [(year, month, day), (year, day, month)]
    return tuple(date for date in readings if date[1] <= 12 and date[2] <= 31)


def duration(parts: dict[str, tuple[str, int, int]]) -> tuple[Fraction, Unit] | None:
    """The value of a time of day, in seconds since midnight, or of a duration or a height."""
    values = {name: part[0] for name, part in parts.items()}
    if "foot" in values:
        return Fraction(12 * int(values["foot"]) + int(values["inch"])), named("inch")[0]
    if "noon" in values:
        return Fraction(43200 * (values["noon"][:3] != "mid" or "day" in values["noon"])), _CLOCK
    minute, second = int(values.get("minute", 0)), int(values.get("second", 0))
    hour = WORDS.get(values.get("hour", "").casefold()) or int(values.get("hour", 0))
    half = values.get("half", "").casefold()
    half = _HALVES.get(half, half[:1])
    if values.get("unit", "").startswith("m"):
        return Fraction(60 * hour + minute), named("s")[0]
    seconds = Fraction(3600 * hour + 60 * minute + second)
    if half:
        return seconds % 43200 + 43200 * (half == "p"), _CLOCK
    if "second" in values or "unit" in values:
        return seconds, named("s")[0]
    return (seconds % 86400, _CLOCK) if hour <= 24 else None
