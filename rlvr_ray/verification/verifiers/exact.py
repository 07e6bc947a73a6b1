"""The verifier ``exact``: compares an answer with references as text.

The normalisation is that of SQuAD (Rajpurkar et al., 2016, "SQuAD: 100,000+ Questions for Machine
Comprehension of Text").
"""

import re
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from rlvr_ray.core import language
from rlvr_ray.verification.verifier import Claim
from rlvr_ray.verification.verifiers.rules import Match, RuleVerifier
from rlvr_ray.verification.verifiers.shared import Options, quote, read_options

#: References that a detail names.
_NAMED = 4

# "a" in capitals names something ("vitamin A") unless a text begins with it.
_ARTICLES = re.compile(r"(?:\b(?:(?i:the|an)|a)|\A\W?A) (?=\w)(?!(?i:the|an?)\b)")
_MARKUP = re.compile(r"(?<![\w*`])[*_`]++(?=\w)|(?<=[^\W_]|[.,!?)%\"'])[*_`]++(?!\w)")
_GROUPS = re.compile(
    r"(?<![\w.,'])(?:[1-9]\d{0,2}(?:,\d{3})+|[1-9]\d{0,2}(?:'\d{3})+|[1-9]\d?(?:,\d{2})+,\d{3})"
    r"(?![\w,'])"
)
# The spaces around what stands between two operands, and before a percent sign.
_SPACED = re.compile(
    r"(?: ?([<>=^≤≥≠]+) ?|(?:(?<=\d)|(?<=\b\w)) ([-+*/×÷]) (?=\w\b|\d)|(?<=\d) (%))"
)
# Signs, but for those between two digits.
_SIGNS = re.compile(r"(?!(?<=[0-9]).[0-9])(?:[^\w\s]|_)")
# "re-sign" is not "resign", but "co-op" is "coop".
_APART = re.compile(r"\bre$")


class _Exact(Options):
    contains: bool = False


def create(options: Mapping[str, Any]) -> RuleVerifier:
    """1 where the normalised answer is a reference, else 0; None without references.

    Option ``contains``: an answer that contains a reference will do.
    """
    chosen = read_options(_Exact, "exact", options)

    def rule(claim: Claim) -> Match | None:
        if not claim.references:
            return None
        return match(claim.answer, claim.references, contains=chosen.contains)

    return RuleVerifier(rule, chosen, sys.modules[__name__], language)


def match(answer: str, references: Sequence[str], *, contains: bool = False) -> Match:
    """1 where the normalised answer is one of the normalised references, else 0.

    With ``contains``, also where it contains one as whole words.
    """
    found = f" {normalise(answer)} "
    for reference in references:
        expected = f" {normalise(reference)} "
        if found.strip() and (expected == found or (contains and expected in found)):
            return Match(1.0, f"expected {quote(reference)}, found {quote(answer)}")
    return Match(0.0, f"expected {_any_of(references)}, found {quote(answer)}")


def normalise(text: str) -> str:
    """A text as SQuAD's exact match sees it: without case, punctuation, articles, extra spaces.

    Stricter where that would make different things equal: what stands within a number or between
    two operands stays ("1,5", "10:30", "x < y", "3-4"), as do signs, percent signs and the end of
    "C++". A text that would be empty keeps what it has.
    """
    text = language.normalise(text)
    if not text.isascii():
        text = "".join(char for char in text if not _invisible(char))
    text = _ARTICLES.sub("", _MARKUP.sub("", " ".join(text.split()))).casefold()
    text = _GROUPS.sub(lambda match: re.sub("[,']", "", match[0]), language.normalise(text))
    text = _SPACED.sub(r"\1\2\3", text)
    bare = _SIGNS.sub(_kept, text)
    return " ".join(bare.split()) or " ".join(text.split())


def _invisible(char: str) -> bool:
    return unicodedata.category(char) == "Cf" or "\ufe00" <= char <= "\ufe0f"


def _kept(match: re.Match[str]) -> str:
    """What is left of a sign: itself, a space, or nothing of punctuation around words."""
    char, text, at = match.group(), match.string, match.start()
    before, after = text[max(0, at - 1) : at], text[at + 1 : at + 2]
    if not unicodedata.category(char).startswith("P") and char not in "$+<=>^`|~":
        return char
    if char in "<=>^":
        keep = bool(before and after) or after.isdigit()
    elif before.isalnum() and after.isalnum():
        if char in ",;:—(" or (char == "." and before.isdigit() + after.isdigit()):
            return " "
        letters = before.isalpha() and after.isalpha()
        keep = (
            not letters or char not in ".'-" or _APART.search(text, max(0, at - 3), at) is not None
        )
    elif char in "-.":  # a sign, or a decimal
        keep = after.isdigit() or (char == "-" and after == ".")
        keep = keep and not before.strip(" $€£¥(")
    elif char in "+#" and not after.isalnum():
        keep = text[max(0, at - 3) : at].rstrip("+#")[-1:].isalpha() or (before == after == " ")
    else:
        keep = (char == "%" and before.isdigit()) or (char == "!" and after == "=")
        keep = keep or (char in "*/" and before == after == " ")
    return char if keep else ""


def _any_of(references: Sequence[str]) -> str:
    more = len(references) - _NAMED
    named = ", ".join(map(quote, references[:_NAMED]))
    prefix = "one of " if len(references) > 1 else ""
    return prefix + named + (f" and {more} more" if more > 0 else "")
