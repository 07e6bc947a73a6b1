"""Labelled data: what is read, and what is refused in words that help."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from rlvr_ray.core.errors import InputError
from rlvr_ray.core.pairing import PairingRule, decide
from rlvr_ray.dataset import rows
from rlvr_ray.verification.calibration.labelled import Answer, Kind, Labelled, read
from tests.builders import DECIDED, batch, verification

PAIR = {"question": "Who?", "context": "Ada did.", "right_answer": "Ada", "wrong_answer": "Bob"}
ANSWER = {"message": "Who?", "context": "Ada did.", "response": "Ada", "supported": True}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "labelled.jsonl"


def write(file: Path, *data: Any) -> None:
    file.write_text("".join(f"{json.dumps(row)}\n" for row in data), "utf-8")


def read_rows(file: Path, *data: Any) -> Labelled:
    write(file, *data)
    return read(file)


def problem(file: Path, *data: Any) -> str:
    write(file, *data)
    with pytest.raises(InputError) as caught:
        read(file)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_a_pair_as_in_halueval(file: Path) -> None:
    found = read_rows(file, PAIR | {"id": "halueval-qa-0000"})
    assert found.kind is Kind.PAIRS
    (row,) = found.rows
    assert (row.line, row.question, row.contexts, row.references) == (1, "Who?", ("Ada did.",), ())
    assert row.answers == (Answer(text="Ada", right=True), Answer(text="Bob", right=False))


@pytest.mark.parametrize("label", [True, False, 1, 0])
def test_a_labelled_answer_as_in_begin(file: Path, label: Any) -> None:
    found = read_rows(file, ANSWER | {"supported": label})
    assert found.kind is Kind.ANSWERS
    assert found.answers == [Answer(text="Ada", right=bool(label))]
    assert found.rows[0].question == "Who?"


def test_other_names_of_a_labelled_answer(file: Path) -> None:
    row = {"question": "Who?", "contexts": ["Ada did."], "answer": "Ada", "label": 0}
    assert read_rows(file, row).answers == [Answer(text="Ada", right=False)]


@pytest.mark.parametrize("prompt", ["question", "rag"])
def test_a_pair_that_we_wrote(file: Path, prompt: Any) -> None:
    asked = batch(("good", "bad"))
    results = {
        candidate.event_id: verification(candidate, score, score)
        for candidate, score in zip(asked.candidates, (0.9, 0.2), strict=True)
    }
    outcome = decide(asked, results, PairingRule(prompt=prompt), DECIDED)
    (row,) = read_rows(file, rows.dpo(asked, outcome, results)).rows
    assert row.question == asked.question
    assert row.contexts == tuple(context.content for context in asked.contexts)
    assert [answer.text for answer in row.answers] == ["good", "bad"]


@pytest.mark.parametrize(
    ("fields", "contexts", "references"),
    [
        ({"context": "a"}, ("a",), ()),
        ({"context": ["a", "b"]}, ("a", "b"), ()),
        ({"contexts": "a"}, ("a",), ()),
        ({"contexts": ["a", {"content": "b", "score": 0.5}]}, ("a", "b"), ()),
        ({"metadata": {"contexts": [{"content": "b"}]}}, ("b",), ()),
        ({"contexts": ["a"], "metadata": {"contexts": ["b"]}}, ("a",), ()),
        ({"reference": "r"}, (), ("r",)),
        ({"context": None, "references": ["r", "s"]}, (), ("r", "s")),
    ],
)
def test_contexts_and_references(
    file: Path, fields: dict[str, Any], contexts: tuple[str, ...], references: tuple[str, ...]
) -> None:
    data = {"question": "Who?", "chosen": "Ada", "rejected": "Bob"} | fields
    (row,) = read_rows(file, data).rows
    assert (row.contexts, row.references) == (contexts, references)


def test_blank_lines_and_other_line_ends_and_marks_do_not_matter(file: Path) -> None:
    line_separator = json.dumps(PAIR | {"context": "one\u2028two"}, ensure_ascii=False)
    text = f"\ufeff{json.dumps(PAIR)}\r\n\r\n   \n{line_separator}"
    file.write_bytes(text.encode())
    found = read(file)
    assert [row.line for row in found.rows] == [1, 4]
    assert found.rows[1].contexts == ("one\u2028two",)


def test_the_limit_counts_rows_and_the_hash_is_of_the_whole_file(file: Path) -> None:
    file.write_text(f"{json.dumps(PAIR)}\n\n{json.dumps(PAIR)}\nnot looked at\n")
    found = read(file, limit=2)
    assert [row.line for row in found.rows] == [1, 3]
    assert (found.file, found.limit) == ("labelled.jsonl", 2)
    assert found.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()


def test_kinds_are_not_mixed(file: Path) -> None:
    text = problem(file, PAIR, PAIR, ANSWER)
    assert text.startswith(f"{file}:3: this is a labelled answer (answer or response")
    assert "line 1 is a pair (right_answer and wrong_answer" in text
    assert text.endswith("put each kind into a file of its own")


def without(row: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ([PAIR], "a JSON object is wanted, not a list"),
        (7, "a JSON object is wanted, not 7"),
        ({}, "neither a pair"),
        (without(PAIR, "wrong_answer"), "the row has 'question', 'context', 'right_answer'"),
        (PAIR | {"wrong_answer": None}, "neither a pair"),
        (PAIR | ANSWER, "both a pair and a labelled answer"),
        (without(PAIR, "question"), "question or message is missing"),
        (without(PAIR, "context"), "nothing to judge by; add context"),
        (PAIR | {"context": []}, "nothing to judge by; add context"),
        (PAIR | {"context": 5}, "context must be text, not 5"),
        (PAIR | {"context": [{"text": "a"}]}, "context must be text, not null"),
        (PAIR | {"right_answer": ["a"]}, "right_answer must be text, not a list"),
        (PAIR | {"right_answer": {"role": "a"}}, "right_answer must be text, not an object"),
        (PAIR | {"question": "x" * 99, "wrong_answer": 1.5}, "wrong_answer must be text, not 1.5"),
        (PAIR | {"right_answer": "Bob"}, "are the same"),
        (PAIR | {"right_answer": "a\0b"}, "right_answer contains a NUL character"),
        (PAIR | {"reference": "\ud800"}, "reference is not valid Unicode"),
        (PAIR | {"\ud800\n": 1} | {"right_answer": None}, r"'\ud800\n'"),
        (ANSWER | {"supported": "yes"}, 'supported must be true, false, 0 or 1, not "yes"'),
        (ANSWER | {"supported": 2}, "supported must be true, false, 0 or 1, not 2"),
        (ANSWER | {"supported": []}, "supported must be true, false, 0 or 1, not a list"),
    ],
)
def test_a_bad_row_is_named_with_what_to_do(file: Path, row: Any, says: str) -> None:
    good = ANSWER if isinstance(row, dict) and "response" in row else PAIR
    text = problem(file, good, row)
    assert text.startswith(f"{file}:2: ")
    assert says in text
    assert len(text) < 500 + len(str(file))


@pytest.mark.parametrize(
    "line", ["{", "nonsense", '{"question": "a"} {}', "[" * 100_000, "1" * 5000]
)
def test_what_is_no_json_is_named(file: Path, line: str) -> None:
    file.write_text(f"\n{line}\n")
    with pytest.raises(InputError, match=r":2: not JSON: .*; each line must be one JSON object"):
        read(file)


def test_what_is_no_utf_8_is_named(file: Path) -> None:
    file.write_bytes(json.dumps(PAIR).encode() + b'\n{"question": "\xff"}\n')
    with pytest.raises(InputError, match=r":2: not UTF-8"):
        read(file)


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_a_file_without_rows_is_refused(file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(InputError, match="holds no rows; each line must be a pair"):
        read(file)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read(tmp_path / "none.jsonl")
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        read(tmp_path)
