"""What `rlvr ask` shows of a batch: scores of whom, and texts as they are."""

from typing import Any

import pytest
from rich.console import Console, RenderableType

from rlvr_ray.cli import batches, serve
from rlvr_ray.client import Batch
from rlvr_ray.client.servers import Server
from rlvr_ray.dataset.state import BatchState
from rlvr_ray.serve.http import replies
from tests.builders import assessment, plain_assessment
from tests.folders import decided

pytestmark = pytest.mark.integration


#: What would be a style, a link, an emoji or an error if it were taken for markup.
MARKUP = "[red]no[/red] [link=x]y[/link] :smile: [/]"


def shown(view: RenderableType) -> str:
    console = Console(width=200, force_terminal=False)
    with console.capture() as capture:
        console.print(view)
    return capture.get()


def read(state: BatchState) -> Batch:
    return Batch.from_json(replies.batch(state))


def lines(*scores: Any, **changes: Any) -> list[str]:
    """The lines of a decided batch, spaces once."""
    text = shown(batches.batch(read(decided(1, scores, **changes))))
    cells = text.replace("┃", "│").splitlines()
    return [" | ".join(cell.strip() for cell in line.strip("│ ").split("│")) for line in cells]


def test_one_judge_of_both_metrics_has_no_column_of_its_own() -> None:
    found = lines(
        (assessment(0.9, 0.7),),
        (assessment(0.5, 0.25),),
        answers=("Ray scales.", "Ray is a fish."),
    )
    assert "temp | score | faithful | relevant | answer" in found
    assert "0.3 | 0.80 | 0.90 | 0.70 | Ray scales." in found
    assert "0.7 | 0.38 | 0.50 | 0.25 | Ray is a fish." in found
    assert found[-2].startswith("pair: margin 0.425")


def test_what_checks_a_judge_by_itself_has_no_column() -> None:
    check = assessment(0.1, 0.1, verifier="check", weight=0.0)
    found = lines((assessment(0.9, 0.7), check), (assessment(0.5, 0.25), check))
    assert "temp | score | faithful | relevant | answer" in found


def test_several_verifiers_have_a_column_each() -> None:
    found = lines(
        (
            assessment(0.9, 0.7, weight=2.0),
            plain_assessment(0.5),
            assessment(verifier="other", weight=0.0),
        ),
        (assessment(0.1, None), plain_assessment(0.0)),
        answers=("Ray scales.", "Ray is a fish."),
    )
    head = "temp | score | faithful | relevant | grounded | exact | other (check) | answer"
    assert head in found
    assert "0.3 | 0.70 | 0.90 | 0.70 | 0.80 | 0.50 | 0.80 | Ray scales." in found
    assert "0.7 | 0.05 | 0.10 | – | 0.10 | 0.00 | – | Ray is a fish." in found


def test_a_verifier_without_metrics_is_named() -> None:
    found = lines((plain_assessment(1.0, "numeric"),), (plain_assessment(0.0, "numeric"),))
    assert "temp | score | faithful | relevant | numeric | answer" in found
    assert "0.3 | 1.00 | – | – | 1.00 | answer 0 of 1" in found


def test_a_failed_verification_says_why() -> None:
    found = lines(0.9, "the judge is silent", 0.5)
    assert "temp | score | faithful | relevant | answer" in found
    at = found.index("0.7 | – | – | – | answer 1 of 1")
    assert found[at + 1] == "no score: the judge is silent"
    assert sum("no score" in line for line in found) == 1


def test_where_none_has_a_score_there_is_no_verifier() -> None:
    found = lines("all", "failed")
    assert "temp | score | faithful | relevant | answer" in found
    assert [line.split(": ")[1] for line in found if "no score" in line] == ["all", "failed"]


@pytest.mark.parametrize("scores", [(0.9, MARKUP), (0.9, 0.1)], ids=["failed", "scored"])
def test_texts_are_shown_as_they_are(scores: tuple[Any, ...]) -> None:
    text = shown(batches.batch(read(decided(1, scores, answers=(MARKUP, f"b {MARKUP}")))))
    assert f"│ {MARKUP} " in text
    assert f"│ b {MARKUP} " in text
    assert (f"no score: {MARKUP}" in text) is (scores[1] == MARKUP)


def test_names_of_verifiers_are_shown_as_they_are() -> None:
    """They come from the ledger, and an older or newer program wrote it."""
    found = lines((plain_assessment(1.0, MARKUP),), (plain_assessment(0.0, MARKUP),))
    assert f"temp | score | faithful | relevant | {MARKUP} | answer" in found


class TestServing:
    """What `rlvr serve` prints; the cluster tests paste it."""

    def shown(self, mode: str, monkeypatch: pytest.MonkeyPatch, dashboard: str | None) -> list[str]:
        monkeypatch.setenv("RAY_AUTH_MODE", mode)
        monkeypatch.setattr(serve, "BIN", "/x/bin/")
        server = Server(
            pid=1, url="http://h:1", data_dir="/d", ray_address="h:2", dashboard=dashboard
        )
        return [line.strip() for line in serve.serving(server).splitlines()]

    @pytest.mark.parametrize(
        ("mode", "port", "export"),
        [
            ("token", 8265, ["export RAY_AUTH_MODE=token"]),
            (
                "token",
                8266,
                ["export RAY_AUTH_MODE=token RAY_ADDRESS=h:2 RAY_DASHBOARD_ADDRESS=http://h:8266"],
            ),
            ("disabled", 8265, []),
            ("disabled", 8266, ["export RAY_ADDRESS=h:2 RAY_DASHBOARD_ADDRESS=http://h:8266"]),
        ],
    )
    def test_what_ray_needs(
        self, mode: str, port: int, export: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lines = self.shown(mode, monkeypatch, f"http://h:{port}")
        assert [line for line in lines if line.startswith("export")] == export
        assert ("/x/bin/ray get-auth-token" in lines) == (mode == "token")
        assert any(line.startswith("/x/bin/ray job list") for line in lines)
        submits = [line for line in lines if line.startswith("/x/bin/ray job submit -- ")]
        assert bool(submits) == (port == 8265), "another cluster here has no job server"

    def test_no_dashboard(self, monkeypatch: pytest.MonkeyPatch) -> None:
        lines = self.shown("token", monkeypatch, None)
        assert lines[0] == "Serving at http://h:1 (API docs: http://h:1/docs), data in /d"
        assert not [line for line in lines if "ray job" in line or "export" in line]
