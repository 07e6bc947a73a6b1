"""A cache of embeddings: a text that is compared with many others is embedded once."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future

import numpy as np

from rlvr_ray.documents.embedder import Embedder, Vectors

#: Texts whose vectors are kept; 6 MiB with 384 dimensions.
KEPT = 4096


class KeptVectors:
    """An Embedder before another one; the last ``size`` texts are not embedded again.

    Nor are those that another thread is at: who wants the same texts shares the work.
    """

    def __init__(self, embedder: Embedder, size: int = KEPT) -> None:
        self.name, self.dimensions = embedder.name, embedder.dimensions
        self._embedder = embedder
        self._size = size
        self._kept: OrderedDict[str, Future[Vectors]] = OrderedDict()
        self._lock = threading.Lock()

    def embed(self, texts: Sequence[str]) -> Vectors:
        if not texts:
            return self._embedder.embed([])
        found = {text: self._one(text) for text in dict.fromkeys(texts)}
        vectors = {text: future.result() for text, future in found.items()}
        return np.stack([vectors[text] for text in texts])

    def _one(self, text: str) -> "Future[Vectors]":
        """The vector of a text, made here unless it is kept or somebody is at it."""
        with self._lock:
            found = self._kept.get(text)
            ours = found or Future()
            self._kept[text] = ours
            self._kept.move_to_end(text)
            while len(self._kept) > self._size:
                self._kept.popitem(last=False)
        if found is not None:
            return found
        try:
            ours.set_result(self._embedder.embed([text])[0])
        except BaseException as error:
            with self._lock:
                if self._kept.get(text) is ours:
                    del self._kept[text]
            ours.set_exception(error)
        return ours
