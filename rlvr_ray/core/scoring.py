"""One score from the results of all verifiers."""

from typing import Literal

from rlvr_ray.core.fields import DIGITS
from rlvr_ray.core.records import Assessment, Defect, Verification, weighted

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


#: What is below it counts against an answer: a verdict, a metric, a score.
LOW = 0.5


def defect(verification: Verification) -> Defect | None:
    """What is wrong with an answer, by the first of its assessments that count and know."""
    found = (_defect(a) for a in verification.assessments if a.weight)
    return next(filter(None, found), None)


def _defect(assessment: Assessment) -> Defect | None:
    """What a verifier names, or what its figures say."""
    if assessment.defect is not None:
        return assessment.defect
    supported, relevant = assessment.faithfulness, assessment.relevancy
    if any(statement.verdict < LOW for statement in assessment.statements):
        return Defect.UNSUPPORTED
    if supported is not None and supported < LOW:
        return Defect.UNSUPPORTED
    if relevant is not None and relevant < LOW:
        return Defect.OFF_TOPIC
    if supported is None and relevant is None and assessment.score < LOW:
        return Defect.LOW_SCORE
    return None
