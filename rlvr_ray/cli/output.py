"""What the command line shows of this machine; ``client.views`` has what it shows of a server."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rlvr_ray.client.servers import BIN, Server
from rlvr_ray.verification.calibration import decisions
from rlvr_ray.verification.calibration.evaluation import key_figures

if TYPE_CHECKING:
    from rlvr_ray.serve.doctor import Check


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
        lines += _ray(server.dashboard, server.ray_address)
    return "\n".join(lines)


def _ray(dashboard: str, address: str) -> Iterator[str]:
    """How Ray's own tools reach the cluster, whose mode Ray has told this process."""
    words = ["export"]
    if os.environ.get("RAY_AUTH_MODE", "").lower() == "token":
        yield f"Ray's dashboard: {dashboard} asks for a token, which this prints:"
        yield f"  {BIN}ray get-auth-token"
        words.append("RAY_AUTH_MODE=token")
    else:
        yield f"Ray's dashboard: {dashboard}"
    if not dashboard.endswith(":8265"):
        # Not the first cluster on this machine, which is what they look for.
        words += [f"RAY_ADDRESS={address}", f"RAY_DASHBOARD_ADDRESS={dashboard}"]
    if len(words) > 1:
        yield "Ray's own commands need, in their shell:"
        yield f"  {' '.join(words)}"
    yield f"  {BIN}ray job list                 # ray job logs -f ID, ray status, serve status"


def problems(found: Sequence[str], data_dir: Path) -> RenderableType:
    """What verify-store says."""
    if not found:
        return Text(f"{data_dir}: ledger and files are sound", style="green")
    lines = [Text(line, style="red") for line in found]
    if any(" is set aside: " in line for line in found):
        lines.append(
            Text(
                "What is set aside is left out; all else goes on. rlvr rebuild writes the "
                "files without it; ledger.db of a backup may still have it."
            )
        )
    return Group(*lines)


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
