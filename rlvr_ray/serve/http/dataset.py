"""The routes that search batches and download their rows."""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse

from rlvr_ray.client.models.dataset import Histogram, ModelNames, Page
from rlvr_ray.core.errors import InputError
from rlvr_ray.dataset import filters, reviews, rows
from rlvr_ray.dataset.filters import Filter, Measure
from rlvr_ray.dataset.queries import Queries
from rlvr_ray.dataset.rows import Row
from rlvr_ray.dataset.state import Reviewed
from rlvr_ray.serve.http import downloads, replies
from rlvr_ray.serve.http.filters import Where
from rlvr_ray.serve.http.services import Services

#: Batches of one call to the archive while rows are downloaded: some 400 kB.
STEP = 64
_CURSOR = re.compile(r"([0-9]{1,15})-([0-9]{1,15})")
MEDIA = {"jsonl": "application/jsonl", "parquet": "application/vnd.apache.parquet"}
FILE: dict[int | str, dict[str, Any]] = {200: {"content": {kind: {} for kind in MEDIA.values()}}}
File = Annotated[downloads.Format, Query(alias="format")]


def routes(services: Services) -> APIRouter:
    """Lists, histograms, downloads."""
    router = APIRouter(tags=["dataset"])
    archive = services.archive

    @router.get("/batches", response_model=Page)
    async def list_batches(
        where: Where,
        after: Annotated[str | None, Query(description="`next` of the previous page.")] = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
    ) -> Response:
        """Batches that match the filters, latest first.

        `total` is counted with the first page. Those past retention are not among them:
        `past_retention` says how many are in the files only.
        """
        before, total = _place(after)
        lines, follows = await archive.page(where, before, limit)
        if total is None:
            total = len(lines) if follows is None else await archive.count(where)
        page = {
            "batches": lines,
            "next": None if follows is None else f"{follows}-{total}",
            "total": total,
            "past_retention": await archive.past_retention(),
        }
        return replies.sent(page)

    @router.get("/batches/histogram")
    async def get_histogram(where: Where, of: Measure = "score_diff") -> Histogram:
        """A histogram of a score or of the margin, over the batches that match the filters."""
        found = await archive.histogram(of, where)
        return Histogram(
            of=of,
            step=1 / filters.BINS,
            counts=found.counts,
            total=found.total,
            missing=found.missing,
        )

    @router.get("/models")
    async def list_models() -> ModelNames:
        """The models that wrote answers of decided batches."""
        return ModelNames(models=tuple(await archive.models()))

    @router.get("/pairs", response_class=StreamingResponse, responses=FILE)
    async def download_pairs(
        where: Where,
        file_format: File = "jsonl",
        human: Annotated[bool, Query(description="Apply the reviews: see /reviews.")] = False,
    ) -> StreamingResponse:
        """Pairs that match the filters, as rows of `dpo_data`, in the order of their questions."""

        def of(reviewed: Reviewed) -> list[Row]:
            state = reviewed.state
            if state.outcome is None or state.outcome.reason is not None:
                return []
            row = rows.dpo(state.batch, state.outcome, state.results)
            kept = reviews.reviewed_row(row, reviewed.verdict if human else None)
            return [] if kept is None else [kept]

        wanted = replace(where, outcomes=_only(where, [filters.PAIR]))
        return await _download(archive, wanted, "dpo_data", "pairs", file_format, of)

    @router.get("/answers", response_class=StreamingResponse, responses=FILE)
    async def download_answers(where: Where, file_format: File = "jsonl") -> StreamingResponse:
        """The answers of decided batches that match the filters, as rows of `training_data`."""

        def of(reviewed: Reviewed) -> Sequence[Row]:
            state = reviewed.state
            if state.outcome is None:
                return []
            return rows.of_batch(state.batch, state.results, state.outcome)["training_data"]

        decided = [filters.PAIR, *filters.reasons([filters.NO_PAIR])]
        wanted = replace(where, outcomes=_only(where, decided))
        return await _download(archive, wanted, "training_data", "answers", file_format, of)

    return router


def _place(after: str | None) -> tuple[int | None, int | None]:
    """Where a page begins, and the number of all batches that was counted for the first one."""
    if not after:
        return None, None
    found = _CURSOR.fullmatch(after)
    if found is None:
        raise InputError("after: give `next` of the page before, or leave it out")
    return int(found[1]), int(found[2])


def _only(where: Filter, possible: Sequence[str]) -> tuple[str, ...]:
    """Those of the possible outcomes that are asked for; all where none is named."""
    if not where.outcomes:
        return tuple(possible)
    return tuple(name for name in filters.reasons(where.outcomes) if name in possible)


async def _download(
    archive: Queries,
    where: Filter,
    dataset: str,
    name: str,
    file_format: downloads.Format,
    of: Callable[[Reviewed], Sequence[Row]],
) -> StreamingResponse:
    pages = _pages(archive, where, of)
    # What fails at once is a problem in the reply, not a file that breaks off.
    first = await anext(pages)
    file = f"{name}.{file_format}"
    return StreamingResponse(
        _sent(dataset, file_format, first, pages),
        media_type=MEDIA[file_format],
        headers={"Content-Disposition": f'attachment; filename="{file}"'},
    )


async def _sent(
    dataset: str,
    file_format: downloads.Format,
    first: Sequence[Row],
    rest: AsyncGenerator[Sequence[Row]],
) -> AsyncIterator[bytes]:
    """The file; whoever stops reading it stops the search."""

    async def pages() -> AsyncIterator[Sequence[Row]]:
        yield first
        async for page in rest:
            yield page

    async with aclosing(rest), aclosing(downloads.stream(dataset, file_format, pages())) as file:
        async for data in file:
            yield data


async def _pages(
    archive: Queries, where: Filter, of: Callable[[Reviewed], Sequence[Row]]
) -> AsyncGenerator[Sequence[Row]]:
    """The rows that fit, some at a time; the first page may be empty."""
    place: int | None = 0
    while place is not None:
        found: list[Reviewed] = []
        if where.outcomes:
            found, place = await archive.states(where, place, STEP)
        else:
            place = None
        yield [row for reviewed in found for row in of(reviewed)]
