"""Structured data as contexts: a JSON document as sentences, and the sentences that it denies."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|_")
# A time whose minutes lost their zero: 11:0.
_TIME = re.compile(r"(?<=\d):(\d)(?!\d)")
_LETTERS = re.compile(r"[\W_]")
# Where a sentence weighs or limits something, whether it affirms is not told by its words.
_QUALIFIED = re.compile(
    r"\b(?:no|not|without|nor|neither|lack\w*|unavailable|none|cannot|never|limited|but|although"
    r"|while|though|however|may|might|if|should|require\w*|unclear|instead|rather)\b|n't",
    re.IGNORECASE,
)
_DENIES = r"(?:\bno|\bwithout|(?:\bnot|n't) (?:have|offer|accept|provide|take)) (?:\w+ ){0,2}"
# Shorter keys occur in other words; keys that more than two entries share name a section.
_SHORTEST, _SHARED = 4, 2
# A longer value is prose: it may speak of what a key says is not there.
_PROSE = 20
_NOTHING = ("no", "none")


@dataclass(frozen=True, slots=True)
class Entry:
    """A leaf of a JSON document: the words of the keys that lead to it, and its value."""

    path: tuple[str, ...]
    value: str | int | float | bool | None

    @property
    def absent(self) -> bool:
        """Whether it says that something is not there, or not known to be."""
        return not self.value or str(self.value).casefold() in _NOTHING

    @property
    def present(self) -> bool:
        """Whether it says no more than that something is there."""
        return self.value is True or str(self.value).casefold() in ("yes", "free")


@lru_cache(maxsize=1024)
def entries(context: str) -> tuple[Entry, ...]:
    """The leaves of a JSON object; none where the context is something else."""
    if not context.lstrip().startswith("{"):
        return ()
    try:
        return tuple(_leaves(json.loads(context), ()))
    except (ValueError, RecursionError):
        return ()


def _leaves(value: Any, path: tuple[str, ...]) -> Iterator[Entry]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, (*path, _CAMEL.sub(" ", key)))
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner, path)
    else:
        yield Entry(path, value)


def prose(context: str) -> str:
    """A context as text to read: a JSON document as one line an entry."""
    found = entries(context)
    return "\n".join(map(_line, found)) if found else context


def _line(entry: Entry) -> str:
    name = " ".join(entry.path)
    if isinstance(entry.value, bool) or entry.absent:
        return f"no {name}." if entry.absent else f"{name}."
    value = _TIME.sub(r":0\1", str(entry.value))
    return f"{name}: {value}"


def contradiction(statement: str, contexts: Sequence[str]) -> str | None:
    """The name of an entry that the statement affirms and the data deny, or the reverse; or None.

    The data deny what they hold as false, null, "no" or "none", unless their prose speaks of it.
    """
    found = [entry for context in contexts for entry in entries(context)]
    if not found:
        return None
    letters, qualified = _squeezed(statement), _QUALIFIED.search(statement)
    texts = [e.value for e in found if isinstance(e.value, str) and len(e.value) > _PROSE]
    written = _squeezed(" ".join(texts))
    paths = {entry.path for entry in found}
    shared = Counter(word for path in paths for word in path[-1].casefold().split())
    for entry in found:
        if not (entry.absent or entry.present) or not entry.path:
            continue
        own = [w for w in entry.path[-1].casefold().split() if shared[w] <= _SHARED]
        key = _squeezed("".join(own)).removesuffix("s")
        if len(key) < _SHORTEST or key not in letters or not _about(entry, letters):
            continue
        if entry.absent and not qualified and key not in written:
            return entry.path[-1]
        if entry.present and re.search(_DENIES + re.escape(own[0][:4]), statement, re.IGNORECASE):
            return entry.path[-1]
    return None


def _about(entry: Entry, letters: str) -> bool:
    """Whether the statement speaks of the section that a nested entry stands in."""
    if len(entry.path) < 3:
        return True
    section = _squeezed(entry.path[-2].split()[-1])
    return section in letters or section in ("ambience", "attributes")


def _squeezed(text: str) -> str:
    return _LETTERS.sub("", text.casefold())
