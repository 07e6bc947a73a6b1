"""Both clients behind one face, so that every test of one is a test of the other."""

import asyncio
import inspect
from collections.abc import AsyncGenerator, Iterator
from typing import Any, Self

from rlvr_ray.client import AsyncClient, Client


class Waiting:
    """An AsyncClient with the methods of a Client: each call runs a loop of its own thread."""

    def __init__(self, url: str, **options: Any) -> None:
        self._runner = asyncio.Runner()
        self._client = AsyncClient(url, **options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._client.close())
        self._runner.close()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            result: Any = method(*args, **kwargs)
            streams = inspect.isasyncgen(result)
            return self._each(result) if streams else self._runner.run(result)

        return call

    def _each(self, items: AsyncGenerator[Any]) -> Iterator[Any]:
        async def following() -> Any:
            return await anext(items, StopIteration)

        async def close() -> None:
            await items.aclose()

        try:
            while (item := self._runner.run(following())) is not StopIteration:
                yield item
        finally:
            self._runner.run(close())


#: By name, for the parameters of tests.
KINDS: dict[str, Any] = {"blocking": Client, "async": Waiting}
