"""The Ray shell: which process holds what. A replica or actor holds plain objects and calls them
for others; ``handles`` is the other side."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import ray
from ray import exceptions as ray_errors
from ray.serve.handle import DeploymentHandle

from rlvr_ray import __version__
from rlvr_ray.core.concurrency import bursts, smooth
from rlvr_ray.core.errors import Unavailable
from rlvr_ray.documents.minilm import MiniLM
from rlvr_ray.documents.stores import open_store
from rlvr_ray.generation import engines, selection
from rlvr_ray.generation.generator import Generator
from rlvr_ray.observability import logs
from rlvr_ray.observability.metrics import Metrics
from rlvr_ray.observability.tracing import OFF, Tracer
from rlvr_ray.pipeline.live_publisher import BURST_S
from rlvr_ray.serve import handles
from rlvr_ray.serve.ray_metrics import RayMeter
from rlvr_ray.settings import EngineSettings, LogSettings, Settings
from rlvr_ray.verification import factory

NAMESPACE = "rlvr_ray"  #: given always: the default differs by how Serve was started
AGGREGATOR = "aggregator"
#: Ray gives this resource to its head node only. Whoever has files under data_dir asks for a trifle
#: of it: an actor that asks for nothing is put on any node, and after a crash on another.
ON_HEAD = {"node:__internal_head__": 0.001}


def own(held: object, method: Callable[..., Any]) -> Callable[..., Any]:
    """The method of what is held; ``method`` is that of its type, see ``handles.stand_in``."""
    found: Callable[..., Any] = getattr(held, method.__name__)
    return found


class Replica:
    """Holds one object of this process for others."""

    def __init__(self, held: object) -> None:
        self._held = held

    async def call(self, method: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Call one of its coroutines."""
        return await own(self._held, method)(*arguments, **named)

    async def stream(
        self, method: Callable[..., Any], *arguments: Any, **named: Any
    ) -> AsyncGenerator[list[Any]]:
        """What one of its iterators gives, in bursts: a hop for each token would cost more."""
        found = bursts(own(self._held, method)(*arguments, **named), BURST_S)
        async with contextlib.aclosing(found):
            async for burst in found:
                yield burst


class EngineReplica(Replica):
    """Holds a language model: the Generator's, or a judge's own."""

    def __init__(self, settings: EngineSettings, log: LogSettings) -> None:
        logs.configure(log)
        self._engine = engines.open_limited(settings)
        super().__init__(self._engine)

    async def check_health(self) -> None:
        """Serve asks now and then, and replaces a replica that does not answer well."""
        await self._engine.check()

    async def __del__(self) -> None:
        await self._engine.close()


class RetrieverReplica(Replica):
    """Holds the vector store's folder."""

    def __init__(self, settings: Settings) -> None:
        logs.configure(settings.log)
        self._store = open_store(settings)
        super().__init__(self._store)

    def __del__(self) -> None:
        self._store.close()


class VerifierReplica(Replica):
    """Holds the verifiers. The judge, if they need one, is another deployment, or a client that it
    holds itself."""

    def __init__(self, settings: Settings, judge: DeploymentHandle[Any] | None) -> None:
        logs.configure(settings.log)
        engine: Generator | None = None
        if judge is not None:
            engine = handles.judge(judge)
        elif factory.needs_judge(settings):
            engine = engines.open_engine(selection.judging(settings))
        super().__init__(factory.build_panel(settings, engine, MiniLM()))


class AggregatorActor:
    """Holds the ledger and the files. After a crash Ray makes it again, and it goes on."""

    def __init__(self, settings: Settings) -> None:
        from rlvr_ray.dataset.files import Dataset
        from rlvr_ray.dataset.ledger import Ledger
        from rlvr_ray.pipeline.aggregator import Aggregator

        logs.configure(settings.log)
        publisher = inbox = None
        if settings.mirror.url is not None:
            from rlvr_ray.events.rabbitmq import RabbitMQ, Verifications

            if settings.verification.source == "external":
                inbox = Verifications(settings.mirror)
            publisher = RabbitMQ(settings.mirror, inbox)
        self._settings = settings
        self._tracer = open_tracer(settings)
        self._aggregator = Aggregator(
            Ledger(settings.data_dir),
            Dataset(settings.data_dir, settings.dataset.parquet_uri),
            handles.panel(),
            settings,
            publisher,
            inbox,
            self._tracer,
            Metrics(RayMeter(counts=True)),
        )
        # Ray runs this inside the actor's event loop; unfinished work goes on without a caller.
        self._started = asyncio.create_task(self._aggregator.start())
        smooth()

    def serves(self) -> tuple[str, Settings]:
        """The version and the settings that it runs with."""
        return __version__, self._settings

    async def call(self, method: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Call a method of the aggregator."""
        await self._started
        return await own(self._aggregator, method)(*arguments, **named)

    async def query(self, method: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Call a method of its queries."""
        await self._started
        return await own(self._aggregator.queries, method)(*arguments, **named)

    async def close(self) -> None:
        """Bring the files up to date, seal them, release the folder."""
        await self._started
        await self._aggregator.close()
        await asyncio.to_thread(self._tracer.close)


def open_tracer(settings: Settings) -> Tracer:
    """Who is told of this process's steps; raises ConfigError where that is not installed."""
    if settings.tracing.endpoint is None:
        return OFF
    from rlvr_ray.observability.opentelemetry import OpenTelemetry

    return OpenTelemetry(settings.tracing)


def session_folder() -> Path:
    """Where Ray keeps what belongs to the cluster, on this node."""
    context = ray.get_runtime_context()
    return Path(context.get_temp_dir()) / context.get_session_name()


def start_aggregator(settings: Settings) -> Any:
    """The running aggregator, or a new one where none runs or an old one does."""
    actor = ray.remote(AggregatorActor).options(
        name=AGGREGATOR,
        namespace=NAMESPACE,
        lifetime="detached",  # it outlives the job and the Serve replica that asked for it
        get_if_exists=True,
        max_restarts=-1,
        max_task_retries=-1,  # every method may run twice: ids make repeats harmless
        max_concurrency=1000,
        num_cpus=0,
        resources=ON_HEAD,
    )
    handle: Any = actor.remote(settings)
    if ray.get(handle.serves.remote()) != (__version__, settings):
        _stop(handle)
        handle = actor.remote(settings)
    return handle


def aggregator() -> Any:
    """The running aggregator; raises Unavailable where none runs."""
    try:
        return ray.get_actor(AGGREGATOR, namespace=NAMESPACE)
    except ValueError:
        raise Unavailable("the aggregator does not run") from None


def serving() -> tuple[str, Settings]:
    """The version and the settings of what runs."""
    found: tuple[str, Settings] = ray.get(aggregator().serves.remote())
    return found


def stop_aggregator() -> None:
    """Have the aggregator finish its files, then end it; nothing where none runs."""
    with contextlib.suppress(ValueError):
        _stop(ray.get_actor(AGGREGATOR, namespace=NAMESPACE))


def _stop(aggregator: Any) -> None:
    """End this one, and never the one that somebody else started in its place meanwhile."""
    with contextlib.suppress(ray_errors.RayActorError):
        ray.get(aggregator.close.remote())
    ray.kill(aggregator)
