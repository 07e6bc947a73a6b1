"""What the parts count and log: each fact once, whatever is repeated, and no text of anybody's."""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from rlvr_ray.core.errors import Overloaded, Unavailable
from rlvr_ray.core.records import Kind
from rlvr_ray.dataset.files import Dataset
from rlvr_ray.dataset.ledger import Ledger
from rlvr_ray.observability import logs
from rlvr_ray.observability.metrics import Metrics
from rlvr_ray.pipeline.aggregator import Aggregator
from rlvr_ray.pipeline.ask import Ask, Pipeline
from rlvr_ray.settings import LogSettings, Settings
from tests.builders import batch, context
from tests.fakes import (
    FakeGenerator,
    FakeMeter,
    FakePanel,
    FakePublisher,
    FakeRecorder,
    FakeRetriever,
)
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.integration


QUESTION, PASSAGE = "Whose secret is it?", "A passage of a secret paper."
ANSWERS = ("it is mine, says the paper", "yours it is, I am told")
#: What a judge says that quotes what it was given.
QUOTING = f"not JSON: {ANSWERS[1]} and {PASSAGE} of {QUESTION}"


@pytest.fixture
def meter() -> FakeMeter:
    return FakeMeter()


@contextlib.asynccontextmanager
async def running(
    folder: Path, meter: FakeMeter, panel: FakePanel, publisher: FakePublisher | None = None
) -> AsyncIterator[Aggregator]:
    aggregator = Aggregator(
        Ledger(folder),
        Dataset(folder),
        panel,
        Settings(data_dir=folder),
        publisher,
        metrics=Metrics(meter),
    )
    await aggregator.start()
    try:
        yield aggregator
    finally:
        await aggregator.close()


async def decided(aggregator: Aggregator, count: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while (await aggregator.stats())["rates"]["24h"]["decided"] < count:
            await asyncio.sleep(0.01)


def counted(meter: FakeMeter, name: str) -> dict[tuple[str, ...], int]:
    return {key[1:]: count for key, count in meter.counters.items() if key[0] == name}


async def test_a_batch_is_counted_once(tmp_path: Path, meter: FakeMeter) -> None:
    asked, panel = batch(("a", "b", "c")), FakePanel({"a": 0.9, "b": "?", "c": "no score"})
    async with running(tmp_path, meter, panel) as aggregator:
        for _ in range(3):  # Ray calls a method again where a node went away
            await aggregator.record([asked])
        await aggregator.record([asked, asked])
        await decided(aggregator, 1)
    async with running(tmp_path, meter, panel) as aggregator:
        await aggregator.record([asked])
        await decided(aggregator, 1)
    assert counted(meter, "rlvr_candidates_total") == {("stop",): 3}
    assert counted(meter, "rlvr_verifications_total") == {("scored",): 1, ("failed",): 2}
    assert counted(meter, "rlvr_no_pair_total") == {("unscored",): 1}
    assert counted(meter, "rlvr_pairs_total") == {}
    assert meter.observed["rlvr_faithfulness",] == [0.9]
    assert len(meter.observed["rlvr_decision_delay_seconds",]) == 1


async def test_what_was_decided_before_a_crash_is_not_counted_after_it(
    tmp_path: Path, meter: FakeMeter
) -> None:
    """A crash between two results: the first is on record, the batch is verified again."""
    asked, panel = batch(("a", "b")), FakePanel({"a": 0.9, "b": 0.5})
    ledger = Ledger(tmp_path)
    results = dict(zip([c.event_id for c in asked.candidates], await judged(asked), strict=True))
    first = {event_id: results[event_id] for event_id in list(results)[:1]}
    ledger.commit([lambda it: it.record([asked]), lambda it: it.keep(asked, first)])
    ledger.close()
    async with running(tmp_path, meter, panel) as aggregator:
        await decided(aggregator, 1)
        await aggregator._keep(asked, results)  # they come late, once more
        await aggregator._decide(asked, results)
    assert counted(meter, "rlvr_verifications_total") == {("scored",): 1}
    assert counted(meter, "rlvr_pairs_total") == {(): 1}


async def judged(asked: Any) -> Any:
    from rlvr_ray.pipeline.verification_loop import claims_of

    return await FakePanel({"a": 0.9, "b": 0.5}).verify(claims_of(asked))


async def test_results_that_come_one_by_one_are_counted_as_they_come(
    tmp_path: Path, meter: FakeMeter
) -> None:
    asked, panel = batch(("a", "b")), FakePanel()
    panel.hang()
    async with running(tmp_path, meter, panel) as aggregator:
        await aggregator.record([asked])
        results = dict(
            zip([c.event_id for c in asked.candidates], await judged(asked), strict=True)
        )
        for event_id, result in results.items():
            await aggregator._keep(asked, {event_id: result})
        assert counted(meter, "rlvr_verifications_total") == {("scored",): 2}
        await aggregator._decide(asked, results)
        panel.release()
        await decided(aggregator, 1)
    assert counted(meter, "rlvr_verifications_total") == {("scored",): 2}
    assert counted(meter, "rlvr_pairs_total") == {(): 1}


async def test_a_caller_that_goes_away_changes_no_count(tmp_path: Path, meter: FakeMeter) -> None:
    panel = FakePanel()
    panel.hang()
    async with running(tmp_path, meter, panel) as aggregator:
        task = asyncio.create_task(aggregator.record([batch(("a", "b"))]))
        async with asyncio.timeout(PATIENCE_S):
            while not aggregator._commits._task:
                await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await aggregator.record([batch(("a", "b"))])
        panel.release()
        await decided(aggregator, 1)
    assert counted(meter, "rlvr_candidates_total") == {("stop",): 2}


async def test_commits_and_gauges(tmp_path: Path, meter: FakeMeter) -> None:
    publisher = FakePublisher()
    publisher.hang()
    async with running(tmp_path, meter, FakePanel(), publisher) as aggregator:
        await aggregator.record([batch()])
        await decided(aggregator, 1)
        assert meter.observed["rlvr_ledger_commit_seconds",]
        async with asyncio.timeout(PATIENCE_S):
            while "rlvr_disk_free_bytes" not in meter.gauges:
                await asyncio.sleep(0.01)
        assert meter.gauges["rlvr_disk_min_free_bytes"] == 512 * 2**20
        publisher.release()


async def test_troubles_are_counted_and_told(tmp_path: Path, meter: FakeMeter) -> None:
    panel = FakePanel()
    panel.failures = [Unavailable("the judge is away")]
    async with running(tmp_path, meter, panel) as aggregator:
        await aggregator.record([batch()])
        await decided(aggregator, 1)
        stats = await aggregator.stats()
    assert counted(meter, "rlvr_errors_total") == {("verify",): 1}
    (trouble,) = stats["errors"]
    assert (trouble["part"], trouble["detail"]) == ("verify", "the judge is away")
    assert stats["last_error"] is None, "it is over, and told all the same"


async def test_statistics_name_room_and_version(tmp_path: Path, meter: FakeMeter) -> None:
    async with running(tmp_path, meter, FakePanel()) as aggregator:
        stats = await aggregator.stats()
    assert stats["disk"]["free_bytes"] > 0 and stats["disk"]["min_free_bytes"] == 512 * 2**20
    assert stats["version"]
    json.dumps(stats)


# The pipeline.


def ask() -> Ask:
    return Ask(
        batch_id=uuid4(),
        correlation_id="caller-7",
        question=QUESTION,
        kind=Kind.PREFERENCE,
        num_candidates=2,
        temperatures=(0.3, 0.7),
        top_k=5,
    )


async def test_an_ask_is_measured(meter: FakeMeter) -> None:
    generator, recorder = FakeGenerator(), FakeRecorder()
    pipeline = Pipeline(FakeRetriever(), generator, recorder, 99, metrics=Metrics(meter))
    await pipeline.ask(ask())
    generator.failures = [Unavailable("away")]
    with pytest.raises(Unavailable):
        await pipeline.ask(ask())
    recorder.full = Overloaded("no room")
    with pytest.raises(Overloaded):
        await pipeline.ask(ask())
    results = [key[1] for key, values in meter.observed.items() for _ in values]
    assert results == ["ok", "unavailable", "overloaded"]


# The log.


@pytest.fixture
def log(capfd: pytest.CaptureFixture[str]) -> Any:
    """What is logged from here on, as JSON, by this process."""
    logger = logging.getLogger("rlvr_ray")
    before = logger.handlers[:], logger.level, logger.propagate
    logs.configure(LogSettings(format="json"))
    yield lambda: [json.loads(line) for line in capfd.readouterr().err.splitlines() if line]
    logger.handlers[:], logger.propagate = before[0], before[2]
    logger.setLevel(before[1])


async def test_every_step_of_a_batch_is_one_line_about_it(
    tmp_path: Path, meter: FakeMeter, log: Any
) -> None:
    panel = FakePanel({ANSWERS[0]: 0.9, ANSWERS[1]: QUOTING})
    generator = FakeGenerator(lambda prompt: ANSWERS)
    async with running(tmp_path, meter, panel) as aggregator:
        pipeline = Pipeline(FakeRetriever([context(PASSAGE)]), generator, aggregator, 99)
        made = [await pipeline.ask(ask()) for _ in range(2)]
        await decided(aggregator, 2)
    lines = log()
    for asked in made:
        own = [line for line in lines if line["batch_id"] == str(asked.batch_id)]
        assert all(line["correlation_id"] == "caller-7" for line in own)
        assert [line["message"].split(":")[0] for line in own] == [
            "asked",
            "recorded",
            "verified",
            "verified",
            "decided",
            "written",
        ]
        messages = [line["message"] for line in own]
        assert "answer 1 has score 0.9" in messages[2]
        assert "answer 2 has no score: not JSON" in messages[3]
        assert "no pair, unscored" in messages[4]
    everything = json.dumps(lines)
    for text in (QUESTION, PASSAGE, *ANSWERS):
        assert text not in everything


async def test_an_ask_that_fails_says_why_without_the_question(log: Any) -> None:
    generator = FakeGenerator()
    generator.failures = [Unavailable(f"the server cannot take {QUESTION}")]
    pipeline = Pipeline(FakeRetriever(), generator, FakeRecorder(), 99)
    asked = ask()
    with pytest.raises(Unavailable):
        await pipeline.ask(asked)
    lines = log()
    assert [line["batch_id"] for line in lines] == [str(asked.batch_id)] * 2
    assert lines[-1]["message"].startswith("not answered: Unavailable: the server cannot take")
    assert QUESTION not in json.dumps(lines)
