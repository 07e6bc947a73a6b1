"""A training's surroundings: exports that can be trained on, held-out questions, their scores."""

import asyncio
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rlvr_ray.core.errors import ConfigError, InputError, Unavailable
from rlvr_ray.core.questions import Question, Refused
from rlvr_ray.generation.engines import vllm
from rlvr_ray.generation.prompts import rag_messages
from rlvr_ray.training import dpo as core
from rlvr_ray.training import evaluation, inputs
from rlvr_ray.training import report as training_report
from rlvr_ray.training.dpo import Plan
from rlvr_ray.training.evaluation import Application, HeldOut
from rlvr_ray.verification.verifier import Claim
from tests.builders import batch, context
from tests.fakes import FakePanel, FakeRecorder, FakeRetriever, verified
from tests.patience import PATIENCE_S

BATCH = UUID(int=7)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "PAUSE_S", 0.001)


def row(number: int = 0, **changes: Any) -> dict[str, Any]:
    found = {
        "prompt": [{"role": "user", "content": f"Question {number}?"}],
        "chosen": [{"role": "assistant", "content": "yes"}],
        "rejected": [{"role": "assistant", "content": "no"}],
        "batch_id": str(UUID(int=number)),
    }
    return found | changes


def with_passages(number: int) -> dict[str, Any]:
    messages = rag_messages(f"Question {number}?", [context("A passage.")])
    return row(number, prompt=[{"role": m.role, "content": m.content} for m in messages])


def write(file: Path, rows: Sequence[Any]) -> None:
    if file.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(list(rows)), file)
    else:
        file.write_text("".join(json.dumps(each) + "\n" for each in rows), "utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "train.jsonl", [row(n) for n in range(3)])
    write(tmp_path / "eval.jsonl", [row(8), row(9), row(8, chosen=row()["rejected"])])
    return tmp_path


class TestExport:
    @pytest.mark.parametrize("kind", ["jsonl", "parquet"])
    def test_both_kinds_of_files(self, tmp_path: Path, kind: str) -> None:
        write(tmp_path / f"train.{kind}", [with_passages(n) for n in range(3)])
        write(tmp_path / f"eval.{kind}", [with_passages(9)])
        found = inputs.read_export(tmp_path)
        assert (found.train.rows, found.eval.rows) == (3, 1)
        assert found.prompt == "rag-messages"
        assert found.held_out == ((str(UUID(int=9)), with_passages(9)["prompt"]),)
        assert core.question_of(found.held_out[0][1]) == "Question 9?"

    def test_each_held_out_prompt_counts_once(self, folder: Path) -> None:
        found = inputs.read_export(folder)
        assert found.eval.rows == 3
        assert found.prompt == "question"
        asked = evaluation.from_eval(found, 9)
        assert [each.question for each in asked] == ["Question 8?", "Question 9?"]
        assert [each.batch_id for each in asked] == [str(UUID(int=8)), str(UUID(int=9))]
        assert evaluation.from_eval(found, 1) == asked[:1]

    def test_the_hash_is_that_of_the_file(self, folder: Path) -> None:
        first = inputs.read_export(folder)
        write(folder / "train.jsonl", [row(n) for n in range(1, 4)])
        second = inputs.read_export(folder)
        assert first.train.sha256 != second.train.sha256
        assert first.eval.sha256 == second.eval.sha256

    @pytest.mark.parametrize(
        ("spoil", "said"),
        [
            (lambda f: (f / "train.jsonl").unlink(), "has no train.jsonl"),
            (lambda f: (f / "eval.jsonl").unlink(), "has no eval file"),
            (lambda f: write(f / "eval.jsonl", []), "eval.jsonl has no rows"),
            (lambda f: (f / "train.jsonl").write_text('{"a": '), "is not JSONL"),
            (lambda f: (f / "train.jsonl").write_bytes(b"\xff\n"), "is not JSONL"),
            (lambda f: write(f / "train.jsonl", [row(), 3]), r"train.jsonl:2 is not in the format"),
            (
                lambda f: write(f / "train.jsonl", [{"messages": [], "batch_id": ""}]),
                r"format trl.*it has: messages, batch_id\): export with --format trl",
            ),
            (lambda f: write(f / "train.jsonl", [row(chosen="yes")]), "lists of messages"),
            (lambda f: write(f / "train.jsonl", [row(prompt=[])]), "lists of messages"),
            (lambda f: write(f / "train.jsonl", [with_passages(1)]), "with passages and without"),
        ],
    )
    def test_what_cannot_be_trained_on(
        self, folder: Path, spoil: Callable[[Path], Any], said: str
    ) -> None:
        spoil(folder)
        with pytest.raises(InputError, match=said) as caught:
            inputs.read_export(folder)
        assert "\n" not in str(caught.value)

    def test_no_folder(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"there is no folder .*rlvr export --format trl"):
            inputs.read_export(tmp_path / "none")

    def test_a_damaged_parquet_file(self, folder: Path) -> None:
        (folder / "train.jsonl").unlink()
        (folder / "train.parquet").write_bytes(b"PAR1")
        with pytest.raises(InputError, match="cannot be read"):
            inputs.read_export(folder)


class TestInstallation:
    def test_what_is_missing_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(inputs, "find_spec", lambda name: None if name == "trl" else object())
        with pytest.raises(
            ConfigError,
            match=r"^trl not installed: in the folder of rlvr_ray, pip install -e '\.\[train",
        ):
            inputs.check_installed()

    def test_models(self, tmp_path: Path) -> None:
        inputs.check_model("meta-llama/Llama-3.2-3B-Instruct")
        for name, said in (
            (str(tmp_path / "none"), "there is no folder"),
            ("./none", "there is no folder"),
            ("a/b/c", "there is no folder"),
            (str(tmp_path), r"has no config\.json"),
            ("none.gguf", "there is no file"),
        ):
            with pytest.raises(ConfigError, match=said):
                inputs.check_model(name)
        (tmp_path / "config.json").touch()
        inputs.check_model(str(tmp_path))

    def test_a_template_is_told_the_same_in_training_and_serving(self) -> None:
        assert core.TEMPLATE == vllm.TEMPLATE


class TestPlan:
    def test_adapters_learn_faster(self) -> None:
        assert Plan(model="m").rate == 5e-5
        assert Plan(model="m", full=True).rate == 5e-6
        assert Plan(model="m", learning_rate=1.0).plain()["learning_rate"] == 1.0

    @pytest.mark.parametrize(
        ("batch", "device_batch", "workers", "times"),
        [(16, 2, 1, 8), (16, 2, 4, 2), (16, 2, 8, 1), (16, 2, 16, 1), (5, 2, 1, 3), (1, 1, 1, 1)],
    )
    def test_a_step_has_as_many_pairs_with_any_number_of_workers(
        self, batch: int, device_batch: int, workers: int, times: int
    ) -> None:
        plan = Plan(model="m", batch=batch, device_batch=device_batch)
        assert plan.accumulation(workers) == times


class World:
    """The application's parts."""

    def __init__(self, panel: FakePanel | None = None) -> None:
        self.panel = panel or FakePanel()
        self.retriever = FakeRetriever([context("Found now.", 0.4), context("Also.", 0.2)])
        self.recorder = FakeRecorder()

    @property
    def application(self) -> Application:
        return Application(
            panel=self.panel,
            retriever=self.retriever,
            recorder=self.recorder,
            top_k=1,
            min_score_diff=0.05,
        )

    async def score(self, report: dict[str, Any]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            await evaluation.score(report, self.application)


def question(text: str = "What is Ray?", reference: str | None = None) -> Question:
    return Question(text=text, reference=reference, source="q.jsonl", line=1)


REFUSED = Refused(source="q.jsonl", line=2, kind="empty", message="no question")


class TestQuestions:
    async def test_bare_ones_need_no_application(self) -> None:
        found, refused = await evaluation.from_questions(
            [question("a?", "b"), REFUSED, question("c?"), question("d?")], "question", 2, None
        )
        assert [each.prompt for each in found] == [
            [{"role": "user", "content": "a?"}],
            [{"role": "user", "content": "c?"}],
        ]
        assert [each.references for each in found] == [("b",), ()]
        assert refused == ["q.jsonl:2: no question"]

    async def test_passages_are_those_that_the_application_finds(self) -> None:
        world = World()
        ((one,), _) = await evaluation.from_questions(
            [question()], "rag-messages", 9, world.application
        )
        assert one.contexts == ("Found now.",)
        assert one.retrieval_score == 0.4
        asked = rag_messages("What is Ray?", [context("Found now.")])
        assert [m["content"] for m in one.prompt] == [m.content for m in asked]

    async def test_passages_without_an_application(self) -> None:
        with pytest.raises(InputError, match="add --verify"):
            await evaluation.from_questions([question()], "rag-messages", 9, None)

    async def test_passages_without_documents(self) -> None:
        world = World()
        world.retriever.passages = []
        with pytest.raises(InputError, match="rlvr ingest"):
            await evaluation.from_questions([question()], "rag-messages", 9, world.application)


def held_out(**changes: Any) -> HeldOut:
    asked = HeldOut(question="What is Ray?", prompt=[{"role": "user", "content": "What is Ray?"}])
    return replace(asked, **changes)


def report_of(*questions: HeldOut, style: str = "question", **sides: Any) -> dict[str, Any]:
    """A whole report, whose answers are ``old n`` and ``new n``."""
    before = [f"old {n}" for n in range(len(questions))]
    after = [f"new {n}" for n in range(len(questions))]
    figures = {"loss": 0.5, "reward_margin": 0.25, "reward_accuracy": 1.0}
    split = {"rows": 3, "dropped": 0, "cut": 0}
    report: dict[str, Any] = {
        "model": {"name": "m", "parameters": 10, "trained_parameters": 1, "dtype": "float32"},
        "data": {
            "folder": "pairs",
            "prompt": style,
            "splits": {"train": split, "eval": split | {"cut": 2, "dropped": 1}},
        },
        "settings": {"max_length": 2048},
        "training": {
            "steps": 4,
            "pairs_per_step": 2,
            "seconds": 1.0,
            "workers": 1,
            "device": "CPU",
        },
        "eval": {"before": figures | {"loss": math.log(2)}, "after": figures},
        "answers": {
            "source": "eval.jsonl",
            "questions": evaluation.asked(questions, before, after),
        },
    }
    training_report.summarise(report, "--verify was not given")
    return report


class TestScores:
    async def test_both_answers_are_verified_together(self) -> None:
        world = World(FakePanel({"old 0": 0.25, "new 0": 0.75, "old 1": "judged badly"}))
        report = report_of(held_out(), held_out(question="And Serve?"))
        await world.score(report)
        assert [len(claims) for claims in world.panel.claims] == [2, 2]
        answers = report["answers"]
        assert (answers["count"], answers["scored"], answers["changed"]) == (2, 1, 2)
        assert answers["score"] == {"before": 0.25, "after": 0.75}
        assert (answers["better"], answers["equal"], answers["worse"]) == (1, 0, 0)
        assert answers["not_scored"] == ""
        first, second = answers["questions"]
        assert (first["before"]["score"], first["after"]["score"]) == (0.25, 0.75)
        assert first["after"]["verifiers"] == ["grounded"]
        assert second["before"] == {"answer": "old 1", "not_scored": "judged badly"}
        assert second["after"]["score"] == 0.8

    async def test_the_same_answer_twice_is_judged_once(self) -> None:
        world = World()
        report = report_of(held_out())
        (asked,) = report["answers"]["questions"]
        asked["after"] = dict(asked["before"])
        await world.score(report)
        assert [len(claims) for claims in world.panel.claims] == [1]
        (asked,) = report["answers"]["questions"]
        assert asked["before"] == asked["after"]
        assert report["answers"]["changed"] == 0
        assert report["answers"]["equal"] == 1

    @pytest.mark.parametrize(
        ("after", "counted"),
        [(0.55, "better"), (0.549, "equal"), (0.5, "equal"), (0.451, "equal"), (0.45, "worse")],
    )
    async def test_what_makes_no_pair_makes_no_difference(self, after: float, counted: str) -> None:
        report = report_of(held_out())
        await World(FakePanel({"old 0": 0.5, "new 0": after})).score(report)
        answers = report["answers"]
        assert [name for name in ("better", "equal", "worse") if answers[name]] == [counted]

    async def claim(self, world: World, asked: HeldOut, style: str = "question") -> Claim:
        report = report_of(asked, style=style)
        await world.score(report)
        ((claim, other),) = world.panel.claims
        assert claim.answer_event_id != other.answer_event_id
        assert (claim.contexts, claim.references) == (other.contexts, other.references)
        return claim

    async def test_passages_of_the_prompt_come_first(self) -> None:
        asked = held_out(
            contexts=("In the prompt.",), retrieval_score=0.7, references=("a framework",)
        )
        claim = await self.claim(World(), asked, "rag-messages")
        assert claim.contexts == ("In the prompt.",)
        assert claim.references == ("a framework",)
        assert claim.retrieval_score == 0.7

    @pytest.mark.parametrize("style", ["question", "rag-messages"])
    async def test_then_those_of_the_pair_s_batch(self, style: str) -> None:
        world = World()
        recorded = batch(batch_id=BATCH, references=("the reference",))
        await world.recorder.record([recorded])
        claim = await self.claim(world, held_out(batch_id=str(BATCH)), style)
        assert claim.contexts == tuple(c.content for c in recorded.contexts)
        assert claim.references == ("the reference",)
        assert claim.retrieval_score == 0.8
        assert not world.retriever.queries

    async def test_then_what_is_found_now(self) -> None:
        claim = await self.claim(World(), held_out(batch_id=str(BATCH), references=("r",)))
        assert claim.contexts == ("Found now.",)
        assert claim.references == ("r",)
        assert claim.retrieval_score == 0.4

    @pytest.mark.parametrize(
        ("style", "passages", "said"),
        [
            ("rag-messages", True, "not in this application's ledger"),
            ("question", False, "the application has no documents"),
        ],
    )
    async def test_or_there_is_no_score(self, style: str, passages: bool, said: str) -> None:
        world = World()
        if not passages:
            world.retriever.passages = []
        report = report_of(held_out(batch_id=str(BATCH)), style=style)
        await world.score(report)
        (asked,) = report["answers"]["questions"]
        assert said in asked["before"]["not_scored"]
        assert asked["before"]["not_scored"] == asked["after"]["not_scored"]
        assert not world.panel.claims
        assert "score" not in report["answers"]

    async def test_a_part_that_is_busy_is_asked_again(self) -> None:
        world = World()
        left = iter([Unavailable("away"), Unavailable("away")])

        async def verify(claims: Sequence[Claim]) -> Any:
            if error := next(left, None):
                raise error
            return [verified(claim, 0.5, 0.5) for claim in claims]

        world.panel.verify = verify  # type: ignore[method-assign]
        report = report_of(held_out())
        await world.score(report)
        assert report["answers"]["scored"] == 1

    async def test_one_that_stays_away_leaves_the_report_as_it_was(self) -> None:
        world = World()

        async def verify(claims: Sequence[Claim]) -> Any:
            raise Unavailable("away")

        world.panel.verify = verify  # type: ignore[method-assign]
        report = report_of(held_out())
        before = json.dumps(report)
        with pytest.raises(Unavailable, match="away"):
            await world.score(report)
        assert json.dumps(report) == before

    async def test_scores_again_replace_scores(self) -> None:
        report = report_of(held_out())
        await World(FakePanel({"old 0": 0.2, "new 0": 0.2})).score(report)
        await World(FakePanel({"old 0": "no", "new 0": "no"})).score(report)
        assert report["answers"]["scored"] == 0
        assert "score" not in report["answers"]
        assert "better" not in report["answers"]
        assert report["answers"]["questions"][0]["before"] == {
            "answer": "old 0",
            "not_scored": "no",
        }


class TestReport:
    async def test_it_is_written_and_read_again(self, tmp_path: Path) -> None:
        report = report_of(held_out())
        training_report.write(report, tmp_path)
        assert training_report.read_report(tmp_path) == report
        await World().score(report)
        text = training_report.write(report, tmp_path)
        assert training_report.read_report(tmp_path) == report
        assert (tmp_path / "report.txt").read_text() == text
        assert sorted(p.name for p in tmp_path.iterdir()) == ["report.json", "report.txt"]

    async def test_people_read_what_counts(self) -> None:
        report = report_of(held_out())
        text = "\n".join(training_report.text(report))
        for part in (
            "1 of 10 parameters trained",
            "3 train and 3 eval pairs",
            "eval: 2 cut, longer than 2,048 tokens",
            "eval: 1 dropped",
            "0.6931      0.5000",
            "not scored: --verify was not given",
        ):
            assert part in text
        await World(FakePanel({"old 0": 0.25, "new 0": 0.75})).score(report)
        text = "\n".join(training_report.text(report))
        assert "0.2500      0.7500" in text
        assert "1 with both scores: 1 better and 0 worse by at least 0.05" in text
        assert "not scored" not in text

    @pytest.mark.parametrize("content", [None, "{", "[]", '{"answers": {}}'])
    def test_what_is_no_report(self, tmp_path: Path, content: str | None) -> None:
        if content is not None:
            (tmp_path / "report.json").write_text(content)
        with pytest.raises(InputError, match=r"report\.json"):
            training_report.read_report(tmp_path)

    def test_a_folder_that_cannot_be_written(self, tmp_path: Path) -> None:
        with pytest.raises(Unavailable, match="cannot be written"):
            training_report.write(report_of(held_out()), tmp_path / "none")

    def test_figures_are_numbers(self) -> None:
        metrics = {"loss": math.nan, "grad_norm": math.inf, "step": 3, "other": 1.0}
        assert core.figures(metrics, core.STEP_FIGURES) == {"step": 3}
