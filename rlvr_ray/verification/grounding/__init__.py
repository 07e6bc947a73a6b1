"""Whether the contexts support an answer and it answers the question, by evidence, without a model.

An answer that can be shown to be wrong has a named defect. An answer that can be shown to be right
scores high. Others score in between, and are neither chosen nor rejected.

``index`` and ``structured`` prepare the contexts and ``statement`` the statements; ``support``,
``answering``, ``defects`` and ``form`` are the checks.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rlvr_ray.core.language import readable
from rlvr_ray.core.records import Defect
from rlvr_ray.core.statements import claims
from rlvr_ray.verification.grounding.answering import incomplete, relevancy
from rlvr_ray.verification.grounding.defects import Finding
from rlvr_ray.verification.grounding.form import dumps, echoes, malformed
from rlvr_ray.verification.grounding.index import Index
from rlvr_ray.verification.grounding.index import index as index_of
from rlvr_ray.verification.grounding.support import Similarity, Support, supports

__all__ = ["SHOWN", "UNKNOWN", "Grounding", "Similarity", "assess"]

#: A value below this counts against an answer; from it to 1, nothing to all is shown.
UNKNOWN, SHOWN = 0.5, 0.75
# Least support of a statement that counts in the mean, so that one does not decide all.
_FLOOR = 0.05
# Mean support from which on an answer counts as supported: by prose, and by structured data, of
# which an answer says in sentences what they hold in keys and values.
_ENOUGH, _DATA = 0.48, 0.22
# An answer of so many statements whose mean support is below is unsupported: so many paraphrases do
# not share so few words by chance. A shorter one has to be far in meaning as well.
_MANY, _UNSUPPORTED = 3, 0.4
_FEW_WORDS, _FAR = 0.25, 0.35
# Share of the way to "supported" that full support makes in a language that is not read.
_UNREAD = 0.9
# Share of its relevancy that an answer keeps which is not to the point.
_ASTRAY = 0.4
# A bare yes or no: nothing shows that it is right, and it says nothing else that could be wrong.
_BARE = 0.65


@dataclass(frozen=True, slots=True, kw_only=True)
class Grounding:
    """What is known of an answer: both metrics from 0.5 (unknown) to 1, or below with a defect."""

    faithfulness: float
    relevancy: float
    supports: tuple[Support, ...] = ()
    defect: Defect | None = None
    detail: str = ""  #: how the defect shows


def assess(
    question: str, answer: str, contexts: Sequence[str], similarity: Similarity
) -> Grounding:
    """Assess one answer. ``similarity`` gives cosines; it is called twice at most.

    In a language that the rules cannot read, nothing is shown, in favour or against.
    """
    index = index_of(question, contexts)
    statements = claims(answer)
    form = malformed(answer, statements, question, index)
    if form and form[0] in (Defect.EMPTY, Defect.BROKEN, Defect.ECHO):
        return Grounding(faithfulness=0.0, relevancy=0.0, defect=form[0], detail=form[1])
    found, closeness = supports(statements, question, contexts, index, similarity)
    mean = _mean(found)
    if form and form[0] is Defect.OTHER_LANGUAGE and mean >= _ENOUGH:
        form = None  # it consists of names
    relevant, astray = relevancy(found, closeness, index)
    if not (readable(question) and readable(answer)):
        faithful = UNKNOWN + (SHOWN - UNKNOWN) * mean * _UNREAD
        unread = tuple(replace(support, defect=None) for support in found)
        return Grounding(faithfulness=faithful, relevancy=relevant, supports=unread)
    wrong = _wrong(found) or _unsupported(found, mean, index)
    faithful = UNKNOWN * mean if wrong else _faithfulness(found, mean, index)
    beside = (
        form
        or echoes(found, index)
        or astray
        or dumps(found, closeness, index)
        or incomplete(question, found, index, similarity)
    )
    if beside:
        relevant *= _ASTRAY
    defect, detail = form or wrong or beside or (None, "")
    return Grounding(
        faithfulness=faithful, relevancy=relevant, supports=found, defect=defect, detail=detail
    )


def _wrong(found: Sequence[Support]) -> Finding | None:
    """What is wrong with the first statement that is shown to be wrong."""
    return next(((s.defect, s.reason) for s in found if s.defect), None)


def _unsupported(found: Sequence[Support], mean: float, index: Index) -> Finding | None:
    """Whether there is too little of an answer in the contexts for it to be a paraphrase."""
    if index.structured or not found or found[0].bare:
        return None
    low = min(found, key=lambda support: support.support)
    if len(found) >= _MANY:
        little = mean < _UNSUPPORTED
    else:
        far = max(support.cosine for support in found) < _FAR
        little = mean < _FEW_WORDS and far and len(low.tokens) > _MANY
    return (Defect.UNSUPPORTED, f"{low.statement[:80]}: {low.reason}") if little else None


def _faithfulness(found: Sequence[Support], mean: float, index: Index) -> float:
    """From 0.5, where nothing is known, over 0.75, where an answer counts as supported, to 1."""
    enough = _DATA if index.structured else _ENOUGH
    if all(s.bare or s.repeats for s in found):
        return _BARE if found[0].bare else UNKNOWN
    if mean < enough:
        return UNKNOWN + (SHOWN - UNKNOWN) * mean / enough
    return SHOWN + (1 - SHOWN) * (mean - enough) / (1 - enough)


def _mean(found: Sequence[Support]) -> float:
    """The geometric mean by words: what has no support weighs more than what has all of it."""
    words = [max(1, len(support.tokens)) for support in found]
    logs = [math.log(max(support.support, _FLOOR)) for support in found]
    if not found:
        return 0.0
    return math.exp(math.fsum(w * x for w, x in zip(words, logs, strict=True)) / sum(words))
