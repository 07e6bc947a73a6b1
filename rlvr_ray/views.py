"""What the command line shows of this machine; ``client.views`` has what it shows of a server."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rlvr_ray.calibration import decisions
from rlvr_ray.calibration.evaluation import key_figures
from rlvr_ray.servers import Server
from rlvr_ray.terminal import BIN

if TYPE_CHECKING:
    from rlvr_ray.doctor import Check


def serving(server: Server) -> str:
    """What a user needs to know once the server is up; commands stand there as they are typed."""
    lines = [
        f"Serving at {server.url} (API docs: {server.url}/docs), data in {server.data_dir}",
        "Ctrl-C ends it. In another terminal:",
        f"  {BIN}rlvr ingest PATH…            # add documents; rlvr documents lists them",
        f'  {BIN}rlvr ask "What is Ray?"      # ask, and watch the verification',
        f"  {BIN}rlvr status --watch          # what becomes of the questions",
    ]
    if server.dashboard is not None:
        lines += [
            f"Ray's dashboard: {server.dashboard} asks for a token, which this prints:",
            f"  {BIN}ray get-auth-token",
            "Ray's own commands send it in a shell that has:",
            f"  {ray_environment(server)}",
            f"  {BIN}ray job list                 # ray job logs -f ID, ray status, serve status",
        ]
    return "\n".join(lines)


def ray_environment(server: Server) -> str:
    """What a shell needs for ``ray`` and ``serve`` to reach the server's cluster."""
    line = "export RAY_AUTH_MODE=token"
    if server.dashboard is not None and not server.dashboard.endswith(":8265"):
        # Not the first cluster on this machine, which is what they look for.
        line += f" RAY_ADDRESS={server.ray_address} RAY_DASHBOARD_ADDRESS={server.dashboard}"
    return line


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
    """The judge's key figures, decisions by kind, why there is no pair, why there is no score."""
    head, *rows = key_figures(result)
    parts: list[RenderableType] = [_table(head, rows)]
    decided = result["decisions"]
    if decided:
        if decided["by_kind"]:
            kinds = [[found["kind"], *decisions.columns(found)] for found in decided["by_kind"]]
            parts.append(_table(["kind", *decisions.COLUMNS], kinds))
        parts += [
            Text(f"{entry['count']:,} without a pair: {entry['reason']}")
            for entry in decided["no_pair"]
        ]
        parts += [
            Text(
                f"{entry['pairs']:,} rejected, {entry['right_pairs']:,} of them rightly: "
                f"{entry['defect'] or 'no defect was named'}"
            )
            for entry in decided["defects"]
        ]
    parts += [
        Text(f"{entry['count']:,} without a score: {entry['reason']}", "yellow")
        for entry in result["panel"]["unscored"]["reasons"]
    ]
    return Group(*parts)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Names on the left, figures on the right."""
    table = Table(head[0], box=None, padding=(0, 1, 0, 0))
    for name in head[1:]:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*map(Text, row))
    return table
