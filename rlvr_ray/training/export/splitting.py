"""Train and eval: rows that share a document, passage or question go to the same side."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Which rows are for evaluation, in the order in which they were added."""

    in_eval: tuple[bool, ...]
    groups: int  #: sets of rows that share nothing with each other
    largest: int  #: rows of the largest one


class Groups:
    """Rows that hang together: by a key in common, or through rows in between."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._parents: list[int] = []
        self._rows: list[int] = []  # one key of each row

    def add(self, keys: Iterable[str]) -> None:
        """Add a row; it must have at least one key."""
        first, *others = (self._number(key) for key in keys)
        for other in others:
            self._parents[self._root(other)] = self._root(first)
        self._rows.append(first)

    def split(self, share: float) -> Split:
        """Put whole groups into eval, in an order that hashes give, as long as they fit.

        ``share`` is the part of the rows, from 0 up to but not including 1, that eval must not
        exceed; but one row is always allowed, if another is left. The order in which rows were
        added changes nothing.
        """
        names: dict[int, str] = {}
        for key, number in self._numbers.items():
            root = self._root(number)
            names[root] = min(key, names.get(root, key))
        sizes = Counter(map(self._root, self._rows))
        total = len(self._rows)
        room = 0 if share == 0 else min(max(1, int(share * total)), total - 1)
        chosen: set[int] = set()
        for root in sorted(sizes, key=lambda root: sha256(names[root].encode()).digest()):
            if sizes[root] <= room:
                room -= sizes[root]
                chosen.add(root)
        return Split(
            in_eval=tuple(self._root(row) in chosen for row in self._rows),
            groups=len(sizes),
            largest=max(sizes.values(), default=0),
        )

    def _number(self, key: str) -> int:
        number = self._numbers.setdefault(key, len(self._parents))
        if number == len(self._parents):
            self._parents.append(number)
        return number

    def _root(self, number: int) -> int:
        while (parent := self._parents[number]) != number:
            self._parents[number] = number = self._parents[parent]
        return number
