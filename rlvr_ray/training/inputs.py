"""The inputs of a training: packages, model, export."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, Field, ValidationError

from rlvr_ray.core.errors import ConfigError, InputError
from rlvr_ray.training.dpo import Messages, with_passages

PACKAGES = ("rlvr-ray", "trl", "peft", "transformers", "torch", "datasets", "ray")


class _Message(BaseModel):
    role: Any
    content: str


_Messages = Annotated[list[_Message], Field(min_length=1)]


class _Row(BaseModel):
    prompt: _Messages
    chosen: _Messages
    rejected: _Messages


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitFile:
    """A file of an export."""

    path: Path
    rows: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """A folder that ``rlvr export --format trl`` wrote."""

    folder: Path
    train: SplitFile
    eval: SplitFile
    prompt: str  #: ``question`` or ``rag-messages``
    #: Of eval, each prompt once, in order, with the id of the batch it came from.
    held_out: tuple[tuple[str | None, Messages], ...]


def check_installed() -> None:
    """Raise ConfigError unless this installation can train."""
    missing = [name for name in ("torch", "trl", "peft") if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"{', '.join(missing)} not installed: in the folder of rlvr_ray, "
            "pip install -e '.[train]'"
        )


def check_model(name: str) -> None:
    """Raise ConfigError for a path where there is no model; a name on the hub is not looked up."""
    path = Path(name)
    if name.endswith(".gguf"):
        if not path.is_file():
            raise ConfigError(f"--model: there is no file {name}")
    elif path.is_dir():
        if not (path / "config.json").is_file():
            raise ConfigError(f"--model: {name} has no config.json, so it holds no model")
    elif path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise ConfigError(f"--model: there is no folder {name}")


def versions() -> dict[str, str]:
    """Of the packages that a training depends on."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = ""
    return found


def read_export(folder: Path) -> Export:
    """Read all rows once; raises InputError where a trainer would fail or be misled later."""
    if not folder.is_dir():
        raise InputError(
            f"there is no folder {folder}: make one with rlvr export --format trl --out {folder}"
        )
    files = {split: _file(folder, split) for split in ("train", "eval")}
    found: dict[str, SplitFile] = {}
    styles: set[bool] = set()
    held_out: dict[str, tuple[str | None, Messages]] = {}
    for split, path in files.items():
        count = 0
        for place, row in _rows(path):
            _check(place, row)
            count += 1
            styles.add(with_passages(row["prompt"]))
            if split == "eval":
                key = json.dumps(row["prompt"], sort_keys=True)
                held_out.setdefault(key, (row.get("batch_id"), row["prompt"]))
        if not count:
            raise InputError(f"{path} has no rows: export more pairs")
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        found[split] = SplitFile(path=path, rows=count, sha256=digest)
    if len(styles) > 1:
        raise InputError(f"{folder} has prompts with passages and without: export it again")
    return Export(
        folder=folder,
        train=found["train"],
        eval=found["eval"],
        prompt="rag-messages" if styles.pop() else "question",
        held_out=tuple(held_out.values()),
    )


def _file(folder: Path, split: str) -> Path:
    for suffix in ("jsonl", "parquet"):
        if (path := folder / f"{split}.{suffix}").is_file():
            return path
    if split == "train":
        raise InputError(f"{folder} has no train.jsonl or train.parquet: rlvr export writes one")
    raise InputError(
        f"{folder} has no eval file, so nothing could be measured: export with --eval 0.1, and if "
        "that finds nothing to hold out, with --split-by question or from more documents"
    )


def _rows(path: Path) -> Iterator[tuple[str, Any]]:
    """Rows, each with its place."""
    try:
        if path.suffix == ".parquet":
            number = 0
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(1000):
                    for row in batch.to_pylist():
                        number += 1
                        yield f"{path}, row {number}", row
            return
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                yield f"{path}:{number}", json.loads(line)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    except ValueError as error:
        raise InputError(f"{path} is not JSONL: {error}") from None


def _check(place: str, row: Any) -> None:
    try:
        _Row.model_validate(row)
    except ValidationError:
        has = ", ".join(row) if isinstance(row, dict) else type(row).__name__
        raise InputError(
            f"{place} is not in the format trl, whose prompt, chosen and rejected are lists of "
            f"messages (it has: {has}): export with --format trl"
        ) from None
