"""What all commands have in common: `--config`, exit codes, one line for what went wrong."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from rlvr_ray.cli import app


def commands() -> Iterator[tuple[str, ...]]:
    def below(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        found = getattr(command, "commands", {})
        for name, sub in found.items():
            yield from below(sub, (*path, name))
        if path and (not found or command.invoke_without_command):
            yield path

    yield from below(typer.main.get_command(app), ())


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


@pytest.mark.parametrize("command", set(commands()) - WITHOUT, ids=" ".join)
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


@pytest.mark.parametrize("command", WITHOUT, ids=" ".join)
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

    monkeypatch.setattr("rlvr_ray.bulk.command._here", here)
    monkeypatch.setattr("rlvr_ray.client.Client.ask", lambda *_, **given: asked.append(given))
    run = ["generate", "q.txt", "--run", "r", "--here"]
    for value, code in (("5", 0), ("9", 2), ("1", 2)):
        assert CliRunner().invoke(app, [*run, name, value]).exit_code == code
        CliRunner().invoke(app, ["ask", "Why?", "--url", "http://localhost:9", name, value])
    generate, ask = asked
    assert (generate.candidates, ask["num_candidates"]) == (5, 5)
