"""What each process of Ray holds. A replica or actor wraps one plain class."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import ray
from ray import exceptions as ray_errors
from ray._private import services as ray_services
from ray._private import worker as ray_worker
from ray.serve.handle import DeploymentHandle

from rlvr_ray import __version__
from rlvr_ray.core.concurrency import bursts, smooth
from rlvr_ray.core.errors import InputError, JudgeError, Unavailable
from rlvr_ray.core.records import Batch, Context, Verification
from rlvr_ray.dataset.state import BatchState, Ending
from rlvr_ray.documents.minilm import MiniLM
from rlvr_ray.documents.retriever import Chunk, Document, Ingested, Passage, Query, Stored
from rlvr_ray.documents.stores import open_store
from rlvr_ray.generation import engines, selection
from rlvr_ray.generation.generator import Completion, CompletionChunk, Generator, Prompt
from rlvr_ray.observability import logs
from rlvr_ray.observability.metrics import Metrics
from rlvr_ray.observability.tracing import OFF, Tracer
from rlvr_ray.pipeline.live import Acknowledgement, LiveEvent
from rlvr_ray.pipeline.live_publisher import BURST_S
from rlvr_ray.serve.handles import RemoteGenerator, RemotePanel
from rlvr_ray.serve.ray_metrics import RayMeter
from rlvr_ray.settings import EngineSettings, LogSettings, Settings
from rlvr_ray.verification import factory
from rlvr_ray.verification.verifier import Claim, Judged

NAMESPACE = "rlvr_ray"  #: given always: the default differs by how Serve was started
AGGREGATOR = "aggregator"
#: Ray gives this resource to its head node only. Whoever has files under data_dir asks for a trifle
#: of it: an actor that asks for nothing is put on any node, and after a crash on another.
ON_HEAD = {"node:__internal_head__": 0.001}


class EngineReplica:
    """Holds a language model: the Generator's, or a judge's own."""

    def __init__(self, settings: EngineSettings, log: LogSettings) -> None:
        logs.configure(log)
        self._engine = engines.open_limited(settings)

    async def generate(self, prompts: Sequence[Prompt]) -> list[list[Completion] | InputError]:
        return await self._engine.generate(prompts)

    async def stream(self, prompt: Prompt) -> AsyncGenerator[list[CompletionChunk]]:
        chunks = bursts(self._engine.stream(prompt), BURST_S)
        async with contextlib.aclosing(chunks):
            async for burst in chunks:
                yield burst

    async def check_health(self) -> str:
        """Serve asks now and then, and replaces a replica that does not answer well."""
        return await self._engine.check()

    async def __del__(self) -> None:
        await self._engine.close()


class RetrieverReplica:
    """Holds the vector store's folder."""

    def __init__(self, settings: Settings) -> None:
        logs.configure(settings.log)
        self._store = open_store(settings)

    async def search(self, queries: Sequence[Query]) -> list[list[Context]]:
        return await self._store.search(queries)

    async def ingest(self, documents: Sequence[Document]) -> list[Ingested]:
        return await self._store.ingest(documents)

    async def count(self) -> int:
        return await self._store.count()

    async def documents(self) -> list[Stored]:
        return await self._store.documents()

    async def delete(self, document_id: UUID) -> bool:
        return await self._store.delete(document_id)

    async def chunks(self, first: UUID | None, limit: int) -> tuple[list[Chunk], UUID | None]:
        return await self._store.chunks(first, limit)

    async def fetch(self, chunk_ids: Sequence[UUID]) -> list[Passage]:
        return await self._store.fetch(chunk_ids)

    def __del__(self) -> None:
        self._store.close()


class VerifierReplica:
    """Holds the verifiers. The judge, if they need one, is another deployment, or a client that it
    holds itself."""

    def __init__(self, settings: Settings, judge: DeploymentHandle[Any] | None) -> None:
        logs.configure(settings.log)
        engine: Generator | None = None
        if judge is not None:
            engine = RemoteGenerator(judge, "the judge")
        elif factory.needs_judge(settings):
            engine = engines.open_engine(selection.judging(settings))
        self._panel = factory.build_panel(settings, engine, MiniLM())

    async def verify(self, claims: Sequence[Claim]) -> list[Verification | JudgeError]:
        return await self._panel.verify(claims)

    async def stream(self, claims: Sequence[Claim]) -> AsyncGenerator[tuple[UUID, Judged]]:
        async with contextlib.aclosing(self._panel.stream(claims)) as results:
            async for result in results:
                yield result


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
            RemotePanel(),
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

    async def record(self, batches: Sequence[Batch]) -> list[Batch]:
        await self._started
        return await self._aggregator.record(batches)

    async def admit(self) -> None:
        await self._aggregator.admit()

    async def ingested(self, documents: Sequence[Ingested]) -> None:
        await self._started
        await self._aggregator.ingested(documents)

    async def find(self, batch_id: UUID) -> BatchState | None:
        await self._started
        return await self._aggregator.find(batch_id)

    async def reserve(self, batch_id: UUID, fingerprint: str) -> BatchState | None:
        await self._started
        return await self._aggregator.reserve(batch_id, fingerprint)

    async def outcomes(self, batch_ids: Sequence[UUID]) -> Mapping[UUID, Ending | None]:
        await self._started
        return await self._aggregator.outcomes(batch_ids)

    async def of_run(
        self, run: str, after: int, limit: int
    ) -> tuple[Mapping[UUID, Ending | None], int | None]:
        await self._started
        return await self._aggregator.of_run(run, after, limit)

    async def stats(self) -> dict[str, Any]:
        await self._started
        return {**await self._aggregator.stats(), "dashboard": dashboard()}

    async def browse(self, name: str, *arguments: Any) -> Any:
        """Call a method of ``ports.Archive``."""
        await self._started
        return await getattr(self._aggregator.queries, name)(*arguments)

    async def publish_live(
        self, batch_id: UUID, publisher: str, events: Sequence[LiveEvent], opens: bool
    ) -> Acknowledgement:
        return self._aggregator.live.publish(batch_id, publisher, events, opens=opens)

    async def watch(self, batch_id: UUID, last_id: str | None, wait_s: float) -> list[LiveEvent]:
        await self._started
        return await self._aggregator.live.watch(batch_id, last_id, wait_s)

    async def close(self) -> None:
        """Bring the files up to date, seal them, release the folder."""
        await self._started
        await self._aggregator.close()
        await asyncio.to_thread(self._tracer.close)


def dashboard() -> str | None:
    """The address of Ray's dashboard, as the nodes of the cluster reach it; None without one."""
    # Of a worker, ray_worker.get_dashboard_url would know the default port only.
    find: Any = ray_services.get_webui_url_from_internal_kv
    address = find()
    return f"http://{address}" if address else None


def open_tracer(settings: Settings) -> Tracer:
    """Who is told of this process's steps; raises ConfigError where that is not installed."""
    if settings.tracing.endpoint is None:
        return OFF
    from rlvr_ray.observability.opentelemetry import OpenTelemetry

    return OpenTelemetry(settings.tracing)


def session_folder() -> Path:
    """Where Ray keeps what belongs to the cluster that this process has started."""
    node: Any = ray_worker._global_node
    return Path(node.get_session_dir_path())


def log_folder() -> Path | None:
    """Where Ray keeps the logs of this node; None outside of a cluster."""
    node: Any = ray_worker._global_node
    return None if node is None else Path(node.get_logs_dir_path())


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
