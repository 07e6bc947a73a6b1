"""Answers that say that the passages do not say, and when that is right.

Scored as any other answer they would always lose: they are noncommittal, and no passage supports
them. A model trained on that learns never to abstain. So they are recognised here, and decided by
whether the contexts answer the question, which is nothing that the answer itself can influence.
"""

import re
from collections.abc import Sequence

from rlvr_ray.core.text import SELF, Token, normalise, parse, split_statements

#: The judge is sure that the contexts answer, or do not, at and beyond these.
ANSWERED, UNANSWERED = 0.7, 0.3
# Sentences that may stand with an abstention and claim nothing: "Sorry for that."
_POLITE = re.compile(
    r"^\W*(?:(?:(?:i'?m |i am |we are )?(?:very |so )?sorry|(?:my )?apologies|i apologi[sz]e"
    r"|unfortunately)(?: (?:for|about) (?:the|any|this|that|my)\b[^.!?:]{0,30})?"
    r"|please (?:provide|consult|refer|check|see|try|let|share)\b[^.!?:]*|let me know\b[^.!?:]*"
    r"|if you (?:have|need|want|can|could|would|provide|share|give|tell)\b[^.!?:]*)[.!?]*$",
    re.IGNORECASE,
)
# The material that was given, by names that mean nothing else, or by what is said of them; and
# names that may be anything: "a document does not contain nested collections" is an answer.
_GIVEN = r"(?:provided|given|supplied|retrieved|available|above|following|present)"
_NOUN = (
    r"(?:contexts?|texts?|documents?|documentation|sources?|articles?|materials?|paragraphs?"
    r"|sections?|information|content|data)"
)
_PASSAGES = r"(?:passages?|excerpts?|snippets?)"
_MATERIAL = (
    rf"(?:{_PASSAGES}|{_GIVEN} (?:\w+ )?{_NOUN}"
    rf"|{_NOUN} (?:that )?(?:{_GIVEN}|at hand|you (?:gave|provided)|i (?:have|was given)))"
)
_NOT = (
    r"(?:do(?:es)? not|did not|don't|doesn't|didn't|cannot|can't|can not|could not|never"
    r"|fails? to) (?:\w+ly )?"
)
_TELL = (
    r"(?:say|state|mention|specify|answer|indicate|describe|discuss|explain|address|tell|reveal"
    r"|clarify|name|refer|talk|touch|cover|detail)"
)
_HOLD = r"(?:contain|include|provide|give|have|offer|list|show|support|define)"
_TOLD = (
    r"(?:mentioned|stated|specified|described|answered|covered|discussed|addressed|explained"
    r"|given|provided|clear)"
)
_HELD = r"(?:found|included|available|defined|listed|present|known|contained)"
_INFORMATION = r"(?:information|mention|details?|answer|indication)"
_THEY = rf"(?:they |it )?{_NOT}{_TELL}s?\b"
_LACK = r"(?:no|not enough|insufficient|not sufficient|too little|not any)"
# After "we", what a company says of itself ("we do not provide refunds") is an answer.
_KNOW = r"(?:know|answer|tell|say|determine|confirm|infer)"
_FIND = r"(?:provide|give|find|be sure)"
#: Of what the speaker or his sources cannot tell.
_ABSTAINS = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"\b{_PASSAGES}\b[^.]{{0,40}}?\b{_NOT}(?:{_TELL}|{_HOLD})s?\b",
        rf"\b{_MATERIAL}\b[^.]{{0,40}}?\b{_NOT}{_TELL}s?\b",
        rf"\b{_MATERIAL} (?:\w+ly |itself |alone )?{_NOT}{_HOLD}s?\b",
        rf"\b{_NOUN} (?:\w+ly |itself |alone )?{_NOT}{_TELL}s?\b",
        rf"\b(?:{_MATERIAL}|{_NOUN})\b[^.]{{0,120}}\b(?:but|and) {_THEY}",
        rf"\b{_NOUN} (?:\w+ly |itself |alone )?{_NOT}{_HOLD} (?:\w+ ){{0,3}}?{_INFORMATION}\b",
        rf"\b(?:not|n't|never|nowhere|isn't|aren't)\b (?:\w+ly |been )?(?:{_TOLD}|{_HELD})\b"
        rf"[^.]{{0,40}}\b{_MATERIAL}\b",
        rf"\b(?:not|n't|never|nowhere|isn't|aren't)\b (?:\w+ly |been )?{_TOLD} (?:\w+ly )?"
        rf"(?:in|by|from|within) (?:the|this|that|these|those|any|my|your)(?: of the)? {_NOUN}\b",
        rf"\b(?:there is|there's|there are|i have|i see|i find|i found|we have) {_LACK}"
        rf" (?:\w+ ){{0,2}}?{_INFORMATION}\b",
        r"\b(?:i|we) (?:do not|don't|did not|didn't) (?:have|find|see) (?:\w+ ){0,3}?"
        rf"{_INFORMATION}\b",
        rf"\b(?:{_MATERIAL}|{_NOUN}) (?:\w+ly )?(?:contain|provide|give|ha(?:s|ve)|hold|offer)s?"
        rf" {_LACK} (?:\w+ ){{0,2}}?{_INFORMATION}\b",
        r"\b(?:isn't|is not|aren't|are not|wasn't) (?:enough|sufficient|any) (?:\w+ )?"
        rf"{_INFORMATION}\b",
        rf"\bno (?:evidence|reference|data)\b[^.]{{0,40}}\b{_MATERIAL}\b",
        r"\b(?:i|we) (?:really |simply |honestly )?(?:do not|don't|cannot|can't|can not|could not"
        r"|couldn't|am unable to|'m unable to|am not able to|are unable to|would not be able to)"
        rf" (?:\w+ly )?{_KNOW}\b",
        r"\bi (?:really |simply |honestly )?(?:do not|don't|cannot|can't|can not|could not"
        rf"|couldn't|am unable to|am not able to) (?:\w+ly )?{_FIND}\b",
        r"\bi(?:'m| am) (?:not sure|not certain|unsure|not aware|unaware|unable to)\b",
        r"\bi have no (?:idea|information|knowledge|way)\b",
        rf"\b(?:no|none of the) {_MATERIAL}\b[^.]{{0,30}}\b(?:{_TELL}|{_HOLD})",
        rf"\b(?:no|none of the) {_NOUN} {_TELL}",
    )
]
#: The same said of nobody: only where the sentence says little else.
_IMPERSONAL = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"\b(?:cannot|can't|can not|could not|couldn't|impossible to|not possible to|unable to)"
        r" (?:be )?(?:\w+ly )?(?:answered?|determined?|inferred|known|said|told?|say|infer"
        r"|established?|concluded?|ascertain(?:ed)?)\b",
        r"^\W*(?:the (?:question|answer) (?:is|can)\b[^.]{0,20}\b)?(?:unanswerable|unknown|n/?a"
        r"|not (?:mentioned|stated|specified|given|known|available|provided|applicable|found)"
        r"|no (?:answer|information|idea|mention)(?: (?:available|found|provided|given))?"
        r"|(?:not enough|insufficient) (?:information|context|evidence|data)"
        r"(?: (?:available|provided|given))?)\W*$",
        r"\b(?:is|are|remains?) (?:not (?:mentioned|stated|specified|given|provided|answered"
        r"|explained|described|discussed)|unspecified|unanswered)\s*[.!]?$",
    )
]
_LITTLE = 8  #: content words
# What comes after such a word in the same sentence may be an answer after all.
_HOWEVER = re.compile(
    r"[,;:]?\s+(?:but|however|although|though|yet|nevertheless|still|only that|except)\b"
    r"(?P<rest>.*)$",
    re.IGNORECASE | re.DOTALL,
)
_STILL = re.compile(rf"^\s*{_THEY}", re.IGNORECASE)
# Content words after it that make it one.
_ANSWER_WORDS = 3
# Content words in an abstention that the question has not, at most: "they speak of disks only".
_NEW = 12


def abstains(answer: str, question: str | None = None) -> bool:
    """Whether the answer does nothing but say that it cannot answer.

    An answer that says so and then answers all the same is an answer. With the question, so is one
    that slips something else in ("they do not say when, as it was in 1999"): nobody would check it.
    """
    asked = None if question is None else {token.key for token in _tokens(question)}
    sentences = [s for s in split_statements(answer) if any(char.isalnum() for char in s)]
    nothing = [_says_nothing(sentence, asked) for sentence in sentences]
    polite = [_POLITE.match(s) is not None and not _adds(s, asked) for s in sentences]
    return any(nothing) and all(map(max, nothing, polite))


def _says_nothing(sentence: str, asked: set[str] | None) -> bool:
    plain = normalise(sentence)
    rest = _HOWEVER.search(plain)
    if rest and not any(p.search(rest["rest"]) for p in (*_ABSTAINS, *_IMPERSONAL, _STILL)):
        if len(_tokens(rest["rest"])) >= _ANSWER_WORDS:
            return False
        plain = plain[: rest.start()]
    said = any(pattern.search(plain) for pattern in _ABSTAINS) or (
        len(parse(plain).tokens) <= _LITTLE and any(p.search(plain) for p in _IMPERSONAL)
    )
    return said and not _adds(sentence, asked)


def _adds(sentence: str, asked: set[str] | None) -> bool:
    """Whether a sentence that claims nothing says more than it needs for that."""
    if asked is None:
        return False
    new = [token for token in _tokens(sentence) if token.key not in asked]
    return len(new) > _NEW or any(token.kind == "number" for token in new)


def _tokens(text: str) -> list[Token]:
    return [token for token in parse(normalise(text)).tokens if token.key not in SELF]


def judge(
    retrieval_score: float | None,
    min_retrieval_score: float,
    answerable: float,
    supported: Sequence[float],
) -> tuple[float | None, str]:
    """The score of an abstention, 1 or 0, or None where it cannot be told; and why.

    ``retrieval_score`` is the best cosine of a context with the question (None: not known),
    ``answerable`` the judge's view of the contexts, ``supported`` the scores of other answers to
    the same question over the same contexts: one that stands shows that they do answer.
    """
    figures = f"contexts judged answerable {answerable:.2f}"
    if retrieval_score is not None:
        figures += f", best cosine {retrieval_score:.2f}"
    answered = max(supported, default=0.0) >= ANSWERED
    if answered:
        figures += f", another answer scores {max(supported):.2f}"
    distant = retrieval_score is not None and retrieval_score < min_retrieval_score
    if answerable <= (0.5 if distant else UNANSWERED) and not answered:
        return 1.0, f"it abstains, and the contexts do not answer ({figures})"
    if answerable >= ANSWERED and not distant:
        return 0.0, f"it abstains, though the contexts answer ({figures})"
    return None, f"it abstains, and whether the contexts answer is not clear ({figures})"
