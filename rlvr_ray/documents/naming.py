"""What a document may be, and what it is called.

Ids come from names and content, so that repeats are seen as such.
"""

from hashlib import sha256
from pathlib import PurePath
from uuid import UUID

from rlvr_ray.core import ids

#: Bytes of one upload, and of one file.
MAX_UPLOAD = 50 * 2**20
#: Characters of the text in an HTML or PDF file: a small file can hold very much.
MAX_TEXT = 20 * 2**20
#: Pages of a PDF.
MAX_PAGES = 5_000
TEXT_SUFFIXES = (".md", ".markdown", ".txt", ".rst")
HTML_SUFFIXES = (".html", ".htm")
PDF_SUFFIXES = (".pdf",)
SUFFIXES = TEXT_SUFFIXES + HTML_SUFFIXES + PDF_SUFFIXES


def suffix(name: str) -> str:
    """The end of a file's name that says what it is, in lower case; empty where there is none."""
    return PurePath(name).suffix.lower()


def document_id(collection: str, source: str) -> UUID:
    """The same source in the same collection is the same document."""
    return ids.derive("document", collection, source)


def chunk_id(document: UUID, index: int, content: str) -> UUID:
    """The same passage at the same place of the same document is the same point."""
    return ids.derive("chunk", document, index, sha256(content.encode()).hexdigest())
