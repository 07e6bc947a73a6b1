"""What a run would take, from what is known: nothing is asked for it."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from rlvr_ray.bulk import dry_run, statistics
from rlvr_ray.bulk import report as run_report
from rlvr_ray.bulk.run import Bulk, Plan
from rlvr_ray.bulk.statistics import RunStatistics
from rlvr_ray.core.errors import NoDocuments
from rlvr_ray.core.questions import Question, Refused
from rlvr_ray.core.records import Usage
from rlvr_ray.dataset.state import OutcomeSummary
from rlvr_ray.generation import selection
from rlvr_ray.pipeline.ask import Pipeline
from rlvr_ray.settings import Settings
from tests.builders import context
from tests.fakes import FakeGenerator, FakeRecorder, FakeRetriever

pytestmark = pytest.mark.integration


PRICED = {"price_prompt": 1.0, "price_completion": 4.0}
REFUSED = Refused(source="q.txt", line=99, kind="malformed", message="no JSON")


def some(count: int) -> list[Question]:
    return [Question(text=f"What is {n:03}?", source="q.txt", line=n + 1) for n in range(count)]


@pytest.fixture
def settings() -> Settings:
    own: Any = {"generator": PRICED, "verification": {"verifiers": ["logprob"]}}
    return selection.choose(Settings(**own), 0).settings


@pytest.fixture
def plan(settings: Settings) -> Plan:
    return Plan(
        run="first",
        num_candidates=3,
        temperatures=(0.3,),
        top_k=2,
        max_tokens=40,
        at_once=4,
        rates=statistics.rates(settings),
    )


async def ask(plan: Plan, recorder: FakeRecorder, count: int) -> None:
    """Have the first questions recorded."""
    pipeline = Pipeline(FakeRetriever(), FakeGenerator(), recorder, 9)
    await Bulk(pipeline, recorder, plan).run(some(count))


async def test_questions_are_counted_and_known_ones_apart(plan: Plan) -> None:
    recorder = FakeRecorder()
    await ask(plan, recorder, 30)
    recorder.outcome = lambda batch: None if "001" in batch.question else "pair"
    found = await dry_run.count([REFUSED, *some(300)], plan, recorder)
    assert (found.questions, found.known, found.undecided, found.to_ask) == (300, 30, 1, 270)
    assert found.refused == {"malformed": 1}
    assert found.examples == {"malformed": ["q.txt:99: no JSON"]}
    assert found.answers.completion_tokens == 29 * 3 * 7
    assert len(found.sample) == dry_run.SAMPLE == len({q.text for q in found.sample})
    assert all(question.text >= "What is 030?" for question in found.sample)
    assert (await dry_run.count(some(300), replace(plan, limit=40), recorder)).to_ask == 10
    nobody = await dry_run.count(some(300), plan, None)
    assert (nobody.known, nobody.to_ask) == (0, 300)


async def test_known_questions_are_the_best_measure(
    plan: Plan, settings: Settings, tmp_path: Path
) -> None:
    recorder = FakeRecorder()
    await ask(plan, recorder, 30)
    found = await dry_run.count(some(100), plan, recorder)
    told = await dry_run.estimate(found, plan, settings, FakeRetriever(), tmp_path)
    assert told.answers == Usage(prompt_tokens=150, completion_tokens=21)
    assert told.judging == Usage(prompt_tokens=100, completion_tokens=10)
    assert told.basis == "measured on the 30 questions of this run that are decided"
    plain = dry_run.plain(found, told, plan)
    assert json.loads(json.dumps(plain)) == plain
    assert plain["tokens"]["answers"] == {"prompt": 70 * 150, "cached": 0, "completion": 70 * 21}
    assert plain["cost"] == pytest.approx(70 * (250 * 1 + 31 * 4) / 1e6)
    assert plain["seconds"] is None and told.rate is None
    said = "\n".join(dry_run.text(plain, ""))
    assert "30 are recorded in this run, 70 would be asked" in said
    assert "time: unknown" in said and "--limit 50" in said


async def test_else_a_report_of_the_same_settings(
    plan: Plan, settings: Settings, tmp_path: Path
) -> None:
    earlier = RunStatistics(asked=20, seconds=10.0, state="finished")
    earlier.answers = Usage(prompt_tokens=2000, completion_tokens=400, cached_tokens=1000)
    for number in range(20):
        one = Usage(prompt_tokens=10, completion_tokens=5)
        earlier.ended(OutcomeSummary(reason="tie", judging=one), float(number))
    report = run_report.build(earlier, replace(plan, run="last"), settings, datetime.now(UTC))
    run_report.write(report, tmp_path / "last.json")
    found = await dry_run.count(some(100), plan, FakeRecorder())
    told = await dry_run.estimate(found, plan, settings, FakeRetriever(), tmp_path)
    assert told.answers == Usage(prompt_tokens=100, completion_tokens=20, cached_tokens=50)
    assert told.judging == Usage(prompt_tokens=10, completion_tokens=5)
    assert told.basis == "measured in the run last on 20 questions"
    assert (told.rate, told.time_basis) == (2.0, "measured in the run last")
    assert dry_run.plain(found, told, plan)["seconds"] == 50.0


async def test_else_prompts_are_put_together_and_the_rest_is_assumed(
    plan: Plan, settings: Settings, tmp_path: Path
) -> None:
    generator, retriever = FakeGenerator(), FakeRetriever([context("word " * 200, 0.9)] * 2)
    found = await dry_run.count(some(50), plan, FakeRecorder())
    told = await dry_run.estimate(found, plan, settings, retriever, tmp_path)
    assert len(retriever.queries) == dry_run.SAMPLE and not generator.prompts
    # Two passages of 1,000 characters and the template, once for each of three candidates.
    assert 3 * 500 < told.answers.prompt_tokens < 3 * 800
    assert told.answers.cached_tokens > told.answers.prompt_tokens / 2, "llama.cpp's prefix cache"
    assert told.answers.completion_tokens == 3 * 40
    assert told.judging.completion_tokens > 0
    assert told.basis.startswith("assumed: 4 characters a token, 40 tokens an answer")
    nothing = await dry_run.estimate(found, plan, settings, None, tmp_path)
    assert "2 whole passages make them" in nothing.basis
    said = "\n".join(dry_run.text(dry_run.plain(found, nothing, plan), "no Ray cluster"))
    assert "it is not known which of them are recorded: no Ray cluster" in said
    with pytest.raises(NoDocuments, match="rlvr ingest"):
        await dry_run.estimate(found, plan, settings, FakeRetriever([]), tmp_path)


@pytest.mark.parametrize(
    ("verifiers", "judged"),
    [
        (["ragas"], True),
        (["logprob"], True),
        (["exact"], False),
        (["exact", "grounded"], False),
        ("auto", False),
    ],
)
async def test_a_judge_is_paid_where_one_is_asked(
    plan: Plan, tmp_path: Path, verifiers: Any, judged: bool
) -> None:
    settings = selection.choose(Settings(verification={"verifiers": verifiers}), 0).settings  # type: ignore[arg-type]
    found = await dry_run.count(some(5), plan, None)
    told = await dry_run.estimate(found, plan, settings, None, tmp_path)
    assert (told.judging.prompt_tokens > 0) is judged


async def test_a_server_s_cache_is_not_counted_on_and_gpus_have_an_assumed_rate(
    plan: Plan, tmp_path: Path
) -> None:
    server: Any = {"base_url": "http://localhost/v1", "model": "m"}
    found = await dry_run.count(some(5), plan, None)
    remote = selection.choose(Settings(generator=server), 0).settings
    told = await dry_run.estimate(found, plan, remote, None, tmp_path)
    assert told.answers.cached_tokens == told.judging.cached_tokens == 0
    cards: Any = {"engine": "vllm", "gpus": 2}
    local = selection.choose(Settings(generator=cards)).settings
    told = await dry_run.estimate(found, plan, local, None, tmp_path)
    assert told.rate is not None and told.rate > 0
    assert told.time_basis.startswith("assumed, not measured, for 2 GPUs")
