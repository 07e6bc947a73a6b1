"""Whether an answer is about the question, by the places of the contexts that support it."""

import re
from collections.abc import Sequence

from rlvr_ray.core.records import Defect
from rlvr_ray.core.text import normalise, parse
from rlvr_ray.verification.grounding.defects import Finding
from rlvr_ray.verification.grounding.index import Index
from rlvr_ray.verification.grounding.support import Similarity, Support

_WH = r"(?:(?:in|to|from|for|by|with) )?(?:who|whom|what|when|where|which|why|how)\b"
_ASKS = re.compile(rf"\W*{_WH}", re.IGNORECASE)
# Where a question goes on to ask something else: "When was it built, and what is it used for?"
_AND_ASKS = re.compile(rf",? and (?={_WH})|, (?={_WH})", re.IGNORECASE)
# Share of a part of a question that its words have in finding the sentence that answers it; the
# rest is its meaning.
_WORDS = 0.5
# Requests for all that the contexts say.
_WHOLE = re.compile(
    r"\W*(?:please )?(?:summari[sz]e|condense|write (?:an? )?(?:\w+ )?(?:summary|overview))\b",
    re.IGNORECASE,
)
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
# A sentence without a word of the question and less near in meaning is about something else.
_STRANGE = 0.3
# Requests for a definition, which no name or number is: "What is a vector database?"
_DEFINITION = re.compile(
    r"\W*what (?:is|are) (?:an? |the )?(?:[\w.-]+ ){0,2}[\w.-]+\W*$", re.IGNORECASE
)
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
    if best < _SUBJECT or not closeness or _WHOLE.match(index.question.text):
        return NEUTRAL, None
    placed = [(s, s.place) for s in supports if s.place is not None]
    if not placed:
        return 0.5, None
    placed = [(s, at) for s, at in placed if _tells(s, at, index)] or placed
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
    strange = all(
        closeness[at] < _STRANGE and not any(index.sentences[at].has(key) for key in asked)
        for _, at in placed
    )
    if strange or max(closeness) - max(closeness[at] for at in around) > _OFF:
        value = min(value, _FAR)
    if all(len(s.tokens) <= _FEW for s, _ in placed):
        defines = _DEFINITION.match(index.question.text)
        value = min(value, _FAR) if defines else max(value, _FRAGMENT)
    return value, None


def _tells(support: Support, at: int, index: Index) -> bool:
    """Whether a statement has a word of its place that the question does not have."""
    place = index.sentences[at]
    return any(t.key not in index.asked and place.has(t.key) for t in support.tokens)


def _stands(support: Support) -> bool:
    """Whether a statement, not a fragment, is what the passage says."""
    return support.covered >= _STANDS and len(support.tokens) >= _FEW


def incomplete(
    question: str, supports: Sequence[Support], index: Index, similarity: Similarity
) -> Finding | None:
    """Whether a question asks several things, and the answer has nothing of the sentence that is
    nearest to one of the later ones.
    """
    parts = _AND_ASKS.split(question)
    if len(parts) < 2 or not _ASKS.match(question) or not index.sentences:
        return None
    stated = {token.key for support in supports for token in support.tokens}
    matrix = similarity(parts[1:], [sentence.text for sentence in index.sentences])
    for part, cosines in zip(parts[1:], matrix, strict=True):
        keys = {token.key for token in parse(normalise(part)).tokens}
        near = [
            cosine + _WORDS * len(keys & index.near[at]) / max(1, len(keys))
            for at, cosine in enumerate(cosines)
        ]
        sentence = index.sentences[max(range(len(near)), key=near.__getitem__)]
        new = {token.key for token in sentence.tokens} - index.asked
        if new and new.isdisjoint(stated):
            return Defect.INCOMPLETE, f"nothing of it answers: {part.strip()}"
    return None
