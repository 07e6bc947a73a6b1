"""From a panel's answers about labelled pairs to training pairs: how many, and how many right."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from rlvr_ray.core.errors import JudgeError
from rlvr_ray.core.records import Defect, Verification
from rlvr_ray.settings import load
from rlvr_ray.verification.calibration import decisions
from rlvr_ray.verification.calibration.decisions import COLUMNS, by_hash, columns, decision
from rlvr_ray.verification.calibration.evaluation import evaluate
from rlvr_ray.verification.calibration.labelled import Answer, Labelled, Row, read
from rlvr_ray.verification.verifier import Claim
from tests.builders import assessment
from tests.fakes import FakePanel
from tests.labelled import judged, pairs, rows_file, verdict
from tests.verification.test_evaluation import shown

pytestmark = pytest.mark.integration


SETTINGS = load(verification={"verifiers": ["grounded"]})
RULE = SETTINGS.dpo.rule()
RIGHT, WRONG = Answer(text="Paris", right=True), Answer(text="Rome", right=False)
Result = Verification | JudgeError


def row(line: int = 1, right: str = "Paris", wrong: str = "Rome", **changes: Any) -> Row:
    fields: dict[str, Any] = {
        "line": line,
        "kind": "",
        "question": "Where is it?",
        "contexts": ("The tower stands in Paris.",),
        "references": (),
        "answers": (Answer(text=right, right=True), Answer(text=wrong, right=False)),
    }
    return Row(**fields | changes)


def said(score: float, defect: Defect | None = None) -> Verification:
    claim = Claim(
        answer_event_id=decisions.batch_of(row(), [RIGHT]).candidates[0].event_id,
        question="",
        answer="",
        contexts=(),
    )
    return verdict(claim, assessment(score, score, defect=defect))


GOOD, BAD = said(0.9), said(0.2, Defect.OTHER_SUBJECT)


class TestDecision:
    @pytest.mark.parametrize(
        ("right", "wrong", "chosen"), [(GOOD, BAD, True), (BAD, GOOD, False), (GOOD, GOOD, None)]
    )
    def test_the_order_in_the_batch_does_not_matter(
        self, right: Result, wrong: Result, chosen: bool | None
    ) -> None:
        one = decision(row(), {RIGHT: right, WRONG: wrong}, RULE)
        other = decision(row(), {WRONG: wrong, RIGHT: right}, RULE)
        assert one.right is other.right is chosen
        assert one.scores == other.scores
        assert one.outcome.reason == other.outcome.reason
        assert one.defect == other.defect == (None if chosen is None else Defect.OTHER_SUBJECT)

    def test_an_answer_without_a_score(self) -> None:
        found = decision(row(), {RIGHT: JudgeError("no \0 and \ud800"), WRONG: BAD}, RULE)
        assert (found.right, found.outcome.reason, found.scores) == (None, "unscored", (None, 0.2))

    def test_the_rule_is_that_of_the_settings(self) -> None:
        rule = load(dpo={"min_chosen_score": 0.95}).dpo.rule()
        found = decision(row(), {RIGHT: GOOD, WRONG: BAD}, rule)
        assert (found.right, found.outcome.reason) == (None, "chosen_too_low")


class TestOrder:
    def test_it_knows_nothing_of_labels(self) -> None:
        turned = row(right="Rome", wrong="Paris")
        assert [a.text for a in by_hash(row())] == [a.text for a in by_hash(turned)]

    def test_the_right_answer_stands_first_in_about_half_of_the_rows(self) -> None:
        first = sum(by_hash(row(right=f"a{n}", wrong=f"b{n}"))[0].right for n in range(400))
        assert 150 < first < 250

    async def test_a_rule_that_goes_by_the_index_gains_nothing(self, tmp_path: Path) -> None:
        class FirstIsBest(FakePanel):
            async def verify(self, claims: Any) -> list[Result]:
                return [
                    verdict(
                        claim, assessment(score, score, defect=Defect.OFF_TOPIC if at else None)
                    )
                    for at, (claim, score) in enumerate(zip(claims, (0.9, 0.1), strict=True))
                ]

        labelled = read(pairs(tmp_path, 200))
        found = evaluate(labelled, await judged(FirstIsBest(), labelled), SETTINGS, 1.0)
        assert found["decisions"]["pairs"] == 200
        assert 0.4 < found["decisions"]["precision"] < 0.6


def by_answer(scores: Mapping[str, Result]) -> Callable[[Claim], Result]:
    def result(claim: Claim) -> Result:
        found = scores[claim.answer]
        if isinstance(found, JudgeError):
            return found
        return verdict(claim, *found.assessments)

    return result


@pytest.fixture
def labelled(tmp_path: Path) -> Labelled:
    """Of two kinds, and one row of none: right, wrong, no pair, no score."""
    return rows_file(
        tmp_path,
        [
            {"right_answer": "in Paris", "wrong_answer": "in Rome itself", "kind": "place"},
            {"right_answer": "at noon", "wrong_answer": "noon", "kind": "time"},
            {"right_answer": "by night", "wrong_answer": "by dawn", "kind": "time"},
            {"right_answer": "never seen", "wrong_answer": "stands"},
        ],
    )


async def figures(labelled: Labelled) -> dict[str, Any]:
    said_: dict[str, Result] = {
        **{"in Paris": GOOD, "in Rome itself": BAD, "at noon": BAD, "noon": GOOD},
        **{"by night": GOOD, "by dawn": GOOD, "never seen": JudgeError("mute"), "stands": BAD},
    }
    panel = FakePanel(result=by_answer(said_))
    return evaluate(labelled, await judged(panel, labelled), SETTINGS, 1.0)


class TestFigures:
    async def test_over_all_rows(self, labelled: Labelled) -> None:
        found = (await figures(labelled))["decisions"]
        assert found["rule"]["min_score_diff"] == 0.05
        assert (found["rows"], found["pairs"], found["right_pairs"]) == (4, 2, 1)
        assert (found["unscored"], found["accuracy"]) == (1, 0.5)
        assert (found["yield"], found["precision"]) == (0.5, 0.5)
        assert found["precision_interval"] == [0.094531, 0.905469]
        assert found["shorter"] == 0.375  # by words: right, wrong, even, wrong
        # The context has of the four rows' words "Paris", nothing, nothing and "stands".
        assert found["overlap"] == 0.5
        assert {e["reason"]: e["count"] for e in found["no_pair"]} == {"tie": 1, "unscored": 1}
        assert found["defects"] == [{"defect": "other_subject", "pairs": 2, "right_pairs": 1}]

    async def test_by_kind(self, labelled: Labelled) -> None:
        place, time = (await figures(labelled))["decisions"]["by_kind"]
        assert (place["kind"], place["rows"], place["precision"]) == ("place", 1, 1.0)
        assert (time["kind"], time["rows"], time["precision"]) == ("time", 2, 0.0)
        assert columns(time) == ["2", "0.250", "0.250", "0.500", "1", "0", "0.000", "0.00–0.79"]
        assert len(columns(time)) == len(COLUMNS)

    async def test_what_became_of_each_row(self, labelled: Labelled) -> None:
        found = (await figures(labelled))["decisions"]["outcomes"]
        assert [(o["line"], o["kind"], o["chosen"], o["defect"]) for o in found] == [
            (1, "place", "right", "other_subject"),
            (2, "time", "wrong", "other_subject"),
            (3, "time", None, None),
            (4, "", None, None),
        ]
        assert found[1]["scores"] == [0.2, 0.9]
        assert found[1]["reason"] is None
        assert found[3]["scores"] == [None, 0.2]
        assert (found[3]["reason"], "mute" in found[3]["detail"]) == ("unscored", True)

    async def test_no_pair_has_no_precision(self, labelled: Labelled) -> None:
        panel = FakePanel(result=lambda claim: JudgeError("mute"))
        found = evaluate(labelled, await judged(panel, labelled), SETTINGS, 1.0)["decisions"]
        assert (found["pairs"], found["yield"], found["unscored"]) == (0, 0.0, 4)
        assert found["precision"] is found["precision_interval"] is found["accuracy"] is None

    async def test_they_are_shown(self, labelled: Labelled) -> None:
        text = shown(await figures(labelled))
        assert "pairs made" in text
        assert "2 of 4 rows" in text
        assert "1 without a pair: tie" in text
        assert "2 rejected, 1 of them rightly: other_subject" in text
        (kind,) = [line.split() for line in text.splitlines() if line.startswith("place")]
        assert kind == ["place", "1", "1.000", "1.000", "1.000", "1", "1", "1.000", "0.21–1.00"]
