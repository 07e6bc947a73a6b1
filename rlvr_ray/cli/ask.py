"""``rlvr ask``: a question to a running server, and its answers, scores and outcome."""

from collections.abc import Iterable
from typing import Annotated

import typer
from rich.live import Live

from rlvr_ray.cli import batches
from rlvr_ray.cli.commands import app
from rlvr_ray.cli.terminal import connect, err, out, print_json
from rlvr_ray.client import Board, LiveEvent
from rlvr_ray.client.calls import Options
from rlvr_ray.settings import DEFAULT_CANDIDATES, MAX_TOP_K
from rlvr_ray.settings.options import (
    Candidates,
    DataDir,
    Json,
    NumCandidates,
    Port,
    Url,
    settings_of,
)


@app.command()
def ask(
    question: str,
    candidates: Candidates = None,
    num_candidates: NumCandidates = None,
    top_k: Annotated[int | None, typer.Option(min=1, max=MAX_TOP_K)] = None,
    seed: Annotated[int | None, typer.Option(help="For repeatable answers.")] = None,
    reference: Annotated[
        list[str] | None, typer.Option(help="A right answer, to verify against; may be repeated.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Show answers while they are written, then scores.")
    ] = False,
    url: Url = None,
    port: Port = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Ask a running server, wait for the verification, show what became of it.

    With --follow --json: one JSON object a line, an event each.
    """
    answers = candidates or num_candidates or DEFAULT_CANDIDATES
    options = Options(num_candidates=answers, top_k=top_k, seed=seed, reference=reference or None)
    settings = settings_of(data_dir, port)
    if follow:
        with connect(url, settings) as client:
            _follow(client.ask_live(question, **options), question, answers, as_json=as_json)
        return
    with connect(url, settings) as client, err.status("Generating …") as status:
        batch = client.ask(question, **options)
        status.update("Verifying …")
        decided = client.wait(batch.batch_id)
    if as_json:
        print_json(decided.raw)
    else:
        out.print(batches.batch(decided))


def _follow(
    events: Iterable[LiveEvent], question: str, num_candidates: int, *, as_json: bool
) -> None:
    if as_json:
        for event in events:
            print_json(event.line())
    elif out.is_terminal:
        board = Board()
        with Live(batches.Following(board, question, num_candidates), console=out) as live:
            for event in events:
                board.add(event)
                live.refresh()
    else:
        lines = batches.Lines()
        for event in events:
            for line in lines.add(event):
                out.print(line, soft_wrap=True)
