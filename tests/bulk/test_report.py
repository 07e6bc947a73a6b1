"""What a run reports: figures, files, lines."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from rlvr_ray.bulk import picture as run_picture
from rlvr_ray.bulk import progress, statistics
from rlvr_ray.bulk import report as run_report
from rlvr_ray.bulk.run import Plan
from rlvr_ray.bulk.statistics import Rates, RunStatistics
from rlvr_ray.core.errors import ConfigError, InputError
from rlvr_ray.core.records import Usage
from rlvr_ray.dataset.state import OutcomeSummary
from rlvr_ray.generation import selection
from rlvr_ray.settings import Settings

pytestmark = pytest.mark.integration


STARTED = datetime(2026, 3, 14, tzinfo=UTC)
PRICED = {"price_prompt": 1.0, "price_cached": 0.1, "price_completion": 4.0}


@pytest.fixture
def settings() -> Settings:
    return selection.choose(Settings(generator=PRICED), 0).settings  # type: ignore[arg-type]


@pytest.fixture
def plan(settings: Settings) -> Plan:
    return Plan(
        run="first",
        num_candidates=3,
        temperatures=(0.3, 0.7, 0.9),
        top_k=5,
        max_tokens=128,
        at_once=32,
        rates=statistics.rates(settings),
    )


def stats(state: str = "finished") -> RunStatistics:
    told = RunStatistics(read=12, asked=9, known=2, seconds=61.0, state=state)
    told.answers = Usage(prompt_tokens=9000, completion_tokens=600, cached_tokens=6000)
    for number in range(10):
        pair = number % 2 == 0
        told.ended(
            OutcomeSummary(
                reason=None if pair else "tie",
                margins=(0.2 + 0.05 * number,) if pair else (0.0,),
                judging=Usage(prompt_tokens=100, completion_tokens=50),
            ),
            6.0 * number,
        )
    told.failed("malformed", "q.jsonl:7: is no JSON; mend it")
    return told


def test_figures_by_the_pair(plan: Plan, settings: Settings) -> None:
    report = run_report.build(stats(), plan, settings, STARTED)
    assert json.loads(json.dumps(report)) == report
    assert (report["pairs"], report["outcomes"]) == (5, {"pair": 5, "tie": 5})
    assert report["tokens"]["per_pair"] == (9000 + 600 + 1000 + 500) / 5
    answers = (3000 * 1 + 6000 * 0.1 + 600 * 4) / 1e6
    judging = (1000 * 1 + 500 * 4) / 1e6
    assert report["cost"]["answers"] == pytest.approx(answers)
    assert report["cost"]["judging"] == pytest.approx(judging)
    assert report["cost"]["per_pair"] == pytest.approx((answers + judging) / 5, abs=1e-6)
    assert sum(report["throughput"]["decided"]) == 10
    assert report["settings"]["generator"]["engine"] == "llamacpp"
    assert report["settings"]["generator"]["model"] == "SmolLM2-135M-Instruct.Q4_1"
    assert report["settings"]["dpo"]["min_score_diff"] == settings.dpo.min_score_diff
    assert report["failures"] == {"malformed": 1}
    assert "is no JSON" in report["examples"]["malformed"][0]
    assert set(report["versions"]) == {"rlvr_ray", "ray", "python"}


def test_it_can_be_read(plan: Plan, settings: Settings) -> None:
    stopped = run_report.build(stats("failed"), plan, settings, STARTED, "the disk is full")
    said = "\n".join(run_report.text(stopped))
    assert "run first: failed: the disk is full" in said
    assert "12 read, 9 asked (2 were known), in 1:01 min" in said
    assert "5 pairs; without a pair: 5 tie" in said
    assert "left out, malformed: 1, such as q.jsonl:7: is no JSON; mend it" in said
    assert "a pair: 2,220 tokens, cost 0.0018" in said


def test_what_is_counted_of_earlier_programs_is_told(plan: Plan, settings: Settings) -> None:
    told = stats()
    told.earlier = 5
    said = list(run_report.text(run_report.build(told, plan, settings, STARTED)))
    assert "counted below: all 5 questions that this run had asked before" in said
    told.earlier = told.known
    said = list(run_report.text(run_report.build(told, plan, settings, STARTED)))
    assert not any("counted below" in line for line in said)


@pytest.mark.parametrize("state", ["finished", "max_pairs", "max_cost", "stopped", "failed"])
def test_what_a_run_prints_tells_whether_it_is_complete(
    plan: Plan, settings: Settings, state: str
) -> None:
    report = run_report.build(stats(state), plan, settings, STARTED)
    for lines in (list(run_report.text(report)), [json.dumps(report)]):
        told = any(map(run_report.is_complete, ["a line", "run: x", '{"run', "", *lines]))
        assert told == (state in ("finished", "max_pairs", "max_cost"))


def test_nothing_at_all_is_no_division(plan: Plan, settings: Settings, tmp_path: Path) -> None:
    report = run_report.build(RunStatistics(), replace(plan, rates=None), settings, STARTED)
    assert report["tokens"]["per_pair"] is None and report["cost"] is None
    assert "0 pairs" in "\n".join(run_report.text(report))
    run_picture.draw(report, tmp_path / "empty.png")


@pytest.mark.parametrize("long", [False, True])
def test_the_picture_is_one(plan: Plan, settings: Settings, tmp_path: Path, long: bool) -> None:
    told = stats()
    if long:
        for number in range(3000):
            told.ended(OutcomeSummary(reason=f"reason {number % 15}"), 100.0 * number)
    run_picture.draw(run_report.build(told, plan, settings, STARTED), tmp_path / "run.png")
    assert (tmp_path / "run.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ConfigError, match="cannot write"):
        run_picture.draw(
            run_report.build(told, plan, settings, STARTED), tmp_path / "nowhere" / "run.png"
        )


def test_prices_that_are_missing_are_named(settings: Settings) -> None:
    with pytest.raises(InputError, match=r"generator\.price_prompt and generator\.price_compl"):
        statistics.rates(selection.choose(Settings(), 0).settings)
    own = {"engine": "openai", "base_url": "http://localhost/v1", "model": "judge"}
    other = selection.choose(Settings(generator=PRICED, judge=own), 0).settings  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"set judge\.price_prompt and judge\.price_completion"):
        statistics.rates(other)
    both: Rates = statistics.rates(settings)
    assert both.generator == both.judge, "the generator's model judges"


class TestPlace:
    def test_beside_the_ledger_if_that_is_here(self, tmp_path: Path) -> None:
        (tmp_path / "ledger.db").touch()
        assert run_report.place(None, "first", tmp_path) == tmp_path / "runs" / "first.json"

    def test_else_where_the_command_was_given(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        found = run_report.place(None, "first", Path("/not/on/this/machine"))
        assert found == tmp_path / "first.json"

    def test_where_it_was_said(self, tmp_path: Path) -> None:
        wanted = tmp_path / "new" / "report.json"
        assert run_report.place(wanted, "first", tmp_path) == wanted
        assert list(wanted.parent.iterdir()) == []

    def test_not_where_nothing_can_be_written(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(InputError, match="cannot write there"):
            run_report.place(tmp_path / "file" / "report.json", "first", tmp_path)
        with pytest.raises(InputError, match="is a folder"):
            run_report.place(tmp_path, "first", tmp_path)


def test_a_report_appears_whole(
    plan: Plan, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.json"
    first = run_report.build(stats(), plan, settings, STARTED)
    run_report.write(first, path)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(ConfigError, match="No space left"):
        run_report.write(run_report.build(RunStatistics(), plan, settings, STARTED), path)
    assert json.loads(path.read_text()) == first


def test_the_latest_report_of_the_same_settings_is_found(
    plan: Plan, settings: Settings, tmp_path: Path
) -> None:
    def keep(name: str, ended: str, **changes: Any) -> None:
        report = run_report.build(stats(), plan, settings, STARTED)
        report |= {"run": name, "ended": ended} | changes
        (tmp_path / f"{name}.json").write_text(json.dumps(report))

    keep("old", "2026-01-01")
    keep("new", "2026-01-02")
    other = run_report.settings_of(settings, replace(plan, top_k=1))
    keep("other", "2026-01-03", settings=other)
    keep("short", "2026-01-04", throughput={"decided": [1]})
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "foreign.json").write_text("[]")
    wanted = run_report.settings_of(settings, replace(plan, at_once=1))
    found = run_report.earlier(tmp_path, wanted, 10)
    assert found is not None and found["run"] == "new"
    assert run_report.earlier(tmp_path / "nowhere", wanted, 10) is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.4, "59 s"), (205, "3:25 min"), (7380, "2:03 h"), (121_000, "33:36 h")],
)
def test_times_can_be_read(seconds: float, text: str) -> None:
    assert run_report.duration(seconds) == text


# Progress.


def test_a_line_says_where_the_run_is_and_why_nothing_moves() -> None:
    told = stats("running")
    told.undecided, told.before = 3, told.known
    said = progress.line(told, 0.5, 100)
    assert said == (
        "[ 11.0%] 5 pairs of 10 decided, 3 being verified, 1 left out, 0.5/s, 2:58 min left"
    )
    assert progress.line(told, 0.5, None).startswith("5 pairs of 10 decided")
    told.repeats, told.waiting, told.reason = 2, 1, "the generator is not there"
    assert progress.line(told, 0.0, 100).endswith(", 0.0/s, waiting: the generator is not there")
    told.waiting = 0
    assert "waited 2 times, last for: the generator is not there" in progress.line(told, 1, None)
    told.stalled = "verify: the judge is not there"
    assert "waiting for outcomes: verify: the judge is not there" in progress.line(told, 0, None)


def test_a_rate_is_of_the_last_minute() -> None:
    rate = progress.Rate()
    assert rate.at(0.0, 0) == 0
    assert rate.at(10.0, 50) == pytest.approx(5)
    for second in range(11, 200):
        last = rate.at(float(second), 50 + 2 * (second - 10))
    assert last == pytest.approx(2)


def test_lines_are_printed_or_one_line_is_written_anew() -> None:
    plain = Console(record=True, width=40, force_terminal=False)
    with progress.Bar(plain) as bar:
        bar.show("[ 11.0%] 5 pairs of 10 decided, [bold]2 left out[/bold] and much more to tell")
        bar.show("run first: all questions are decided")
    assert plain.export_text().splitlines() == [
        "[ 11.0%] 5 pairs of 10 decided, [bold]2 left out[/bold] and much more to tell",
        "run first: all questions are decided",
    ]
    terminal = Console(record=True, width=100, force_terminal=True, force_interactive=False)
    with progress.Bar(terminal) as bar:
        bar.show("[ 11.0%] 5 pairs of 10 decided, 2 left out")
        bar.show("run first: all questions are decided")
    shown = terminal.export_text()
    assert "run first: all questions are decided" in shown
    assert "[ 11.0%]" not in shown


def test_lines_come_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    console = Console(record=True, width=100, force_terminal=False)
    with progress.Bar(console) as bar:
        lines = progress.ProgressLines(console, bar)
        for tick in range(1200):
            clock[0] = tick / 2
            lines.show(RunStatistics())
    count = len(console.export_text().splitlines())
    first = progress.WINDOW_S / progress.LINE_S
    later = (600 - progress.WINDOW_S) / progress.LATER_S
    assert first + later - 2 <= count <= first + later + 2
