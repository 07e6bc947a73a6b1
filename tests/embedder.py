"""The embedder, loaded once for a whole run: each one takes a hundred megabytes."""

from functools import cache

from rlvr_ray.documents.minilm import MiniLM


@cache
def minilm() -> MiniLM:
    """The same one each time."""
    return MiniLM()
