"""JSON: records to it and back, what comes from outside, and lines of a file.

JSON that is not a valid record is refused, and so is a record that could not be read back: what is
written follows the rules of what is read. ``parse`` refuses what Python's parser takes for JSON
and is none.
"""

import json
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from rlvr_ray.core.errors import InputError
from rlvr_ray.core.fields import one_line

T = TypeVar("T")

#: Line ends to some readers (``str.splitlines``), though not to JSON.
_LINE_ENDS = {"\x85": "\\u0085", "\u2028": "\\u2028", "\u2029": "\\u2029"}
#: Characters of a reason.
WHY_CHARS = 300

_adapter: Callable[[Any], TypeAdapter[Any]] = cache(TypeAdapter)


def dumps(record: object, kind: type[Any] | None = None) -> str:
    """One line of JSON, UTF-8 as it is; ``kind`` is that of ``loads``, by default its own.

    Raises InputError, with the field and the reason, where ``loads`` would refuse the JSON or make
    another record of it.
    """
    kind = kind or type(record)
    try:
        data: bytes = _adapter(kind).dump_json(record, warnings=False)
        if loads(kind, data) != record:  # NaN would come back as null, a list as a tuple
            raise ValueError("a value in it comes back as another one")
    except Exception as error:  # a value of any type may stand in a field
        raise InputError(f"{kind.__name__} cannot be kept: {why(error)}") from None
    return data.decode()


def loads(kind: type[T], data: str | bytes) -> T:
    """The record; raises ValueError if the JSON does not describe one."""
    record: T = _adapter(kind).validate_json(data, strict=True, extra="forbid")
    return record


def why(error: Exception) -> str:
    """What is wrong with a record, in one line: the first field and its reason."""
    text = str(error)
    if isinstance(error, ValidationError):
        first, *rest = error.errors(include_url=False, include_context=False, include_input=False)
        place = ".".join(str(part) for part in first["loc"])
        text = f"{place}: {first['msg']}" if place else first["msg"]
        text += f" (and {len(rest)} more)" if rest else ""
    return one_line(text)[:WHY_CHARS]


def plain(record: object) -> Any:
    """The record as plain JSON data (dicts, lists, strings, numbers)."""
    return _adapter(type(record)).dump_python(record, mode="json")


def line(text: str) -> bytes:
    """A JSON text as one line for every reader, its end included."""
    for end, escape in _LINE_ENDS.items():
        text = text.replace(end, escape)
    return text.encode() + b"\n"


def parse(text: str) -> Any:
    """The JSON value of a text.

    Raises ValueError where it is none, for NaN and the infinities by name, and for an object with
    two fields of the same name; RecursionError where it is nested too deeply. A number beyond a
    float, such as 1e999, becomes an infinity: what the value is for must refuse that.
    """
    return json.loads(text, parse_constant=_refused, object_pairs_hook=_object)


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON number")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):  # parsers differ in which one they take
        raise ValueError("an object has two fields of the same name")
    return found
