"""The text of PDF files, by pypdf."""

import logging
import time
from collections.abc import Iterator
from io import BytesIO
from typing import TYPE_CHECKING, Any

from rlvr_ray.core.errors import InputError, RlvrError
from rlvr_ray.documents.parsers.cleaning import MAX_TEXT, printed

if TYPE_CHECKING:
    from pypdf import PdfReader

#: Pages of a PDF.
MAX_PAGES = 5_000
#: Seconds for one file. Real ones take a hundredth of a second a page; drawings within drawings
#: could take for ever.
READ_S = 300.0


def text(name: str, data: bytes) -> str:
    """The pages' text, an empty line between them.

    Raises InputError, in one line that begins with the name, for what is no PDF, is damaged or
    encrypted, is too large, or holds no text.
    """
    # Whatever it mended is none of the user's business, and it says so line by line.
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    try:
        pages = list(_pages(data))
    except RlvrError as error:
        raise InputError(f"{name} {error}") from None
    except Exception as error:  # pypdf raises whatever a damaged file leads it to
        why = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise InputError(f"{name} is damaged and cannot be read as PDF ({why})") from None
    if not any(pages):
        raise InputError(f"{name} holds no text: a scan? Run OCR (text recognition) on it first")
    return "\n\n".join(page for page in pages if page)


def _pages(data: bytes) -> Iterator[str]:
    from pypdf import PdfReader

    if b"%PDF-" not in data[:1024]:
        raise InputError("is no PDF, whatever its name says")
    deadline = time.monotonic() + READ_S

    def visit(*_: Any) -> None:
        if time.monotonic() > deadline:
            raise InputError(f"takes longer than {READ_S:g} s to read; print it to a new PDF")

    reader = PdfReader(BytesIO(data))
    if reader.is_encrypted:
        _open(reader)
    count = len(reader.pages)
    if count > MAX_PAGES:
        raise InputError(f"has {count:,} pages, more than {MAX_PAGES:,}; split it")
    left = MAX_TEXT
    for page in reader.pages:
        raw = page.extract_text(visitor_operand_before=visit)
        visit()
        left -= len(raw)
        if left < 0:
            raise InputError(f"holds more than {MAX_TEXT:,} characters of text; split it")
        yield printed(raw)


def _open(reader: "PdfReader") -> None:
    """With the empty password, which is that of a file that only forbids printing."""
    from pypdf.errors import DependencyError

    try:
        opened = reader.decrypt("")
    except (DependencyError, NotImplementedError):
        raise InputError("is encrypted in a way that cannot be read; save it without") from None
    if not opened:
        raise InputError("is encrypted; save it without a password")
