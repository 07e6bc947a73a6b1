"""``rlvr ingest`` and ``rlvr documents``: by the running server, else straight in the store."""

import asyncio
import contextlib
import difflib
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from rlvr_ray.cli import ask as client_commands
from rlvr_ray.cli import server_output
from rlvr_ray.cli.terminal import (
    App,
    DataDir,
    Json,
    Port,
    Set,
    Url,
    err,
    out,
    progress,
    settings_of,
)
from rlvr_ray.client import IngestedDocument, StoredDocument
from rlvr_ray.core import codec
from rlvr_ray.core.errors import InputError, NotFound
from rlvr_ray.documents import stores
from rlvr_ray.pipeline import ingestion
from rlvr_ray.settings import Settings

#: Files that are named of those that were skipped for one reason.
NAMED = 8


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

    settings = settings_of(data_dir, port, set_)
    skipped: dict[str, list[Path]] = defaultdict(list)
    files = folders.files(paths, lambda path, why: skipped[why].append(path))
    for line in _skipped(skipped):
        err.print(line, markup=False, soft_wrap=True)
    stored: list[IngestedDocument] = []
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(client_commands.server_if_any(url, settings))
        shown = stack.enter_context(progress("Reading …"))
        local = None
        if client is None:
            where, is_new = _place(settings)
            err.print(
                f"No server is running: writing to {where} directly{', a new store' * is_new}.",
                markup=False,
                soft_wrap=True,
            )
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
        sys.stdout.write(json.dumps([document.raw for document in stored]) + "\n")
    else:
        out.print(server_output.ingested(stored))


def _place(settings: Settings) -> tuple[str, bool]:
    """Where the store is that is used without a server, and whether it has to be made."""
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


documents = App(invoke_without_command=True, help="List the documents, or delete some.")


def list_(
    ctx: typer.Context,
    url: Url = None,
    port: Port = None,
    data_dir: DataDir = None,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """List what questions are answered from; `delete` takes some of it away."""
    if ctx.invoked_subcommand is not None:
        if any(ctx.params.values()):
            raise InputError(f"write options behind {ctx.invoked_subcommand}")
        return
    with _access(url, settings_of(data_dir, port, set_)) as (stored, _):
        found = stored()
    if as_json:
        sys.stdout.write(json.dumps([asdict(each) for each in found]) + "\n")
    else:
        out.print(server_output.stored(found), soft_wrap=True)


def delete(
    names: Annotated[
        list[str], typer.Argument(metavar="DOCUMENT…", help="Names or ids, as listed.")
    ],
    url: Url = None,
    port: Port = None,
    data_dir: DataDir = None,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Delete documents; batches that quote them stay as they are."""
    with _access(url, settings_of(data_dir, port, set_)) as (stored, remove):
        known = stored()
        # All of them are looked up before the first is deleted.
        chosen = list(dict.fromkeys(_named(name, known) for name in names))
        for document in chosen:
            remove(document.document_id)
            if not as_json:
                text = f"deleted {document.source}, {document.num_chunks:,} passages"
                out.print(text, markup=False, soft_wrap=True)
    if as_json:
        sys.stdout.write(json.dumps([asdict(each) for each in chosen]) + "\n")


def _named(name: str, known: Sequence[StoredDocument]) -> StoredDocument:
    """The document of this id or source, or of the file at this path."""
    from rlvr_ray.documents import folders

    for document in known:
        if name in (document.document_id, document.source):
            return document
    for document in known:
        if document.source == folders.name(Path(name)):
            return document
    alike = difflib.get_close_matches(name, [document.source for document in known], n=1)
    raise NotFound(
        f"there is no document {name}"
        + (f"; did you mean {alike[0]}?" if alike else "; rlvr documents lists them")
    )


@contextlib.contextmanager
def _access(
    url: str | None, settings: Settings
) -> Iterator[tuple[Callable[[], Sequence[StoredDocument]], Callable[[str], None]]]:
    """How documents are listed, and deleted by their ids."""
    with client_commands.server_if_any(url, settings) as client:
        if client is not None:
            yield client.documents, client.delete_document
            return

    where, is_new = _place(settings)
    err.print(f"No server is running: using {where}.", markup=False, soft_wrap=True)
    if is_new:
        raise NotFound(f"there is no store at {where}; rlvr ingest PATH… makes one")
    with ingestion.local_retriever(settings) as retriever:

        def stored() -> list[StoredDocument]:
            found = asyncio.run(retriever.documents())
            return [StoredDocument.from_json(codec.plain(each)) for each in found]

        def remove(document_id: str) -> None:
            asyncio.run(retriever.delete(UUID(document_id)))

        yield stored, remove
