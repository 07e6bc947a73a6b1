"""`rlvr export`: real dataset files in, a folder that trainers read out."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from rlvr_ray.core.errors import Unavailable
from rlvr_ray.settings import load
from rlvr_ray.training.export import folder as exporting
from rlvr_ray.training.export.formats import (
    MESSAGE_TOKENS,
    TEMPLATE_TOKENS,
    Format,
)
from rlvr_ray.training.export.request import Request
from tests.builders import context
from tests.exports import (
    ANSWER_FORMATS,
    PAIR_FORMATS,
    contents,
    export,
    refused,
    rlvr,
    rows,
    split_files,
)
from tests.folders import DPO, MIXED, ODD, TRAINING, Folder, decided

pytestmark = pytest.mark.integration


#: Each document has two questions, but for those of MIXED, which share one.
QUESTIONS = 40
ALONE = tuple(
    decided(
        number,
        contexts=(
            context(
                f"About {number // 2}.",
                document_id=f"document-{number // 2}",
                source=f"{number // 2}.md",
            ),
        ),
    )
    for number in range(100, 100 + QUESTIONS)
)
DOCUMENTS = {
    str(state.batch.batch_id): {str(c.metadata["source"]) for c in state.batch.contexts}
    for state in (*MIXED, *ALONE)
}
PAIRS = 4 + QUESTIONS


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder that ledger and projector wrote; not to be changed."""
    folder = tmp_path_factory.mktemp("made")
    Folder(folder).run([*MIXED, *ALONE])
    return folder


@pytest.fixture
def data(made: Path, tmp_path: Path) -> Path:
    """One to be changed."""
    return Path(shutil.copytree(made, tmp_path / "data"))


def triples(folder: Path) -> set[tuple[str, str, str]]:
    """Batch, chosen and rejected answer of each row."""
    return {
        (row["batch_id"], row["chosen"][0]["content"], row["rejected"][0]["content"])
        for file in split_files(folder).values()
        for row in rows(file)
    }


class TestPairs:
    def test_formed_anew_by_the_same_rule_they_are_the_decided_ones(
        self, made: Path, tmp_path: Path
    ) -> None:
        export(made, tmp_path / "then")
        report = export(made, tmp_path / "anew", "--pairs", "best_worst")
        assert triples(tmp_path / "anew") == triples(tmp_path / "then")
        assert report["left_out"] == {"unscored": 2, "margin_too_small": 1, "single_answer": 1}
        assert "those of a question together" in (tmp_path / "anew" / "README.md").read_text()

    def test_all_of_them_and_thresholds_of_now(self, made: Path, tmp_path: Path) -> None:
        export(made, tmp_path / "one", "--pairs", "best_low")
        export(made, tmp_path / "all", "--pairs", "all", "--near-duplicates", 1)
        assert triples(tmp_path / "all") > triples(tmp_path / "one")
        strict = "dpo.min_score_diff=0.7"
        report = export(made, tmp_path / "strict", "--pairs", "all", "--set", strict, "--eval", 0)
        assert triples(tmp_path / "strict") < triples(tmp_path / "all")
        assert report["splits"]["train"]["margin"][0] >= 0.7
        assert report["rules"][0]["rule"]["strategy"] == "all"

    def test_what_made_no_pair(self, made: Path, tmp_path: Path) -> None:
        report = export(made, tmp_path / "out", format_="no-pair")
        (row,) = rows(tmp_path / "out" / "train.jsonl")
        assert row["batch_id"] == str(MIXED[1].batch.batch_id)
        assert (row["reason"], row["scores"]) == ("margin_too_small", [0.9, 0.89])
        assert report["left_out"] == {"unscored": 2, "single_answer": 1}
        card = (tmp_path / "out" / "README.md").read_text()
        assert card.count("Answers that made no pair") == 2

    def test_an_answer_that_is_missing_takes_its_batch_with_it(
        self, data: Path, tmp_path: Path
    ) -> None:
        lines = (data / TRAINING).read_bytes().splitlines(keepends=True)
        (data / TRAINING).write_bytes(b"".join(lines[1:]))
        report = export(data, tmp_path / "out", "--pairs", "all")
        assert report["left_out"]["incomplete"] == 1
        assert not {triple[0] for triple in triples(tmp_path / "out")} & {
            str(MIXED[0].batch.batch_id)
        }

    def test_answers_have_no_pairs(self, made: Path, tmp_path: Path) -> None:
        refused(rlvr(made, tmp_path / "out", "--pairs", "all", format_="sft"), "--pairs", "sft")


class TestFolder:
    @pytest.mark.parametrize("name", [*PAIR_FORMATS, *ANSWER_FORMATS])
    def test_both_kinds_hold_the_same_rows_in_files_that_the_card_names(
        self, made: Path, tmp_path: Path, name: Format
    ) -> None:
        found = {}
        for kind in ("jsonl", "parquet"):
            folder = tmp_path / kind
            report = export(made, folder, f"--{kind}", format_=name)
            files = split_files(folder)
            assert files == {s: folder / f"{s}.{kind}" for s in ("train", "eval")}
            info = ["dataset_info.json"] if name == "llamafactory" else []
            names = [*(file.name for file in files.values()), "README.md", *info]
            assert sorted(contents(folder)) == sorted(names)
            found[kind] = {split: rows(file) for split, file in files.items()}
            counts = {split: len(each) for split, each in found[kind].items()}
            assert counts == {split: n["rows"] for split, n in report["splits"].items()}
        assert found["jsonl"] == found["parquet"]
        total = sum(map(len, found["jsonl"].values()))
        if name in ANSWER_FORMATS:
            assert total > QUESTIONS
        else:
            assert total == PAIRS

    @pytest.mark.parametrize("name", ["trl", "rewards"])
    def test_no_document_is_in_train_and_eval(
        self, made: Path, tmp_path: Path, name: Format
    ) -> None:
        report = export(made, tmp_path / "out", "--eval", 0.3, format_=name)
        sides = {
            split: set().union(*(DOCUMENTS[row["batch_id"]] for row in rows(file)))
            for split, file in split_files(tmp_path / "out").items()
        }
        assert sides["train"]
        assert sides["eval"]
        assert not sides["train"] & sides["eval"]
        assert 0.2 < report["split"]["reached"] <= 0.3

    @pytest.mark.parametrize("kind", ["--jsonl", "--parquet"])
    def test_the_same_input_makes_the_same_bytes(
        self, made: Path, tmp_path: Path, kind: str
    ) -> None:
        for name in ("one", "two"):
            export(made, tmp_path / name, kind, format_="llamafactory")
        assert contents(tmp_path / "one") == contents(tmp_path / "two")

    def test_a_prompt_with_passages(self, made: Path, tmp_path: Path) -> None:
        export(made, tmp_path / "out", "--prompt", "rag-messages", "--eval", 0)
        assert list(split_files(tmp_path / "out")) == ["train"]
        found = rows(tmp_path / "out" / "train.jsonl")
        (row,) = (r for r in found if r["batch_id"] == str(ALONE[0].batch.batch_id))
        system, user = row["prompt"]
        assert (system["role"], user["role"]) == ("system", "user")
        assert "About 50." in user["content"]
        assert "Question 100?" in user["content"]

    def test_rows_come_in_the_order_of_the_dataset(self, made: Path, tmp_path: Path) -> None:
        export(made, tmp_path / "out", "--eval", 0)
        written = [row["metadata"]["batch_id"] for row in rows(made / DPO)]
        assert [row["batch_id"] for row in rows(tmp_path / "out" / "train.jsonl")] == written

    def test_months_come_one_after_the_other(self, data: Path, tmp_path: Path) -> None:
        (line, *_) = (data / DPO).read_bytes().splitlines()
        (data / DPO).unlink()
        row = json.loads(line)
        months = [f"2027{month:02d}" for month in range(1, 13)]
        for month in sorted(months, key=lambda month: month[::-1]):
            row["metadata"]["batch_id"] = month
            (data / DPO.replace("202603", month)).write_text(json.dumps(row) + "\n")
        export(data, tmp_path / "out", "--eval", 0)
        assert [row["batch_id"] for row in rows(tmp_path / "out" / "train.jsonl")] == months

    def test_parquet_of_several_row_groups(
        self, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(exporting, "ROW_GROUP", 7)
        export(made, tmp_path / "parquet", "--parquet", "--eval", 0)
        export(made, tmp_path / "jsonl", "--eval", 0)
        file = tmp_path / "parquet" / "train.parquet"
        assert pq.ParquetFile(file).num_row_groups == 7
        assert rows(file) == rows(tmp_path / "jsonl" / "train.jsonl")

    def test_odd_texts_stay_on_one_line_and_whole(self, made: Path, tmp_path: Path) -> None:
        export(made, tmp_path / "out")
        lines = [
            line
            for file in split_files(tmp_path / "out").values()
            for line in file.read_text("utf-8").splitlines()
        ]
        assert len(lines) == PAIRS
        chosen = [json.loads(line)["chosen"][0]["content"] for line in lines]
        assert ODD in chosen

    def test_parquet_parts_are_read_where_there_is_no_jsonl(
        self, data: Path, tmp_path: Path
    ) -> None:
        export(data, tmp_path / "one")
        (data / DPO).unlink()
        export(data, tmp_path / "two")
        assert contents(tmp_path / "one") == contents(tmp_path / "two")

    def test_llama_factory_finds_its_files(self, made: Path, tmp_path: Path) -> None:
        export(made, tmp_path / "out", "--parquet", format_="llamafactory")
        info = json.loads((tmp_path / "out" / "dataset_info.json").read_text("utf-8"))
        assert {
            name.removeprefix("rlvr_"): tmp_path / "out" / entry["file_name"]
            for name, entry in info.items()
        } == split_files(tmp_path / "out")

    def test_the_card_has_judges_thresholds_and_the_license(
        self, made: Path, tmp_path: Path
    ) -> None:
        report = export(made, tmp_path / "out", "--license", "cc-by-4.0")
        text = (tmp_path / "out" / "README.md").read_text("utf-8")
        assert "license: cc-by-4.0\n" in text
        assert "| `grounded` | `test-model` | `test-engine` | `grounded` | `ragas` |" in text
        assert "`min_score_diff` 0.05" in text
        assert [rule["rows"] for rule in report["rules"]] == [PAIRS - 1, 1]
        assert [rule["rule"]["prompt"] for rule in report["rules"]] == ["question", "rag"]
        assert report["models"] == {"test-model": PAIRS}


class TestAnswers:
    def test_sft_has_the_best_answer_of_each_question(self, made: Path, tmp_path: Path) -> None:
        report = export(made, tmp_path / "out", "--eval", 0, format_="sft")
        found = {row["batch_id"]: row for row in rows(tmp_path / "out" / "train.jsonl")}
        assert len(found) == report["splits"]["train"]["rows"]
        for state in ALONE:
            reply = found[str(state.batch.batch_id)]["messages"][-1]
            assert reply["content"] == state.batch.candidates[0].answer
        assert report["left_out"]["score_too_low"] >= QUESTIONS
        assert report["splits"]["train"]["score"][0] >= 0.6

    def test_its_threshold_is_the_setting_of_pairs(self, made: Path, tmp_path: Path) -> None:
        report = export(made, tmp_path / "out", "--set", "dpo.min_chosen_score=0.92", format_="sft")
        assert report["min_score"] == 0.92
        assert sum(split["rows"] for split in report["splits"].values()) == 2
        text = (tmp_path / "out" / "README.md").read_text("utf-8")
        assert "Answers have a score of at least 0.92 and no known defect" in text

    def test_rewards_have_every_answer_with_a_score(self, made: Path, tmp_path: Path) -> None:
        report = export(made, tmp_path / "out", "--eval", 0, format_="rewards")
        written = rows(made / TRAINING)
        scores = [row["verification"]["score"] for row in written]
        found = [row["reward"] for row in rows(tmp_path / "out" / "train.jsonl")]
        assert found == [score for score in scores if score is not None]
        assert report["left_out"] == {"unscored": scores.count(None)}


class TestBadInput:
    def test_unreadable_lines_are_named_and_the_rest_is_exported(
        self, data: Path, tmp_path: Path
    ) -> None:
        file = data / DPO
        lines = file.read_bytes().splitlines(keepends=True)
        lacking = json.loads(lines[0])
        del lacking["metadata"]["question"]
        bad: Sequence[bytes] = (
            b'{"prompt": "half\n',
            b'{"chosen": "\xff"}\n',
            b"[1, 2]\n",
            b"[" * 100_000 + b"\n",
            b'{"score_diff": NaN}\n',
            json.dumps(lacking).encode() + b"\n",
            b"\n",
        )
        file.write_bytes(lines[0] + b"".join(bad) + b"".join(lines[1:]) + b'{"cut')
        report = export(data, tmp_path / "out")
        assert sum(split["rows"] for split in report["splits"].values()) == PAIRS
        assert report["left_out"] == {"unreadable": 6, "unfinished": 1}
        places = [place.split(": ")[0] for place in report["unreadable"]]
        assert places == [f"{file}:{number}" for number in range(2, 8)]
        reasons = [place.split(": ", 1)[1] for place in report["unreadable"]]
        for reason, part in zip(
            reasons,
            ("not JSON", "not UTF-8", "metadata", "not JSON", "NaN", "question"),
            strict=True,
        ):
            assert part in reason

    @pytest.mark.parametrize("left", [1, 2, 3, 100, -2, -1])
    def test_a_last_line_that_is_being_written_is_no_damage(
        self, data: Path, tmp_path: Path, left: int
    ) -> None:
        file = data / DPO
        *lines, last = file.read_bytes().splitlines(keepends=True)
        last = b'{"prompt":"\xf0\x9f' if left == 3 else last  # within a character
        file.write_bytes(b"".join(lines) + last[:left])
        report = export(data, tmp_path / "out")
        whole = left == -1  # only the line feed is missing
        assert sum(s["rows"] for s in report["splits"].values()) == PAIRS - 1 + whole
        assert report["left_out"] == ({} if whole else {"unfinished": 1})
        assert report["unreadable"] == []

    def test_a_person_is_told(self, data: Path, tmp_path: Path) -> None:
        with (data / DPO).open("ab") as stream:
            stream.write(b"no\n" * 50)
        result = rlvr(data, tmp_path / "out")
        assert result.exit_code == 0
        assert f"{tmp_path / 'out' / 'train.jsonl'}  40 rows" in result.stdout
        assert "left out, unreadable: 50" in result.stderr
        assert f"{data / DPO}:{PAIRS + 1}: not JSON" in result.stderr
        assert "and 30 more" in result.stderr

    def test_a_row_that_is_there_twice_is_exported_once(self, data: Path, tmp_path: Path) -> None:
        copy = data / DPO.replace("202603", "202604")
        shutil.copy(data / DPO, copy)
        report = export(data, tmp_path / "out")
        assert report["left_out"] == {"repeated": PAIRS}

    def test_a_long_line_is_a_line(self, data: Path, tmp_path: Path) -> None:
        row = json.loads((data / DPO).read_bytes().splitlines()[0])
        row["metadata"]["batch_id"] = "a" * 8
        row["chosen"] = "word " * 2**18
        with (data / DPO).open("a") as stream:
            stream.write(json.dumps(row) + "\n")
        report = export(data, tmp_path / "out", "--eval", 0)
        assert report["splits"]["train"]["chars"][-1] == 5 * 2**18

    def test_empty_answers_and_prompts_without_passages(self, data: Path, tmp_path: Path) -> None:
        (line, *_) = (data / DPO).read_bytes().splitlines()
        for number, (place, name, value) in enumerate(
            (("", "rejected", " \n"), ("metadata", "contexts", []))
        ):
            row = json.loads(line)
            (row[place] if place else row)[name] = value
            row["metadata"]["batch_id"] = f"another {number}"
            with (data / DPO).open("a") as stream:
                stream.write(json.dumps(row) + "\n")
        report = export(data, tmp_path / "rag", "--prompt", "rag-messages")
        assert report["left_out"] == {"empty_answer": 1, "no_contexts": 1}
        assert export(data, tmp_path / "question")["left_out"] == {"empty_answer": 1}

    def test_no_data_folder_no_rows_and_none_that_can_be_read(self, tmp_path: Path) -> None:
        data, out = tmp_path / "data", tmp_path / "out"
        refused(rlvr(data, out), "has no files", "--data-dir")
        (data / "dpo_data").mkdir(parents=True)
        (data / DPO).write_bytes(b"\n")
        refused(rlvr(data, out), "has no rows", "--data-dir")
        (data / DPO).write_bytes(b"7\n")
        refused(rlvr(data, out), "none of the 1 rows", "unreadable 1", f"{data / DPO}:1: ")
        assert [path.name for path in tmp_path.iterdir()] == ["data"]

    def test_a_damaged_parquet_part_is_named(self, data: Path, tmp_path: Path) -> None:
        (data / DPO).unlink()
        (part, *_) = (data / "dpo_data" / "parquet").iterdir()
        part.write_bytes(b"PAR1 no PAR1")
        refused(rlvr(data, tmp_path / "out"), str(part), "cannot be read")

    @pytest.mark.parametrize("option", ["--format", "--prompt"])
    def test_an_unknown_choice_is_answered_with_the_known_ones(
        self, made: Path, tmp_path: Path, option: str
    ) -> None:
        result = rlvr(made, tmp_path / "out", option, "verl")
        assert result.exit_code == 2
        assert ("'nemo-rl'" if option == "--format" else "'rag-messages'") in result.stderr

    @pytest.mark.parametrize("share", ["1", "-0.1", "nan", "1.5"])
    def test_a_share_that_is_none(self, made: Path, tmp_path: Path, share: str) -> None:
        refused(rlvr(made, tmp_path / "out", "--eval", share), "--eval")

    def test_eval_stays_empty_where_all_rows_share_a_document(self, tmp_path: Path) -> None:
        data = tmp_path / "data"
        Folder(data).run([decided(number) for number in range(5)])
        result = rlvr(data, tmp_path / "out")
        assert result.exit_code == 0
        assert "eval is empty" in result.stderr
        assert "eval: 0.0% of the rows, 10.0% wanted" in result.stdout
        assert list(split_files(tmp_path / "out")) == ["train"]


class TestPlace:
    def test_a_folder_that_is_not_empty_is_left_alone(self, made: Path, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "mine").write_text("mine")
        refused(rlvr(made, tmp_path / "out"), "is not empty", "name a new folder")
        assert contents(tmp_path / "out") == {"mine": b"mine"}
        refused(rlvr(made, tmp_path / "out" / "mine"), "is a file")

    def test_an_empty_folder_will_do_and_one_whose_parent_is_missing(
        self, made: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "empty").mkdir()
        (tmp_path / "target").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "target")
        for folder in (tmp_path / "empty", tmp_path / "not" / "yet", tmp_path / "link"):
            export(made, folder)
            assert (folder / "README.md").is_file()
            assert [path.name for path in folder.parent.glob(".*")] == []

    def test_a_place_that_cannot_be_written(self, made: Path, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        refused(rlvr(made, tmp_path / "file" / "out"), "cannot be written", code=3)

    @pytest.mark.parametrize(
        ("error", "expected"),
        [(KeyboardInterrupt(), KeyboardInterrupt), (OSError(28, "No space left"), Unavailable)],
    )
    def test_nothing_is_left_of_an_export_that_ended_early(
        self,
        made: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        error: BaseException,
        expected: type[BaseException],
    ) -> None:
        def stop(*_: object) -> str:
            (half,) = tmp_path.iterdir()
            assert (half / "train.jsonl").is_file()
            raise error

        monkeypatch.setattr(exporting, "card", stop)
        request = Request(format="trl", out=tmp_path / "out")
        with pytest.raises(expected):
            exporting.run(load(data_dir=made), request)
        assert list(tmp_path.iterdir()) == []


class TestTokens:
    @pytest.fixture
    def tokenizer(self, tmp_path: Path) -> Path:
        """A token a word, in a file that also says to cut and to fill up."""
        made = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
        made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        made.enable_truncation(4)
        made.enable_padding(length=64, pad_token="?")
        made.save(str(tmp_path / "tokenizer.json"))
        return tmp_path / "tokenizer.json"

    @pytest.mark.parametrize("side", ["chosen", "rejected"])
    def test_a_row_is_left_out_where_either_answer_would_be_cut(
        self, tmp_path: Path, tokenizer: Path, side: str
    ) -> None:
        data = tmp_path / "data"
        states = []
        for number, words in enumerate((10, 11)):
            long, short = "word " * words, "a few words"
            answers = (long, short) if side == "chosen" else (short, long)
            states.append(decided(number, (0.9, 0.2), answers=answers))
        Folder(data).run(states)
        question = 2
        limit = question + 10 + 2 * MESSAGE_TOKENS + TEMPLATE_TOKENS
        options = ("--max-tokens", limit, "--tokenizer", tokenizer, "--eval", 0)
        report = export(data, tmp_path / "out", *options)
        (row,) = rows(tmp_path / "out" / "train.jsonl")
        assert row["batch_id"] == str(states[0].batch.batch_id)
        assert report["splits"]["train"]["chosen_longer"] == float(side == "chosen")
        assert report["left_out"] == {"too_long": 1}
        assert report["splits"]["train"]["tokens"] == limit
        text = (tmp_path / "out" / "README.md").read_text("utf-8")
        assert f"The token limit is {limit}," in text
        assert "| `too_long` | longer than the token limit | 1 |" in text

    def test_passages_count_where_they_are_in_the_prompt(
        self, made: Path, tmp_path: Path, tokenizer: Path
    ) -> None:
        options = ("--max-tokens", 90, "--tokenizer", tokenizer)
        assert export(made, tmp_path / "out", *options)["left_out"] == {}
        refused(
            rlvr(made, tmp_path / "rag", *options, "--prompt", "rag-messages"),
            f"too_long {PAIRS}",
        )

    def test_limit_and_tokenizer_go_together(
        self, made: Path, tmp_path: Path, tokenizer: Path
    ) -> None:
        out = tmp_path / "out"
        for options in (("--max-tokens", 512), ("--tokenizer", tokenizer)):
            refused(rlvr(made, out, *options), "go together", "tokenizer.json")
        refused(rlvr(made, out, "--max-tokens", 0, "--tokenizer", tokenizer), "at least 1")

    def test_what_is_no_tokenizer(self, made: Path, tmp_path: Path) -> None:
        (tmp_path / "no.json").write_text("{}")
        for name in ("no.json", "missing.json"):
            refused(
                rlvr(made, tmp_path / "out", "--max-tokens", 512, "--tokenizer", tmp_path / name),
                name,
                "is no tokenizer.json",
            )
