"""A run over fakes: every question once, whatever fails, and no more in flight than allowed."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from rlvr_ray.bulk import run as bulk
from rlvr_ray.bulk.run import AHEAD, ATTEMPTS, Bulk, Plan
from rlvr_ray.bulk.statistics import Prices, Rates, RunStatistics
from rlvr_ray.core.errors import (
    ContextOverflow,
    InputError,
    LedgerError,
    NoDocuments,
    Overloaded,
    TimedOut,
    Unavailable,
)
from rlvr_ray.core.questions import Question, Refused
from rlvr_ray.core.records import Usage
from rlvr_ray.pipeline.ask import Pipeline
from tests.builders import context
from tests.fakes import FakeGenerator, FakeRecorder, FakeRetriever
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.integration


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
        self.trouble: str | None = None
        self.plan = Plan(
            run="first", num_candidates=2, temperatures=(0.3, 0.9), top_k=1, max_tokens=9, at_once=4
        )

    def bulk(self, **changes: Any) -> Bulk:
        pipeline = Pipeline(self.retriever, self.generator, self.recorder, max_tokens=9)

        async def trouble() -> str | None:
            return self.trouble

        return Bulk(pipeline, self.recorder, replace(self.plan, **changes), trouble)

    async def run(self, questions: Any, **changes: Any) -> RunStatistics:
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
    stats = await system.run(some(300))
    assert (stats.read, stats.asked, stats.known, stats.undecided) == (
        300,
        300,
        0,
        0,
    )
    assert stats.outcomes.total() == 300
    assert stats.outcomes["tie"] == sum("3" in str(n) for n in range(300))
    assert {state.batch.question for state in system.recorder.states.values()} == {
        question.text for question in some(300)
    }
    assert stats.answers == Usage(prompt_tokens=300 * 2 * 50, completion_tokens=300 * 2 * 7)
    assert stats.judging == Usage(prompt_tokens=300 * 100, completion_tokens=300 * 10)
    assert stats.pairs == stats.outcomes["pair"] == sum(stats.course.pairs)
    assert sum(stats.course.decided) == 300
    assert stats.state == "finished"
    assert system.generator.most_running <= 4


async def test_a_run_goes_on_where_it_was(system: System) -> None:
    first = await system.run(some(50))
    assert first.asked == 50
    again = await system.run(some(80), resume=True)
    assert (again.known, again.asked, again.outcomes.total()) == (50, 30, 80)
    assert again.answers.completion_tokens == 80 * 2 * 7, "what was spent before counts, too"
    assert again.judging.completion_tokens == 80 * 10
    assert sum(again.course.decided) == 30, "but not as this program's work"
    assert len(system.generator.prompts) == 80, "nothing is asked twice"
    assert len(system.recorder.states) == 80


async def test_two_runs_have_batches_of_their_own(system: System) -> None:
    await system.run(some(5))
    await system.run(some(5), run="second")
    assert len(system.recorder.states) == 10


@pytest.mark.parametrize("in_front", [0, 5, bulk.CHUNK, 2 * bulk.CHUNK + 1])
async def test_a_run_that_has_begun_is_not_begun_again(system: System, in_front: int) -> None:
    """Whatever is in the file, and wherever."""
    await system.run(some(5))
    refused = [Refused(source="q", line=n, kind="malformed", message="") for n in range(in_front)]
    for file in ([*some(in_front, 1000), *some(5)], [*refused, *some(5)], some(3, 500)):
        with pytest.raises(InputError, match=r"'first' has begun already: add --resume"):
            await system.run(file)
    assert len(system.recorder.states) == 5


async def test_a_run_is_not_taken_for_another(system: System) -> None:
    await system.run(some(5), run="first-2")
    assert (await system.run(some(5))).asked == 5


async def test_resuming_what_never_began_is_told(system: System) -> None:
    told: list[str] = []
    running = system.bulk(resume=True, run="frist")
    running._notify = told.append
    assert (await running.run(some(3))).asked == 3
    assert told == ["no run 'frist' has begun: it begins now (check --run if it should have)"]
    again = system.bulk(resume=True, run="frist")
    again._notify = told.append
    await again.run(some(3))
    assert len(told) == 1


#: Files of a run that had asked ``some(300)`` before, or a part of them.
FILES = {
    "the same": some(300),
    "new ones in front": [*some(300, 1000), *some(300)],
    "backwards": some(300)[::-1],
    "other ones": some(300, 5000),
}


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("seed", [None, 3])
async def test_all_earlier_work_counts(system: System, file: str, seed: int | None) -> None:
    """Pairs and cost, wherever it stands."""
    one = Prices(prompt=0.0, cached=0.0, completion=1e6)
    rates = Rates(generator=one, judge=one)
    first = await system.run(some(300), max_cost=480.0, rates=rates, shuffle_seed=seed)
    assert (first.state, first.asked) == ("max_cost", 20)
    for limit in ({"max_cost": 480.0}, {"max_pairs": 20}):
        again = await system.run(FILES[file], resume=True, rates=rates, shuffle_seed=7, **limit)
        assert (again.state, again.asked, again.pairs) == (*limit, 0, 20)
        assert again.cost(rates) == 20 * 24
    more = await system.run(FILES[file], resume=True, rates=rates, max_cost=720.0)
    assert (more.asked, more.pairs, more.cost(rates)) == (10, 30, 720.0)
    assert more.before == more.earlier == 20


@pytest.mark.parametrize("error", [Overloaded, Unavailable, TimedOut])
async def test_what_is_away_is_waited_for(system: System, error: type[Exception]) -> None:
    system.generator.failures = [error("later") for _ in range(3)]
    system.recorder.failures = [error("later") for _ in range(ATTEMPTS - 1)]
    stats = await system.run(some(20))
    assert (stats.asked, stats.outcomes["pair"], stats.failures.total()) == (
        20,
        20,
        0,
    )
    assert stats.repeats == 3 + ATTEMPTS - 1
    assert (stats.waiting, stats.reason) == (0, "later")


async def test_a_question_that_never_ends_in_time_is_left_out(system: System) -> None:
    system.generator.failures = [TimedOut("too slow") for _ in range(ATTEMPTS)]
    stats = await system.run(some(1))
    assert stats.failures == {"TimedOut": 1}
    assert stats.examples == {"TimedOut": ["q.txt:1: too slow"]}
    assert (await system.run(some(1))).asked == 1, "it is not recorded, so it can be asked again"


async def test_a_question_that_is_wrong_stops_nothing(system: System) -> None:
    refused = Refused(source="q.txt", line=99, kind="malformed", message="no JSON")
    system.generator.failures = [ContextOverflow("too long")]
    stats = await system.run([*some(4), refused, *some(6, 4)])
    assert (stats.read, stats.asked) == (11, 9)
    assert stats.failures == {"ContextOverflow": 1, "malformed": 1}
    assert stats.examples["malformed"] == ["q.txt:99: no JSON"]
    assert stats.outcomes["pair"] == 9


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
        stats = await running
    assert stats.state == "stopped"
    assert 4 <= stats.asked <= 5 and stats.outcomes["pair"] == stats.asked
    assert len(system.recorder.states) == stats.asked == stats.read


@pytest.mark.parametrize("seed", [None, 7])
async def test_a_limit_counts_questions(system: System, seed: int | None) -> None:
    refused = Refused(source="q.txt", line=1, kind="malformed", message="no JSON")
    stats = await system.run([refused, *some(10)], limit=3, shuffle_seed=seed)
    assert (stats.read, stats.asked, stats.failures.total()) == (4, 3, 1)


async def test_a_seed_shuffles(system: System) -> None:
    await system.run(some(40), shuffle_seed=1, at_once=1)
    asked = [query.text for query in system.retriever.queries]
    assert sorted(asked) == sorted(question.text for question in some(40)) != asked


async def test_what_was_undecided_is_counted_once_when_it_is_resumed(system: System) -> None:
    decided = False
    system.recorder.outcome = lambda batch: "pair" if decided else None
    first = asyncio.create_task(system.run(some(10)))
    await system.recorder.until(lambda: len(system.recorder.states) == 10)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    decided = True
    again = await system.run(some(10), resume=True)
    assert (again.known, again.asked, again.pairs) == (10, 0, 10)
    assert again.answers.completion_tokens == 10 * 2 * 7


async def test_stopping_does_not_wait_for_what_is_down(system: System) -> None:
    system.generator.failures = [Unavailable("the generator is not there") for _ in range(1000)]
    bulk = system.bulk()
    running = asyncio.create_task(bulk.run(some(100)))
    await system.generator.until(lambda: system.generator.calls > 8)
    assert bulk.stats.waiting and bulk.stats.reason == "the generator is not there"
    bulk.stop()
    async with asyncio.timeout(PATIENCE_S):
        stats = await running
    assert (stats.state, stats.asked, stats.read, stats.failures) == (
        "stopped",
        0,
        0,
        Counter(),
    )


async def test_stopping_when_all_is_asked_finishes_it(system: System) -> None:
    slow = True
    system.recorder.outcome = lambda batch: None if slow else "pair"
    running = system.bulk()
    task = asyncio.create_task(running.run(some(5)))
    await system.recorder.until(lambda: running.stats.undecided == 5)
    running.stop()
    slow = False
    async with asyncio.timeout(PATIENCE_S):
        assert (await task).state == "finished"


async def test_stopping_does_not_wait_for_verification_for_ever(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "DRAIN_S", 0.01)
    system.recorder.outcome = lambda batch: None
    running = system.bulk()
    task = asyncio.create_task(running.run(some(200)))
    await system.recorder.until(lambda: len(system.recorder.states) == 4 * AHEAD)
    running.stop()
    async with asyncio.timeout(PATIENCE_S):
        stats = await task
    assert (stats.state, stats.undecided) == ("stopped", 4 * AHEAD)


async def test_enough_pairs_end_it(system: System) -> None:
    system.recorder.outcome = lambda batch: "pair" if "1" in batch.question else "tie"
    stats = await system.run(some(1000), max_pairs=10)
    assert stats.state == "max_pairs"
    assert 10 <= stats.pairs <= 10 + 4 * AHEAD
    assert stats.undecided == 0 and stats.asked == stats.decided < 1000
    before = len(system.generator.prompts)
    again = await system.run(some(1000), max_pairs=stats.pairs, resume=True)
    assert (again.state, again.pairs) == ("max_pairs", stats.pairs)
    assert len(system.generator.prompts) == before, "known pairs count"


async def test_enough_spent_ends_it(system: System) -> None:
    one = Prices(prompt=0.0, cached=0.0, completion=1e6)  # 14 an answered question, 10 a judged one
    rates = Rates(generator=one, judge=one)
    stats = await system.run(some(1000), max_cost=240.0, rates=rates)
    assert stats.state == "max_cost"
    assert rates.cost(stats.answers, stats.judging) == stats.asked * 24
    assert stats.asked == 10
    again = await system.run(some(1000), max_cost=240.0, rates=rates, resume=True)
    assert (again.state, again.asked) == ("max_cost", 0)


async def test_judging_under_way_counts_as_spent(system: System) -> None:
    """Nothing is asked that only fits as long as nobody has judged what was asked before."""
    one = Prices(prompt=0.0, cached=0.0, completion=1e6)
    rates = Rates(generator=one, judge=one)
    decided: set[str] = set()
    system.recorder.outcome = lambda batch: "pair" if batch.question in decided else None
    states = system.recorder.states
    running = asyncio.create_task(system.run(some(1000), max_cost=240.0, rates=rates))
    await system.recorder.until(lambda: len(states) == 4)
    calls = system.recorder.calls
    await system.recorder.until(lambda: system.recorder.calls > calls + 10)
    assert len(states) == 4, "as many as are asked at once, until it is known what one costs"
    decided |= {question.text for question in some(1)}
    await system.recorder.until(lambda: len(states) == 10)
    calls = system.recorder.calls
    await system.recorder.until(lambda: system.recorder.calls > calls + 10)
    assert len(states) == 10, "the others will cost as much"
    decided |= {question.text for question in some(1000)}
    stats = await running
    assert (stats.state, stats.cost(rates)) == ("max_cost", 240.0)


async def test_what_costs_less_than_expected_makes_room(system: System) -> None:
    one = Prices(prompt=0.0, cached=0.0, completion=1e6)
    free = Prices(prompt=0.0, cached=0.0, completion=0.0)
    system.recorder.outcome = lambda batch: "pair"
    rates = Rates(generator=one, judge=free)
    stats = await system.run(some(1000), max_cost=140.0, rates=rates)
    assert (stats.state, stats.asked, stats.cost(rates)) == ("max_cost", 10, 140.0)


async def test_earlier_questions_under_way_are_followed_and_counted(system: System) -> None:
    """Also those that are in no file any more."""
    one = Prices(prompt=0.0, cached=0.0, completion=1e6)
    rates = Rates(generator=one, judge=one)
    system.recorder.outcome = lambda batch: None
    first = asyncio.create_task(system.run(some(32)))
    await system.recorder.until(lambda: len(system.recorder.states) == 32)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    second = system.bulk(resume=True, rates=rates, max_cost=24.0 * 32)
    running = asyncio.create_task(second.run(some(100, 500)))
    await system.recorder.until(lambda: second.stats.undecided == 32)
    assert second.stats.asked == 0
    system.recorder.outcome = lambda batch: "pair"
    stats = await running
    assert (stats.state, stats.asked, stats.pairs) == ("max_cost", 0, 32)
    assert stats.cost(rates) == 24.0 * 32


async def test_it_gives_up_when_nothing_moves(system: System) -> None:
    system.generator.failures = [Unavailable("the generator is not there") for _ in range(10**6)]
    running = system.bulk(give_up_s=0.05)
    with pytest.raises(Unavailable, match=r"nothing has moved .* the generator is not there"):
        await running.run(some(10))
    assert running.stats.state == "failed"


async def test_it_says_why_no_outcome_comes(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "STALL_S", 0.0)
    system.trouble = "verify: the judge is not there"
    slow = True
    system.recorder.outcome = lambda batch: None if slow else "pair"
    running = system.bulk()
    task = asyncio.create_task(running.run(some(3)))
    await system.recorder.until(lambda: running.stats.stalled != "")
    assert running.stats.stalled == "verify: the judge is not there"
    slow = False
    assert (await task).stalled == ""
