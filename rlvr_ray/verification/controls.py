"""Controls: statements with a known verdict, which show whether a judge can be trusted.

The judge gets them in the same form and the same call as the statements of the answers. A judge
that gets them clearly wrong was manipulated, or cannot read these contexts, and is not used for
them.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from rlvr_ray.core import sanitising
from rlvr_ray.core.statements import split_statements, unglued

#: Clearly wrong: a sentence of the contexts below the one, what they do not say above the other. A
#: judge that says 0.5 of both knows nothing, and says so.
LEAST, MOST = 0.3, 0.7

# Plain sentences of middle length can be judged by themselves.
_SHORTEST, _LONGEST = 20, 200
_PLAIN = re.compile(r"[^\W\d_][^?:;|{}\[\]<>\"\u201c\u201d\u00ab\u00bb]*[.\u3002\u0964]")
_DENSE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")  #: says more in fewer characters
_DENSITY = 3
# What makes it unclear whether a sentence with another number, or with a "not", is false.
_OPEN = re.compile(
    r"\b(?:if|unless|may|might|could|would|or|some|most|few|only|no|not|never|none|neither|nor"
    r"|without)\b|n['\u2019]t\b",
    re.IGNORECASE,
)
_BOUND = re.compile(
    r"\b(?:more|less|fewer|over|under|least|up|about|around|nearly|almost|approximately|between"
    r"|since|until|before|after|from|to|each|every|per)\b|[~<>\u2264\u2265]",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"(?<![\w.,\u2212-])\d{1,4}(?![\w.,%\u00b0-]*\d|\w)")
_VERB = re.compile(r"\b(?:is|are|was|were|will|can|must|should)\b")
#: What no contexts say: for those that hold no sentence with a number or a verb to deny.
FOREIGN = (
    "Blue whales build their nests in the birch trees of Mongolia.",
    "The moon was painted green by two plumbers from Lisbon.",
    "Every violin sleeps under snow for eleven winters.",
)
# Characters of a context that are quoted where it holds no plain sentence.
_PIECE = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Controls:
    """What the contexts say, and what they surely do not."""

    supported: str
    unsupported: str

    def objection(self, supported: float, unsupported: float) -> str | None:
        """Why a judge with these verdicts on them is not believed; None where it may be."""
        if supported < LEAST:
            return (
                f"the judge is not believed here: it calls unsupported ({supported:.2f}) what the "
                f"contexts say: {self.supported[:100]}"
            )
        if unsupported > MOST:
            return (
                f"the judge is not believed here: it calls supported ({unsupported:.2f}) what the "
                f"contexts do not say: {self.unsupported[:100]}"
            )
        return None


def controls(seed: str, contexts: Sequence[str], answers: Sequence[str]) -> Controls | None:
    """Controls of these contexts; None where they hold nothing to quote.

    ``seed``, in hexadecimal, chooses among sentences. What an answer says as well is no control:
    its verdict is what is asked for.
    """
    given = [_letters(answer) for answer in answers]

    def free(text: str) -> bool:
        return not any(_letters(text) in answer for answer in given)

    plain = [text for context in contexts for text in _plain(context) if free(text)]
    start = int(seed, 16) % len(plain) if plain else 0
    plain = plain[start:] + plain[:start]
    supported = plain[0] if plain else _quote(contexts)
    if supported is None:
        return None
    whole = " ".join(contexts)
    wrong = (text for one in plain if (text := _falsified(one, whole)) and free(text))
    unsupported = next(wrong, FOREIGN[int(seed, 16) % len(FOREIGN)])
    return Controls(supported=supported, unsupported=unsupported)


@lru_cache(maxsize=sanitising.KEPT)
def _plain(passage: str) -> tuple[str, ...]:
    return tuple(
        text
        for text in split_statements(unglued(passage))
        if _PLAIN.fullmatch(text)
        and _SHORTEST <= len(text) * (_DENSITY if _DENSE.search(text) else 1) <= _LONGEST
    )


def _quote(contexts: Sequence[str]) -> str | None:
    """That a context holds a piece of itself."""
    for line in (line.strip() for context in contexts for line in context.splitlines()):
        if any(map(str.isalnum, line)):
            return f'The context contains the text "{line[:_PIECE].strip()}".'
    return None


def _falsified(text: str, contexts: str) -> str | None:
    """The sentence with another number, or denied; None where it might still be true."""
    if _OPEN.search(text):
        return None
    number = _NUMBER.search(text)
    if number and not _BOUND.search(text):
        value = int(number.group())
        while str(value) in contexts:
            value += max(17, value // 7)
        return text[: number.start()] + str(value) + text[number.end() :]
    verb = _VERB.search(text)
    return f"{text[: verb.end()]} not{text[verb.end() :]}" if verb else None


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text.casefold()))
