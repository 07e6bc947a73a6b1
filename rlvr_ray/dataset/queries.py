"""Looking through the ledger, beside the writer: a slow search holds up nothing but other ones."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from operator import methodcaller
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from rlvr_ray.core.concurrency import OneThread
from rlvr_ray.core.errors import InputError, KeyReused, NotFound, Unreadable
from rlvr_ray.dataset import filters, reviews
from rlvr_ray.dataset.filters import Filter, Histogram, Measure
from rlvr_ray.dataset.group_commit import Commits
from rlvr_ray.dataset.provenance import Footprint
from rlvr_ray.dataset.reviews import Review, Said, Verdict
from rlvr_ray.dataset.rows import Row
from rlvr_ray.dataset.state import BatchState, Duel, Reviewed

if TYPE_CHECKING:
    from rlvr_ray.dataset.ledger import Browser

T = TypeVar("T")

#: Batches that a search for a text looks at in one go: others get their turn between two of them.
WINDOW = 5000


class LedgerArchive:
    """See ``ports.Archive``. It has a connection and a thread of its own."""

    def __init__(self, browser: "Browser", commits: Commits) -> None:
        self._browser, self._thread = browser, OneThread("browse")
        self._commits = commits
        self._draw = random.SystemRandom()

    async def close(self) -> None:
        """Close the connection and end the thread."""
        await self._thread.run(self._browser.close)
        self._thread.close()

    async def page(
        self, where: Filter, before: int | None, limit: int
    ) -> tuple[list[Row], int | None]:
        """See ``ports.Archive``."""
        found: list[tuple[int, Row]] = []
        last = await self._last() if before is None else before - 1
        for low, high in _downwards(where, last):
            wanted = limit + 1 - len(found)
            found += await self._look(methodcaller("lines", where, low, high, wanted))
            if len(found) > limit:
                break
        lines = [line for _, line in found[:limit]]
        return lines, found[limit - 1][0] if len(found) > limit else None

    async def count(self, where: Filter) -> int:
        """See ``ports.Archive``."""
        return sum(await self._all(where, "count", where))

    async def past_retention(self) -> int:
        """See ``ports.Archive``."""
        return await self._look(methodcaller("past_retention"))

    async def histogram(self, of: Measure, where: Filter) -> Histogram:
        """See ``ports.Archive``."""
        return filters.summed(await self._all(where, "histogram", of, where))

    async def models(self) -> list[str]:
        """See ``ports.Archive``."""
        return await self._look(methodcaller("models"))

    async def states(
        self, where: Filter, after: int, limit: int
    ) -> tuple[list[Reviewed], int | None]:
        """See ``ports.Archive``."""
        last = await self._last()
        high = min(after + WINDOW, last) if where.text else last
        found = await self._look(methodcaller("states", where, after, high, limit))
        states = [reviewed for _, reviewed in found]
        if len(found) == limit:
            return states, found[-1][0]
        return states, high if high < last else None

    async def review(
        self, review_id: UUID, batch_id: UUID, a: int, b: int, said: Said, note: str, reviewer: str
    ) -> tuple[int, Review]:
        """See ``ports.Archive``."""
        state = await self._look(methodcaller("find", batch_id))
        if state is None:
            raise NotFound(f"there is no batch {batch_id}")
        if state.outcome is None:
            raise InputError(f"batch {batch_id} is still being verified; review it once it is done")
        try:
            review = Review(
                review_id=review_id,
                batch_id=batch_id,
                a=a,
                b=b,
                said=said,
                verdict=reviews.verdict(state.outcome, a, b, said),
                note=note,
                reviewer=reviewer,
                reviewed_at=datetime.now(UTC),
            )
        except ValueError as error:
            raise InputError(str(error)) from None
        seq, kept = await self._commits.commit(methodcaller("review", review))
        if replace(kept, reviewed_at=review.reviewed_at) != review:
            raise KeyReused
        return seq, kept

    async def reviews(self, batch_id: UUID) -> list[tuple[int, Review]]:
        """See ``ports.Archive``."""
        found: list[tuple[int, Review]] | None
        found = await self._look(methodcaller("reviews", batch_id))
        if found is None:
            raise NotFound(f"there is no batch {batch_id}")
        return found

    async def duel(self, where: Filter, seen: Sequence[UUID]) -> Duel | None:
        """See ``ports.Archive``."""
        parts = await self._all(where, "unreviewed", where, seen)
        numbers = [number for part in parts for number in part]
        self._draw.shuffle(numbers)
        for passed, number in enumerate(numbers):
            try:
                reviewed: Reviewed = await self._look(methodcaller("reviewed", number))
            except Unreadable:
                continue
            outcome = reviewed.state.outcome
            if outcome is None or outcome.chosen is None or outcome.rejected is None:
                continue  # its entry says pair, and its record does not
            a, b = self._draw.sample((outcome.chosen, outcome.rejected), 2)
            return Duel(batch=reviewed.state.batch, a=a, b=b, left=len(numbers) - passed)
        return None

    async def verdicts(self, where: Filter) -> Mapping[Verdict | None, int]:
        """See ``ports.Archive``."""
        whole: dict[Verdict | None, int] = {}
        for part in await self._all(where, "verdicts", where):
            for verdict, number in part.items():
                whole[verdict] = whole.get(verdict, 0) + number
        return whole

    async def footprint(self, batch_id: UUID) -> tuple[BatchState, Footprint] | None:
        """See ``ports.Archive``."""
        return await self._look(methodcaller("footprint", batch_id))

    async def named(self, name: str, limit: int) -> tuple[list[UUID], int]:
        """See ``ports.Archive``."""
        return await self._look(methodcaller("named", name, limit))

    # Below.

    async def _last(self) -> int:
        return await self._look(methodcaller("last"))

    async def _look(self, query: Callable[["Browser"], T]) -> T:
        return await self._thread.run(partial(query, self._browser))

    async def _all(self, where: Filter, name: str, *arguments: object) -> list[Any]:
        """What a method of the browser finds in each piece of all batches."""
        return [
            await self._look(methodcaller(name, *arguments, low, high))
            for low, high in _downwards(where, await self._last())
        ]


def _downwards(where: Filter, last: int) -> Iterator[tuple[int, int]]:
    """The batches up to ``last`` in pieces, latest first: in one where no text is searched."""
    size = WINDOW if where.text else last
    while last > 0:
        low = max(last - size, 0)
        yield low, last
        last = low
