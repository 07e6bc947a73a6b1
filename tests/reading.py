"""Reading a file as a document, in tests of what each kind of file gives."""

import pytest

from rlvr_ray.core.errors import InputError
from rlvr_ray.documents import parsers
from rlvr_ray.documents.parsers import File


def read(name: str, data: bytes) -> str:
    """The document's text."""
    return parsers.document(File(source=name, data=data)).text


def refused(name: str, data: bytes, after: str = "") -> str:
    """Why there is none: one line that begins with the file's name, and what stands after it."""
    with pytest.raises(InputError) as caught:
        read(name, data)
    detail = str(caught.value)
    assert detail.startswith(name + after)
    assert "\n" not in detail
    return detail
