"""A judge report: the judge scores labelled answers, and figures show how well.

``run`` does everything, ``write`` writes the result to a JSON file and a picture.
"""

import asyncio
import contextlib
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from rlvr_ray.core.concurrency import gather
from rlvr_ray.core.errors import (
    InputError,
    JudgeError,
    Overloaded,
    ReplyError,
    TimedOut,
    Unavailable,
)
from rlvr_ray.core.records import Verification
from rlvr_ray.core.retry import Backoff
from rlvr_ray.settings import Settings, VerificationSettings
from rlvr_ray.verification.calibration import decisions
from rlvr_ray.verification.calibration.evaluation import Judged, Result, evaluate
from rlvr_ray.verification.calibration.labelled import Answer, Labelled, Row
from rlvr_ray.verification.verifier import Claim, Panel

#: Name of both files where they go into a folder.
NAME = "judge-report"
#: Seconds for which a server that has answered before may be away.
PATIENCE_S = 60.0
BACKOFF = Backoff(first_s=1.0, longest_s=10.0, low=1.0)
#: Lines that tell the progress of a run where there is no terminal.
NUM_LINES = 20

#: Takes the number of judgements that are made, and of those among them without a score.
OnProgress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """Where a report goes."""

    json: Path
    picture: Path

    @classmethod
    def at(cls, out: Path) -> "Files":
        """Both files in a folder that exists, or else with ``out`` as the start of their names.

        Raises InputError where they cannot be written, before any work is done.
        """
        prefix = out / NAME if out.is_dir() else out
        if prefix.suffix in (".json", ".png"):
            prefix = prefix.with_suffix("")
        files = cls(
            json=prefix.with_name(f"{prefix.name}.json"),
            picture=prefix.with_name(f"{prefix.name}.png"),
        )
        try:
            prefix.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=prefix.parent):
                pass
        except OSError as error:
            raise InputError(f"--out {out}: cannot write there: {error.strerror}") from None
        for file in (files.json, files.picture):
            if file.is_dir():
                raise InputError(f"--out {out}: {file} is a folder; choose another name")
        return files


def run(
    settings: Settings,
    panel_of: Callable[[Settings], AbstractAsyncContextManager[Panel]],
    labelled: Labelled,
    err: Console,
    *,
    repeats: int,
    at_once: int,
) -> Result:
    """Judge all answers and evaluate that; ``err`` shows how far it is.

    Raises Unavailable or Overloaded where a server that judges is away for too long.
    """

    async def work() -> tuple[list[Judged], float]:
        async with contextlib.AsyncExitStack() as stack:
            with err.status("Loading the models …"):
                panel = await stack.enter_async_context(panel_of(settings))
            started = time.monotonic()
            with _progress(err, len(labelled.answers) * repeats) as on_progress:
                judged = await judge(
                    panel,
                    labelled,
                    settings.verification,
                    repeats=repeats,
                    at_once=at_once,
                    on_progress=on_progress,
                )
            return judged, time.monotonic() - started

    judged, wall_seconds = asyncio.run(work())
    return evaluate(labelled, judged, settings, wall_seconds)


async def judge(
    panel: Panel,
    labelled: Labelled,
    settings: VerificationSettings,
    *,
    repeats: int,
    at_once: int,
    on_progress: OnProgress,
) -> list[Judged]:
    """What the panel says of each answer, ``repeats`` times over; in the order of the file.

    Answers of a row go in one call, as those of a batch do; ``at_once`` rows are under way at a
    time. Each repeat has seeds of its own, the same in every run. Raises Unavailable, Overloaded.
    """
    asking = _Asking(panel, settings)
    results: dict[tuple[int, int], Mapping[Answer, Verification | JudgeError]] = {}
    jobs = iter([(row, repeat) for repeat in range(repeats) for row in labelled.rows])
    done = unscored = 0

    async def work() -> None:
        nonlocal done, unscored
        for row, repeat in jobs:
            answers = decisions.by_hash(row)
            found = await asking.verify(_claims(row, answers, repeat))
            results[row.line, repeat] = dict(zip(answers, found, strict=True))
            done += len(found)
            unscored += sum(isinstance(result, JudgeError) for result in found)
            on_progress(done, unscored)

    await gather(*(work() for _ in range(at_once)))
    return [
        Judged(
            line=row.line,
            answer=answer,
            results=tuple(results[row.line, repeat][answer] for repeat in range(repeats)),
        )
        for row in labelled.rows
        for answer in row.answers
    ]


def write(result: Mapping[str, Any], files: Files) -> None:
    """Write both files; each appears whole. Raises InputError where that fails."""
    from rlvr_ray.verification.calibration.picture import draw

    text = json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False)
    try:
        with tempfile.TemporaryDirectory(prefix=f".{NAME}-", dir=files.json.parent) as folder:
            made = Files(json=Path(folder, "report.json"), picture=Path(folder, "report.png"))
            made.json.write_text(f"{text}\n", "utf-8")
            draw(result, made.picture)
            made.json.replace(files.json)
            made.picture.replace(files.picture)
    except OSError as error:
        raise InputError(f"{files.json} cannot be written: {error.strerror}") from None


class _Asking:
    """Asks the panel as the running system does, but does not wait for ever."""

    def __init__(self, panel: Panel, settings: VerificationSettings) -> None:
        self._panel = panel
        self._settings = settings
        self._answered = False

    async def verify(self, claims: Sequence[Claim]) -> Sequence[Verification | JudgeError]:
        """One result for each claim; a judge that is too slow, again and again, gives no score."""
        failures, waited, reason = 0, 0.0, ""

        def again(error: BaseException) -> bool:
            nonlocal failures, reason
            if isinstance(error, TimeoutError | TimedOut):
                failures += 1
                limit = f"the judge did not finish within {self._settings.timeout_s:g} s"
                reason = str(error) or limit
                return failures < self._settings.max_attempts
            # One that never answered is more likely set up wrongly than away.
            patient = self._answered and waited < PATIENCE_S
            return patient and isinstance(error, Unavailable | Overloaded | ReplyError)

        def note(_: BaseException, pause: float) -> None:
            nonlocal waited
            waited += pause

        try:
            async for attempt in BACKOFF.attempts(again, note):
                with attempt:
                    async with asyncio.timeout(self._settings.timeout_s):
                        results = await self._panel.verify(claims)
        except (TimeoutError, TimedOut):
            return [JudgeError(reason) for _ in claims]
        self._answered = True
        return results


def _claims(row: Row, answers: Sequence[Answer], repeat: int) -> list[Claim]:
    return [
        Claim(
            answer_event_id=candidate.event_id,
            question=row.question,
            answer=candidate.answer,
            contexts=row.contexts,
            references=row.references,
        )
        for candidate in decisions.batch_of(row, answers, repeat).candidates
    ]


@contextlib.contextmanager
def _progress(err: Console, total: int) -> Iterator[OnProgress]:
    """A bar on a terminal, a line now and then elsewhere."""

    def text(unscored: int) -> str:
        return f", {unscored:,} without a score" if unscored else ""

    if not err.is_terminal:
        lines = 0

        def show(done: int, unscored: int) -> None:
            nonlocal lines
            if done * NUM_LINES // total > lines:
                lines = done * NUM_LINES // total
                err.print(f"{done:,} of {total:,} answers judged{text(unscored)}")

        yield show
        return
    columns = (
        TextColumn("Judging"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda done, unscored: bar.update(task, completed=done, description=text(unscored))
