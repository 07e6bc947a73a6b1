"""The client that waits."""

import contextlib
import os
import time
from collections.abc import Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Self, TypeVar, Unpack

import httpx

from rlvr_ray.client import calls, problems
from rlvr_ray.client.calls import Call, Figure, Filters, Id, Options
from rlvr_ray.client.results import (
    Batch,
    BatchLine,
    Context,
    Histogram,
    IngestedDocument,
    Review,
    ReviewSummary,
    ReviewTask,
    StoredDocument,
    Verdict,
)
from rlvr_ray.client.system import Stats, Trace, Traces
from rlvr_ray.client.watch import PATIENCE_S, LiveEvent, StateChanged, Submitted, Wait, Watch
from rlvr_ray.core.errors import RlvrError, Unavailable
from rlvr_ray.documents.parsers import File
from rlvr_ray.documents.retriever import Document

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")

#: Batches in one request of a list.
PAGE = 200


class Client:
    """Talks to a running rlvr_ray; may be used by several threads.

    Every method raises Unavailable where nobody answers or the server is busy, NotFound for what
    does not exist, InputError where the server refuses a request, with the server's own words. A
    request that may be repeated is, a few times, where the connection drops.
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
        return self._send(calls.ask(question, key, options))

    def submit(
        self, question: str, key: str | None = None, **options: Unpack[Options]
    ) -> Submitted:
        """Ask, and return before there are answers: ``events`` tells of them."""
        return self._send(calls.submit(question, key, options))

    def events(self, batch_id: Id, patience_s: float = PATIENCE_S) -> Generator[LiveEvent]:
        """What happens to a batch until it is decided.

        Where the connection drops it goes on after the last event; it raises Unavailable where
        nothing came for ``patience_s`` seconds, and what an ask failed of.
        """
        return self._follow(batch_id, patience_s, None)

    def ask_live(
        self,
        question: str,
        key: str | None = None,
        patience_s: float = PATIENCE_S,
        **options: Unpack[Options],
    ) -> Generator[LiveEvent]:
        """Ask, and tell of it until it is decided: first ``Submitted``, then as ``events``.

        A server that ended before it recorded the answers has lost the question: it is asked
        again under the same id.
        """
        call = calls.submit(question, key or calls.new_key(), options)
        return self._follow(None, patience_s, call)

    def batch(self, batch_id: Id) -> Batch:
        """A batch as it stands."""
        return self._send(calls.batch(batch_id))

    def wait(self, batch_id: Id, timeout_s: float = 600) -> Batch:
        """A batch once it is decided; raises Unavailable if that takes longer."""
        events = self._follow(batch_id, PATIENCE_S, None, Wait(batch_id, timeout_s))
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
            page = self._send(calls.page(after, PAGE if left is None else min(left, PAGE), filters))
            yield from page.batches
            left = None if left is None else left - len(page.batches)
            after = page.next
            if after is None:
                return

    def histogram(self, of: Figure = "score_diff", **filters: Unpack[Filters]) -> Histogram:
        """How margins or scores are spread over the batches that fit."""
        return self._send(calls.histogram(of, filters))

    def models(self) -> tuple[str, ...]:
        """Names of the models that have answered."""
        return self._send(calls.models())

    def pairs(self, human: bool = False, **filters: Unpack[Filters]) -> "pa.Table":
        """The preference pairs that fit, as rows of ``dpo_data``; ``to_pandas()`` is a DataFrame.

        With ``human``, as reviewers corrected them.
        """
        return self._send(calls.pairs(filters, human=human))

    def answers(self, **filters: Unpack[Filters]) -> "pa.Table":
        """The verified answers of decided batches that fit, as rows of ``training_data``."""
        return self._send(calls.answers(filters))

    # Documents.

    def documents(self) -> tuple[StoredDocument, ...]:
        """What can be searched, by source."""
        return self._send(calls.documents())

    def ingest(
        self, documents: Sequence[Document | File | str | os.PathLike[str]]
    ) -> tuple[IngestedDocument, ...]:
        """Store documents, or the files at these paths and in these folders.

        Files are sent as they are: .md, .markdown, .txt, .rst, .html, .htm, .pdf. The source of a
        ``Document``, which is a text, ends in one of the first four. The same source replaces the
        document; where one cannot be read, none is stored.
        """
        return self._send(calls.ingest(documents))

    def delete_document(self, document_id: Id) -> None:
        """Forget a document; batches that quote it stay as they are."""
        self._send(calls.delete_document(document_id))

    def search(self, question: str, top_k: int | None = None) -> tuple[Context, ...]:
        """The passages that a question would be answered from, best first."""
        return self._send(calls.search(question, top_k))

    # Review.

    def next_review(self, seen: Sequence[Id] = (), **filters: Unpack[Filters]) -> ReviewTask | None:
        """A pair that nobody has judged, at random; None where none is left but those ``seen``."""
        return self._send(calls.next_review(seen, filters))

    def review(
        self, task: ReviewTask, verdict: Verdict, note: str = "", reviewer: str = ""
    ) -> Review:
        """Say which answer is better; the latest word on a batch counts."""
        return self._send(calls.review(task, verdict, note, reviewer))

    def reviews(self, batch_id: Id) -> tuple[Review, ...]:
        """What was said of a batch."""
        return self._send(calls.reviews(batch_id))

    def review_summary(self, **filters: Unpack[Filters]) -> ReviewSummary:
        """How far reviewers agree with the judge, over the pairs that fit."""
        return self._send(calls.review_summary(filters))

    # The system.

    def stats(self) -> Stats:
        """Counts by outcome, latest outcomes, files."""
        return self._send(calls.stats())

    def trace(self, batch_id: Id) -> Trace:
        """Every step of a batch, with times."""
        return self._send(calls.trace(batch_id))

    def traces(self, name: str) -> Traces:
        """The same for each batch that the id of a batch, an event, a trace, or a correlation id
        leads to, latest first."""
        return self._send(calls.traces(name))

    def is_up(self) -> bool:
        """Whether somebody answers at the URL."""
        try:
            self._send(calls.alive())
        except RlvrError:
            return False
        return True

    def _send(self, call: Call[T]) -> T:
        attempts = problems.Attempts(
            self._url, repeatable=call.repeatable, has_answered=self._has_answered
        )
        while True:
            try:
                reply = self._http.request(call.method, call.path, **call.options)
            except httpx.HTTPError as error:
                time.sleep(attempts.pause(error))
            else:
                self._has_answered = True
                return call.result(reply)

    def _follow(
        self,
        batch_id: Id | None,
        patience_s: float,
        ask: Call[Submitted] | None,
        wait: Wait | None = None,
    ) -> Generator[LiveEvent]:
        """The events of a batch, or of the one that ``ask`` makes, again if it is lost."""
        if ask is not None:
            submitted = self._send(ask)
            batch_id = submitted.batch_id
            yield submitted
        assert batch_id is not None
        watch = Watch(
            self._url,
            patience_s,
            wait,
            may_ask_again=ask is not None,
            has_answered=self._has_answered,
        )
        path = calls.events_path(batch_id)
        while not watch.ended:
            error: Exception | None = None
            try:
                if watch.lost and ask is not None:
                    self._send(ask)
                    yield watch.asked_again()
                with self._http.stream("GET", path, **watch.options) as reply:
                    watch.opened()
                    if not reply.is_success:
                        reply.read()
                        raise problems.of_reply(reply)
                    for chunk in reply.iter_bytes():
                        yield from watch.feed(chunk)
                        if watch.ended:
                            return
            except (httpx.HTTPError, RlvrError) as caught:
                error = caught
            time.sleep(watch.after(error))
