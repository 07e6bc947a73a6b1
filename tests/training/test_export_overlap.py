"""`rlvr export` without near-duplicates, and without what gives away held-out questions."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.builders import context
from tests.exports import contents, export, refused, rlvr, rows
from tests.folders import DPO, TRAINING, Folder, decided

pytestmark = pytest.mark.integration


WORDS = tuple(f"word{number}" for number in range(1_000))
PAIRS = 8


def answer(number: int, side: int) -> str:
    """Forty words that no other answer has."""
    start = 80 * number + 40 * side
    return " ".join(WORDS[start : start + 40])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Pairs that have nothing in common, each from a document of its own."""
    folder = tmp_path / "data"
    Folder(folder).run(
        [
            decided(
                number,
                (0.9, 0.2),
                answers=(answer(number, 0), answer(number, 1)),
                contexts=(context(f"About {number}.", source=f"{number}.md"),),
            )
            for number in range(PAIRS)
        ]
    )
    return folder


def add(data: Path, like: int, batch: str, **changes: Any) -> None:
    """Append a pair that is like one that is there, but for some fields."""
    row = json.loads((data / DPO).read_bytes().splitlines()[like])
    row["metadata"]["batch_id"] = batch
    if (question := changes.pop("question", None)) is not None:
        row["metadata"]["question"] = question
    with (data / DPO).open("a") as stream:
        stream.write(json.dumps(row | changes) + "\n")


def batches(folder: Path) -> list[str]:
    return [row["batch_id"] for row in rows(folder / "train.jsonl")]


def names(data: Path) -> list[str]:
    return [row["metadata"]["batch_id"] for row in rows(data / DPO)]


class TestNearDuplicates:
    def test_rows_that_say_nearly_the_same_are_left_out_and_counted(
        self, data: Path, tmp_path: Path
    ) -> None:
        first, second, *_ = names(data)
        add(data, 0, "copy")
        add(data, 1, "near", question="question 1", chosen=f"{answer(1, 0).upper()}, indeed!")
        add(data, 1, "other question", question="What else is there?")
        add(data, 1, "other answer", rejected=answer(2, 1))
        report = export(data, tmp_path / "out", "--near-duplicates", 0.8, "--eval", 0)
        assert report["left_out"] == {"near_duplicate": 2}
        assert batches(tmp_path / "out") == [*names(data)[:PAIRS], "other question", "other answer"]
        assert report["examples"] == {
            "near_duplicate": [
                f"batch copy is 1.00 like batch {first}",
                f"batch near is 0.97 like batch {second}",
            ]
        }
        card = (tmp_path / "out" / "README.md").read_text("utf-8")
        assert "| `near_duplicate` | a near-duplicate of an earlier row | 2 |" in card
        assert "at least\n0.8 in the question and in every answer" in card

    def test_they_stay_unless_it_is_asked_for(self, data: Path, tmp_path: Path) -> None:
        add(data, 0, "copy")
        assert export(data, tmp_path / "out")["left_out"] == {}

    def test_the_bound_is_the_one_that_is_given(self, data: Path, tmp_path: Path) -> None:
        changed = answer(1, 0).split()
        changed[20] = "another"  # of 38 shingles 3 are others: 35 / 41
        add(data, 1, "near", chosen=" ".join(changed))
        for bound, left in ((0.85, {"near_duplicate": 1}), (0.86, {})):
            report = export(data, tmp_path / str(bound), "--near-duplicates", bound)
            assert report["left_out"] == left

    def test_a_row_that_is_not_exported_takes_no_other_with_it(
        self, data: Path, tmp_path: Path
    ) -> None:
        """The earlier row goes since it has no passages."""
        lines = (data / DPO).read_text().splitlines()
        bare = json.loads(lines[0])
        bare["metadata"] |= {"contexts": [], "batch_id": "bare"}
        (data / DPO).write_text("\n".join([json.dumps(bare), *lines]) + "\n")
        options = ("--near-duplicates", 0.8, "--prompt", "rag-messages", "--eval", 0)
        report = export(data, tmp_path / "out", *options)
        assert report["left_out"] == {"no_contexts": 1}
        assert batches(tmp_path / "out") == names(data)[1:]

    @pytest.mark.parametrize("format_", ["sft", "rewards"])
    def test_answers_too(self, data: Path, tmp_path: Path, format_: str) -> None:
        written = rows(data / TRAINING)
        with (data / TRAINING).open("a") as stream:
            for number, row in enumerate(written[:4]):
                row["metadata"] |= {
                    "event_id": f"again {number}",
                    "batch_id": f"again {row['metadata']['batch_id']}",
                }
                stream.write(json.dumps(row) + "\n")
        options = ("--near-duplicates", 0.9, "--eval", 0)
        report = export(data, tmp_path / "out", *options, format_=format_)
        assert report["left_out"]["near_duplicate"] == (2 if format_ == "sft" else 4)

    def test_the_passages_of_the_prompt_do_not_make_rows_alike(
        self, data: Path, tmp_path: Path
    ) -> None:
        passage = context(" ".join(WORDS) * 3)
        folder = tmp_path / "shared"
        Folder(folder).run(
            [
                decided(n, (0.9, 0.2), answers=(answer(n, 0), answer(n, 1)), contexts=(passage,))
                for n in range(3)
            ]
        )
        options = ("--near-duplicates", 0.8, "--prompt", "rag-messages", "--eval", 0)
        assert export(folder, tmp_path / "out", *options)["left_out"] == {}

    def test_whatever_the_hash_seed_the_bytes_are_the_same(
        self, data: Path, tmp_path: Path
    ) -> None:
        for number in range(4):
            add(data, number, f"near {number}", chosen=f"{answer(number, 0)} too")
        (tmp_path / "exam.txt").write_text("Question 5?\n")
        program = "from rlvr_ray.cli import app; app()"
        arguments = ["--format", "trl", "--data-dir", str(data), "--near-duplicates", "0.8"]
        arguments += ["--decontaminate", str(tmp_path / "exam.txt"), "--out"]
        for seed in ("1", "2"):
            subprocess.run(
                [sys.executable, "-c", program, "export", *arguments, str(tmp_path / seed)],
                env=os.environ | {"PYTHONHASHSEED": seed},
                check=True,
                capture_output=True,
            )
        one, two = (contents(tmp_path / seed) for seed in ("1", "2"))
        assert one == two
        assert len(batches(tmp_path / "1")) < PAIRS

    @pytest.mark.parametrize("bound", ["0.49", "1.01", "nan", "80"])
    def test_a_bound_that_is_none(self, data: Path, tmp_path: Path, bound: str) -> None:
        result = rlvr(data, tmp_path / "out", "--near-duplicates", bound)
        refused(result, "--near-duplicates must be from 0.5 to 1")
        assert not (tmp_path / "out").exists()


class TestDecontamination:
    @pytest.fixture
    def exam(self, tmp_path: Path) -> Path:
        """Gives away the pairs 0 (its question), 1 (its chosen) and 2 (its rejected)."""
        file = tmp_path / "private" / "exam.jsonl"
        file.parent.mkdir()
        held_out: Sequence[dict[str, str]] = (
            {"question": "Tell me, please: what is it?"},
            {"question": "QUESTION 0"},
            {"question": f"Why do they say: {' '.join(answer(1, 0).split()[5:18])}?"},
            {"question": "Which words?", "reference": " ".join(answer(2, 1).split()[10:23])},
        )
        file.write_text("".join(json.dumps(row) + "\n" for row in held_out))
        return file

    def test_rows_that_give_away_a_question_are_left_out_and_counted(
        self, data: Path, tmp_path: Path, exam: Path
    ) -> None:
        (tmp_path / "notes.md").write_text(f"Question\n\n5?\n{answer(6, 0)}\n")
        report = export(
            data,
            tmp_path / "out",
            *("--decontaminate", exam, "--decontaminate", tmp_path / "notes.md", "--eval", 0),
        )
        assert report["left_out"] == {"held_out": 4}
        kept = [name for n, name in enumerate(names(data)) if n not in (0, 1, 2, 6)]
        assert batches(tmp_path / "out") == kept
        assert report["decontaminate"] == [
            {"source": str(exam), "questions": 4, "rows": 3},
            {"source": str(tmp_path / "notes.md"), "questions": 3, "rows": 1},
        ]
        first = f"batch {names(data)[0]} has 100% of the words of the question in {exam}:2"
        assert report["examples"]["held_out"][0] == first
        assert f"in {exam}:3" in report["examples"]["held_out"][1]

    def test_the_card_names_files_and_counts_but_neither_paths_nor_questions(
        self, data: Path, tmp_path: Path, exam: Path
    ) -> None:
        export(data, tmp_path / "out", "--decontaminate", exam)
        card = (tmp_path / "out" / "README.md").read_text("utf-8")
        assert "| `exam.jsonl` | 4 | 3 |" in card
        assert "| `held_out` | contains a held-out question | 3 |" in card
        assert "private" not in card
        assert WORDS[85] not in card

    def test_a_person_is_told(self, data: Path, tmp_path: Path, exam: Path) -> None:
        result = rlvr(data, tmp_path / "out", "--decontaminate", exam)
        assert result.exit_code == 0
        assert f"{exam}: 4 held-out questions, 3 rows left out" in result.stdout
        assert "left out, held_out: 3" in result.stderr
        assert f"  such as batch {names(data)[0]} has" in result.stderr

    def test_passages_in_the_prompt_count_where_a_model_is_trained_on_them(
        self, data: Path, tmp_path: Path
    ) -> None:
        said = " ".join(WORDS[900:913])
        row = json.loads((data / DPO).read_bytes().splitlines()[0])
        row["metadata"] |= {"batch_id": "telling"}
        row["metadata"]["contexts"][0]["content"] = f"It is known that {said}."
        with (data / DPO).open("a") as stream:
            stream.write(json.dumps(row) + "\n")
        (tmp_path / "exam.txt").write_text(f"Who said {said}?\n")
        for style, left in (("question", {}), ("rag-messages", {"held_out": 1})):
            options = ("--decontaminate", tmp_path / "exam.txt", "--prompt", style)
            assert export(data, tmp_path / style, *options)["left_out"] == left

    def test_a_row_that_goes_takes_no_near_duplicate_with_it(
        self, data: Path, tmp_path: Path
    ) -> None:
        """The first of two like rows gives the question away, the second does not."""
        words = answer(3, 0).split()
        (tmp_path / "exam.txt").write_text(" ".join(words[:13]) + "\n")
        add(data, 3, "kept", chosen=" ".join(["other", *words[1:]]))
        options = ("--near-duplicates", 0.8, "--decontaminate", tmp_path / "exam.txt", "--eval", 0)
        report = export(data, tmp_path / "out", *options)
        assert report["left_out"] == {"held_out": 1}
        assert "kept" in batches(tmp_path / "out")

    def test_a_column_of_another_name(self, data: Path, tmp_path: Path) -> None:
        file = tmp_path / "exam.csv"
        file.write_text("problem\nQuestion 4?\n")
        out = tmp_path / "out"
        refused(rlvr(data, out, "--decontaminate", file), "'question'", str(file))
        options = ("--decontaminate", file, "--decontaminate-column", "problem")
        assert export(data, out, *options)["left_out"] == {"held_out": 1}

    def test_a_file_that_cannot_be_read_ends_it_and_leaves_nothing(
        self, data: Path, tmp_path: Path, exam: Path
    ) -> None:
        before = sorted(tmp_path.iterdir())
        missing = tmp_path / "missing.jsonl"
        options = ("--decontaminate", exam, "--decontaminate", missing)
        refused(rlvr(data, tmp_path / "out", *options), f"{missing}: does not exist")
        with exam.open("a") as stream:
            stream.write('{"question": ')
        refused(rlvr(data, tmp_path / "out", "--decontaminate", exam), f"{exam}:5: is no JSON")
        assert sorted(tmp_path.iterdir()) == before

    def test_a_column_without_a_file(self, data: Path, tmp_path: Path) -> None:
        refused(
            rlvr(data, tmp_path / "out", "--decontaminate-column", "problem"), "--decontaminate"
        )

    def test_where_nothing_is_left_it_says_why(self, data: Path, tmp_path: Path) -> None:
        (tmp_path / "exam.txt").write_text("".join(f"Question {n}?\n" for n in range(PAIRS)))
        refused(
            rlvr(data, tmp_path / "out", "--decontaminate", tmp_path / "exam.txt"),
            f"held_out {PAIRS}",
        )
