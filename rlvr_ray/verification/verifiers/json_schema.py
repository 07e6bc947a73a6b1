"""The verifier ``json_schema``: the answer must be JSON that is valid under a schema."""

import json
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any

from pydantic import Field

from rlvr_ray.core import codec
from rlvr_ray.core.errors import ConfigError, JudgeError
from rlvr_ray.verification.verifier import Claim
from rlvr_ray.verification.verifiers import rules
from rlvr_ray.verification.verifiers.rules import Match, RuleVerifier
from rlvr_ray.verification.verifiers.shared import Options, quote, read_options


class _JsonSchema(Options):
    document: dict[str, Any] = Field(alias="schema")


def create(options: Mapping[str, Any]) -> RuleVerifier:
    """1 where the answer is JSON that is valid under a schema, else 0.

    Option ``schema``: the JSON schema. References in it reach no further than itself.
    """
    chosen = read_options(_JsonSchema, "json_schema", options)
    validator = _validator(chosen.document)

    def rule(claim: Claim) -> Match:
        try:
            value = _parse(claim.answer)
        except RecursionError:
            return Match(0.0, "expected JSON, found some that is nested too deeply")
        except ValueError as error:
            return Match(0.0, f"expected JSON, found {quote(claim.answer)}: {_line(error)}")
        problem = _problem(validator, value)
        if problem is not None:
            return Match(0.0, f"expected JSON that is valid under the schema, found {problem}")
        return Match(1.0, "expected JSON that is valid under the schema, found such")

    return RuleVerifier(rule, chosen, sys.modules[__name__])


def _parse(answer: str) -> Any:
    """The JSON value of an answer, within one fence or none.

    Raises ValueError where it is none, as ``codec.parse`` does, and for numbers beyond a float;
    RecursionError.
    """
    answer = answer.strip()
    if answer[:7].casefold() == "```json" and answer.endswith("```") and len(answer) >= 10:
        answer = answer[7:-3]
    value = codec.parse(answer)
    json.dumps(value, allow_nan=False)
    return value


def _problem(validator: Any, value: Any) -> str | None:
    """The first thing that is wrong with a value, or None. Raises JudgeError."""
    import regex as library  # type: ignore[import-untyped]
    from referencing.exceptions import Unresolvable

    token = _DEADLINE.set(time.monotonic() + rules.PATTERN_S)
    try:
        error = next(validator.iter_errors(value), None)
    except Unresolvable as problem:
        raise JudgeError(f"the schema refers to what it does not hold: {_line(problem)}") from None
    except RecursionError:
        raise JudgeError("the schema refers to itself without end, or for too long") from None
    except (TimeoutError, MemoryError):
        raise JudgeError(f"the schema's patterns took over {rules.PATTERN_S:g} s") from None
    except (library.error, ArithmeticError, ValueError) as problem:
        raise JudgeError(f"the schema cannot be applied: {_line(problem)}") from None
    finally:
        _DEADLINE.reset(token)
    return None if error is None else f"at {quote(error.json_path)}: {_line(error.message)}"


def _line(problem: object) -> str:
    return quote(str(problem))[1:-1]


def _validator(schema: Mapping[str, Any]) -> Any:
    """A validator that fetches nothing and whose patterns have a time limit.

    Raises ConfigError where the schema is none.
    """
    from jsonschema import Draft202012Validator, SchemaError
    from jsonschema.validators import extend, validator_for
    from referencing import Registry

    def wrong(problem: object) -> ConfigError:
        return ConfigError(f"verifier json_schema: option schema: {_line(problem)}")

    try:
        schema = json.loads(json.dumps(schema, allow_nan=False))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an unknown dialect, which is an error below
            dialect: Any = validator_for(schema, default=Draft202012Validator)
        if "$schema" in schema and str(schema["$schema"]).rstrip("#") != _name_of(dialect):
            raise wrong(f"there is no dialect {schema['$schema']!r}; leave $schema out")
        dialect.check_schema(schema)
    except SchemaError as error:
        raise wrong(f"at {error.json_path}: {error.message}") from None
    except (TypeError, ValueError, RecursionError) as error:
        raise wrong(error) from None
    validator = extend(dialect, _keywords())(schema, registry=Registry())
    _check_references(schema, validator, wrong)
    return validator


def _name_of(dialect: Any) -> str:
    return str(dialect.ID_OF(dialect.META_SCHEMA)).rstrip("#")


def _check_references(schema: Any, validator: Any, wrong: Callable[[object], ConfigError]) -> None:
    """Raise ConfigError for a reference that leads nowhere, or around for ever."""
    from referencing.exceptions import Unresolvable

    pairs = list(_pairs(schema))
    names = {key for key, _ in pairs}
    if {"patternProperties", "unevaluatedProperties"} <= names:
        raise wrong("patternProperties go with additionalProperties, not unevaluatedProperties")
    if any(key in ("$id", "id") and isinstance(value, str) for key, value in pairs):
        return  # references may be relative to it: they are followed when they are met
    references = {value for key, value in pairs if key in _REFERENCES and isinstance(value, str)}
    for reference in sorted(references):
        try:
            next(validator.evolve(schema={"$ref": reference}).iter_errors(None), None)
        except Unresolvable:
            raise wrong(f"$ref {reference!r} is not in it, and nothing is fetched") from None
        except RecursionError:
            raise wrong(f"$ref {reference!r} leads back to itself without end") from None


_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")


def _pairs(schema: Any) -> Iterator[tuple[str, Any]]:
    """All keys and values of a schema and what is in it, but for its constants."""
    if isinstance(schema, dict):
        for key, value in schema.items():
            yield key, value
            if key not in ("const", "enum", "default", "examples"):
                yield from _pairs(value)
    elif isinstance(schema, list):
        for item in schema:
            yield from _pairs(item)


#: When the patterns of a schema have to be done with the answer at hand (``time.monotonic()``).
_DEADLINE: ContextVar[float] = ContextVar("deadline")


def _found(pattern: str, name: str) -> bool:
    import regex as library

    left = max(_DEADLINE.get() - time.monotonic(), 0.001)
    return library.search(pattern, name, timeout=left, concurrent=True) is not None


def _keywords() -> dict[str, Any]:
    """jsonschema's keywords with patterns, whose own ones know no time limit."""
    from jsonschema import ValidationError as Invalid

    def pattern(validator: Any, wanted: str, value: Any, schema: Any) -> Iterator[Invalid]:
        if validator.is_type(value, "string") and not _found(wanted, value):
            yield Invalid(f"{value!r} does not match {wanted!r}")

    def pattern_properties(
        validator: Any, patterns: Mapping[str, Any], value: Any, schema: Any
    ) -> Iterator[Invalid]:
        if validator.is_type(value, "object"):
            for wanted, inner in patterns.items():
                for name, item in value.items():
                    if _found(wanted, name):
                        yield from validator.descend(item, inner, path=name, schema_path=wanted)

    def additional_properties(
        validator: Any, inner: Any, value: Any, schema: Mapping[str, Any]
    ) -> Iterator[Invalid]:
        if not validator.is_type(value, "object"):
            return
        patterns = schema.get("patternProperties", {})
        for name, item in value.items():
            named = name in schema.get("properties", {})
            if named or any(_found(wanted, name) for wanted in patterns):
                continue
            if inner is False:
                yield Invalid(f"the key {name!r} is not expected")
            elif inner is not True:
                yield from validator.descend(item, inner, path=name)

    return {
        "pattern": pattern,
        "patternProperties": pattern_properties,
        "additionalProperties": additional_properties,
    }
