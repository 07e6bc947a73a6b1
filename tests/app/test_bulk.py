"""A run over fakes: every question once, whatever fails, and no more in flight than allowed."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from rlvr_ray import bulk
from rlvr_ray.bulk import AHEAD, ATTEMPTS, Bulk, Plan, Tally
from rlvr_ray.core.questions import Question, Refused
from rlvr_ray.errors import (
    ContextOverflow,
    InputError,
    LedgerError,
    NoDocuments,
    Overloaded,
    TimedOut,
    Unavailable,
)
from rlvr_ray.pipeline import Pipeline
from tests.builders import context
from tests.fakes import FakeGenerator, FakeRecorder, FakeRetriever


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "POLL_S", 0.001)
    monkeypatch.setattr(bulk, "PAUSE_S", 0.001)


class System:
    """A run's surroundings; they outlive it."""

    def __init__(self) -> None:
        self.retriever = FakeRetriever([context("A passage.", 0.9)])
        self.generator = FakeGenerator()
        self.recorder = FakeRecorder()
        self.plan = Plan(run="first", num_candidates=2, temperatures=(0.3, 0.9), top_k=1, at_once=4)

    def bulk(self, **changes: Any) -> Bulk:
        pipeline = Pipeline(self.retriever, self.generator, self.recorder, max_tokens=9)
        return Bulk(pipeline, self.recorder, replace(self.plan, **changes), lambda tally: None)

    async def run(self, questions: Any, **changes: Any) -> Tally:
        async with asyncio.timeout(30):
            return await self.bulk(**changes).run(questions)


@pytest.fixture
def system() -> System:
    return System()


def some(count: int, start: int = 0) -> list[Question]:
    return [
        Question(text=f"What is {n}?", question_id=None, reference=None, source="q.txt", line=n + 1)
        for n in range(start, start + count)
    ]


async def test_each_question_becomes_a_decided_batch(system: System) -> None:
    system.recorder.outcome = lambda batch: "tie" if "3" in batch.question else "pair"
    tally = await system.run(some(300))
    assert (tally.read, tally.asked, tally.known, tally.undecided) == (300, 300, 0, 0)
    assert tally.outcomes.total() == 300
    assert tally.outcomes["tie"] == sum("3" in str(n) for n in range(300))
    assert {state.batch.question for state in system.recorder.states.values()} == {
        question.text for question in some(300)
    }
    assert tally.completion_tokens == 300 * 2 * 7
    assert system.generator.most_running <= 4


async def test_a_run_goes_on_where_it_was(system: System) -> None:
    first = await system.run(some(50))
    assert first.asked == 50
    again = await system.run(some(80), resume=True)
    assert (again.known, again.asked, again.outcomes.total()) == (50, 30, 80)
    assert len(system.generator.prompts) == 80, "nothing is asked twice"
    assert len(system.recorder.states) == 80


async def test_two_runs_have_batches_of_their_own(system: System) -> None:
    await system.run(some(5))
    await system.run(some(5), run="second")
    assert len(system.recorder.states) == 10


async def test_a_run_that_has_begun_is_not_begun_again(system: System) -> None:
    await system.run(some(5))
    with pytest.raises(InputError, match="--resume"):
        await system.run(some(5))


@pytest.mark.parametrize("error", [Overloaded, Unavailable, TimedOut])
async def test_what_is_away_is_waited_for(system: System, error: type[Exception]) -> None:
    system.generator.failures = [error("later") for _ in range(3)]
    system.recorder.failures = [error("later") for _ in range(ATTEMPTS - 1)]
    tally = await system.run(some(20))
    assert (tally.asked, tally.outcomes["pair"], tally.failures.total()) == (20, 20, 0)
    assert tally.repeats == 3 + ATTEMPTS - 1


async def test_a_question_that_never_ends_in_time_is_left_out(system: System) -> None:
    system.generator.failures = [TimedOut("too slow") for _ in range(ATTEMPTS)]
    tally = await system.run(some(1))
    assert tally.failures == {"TimedOut": 1}
    assert tally.examples == {"TimedOut": ["q.txt:1: too slow"]}
    assert (await system.run(some(1))).asked == 1, "it is not recorded, so it can be asked again"


async def test_a_question_that_is_wrong_stops_nothing(system: System) -> None:
    refused = Refused(source="q.txt", line=99, kind="malformed", message="no JSON")
    system.generator.failures = [ContextOverflow("too long")]
    tally = await system.run([*some(4), refused, *some(6, 4)])
    assert (tally.read, tally.asked) == (11, 9)
    assert tally.failures == {"ContextOverflow": 1, "malformed": 1}
    assert tally.examples["malformed"] == ["q.txt:99: no JSON"]
    assert tally.outcomes["pair"] == 9


async def test_without_documents_it_ends_at_once(system: System) -> None:
    system.retriever.passages = []
    with pytest.raises(NoDocuments, match="ingest"):
        await system.run(some(5))


async def test_a_ledger_that_cannot_be_read_ends_it(system: System) -> None:
    """Also while it waits for outcomes."""
    system.recorder.outcome = lambda batch: None
    running = asyncio.create_task(system.run(some(200)))
    await system.recorder.until(lambda: len(system.recorder.states) == 4 * AHEAD)
    system.recorder.failures = [LedgerError("damaged")]
    with pytest.raises(LedgerError, match="damaged"):
        await running


async def test_verification_may_lag_so_far_and_no_further(system: System) -> None:
    slow = True
    system.recorder.outcome = lambda batch: None if slow else "pair"
    running = asyncio.create_task(system.run(some(200)))
    await system.recorder.until(lambda: len(system.recorder.states) == 4 * AHEAD)
    calls = system.recorder.calls
    await system.recorder.until(lambda: system.recorder.calls > calls + 10)
    assert len(system.recorder.states) == 4 * AHEAD
    slow = False
    assert (await running).outcomes["pair"] == 200


async def test_stopping_finishes_what_is_in_flight(system: System) -> None:
    def endless() -> Iterator[Question]:
        number = 0
        while True:
            yield from some(1, number)
            number += 1

    system.generator.hang()
    bulk = system.bulk()
    running = asyncio.create_task(bulk.run(endless()))
    await system.generator.until(lambda: system.generator.running == 4)
    bulk.stop()
    system.generator.release()
    async with asyncio.timeout(30):
        tally = await running
    assert tally.stopped
    assert 4 <= tally.asked <= 5 and tally.outcomes["pair"] == tally.asked
    assert len(system.recorder.states) == tally.asked


@pytest.mark.parametrize("seed", [None, 7])
async def test_a_limit_counts_questions(system: System, seed: int | None) -> None:
    refused = Refused(source="q.txt", line=1, kind="malformed", message="no JSON")
    tally = await system.run([refused, *some(10)], limit=3, shuffle_seed=seed)
    assert (tally.read, tally.asked, tally.failures.total()) == (4, 3, 1)


async def test_a_seed_shuffles(system: System) -> None:
    await system.run(some(40), shuffle_seed=1, at_once=1)
    asked = [query.text for query in system.retriever.queries]
    assert sorted(asked) == sorted(question.text for question in some(40)) != asked


async def test_what_it_tells_can_be_written_as_json(system: System) -> None:
    plain = (await system.run(some(2))).plain()
    assert plain["outcomes"] == {"pair": 2}
    assert plain["asked"] == 2
