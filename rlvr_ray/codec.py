"""Records to JSON and back. JSON that is not a valid record is refused."""

from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter

T = TypeVar("T")

_adapter: Callable[[Any], TypeAdapter[Any]] = cache(TypeAdapter)


def dumps(record: object) -> str:
    """One line of JSON, UTF-8 as it is."""
    return _adapter(type(record)).dump_json(record).decode()


def loads(kind: type[T], data: str | bytes) -> T:
    """The record; raises ValueError if the JSON does not describe one."""
    record: T = _adapter(kind).validate_json(data, strict=True, extra="forbid")
    return record


def plain(record: object) -> Any:
    """The record as plain JSON data (dicts, lists, strings, numbers)."""
    return _adapter(type(record)).dump_python(record, mode="json")
