"""How the server's replies become values.

Ids are the strings that rows, events and logs hold; times are aware UTC datetimes; scores are from
0 to 1. Fields that a newer server adds are ignored, and are in ``raw``, the reply as it came; what
an older one lacks has its default.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, Self, TypeVar

from pydantic import BeforeValidator, TypeAdapter, ValidationError

from rlvr_ray.core.errors import RlvrError

T = TypeVar("T")

Raw = Mapping[str, Any]

_adapter: Callable[[Any], TypeAdapter[Any]] = cache(TypeAdapter)


class Reply:
    """Base of what a reply, or a part of one, is read into."""

    __slots__ = ()

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole(Reply):
    """Base of what can stand by itself; ``raw`` is the JSON that it was read from."""

    raw: Raw = field(default_factory=dict, repr=False, compare=False)


def _with_raw(data: Any) -> Any:
    return data | {"raw": data} if isinstance(data, dict) else data


def _each_with_raw(data: Any) -> Any:
    return [_with_raw(each) for each in data] if isinstance(data, list) else data


#: Several of a kind that have their ``raw``.
Wholes = Annotated[tuple[T, ...], BeforeValidator(_each_with_raw)]
