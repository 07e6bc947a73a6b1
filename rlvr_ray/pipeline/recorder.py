"""The durable side, as the pipeline sees it."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol
from uuid import UUID

from rlvr_ray.core.records import Batch
from rlvr_ray.dataset.state import BatchState, OutcomeSummary
from rlvr_ray.documents.retriever import Ingested
from rlvr_ray.pipeline.live import Acknowledgement, LiveEvent


class Recorder(Protocol):
    """The durable side, as the pipeline sees it."""

    async def admit(self) -> None:
        """Raise Overloaded where there is no room for further batches."""
        ...

    async def record(self, batches: Sequence[Batch]) -> list[Batch]:
        """Commit batches; return what the ledger holds, which for a known id is the first."""
        ...

    async def find(self, batch_id: UUID) -> BatchState | None:
        """A recorded batch, or None."""
        ...

    async def reserve(self, batch_id: UUID, fingerprint: str) -> BatchState | None:
        """A recorded batch; where there is none, the id is this request's from here on.

        Raises KeyReused where the id is another request's that is not recorded yet.
        """
        ...

    async def outcomes(self, batch_ids: Sequence[UUID]) -> Mapping[UUID, OutcomeSummary | None]:
        """Of those that are recorded: how they ended, None while they are verified."""
        ...

    async def of_run(
        self, run: str, after: int, limit: int
    ) -> tuple[Mapping[UUID, OutcomeSummary | None], int | None]:
        """How the batches of a bulk run ended, likewise, in the order of recording.

        ``limit`` of them at most, from the place ``after`` on, which is 0 at first; and the place
        to go on from, None at the end.
        """
        ...

    async def ingested(self, documents: Sequence[Ingested]) -> None:
        """Note documents that were stored, so that an event is published for each."""
        ...


class LiveRecorder(Recorder, Protocol):
    """A Recorder that can say what it holds, and where one can watch."""

    async def stats(self) -> dict[str, Any]:
        """Counts, files, the last error."""
        ...

    async def publish_live(
        self, batch_id: UUID, publisher: str, events: Sequence[LiveEvent], opens: bool
    ) -> Acknowledgement:
        """See ``live.LiveHub``."""
        ...

    async def watch(self, batch_id: UUID, last_id: str | None, wait_s: float) -> list[LiveEvent]:
        """See ``live.LiveHub``."""
        ...
