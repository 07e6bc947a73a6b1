"""The files that people train on: JSONL that grows by whole lines, and sealed Parquet parts."""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from rlvr_ray.core.rows import Row

#: Line ends to some readers (``str.splitlines``), though not to JSON.
_LINE_ENDS = {"\x85": "\\u0085", "\u2028": "\\u2028", "\u2029": "\\u2029"}

_CONTEXTS = pa.list_(
    pa.struct(
        {
            "content": pa.string(),
            "score": pa.float64(),
            "metadata": pa.struct(
                {
                    "document_id": pa.string(),
                    "source": pa.string(),
                    "chunk_index": pa.int64(),
                    "start": pa.int64(),
                }
            ),
        }
    )
)
_JUDGE = pa.struct(
    dict.fromkeys(("faithfulness", "relevancy", "model", "embedder", "version"), pa.string())
)
_PROVENANCE = pa.struct(
    {
        "event_id": pa.string(),
        "model": pa.string(),
        "seed": pa.int64(),
        "finish_reason": pa.string(),
        "faithfulness": pa.float64(),
        "relevancy": pa.float64(),
        "judge": _JUDGE,
    }
)
_DPO = pa.schema(
    {
        "prompt": pa.string(),
        "chosen": pa.string(),
        "rejected": pa.string(),
        "score_diff": pa.float64(),
        "chosen_score": pa.float64(),
        "rejected_score": pa.float64(),
        "metadata": pa.struct(
            {
                "chosen_temp": pa.float64(),
                "rejected_temp": pa.float64(),
                "created_at": pa.string(),
                "batch_id": pa.string(),
                "correlation_id": pa.string(),
                "question": pa.string(),
                "prompt_version": pa.string(),
                "num_candidates": pa.int64(),
                "chosen_provenance": _PROVENANCE,
                "rejected_provenance": _PROVENANCE,
                "rule": pa.struct(
                    {
                        "min_score_diff": pa.float64(),
                        "min_chosen_score": pa.float64(),
                        "quality_filter": pa.bool_(),
                        "prompt": pa.string(),
                    }
                ),
                "contexts": _CONTEXTS,
            }
        ),
    }
)
_TRAINING = pa.schema(
    {
        "question": pa.string(),
        "answer": pa.string(),
        "contexts": _CONTEXTS,
        "verification": pa.struct(
            {
                "status": pa.string(),
                "reason": pa.string(),
                "faithfulness": pa.float64(),
                "relevancy": pa.float64(),
                "score": pa.float64(),
                "confidence": pa.string(),
                "judge": _JUDGE,
                "statements": pa.list_(
                    pa.struct({"text": pa.string(), "verdict": pa.float64(), "reason": pa.string()})
                ),
                "reverse_questions": pa.list_(pa.string()),
            }
        ),
        "metadata": pa.struct(
            {
                "event_id": pa.string(),
                "batch_id": pa.string(),
                "correlation_id": pa.string(),
                "candidate_index": pa.int64(),
                "num_candidates": pa.int64(),
                "temperature": pa.float64(),
                "seed": pa.int64(),
                "model": pa.string(),
                "finish_reason": pa.string(),
                "prompt_version": pa.string(),
                "generated_at": pa.string(),
                "created_at": pa.string(),
                "outcome": pa.string(),
                "prompt_tokens": pa.int64(),
                "completion_tokens": pa.int64(),
                "cached_tokens": pa.int64(),
            }
        ),
    }
)
#: Dataset name (also its folder) → the type of its rows.
SCHEMAS = {"dpo_data": _DPO, "training_data": _TRAINING}


class Dataset:
    """Files under one folder. Blocking; paths are relative to the folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def jsonl_path(self, dataset: str, month: str) -> str:
        """``month`` is YYYYMM."""
        return f"{dataset}/{dataset}_{month}.jsonl"

    def part_path(self, dataset: str, month: str, first_seq: int, last_seq: int) -> str:
        """Named by the outcomes that it covers, so that names sort and never clash."""
        return f"{dataset}/parquet/{dataset}_{month}_{first_seq:012d}-{last_seq:012d}.parquet"

    def append(self, path: str, rows: Sequence[Row], offset: int) -> int:
        """Write rows at ``offset``, cutting what lies behind it; return the new, durable length."""
        data = b"".join(_line(row) for row in rows)
        file = self._folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            os.ftruncate(descriptor, offset)
            os.lseek(descriptor, offset, os.SEEK_SET)
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if offset == 0:
            _fsync_folder(file.parent)
        return offset + len(data)

    def cut(self, path: str, length: int) -> bool:
        """Cut a torn tail; False where the file is missing or shorter than it should be."""
        file = self._folder / path
        if not file.is_file() or file.stat().st_size < length:
            return False
        if file.stat().st_size > length:
            os.truncate(file, length)
        return True

    def holds(self, path: str) -> bool:
        """Whether a file lies there."""
        return (self._folder / path).is_file()

    def write_part(self, dataset: str, path: str, rows: Sequence[Row]) -> str:
        """Make a Parquet part appear whole, and return its SHA-256."""
        file = self._folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_suffix(".tmp")
        table = pa.Table.from_pylist(list(rows), schema=SCHEMAS[dataset])
        pq.write_table(table, temporary, compression="zstd")
        with temporary.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            os.fsync(stream.fileno())
        temporary.rename(file)
        _fsync_folder(file.parent)
        return digest


def _line(row: Row) -> bytes:
    text = json.dumps(row, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for end, escape in _LINE_ENDS.items():
        text = text.replace(end, escape)
    return text.encode() + b"\n"


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
