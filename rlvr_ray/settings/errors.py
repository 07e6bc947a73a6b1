"""Errors in settings in plain words: the key, the reason, and the key that was probably meant."""

import difflib
from collections.abc import Iterable, Iterator
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

#: By pydantic's kind of error; the braces are of its context.
_REASONS = {
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "dict_type": "must be a mapping, such as {{name: value}}",
    "finite_number": "must be a finite number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "greater_than": "must be greater than {gt:g}",
    "greater_than_equal": "must be {ge:g} or more",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "less_than": "must be less than {lt:g}",
    "less_than_equal": "must be {le:g} or less",
    "list_type": "must be a list, such as [VALUE, VALUE]",
    "literal_error": "must be {expected}",
    "missing": "is needed",
    "model_type": "is a section: it holds settings and has no value of its own",
    "path_type": "must be a path",
    "string_pattern_mismatch": "must match the pattern {pattern}",
    "string_type": "must be text; put a number or a word such as true into quotes",
    "too_short": "needs at least {min_length} of them",
    "tuple_type": "must be a list, such as [VALUE, VALUE]",
    "value_error": "{error}",
}


def problem(error: ErrorDetails, settings: type[BaseModel]) -> str:
    """One of pydantic's errors over the tree, without the value, which may be a secret."""
    key = ".".join(map(str, error["loc"])) or "settings"
    if error["type"] == "extra_forbidden":
        known = [*_beside(error["loc"], settings), *keys(settings)]
        return f"{key}: there is no such setting{suggestion(key, known)}"
    return f"{key}: {reason(error)}"


def reason(error: ErrorDetails) -> str:
    """What is wrong with a value, without the value."""
    kind = error["type"]
    if kind == "string_pattern_mismatch" and error["ctx"]["pattern"].startswith("^https?://"):
        return "must begin with http:// or https://"
    if kind in _REASONS:
        text = _REASONS[kind].format_map(error.get("ctx", {}))
    else:
        text = error["msg"].replace("Input should be", "must be").removeprefix("Value error, ")
    if kind == "literal_error":
        text += suggestion(str(error["input"]), text.split("'")[1::2])
    return text


def _beside(place: tuple[int | str, ...], model: type[BaseModel]) -> Iterator[str]:
    """The keys that could stand in the place of the last one, in lists too."""
    for part in place[:-1]:
        field = model.model_fields.get(str(part))
        if field is not None:
            model = next(_models(field.annotation), model)
    for name in model.model_fields:
        yield ".".join(map(str, (*place[:-1], name)))


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Those that a type is made of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)


def suggestion(given: str, known: Iterable[str]) -> str:
    """``; did you mean X?``, or nothing where no known name is like it.

    Of dotted keys the last part alone may be what was given, or nearly.
    """
    names = sorted(known)
    wanted = given.casefold()
    by_name = {name.casefold(): name for name in names}
    found = difflib.get_close_matches(wanted, by_name, n=1, cutoff=0.75)
    if not found and "." not in wanted:
        ends = {name.rpartition(".")[2]: name.casefold() for name in reversed(names)}
        found = [ends[end] for end in difflib.get_close_matches(wanted, ends, n=1, cutoff=0.8)]
    return f"; did you mean {by_name[found[0]]}?" if found else ""


def keys(model: type[BaseModel], above: str = "") -> Iterator[str]:
    """Every setting below a model, with dots: ``dpo.prompt``; sections too, ``dpo``."""
    for name, field in model.model_fields.items():
        yield above + name
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from keys(field.annotation, f"{above}{name}.")
