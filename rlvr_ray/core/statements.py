"""Sentences of a text, and the statements of an answer."""

import re

from rlvr_ray.core.language import normalise

# No abbreviation is longer, and a bound keeps texts full of them from costing their square.
_LONGEST = 40
# A line with a colon at its end, or in bold, that has more words says something.
_HEADING = 8

_ABBREVIATIONS = frozenset(
    re.findall(
        r"\S+",
        """mr mrs ms dr prof st jr sr vs cf al fig figs nos vol pp ca approx inc ltd co corp dept
        est gen gov sen rep rev hon col capt lt sgt jan feb mar apr jun jul aug sep sept oct nov dec
        phd bzw z.b usw nr mio mrd""",
    )
)

# Possessive quantifiers (++, *+) give nothing back, so no input makes these backtrack.
_END = re.compile(r"[.!?]++[\"')\]*`\u201d]*+(?=\s|$)|[\u3002\uff01\uff1f]")
_BULLET = re.compile(r"^\s*+(?:[-*+\u2022\u2013>]++|#++|\(?\d{1,2}[.)])\s++(?=\S)")
_GLUED = re.compile(r"(?<=[a-z\d)\"\]][.!?])(?=[A-Z\"])")

_SOURCE = (
    r"(?:passage|context|source|document|excerpt|snippet|text|article|reference|ref|citation)s?"
)
_NUMBERS = r"[1-9]\d?(?:(?:, ?| and | & |-)[1-9]\d?){0,9}+"
# "[1]", "[2, 3]", "(Passage 2)", "(see passages 1 and 3)", "【1】".
_MARK = re.compile(
    rf"[ \t]?(?:(?<!\b\w)\[(?:\^?{_NUMBERS}|(?:{_SOURCE}:?) ?#?{_NUMBERS}[^\]\n]{{0,40}})\]"
    rf"|\((?:see |from |source: ?|cf\. ?)?(?:\[{_NUMBERS}\]|{_SOURCE} ?#?{_NUMBERS})\)"
    r"|\u3010[^\u3011\n]{0,20}\u3011)",
    re.IGNORECASE,
)
_GIVEN = r"(?:provided|given|above|retrieved|following|available|supplied)"
_MATERIAL = (
    rf"(?:(?:the|this|these|your|all) )?(?:{_GIVEN} )?(?:{_SOURCE}|information|passage's text)"
    rf"(?: #?\[?{_NUMBERS}\]?)?(?: (?:{_GIVEN}|you provided))?"
)
# What an answer says of itself and of its sources before it says anything.
_PREAMBLE = re.compile(
    rf"\A(?:(?:according to|based (?:up)?on|as (?:stated|mentioned|described|noted|explained|per"
    rf"|given|shown)(?: in| by)?|from|in|per|judging by) {_MATERIAL}(?:,|:| (?=the answer\b))"
    rf"|{_MATERIAL} (?:says?|states?|mentions?|notes?|explains?|tells? us|indicates?|shows?) that\b"
    r"|(?:so,? |thus,? |therefore,? |hence,? )?(?:the |my |here is the |here's the )?"
    r"(?:final |correct |short )?answer(?: to (?:the|your|this) question)?(?: is)?(?: as follows)?:"
    r"|(?:so,? |thus,? |therefore,? )?the (?:final |correct |short )?answer"
    r"(?: to (?:the|your|this) question)? is(?: that)?(?! (?:in|on|at|not|no|yes)\b)"
    r"|(?:sure|certainly|of course|great question|absolutely)[,!.]"
    r"|(?:laut|gemäß|nach) (?:den|dem|der) [^\W\d_]{4,20}(?: \d{1,2})?,?"
    r"|die antwort (?:lautet|ist):?|la r[eé]ponse est:?|la respuesta es:?"
    r"|(?:selon|d'après) (?:le|la|les) [^\W\d_]{4,20},|seg[uú]n (?:el|la|los|las) [^\W\d_]{4,20},"
    r"|根据[^，,。\n]{1,12}[，,]|答案是[：:]?|step \d{1,2}[:.)])\s*+",
    re.IGNORECASE,
)


_HEADINGS = re.compile(r"^ {0,3}#{1,6}[ \t][^\n]*+$", re.MULTILINE)


def split_statements(text: str) -> list[str]:
    """Cut a text into sentences, at line ends and bullets too; never returns an empty one.

    A line that starts in lower case continues the line before it. Abbreviations, initials,
    decimals, versions, URLs and identifiers hold together.
    """
    statements: list[str] = []
    for block in _blocks(text):
        start = 0
        for end in _END.finditer(block):
            before = block[max(start, end.start() - _LONGEST) : end.start()]
            if not _continues(before, end.group(), block[end.end() : end.end() + 2]):
                statements.append(block[start : end.end()].strip())
                start = end.end()
        statements.append(block[start:].strip())
    return [statement for statement in statements if statement]


def claims(text: str) -> list[str]:
    """The statements of an answer, without what claims nothing.

    That is marks of citations, preambles ("According to the passages,"), headings and lines that
    announce a list; where there is nothing else, headings are claims. No claim is without a letter
    or a digit.
    """
    text = _MARK.sub("", normalise(text))
    statements = filter(_speaks, split_statements(_HEADINGS.sub("", text)))
    bare = [_without_preamble(statement) for statement in statements if not _announces(statement)]
    return list(filter(_speaks, bare)) or list(filter(_speaks, split_statements(text)))


def _without_preamble(statement: str) -> str:
    for _ in range(3):  # "Based on the context, the answer is: "
        statement = _PREAMBLE.sub("", statement, count=1)
    return statement


def _speaks(text: str) -> bool:
    return any(char.isalnum() for char in text)


def _announces(statement: str) -> bool:
    """Whether it is a heading, or announces a list."""
    bare = statement.strip("*_ ")
    if bare.endswith((":", "：")):
        return True
    bold = statement.startswith("**") and statement.endswith("**")
    return bold and bare[-1:] not in ".!?" and len(bare.split()) <= _HEADING


def unglued(text: str) -> str:
    """A space where a sentence was glued to the next one."""
    return _GLUED.sub(" ", text)


def _blocks(text: str) -> list[str]:
    blocks: list[str] = []
    joins = False
    for line in text.splitlines():
        content = _BULLET.sub("", line, count=1).strip()
        if joins and content[:1].islower() and content == line.strip():
            blocks[-1] += " " + content
        elif content:
            blocks.append(content)
        joins = bool(content)
    return blocks


def _continues(before: str, mark: str, after: str) -> bool:
    """Whether a full stop is one of an abbreviation, of an initial, or of a trailing-off."""
    if not mark.startswith("."):
        return False
    lower_next = after.strip()[:1].islower()
    if mark.startswith(".."):
        return lower_next
    last = before.rsplit(maxsplit=1)[-1].lstrip("(\"'[").casefold() if before.strip() else ""
    if last in ("no", "etc"):
        return after.strip()[:1].isdigit() if last == "no" else lower_next
    letters = last.split(".")
    initials = all(len(letter) == 1 and letter.isalpha() for letter in letters) and last != "i"
    return initials or last.replace(".", "") in _ABBREVIATIONS
