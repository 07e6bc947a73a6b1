"""What all commands have in common: `--config`, exit codes, one line for what went wrong."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from rlvr_ray.cli.main import app

pytestmark = pytest.mark.integration


def commands() -> Iterator[tuple[str, ...]]:
    def below(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        found = getattr(command, "commands", {})
        for name, sub in found.items():
            yield from below(sub, (*path, name))
        if path and (not found or command.invoke_without_command):
            yield path

    yield from below(typer.main.get_command(app), ())


CLOSED = "http://127.0.0.1:9"

#: What a command must be given to get as far as its settings.
ARGUMENTS = {
    ("ask",): ["Why?"],
    ("documents", "delete"): ["x.md"],
    ("events", "replay"): ["--since", "2026-01-01"],
    ("export",): ["--format", "trl", "--out", "out"],
    ("generate",): ["questions.txt", "--run", "r"],
    ("ingest",): ["x.md"],
    ("judge-report",): ["x.jsonl"],
    ("trace",): ["id"],
}
#: They read no settings.
WITHOUT = {("plan",), ("push",)}


@pytest.mark.parametrize("command", sorted(set(commands()) - WITHOUT), ids=" ".join)
def test_every_command_takes_its_settings_from_a_file(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.md").write_text("Owls hunt at night.")
    file = tmp_path / "own.yaml"
    file.write_text("dpo:\n  promt: rag\n")
    given = [*command, *ARGUMENTS.get(command, []), "--config", str(file)]
    result = CliRunner().invoke(app, given)
    assert result.exit_code == 2, result.output
    assert "dpo.promt: there is no such setting; did you mean dpo.prompt?" in result.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"x.md", "own.yaml"}


def test_the_file_may_stand_before_the_command(here: Path) -> None:
    for name, setting in (("a.yaml", "dpo: {promt: rag}"), ("b.yaml", "api: {prot: 1}")):
        Path(name).write_text(setting)
    said = CliRunner().invoke(app, ["--config", "a.yaml", "status"]).stderr
    assert "dpo.promt" in said
    said = CliRunner().invoke(app, ["--config", "a.yaml", "status", "--config", "b.yaml"]).stderr
    assert "api.prot" in said, "the nearer one"
    assert "does not answer" in CliRunner().invoke(app, ["status"]).stderr, "it is forgotten"


@pytest.mark.parametrize("command", sorted(WITHOUT), ids=" ".join)
def test_what_reads_none_takes_no_file(command: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, [*command, "--config", "x.yaml"])
    assert result.exit_code == 2
    assert "No such option" in result.stderr


@pytest.mark.parametrize("command", [(), ("events",), *commands()], ids=" ".join)
def test_the_help_shows_no_value_of_options_that_take_none(command: tuple[str, ...]) -> None:
    result = CliRunner(env={"COLUMNS": "160"}).invoke(app, [*command, "--help"])
    assert result.exit_code == 0
    assert "bool" not in result.stdout
    assert "--num-candidates" not in result.stdout


@pytest.mark.parametrize("name", ["--candidates", "-n", "--num-candidates"])
def test_the_number_of_answers_has_one_name_and_its_older_one(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def here(request: Any) -> int:
        asked.append(request)
        return 0

    monkeypatch.setattr("rlvr_ray.cli.generate._here", here)
    monkeypatch.setattr("rlvr_ray.client.Client.ask", lambda *_, **given: asked.append(given))
    run = ["generate", "q.txt", "--run", "r", "--here"]
    for value, code in (("5", 0), ("9", 2), ("1", 2)):
        assert CliRunner().invoke(app, [*run, name, value]).exit_code == code
        CliRunner().invoke(app, ["ask", "Why?", "--url", "http://localhost:9", name, value])
    generate, ask = asked
    assert (generate.answers, ask["num_candidates"]) == (5, 5)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder without data, and no server anywhere."""
    for name in os.environ:
        if name.startswith("RLVR_") or name == "RAY_ADDRESS":
            monkeypatch.delenv(name)
    monkeypatch.setenv("RLVR_API__PORT", "9")
    monkeypatch.chdir(tmp_path)
    Path("owls.md").write_text("Owls hunt at night.")
    Path("other.bin").write_bytes(b"x")
    return tmp_path


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("", 2),
        ("--version", 0),
        ("nonsense", 2),
        ("ask Why?", 3),
        (f"ask Why? --url {CLOSED}", 3),
        ("ask Why? --url nonsense", 2),
        ("ask Why? -n 1", 2),
        ("config", 2),
        ("demo --docs nowhere", 2),
        ("doctor", 0),
        ("doctor --set ledger.min_free_mb=1000000000", 1),
        ("doctor --set x=1", 2),
        ("documents", 1),
        (f"documents --url {CLOSED}", 3),
        ("documents delete owls.md", 1),
        ("documents delete", 2),
        ("events replay --since 2026-01-01", 2),
        ("events tail", 2),
        ("events tail --set mirror.url=amqp://127.0.0.1:9/", 3),
        ("export --format trl --out out", 2),
        ("generate nowhere.txt --run .x", 2),
        ("generate nowhere.txt", 2),
        ("ingest owls.md", 0),
        ("ingest nowhere.md", 2),
        ("ingest other.bin", 2),
        (f"ingest owls.md --url {CLOSED}", 3),
        ("judge-report nowhere.jsonl", 2),
        ("plan --gpus 0 --questions 1", 2),
        ("push nowhere name", 2),
        ("rebuild", 1),
        ("serve --set api.host=0.0.0.0", 2),
        (f"serve --set retrieval.url={CLOSED}", 3),
        ("status", 3),
        ("status --config nowhere.yaml", 2),
        ("trace x", 1),
        (f"trace x --url {CLOSED}", 3),
        ("verify-store", 1),
    ],
)
def test_exit_codes(command: str, code: int, here: Path) -> None:
    """Those of docs/commands.md."""
    result = CliRunner().invoke(app, command.split())
    assert result.exit_code == code, f"{result.output}\n{result.exception!r}"
    assert "Traceback" not in result.output
    if code:
        assert result.stderr or result.stdout, "it says why"


def test_ctrl_c_is_told_from_failure(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rlvr_ray.pipeline.maintenance.verify_store", interrupted)
    assert CliRunner().invoke(app, ["verify-store"]).exit_code == 130


def test_every_documented_code_is_tried() -> None:
    table = (Path(__file__).parents[2] / "docs" / "commands.md").read_text()
    documented = re.findall(r"^\| (\d+) \|", table.partition("## Exit codes")[2], re.MULTILINE)
    assert documented == ["0", "1", "2", "3", "130"]
