"""What other processes hold, as the same types: calls go over Ray.

``stand_in`` makes an object with the methods of a Protocol or class. Each sends itself with its
arguments, and ``deployments`` calls the method of that name on what is held there: nobody forwards
by hand, and mypy checks every call against the type.
"""

import asyncio
import contextlib
import inspect
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from functools import cached_property
from typing import Any, Protocol, TypeVar

import ray
from ray import exceptions as ray_errors
from ray import serve
from ray.serve import exceptions as serve_errors
from ray.serve.handle import DeploymentHandle

from rlvr_ray.core.concurrency import Together
from rlvr_ray.core.errors import Overloaded, RlvrError, Unavailable
from rlvr_ray.dataset.queries import Queries
from rlvr_ray.documents.retriever import Retriever
from rlvr_ray.generation.generator import CheckedGenerator
from rlvr_ray.pipeline.recorder import LiveRecorder
from rlvr_ray.verification.verifier import StreamingPanel

T = TypeVar("T")

APP = "rlvr"  #: the Serve application
ADMITTED_S = 1.0  #: for so long holds what the aggregator said about room for batches


def generator(name: str = "Generator") -> CheckedGenerator:
    """A language model in the deployment of that name."""
    return stand_in(CheckedGenerator, _Deployment(name, f"the {name.lower()}"))


def judge(handle: DeploymentHandle[Any]) -> CheckedGenerator:
    """The judge's model, whose deployment may be the Generator."""
    return stand_in(CheckedGenerator, _Deployment(handle, "the judge"))


def retriever() -> Retriever:
    """The vector store. Searches that wait for it go together: a hop costs as much for many."""
    deployment = _Deployment("Retriever", "the retriever")
    alone = stand_in(Retriever, deployment)
    return stand_in(Retriever, deployment, search=Together(alone.search))


def panel() -> StreamingPanel:
    """The verifiers."""
    return stand_in(StreamingPanel, _Deployment("Verifier", "the verifier"))


def recorder(aggregator: Any) -> LiveRecorder:
    """The aggregator."""
    service = _Aggregator(aggregator.call)
    admit = stand_in(LiveRecorder, service).admit
    admitted_until = 0.0

    async def admit_for_a_while() -> None:
        nonlocal admitted_until  # a disk does not fill up in a second, and recording asks again
        if time.monotonic() >= admitted_until:
            await admit()
            admitted_until = time.monotonic() + ADMITTED_S

    return stand_in(LiveRecorder, service, admit=admit_for_a_while)


def queries(aggregator: Any) -> Queries:
    """The aggregator's queries. Whoever gives up a call stops the search."""
    return stand_in(Queries, _Aggregator(aggregator.query, cancels=True))


class Service(Protocol):
    """Where the calls of a stand-in go. ``method`` is that of the type."""

    async def send(self, method: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Call a coroutine there."""
        ...

    def stream(
        self, method: Callable[..., Any], *arguments: Any, **named: Any
    ) -> AsyncGenerator[Any]:
        """Iterate over what an iterator there gives."""
        ...


def stand_in(kind: Callable[..., T], service: Service, **own: Callable[..., Awaitable[Any]]) -> T:
    """An object of a type (``kind``) whose methods are called elsewhere, but for its ``own``.

    mypy takes no Protocol for a ``type[T]``, so the type is declared as what makes a T.
    """

    def sends(method: Callable[..., Any]) -> Callable[..., Any]:
        send = service.send if inspect.iscoroutinefunction(method) else service.stream
        return lambda *arguments, **named: send(method, *arguments, **named)

    methods = inspect.getmembers(kind, inspect.isfunction)
    made: Any = type(f"Remote{kind.__name__}", (), {})()
    vars(made).update({n: sends(method) for n, method in methods if not n.startswith("_")} | own)
    found: T = made
    return found


class _Deployment:
    """A deployment of the running app, found at its first call: the aggregator starts before it."""

    def __init__(self, deployment: str | DeploymentHandle[Any], name: str) -> None:
        self._deployment = deployment
        self._name = name

    @cached_property
    def _handle(self) -> DeploymentHandle[Any]:
        if isinstance(self._deployment, str):
            return serve.get_deployment_handle(self._deployment, app_name=APP)
        return self._deployment

    async def send(self, method: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        with boundary(self._name):
            return await self._handle.call.remote(method, *arguments, **named)

    async def stream(
        self, method: Callable[..., Any], *arguments: Any, **named: Any
    ) -> AsyncGenerator[Any]:
        with boundary(self._name):
            bursts: Any = self._handle.options(stream=True).stream.remote(
                method, *arguments, **named
            )
            try:
                async for burst in bursts:
                    for item in burst:
                        yield item
            finally:
                bursts.cancel()


class _Aggregator:
    """A method of the aggregator's actor that calls what it holds."""

    def __init__(self, call: Any, *, cancels: bool = False) -> None:
        self._call = call
        self._cancels = cancels  #: where nobody waits for the result any more

    async def send(self, method: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        with boundary("the aggregator"):
            # Ray's dashboard shows the name.
            call = self._call.options(name=method.__qualname__).remote(method, *arguments, **named)
            try:
                return await call
            except asyncio.CancelledError:
                if self._cancels:
                    ray.cancel(call)
                raise

    def stream(
        self, method: Callable[..., Any], *arguments: Any, **named: Any
    ) -> AsyncGenerator[Any]:
        raise NotImplementedError(f"{method.__qualname__} is no coroutine")


@contextlib.contextmanager
def boundary(part: str) -> Iterator[None]:
    """Ray's exceptions, as ours: what the other side raised on purpose comes through as it was."""
    try:
        yield
    except ray_errors.RayTaskError as error:
        if isinstance(error.cause, RlvrError):
            raise error.cause from None
        raise
    except serve_errors.BackPressureError:
        raise Overloaded(f"{part} has too much to do; try again in a while") from None
    except (
        ray_errors.RayActorError,
        serve_errors.RayServeException,
        ray_errors.GetTimeoutError,
    ) as error:
        raise Unavailable(f"{part} is not there: {str(error).splitlines()[0]}") from None
