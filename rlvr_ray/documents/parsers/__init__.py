"""From files to documents: text as it is, HTML as it is seen, PDF as it is printed."""

from collections.abc import Callable

from rlvr_ray.core.errors import InputError
from rlvr_ray.documents.naming import (
    HTML_SUFFIXES,
    MAX_UPLOAD,
    PDF_SUFFIXES,
    SUFFIXES,
    TEXT_SUFFIXES,
    suffix,
)
from rlvr_ray.documents.retriever import Document, File


def document(file: File) -> Document:
    """What the file says; the end of its name tells how it is read.

    The same bytes are always the same text. Blocking, for seconds where a PDF is long. Raises
    InputError, in one line that begins with the file's name.
    """
    read = _READERS.get(suffix(file.source))
    if read is None:
        raise InputError(f"{file.source or 'a file'}: only {', '.join(SUFFIXES)} can be ingested")
    if len(file.data) > MAX_UPLOAD:
        raise InputError(f"{file.source} is larger than {MAX_UPLOAD:,} bytes")
    return Document(source=file.source, text=read(file.source, file.data))


def _text(name: str, data: bytes) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{name} is not UTF-8: {error.reason} at byte {error.start}") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _html(name: str, data: bytes) -> str:
    from rlvr_ray.documents.parsers import html

    return html.text(name, data)


def _pdf(name: str, data: bytes) -> str:
    from rlvr_ray.documents.parsers import pdf

    return pdf.text(name, data)


_READERS: dict[str, Callable[[str, bytes], str]] = {
    **dict.fromkeys(TEXT_SUFFIXES, _text),
    **dict.fromkeys(HTML_SUFFIXES, _html),
    **dict.fromkeys(PDF_SUFFIXES, _pdf),
}
