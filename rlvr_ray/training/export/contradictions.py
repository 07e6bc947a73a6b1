"""Pairs that contradict each other: for one question, one pair prefers A to B and another B to A.

One of them is wrong, and it is unknown which. Spellings of a question or of an answer count as one.
The same holds if A is preferred to B, B to C, and C to A.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable
from hashlib import blake2b
from typing import NamedTuple

from rlvr_ray.core.spelling import canonical, canonical_question

#: The better and the worse answer.
Preference = tuple[bytes, bytes]


class Contradictions(NamedTuple):
    """Which pairs others of the same question contradict."""

    preferences: frozenset[tuple[bytes, Preference]]
    batches: frozenset[str]  #: whose pairs those are

    def has(self, question: str, chosen: str, rejected: str) -> bool:
        """Whether this pair is contradicted."""
        return bool(self.preferences) and _keys(question, chosen, rejected) in self.preferences


class Preferences:
    """What pairs say of the answers to each question: some hundred bytes a pair."""

    def __init__(self) -> None:
        self._batches: defaultdict[bytes, dict[Preference, list[str]]] = defaultdict(dict)

    def add(self, batch_id: str, question: str, chosen: str, rejected: str) -> None:
        """Add a pair; both answers must differ in more than spelling."""
        asked, preference = _keys(question, chosen, rejected)
        self._batches[asked].setdefault(preference, []).append(batch_id)

    def contradictions(self) -> Contradictions:
        """Of all that was added, in whatever order."""
        found = {
            (asked, preference): batches
            for asked, preferences in self._batches.items()
            for preference in _in_cycles(preferences)
            for batches in [preferences[preference]]
        }
        return Contradictions(frozenset(found), frozenset().union(*found.values()))


def _keys(question: str, chosen: str, rejected: str) -> tuple[bytes, Preference]:
    return _hash(canonical_question(question)), (
        _hash(canonical(chosen)),
        _hash(canonical(rejected)),
    )


def _hash(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=16).digest()


def _in_cycles(preferences: Collection[Preference]) -> Iterable[Preference]:
    """The preferences on a cycle: both answers are in one strongly connected component."""
    if len(preferences) < 2:
        return ()
    import networkx

    component = {
        answer: number
        for number, answers in enumerate(
            networkx.strongly_connected_components(networkx.DiGraph(list(preferences)))
        )
        for answer in answers
    }
    return (pair for pair in preferences if component[pair[0]] == component[pair[1]])
