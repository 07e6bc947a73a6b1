"""The two clients: ``Client`` blocks, ``AsyncClient`` is for asyncio; otherwise they are the same.

``blocking.py`` is generated from ``asynchronous.py`` by ``make client``: change the latter.
"""

import contextlib
import os
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

import httpx
from httpx_sse import EventSource

from rlvr_ray.client import calls, problems
from rlvr_ray.client.calls import Figure, Filters, Id, Options
from rlvr_ray.client.models.base import Reply
from rlvr_ray.client.models.batches import Batch, Context
from rlvr_ray.client.models.dataset import BatchLine, Histogram, ModelNames, Page
from rlvr_ray.client.models.documents import (
    FoundContexts,
    IngestedDocument,
    IngestedDocuments,
    StoredDocument,
    StoredDocuments,
)
from rlvr_ray.client.models.reviews import Review, Reviews, ReviewSummary, ReviewTask, Verdict
from rlvr_ray.client.models.system import Stats, Trace, Traces
from rlvr_ray.client.watch import PATIENCE_S, LiveEvent, StateChanged, Submitted, Watch
from rlvr_ray.core.errors import RlvrError, Unavailable
from rlvr_ray.documents.parsers import File
from rlvr_ray.documents.retriever import Document

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")
R = TypeVar("R", bound=Reply)

#: Batches in one request of a list.
PAGE = 200
ASK = "/ask/multi-candidate"


class Client:
    """Talks to a running rlvr_ray.

    Every method raises Unavailable where nobody answers or the server is busy, NotFound for what
    does not exist, InputError where the server refuses a request, with the server's own words. A
    request that may be repeated is, a few times, where the connection drops.

    A ``Client`` may be used by several threads, an ``AsyncClient`` within one event loop. With the
    latter, whoever leaves a loop over events early closes their iterator (``contextlib.aclosing``).
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        timeout_s: float = 600,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._url = url
        self._http = httpx.Client(**calls.client_options(url, key, timeout_s), transport=transport)
        self._has_answered = False

    def __enter__(self) -> Self:
        """Close the connections at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    # Asking.

    def ask(self, question: str, key: str | None = None, **options: Unpack[Options]) -> Batch:
        """The answers, once they are recorded; they are verified next: see ``wait``.

        The same ``key`` gives the same batch again; without one the question has its own.
        """
        request = calls.ask(question, key, options)
        return self._send("POST", ASK, calls.reader(Batch), **request)

    def submit(
        self, question: str, key: str | None = None, **options: Unpack[Options]
    ) -> Submitted:
        """Ask, and return before there are answers; ``events`` yields them."""
        return self._submit(calls.ask(question, key, options))

    def events(self, batch_id: Id, patience_s: float = PATIENCE_S) -> Generator[LiveEvent]:
        """The live events of a batch until it is decided.

        If the connection drops, it reconnects and continues after the last event. Raises
        Unavailable if nothing came for ``patience_s`` seconds, and the error of an ask that failed.
        """
        return self._follow(batch_id, patience_s, None)

    def ask_live(
        self,
        question: str,
        key: str | None = None,
        patience_s: float = PATIENCE_S,
        **options: Unpack[Options],
    ) -> Generator[LiveEvent]:
        """Ask, and yield ``Submitted``, then the live events until the batch is decided.

        If the server ended before it recorded the answers, the question is asked again under the
        same id.
        """
        return self._follow(None, patience_s, calls.ask(question, key, options))

    def batch(self, batch_id: Id) -> Batch:
        """A batch as it stands."""
        return self._get(calls.path("/batches", batch_id), Batch)

    def wait(self, batch_id: Id, timeout_s: float = 600) -> Batch:
        """A batch once it is decided; raises Unavailable if that takes longer."""
        events = self._follow(batch_id, PATIENCE_S, None, timeout_s)
        with contextlib.closing(events):
            for event in events:
                if isinstance(event, StateChanged) and event.batch.outcome is not None:
                    return event.batch
        raise Unavailable(f"{self._url} ended the events of batch {batch_id} before its outcome")

    # The dataset.

    def batches(self, limit: int | None = None, **filters: Unpack[Filters]) -> Iterator[BatchLine]:
        """The batches that fit, latest first, all of them or so many; fetched as they are read."""
        after, left = None, limit
        while left is None or left > 0:
            page = self._get(
                "/batches",
                Page,
                {"after": after, "limit": PAGE if left is None else min(left, PAGE), **filters},
            )
            yield from page.batches
            left = None if left is None else left - len(page.batches)
            after = page.next
            if after is None:
                return

    def histogram(self, of: Figure = "score_diff", **filters: Unpack[Filters]) -> Histogram:
        """How margins or scores are spread over the batches that fit."""
        return self._get("/batches/histogram", Histogram, {"of": of, **filters})

    def models(self) -> tuple[str, ...]:
        """Names of the models that have answered."""
        return (self._get("/models", ModelNames)).models

    def pairs(self, human: bool = False, **filters: Unpack[Filters]) -> "pa.Table":
        """The preference pairs that fit, as rows of ``dpo_data``; ``to_pandas()`` is a DataFrame.

        With ``human``, as reviewers corrected them.
        """
        return self._table("/pairs", {"human": "true" if human else None, **filters})

    def answers(self, **filters: Unpack[Filters]) -> "pa.Table":
        """The verified answers of decided batches that fit, as rows of ``training_data``."""
        return self._table("/answers", filters)

    # Documents.

    def documents(self) -> tuple[StoredDocument, ...]:
        """The stored documents, by source."""
        return (self._get("/documents", StoredDocuments)).documents

    def ingest(
        self, documents: Sequence[Document | File | str | os.PathLike[str]]
    ) -> tuple[IngestedDocument, ...]:
        """Store documents, or the files at these paths and in these folders.

        Files are sent as they are, those with one of ``documents.parsers.SUFFIXES``. The source of
        a ``Document``, which is a text, ends in one of ``TEXT_SUFFIXES``. The same source replaces
        the document; where one cannot be read, none is stored.
        """
        read = calls.reader(IngestedDocuments)
        return (self._send("POST", "/documents", read, **calls.uploads(documents))).documents

    def delete_document(self, document_id: Id) -> None:
        """Forget a document; batches that quote it stay as they are."""
        # The second time it would not be there.
        path = calls.path("/documents", document_id)
        self._send("DELETE", path, calls.nothing, repeatable=False)

    def search(self, question: str, top_k: int | None = None) -> tuple[Context, ...]:
        """The passages that would be used to answer a question, best first."""
        found = self._get("/search", FoundContexts, {"question": question, "top_k": top_k})
        return found.contexts

    # Review.

    def next_review(self, seen: Sequence[Id] = (), **filters: Unpack[Filters]) -> ReviewTask | None:
        """A pair that nobody has judged, at random; None where none is left but those ``seen``."""

        def read(reply: httpx.Response) -> ReviewTask | None:
            return None if reply.status_code == 204 else ReviewTask.from_json(reply.json())

        params = calls.params({"seen": [str(each) for each in seen], **filters})
        return self._send("GET", "/reviews/next", read, params=params)

    def review(
        self, task: ReviewTask, verdict: Verdict, note: str = "", reviewer: str = ""
    ) -> Review:
        """Record which answer is better; the latest review of a batch counts."""
        body = {
            "batch_id": task.batch_id,
            "a": task.a.candidate,
            "b": task.b.candidate,
            "verdict": verdict,
            "note": note,
            "reviewer": reviewer,
        }
        key = {"Idempotency-Key": calls.new_key()}
        return self._send("POST", "/reviews", calls.reader(Review), json=body, headers=key)

    def reviews(self, batch_id: Id) -> tuple[Review, ...]:
        """The reviews of a batch, earliest first."""
        return (self._get("/reviews", Reviews, {"batch_id": str(batch_id)})).reviews

    def review_summary(self, **filters: Unpack[Filters]) -> ReviewSummary:
        """How far reviewers agree with the judge, over the pairs that fit."""
        return self._get("/reviews/summary", ReviewSummary, filters)

    # The system.

    def stats(self) -> Stats:
        """Counts by outcome, latest outcomes, files."""
        return self._get("/stats", Stats)

    def trace(self, batch_id: Id) -> Trace:
        """Every step of a batch, with times."""
        return self._get(calls.path("/batches", batch_id, "trace"), Trace)

    def traces(self, name: str) -> Traces:
        """The same for each batch that the id of a batch, an event, a trace, or a correlation id
        leads to, latest first."""
        return self._get("/traces", Traces, {"id": name})

    def is_up(self) -> bool:
        """Whether somebody answers at the URL."""
        try:
            self._send("GET", "/livez", calls.nothing)
        except RlvrError:
            return False
        return True

    def _get(self, path: str, kind: type[R], params: Mapping[str, Any] | None = None) -> R:
        return self._send("GET", path, calls.reader(kind), params=calls.params(params or {}))

    def _table(self, path: str, params: Mapping[str, Any]) -> "pa.Table":
        query = calls.params({"format": "parquet", **params})
        return self._send("GET", path, calls.table, params=query)

    def _submit(self, request: Mapping[str, Any]) -> Submitted:
        headers = {"Prefer": b"respond-async", **request["headers"]}
        key = headers["Idempotency-Key"].decode()

        def read(reply: httpx.Response) -> Submitted:
            return Submitted.from_json(reply.json() | {"key": key})

        return self._send("POST", ASK, read, **{**request, "headers": headers})

    def _send(
        self,
        method: str,
        path: str,
        read: Callable[[httpx.Response], T],
        *,
        repeatable: bool = True,
        **options: Any,
    ) -> T:
        """Send a request, several times if the connection drops and it is ``repeatable``."""
        attempts = problems.Attempts(
            self._url, repeatable=repeatable, has_answered=self._has_answered
        )
        while True:
            try:
                reply = self._http.request(method, path, **options)
            except httpx.HTTPError as error:
                time.sleep(attempts.pause(error))
            else:
                self._has_answered = True
                return problems.result(reply, read)

    def _follow(
        self,
        batch_id: Id | None,
        patience_s: float,
        ask: Mapping[str, Any] | None,
        wait_s: float | None = None,
    ) -> Generator[LiveEvent]:
        """The events of a batch or, with the request ``ask``, of the one that it makes."""
        if ask is not None:
            submitted = self._submit(ask)
            batch_id = submitted.batch_id
            yield submitted
        assert batch_id is not None
        watch = Watch(
            self._url,
            batch_id,
            patience_s,
            wait_s,
            may_ask_again=ask is not None,
            has_answered=self._has_answered,
        )
        path = calls.path("/batches", batch_id, "events")
        while not watch.ended:
            error: Exception | None = None
            try:
                if watch.lost and ask is not None:
                    self._submit(ask)
                    yield watch.asked_again()
                with self._http.stream("GET", path, **watch.options) as reply:
                    watch.opened()
                    if not reply.is_success:
                        reply.read()
                        raise problems.of_reply(reply)
                    for sent in EventSource(reply).iter_sse():
                        event = watch.take(sent)
                        if event is not None:
                            yield event
                        if watch.ended:
                            return
            except (httpx.HTTPError, RlvrError) as caught:
                error = caught
            time.sleep(watch.after(error))
