"""The text of HTML pages as a reader sees it, by lxml and inscriptis.

Hidden elements are left out: they would instruct the model without any reader noticing. Tags and
attributes are checked; what a style sheet or a script hides is not known.
"""

import codecs
import re
from typing import TYPE_CHECKING

from rlvr_ray.core.errors import InputError
from rlvr_ray.documents.parsers.cleaning import MAX_TEXT, without_invisible

if TYPE_CHECKING:
    from lxml.html import HtmlElement as Element

#: Bytes in which a page says its charset.
_HEAD = 4096
_INVISIBLE = (
    "//script | //style | //template | //noscript | //svg | //math | //object | //iframe | "
    "//textarea | //select | //button | //dialog[not(@open)] | //*[@hidden] | "
    "//*[translate(normalize-space(@aria-hidden), 'TRUE', 'true') = 'true']"
)
#: Around the text, where the page says which part of it is the text.
_TEXT = "//main | //article | //*[@role = 'main']"
_AROUND = (
    "//*[self::nav or self::header or self::footer or self::aside or @role = 'navigation']"
    "[not(ancestor::main or ancestor::article or ancestor::*[@role = 'main'])]"
)
#: What stands in lines of its own, beside what inscriptis knows.
_BLOCKS = ("hr", "summary", "details", "dt", "dd", "figcaption", "caption", "address", "dialog")
_HEADINGS = "//h1 | //h2 | //h3 | //h4 | //h5 | //h6"
_CSS_COMMENT = re.compile(r"/\*.*?(?:\*/|\Z)", re.DOTALL)
_HIDING = re.compile(
    r"(?:^|;)\s*(?:display\s*:\s*none|(?:content-)?visibility\s*:\s*(?:hidden|collapse)"
    r"|(?:opacity|font-size)\s*:\s*\+?0*\.?0+(?:%|[a-z]+)?)\s*(?=;|!|\Z)",
    re.IGNORECASE,
)
_BLANK_LINES = re.compile(r"\n(?:\s*\n){2,}")


def text(name: str, data: bytes) -> str:
    """The title and the visible text, headings with Markdown's marks.

    Raises InputError, in one line that begins with the name, where there is none.
    """
    from inscriptis import Inscriptis
    from inscriptis.css_profiles import CSS_PROFILES
    from inscriptis.html_properties import Display
    from inscriptis.model.config import ParserConfig
    from inscriptis.model.html_element import HtmlElement
    from lxml import etree

    try:
        page = _parsed(name, data)
        title = " ".join((page.findtext("./head/title") or "").split())
        _prune(page)
        css = CSS_PROFILES["strict"].copy()
        css.update({tag: HtmlElement(tag=tag, display=Display.block) for tag in _BLOCKS})
        found = Inscriptis(page, ParserConfig(css=css)).get_text()
    except RecursionError:
        raise InputError(f"{name}: its elements are nested too deeply") from None
    except etree.ParserError:
        raise InputError(f"{name} holds no text that a reader sees") from None
    except (etree.LxmlError, ValueError, AssertionError) as error:
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"{name} cannot be read as HTML ({why})") from None
    lines = [line.rstrip() for line in without_invisible(found).splitlines()]
    body = _BLANK_LINES.sub("\n\n", "\n".join(lines)).strip("\n")
    if not body.strip():
        raise InputError(f"{name} holds no text that a reader sees")
    if len(body) > MAX_TEXT:
        raise InputError(f"{name} holds more than {MAX_TEXT:,} characters of text; split it")
    first = body.partition("\n")[0].lstrip("# ")
    return body if title in (first, "") else f"# {title}\n\n{body}"


def _parsed(name: str, data: bytes) -> "Element":
    """The page by its mark or as UTF-8, else in the charset that it declares."""
    from lxml import html

    marked = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    charset: str | None = "utf-8"
    try:
        data = data.decode("utf-16" if marked else "utf-8-sig").encode()
    except UnicodeDecodeError as error:
        if marked or b"charset" not in data[:_HEAD].lower():
            raise InputError(
                f"{name} is not {error.encoding.upper()}: {error.reason} at byte {error.start}"
            ) from None
        charset = None
    parser = html.HTMLParser(
        encoding=charset,
        remove_comments=True,
        remove_pis=True,
        huge_tree=True,  # else what is nested deeply is left out, and nobody is told
    )
    return html.document_fromstring(data, parser=parser)


def _prune(page: "Element") -> None:
    """Leave what a reader came for, and sees."""
    invisible = page.xpath(_INVISIBLE)
    invisible += [
        element
        for element in page.xpath("//*[@style]")
        if _HIDING.search(_CSS_COMMENT.sub("", element.get("style")))
    ]
    if page.xpath(_TEXT):
        invisible += page.xpath(_AROUND)
    for element in invisible:
        if element.getparent() is None:  # all of the page
            element.clear()
        else:
            element.drop_tree()
    for heading in page.xpath(_HEADINGS):
        if heading.text_content().strip():
            heading.text = f"{'#' * int(heading.tag[1])} {(heading.text or '').lstrip()}"
