"""The parts of another process, with the interfaces of the plain classes, over Ray."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

import ray
from ray import exceptions as ray_errors
from ray import serve
from ray.serve import exceptions as serve_errors
from ray.serve.handle import DeploymentHandle

from rlvr_ray.core.concurrency import Together
from rlvr_ray.core.errors import InputError, JudgeError, Overloaded, RlvrError, Unavailable
from rlvr_ray.core.records import Batch, Context, Verification
from rlvr_ray.dataset.filters import Filter, Histogram, Measure
from rlvr_ray.dataset.provenance import Footprint
from rlvr_ray.dataset.reviews import Review, Said, Verdict
from rlvr_ray.dataset.rows import Row
from rlvr_ray.dataset.state import BatchState, Duel, Ending, Reviewed
from rlvr_ray.documents.retriever import Chunk, Document, Ingested, Passage, Query, Stored
from rlvr_ray.generation.generator import Completion, CompletionChunk, Prompt
from rlvr_ray.pipeline.live import Acknowledgement, LiveEvent
from rlvr_ray.verification.verifier import Claim, Judged

APP = "rlvr"  #: the Serve application
ADMITTED_S = 1.0  #: for so long holds what the aggregator said about room for batches


class RemoteGenerator:
    """A Generator in its own deployment."""

    def __init__(self, handle: DeploymentHandle[Any], name: str = "the generator") -> None:
        self._handle = handle
        self._name = name

    async def generate(self, prompts: Sequence[Prompt]) -> list[list[Completion] | InputError]:
        with boundary(self._name):
            result: list[list[Completion] | InputError]
            result = await self._handle.generate.remote(prompts)
            return result

    async def stream(self, prompt: Prompt) -> AsyncGenerator[CompletionChunk]:
        with boundary(self._name):
            chunks: Any = self._handle.options(stream=True).stream.remote(prompt)
            try:
                async for burst in chunks:
                    for chunk in burst:
                        yield chunk
            finally:
                chunks.cancel()

    async def check(self) -> str:
        with boundary(self._name):
            return str(await self._handle.check_health.remote())


class RemoteRetriever:
    """A Retriever in its own deployment."""

    def __init__(self, handle: DeploymentHandle[Any]) -> None:
        self._handle = handle
        self._together = Together(self._search)

    async def search(self, queries: Sequence[Query]) -> list[list[Context]]:
        return [*await self._together(queries)]

    async def _search(self, queries: Sequence[Query]) -> Sequence[list[Context]]:
        with boundary("the retriever"):
            result: list[list[Context]] = await self._handle.search.remote(queries)
            return result

    async def ingest(self, documents: Sequence[Document]) -> list[Ingested]:
        with boundary("the retriever"):
            result: list[Ingested] = await self._handle.ingest.remote(documents)
            return result

    async def count(self) -> int:
        with boundary("the retriever"):
            return int(await self._handle.count.remote())

    async def documents(self) -> list[Stored]:
        with boundary("the retriever"):
            result: list[Stored] = await self._handle.documents.remote()
            return result

    async def delete(self, document_id: UUID) -> bool:
        with boundary("the retriever"):
            return bool(await self._handle.delete.remote(document_id))

    async def chunks(self, first: UUID | None, limit: int) -> tuple[list[Chunk], UUID | None]:
        with boundary("the retriever"):
            result: tuple[list[Chunk], UUID | None]
            result = await self._handle.chunks.remote(first, limit)
            return result

    async def fetch(self, chunk_ids: Sequence[UUID]) -> list[Passage]:
        with boundary("the retriever"):
            result: list[Passage] = await self._handle.fetch.remote(chunk_ids)
            return result


class RemotePanel:
    """The Verifier deployment of the running app, looked up late: the aggregator starts first."""

    def __init__(self) -> None:
        self._handle: DeploymentHandle[Any] | None = None

    async def verify(self, claims: Sequence[Claim]) -> list[Verification | JudgeError]:
        with boundary("the verifier"):
            result: list[Verification | JudgeError] = await self._verifier().verify.remote(claims)
            return result

    async def stream(self, claims: Sequence[Claim]) -> AsyncGenerator[tuple[UUID, Judged]]:
        with boundary("the verifier"):
            results: Any = self._verifier().options(stream=True).stream.remote(claims)
            try:
                async for result in results:
                    yield result
            finally:
                results.cancel()

    def _verifier(self) -> DeploymentHandle[Any]:
        if self._handle is None:
            self._handle = serve.get_deployment_handle("Verifier", app_name=APP)
        return self._handle


class RemoteRecorder:
    """A Recorder that is the aggregator."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        self._admitted_until = 0.0

    async def record(self, batches: Sequence[Batch]) -> list[Batch]:
        with boundary("the aggregator"):
            result: list[Batch] = await self._handle.record.remote(batches)
            return result

    async def admit(self) -> None:
        # A disk does not fill up in a second, and recording asks again.
        if time.monotonic() < self._admitted_until:
            return
        with boundary("the aggregator"):
            await self._handle.admit.remote()
        self._admitted_until = time.monotonic() + ADMITTED_S

    async def ingested(self, documents: Sequence[Ingested]) -> None:
        with boundary("the aggregator"):
            await self._handle.ingested.remote(documents)

    async def find(self, batch_id: UUID) -> BatchState | None:
        with boundary("the aggregator"):
            result: BatchState | None = await self._handle.find.remote(batch_id)
            return result

    async def reserve(self, batch_id: UUID, fingerprint: str) -> BatchState | None:
        with boundary("the aggregator"):
            result: BatchState | None = await self._handle.reserve.remote(batch_id, fingerprint)
            return result

    async def outcomes(self, batch_ids: Sequence[UUID]) -> Mapping[UUID, Ending | None]:
        with boundary("the aggregator"):
            found: Mapping[UUID, Ending | None] = await self._handle.outcomes.remote(batch_ids)
            return found

    async def of_run(
        self, run: str, after: int, limit: int
    ) -> tuple[Mapping[UUID, Ending | None], int | None]:
        with boundary("the aggregator"):
            found: tuple[Mapping[UUID, Ending | None], int | None]
            found = await self._handle.of_run.remote(run, after, limit)
            return found

    async def publish_live(
        self, batch_id: UUID, publisher: str, events: Sequence[LiveEvent], opens: bool
    ) -> Acknowledgement:
        with boundary("the aggregator"):
            reply: Acknowledgement = await self._handle.publish_live.remote(
                batch_id, publisher, events, opens
            )
            return reply

    async def watch(self, batch_id: UUID, last_id: str | None, wait_s: float) -> list[LiveEvent]:
        with boundary("the aggregator"):
            events: list[LiveEvent] = await self._handle.watch.remote(batch_id, last_id, wait_s)
            return events

    async def stats(self) -> dict[str, Any]:
        with boundary("the aggregator"):
            result: dict[str, Any] = await self._handle.stats.remote()
            return result


class RemoteArchive:
    """The aggregator's Archive. Whoever gives up a call stops the search."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    async def page(
        self, where: Filter, before: int | None, limit: int
    ) -> tuple[list[Row], int | None]:
        found: tuple[list[Row], int | None] = await self._browse("page", where, before, limit)
        return found

    async def count(self, where: Filter) -> int:
        return int(await self._browse("count", where))

    async def past_retention(self) -> int:
        return int(await self._browse("past_retention"))

    async def histogram(self, of: Measure, where: Filter) -> Histogram:
        found: Histogram = await self._browse("histogram", of, where)
        return found

    async def models(self) -> list[str]:
        found: list[str] = await self._browse("models")
        return found

    async def states(
        self, where: Filter, after: int, limit: int
    ) -> tuple[list[Reviewed], int | None]:
        found: tuple[list[Reviewed], int | None]
        found = await self._browse("states", where, after, limit)
        return found

    async def review(
        self, review_id: UUID, batch_id: UUID, a: int, b: int, said: Said, note: str, reviewer: str
    ) -> tuple[int, Review]:
        kept: tuple[int, Review]
        kept = await self._browse("review", review_id, batch_id, a, b, said, note, reviewer)
        return kept

    async def reviews(self, batch_id: UUID) -> list[tuple[int, Review]]:
        found: list[tuple[int, Review]] = await self._browse("reviews", batch_id)
        return found

    async def duel(self, where: Filter, seen: Sequence[UUID]) -> Duel | None:
        found: Duel | None = await self._browse("duel", where, seen)
        return found

    async def verdicts(self, where: Filter) -> Mapping[Verdict | None, int]:
        found: Mapping[Verdict | None, int] = await self._browse("verdicts", where)
        return found

    async def footprint(self, batch_id: UUID) -> tuple[BatchState, Footprint] | None:
        found: tuple[BatchState, Footprint] | None = await self._browse("footprint", batch_id)
        return found

    async def named(self, name: str, limit: int) -> tuple[list[UUID], int]:
        found: tuple[list[UUID], int] = await self._browse("named", name, limit)
        return found

    async def _browse(self, name: str, *arguments: Any) -> Any:
        with boundary("the aggregator"):
            call = self._handle.browse.remote(name, *arguments)
            try:
                return await call
            except asyncio.CancelledError:
                ray.cancel(call)
                raise


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
