"""From a verification's two metrics to one score."""

from typing import Literal

from rlvr_ray.core.records import DIGITS, Verification

Confidence = Literal["high", "medium", "low"]


def score(verification: Verification) -> float:
    """The mean of faithfulness and relevancy, in [0, 1]."""
    return round((verification.faithfulness + verification.relevancy) / 2, DIGITS)


def confidence(value: float) -> Confidence:
    """``high`` above 0.7, ``medium`` above 0.5, else ``low``."""
    if value > 0.7:
        return "high"
    return "medium" if value > 0.5 else "low"
