"""`rlvr judge-report` as users run it, over labelled data, with real embeddings."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rlvr_ray.cli.main import app
from tests.quality.measuring import path_of

#: Rows of each file: enough to tell a judge from chance, and quick.
LIMIT = 60


def judge_report(data: Path, out: Path) -> dict[str, Any]:
    """The result with the default settings."""
    if not data.exists():
        pytest.skip(f"the labelled data is not at {data}")
    done = CliRunner().invoke(
        app,
        [
            *("judge-report", str(data), "--limit", str(LIMIT), "--repeats", "2", "--json"),
            *("--out", str(out)),
        ],
        catch_exceptions=False,
    )
    assert done.exit_code == 0, done.stderr
    assert (out / "judge-report.png").stat().st_size > 10_000
    result: dict[str, Any] = json.loads((out / "judge-report.json").read_text("utf-8"))
    assert result == json.loads(done.stdout)
    return result


def test_pairs(tmp_path: Path) -> None:
    result = judge_report(path_of("halueval_qa"), tmp_path)
    figures = result["panel"]
    assert (result["data"]["kind"], result["data"]["pairs"]) == ("pairs", LIMIT)
    assert result["data"]["shorter_is_right"] == 0.9
    assert figures["unscored"]["share"] < 0.05
    assert figures["pairs"]["accuracy"] >= 0.9
    assert figures["roc_auc"] >= 0.9
    decided = result["decisions"]
    assert (decided["rows"], decided["by_kind"]) == (LIMIT, [])
    assert sum(outcome["chosen"] is not None for outcome in decided["outcomes"]) == decided["pairs"]
    assert decided["precision"] >= 0.9


def test_labelled_answers_and_who_judged_them(tmp_path: Path) -> None:
    result = judge_report(path_of("begin_wow_dev"), tmp_path)
    figures = result["panel"]
    assert (result["data"]["kind"], result["data"]["answers"]) == ("answers", LIMIT)
    assert figures["unscored"]["share"] < 0.05
    assert figures["roc_auc"] >= 0.9
    assert sum(held["count"] for held in figures["reliability"]) == figures["scored"]

    grounded = result["verifiers"]["grounded"]
    (judge,) = grounded["judges"]
    assert (judge["faithfulness"], judge["relevancy"], judge["model"]) == (
        "grounded",
        "grounded",
        "",
    )
    assert "MiniLM" in judge["embedder"]
    assert judge["version"]
    assert grounded["agreement"]["mean_difference"] == 0.0
    assert grounded["agreement"]["same_score"] == 1.0
    assert grounded["cost"]["generated_tokens"] == 0
