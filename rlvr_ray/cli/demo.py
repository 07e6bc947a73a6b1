"""``rlvr demo``: the whole system on documents that every installation has."""

import json
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from rlvr_ray.cli import batches
from rlvr_ray.cli.commands import app
from rlvr_ray.cli.serve import running
from rlvr_ray.cli.terminal import connect, err, out, write
from rlvr_ray.client import Batch, Client
from rlvr_ray.client.servers import BIN
from rlvr_ray.documents import folders
from rlvr_ray.documents.parsers import File
from rlvr_ray.documents.retriever import Document
from rlvr_ray.settings import Settings
from rlvr_ray.settings.options import DataDir, Set, settings_of

#: Installed packages whose descriptions are ingested.
PACKAGES = (
    "ray",
    "qdrant-client",
    "ragas",
    "aio-pika",
    "fastapi",
    "httpx",
    "typer",
    "apsw",
    "hypothesis",
)
QUESTIONS = (
    "What is Ray Serve?",
    "What is FastAPI?",
    "What is Qdrant?",
    "What is the Ray Dashboard?",
    "What does Ragas evaluate?",
    "What does HTTPX support?",
    "What is Hypothesis?",
    "Which message broker does aio-pika work with?",
)
#: Passages for each question: fewer than the default, so that two cores take seconds for them.
TOP_K = 3
#: Like answers on every run; batching still affects rounding.
SEED = 1
#: Questions in flight: one is generated while another is verified.
AT_ONCE = 2


@app.command()
def demo(
    question: Annotated[
        list[str] | None, typer.Option(help="Ask this instead; may be repeated.")
    ] = None,
    docs: Annotated[
        Path | None, typer.Option(help="Ingest this folder instead of the packages' READMEs.")
    ] = None,
    data_dir: DataDir = None,
    set_: Set = None,
) -> None:
    """Ingest real documents, ask real questions, show which answers became training pairs."""
    settings = on_free_port(apart(settings_of(None, None, set_), data_dir))
    given = documents(docs)
    write(f"Data of the demo: {settings.data_dir}")
    with running(settings) as server, connect(server.url, settings) as client:
        run(client, given, question)
    show_next(settings)


def documents(folder: Path | None) -> Sequence[Document | File]:
    """The folder's documents or, with none, ``descriptions``."""
    return descriptions() if folder is None else folders.files([folder])


def descriptions() -> list[Document]:
    """What the installed packages say of themselves."""
    found = []
    for name in PACKAGES:
        try:
            about = metadata(name).json
        except PackageNotFoundError:
            continue
        text = f"# {name}\n\n{about.get('summary', '')}\n\n{about.get('description', '')}"
        found.append(Document(source=f"{name}.md", text=text))
    return found


def apart(settings: Settings, folder: Path | None) -> Settings:
    """The settings, with that data folder or, with none, one beside that of ``rlvr serve``."""
    own = settings.data_dir
    path = own.with_name(f"{own.name}-demo") if folder is None else folder.absolute()
    return settings.model_copy(update={"data_dir": path})


def on_free_port(settings: Settings) -> Settings:
    """The settings, with another port where theirs is taken."""
    with socket.socket() as probe:
        try:
            probe.bind((settings.api.host, settings.api.port))
            return settings
        except OSError:
            probe.bind((settings.api.host, 0))
        api = settings.api.model_copy(update={"port": probe.getsockname()[1]})
    return settings.model_copy(update={"api": api})


def run(client: Client, given: Sequence[Document | File], questions: Sequence[str] | None) -> None:
    """Ingest, ask, wait, and show the table."""
    with err.status("Ingesting …"):
        stored = client.ingest(given)
    passages = sum(document.num_chunks for document in stored)
    out.print(f"Ingested {len(stored)} documents, {passages} passages.")
    states = []
    todo = questions or QUESTIONS
    with ThreadPoolExecutor(AT_ONCE) as pool, err.status("") as status:
        answers = pool.map(lambda question: _ask(client, question), todo)
        for number, question in enumerate(todo, 1):
            status.update(f"Question {number} of {len(todo)}: answering and verifying …")
            state = next(answers)
            states.append(state)
            line = Text(f"{number:>2}. {question} → ") + batches.outcome(state.outcome)
            out.print(line, soft_wrap=True)
    out.print(batches.batches(states))


def show_next(settings: Settings) -> None:
    """The files as they lie there now, one pair from them, and what a user may do next."""
    files = sorted(
        path
        for name in ("dpo_data", "training_data")
        for path in (settings.data_dir / name).rglob("*")
        if path.suffix in (".jsonl", ".parquet")
    )
    out.print("\nFiles:")
    for path in files:
        out.print(Text(f"  {path}  {path.stat().st_size:,} bytes"), soft_wrap=True)
    pairs = [
        line
        for path in files
        if path.suffix == ".jsonl" and path.parent.name == "dpo_data"
        for line in path.read_bytes().split(b"\n")[:-1]  # what follows is still being written
    ]
    if pairs:
        pair = json.loads(pairs[-1])
        out.print("\nThe last pair:")
        for key in ("prompt", "chosen", "rejected", "score_diff"):
            out.print(Text(f"  {key}: {_short(pair[key])}"), soft_wrap=True)
    out.print(
        "\nNext:",
        f"  {BIN}rlvr serve                                  # a server, with data of its own",
        f"  {BIN}rlvr ingest PATH…                           # your own documents",
        f'  {BIN}rlvr ask "…"                                # your own questions',
        f"  {BIN}rlvr demo --docs FOLDER --question '…'      # all of it in one go",
        sep="\n",
        markup=False,
        soft_wrap=True,
    )


def _ask(client: Client, question: str) -> Batch:
    return client.wait(client.ask(question, top_k=TOP_K, seed=SEED).batch_id)


def _short(value: object) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 300 else f"{text[:300]} …"
