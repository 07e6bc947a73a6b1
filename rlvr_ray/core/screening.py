"""What is found out about an answer without asking any model.

A judge that is a language model can be talked to, and some answers that say nothing at all are
known to please it ("master keys": Zhao et al., One Token to Fool LLM-as-a-Judge, 2025). Both are
caught here, before and beside the judge. The lists are English for the most part: they are one
layer, and what they miss meets the marks around the material and the check by containment.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator

from rlvr_ray.core.text import split_statements

# Answers that say nothing and yet were seen to be scored as right; compared without punctuation.
_MASTER_KEYS = frozenset(
    (
        "solution", "thought process", "final answer", "answer", "the answer is", "step by step",
        "lets solve this problem step by step", "let us solve this problem step by step",
        "lets think step by step", "let me think step by step", "heres the answer",
        "here is the answer", "sure here is the answer", "the correct answer is", "correct", "true",
        "supported", "verdict", "output", "response", "explanation", "reasoning", "conclusion",
        "respuesta", "solución", "antwort", "lösung", "réponse", "ответ", "решение", "解", "解答",
        "答案", "かいせつ", "解説", "정답",
    )
)  # fmt: skip
# A text of at least so many words in which one phrase of up to so many words makes up most of it.
_LOOP_WORDS, _PHRASE, _LOOP_SHARE = 12, 8, 0.7
# A word of more characters is no word of any language.
_LONGEST_WORD = 400

# Bidirectional overrides and isolates, and tag characters: they show one text and hold another.
_HIDING = re.compile("[\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f]")

_SET_ASIDE = (
    r"(?:ignore|disregard|forget|override|overrule|bypass|discard|neglect|do not follow"
    r"|don't follow|stop following)"
)
_ORDERS = (
    r"(?:instructions?|prompts?|rules|directions|directives?|guidelines|guardrails|commands"
    r"|constraints|tasks?|criteria|rubrics?)"
)
_JUDGE = r"(?:judge|grader|evaluator|verifier|assessor|rater|scorer|annotator|examiner)"
_MODEL = rf"(?:{_JUDGE}|ai|llm|assistant|chatbot|(?:language|reward|judge|ai) model|ragas)"
_CLAIM = r"(?:statements?|answers?|responses?|claims?|candidates?|verdicts?|outputs?)"
_GOOD = (
    r"(?:supported|faithful|correct|relevant|grounded|entailed|verified|perfect|true|1|one"
    r"|not noncommittal)"
)
_BEST = (
    r"(?:full|perfect|maximum|highest|top|max|best) (?:possible )?"
    r"(?:scores?|marks?|ratings?|grades?|credit)"
)
_GIVE = (
    r"(?:mark|rate|grade|score|label|judge|give|assign|award|treat|classify|deem|declare|accept)"
)
#: Ways to talk to a judge, or to the model, from inside the material.
_STEERING = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        # Set other orders aside.
        rf"\b{_SET_ASIDE}\b[^.]{{0,40}}?\b(?:previous|prior|above|earlier|preceding|all|any|your"
        rf"|these|those|other|system|original|initial|the)\b[^.]{{0,30}}?\b(?:{_ORDERS}|contexts?"
        r"|passages?|said|above)\b",
        rf"\b(?:new|updated|real|actual|revised|hidden|secret) {_ORDERS}\s*[:\uff1a]",
        r"\bpay no attention to\b[^.]{0,40}\b(?:above|previous|earlier|rest|instructions?)\b",
        r"\b(?:ignorier(?:e|en|t)|ignora|ignorez|olvida|vergiss|missachte|oublie[rz]?)\b.{0,40}"
        r"\b(?:anweisung|instrucci|instruction|r\u00e8gle|regel|vorherig|anterior|pr\u00e9c\u00e9dent)",
        r"(?:\u5ffd\u7565|\u65e0\u89c6|\u7121\u8996|\u7121\u8996|\u4e0d\u8981\u7406\u4f1a).{0,12}"
        r"(?:\u6307\u4ee4|\u6307\u793a|\u8bf4\u660e|\u63d0\u793a|\u89c4\u5219|\u8981\u6c42)",
        r"(?:\u0438\u0433\u043d\u043e\u0440\u0438\u0440\u0443\u0439|\u0437\u0430\u0431\u0443\u0434\u044c).{0,40}"
        r"(?:\u0438\u043d\u0441\u0442\u0440\u0443\u043a\u0446|\u043f\u0440\u0430\u0432\u0438\u043b)",
        # Speak as somebody who gives orders.
        r"\b(?:system|developer|admin(?:istrator)?) (?:override|prompt|message|notice)\s*[:\uff1a]",
        r"(?:^|\n)\W{0,6}(?:system|developer|admin)\s*[:\uff1a][^\n]{0,60}\b(?:you|ignore|must|now"
        r"|verdict|mark|output|answer|reply|respond)\b",
        r"(?:^|\n)\s*#{2,6}\s*(?:system|instructions?|response)\s*:",
        r"</\s*(?:system|instructions?|contexts?|passages?|answer|response|question|statement"
        r"|prompt|material)\s*>",
        r"\bend of (?:the )?(?:input|material|contexts?|passages?|answer|prompt|system prompt"
        r"|instructions)\b",
        # Speak to the judge.
        rf"\b(?:dear|hello|hey|hi|attention|note to(?: the| any)?|message (?:to|for)(?: the| any)?"
        rf"|instructions? (?:to|for)(?: the| any)?) {_MODEL}s?\b",
        rf"\b(?:you are|you're|act as|pretend to be) (?:now )?(?:a|an|the|no longer)"
        rf"(?: \w+){{0,3}} {_MODEL}\b",
        rf"\b{_JUDGE}s?\s*[,:]\s*(?:please )?(?:you|{_GIVE}|return|output|answer)\b",
        # Say what the result is to be.
        rf"\b{_GIVE}\b[^.\n]{{0,40}}\b(?:this|it|every|each|all|the answer|me|my)\b[^.\n]{{0,40}}"
        rf"\b{_BEST}\b",
        rf"\b{_GIVE}\b[^.\n]{{0,30}}\b{_CLAIM}\b[^.\n]{{0,40}}\b(?:as|to be|is|are|with)\b"
        rf"[^.\n]{{0,12}}\b{_GOOD}\b",
        r"\b(?:verdicts?|noncommittal|your (?:score|grade|rating|judge?ment))\b[^.\n]{0,30}"
        r"\b(?:must|should|shall|has to|have to|needs to|will) (?:always )?(?:be|equal|read)\b",
        r"\b(?:verdicts?|noncommittal|answerable)[\"'`]?\s*(?:[:=\uff1a]|\b(?:is|of|to|as)\b)\s*[\"'`]?"
        r"(?:[01]\b|one\b|true\b)",
        r"\bfinal (?:score|verdict|grade|rating)[\"'`]?\s*(?:[:=\uff1a]|\bis\b)",
        r"\b(?:10/10|5/5)\b[^.\n]{0,30}\b(?:answer|response|score|rating|faithful)",
        r"[\"'](?:verdict|noncommittal|answerable)[\"']\s*:|\{\s*[\"']statements[\"']\s*:",
        r"\b(?:the )?(?:correct|right|expected|only) verdict\b",
        r"\bthis (?:answer|response|statement|candidate)\b[^.\n]{0,30}\b(?:has(?: already)? been"
        r"|was|is)"
        r" (?:already )?(?:pre-?)?(?:verified|approved|validated|certified|fact-checked)\b",
        r"\b(?:generate|write|output|return|use) (?:exactly |only )?(?:the|this)(?: \w+){0,2}"
        r" question\s*[:\uff1a\"\u201c]",
        r"\bskip (?:the |any |all )?(?:evaluation|judging|judge?ment|grading|fact.?checking)\b",
    )
]
# Letters that look like Latin ones: enough of them to spell the words above.
_LOOKALIKES = str.maketrans(
    "аеорсухіїјѕԁɡһкмтвнАЕОРСУХІЈЅКМТВНοαερτικνΟΑΕΡΤΙΚΝ",
    "aeopcyxiijsdghkmtbhAEOPCYXIJSKMTBHoaeptikvOAEPTIKN",
)
_SPACED = re.compile(r"\b(?:\w[ .\-_*]){4,}\w\b")


def steers(text: str) -> bool:
    """Whether the text talks to a model or a judge instead of to a reader."""
    plain = unicodedata.normalize("NFKC", text).translate(_LOOKALIKES)
    # "i g n o r e": letters apart count as the word that they spell.
    joined = _SPACED.sub(lambda found: re.sub(r"[ .\-_*]", "", found.group()), plain)
    variants = {plain, joined}
    return any(pattern.search(variant) for variant in variants for pattern in _STEERING)


def without_steering(passage: str) -> tuple[str, int]:
    """The passage without the sentences that talk to a model, and how many there were.

    Where an order is spread over several sentences, all of the passage goes.
    """
    if not steers(passage):
        return passage, 0
    sentences = split_statements(passage)
    kept = [sentence for sentence in sentences if not steers(sentence)]
    left = "\n".join(kept)
    if len(kept) == len(sentences) or steers(left):
        return "", len(sentences)
    return left, len(sentences) - len(kept)


def empty_words(answer: str, min_chars: int) -> str | None:
    """Why an answer says nothing at all, whatever a judge would make of it; None where it may.

    ``min_chars`` counts letters and digits.
    """
    if _HIDING.search(answer):
        return "it holds characters that hide text"
    content = [char for char in answer if char.isalnum()]
    if len(content) < min_chars:
        return f"it has {len(content)} letters and digits, fewer than {min_chars}"
    words = "".join(c if c.isalnum() or c.isspace() else "" for c in answer.casefold()).split()
    if " ".join(words) in _MASTER_KEYS:
        return "it is a phrase that says nothing"
    if any(len(word) > _LONGEST_WORD for word in words):
        return f"it has a word of more than {_LONGEST_WORD} characters"
    if (phrase := _loop(words)) is not None:
        return f"it repeats itself: {phrase}"
    return None


def _loop(words: list[str]) -> str | None:
    """A phrase that makes up most of a text."""
    if len(words) < _LOOP_WORDS:
        return None
    for length in range(1, _PHRASE + 1):
        phrase, count = Counter(_phrases(words, length)).most_common(1)[0]
        # A phrase overlaps itself in a text of one word, hence the bound.
        if count >= 3 and min(count * length, len(words)) / len(words) >= _LOOP_SHARE:
            return " ".join(phrase)[:80]
    return None


def _phrases(words: list[str], length: int) -> Iterator[tuple[str, ...]]:
    return zip(*(words[start:] for start in range(length)), strict=False)
