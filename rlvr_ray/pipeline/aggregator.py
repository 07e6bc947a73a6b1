"""The one writer: records batches, has them verified, decides them, and keeps the files current.

Everything is driven from the ledger, so a restart goes on where the last process stopped: what is
recorded and undecided is verified, what is decided and not in the files is written.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar
from uuid import UUID

from rlvr_ray import __version__
from rlvr_ray.core import codec, ids
from rlvr_ray.core.concurrency import OneThread, cancelled_by_caller, supervise
from rlvr_ray.core.errors import (
    InputError,
    JudgeError,
    KeyReused,
    Overloaded,
    ReplyError,
    RlvrError,
    TimedOut,
    Unavailable,
    Unreadable,
)
from rlvr_ray.core.pairing import Result, decide, unscorable
from rlvr_ray.core.records import Batch, FailedVerification
from rlvr_ray.dataset.group_commit import Commits
from rlvr_ray.dataset.ledger import Ledger, Reader
from rlvr_ray.dataset.projection import Projector
from rlvr_ray.dataset.queries import Queries
from rlvr_ray.dataset.state import BatchState, Ending
from rlvr_ray.dataset.stats import Statistics, Troubles, measure
from rlvr_ray.documents.retriever import Ingested
from rlvr_ray.events import outbox
from rlvr_ray.events.mirror import Mirror, Publisher
from rlvr_ray.observability import logs
from rlvr_ray.observability.metrics import NO_METRICS, Metrics
from rlvr_ray.observability.tracing import OFF, Tracer
from rlvr_ray.pipeline.commit_observer import Facts
from rlvr_ray.pipeline.external import External, Inbox
from rlvr_ray.pipeline.live import LiveHub
from rlvr_ray.pipeline.spans import decided, record_results
from rlvr_ray.settings import Settings
from rlvr_ray.verification.verifier import Claim, Judged, StreamingPanel

if TYPE_CHECKING:
    from rlvr_ray.dataset.files import Dataset

log = logging.getLogger(__name__)
T = TypeVar("T")
P = ParamSpec("P")

#: Longest pause between attempts while a part is down, in seconds.
MAX_BACKOFF = 30.0
#: Pause before parts are tried again whose place was out of reach, in seconds.
PARTS_PAUSE = 10.0
#: Seconds between two looks for what is past retention.
PRUNE_S = 3600.0
#: Characters of a failure's reason that are kept.
REASON_CHARS = 1000
#: Batches read in one go to see whether they can be, the pause until the next ones, and until all
#: are read again, in seconds.
LOOKED, LOOK_PAUSE_S, LOOK_S = 20, 0.05, 86_400.0
#: Seconds between two looks at what waits, for the gauges.
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
        self._facts = Facts(metrics)
        self._commits = Commits(ledger, metrics)
        self._reader, self._reads = ledger.reader(), OneThread("reads")
        self.queries = Queries(ledger.browser(), self._commits)
        self._files = OneThread("files")
        self._projector: Projector | None = None
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
        self._recorded = asyncio.Event()
        self._decided = asyncio.Event()
        self._prune_at = 0.0
        self._tasks: list[asyncio.Task[None]] = []
        self.last_error: str | None = None
        self._troubles = Troubles()
        self._statistics = Statistics()
        self.live = LiveHub(self.find)
        self._reserved: dict[UUID, str] = {}

    async def start(self) -> None:
        """Mend the files and go on with what is unfinished."""
        commit = self._commits.from_threads()
        reader = self._ledger.reader()
        self._projector = projector = Projector(
            reader, commit, self._dataset, self._settings.dataset, self._tracer
        )
        try:
            await self._files.run(projector.mend)
        except RlvrError as error:  # no room, say: answers come first, the loop tries again
            self._note("project", str(error))
        loops: dict[str, Callable[[], Awaitable[None]]] = {
            "verify": self._dispatch,
            "project": partial(self._project, projector),
            "look": self._look_through,
        }
        if self._metrics is not NO_METRICS:
            loops["measure"] = self._measure
        if self._mirror:
            loops["mirror"] = self._mirror.run
        if self._inbox:
            external = External(
                self.find,
                lambda after, limit: self._read(Reader.open_batches, after, limit),
                self._keep,
                self._decide,
                self._settings.verification.external_timeout_s,
            )

            async def accept(body: Mapping[str, Any]) -> None:
                await external.accept(body)
                await self.live.refresh(UUID(body["batch_id"]))

            loops["verify"] = external.run
            loops["inbox"] = partial(self._inbox.run, accept)
        self._tasks = [
            asyncio.create_task(supervise(name, loop, self._note)) for name, loop in loops.items()
        ]

    async def close(self) -> None:
        """Stop verifying (it goes on at the next start), bring the files up to date, seal."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            if self._projector:
                await self._files.run(self._projector.project)
                await self._files.run(self._projector.seal_all)
        finally:  # whatever the disk said: the next start goes on from the ledger
            if self._projector:
                await self._files.run(self._projector.close)
            self._files.close()
            await self._reads.run(self._reader.close)
            self._reads.close()
            await self.queries.close()
            await self._commits.close()

    async def admit(self) -> None:
        """See ``ports.Recorder``."""
        free, floor = self._room()
        if free < floor:
            raise Overloaded(
                f"{self._settings.data_dir} has {free / 2**20:,.0f} MiB left and "
                f"ledger.min_free_mb is {self._settings.ledger.min_free_mb:,}; free some room"
            )

    async def record(self, batches: Sequence[Batch]) -> list[Batch]:
        """See ``ports.Recorder``. When this returns, the batches are on disk."""
        await self.admit()
        recorded: list[Batch] = await self._commits.commit(
            lambda ledger: ledger.record(batches),
            self._wake_then(partial(self._facts.recorded, batches)),
        )
        for batch in recorded:
            await self.live.refresh(batch.batch_id)
        return recorded

    async def ingested(self, documents: Sequence[Ingested]) -> None:
        """See ``ports.Recorder``."""
        await self._commits.commit(lambda ledger: ledger.ingested(documents), self._wake)

    async def find(self, batch_id: UUID) -> BatchState | None:
        """See ``ports.Recorder``."""
        return await self._read(Reader.find, batch_id)

    async def reserve(self, batch_id: UUID, fingerprint: str) -> BatchState | None:
        """See ``ports.Recorder``."""
        state = await self.find(batch_id)
        if state is None:
            if self._reserved.setdefault(batch_id, fingerprint) != fingerprint:
                raise KeyReused
            while len(self._reserved) > RESERVED:
                del self._reserved[next(iter(self._reserved))]
        return state

    async def outcomes(self, batch_ids: Sequence[UUID]) -> Mapping[UUID, Ending | None]:
        """See ``ports.Recorder``."""
        return await self._read(Reader.outcomes, batch_ids)

    async def of_run(
        self, run: str, after: int, limit: int
    ) -> tuple[Mapping[UUID, Ending | None], int | None]:
        """See ``ports.Recorder``."""
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
            "dashboard": None,
            "version": __version__,
        }

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

    async def _look_through(self) -> None:
        """Read every record now and then, at leisure: those that cannot be read are to be known."""
        while True:
            page = await self._read(Reader.batches, 0, LOOKED)
            while page.more:
                await asyncio.sleep(LOOK_PAUSE_S)
                page = await self._read(Reader.batches, page.last, LOOKED)
            await self._read(Reader.look_through_others)
            await asyncio.sleep(LOOK_S)

    async def _read(
        self, query: Callable[Concatenate[Reader, P], T], *arguments: P.args, **named: P.kwargs
    ) -> T:
        return await self._reads.run(partial(query, self._reader, *arguments, **named))

    def _wake(self, _: object = None) -> None:
        """Something is on the disk that a loop may be waiting for."""
        self._recorded.set()
        self._decided.set()
        if self._mirror:
            self._mirror.wake()

    # Verifying.

    async def _dispatch(self) -> None:
        """Verify open batches in order, a bounded number at a time."""
        free = asyncio.Semaphore(self._settings.verification.batches)
        seq = 0
        async with asyncio.TaskGroup() as group:
            while True:
                await free.acquire()
                self._recorded.clear()
                found = await self._read(Reader.open_batches, seq, 1)
                seq = found.last
                if not found:
                    free.release()
                    if not found.more:
                        await self._recorded.wait()
                    continue
                ((_, state),) = found
                task = group.create_task(self._end(state))
                task.add_done_callback(lambda _: free.release())

    async def _end(self, state: BatchState) -> None:
        """Verify and decide. A batch that cannot be decided stays open, and holds up no other."""
        batch_id = state.batch.batch_id
        try:
            await self._verify(state)
        except (InputError, Unreadable) as error:
            self._note("verify", f"batch {batch_id} stays open: {error}")
        except RlvrError:
            raise  # the ledger's trouble: the loop starts over
        except Exception as error:
            log.exception("batch %s stays open", batch_id)
            self._note("verify", f"batch {batch_id} stays open: {error!r}")

    async def _verify(self, state: BatchState) -> None:
        """Have every candidate scored, then decide. Ends only with an outcome on disk."""
        state = replace(state, results=_unscorable(state.batch) | dict(state.results))
        claims = [
            claim for claim in claims_of(state.batch) if claim.answer_event_id not in state.results
        ]
        started = datetime.now(UTC)
        with logs.about(state.batch.batch_id, state.batch.correlation_id):
            with self._tracer.span("verify", state.batch.batch_id):
                scored = await self._scored(state, claims) if claims else {}
                record_results(self._tracer, state.batch, scored, started)
            results = {**scored, **state.results}
            try:
                await self._decide(state.batch, results)
            except InputError:  # something of what was said cannot be kept
                kept = {event_id: _kept(event_id, result) for event_id, result in scored.items()}
                await self._decide(state.batch, {**kept, **state.results})

    async def _decide(self, batch: Batch, results: Mapping[UUID, Result]) -> None:
        outcome = decide(batch, results, self._settings.dpo.rule(), datetime.now(UTC))
        event_id = ids.outcome_event(batch.batch_id)
        with self._tracer.span("decide", batch.batch_id, decided(outcome), event_id=event_id):
            await self._persist(
                lambda ledger: ledger.decide(batch, results, outcome),
                partial(self._facts.decided, batch, outcome),
            )
        await self.live.refresh(batch.batch_id)

    async def _keep(self, batch: Batch, results: Mapping[UUID, Result]) -> None:
        await self._persist(
            lambda ledger: ledger.keep(batch, results), partial(self._facts.verified, batch)
        )

    async def _scored(self, state: BatchState, claims: Sequence[Claim]) -> dict[UUID, Result]:
        """A result for each claim. A part that is down is waited for; a judge that hangs is not."""
        settings = self._settings.verification
        backoff, failures, reason = 0.5, 0, ""
        while True:
            try:
                async with asyncio.timeout(settings.timeout_s):
                    results = await self._judged(state, claims)
                self._note("verify", None)
                return {
                    claim.answer_event_id: _failed(claim.answer_event_id, str(result), failures + 1)
                    if isinstance(result, JudgeError)
                    else result
                    for claim, result in zip(claims, results, strict=True)
                }
            except (TimeoutError, TimedOut) as error:
                failures += 1
                reason = str(error) or f"the judge did not finish within {settings.timeout_s:g} s"
                self._note("verify", reason)
            except (Unavailable, Overloaded, ReplyError) as error:
                self._note("verify", str(error))
            except (Exception, asyncio.CancelledError) as error:
                if isinstance(error, asyncio.CancelledError) and cancelled_by_caller():
                    raise
                # A defect: it must not hold up the other batches.
                log.exception("verification failed")
                failures += 1
                reason = f"internal error: {error!r}"
                self._note("verify", reason)
            if failures >= settings.max_attempts:
                awaited = [claim.answer_event_id for claim in claims]
                return {event_id: _failed(event_id, reason, failures) for event_id in awaited}
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, MAX_BACKOFF)

    async def _judged(self, state: BatchState, claims: Sequence[Claim]) -> Sequence[Judged]:
        """What the panel says; who watches the batch is told each result as it comes."""
        if not self.live.is_watched(state.batch.batch_id):
            return await self._panel.verify(claims)
        judged: dict[UUID, Judged] = {}
        shown = dict(state.results)
        async with contextlib.aclosing(self._panel.stream(claims)) as results:
            async for event_id, result in results:
                judged[event_id] = result
                shown[event_id] = (
                    _failed(event_id, str(result), 1) if isinstance(result, JudgeError) else result
                )
                self.live.state(replace(state, results=dict(shown)))
        return [judged[claim.answer_event_id] for claim in claims]

    async def _persist(self, operation: Callable[[Ledger], T], then: Callable[[T], object]) -> None:
        """Commit, waiting for room on the disk if need be."""
        then = self._wake_then(then)
        while True:
            try:
                await self._commits.commit(operation, then)
                return
            except Overloaded as error:
                self._note("ledger", str(error))
                await asyncio.sleep(MAX_BACKOFF)

    def _wake_then(self, told: Callable[[T], object]) -> Callable[[T], object]:
        """What follows a commit: the loops go on, and what is new is told."""

        def then(result: T) -> None:
            self._wake()
            told(result)

        return then

    # Projecting.

    async def _project(self, projector: Projector) -> None:
        """Bring the JSONL up to date whenever a batch was decided, and see to the parts in time.

        Parts may lie elsewhere: where that is away, JSONL goes on and they follow.
        """
        await self._files.run(projector.mend)
        mended = False
        pause = self._settings.dataset.seal_seconds
        again_at = 0.0
        while True:
            self._decided.clear()
            await self._files.run(projector.project)
            self._note("project", None)
            try:
                if time.monotonic() >= again_at:
                    if not mended:
                        await self._files.run(projector.mend_parts)
                        mended = True
                    await self._files.run(projector.seal_due)
                    await self._prune(projector)
                    self._note("parts", None)
                    again_at = 0.0
            except Unavailable as error:
                self._note("parts", str(error))
                again_at = time.monotonic() + min(pause, PARTS_PAUSE)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(pause, PARTS_PAUSE) if again_at else pause):
                    await self._decided.wait()

    async def _prune(self, projector: Projector) -> None:
        days = self._settings.ledger.retention_days
        if days is not None and time.monotonic() >= self._prune_at:
            self._prune_at = time.monotonic() + PRUNE_S
            cutoff = datetime.now(UTC) - timedelta(days=days)
            mirrored = self._mirror is not None
            await self._files.run(partial(projector.prune, cutoff, mirrored=mirrored))

    def _note(self, name: str, problem: str | None) -> None:
        """Keep a part's trouble for whoever asks; None says that it is over."""
        if problem is not None:
            self.last_error = f"{name}: {problem}"
            self._troubles.add(name, problem)
            self._metrics.trouble(name)
            log.warning("%s", self.last_error)
        elif self.last_error and self.last_error.startswith(f"{name}: "):
            self.last_error = None


def claims_of(batch: Batch) -> list[Claim]:
    """A batch's candidates as a judge sees them."""
    contexts = tuple(context.content for context in batch.contexts)
    return [
        Claim(
            answer_event_id=candidate.event_id,
            question=batch.question,
            answer=candidate.answer,
            contexts=contexts,
            references=batch.references,
            retrieval_score=max((context.score for context in batch.contexts), default=None),
        )
        for candidate in batch.candidates
    ]


def _kept(event_id: UUID, result: Result) -> Result:
    """A result that the ledger takes: where this one is not, why."""
    try:
        if result.answer_event_id != event_id:
            raise InputError(f"it is of answer {result.answer_event_id}")
        codec.dumps(result)
    except (InputError, AttributeError) as error:
        return _failed(event_id, f"its verification cannot be kept: {error}", 1)
    return result


def _unscorable(batch: Batch) -> dict[UUID, Result]:
    """A result for each answer that no verifier is to be asked about."""
    return {
        candidate.event_id: _failed(candidate.event_id, problem, 1)
        for candidate in batch.candidates
        if (problem := unscorable(candidate))
    }


def _failed(answer_event_id: UUID, reason: str, attempts: int) -> FailedVerification:
    return FailedVerification(
        answer_event_id=answer_event_id,
        # It may quote a judge or a traceback: make it fit to keep.
        reason=reason[:REASON_CHARS].replace("\0", "\\0").encode("utf-8", "replace").decode(),
        attempts=attempts,
        completed_at=datetime.now(UTC),
    )
