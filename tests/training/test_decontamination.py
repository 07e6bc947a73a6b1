"""Which rows give away held-out questions."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rlvr_ray.core.errors import InputError
from rlvr_ray.core.questions import Question
from rlvr_ray.training.export import decontamination
from rlvr_ray.training.export.decontamination import HeldOut, Hit
from rlvr_ray.training.export.near_duplicates import Lookalikes
from rlvr_ray.training.export.overlap import words

THIRTEEN = "one two three four five six seven eight nine ten eleven twelve thirteen"


def held(*texts: str, reference: str | None = None) -> HeldOut:
    found = HeldOut()
    found.add(
        Question(text=text, reference=reference, source="exam.txt", line=line)
        for line, text in enumerate(texts, 1)
    )
    return found


def hit(held_out: HeldOut, question: str, *answers: str) -> Hit | None:
    texts = [words(text) for text in (question, *answers)]
    return held_out.hit(texts[0], texts)


class TestHits:
    @pytest.mark.parametrize(
        "question",
        [
            "How many bones does an adult human body have?",
            "how many bones DOES an adult\nhuman body have",
            "Tell me: How many bones does an adult human body have?",
            "How many bones does an adult human body have, exactly?",
            "An adult human body does have how many bones?",
        ],
    )
    def test_a_short_question_in_other_words_order_or_case(self, question: str) -> None:
        found = hit(held("Why?", "How many bones does an adult human body have?"), question)
        assert found is not None
        assert (found.source, found.line) == ("exam.txt", 2)

    @pytest.mark.parametrize(
        "question", ["How many teeth does a young dog have?", "Is it human?", "Bones?", "?"]
    )
    def test_another_question_stays(self, question: str) -> None:
        assert hit(held("How many bones does an adult human body have?"), question) is None

    def test_three_of_four_words_in_common_are_not_enough(self) -> None:
        held_out = held("What is the boiling point of water?")
        assert hit(held_out, "What is the melting point of water?") is None

    @pytest.mark.parametrize("place", [0, 1, 2])
    def test_thirteen_words_in_the_prompt_or_in_either_answer(self, place: int) -> None:
        texts = ["What is counted?", "This.", "That."]
        texts[place] += f" It says: {THIRTEEN.upper()}, and so on."
        found = hit(held(f"Why are {THIRTEEN} counted in this order here?"), *texts)
        assert found is not None
        assert found.why == f'"{THIRTEEN}"'

    def test_twelve_words_may_be_chance(self) -> None:
        twelve = THIRTEEN.removesuffix(" thirteen")
        held_out = held(f"Why are {THIRTEEN} counted in this order here?")
        assert hit(held_out, "What is counted?", f"{twelve} things, more or less.") is None

    def test_the_right_answer_of_a_held_out_question_counts_too(self) -> None:
        held_out = held("Which numbers?", reference=f"They are {THIRTEEN}.")
        assert hit(held_out, "What is counted?", f"Well, {THIRTEEN}") is not None
        assert hit(held_out, "What is counted?", "They are.") is None

    @pytest.mark.parametrize("at", ["two", "seven", "thirteen"])
    def test_an_ngram_does_not_go_from_question_to_question_but_through_a_running_text(
        self, at: str
    ) -> None:
        lines = THIRTEEN.replace(f" {at}", f"\n{at}").splitlines()
        questions = [Question(text=t, source="a.md", line=n) for n, t in enumerate(lines, 1)]
        for running in (False, True):
            held_out = HeldOut()
            assert held_out.add(questions, running=running) == 2
            assert (hit(held_out, "What?", THIRTEEN) is not None) == running

    def test_nor_through_the_end_of_a_file(self) -> None:
        lines = THIRTEEN.replace(" seven", "\nseven").splitlines()
        held_out = HeldOut()
        held_out.add([Question(text=t, source=f"{t[:3]}.md", line=1) for t in lines], running=True)
        assert hit(held_out, "What?", THIRTEEN) is None

    def test_rows_are_counted_for_the_file(self) -> None:
        held_out = HeldOut()
        for source, text in (("a.txt", "Who is it?"), ("b.txt", "Where is it?")):
            held_out.add([Question(text=text, source=source, line=1)])
        for question in ("Where is it?", "where is it", "Who is it?", "What else?"):
            hit(held_out, question)
        assert [(file.source, file.questions, file.rows) for file in held_out.files] == [
            ("a.txt", 1, 1),
            ("b.txt", 1, 2),
        ]

    def test_what_the_hashes_propose_is_compared(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Lookalikes, "find", lambda self, sketch: {0, 1})
        held_out = held("Who is the author of Hamlet?", "Where is it?")
        assert hit(held_out, "What else is there?") is None
        found = hit(held_out, "where is it")
        assert found is not None
        assert found.line == 2


def jsonl(file: Path, rows: list[dict[str, str]]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def csv(file: Path, rows: list[dict[str, str]]) -> None:
    file.write_text("question\n" + "".join(f'"{row["question"]}"\n' for row in rows))


def parquet(file: Path, rows: list[dict[str, str]]) -> None:
    pq.write_table(pa.Table.from_pylist(rows), file)


def text(file: Path, rows: list[dict[str, str]]) -> None:
    file.write_text("\n\n".join(row["question"] for row in rows))


class TestFiles:
    @pytest.mark.parametrize(
        ("name", "write"),
        [
            ("exam.jsonl", jsonl),
            ("exam.csv", csv),
            ("exam.parquet", parquet),
            ("exam.txt", text),
            ("exam.md", text),
            ("exam", text),
        ],
    )
    def test_kinds(
        self, tmp_path: Path, name: str, write: Callable[[Path, list[dict[str, str]]], None]
    ) -> None:
        write(tmp_path / name, [{"question": "Who is it?"}, {"question": "Where is it?"}])
        held_out = decontamination.read([str(tmp_path / name)], None)
        (file,) = held_out.files
        assert (file.source, file.questions) == (str(tmp_path / name), 2)
        assert hit(held_out, "where is it") is not None
        assert hit(held_out, "what is there") is None

    def test_questions_with_the_same_id_are_all_held_out(self, tmp_path: Path) -> None:
        file = tmp_path / "exam.jsonl"
        jsonl(file, [{"id": "1", "question": q} for q in ("Who is it?", "Where is it?")])
        held_out = decontamination.read([str(file)], None)
        assert hit(held_out, "Who is it?") is not None
        assert hit(held_out, "Where is it?") is not None

    def test_several_files_a_folder_and_a_file_named_twice(self, tmp_path: Path) -> None:
        (tmp_path / "folder").mkdir()
        for name in ("folder/a.txt", "folder/b.txt", "c.txt"):
            (tmp_path / name).write_text(f"Who is {name}?\n")
        named = [str(tmp_path / name) for name in ("folder", "c.txt", "c.txt")]
        held_out = decontamination.read(named, None)
        names = [Path(file.source).name for file in held_out.files]
        assert names[:3] == ["a.txt", "b.txt", "c.txt"]
        assert hit(held_out, "Who is folder/b.txt?") is not None

    def test_a_column_of_another_name(self, tmp_path: Path) -> None:
        file = tmp_path / "exam.jsonl"
        jsonl(file, [{"problem": "Who is it?"}])
        assert hit(decontamination.read([str(file)], "problem"), "who is it") is not None
        with pytest.raises(InputError, match=r"exam\.jsonl:1: there is no column 'question'"):
            decontamination.read([str(file)], None)

    def test_a_row_without_a_question_hides_none(self, tmp_path: Path) -> None:
        file = tmp_path / "exam.jsonl"
        jsonl(file, [{"question": " "}, {"question": "Who is it?"}])
        assert [f.questions for f in decontamination.read([str(file)], None).files] == [1]

    @pytest.mark.parametrize(
        ("name", "content", "told"),
        [
            ("missing.csv", None, "does not exist"),
            ("missing", None, "does not exist"),
            ("empty.jsonl", b"", "no question"),
            ("empty.md", b"\n \n", "no question"),
            ("half.jsonl", b'{"question": "Who is it?"}\n{"question": "Whe', "half.jsonl:2"),
            ("latin.txt", "Où est-il ?\n".encode("latin-1"), "not UTF-8"),
            ("latin.md", "Où est-il ?\n".encode("latin-1"), "not UTF-8"),
            ("no.parquet", b"PAR1 no PAR1", "cannot be read"),
            ("long.txt", b"word " * 2_000, "shorten it"),
            ("empty_folder", b"/", "holds no"),
        ],
    )
    def test_what_cannot_be_read_is_an_error(
        self, tmp_path: Path, name: str, content: bytes | None, told: str
    ) -> None:
        file = tmp_path / name
        if content == b"/":
            file.mkdir()
        elif content is not None:
            file.write_bytes(content)
        (tmp_path / "good.txt").write_text("Who is it?\n")
        with pytest.raises(InputError) as caught:
            decontamination.read([str(tmp_path / "good.txt"), str(file)], None)
        assert str(caught.value).startswith(f"--decontaminate: {file}")
        assert told in str(caught.value)
        assert "\n" not in str(caught.value)
