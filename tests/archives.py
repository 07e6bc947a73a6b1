"""A ledger that is looked through over HTTP: the real one, in a folder of the test's own."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

from rlvr_ray.core.records import Batch
from rlvr_ray.dataset.group_commit import Commits
from rlvr_ray.dataset.ledger import Ledger, Operation
from rlvr_ray.dataset.queries import Queries
from rlvr_ray.dataset.state import BatchState
from rlvr_ray.serve.http import Services, create_api
from rlvr_ray.settings import Settings
from tests.builders import context
from tests.fakes import FakeGenerator, FakeRecorder, FakeRetriever


class Served:
    """The interface over a ledger that holds what it is given."""

    def __init__(self, folder: Path) -> None:
        self.ledger = Ledger(folder)
        self.commits = Commits(self.ledger)
        self.archive = Queries(self.ledger.browser(), self.commits)
        app = create_api(
            Settings(data_dir=folder),
            Services(
                retriever=FakeRetriever([context()]),
                generator=FakeGenerator(),
                recorder=FakeRecorder(),
                archive=self.archive,
                engine="fake: a test",
                verifiers="fakes: a test",
            ),
        )
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:8000", timeout=30
        )

    def decide(self, *states: BatchState) -> None:
        """Record and decide them, in this order."""
        operations: list[Operation] = []
        for state in states:
            assert state.outcome is not None
            operations.append(partial(Ledger.record, batches=[state.batch]))
            operations.append(
                partial(
                    Ledger.decide, batch=state.batch, results=state.results, outcome=state.outcome
                )
            )
        self.ledger.commit(operations)

    def record(self, *batches: Batch) -> None:
        """Have them open."""
        self.ledger.commit([lambda it: it.record(batches)])

    def forget(self, months_before: str) -> None:
        """Put what was decided in earlier months past retention, as though it were in files."""
        last = self.ledger._row("SELECT max(seq) FROM outcome WHERE month < ?", (months_before,))[0]
        self.ledger.commit([lambda it: it.prune(last, {})])
        while self.ledger.commit([lambda it: it.sweep(1000)])[0]:
            pass

    async def get(self, path: str, **query: Any) -> Any:
        """The JSON of a reply that is none of an error."""
        reply = await self.http.get(path, params=query)
        assert reply.status_code == 200, f"{reply.status_code}: {reply.text[:500]}"
        return reply.json()

    async def found(self, **query: Any) -> list[str]:
        """The ids of the batches that fit, from all pages, and that the figures agree on them."""
        ids: list[str] = []
        after = None
        while True:
            page = await self.get("/batches", **query, **({"after": after} if after else {}))
            ids += [line["batch_id"] for line in page["batches"]]
            after = page["next"]
            if after is None:
                break
        assert page["total"] == len(ids) == len(set(ids))
        figures = await self.get("/batches/histogram", **query)
        assert figures["total"] + figures["missing"] == len(ids)
        return ids

    async def say(self, batch_id: UUID, a: int, b: int, verdict: str, **more: Any) -> Any:
        """Post a review."""
        body = {"batch_id": str(batch_id), "a": a, "b": b, "verdict": verdict, **more}
        reply = await self.http.post("/reviews", json=body)
        assert reply.status_code == 201, f"{reply.status_code}: {reply.text[:500]}"
        return reply.json()

    async def close(self) -> None:
        await self.http.aclose()
        await self.archive.close()
        await self.commits.close()


def ids(states: Sequence[BatchState]) -> list[str]:
    """Of batches, latest first."""
    return [str(state.batch.batch_id) for state in reversed(states)]
