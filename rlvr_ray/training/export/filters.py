"""The reasons why a row is left out of an export."""

from collections.abc import Callable
from pathlib import Path

from rlvr_ray.core.answer_text import answer_in, control_tokens
from rlvr_ray.core.errors import InputError
from rlvr_ray.core.spelling import displayed, same_answer
from rlvr_ray.training.export.contradictions import Contradictions
from rlvr_ray.training.export.decontamination import HeldOut
from rlvr_ray.training.export.examples import Answer, Messages, NoPair, Pair
from rlvr_ray.training.export.near_duplicates import NearDuplicates
from rlvr_ray.training.export.overlap import words
from rlvr_ray.training.export.report import ExportStatistics


def unfit(value: Pair | Answer | NoPair) -> str | None:
    """Why a row's answers teach nothing, or wrong things; control tokens are only counted."""
    if not all(map(displayed, value.answers)):
        return "empty_answer"
    if isinstance(value, Pair) and same_answer(*value.answers):
        return "identical_answers"
    for text in value.answers:
        cleaned = answer_in(text)
        cut = cleaned.text != text.strip() and not control_tokens(text)
        if cleaned.reasoning_chars or cut:
            return "not_an_answer"
    return None


def is_contradicted(value: Pair | Answer | NoPair, found: Contradictions) -> bool:
    """Whether another pair of the same question prefers the other answer."""
    if isinstance(value, Pair):
        return found.has(value.question, value.chosen, value.rejected)
    return value.batch_id in found.batches


def overlaps(
    value: Pair | Answer | NoPair,
    prompt: Messages,
    held_out: HeldOut | None,
    kept: NearDuplicates | None,
    stats: ExportStatistics,
) -> bool:
    """Whether a row is to be left out for what it shares with held-out questions or kept rows."""
    if held_out is None and kept is None:
        return False
    asked, *answers = (words(text) for text in (value.question, *value.answers))
    if held_out is not None:
        # First, so that a row that goes here takes no other with it as its near-duplicate.
        hit = held_out.hit(asked, [*(words(message["content"]) for message in prompt), *answers])
        if hit is not None:
            place = f"{hit.source}:{hit.line}"
            stats.leave("held_out", f"batch {value.batch_id} has {hit.why} in {place}")
            return True
    like = kept.admit(value.batch_id, [asked, *answers]) if kept is not None else None
    if like is not None:
        example = f"batch {value.batch_id} is {like.similarity:.2f} like batch {like.name}"
        stats.leave("near_duplicate", example)
    return like is not None


def token_counter(file: Path | None) -> Callable[[str], int] | None:
    """Counts a text's tokens, by a tokenizer.json."""
    if file is None:
        return None
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # it has no class of its own
        raise InputError(f"{file} is no tokenizer.json: {error}") from None
    tokenizer.no_truncation()  # some files cut at a model's limit, or fill up to it
    tokenizer.no_padding()
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)
