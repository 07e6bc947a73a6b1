"""The passage that supports a statement, for people who check a verdict; scores do not use it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rlvr_ray.core.statements import split_statements
from rlvr_ray.core.text import Sentence, normalise, parse

#: Share of a statement's words that a sentence must have to be shown for it.
_ENOUGH = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """Characters ``start`` to ``end`` of the content of context number ``context``."""

    context: int
    start: int
    end: int


def cite(statements: Sequence[str], contexts: Sequence[str]) -> list[Passage | None]:
    """For each statement the sentence with the most of its words; None where none has enough."""
    places = [
        (Passage(context=number, start=start, end=start + len(text)), parse(normalise(text)))
        for number, content in enumerate(contexts)
        for start, text in _sentences(content)
    ]
    return [_best(parse(normalise(statement)), places) for statement in statements]


def _best(claim: Sentence, places: Sequence[tuple[Passage, Sentence]]) -> Passage | None:
    keys = {token.key for token in claim.tokens}
    if not keys or not places:
        return None
    # Among sentences with as many of the words the shorter one says it more plainly.
    shared, _, at = max(
        (math.fsum(sentence.has(key) for key in keys), -len(sentence.tokens), -number)
        for number, (_, sentence) in enumerate(places)
    )
    return places[-at][0] if shared >= _ENOUGH * len(keys) else None


def _sentences(content: str) -> list[tuple[int, str]]:
    """The sentences of a context and where they start; one that was put together is left out."""
    found: list[tuple[int, str]] = []
    end = 0
    for text in split_statements(content):
        start = content.find(text, end)
        if start >= 0:
            found.append((start, text))
            end = start + len(text)
    return found
