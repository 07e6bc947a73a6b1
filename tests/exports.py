"""`rlvr export` in this process, and what lies in the folders that it writes."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml
from typer.testing import CliRunner, Result

from rlvr_ray.cli.main import app
from rlvr_ray.training.export.examples import Answer, Pair
from rlvr_ray.training.export.formats import FORMATS

PAIR_FORMATS = [name for name, each in FORMATS.items() if each.source is Pair]
ANSWER_FORMATS = [name for name, each in FORMATS.items() if each.source is Answer]


def rlvr(data: Path, out: Path, *options: object, format_: str = "trl") -> Result:
    arguments = ["export", "--format", format_, "--out", out, "--data-dir", data, *options]
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def export(data: Path, out: Path, *options: object, format_: str = "trl") -> dict[str, Any]:
    """What it reports."""
    result = rlvr(data, out, "--json", *options, format_=format_)
    assert result.exit_code == 0, result.output
    report: dict[str, Any] = json.loads(result.stdout)
    if report["pairs"] not in ("decided", None) or report["format"] == "no-pair":
        return report  # several rows become one, or one several
    assert report["read"] == sum(report["left_out"].values()) + sum(
        split["rows"] for split in report["splits"].values()
    )
    return report


def rows(file: Path) -> list[dict[str, Any]]:
    if file.suffix == ".parquet":
        found: list[dict[str, Any]] = pq.read_table(file).to_pylist()
        return found
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def split_files(folder: Path) -> dict[str, Path]:
    """Files by split, as the dataset card gives them."""
    front = yaml.safe_load((folder / "README.md").read_text("utf-8").split("---\n")[1])
    (config,) = front["configs"]
    found = {}
    for entry in config["data_files"]:
        (file,) = folder.glob(entry["path"])
        found[entry["split"]] = file
    return found


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def refused(result: Result, *parts: str, code: int = 2) -> None:
    assert result.exit_code == code, result.output
    told = result.stderr.strip()
    assert told.startswith("rlvr: ")
    assert "\n" not in told
    for part in parts:
        assert part in told
