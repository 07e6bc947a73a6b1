"""JSON from outside, where Python's parser takes what is none, and JSON as a line of a file."""

import json
from typing import Any

#: Line ends to some readers (``str.splitlines``), though not to JSON.
_LINE_ENDS = {"\x85": "\\u0085", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def line(text: str) -> bytes:
    """A JSON text as one line for every reader, its end included."""
    for end, escape in _LINE_ENDS.items():
        text = text.replace(end, escape)
    return text.encode() + b"\n"


def loads(text: str) -> Any:
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
