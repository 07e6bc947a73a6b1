"""The loop that keeps the dataset files up to date: rows, sealed parts, retention."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

from rlvr_ray.core.concurrency import OneThread
from rlvr_ray.core.errors import RlvrError, Unavailable
from rlvr_ray.dataset.projection import Projector
from rlvr_ray.settings import Settings

#: Pause before parts are tried again whose place was out of reach, in seconds.
PARTS_PAUSE = 10.0
#: Seconds between two searches for what is past retention.
PRUNE_S = 3600.0


class ProjectionLoop:
    """Has a thread of its own for the files; ``mirrored`` says that events go to a broker."""

    def __init__(
        self,
        projector: Projector,
        settings: Settings,
        note: Callable[[str, str | None], None],
        *,
        mirrored: bool,
    ) -> None:
        self._projector = projector
        self._settings = settings
        self._note = note
        self._mirrored = mirrored
        self._files = OneThread("files")
        self._decided = asyncio.Event()
        self._prune_at = 0.0

    def wake(self) -> None:
        """A batch may have been decided."""
        self._decided.set()

    async def mend(self) -> None:
        """Bring the files to the state that the ledger has of them."""
        try:
            await self._files.run(self._projector.mend)
        except RlvrError as error:  # no room, say: answers come first, the loop tries again
            self._note("project", str(error))

    async def close(self) -> None:
        """Bring the files up to date, and seal them."""
        try:
            await self._files.run(self._projector.project)
            await self._files.run(self._projector.seal_all)
        finally:  # whatever the disk did: the next start goes on from the ledger
            await self._files.run(self._projector.close)
            self._files.close()

    async def run(self) -> None:
        """Bring the JSONL up to date whenever a batch was decided, and see to the parts in time.

        Parts may lie elsewhere: where that is away, JSONL goes on and they follow.
        """
        await self._files.run(self._projector.mend)
        mended = False
        pause = self._settings.dataset.seal_seconds
        again_at = 0.0
        while True:
            self._decided.clear()
            await self._files.run(self._projector.project)
            self._note("project", None)
            try:
                if time.monotonic() >= again_at:
                    if not mended:
                        await self._files.run(self._projector.mend_parts)
                        mended = True
                    await self._files.run(self._projector.seal_due)
                    await self._prune()
                    self._note("parts", None)
                    again_at = 0.0
            except Unavailable as error:
                self._note("parts", str(error))
                again_at = time.monotonic() + min(pause, PARTS_PAUSE)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(pause, PARTS_PAUSE) if again_at else pause):
                    await self._decided.wait()

    async def _prune(self) -> None:
        days = self._settings.ledger.retention_days
        if days is not None and time.monotonic() >= self._prune_at:
            self._prune_at = time.monotonic() + PRUNE_S
            cutoff = datetime.now(UTC) - timedelta(days=days)
            await self._files.run(partial(self._projector.prune, cutoff, mirrored=self._mirrored))
