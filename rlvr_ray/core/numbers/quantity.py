"""The type of a quantity, and the normalised text that quantities are read from."""

import re
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice
from typing import Literal

from rlvr_ray.core.language import normalise
from rlvr_ray.core.numbers.dates import Date
from rlvr_ray.core.numbers.units import Unit

Kind = Literal[
    "plain",
    "date",
    "year",
    "time",
    "ordinal",
    "few",  # "one user", "twice", "half of": counts, but hardly beside digits
    "version",  # "Python 3.10"
    "one",  # "one of them"
    "citation",  # "[2]"
    "label",  # "passage 2", "Boeing 737"
    "name",  # "GPT-4": no number at all
]

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


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number or a range: ``low`` to ``high``, None where it is too long to be compared."""

    text: str
    low: Fraction | None
    high: Fraction | None
    units: tuple[Unit, ...] = ()  #: what the unit may be, likeliest first; () where there is none
    kind: Kind = "plain"
    start: int = 0  #: where it stands in the text, its currency and unit included
    end: int = 0
    numeral: tuple[int, int] = (0, 0)  #: where its digits or words stand
    scale: int = 1  #: 10**6 of "million"; the value has it already
    denied: bool = False  #: "not 42"
    hedged: bool = False  #: an alternative to another one: "5 or 6"
    also: "Quantity | None" = None  #: the same in another unit: "330 m (1,083 ft)"
    dates: tuple[Date, ...] = ()  #: what a date may mean, as written first
    parts: tuple["Quantity", ...] = ()  #: day and year of a date

    @property
    def point(self) -> bool:
        """Whether it is one number."""
        return self.low == self.high

    @property
    def amount(self) -> bool:
        """Whether it says how much or when, and is not part of a name, a label or a citation."""
        return self.kind not in ("citation", "label", "name", "one")

    @property
    def value(self) -> Fraction | None:
        """The number in the base unit of its dimension: seconds, metres, kilograms."""
        return self.low * self.units[0].factor if self.low is not None and self.units else self.low

    @property
    def unit(self) -> str | None:
        """The dimension: "length", "USD", "clock", "?seat" of what is counted; None: there is none.

        That of a date is "date".
        """
        return "date" if self.dates else self.units[0].dimension if self.units else None


def plain(text: str) -> str:
    """The text in one way of writing, without LaTeX and without URLs."""
    text = normalise(text)
    for pattern, better in _LATEX:
        text = pattern.sub(better, text)
    text = _URL.sub(" ", text)
    items = [int(item[1]) for item in islice(_ITEM.finditer(text), 2)]
    return _ITEM.sub("", text) if items == [1, 2] else text


def ended(text: str, number: Quantity, end: int) -> Quantity:
    """The quantity, ended elsewhere."""
    return number if end == number.end else replace(number, text=text[number.start : end], end=end)
