"""docs/client.md does what it says: its blocks are run in their order, as a notebook would."""

import ast
import inspect
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rlvr_ray.cli.main import app
from rlvr_ray.client import AsyncClient, Client
from tests.browser import seed
from tests.browser.stage import Stage

pytestmark = pytest.mark.integration


PAGE = Path(__file__).parents[2] / "docs" / "client.md"
ADDRESS = "http://localhost:8000"
QUESTION = "What is Ray Serve?"
ANSWERS = (
    "Ray Serve is a library for serving models over HTTP.",
    "Ray Serve is a library for serving models over HTTP. It was named after a fish.",
    "It is a dish of cold soup, served in the north.",
)


def blocks(language: str) -> list[tuple[int, str]]:
    """The page's blocks in a language, each with the number of the line that it begins on."""
    text = PAGE.read_text("utf-8")
    found = re.finditer(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [(text.count("\n", 0, match.start(1)), match[1]) for match in found]


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """A server as the page has it, and the folder that it ingests."""
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "serve.md").write_text(
        "Ray Serve is a library for serving models over HTTP. It runs on a Ray cluster.\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    stage = Stage(tmp_path / "data", piece_s=0.02)
    stage.answers[QUESTION] = ANSWERS
    stage.seed(seed.batches(40))
    with stage:
        yield stage


async def test_the_session(stage: Stage, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    values: dict[str, Any] = {}
    shown = {}
    for line, source in blocks("python"):
        code = compile(
            "\n" * line + source.replace(ADDRESS, stage.url),
            str(PAGE),
            "exec",
            ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
        )
        result = eval(code, values)
        if inspect.iscoroutine(result):
            await result
        shown[source.strip().splitlines()[0]] = capsys.readouterr().out
    assert values["batch"].chosen.answer == ANSWERS[0]
    assert values["board"].batch.outcome.pair
    watched = next(text for block, text in shown.items() if "Board" in block)
    assert len(watched.splitlines()) > 4, "pieces, and scores"
    assert len(values["frame"]) == values["pairs"].num_rows > 2
    assert (tmp_path / "margins.png").stat().st_size > 1000
    assert values["margins"].total > 2
    (review,) = reviews(stage, values["task"].batch_id)
    assert (review.note, review.reviewer) == ("both are right, A is shorter", "Ada")
    assert len(values["done"]) == 2
    assert any("decided" in text for text in shown.values())


def reviews(stage: Stage, batch_id: str) -> Any:
    with Client(stage.url) as client:
        return client.reviews(batch_id)


def test_the_commands(stage: Stage) -> None:
    with Client(stage.url) as client:
        client.ingest(["notes/"])
    ((_, source),) = blocks("sh")
    for line in source.splitlines():
        name, *arguments = shlex.split(line, comments=True)
        assert name == "rlvr"
        if "--watch" in arguments:  # it does not end by itself
            continue
        result = CliRunner().invoke(app, [*arguments, "--url", stage.url])
        assert result.exit_code == 0, f"{line}: {result.output}"
        assert result.stdout


def test_both_clients_have_the_methods_of_the_page() -> None:
    names = set(re.findall(r"\b(?:client|many)\.(\w+)\(", PAGE.read_text("utf-8")))
    names |= set(re.findall(r"`(\w+)\([^`]*\)`", PAGE.read_text("utf-8")))
    assert len(names) > 15
    for name in names:
        for kind in (Client, AsyncClient):
            assert callable(getattr(kind, name)), name
            assert getattr(kind, name).__doc__
