"""Vectors that are kept: what is compared with many texts is embedded once."""

import threading
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from rlvr_ray.ports import Embedder, Vectors

#: Texts whose vectors are kept; 6 MiB with 384 dimensions.
KEPT = 4096


class KeptVectors:
    """An Embedder before another one; the last ``size`` texts are not embedded again."""

    def __init__(self, embedder: Embedder, size: int = KEPT) -> None:
        self.name, self.dimensions = embedder.name, embedder.dimensions
        self._embedder = embedder
        self._size = size
        self._kept: OrderedDict[str, Vectors] = OrderedDict()
        self._lock = threading.Lock()

    def embed(self, texts: Sequence[str]) -> Vectors:
        """See ``ports.Embedder``."""
        with self._lock:
            found = {text: self._kept[text] for text in texts if text in self._kept}
        missing = [text for text in dict.fromkeys(texts) if text not in found]
        if missing:
            found |= dict(zip(missing, self._embedder.embed(missing), strict=True))
        with self._lock:
            for text in dict.fromkeys(texts):
                self._kept[text] = found[text]
                self._kept.move_to_end(text)
            while len(self._kept) > self._size:
                self._kept.popitem(last=False)
        return np.stack([found[text] for text in texts]) if texts else self._embedder.embed([])
