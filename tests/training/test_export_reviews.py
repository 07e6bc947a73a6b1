"""An export takes the human's word."""

from pathlib import Path
from typing import Any

import pytest

from rlvr_ray.core import ids
from rlvr_ray.dataset.ledger import Ledger
from rlvr_ray.dataset.reviews import Review, ReviewChoice, verdict
from tests.builders import DECIDED
from tests.exports import export, refused, rlvr, rows
from tests.folders import Folder, decided

pytestmark = pytest.mark.integration


PAIRS = [decided(number, (0.9, 0.7, 0.5)) for number in range(6)]
SAID: tuple[ReviewChoice, ...] = ("a", "b", "b", "tie", "discard")
CHOSEN, REJECTED = 0, 2


def review(ledger: Ledger, number: int, said: ReviewChoice) -> None:
    outcome = PAIRS[number].outcome
    assert outcome is not None
    one = Review(
        review_id=ids.derive("review", number, said),
        batch_id=outcome.batch_id,
        a=CHOSEN,
        b=REJECTED,
        said=said,
        verdict=verdict(outcome, CHOSEN, REJECTED, said),
        note="",
        reviewer="",
        reviewed_at=DECIDED,
    )
    ledger.commit([lambda it: it.review(one)])


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Six pairs; five are reviewed: one confirmed, two turned round, a tie, one discarded."""
    made = Folder(tmp_path / "data")
    made.run(PAIRS)
    with made.open() as (ledger, _):
        review(ledger, 1, "tie")  # and then thought better of it
        for number, said in enumerate(SAID):
            review(ledger, number, said)
    return made


def texts(folder: Path) -> dict[str, tuple[str, str]]:
    """Chosen and rejected by batch."""
    return {
        row["batch_id"]: (row["chosen"][0]["content"], row["rejected"][0]["content"])
        for row in rows(folder / "train.jsonl")
    }


def wanted(*numbers: int, turned: tuple[int, ...] = ()) -> dict[str, tuple[str, str]]:
    found = {}
    for number in numbers:
        batch = PAIRS[number].batch
        both = batch.candidates[CHOSEN].answer, batch.candidates[REJECTED].answer
        found[str(batch.batch_id)] = both[::-1] if number in turned else both
    return found


def test_pairs_are_turned_round_or_left_out(folder: Folder, tmp_path: Path) -> None:
    report = export(folder.path, tmp_path / "out", "--human", "--eval", 0)
    assert texts(tmp_path / "out") == wanted(0, 1, 2, 5, turned=(1, 2))
    assert report["left_out"] == {"human_tie": 1, "human_discard": 1}
    assert report["human"] == {
        "agree": 1,
        "disagree": 2,
        "tie": 1,
        "discard": 1,
        "unreviewed": 1,
        "turned_round": 2,
    }
    train = report["splits"]["train"]
    assert train["margin"] == [0.4] * 5, "of the two that have one"
    assert train["score"][0] == 0.5, "that of the answer which people chose"
    card = (tmp_path / "out/README.md").read_text()
    assert "## People's reviews" in card
    assert "| `disagree` | the rejected answer is better | 2 |" in card
    assert "| `human_tie` |" in card


def test_only_what_was_reviewed(folder: Folder, tmp_path: Path) -> None:
    report = export(folder.path, tmp_path / "out", "--human", "--reviewed-only", "--eval", 0)
    assert texts(tmp_path / "out") == wanted(0, 1, 2, turned=(1, 2))
    assert report["left_out"]["unreviewed"] == 1


def test_without_it_the_judge_counts(folder: Folder, tmp_path: Path) -> None:
    report = export(folder.path, tmp_path / "out", "--eval", 0)
    assert texts(tmp_path / "out") == wanted(0, 1, 2, 3, 4, 5)
    assert report["human"] is None
    assert "People" not in (tmp_path / "out/README.md").read_text()


def test_where_all_are_turned_round_there_is_no_margin(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "data")
    folder.run(PAIRS[:2])
    with folder.open() as (ledger, _):
        for number in range(2):
            review(ledger, number, "b")
    report = export(folder.path, tmp_path / "out", "--human", "--eval", 0)
    assert "margin" not in report["splits"]["train"]
    assert report["human"]["turned_round"] == 2
    result = rlvr(folder.path, tmp_path / "again", "--human", "--eval", 0)
    assert "people's reviews: 0 agree, 2 disagree" in result.stdout


@pytest.mark.parametrize(
    ("options", "format_", "says"),
    [
        (["--reviewed-only"], "trl", "--reviewed-only goes with --human"),
        (["--human", "--pairs", "all"], "trl", "--pairs decided"),
        (["--human"], "sft", "a format of pairs"),
    ],
)
def test_what_it_is_not_about(
    folder: Folder, tmp_path: Path, options: list[Any], format_: str, says: str
) -> None:
    refused(rlvr(folder.path, tmp_path / "out", *options, format_=format_), says)


def test_without_a_ledger_there_are_no_reviews(folder: Folder, tmp_path: Path) -> None:
    (folder.path / "ledger.db").unlink()
    refused(rlvr(folder.path, tmp_path / "out", "--human"), "holds no ledger", code=1)
