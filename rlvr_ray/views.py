"""What the command line shows. Text from models and documents is shown as text, never as markup."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rlvr_ray.calibration.evaluation import key_figures
from rlvr_ray.settings import Settings

if TYPE_CHECKING:
    from rlvr_ray.maintenance import Check


def serving(url: str, settings: Settings) -> RenderableType:
    """What a user needs to know once the server is up."""
    return Group(
        Text(f"Serving at {url} (API docs: {url}/docs), data in {settings.data_dir}"),
        Text("Ctrl-C ends it. In another terminal:"),
        Text("  rlvr ingest PATH…            add documents"),
        Text('  rlvr ask "What is Ray?"      ask, and watch the verification'),
        Text("  rlvr status --watch          what becomes of the questions"),
    )


def ingested(stored: Sequence[Mapping[str, Any]]) -> RenderableType:
    """One line for each document."""
    table = Table("document", "passages", "", box=None)
    for document in stored:
        state = "stored" if document["changed"] else "unchanged"
        table.add_row(Text(document["source"]), str(document["num_chunks"]), state)
    return table


def batch(state: Mapping[str, Any]) -> RenderableType:
    """Candidates with their scores, those of each verifier where that says more, the outcome."""
    judged = [candidate["verification"] for candidate in state["candidates"]]
    verifiers = _verifiers(judged)
    table = Table("temp", "score", "faithful", "relevant", title=Text(state["question"]))
    for name, weight in verifiers.items():
        table.add_column(Text(name if weight else f"{name} (check)"))
    table.add_column("answer")
    for candidate, verification in zip(state["candidates"], judged, strict=True):
        scores = [verification[k] for k in ("score", "faithfulness", "relevancy")]
        said = {a["verifier"]: a["score"] for a in verification["assessments"]}
        scores += [said.get(name) for name in verifiers]
        answer = Text(candidate["answer"])
        if verification["reason"] is not None:
            answer.append(f"\nno score: {verification['reason']}", "yellow")
        temperature = f"{candidate['metadata']['temperature']:g}"
        table.add_row(temperature, *map(_number, scores), answer)
    return Group(table, outcome(state["outcome"]), Text(f"batch {state['batch_id']}"))


def _verifiers(judged: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Names and weights of those that get a column: none where one says all that there is.

    What the panel adds by itself, to check a language model, is left to the JSON.
    """
    said = [[a for a in v["assessments"] if a["verifier"] != "check"] for v in judged]
    assessments = [a for one in said for a in one]
    several = any(len(one) > 1 for one in said)
    if several or any(a["faithfulness"] is None for a in assessments):
        return {a["verifier"]: a["weight"] for a in assessments}
    return {}


def outcome(value: Mapping[str, Any]) -> Text:
    """Pair or reason, with the figures."""
    if value["pair"]:
        return Text(f"pair: {value['detail']}", style="green")
    return Text(f"no pair, {value['reason']}: {value['detail']}", style="yellow")


def batches(states: Sequence[Mapping[str, Any]]) -> RenderableType:
    """One row for each question: scores by temperature, and the outcome."""
    columns = max(len(state["candidates"]) for state in states)
    table = Table("question", *[f"answer {i + 1}" for i in range(columns)], "outcome")
    for state in states:
        cells = [
            f"{_number(c['verification']['score'])} @ {c['metadata']['temperature']:g}"
            for c in state["candidates"]
        ]
        cells += [""] * (columns - len(cells))
        decided = state["outcome"]
        end = Text("pair", "green") if decided["pair"] else Text(decided["reason"], "yellow")
        table.add_row(Text(state["question"]), *cells, end)
    return Group(table, Text("A cell is an answer's score @ its temperature."))


def stats(value: Mapping[str, Any]) -> RenderableType:
    """Counts, latest outcomes, files."""
    counts = Table("state", "batches", box=None)
    for state, count in value["batches"].items():
        counts.add_row(state, str(count))
    latest = Table("decided", "question", "outcome", box=None)
    for entry in value["recent"]:
        text = f"{entry['outcome']}: {entry['detail']}"
        latest.add_row(entry["decided_at"][:19], Text(entry["question"][:60]), Text(text))
    parts: list[RenderableType] = [
        Text(f"{value['passages']} passages to search"),
        counts,
        latest,
        files(value["data_dir"], value["files"], value["parts"], value["num_parts"]),
    ]
    if mirror := value["mirror"]:
        since = f", the oldest since {mirror['oldest'][:19]}" if mirror["oldest"] else ""
        parts.append(Text(f"mirror: {mirror['pending']:,} events wait{since}"))
    if value["last_error"]:
        parts.append(Text(f"last error: {value['last_error']}", style="red"))
    return Group(*parts)


def files(
    data_dir: str, jsonl: Mapping[str, int], parts: Sequence[str], num_parts: int
) -> RenderableType:
    """Paths and sizes; of the parts the latest."""
    lines = [f"{Path(data_dir, path)}  {size:,} bytes" for path, size in jsonl.items()]
    lines += [str(Path(data_dir, path)) for path in parts]
    if num_parts > len(parts):
        lines.append(f"and {num_parts - len(parts):,} earlier parts")
    return Text("\n".join(lines))


def problems(found: Sequence[str], data_dir: Path) -> RenderableType:
    """What verify-store says."""
    if not found:
        return Text(f"{data_dir}: ledger and files are sound", style="green")
    return Group(*(Text(line, style="red") for line in found))


def rebuilt(files: Mapping[str, bool]) -> RenderableType:
    """One line for each file."""
    lines = [
        Text(f"{path}  {'as before' if same else 'differs from before'}", "" if same else "yellow")
        for path, same in files.items()
    ]
    return Group(*lines) if lines else Text("no batch is decided yet: there are no files")


def checks(found: Sequence["Check"]) -> RenderableType:
    """What the doctor says."""
    table = Table(box=None, show_header=False)
    styles = {"ok": "green", "warning": "yellow", "failed": "red"}
    for check in found:
        table.add_row(Text(check.state, styles[check.state]), check.name, Text(check.detail))
    return table


def judge_report(result: Mapping[str, Any]) -> RenderableType:
    """The judge's key figures, and why answers have no score."""
    head, *rows = key_figures(result)
    table = Table(head[0], box=None)
    for name in head[1:]:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*map(Text, row))
    missing = result["panel"]["unscored"]
    reasons = [
        Text(f"{entry['count']:,} without a score: {entry['reason']}", "yellow")
        for entry in missing["reasons"]
    ]
    return Group(table, *reasons)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
