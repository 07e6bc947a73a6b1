"""Answers that are none, found without a model: empty phrases, loops, broken text.

Some empty answers are known to get high scores from a language model ("master keys": Zhao et al.,
One Token to Fool LLM-as-a-Judge, 2025).
"""

import re
import unicodedata

from rlvr_ray.core import sanitising
from rlvr_ray.core.records import Defect
from rlvr_ray.core.statements import split_statements

# Answers that say nothing and yet were seen to be scored as right; compared without punctuation
# and spaces.
_MASTER_KEYS = frozenset(
    key.replace(" ", "")
    for key in (
        "solution", "thought process", "final answer", "answer", "the answer is", "step by step",
        "lets solve this problem step by step", "let us solve this problem step by step",
        "lets think step by step", "let me think step by step", "heres the answer",
        "here is the answer", "sure here is the answer", "the correct answer is",
        "verdict", "output", "response", "explanation", "reasoning", "conclusion",
        "respuesta", "solución", "antwort", "lösung", "réponse", "ответ", "решение", "解", "解答",
        "答案", "かいせつ", "解説", "정답",
    )
)  # fmt: skip
_KEY_FIRST = re.compile(
    r"\A(?i:solution|thought process|final answer|answer|step by step|verdict|output|response"
    r"|explanation|reasoning|conclusion|respuesta|soluci\u00f3n|antwort|l\u00f6sung|r\u00e9ponse"
    r"|\u043e\u0442\u0432\u0435\u0442|\u0440\u0435\u0448\u0435\u043d\u0438\u0435|\u89e3\u7b54?|\u7b54\u6848|\u304b\u3044\u305b\u3064|\u89e3\u8aac|\uc815\ub2f5)"
    r"(?:\s*[:\uff1a]\s*|\s+(?=[A-Z]))(?=\S)"
)
# Words; each sign of a script that writes none apart counts as one.
_WORD = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]|[^\W_]+")
_APOSTROPHE = re.compile(r"['\u2019]")
# A text of at least so many words goes in circles where so few of its sequences of four differ.
_LOOP_WORDS, _LOOP_SHARE = 12, 0.35
# A word of more characters is no word of any language.
_LONGEST_WORD = 400

# Bidirectional marks and tag characters, which can show one text and hold another.
_HIDING = re.compile("[\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f]")
_OVERRIDE_OR_TAG = re.compile("[\u202d\u202e\U000e0000-\U000e007f]")
_DIRECTED = {  # embeddings and isolates, and what closes each
    "\u202a": "\u202c", "\u202b": "\u202c", "\u2066": "\u2069", "\u2067": "\u2069",
    "\u2068": "\u2069",
}  # fmt: skip
_CLOSING = frozenset(_DIRECTED.values())
# But the flags of England, Scotland and Wales are spelled in tag characters.
_FLAG = re.compile("\U0001f3f4[\U000e0061-\U000e007a]{2,6}\U000e007f")


def without_key(statement: str) -> str:
    """A statement without a master key before it."""
    return _KEY_FIRST.sub("", statement)


def _is_key(text: str) -> bool:
    words = _WORD.findall(_APOSTROPHE.sub("", unicodedata.normalize("NFKC", text).casefold()))
    return "".join(words) in _MASTER_KEYS


def empty_words(answer: str, min_chars: int) -> tuple[Defect, str] | None:
    """Why an answer is none, whatever a judge would make of it; None where it may be one.

    ``min_chars`` counts letters and digits that can be seen.
    """
    if _hides(answer):
        return Defect.BROKEN, "it holds characters that hide text"
    answer = sanitising.visible(answer)
    content = sum(char.isalnum() for char in answer)
    if content < min_chars:
        return Defect.EMPTY, f"it has {content} letters and digits, fewer than {min_chars}"
    words = _WORD.findall(_APOSTROPHE.sub("", unicodedata.normalize("NFKC", answer).casefold()))
    if _is_key(answer):
        return Defect.EMPTY, "it is a phrase that says nothing"
    if any(len(word) > _LONGEST_WORD for word in words):
        return Defect.BROKEN, f"it has a word of more than {_LONGEST_WORD} characters"
    grams = list(zip(words, words[1:], words[2:], words[3:], strict=False))
    if len(words) >= _LOOP_WORDS and len(set(grams)) <= _LOOP_SHARE * len(grams):
        return Defect.LOOP, "it says the same over and over"
    *_, last = split_statements(answer) or [""]
    if _is_key(last):
        return Defect.CUT_OFF, f"it breaks off: {last}"
    return None


def _hides(text: str) -> bool:
    """Whether it holds characters that show one text and hold another.

    Embeddings and isolates that only mark the direction of what stands between them are as harmless
    as the words that they are written around; overrides, tag characters and what opens or closes
    nothing are not.
    """
    plain = _FLAG.sub("", text)
    if not _HIDING.search(plain):
        return False
    opened: list[str] = []
    for char in plain:
        if char in _DIRECTED:
            opened.append(_DIRECTED[char])
        elif _OVERRIDE_OR_TAG.match(char) or (
            char in _CLOSING and (not opened or opened.pop() != char)
        ):
            return True
    return bool(opened)
