"""A bulk run in this process: ``rlvr generate --here``."""

import asyncio
import json
import signal
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from rlvr_ray.bulk import dry_run, statistics, submission
from rlvr_ray.bulk import picture as run_picture
from rlvr_ray.bulk import report as run_report
from rlvr_ray.bulk.progress import Bar, ProgressLines
from rlvr_ray.bulk.question_files import read_questions, read_rows
from rlvr_ray.bulk.request import AT_ONCE, Request
from rlvr_ray.bulk.run import Bulk, Plan
from rlvr_ray.core.errors import ConfigError, InputError, RlvrError
from rlvr_ray.core.questions import Columns, Question, Refused
from rlvr_ray.generation import engines, selection
from rlvr_ray.observability import logs
from rlvr_ray.pipeline.ask import Pipeline
from rlvr_ray.settings import Settings

#: Seconds between two updates of the progress, and between two reports of a run under way.
TICK_S, SAVE_S = 0.5, 60.0
_PRICES = ("price_prompt", "price_cached", "price_completion")
#: How to continue a run that ended before all was asked.
_ADVICE = {
    "stopped": "give the same command with --resume",
    "failed": "give the same command with --resume",
    "max_pairs": "give the same command with --resume and a greater --max-pairs",
    "max_cost": "give the same command with --resume and a greater --max-cost",
}


def here(request: Request) -> int:
    """Ask all, or say what it would take; returns the exit code."""
    submission.use_token()
    return asyncio.run(_dry_run(request) if request.dry_run else _run(request))


async def _run(request: Request) -> int:
    """To the end, or until a signal: 0 done, 1 failed, 130 stopped before all was asked."""
    from rlvr_ray.serve import app

    own = request.settings
    settings, parts = await asyncio.to_thread(app.attach, own)
    settings = priced(settings, own)
    logs.configure(own.log, least="WARNING")  # the progress shows each question
    plan = plan_of(request, settings)
    path = run_report.place(request.report, request.run, settings.data_dir)

    async def last_error() -> str | None:
        error: str | None = (await parts.recorder.stats())["last_error"]
        return error

    pipeline = Pipeline(
        parts.retriever,
        parts.generator,
        parts.recorder,
        plan.max_tokens,
        parts.tracer,
        parts.metrics,
    )
    bulk = Bulk(pipeline, parts.recorder, plan, last_error, _say)
    started, error = datetime.now(UTC), None

    def report() -> run_report.Report:
        return run_report.build(bulk.stats, plan, settings, started, error)

    console = Console(stderr=True, highlight=False)
    _stop_on_signals(bulk)
    with Bar(console) as bar:
        lines = ProgressLines(console, bar)
        beside = [
            asyncio.create_task(_count(request, lines)),
            asyncio.create_task(_tick(bulk, lines, lambda: run_report.write(report(), path))),
        ]
        try:
            await bulk.run(_questions(request))
        except RlvrError as failure:
            if not bulk.stats.read:  # it has not begun
                raise
            error = str(failure)
        finally:
            for task in beside:
                task.cancel()
            await parts.close()
    found = report()
    for line in [json.dumps(found)] if request.json else run_report.text(found):
        print(line)
    _write(found, path)
    if advice := _ADVICE.get(bulk.stats.state):
        _say(f"to continue, {advice}")
    return {"stopped": 130, "failed": 1}.get(bulk.stats.state, 0)


def _write(report: dict[str, Any], path: Path) -> None:
    """The report's files. The run is done: a failure to write them is only printed."""
    picture = path.with_suffix(".png")
    try:
        run_report.write(report, path)
        run_picture.draw(report, picture)
        _say(f"{path}\n{picture}")
    except ConfigError as error:
        _say(f"rlvr: {error}")


async def _dry_run(request: Request) -> int:
    from rlvr_ray.serve import app

    own = request.settings
    parts, unknown = None, ""
    try:
        settings, parts = await asyncio.to_thread(lambda: app.attach(own, deploy=False))
    except ConfigError as error:
        settings, unknown = selection.choose(own).settings, str(error)
    settings = priced(settings, own)
    plan = plan_of(request, settings)
    found = await dry_run.count(_questions(request), plan, parts.recorder if parts else None)
    each = await dry_run.estimate(
        found, plan, settings, parts.retriever if parts else None, settings.data_dir / "runs"
    )
    plain = dry_run.plain(found, each, plan)
    lines = [json.dumps(plain)] if request.json else dry_run.text(plain, unknown)
    for line in lines:
        print(line)
    return 0


def plan_of(request: Request, settings: Settings) -> Plan:
    """Raises InputError where a limit of cost has no prices to go by."""
    try:
        rates = statistics.rates(settings)
    except InputError:
        if request.max_cost is not None:
            raise
        rates = None
    has_slots = engines.engine_type(settings.generator).has_slots
    at_once = settings.generator.slots if has_slots else AT_ONCE
    return Plan(
        run=request.run,
        num_candidates=request.answers,
        temperatures=settings.generator.temperatures,
        top_k=request.top_k or settings.retrieval.top_k,
        max_tokens=request.max_tokens or settings.generator.max_tokens,
        at_once=request.at_once or at_once,
        resume=request.resume,
        limit=request.limit,
        shuffle_seed=request.shuffle_seed,
        max_pairs=request.max_pairs,
        max_cost=request.max_cost,
        rates=rates,
        give_up_s=request.give_up_after and 60 * request.give_up_after,
    )


def priced(running: Settings, own: Settings) -> Settings:
    """The settings of what runs, with this process's prices where it has some."""

    def prices(section: Any) -> dict[str, Any]:
        given = {name: getattr(section, name) for name in _PRICES}
        return {name: price for name, price in given.items() if price is not None}

    return running.model_copy(
        update={
            "generator": running.generator.model_copy(update=prices(own.generator)),
            "judge": running.judge.model_copy(update=prices(own.judge)),
        }
    )


def _questions(request: Request) -> Iterator[Question | Refused]:
    return read_questions(request.files, _columns(request))


def _columns(request: Request) -> Columns:
    return Columns(
        question=request.question_column or "question",
        question_id=request.id_column,
        reference=request.reference_column,
    )


async def _count(request: Request, lines: ProgressLines) -> None:
    """Say how many questions there are, if that can be found out without taking them away."""
    total = await asyncio.to_thread(total_of, request)
    if total is not None:
        lines.total = total if request.limit is None else min(total, request.limit)


def total_of(request: Request) -> int | None:
    """Questions in the files, refused ones and repeats included; None where one is a pipe."""
    local = [Path(file) for file in request.files if "://" not in file]
    if any(path.exists() and not path.is_file() and not path.is_dir() for path in local):
        return None  # a pipe gives what it has only once
    return sum(1 for _ in read_rows(request.files, _columns(request), None))


async def _tick(bulk: Bulk, lines: ProgressLines, save: Callable[[], None]) -> None:
    """Show how far the run is; now and then write its report, should this process be killed."""
    loop = asyncio.get_running_loop()
    next_save = loop.time() + SAVE_S
    while True:
        await asyncio.sleep(TICK_S)
        lines.show(bulk.stats)
        if loop.time() >= next_save:
            next_save = loop.time() + SAVE_S
            try:
                save()
            except ConfigError as error:
                _say(f"rlvr: {error}")


def _stop_on_signals(bulk: Bulk) -> None:
    loop = asyncio.get_running_loop()

    def stop(asked: signal.Signals) -> None:
        # A job is stopped by SIGTERM; the command that follows it explains a second Ctrl-C.
        again = "; a second Ctrl-C ends at once" if asked == signal.SIGINT else ""
        _say(f"finishing what is in flight{again}")
        bulk.stop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
