"""The yardstick itself: the oracle answers truly, and what is below a goal is told."""

import asyncio
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from rlvr_ray.core.records import Defect, Verification
from rlvr_ray.generation.generator import Prompt, Sample
from rlvr_ray.settings import load
from rlvr_ray.verification.calibration.evaluation import evaluate
from rlvr_ray.verification.calibration.labelled import Labelled
from rlvr_ray.verification.verifier import Claim
from tests.builders import assessment
from tests.fakes import FakePanel
from tests.labelled import judged, rows_file, verdict
from tests.quality import __main__ as command
from tests.quality.measuring import GOALS, Judge, Measured, measure, misses, table
from tests.quality.oracle import FALSE, TRUE, Oracle

ROW = {
    "context": "The tower stands in Paris. It was opened in 1889, and 5 million people see it.",
    "right_answer": "In **Paris**. It was opened in 1889.",
    "wrong_answer": "In Rome. It was opened in 1889.",
    "kind": "place",
}


def verdict_on(row: dict[str, Any], name: str, text: str, folder: Path) -> float:
    from rlvr_ray.verification.verifiers.ragas.logprob import verdict_prompt

    oracle = Oracle()
    (oracle.row,) = rows_file(folder, [row]).rows
    prompt = verdict_prompt("Judge.", "0123abcd", {"Context": row["context"], name: text}, "Well?")
    (result,) = asyncio.run(oracle.generate([prompt]))
    assert not isinstance(result, Exception)
    (completion,) = result
    return round(math.exp((completion.logprobs or ({},))[0]["1"]), 6)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("Statement", "In Paris.", TRUE),
        ("Statement", "In Rome.", FALSE),
        ("Statement", "It was opened in 1889.", TRUE),  # both answers say it
        ("Statement", "The tower stands in Paris.", TRUE),  # neither, but the context does
        ("Statement", "The tower stands in Pari", FALSE),
        ("Statement", 'The context contains the text "The tower stands in Pa".', TRUE),
        ("Statement", 'The context contains the text "The tower stands in Ro".', FALSE),
        ("Statement", "It was opened in 1888.", FALSE),
        ("Response", ROW["right_answer"], TRUE),
        ("Response", ROW["wrong_answer"], FALSE),
        ("Question", "Where is it?", TRUE),
    ],
)
def test_the_oracle_answers_truly(tmp_path: Path, name: str, text: str, expected: float) -> None:
    assert verdict_on(ROW, name, text, tmp_path) == expected


def test_the_oracle_knows_what_cannot_be_answered(tmp_path: Path) -> None:
    refusal = ROW | {"kind": "right_refusal", "right_answer": "The text does not say."}
    assert verdict_on(refusal, "Question", "Where is it?", tmp_path) == FALSE
    assert verdict_on(refusal, "Response", "The text does not say.", tmp_path) == TRUE


def test_a_wrong_answer_that_is_a_piece_of_the_right_one_is_wrong(tmp_path: Path) -> None:
    assert (
        verdict_on(ROW | {"wrong_answer": "In **Paris**."}, "Response", "In **Paris**.", tmp_path)
        == FALSE
    )


def test_the_oracle_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    oracle = Oracle()
    (oracle.row,) = rows_file(tmp_path, [ROW]).rows
    prompt = Prompt(messages=(), samples=(Sample(temperature=0.0, seed=0),), max_tokens=1)
    with pytest.raises((AssertionError, IndexError)):
        asyncio.run(oracle.generate([prompt]))


def measured(name: str, by: Judge, labelled: Labelled, right: int) -> Measured:
    """The first ``right`` rows decided rightly, the others wrongly."""
    good = {
        a.text for n, row in enumerate(labelled.rows) for a in row.answers if a.right == (n < right)
    }

    def result(claim: Claim) -> Verification:
        if claim.answer in good:
            return verdict(claim, assessment(0.9, 0.9))
        return verdict(claim, assessment(0.1, 0.1, defect=Defect.OFF_TOPIC))

    found = asyncio.run(judged(FakePanel(result=result), labelled))
    settings = load(verification={"verifiers": ["grounded"]})
    return Measured(
        name=name,
        judge=by,
        labelled=labelled,
        judged=found,
        result=evaluate(labelled, found, settings, 1.0),
        seconds=1.0,
    )


@pytest.fixture
def rows(tmp_path: Path) -> Labelled:
    return rows_file(
        tmp_path,
        [
            {"right_answer": f"right {n}", "wrong_answer": f"quite wrong {n}", "kind": f"k{n % 2}"}
            for n in range(10)
        ],
    )


@pytest.mark.parametrize(
    ("name", "by", "right", "expected"),
    [
        ("triples", "default", 10, []),
        ("triples", "default", 8, ["the precision"]),
        ("triples", "default", 5, ["the precision", "the precision of k1"]),
        ("triples", "oracle", 9, ["the right pairs", "the number of wrong pairs"]),
        ("halueval_qa", "default", 9, ["the accuracy", "the precision"]),
        ("ragtruth_summary_dev", "default", 10, ["accuracy above trivial rules"]),
    ],
)
def test_what_is_below_a_goal_is_told(
    rows: Labelled, name: str, by: Judge, right: int, expected: Sequence[str]
) -> None:
    found = misses(measured(name, by, rows, right))
    assert [line.split(": ")[1].split(" is ")[0] for line in found] == expected


def test_the_table_has_a_line_for_each_file_and_kind(rows: Labelled) -> None:
    head, file, *kinds, missing = table([measured("triples", "default", rows, 9), "x: not there"])
    assert head.split()[:3] == ["file", "judge", "rows"]
    assert file.split()[:3] == ["triples", "default", "10"]
    assert [line.split()[:2] for line in kinds] == [["k0", "5"], ["k1", "5"]]
    assert missing == "x: not there"


def test_a_missing_file_is_said_and_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "nothing.jsonl"
    assert command.main([str(path)]) == 1
    assert f"the labelled data is not at {path}" in capsys.readouterr().out


def test_the_command_shows_the_table_and_the_rows_that_were_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows_file(tmp_path, [ROW])
    out = tmp_path / "all.json"
    path = tmp_path / "rows.jsonl"
    assert command.main([str(path), "--oracle", "--right", "1", "--json", str(out)]) == 0
    text = capsys.readouterr().out
    assert "rows:1 place: right chosen" in text
    assert "  wrong " in text
    assert "0 goals not reached" in text
    assert out.stat().st_size > 1000


def test_every_goal_is_one_that_can_be_missed(rows: Labelled) -> None:
    for (name, by), goals in GOALS.items():
        if "roc_auc" not in goals:
            found = misses(measured(name, by, rows, 0))
            assert len(found) >= len(goals) - ("yield" in goals), name


def test_labelled_answers_have_an_area_and_no_decisions(tmp_path: Path) -> None:
    file = tmp_path / "begin_wow_dev.jsonl"
    rows = [
        '{"message": "Where is it?", "context": "The tower stands in Paris.", '
        f'"response": "{text}", "supported": {label}}}'
        for text, label in [
            ("The tower stands in Paris.", "true"),
            ("Rome has 12 towers.", "false"),
        ]
    ]
    file.write_text("\n".join(rows))
    found = measure(str(file), verification={"verifiers": ["grounded"]})
    assert found.result["decisions"] is None
    _, line = table([found])
    assert line.split()[:3] == ["begin_wow_dev", "default", "2"]
