"""Units of measure: the words for each unit, and which units can be converted.

A unit has a dimension and an exact factor to the dimension's base unit. Units of one dimension are
convertible. Temperatures are not, so each scale is a dimension of its own, as is each currency. For
an unknown unit ("42 seats"), the stem of the word is the dimension. Months and years are not a
whole number of days, so they are convertible only into each other.
"""

import re
from dataclasses import dataclass, field, replace
from fractions import Fraction

from rlvr_ray.core.language import FUNCTION, stem
from rlvr_ray.core.numbers.numerals import WORDS

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
# words of several languages, dimension, factor; the last word of a line is the unit's name.
_PLAIN = (
    ("mètres mètre metros metro Metern 米 公尺 metre", "length", Fraction(1)),
    (
        "kilomètres kilomètre kilómetros kilómetro Kilometern 公里 千米 kilometre",
        "length",
        Fraction(1000),
    ),
    ("厘米 centimetre", "length", Fraction(1, 100)),
    ("in inches inch", "length", Fraction("0.0254")),
    ("ft feet foot", "length", Fraction("0.3048")),
    ("yd yards yard", "length", Fraction("0.9144")),
    ("mi Meilen Meile milles millas miles mile", "length", Fraction("1609.344")),
    ("克 gramo gramos Gramm gram", "mass", Fraction(1, 1000)),
    ("公斤 千克 kilo kilos Kilogramm kilogram", "mass", Fraction(1)),
    ("t Tonnen 吨 tonnes tonne tons ton", "mass", Fraction(1000)),
    ("lb lbs pound", "mass", Fraction("0.45359237")),
    ("oz ounces ounce", "mass", Fraction("0.028349523125")),
    ("sec secs Sekunden Sekunde secondes segundos segundo 秒 second", "time", Fraction(1)),
    ("min mins Minuten minutos minuto 分钟 minutes minute", "time", Fraction(60)),
    ("h hr hrs Stunden Stunde heures heure horas hora 小时 hours hour", "time", Fraction(3600)),
    ("d Tage Tagen Tag jours jour días día 天 days day", "time", Fraction(86400)),
    ("wk Wochen Woche semaines semaine semanas semana 周 weeks week", "time", Fraction(604800)),
    ("fortnights fortnight", "time", Fraction(1209600)),
    ("Monate Monaten Monat mois meses mes 个月 months month", "calendar", Fraction(1)),
    (
        "y yr yrs Jahre Jahren Jahr ans années année años año 年 years year",
        "calendar",
        Fraction(12),
    ),
    ("Jahrzehnte decades decade", "calendar", Fraction(120)),
    ("Jahrhunderte siècles siglos century centuries", "calendar", Fraction(1200)),
    ("x", "multiple", Fraction(1)),
    ("% pct Prozent percentage percent", "fraction", Fraction(1, 100)),
    ("‰ permille", "fraction", Fraction(1, 1000)),
    ("pp Prozentpunkte Prozentpunkten point", "points", Fraction(1)),
    ("°C celsius", "celsius", Fraction(1)),
    ("°F fahrenheit", "fahrenheit", Fraction(1)),
    ("K kelvins kelvin", "kelvin", Fraction(1)),
    ("$ US$ USD 美元 dollars dollar", "USD", Fraction(1)),
    ("€ EUR 欧元 euros euro", "EUR", Fraction(1)),
    ("£ GBP pound", "GBP", Fraction(1)),
    ("¥ 円 JPY 日元 yen", "JPY", Fraction(1)),
    ("₹ INR Rs rupees rupee", "INR", Fraction(1)),
    ("元 CNY RMB renminbi yuan", "CNY", Fraction(1)),
    ("CHF Franken francs franc", "CHF", Fraction(1)),
    ("₩ KRW won", "KRW", Fraction(1)),
    ("₽ RUB rubles rouble roubles ruble", "RUB", Fraction(1)),
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
_NO_UNITS = WORDS.keys() | set().union(*FUNCTION.values())
_NO_UNITS |= set(
    re.findall(
        r"\S+",
        """about above again aka alternatively perhaps possibly probably maybe i.e e.g according
        after all any approximately away before below came each either else every given instead
        less more most no nor not now off only out over plus minus respectively some their times
        together total under until up us using versus vs through pour por""",
    )
)

_POWERS = {"square": 2, "sq": 2, "sq.": 2, "cubic": 3, "2": 2, "3": 3}
_NAME = (
    r"(?:° ?|degrees? (?=[CFcf])|Grad (?=[CF]))?(?:(?:watt|ampere)-hours?"
    r"|[\u4e00-\u9fff](?:[\u4e00-\u9fff](?<=[公千厘毫]米|小时|分钟|公斤|千克|[美欧日]元|个月))?"
    r"|[^\W\d_\u3040-\u9fff]+)"
)
_UNIT = re.compile(
    rf"(?P<gap>[ -]?)(?:(?P<points>(?:per ?cent(?:age)?|%)[- ]points?\b)|(?P<percent>[%‰])"
    r"|(?:per ?cent|pour cent|por ciento)\b|(?:(?P<power>square|sq\.?|cubic) )?"
    r"(?:(?:US|U\.S\.|American) (?=dollars?\b)|Swiss (?=francs?\b))?"
    rf"(?:d'|de )?(?P<name>{_NAME})(?P<raised>\^?[23](?![\w.]))?"
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
    name: str = field(default="", compare=False)  #: the stem of its name
    #: What is measured each day, week, month or year: "mg per day"; None for other units.
    daily: "Unit | None" = field(default=None, compare=False)


def _table() -> tuple[dict[str, Unit], dict[str, Unit]]:
    """Units by spelling, and by spelling in lower case where that leaves no doubt."""
    exact: dict[str, Unit] = {}
    for symbol, words, dimension, factor, prefixes in _PREFIXED:
        forms = [("", "", Fraction(1))]
        forms += [(prefix, *_PREFIXES[prefix]) for prefix in prefixes.split()]
        for prefix, spoken, scale in forms:
            name = stem((spoken + (words or symbol).split()[0]).casefold())
            unit = Unit(dimension, factor * scale, name=name)
            names = [prefix + symbol, *(spoken + word for word in words.split())]
            names += [name + "s" for name in names[1:]]
            for name in (name for name in names if name):
                exact.setdefault(name, unit)
    for plain, dimension, factor in _PLAIN:
        unit = Unit(dimension, factor, name=stem(plain.split()[-1].casefold()))
        exact |= dict.fromkeys(plain.split(), unit)
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
        return (_EXACT["lb"], _EXACT["£"])
    unit = _EXACT.get(name) or _LOWER.get(name.casefold())
    if unit is None and name.casefold() in _NO_UNITS:
        return ()
    key = stem(name.casefold())
    return (unit or Unit(f"?{key}", known=False, name=key),)


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
        sign = "pp" if match["points"] else match["sign"] or match["percent"] or "%"
        units: tuple[Unit, ...] = (_EXACT[sign],)
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
                replace(u, dimension=f"{u.dimension}^{power}", factor=u.factor**power)
                for u in units
            )
    if match["per"] and (below := named(match["per"])):
        units = tuple(_over(unit, other) for unit in units for other in below)
    return (units, end) if units else ((), at)


def _over(top: Unit, bottom: Unit) -> Unit:
    return Unit(
        f"{top.dimension}/{bottom.dimension}",
        top.factor / bottom.factor,
        top.known and bottom.known,
        f"{top.name}/{bottom.name}",
        top if bottom.dimension == "calendar" or bottom == _EXACT["day"] else None,
    )
