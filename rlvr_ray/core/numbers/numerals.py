"""The values of numbers, as digits with separators and as words. All are exact fractions.

Thousands may be separated by commas, spaces, apostrophes or underscores, decimals by a point. The
continental way ("1.234.567,5", "3,14") is read where it cannot be the English one: "1,234" is a
thousand and "1.234" is not, whoever wrote it.
"""

import re
from collections.abc import Iterator
from fractions import Fraction

from rlvr_ray.core.language import language

#: Longer numbers are not compared: they cost time, and no honest answer has them.
DIGITS = 100
_EXPONENT = 300
# Numbers that are read out of one row of digits and commas, words that make one number.
_MOST, _WORDS_MOST = 200, 20

Place = tuple[int, int, Fraction | None]  #: where a number begins and ends, and its value


def _counted(text: str) -> dict[str, int]:
    """The words of each row, with the number that the row begins with."""
    rows = (row.split() for row in text.split("|"))
    return {word: int(value) for value, *words in rows for word in words}


# English, German, French, Spanish. What is another word in English stands in _DOUBTFUL, too.
WORDS = _counted(
    """0 zero null zéro cero | 1 one eins | 2 two zwei deux dos | 3 three drei trois tres
    | 4 four vier quatre cuatro | 5 five fünf cinq cinco | 6 six sechs seis
    | 7 seven sieben sept siete | 8 eight acht huit ocho | 9 nine neun neuf nueve
    | 10 ten zehn dix diez | 11 eleven elf onze once | 12 twelve zwölf douze doce
    | 13 thirteen dreizehn treize trece | 14 fourteen vierzehn quatorze catorce
    | 15 fifteen fünfzehn quinze quince | 16 sixteen sechzehn seize | 17 seventeen siebzehn
    | 18 eighteen achtzehn | 19 nineteen neunzehn | 20 twenty zwanzig vingt veinte
    | 30 thirty dreißig trente treinta | 40 forty vierzig quarante cuarenta
    | 50 fifty fünfzig cinquante cincuenta | 60 sixty sechzig soixante sesenta
    | 70 seventy siebzig setenta | 80 eighty achtzig ochenta | 90 ninety neunzig noventa"""
)
_DOUBTFUL = {"null": "de", "elf": "de", "once": "es", "quince": "es", "cent": "fr", "seize": "fr"}
_DOUBTFUL |= {"DOS": "es", "Dos": "es", "Sept": "fr", "Mil": "es", "mil": "es"}


def doubtful(word: str, text: str) -> bool:
    """Whether a word is no number unless the text is in another language than this."""
    return any(_DOUBTFUL.get(w, language(text)) != language(text) for w in (word, word.casefold()))


#: Words that multiply.
SCALES = _counted(
    """12 dozen | 100 hundred hundert cent | 1000 thousand tausend mille mil
    | 1000000 million millions Millionen millones millón Mio mn mln | 100000 lakh | 10000000 crore
    | 1000000000 billion milliard milliards Milliarde Milliarden Mrd bn
    | 1000000000000 trillion tn trn"""
)
SCALES = {word.casefold(): value for word, value in SCALES.items()}
_ABBREVIATED = {"mio", "mn", "mln", "mrd", "bn", "tn", "trn"}
_ORDINALS = {f"{word}th": value for word, value in WORDS.items() if value in range(4, 20)}
_ORDINALS |= {"fifth": 5, "eighth": 8, "ninth": 9, "twelfth": 12}
_ORDINALS |= {f"{word[:-1]}ieth": WORDS[word] for word in WORDS if word.endswith("ty")}
_SMALL = {"first": 1, "second": 2, "third": 3}  # of "twenty-first" only: alone they are words

#: What a number in words begins with.
FIRST_WORDS = (*WORDS, *SCALES, *_ORDINALS)

# Possessive quantifiers (++, *+) give nothing back, so no input makes these backtrack.
#: A regular expression for digits and separators, one number or several.
RUN = r"(?:[0-9]++(?:[.,'_][0-9]++| [0-9]{3}(?![0-9]))*+|(?<![\w.])\.[0-9]++)"
_SPELLED = "|".join((*WORDS, *(word for word in SCALES if word not in _ABBREVIATED)))
#: One for number words in a row, an ordinal at their end.
SPELLED = (
    rf"(?:(?:{_SPELLED})\b(?:(?:[ -]| and )(?:{_SPELLED})\b){{0,{_WORDS_MOST}}}+"
    rf"(?:-(?:{'|'.join((*_SMALL, *_ORDINALS))})\b)?+|(?:{'|'.join(_ORDINALS)})\b)"
)

_ENGLISH = re.compile(
    r"(?:\d+|[1-9]\d{0,2}(?P<by>[,'_ ])\d{3}(?:(?P=by)\d{3})*|[1-9]\d?(?:,\d{2})+,\d{3})?(?:\.\d+)?"
)
_CONTINENTAL = re.compile(
    r"[1-9]\d{0,2}(?:\.\d{3})+,\d+|[1-9]\d{0,2}(?:\.\d{3}){2,}|[1-9]\d{0,2}(?:[ ']\d{3})+,\d+"
    r"|\d+,(?:\d{1,2}|\d{4,})|0,\d+"
)
_TO_THE = r"(?:\^|\*\*)\{?([-+]?[0-9]*+)\}?"
_POWER = re.compile(
    rf"e([-+]?[0-9]++)(?![^\W_])| ?(?:[x×*·⋅]|\\times|\\cdot) ?10{_TO_THE}", re.IGNORECASE
)
_OF_TEN = re.compile(_TO_THE)


def amounts(run: str) -> list[Place]:
    """The numbers of a match of ``RUN``; none where it is a version or an address.

    The value is None where a number is too long.
    """
    english = _ENGLISH.fullmatch(run)
    if english or _CONTINENTAL.fullmatch(run):
        if sum(char.isdecimal() for char in run) > DIGITS:
            return [(0, len(run), None)]
        bare = run.translate(dict.fromkeys(map(ord, ",'_ " if english else "'_. "), None))
        return [(0, len(run), Fraction(bare.replace(",", ".") or 0))]
    places: list[Place] = []
    if separator := " " if " " in run else "," if "," in run else "":
        at = 0
        for piece in run.split(separator, _MOST)[:_MOST]:
            places += [(at + begin, at + end, value) for begin, end, value in amounts(piece)]
            at += len(piece) + 1
    return places


def powered(text: str, start: int, end: int, value: Fraction | None) -> tuple[Fraction | None, int]:
    """The value times the power of ten that stands behind it, and where that ends."""
    ten = _OF_TEN.match(text, end) if text[start:end] == "10" else None
    power = ten or _POWER.match(text, end)
    if power is None:
        return value, end
    exponent = next(filter(None, power.groups()), "").removeprefix("+")
    if value is None or not exponent[-1:].isdecimal() or len(exponent) > 5:
        return None, power.end()
    if abs(int(exponent)) > _EXPONENT:
        return None, power.end()
    return (Fraction(1) if ten else value) * Fraction(10) ** int(exponent), power.end()


def spelled(words: str, text: str) -> Iterator[tuple[int, int, int, bool]]:
    """The numbers of a match of ``SPELLED`` in a text: begin, end, value, whether an ordinal."""
    begin = end = total = current = limit = 0
    begun = False
    for match in re.finditer(r"[^\W\d_]+", words):
        word = match.group().casefold()
        if word == "and":
            begun = begun and current % 100 == 0  # "two hundred and five", but "two and three"
            continue
        if doubtful(match.group(), text):
            if end:
                yield begin, end, total + current, False
            begin = end = total = current = 0
            begun = False
            continue
        ordinal = _ORDINALS.get(word) or _SMALL.get(word)
        size, scale = ordinal or WORDS.get(word, 0), SCALES.get(word, 0)
        if scale > 100:
            fits = begun and current > 0 and scale < limit
        elif scale:
            fits = begun and 0 < current < 100
        else:
            ones = 0 < size < 10 and current % 10 == 0 and current % 100 >= 20
            fits = begun and size > 0 and (current % 100 == 0 or ones)
        if not fits:
            if end:
                yield begin, end, total + current, False
            begin, total, current, limit = match.start(), 0, 1 if scale else 0, 10**15
        if scale > 100:
            total, current, limit = total + current * scale, 0, scale
        else:
            current = current * scale if scale else current + size
        begun, end = True, match.end()
        if ordinal:
            yield begin, end, total + current, True
            return
    if end:
        yield begin, end, total + current, False
