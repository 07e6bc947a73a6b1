"""Units of measure: which word stands for which, and what can be converted into what.

A unit has a dimension and a factor to the dimension's base unit, exact. Units of one dimension are
convertible; temperatures are not, so each of their scales is a dimension of its own, as is each
currency. A word that is no known unit still names what is counted ("42 seats"): its stem is its
dimension. Months and years are no whole number of days: they convert among themselves only.
"""

import re
from dataclasses import dataclass
from fractions import Fraction

from rlvr_ray.core.text import stem

# Factors of the prefixes, as symbols and as words.
_PREFIXES = {
    "n": ("nano", Fraction(1, 10**9)),
    "µ": ("micro", Fraction(1, 10**6)),
    "m": ("milli", Fraction(1, 10**3)),
    "c": ("centi", Fraction(1, 100)),
    "k": ("kilo", Fraction(10**3)),
    "M": ("mega", Fraction(10**6)),
    "G": ("giga", Fraction(10**9)),
    "T": ("tera", Fraction(10**12)),
    "P": ("peta", Fraction(10**15)),
    "Ki": ("kibi", Fraction(2**10)),
    "Mi": ("mebi", Fraction(2**20)),
    "Gi": ("gibi", Fraction(2**30)),
    "Ti": ("tebi", Fraction(2**40)),
}
# symbol, words, dimension, factor, prefixes in use. Bytes stand before bits: "mb" means megabytes.
_PREFIXED = (
    ("m", "metre meter", "length", Fraction(1), "n µ m c k"),
    ("g", "gram gramme", "mass", Fraction(1, 1000), "µ m k"),
    ("s", "second", "time", Fraction(1), "n µ m"),
    ("l", "litre liter", "volume", Fraction(1), "m c"),
    ("L", "", "volume", Fraction(1), "m c"),
    ("B", "byte", "data", Fraction(8), "k M G T P Ki Mi Gi Ti"),
    ("bit", "bit", "data", Fraction(1), "k M G T P Ki Mi Gi Ti"),
    ("b", "", "data", Fraction(1), "k M G T P"),
    ("W", "watt", "power", Fraction(1), "m k M G T"),
    ("Wh", "watt-hour", "energy", Fraction(3600), "k M G T"),
    ("J", "joule", "energy", Fraction(1), "k M G"),
    ("Hz", "hertz", "frequency", Fraction(1), "k M G T"),
    ("V", "volt", "voltage", Fraction(1), "m k"),
    ("A", "ampere", "current", Fraction(1), "m k"),
    ("Ah", "ampere-hour", "charge", Fraction(1), "m k"),
    ("Pa", "pascal", "pressure", Fraction(1), "k M G"),
)
# words, dimension, factor
_PLAIN = (
    ("in inch inches", "length", Fraction("0.0254")),
    ("ft foot feet", "length", Fraction("0.3048")),
    ("yd yard yards", "length", Fraction("0.9144")),
    ("mi mile miles", "length", Fraction("1609.344")),
    ("t ton tons tonne tonnes", "mass", Fraction(1000)),
    ("lb lbs", "mass", Fraction("0.45359237")),
    ("oz ounce ounces", "mass", Fraction("0.028349523125")),
    ("sec secs", "time", Fraction(1)),
    ("min mins minute minutes", "time", Fraction(60)),
    ("h hr hrs hour hours", "time", Fraction(3600)),
    ("d day days", "time", Fraction(86400)),
    ("wk week weeks", "time", Fraction(604800)),
    ("month months", "calendar", Fraction(1)),
    ("y yr yrs year years", "calendar", Fraction(12)),
    ("decade decades", "calendar", Fraction(120)),
    ("century centuries", "calendar", Fraction(1200)),
    ("x", "multiple", Fraction(1)),
    ("% percent pct percentage", "fraction", Fraction(1, 100)),
    ("‰ permille", "fraction", Fraction(1, 1000)),
    ("°C celsius", "celsius", Fraction(1)),
    ("°F fahrenheit", "fahrenheit", Fraction(1)),
    ("K kelvin kelvins", "kelvin", Fraction(1)),
    ("$ US$ USD dollar dollars", "USD", Fraction(1)),
    ("€ EUR euro euros", "EUR", Fraction(1)),
    ("£ GBP", "GBP", Fraction(1)),
    ("¥ 円 JPY yen", "JPY", Fraction(1)),
    ("₹ INR Rs rupee rupees", "INR", Fraction(1)),
    ("元 CNY RMB yuan renminbi", "CNY", Fraction(1)),
    ("CHF franc francs", "CHF", Fraction(1)),
    ("₩ KRW", "KRW", Fraction(1)),
    ("₽ RUB ruble rubles rouble roubles", "RUB", Fraction(1)),
    ("CA$ C$ CAD", "CAD", Fraction(1)),
    ("AU$ A$ AUD", "AUD", Fraction(1)),
    ("R$ BRL", "BRL", Fraction(1)),
    ("SEK", "SEK", Fraction(1)),
    ("NOK", "NOK", Fraction(1)),
    ("DKK", "DKK", Fraction(1)),
    ("PLN", "PLN", Fraction(1)),
    ("MXN", "MXN", Fraction(1)),
    ("₿ BTC", "BTC", Fraction(1)),
)
_MONEY = frozenset(dimension for _, dimension, _ in _PLAIN if dimension.isupper())
# Written as one word, meant as a quotient.
_QUOTIENTS = {"mph": "mi/h", "kph": "km/h", "kmh": "km/h", "fps": "frame/s", "bps": "bit/s"}
_QUOTIENTS |= {f"{p}bps": f"{p}bit/s" for p in "kMGT"} | {f"{p}Bps": f"{p}B/s" for p in "kMGT"}
# What may follow a number without saying what it counts; other numbers do, too.
_NO_UNITS = frozenset(
    re.findall(
        r"\S+",
        """
        a about above again aka alternatively perhaps possibly probably maybe ie eg i.e e.g
        according after all also although an and any approximately are as at away be because been
        before below but by came can could do does during each either else even every for from
        given had has have he her here his how i if in instead into is it its less may might more
        most must no nor not now of off on only onto or out over per plus minus rather
        respectively she should since so some such than that the their them then there these they
        this those though through thus times to together too total under until up us using via vs
        was we were what when where whereas which while who whose will with within without would
        you your zero one two three four five six seven eight nine ten eleven twelve thirteen
        fourteen fifteen sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty
        seventy eighty ninety
        """,
    )
)

_POWERS = {"square": 2, "sq": 2, "sq.": 2, "cubic": 3, "²": 2, "³": 3, "2": 2, "3": 3}
_NAME = r"(?:° ?|degrees? (?=[CFcf]))?(?:(?:watt|ampere)-hours?|[^\W\d_²³¹⁰⁴⁵⁶⁷⁸⁹]+)"
_UNIT = re.compile(
    rf"(?P<gap>[ -]?)(?:(?P<percent>[%‰])|per ?cent\b|(?:(?P<power>square|sq\.?|cubic) )?"
    rf"(?:(?:US|U\.S\.|American) (?=dollars?\b))?(?P<name>{_NAME})"
    rf"(?P<raised>[²³]|\^?[23](?![\w.]))?"
    rf"|(?P<sign>[$€£¥₹₩₽₿])(?!\d))"
    rf"(?:(?: ?/ ?| per )(?P<per>{_NAME}))?"
)
_CURRENCY = re.compile(r"(?:(?:US|CA|AU|[CAR])?[$€£¥₹₩₽₿]|\b[A-Z]{3}|\bRs\.?) ?$")


@dataclass(frozen=True, slots=True)
class Unit:
    """What is counted, and how many of the dimension's base unit one of it is."""

    dimension: str
    factor: Fraction = Fraction(1)
    known: bool = True


def _table() -> tuple[dict[str, Unit], dict[str, Unit]]:
    """Units by spelling, and by spelling in lower case where that leaves no doubt."""
    exact: dict[str, Unit] = {}
    for symbol, words, dimension, factor, prefixes in _PREFIXED:
        forms = [("", "", Fraction(1))]
        forms += [(prefix, *_PREFIXES[prefix]) for prefix in prefixes.split()]
        for prefix, spoken, scale in forms:
            unit = Unit(dimension, factor * scale)
            names = [prefix + symbol, *(spoken + word for word in words.split())]
            names += [name + "s" for name in names[1:]]
            for name in (name for name in names if name):
                exact.setdefault(name, unit)
    for plain, dimension, factor in _PLAIN:
        exact |= {name: Unit(dimension, factor) for name in plain.split()}
    exact["KB"] = exact["kB"]
    lower: dict[str, Unit] = {}
    doubtful: set[str] = set()
    for name, unit in exact.items():
        key = name.casefold()
        if len(name) > 1 and lower.setdefault(key, unit) != unit and unit.dimension != "data":
            doubtful.add(key)
    return exact, {key: unit for key, unit in lower.items() if key not in doubtful}


_EXACT, _LOWER = _table()
_SCALE = re.compile("(?:°|degrees?)([cf])(?:elsius|ahrenheit)?", re.IGNORECASE)


def named(name: str) -> tuple[Unit, ...]:
    """The units that a word may stand for, likeliest first; () where it is none at all."""
    name = name.replace(" ", "").replace("μ", "µ")
    if scale := _SCALE.fullmatch(name):
        name = f"°{scale[1].upper()}"
    if quotient := _QUOTIENTS.get(name):
        top, _, bottom = quotient.partition("/")
        return (_over(named(top)[0], named(bottom)[0]),)
    if name.casefold() in ("pound", "pounds"):
        return (_EXACT["lb"], _EXACT["GBP"])
    unit = _EXACT.get(name) or _LOWER.get(name.casefold())
    if unit is None and name.casefold() in _NO_UNITS:
        return ()
    return (unit or Unit("?" + stem(name.casefold()), known=False),)


def in_word(char: str) -> bool:
    """Whether a digit beside it would belong to the same word; not so in Chinese or Japanese."""
    return char == "_" or (char.isalpha() and char < "\u0530")


def currency_before(text: str, at: int) -> tuple[tuple[Unit, ...], int]:
    """The currency that stands right before a place, and where it begins; () where none does."""
    match = _CURRENCY.search(text, max(0, at - 5), at)
    unit = _EXACT.get(match.group().rstrip(" .")) if match else None
    if match is None or unit is None or unit.dimension not in _MONEY:
        return (), at
    begin = match.start()
    follows = text[max(0, begin - 1) : begin].replace(" ", text[max(0, begin - 2) : begin - 1])
    if follows.isdecimal() and (match.group()[0].isalpha() or text[begin - 1] != " "):
        return (), at  # that of the number before
    return (unit,), begin


def unit_after(text: str, at: int) -> tuple[tuple[Unit, ...], int] | None:
    """The units that stand at a place, right after a number, and where they end.

    () where the next word is none; None where letters are glued to the number that are no unit,
    so that it is no number either ("3D", "4x4").
    """
    match = _UNIT.match(text, at)
    glued = text[at : at + 1]
    if match is None or (match["gap"] == "-" and not match["name"]):
        return ((), at) if not in_word(glued) else None
    end = match.end()
    if match["name"] is None:
        units: tuple[Unit, ...] = (_EXACT[match["sign"] or match["percent"] or "%"],)
    else:
        name = match["name"]
        units = named(name)
        known = bool(units) and units[0].known
        if match["raised"] in ("2", "3") and not known:  # "5 CO2 molecules", "7fe3"
            return None if in_word(glued) else (units, match.end("name"))
        if in_word(glued):
            if not known and (len(name) < 2 or name.casefold() in ("am", "pm")):
                return None
            if in_word(text[end : end + 1]) or text[end : end + 1].isdecimal():
                return None
        more = text[end : end + 2].lstrip()[:1].isalnum()
        if match["gap"] == " " and (name in "x×" or (name.casefold() == "in" and more)):
            units = ()
        if power := _POWERS.get(match["power"] or (match["raised"] or "").lstrip("^")):
            units = tuple(
                Unit(f"{unit.dimension}^{power}", unit.factor**power, unit.known) for unit in units
            )
    if match["per"] and (below := named(match["per"])):
        units = tuple(_over(unit, other) for unit in units for other in below)
    return (units, end) if units else ((), at)


def _over(top: Unit, bottom: Unit) -> Unit:
    return Unit(
        f"{top.dimension}/{bottom.dimension}",
        top.factor / bottom.factor,
        top.known and bottom.known,
    )
