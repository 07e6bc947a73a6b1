"""`jobs/train_dpo.py` on Ray Train: from an export to a checkpoint, a report and scores."""

import importlib.util
import json
import math
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlvr_ray.client import Client
from rlvr_ray.core.errors import ConfigError, LedgerError, Unavailable
from rlvr_ray.documents.retriever import Document
from rlvr_ray.training.evaluation import Application
from rlvr_ray.training.trl import unpack_gguf
from tests.cluster.conftest import RLVR, System, free_port, serving
from tests.fakes import FakePanel, FakeRecorder, FakeRetriever
from tests.train.conftest import CHOSEN, JOB, Cluster, Exports, Refused

_spec = importlib.util.spec_from_file_location("train_dpo", JOB)
assert _spec and _spec.loader
job = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(job)

STEPS = 6
#: High, so that a few steps show.
FAST = ("--learning-rate", "1e-3")


@dataclass(frozen=True)
class Trained:
    folder: Path
    report: dict[str, Any]
    printed: str


@pytest.fixture(scope="module")
def trained(
    cluster: Cluster, exports: Exports, gguf: Path, tmp_path_factory: pytest.TempPathFactory
) -> Trained:
    """SmolLM2-135M with LoRA, from the file that the installation brings."""
    out = tmp_path_factory.mktemp("job") / "trained"
    printed, _ = cluster.job(
        *(exports("--eval", "0.3"), "--model", gguf, "--out", out, "--merge"),
        *("--max-steps", STEPS, "--batch", 2, "--answer-tokens", 16, *FAST),
    )
    return Trained(out, json.loads((out / "report.json").read_text()), printed)


def test_it_learns_what_the_pairs_say(trained: Trained) -> None:
    history = trained.report["training"]["history"]
    losses = [step["loss"] for step in history]
    assert len(losses) == STEPS
    assert all(map(math.isfinite, losses))
    assert losses[0] == pytest.approx(math.log(2), abs=1e-3), "at first it is its own reference"
    assert losses[-1] < losses[0] / 2
    before, after = (trained.report["eval"][side] for side in ("before", "after"))
    assert before["reward_margin"] == pytest.approx(0, abs=1e-3)
    assert after["reward_margin"] > 1, "pairs that it was not trained on say the same"
    assert after["reward_accuracy"] == 1
    assert after["loss"] < before["loss"]


def test_the_report_says_what_was_done(trained: Trained, gguf: Path, exports: Exports) -> None:
    report = trained.report
    assert report["model"]["name"] == str(gguf)
    assert len(report["model"]["sha256"]) == 64
    assert 0 < report["model"]["trained_parameters"] < report["model"]["parameters"] / 10
    splits = report["data"]["splits"]
    assert {name: split["rows"] for name, split in splits.items()} == {"train": 6, "eval": 2}
    assert not any(split["dropped"] or split["cut"] for split in splits.values())
    assert all(len(split["sha256"]) == 64 for split in splits.values())
    assert report["data"]["prompt"] == "question"
    assert report["settings"]["learning_rate"] == 1e-3
    assert report["settings"]["seed"] == 0
    assert all(report["versions"].values()), report["versions"]
    training = report["training"]
    assert (training["steps"], training["pairs_per_step"]) == (STEPS, 2)
    assert (training["workers"], training["device"], training["precision"]) == (1, "CPU", "fp32")
    answers = report["answers"]
    assert (answers["count"], answers["scored"]) == (2, 0)
    assert answers["changed"] == 2
    assert answers["not_scored"] == "--verify was not given"
    asked = {question["question"] for question in answers["questions"]}
    lines = (exports("--eval", "0.3") / "eval.jsonl").read_text().splitlines()
    assert asked == {json.loads(line)["prompt"][0]["content"] for line in lines}


def test_it_tells_people(trained: Trained) -> None:
    text = (trained.folder / "report.txt").read_text()
    assert trained.printed.endswith(text)
    assert f"step {STEPS} of {STEPS}: loss" in trained.printed
    assert "reward margin" in text
    assert "answers were not scored: --verify was not given" in text


def test_nothing_else_is_left(trained: Trained) -> None:
    assert sorted(p.name for p in trained.folder.iterdir()) == [
        "checkpoint",
        "report.json",
        "report.txt",
    ]
    assert [p.name for p in trained.folder.parent.iterdir()] == ["trained"]


def test_the_checkpoint_answers_otherwise(
    trained: Trained, gguf: Path, tmp_path: Path, exports: Exports
) -> None:
    """The adapter on its model, and both merged, are what the report says."""
    base = unpack_gguf(gguf, tmp_path / "base")
    checkpoint = trained.folder / "checkpoint"
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    line = (exports("--eval", "0.3") / "eval.jsonl").read_text().splitlines()[0]
    row = json.loads(line)

    def likelihood(model: Any, answer: list[dict[str, str]]) -> float:
        """Log-probability of the answer, end of turn included."""
        asked = tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True)
        whole = tokenizer.apply_chat_template(row["prompt"] + answer, return_tensors="pt")
        with torch.no_grad():
            logits = model(**whole).logits[0, :-1].log_softmax(-1)
        tokens = whole["input_ids"][0, 1:]
        each = logits.gather(-1, tokens[:, None])[:, 0]
        return float(each[len(asked["input_ids"]) - 1 :].sum())

    def margin(model: Any) -> float:
        return likelihood(model, row["chosen"]) - likelihood(model, row["rejected"])

    assert CHOSEN in row["chosen"][0]["content"]
    first = margin(model)
    adapted = margin(PeftModel.from_pretrained(model, checkpoint))
    assert adapted > first + 1 / 0.1, "a reward is beta = 0.1 of a log-probability"
    merged = AutoModelForCausalLM.from_pretrained(checkpoint / "merged", dtype=torch.float32)
    assert margin(merged) == pytest.approx(adapted, abs=0.05)


def test_two_workers_train_all_weights(
    cluster: Cluster, exports: Exports, tiny: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    cluster.job(
        *(exports("--eval", "0.3"), "--model", tiny, "--out", out, "--full", "--workers", 2),
        *("--device-batch", 1, "--batch", 4, "--epochs", 2, "--answer-tokens", 8, *FAST),
    )
    report = json.loads((out / "report.json").read_text())
    training = report["training"]
    assert (training["workers"], training["pairs_per_step"], training["steps"]) == (2, 4, 4)
    assert report["model"]["trained_parameters"] == report["model"]["parameters"]
    assert report["eval"]["after"]["reward_margin"] > report["eval"]["before"]["reward_margin"]
    assert report["answers"]["count"] == 2, "shared by the workers, and each asked once"
    AutoModelForCausalLM.from_pretrained(out / "checkpoint")


def test_what_is_missing_is_said(
    refused: Refused, exports: Exports, tiny: Path, tmp_path: Path
) -> None:
    folder, out = exports("--eval", "0.3"), tmp_path / "out"
    told = refused(folder, "--model", tiny, "--out", out, "--verify")
    assert "the application does not run on the Ray cluster at" in told
    assert "start it with rlvr serve" in told
    (tmp_path / "no model").mkdir()
    (tmp_path / "no model" / "config.json").write_text("{}")
    told = refused(folder, "--model", tmp_path / "no model", "--out", out)
    assert "no model cannot be loaded: " in told, "though a worker finds out"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["no model"]


def test_workers_that_find_no_room_are_not_waited_for(cluster: Cluster) -> None:
    with pytest.raises(ConfigError, match="9 workers need as many CPUs, and of the cluster's 3"):
        job._workers(9)


def test_a_scoring_that_fails_costs_no_checkpoint(trained: Trained, tmp_path: Path) -> None:
    class Away(FakePanel):
        async def verify(self, claims: Any) -> Any:
            raise LedgerError("it is gone")

    gone = Application(
        panel=Away(),
        retriever=FakeRetriever(),
        recorder=FakeRecorder(),
        top_k=1,
        min_score_diff=0.05,
    )
    with pytest.raises(Unavailable, match=r"trained, but .* not scored: it is gone .*--score-only"):
        job._score(tmp_path, json.loads(json.dumps(trained.report)), gone)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["answers"]["not_scored"] == "it is gone"
    assert report["eval"] == trained.report["eval"]


def test_ctrl_c_ends_it_and_leaves_nothing(
    cluster: Cluster, exports: Exports, tiny: Path, tmp_path: Path
) -> None:
    arguments = [exports("--eval", "0.3"), "--model", tiny, "--out", tmp_path / "out"]
    process = subprocess.Popen(
        [sys.executable, str(JOB), *map(str, arguments), "--max-steps", "100000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=cluster.env,
    )
    assert process.stdout
    assert "step" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 130, told
    assert "train_dpo: stopped; nothing was kept of this training" in told
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def system(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """The application on the same cluster, with the embedded engine."""
    folder = tmp_path_factory.mktemp("system")
    log, port = folder / "serve.log", free_port()
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [*RLVR, "serve", "--data-dir", str(folder / "data"), "--port", str(port)],
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=cluster.env | {"RLVR_RAY_ADDRESS": "auto", "RLVR_RETRIEVAL__TOP_K": "1"},
        )
    url = f"http://127.0.0.1:{port}"
    with Client(url) as client, httpx.Client(base_url=url, timeout=120) as http:
        for running in serving(System(url, folder / "data", process, log, client, http, "")):
            running.client.ingest(
                [
                    Document(source=f"{name}.md", text=text)
                    for name, text in (
                        (
                            "harbour",
                            "The harbour of Varnholm opens at six in the morning. "
                            "Its lighthouse is painted white and red.",
                        ),
                        ("mill", "The mill of Osterby grinds rye. It belongs to Ada Lund."),
                    )
                ]
            )
            yield running


def test_the_application_scores_answers_from_passages(
    system: System, cluster: Cluster, exports: Exports, trained: Trained, tmp_path: Path
) -> None:
    """Questions of a file, asked over passages as the pipeline asks; both answers scored."""
    questions = tmp_path / "questions.jsonl"
    asked = ["When does the harbour of Varnholm open?", "What does the mill of Osterby grind?"]
    lines = [json.dumps({"question": text}) for text in asked]
    questions.write_text("\n".join([*lines, "{}"]) + "\n")
    out = tmp_path / "out"
    export = exports("--prompt", "rag-messages", "--eval", "0.3")
    _, told = cluster.job(
        *(export, "--model", trained.folder / "checkpoint" / "merged", "--out", out),
        *("--questions", questions, "--verify", "--max-steps", 2, "--batch", 2),
        *("--answer-tokens", 32, "--max-length", 256),
    )
    assert "questions.jsonl:3: " in told, "what is no question is named"
    report = json.loads((out / "report.json").read_text())
    assert report["data"]["prompt"] == "rag-messages"
    dropped = [split["dropped"] + split["cut"] for split in report["data"]["splits"].values()]
    assert sum(dropped) == 1, "one passage is longer than 256 tokens"
    answers = report["answers"]
    assert [question["question"] for question in answers["questions"]] == asked
    assert [question["contexts"][0].split(".")[0] for question in answers["questions"]] == [
        "The harbour of Varnholm opens at six in the morning",
        "The mill of Osterby grinds rye",
    ]
    assert not answers["not_scored"]
    results = [question[side] for question in answers["questions"] for side in ("before", "after")]
    scored = [result for result in results if "score" in result]
    assert scored, results
    for result in scored:
        assert 0 <= result["score"] <= 1
        assert result["verifiers"][0] in ("grounded", "screening", "abstention")
    assert all(result["not_scored"] for result in results if "score" not in result)


def test_answers_can_be_scored_later(system: System, cluster: Cluster, trained: Trained) -> None:
    """Bare questions, whose pairs another data folder made: passages are searched for."""
    cluster.job("--score-only", "--out", trained.folder)
    report = json.loads((trained.folder / "report.json").read_text())
    assert report["answers"]["not_scored"] == ""
    for question in report["answers"]["questions"]:
        for side in ("before", "after"):
            assert question[side].keys() & {"score", "not_scored"}, question
    assert {k: v for k, v in report.items() if k != "answers"} == {
        k: v for k, v in trained.report.items() if k != "answers"
    }
