"""Files to documents: plain text, HTML as a reader sees it, PDF.

To add a format, write one file with a function ``text(name, data) -> str``, which raises InputError
with one line that begins with the file's name, and add one entry to ``PARSERS``. Command line,
HTTP, clients and page read their list of file types from it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath

from rlvr_ray.core.errors import InputError
from rlvr_ray.documents.parsers import html, pdf, plain
from rlvr_ray.documents.retriever import Document

#: Bytes of one upload, and of one file.
MAX_UPLOAD = 50 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file as it was given; the suffix of ``source`` says what it is."""

    source: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Parser:
    """How files of one format become text."""

    label: str  #: the format's name, for people
    media_type: str
    text: Callable[[str, bytes], str]  #: file name and content → text
    is_text: bool = False  #: the file is its text already: it can also be given as a string


_MARKDOWN = Parser("Markdown", "text/markdown", plain.text, is_text=True)
_HTML = Parser("HTML", "text/html", html.text)
#: By suffix, in lower case.
PARSERS = {
    ".md": _MARKDOWN,
    ".markdown": _MARKDOWN,
    ".txt": Parser("text", "text/plain", plain.text, is_text=True),
    ".rst": Parser("reStructuredText", "text/x-rst", plain.text, is_text=True),
    ".html": _HTML,
    ".htm": _HTML,
    ".pdf": Parser("PDF", "application/pdf", pdf.text),
}
SUFFIXES = tuple(PARSERS)
TEXT_SUFFIXES = tuple(suffix for suffix, parser in PARSERS.items() if parser.is_text)


def suffix(name: str) -> str:
    """The end of a file's name that says what it is, in lower case; empty where there is none."""
    return PurePath(name).suffix.lower()


def document(file: File) -> Document:
    """The file's text, read by the parser for its suffix.

    The same bytes are always the same text. Blocking, for seconds where a PDF is long. Raises
    InputError, in one line that begins with the file's name.
    """
    parser = PARSERS.get(suffix(file.source))
    if parser is None:
        raise InputError(f"{file.source or 'a file'}: only {', '.join(SUFFIXES)} can be ingested")
    if len(file.data) > MAX_UPLOAD:
        raise InputError(f"{file.source} is larger than {MAX_UPLOAD:,} bytes")
    return Document(source=file.source, text=parser.text(file.source, file.data))
