"""How replies are read from JSON and written as JSON.

Ids are the strings that rows, events and logs hold; times are aware UTC datetimes; scores are from
0 to 1. Fields that a newer server adds are ignored, and are in ``raw``, the reply as it came; what
an older one lacks has its default.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Annotated, Any, ClassVar, Self, TypeVar, dataclass_transform

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
)

from rlvr_ray.core.errors import RlvrError

T = TypeVar("T")

Raw = Mapping[str, Any]
#: A time that is sent as ``datetime.isoformat`` writes it; pydantic itself would end it in Z.
Time = Annotated[
    datetime,
    PlainSerializer(datetime.isoformat, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]

#: In a reply nothing is left out: a field that has a default is there, too.
CONFIG = ConfigDict(json_schema_serialization_defaults_required=True)

_adapter: Callable[[Any], TypeAdapter[Any]] = cache(TypeAdapter)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
class Reply:
    """Base of what a reply, or a part of one, is read into: each is a frozen dataclass."""

    __pydantic_config__: ClassVar = CONFIG

    def __init_subclass__(cls) -> None:
        dataclass(frozen=True, kw_only=True)(cls)

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """The value; raises RlvrError where the data does not describe one."""
        try:
            value: Self = _adapter(cls).validate_python(_with_raw(data))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or cls.__name__
            raise RlvrError(
                f"the server's reply cannot be read: {where}: {first['msg']}; "
                "are client and server of the same version?"
            ) from None
        return value

    def to_json(self) -> dict[str, Any]:
        """The plain JSON data that it is sent as."""
        data: dict[str, Any] = _adapter(type(self)).dump_python(self, mode="json")
        return data


class Whole(Reply):
    """Base of what can stand by itself; ``raw`` is the JSON that it was read from."""

    raw: Annotated[Raw, Field(exclude=True)] = field(
        default_factory=dict, repr=False, compare=False
    )


def _with_raw(data: Any) -> Any:
    return data | {"raw": data} if isinstance(data, dict) else data


def _each_with_raw(data: Any) -> Any:
    return [_with_raw(each) for each in data] if isinstance(data, list) else data


#: Several of a kind that have their ``raw``.
Wholes = Annotated[tuple[T, ...], BeforeValidator(_each_with_raw)]
