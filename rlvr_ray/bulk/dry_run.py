"""An estimate of a run: questions, tokens, time and cost, without asking anything.

Measured figures are preferred to assumed ones; each figure says which it is.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from rlvr_ray.bulk import capacity
from rlvr_ray.bulk import report as run_report
from rlvr_ray.bulk.capacity import Cluster, Workload
from rlvr_ray.bulk.run import CHUNK, Plan, selected
from rlvr_ray.bulk.statistics import EXAMPLES
from rlvr_ray.core.errors import NoDocuments
from rlvr_ray.core.questions import Question, Refused
from rlvr_ray.core.records import NO_TOKENS, Usage
from rlvr_ray.documents.retriever import Query, Retriever
from rlvr_ray.generation import engines, selection
from rlvr_ray.generation.prompts import rag_messages
from rlvr_ray.pipeline.recorder import Recorder
from rlvr_ray.settings import EngineSettings, Settings

#: Questions whose prompts are put together, to see how long they are.
SAMPLE = 16
#: Decided questions from which on their figures count as measured.
MEASURED = 10
#: Characters of a token, where nothing was measured: English with tokenizers of 2024 and later.
CHARS_PER_TOKEN = 4.0


@dataclass(slots=True, kw_only=True)
class Found:
    """The questions of the files, counted."""

    questions: int = 0
    known: int = 0  #: recorded already; of them
    undecided: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    sample: list[Question] = field(default_factory=list)  #: of those that would be asked
    answers: Usage = NO_TOKENS  #: of the known ones that are decided
    judging: Usage = NO_TOKENS

    @property
    def to_ask(self) -> int:
        """Questions that would be asked, were there no limit of pairs or cost."""
        return self.questions - self.known


async def count(
    questions: Iterable[Question | Refused], plan: Plan, recorder: Recorder | None
) -> Found:
    """Read all questions; ``recorder`` knows those that are recorded, None: nobody does."""
    found = Found()
    chance = random.Random(0)  # noqa: S311 the same sample each time
    left = selected(questions, plan)
    while chunk := await asyncio.to_thread(lambda: list(islice(left, CHUNK))):
        asked = {q.batch_id(plan.run): q for q in chunk if isinstance(q, Question)}
        endings = await recorder.outcomes([*asked]) if recorder else {}
        for refused in (each for each in chunk if isinstance(each, Refused)):
            found.refused[refused.kind] += 1
            examples = found.examples.setdefault(refused.kind, [])
            if len(examples) < EXAMPLES:
                examples.append(str(refused))
        found.questions += len(asked)
        found.known += len(endings)
        for ending in endings.values():
            if ending is None:
                found.undecided += 1
            else:
                found.answers += ending.answers
                found.judging += ending.judging
        for batch_id, question in asked.items():
            if batch_id in endings:
                continue
            if len(found.sample) < SAMPLE:
                found.sample.append(question)
            elif (place := chance.randrange(found.to_ask)) < SAMPLE:
                found.sample[place] = question
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Of one question; ``basis`` says where the tokens come from, ``time_basis`` the rate."""

    answers: Usage
    judging: Usage
    basis: str
    rate: float | None  #: questions a second
    time_basis: str


async def estimate(
    found: Found, plan: Plan, settings: Settings, retriever: Retriever | None, reports: Path
) -> Estimate:
    """What a question takes. Raises NoDocuments where there is nothing to search."""
    wanted = run_report.settings_of(settings, plan)
    earlier = await asyncio.to_thread(run_report.earlier, reports, wanted, MEASURED)
    chars = await _prompt_chars(found.sample, plan, retriever) if retriever else None
    load = _workload(settings, plan, found.sample, chars)
    decided = found.known - found.undecided
    if decided >= MEASURED:
        answers, judging = found.answers.scaled(1 / decided), found.judging.scaled(1 / decided)
        basis = f"measured on the {decided:,} questions of this run that are decided"
    elif earlier:
        total = sum(earlier["outcomes"].values())
        tokens = earlier["tokens"]
        answers = _usage(tokens["answers"]).scaled(1 / total)
        judging = _usage(tokens["judging"]).scaled(1 / total)
        basis = f"measured in the run {earlier['run']} on {total:,} questions"
    else:
        answers, judging = _assumed(load, settings)
        basis = (
            f"assumed: {CHARS_PER_TOKEN:g} characters a token, {load.answer_tokens:g} tokens an "
            f"answer, {load.statements:g} statements in each; prompts as long as "
        ) + (
            f"those of {len(found.sample)} of the questions with their passages"
            if chars
            else f"{plan.top_k} whole passages make them"
        )
    rate, time_basis = _rate(settings, load, earlier)
    return Estimate(answers=answers, judging=judging, basis=basis, rate=rate, time_basis=time_basis)


async def _prompt_chars(sample: list[Question], plan: Plan, retriever: Retriever) -> float | None:
    if not sample:
        return None
    queries = [Query(text=question.text, top_k=plan.top_k) for question in sample]
    found = await retriever.search(queries)
    if not all(found):
        raise NoDocuments("no documents are ingested yet; add some with: rlvr ingest PATH")
    messages = [
        rag_messages(question.text, contexts)
        for question, contexts in zip(sample, found, strict=True)
    ]
    return sum(len(each.content) for chat in messages for each in chat) / len(sample)


def _workload(
    settings: Settings, plan: Plan, sample: list[Question], chars: float | None
) -> Workload:
    question = sum(len(each.text) for each in sample) / max(1, len(sample)) / CHARS_PER_TOKEN
    passage = settings.retrieval.chunk_chars / CHARS_PER_TOKEN
    template = Workload().template_tokens
    if chars is not None:
        passage = max(0.0, chars / CHARS_PER_TOKEN - template - question) / plan.top_k
    names = {each.name for each in settings.verification.chosen}
    dearest: tuple[capacity.Verifier, ...] = ("ragas", "logprob", "grounded")
    verifier = next((name for name in dearest if name in names), dearest[-1])
    return Workload(
        candidates=plan.num_candidates,
        top_k=plan.top_k,
        passage_tokens=passage,
        question_tokens=question,
        answer_tokens=min(Workload().answer_tokens, plan.max_tokens),
        verifier=verifier,
    )


def _assumed(load: Workload, settings: Settings) -> tuple[Usage, Usage]:
    """Tokens of a question's answers and of judging them, by the calculator of ``rlvr plan``."""
    judge = selection.judging(settings)
    return (
        _usage_of([capacity.generating(load)], settings.generator),
        _usage_of(capacity.judging(load), judge),
    )


def _usage_of(prompts: Sequence[capacity.Asked], engine: EngineSettings) -> Usage:
    """At most this: a server's cache is not counted on."""
    has_cache = not engines.engine_type(engine).is_remote
    return Usage(
        prompt_tokens=round(sum(prompt.prefill + prompt.cached for prompt in prompts)),
        cached_tokens=round(sum(prompt.cached for prompt in prompts)) if has_cache else 0,
        completion_tokens=round(sum(prompt.decode for prompt in prompts)),
    )


def _rate(
    settings: Settings, load: Workload, earlier: run_report.Report | None
) -> tuple[float | None, str]:
    if earlier:
        decided = sum(earlier["throughput"]["decided"])
        return decided / earlier["seconds"], f"measured in the run {earlier['run']}"
    if engines.engine_type(settings.generator).on_gpus and settings.generator.gpus >= 1:
        gpus = int(settings.generator.gpus)
        point = capacity.chosen(load, Cluster(gpus=gpus))
        return point.rate, (
            f"assumed, not measured, for {gpus} GPU{'s' if gpus > 1 else ''} that also judge "
            "(docs/capacity.md)"
        )
    return None, "nothing was measured yet: ask some of them first, with --limit 50"


def _usage(tokens: dict[str, int]) -> Usage:
    return Usage(
        prompt_tokens=tokens["prompt"],
        completion_tokens=tokens["completion"],
        cached_tokens=tokens["cached"],
    )


def plain(found: Found, each: Estimate, plan: Plan) -> dict[str, Any]:
    """For JSON. Tokens and cost are those of all questions that would be asked."""
    answers, judging = each.answers.scaled(found.to_ask), each.judging.scaled(found.to_ask)
    return {
        "run": plan.run,
        "questions": found.questions,
        "known": found.known,
        "undecided": found.undecided,
        "to_ask": found.to_ask,
        "refused": dict(found.refused),
        "examples": found.examples,
        "tokens": {"answers": run_report.usage(answers), "judging": run_report.usage(judging)},
        "tokens_basis": each.basis,
        "seconds": None if each.rate is None else round(found.to_ask / each.rate, 1),
        "time_basis": each.time_basis,
        "cost": None if plan.rates is None else round(plan.rates.cost(answers, judging), 6),
    }


def text(report: dict[str, Any], unknown: str) -> Iterator[str]:
    """The same for people; ``unknown``: why nobody knows which questions are recorded."""
    refused = sum(report["refused"].values())
    yield f"{report['questions']:,} questions, {refused:,} left out; nothing is asked now"
    for kind, number in report["refused"].items():
        yield f"left out, {kind}: {number:,}, such as {report['examples'][kind][0]}"
    if unknown:
        yield f"it is not known which of them are recorded: {unknown}"
    else:
        yield f"{report['known']:,} are recorded in this run, {report['to_ask']:,} would be asked"
    for name, usage in report["tokens"].items():
        yield (
            f"tokens, {name}: {usage['prompt']:,} prompt ({usage['cached']:,} cached), "
            f"{usage['completion']:,} written"
        )
    yield f"  {report['tokens_basis']}"
    seconds = report["seconds"]
    yield f"time: {'unknown' if seconds is None else run_report.duration(seconds)}"
    yield f"  {report['time_basis']}"
    if report["cost"] is not None:
        yield f"cost: {report['cost']:,.6g}"
