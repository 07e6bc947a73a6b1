"""Pairs and answers as rows for trainers, and the meaning of the columns.

To add a format, write a function and add its name to ``Format`` and to ``PAIR_FORMATS`` or
``ANSWER_FORMATS``. Rows have no nulls and no empty lists, so that a reader needs no schema.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Literal

from rlvr_ray.dataset.rows import Row
from rlvr_ray.training.export.examples import Answer, Messages, NoPair, Pair

Format = Literal[
    "trl", "llamafactory", "axolotl", "openrlhf", "nemo-rl", "ms-swift", "sft", "rewards", "no-pair"
]

#: What a chat template adds to each message (role, start, end) and to a conversation (start of
#: text, a system message of its own). Those of Llama 3, Qwen and ChatML stay below.
MESSAGE_TOKENS, TEMPLATE_TOKENS = 8, 32


def _said(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def _conversational(prompt: Messages, pair: Pair) -> Row:
    return {
        "prompt": prompt,
        "chosen": [_said(pair.chosen)],
        "rejected": [_said(pair.rejected)],
    }


def _llamafactory(prompt: Messages, pair: Pair) -> Row:
    return {
        "conversations": prompt,
        "chosen": _said(pair.chosen),
        "rejected": _said(pair.rejected),
    }


def _axolotl(prompt: Messages, pair: Pair) -> Row:
    return {"messages": prompt, "chosen": _said(pair.chosen), "rejected": _said(pair.rejected)}


def _nemo_rl(prompt: Messages, pair: Pair) -> Row:
    completions = [
        {"rank": rank, "completion": [_said(text)]} for rank, text in enumerate(pair.answers)
    ]
    return {"context": prompt, "completions": completions}


def _ms_swift(prompt: Messages, pair: Pair) -> Row:
    return {"messages": [*prompt, _said(pair.chosen)], "rejected_response": pair.rejected}


def _sft(prompt: Messages, answer: Answer) -> Row:
    return {"messages": [*prompt, _said(answer.answer)]}


def _rewards(prompt: Messages, answer: Answer) -> Row:
    return {
        "prompt": prompt,
        "completion": [_said(answer.answer)],
        "reward": answer.score,
        "model": answer.models[0],
        "temperature": answer.temperature,
    }


def _no_pair(prompt: Messages, batch: NoPair) -> Row:
    return {
        "prompt": prompt,
        "completions": [[_said(text)] for text in batch.answers],
        "scores": list(batch.scores),
        "reason": batch.reason,
    }


#: By name: what makes a row of a pair's parts, and of an answer's.
PAIR_FORMATS: dict[Format, Callable[[Messages, Pair], Row]] = {
    "trl": _conversational,
    "llamafactory": _llamafactory,
    "axolotl": _axolotl,
    "openrlhf": _conversational,
    "nemo-rl": _nemo_rl,
    "ms-swift": _ms_swift,
}
ANSWER_FORMATS: dict[Format, Callable[[Messages, Answer], Row]] = {"sft": _sft, "rewards": _rewards}


def convert(name: Format, prompt: Messages, value: Pair | Answer | NoPair) -> Row:
    """A row of that format, with the id of the batch that it comes from."""
    if isinstance(value, Pair):
        row = PAIR_FORMATS[name](prompt, value)
    elif isinstance(value, NoPair):
        row = _no_pair(prompt, value)
    else:
        row = ANSWER_FORMATS[name](prompt, value)
    return {**row, "batch_id": value.batch_id}


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


_PROMPT = "what the model is asked: a list of messages"
_BATCH = "the batch that the row was made from"
_CHOSEN, _REJECTED = "the better answer", "the worse answer"
_LISTS = {
    "prompt": _PROMPT,
    "chosen": f"{_CHOSEN}: a list of one message",
    "rejected": f"{_REJECTED}: a list of one message",
}
_MESSAGES = {"chosen": f"{_CHOSEN}: one message", "rejected": f"{_REJECTED}: one message"}
_COLUMNS: dict[Format, dict[str, str]] = {
    "trl": _LISTS,
    "openrlhf": _LISTS,
    "llamafactory": {"conversations": _PROMPT, **_MESSAGES},
    "axolotl": {"messages": _PROMPT, **_MESSAGES},
    "nemo-rl": {
        "context": _PROMPT,
        "completions": "both answers with their `rank`: 0 is the better one, 1 the worse one",
    },
    "ms-swift": {
        "messages": f"{_PROMPT}, which ends with the better answer",
        "rejected_response": f"{_REJECTED}: its text",
    },
    "sft": {"messages": f"{_PROMPT}, which ends with the answer"},
    "rewards": {
        "prompt": _PROMPT,
        "completion": "the answer: a list of one message",
        "reward": "its score, from 0 to 1",
        "model": "that wrote it",
        "temperature": "that it was sampled with",
    },
    "no-pair": {
        "prompt": _PROMPT,
        "completions": "the answers, the best one first: a list of messages each",
        "scores": "of the answers, from 0 to 1, in the same order",
        "reason": "why they made no pair",
    },
}
#: By format, in the order of the file: what each column holds.
COLUMNS = {name: {**columns, "batch_id": _BATCH} for name, columns in _COLUMNS.items()}
