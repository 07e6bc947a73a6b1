"""The numbers of a text that may be the answer that it gives."""

import re
from collections import deque

from rlvr_ray.core.numbers.linking import quantities
from rlvr_ray.core.numbers.quantity import Quantity

# How many markers of an answer are looked at, the last ones; how many characters behind one, and
# around an equals sign.
_MARKERS, _SENTENCE, _EQUATION = 20, 300, 60

_IS = r"(?:\b(?:is|was|equals|(?:would|should|must) be)\b(?!\s*(?:not|n't)\b)|[:=])"
_STRONG = re.compile(
    rf"####|\\boxed\{{|\bfinal (?:answer|result)\b[^\n.:=0-9]{{0,80}}?{_IS}", re.IGNORECASE
)
_WEAK = re.compile(rf"\b(?:answer|result)\b[^\n.:=0-9]{{0,80}}?{_IS}", re.IGNORECASE)
_CONCLUDES = re.compile(r"\b(?:therefore|thus|hence|in total|altogether)\b[,:]?", re.IGNORECASE)
_END = re.compile(r"[.!?](?=\s|$)|\n|(?<=[\w%])\}|(?<=[\w%] )\}")
# An alternative, or a bare number, in the next sentence belongs to this one.
_GOES_ON = re.compile(
    r"[\s.!?}]*(?:(?:or|alternatively|maybe|perhaps|possibly)\b|[^\w\s]*\s*[0-9])", re.IGNORECASE
)
# What follows such a word explains the number before it.
_EXPLAINS = re.compile(
    r"\b(?:as|because|by|for|from|given|if|since|than|when|where|which|with)\b", re.IGNORECASE
)
# Two numbers that something is done with.
_SUM = re.compile(r"[0-9].*(?:[-+*/×÷·^]|\bx\b|\\(?:times|cdot|div)).*[0-9]")
_HEAD = re.compile(
    r"[\s:(~≈\"'*]*(?:(?:about|approximately|around|roughly|exactly|only|just|equal to|the)\s)*",
    re.IGNORECASE,
)
_OR = re.compile(r"\b(?:or|either)\b", re.IGNORECASE)


def candidates(text: str) -> list[Quantity]:
    """The quantities of a plain text that may be its answer."""
    for marker in (_STRONG, _WEAK, _CONCLUDES):
        marked = deque(marker.finditer(text), maxlen=_MARKERS)
        if stated := [quantity for match in marked for quantity in _stated(text, match.end())]:
            return stated
    result = _result(text)
    return [result] if result else quantities(text)


def _stated(text: str, start: int) -> list[Quantity]:
    """What the sentence that begins there, after a marker, gives as the answer."""
    start += len(text[start : start + _SENTENCE]) - len(text[start : start + _SENTENCE].lstrip())
    longest = start + _SENTENCE
    end, stop = start, _END.search(text, start, longest)
    while stop and _GOES_ON.match(text, stop.end()):
        end = stop.end()
        stop = _END.search(text, end, longest)
    sentence = text[start : stop.end() if stop else longest]
    if not stop and longest < len(text):
        sentence = sentence[: sentence.rfind(" ")]  # no half number
    if end == start and (result := _result(sentence)):
        return [result]
    numbers = quantities(sentence)
    head = _HEAD.match(sentence)
    if end == start and len(numbers) > 1 and head and numbers[0].start <= head.end():
        between = sentence[numbers[0].end : numbers[1].start]
        if _EXPLAINS.search(between) and not numbers[0].hedged:
            return numbers[:1]
    return numbers


def _result(text: str) -> Quantity | None:
    """The X of a text that ends in "= X", if the text says so without alternatives."""
    text = text.rstrip(" .!*\n$})")
    at = max(text.rfind(sign, len(text) - _EQUATION) for sign in "=≈")
    if at < 0:
        return None
    left = re.split(r"[=≈\n]|[.;,] ", text[max(0, at - _EQUATION) : at])[-1]
    if _OR.search(text, max(0, at - _EQUATION)) or "±" in text[at:]:
        return None
    counted = any(char.isdecimal() for char in left)
    if not counted and text.count("=") + text.count("≈") > 1:
        return None  # "x = 5, x = 6"
    equation = left + text[at:]
    right = [number for number in quantities(equation) if number.end > len(left)]
    if len(right) != 1 or equation[len(left) + 1 : right[0].start].strip(" ~*({"):
        return None
    converts = right[0].start < len(left)
    return right[0] if converts or not counted or _SUM.search(left) else None
