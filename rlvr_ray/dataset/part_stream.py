"""A Parquet file for a download: it is made in memory and sent while it grows."""

import io
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rlvr_ray.dataset.arrow import SCHEMAS, table
from rlvr_ray.dataset.rows import Row


class PartStream:
    """A Parquet part that is made in memory, row group by row group, and taken away as it grows."""

    def __init__(self, dataset: str, row_group: int) -> None:
        self._dataset, self._row_group = dataset, row_group
        self._made = io.BytesIO()
        self._sink = pa.PythonFile(_Growing(self._made), mode="w")
        self._writer = pq.ParquetWriter(self._sink, SCHEMAS[dataset], compression="zstd")
        self._waiting = table(dataset, ())

    def add(self, rows: Sequence[Row]) -> bytes:
        """Take rows, and write row groups that are full; return what the file grew by."""
        # Converted at once: columns are smaller than rows, and none of the collector's business.
        self._waiting = pa.concat_tables([self._waiting, table(self._dataset, rows)])
        while self._waiting.num_rows >= self._row_group:
            self._group(self._row_group)
        return self._taken()

    def end(self) -> bytes:
        """Write what is left and what closes the file; return it. It may have no rows."""
        if self._waiting.num_rows:
            self._group(self._waiting.num_rows)
        self._writer.close()
        return self._taken()

    def _group(self, rows: int) -> None:
        self._writer.write_table(self._waiting.slice(0, rows), row_group_size=rows)
        self._waiting = self._waiting.slice(rows)

    def _taken(self) -> bytes:
        data = self._made.getvalue()
        self._made.seek(0)
        self._made.truncate()
        return data


class _Growing(io.RawIOBase):
    """What the writer takes for a file: it only ever writes at the end."""

    def __init__(self, target: io.BytesIO) -> None:
        self._target = target

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return self._target.write(data)
