"""`rlvr judge-report`: asking the panel, the two files, the command."""

import asyncio
import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from rlvr_ray.cli.main import app
from rlvr_ray.core.errors import (
    ConfigError,
    InputError,
    JudgeError,
    Overloaded,
    TimedOut,
    Unavailable,
)
from rlvr_ray.core.records import Verification
from rlvr_ray.core.retry import Backoff
from rlvr_ray.settings import Settings, VerificationSettings, load
from rlvr_ray.verification import factory
from rlvr_ray.verification.calibration import picture, report
from rlvr_ray.verification.calibration.evaluation import evaluate
from rlvr_ray.verification.calibration.labelled import read
from rlvr_ray.verification.calibration.report import Files, write
from rlvr_ray.verification.verifier import Claim, Panel
from tests.builders import assessment
from tests.fakes import FakePanel
from tests.labelled import judged, pairs, verdict
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.integration


PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "BACKOFF", Backoff(first_s=0.001, longest_s=0.01))


class TestAsking:
    async def test_claims_are_as_the_rows_say(self, tmp_path: Path) -> None:
        panel = FakePanel()
        await judged(panel, read(pairs(tmp_path, 2)), at_once=1)
        first, second = panel.claims
        assert {claim.answer for claim in first} == {"a b c0", "d e f g0"}
        for claim in first:
            assert (claim.question, claim.contexts) == ("q0?", ("c0", "shared"))
            assert (claim.references, claim.retrieval_score) == (("r0",), None)
        assert [claim.question for claim in second] == ["q1?", "q1?"]

    async def test_a_repeat_has_ids_of_its_own_and_every_run_the_same(self, tmp_path: Path) -> None:
        async def ids() -> list[Any]:
            panel = FakePanel()
            await judged(panel, read(pairs(tmp_path, 3)), repeats=2, at_once=1)
            return [claim.answer_event_id for claims in panel.claims for claim in claims]

        found = await ids()
        assert len(set(found)) == 12
        assert found == await ids()

    @pytest.mark.parametrize("at_once", [1, 3, 50])
    async def test_no_more_rows_at_once_than_asked(self, tmp_path: Path, at_once: int) -> None:
        panel = FakePanel()
        panel.hang()
        run = asyncio.create_task(judged(panel, read(pairs(tmp_path, 20)), at_once=at_once))
        await panel.until(lambda: panel.running == min(at_once, 20))
        panel.release()
        await run
        assert panel.most_running == min(at_once, 20)
        assert panel.calls == 20

    async def test_results_stay_with_their_answers_whoever_is_first(self, tmp_path: Path) -> None:
        class Backwards:
            """Answers the last call first."""

            def __init__(self) -> None:
                self.waiting: list[asyncio.Event] = []

            async def verify(self, claims: Sequence[Claim]) -> list[Verification | JudgeError]:
                mine = asyncio.Event()
                self.waiting.append(mine)
                if len(self.waiting) == 6:
                    self.waiting.pop().set()
                await mine.wait()
                if self.waiting:
                    self.waiting.pop().set()
                return [JudgeError(claim.answer) for claim in claims]

        labelled = read(pairs(tmp_path, 6))
        found = await judged(Backwards(), labelled, at_once=6)
        assert [str(row.results[0]) for row in found] == [a.text for a in labelled.answers]
        assert [row.answer for row in found] == labelled.answers
        assert [row.line for row in found] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6]

    async def test_progress_counts_answers_and_those_without_a_score(self, tmp_path: Path) -> None:
        told: list[tuple[int, int]] = []
        panel = FakePanel({"a1": "no"})
        labelled = read(pairs(tmp_path, 2))
        await judged(
            panel, labelled, repeats=2, at_once=1, on_progress=lambda *counts: told.append(counts)
        )
        assert told == [(2, 0), (4, 1), (6, 1), (8, 2)]

    async def test_a_judge_that_is_too_slow_gives_no_score(self, tmp_path: Path) -> None:
        panel = FakePanel()
        panel.failures = [TimedOut("no answer in 5 s"), TimedOut("no answer in 5 s")]
        settings = VerificationSettings(max_attempts=2)
        found = await judged(panel, read(pairs(tmp_path, 2)), settings=settings, at_once=1)
        assert [str(row.results[0]) for row in found[:2]] == ["no answer in 5 s"] * 2
        assert all(isinstance(row.results[0], Verification) for row in found[2:])

    async def test_a_call_that_hangs_is_cut_off(self, tmp_path: Path) -> None:
        panel = FakePanel()
        panel.hang()
        settings = VerificationSettings(timeout_s=0.01, max_attempts=1)
        found = await judged(panel, read(pairs(tmp_path, 1)), settings=settings)
        assert str(found[0].results[0]) == "the judge did not finish within 0.01 s"
        assert panel.cancelled == 1

    @pytest.mark.parametrize("error", [Unavailable("nobody there"), Overloaded("full")])
    async def test_a_judge_that_never_answered_ends_the_run(
        self, tmp_path: Path, error: Exception
    ) -> None:
        panel = FakePanel()
        panel.failures = [error]
        with pytest.raises(type(error), match=str(error)):
            await judged(panel, read(pairs(tmp_path, 3)))
        assert panel.running == 0

    async def test_one_that_answered_is_waited_for(self, tmp_path: Path) -> None:
        panel = FakePanel()
        labelled = read(pairs(tmp_path, 3))
        told: list[int] = []

        def fail_next(done: int, unscored: int) -> None:
            told.append(done)
            if done == 2:
                panel.failures = [Unavailable("away"), Overloaded("full")]

        found = await judged(panel, labelled, at_once=1, on_progress=fail_next)
        assert all(isinstance(row.results[0], Verification) for row in found)
        assert (told, panel.calls) == ([2, 4, 6], 5)

    async def test_but_not_for_ever(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(report, "PATIENCE_S", 0.05)
        panel = FakePanel()

        def fail_next(done: int, unscored: int) -> None:
            panel.failures = [Unavailable("away")] * 100

        with pytest.raises(Unavailable, match="away"):
            await judged(panel, read(pairs(tmp_path, 3)), at_once=1, on_progress=fail_next)
        assert 3 <= panel.calls < 50

    async def test_cancelled_it_leaves_nothing_running(self, tmp_path: Path) -> None:
        panel = FakePanel()
        panel.hang()
        run = asyncio.create_task(judged(panel, read(pairs(tmp_path, 9)), at_once=3))
        await panel.until(lambda: panel.running == 3)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert (panel.running, panel.cancelled) == (0, 3)


def test_on_a_terminal_there_is_a_bar(tmp_path: Path) -> None:
    @contextlib.asynccontextmanager
    async def panel_of(settings: Settings) -> AsyncIterator[Panel]:
        yield FakePanel({"a1": "no"})

    shown = io.StringIO()
    terminal = Console(file=shown, force_terminal=True, width=100)
    settings = load(verification={"verifiers": ["grounded"]})
    found = report.run(settings, panel_of, read(pairs(tmp_path, 3)), terminal, repeats=2, at_once=1)
    assert "12/12" in shown.getvalue()
    assert "2 without a score" in shown.getvalue()
    assert "answers judged" not in shown.getvalue()
    assert found["wall_seconds"] > 0


class TestFiles:
    def test_a_folder_gets_files_of_our_name(self, tmp_path: Path) -> None:
        files = Files.at(tmp_path)
        assert files.json == tmp_path / "judge-report.json"
        assert files.picture == tmp_path / "judge-report.png"

    @pytest.mark.parametrize(
        ("out", "name"),
        [("new/v1.2", "v1.2"), ("mine.json", "mine"), ("mine.png", "mine"), ("a.b.json", "a.b")],
    )
    def test_else_it_is_how_their_names_begin(self, tmp_path: Path, out: str, name: str) -> None:
        files = Files.at(tmp_path / out)
        assert (files.json.name, files.picture.name) == (f"{name}.json", f"{name}.png")
        assert files.json.parent.is_dir()
        assert not [path for path in tmp_path.rglob("*") if path.is_file()]

    def test_where_nothing_can_be_written_it_says_so_at_once(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(InputError, match=r"--out .*/file/x: cannot write there: "):
            Files.at(tmp_path / "file" / "x")
        (tmp_path / "judge-report.png").mkdir()
        with pytest.raises(InputError, match=r"judge-report\.png is a folder; choose another"):
            Files.at(tmp_path)


async def some_result(folder: Path, name: str = "pairs.jsonl", verifiers: int = 1) -> Any:
    names = [f"verifier-{number}" for number in range(verifiers)]

    def result(claim: Claim) -> Verification:
        score = 0.9 if claim.answer.startswith("a") else 0.4
        return verdict(claim, *(assessment(score, score, verifier=name) for name in names))

    labelled = read(pairs(folder, 8, name))
    settings = load(verification={"verifiers": names})
    return evaluate(labelled, await judged(FakePanel(result=result), labelled), settings, 1.0)


class TestWriting:
    async def test_both_files_hold_the_result(self, tmp_path: Path) -> None:
        found = await some_result(tmp_path)
        files = Files.at(tmp_path)
        write(found, files)
        text = files.json.read_text("utf-8")
        assert json.loads(text) == found
        assert text.endswith("}\n")
        content = files.picture.read_bytes()
        width, height = (int.from_bytes(content[at : at + 4]) for at in (16, 20))
        assert content.startswith(PNG)
        assert width > height > 800

    @pytest.mark.parametrize(
        ("name", "verifiers"),
        [("$x_1$ [b]日本\u202e.jsonl", 1), ("long" * 50 + ".jsonl", 2), ("p.jsonl", 7)],
    )
    async def test_whatever_the_names_a_picture_comes_of_it(
        self, tmp_path: Path, name: str, verifiers: int
    ) -> None:
        # A warning (a glyph that the font lacks, a layout that does not work out) is an error here.
        found = await some_result(tmp_path, name, verifiers)
        picture.draw(found, tmp_path / "picture.png")
        assert (tmp_path / "picture.png").read_bytes().startswith(PNG)

    @pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
    async def test_interrupted_it_leaves_what_was_there(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
    ) -> None:
        found = await some_result(tmp_path)
        files = Files.at(tmp_path / "out" / "r")
        files.json.write_text("before")

        def draw(result: object, path: Path) -> None:
            path.write_bytes(PNG)
            raise error

        monkeypatch.setattr(picture, "draw", draw)
        expected = InputError if isinstance(error, OSError) else KeyboardInterrupt
        with pytest.raises(expected, match="No space" if isinstance(error, OSError) else None):
            write(found, files)
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["r.json"]
        assert files.json.read_text() == "before"


@pytest.fixture
def panel(monkeypatch: pytest.MonkeyPatch) -> FakePanel:
    """What the command asks instead of models: answers that begin with "a" are good."""

    def result(claim: Claim) -> Verification | JudgeError:
        score = 0.9 if claim.answer.startswith("a") else 0.4
        return verdict(claim, assessment(score, score))

    fake = FakePanel(result=result)

    @contextlib.asynccontextmanager
    async def local_panel(settings: Settings) -> AsyncIterator[Panel]:
        if settings.verification.chosen[0].name == "missing":
            raise ConfigError("verification.verifiers: there is no missing")
        yield fake

    monkeypatch.setattr(factory, "local_panel", local_panel)
    return fake


def rlvr(*arguments: object) -> Result:
    command = ["judge-report", *map(str, arguments)]
    return CliRunner().invoke(app, command, catch_exceptions=False)


@pytest.mark.usefixtures("panel")
class TestCommand:
    def test_it_shows_the_figures_and_writes_both_files(self, tmp_path: Path) -> None:
        done = rlvr(pairs(tmp_path), "--out", tmp_path / "mine")
        assert done.exit_code == 0
        assert "pair accuracy" in done.stdout
        assert f"{tmp_path}/mine.json\n{tmp_path}/mine.png" in done.stderr
        assert "8 of 8 answers judged" in done.stderr
        assert json.loads((tmp_path / "mine.json").read_text())["panel"]["scored"] == 8
        assert (tmp_path / "mine.png").read_bytes().startswith(PNG)

    def test_without_out_they_go_here(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert rlvr(pairs(tmp_path)).exit_code == 0
        assert {"judge-report.json", "judge-report.png"} <= {p.name for p in tmp_path.iterdir()}

    def test_for_machines(self, tmp_path: Path) -> None:
        done = rlvr(
            *(pairs(tmp_path), "--json", "--limit", 3, "--repeats", 2, "--out", tmp_path / "r"),
            *("--set", "verification.min_answer_chars=3"),
        )
        found = json.loads(done.stdout)
        assert (found["data"]["pairs"], found["data"]["limit"], found["repeats"]) == (3, 3, 2)
        assert found["panel"]["agreement"]["same_order"] == 1.0
        assert found["settings"]["verification"]["min_answer_chars"] == 3
        assert found == json.loads((tmp_path / "r.json").read_text())

    def test_progress_is_some_lines_however_many_rows(self, tmp_path: Path) -> None:
        done = rlvr(pairs(tmp_path, 200), "--json", "--out", tmp_path)
        lines = [line for line in done.stderr.split("\n") if "answers judged" in line]
        assert len(lines) == report.NUM_LINES
        assert lines[-1] == "400 of 400 answers judged"

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (["none.jsonl"], "none.jsonl cannot be read"),
            (["bad.jsonl"], "bad.jsonl:1: not JSON"),
            (["pairs.jsonl", "--out", "bad.jsonl/x"], "cannot write there"),
            (["pairs.jsonl", "--set", "judge.nonsense=1"], "nonsense"),
            (["pairs.jsonl", "--set", "verification.verifiers=[missing]"], "there is no missing"),
            (["pairs.jsonl", "--limit", "0"], "--limit"),
        ],
    )
    def test_what_is_wrong_is_told_in_a_line(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        arguments: list[str],
        says: str,
    ) -> None:
        monkeypatch.chdir(tmp_path)
        pairs(tmp_path)
        Path("bad.jsonl").write_text("{")
        done = rlvr(*arguments)
        assert done.exit_code == 2
        assert says in done.stderr
        assert {path.name for path in tmp_path.iterdir()} == {"pairs.jsonl", "bad.jsonl"}

    def test_where_nobody_judges_it_ends_with_3(self, tmp_path: Path, panel: FakePanel) -> None:
        panel.failures = [Unavailable("http://localhost:1 does not answer")] * 10
        done = rlvr(pairs(tmp_path), "--out", tmp_path / "r")
        assert done.exit_code == 3
        assert "rlvr: http://localhost:1 does not answer" in done.stderr
        assert not (tmp_path / "r.json").exists()


HANGING = """
    import asyncio, contextlib, signal, sys
    from rlvr_ray import cli
    from rlvr_ray.verification import factory

    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored below a background shell

    class Hanging:
        async def verify(self, claims):
            print("asked", flush=True)
            await asyncio.Event().wait()

    @contextlib.asynccontextmanager
    async def local_panel(settings):
        try:
            yield Hanging()
        finally:
            print("closed", flush=True)

    factory.local_panel = local_panel
    cli.app()
"""


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_closes_the_engine_and_leaves_no_file(
    tmp_path: Path, sent: signal.Signals
) -> None:
    data = pairs(tmp_path)
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HANGING), "judge-report", data, "--at-once", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "asked\n"
        process.send_signal(sent)
        out, err = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
    assert process.returncode == 130
    assert out == "closed\n"
    assert "Traceback" not in err
    assert [path.name for path in tmp_path.iterdir()] == [data.name]
