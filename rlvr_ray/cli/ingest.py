"""``rlvr ingest``: adds documents to the running server, or directly to the store."""

import contextlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from rlvr_ray.cli.commands import app
from rlvr_ray.cli.terminal import note, out, print_json, progress, server_if_any
from rlvr_ray.client import IngestedDocument
from rlvr_ray.settings import Settings
from rlvr_ray.settings.options import DataDir, Json, Port, Set, Url, settings_of

#: Files that are named of those that were skipped for one reason.
NAMED = 8


@app.command()
def ingest(
    paths: Annotated[list[Path], typer.Argument(help="Files, or folders: text, HTML, PDF.")],
    url: Url = None,
    port: Port = None,
    data_dir: DataDir = None,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Store documents to ask about: in the running server, else straight in the store."""
    from rlvr_ray.documents import folders, parsers
    from rlvr_ray.pipeline import ingestion

    settings = settings_of(data_dir, port, set_)
    skipped: dict[str, list[Path]] = defaultdict(list)
    files = folders.files(paths, lambda path, why: skipped[why].append(path))
    for line in _skipped(skipped):
        note(line)
    stored: list[IngestedDocument] = []
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(server_if_any(url, settings))
        shown = stack.enter_context(progress("Reading …"))
        local = None
        if client is None:
            where, is_new = place(settings)
            note(f"No server is running: writing to {where} directly{', a new store' * is_new}.")
            local = stack.enter_context(ingestion.local_store(settings))
        documents = []
        for number, file in enumerate(files, 1):
            shown.show(f"Reading {file.source} ({number} of {len(files)}) …")
            # All of them before the first is stored: one that cannot be read stores none.
            documents.append(parsers.document(file))
        for number, document in enumerate(documents, 1):
            shown.show(f"Embedding {document.source} ({number} of {len(files)}) …")
            if client is not None:
                stored += client.ingest([files[number - 1]])
            elif local is not None:
                stored += map(IngestedDocument.from_json, local([document]))
    if as_json:
        print_json([document.raw for document in stored])
    else:
        out.print(_shown(stored))


def place(settings: Settings) -> tuple[str, bool]:
    """The store that is used without a server, and whether it is still to be made."""
    from rlvr_ray.documents import stores

    folder = stores.folder(settings)
    if folder is None:
        return str(settings.retrieval.url), False
    return str(folder), not folder.exists()


def _skipped(found: Mapping[str, Sequence[Path]]) -> Iterator[str]:
    """A line for each reason, with some names."""
    for why, paths in found.items():
        more = f" and {len(paths) - NAMED:,} more" if len(paths) > NAMED else ""
        names = ", ".join(map(str, paths[:NAMED]))
        yield f"Skipped {len(paths):,} ({why}): {names}{more}"


def _shown(stored: Iterable[IngestedDocument]) -> Table:
    table = Table("document", "passages", "", box=None)
    for document in stored:
        state = "stored" if document.changed else "unchanged"
        table.add_row(Text(document.source), str(document.num_chunks), state)
    return table
