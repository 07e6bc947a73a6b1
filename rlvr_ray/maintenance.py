"""Work on a data folder from outside the running system: check it, rebuild it, retell it."""

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from rlvr_ray import engines, judging, log_lines, steps
from rlvr_ray.adapters.dataset import Dataset
from rlvr_ray.adapters.ledger import Browser, Ledger, Operation, Reader
from rlvr_ray.audit import audit
from rlvr_ray.core.footprints import Footprint
from rlvr_ray.errors import ConfigError, LedgerError, NotFound, RlvrError, Unreadable
from rlvr_ray.mirror import WINDOW
from rlvr_ray.ports import BatchState
from rlvr_ray.projection import STEP, Projector
from rlvr_ray.settings import Settings

#: Milliseconds of an fsync above which acknowledgements are felt to be slow.
SLOW_FSYNC_MS = 20.0
#: Seconds that the doctor reads records, and how many of those that cannot be read it names.
LOOK_S, NAMED = 5.0, 3
#: Batches of one correlation id that are told at once, the latest.
TRACES = 20


def verify_store(settings: Settings) -> list[str]:
    """What is wrong with ledger and files, one line each; a running system is not disturbed."""
    ledger = Reader(settings.data_dir)
    try:
        return list(audit(ledger, _dataset(settings)))
    finally:
        ledger.close()


def traces(settings: Settings, name: str) -> dict[str, Any]:
    """What ``GET /traces`` says, from the ledger and the logs of this machine's last cluster.

    Raises NotFound where no batch is meant, Unreadable where none that is can be read.
    """
    ledger = Browser(settings.data_dir)
    found: list[tuple[BatchState, Footprint] | None] = []
    unreadable: Unreadable | None = None
    try:
        batch_ids, left = ledger.named(name, TRACES)
        for batch_id in batch_ids:
            try:
                found.append(ledger.footprint(batch_id))
            except Unreadable as error:
                unreadable = error
    finally:
        ledger.close()
    if unreadable and not found:
        raise unreadable
    if not found:
        raise NotFound(
            f"no batch, event or correlation id of {settings.data_dir} is {name[:200]!r}"
        )
    lines = log_lines.find(log_lines.latest_session(), batch_ids)
    mirrored = settings.mirror.url is not None
    told = [
        steps.story(*one, mirrored=mirrored, logs=lines[one[0].batch.batch_id])
        for one in found
        if one is not None
    ]
    return {"traces": told, "left": left}


def rebuild(settings: Settings) -> dict[str, bool]:
    """Write every dataset file again from the ledger; by path, whether it is as it was before.

    A batch that cannot be read has no rows in them any more.

    Raises LedgerError where a running system has the folder.
    """
    if not (settings.data_dir / "ledger.db").is_file():
        raise LedgerError(f"{settings.data_dir} holds no ledger; there is nothing to rebuild from")
    ledger = Ledger(settings.data_dir)

    def commit(operation: Operation) -> object:
        return ledger.commit([operation])[0]

    try:
        return Projector(ledger, commit, _dataset(settings), settings.dataset).rebuild()
    finally:
        ledger.close()


async def replay(settings: Settings, since: datetime, told: Callable[[int], None]) -> int:
    """Publish again every event committed since then; returns how many, ``told`` as it goes on.

    They carry the ids that they had, so that consumers know them. Raises Unavailable, ConfigError.
    """
    from rlvr_ray.adapters.rabbitmq import RabbitMQ

    publisher = RabbitMQ(settings.mirror)
    ledger = Reader(settings.data_dir)
    count = 0
    try:
        seq = ledger.first_event(since) - 1
        while (posted := ledger.events(seq, WINDOW)).more:
            if posted:
                await publisher.publish(posted)
            seq = posted.last
            count += len(posted)
            told(count)
    finally:
        await publisher.close()
        ledger.close()
    return count


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What the doctor found of one thing."""

    name: str
    state: Literal["ok", "warning", "failed"]
    detail: str


def doctor(settings: Settings) -> Iterator[Check]:
    """Look at everything that this installation depends on."""
    checks: dict[str, Callable[[Settings], Iterable[Check]]] = {
        "disk": _disk,
        "ledger": _ledger,
        "generator": lambda settings: asyncio.run(_generator(settings)),
        "judge": _judge,
        "mirror": lambda settings: asyncio.run(_mirror(settings)),
    }
    for name, check in checks.items():
        try:
            yield from check(settings)
        except (RlvrError, OSError) as error:
            yield Check(name=name, state="failed", detail=str(error))


def _disk(settings: Settings) -> list[Check]:
    folder = settings.data_dir
    folder.mkdir(parents=True, exist_ok=True)
    stat = os.statvfs(folder)
    free, floor = stat.f_bavail * stat.f_frsize // 2**20, settings.ledger.min_free_mb
    room = Check(
        name="disk",
        state="ok" if free >= floor else "failed",
        detail=f"{folder}: {free:,} MiB free, asks are refused below {floor:,} MiB",
    )
    took = statistics.median(_fsync_ms(folder) for _ in range(10))
    slow = took > SLOW_FSYNC_MS
    detail = f"{took:.1f} ms" + ("; each acknowledgement waits for one" if slow else "")
    return [room, Check(name="fsync", state="warning" if slow else "ok", detail=detail)]


def _fsync_ms(folder: Path) -> float:
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"x" * 4096)
        file.flush()
        started = time.perf_counter()
        os.fsync(file.fileno())
        return 1000 * (time.perf_counter() - started)


def _ledger(settings: Settings) -> list[Check]:
    if not (settings.data_dir / "ledger.db").is_file():
        return [Check(name="ledger", state="ok", detail="none yet; the first start makes it")]
    ledger = Reader(settings.data_dir)
    try:
        counts, backlog = ledger.counts(), ledger.backlog()
        looked, whole = _look(ledger)
        aside = dict(ledger.set_aside)
    finally:
        ledger.close()
    said = ", ".join(f"{count:,} {state}" for state, count in counts.items())
    found = [Check(name="ledger", state="ok", detail=said), _records(looked, whole, aside)]
    if settings.mirror.url is not None:
        oldest = backlog.oldest or datetime.now(UTC)
        age = (datetime.now(UTC) - oldest).total_seconds()
        detail = f"{backlog.pending:,} events wait, the oldest for {age:,.0f} s"
        old = age > settings.mirror.timeout_s
        found.append(Check(name="backlog", state="warning" if old else "ok", detail=detail))
    return found


def _look(ledger: Reader) -> tuple[int, bool]:
    """Read as many batches as ``LOOK_S`` allows; how many that were, and whether those were all."""
    until, seq, count = time.monotonic() + LOOK_S, 0, 0
    while (page := ledger.batches(seq, STEP)).more:
        seq, count = page.last, count + len(page)
        if time.monotonic() > until:
            return count, False
    ledger.look_through_others()
    return count, True


def _records(looked: int, whole: bool, aside: Mapping[str, str]) -> Check:
    """Whether what is on record can be read."""
    if aside:
        named = "; ".join(f"{what}: {why}" for what, why in islice(aside.items(), NAMED))
        more = f"; and {len(aside) - NAMED:,} more" if len(aside) > NAMED else ""
        detail = f"{len(aside):,} cannot be read and are set aside: {named}{more}"
        return Check(name="records", state="failed", detail=detail)
    rest = "" if whole else "; rlvr verify-store reads the others, too"
    return Check(name="records", state="ok", detail=f"{looked:,} batches can be read{rest}")


def _judge(settings: Settings) -> Iterator[Check]:
    """Who verifies and why; verifiers that are not installed, and a judge that does not answer."""
    judging.check_verifiers(settings)
    choice = engines.choose(settings, ask=True)
    yield Check(name="verifiers", state="ok", detail=choice.verifiers)
    if not judging.needs_judge(choice.settings):
        detail = "none: these verifiers ask no language model"
    elif settings.judge.engine == "generator":
        detail = "the Generator's model"
    else:
        detail = asyncio.run(engines.probe(settings.judge))
    yield Check(name="judge", state="ok", detail=detail)


async def _generator(settings: Settings) -> list[Check]:
    """Which engine is chosen, why, and whether it works."""
    choice = engines.choose(settings)
    found = await engines.probe(choice.settings.generator)
    return [Check(name="generator", state="ok", detail=f"{found}: {choice.reason}")]


async def _mirror(settings: Settings) -> list[Check]:
    from rlvr_ray.adapters.rabbitmq import RabbitMQ

    if settings.mirror.url is None:
        return [Check(name="mirror", state="ok", detail="off; set mirror.url to turn it on")]
    broker, exchange = RabbitMQ(settings.mirror), settings.mirror.exchange
    found = []
    try:
        await broker.open()
        found.append(Check(name="broker", state="ok", detail=f"exchange {exchange} is declared"))
        await broker.try_publishing()
        found.append(Check(name="permissions", state="ok", detail=f"may publish to {exchange}"))
        lost = await broker.unrouted()
        detail = f"no event waits in {exchange}.unrouted"
        if lost:
            detail = f"{lost:,} events in {exchange}.unrouted: no queue was bound for them"
        found.append(Check(name="bindings", state="warning" if lost else "ok", detail=detail))
    except ConfigError as error:
        found.append(Check(name="permissions", state="failed", detail=str(error)))
    finally:
        await broker.close()
    return found


def _dataset(settings: Settings) -> Dataset:
    return Dataset(settings.data_dir, settings.dataset.parquet_uri)
