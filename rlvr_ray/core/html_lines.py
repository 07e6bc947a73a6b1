"""Putting text into lines while the blocks of a page begin and end."""

import re
from dataclasses import dataclass
from typing import Literal

#: Where a line stands: in the page's main part, in an article, around those, or just in the page.
Zone = Literal["main", "article", "around", "page"]

_SPACES = re.compile(r"\s+")
#: Lists within lists that are indented; deeper ones stand below the last of these.
_DEEPEST = 6


@dataclass(frozen=True, slots=True)
class _Line:
    zone: Zone
    gap: int  # line ends before it
    text: str


class Lines:
    """Lines with Markdown's marks. Line ends are made when text follows, not before."""

    def __init__(self, limit: int) -> None:
        """``limit``: characters of all lines."""
        self.depth = 0  #: lists that are open
        self._left = limit
        self._lines: list[_Line] = []
        self._line: list[str] = []
        self._zone: Zone = "page"
        self._start = ""  # marks and indent of the line
        self._due = 0  # line ends before the line
        self._gap = 0  # line ends after it
        self._item = ""
        self._heading = ""
        self._cells = 0  # cells that began since the last text
        self._in_row = False

    def add(self, piece: str, zone: Zone) -> None:
        """Text, in which a run of white space is a space."""
        text = _SPACES.sub(" ", piece)
        if not self._line or self._gap or self._line[-1].endswith(" "):
            text = text.lstrip(" ")
        self._put(text, zone)

    def add_verbatim(self, piece: str, zone: Zone) -> None:
        """Text, in which white space and line ends count."""
        for number, text in enumerate(piece.split("\n")):
            if number:
                self._gap = max(self._gap, 1 if "".join(self._line).strip() else 2)
                self._flush()
            self._put(text.expandtabs(4), zone)

    def end(self, gap: int) -> None:
        """End the line, with so many line ends before the next one."""
        self._gap = max(self._gap, gap)

    def heading(self, level: int) -> None:
        """The next line is a heading; 0: it is none after all."""
        self._heading = "#" * level + " " if level else ""

    def item(self, mark: str) -> None:
        """The next line is an item of a list."""
        self._item = mark

    def row(self) -> None:
        """A row of a table begins: its cells stand in one line."""
        self._in_row, self._cells = False, 0

    def cell(self) -> None:
        """A cell begins."""
        if self._in_row:
            self._gap = 0
            self._cells += 1

    def result(self) -> str:
        """The lines that count: of the main part, where there is one; else not what is around."""
        self._flush()
        zones = {line.zone for line in self._lines}
        kept = self._lines
        if "main" in zones:
            kept = [line for line in kept if line.zone == "main"]
        elif "article" in zones:
            kept = [line for line in kept if line.zone != "around"]
        return "".join("\n" * line.gap + line.text for line in kept).strip("\n")

    def _put(self, text: str, zone: Zone) -> None:
        if not text:
            return
        if self._gap or zone != self._zone:
            self._flush()
        if self._cells:
            self._line.append(" |" * self._cells + " ")
            self._cells = 0
        if not self._line:
            self._begin(zone)
        self._line.append(text)
        self._in_row = True

    def _begin(self, zone: Zone) -> None:
        depth = min(self.depth, _DEEPEST)
        self._start = "  " * (depth - 1 if self._item and depth else depth)
        self._start += self._item + self._heading
        self._zone, self._item, self._heading = zone, "", ""

    def _flush(self) -> None:
        text = "".join(self._line).rstrip()
        if self._start.endswith("# "):
            text = text.rstrip(" \u00b6")  # documentation has links to headings there
        self._line.clear()
        if text.strip():
            self._left -= len(self._start) + len(text) + self._due
            if self._left < 0:
                raise ValueError("it holds too much text; split it")
            self._lines.append(_Line(self._zone, self._due, self._start + text))
            self._due = max(1, self._gap)
        else:
            self._due = max(self._due, self._gap)
        self._gap = 0
