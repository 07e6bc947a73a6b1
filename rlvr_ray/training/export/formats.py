"""Pairs and answers as rows for trainers, and the meaning of the columns.

To add a format, add its name to ``Format`` and an entry to ``FORMATS``. Rows have no nulls and no
empty lists, so that a reader needs no schema.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, NamedTuple

from rlvr_ray.dataset.rows import Row
from rlvr_ray.training.export.examples import Answer, Messages, NoPair, Pair

Format = Literal[
    "trl", "llamafactory", "axolotl", "openrlhf", "nemo-rl", "ms-swift", "sft", "rewards", "no-pair"
]

#: What a chat template adds to each message (role, start, end) and to a conversation (start of
#: text, a system message of its own). Those of Llama 3, Qwen and ChatML stay below.
MESSAGE_TOKENS, TEMPLATE_TOKENS = 8, 32


class ExportFormat(NamedTuple):
    """A format: what its rows are made of, how, and what each column holds, in their order."""

    source: type[Pair | Answer | NoPair]
    row: Callable[[Messages, Any], Row]
    columns: Mapping[str, str]


def _reply(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


_PROMPT = "what the model is asked: a list of messages"
_CHOSEN, _REJECTED = "the better answer", "the worse answer"
_MESSAGES = {"chosen": f"{_CHOSEN}: one message", "rejected": f"{_REJECTED}: one message"}
_CONVERSATIONAL = ExportFormat(
    Pair,
    lambda prompt, pair: {
        "prompt": prompt,
        "chosen": [_reply(pair.chosen)],
        "rejected": [_reply(pair.rejected)],
    },
    {
        "prompt": _PROMPT,
        "chosen": f"{_CHOSEN}: a list of one message",
        "rejected": f"{_REJECTED}: a list of one message",
    },
)
FORMATS: dict[Format, ExportFormat] = {
    "trl": _CONVERSATIONAL,
    "llamafactory": ExportFormat(
        Pair,
        lambda prompt, pair: {
            "conversations": prompt,
            "chosen": _reply(pair.chosen),
            "rejected": _reply(pair.rejected),
        },
        {"conversations": _PROMPT, **_MESSAGES},
    ),
    "axolotl": ExportFormat(
        Pair,
        lambda prompt, pair: {
            "messages": prompt,
            "chosen": _reply(pair.chosen),
            "rejected": _reply(pair.rejected),
        },
        {"messages": _PROMPT, **_MESSAGES},
    ),
    "openrlhf": _CONVERSATIONAL,
    "nemo-rl": ExportFormat(
        Pair,
        lambda prompt, pair: {
            "context": prompt,
            "completions": [
                {"rank": rank, "completion": [_reply(text)]}
                for rank, text in enumerate(pair.answers)
            ],
        },
        {
            "context": _PROMPT,
            "completions": "both answers with their `rank`: 0 is the better one, 1 the worse one",
        },
    ),
    "ms-swift": ExportFormat(
        Pair,
        lambda prompt, pair: {
            "messages": [*prompt, _reply(pair.chosen)],
            "rejected_response": pair.rejected,
        },
        {
            "messages": f"{_PROMPT}, which ends with the better answer",
            "rejected_response": f"{_REJECTED}: its text",
        },
    ),
    "sft": ExportFormat(
        Answer,
        lambda prompt, answer: {"messages": [*prompt, _reply(answer.answer)]},
        {"messages": f"{_PROMPT}, which ends with the answer"},
    ),
    "rewards": ExportFormat(
        Answer,
        lambda prompt, answer: {
            "prompt": prompt,
            "completion": [_reply(answer.answer)],
            "reward": answer.score,
            "model": answer.models[0],
            "temperature": answer.temperature,
        },
        {
            "prompt": _PROMPT,
            "completion": "the answer: a list of one message",
            "reward": "its score, from 0 to 1",
            "model": "that wrote it",
            "temperature": "that it was sampled with",
        },
    ),
    "no-pair": ExportFormat(
        NoPair,
        lambda prompt, batch: {
            "prompt": prompt,
            "completions": [[_reply(text)] for text in batch.answers],
            "scores": list(batch.scores),
            "reason": batch.reason,
        },
        {
            "prompt": _PROMPT,
            "completions": "the answers, the best one first: a list of messages each",
            "scores": "of the answers, from 0 to 1, in the same order",
            "reason": "why they made no pair",
        },
    ),
}


def columns(name: Format) -> dict[str, str]:
    """What each column of a format holds, in the order of the file."""
    return {**FORMATS[name].columns, "batch_id": "the batch that the row was made from"}


def convert(name: Format, prompt: Messages, value: Pair | Answer | NoPair) -> Row:
    """A row of that format, with the id of the batch that it comes from."""
    return {**FORMATS[name].row(prompt, value), "batch_id": value.batch_id}


def dataset_info(files: Mapping[str, str]) -> Row:
    """LLaMA-Factory's description of the files, which are given by split."""
    return {
        f"rlvr_{split}": {
            "file_name": file,
            "ranking": True,
            "formatting": "sharegpt",
            "columns": {"messages": "conversations", "chosen": "chosen", "rejected": "rejected"},
            "tags": {
                "role_tag": "role",
                "content_tag": "content",
                "user_tag": "user",
                "assistant_tag": "assistant",
                "system_tag": "system",
            },
        }
        for split, file in files.items()
    }


def tokens(prompt: Messages, answers: Iterable[str], count: Callable[[str], int]) -> int:
    """At most so many tokens has the longest conversation, a chat template's own included."""
    asked = sum(count(message["content"]) for message in prompt)
    own = MESSAGE_TOKENS * (len(prompt) + 1) + TEMPLATE_TOKENS
    return asked + own + max(map(count, answers))
