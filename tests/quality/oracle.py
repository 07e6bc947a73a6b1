"""A judge that knows the labels: what the guards around a perfect one cost.

It answers the prompts of the verifier ``logprob`` truly. Whatever a panel with such a judge gets
wrong, or leaves without a score, is the doing of what stands around the judge.
"""

import math
import re
from collections.abc import Sequence

from rlvr_ray.core.errors import InputError, JudgeError
from rlvr_ray.core.records import NO_TOKENS, Verification
from rlvr_ray.generation.generator import Completion, Prompt
from rlvr_ray.verification.calibration.labelled import Labelled, Row
from rlvr_ray.verification.verifier import Claim, Panel

#: Probabilities of the verdict 1.
TRUE, FALSE = 0.97, 0.03
#: Kinds of rows whose contexts do not answer the question: saying so is right.
UNANSWERABLE = (
    "right_refusal",
    "refusal (not in context) vs hallucination",
    "refusal (not in context) vs irrelevant verbatim",
    "German abstention right",
)
#: How a control says what a context holds where no sentence of it stands for itself.
_QUOTE = re.compile(r'The context contains the text "(.*)"\.', re.DOTALL)
#: What a prompt asks about, in the end: the last text between marks, by its name.
_MATERIAL = re.compile(r"^(\w+): \[(\w+)\] (.*?) \[/\2\]$", re.DOTALL | re.MULTILINE)


class Oracle:
    """A Generator; ``row`` is the one whose answers are judged."""

    def __init__(self) -> None:
        self.row: Row | None = None

    async def generate(self, prompts: Sequence[Prompt]) -> list[list[Completion] | InputError]:
        """One verdict a prompt."""
        return [[self._verdict(prompt)] for prompt in prompts]

    def _verdict(self, prompt: Prompt) -> Completion:
        found = _MATERIAL.findall(prompt.messages[-1].content)
        assert found and prompt.logprobs, f"this is no verdict of logprob: {prompt.messages}"
        name, _, text = found[-1]
        yes = TRUE if self._is_true(name, text) else FALSE
        return Completion(
            text="1" if yes == TRUE else "0",
            finish_reason="stop",
            model="oracle",
            usage=NO_TOKENS,
            logprobs=({"1": math.log(yes), "0": math.log(1 - yes)},),
        )

    def _is_true(self, name: str, text: str) -> bool:
        row = self.row
        assert row is not None, "no row is judged"
        match name:
            case "Question":  # can the contexts answer it?
                return row.kind not in UNANSWERABLE
            case "Response":  # does it answer the question?
                return _is_right(text, row) is True
            case "Statement":  # do the contexts say so?
                known = _is_right(text, row)
                return any(_has(c, text) for c in row.contexts) if known is None else known
        raise AssertionError(f"the oracle knows of no {name}")


def _is_right(text: str, row: Row) -> bool | None:
    """Whether a text is of the right answer, or of the wrong one (False), or of none (None).

    Of both it is right, unless it is all of the wrong one.
    """
    if any(_flat(text) == _flat(answer.text) and not answer.right for answer in row.answers):
        return False
    for reading in (_flat, _words):
        labels = {a.right for a in row.answers if reading(text) in reading(a.text)}
        if labels:
            return True in labels
    return None


def _has(context: str, text: str) -> bool:
    quote = _QUOTE.fullmatch(text)
    return _flat(quote[1]) in _flat(context) if quote else _words(text) in _words(context)


class Telling:
    """A Panel that tells the oracle which row is judged: one at a time."""

    def __init__(self, panel: Panel, oracle: Oracle, labelled: Labelled) -> None:
        self._panel = panel
        self._oracle = oracle
        self._rows = {_key(r.question, [a.text for a in r.answers]): r for r in labelled.rows}

    async def verify(self, claims: Sequence[Claim]) -> list[Verification | JudgeError]:
        """See ``Panel``."""
        key = _key(claims[0].question, [claim.answer for claim in claims])
        self._oracle.row = self._rows[key]
        return await self._panel.verify(claims)


def _key(question: str, answers: Sequence[str]) -> tuple[str, frozenset[str]]:
    return question, frozenset(answers)


def _flat(text: str) -> str:
    return " ".join(text.lower().split())


def _words(text: str) -> str:
    """A text's words with a space around each, so that none is found inside another."""
    return " ".join(["", *re.findall(r"[^\W_]+", text.lower()), ""])
