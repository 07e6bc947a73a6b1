"""Defects in the form of an answer: empty, loop, broken end, echo, dump."""

import re
from collections.abc import Sequence

from rlvr_ray.core.language import FUNCTION, language
from rlvr_ray.core.records import Defect
from rlvr_ray.core.spelling import canonical
from rlvr_ray.core.statements import split_statements
from rlvr_ray.core.text import Token, normalise, parse
from rlvr_ray.verification.grounding.defects import Finding
from rlvr_ray.verification.grounding.index import Index
from rlvr_ray.verification.grounding.support import YES_NO, Support

# Reasoning, templates that were not filled in, roles of a chat.
_BROKEN = re.compile(
    r"</?think(?:ing)?>|</?reasoning>|\{\{[^{}]{0,200}\}\}|```\w*\s*[\[{][^`]{0,200}[\[{:]\s*```"
    r"|^(?:assistant|user|system)\s*$",
    re.IGNORECASE | re.MULTILINE,
)
_WORD = re.compile(r"[^\W_]+")
# A text of at least so many words goes in circles where so few of its sequences of four differ.
_LOOP_WORDS, _LOOP_SHARE = 10, 0.45
_REPEATED = re.compile(r"\b(\w+)(?:\W+\1\b){3}", re.IGNORECASE)
_ENDED = tuple(".!?…\"')]}`*|»”’。！？؟")
_OPEN_LIST = re.compile(r"\n\s*(?:\d+[.)]|[-*•])\s*$")
_ITEM = re.compile(r"\s*(?:\d+[.)]|[-*•|#>])")
# Words that nothing ends with: articles, prepositions, conjunctions.
_CONTINUES = frozenset(
    re.findall(
        r"\w+",
        "the a an and or of to at by for from into onto with about during per via as than but if "
        "while because whether which who whose",
    )
)
_TELLING = 6  #: words that tell a language: fewer may be a foreign name
_SHORTEST = 4  #: words of an answer that can break off
_PROSE = 12  #: words of one that is written in whole sentences
_CUT = 2  #: letters that a word lacks at least
# A copy of so many sentences of which most are far from the question is a dump.
_DUMP_SENTENCES, _DUMP_SHARE, _FAR = 4, 0.5, 0.15
_COPIED = 0.95
# Questions that name their answers.
_CHOICE = re.compile(
    r"\b(?:or|between|which of|who of|both|either|relation(?:ship)?)\b", re.IGNORECASE
)
# So many of the question's words make a question the same one.
_ASKED_BACK = 0.6
# An echo has at least this share of its words from the question, and so little else.
_ECHO_SHARE, _ECHO_NEW = 0.5, 3


def malformed(
    answer: str, statements: Sequence[str], question: str, index: Index
) -> Finding | None:
    """What is wrong with an answer before it is compared with the contexts."""
    if found := _BROKEN.search(answer):
        return Defect.BROKEN, f"no answer but {found.group().strip()[:40]}"
    if not statements:
        return Defect.EMPTY, "it says nothing"
    asks = [canonical(statement) == canonical(question) for statement in statements]
    if all(asks):
        return Defect.ECHO, "it is the question"
    if any(asks[1:]) or any(_asks_back(statement, index) for statement in statements[1:]):
        return Defect.BROKEN, "it asks the question again"
    words = _WORD.findall(answer.casefold())
    grams = list(zip(words, words[1:], words[2:], words[3:], strict=False))
    if len(words) >= _LOOP_WORDS and len(set(grams)) <= _LOOP_SHARE * len(grams):
        return Defect.LOOP, "it says the same over and over"
    if found := _REPEATED.search(answer):
        return Defect.LOOP, f"it repeats {found[1]}"
    if cut := _breaks_off(answer, words, index):
        return Defect.CUT_OFF, cut
    asked, answered = language(question), language(answer)
    if asked and answered and asked != answered and len(words) >= _TELLING:
        return Defect.OTHER_LANGUAGE, f"the question is in {asked}, the answer in {answered}"
    return None


def _asks_back(statement: str, index: Index) -> bool:
    """Whether it is a question with most of the words of the one that is to be answered."""
    if not index.asked or not statement.rstrip("*_\"' ").endswith(("?", "\uff1f")):
        return False
    words = {token.key for token in parse(normalise(statement)).tokens}
    return len(words & index.asked) >= _ASKED_BACK * len(index.asked)


def _breaks_off(answer: str, words: Sequence[str], index: Index) -> str | None:
    text = answer.rstrip()
    if _OPEN_LIST.search(text):
        return "a list breaks off"
    if len(words) < _SHORTEST or text.endswith(_ENDED):
        return None
    if text.endswith((",", ":", ";", "(", "-")) or words[-1] in _CONTINUES:
        return f"it breaks off after {words[-1]}"
    line = split_statements(text.splitlines()[-1])
    goes_on = len(line) > 1 and line[-1][:1].isupper() and not _ITEM.match(line[0])
    if goes_on and len(words) >= _PROSE and text[-1].isalnum():
        return f"it breaks off after {words[-1]}"  # the sentences before it have their full stops
    last = words[-1]
    if last in index.spelled or last in FUNCTION["en"] or not last.isalpha():
        return None
    whole = [w for w in index.spelled if w.startswith(last) and len(w) >= len(last) + _CUT]
    return f"it breaks off in {last}" if whole else None


def echoes(supports: Sequence[Support], index: Index) -> Finding | None:
    """Whether it says what the question says, and nothing that the contexts add to it."""
    if YES_NO.match(index.question.text):
        return None  # its own words can answer it
    tokens = [token for support in supports for token in support.tokens]
    keys = {token.key for token in tokens}
    new = keys - index.asked
    if len(keys) < _ECHO_NEW or len(keys & index.asked) < _ECHO_SHARE * len(keys):
        return None
    if not new and _CHOICE.search(index.question.text):
        return None
    if any(_found(token, support, index) for support in supports for token in support.tokens):
        return None
    added = ", ".join(dict.fromkeys(t.text for t in tokens if t.key in new)) or "nothing"
    return Defect.ECHO, f"it repeats the question and adds {added}"


def _found(token: Token, support: Support, index: Index) -> bool:
    """Whether a word that the question has not stands where the contexts speak of it."""
    if token.key in index.asked or support.place is None:
        return False
    return token.key in index.near[support.place]


def dumps(supports: Sequence[Support], closeness: Sequence[float], index: Index) -> Finding | None:
    """Whether whole passages are copied of which the question asks for a sentence.

    ``closeness`` is the cosine of the question with each sentence of the index.
    """
    copied = [s for s in supports if s.place is not None and s.covered >= _COPIED]
    if len(copied) < _DUMP_SENTENCES or len(copied) < _COPIED * len(supports):
        return None
    nearest = max(closeness)
    far = sum(nearest - closeness[s.place] > _FAR for s in copied if s.place is not None)
    if far < _DUMP_SHARE * len(copied):
        return None
    return Defect.DUMP, f"{far} of {len(copied)} copied sentences are about something else"
