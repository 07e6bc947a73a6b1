"""Texts that talk to a judge or a model instead of to a reader.

A language model can be manipulated as a judge. That is caught here, before the judge. The word
lists are mostly English; they are one layer of several, with controls and the check for statements
that are foreign to the contexts.
"""

import base64
import re
import unicodedata
from functools import lru_cache

from rlvr_ray.core import sanitising
from rlvr_ray.core.statements import split_statements

_DROP = (
    r"(?:ignore|disregard|forget|neglect|override|overrule|bypass|discard|set aside"
    r"|pay no attention to|do not follow|don't follow|stop following)"
)
_ORDERS = r"(?:instructions?|directives?|guidelines?|guardrails|orders|commands|rules|prompts?)"
_BEFORE = r"(?:previous|prior|above|earlier|preceding|your|all|any|every|original|initial)"
_JUDGE = r"(?:judge|grader|evaluator|verifier|assessor|rater|scorer|annotator)"
_MODEL = rf"(?:{_JUDGE}|ai|llm|assistant|chatbot|(?:language|reward|judge|ai) model)"
_CLAIM = (
    r"(?:statements?|answers?|responses?|claims?|candidates?|verdicts?|it|this|each|everything)"
)
_GOOD = (
    r"(?:supported|faithful|correct|relevant|grounded|entailed|verified|right|true|positive|one|1)"
)
_GIVE = r"(?:mark|rate|grade|score|label|judge|give|assign|award|classify|deem|declare|accept)"
_MUST = r"(?:must|should|shall|ha(?:s|ve) to|needs? to|is to) (?:always )?(?:be|equal|read)"
_IS = r"\s*(?:[:=\uff1a]|\b(?:is|of|to|as)\b)\s*[\"'`]?"
_PROSE = (
    # Set the orders that were given aside.
    rf"\b{_DROP}\b[^.]{{0,30}}?\b{_BEFORE}\b[^.]{{0,25}}?\b{_ORDERS}\b",
    rf"\b{_DROP}\b[^.]{{0,30}}?\b{_ORDERS} (?:above|before this|so far|you were given)\b",
    rf"\b{_DROP} (?:what|everything|anything|all)\b[^.\n]{{0,15}}\b(?:told|taught|said|above)\b",
    rf"\b{_DROP} (?:the |your )?(?:system prompt|(?:contexts?|passages?) above)\b",
    r"\b(?:ignorier\w*|ignora|ignorez|olvida|vergiss|missachte|oublie[rz]?)\b.{0,40}"
    r"\b(?:anweisung|instrucci|instruction|r\u00e8gle|regel)",
    r"(?:\u5ffd\u7565|\u65e0\u89c6|\u7121\u8996).{0,12}(?:\u6307\u4ee4|\u6307\u793a|\u63d0\u793a|\u89c4\u5219)",
    r"(?:\u0438\u0433\u043d\u043e\u0440\u0438\u0440\u0443\u0439|\u0437\u0430\u0431\u0443\u0434\u044c).{0,40}"
    r"(?:\u0438\u043d\u0441\u0442\u0440\u0443\u043a\u0446|\u043f\u0440\u0430\u0432\u0438\u043b)",
    # Pretend that the material ends, or that somebody else speaks.
    r"</\s*(?:system|instructions?|contexts?|passages?|answer|response|statement|prompt)\s*>",
    r"(?:^|\n)[^\w\n]*end of (?:the )?(?:input|material|contexts?|passages?|prompt)\W*(?:\n|$)",
    r"(?:^|\n)\W{0,6}(?:system|developer|admin)\s*[:\uff1a][^\n]{0,60}"
    r"\b(?:you|ignore|verdicts?|output|reply|respond)\b",
    r"(?:^|\n)[^\S\n]*#{2,6}\s*(?:system|response)\s*:",
    # Speak to the judge.
    r"\b(?:dear|hello|hey|attention|(?:note|message|instructions?) (?:to|for)(?: the| any)?)"
    rf" (?:\w+ )?{_MODEL}s?\s*(?:[,:.!\n]|$)",
    rf"\b(?:you are|act as|pretend to be) (?:now|no longer) (?:\w+ ){{0,4}}{_MODEL}\b",
    rf"\b{_JUDGE}s?\s*[,:]\s*(?:please )?(?:you|{_GIVE}|return|output|answer)\b",
    # Say what the verdict is to be.
    rf"\b{_GIVE}\b[^.\n]{{0,40}}\b(?:{_CLAIM}|me|my)\b[^.\n]{{0,40}}\b(?:full|perfect|maximum"
    r"|highest|top|max|best) (?:possible )?(?:scores?|marks?|ratings?|grades?)\b",
    rf"\b{_GIVE}\b[^.\n]{{0,30}}\b{_CLAIM}\b[^.\n]{{0,20}}\b(?:as|to be)\b[^.\n]{{0,12}}"
    rf"\b{_GOOD}\b",
    rf"\b(?:verdicts?|noncommittal)\b[^.\n]{{0,30}}\b{_MUST}\W{{1,3}}(?:{_GOOD}|0|zero)\b",
    rf"\byour (?:score|grade|rating|verdict|judge?ment)s?\b[^.\n]{{0,30}}\b{_MUST}\b",
    rf"\b(?:verdicts?|noncommittal|answerable){_IS}(?:[01]|one|true)\b",
    rf"\b(?:correct|right|expected|only) verdict\b[^.\n]{{0,30}}\b(?:is|be)\W{{1,3}}{_GOOD}\b",
    rf"\bfinal (?:score|verdict|grade|rating){_IS}(?:1(?:\.0+)?(?!\s?[-\u2013:.\d])\b|10/10|5/5"
    r"|100\s?%|full|perfect|pass)",
    r"\bskip (?:the |any |all )?(?:judging|judge?ment|grading|fact.?checking)\b",
    # Claim support instead of something that could be supported.
    r"\bthis (?:answer|response|statement|candidate)\b[^.\n]{0,30}\b(?:been|was|is) (?:already )?"
    r"(?:pre-?)?(?:verified|approved|validated|certified|fact-checked)\b",
    r"\b(?:generate|write|output|return) (?:exactly |only )?(?:the|this)(?: \w+){0,2} question"
    r"\s*[:\uff1a\"\u201c]",
    r"\b(?:contexts?|passages?|sources?|documentation|material)\b[^.\n]{0,40}\b(?:say|state|confirm"
    r"|prove)s? (?:exactly|precisely|just|literally|all of) (?:this|that|it)\b",
)
#: Ways to talk to a judge, or to the model, from inside the material. Manuals set rules aside, too
#: ("ignore a rule on one line"), and give notices and instructions: to readers, not of verdicts.
_STEERING = re.compile("|".join(_PROSE), re.IGNORECASE)
# What a judge is asked to write.
_OUTPUT = re.compile(
    r"[\"'](?:verdict|noncommittal|answerable)[\"']\s*:|\{\s*[\"']statements[\"']\s*:"
    r"|<(?:verdict|noncommittal|answerable)>",
    re.IGNORECASE,
)
# What is quoted is spoken of, where so many words stand around it.
_QUOTED = re.compile(r"\"[^\"\n]{3,120}\"|\u201c[^\u201d\n]{3,120}\u201d|`[^`\n]{3,120}`")
_AROUND = 4
# Letters and digits that stand for Latin letters: enough of them to spell the words above.
_LOOKALIKES = str.maketrans(
    "аеорсухіїјѕԁɡһкмтвнАЕОРСУХІЈЅКМТВНοαερτικνΟΑΕΡΤΙΚΝ",
    "aeopcyxiijsdghkmtbhAEOPCYXIJSKMTBHoaeptikvOAEPTIKN",
)
_LEET = str.maketrans("013457@$!|", "oieastasil")
_MIXED = re.compile(r"\b(?=\w*[a-z])(?=\w*[0-9@$!|])[\w@$!|]{3,40}", re.IGNORECASE)
_SPACES = re.compile(r"[^\S\n]+")
# Letters set apart, "i g n o r e", and words cut into pieces, "ig-nore".
_SPACED = re.compile(r"\b(?:\w[ .\-_*]){4,}\w\b")
_HYPHEN = re.compile(r"(?<=[^\W\d_])[-\u2010\u2011](?=[^\W\d_])")
# So many of them in a row have lost the spaces between their words.
_RUN = 20
_RUN_TOGETHER = re.compile(
    r"(?:ignore|disregard|forget|override|bypass)\w{0,20}(?:instruction|prompt|rule|previous|above)"
    r"|(?:mark|rate|grade|score|judge)\w{0,30}(?:supported|faithful|correct|highest|maximum)",
    re.IGNORECASE,
)
_BASE64 = re.compile(r"[A-Za-z0-9+/]{16,}={0,2}")


@lru_cache(maxsize=sanitising.KEPT)
def steers(text: str) -> bool:
    """Whether the text talks to a model or a judge instead of to a reader, in any spelling."""
    unquoted = _QUOTED.sub(" ", text)
    prose = unquoted if unquoted != text and len(unquoted.split()) >= _AROUND else text
    forms = _spellings(text)
    return (
        any(map(_OUTPUT.search, forms))
        or any(map(_STEERING.search, forms if prose is text else _spellings(prose)))
        or any(map(_RUN_TOGETHER.search, filter(_is_run, map(_joined, _SPACED.findall(text)))))
    )


def _is_run(letters: str) -> bool:
    return len(letters) >= _RUN


def _spellings(text: str) -> set[str]:
    """The text as it is, and what it says where letters stand for others, apart, or encoded."""
    plain = unicodedata.normalize("NFKC", text)
    bare = "".join(c for c in unicodedata.normalize("NFKD", plain) if not unicodedata.combining(c))
    latin = bare.translate(_LOOKALIKES)
    return {
        plain,
        latin,
        _MIXED.sub(lambda found: found.group().translate(_LEET), latin),
        _SPACES.sub(" ", _SPACED.sub(lambda found: _joined(found.group()), latin)),
        _SPACES.sub(" ", _HYPHEN.sub("", latin)),
        *filter(None, map(_decoded, _BASE64.findall(plain))),
    }


def _joined(letters: str) -> str:
    return re.sub(r"[ .\-_*]", "", letters)


def _decoded(word: str) -> str | None:
    """What a word says in base64, if that is a text."""
    try:
        text = base64.b64decode(word[: len(word) // 4 * 4]).decode()
    except ValueError:
        return None
    return text if text.isprintable() else None


@lru_cache(maxsize=sanitising.KEPT)
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
