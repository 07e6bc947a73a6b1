"""The interface of embedders, which turn texts into vectors."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]


class Embedder(Protocol):
    """Unit vectors for texts, so that a dot product is the cosine."""

    @property
    def name(self) -> str:
        """What is recorded as having embedded."""
        ...

    @property
    def dimensions(self) -> int:
        """Length of a vector."""
        ...

    def embed(self, texts: Sequence[str]) -> Vectors:
        """float32 of shape (len(texts), dimensions). Blocking, and safe in several threads."""
        ...


def cosines(embedder: Embedder, rows: Sequence[str], columns: Sequence[str]) -> list[list[float]]:
    """The cosine of each row's text with each column's."""
    matrix: list[list[float]] = (embedder.embed(rows) @ embedder.embed(columns).T).tolist()
    return matrix
