"""Qdrant in a local folder and the real embedder; other dimensions come from a fake one."""

import math
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from qdrant_client import models

from rlvr_ray.core import codec
from rlvr_ray.core.errors import ConfigError, InputError
from rlvr_ray.core.records import Context
from rlvr_ray.documents.embedder import Embedder
from rlvr_ray.documents.minilm import MiniLM
from rlvr_ray.documents.qdrant.store import QdrantRetriever
from rlvr_ray.documents.retriever import Chunk, Document, Query
from rlvr_ray.settings import RetrievalSettings
from tests import embedder
from tests.fakes import FakeEmbedder

pytestmark = pytest.mark.integration


ROOT = Path(__file__).parents[2]
Open = Callable[..., QdrantRetriever]

CATS = "Cats sleep most of the day. A cat purrs when it is content."
TRAINS = "Trains run on rails. The fastest trains float above them."
TAXES = "Income tax is due in spring. Late payers are charged interest."


@pytest.fixture
def minilm() -> MiniLM:
    return embedder.minilm()


class Stored(QdrantRetriever):
    """A store that knows whether it was closed."""

    closed = False

    def close(self) -> None:
        super().close()
        self.closed = True


@pytest.fixture
def open_store(tmp_path: Path, minilm: MiniLM) -> Iterator[Open]:
    """Opens stores, all on one folder unless told, and closes them at the end."""
    opened: list[Stored] = []

    def one(
        folder: Path = tmp_path / "qdrant", embedder: Embedder = minilm, **settings: Any
    ) -> QdrantRetriever:
        opened.append(Stored(RetrievalSettings(**settings), folder, embedder))
        return opened[-1]

    yield one
    for store in opened:
        if not store.closed:
            store.close()


@pytest.fixture
def store(open_store: Open) -> QdrantRetriever:
    return open_store()


async def search(store: QdrantRetriever, text: str, top_k: int = 20) -> list[Context]:
    (found,) = await store.search([Query(text=text, top_k=top_k)])
    return found


async def passages(store: QdrantRetriever) -> dict[str, list[str]]:
    """All passages by source, in the order of the text."""
    found: dict[str, list[tuple[int, str]]] = {}
    for passage in await search(store, "anything", 1000):
        place = int(passage.metadata["chunk_index"]), passage.content
        found.setdefault(str(passage.metadata["source"]), []).append(place)
    return {source: [content for _, content in sorted(of)] for source, of in found.items()}


def paragraphs(count: int, seed: int = 0) -> str:
    """A text of so many paragraphs, each longer than half a passage of 100 characters."""
    chance = random.Random(seed)
    words = [
        "ray",
        "serves",
        "actors",
        "tasks",
        "objects",
        "nodes",
        "workers",
        "rails",
        "spring",
        "cats",
    ]
    return "\n\n".join(" ".join(chance.choices(words, k=12)) + f" {n}." for n in range(count))


class TestIngest:
    async def test_what_it_returns(self, store: QdrantRetriever) -> None:
        cats, trains = await store.ingest(
            [Document(source="cats.md", text=CATS), Document(source="trains.md", text=TRAINS)]
        )
        assert (cats.source, cats.num_chunks, cats.changed) == ("cats.md", 1, True)
        assert (trains.source, trains.num_chunks, trains.changed) == ("trains.md", 1, True)
        assert cats.document_id != trains.document_id
        assert await store.count() == 2

    async def test_the_same_again_changes_nothing(self, open_store: Open) -> None:
        store = open_store(chunk_chars=100, chunk_overlap=20)
        document = Document(source="long.md", text=paragraphs(20))
        (first,) = await store.ingest([document])
        before, count = await passages(store), await store.count()
        (second,) = await store.ingest([document])
        assert (first.changed, second.changed) == (True, False)
        assert (second.document_id, second.num_chunks) == (first.document_id, first.num_chunks)
        assert first.num_chunks == count >= 20
        assert await store.count() == count
        assert await passages(store) == before

    async def test_also_after_a_restart(self, open_store: Open) -> None:
        store = open_store()
        document = Document(source="cats.md", text=CATS)
        await store.ingest([document])
        found = await search(store, "cats")
        store.close()
        again = open_store()
        assert await search(again, "cats") == found
        assert [i.changed for i in await again.ingest([document])] == [False]
        assert await again.count() == 1

    async def test_an_edited_document_is_replaced(self, open_store: Open) -> None:
        store = open_store(chunk_chars=100, chunk_overlap=0)
        parts = paragraphs(9).split("\n\n")
        await store.ingest([Document(source="other.md", text=CATS)])
        await store.ingest([Document(source="a.md", text="\n\n".join(parts))])
        parts[4] = "Something else stands here now, and nothing of what stood here before."
        text = "\n\n".join(parts[:7])
        (edited,) = await store.ingest([Document(source="a.md", text=text)])
        assert edited.changed
        found = await passages(store)
        assert found["other.md"] == [CATS]
        assert found["a.md"] == parts[:7]
        assert edited.num_chunks == 7
        assert await store.count() == 8

    async def test_a_shorter_document_leaves_no_stale_passages(self, open_store: Open) -> None:
        store = open_store(chunk_chars=100, chunk_overlap=20)
        await store.ingest([Document(source="a.md", text=paragraphs(12))])
        (shorter,) = await store.ingest([Document(source="a.md", text=CATS)])
        assert (shorter.num_chunks, shorter.changed) == (1, True)
        assert await passages(store) == {"a.md": [CATS]}

    async def test_a_document_that_only_lost_its_end_has_changed(self, open_store: Open) -> None:
        store = open_store(chunk_chars=100, chunk_overlap=0)
        parts = paragraphs(3).split("\n\n")
        await store.ingest([Document(source="a.md", text="\n\n".join(parts))])
        (cut,) = await store.ingest([Document(source="a.md", text="\n\n".join(parts[:2]))])
        assert (cut.changed, cut.num_chunks, await store.count()) == (True, 2, 2)

    async def test_the_same_text_under_two_names_is_two_documents(
        self, store: QdrantRetriever
    ) -> None:
        await store.ingest([Document(source=name, text=CATS) for name in ("a.md", "b.md")])
        assert await passages(store) == {"a.md": [CATS], "b.md": [CATS]}

    async def test_the_same_content_has_the_same_id(self, open_store: Open) -> None:
        """Whoever tells of documents knows by it whether there is news."""
        store = open_store(chunk_chars=100, chunk_overlap=0)
        parts = paragraphs(5).split("\n\n")
        texts = {
            "as it was": parts,
            "one word changed": [*parts[:4], parts[4].replace("4.", "5.")],
            "the end is gone": parts[:4],
            "in another order": parts[::-1],
        }
        found = {}
        for name, text in texts.items():
            (ingested,) = await store.ingest([Document(source="a.md", text="\n\n".join(text))])
            found[name] = ingested.content_id
        assert len(set(found.values())) == len(texts)
        store.close()

        again = open_store(chunk_chars=100, chunk_overlap=0)
        (back,) = await again.ingest([Document(source="a.md", text="\n\n".join(parts))])
        assert (back.content_id, back.changed) == (found["as it was"], True)
        (same,) = await again.ingest([Document(source="a.md", text="\n\n".join(parts))])
        assert (same.content_id, same.changed) == (found["as it was"], False)
        (other,) = await again.ingest([Document(source="b.md", text="\n\n".join(parts))])
        assert other.content_id not in found.values()

    @pytest.mark.parametrize("text", ["", " \n\t\r\n \u2003"])
    async def test_a_blank_document_is_refused(self, store: QdrantRetriever, text: str) -> None:
        with pytest.raises(InputError, match=r"empty\.md"):
            await store.ingest([Document(source="empty.md", text=text)])
        assert await store.count() == 0

    @pytest.mark.parametrize("text", ["fine \0 not", "\ud800"])
    async def test_what_no_file_can_hold_is_refused(
        self, store: QdrantRetriever, text: str
    ) -> None:
        with pytest.raises(InputError, match=r"odd\.md"):
            await store.ingest([Document(source="odd.md", text=text)])
        assert await store.count() == 0

    async def test_odd_unicode_comes_back_as_it_was(self, store: QdrantRetriever) -> None:
        text = "U+2028 \u2028 NEL \x85 CRLF\r\n\v\f\x1b[31m 🦆 e\u0301 \u202e \uffff 日本語 'x'"
        await store.ingest([Document(source="ünï\u2028🦆.md", text=text)])
        (passage,) = await search(store, "ducks")
        assert passage.content == text
        assert passage.metadata["source"] == "ünï\u2028🦆.md"


class TestOffsets:
    @pytest.mark.parametrize(
        "text",
        [
            paragraphs(30),
            "\r\n\r\n  " + paragraphs(10, seed=3).replace("\n\n", "\r\n \r\n") + " \n\n",
            "same words again\n\n" * 60,
            "no space at all".replace(" ", "") * 80,
            "日本語のテキスト。🦆" * 60,
            "a b " * 200 + "\n" + "a b " * 200,
            "x" * 99 + "\n\n" + "x" * 100 + "\n" + "x" * 101,
        ],
        ids=["prose", "CRLF", "repeats", "one word", "wide", "two words", "borders"],
    )
    async def test_a_passage_stands_where_its_metadata_says(
        self, open_store: Open, text: str
    ) -> None:
        store = open_store(embedder=FakeEmbedder(), chunk_chars=100, chunk_overlap=30)
        (ingested,) = await store.ingest([Document(source="a.md", text=text)])
        found = sorted(
            await search(store, "anything", 1000), key=lambda c: int(c.metadata["chunk_index"])
        )
        assert [c.metadata["chunk_index"] for c in found] == list(range(ingested.num_chunks))
        covered = [False] * len(text)
        last = -1
        for passage in found:
            assert set(passage.metadata) == {"document_id", "source", "chunk_index", "start"}
            assert passage.metadata["document_id"] == str(ingested.document_id)
            assert len(passage.content) <= 100
            start = int(passage.metadata["start"])
            assert text[start : start + len(passage.content)] == passage.content
            assert start > last, f"passage {passage.metadata['chunk_index']} stands at {start}"
            last = start
            covered[start : start + len(passage.content)] = [True] * len(passage.content)
        lost = "".join(c for c, seen in zip(text, covered, strict=True) if not seen)
        assert lost.strip() == "", f"no passage holds {lost[:80]!r}"


class TestSearch:
    async def test_an_empty_store_has_no_passages(self, store: QdrantRetriever) -> None:
        asked = [Query(text="cats", top_k=5), Query(text="trains", top_k=1)]
        assert await store.search(asked) == [[], []]
        assert await store.count() == 0

    async def test_no_queries_no_answers(self, store: QdrantRetriever) -> None:
        assert await store.search([]) == []

    async def test_each_query_has_its_own_top_k_and_answer(self, open_store: Open) -> None:
        store = open_store(chunk_chars=100, chunk_overlap=0)
        await store.ingest(
            [
                Document(source="cats.md", text=CATS),
                Document(source="trains.md", text=TRAINS),
                Document(source="taxes.md", text=TAXES),
                Document(source="long.md", text=paragraphs(20)),
            ]
        )
        asked = [
            Query(text="Why does a cat purr?", top_k=1),
            Query(text="What do trains run on?", top_k=3),
            Query(text="When is income tax due?", top_k=20),
        ]
        found = await store.search(asked)
        assert [len(contexts) for contexts in found] == [1, 3, 20]
        assert [contexts[0].metadata["source"] for contexts in found] == [
            "cats.md",
            "trains.md",
            "taxes.md",
        ]
        for query, contexts in zip(asked, found, strict=True):
            assert contexts == await search(store, query.text, query.top_k)

    async def test_the_best_come_first_and_scores_are_cosines(
        self, store: QdrantRetriever, minilm: MiniLM
    ) -> None:
        texts = [CATS, TRAINS, TAXES]
        await store.ingest([Document(source=f"{n}.md", text=t) for n, t in enumerate(texts)])
        question = "Do cats pay taxes?"
        found = await search(store, question)
        cosines = dict(zip(texts, minilm.embed(texts) @ minilm.embed([question])[0], strict=True))
        assert [c.content for c in found] == sorted(texts, key=lambda t: -cosines[t])
        for passage in found:
            assert passage.score == pytest.approx(float(cosines[passage.content]), abs=1e-4)

    async def test_fewer_passages_than_wanted(self, store: QdrantRetriever) -> None:
        await store.ingest([Document(source="cats.md", text=CATS)])
        assert len(await search(store, "cats", 20)) == 1


class TestOpening:
    # qdrant-client leaves the lock file open where it could not lock it.
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    @pytest.mark.filterwarnings("ignore::ResourceWarning")
    async def test_a_second_one_in_this_process_is_refused(
        self, store: QdrantRetriever, open_store: Open
    ) -> None:
        with pytest.raises(ConfigError, match="in use by another process"):
            open_store()
        assert await store.count() == 0, "the first goes on"

    async def test_a_second_one_in_another_process_is_refused(
        self, store: QdrantRetriever, tmp_path: Path
    ) -> None:
        await store.ingest([Document(source="cats.md", text=CATS)])
        script = (
            "import sys; from pathlib import Path\n"
            "from rlvr_ray.documents.qdrant.store import QdrantRetriever\n"
            "from rlvr_ray.settings import RetrievalSettings\n"
            "from tests.fakes import FakeEmbedder\n"
            "QdrantRetriever(RetrievalSettings(), Path(sys.argv[1]), FakeEmbedder())\n"
        )
        other = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path / "qdrant")],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert other.returncode == 1
        assert "ConfigError: the local vector store is in use" in other.stderr
        assert await store.count() == 1

    async def test_close_lets_the_next_one_in(self, open_store: Open) -> None:
        open_store().close()
        store = open_store()
        await store.ingest([Document(source="cats.md", text=CATS)])
        assert await store.count() == 1

    async def test_a_collection_of_other_dimensions_is_refused_and_left_alone(
        self, open_store: Open
    ) -> None:
        store = open_store()
        await store.ingest([Document(source="cats.md", text=CATS)])
        found = await search(store, "cats")
        store.close()
        with pytest.raises(ConfigError, match=r"'documents'.*fake-embedder.*32 dimensions"):
            open_store(embedder=FakeEmbedder())
        again = open_store()
        assert await search(again, "cats") == found

    async def test_another_collection_in_the_same_folder(self, open_store: Open) -> None:
        first = open_store()
        await first.ingest([Document(source="cats.md", text=CATS)])
        first.close()
        other = open_store(collection="other", embedder=FakeEmbedder())
        assert await other.count() == 0
        await other.ingest([Document(source="cats.md", text=TRAINS)])
        other.close()
        assert await passages(open_store()) == {"cats.md": [CATS]}


class TestPages:
    """Reading what is stored, without a question."""

    async def test_pages_have_every_passage_once(self, open_store: Open) -> None:
        store = open_store(chunk_chars=100, chunk_overlap=20)
        long, cats = await store.ingest(
            [Document(source="long.md", text=paragraphs(20)), Document(source="c.md", text=CATS)]
        )
        found: list[Chunk] = []
        first = None
        while True:
            page, first = await store.chunks(first, 7)
            assert 1 <= len(page) <= 7
            found += page
            if first is None:
                break
        chunk_ids = [chunk.chunk_id for chunk in found]
        assert chunk_ids == sorted(set(chunk_ids))
        assert Counter(chunk.document_id for chunk in found) == {
            long.document_id: long.num_chunks,
            cats.document_id: 1,
        }

    async def test_texts_come_in_the_order_that_was_asked_for(self, open_store: Open) -> None:
        store = open_store(chunk_chars=100, chunk_overlap=20)
        await store.ingest([Document(source="long.md", text=paragraphs(9))])
        chunks, _ = await store.chunks(None, 1000)
        wanted = [chunk.chunk_id for chunk in reversed(chunks)]
        found = await store.fetch([*wanted[:3], UUID(int=0), *wanted[3:]])
        assert [passage.chunk_id for passage in found] == wanted
        by_index = sorted(found, key=lambda passage: passage.metadata["chunk_index"])
        assert [passage.content for passage in by_index] == (await passages(store))["long.md"]
        assert {passage.metadata["source"] for passage in found} == {"long.md"}

    async def test_an_empty_store_has_no_pages(self, store: QdrantRetriever) -> None:
        assert await store.chunks(None, 10) == ([], None)
        assert await store.fetch([]) == []


FOREIGN: dict[str, Any] = {
    "document_id": 7,
    "source": True,
    "chunk_index": 3.0,
    "start": "12",
    "page": None,
    "score": 0.5,
    "rank": 2.0,
    "draft": False,
    "tags": ["a"],
    "more": {"a": 1},
    "huge": 10**30,
    "nan": math.nan,
    "name\0": "a\0b\ud800",
}


class TestForeign:
    """A collection that another program filled."""

    async def fill(self, store: QdrantRetriever, payloads: Sequence[Any]) -> None:
        vector = store._embedder.embed([CATS])[0]
        points = [
            models.PointStruct(id=number, vector=vector.tolist(), payload=payload)
            for number, payload in enumerate(payloads)
        ]
        await store._run(lambda: store._client.upsert("documents", points))

    async def test_its_metadata_is_made_fit_to_keep(self, store: QdrantRetriever) -> None:
        await self.fill(store, [{"content": CATS, "metadata": FOREIGN}])
        (found,) = await search(store, "cats")
        assert found.content == CATS
        assert found.metadata == {
            "document_id": "7",
            "source": "true",
            "chunk_index": 3,
            "score": "0.5",
            "rank": 2,
            "draft": "false",
            "huge": str(10**30),
            "nan": "NaN",
            "name\ufffd": "a\ufffdb?",
        }
        assert codec.loads(Context, codec.dumps(found)) == found
        assert {name: type(found.metadata[name]) for name in ("chunk_index", "rank")} == {
            "chunk_index": int,
            "rank": int,
        }

    async def test_what_has_no_text_is_not_found(self, store: QdrantRetriever) -> None:
        odd: list[Any] = [
            None,
            {},
            {"content": None, "metadata": {}},
            {"content": ["x"]},
            {"page_content": "x"},
        ]
        sound = [
            {"content": CATS},
            {"content": CATS, "metadata": None},
            {"content": CATS, "metadata": [1]},
        ]
        await self.fill(store, [*odd, *sound])
        found = await search(store, "cats")
        assert [(one.content, dict(one.metadata)) for one in found] == [(CATS, {})] * 3

    async def test_what_names_no_document_is_not_listed(self, store: QdrantRetriever) -> None:
        (own,) = await store.ingest([Document(source="cats.md", text=CATS)])
        named = {"document_id": str(own.document_id), "source": "x.md"}
        whole = named | {"chunk_index": 9.0, "start": 0}
        payloads = [None, {"content": CATS}, {"content": CATS, "metadata": FOREIGN}]
        payloads += [{"content": CATS, "metadata": named}, {"content": TRAINS, "metadata": whole}]
        await self.fill(store, payloads)
        assert [(one.source, one.num_chunks) for one in await store.documents()] == [
            ("cats.md", 1),
            ("x.md", 2),
        ]
        found: list[Chunk] = []
        first: UUID | None = None
        while True:
            page, first = await store.chunks(first, 2)
            found += page
            if first is None:
                break
        assert UUID(int=4) in [chunk.chunk_id for chunk in found]
        assert len(found) == 2
        texts = {one.content for one in await store.fetch([chunk.chunk_id for chunk in found])}
        assert texts == {CATS, TRAINS}

    async def test_one_that_is_not_measured_by_cosine_is_refused(self, open_store: Open) -> None:
        store = open_store()
        params = models.VectorParams(size=store._embedder.dimensions, distance=models.Distance.DOT)
        await store._run(lambda: store._client.create_collection("dot", params))
        store.close()
        with pytest.raises(ConfigError, match=r"'dot' measures by Dot, not by cosine"):
            open_store(collection="dot")
