"""A statement of an answer, prepared for looking it up in the contexts."""

from dataclasses import dataclass

from rlvr_ray.core.text import SELF, YES_NO_WORDS, Token, normalise, parse, plain, quantities
from rlvr_ray.verification.grounding.index import Index

# What repeats the question says little: what the answer adds is what has to be found.
_ASKED = 0.5
# Up to this many content words a statement is a fragment that only the question completes.
SHORT = 3


@dataclass(frozen=True, slots=True)
class Claim:
    """A statement and its content words."""

    text: str
    tokens: tuple[Token, ...]  #: of a bare "yes" or "no": those of the question
    weights: dict[str, float]  #: of its distinct keys
    around: tuple[str, ...]  #: the other keys of the question
    short: bool  #: whether only the question completes it
    affirms: bool | None  #: what a bare "yes" or "no" says to the question


def claim_of(text: str, index: Index) -> Claim:
    """Read a statement, its quantities in the units that the contexts have."""
    asked = index.question.tokens
    sentence = parse(normalise(_converted(text, index)))
    affirms: bool | None = None
    if text.rstrip().endswith("?") or all(token.key in SELF for token in sentence.tokens):
        sentence = parse("")
    if not sentence.tokens:
        affirms = YES_NO_WORDS.get(text.casefold().strip(" .!,"))
    tokens = sentence.tokens if affirms is None else asked
    weights: dict[str, float] = {}
    repeated = {token.key for token in asked} if affirms is None else set()
    for token in tokens:
        weights[token.key] = _ASKED if token.key in repeated else 1.0
    short = affirms is None and len(weights) <= SHORT
    around = [token.key for token in asked if token.key not in weights]
    return Claim(text, tokens, weights, tuple(dict.fromkeys(around)), short, affirms)


def _converted(text: str, index: Index) -> str:
    """The text with 120 minutes as two hours, where the contexts say two hours."""
    text = plain(text)
    for quantity in reversed(quantities(text)):
        known = index.equal(quantity) if quantity.amount and quantity.units else None
        if known and known.units and known.units != quantity.units:
            text = text[: quantity.start] + known.text + text[quantity.end :]
    return text
