"""Cutting HTML into tags and text, as browsers do, in one pass that never goes back.

The standard library's parser needs time that grows with the square of what a hostile file holds,
and ends some scripts and comments where a browser does not: what nobody sees would become text.
"""

import html
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

#: Tags of a page: what takes a while to read.
MAX_TAGS = 2_000_000

#: Elements whose content is not markup, up to their end tag. A browser runs scripts, so what is
#: in ``noscript`` is not shown.
_RAW = ("script", "style", "xmp", "iframe", "noembed", "noframes", "noscript")
_ESCAPABLE = ("title", "textarea")  # character references count, tags do not
_ENDS = {name: re.compile(rf"</{name}(?=[\s/>])", re.I | re.A) for name in (*_RAW, *_ESCAPABLE)}

_NAME = re.compile(r"[^ \t\n\f\r/>]+")
_BETWEEN = re.compile(r"[ \t\n\f\r/]*")
_ATTRIBUTE = re.compile(r"=?[^ \t\n\f\r/>=]*")
_EQUALS = re.compile(r"[ \t\n\f\r]*=[ \t\n\f\r]*")
_UNQUOTED = re.compile(r"[^ \t\n\f\r>]*")
#: No character has so high a number, and Python refuses to read a very long one.
_BEYOND = re.compile(r"&#0*+[1-9][0-9]{8,}+;?", re.A)
_COMMENT_END = re.compile(r"--!?>")
_IN_SCRIPT = re.compile(r"<!--|-->|<(/?)script(?=[\s/>])", re.I | re.A)


@dataclass(frozen=True, slots=True)
class Start:
    """A start tag: names in lower case, each attribute once."""

    name: str
    attributes: Mapping[str, str]
    closed: bool  #: ends in ``/>``


@dataclass(frozen=True, slots=True)
class End:
    """An end tag."""

    name: str


Token = Start | End | str


class Tokens:
    """The tags and texts of a page, in order; a text may come in several pieces.

    Comments, and the content of scripts and the like, are left out. Whoever reads sets
    ``foreign`` while what follows is in a drawing (``svg``), where other rules hold.
    """

    def __init__(self, page: str) -> None:
        self.foreign = False
        self._page = page
        self._at = 0
        self._tags = MAX_TAGS

    def __iter__(self) -> Iterator[Token]:
        """Each token once. Raises ValueError at a tag beyond ``MAX_TAGS``."""
        page, size = self._page, len(self._page)
        while self._at < size:
            mark = page.find("<", self._at)
            end = size if mark < 0 else mark
            if end > self._at:
                yield _characters(page[self._at : end])
            self._at = end
            if end == size:
                return
            self._tags -= 1
            if self._tags < 0:
                raise ValueError(f"it has more than {MAX_TAGS:,} tags; split it")
            first, second = page[end + 1 : end + 2], page[end + 2 : end + 3]
            if _letter(first):
                start = self._start(end + 1)
                if start is None:
                    return
                yield start
                yield from self._content(start)
            elif first == "/" and _letter(second):
                name = self._name(end + 2)
                if self._attributes() is None:
                    return
                yield End(name)
            elif first in ("!", "?", "/") and first:
                self._unshown(end)
            else:
                yield "<"
                self._at = end + 1

    def _start(self, at: int) -> Start | None:
        name = self._name(at)
        attributes = self._attributes()
        if attributes is None:
            return None
        return Start(name, attributes, closed=self._page[self._at - 2] == "/")

    def _name(self, at: int) -> str:
        found = _NAME.match(self._page, at)
        assert found, "a letter stands there"
        self._at = found.end()
        return found.group().lower()

    def _attributes(self) -> dict[str, str] | None:
        """Those of the tag, up to its end; None where the page ends before it: it is no tag."""
        page = self._page
        attributes: dict[str, str] = {}
        if page.startswith(">", self._at):
            self._at += 1
            return attributes
        while True:
            at = _end(_BETWEEN, page, self._at)
            if page[at : at + 1] in ("", ">"):
                self._at = at + 1
                return attributes if at < len(page) else None
            end = _end(_ATTRIBUTE, page, at)
            name, value = page[at:end].lower(), ""
            equals = _EQUALS.match(page, end)
            if equals:
                at = equals.end()
                quote = page[at : at + 1]
                if quote in ('"', "'") and quote:
                    end = page.find(quote, at + 1)
                    if end < 0:
                        self._at = len(page)
                        return None
                    value = page[at + 1 : end]
                    end += 1
                else:
                    end = _end(_UNQUOTED, page, at)
                    value = page[at:end]
            self._at = end
            attributes.setdefault(name, _characters(value))

    def _content(self, start: Start) -> Iterator[Token]:
        """Skip what is not markup; of a title, give it."""
        name, begin = start.name, self._at
        if name == "plaintext" and not self.foreign:
            self._at = len(self._page)
            yield self._page[begin:]
        if name not in _ENDS or self.foreign:
            return
        end = self._end_of_script() if name == "script" else self._end_of(name)
        self._at = end
        if name == "title":
            yield _characters(self._page[begin:end])

    def _end_of(self, name: str) -> int:
        found = _ENDS[name].search(self._page, self._at)
        return found.start() if found else len(self._page)

    def _end_of_script(self) -> int:
        """Within ``<!--`` a script may hold another one, whose end tag is not the end."""
        at, commented, inner = self._at, False, False
        while found := _IN_SCRIPT.search(self._page, at):
            at = found.end()
            what = found.group()
            if what == "<!--":
                at -= 2  # the dashes may be those of -->
                commented = True
            elif what == "-->":
                commented = inner = False
            elif not found.group(1):
                inner = commented
            elif not inner:
                return found.start()
            else:
                inner = False
        return len(self._page)

    def _unshown(self, at: int) -> None:
        """Skip a comment, a declaration, or what browsers take for one."""
        page = self._page
        mark = ">"
        if page.startswith(("<!-->", "<!--->"), at):
            pass  # whole comments
        elif page.startswith("<!--", at):
            found = _COMMENT_END.search(page, at + 4)
            self._at = found.end() if found else len(page)
            return
        elif self.foreign and page.startswith("<![CDATA[", at):
            mark = "]]>"
        end = page.find(mark, at)
        self._at = end + len(mark) if end >= 0 else len(page)


def _characters(text: str) -> str:
    """The text with what its references stand for."""
    return html.unescape(_BEYOND.sub("\ufffd", text)) if "&" in text else text


def _letter(char: str) -> bool:
    return char.isascii() and char.isalpha()


def _end(pattern: re.Pattern[str], page: str, at: int) -> int:
    found = pattern.match(page, at)
    return found.end() if found else at
