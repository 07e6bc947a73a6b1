"""``rlvr ingest``, ``ask`` and ``status``: what goes to a running server over HTTP."""

import json
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.live import Live

from rlvr_ray import views
from rlvr_ray.client import Client
from rlvr_ray.settings import MAX_CANDIDATES, MAX_TOP_K, load
from rlvr_ray.terminal import Json, Url, err, out


def connect(url: str | None) -> Client:
    """A client of the server at the URL or, with none, of the one that the settings name."""
    api = load().api
    key = api.key.get_secret_value() if api.key else None
    return Client(url or f"http://{api.host}:{api.port}", key)


def ingest(
    paths: Annotated[list[Path], typer.Argument(help="Files, or folders with .md and .txt files.")],
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Store documents to ask about: in the running server, else straight in the local store."""
    from rlvr_ray import ingestion

    documents = ingestion.read(paths)
    client = connect(url)
    if url is None and not client.is_up():
        settings = load()
        where = settings.retrieval.url or settings.data_dir / "qdrant"
        err.print(f"No server is running: writing to {where} directly.")
        store = ingestion.local_store(settings)
    else:
        store = client.ingest
    stored = []
    with err.status("Embedding …") as status:
        for number, document in enumerate(documents, 1):
            status.update(f"Embedding {document.source} ({number} of {len(documents)}) …")
            stored += store([document])
    if as_json:
        sys.stdout.write(json.dumps(stored, default=str) + "\n")
    else:
        out.print(views.ingested(stored))


def ask(
    question: str,
    num_candidates: Annotated[
        int, typer.Option("--num-candidates", "-n", min=2, max=MAX_CANDIDATES)
    ] = 3,
    top_k: Annotated[int | None, typer.Option(min=1, max=MAX_TOP_K)] = None,
    seed: Annotated[int | None, typer.Option(help="For repeatable answers.")] = None,
    reference: Annotated[
        list[str] | None, typer.Option(help="A right answer, to verify against; may be repeated.")
    ] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Ask a running server, wait for the verification, show what became of it."""
    client = connect(url)
    with err.status("Generating …") as status:
        batch = client.ask(
            question,
            num_candidates=num_candidates,
            top_k=top_k,
            seed=seed,
            reference=reference or None,
        )
        status.update("Verifying …")
        decided = client.wait(batch["batch_id"])
    if as_json:
        sys.stdout.write(json.dumps(decided) + "\n")
    else:
        out.print(views.batch(decided))


def status(
    watch: Annotated[bool, typer.Option(help="Keep looking, until Ctrl-C.")] = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Batches by state, the latest outcomes, the files."""
    client = connect(url)
    if as_json:
        sys.stdout.write(json.dumps(client.stats()) + "\n")
    elif not watch:
        out.print(views.stats(client.stats()))
    else:
        with Live(views.stats(client.stats()), console=out, auto_refresh=False) as live:
            while True:
                time.sleep(1)
                live.update(views.stats(client.stats()), refresh=True)
