"""The checks of an installation, for ``rlvr doctor`` and before ``rlvr serve`` starts Ray."""

import asyncio
import logging
import os
import socket
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rlvr_ray.client import servers
from rlvr_ray.core.errors import ConfigError, Overloaded, RlvrError, Unavailable
from rlvr_ray.dataset.projection import STEP
from rlvr_ray.documents import stores
from rlvr_ray.generation import engines, model_files, selection
from rlvr_ray.settings import EngineSettings, Settings
from rlvr_ray.verification import factory

if TYPE_CHECKING:
    from rlvr_ray.dataset.ledger import Reader

log = logging.getLogger(__name__)

#: Longest wait for a server, in seconds.
PATIENCE_S = 5.0
#: Milliseconds of an fsync above which acknowledgements are felt to be slow.
SLOW_FSYNC_MS = 20.0
#: Seconds that the doctor reads records, and how many of those that cannot be read it names.
LOOK_S, NAMED = 5.0, 3


def before_start(settings: Settings) -> None:
    """Find out in seconds what would otherwise fail after half a minute, in another process.

    Raises ConfigError, LedgerError or, for Qdrant, Unavailable. Servers that may come later (the
    broker, language models, the place of Parquet parts) are only warned about.
    """
    from rlvr_ray.dataset.files import Dataset
    from rlvr_ray.dataset.ledger import Ledger

    chosen = selection.choose(settings).settings
    _embedder()
    for engine in _engines(chosen):
        engines.engine_type(engine).check_files(engine)
    if stores.folder(settings) is None:
        stores.check_server(settings, PATIENCE_S)
    check_broker(settings)
    try:
        Dataset(settings.data_dir, settings.dataset.parquet_uri).open()
    except Unavailable as error:
        log.warning("%s; Parquet parts wait", error)
    Ledger(settings.data_dir).close()
    with socket.socket(socket.AF_INET6 if ":" in settings.api.host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.api.host, settings.api.port))
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {settings.api.host}:{settings.api.port}: {error.strerror}; "
                "choose another port (--port)"
            ) from None
    for engine in _engines(chosen):
        if silent := asyncio.run(_silence(engine)):
            what = "questions" if engine.section == "generator" else "verifications"
            log.warning("%s; %s fail until that is mended", silent, what)


def check_broker(settings: Settings) -> None:
    """Raise ConfigError where the broker refuses us; one that is away is waited for later.

    At a start only: a replica that comes back must not fail for what a broker's admin changed.
    """
    if settings.mirror.url is None:
        return
    from rlvr_ray.events.rabbitmq import RabbitMQ

    async def check() -> None:
        broker = RabbitMQ(settings.mirror.model_copy(update={"timeout_s": PATIENCE_S}))
        try:
            await broker.open()
        except Unavailable as error:
            log.warning("%s; events wait in the ledger", error)
        finally:
            await broker.close()

    asyncio.run(check())


def _engines(settings: Settings) -> Iterator[EngineSettings]:
    """Those that are used, of settings whose generator's engine is chosen."""
    yield settings.generator
    if factory.needs_judge(settings) and settings.judge.engine != "generator":
        yield settings.judge


async def _silence(settings: EngineSettings) -> RlvrError | None:
    """Why a server of a language model cannot be used now; None where it answers, or is none."""
    if not engines.engine_type(settings).is_remote:
        return None
    try:
        await _probed(settings)
    except (Unavailable, Overloaded) as error:
        return error
    return None


def _embedder() -> str:
    for file in (model_files.MINILM_L6_V2, model_files.MINILM_L6_V2_TOKENIZER):
        file.locate()
    return "all-MiniLM-L6-v2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What the doctor found of one thing."""

    name: str
    state: Literal["ok", "warning", "failed"]
    detail: str


def doctor(settings: Settings) -> Iterator[Check]:
    """Look at everything that this installation depends on."""
    checks: dict[str, Callable[[Settings], Iterable[Check]]] = {
        "server": _server,
        "disk": _disk,
        "ledger": _ledger,
        "documents": _documents,
        "generator": lambda settings: asyncio.run(_generator(settings)),
        "judge": _judge,
        "mirror": lambda settings: asyncio.run(_mirror(settings)),
    }
    for name, check in checks.items():
        try:
            yield from check(settings)
        except (RlvrError, OSError) as error:
            yield Check(name=name, state="failed", detail=str(error))


def _server(settings: Settings) -> list[Check]:
    found = servers.find(settings)
    detail = "none runs: rlvr serve" if found is None else f"{found}, process {found.pid}"
    return [Check(name="server", state="ok", detail=detail)]


def _disk(settings: Settings) -> list[Check]:
    """Where the data folder is or, as nothing is made, would be."""
    folder = next(each for each in (settings.data_dir, *settings.data_dir.parents) if each.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        detail = f"{settings.data_dir} cannot be written to; choose another data_dir"
        return [Check(name="disk", state="failed", detail=detail)]
    stat = os.statvfs(folder)
    free, floor = stat.f_bavail * stat.f_frsize // 2**20, settings.ledger.min_free_mb
    room = Check(
        name="disk",
        state="ok" if free >= floor else "failed",
        detail=f"{settings.data_dir}: {free:,} MiB free, asks are refused below {floor:,} MiB",
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
    from rlvr_ray.dataset.ledger import Reader

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


def _look(ledger: "Reader") -> tuple[int, bool]:
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


def _documents(settings: Settings) -> list[Check]:
    _embedder()
    folder = stores.folder(settings)
    if folder is None:
        detail = stores.check_server(settings, PATIENCE_S)
    else:
        detail = f"{folder}" if folder.exists() else "none yet; rlvr ingest stores some"
    return [Check(name="documents", state="ok", detail=detail)]


def _judge(settings: Settings) -> Iterator[Check]:
    """Who verifies and why; verifiers that are not installed, and a judge that does not answer."""
    factory.check_verifiers(settings)
    judge = selection.judging(selection.choose(settings).settings)
    silent = asyncio.run(_silence(judge)) if factory.needs_judge(settings) else None
    choice = selection.choose(settings, ask=silent is None)
    yield Check(name="verifiers", state="ok", detail=choice.verifiers)
    if not factory.needs_judge(choice.settings):
        detail = "none: these verifiers ask no language model"
    elif settings.judge.engine == "generator":
        detail = "the Generator's model"
    elif silent is not None:
        raise silent
    else:
        detail = asyncio.run(_probed(settings.judge))
    yield Check(name="judge", state="ok", detail=detail)


async def _generator(settings: Settings) -> list[Check]:
    """Which engine is chosen, why, and whether it works."""
    choice = selection.choose(settings)
    found = await _probed(choice.settings.generator)
    return [Check(name="generator", state="ok", detail=f"{found}: {choice.reason}")]


async def _probed(settings: EngineSettings) -> str:
    """What an engine says, a server within ``PATIENCE_S``."""
    engines.engine_type(settings).check_files(settings)
    if engines.engine_type(settings).is_remote:
        limit_s = min(settings.timeout_s, PATIENCE_S)
        settings = settings.model_copy(update={"timeout_s": limit_s})
    return await engines.probe(settings)


async def _mirror(settings: Settings) -> list[Check]:
    from rlvr_ray.events.rabbitmq import RabbitMQ

    if settings.mirror.url is None:
        return [Check(name="mirror", state="ok", detail="off; set mirror.url to turn it on")]
    limit_s = min(settings.mirror.timeout_s, PATIENCE_S)
    broker = RabbitMQ(settings.mirror.model_copy(update={"timeout_s": limit_s}))
    exchange = settings.mirror.exchange
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
