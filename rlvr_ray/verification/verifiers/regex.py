"""The verifier ``regex``: a pattern must be found in the answer."""

import sys
from collections.abc import Mapping
from typing import Any

from pydantic import Field

from rlvr_ray.core.errors import ConfigError, JudgeError
from rlvr_ray.verification.verifier import Claim
from rlvr_ray.verification.verifiers import rules
from rlvr_ray.verification.verifiers.rules import Match, RuleVerifier
from rlvr_ray.verification.verifiers.shared import Options, quote, read_options


class _Regex(Options):
    pattern: str = Field(min_length=1)
    full: bool = False
    ignore_case: bool = False


def create(options: Mapping[str, Any]) -> RuleVerifier:
    """1 where the pattern is found in the answer, else 0; a JudgeError where that takes too long.

    Options ``pattern`` (of the ``regex`` library), ``full`` (the whole answer has to match) and
    ``ignore_case``.
    """
    import regex as library  # type: ignore[import-untyped]

    chosen = read_options(_Regex, "regex", options)
    try:
        pattern = library.compile(chosen.pattern, library.IGNORECASE if chosen.ignore_case else 0)
    except (library.error, RecursionError, OverflowError) as error:
        raise ConfigError(
            f"verifier regex: option pattern {quote(chosen.pattern)}: {error}"
        ) from None
    find = pattern.fullmatch if chosen.full else pattern.search
    expected = f"expected {'all of it' if chosen.full else 'a match'} for {quote(chosen.pattern)}"

    def rule(claim: Claim) -> Match:
        try:
            found = find(claim.answer, timeout=rules.PATTERN_S, concurrent=True)
        except (TimeoutError, MemoryError):
            raise JudgeError(
                f"the pattern {quote(chosen.pattern)} took over {rules.PATTERN_S:g} s; simplify it"
            ) from None
        if found is None:
            return Match(0.0, f"{expected}, found none in {quote(claim.answer)}")
        return Match(1.0, f"{expected}, found {quote(found.group())}")

    return RuleVerifier(rule, chosen, sys.modules[__name__])
