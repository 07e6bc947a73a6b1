"""What `rlvr judge-report` makes of a panel's answers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from rlvr_ray.cli import judge_report
from rlvr_ray.core.errors import JudgeError
from rlvr_ray.core.records import Usage, Verification
from rlvr_ray.settings import load
from rlvr_ray.verification.calibration.evaluation import evaluate
from rlvr_ray.verification.calibration.labelled import Labelled, read
from rlvr_ray.verification.calibration.table import key_figures
from rlvr_ray.verification.verifier import Claim
from tests.builders import assessment, plain_assessment
from tests.fakes import FakePanel
from tests.labelled import answers, judged, pairs, verdict

pytestmark = pytest.mark.integration


async def result_of(
    labelled: Labelled,
    result: Callable[[Claim], Verification | JudgeError],
    repeats: int = 1,
    **settings: Any,
) -> dict[str, Any]:
    found = await judged(FakePanel(result=result), labelled, repeats=repeats)
    known = {"verification": {"verifiers": ["grounded"]}}
    return evaluate(labelled, found, load(**known | settings), 12.5)


def by_answer(scores: dict[str, float | str]) -> Callable[[Claim], Verification | JudgeError]:
    """One verifier's plain scores, or the reasons why there are none."""

    def result(claim: Claim) -> Verification | JudgeError:
        score = scores[claim.answer]
        if isinstance(score, str):
            return JudgeError(score)
        return verdict(claim, plain_assessment(score, duration_ms=1500))

    return result


class TestFigures:
    async def test_of_pairs(self, tmp_path: Path) -> None:
        scores: dict[str, float | str] = {
            **{"a b c0": 0.9, "d e f g0": 0.2, "a1": 0.3, "b c d1": 0.6},
            **{"a b c d2": 0.5, "e f2": 0.5, "x y3": 0.7, "z w3": "no verdict"},
        }
        found = await result_of(read(pairs(tmp_path)), by_answer(scores))
        data, figures = found["data"], found["panel"]
        assert (data["kind"], data["answers"], data["right_answers"]) == ("pairs", 8, 4)
        assert (data["pairs"], data["length_matched_pairs"]) == (4, 2)
        assert data["shorter_is_right"] == 0.625  # shorter in two, longer in one, even in one
        assert figures["scored"] == 7
        assert figures["pairs"] == {"count": 3, "ties": 1, "accuracy": 0.5}
        assert figures["length_matched"] == {"count": 1, "ties": 0, "accuracy": 1.0}
        # Of 4 x 3: 0.9 wins 3, 0.3 wins 1, 0.5 wins 1 and ties 1, 0.7 wins 3.
        assert figures["roc_auc"] == round(8.5 / 12, 6)
        unscored = figures["unscored"]
        assert (unscored["judgements"], unscored["count"], unscored["share"]) == (8, 1, 0.125)
        assert unscored["reasons"] == [{"reason": "no verdict", "count": 1}]
        # Alone in their bins: 0.2 and 0.6 wrong, 0.3, 0.7 and 0.9 right. 0.5 is right once in two.
        error = (0.2 + 0.6 + 0.7 + 0.3 + 0.1) / 7
        assert figures["expected_calibration_error"] == round(error, 6)
        assert [held["count"] for held in figures["reliability"]] == [0, 0, 1, 1, 0, 2, 1, 1, 0, 1]
        assert figures["agreement"] is None
        assert figures["cost"] == {
            "judgements": 7,
            "prompt_tokens": 0.0,
            "cached_prompt_tokens": 0.0,
            "generated_tokens": 0.0,
            "seconds": 1.5,
        }
        assert (found["repeats"], found["wall_seconds"]) == (1, 12.5)
        assert found["answers"][7] == {
            "line": 4,
            "right": False,
            "scores": [None],
            "verifiers": {"exact": [None], "grounded": [None]},
            "reasons": ["no verdict"],
        }

    async def test_of_labelled_answers(self, tmp_path: Path) -> None:
        labelled = answers(tmp_path, [True, False, True])
        found = await result_of(labelled, by_answer({"a0": 0.9, "a1": 0.4, "a2": 0.4}))
        assert found["data"]["kind"] == "answers"
        assert (found["data"]["answers"], found["data"]["right_answers"]) == (3, 2)
        assert (found["data"]["pairs"], found["data"]["shorter_is_right"]) == (0, None)
        assert found["panel"]["pairs"] == {"count": 0, "ties": 0, "accuracy": None}
        assert found["panel"]["roc_auc"] == 0.75

    async def test_the_keys_are_a_contract(self, tmp_path: Path) -> None:
        """They do not hang on the kind of data, nor on what was scored."""

        def shape(value: Any) -> Any:
            if isinstance(value, dict):
                return {key: shape(entry) for key, entry in value.items()}
            return [shape(value[0])] if isinstance(value, list) and value else None

        def keys(found: dict[str, Any]) -> Any:
            found["panel"] |= {"agreement": None, "unscored": [*found["panel"]["unscored"]]}
            left = ("verifiers", "answers", "decisions")
            return shape({key: found[key] for key in found if key not in left})

        one = await result_of(answers(tmp_path, [True]), lambda claim: verdict(claim, assessment()))
        other = await result_of(read(pairs(tmp_path)), lambda claim: JudgeError("no"), repeats=2)
        assert list(one) == [
            *("schema_version", "rlvr_ray", "created_at", "data", "settings", "repeats"),
            *("wall_seconds", "panel", "decisions", "verifiers", "answers"),
        ]
        assert list(one["verifiers"]["grounded"]) == [
            *("weight", "judges", "scored", "pairs", "length_matched", "roc_auc", "metrics"),
            *("expected_calibration_error", "reliability", "agreement", "unscored", "cost"),
        ]
        assert list(other["verifiers"]["grounded"]) == list(one["verifiers"]["grounded"])
        assert one["decisions"] is None
        assert list(other["decisions"]) == [
            *("rule", "rows", "unscored", "accuracy", "shorter", "overlap", "pairs"),
            *("right_pairs", "yield", "precision", "precision_interval", "no_pair", "defects"),
            *("by_kind", "outcomes"),
        ]
        assert keys(one) == keys(other)

    async def test_by_verifier_and_metric(self, tmp_path: Path) -> None:
        def result(claim: Claim) -> Verification:
            right = claim.answer.startswith("a b")
            usage = Usage(prompt_tokens=300, completion_tokens=40, cached_tokens=100)
            good = assessment(0.9 if right else 0.1, 0.2, verifier="ragas", usage=usage)
            check = assessment(0.6, 0.6, verifier="check", weight=0.0, duration_ms=100)
            return verdict(claim, good, *([check] if right else []))

        found = await result_of(
            read(pairs(tmp_path, 1)), result, verification={"verifiers": ["ragas"]}
        )
        ragas, check = found["verifiers"]["ragas"], found["verifiers"]["check"]
        assert list(found["verifiers"]) == ["ragas", "check"]
        assert (ragas["weight"], check["weight"]) == (1.0, 0.0)
        assert (ragas["scored"], check["scored"]) == (2, 1)
        assert ragas["pairs"]["accuracy"] == found["panel"]["pairs"]["accuracy"] == 1.0
        assert check["pairs"]["accuracy"] is None
        assert ragas["metrics"]["faithfulness"]["pairs"]["accuracy"] == 1.0
        assert ragas["metrics"]["relevancy"]["pairs"]["accuracy"] == 0.5
        assert ragas["cost"] == {
            "judgements": 2,
            "prompt_tokens": 300.0,
            "cached_prompt_tokens": 100.0,
            "generated_tokens": 40.0,
            "seconds": 1.2,
        }
        # The panel's tokens are those of all verifiers: 300, and 200 more where there was a check.
        assert found["panel"]["cost"]["prompt_tokens"] == 400.0
        assert check["unscored"]["reasons"] == [
            {"reason": "it gave no score, but ragas did", "count": 1}
        ]
        assert ragas["judges"] == [
            {
                "faithfulness": "grounded",
                "relevancy": "ragas",
                "model": "test-model",
                "embedder": "test-embedder",
                "version": "test-version",
                "engine": "test-engine",
            }
        ]
        assert found["answers"][0]["verifiers"] == {"ragas": [0.55], "check": [0.6]}

    async def test_repeats(self, tmp_path: Path) -> None:
        times: dict[str, int] = {}

        def result(claim: Claim) -> Verification | JudgeError:
            number = times[claim.answer] = times.get(claim.answer, 0) + 1
            if claim.answer == "a1" and number == 2:
                return JudgeError("only once")
            return verdict(claim, plain_assessment(0.5 + 0.1 * number * (claim.answer[0] == "a")))

        found = await result_of(read(pairs(tmp_path, 2)), result, repeats=2)
        figures = found["panel"]
        assert figures["scored"] == 4  # of the first repeat
        assert figures["agreement"]["answers"] == 3
        assert figures["agreement"]["mean_difference"] == round(0.1 / 3, 6)
        assert figures["agreement"]["same_score"] == round(2 / 3, 6)
        assert (figures["agreement"]["pairs"], figures["agreement"]["same_order"]) == (1, 1.0)
        assert (figures["unscored"]["judgements"], figures["unscored"]["count"]) == (8, 1)
        assert found["answers"][2]["scores"] == [0.6, None]
        assert found["answers"][2]["reasons"] == [None, "only once"]

    async def test_nothing_scored(self, tmp_path: Path) -> None:
        found = await result_of(read(pairs(tmp_path)), lambda claim: JudgeError("no"), repeats=2)
        figures = found["panel"]
        assert (figures["scored"], figures["unscored"]["share"]) == (0, 1.0)
        assert figures["roc_auc"] is None
        assert figures["expected_calibration_error"] is None
        assert figures["agreement"] is None
        assert figures["cost"]["seconds"] is None
        assert key_figures(found)[1] == ["answers with a score", "0 of 8"]

    async def test_reasons_are_counted_by_kind_and_cut(self, tmp_path: Path) -> None:
        long = "b" * 500
        reasons = [f"verifiers disagree: {n / 10} and 0.{n}" for n in range(3)] + [
            *(f"{letter}\n  reason" for letter in "cdefghijklm"),
            long,
            long,
        ]
        labelled = answers(tmp_path, [True] * len(reasons))
        scores: dict[str, float | str] = {f"a{n}": reason for n, reason in enumerate(reasons)}
        found = await result_of(labelled, by_answer(scores))
        listed = found["panel"]["unscored"]["reasons"]
        assert len(listed) == 10
        assert listed[0] == {"reason": "verifiers disagree: 0.0 and 0.0", "count": 3}
        assert listed[1] == {"reason": f"{'b' * 160} …", "count": 2}
        assert listed[2] == {"reason": "c reason", "count": 1}

    async def test_secrets_are_not_told(self, tmp_path: Path) -> None:
        settings = load(
            judge={
                "engine": "openai",
                "model": "m",
                "base_url": "https://me:hunter2@host:1/v1?api-version=3&key=hunter2",
                "api_key": "hunter2",
            },
            verification={
                "verifiers": [
                    {
                        "name": "mine",
                        "options": {
                            "apiKey": "hunter2",
                            "headers": [{"Authorization": "hunter2"}],
                            "hf_token": "hunter2",
                            "url": "http://[bad hunter2",
                            "pattern": "a://b",
                            "max_tokens": 7,
                        },
                    }
                ]
            },
        )
        labelled = answers(tmp_path, [True])
        found = evaluate(labelled, await judged(FakePanel(), labelled), settings, 1.0)
        assert "hunter2" not in json.dumps(found)
        assert found["settings"]["judge"]["base_url"] == "https://host:1/v1"
        options = found["settings"]["verification"]["verifiers"][0]["options"]
        assert (options["max_tokens"], options["pattern"]) == (7, "a://b")
        assert list(found["settings"]) == ["generator", "judge", "verification"]


def shown(found: dict[str, Any]) -> str:
    console = Console(width=100, no_color=True)
    with console.capture() as capture:
        console.print(judge_report.shown(found))
    return capture.get()


class TestKeyFigures:
    async def test_of_pairs(self, tmp_path: Path) -> None:
        scores = {"a b c0": 0.9, "d e f g0": 0.2, "a1": 0.3, "b c d1": 0.3}
        found = await result_of(read(pairs(tmp_path, 2)), by_answer({**scores}))
        assert key_figures(found) == [
            ["", "score"],
            ["answers with a score", "4 of 4"],
            ["pair accuracy", "0.750 of 2"],
            ["   like length only", "1.000 of 1"],
            ["   always the shorter one", "1.000"],
            ["   always the contexts' words", "0.500"],
            ["   ties", "1"],
            ["pairs made", "1 of 2 rows"],
            ["   the right answer chosen", "1.000"],
            ["   95 % interval", "0.21–1.00"],
            ["ROC AUC", "0.875"],
            ["calibration error (ECE)", "0.175"],
            ["judgements without a score", "0.0%"],
            ["prompt tokens an answer", "0"],
            ["   of them cached", "0"],
            ["generated tokens an answer", "0"],
            ["seconds an answer", "1.500"],
            ["seconds of the whole run", "12.5"],
        ]

    async def test_of_several_verifiers_metrics_and_repeats(self, tmp_path: Path) -> None:
        def result(claim: Claim) -> Verification:
            score = 0.9 if claim.answer == "a0" else 0.2
            return verdict(
                claim,
                assessment(score, 0.5),
                assessment(0.7, 0.7, verifier="check", weight=0.0),
                plain_assessment(0.0, "abstention"),
            )

        labelled = answers(tmp_path, [True, False])
        found = await result_of(labelled, result, repeats=2)
        head, *rows = key_figures(found)
        assert head == ["", "score", "grounded", "check"]
        table = {row[0]: row[1:] for row in rows}
        assert table["ROC AUC"] == ["1.000", "1.000", "0.500"]
        assert table["   faithfulness alone"] == ["1.000", "1.000", "0.500"]
        assert table["   relevancy alone"] == ["0.500"] * 3
        assert table["repeats: mean difference"] == ["0.000"] * 3
        assert table["   same score"] == ["100.0%"] * 3
        assert table["   correlation"] == ["1.000", "1.000", "–"]
        assert table["seconds of the whole run"] == ["12.5", "", ""]
        assert "pair accuracy" not in table
        assert "   same order" not in table

    async def test_they_are_shown_with_the_reasons_as_text(self, tmp_path: Path) -> None:
        labelled = answers(tmp_path, [True, False, True])
        scores: dict[str, float | str] = {"a0": 0.9, "a1": 0.1, "a2": "[bold]no[/] verdict"}
        text = shown(await result_of(labelled, by_answer(scores)))
        assert "ROC AUC" in text
        assert "2 of 3" in text
        assert "1 without a score: [bold]no[/] verdict" in text
