"""Whether a judge's statements are what an answer says: all of it, and nothing else.

Faithfulness divides by the statements that were found. A judge that leaves out the false sentence,
or writes true statements of its own, would make a bad answer look faithful.
"""

from collections.abc import Sequence

from rlvr_ray.core.text import normalise, parse, split_statements

#: Least share of a statement's content words that the answer or the question has: judges replace
#: pronouns and change forms, so not all of them.
OWN = 0.5
#: Least share of a sentence's content words that the statements have.
COVERED = 0.4
#: Sentences with fewer content words may be filler.
_FEW = 2


def objection(question: str, answer: str, statements: Sequence[str]) -> str | None:
    """What is wrong with the statements, or None."""
    said = _keys(answer) | _keys(question)
    for statement in statements:
        keys = _keys(statement)
        if keys and len(keys & said) / len(keys) < OWN:
            return f"the judge's statement is not from the answer: {statement[:100]}"
    found = set().union(*(_keys(statement) for statement in statements)) | _keys(question)
    for sentence in split_statements(answer):
        keys = _keys(sentence)
        if len(keys) >= _FEW and len(keys & found) / len(keys) < COVERED:
            return f"the judge's statements leave out: {sentence[:100]}"
    return None


def same_text(one: str, two: str) -> bool:
    """Whether two statements are the same but for case, spaces and punctuation."""
    return _letters(one) == _letters(two)


def _letters(text: str) -> str:
    return "".join(char for char in normalise(text).casefold() if char.isalnum())


def _keys(text: str) -> set[str]:
    return {token.key for token in parse(normalise(text)).tokens}
