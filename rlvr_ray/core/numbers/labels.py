"""Numbers that are not amounts (years, versions, labels), recognised by the words before them."""

import re
from dataclasses import replace

from rlvr_ray.core.language import FUNCTION, language
from rlvr_ray.core.numbers.quantity import Kind, Quantity, ended
from rlvr_ray.core.numbers.units import named as units_of

# Characters before a number within which a name may stand.
_NEAR = 40
YEAR = re.compile(r"(?:1[0-9]{3}|20[0-9]{2})")
_YEAR_BEFORE = re.compile(
    r"(?:\b(?:in|since|during|year|as of|until|by|early|late|en|depuis|desde|seit|Jahre?) |\()$",
    re.IGNORECASE,
)
_YEAR_AFTER = (re.compile(r"[,.;)]|\s*$| (?!or\b)[^\W\d_]"), re.compile(r"\)"))
# What has a number of its own, before that.
_LABEL = re.compile(
    r"\b(?:passage|section|chapter|step|page|figure|table|paragraph|part|item|question|example"
    r"|option|version|source|document|context|equation|row|column|article|appendix|note|room|rule"
    r"|Abschnitt|Kapitel|Seite|chapitre|capítulo|página)(?:s (?:[0-9]{1,3}(?:,| and| or|-) ?)?| )$",
    re.IGNORECASE,
)
# A name right before a number, and words that are none though a sentence may begin with them.
_NAME = re.compile(r"(?<![^\s(\[\"'*])([A-Z][\w'-]*+) $")
_NO_NAMES = FUNCTION["en"] | set(
    re.findall(
        r"\S+",
        """approximately around between roughly nearly almost only over under above below total
        up until within after before aged costs exactly some than not no all""",
    )
)


def labelled(text: str, number: Quantity, digits: str) -> Quantity:
    """The number as a year, or as part of a name, where what stands before it says so."""
    begin = number.start
    if number.scale > 1 or any(unit.known for unit in number.units):
        return number
    year = YEAR.fullmatch(digits) is not None
    before = _YEAR_BEFORE.search(text, max(0, begin - 9), begin) if year else None
    if before and (not number.units or (number.low is not None and number.low >= 1800)):
        end = number.numeral[1]
        if _YEAR_AFTER[before.group() == "("].match(text, end):
            return ended(text, replace(number, kind="year", units=()), end)
    named = _NAME.search(text, max(0, begin - _NEAR), begin)
    if named and (named[1].casefold() in _NO_NAMES or named[1].endswith("ly")):
        named = None
    if named and (language(text) == "de" or any(unit.known for unit in units_of(named[1]))):
        named = None  # a German noun, "120 USD 180"
    if not named and not _LABEL.search(text, max(0, begin - 24), begin):
        return number
    whole, _, decimals = digits.partition(".")
    version = whole.isdecimal() and decimals.isdecimal()
    kind: Kind = "year" if year else "version" if version else "label"
    return ended(text, replace(number, kind=kind, units=()), number.numeral[1])
