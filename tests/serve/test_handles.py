"""A stand-in: what it sends, and what the other side makes of it."""

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any, Protocol

import pytest
from ray import exceptions as ray_errors

from rlvr_ray.core.errors import NotFound, Unavailable
from rlvr_ray.serve.deployments import Replica
from rlvr_ray.serve.handles import boundary, stand_in


class Counter(Protocol):
    """What is asked for; ``Counts`` need not inherit from it."""

    async def add(self, numbers: Sequence[int], *, twice: bool = False) -> int: ...

    def each(self, last: int) -> AsyncGenerator[int]: ...


class Counts:
    def __init__(self) -> None:
        self.calls = 0

    async def add(self, numbers: Sequence[int], *, twice: bool = False) -> int:
        self.calls += 1
        return sum(numbers) * (2 if twice else 1)

    async def each(self, last: int) -> AsyncGenerator[int]:
        for number in range(last):
            yield number

    def secret(self) -> None:
        raise AssertionError


class Near:
    """The other process, in this one."""

    def __init__(self, held: object) -> None:
        self.replica = Replica(held)

    async def send(self, method: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        return await self.replica.call(method, *arguments, **named)

    async def stream(
        self, method: Callable[..., Any], *arguments: Any, **named: Any
    ) -> AsyncGenerator[Any]:
        async for burst in self.replica.stream(method, *arguments, **named):
            for item in burst:
                yield item


async def test_calls_arrive_with_their_arguments() -> None:
    counter = stand_in(Counter, Near(held := Counts()))
    assert await counter.add([1, 2]) == 3
    assert await counter.add([1, 2], twice=True) == 6
    assert held.calls == 2
    assert [number async for number in counter.each(1000)] == list(range(1000))


async def test_what_it_does_itself_is_not_sent() -> None:
    async def none(numbers: Sequence[int]) -> int:
        return 0

    counter = stand_in(Counter, Near(held := Counts()), add=none)
    assert await counter.add([1, 2]) == held.calls == 0


async def test_it_has_what_its_type_has_and_nothing_else() -> None:
    counter: Any = stand_in(Counter, Near(Counts()))
    with pytest.raises(AttributeError):
        counter.secret()


def test_a_failure_there_is_one_of_ours() -> None:
    told = NotFound("no batch")
    with pytest.raises(NotFound) as caught, boundary("the aggregator"):
        raise ray_errors.RayTaskError("call", "a trace", told)
    assert caught.value is told
    with (
        pytest.raises(Unavailable, match="the aggregator is not there"),
        boundary("the aggregator"),
    ):
        raise ray_errors.RayActorError
