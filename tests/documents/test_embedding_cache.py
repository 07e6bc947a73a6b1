"""Vectors that are kept are those that were made."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from rlvr_ray.documents.embedding_cache import KeptVectors
from tests.fakes import FakeEmbedder
from tests.patience import PATIENCE_S


def test_a_text_is_embedded_once() -> None:
    embedder = FakeEmbedder()
    kept = KeptVectors(embedder)
    first = kept.embed(["one", "two", "one"])
    assert np.array_equal(first, FakeEmbedder().embed(["one", "two", "one"]))
    assert np.array_equal(kept.embed(["two", "three"]), FakeEmbedder().embed(["two", "three"]))
    assert list(embedder.texts) == ["one", "two", "three"]
    assert (kept.name, kept.dimensions) == (embedder.name, embedder.dimensions)
    assert kept.embed([]).shape == embedder.embed([]).shape


def test_the_text_that_was_longest_unused_goes_first() -> None:
    embedder = FakeEmbedder()
    kept = KeptVectors(embedder, size=2)
    kept.embed(["one", "two"])
    kept.embed(["one"])
    kept.embed(["three"])
    kept.embed(["one", "two"])
    assert list(embedder.texts) == ["one", "two", "three", "two"]


def test_threads_that_want_the_same_texts_share_the_work() -> None:
    """One is at the first text until the other has made all the rest."""
    others, started = threading.Event(), threading.Event()

    class Slow(FakeEmbedder):
        def embed(self, texts: Sequence[str]) -> Any:
            if "one" in texts:
                started.set()
                assert others.wait(PATIENCE_S)
            made = super().embed(texts)
            if "three" in texts:
                others.set()
            return made

    embedder = Slow()
    kept = KeptVectors(embedder)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(kept.embed, ["one", "two", "three"])
        assert started.wait(PATIENCE_S)
        second = pool.submit(kept.embed, ["one", "two", "three"])
        assert np.array_equal(first.result(PATIENCE_S), second.result(PATIENCE_S))
    assert sorted(embedder.texts) == ["one", "three", "two"]


def test_what_failed_is_tried_again() -> None:
    class Failing(FakeEmbedder):
        broken = True

        def embed(self, texts: Sequence[str]) -> Any:
            if self.broken:
                raise OSError("no memory")
            return super().embed(texts)

    embedder = Failing()
    kept = KeptVectors(embedder)
    with pytest.raises(OSError, match="no memory"):
        kept.embed(["one"])
    embedder.broken = False
    assert np.array_equal(kept.embed(["one"]), FakeEmbedder().embed(["one"]))
