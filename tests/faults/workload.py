"""What the fault tests ask: batch ``n`` is always the same and always ends the same way."""

from uuid import UUID

from rlvr_ray.core import ids
from rlvr_ray.core.errors import JudgeError
from rlvr_ray.core.records import Batch, Kind
from rlvr_ray.verification.verifier import Claim
from tests.builders import batch
from tests.fakes import FakePanel, Verdict, verified

#: An answer's first word is what the judge thinks of it; other words have no score. What scores low
#: is unsupported.
SCORES = {"good": 0.9, "fair": 0.88, "plain": 0.8, "poor": 0.4, "bad": 0.2}
#: The answers of a batch, by its number; together they end in every way that there is.
ANSWERS = (
    ("good", "bad", "poor"),  # a pair
    ("poor", "good"),  # a pair
    ("fair", "fair", "fair"),  # a tie
    ("good", "mute", "bad"),  # a pair, of those that have a score
    ("good", "mute", "mute"),  # unscored
    ("good", "plain"),  # nothing is wrong with the worse one
    ("good", "fair"),  # the margin is too small
    ("bad", "poor", "good", "fair"),  # a pair
    ("bad", "poor"),  # the chosen one is too low
    ("good",),  # a single answer
)
#: What a torn write may cut in two, and what some readers take for the end of a line.
ODD = "ü 🦆 \u2028"


def asked(number: int) -> Batch:
    """Batch ``number``."""
    words = ANSWERS[number % len(ANSWERS)]
    return batch(
        answers=[f"{word} {index} of {number} {ODD}" for index, word in enumerate(words)],
        question=f"Question {number}? {ODD}",
        batch_id=batch_id(number),
        kind=Kind.PREFERENCE if len(words) > 1 else Kind.SINGLE,
    )


def batch_id(number: int) -> UUID:
    return ids.derive("faults", number)


def verdict(claim: Claim) -> Verdict:
    """What the judge says, by the answer's text alone."""
    word = claim.answer.split()[0]
    if word not in SCORES:
        return JudgeError(f"the judge gave no number for {word!r}")
    return verified(claim, SCORES[word], SCORES[word])


def verifier() -> FakePanel:
    return FakePanel(result=verdict)
