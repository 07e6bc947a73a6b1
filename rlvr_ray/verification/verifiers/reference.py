"""Verifiable rewards: answers against references, a pattern or a JSON schema, without a model.

Four factories for the entry points of ``rlvr_ray.verifiers``: ``exact``, ``numeric``, ``regex`` and
``json_schema``. The same claim always gets the same result.
"""

import asyncio
import hashlib
import inspect
import json
import math
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from fractions import Fraction
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rlvr_ray.core import language
from rlvr_ray.core.errors import ConfigError, JudgeError
from rlvr_ray.core.numbers import dates, linking, numerals, quantities, quantity, units
from rlvr_ray.core.records import Assessment, Judge
from rlvr_ray.settings import errors
from rlvr_ray.verification.verifier import Claim, Equipment
from rlvr_ray.verification.verifiers import matching
from rlvr_ray.verification.verifiers.matching import Match, quote

#: Seconds that all patterns of a verifier together may take on one answer.
PATTERN_S = 1.0

# All that shapes how a number is read.
_READING = (matching, language, linking, quantity, quantities, dates, numerals, units)

_Chosen = TypeVar("_Chosen", bound="_Options")


class _Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class _Exact(_Options):
    contains: bool = False


class _Numeric(_Options):
    # Half of the reference at most: with more, an answer far too low would do.
    tolerance: float | None = Field(default=None, ge=0, le=0.5)
    absolute: float = Field(default=0.0, ge=0)


class _Regex(_Options):
    pattern: str = Field(min_length=1)
    full: bool = False
    ignore_case: bool = False


class _JsonSchema(_Options):
    document: dict[str, Any] = Field(alias="schema")


class RuleVerifier:
    """A Verifier that scores each claim by a rule: a function that waits for nothing."""

    def __init__(self, rule: Callable[[Claim], Match | None], version: str) -> None:
        self._rule = rule
        self._judge = Judge(faithfulness="", relevancy="", model="", embedder="", version=version)

    async def verify(self, claims: Sequence[Claim]) -> list[Assessment | JudgeError | None]:
        """See ``ports.Verifier``."""
        return await asyncio.to_thread(lambda: [self._assess(claim) for claim in claims])

    def _assess(self, claim: Claim) -> Assessment | JudgeError | None:
        try:
            match = self._rule(claim)
        except JudgeError as error:
            return error
        if match is None:
            return None
        if match.score is None:
            return JudgeError(match.detail)
        return Assessment(score=match.score, judge=self._judge, detail=match.detail)


def exact(equipment: Equipment, options: Mapping[str, Any]) -> RuleVerifier:
    """1 where the normalised answer is a reference, else 0; None without references.

    Option ``contains``: an answer that contains a reference will do.
    """
    chosen = _read(_Exact, "exact", options)

    def rule(claim: Claim) -> Match | None:
        if not claim.references:
            return None
        return matching.exact(claim.answer, claim.references, contains=chosen.contains)

    return RuleVerifier(rule, _version(chosen, matching, language))


def numeric(equipment: Equipment, options: Mapping[str, Any]) -> RuleVerifier:
    """1 where the answer's number is a reference's, else 0; None without references.

    A JudgeError where the answer has several numbers. Options ``tolerance``, a share of the
    reference up to 0.5 (left out: integers exactly, others to a millionth), and ``absolute``.
    """
    chosen = _read(_Numeric, "numeric", options)
    tolerance = matching.Tolerance(
        relative=None if chosen.tolerance is None else Fraction(repr(chosen.tolerance)),
        absolute=Fraction(repr(chosen.absolute)),
    )

    def rule(claim: Claim) -> Match | None:
        if not claim.references:
            return None
        return matching.numeric(claim.question, claim.answer, claim.references, tolerance)

    return RuleVerifier(rule, _version(chosen, *_READING))


def regex(equipment: Equipment, options: Mapping[str, Any]) -> RuleVerifier:
    """1 where the pattern is found in the answer, else 0; a JudgeError where that takes too long.

    Options ``pattern`` (of the ``regex`` library), ``full`` (the whole answer has to match) and
    ``ignore_case``.
    """
    import regex as library  # type: ignore[import-untyped]

    chosen = _read(_Regex, "regex", options)
    try:
        pattern = library.compile(chosen.pattern, library.IGNORECASE if chosen.ignore_case else 0)
    except (library.error, RecursionError, OverflowError) as error:
        raise ConfigError(
            f"verifier regex: option pattern {quote(chosen.pattern)}: {error}"
        ) from None
    find = pattern.fullmatch if chosen.full else pattern.search
    expected = f"expected {'all of it' if chosen.full else 'a match'} for {quote(chosen.pattern)}"

    def rule(claim: Claim) -> Match:
        try:
            found = find(claim.answer, timeout=PATTERN_S, concurrent=True)
        except (TimeoutError, MemoryError):
            raise JudgeError(
                f"the pattern {quote(chosen.pattern)} took over {PATTERN_S:g} s; simplify it"
            ) from None
        if found is None:
            return Match(0.0, f"{expected}, found none in {quote(claim.answer)}")
        return Match(1.0, f"{expected}, found {quote(found.group())}")

    return RuleVerifier(rule, _version(chosen))


def json_schema(equipment: Equipment, options: Mapping[str, Any]) -> RuleVerifier:
    """1 where the answer is JSON that is valid under a schema, else 0.

    Option ``schema``: the JSON schema. References in it reach no further than itself.
    """
    chosen = _read(_JsonSchema, "json_schema", options)
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

    return RuleVerifier(rule, _version(chosen))


def _read(model: type[_Chosen], name: str, options: Mapping[str, Any]) -> _Chosen:
    """The options, checked; raises ConfigError."""
    try:
        return model.model_validate(dict(options))
    except ValidationError as error:
        known = ", ".join(field.alias or key for key, field in model.model_fields.items())
        problems: list[str] = []
        for problem in error.errors(include_url=False):
            option = ".".join(map(str, problem["loc"]))
            if problem["type"] == "extra_forbidden":
                problems.append(f"there is no option {quote(option)}; it takes {known}")
            elif problem["type"] == "missing":
                problems.append(f"option {option} is missing")
            else:
                problems.append(f"option {option}: {errors.reason(problem)}")
        raise ConfigError(f"verifier {name}: {'; '.join(problems)}") from None


def _version(options: _Options, *modules: Any) -> str:
    """Hash of all that shapes a score: this code, that of the modules, and the options."""
    parts = [inspect.getsource(module) for module in (sys.modules[__name__], *modules)]
    parts.append(json.dumps(options.model_dump(by_alias=True), sort_keys=True))
    return hashlib.sha256("\0".join(parts).encode("utf-8", "backslashreplace")).hexdigest()[:12]


def _parse(answer: str) -> Any:
    """The JSON value of an answer, within one fence or none.

    Raises ValueError where it is none, where a key stands twice, or for numbers beyond a float;
    RecursionError.
    """
    answer = answer.strip()
    if answer[:7].casefold() == "```json" and answer.endswith("```") and len(answer) >= 10:
        answer = answer[7:-3]
    return json.loads(
        answer, object_pairs_hook=_object, parse_constant=_refuse, parse_float=_finite
    )


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {quote(key)} stands twice")
        found[key] = value
    return found


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _finite(literal: str) -> float:
    value = float(literal)
    if not math.isfinite(value):
        raise ValueError("a number is too large")
    return value


def _problem(validator: Any, value: Any) -> str | None:
    """The first thing that is wrong with a value, or None. Raises JudgeError."""
    import regex as library
    from referencing.exceptions import Unresolvable

    token = _DEADLINE.set(time.monotonic() + PATTERN_S)
    try:
        error = next(validator.iter_errors(value), None)
    except Unresolvable as problem:
        raise JudgeError(f"the schema refers to what it does not hold: {_line(problem)}") from None
    except RecursionError:
        raise JudgeError("the schema refers to itself without end, or for too long") from None
    except (TimeoutError, MemoryError):
        raise JudgeError(f"the schema's patterns took over {PATTERN_S:g} s") from None
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
