"""The client for asyncio: ``Client``, with ``await``."""

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
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


class AsyncClient:
    """As ``Client``, within one event loop: many asks at once from one thread.

    Whoever leaves a loop over events early closes their iterator (``contextlib.aclosing``).
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        timeout_s: float = 600,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._url = url
        self._http = httpx.AsyncClient(
            **calls.client_options(url, key, timeout_s), transport=transport
        )
        self._has_answered = False

    async def __aenter__(self) -> Self:
        """Close the connections at the end of the block."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    # Asking.

    async def ask(self, question: str, key: str | None = None, **options: Unpack[Options]) -> Batch:
        """The answers, once they are recorded; they are verified next: see ``wait``.

        The same ``key`` gives the same batch again; without one the question has its own.
        """
        return await self._send(calls.ask(question, key, options))

    async def submit(
        self, question: str, key: str | None = None, **options: Unpack[Options]
    ) -> Submitted:
        """Ask, and return before there are answers: ``events`` tells of them."""
        return await self._send(calls.submit(question, key, options))

    def events(self, batch_id: Id, patience_s: float = PATIENCE_S) -> AsyncGenerator[LiveEvent]:
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
    ) -> AsyncGenerator[LiveEvent]:
        """Ask, and tell of it until it is decided: first ``Submitted``, then as ``events``.

        A server that ended before it recorded the answers has lost the question: it is asked
        again under the same id.
        """
        call = calls.submit(question, key or calls.new_key(), options)
        return self._follow(None, patience_s, call)

    async def batch(self, batch_id: Id) -> Batch:
        """A batch as it stands."""
        return await self._send(calls.batch(batch_id))

    async def wait(self, batch_id: Id, timeout_s: float = 600) -> Batch:
        """A batch once it is decided; raises Unavailable if that takes longer."""
        events = self._follow(batch_id, PATIENCE_S, None, Wait(batch_id, timeout_s))
        async with contextlib.aclosing(events):
            async for event in events:
                if isinstance(event, StateChanged) and event.batch.outcome is not None:
                    return event.batch
        raise Unavailable(f"{self._url} ended the events of batch {batch_id} before its outcome")

    # The dataset.

    async def batches(
        self, limit: int | None = None, **filters: Unpack[Filters]
    ) -> AsyncIterator[BatchLine]:
        """The batches that fit, latest first, all of them or so many; fetched as they are read."""
        after, left = None, limit
        while left is None or left > 0:
            page = await self._send(
                calls.page(after, PAGE if left is None else min(left, PAGE), filters)
            )
            for line in page.batches:
                yield line
            left = None if left is None else left - len(page.batches)
            after = page.next
            if after is None:
                return

    async def histogram(self, of: Figure = "score_diff", **filters: Unpack[Filters]) -> Histogram:
        """How margins or scores are spread over the batches that fit."""
        return await self._send(calls.histogram(of, filters))

    async def models(self) -> tuple[str, ...]:
        """Names of the models that have answered."""
        return await self._send(calls.models())

    async def pairs(self, human: bool = False, **filters: Unpack[Filters]) -> "pa.Table":
        """The preference pairs that fit, as rows of ``dpo_data``; ``to_pandas()`` is a DataFrame.

        With ``human``, as reviewers corrected them.
        """
        return await self._send(calls.pairs(filters, human=human))

    async def answers(self, **filters: Unpack[Filters]) -> "pa.Table":
        """The verified answers of decided batches that fit, as rows of ``training_data``."""
        return await self._send(calls.answers(filters))

    # Documents.

    async def documents(self) -> tuple[StoredDocument, ...]:
        """What can be searched, by source."""
        return await self._send(calls.documents())

    async def ingest(
        self, documents: Sequence[Document | File | str | os.PathLike[str]]
    ) -> tuple[IngestedDocument, ...]:
        """Store documents, or the files at these paths and in these folders.

        Files are sent as they are: .md, .markdown, .txt, .rst, .html, .htm, .pdf. The source of a
        ``Document``, which is a text, ends in one of the first four. The same source replaces the
        document; where one cannot be read, none is stored.
        """
        return await self._send(calls.ingest(documents))

    async def delete_document(self, document_id: Id) -> None:
        """Forget a document; batches that quote it stay as they are."""
        await self._send(calls.delete_document(document_id))

    async def search(self, question: str, top_k: int | None = None) -> tuple[Context, ...]:
        """The passages that a question would be answered from, best first."""
        return await self._send(calls.search(question, top_k))

    # Review.

    async def next_review(
        self, seen: Sequence[Id] = (), **filters: Unpack[Filters]
    ) -> ReviewTask | None:
        """A pair that nobody has judged, at random; None where none is left but those ``seen``."""
        return await self._send(calls.next_review(seen, filters))

    async def review(
        self, task: ReviewTask, verdict: Verdict, note: str = "", reviewer: str = ""
    ) -> Review:
        """Say which answer is better; the latest word on a batch counts."""
        return await self._send(calls.review(task, verdict, note, reviewer))

    async def reviews(self, batch_id: Id) -> tuple[Review, ...]:
        """What was said of a batch."""
        return await self._send(calls.reviews(batch_id))

    async def review_summary(self, **filters: Unpack[Filters]) -> ReviewSummary:
        """How far reviewers agree with the judge, over the pairs that fit."""
        return await self._send(calls.review_summary(filters))

    # The system.

    async def stats(self) -> Stats:
        """Counts by outcome, latest outcomes, files."""
        return await self._send(calls.stats())

    async def trace(self, batch_id: Id) -> Trace:
        """Every step of a batch, with times."""
        return await self._send(calls.trace(batch_id))

    async def traces(self, name: str) -> Traces:
        """The same for each batch that the id of a batch, an event, a trace, or a correlation id
        leads to, latest first."""
        return await self._send(calls.traces(name))

    async def is_up(self) -> bool:
        """Whether somebody answers at the URL."""
        try:
            await self._send(calls.alive())
        except RlvrError:
            return False
        return True

    async def _send(self, call: Call[T]) -> T:
        attempts = problems.Attempts(
            self._url, repeatable=call.repeatable, has_answered=self._has_answered
        )
        while True:
            try:
                reply = await self._http.request(call.method, call.path, **call.options)
            except httpx.HTTPError as error:
                await asyncio.sleep(attempts.pause(error))
            else:
                self._has_answered = True
                return call.result(reply)

    async def _follow(
        self,
        batch_id: Id | None,
        patience_s: float,
        ask: Call[Submitted] | None,
        wait: Wait | None = None,
    ) -> AsyncGenerator[LiveEvent]:
        """The events of a batch, or of the one that ``ask`` makes, again if it is lost."""
        if ask is not None:
            submitted = await self._send(ask)
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
                    await self._send(ask)
                    yield watch.asked_again()
                async with self._http.stream("GET", path, **watch.options) as reply:
                    watch.opened()
                    if not reply.is_success:
                        await reply.aread()
                        raise problems.of_reply(reply)
                    async for chunk in reply.aiter_bytes():
                        for event in watch.feed(chunk):
                            yield event
                        if watch.ended:
                            return
            except (httpx.HTTPError, RlvrError) as caught:
                error = caught
            await asyncio.sleep(watch.after(error))
