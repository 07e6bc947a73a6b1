"""What eval must not share with train, and pairs that teach nothing or the opposite."""

import json
import os
import re
import subprocess
import sys
import unicodedata
from collections.abc import Sequence
from copy import deepcopy
from itertools import count, permutations
from pathlib import Path
from typing import Any, get_args

import pytest

from rlvr_ray.core import ids
from rlvr_ray.core.pairing import PairingRule, decide
from rlvr_ray.dataset import rows
from rlvr_ray.dataset.rows import Row
from rlvr_ray.training.export.formats import Format
from tests.builders import DECIDED, batch, context, verification
from tests.exports import PAIR_FORMATS, export, rlvr, split_files
from tests.exports import rows as read

pytestmark = pytest.mark.integration


ROOT = Path(__file__).parents[2]
_numbers = count()


def asked(
    question: str,
    passage: str,
    source: str,
    chosen: str = "In 1911.",
    rejected: str = "In 1912.",
    finish_reasons: Sequence[str] = ("stop", "stop"),
) -> dict[str, list[Row]]:
    """The rows of a question that made a pair, by dataset. Nothing is checked of the texts."""
    recorded = batch(
        ("good", "bad"),
        question,
        batch_id=ids.derive("leaks", next(_numbers)),
        contexts=(context(passage, document_id=str(ids.derive(source)), source=source),),
    )
    results: Any = {c.event_id: verification(c, 0.9 - 0.4 * c.index) for c in recorded.candidates}
    outcome = decide(recorded, results, PairingRule(), DECIDED)
    made = {
        name: deepcopy(list(each))
        for name, each in rows.of_batch(recorded, results, outcome).items()
    }
    (pair,), answers = made["dpo_data"], made["training_data"]
    pair |= {"chosen": chosen, "rejected": rejected}
    for side, answer, text, reason in zip(
        ("chosen", "rejected"), answers, (chosen, rejected), finish_reasons, strict=True
    ):
        pair["metadata"][f"{side}_provenance"]["finish_reason"] = reason
        answer["answer"], answer["metadata"]["finish_reason"] = text, reason
    return made


def other(number: int) -> dict[str, list[Row]]:
    """A question that shares nothing with others."""
    return asked(f"Which one is number {number}?", f"About {number}.", f"{number}.md")


def written(folder: Path, *made: dict[str, list[Row]]) -> Path:
    for name in ("dpo_data", "training_data"):
        (folder / name).mkdir(parents=True)
        lines = (json.dumps(row, ensure_ascii=False) for one in made for row in one[name])
        (folder / name / f"{name}_202603.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    return folder


def batch_ids(*made: dict[str, list[Row]]) -> list[str]:
    return [one["dpo_data"][0]["metadata"]["batch_id"] for one in made]


def exported(folder: Path) -> dict[str, set[str]]:
    """Batches by split."""
    return {
        split: {row["batch_id"] for row in read(file)}
        for split, file in split_files(folder).items()
    }


def spellings(text: str) -> list[str]:
    return [
        text,
        text.casefold(),
        text.upper(),
        text.rstrip("?"),
        f"{text.rstrip('?')} ?",
        f"{text.rstrip('?')}\uff1f",
        f"  {text}\n",
        text.replace(" ", "\u00a0 "),
        text.replace(" ", " \u200b"),
        f"\ufeff{text}\u200f",
        f"\u2067{text}\u2069",
        text.replace("m", "m\u00ad"),
        unicodedata.normalize("NFD", text),
        f"\u201c{text}\u201d",
    ]


PASSAGE = "The Corv\u00edn tram was opened in 1911.\nIt has \ufb01fteen stops."
#: The same to a reader, but for line ends.
COPIES = [
    PASSAGE,
    PASSAGE.replace("\n", " "),
    PASSAGE.replace(" ", "\u00a0\u00a0"),
    PASSAGE + "\u200b\n\n",
    PASSAGE.replace("tram", "tr\u00adam"),
    *(unicodedata.normalize(form, PASSAGE) for form in ("NFD", "NFKC", "NFKD")),
    f"\u2066{PASSAGE}\u2069",
    f"\ufeff{PASSAGE.replace(' ', '  ')}",
]


class TestLeaks:
    @pytest.mark.parametrize("name", get_args(Format))
    def test_copies_of_a_passage_are_on_one_side(self, tmp_path: Path, name: Format) -> None:
        """Each under another name, with another question."""
        copies = [
            asked(f"Question {n} of them?", copy, f"v{n}/guide.md") for n, copy in enumerate(COPIES)
        ]
        if name == "no-pair":
            for one in copies:
                for row in one["training_data"]:
                    row["metadata"]["outcome"] = "tie"
        data = written(tmp_path / "data", *copies, *map(other, range(30)))
        options = ("--eval", 0.4, "--prompt", "rag-messages")
        report = export(data, tmp_path / "out", *options, format_=name)
        sides = exported(tmp_path / "out")
        mine = set(batch_ids(*copies))
        assert sum(bool(mine & side) for side in sides.values()) == 1
        assert report["split"]["largest"] >= len(COPIES)

    @pytest.mark.parametrize("by", ["document", "question"])
    @pytest.mark.parametrize("name", ["trl", "sft", "rewards"])
    def test_spellings_of_a_question_are_on_one_side(
        self, tmp_path: Path, name: Format, by: str
    ) -> None:
        """Whatever documents they are about."""
        groups = [
            [
                asked(text, f"Text {n} {at}.", f"{n}-{at}.md")
                for at, text in enumerate(spellings(f"Where is the caf\u00e9 number {n} of them?"))
            ]
            for n in range(6)
        ]
        data = written(tmp_path / "data", *(one for group in groups for one in group))
        options = ("--eval", 0.4, "--split-by", by)
        report = export(data, tmp_path / "out", *options, format_=name)
        sides = exported(tmp_path / "out")
        assert sides["train"] and sides["eval"]
        for group in groups:
            mine = set(batch_ids(*group))
            assert any(mine <= side for side in sides.values())
        assert report["split"]["groups"] == report["questions"] == 6
        assert report["documents"] == 6 * len(spellings(""))

    def test_by_question_one_document_is_enough(self, tmp_path: Path) -> None:
        made = [asked(f"What is {n}?", "One text.", "one.md") for n in range(20)]
        data = written(tmp_path / "data", *made)
        result = rlvr(data, tmp_path / "none")
        assert "eval is empty" in result.stderr and "--split-by question" in result.stderr
        report = export(data, tmp_path / "out", "--split-by", "question")
        assert report["split"] == {
            "by": "question",
            "wanted": 0.1,
            "reached": 0.1,
            "groups": 20,
            "largest": 1,
        }
        card = (tmp_path / "out" / "README.md").read_text()
        assert (
            "No question is in both, whatever its spelling; documents and passages may be" in card
        )
        alone = written(tmp_path / "alone", asked("What is it?", "One text.", "one.md"))
        said = rlvr(alone, tmp_path / "one", "--split-by", "question").stderr
        assert "eval is empty" in said and "ask more questions" in said
        assert "--split-by" not in said


class TestContradictions:
    FACTS = ("It is red.", "It is blue.", "It is green.", "It is pink.")

    def preferring(self, *pairs: tuple[int, int], text: str = "Which?") -> list[dict[str, Any]]:
        return [
            asked(text, f"{n}", f"{n}.md", self.FACTS[better], self.FACTS[worse])
            for n, (better, worse) in enumerate(pairs)
        ]

    @pytest.mark.parametrize(
        ("pairs", "left_out"),
        [
            ([(0, 1), (1, 0)], {0, 1}),
            ([(0, 1), (0, 1), (1, 0)], {0, 1, 2}),
            ([(0, 1), (1, 2), (2, 0)], {0, 1, 2}),
            ([(0, 1), (1, 2), (2, 3), (3, 1)], {1, 2, 3}),
            ([(0, 1), (1, 0), (1, 2), (2, 3), (3, 2)], {0, 1, 3, 4}),
            ([(0, 1), (1, 2), (0, 2)], set()),
            ([(0, 1), (0, 1)], set()),
        ],
    )
    @pytest.mark.parametrize("name", [*PAIR_FORMATS, "sft", "rewards"])
    def test_none_of_them_is_exported(
        self, tmp_path: Path, pairs: list[tuple[int, int]], left_out: set[int], name: Format
    ) -> None:
        made = self.preferring(*pairs)
        data = written(tmp_path / "data", *made, *map(other, range(4)))
        report = export(data, tmp_path / "out", "--eval", 0, format_=name)
        found = {
            n
            for n, each in enumerate(batch_ids(*made))
            if each in exported(tmp_path / "out")["train"]
        }
        assert found == {*range(len(pairs))} - left_out
        each = 2 if name == "rewards" else 1
        assert report["left_out"].get("contradiction", 0) == each * len(left_out)
        card = (tmp_path / "out" / "README.md").read_text()
        assert ("The judges contradict themselves" in card) == bool(left_out)

    @pytest.mark.parametrize("order", permutations(range(3)))
    def test_the_order_changes_nothing(self, tmp_path: Path, order: Sequence[int]) -> None:
        made = self.preferring((0, 1), (1, 2), (1, 0))
        data = written(tmp_path / "data", *(made[n] for n in order))
        export(data, tmp_path / "out", "--eval", 0)
        assert exported(tmp_path / "out")["train"] == {batch_ids(*made)[1]}

    @pytest.mark.parametrize("spelling", spellings("Which one is it, m?"))
    def test_spellings_are_one_question_and_one_answer(self, tmp_path: Path, spelling: str) -> None:
        one = asked("Which one is it, m?", "a", "a.md", "It is red.", "It is caf\u00e9 blue.")
        back = asked(spelling, "b", "b.md", "it is **cafe\u0301\u200b** blue", "\ufeffIT is  red")
        data = written(tmp_path / "data", one, back, other(1))
        report = export(data, tmp_path / "out")
        assert report["left_out"] == {"contradiction": 2}

    def test_another_question_or_number_is_none(self, tmp_path: Path) -> None:
        made = [
            asked("Is 1.5 m right?", "a", "a.md", "Yes.", "No."),
            asked("Is 15 m right?", "b", "b.md", "No.", "Yes."),
        ]
        assert export(written(tmp_path / "data", *made), tmp_path / "out")["left_out"] == {}

    def test_pairs_formed_anew_likewise(self, tmp_path: Path) -> None:
        made = self.preferring((0, 1), (1, 0), (2, 3), text="Which one?")
        data = written(tmp_path / "data", *made)
        report = export(data, tmp_path / "out", "--pairs", "all")
        assert report["left_out"] == {"contradiction": 2}

    def test_answers_whose_pairs_are_not_there(self, tmp_path: Path) -> None:
        """Without pairs there is nothing that contradicts."""
        data = written(tmp_path / "data", *self.preferring((0, 1), (1, 0)))
        for file in (data / "dpo_data").iterdir():
            file.unlink()
        assert "contradiction" not in export(data, tmp_path / "out", format_="sft")["left_out"]


@pytest.mark.parametrize(
    "rejected",
    [
        "The caf\u00e9.\u200b",
        "\ufeffThe caf\u00e9.",
        "The cafe\u0301.",
        "The ca\u00adf\u00e9.",
        "The caf\u00e9\ufe0f.",
        "The\u200d caf\u00e9.",
        "\u2067The caf\u00e9.\u2069",
        "The\u00a0caf\u00e9. ",
        "The caf\u00e9",
    ],
)
@pytest.mark.parametrize("which", ["decided", "all"])
def test_answers_that_look_alike_are_no_pair(tmp_path: Path, rejected: str, which: str) -> None:
    made = asked("Where?", "a", "a.md", "The caf\u00e9.", rejected)
    data = written(tmp_path / "data", made, other(1))
    report = export(data, tmp_path / "out", "--pairs", which)
    assert report["left_out"] == {"identical_answers": 1}


@pytest.mark.parametrize(
    "nothing", ["", " ", "\ufeff", "\u200b\u2800", "\u3164\u00ad\n", "\u2066\u2069"]
)
@pytest.mark.parametrize("side", ["chosen", "rejected"])
def test_an_answer_without_anything_to_see_is_none(tmp_path: Path, nothing: str, side: str) -> None:
    made = asked("Where?", "a", "a.md", **{side: nothing})
    data = written(tmp_path / "data", made, other(1))
    assert export(data, tmp_path / "out")["left_out"] == {"empty_answer": 1}
    report = export(data, tmp_path / "all", "--pairs", "all")
    assert report["left_out"] == {"unscored": 1}
    for name in ("sft", "rewards"):
        assert export(data, tmp_path / name, format_=name)["left_out"]["empty_answer"] == 1


@pytest.mark.parametrize(
    "text",
    [
        "<think>\nHm.\n</think>\n\nIn 1911.",
        "<think>In 1911, or 1912?",
        "In 1911.\nUser: And then?\nAssistant: In 1912.",
    ],
)
@pytest.mark.parametrize("side", ["chosen", "rejected"])
def test_reasoning_and_invented_turns_are_not_exported(
    tmp_path: Path, text: str, side: str
) -> None:
    """Rows of earlier versions, or of others, may have them."""
    data = written(tmp_path / "data", asked("When?", "a", "a.md", **{side: text}), other(1))
    assert export(data, tmp_path / "out")["left_out"] == {"not_an_answer": 1}
    assert export(data, tmp_path / "rewards", format_="rewards")["left_out"] == {"not_an_answer": 1}


@pytest.mark.parametrize(
    "token", ["<|im_end|>", "</s>", "<|eot_id|>", "<start_of_turn>", "[INST]", "<<SYS>>", "<|end|>"]
)
def test_control_tokens_are_counted(tmp_path: Path, token: str) -> None:
    made = [
        asked(f"What is {token} for?", "a", "a.md"),
        asked("What is b?", "b", "b.md", chosen=f"{token} In 1911."),
        asked("What is c?", "c", "c.md", rejected=f"{token} In 1912."),
        asked("What is d?", f"A {token} passage.", "d.md"),
        *map(other, range(6)),
    ]
    data = written(tmp_path / "data", *made)
    report = export(data, tmp_path / "out")
    places = [
        {"place": place, "rows": 1, "tokens": [token]} for place in ("chosen", "prompt", "rejected")
    ]
    assert report["control_tokens"] == places
    assert sum(split["rows"] for split in report["splits"].values()) == len(made)
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"Rows with control tokens of chat templates in chosen: 1, such as `{token}`." in card
    assert f"control tokens in prompt: 1 (such as {token};" in rlvr(data, tmp_path / "told").stderr
    with_passages = export(data, tmp_path / "rag", "--prompt", "rag-messages")
    assert with_passages["control_tokens"][1] == {"place": "prompt", "rows": 2, "tokens": [token]}
    anew = export(data, tmp_path / "anew", "--pairs", "all")
    assert anew["left_out"] == {"unscored": 2}, "what is chosen now has none"
    assert export(data, tmp_path / "sft", format_="sft")["left_out"]["not_an_answer"] == 2
    answers = export(data, tmp_path / "rewards", format_="rewards")["control_tokens"]
    assert [(each["place"], each["rows"]) for each in answers] == [("answer", 2), ("prompt", 2)]


@pytest.mark.parametrize("name", get_args(Format))
def test_what_was_cut_off_is_counted(tmp_path: Path, name: Format) -> None:
    made = [
        *(
            asked(f"What is {n}?", f"{n}", f"{n}.md", finish_reasons=("length", "stop"))
            for n in "ab"
        ),
        asked("What is c?", "c", "c.md", finish_reasons=("stop", "length")),
        other(1),
    ]
    if name == "no-pair":
        for row in (row for one in made for row in one["training_data"]):
            row["metadata"]["outcome"] = "tie"
    data = written(tmp_path / "data", *made)
    report = export(data, tmp_path / "out", "--eval", 0, format_=name)
    train = report["splits"]["train"]
    card = (tmp_path / "out" / "README.md").read_text()
    if name == "sft":
        assert train["cut_off"] == 0 and report["left_out"]["cut_off"] == 3
        return
    assert train["cut_off"] == (3 / 8 if name == "rewards" else 2 / 4)
    assert train.get("rejected_cut_off") == (1 / 4 if name in PAIR_FORMATS else None)
    cut = 3 if name == "rewards" else 2
    which = "Chosen answers" if name in PAIR_FORMATS else "Answers"
    assert f"{which} that were cut off at the token limit: {cut}." in card
    assert (
        f"cut off at the generator's token limit: {cut}"
        in rlvr(data, tmp_path / "told", format_=name).stderr
    )


def test_sft_takes_no_answer_with_a_defect(tmp_path: Path) -> None:
    made = [asked(f"What is {n}?", f"{n}", f"{n}.md") for n in "ab"]
    made[0]["training_data"][0]["verification"]["defect"] = "unsupported"
    data = written(tmp_path / "data", *made)
    report = export(data, tmp_path / "out", format_="sft")
    assert report["left_out"] == {"defect": 1, "score_too_low": 2}
    assert exported(tmp_path / "out") == {"train": {batch_ids(made[1])[0]}}


@pytest.mark.parametrize("with_eval", [True, False])
@pytest.mark.parametrize("place", ["card", "docs"])
def test_the_examples_that_load_it_run(tmp_path: Path, with_eval: bool, place: str) -> None:
    data = written(tmp_path / "data", *map(other, range(12)))
    export(data, tmp_path / "my-pairs", "--eval", 0.2 if with_eval else 0)
    file = tmp_path / "my-pairs" / "README.md" if place == "card" else ROOT / "docs" / "export.md"
    example = re.findall(r"```python\n(.*?)```", file.read_text("utf-8"), re.DOTALL)[0]
    done = subprocess.run(
        [sys.executable, "-c", example + ("\nprint(len(dataset))" if place == "card" else "")],
        cwd=tmp_path / "my-pairs" if place == "card" else tmp_path,
        env=os.environ | {"HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Which one is number" in done.stdout
    if place == "card":
        assert done.stdout.split()[-1] == ("2" if with_eval else "1")
