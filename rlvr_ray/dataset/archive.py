"""Looking through what the ledger holds."""

from collections.abc import Mapping, Sequence
from typing import Protocol
from uuid import UUID

from rlvr_ray.dataset.filters import Filter, Histogram, Measure
from rlvr_ray.dataset.provenance import Footprint
from rlvr_ray.dataset.reviews import Review, Said, Verdict
from rlvr_ray.dataset.rows import Row
from rlvr_ray.dataset.state import BatchState, Duel, Reviewed


class Archive(Protocol):
    """Looking through what the ledger holds. Batches past retention are in the files only.

    ``before`` and ``after`` are places in the order of recording, as these methods return them.
    """

    async def page(
        self, where: Filter, before: int | None, limit: int
    ) -> tuple[list[Row], int | None]:
        """What a list shows of batches, latest first: see ``core.browsing.line``.

        Also where the next page begins; None where there is none.
        """
        ...

    async def count(self, where: Filter) -> int:
        """How many batches fit."""
        ...

    async def past_retention(self) -> int:
        """How many decided batches are in the files only."""
        ...

    async def histogram(self, of: Measure, where: Filter) -> Histogram:
        """Of the batches that fit."""
        ...

    async def models(self) -> list[str]:
        """Those that wrote answers of decided batches, by name."""
        ...

    async def states(
        self, where: Filter, after: int, limit: int
    ) -> tuple[list[Reviewed], int | None]:
        """Batches as they are known, earliest first from place 0 on; and the next place, or None.

        There may be fewer than ``limit``, or none, and more at the next place.
        """
        ...

    async def review(
        self, review_id: UUID, batch_id: UUID, a: int, b: int, said: Said, note: str, reviewer: str
    ) -> tuple[int, Review]:
        """Keep what somebody says of a pair, and return it with its sequence number.

        The same again under the same id changes nothing. Raises NotFound, KeyReused where the id
        is another review's, or InputError where a and b are not the pair's candidates.
        """
        ...

    async def reviews(self, batch_id: UUID) -> list[tuple[int, Review]]:
        """All of a batch in the order in which they came; raises NotFound where it is unknown."""
        ...

    async def duel(self, where: Filter, seen: Sequence[UUID]) -> Duel | None:
        """One of the pairs that fit and that nobody has judged, at random; None if none is left.

        Those of the batches ``seen`` are left out.
        """
        ...

    async def footprint(self, batch_id: UUID) -> tuple[BatchState, Footprint] | None:
        """A batch with what it left beside its records; None where it is unknown.

        Raises NotFound where it is past retention.
        """
        ...

    async def named(self, name: str, limit: int) -> tuple[list[UUID], int]:
        """The batches that an id means, latest first, and how many there are beyond the limit.

        It may be a batch's, an event's, or a correlation id; nothing is found where it is none.
        """
        ...

    async def verdicts(self, where: Filter) -> Mapping[Verdict | None, int]:
        """Pairs that fit by their latest review; None is for those without one."""
        ...
