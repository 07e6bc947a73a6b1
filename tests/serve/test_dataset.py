"""Looking through batches over HTTP, and taking rows away: over a real ledger."""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args
from uuid import UUID

import pyarrow.parquet as pq
import pytest

from rlvr_ray.core.records import Kind
from rlvr_ray.dataset import filters as browsing
from rlvr_ray.dataset import queries
from rlvr_ray.dataset.arrow import SCHEMAS
from rlvr_ray.dataset.filters import Filter
from rlvr_ray.dataset.state import BatchState
from rlvr_ray.serve.http import dataset, downloads, filters
from tests.archives import Served, ids
from tests.builders import CREATED, DECIDED, batch, candidate
from tests.folders import ODD, decided, expected

pytestmark = pytest.mark.integration


def at(hours: int) -> Any:
    return DECIDED + timedelta(hours=hours)


def written_by(number: int, *models: str) -> BatchState:
    """A pair whose answers these models wrote."""
    answers = [f"answer {i} of {number}" for i in range(len(models))]
    one = batch(answers, f"Question {number}?")
    candidates = tuple(
        candidate(one.batch_id, i, text, model=model)
        for i, (text, model) in enumerate(zip(answers, models, strict=True))
    )
    return decided(
        number, [0.9, 0.5, 0.1][: len(models)], answers=answers, candidates=candidates, at=at(6)
    )


PAIR = decided(0, (0.9, 0.7, 0.5), at=at(0))
NARROW = decided(1, (0.9, 0.89, 0.88), at=at(1))  # margin_too_small
LOW = decided(2, (0.5, 0.3, 0.1), at=at(2))  # chosen_too_low
FAILED = decided(3, (0.9, "the judge is silent", "no JSON"), at=at(3))  # unscored
SINGLE = decided(4, (0.8,), kind=Kind.SINGLE, at=at(4))
PERFECT = decided(5, (1.0, 0.5, 0.0), at=at(5), correlation_id="mine")
OTHERS = written_by(6, "llama", "qwen", "llama")
STATES = (PAIR, NARROW, LOW, FAILED, SINGLE, PERFECT, OTHERS)
OPEN = batch(question="Still being verified?", created_at=CREATED + timedelta(days=30))


@pytest.fixture
async def empty(tmp_path: Path) -> AsyncIterator[Served]:
    served = Served(tmp_path)
    yield served
    await served.close()


@pytest.fixture
async def served(empty: Served) -> Served:
    empty.decide(*STATES)
    empty.record(OPEN)
    return empty


@pytest.fixture(params=[False, True], ids=["in one", "in pieces"])
def pieces(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search for a text looks at few batches at a time."""
    if request.param:
        monkeypatch.setattr(queries, "WINDOW", 2)


# Filters.

WANTED: list[tuple[dict[str, Any], tuple[BatchState, ...]]] = [
    ({}, STATES),
    ({"outcome": "pair"}, (PAIR, PERFECT, OTHERS)),
    ({"outcome": "no_pair"}, (NARROW, LOW, FAILED, SINGLE)),
    ({"outcome": "unscored"}, (FAILED,)),
    ({"outcome": ["unscored", "chosen_too_low"]}, (LOW, FAILED)),
    ({"outcome": ["pair", "single_answer"]}, (PAIR, SINGLE, PERFECT, OTHERS)),
    ({"model": "llama"}, (OTHERS,)),
    ({"model": "qwen"}, (OTHERS,)),
    ({"model": "lla"}, ()),
    ({"min_score": 0.9}, (PAIR, NARROW, PERFECT, OTHERS)),
    ({"min_score": 0.900001}, (PERFECT,)),
    ({"max_score": 0.5}, (LOW,)),
    ({"min_margin": 0.4, "max_margin": 0.4}, (PAIR, LOW)),
    ({"max_margin": 0.02}, (NARROW,)),
    ({"min_margin": 1}, (PERFECT,)),
    ({"since": at(3).isoformat()}, (FAILED, SINGLE, PERFECT, OTHERS)),
    ({"until": at(3).isoformat()}, (PAIR, NARROW, LOW)),
    ({"since": at(2).isoformat(), "until": at(3).isoformat()}, (LOW,)),
    ({"since": "2026-03-14", "until": "2026-03-14"}, STATES),
    ({"until": "2026-03-13"}, ()),
    ({"text": "answer 1 of 0"}, (PAIR,)),
    ({"text": "ANSWER 1 OF"}, (PAIR, NARROW, LOW, FAILED, PERFECT, OTHERS)),
    ({"text": "question 4"}, (SINGLE,)),
    ({"text": "ray.md"}, ()),  # names of sources are not searched, nor passages
    ({"text": "framework"}, ()),
    ({"correlation_id": "mine"}, (PERFECT,)),
    ({"correlation_id": "nobody's"}, ()),
    ({"review": "none", "outcome": "no_pair"}, (NARROW, LOW, FAILED, SINGLE)),
    ({"review": "agree"}, ()),
    ({"outcome": "pair", "min_score": 0.95, "text": "of 5", "model": "test-model"}, (PERFECT,)),
]


@pytest.mark.parametrize(("query", "wanted"), WANTED, ids=[str(query) for query, _ in WANTED])
@pytest.mark.usefixtures("pieces")
async def test_a_filter_finds(
    empty: Served, query: dict[str, Any], wanted: tuple[BatchState, ...]
) -> None:
    empty.decide(*STATES)
    assert await empty.found(**query) == ids(wanted)
    assert await empty.found(**query, limit=2) == ids(wanted)


@pytest.mark.parametrize(
    ("query", "fits"),
    [
        ({}, True),
        ({"outcome": "open"}, True),
        ({"outcome": ["open", "tie"]}, True),
        ({"outcome": "pair"}, False),
        ({"outcome": "no_pair"}, False),
        ({"model": "test-model"}, True),
        ({"model": "another"}, False),
        ({"min_score": 0}, False),
        ({"max_margin": 1}, False),
        ({"since": "2026-04-13", "until": "2026-04-13"}, True),
        ({"since": "2026-04-14"}, False),
        ({"until": "2026-04-13T09:26:53Z"}, False),
        ({"since": "2026-04-13T09:26:53Z"}, True),
        ({"text": "BEING verified"}, True),
        ({"text": "verified."}, False),
        ({"correlation_id": "test-correlation"}, True),
        ({"correlation_id": "another"}, False),
        ({"review": "none"}, True),
        ({"review": "tie"}, False),
    ],
)
async def test_what_is_open_is_found_by_the_same_filters(
    served: Served, query: dict[str, Any], fits: bool
) -> None:
    assert (str(OPEN.batch_id) in await served.found(**query)) is fits


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("ÄNDERUNG", "Was ist eine Änderung?"),
        ("STRAßE", "Wie heißt die Straße?"),
        ('"quoted" \\ back', 'What is "quoted" \\ back?'),
        ("100%_sure", "Are you 100%_sure?"),
        ("a\nline", "Where is a\nline?"),
        ("🦆", f"{ODD}?"),
        ("\u2028", f"{ODD}?"),
        ("' OR 1=1 --", "What is ' OR 1=1 --?"),
    ],
)
async def test_a_text_is_found_as_it_is(empty: Served, text: str, question: str) -> None:
    one = decided(7)
    there = BatchState(
        batch=batch(["a", "b", "c"], question, one.batch.batch_id),
        results=one.results,
        outcome=one.outcome,
    )
    empty.decide(PAIR, there, NARROW)
    assert await empty.found(text=text) == ids([there])


async def test_a_text_with_wildcards_fits_only_itself(empty: Served) -> None:
    empty.decide(*STATES)
    for text in ("%", "_", "answer % of", "q_estion", "\\", "' OR '1'='1"):
        assert await empty.found(text=text) == []


async def test_what_is_left_empty_asks_for_nothing(served: Served) -> None:
    names = ("model", "min_score", "max_margin", "since", "until", "text", "correlation_id")
    assert len(await served.found(**dict.fromkeys((*names, "review"), ""))) == len(STATES) + 1


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"outcome": "good"}, "outcome.0"),
        ({"min_score": 1.1}, "min_score"),
        ({"max_margin": -1}, "max_margin"),
        ({"min_score": "nan"}, "min_score"),
        ({"min_score": "much"}, "min_score"),
        ({"since": "yesterday"}, "since"),
        ({"until": "2026-13-01"}, "until"),
        ({"until": "9999-12-31"}, "until"),
        ({"text": "x" * 201}, "text"),
        ({"review": "good"}, "review"),
        ({"limit": 0}, "limit"),
        ({"limit": 501}, "limit"),
    ],
)
async def test_a_wrong_filter_is_named(served: Served, query: dict[str, Any], field: str) -> None:
    reply = await served.http.get("/batches", params=query)
    assert reply.status_code == 422, reply.text
    assert reply.headers["content-type"] == "application/problem+json"
    assert [error["field"] for error in reply.json()["errors"]] == [field]


# Lines and pages.


async def test_a_line(served: Served) -> None:
    page = await served.get("/batches", text="of 5")
    (line,) = page["batches"]
    assert line == {
        "batch_id": str(PERFECT.batch.batch_id),
        "correlation_id": "mine",
        "question": "Question 5?",
        "created_at": CREATED.isoformat(),
        "decided_at": at(5).isoformat(),
        "outcome": "pair",
        "detail": "margin 1, best score 1, rejected: unsupported",
        "chosen_score": 1.0,
        "rejected_score": 0.0,
        "score_diff": 1.0,
        "models": ["test-model"],
        "num_candidates": 3,
        "chosen": "answer 0 of 5",
        "rejected": "answer 2 of 5",
        "review": None,
    }
    assert (page["next"], page["total"], page["past_retention"]) == (None, 1, 0)


async def test_lines_of_what_has_no_figures(served: Served) -> None:
    for query in ({"outcome": "open"}, {"outcome": "unscored"}):
        (line,) = (await served.get("/batches", **query))["batches"]
        assert line["outcome"] == query["outcome"]
        for name in ("chosen", "rejected", "chosen_score", "rejected_score", "score_diff"):
            assert line[name] is None
    (line,) = (await served.get("/batches", outcome="open"))["batches"]
    assert (line["decided_at"], line["detail"]) == (None, "")
    (line,) = (await served.get("/batches", model="qwen"))["batches"]
    assert line["models"] == ["llama", "qwen"]


async def test_long_answers_are_cut(empty: Served) -> None:
    empty.decide(decided(1, answers=["x" * 241, "y", "z" * 240]))
    (line,) = (await empty.get("/batches"))["batches"]
    assert (line["chosen"], line["rejected"]) == ("x" * 240, "z" * 240)


async def test_pages_hold_while_batches_come(served: Served) -> None:
    """What comes in meanwhile is on no later page, and what is decided stays in its place."""
    first = await served.get("/batches", limit=3)
    assert len(first["batches"]) == 3 and first["total"] == len(STATES) + 1
    served.decide(*(decided(number) for number in range(20, 24)))
    seen = [line["batch_id"] for line in first["batches"]]
    after = first["next"]
    while after:
        page = await served.get("/batches", limit=3, after=after)
        assert page["total"] == first["total"], "counted once"
        seen += [line["batch_id"] for line in page["batches"]]
        after = page["next"]
    assert seen == [str(OPEN.batch_id), *ids(STATES)]


async def test_a_page_that_is_just_full_is_the_last(empty: Served) -> None:
    empty.decide(*STATES)
    page = await empty.get("/batches", limit=len(STATES))
    assert (len(page["batches"]), page["next"]) == (len(STATES), None)
    page = await empty.get("/batches", limit=len(STATES) - 1)
    assert page["next"] is not None


@pytest.mark.parametrize("after", ["x", "1", "1-", "-1", "1-2-3", "1;DROP TABLE batch", "9" * 40])
async def test_a_wrong_place_is_refused(served: Served, after: str) -> None:
    reply = await served.http.get("/batches", params={"after": after})
    assert reply.status_code == 422
    assert "after" in reply.json()["detail"]


async def test_an_empty_ledger(empty: Served) -> None:
    assert await empty.get("/batches") == {
        "batches": [],
        "next": None,
        "total": 0,
        "past_retention": 0,
    }
    assert (await empty.get("/models")) == {"models": []}
    histogram = await empty.get("/batches/histogram")
    assert histogram["counts"] == [0] * 100 and histogram["total"] == 0
    assert (await empty.http.get("/pairs")).content == b""


async def test_what_is_past_retention_is_said(empty: Served) -> None:
    april = DECIDED + timedelta(days=30)
    late = [decided(number, at=april) for number in (10, 11)]
    empty.decide(PAIR, LOW, *late)
    empty.forget("202604")
    page = await empty.get("/batches")
    assert [line["batch_id"] for line in page["batches"]] == ids(late)
    assert (page["total"], page["past_retention"]) == (2, 2)
    reply = await empty.http.get("/pairs")
    assert len(reply.content.splitlines()) == 2
    assert await empty.found(text="answer") == ids(late)


# Histograms.


async def test_histograms_are_exact(empty: Served) -> None:
    """Values on the edge of a bin are counted above it, though 0.29 * 100 is less than 29."""
    margins = [n / 100 for n in range(1, 101)]
    empty.decide(*(decided(n, (1.0, 1.0 - margin)) for n, margin in enumerate(margins)))
    empty.decide(FAILED, SINGLE)
    found = await empty.get("/batches/histogram", of="score_diff")
    # 1.00 is in the last bin, beside 0.99.
    assert found["counts"] == [0, *[1] * 98, 2]
    assert (found["total"], found["missing"]) == (100, 2)
    assert (found["low"], found["high"], found["step"]) == (0, 1, 0.01)
    found = await empty.get("/batches/histogram", of="chosen_score")
    assert found["counts"] == [0] * 99 + [100]
    found = await empty.get("/batches/histogram", of="rejected_score")
    assert found["counts"] == [*[1] * 100]
    assert sum(found["counts"][60:]) == await _count(empty, max_margin=0.4)


async def _count(served: Served, **query: Any) -> int:
    total: int = (await served.get("/batches", limit=1, **query))["total"]
    return total


async def test_a_histogram_takes_filters(served: Served) -> None:
    found = await served.get("/batches/histogram", outcome="no_pair", min_margin=0.1)
    assert (found["total"], found["missing"], found["counts"][40]) == (1, 0, 1)
    found = await served.get("/batches/histogram")
    assert (found["total"], found["missing"]) == (5, 3), "unscored, single, open"
    reply = await served.http.get("/batches/histogram", params={"of": "length"})
    assert reply.status_code == 422


async def test_models_that_were_seen(served: Served) -> None:
    assert (await served.get("/models")) == {"models": ["llama", "qwen", "test-model"]}


async def test_one_batch_is_still_found_by_its_id(served: Served) -> None:
    reply = await served.http.get(f"/batches/{UUID(int=5)}")
    assert reply.status_code == 404


# Downloads.


def rows_of(content: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in content.splitlines()]


@pytest.mark.parametrize("step", [1, 2, 64])
@pytest.mark.parametrize("path", ["/pairs", "/answers"])
async def test_what_is_downloaded_is_what_the_files_hold(
    served: Served, path: str, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, "STEP", step)
    monkeypatch.setattr(downloads, "ROW_GROUP", 2)
    name = {"/pairs": "dpo_data", "/answers": "training_data"}[path]
    wanted = expected(STATES)[name]

    reply = await served.http.get(path)
    assert reply.headers["content-disposition"] == f'attachment; filename="{path[1:]}.jsonl"'
    assert rows_of(reply.content) == wanted

    reply = await served.http.get(path, params={"format": "parquet"})
    assert reply.headers["content-disposition"] == f'attachment; filename="{path[1:]}.parquet"'
    file = pq.ParquetFile(io.BytesIO(reply.content))
    assert file.schema_arrow.equals(SCHEMAS[name])
    assert file.read().to_pylist() == wanted
    assert file.num_row_groups == (len(wanted) + 1) // 2


@pytest.mark.usefixtures("pieces")
async def test_a_download_takes_filters(served: Served) -> None:
    reply = await served.http.get("/pairs", params={"text": "OF 5", "min_score": 0.95})
    assert rows_of(reply.content) == expected([PERFECT])["dpo_data"]
    reply = await served.http.get("/answers", params={"outcome": ["unscored", "open"]})
    assert rows_of(reply.content) == expected([FAILED])["training_data"]
    for path, outcome in (("/pairs", "no_pair"), ("/pairs", "open"), ("/answers", "open")):
        reply = await served.http.get(path, params={"outcome": outcome})
        assert (reply.status_code, reply.content) == (200, b"")


async def test_a_parquet_file_without_rows_has_its_columns(empty: Served) -> None:
    for path, name in (("/pairs", "dpo_data"), ("/answers", "training_data")):
        reply = await empty.http.get(path, params={"format": "parquet"})
        found = pq.read_table(io.BytesIO(reply.content))
        assert found.num_rows == 0
        assert found.schema.equals(SCHEMAS[name])


async def test_another_format_is_refused(served: Served) -> None:
    reply = await served.http.get("/pairs", params={"format": "csv"})
    assert reply.status_code == 422
    assert [error["field"] for error in reply.json()["errors"]] == ["format"]


async def test_few_rows_are_in_memory(empty: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages are fetched as the file is read, not before."""
    empty.decide(*(decided(number) for number in range(40)))
    monkeypatch.setattr(dataset, "STEP", 4)
    fetched = 0
    states = empty.archive.states

    async def counted(*arguments: Any) -> Any:
        nonlocal fetched
        fetched += 1
        return await states(*arguments)

    monkeypatch.setattr(empty.archive, "states", counted)
    pages = dataset._pages(empty.archive, Filter(outcomes=("pair",)), lambda it: [{}])
    assert len(await anext(pages)) == 4 and fetched == 1
    assert len(await anext(pages)) == 4 and fetched == 2
    await pages.aclose()
    assert fetched == 2


async def test_whoever_goes_away_stops_the_work(
    empty: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty.decide(*(decided(number) for number in range(40)))
    monkeypatch.setattr(dataset, "STEP", 4)
    pages = dataset._pages(empty.archive, Filter(outcomes=("pair",)), lambda it: [{}])
    first = await anext(pages)
    file = dataset._sent("dpo_data", "jsonl", first, pages)
    assert await anext(file)
    await file.aclose()  # type: ignore[attr-defined]
    with pytest.raises(StopAsyncIteration):
        await anext(pages)


# Beside the writer.


async def test_a_search_holds_up_neither_commits_nor_others(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search for a text gives way between two pieces."""
    monkeypatch.setattr(queries, "WINDOW", 1)
    order: list[str] = []
    look = served.archive._run

    async def noted(query: Any, *arguments: Any) -> Any:
        order.append("look")
        return await look(query, *arguments)

    monkeypatch.setattr(served.archive, "_run", noted)

    async def other() -> None:
        await asyncio.sleep(0)
        await served.archive.models()
        order.append("others")

    await asyncio.gather(served.found(text="answer"), other())
    assert order.index("others") < len(order) - 5


def test_what_may_be_asked_for_is_what_there_is() -> None:
    assert get_args(filters.Outcome) == browsing.OUTCOMES
    assert get_args(filters.Reviewed) == browsing.REVIEWS
