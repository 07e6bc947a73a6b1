"""The text of an HTML page: what a reader of it sees, as lines with Markdown's marks.

What is hidden from readers is left out: it would tell the model what no person has read. Only
tags and their attributes are looked at; what a style sheet or a script hides is not known.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from rlvr_ray.core.html_lines import Lines, Zone
from rlvr_ray.core.html_tokens import End, Start, Tokens
from rlvr_ray.core.seen import seen

#: Elements within each other. Browsers stop at 512.
MAX_DEPTH = 10_000


def _words(text: str) -> list[str]:
    return text.split()


_HEADINGS = tuple(f"h{level}" for level in range(1, 7))
_LISTS = ("ul", "ol", "menu")
_CELLS = ("td", "th")
_ROWS = ("tr",)
_ROW_GROUPS = ("thead", "tbody", "tfoot")
#: Line ends before and after each kind of block.
_BLOCKS = {
    **dict.fromkeys(_HEADINGS, 2),
    **dict.fromkeys(_words("p pre listing table blockquote ul ol menu dl hr main article"), 2),
    **dict.fromkeys(_words("section nav header footer aside figure form fieldset"), 2),
    **dict.fromkeys(_words("details dialog hgroup search"), 2),
    **dict.fromkeys(_words("div li dt dd tr caption figcaption summary address center"), 1),
    **dict.fromkeys(_words("legend thead tbody tfoot html body"), 1),
}
_VOID = frozenset(
    _words(
        "area base basefont bgsound br col embed frame hr img input keygen link meta param source "
        "track wbr"
    )
)
#: Nothing in them is text that is read.
_DROPPED = frozenset(
    _words(
        "script style xmp iframe noembed noframes noscript textarea template svg canvas audio "
        "video object applet select datalist button annotation annotation-xml rp frameset"
    )
)
#: Where one of these ends before its end tag, browsers open it again behind what ended it.
_FORMATTING = frozenset(_words("a b big code em font i nobr s small strike strong tt u"))
#: Start tags that end a drawing, and what in a drawing is a page again.
_NOT_DRAWN = frozenset(
    _words(
        "b big blockquote body br center code dd div dl dt em embed h1 h2 h3 h4 h5 h6 head hr i "
        "img li listing menu meta nobr ol p pre ruby s small span strike strong sub sup table tt "
        "u ul var"
    )
)
_WITHIN_DRAWN = frozenset({"foreignobject", "desc", "title"})

# Kinds of elements that an end tag, or what a start tag ends, does not reach through.
_SPECIAL = frozenset(_BLOCKS) | {*_CELLS, "button", "object", "applet", "select", "template"}
_TABLE = frozenset({"table", "template", "html"})
_SCOPE = _TABLE | {*_CELLS, "caption", "object", "applet", "svg"}
_LIST = _SCOPE | {*_LISTS}
_ITEM = _SPECIAL - {"div", "p", "address", "li", "dt", "dd"}
_KINDS = {"special": _SPECIAL, "table": _TABLE, "scope": _SCOPE, "list": _LIST, "item": _ITEM}
_KINDS |= {"drawing": frozenset({"svg"}), "undrawn": _WITHIN_DRAWN}
_KINDS_OF = {
    name: tuple(kind for kind, names in _KINDS.items() if name in names)
    for name in frozenset().union(*_KINDS.values())
}
#: What a start tag ends, and the kind of element that is not reached through.
_ENDED_BY = {
    "li": (("li",), "item"),
    **dict.fromkeys(("dt", "dd"), (("dt", "dd"), "item")),
    **dict.fromkeys(_CELLS, (_CELLS, "table")),
    **dict.fromkeys(_ROWS, ((*_ROWS, *_CELLS), "table")),
    **dict.fromkeys(_ROW_GROUPS, ((*_ROW_GROUPS, *_ROWS, *_CELLS), "table")),
}

_CSS_COMMENT = re.compile(r"/\*.*?(?:\*/|\Z)", re.DOTALL)
_CSS_ESCAPE = re.compile(r"\\([0-9a-fA-F]{1,6})[ \t\n\f\r]?|\\(.)", re.DOTALL)
_ZERO = r"\+?(?:0+(?:\.0*)?|\.0+)(?:%|[a-z]+)?"
_HIDING = re.compile(
    r"(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*(?:hidden|collapse)"
    rf"|content-visibility\s*:\s*hidden|(?:opacity|font-size)\s*:\s*{_ZERO})\s*(?=;|!|\Z)",
    re.IGNORECASE,
)


def text(page: str, limit: int) -> str:
    """The page's text, its title first; empty where a reader sees none.

    Where the page has a ``main``, only that; where it has articles, all but navigation, header
    and footer of the page. Raises ValueError for a page that is nested deeper than ``MAX_DEPTH``,
    has too many tags, or more than ``limit`` characters of text.
    """
    reader = _Reader(limit)
    tokens = Tokens(page)
    for token in tokens:
        match token:
            case str():
                reader.text(token)
            case Start():
                reader.start(token)
            case End():
                reader.end(token.name)
        tokens.foreign = reader.in_drawing
    return reader.result()


def hides(attributes: Mapping[str, str]) -> bool:
    """Whether an element with these attributes is hidden, with all that is in it."""
    if not attributes:
        return False
    if "hidden" in attributes or attributes.get("aria-hidden", "").strip().lower() == "true":
        return True
    style = _CSS_COMMENT.sub("", attributes.get("style", ""))
    return bool(style and _HIDING.search(_CSS_ESCAPE.sub(_unescaped, style)))


def _unescaped(match: re.Match[str]) -> str:
    if not match[1]:
        return match[2]
    code = int(match[1], 16)
    return chr(code) if 0 < code < 0xD800 else "\ufffd"


@dataclass(frozen=True, slots=True)
class _Open:
    """An element whose end has not come."""

    name: str
    around: Zone  # the zone before it
    hidden: bool  # by its attributes
    dropped: bool  # with all that is in it
    begun: bool  # it was seen when it began


class _Reader:
    """Knows which elements are open, and so what is seen and where it stands."""

    def __init__(self, limit: int) -> None:
        self._open: list[_Open] = []
        self._places: dict[str, list[int]] = defaultdict(list)  # by name and by kind
        self._dropped = 0  # open elements that are
        self._reopened: dict[str, int] = defaultdict(int)  # hidden ones: see _FORMATTING
        self._zone: Zone = "page"
        self._title: list[str] | None = None
        self._in_title = False
        self._lists: list[int | None] = []  # the number of the last item; None: no numbers
        self._lines = Lines(limit)

    @property
    def in_drawing(self) -> bool:
        """Whether what follows is in ``svg`` and not in a page within it."""
        return self._last(("drawing",)) > self._last(("undrawn",))

    @property
    def _unseen(self) -> bool:
        return bool(self._dropped or self._reopened)

    def text(self, piece: str) -> None:
        """Some text."""
        if self._in_title:
            assert self._title is not None
            self._title.append(piece)
        elif self._unseen:
            pass
        elif self._last(("pre", "listing")) >= 0:
            self._lines.add_verbatim(piece, self._zone)
        else:
            self._lines.add(piece, self._zone)

    def start(self, tag: Start) -> None:
        """An element begins."""
        name, hidden = tag.name, hides(tag.attributes)
        while self.in_drawing and name in _NOT_DRAWN:
            self._pop()
        self._end_before(name)
        if name in _VOID:
            self._void(name)
            return
        if name == "head" or (tag.closed and (name == "svg" or self.in_drawing)):
            return
        if name in ("html", "body") and self._last((name,)) >= 0 and not hidden:
            return
        if name == "title" and self._title is None and not self._unseen:
            self._title, self._in_title = [], True
        hidden = hidden or (name == "dialog" and "open" not in tag.attributes)
        dropped = hidden or name in _DROPPED
        # Of an inline element that is seen, nothing depends on where it ends.
        if self._unseen or dropped or name in _SPECIAL or name == "title":
            self._push(name, tag.attributes, hidden=hidden, dropped=dropped)

    def end(self, name: str) -> None:
        """An end tag: it ends an element, and what is open within it, or nothing."""
        if self._reopened.get(name):
            self._reopened[name] -= 1
            if not self._reopened[name]:
                del self._reopened[name]
            return
        if name == "br":
            self._void(name)
        elif name in _HEADINGS:
            self._end(_HEADINGS, "scope")
        elif name in _FORMATTING:
            self._end_formatting(name)
        elif name in ("table", *_CELLS, *_ROWS, *_ROW_GROUPS):
            self._end((name,), "table", through=name == "table")
        elif name == "li":
            self._end((name,), "list")
        elif name in _SPECIAL and name not in ("html", "body"):
            self._end((name,), "scope", through=name in _SCOPE)
        elif name not in ("html", "body"):
            self._end((name,), "special", through=name in _SPECIAL)

    def result(self) -> str:
        """The lines that count, after the title."""
        body = seen(self._lines.result()).strip("\n")
        title = " ".join(seen("".join(self._title or ())).split())
        first = body.split("\n", 1)[0].lstrip("#").strip()
        return f"# {title}\n\n{body}" if body and title and title != first else body

    def _last(self, names: Iterable[str]) -> int:
        """The place of the innermost open element of these names or kinds; -1: there is none."""
        last = -1
        for name in names:
            places = self._places.get(name)
            if places and places[-1] > last:
                last = places[-1]
        return last

    def _end_before(self, name: str) -> None:
        """End what a browser ends where this element begins."""
        if name in _BLOCKS and self._last(("p",)) > self._last(("scope",)):
            self._pop_to(self._places["p"][-1])
        if name in _ENDED_BY:
            ended, barrier = _ENDED_BY[name]
            while (place := self._last(ended)) > self._last((barrier,)):
                self._pop_to(place)
        elif name in _HEADINGS and self._open and self._open[-1].name in _HEADINGS:
            self._pop()

    def _void(self, name: str) -> None:
        if self._unseen:
            return
        if name == "br" and self._last(_HEADINGS) >= 0:
            self._lines.add(" ", self._zone)
        elif name in ("br", "hr"):
            self._lines.end(1 if name == "br" else 2)

    def _push(
        self, name: str, attributes: Mapping[str, str], *, hidden: bool, dropped: bool
    ) -> None:
        place = len(self._open)
        if place >= MAX_DEPTH:
            raise ValueError(f"its elements are nested deeper than {MAX_DEPTH:,}")
        self._dropped += dropped
        begun = not self._unseen
        self._open.append(_Open(name, self._zone, hidden, dropped, begun))
        for key in (name, *_KINDS_OF.get(name, ())):
            self._places[key].append(place)
        if begun:
            self._zone = _zone(name, attributes.get("role", "").strip().lower(), self._zone)
            self._begin(name)

    def _begin(self, name: str) -> None:
        lines = self._lines
        lines.end(self._gap(name))
        if name in _CELLS:
            lines.cell()
        elif name in _ROWS:
            lines.row()
        elif name in _HEADINGS:
            lines.heading(_HEADINGS.index(name) + 1)
        elif name in _LISTS:
            self._lists.append(0 if name == "ol" else None)
            lines.depth = len(self._lists)
        elif name == "li":
            number = self._lists[-1] if self._lists else None
            if number is not None:
                self._lists[-1] = number = number + 1
            lines.item("- " if number is None else f"{number}. ")

    def _end(self, names: tuple[str, ...], barrier: str, *, through: bool = False) -> None:
        """Pop to the innermost of these; ``through``: it is a barrier itself."""
        place, wall = self._last(names), self._last((barrier,))
        if place >= 0 and (place > wall or (through and place == wall)):
            self._pop_to(place + 1)
            self._pop(own=True)

    def _end_formatting(self, name: str) -> None:
        place = self._last((name,))
        if place <= self._last(("scope",)):
            return
        if self._last(("special",)) < place:
            self._pop_to(place + 1)
            self._pop(own=True)
            return
        # Blocks within it go on, without it.
        element = self._open[place]
        self._dropped -= element.dropped
        self._places[name].pop()
        self._open[place] = replace(element, name="", hidden=False, dropped=False)

    def _pop_to(self, place: int) -> None:
        while len(self._open) > place:
            self._pop()

    def _pop(self, *, own: bool = False) -> None:
        """End the innermost element; ``own``: by its own end tag."""
        element = self._open.pop()
        name = element.name
        for key in (name, *_KINDS_OF.get(name, ())) if name else ():
            self._places[key].pop()
        self._dropped -= element.dropped
        self._zone = element.around
        if element.hidden and name in _FORMATTING and not own:
            self._reopened[name] += 1
        if name == "title":
            self._in_title = False
        if not element.begun:
            return
        if name in _LISTS:
            self._lists.pop()
            self._lines.depth = len(self._lists)
            self._lines.item("")
        elif name in _HEADINGS:
            self._lines.heading(0)
        self._lines.end(self._gap(name))

    def _gap(self, name: str) -> int:
        """Line ends around a block; lists and tables stay together."""
        within = self._lists or self._last(_CELLS) >= 0
        return min(_BLOCKS.get(name, 0), 1 if within else 2)


def _zone(name: str, role: str, around: Zone) -> Zone:
    if name == "main" or role == "main":
        return "main"
    if name == "nav" or role == "navigation":
        return "around"
    if around == "page":
        if name == "article" or role == "article":
            return "article"
        if name in ("header", "footer", "aside") or role in ("banner", "contentinfo", "search"):
            return "around"
    return around
