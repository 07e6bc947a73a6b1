"""Work on a data folder outside of the server: check it, rebuild files, publish events again."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from rlvr_ray.core.errors import LedgerError, NotFound, Unreadable
from rlvr_ray.dataset.audit import audit
from rlvr_ray.dataset.files import Dataset
from rlvr_ray.dataset.ledger import Browser, Ledger, Reader
from rlvr_ray.dataset.projection import Projector
from rlvr_ray.dataset.provenance import BatchProvenance
from rlvr_ray.dataset.state import BatchState
from rlvr_ray.events import outbox
from rlvr_ray.events.mirror import WINDOW
from rlvr_ray.observability import log_lines
from rlvr_ray.pipeline.trace import batch_trace
from rlvr_ray.settings import Settings

#: Batches of one correlation id that are shown at once, the latest.
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
    found: list[tuple[BatchState, BatchProvenance] | None] = []
    unreadable: Unreadable | None = None
    try:
        batch_ids, left = ledger.named(name, TRACES)
        for batch_id in batch_ids:
            try:
                found.append(ledger.provenance(batch_id))
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
    shown = [
        batch_trace(*one, mirrored=mirrored, logs=lines[one[0].batch.batch_id])
        for one in found
        if one is not None
    ]
    return {"traces": shown, "left": left}


def rebuild(settings: Settings) -> dict[str, bool]:
    """Write every dataset file again from the ledger; by path, whether it is as it was before.

    A batch that cannot be read has no rows in them any more.

    Raises LedgerError where a running system has the folder.
    """
    if not (settings.data_dir / "ledger.db").is_file():
        raise LedgerError(f"{settings.data_dir} holds no ledger; there is nothing to rebuild from")
    ledger = Ledger(settings.data_dir)
    try:
        return Projector(ledger, ledger.write, _dataset(settings), settings.dataset).rebuild()
    finally:
        ledger.close()


async def replay(settings: Settings, since: datetime, progress: Callable[[int], None]) -> int:
    """Publish again every event committed since then; return how many.

    ``progress`` gets the number as it grows.

    They carry the ids that they had, so that consumers know them. Raises Unavailable, ConfigError.
    """
    from rlvr_ray.events.rabbitmq import RabbitMQ

    publisher = RabbitMQ(settings.mirror)
    ledger = Reader(settings.data_dir)
    count = 0
    try:
        seq = ledger.first_event(since) - 1
        while (posted := outbox.events(ledger, seq, WINDOW)).more:
            if posted:
                await publisher.publish(posted)
            seq = posted.last
            count += len(posted)
            progress(count)
    finally:
        await publisher.close()
        ledger.close()
    return count


def _dataset(settings: Settings) -> Dataset:
    return Dataset(settings.data_dir, settings.dataset.parquet_uri)
