"""Searching the ledger independently of the writer: a slow search delays only other searches.

A query goes from an HTTP route over Ray (``serve.handles``) to a method of ``Queries`` in the
aggregator's process, and from there to ``Browser``, which has the SQL.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Concatenate, ParamSpec, TypeVar
from uuid import UUID

from rlvr_ray.core.concurrency import OneThread
from rlvr_ray.core.errors import InputError, KeyReused, NotFound, Unreadable
from rlvr_ray.dataset import filters, reviews
from rlvr_ray.dataset.filters import Filter, Histogram, Measure
from rlvr_ray.dataset.group_commit import Commits
from rlvr_ray.dataset.ledger import Browser
from rlvr_ray.dataset.provenance import BatchProvenance
from rlvr_ray.dataset.reviews import Review, ReviewChoice, Verdict
from rlvr_ray.dataset.rows import Row
from rlvr_ray.dataset.state import BatchState, OpenPair, Reviewed

T = TypeVar("T")
P = ParamSpec("P")

#: Batches that a search for a text reads in one go: others get their turn between two of them.
WINDOW = 5000


class Queries:
    """What the ledger holds, by filter. Batches past retention are in the files only.

    It has a connection and a thread of its own. ``before`` and ``after`` are places in the order of
    recording, as these methods return them.
    """

    def __init__(self, browser: Browser, commits: Commits) -> None:
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
        """What a list shows of batches, latest first: see ``filters.line``.

        Also where the next page begins; None where there is none.
        """
        found: list[tuple[int, Row]] = []
        last = await self._run(Browser.last) if before is None else before - 1
        for low, high in _downwards(where, last):
            wanted = limit + 1 - len(found)
            found += await self._run(Browser.lines, where, low, high, wanted)
            if len(found) > limit:
                break
        lines = [line for _, line in found[:limit]]
        return lines, found[limit - 1][0] if len(found) > limit else None

    async def count(self, where: Filter) -> int:
        """How many batches fit."""
        return sum(await self._in_pieces(where, lambda it, low, high: it.count(where, low, high)))

    async def past_retention(self) -> int:
        """How many decided batches are in the files only."""
        return await self._run(Browser.past_retention)

    async def histogram(self, of: Measure, where: Filter) -> Histogram:
        """Of the batches that fit."""
        return filters.summed(
            await self._in_pieces(where, lambda it, low, high: it.histogram(of, where, low, high))
        )

    async def models(self) -> list[str]:
        """Those that wrote answers of decided batches, by name."""
        return await self._run(Browser.models)

    async def states(
        self, where: Filter, after: int, limit: int
    ) -> tuple[list[Reviewed], int | None]:
        """Batches as they are known, earliest first from place 0 on; and the next place, or None.

        There may be fewer than ``limit``, or none, and more at the next place.
        """
        last = await self._run(Browser.last)
        high = min(after + WINDOW, last) if where.text else last
        found = await self._run(Browser.states, where, after, high, limit)
        states = [reviewed for _, reviewed in found]
        if len(found) == limit:
            return states, found[-1][0]
        return states, high if high < last else None

    async def review(
        self,
        review_id: UUID,
        batch_id: UUID,
        a: int,
        b: int,
        said: ReviewChoice,
        note: str,
        reviewer: str,
    ) -> tuple[int, Review]:
        """Keep what somebody says of a pair, and return it with its sequence number.

        The same again under the same id changes nothing. Raises NotFound, KeyReused where the id
        is another review's, or InputError where a and b are not the pair's candidates.
        """
        state = await self._run(Browser.find, batch_id)
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
        seq, kept = await self._commits.commit(lambda ledger: ledger.review(review))
        if replace(kept, reviewed_at=review.reviewed_at) != review:
            raise KeyReused
        return seq, kept

    async def reviews(self, batch_id: UUID) -> list[tuple[int, Review]]:
        """All of a batch in the order in which they came; raises NotFound where it is unknown."""
        found = await self._run(Browser.reviews, batch_id)
        if found is None:
            raise NotFound(f"there is no batch {batch_id}")
        return found

    async def next_pair(self, where: Filter, seen: Sequence[UUID]) -> OpenPair | None:
        """One of the pairs that fit and that nobody has judged, at random; None if none is left.

        Those of the batches ``seen`` are left out.
        """
        pieces = await self._in_pieces(
            where, lambda it, low, high: it.unreviewed(where, seen, low, high)
        )
        numbers = [number for piece in pieces for number in piece]
        self._draw.shuffle(numbers)
        for passed, number in enumerate(numbers):
            try:
                reviewed = await self._run(Browser.reviewed, number)
            except Unreadable:
                continue
            outcome = reviewed.state.outcome
            if outcome is None or outcome.chosen is None or outcome.rejected is None:
                continue  # its entry says pair, and its record does not
            a, b = self._draw.sample((outcome.chosen, outcome.rejected), 2)
            return OpenPair(batch=reviewed.state.batch, a=a, b=b, left=len(numbers) - passed)
        return None

    async def verdicts(self, where: Filter) -> Mapping[Verdict | None, int]:
        """Pairs that fit by their latest review; None is for those without one."""
        whole: Counter[Verdict | None] = Counter()
        for piece in await self._in_pieces(
            where, lambda it, low, high: it.verdicts(where, low, high)
        ):
            whole.update(piece)
        return whole

    async def provenance(self, batch_id: UUID) -> tuple[BatchState, BatchProvenance] | None:
        """A batch with what it left beside its records; None where it is unknown.

        Raises NotFound where it is past retention.
        """
        return await self._run(Browser.provenance, batch_id)

    async def named(self, name: str, limit: int) -> tuple[list[UUID], int]:
        """The batches that an id means, latest first, and how many there are beyond the limit.

        It may be a batch's, an event's, or a correlation id; nothing is found where it is none.
        """
        return await self._run(Browser.named, name, limit)

    async def _run(
        self,
        query: Callable[Concatenate[Browser, P], T],
        *arguments: P.args,
        **named: P.kwargs,
    ) -> T:
        return await self._thread.run(partial(query, self._browser, *arguments, **named))

    async def _in_pieces(self, where: Filter, query: Callable[[Browser, int, int], T]) -> list[T]:
        """What a query finds in each piece of all batches."""
        last = await self._run(Browser.last)
        return [await self._run(query, low, high) for low, high in _downwards(where, last)]


def _downwards(where: Filter, last: int) -> Iterator[tuple[int, int]]:
    """The batches up to ``last`` in pieces, latest first: in one where no text is searched."""
    size = WINDOW if where.text else last
    while last > 0:
        low = max(last - size, 0)
        yield low, last
        last = low
