"""`rlvr ask`, `ingest` and `status` against the real interface, and what they show of an ask."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from rlvr_ray.cli import ask, batches, status, terminal
from rlvr_ray.cli.main import app
from rlvr_ray.client import (
    AnswerChunk,
    Batch,
    Board,
    Client,
    Context,
    ContextsFound,
    Restarted,
    StateChanged,
    Stats,
    problems,
)
from rlvr_ray.core.errors import Unavailable
from rlvr_ray.serve.http import replies
from tests.browser import texts
from tests.browser.stage import Stage, open_stage
from tests.dropping_server import DROP, DroppingServer, problem, reply
from tests.folders import decided
from tests.pdfs import pdf

pytestmark = pytest.mark.integration


AT = "2026-03-01T12:00:00+00:00"
NONE = reply(200, {"batches": [], "total": 0, "next": None})
LISTS = [NONE, NONE]  #: of pairs, and of batches without one
MARKUP = "[red]no[/red] [link=x]y[/link] :smile: [/]"


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with open_stage(piece_s=0.001, result_s=0.001) as running:
        yield running


def rlvr(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == code, f"{result.output}\n{result.exception!r}"
    return result


class TestAsk:
    def test_plain(self, stage: Stage) -> None:
        shown = rlvr("ask", texts.QUESTION, "--url", stage.url).stdout
        assert texts.QUESTION in shown
        assert "pair: margin" in shown

    def test_as_json(self, stage: Stage) -> None:
        shown = rlvr("ask", texts.QUESTION, "-n", "4", "--url", stage.url, "--json").stdout
        state = json.loads(shown)
        assert len(state["candidates"]) == 4
        assert state["outcome"]["reason"] is None

    def test_followed_where_no_terminal_is(self, stage: Stage) -> None:
        shown = rlvr("ask", texts.QUESTION, "--follow", "--url", stage.url).stdout
        lines = shown.splitlines()
        assert lines[0].startswith("batch ")
        assert lines[1] == "passages from beekeeping.md, sourdough.md, lighthouse.md"
        for number, answer in enumerate(texts.ANSWERS[texts.QUESTION], 1):
            temperature = (0.3, 0.7, 0.9)[number - 1]
            assert lines.count(f"answer {number} @ {temperature}: {answer}") == 1
            (score,) = [line for line in lines if line.startswith(f"answer {number}: ")]
            assert "score " in score
        assert lines[-1].startswith("pair: margin")

    def test_followed_as_json(self, stage: Stage) -> None:
        stage.generator.piece_s = 0.02
        shown = rlvr("ask", texts.QUESTION, "--follow", "--json", "--url", stage.url).stdout
        stage.generator.piece_s = 0.001
        events = [json.loads(line) for line in shown.splitlines()]
        kinds = [event["event"] for event in events]
        assert kinds[:2] == ["submitted", "contexts"]
        assert "piece" in kinds
        assert kinds[-1] == "state"
        with Client(stage.url) as client:
            state = client.batch(events[0]["batch_id"]).raw
        assert events[-1] == {"event": "state", **state}

    def test_followed_on_a_terminal(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        file = io.StringIO()
        terminal = Console(file=file, force_terminal=True, width=150, height=50, highlight=False)
        monkeypatch.setattr(ask, "out", terminal)
        rlvr("ask", texts.QUESTION, "--follow", "--url", stage.url)
        shown = file.getvalue()
        assert "Honey is ripe when it holds less" in shown
        assert "answer 1 @ 0.3: chosen" in shown
        assert "pair: margin" in shown

    def test_what_fails_says_so_and_exits_as_any_other_command(self, stage: Stage) -> None:
        stage.generator.failures.append(Unavailable("the model has died"))
        result = rlvr("ask", texts.QUESTION, "--follow", "--url", stage.url, code=3)
        assert "rlvr: the model has died (HTTP 503)" in result.stderr
        for more in ((), ("--follow",)):
            result = rlvr("ask", " ", *more, "--url", stage.url, code=2)
            assert "question" in result.stderr
            result = rlvr("ask", "x", *more, "--url", "http://127.0.0.1:9", code=3)
            assert "start it with: rlvr serve" in result.stderr
            rlvr("ask", "x", *more, "--url", "nonsense", code=2)


class TestIngest:
    def test_into_a_server(self, stage: Stage, tmp_path: Path) -> None:
        path = tmp_path / "owls.md"
        path.write_text("Owls hunt at night.")
        assert "stored" in rlvr("ingest", str(path), "--url", stage.url).stdout
        (stored,) = json.loads(rlvr("ingest", str(path), "--url", stage.url, "--json").stdout)
        assert (stored["source"], stored["changed"]) == (str(path), False)
        with Client(stage.url) as client:
            client.delete_document(stored["document_id"])

    def test_without_a_server(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RLVR_DATA_DIR", str(tmp_path / "data"))
        monkeypatch.setenv("RLVR_API__PORT", "9")
        path = tmp_path / "owls.md"
        path.write_text("Owls hunt at night.")
        result = rlvr("ingest", str(path), "--json")
        assert "No server is running" in result.stderr
        (stored,) = json.loads(result.stdout)
        assert (stored["source"], stored["changed"]) == (str(path), True)

    @pytest.mark.parametrize("name", ["owls.pdf", "owls.html", "owls.txt"])
    def test_either_way_a_file_is_the_same_document(
        self, name: str, stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        page = b"<meta charset=latin1><p>Owls hunt at night, caf\xe9s\r\nby day."
        data = {"pdf": pdf("Owls hunt\nat night."), "html": page, "txt": b"Owls.\r\nNight."}
        path = tmp_path / name
        path.write_bytes(data[name.rpartition(".")[2]])
        served = [
            json.loads(rlvr("ingest", str(path), "--url", stage.url, "--json").stdout)[0]
            for _ in range(2)
        ]
        with Client(stage.url) as client:
            client.delete_document(served[0]["document_id"])
        monkeypatch.setenv("RLVR_DATA_DIR", str(tmp_path / "data"))
        monkeypatch.setenv("RLVR_API__PORT", "9")
        (local,) = json.loads(rlvr("ingest", str(path), "--json").stdout)
        assert [served[0]["changed"], served[1]["changed"], local["changed"]] == [True, False, True]
        for key in ("document_id", "content_id", "num_chunks"):
            assert served[0][key] == served[1][key] == local[key]


class TestStatus:
    def test_once(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(terminal.out, "_width", 160)
        with Client(stage.url) as client:
            for question in (texts.QUESTION, texts.ALIKE):
                client.wait(client.ask(question).batch_id)
        shown = rlvr("status", "--url", stage.url).stdout
        assert texts.QUESTION in shown
        assert "identical_answers: " in shown
        assert "dpo_data" in shown
        stats = json.loads(rlvr("status", "--url", stage.url, "--json").stdout)
        assert stats["batches"]["pair"] >= 1

    @pytest.mark.parametrize("as_json", [False, True])
    def test_watching_until_ctrl_c(self, as_json: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        """A server that goes away and comes back does not end it."""
        monkeypatch.setattr(problems, "PAUSES", ())
        naps: list[float] = []

        def sleep(seconds: float) -> None:
            naps.append(seconds)
            if len(naps) > (1 if as_json else 2):
                raise KeyboardInterrupt

        monkeypatch.setattr(status, "sleep", sleep)
        first, second = ({"batches": {"open": n}, "passages": n} for n in (11, 22))
        looks = [[reply(200, first), *LISTS], [DROP], [reply(200, second), *LISTS]]
        if as_json:
            looks = [[reply(200, first)], [reply(200, second)]]
        with DroppingServer([each for look in looks for each in look]) as server:
            more = ["--json"] if as_json else []
            result = rlvr("status", "--watch", "--url", server.url, *more, code=130)
        assert len(server.requests) == sum(map(len, looks))
        assert naps == [status.WATCH_S] * len(naps)
        if as_json:
            assert [json.loads(line) for line in result.stdout.splitlines()] == [first, second]
        else:
            assert "22 passages to search" in result.stdout

    def test_a_server_without_lists(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(terminal.out, "_width", 160)
        entry = {"batch_id": "x", "decided_at": AT, "question": "Why?", "detail": "two alike"}
        stats = {"batches": {"tie": 1}, "recent": [{**entry, "outcome": "tie"}]}
        with DroppingServer([reply(200, stats), problem(404, "Not Found")]) as server:
            assert "tie: two alike" in rlvr("status", "--url", server.url).stdout

    def test_all_that_there_can_be(self) -> None:
        entry = {"batch_id": "x", "decided_at": AT, "question": MARKUP}
        value: dict[str, Any] = {
            "batches": {"open": 3, "pair": 1200, "tie": 1},
            "recent": [
                {**entry, "outcome": "pair", "detail": "margin 0.4", "score_diff": 0.4},
                {**entry, "outcome": "tie", "detail": "two alike"},
            ],
            "passages": 4321,
            "data_dir": "/data",
            "files": {"dpo_data/a.jsonl": 1234567},
            "parts": ["dpo_data/parquet/b.parquet"],
            "num_parts": 4,
            "mirror": {"pending": 1500, "oldest": AT},
            "last_error": f"verify: {MARKUP}",
            "rates": {"1m": {"decided": 7, "pairs": 5}, "24h": {"decided": 7000, "pairs": 5000}},
            "queue": {"open": 3, "oldest": AT},
            "errors": [{"at": AT, "part": "mirror", "detail": MARKUP}],
            "disk": {"free_bytes": 2**30, "min_free_bytes": 2**31},
            "dashboard": "http://127.0.0.1:8265",
            "version": "9",
        }
        console = Console(width=160, force_terminal=False)
        with console.capture() as capture:
            stats = Stats.from_json(value)
            console.print(status.shown(stats, stats.recent))
        shown = capture.get()
        for text in (
            "1,200",
            "4,321 passages",
            "tie: two alike",
            "margin 0.4",
            "/data/dpo_data/a.jsonl  1,234,567 bytes",
            "and 3 earlier parts",
            "1,500 events wait, the oldest since 2026-03-01T12:00:00",
            "3 batches wait, the oldest since 2026-03-01T12:00:00",
            "7,000",
            "1.0 GiB free, too little to ask",
            f"mirror: {MARKUP}",
            f"last error: verify: {MARKUP}",
            "http://127.0.0.1:8265",
        ):
            assert text in shown, f"{text!r} is not in\n{shown}"


class TestFollowing:
    """A board on a terminal."""

    def shown(self, board: Board, width: int = 120, count: int = 3) -> str:
        console = Console(width=width, force_terminal=False)
        with console.capture() as capture:
            console.print(batches.Following(board, MARKUP, count))
        return capture.get()

    def test_it_grows(self) -> None:
        board = Board()
        assert MARKUP in self.shown(board)
        assert self.shown(board).count("answer ") == 3
        board.add(ContextsFound(contexts=(_context("a.md"), _context("b.md"), _context("a.md"))))
        assert "from a.md, b.md" in self.shown(board)
        board.add(AnswerChunk(candidate=1, text="[red]Ray"))
        board.add(AnswerChunk(candidate=1, text=" scales"))
        assert "[red]Ray scales" in self.shown(board)
        board.add(Restarted())
        assert "Ray" not in self.shown(board)
        state = decided(1, (0.9, "the judge is silent", "no JSON"), answers=("a1", MARKUP, "a3"))
        data = replies.batch(state)
        half = {**data, "outcome": None}
        half["candidates"] = [data["candidates"][0]] + [
            {**c, "verification": None} for c in data["candidates"][1:]
        ]
        board.add(StateChanged(batch=Batch.from_json(half)))
        shown = self.shown(board)
        assert "score 0.90, faithful 0.90" in shown, "as far as there is room"
        assert shown.count("verifying …") == 3
        board.add(StateChanged(batch=Batch.from_json(data)))
        shown = self.shown(board)
        assert MARKUP[:20] in shown
        assert "no score: the judge" in shown
        assert "no pair, unscored: " in shown
        assert data["batch_id"] in shown

    def test_side_by_side_where_there_is_room(self) -> None:
        board = Board()
        board.add(StateChanged(batch=Batch.from_json(replies.batch(decided(1)))))
        wide, narrow = self.shown(board, 120), self.shown(board, 80)
        assert "answer 1 @ 0.3: chosen" in wide
        assert any(line.count("answer") == 3 for line in wide.splitlines())
        assert all(line.count("answer ") <= 1 for line in narrow.splitlines() if "@" in line)


def _context(source: str) -> Context:
    return Context(content="x", score=0.5, metadata={"source": source})
