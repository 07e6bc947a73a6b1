"""The only writer: records batches, has them verified, decides them, keeps the files up to date.

Everything starts from the ledger, so after a restart, open batches are verified, and decided
batches that are missing in the files are written.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar
from uuid import UUID

from rlvr_ray import __version__
from rlvr_ray.core import ids
from rlvr_ray.core.concurrency import OneThread, supervise
from rlvr_ray.core.errors import (
    KeyReused,
    Overloaded,
)
from rlvr_ray.core.pairing import Result, decide
from rlvr_ray.core.records import Batch
from rlvr_ray.dataset.group_commit import Commits
from rlvr_ray.dataset.ledger import Ledger, Reader
from rlvr_ray.dataset.projection import Projector
from rlvr_ray.dataset.queries import Queries
from rlvr_ray.dataset.state import BatchState, OutcomeSummary, Page
from rlvr_ray.dataset.stats import Statistics, Troubles, measure
from rlvr_ray.documents.retriever import Ingested
from rlvr_ray.events import outbox
from rlvr_ray.events.mirror import Mirror, Publisher
from rlvr_ray.observability.metrics import NO_METRICS, Metrics
from rlvr_ray.observability.tracing import OFF, Tracer
from rlvr_ray.pipeline.commit_observer import CommitLog, CommitObservers
from rlvr_ray.pipeline.external import External, Inbox
from rlvr_ray.pipeline.live import Acknowledgement, LiveEvent, LiveHub
from rlvr_ray.pipeline.projection_loop import ProjectionLoop
from rlvr_ray.pipeline.spans import decided
from rlvr_ray.pipeline.verification_loop import VerificationLoop
from rlvr_ray.settings import Settings
from rlvr_ray.verification.verifier import StreamingPanel

if TYPE_CHECKING:
    from rlvr_ray.dataset.files import Dataset

log = logging.getLogger(__name__)
T = TypeVar("T")
P = ParamSpec("P")

#: Seconds before a commit is tried again for which the disk has no room.
NO_ROOM_PAUSE_S = 30.0
#: Batches read in one go to see whether they can be, the pause until the next ones, and until all
#: are read again, in seconds.
CHECK_BATCHES, CHECK_PAUSE_S, CHECK_AGAIN_S = 20, 0.05, 86_400.0
#: Seconds between two measurements of what waits, for the gauges.
MEASURE_S = 5.0
#: Requests with an Idempotency-Key that are remembered until they are recorded: the latest.
RESERVED = 10_000


class Aggregator:
    """A plain class; the actor around it adds nothing but a name.

    ``publisher`` is None where the mirror is off: events then wait in the ledger. ``inbox``, where
    there is one, brings the verifications of others, and ``panel`` is not asked.
    """

    def __init__(
        self,
        ledger: Ledger,
        dataset: "Dataset",
        panel: StreamingPanel,
        settings: Settings,
        publisher: Publisher | None = None,
        inbox: Inbox | None = None,
        tracer: Tracer = OFF,
        metrics: Metrics = NO_METRICS,
    ) -> None:
        self._ledger = ledger
        self._dataset = dataset
        self._panel = panel
        self._settings = settings
        self._tracer = tracer
        self._metrics = metrics
        self._commits = Commits(ledger, metrics)
        self._reader, self._reads = ledger.reader(), OneThread("reads")
        self.queries = Queries(ledger.browser(), self._commits)
        self._mirror: Mirror | None = None
        if publisher is not None:
            self._mirror = Mirror(
                publisher,
                lambda: self._read(Reader.mark, "mirrored"),
                lambda after, limit: self._read(outbox.events, after, limit),
                lambda seq: self._commits.commit(lambda ledger: ledger.mirrored(seq)),
                self._note,
            )
        self._inbox = inbox
        self._verification: VerificationLoop | None = None
        self._projection: ProjectionLoop | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self.last_error: str | None = None
        self._troubles = Troubles()
        self._statistics = Statistics()
        self.live = LiveHub(self.find)
        self._observers = CommitObservers(CommitLog(), metrics, self.live)
        self._reserved: dict[UUID, str] = {}

    async def start(self) -> None:
        """Mend the files and go on with what is unfinished."""
        projector = Projector(
            self._ledger.reader(),
            self._commits.from_threads(),
            self._dataset,
            self._settings.dataset,
            self._tracer,
        )
        self._projection = ProjectionLoop(
            projector, self._settings, self._note, mirrored=self._mirror is not None
        )
        await self._projection.mend()
        loops: dict[str, Callable[[], Awaitable[None]]] = {
            "project": self._projection.run,
            "look": self._check_records,
        }
        if self._inbox:
            external = External(
                self.find,
                self._open_batches,
                self._keep,
                self._decide,
                self._settings.verification.external_timeout_s,
            )
            loops |= {
                "verify": external.run,
                "inbox": partial(self._inbox.run, external.accept),
            }
        else:
            self._verification = VerificationLoop(
                self._open_batches,
                self._decide,
                self._panel,
                self.live,
                self._settings.verification,
                self._tracer,
                self._note,
            )
            loops["verify"] = self._verification.run
        if self._metrics is not NO_METRICS:
            loops["measure"] = self._measure
        if self._mirror:
            loops["mirror"] = self._mirror.run
        self._tasks = [
            asyncio.create_task(supervise(name, loop, self._note)) for name, loop in loops.items()
        ]

    async def close(self) -> None:
        """Stop verifying (it goes on at the next start), bring the files up to date, seal."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            if self._projection:
                await self._projection.close()
        finally:
            await self._reads.run(self._reader.close)
            self._reads.close()
            await self.queries.close()
            await self._commits.close()

    async def admit(self) -> None:
        """See ``Recorder``."""
        free, floor = self._room()
        if free < floor:
            raise Overloaded(
                f"{self._settings.data_dir} has {free / 2**20:,.0f} MiB left and "
                f"ledger.min_free_mb is {self._settings.ledger.min_free_mb:,}; free some room"
            )

    async def record(self, batches: Sequence[Batch]) -> list[Batch]:
        """See ``Recorder``. When this returns, the batches are on disk."""
        await self.admit()
        recorded: list[Batch] = await self._commits.commit(
            lambda ledger: ledger.record(batches),
            self._then(partial(self._observers.recorded, batches)),
        )
        for batch, known in zip(batches, recorded, strict=True):
            if known is not batch:  # it is no news, and whoever watches it may not know it
                await self.live.refresh(known.batch_id)
        return recorded

    async def ingested(self, documents: Sequence[Ingested]) -> None:
        """See ``Recorder``."""
        await self._commits.commit(lambda ledger: ledger.ingested(documents), self._wake)

    async def find(self, batch_id: UUID) -> BatchState | None:
        """See ``Recorder``."""
        return await self._read(Reader.find, batch_id)

    async def reserve(self, batch_id: UUID, fingerprint: str) -> BatchState | None:
        """See ``Recorder``."""
        state = await self.find(batch_id)
        if state is None:
            if self._reserved.setdefault(batch_id, fingerprint) != fingerprint:
                raise KeyReused
            while len(self._reserved) > RESERVED:
                del self._reserved[next(iter(self._reserved))]
        return state

    async def outcomes(self, batch_ids: Sequence[UUID]) -> Mapping[UUID, OutcomeSummary | None]:
        """See ``Recorder``."""
        return await self._read(Reader.outcomes, batch_ids)

    async def of_run(
        self, run: str, after: int, limit: int
    ) -> tuple[Mapping[UUID, OutcomeSummary | None], int | None]:
        """See ``Recorder``."""
        return await self._read(Reader.of_run, run, after, limit)

    async def stats(self) -> dict[str, Any]:
        """Counts by state, rates, what waits, the latest outcomes, files, troubles of the parts."""
        now = datetime.now(UTC)
        found = await self._read(lambda reader: self._statistics.look(reader, now))
        free, floor = self._room()
        return {
            **found,
            "mirror": found["mirror"] if self._mirror else None,
            "data_dir": str(self._settings.data_dir),
            "disk": {"free_bytes": free, "min_free_bytes": floor},
            "errors": self._troubles.plain(),
            "last_error": self.last_error,
            "version": __version__,
        }

    async def publish_live(
        self, batch_id: UUID, publisher: str, events: Sequence[LiveEvent], opens: bool
    ) -> Acknowledgement:
        """See ``LiveHub.publish``."""
        return self.live.publish(batch_id, publisher, events, opens=opens)

    async def watch(self, batch_id: UUID, last_id: str | None, wait_s: float) -> list[LiveEvent]:
        """See ``LiveHub.watch``."""
        return await self.live.watch(batch_id, last_id, wait_s)

    def _room(self) -> tuple[int, int]:
        """Bytes that are free on the ledger's disk, and that must be."""
        return self._ledger.free_bytes(), self._settings.ledger.min_free_mb * 2**20

    async def _measure(self) -> None:
        """Keep the gauges up to date."""
        while True:
            now, mirrored = datetime.now(UTC), self._mirror is not None
            await self._read(measure, self._metrics, now, mirrored=mirrored)
            self._metrics.disk(*self._room())
            await asyncio.sleep(MEASURE_S)

    async def _check_records(self) -> None:
        """Read every record now and then, at leisure: those that cannot be read become known."""
        while True:
            page = await self._read(Reader.batches, 0, CHECK_BATCHES)
            while page.more:
                await asyncio.sleep(CHECK_PAUSE_S)
                page = await self._read(Reader.batches, page.last, CHECK_BATCHES)
            await self._read(Reader.look_through_others)
            await asyncio.sleep(CHECK_AGAIN_S)

    async def _open_batches(self, after: int, limit: int) -> Page[tuple[int, BatchState]]:
        return await self._read(Reader.open_batches, after, limit)

    async def _read(
        self, query: Callable[Concatenate[Reader, P], T], *arguments: P.args, **named: P.kwargs
    ) -> T:
        return await self._reads.run(partial(query, self._reader, *arguments, **named))

    def _wake(self, _: object = None) -> None:
        """Something is on the disk that a loop may be waiting for."""
        for loop in (self._verification, self._projection, self._mirror):
            if loop:
                loop.wake()

    async def _decide(self, batch: Batch, results: Mapping[UUID, Result]) -> None:
        outcome = decide(batch, results, self._settings.dpo.rule(), datetime.now(UTC))
        event_id = ids.outcome_event(batch.batch_id)
        with self._tracer.span("decide", batch.batch_id, decided(outcome), event_id=event_id):
            await self._persist(
                lambda ledger: ledger.decide(batch, results, outcome),
                partial(self._observers.decided, batch, results, outcome),
            )

    async def _keep(self, batch: Batch, results: Mapping[UUID, Result]) -> None:
        await self._persist(
            lambda ledger: ledger.keep(batch, results), partial(self._observers.verified, batch)
        )

    async def _persist(self, operation: Callable[[Ledger], T], then: Callable[[T], object]) -> None:
        """Commit, waiting for room on the disk if need be."""
        then = self._then(then)
        while True:
            try:
                await self._commits.commit(operation, then)
                return
            except Overloaded as error:
                self._note("ledger", str(error))
                await asyncio.sleep(NO_ROOM_PAUSE_S)

    def _then(self, observe: Callable[[T], object]) -> Callable[[T], object]:
        """What follows a commit: the loops go on, and the observers are called."""

        def then(result: T) -> None:
            self._wake()
            observe(result)

        return then

    def _note(self, name: str, problem: str | None) -> None:
        """Keep a part's trouble for whoever asks; None says that it is over."""
        if problem is not None:
            self.last_error = f"{name}: {problem}"
            self._troubles.add(name, problem)
            self._metrics.trouble(name)
            log.warning("%s", self.last_error)
        elif self.last_error and self.last_error.startswith(f"{name}: "):
            self.last_error = None
