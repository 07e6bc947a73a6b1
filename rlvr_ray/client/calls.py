"""The requests that the clients make, and how each reply is read: all that does not wait."""

import io
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypedDict, TypeVar
from urllib.parse import quote
from uuid import UUID, uuid4

import httpx

from rlvr_ray.client import problems
from rlvr_ray.client.reply import Reply
from rlvr_ray.client.results import (
    Batch,
    Context,
    Histogram,
    IngestedDocument,
    Page,
    Review,
    ReviewSummary,
    ReviewTask,
    StoredDocument,
    Verdict,
)
from rlvr_ray.client.system import Stats, Trace, Traces
from rlvr_ray.client.watch import Submitted
from rlvr_ray.core.errors import InputError, RlvrError
from rlvr_ray.documents.parsers import TEXT_SUFFIXES, File, suffix
from rlvr_ray.documents.retriever import Document

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[T]):
    """A request and how its reply is read; to do what is ``repeatable`` twice changes nothing."""

    method: str
    path: str
    read: Callable[[httpx.Response], T]
    repeatable: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)  #: httpx's own

    def result(self, reply: httpx.Response) -> T:
        """What the reply says; raises NotFound, InputError, Unavailable, RlvrError."""
        if not reply.is_success:
            raise problems.of_reply(reply)
        try:
            return self.read(reply)
        except (ValueError, KeyError, TypeError) as error:
            raise RlvrError(
                f"the reply to {self.method} {self.path} cannot be read ({type(error).__name__}); "
                "does another program answer there?"
            ) from None


def ask(question: str, key: str | None, options: Options) -> Call[Batch]:
    """Answers to a question, once they are recorded."""
    return _asked(Batch.from_json, question, key or new_key(), options, {})


def submit(question: str, key: str | None, options: Options) -> Call[Submitted]:
    """A question whose answers are watched."""
    given = key or new_key()

    def read(data: Any) -> Submitted:
        taken = Submitted.from_json(data | {"key": given})
        return taken

    return _asked(read, question, given, options, {"Prefer": b"respond-async"})


def _asked(
    read: Callable[[Any], T],
    question: str,
    key: str,
    options: Options,
    headers: Mapping[str, bytes],
) -> Call[T]:
    body = {"question": question} | {k: v for k, v in options.items() if v is not None}
    for name in ("temperatures", "reference"):
        if name in body and not isinstance(body[name], str):
            body[name] = list(body[name])  # type: ignore[call-overload]
    return Call(
        method="POST",
        path="/ask/multi-candidate",
        read=lambda reply: read(reply.json()),
        options={"json": body, "headers": {"Idempotency-Key": key.encode(), **headers}},
    )


def new_key() -> str:
    """A key of this one question: it may be repeated where the connection drops."""
    return str(uuid4())


def batch(batch_id: Id) -> Call[Batch]:
    """A batch as it stands."""
    return _get(_batch(batch_id), Batch)


def events_path(batch_id: Id) -> str:
    """Where the live events of a batch are."""
    return f"{_batch(batch_id)}/events"


def page(after: str | None, limit: int, filters: Filters) -> Call[Page]:
    """Some batches, latest first."""
    return _get("/batches", Page, {"after": after, "limit": limit, **filters})


def histogram(of: Figure, filters: Filters) -> Call[Histogram]:
    """How a figure is spread over batches that were ranked."""
    return _get("/batches/histogram", Histogram, {"of": of, **filters})


def models() -> Call[tuple[str, ...]]:
    """Names of the models that have answered."""
    return Call(method="GET", path="/models", read=lambda reply: tuple(reply.json()["models"]))


def pairs(filters: Filters, *, human: bool) -> "Call[pa.Table]":
    """Preference pairs as a table, each a row of the dataset."""
    return _table("/pairs", {"human": "true" if human else None, **filters})


def answers(filters: Filters) -> "Call[pa.Table]":
    """Answers with their verifications as a table, each a row of the dataset."""
    return _table("/answers", filters)


def documents() -> Call[tuple[StoredDocument, ...]]:
    """What can be searched."""
    return _list("/documents", "documents", StoredDocument)


def ingest(
    given: Sequence[Document | File | str | os.PathLike[str]],
) -> Call[tuple[IngestedDocument, ...]]:
    """Store documents; files go as they are, and folders by what is in them."""
    from rlvr_ray.documents import folders

    parts: list[File] = []
    for each in given:
        if isinstance(each, File):
            parts.append(each)
        elif isinstance(each, Document):
            parts.append(_file(each))
        else:
            parts += folders.files([Path(each)])
    kind = "application/octet-stream"  # the name says what each is
    files = [("files", (each.source, each.data, kind)) for each in parts]
    return Call(
        method="POST",
        path="/documents",
        read=lambda reply: _all(reply.json()["documents"], IngestedDocument),
        options={"files": files},
    )


def _file(document: Document) -> File:
    """A text as a file; raises InputError where the name would have it read as something else."""
    if suffix(document.source) not in TEXT_SUFFIXES:
        raise InputError(
            f"{document.source!r}: the source of a text must end in {', '.join(TEXT_SUFFIXES)}; "
            "give other documents by their paths"
        )
    return File(source=document.source, data=document.text.encode())


def delete_document(document_id: Id) -> Call[None]:
    """Forget a document."""
    return Call(
        method="DELETE",
        path=f"/documents/{_quoted(document_id)}",
        read=lambda _: None,
        repeatable=False,  # the second time it would not be there
    )


def search(question: str, top_k: int | None) -> Call[tuple[Context, ...]]:
    """What a question would be answered from."""
    return _list("/search", "contexts", Context, {"question": question, "top_k": top_k})


def next_review(seen: Sequence[Id], filters: Filters) -> Call[ReviewTask | None]:
    """A pair to judge, if one is left."""

    def read(reply: httpx.Response) -> ReviewTask | None:
        return None if reply.status_code == 204 else ReviewTask.from_json(reply.json())

    params = _params({"seen": [str(each) for each in seen], **filters})
    return Call(method="GET", path="/reviews/next", read=read, options={"params": params})


def review(task: ReviewTask, verdict: Verdict, note: str, reviewer: str) -> Call[Review]:
    """What a person says of a pair."""
    said = {
        "batch_id": task.batch_id,
        "a": task.a.candidate,
        "b": task.b.candidate,
        "verdict": verdict,
        "note": note,
        "reviewer": reviewer,
    }
    return Call(
        method="POST",
        path="/reviews",
        read=lambda reply: Review.from_json(reply.json()),
        options={"json": said, "headers": {"Idempotency-Key": new_key()}},
    )


def reviews(batch_id: Id) -> Call[tuple[Review, ...]]:
    """What persons said of a batch."""
    return _list("/reviews", "reviews", Review, {"batch_id": str(batch_id)})


def review_summary(filters: Filters) -> Call[ReviewSummary]:
    """How far persons agree with the judge."""
    return _get("/reviews/summary", ReviewSummary, filters)


def stats() -> Call[Stats]:
    """What the server holds and does."""
    return _get("/stats", Stats)


def trace(batch_id: Id) -> Call[Trace]:
    """All that happened to a batch."""
    return _get(f"{_batch(batch_id)}/trace", Trace)


def traces(name: str) -> Call[Traces]:
    """The same for each batch that an id leads to."""
    return _get("/traces", Traces, {"id": name})


def alive() -> Call[None]:
    """Whether somebody answers."""
    return Call(method="GET", path="/livez", read=lambda _: None)


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


def _get(path: str, kind: type[R], params: Mapping[str, Any] | None = None) -> Call[R]:
    return Call(
        method="GET",
        path=path,
        read=lambda reply: kind.from_json(reply.json()),
        options={"params": _params(params or {})},
    )


def _list(
    path: str, name: str, kind: type[R], params: Mapping[str, Any] | None = None
) -> Call[tuple[R, ...]]:
    return Call(
        method="GET",
        path=path,
        read=lambda reply: _all(reply.json()[name], kind),
        options={"params": _params(params or {})},
    )


def _all(items: Sequence[Any], kind: type[R]) -> tuple[R, ...]:
    return tuple(kind.from_json(item) for item in items)


def _table(path: str, params: Mapping[str, Any]) -> "Call[pa.Table]":
    def read(reply: httpx.Response) -> "pa.Table":
        from pyarrow import parquet

        return parquet.read_table(io.BytesIO(reply.content))

    options = {"params": _params({"format": "parquet", **params})}
    return Call(method="GET", path=path, read=read, options=options)


def _params(given: Mapping[str, Any]) -> dict[str, Any]:
    plain = {k: v.isoformat() if isinstance(v, date) else v for k, v in given.items()}
    return {k: v for k, v in plain.items() if v is not None}


def _batch(batch_id: Id) -> str:
    return f"/batches/{_quoted(batch_id)}"


def _quoted(value: Id) -> str:
    return quote(str(value), safe="")
