"""Streaming the rows of a dataset as one file, with few rows in memory."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Literal

from rlvr_ray.dataset.rows import Row

Format = Literal["jsonl", "parquet"]
#: Rows of a Parquet row group.
ROW_GROUP = 2000


async def stream(
    dataset: str, file_format: Format, pages: AsyncIterator[Sequence[Row]]
) -> AsyncGenerator[bytes]:
    """The file's bytes. Its form is that of the dataset's own files."""
    chunks = _parquet(dataset, pages) if file_format == "parquet" else _jsonl(pages)
    async for data in chunks:
        if data:
            yield data


async def _jsonl(pages: AsyncIterator[Sequence[Row]]) -> AsyncGenerator[bytes]:
    from rlvr_ray.dataset.files import Dataset

    async for rows in pages:
        yield await asyncio.to_thread(Dataset.lines, rows)


async def _parquet(dataset: str, pages: AsyncIterator[Sequence[Row]]) -> AsyncGenerator[bytes]:
    from rlvr_ray.dataset.part_stream import PartStream

    part = await asyncio.to_thread(PartStream, dataset, ROW_GROUP)
    async for rows in pages:
        yield await asyncio.to_thread(part.add, rows)
    yield await asyncio.to_thread(part.end)
