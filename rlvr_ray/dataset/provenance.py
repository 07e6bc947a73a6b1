"""The events and rows of a batch, beside its records."""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from rlvr_ray.dataset.reviews import Review


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRows:
    """Where the rows of a batch are in a dataset: ``rows`` lines of the JSONL file from ``line``
    on, counted from 1, and the same rows in a Parquet part."""

    dataset: str
    path: str  #: under the data folder
    line: int
    rows: int
    written: bool  #: the lines are there; else they are about to be
    part: str | None  #: None where none holds them yet
    sealed: bool  #: the part is there and whole


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchProvenance:
    """What a batch left beside its records."""

    numbers: Mapping[UUID, int]  #: of its events, in the order of all commits
    mirrored: int  #: the last event that the broker has confirmed
    files: tuple[FileRows, ...]
    reviews: tuple[Review, ...] = ()  #: in the order in which they came
