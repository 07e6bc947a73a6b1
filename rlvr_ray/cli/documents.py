"""``rlvr documents``: lists and deletes documents, in the running server or in the store."""

import asyncio
import contextlib
import difflib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from rlvr_ray.cli.commands import App, app
from rlvr_ray.cli.ingest import place
from rlvr_ray.cli.terminal import note, out, print_json, server_if_any, write
from rlvr_ray.client import StoredDocument
from rlvr_ray.core.errors import InputError, NotFound
from rlvr_ray.settings import Settings
from rlvr_ray.settings.options import DataDir, Json, Port, Set, Url, settings_of

documents = App(help="List the documents, or delete some.")
app.add_typer(documents, name="documents")


@documents.default
def list_(
    ctx: typer.Context,
    url: Url = None,
    port: Port = None,
    data_dir: DataDir = None,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """List the documents that questions are answered from; `delete` removes some."""
    if ctx.invoked_subcommand is not None:
        if any(ctx.params.values()):
            raise InputError(f"write options behind {ctx.invoked_subcommand}")
        return
    with _access(url, settings_of(data_dir, port, set_)) as (stored, _):
        found = stored()
    if as_json:
        print_json([asdict(each) for each in found])
    else:
        out.print(_shown(found), soft_wrap=True)


@documents.command()
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
                write(f"deleted {document.source}, {document.num_chunks:,} passages")
    if as_json:
        print_json([asdict(each) for each in chosen])


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
    with server_if_any(url, settings) as client:
        if client is not None:
            yield client.documents, client.delete_document
            return

    from rlvr_ray.core import codec
    from rlvr_ray.pipeline import ingestion

    where, is_new = place(settings)
    note(f"No server is running: using {where}.")
    if is_new:
        raise NotFound(f"there is no store at {where}; rlvr ingest PATH… makes one")
    with ingestion.local_retriever(settings) as retriever:

        def stored() -> list[StoredDocument]:
            found = asyncio.run(retriever.documents())
            return [StoredDocument.from_json(codec.plain(each)) for each in found]

        def remove(document_id: str) -> None:
            asyncio.run(retriever.delete(UUID(document_id)))

        yield stored, remove


def _shown(documents: Sequence[StoredDocument]) -> RenderableType:
    if not documents:
        return Text("no documents; rlvr ingest PATH… adds some")
    table = Table("document", "passages", "id", box=None)
    for document in documents:
        table.add_row(Text(document.source), f"{document.num_chunks:,}", document.document_id)
    return table
