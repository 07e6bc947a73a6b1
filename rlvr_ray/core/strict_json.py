"""JSON from outside, where Python's parser takes what is none."""

import json
from typing import Any


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
