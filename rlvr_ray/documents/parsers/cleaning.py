"""Cleaning of extracted text: removes invisible characters and traces of typesetting."""

import re
import unicodedata

#: Characters of the text in an HTML or PDF file: a small file can hold very much.
MAX_TEXT = 20 * 2**20
#: Typographic joins of letters, which no search would find.
_LIGATURES = {
    code: unicodedata.normalize("NFKC", chr(code))
    for code in (*range(0xFB00, 0xFB07), *range(0x0132, 0x0134), *range(0x01C4, 0x01CD))
}
_SHY = "\u00ad"
# Controls, marks of direction, tags, and widths of nothing. The joiners U+200C and U+200D stay:
# Persian and Indian scripts, and emoji, need them.
_INVISIBLE = re.compile(
    "[\0-\x08\x0b-\x1f\x7f-\x9f\u00ad\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff]"
)
_SURROGATES = re.compile("[\ud800-\udfff]")
_SPACES = re.compile(r"[^\S\n]+")
_EMPTY_LINES = re.compile(r"\n{3,}")
# A word that goes on in the next line; in lower case there, else the hyphen is its own.
# Both look from the start of a word only, and give nothing back: a letter is looked at once.
_BROKEN = re.compile(r"(?<![^\W\d_])([^\W\d_]++)[-\u2010\u00ad]\n([^\W\d_]++)")
_HYPHENATED = re.compile(r"(?<![^\W\d_])[^\W\d_]++[-\u2010][^\W\d_]++")
#: Space that ends no line: U+2028 and U+2029 do.
_LINE_ENDS = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")


def without_invisible(text: str) -> str:
    """The text without characters that show nothing; halves of characters become U+FFFD."""
    return _SURROGATES.sub("\ufffd", _INVISIBLE.sub("", text))


def printed(text: str) -> str:
    """The text of a printed page: words that were broken at line ends joined, ligatures spelt.

    Runs of spaces become one, more than two line ends become two.
    """
    text = _SPACES.sub(" ", _LINE_ENDS.sub("\n", text).translate(_LIGATURES))
    text = "\n".join(line.strip(" ") for line in text.split("\n"))
    text = without_invisible(_joined(text))
    return _EMPTY_LINES.sub("\n\n", text).strip()


def _joined(text: str) -> str:
    """Broken words in one piece; a hyphen stays where the page has it within a line, too."""
    own = {word.replace("\u2010", "-").casefold() for word in _HYPHENATED.findall(text)}

    def join(match: re.Match[str]) -> str:
        first, second = match.groups()
        hyphen = match.group()[len(first)]
        if hyphen != _SHY and not second[0].islower():
            return f"{first}-{second}"
        keeps = hyphen != _SHY and f"{first}-{second}".casefold() in own
        return f"{first}-{second}" if keeps else first + second

    return _BROKEN.sub(join, text)
