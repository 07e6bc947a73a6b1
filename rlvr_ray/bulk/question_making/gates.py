"""The rules that decide whether a generated question is kept; they use no model.

A question must have the form of one, be understandable without its passage, and be about it. Its
answer must be in the passage and not in the question. It must not be a repeat. The word lists are
English; in other languages only the other rules apply.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rlvr_ray.core.statements import split_statements, unglued
from rlvr_ray.core.text import Token, normalise, parse, stem
from rlvr_ray.verification import abstention, grounding, screening, steering

#: Bounds of a question and its answer, in characters.
MAX_QUESTION, MAX_ANSWER = 300, 500
#: Letters and digits that a question must have.
MIN_QUESTION = 6
#: Least share of a question's content words that the passage or the document's name has.
MIN_SHARED = 0.5

#: Why a draft, or a whole passage, gives no question.
Reason = Literal[
    "no_text",  # the passage: addresses, code, or very little
    "steering",  # it talks to a model
    "does_not_fit",  # the passage: into the model's context
    "timed_out",  # the passage: three times
    "unreadable",  # the reply: no such JSON, or cut off
    "not_a_question",
    "too_short",
    "too_long",
    "says_nothing",  # a phrase over and over, or hidden text
    "not_self_contained",
    "copied",  # a sentence of the passage with a question mark
    "not_about_the_passage",
    "no_answer",  # the model says that it cannot tell
    "answer_in_question",
    "answer_not_in_passage",
    "duplicate",
    "near_duplicate",
]

_QUOTED = re.compile(r"[\"'`\u2018\u201c][^\"'`\u2018\u2019\u201c\u201d]*[\"'`\u2019\u201d]")
_BRACKETED = re.compile(r"\[[^\[\]]*\]")

_ENDS = re.compile(r"[?\uff1f\u061f\u037e][\"'`)\u201d\u2019]*$|(?:\u304b|\u5417)[\u3002.]?$")
_ASKS = re.compile(
    r"^(?:(?:in|at|on|for|from|to|by|with|under|of|about) )?(?:what|which|who|whom|whose|when"
    r"|where|why|how)\b"
    r"|^(?:is|are|was|were|do|does|did|can|could|will|would|should|has|have|had|may|must)\b"
    r"|^(?:explain|describe|name|list|compare|define|summari[sz]e|outline|state|identify|give|tell"
    r"|show|discuss)\b",
    re.IGNORECASE,
)

_STRONG = r"(?:passage|excerpt|paragraph|snippet|given text|text above|above text|readme)s?"
_WEAK = (
    r"(?:text|context|document|documentation|article|section|source|page|guide|post|chapter"
    r"|author|writer|speaker|example|table|figure|list|statement|sentence|information|material)s?"
)
_THE = r"(?:the|this|that|these|those|your)(?: (?:given|provided|above|following|input|previous))?"
#: What only somebody with the passage before him understands.
_DEPENDENT = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"\b{_STRONG}\b",
        r"\b(?:the|a) (?:provided|given|above|aforementioned|following)\b",
        rf"\b(?:according to|based on|from|within|in|per|by) {_THE} {_WEAK}\b(?!\s+of\b)",
        rf"\b(?:do|does|did|can|is|are|was|were) {_THE} {_WEAK}\b(?!\s+of\b)",
        rf"\b{_THE} {_WEAK} (?:say|mention|describe|state|recommend|suggest|explain|discuss|give"
        r"|list|provide|refer|contain|imply)s?\b",
        r"\b(?:shown|given|provided|mentioned|described|listed|discussed|stated|quoted|referred to)"
        r" (?:here|above|below|earlier|previously)\b",
        r"\banswers? to (?:the|this|that) questions?\b",
        r"\b(?:this|these)\b",
        r"\b(?:our|ours|us)\b",
    )
]
_PRONOUN = re.compile(
    r"\b(?:it|its|they|them|their|theirs|he|him|his|she|her|hers)\b", re.IGNORECASE
)
#: "It" that stands for nothing: "Is it possible to ...", "How long does it take to ...".
_EXPLETIVE = re.compile(
    r"\b(?:is|was|would) it (?:\w+ )?\w+ (?:to|that|for|if|when)\b"
    r"|\b(?:does|did|will|would) it (?:take|mean|matter|cost)\b",
    re.IGNORECASE,
)
#: Words of asking: they say nothing of what a question is about.
_ASKING = frozenset(
    map(
        stem,
        re.findall(
            r"\w+",
            "purpose difference main use mean work example benefit advantage disadvantage feature"
            " function role way type kind name many much long need happen make get explain"
            " describe list state define refer called",
        ),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A question as the model wrote it, and its answer; None where none was wanted."""

    question: str
    answer: str | None


def objection(draft: Draft, passage: str, source: str) -> Reason | None:
    """Why a draft is not kept; None where it is. ``passage`` is what the model read."""
    question = draft.question
    if steering.steers(question) or (draft.answer and steering.steers(draft.answer)):
        return "steering"
    if len(question) > MAX_QUESTION or (draft.answer and len(draft.answer) > MAX_ANSWER):
        return "too_long"
    if sum(map(str.isalnum, question)) < MIN_QUESTION:
        return "too_short"
    if not reads_as_question(question):
        return "not_a_question"
    if screening.empty_words(question, MIN_QUESTION):
        return "says_nothing"
    if not stands_alone(question):
        return "not_self_contained"
    if _copied(question, passage):
        return "copied"
    if not _about(question, passage, source):
        return "not_about_the_passage"
    return None if draft.answer is None else _answer_objection(question, draft.answer, passage)


def reads_as_question(text: str) -> bool:
    """Whether a text ends as a question, or begins as one or as a task ("Explain …")."""
    if _ENDS.search(text):
        return True
    return "?" not in text and _ASKS.match(text) is not None


def stands_alone(question: str) -> bool:
    """Whether a question can be understood without the passage that it is about."""
    bare = _QUOTED.sub(" ", normalise(question))
    if any(pattern.search(bare) for pattern in _DEPENDENT):
        return False
    if pronoun := _PRONOUN.search(_EXPLETIVE.sub(" ", bare)):
        before = _EXPLETIVE.sub(" ", bare)[: pronoun.start()]
        if not _subjects(before):
            return False
    subjects = _subjects(normalise(question))
    if len(subjects) == 1 and subjects[0].kind == "word":
        # "What is the license?" asks back whose; "What is asyncio?" does not.
        return f"the {subjects[0].text.casefold()}" not in normalise(question).casefold()
    return bool(subjects)


def _subjects(text: str) -> list[Token]:
    return [token for token in parse(text).tokens if token.key not in _ASKING]


def _copied(question: str, passage: str) -> bool:
    """Whether a statement of the passage was made a question by its mark; its questions may be."""
    bare = letters(question)
    return any(
        bare == letters(sentence) and not _ENDS.search(sentence)
        for sentence in split_statements(unglued(normalise(passage)))
    )


def letters(text: str) -> str:
    """A text without case, spaces and punctuation: what repeats have in common."""
    return "".join(char for char in normalise(text).casefold() if char.isalnum())


def _about(question: str, passage: str, source: str) -> bool:
    """Whether question and passage share words, and names and numbers all are from there."""
    plain = normalise(question)
    if any(placeholder not in passage for placeholder in _BRACKETED.findall(question)):
        return False
    # Not by sentences: a table or a heading can name what a question is about.
    known = parse(normalise(passage)).tokens + parse(normalise(re.sub(r"\W|_", " ", source))).tokens
    keys = {token.key for token in known}
    spelled = {token.text.casefold() for token in known}
    subjects = _subjects(plain)
    for token in subjects:
        text = token.text.casefold()
        if token.kind == "number" and token.key not in keys:
            return False
        if token.kind == "name" and spelled.isdisjoint((text, f"{text}s", text.removesuffix("s"))):
            return False
    return sum(token.key in keys for token in subjects) >= MIN_SHARED * len(subjects)


def _answer_objection(question: str, answer: str, passage: str) -> Reason | None:
    if not any(map(str.isalnum, answer)) or abstention.abstains(answer, question, [passage]):
        return "no_answer"
    if screening.empty_words(answer, 1):
        return "says_nothing"
    asked = {token.key for token in parse(normalise(question)).tokens}
    replied = {token.key for token in parse(normalise(answer)).tokens}
    if replied and replied <= asked:
        return "answer_in_question"
    found = grounding.assess(question, answer, [passage], _no_cosines)
    return None if found.faithfulness >= grounding.SHOWN else "answer_not_in_passage"


def _no_cosines(rows: Sequence[str], columns: Sequence[str]) -> list[list[float]]:
    return [[0.0] * len(columns) for _ in rows]
