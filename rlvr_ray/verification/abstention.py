"""Abstentions: answers that say that the passages contain no answer, and when they are right.

Scored like other answers, they would always lose, because no passage supports them, and a model
trained on that learns never to abstain. So they are recognised here, and scored by whether the
contexts answer the question, which the answer itself cannot influence.

Abstentions are recognised by meaning: a few words select the clauses that may abstain, and their
embedding is compared with abstentions and with plain negations. A negative sentence of the contexts
themselves ("its author is not known") is an ordinary claim.
"""

import re
from collections.abc import Sequence

from rlvr_ray.core.statements import split_statements
from rlvr_ray.core.text import Sentence, Token, normalise, parse
from rlvr_ray.verification.grounding import Similarity
from rlvr_ray.verification.statements import sentences

#: What an abstention means, and what a denial means that is none; each is embedded once.
ABSTENTIONS = (
    "The context does not say.",
    "The passages do not mention it.",
    "There is no information about it in the text.",
    "No details are given about it.",
    "I cannot answer the question.",
    "I do not know.",
    "N/A.",
    "It is unknown.",
    "It is not stated.",
    "The answer is not there.",
    "This information is missing.",
    "The price is not given.",
    "Not enough information.",
    "It cannot be determined from the document.",
    "The answer is unclear from the given passages.",
    "I could not find it in the documents.",
    "The provided text lacks this information.",
    "The documents describe something else.",
    "The passages do not say how, when, who or why.",
)
DENIALS = (
    "It is not possible.",
    "No, it does not.",
    "It does not have it.",
    "It is not available.",
    "They do not offer it.",
    "There is no such thing.",
    "It has no effect.",
    "It never happened.",
    "You must not do it.",
    "He did not do it.",
    "He said that he does not want it.",
    "It is not allowed without permission.",
    "It was not found to be true.",
    "It is not related to it.",
)
# How near to an abstention a clause is, less a share of how near to a denial: chosen on labelled
# answers, where it hardly matters from 0.20 to 0.25.
_NEAR, _DENIAL = 0.22, 0.3


# What says that there is not something, and words about saying and knowing.
_LACK = re.compile(
    r"\b(?:not|no|cannot|cant|none|nothing|nobody|never|nowhere|neither|nor|n/a|missing|absent"
    r"|lack\w*|fail\w*|silent|open|impossible|insufficient|unable|un(?:known|clear|sure|certain"
    r"|specified|stated|mentioned|answer\w+))\b|n't\b",
    re.IGNORECASE,
)
_TOLD = re.compile(
    r"\b(?:say|says|said|tell\w*|told|stat(?:e|es|ed)|mention\w*|specif\w+|answer\w*|indicat\w+"
    r"|describ\w+|discuss\w*|explain\w*|address\w*|reveal\w*|disclos\w+|clarif\w+|cover\w*"
    r"|detail\w*|give[ns]?|provid\w+|contain\w*|inform\w*|know\w*|determin\w+|establish\w*"
    r"|infer\w*|find|found|there|sure|certain|idea|clear|contexts?|texts?|passages?|excerpts?"
    r"|documents?|documentation|sources?|materials?|n/a|un(?:known|clear|sure|certain|specified"
    r"|stated|mentioned|answer\w+))\b",
    re.IGNORECASE,
)
# What else an abstention may say: what the passages are about, and what is said out of courtesy.
_ABOUT = re.compile(
    r"\b(?:mention|describe|discuss|give|name|list|cover|concern|contain|provide|state|say|speak"
    r"|deal)(?:s|d|ed)?\b(?! that\b)|\bonly (?:say|mention|state|tell)s?\b"
    r"|\b(?:sorry|afraid|apolog\w+|please|let me know)\b",
    re.IGNORECASE,
)
# Where a sentence may turn from an abstention to an answer.
_TURN = re.compile(
    r"[;:\u2014]\s+|[,.]?\s+(?:but(?! not\b)|however|although|though|yet|because|since|so"
    r"|whereas|only that|as(?= (?:it|he|she|they|this|that|the)\b))\s+",
    re.IGNORECASE,
)
# Content words that a clause needs to claim anything.
_CLAIM = 3
# Share of a clause's words, and of the question's, at the place of the contexts that says it.
_SAID, _ASKED = 0.75, 0.5
# So many words together are not there by chance.
_WHOLE = 2


def abstains(
    answer: str, question: str, contexts: Sequence[str], similarity: Similarity | None = None
) -> bool:
    """Whether the answer does nothing but say that it cannot be told.

    An answer that says so and then answers all the same is an answer, and so is what the contexts
    say themselves. ``similarity`` is asked only about clauses that deny that something is said or
    known, with ``ABSTENTIONS`` and ``DENIALS`` as columns; without it their words decide.
    """
    texts = [normalise(sentence) for sentence in split_statements(answer)]
    clauses = [c for text in texts for c in _TURN.split(text) if any(map(str.isalnum, c))]
    doubtful = [c for c in clauses if _LACK.search(c) and _TOLD.search(c)]
    if not doubtful or any(_claims(c) for c in clauses if c not in doubtful):
        return False
    asked = {token.key for token in _tokens(question)}
    denying = doubtful if similarity is None else _meant(doubtful, asked, similarity)
    if not denying or any(_claims(c) for c in doubtful if c not in denying):
        return False
    places = [sentences(context) for context in contexts]
    known = asked.union(*(s.affirmed | s.negated for place in places for s in place))
    numbers = {t.key for c in clauses for t in _tokens(c) if t.kind == "number"}
    return numbers <= known and not any(_is_stated(c, asked, p) for c in denying for p in places)


def _claims(clause: str) -> bool:
    """Whether a clause says something of the world."""
    tokens = _tokens(clause)
    some = len(tokens) >= _CLAIM or any(token.kind == "number" for token in tokens)
    return some and not _ABOUT.search(clause)


def _meant(clauses: Sequence[str], asked: set[str], similarity: Similarity) -> list[str]:
    """Those that mean an abstention, whatever it is that is asked for."""
    rows = [_without(asked, clause) for clause in clauses]
    cosines = similarity(rows, [*ABSTENTIONS, *DENIALS])
    near = [
        max(row[: len(ABSTENTIONS)]) - _DENIAL * max(row[len(ABSTENTIONS) :]) for row in cosines
    ]
    return [clause for clause, value in zip(clauses, near, strict=True) if value >= _NEAR]


def _without(asked: set[str], clause: str) -> str:
    """The clause without the content words of the question."""
    for text in {token.text for token in _tokens(clause) if token.key in asked}:
        clause = re.sub(rf"\b{re.escape(text)}\b", " ", clause)
    return re.sub(r"\s+(?=[.,])", "", " ".join(clause.split()))


def _is_stated(clause: str, asked: set[str], passage: Sequence[Sentence]) -> bool:
    """Whether a place of the passage says the clause, denial and all.

    It has to be about the question, unless it has all of the clause in one sentence.
    """
    tokens, words = _tokens(clause), _words(clause)
    keys = {token.key for token in tokens}
    denied = {token.key for token in tokens if token.negation >= 0}
    for at, sentence in enumerate(passage):
        if not (sentence.negated or _LACK.search(sentence.text)):
            continue
        if denied and denied.isdisjoint(sentence.negated):
            continue
        if len(keys) >= _WHOLE and keys <= sentence.affirmed | sentence.negated:
            return True
        near = {key for s in passage[max(at - 1, 0) : at + 2] for key in s.affirmed | s.negated}
        if len(asked & near) < _ASKED * len(asked):
            continue
        if keys and len(keys & near) >= _SAID * len(keys):
            return True
        if not keys and f" {words} " in f" {_words(sentence.text)} ":
            return True
    return False


def _words(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


def _tokens(text: str) -> tuple[Token, ...]:
    return parse(normalise(text)).tokens


#: From the one on it is likely that the contexts do not answer, up to the other it is not.
LIKELY, UNLIKELY = 0.7, 0.3
#: From here on another answer stands on them, in support and in relevancy.
STANDS = 0.8


def judge(
    unanswered: float | None,
    answered: float,
    retrieval_score: float | None,
    min_retrieval_score: float,
) -> tuple[float | None, str]:
    """The score of an abstention, 1 or 0, or None where it cannot be told; and why.

    ``unanswered`` is how sure a judge is that the contexts do not answer (None: nobody was asked),
    ``answered`` how far another answer to the same question stands on the same contexts,
    ``retrieval_score`` the best cosine of a context with the question (None: not known). That words
    of the question are missing from the contexts is no evidence: they may answer in others.
    """
    figures = f"another answer stands at {answered:.2f}"
    if unanswered is not None:
        figures += f", contexts judged not to answer {unanswered:.2f}"
    if retrieval_score is not None:
        figures += f", best cosine {retrieval_score:.2f}"
    distant = retrieval_score is not None and retrieval_score < min_retrieval_score
    stands = answered >= STANDS
    right = unanswered is not None and unanswered >= (0.5 if distant else LIKELY)
    if right and not stands:
        return 1.0, f"it abstains, and the contexts do not answer ({figures})"
    wrong = unanswered is not None and unanswered <= UNLIKELY and not distant
    if wrong or (stands and not right):
        return 0.0, f"it abstains, though the contexts answer ({figures})"
    return None, f"it abstains, and whether the contexts answer is not clear ({figures})"
