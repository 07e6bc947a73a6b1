"""Vectors that are kept are those that were made."""

import numpy as np

from rlvr_ray.vectors import KeptVectors
from tests.fakes import FakeEmbedder


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
