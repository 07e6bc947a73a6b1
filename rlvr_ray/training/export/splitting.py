"""Train and eval: rows that share a document, passage or question go to the same side."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Which rows are for evaluation, in the order in which they were added."""

    in_eval: tuple[bool, ...]
    groups: int  #: sets of rows that share nothing with each other
    largest: int  #: rows of the largest one


class Groups:
    """Rows that hang together: by a key in common, or through rows in between."""

    def __init__(self) -> None:
        from networkx.utils import UnionFind

        self._groups: Any = UnionFind()
        self._rows: list[str] = []  # one key of each row

    def add(self, keys: Sequence[str]) -> None:
        """Add a row; it must have at least one key."""
        self._groups.union(*keys)
        self._rows.append(keys[0])

    def split(self, share: float) -> Split:
        """Put whole groups into eval, in an order that hashes give, as long as they fit.

        ``share`` is the part of the rows, from 0 up to but not including 1, that eval must not
        exceed; but one row is always allowed, if another is left. The order in which rows were
        added changes nothing.
        """
        names: dict[str, str] = {}  # of each group: its least key
        for key in self._groups:
            root = self._groups[key]
            names[root] = min(key, names.get(root, key))
        sizes = Counter(self._groups[key] for key in self._rows)
        total = len(self._rows)
        room = 0 if share == 0 else min(max(1, int(share * total)), total - 1)
        chosen: set[str] = set()
        for root in sorted(sizes, key=lambda root: sha256(names[root].encode()).digest()):
            if sizes[root] <= room:
                room -= sizes[root]
                chosen.add(root)
        return Split(
            in_eval=tuple(self._groups[key] in chosen for key in self._rows),
            groups=len(sizes),
            largest=max(sizes.values(), default=0),
        )
