"""Reviews of pairs by people: verdicts, agreement with the judge, and their effect on a row."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal
from uuid import UUID

from rlvr_ray.core.fields import DIGITS, clean_text, utc
from rlvr_ray.core.records import Outcome
from rlvr_ray.dataset.rows import Row

#: What a person says of two answers that are shown as A and B.
ReviewChoice = Literal["a", "b", "tie", "discard"]
#: Of the normal distribution, for 95 %.
Z = 1.959963984540054


class Verdict(StrEnum):
    """A person's word beside the judge's."""

    AGREE = "agree"  #: the chosen answer is the better one
    DISAGREE = "disagree"  #: the rejected one is
    TIE = "tie"  #: neither is
    DISCARD = "discard"  #: the pair is fit for nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """What somebody said of a pair; of several of a pair the latest counts."""

    review_id: UUID
    batch_id: UUID
    a: int  #: the candidate that was shown as A
    b: int
    said: ReviewChoice
    verdict: Verdict  #: what that is beside the outcome
    note: str
    reviewer: str
    reviewed_at: datetime

    def __post_init__(self) -> None:
        clean_text("note", self.note)
        clean_text("reviewer", self.reviewer)
        object.__setattr__(self, "reviewed_at", utc("reviewed_at", self.reviewed_at))


def verdict(outcome: Outcome, a: int, b: int, said: ReviewChoice) -> Verdict:
    """What was said of candidates a and b; raises ValueError where they are not the pair's."""
    if outcome.reason is not None:
        raise ValueError(f"batch {outcome.batch_id} made no pair ({outcome.reason}): choose one")
    if {a, b} != {outcome.chosen, outcome.rejected}:
        raise ValueError(
            f"the pair's candidates are {outcome.chosen} and {outcome.rejected}, not {a} and {b}; "
            "a and b are one of them each"
        )
    if said in ("tie", "discard"):
        return Verdict(said)
    better = a if said == "a" else b
    return Verdict.AGREE if better == outcome.chosen else Verdict.DISAGREE


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How often people say the same as the judge.

    ``share`` is that of agree among agree and disagree, ``low`` and ``high`` its 95 % interval
    after Wilson; all None where nobody has said either.
    """

    share: float | None
    low: float | None
    high: float | None


def agreement(agree: int, disagree: int) -> Agreement:
    """The share and its interval, which is wide for few reviews and stays within 0 and 1."""
    n = agree + disagree
    if not n:
        return Agreement(share=None, low=None, high=None)
    share = agree / n
    middle = share + Z * Z / (2 * n)
    width = Z * math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
    whole = 1 + Z * Z / n
    return Agreement(
        share=round(share, DIGITS),
        low=round(max((middle - width) / whole, 0.0), DIGITS),
        high=round(min((middle + width) / whole, 1.0), DIGITS),
    )


def reviewed_row(row: Row, said: Verdict | None) -> Row | None:
    """A row of ``dpo_data`` as a person wants it; None where it is to be left out.

    Where the rejected answer is the better one, the two change places with all that belongs to
    them, and ``score_diff`` is None: the judge gave no margin to it.
    """
    if said in (None, Verdict.AGREE):
        return row
    if said is not Verdict.DISAGREE:
        return None
    metadata = row["metadata"]
    sides = ("temp", "provenance")
    swapped = {f"chosen_{name}": metadata[f"rejected_{name}"] for name in sides}
    swapped |= {f"rejected_{name}": metadata[f"chosen_{name}"] for name in sides}
    return {
        **row,
        "chosen": row["rejected"],
        "rejected": row["chosen"],
        "score_diff": None,
        "chosen_score": row["rejected_score"],
        "rejected_score": row["chosen_score"],
        "metadata": {**metadata, **swapped},
    }


def counted(verdicts: Mapping[Verdict | None, int]) -> dict[str, int]:
    """Numbers by verdict, those of none left out; every verdict is there."""
    return {name.value: verdicts.get(name, 0) for name in Verdict}
