"""Reading the payload of a point, which another program may have written."""

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from rlvr_ray.core.fields import storable
from rlvr_ray.core.records import MAX_INTEGER, METADATA


def payload_of(payload: Any) -> tuple[str, dict[str, str | int]] | None:
    """A point's text and its metadata as a Context keeps it; None where it has no text."""
    content = payload.get("content") if isinstance(payload, Mapping) else None
    if not isinstance(content, str):
        return None
    return storable(content), metadata_of(payload)


def metadata_of(payload: Any) -> dict[str, str | int]:
    """A point's metadata as a Context keeps it.

    Of metadata that another tool wrote, texts and whole numbers stay (1.0 is 1), other numbers and
    truth values become text, and null, lists and objects are left out. So is a ``chunk_index`` or
    ``start`` that is no whole number. NUL and halves of characters become U+FFFD or ``?``.
    """
    found = payload.get("metadata") if isinstance(payload, Mapping) else None
    kept: dict[str, str | int] = {}
    for key, value in found.items() if isinstance(found, Mapping) else ():
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool | float):
            value = json.dumps(value)
        elif isinstance(value, int) and not -MAX_INTEGER <= value <= MAX_INTEGER:
            value = str(value)
        kind = METADATA.get(key)
        if kind is str and isinstance(value, int):
            value = str(value)
        if isinstance(value, str | int) and isinstance(value, kind or object):
            kept[storable(str(key))] = storable(value) if isinstance(value, str) else value
    return kept


def document_of(metadata: Mapping[str, str | int]) -> UUID | None:
    """The document of a passage; None where another tool names it in its own way."""
    try:
        return UUID(str(metadata.get("document_id")))
    except ValueError:
        return None


def chunk_of(point: Any) -> UUID:
    """A point's id, which may be a number, too."""
    return UUID(int=point) if isinstance(point, int) else UUID(str(point))


def point_of(chunk: UUID) -> int | str:
    """The id of a passage's point."""
    return chunk.int if chunk.int < 2**64 else str(chunk)
