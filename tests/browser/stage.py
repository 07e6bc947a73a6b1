"""The page's server without Ray: the real interface over a real ledger, store and verifier.

    python -m tests.browser.stage --pairs 10000

Only what writes answers is a fake, and what stands before the verifier, so that tests decide about
faults and latency. It prints its URL.
"""

import argparse
import asyncio
import contextlib
import socket
import tempfile
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar
from uuid import UUID

import httpx
import uvicorn

from rlvr_ray.dataset.files import Dataset
from rlvr_ray.dataset.ledger import Ledger
from rlvr_ray.documents.qdrant.store import QdrantRetriever
from rlvr_ray.documents.retriever import Document
from rlvr_ray.generation.generator import Prompt
from rlvr_ray.pipeline.aggregator import Aggregator
from rlvr_ray.pipeline.live import Acknowledgement, LiveEvent
from rlvr_ray.serve.http import Services, create_api
from rlvr_ray.settings import Settings
from rlvr_ray.verification import factory
from tests.browser import seed, texts
from tests.embedder import minilm
from tests.fakes import FakeGenerator, FaultyPanel, Reply

T = TypeVar("T")

HOST = "127.0.0.1"
#: Longest wait for a start or an end, in seconds.
PATIENCE = 300.0


class StageAggregator(Aggregator):
    """With what the actor around the real one adds."""

    async def publish_live(
        self, batch_id: UUID, publisher: str, events: Sequence[LiveEvent], opens: bool
    ) -> Acknowledgement:
        return self.live.publish(batch_id, publisher, events, opens=opens)

    async def watch(self, batch_id: UUID, last_id: str | None, wait_s: float) -> list[LiveEvent]:
        return await self.live.watch(batch_id, last_id, wait_s)


class Stage:
    """A server on a port of its own that can be stopped, and started again with what is on disk.

    ``generator`` and ``panel`` are those of the running server; ``answers`` are by question.
    Both belong to the server's thread: use ``call`` for whatever touches its event loop.
    """

    generator: FakeGenerator
    panel: FaultyPanel

    def __init__(
        self,
        folder: Path,
        *,
        piece_s: float = 0.01,
        result_s: float = 0.01,
        port: int = 0,
        sections: Mapping[str, Any] | None = None,
        **api: Any,
    ) -> None:
        self.answers: dict[str, Sequence[str]] = dict(texts.ANSWERS)
        self._latency = piece_s, result_s
        self._embedder = minilm()
        self._socket = socket.socket()  # held, so that the port stays ours while nothing listens
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((HOST, port))
        self.port: int = self._socket.getsockname()[1]
        given: dict[str, Any] = {
            "api": {"port": self.port, **api},
            "verification": {"verifiers": ["grounded"]},
        }
        self.settings = Settings(data_dir=folder, **given, **(sections or {}))
        self._thread: threading.Thread | None = None
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop
        self._server: uvicorn.Server
        self._problem: BaseException | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self._socket.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._socket.close()

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def is_running(self) -> bool:
        return self._thread is not None

    def seed(self, decided: Iterable[seed.Decided]) -> None:
        """Put batches into the ledger, while nothing runs."""
        ledger = Ledger(self.settings.data_dir)
        try:
            seed.seed(ledger, decided)
        finally:
            ledger.close()

    def start(self) -> None:
        """Return once it answers."""
        self._ready.clear()
        self._thread = threading.Thread(target=self._run, name="stage")
        self._thread.start()
        if not self._ready.wait(PATIENCE) or self._problem:
            raise RuntimeError("the stage did not start") from self._problem

    def stop(self) -> None:
        """End it as a crash would: connections break, and asks that are not recorded are lost."""
        if self._thread is None:
            return
        self._loop.call_soon_threadsafe(self._stop)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the stage did not end"
        self._thread = None

    def call(self, work: Callable[[], T]) -> T:
        """What a function returns that runs in the server's event loop."""

        async def called() -> T:
            return work()

        return self.run(called())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine that runs in the server's event loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    def ingest(self, documents: Mapping[str, str]) -> None:
        """Store documents, by name."""
        given = [Document(source=name, text=text) for name, text in documents.items()]

        async def ingest() -> None:
            await self._aggregator.ingested(await self._retriever.ingest(given))

        self.run(ingest())

    def get(self, path: str, **query: Any) -> Any:
        """What the interface answers."""
        return httpx.get(f"{self.url}{path}", params=query).raise_for_status().json()

    def _stop(self) -> None:
        self._server.should_exit = self._server.force_exit = True

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._problem = error
            self._ready.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.generator = FakeGenerator(self._written)
        self.generator.piece_s, result_s = self._latency
        self.panel = FaultyPanel(
            factory.build_panel(self.settings, self.generator, self._embedder), result_s
        )
        folder = self.settings.data_dir
        ledger = Ledger(folder)
        self._aggregator = StageAggregator(ledger, Dataset(folder, None), self.panel, self.settings)
        self._retriever = QdrantRetriever(
            self.settings.retrieval, folder / "qdrant", self._embedder
        )
        try:
            await self._aggregator.start()
            await self._listen()
        finally:
            await self._aggregator.close()
            self._retriever.close()

    async def _listen(self) -> None:
        parts = Services(
            retriever=self._retriever,
            generator=self.generator,
            recorder=self._aggregator,
            archive=self._aggregator.queries,
            engine="fake: a stage for tests",
            verifiers="grounded: a stage for tests",
        )
        config = uvicorn.Config(create_api(self.settings, parts), log_level="error", lifespan="off")
        self._server = uvicorn.Server(config)
        self._server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        with socket.socket() as listening:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((HOST, self.port))
            listening.listen(128)
            self._ready.set()
            await self._server.serve(sockets=[listening])

    def _written(self, prompt: Prompt) -> Sequence[Reply]:
        return texts.written(prompt, self.answers)


@contextlib.contextmanager
def open_stage(
    decided: Iterable[seed.Decided] = (),
    documents: Mapping[str, str] = texts.DOCUMENTS,
    **options: Any,
) -> Iterator[Stage]:
    """A stage in a folder of its own, with these batches and documents."""
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(Path(folder), **options)
        stage.seed(decided)
        with stage:
            stage.ingest(documents)
            yield stage


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=200, help="decided batches to begin with")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--key", help="an API key that the page must ask for")
    parser.add_argument("--slow", type=float, default=0.05, help="seconds between two pieces")
    given = parser.parse_args()
    options = {"key": given.key} if given.key else {}
    with open_stage(
        seed.batches(given.pairs),
        port=given.port,
        piece_s=given.slow,
        result_s=10 * given.slow,
        **options,
    ) as stage:
        print(stage.url, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
