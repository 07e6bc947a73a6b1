"""The requests of the clients, and how replies are read: everything that does not wait."""

import io
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, TypeVar
from urllib.parse import quote
from uuid import UUID, uuid4

import httpx

from rlvr_ray.client.models.base import Reply
from rlvr_ray.core.errors import InputError
from rlvr_ray.documents.parsers import TEXT_SUFFIXES, File, suffix
from rlvr_ray.documents.retriever import Document

if TYPE_CHECKING:
    import pyarrow as pa

R = TypeVar("R", bound=Reply)

Id = str | UUID
Figure = Literal["score_diff", "chosen_score", "rejected_score"]


class Options(TypedDict, total=False):
    """What may go with a question; what is left out, or None, is the server's default."""

    num_candidates: int | None  #: from 2 on
    temperatures: Sequence[float] | None
    top_k: int | None  #: passages to answer from
    seed: int | None  #: for repeatable answers
    reference: str | Sequence[str] | None  #: the right answer, or several of which any is right
    correlation_id: str | None


class Filters(TypedDict, total=False):
    """Which batches are meant: all that is given must hold."""

    outcome: str | Sequence[str]  #: ``pair``, ``no_pair``, ``open`` or reasons: any of them
    model: str  #: of any candidate
    min_score: float  #: of the best answer
    max_score: float
    min_margin: float  #: between best and worst
    max_margin: float
    since: str | date  #: when it was decided or, while open, asked
    until: str | date
    text: str  #: in the question or an answer, whatever its case
    correlation_id: str
    review: str  #: ``none``, ``agree``, ``disagree``, ``tie`` or ``discard``


def client_options(url: str, key: str | None, timeout_s: float) -> dict[str, Any]:
    """What both httpx clients are made with; raises InputError for what is no URL."""
    try:
        base = httpx.URL(url)
    except (httpx.InvalidURL, TypeError):
        base = httpx.URL("")
    if base.scheme not in ("http", "https") or not base.host:
        raise InputError(f"{url!r} is no URL of a server; give one such as http://localhost:8000")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return {"base_url": base, "headers": headers, "timeout": timeout_s}


def new_key() -> str:
    """A key of one request: it may be repeated where the connection drops."""
    return str(uuid4())


def ask(question: str, key: str | None, options: Options) -> dict[str, Any]:
    """httpx's options for a question; without a key it has its own."""
    body = {"question": question} | {k: v for k, v in options.items() if v is not None}
    for name in ("temperatures", "reference"):
        if name in body and not isinstance(body[name], str):
            body[name] = list(body[name])  # type: ignore[call-overload]
    return {"json": body, "headers": {"Idempotency-Key": (key or new_key()).encode()}}


def uploads(given: Sequence[Document | File | str | os.PathLike[str]]) -> dict[str, Any]:
    """httpx's options for documents; files go as they are, and folders by what is in them."""
    from rlvr_ray.documents import folders

    files: list[File] = []
    for each in given:
        if isinstance(each, File):
            files.append(each)
        elif isinstance(each, Document):
            files.append(_file(each))
        else:
            files += folders.files([Path(each)])
    kind = "application/octet-stream"  # the name says what each is
    return {"files": [("files", (each.source, each.data, kind)) for each in files]}


def _file(document: Document) -> File:
    """A text as a file; raises InputError where the name would have it read as something else."""
    if suffix(document.source) not in TEXT_SUFFIXES:
        raise InputError(
            f"{document.source!r}: the source of a text must end in {', '.join(TEXT_SUFFIXES)}; "
            "give other documents by their paths"
        )
    return File(source=document.source, data=document.text.encode())


def params(given: Mapping[str, Any]) -> dict[str, Any]:
    """The query of a request, without what is None."""
    plain = {k: v.isoformat() if isinstance(v, date) else v for k, v in given.items()}
    return {k: v for k, v in plain.items() if v is not None}


def path(folder: str, name: Id, *more: str) -> str:
    """A path of the server with an id in it."""
    return "/".join([folder, quote(str(name), safe=""), *more])


def reader(kind: type[R]) -> Callable[[httpx.Response], R]:
    """How a reply of JSON is read."""
    return lambda reply: kind.from_json(reply.json())


def nothing(_: httpx.Response) -> None:
    """How a reply is read that says nothing but its status."""


def table(reply: httpx.Response) -> "pa.Table":
    """How a Parquet file is read."""
    from pyarrow import parquet

    return parquet.read_table(io.BytesIO(reply.content))
