"""From what the verifiers say to one score."""

from typing import Literal

from rlvr_ray.core.records import DIGITS, Verification, weighted

Confidence = Literal["high", "medium", "low"]


def mean(faithfulness: float, relevancy: float) -> float:
    """The score of an assessment that has both metrics, in [0, 1]."""
    return round((faithfulness + relevancy) / 2, DIGITS)


def score(verification: Verification) -> float:
    """The mean of the assessments' scores by their weights, in [0, 1]."""
    value = weighted((a.score, a.weight) for a in verification.assessments)
    assert value is not None, "a verification has an assessment that counts"
    return value


def confidence(value: float) -> Confidence:
    """``high`` above 0.7, ``medium`` above 0.5, else ``low``."""
    if value > 0.7:
        return "high"
    return "medium" if value > 0.5 else "low"
