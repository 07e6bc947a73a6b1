"""RAGAS's prompts as a judge sees them, and its answers, of which only sound ones pass."""

import json
import re
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from rlvr_ray.core import codec, sanitising
from rlvr_ray.core.errors import JudgeError

Model = TypeVar("Model", bound=BaseModel)

#: Fields that RAGAS types as int and means as a bit.
BINARY = ("verdict", "noncommittal", "answerable")
#: Characters of what RAGAS leaves open: small models do not know when to stop.
_LENGTHS = {"question": 200, "reason": 500}

_FENCE = re.compile(r"\A```(?:json)?\s*\n(.*?)\n?```\Z", re.DOTALL)


def guarded(prompt: str, mark: str, again: str) -> str:
    """A stock RAGAS prompt whose input texts stand between marks, with the task said again."""
    head, start, rest = prompt.rpartition("\ninput: ")
    material, end, tail = rest.rpartition("\nOutput: ")
    if not (start and end) or tail:
        raise JudgeError("this version of RAGAS builds its prompts in another way")
    marked = _texts(json.loads(material), partial(sanitising.between, mark))
    data = json.dumps(marked, indent=4, ensure_ascii=False)
    return f"{sanitising.NOTICE}\n{head}{start}{data}\n{again}{end}"


def _texts(value: Any, change: Callable[[str], str]) -> Any:
    """JSON data with every text in it changed; keys stay."""
    if isinstance(value, list):
        return [_texts(item, change) for item in value]
    if isinstance(value, dict):
        return {key: _texts(item, change) for key, item in value.items()}
    return change(value) if isinstance(value, str) else value


def parse(text: str, response_model: type[Model], mark: str) -> Model:
    """The answer in a judge's text; raises JudgeError unless it is that JSON object and no more.

    A code fence around it is let pass, and marks that the judge hands back are taken out.
    """
    if fenced := _FENCE.match(text.strip()):
        text = fenced[1]
    try:
        data = codec.parse(text)
        answer = response_model.model_validate(
            _texts(data, partial(sanitising.without, mark)), strict=True
        )
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "JSON"
        raise JudgeError(f"the judge's answer cannot be read: {where}: {first['msg']}") from None
    except RecursionError:
        raise JudgeError("the judge's answer cannot be read: nested too deeply") from None
    except ValueError as error:
        raise JudgeError(f"the judge's answer cannot be read: {error}") from None
    _check_binary(answer.model_dump())
    return answer


@cache
def _schema(response_model: type[BaseModel]) -> dict[str, Any]:
    return response_model.model_json_schema()


def strict_schema(response_model: type[BaseModel], fields: Mapping[str, Any]) -> Any:
    """A model's JSON schema with what RAGAS leaves open closed; ``fields`` as in ``Asked``."""
    return _strict(_schema(response_model), fields)


def _strict(schema: Any, fields: Mapping[str, Any]) -> Any:
    """RAGAS's JSON schema with what it leaves open closed: bits, extra keys, endless texts."""
    if isinstance(schema, list):
        return [_strict(item, fields) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    strict = {key: _strict(value, fields) for key, value in schema.items()}
    if "properties" in strict:
        strict["additionalProperties"] = False
        properties = strict["properties"]
        for name in properties:
            if name in BINARY:
                properties[name] = {"type": "integer", "enum": [0, 1]}
            if name in _LENGTHS:
                properties[name] = {"type": "string", "maxLength": _LENGTHS[name]}
            properties[name] = {**properties[name], **fields.get(name, {})}
    return strict


def _check_binary(value: Any) -> None:
    """Raise JudgeError where a bit is something else, for engines that do not enforce schemas."""
    if isinstance(value, list):
        for item in value:
            _check_binary(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key in BINARY and item not in (0, 1):
                raise JudgeError(f"the judge gave {item} as {key}, which must be 0 or 1")
            _check_binary(item)
