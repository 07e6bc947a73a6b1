"""Whether what an answer says is what the question asks about, where the contexts say it."""

from collections.abc import Sequence

from rlvr_ray.core.grounding.defects import Finding
from rlvr_ray.core.grounding.index import Index
from rlvr_ray.core.grounding.support import Support
from rlvr_ray.core.records import Defect

# A statement stands in a passage that has this share of its words.
_STANDS = 0.75
# The passage lacks this much more of the question than the best one: it speaks of something else.
_GAP = 0.25
# Below this share of the question in any passage, the question names no subject: "Summarise this."
_SUBJECT = 0.35
#: Relevancy of an answer to a question that names no subject.
NEUTRAL = 0.75
# A statement of fewer words is completed by the question, wherever it stands.
_FEW = 3
# The statement's place is so much further from the question than the nearest sentence.
_OFF, _FAR = 0.3, 0.55
# A name or a number is an answer by its form, to what the question has beside it or not.
_FRAGMENT = 0.7


def relevancy(
    supports: Sequence[Support], closeness: Sequence[float], index: Index
) -> tuple[float, Finding | None]:
    """How far the places that say what the answer says have what the question speaks of; and what
    is wrong where they speak of something else. From 0.5, which means that nothing is known, to 1.
    """
    asked = index.asked
    shares = [len(asked & keys) / len(asked) for keys in index.passages] if asked else []
    best = max(shares, default=0.0)
    if best < _SUBJECT or not closeness:
        return NEUTRAL, None
    placed = [(s, s.place) for s in supports if s.place is not None]
    if not placed:
        return 0.5, None
    here = max(shares[index.passage[at]] for _, at in placed)
    if best - here >= _GAP and all(_stands(s) for s, _ in placed):
        passage = index.passages[index.passage[placed[0][1]]]
        lacking = [t.text for t in index.question.tokens if t.key not in passage]
        return 0.5, (
            Defect.OTHER_SUBJECT,
            f"the contexts say this of something else than {', '.join(lacking)}",
        )
    beside = max(len(asked & index.near[at]) for _, at in placed) / len(asked)
    value = 0.5 + 0.5 * max(0.0, (here + beside) / 2 - (best - here))
    around = {near for _, at in placed for near in (at, *index.neighbours[at])}
    if max(closeness) - max(closeness[at] for at in around) > _OFF:
        value = min(value, _FAR)
    if all(len(s.tokens) <= _FEW for s, _ in placed):
        value = max(value, _FRAGMENT)
    return value, None


def _stands(support: Support) -> bool:
    """Whether a statement, not a fragment, is what the passage says."""
    return support.covered >= _STANDS and len(support.tokens) >= _FEW
