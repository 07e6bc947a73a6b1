"""``rlvr questions``: where documents and model are found, how the run is watched and ended."""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from rich.console import Console

from rlvr_ray.bulk import submission
from rlvr_ray.bulk.question_making.files import LEFT_OUT, QuestionFiles
from rlvr_ray.bulk.question_making.maker import Plan, QuestionMaker, Tally
from rlvr_ray.client import Client, servers
from rlvr_ray.core.errors import ConfigError
from rlvr_ray.documents.retriever import Retriever
from rlvr_ray.generation import engines, selection
from rlvr_ray.generation.generator import Generator
from rlvr_ray.pipeline import ingestion
from rlvr_ray.settings import Settings

#: Seconds between two lines of progress, where there is no terminal.
LINE_S = 10.0


def run(settings: Settings, path: Path, plan: Plan, err: Console, *, resume: bool) -> Tally:
    """Make questions until all is done or somebody stops it: Ctrl-C once lets what is being
    written finish, twice ends at once; either way ``resume`` goes on later.

    Raises InputError for a file that cannot be used, ConfigError, NoDocuments.
    """
    with QuestionFiles(path, resume=resume) as files:
        return asyncio.run(_run(settings, files, plan, err))


async def _run(settings: Settings, files: QuestionFiles, plan: Plan, err: Console) -> Tally:
    with err.status("Opening the documents and the model …") as status:
        async with _parts(settings, err) as (retriever, generator):
            progress = Progress(err, status.update)
            maker = QuestionMaker(retriever, generator, files, plan, progress.show)
            loop = asyncio.get_running_loop()

            def stop() -> None:
                err.print("Finishing what is being written; again to end at once.")
                maker.stop()
                for number in (signal.SIGINT, signal.SIGTERM):
                    loop.remove_signal_handler(number)

            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, stop)
            return await maker.run()


@contextlib.asynccontextmanager
async def _parts(settings: Settings, err: Console) -> AsyncIterator[tuple[Retriever, Generator]]:
    """Documents and model of the application that runs, here or on the cluster of the settings;
    where none does, of this process, which then loads the model itself."""
    if settings.ray_address is not None or await asyncio.to_thread(_is_served, settings):
        submission.use_token()
        from rlvr_ray.serve import app

        err.print("Using the documents and the model of the application that is running.")
        running, parts = await asyncio.to_thread(app.attach, settings)
        try:
            _check_same(settings, running)
            yield parts.retriever, parts.generator
        finally:
            await parts.close()
        return
    settings = selection.choose(settings).settings
    with ingestion.local_retriever(settings) as retriever:
        engine = engines.open_limited(settings.generator)
        try:
            yield retriever, engine
        finally:
            await engine.close()


def _is_served(settings: Settings) -> bool:
    if servers.find(settings) is not None:
        return True
    key = settings.api.key
    with Client(settings.api.url, key.get_secret_value() if key else None) as client:
        return client.is_up()


def _check_same(settings: Settings, running: Settings) -> None:
    """Raise ConfigError where Ray led to another application than the one that answered."""
    known = settings.ray_address is not None or servers.find(settings) is not None
    if not known and running.api.port != settings.api.port:
        raise ConfigError(
            f"several Ray clusters run here, and Ray led to the one of port {running.api.port}, "
            f"not {settings.api.port}; set RLVR_RAY_ADDRESS to the right one's address"
        )


class Progress:
    """On a terminal a line that changes; elsewhere a line now and then."""

    def __init__(self, err: Console, update: Callable[[str], None]) -> None:
        self._err = err
        self._update = update
        self._next = time.monotonic() + LINE_S

    def show(self, tally: Tally) -> None:
        """Tell where the run is."""
        line = (
            f"{tally.made:,} questions, {tally.done:,} of {tally.passages:,} passages, "
            f"{tally.left_out.total():,} left out"
        )
        if tally.waiting is not None:
            line += f"; waiting: {tally.waiting}"
        if self._err.is_terminal:
            self._update(line)
        elif (now := time.monotonic()) >= self._next:
            self._next = now + LINE_S
            self._err.print(line, markup=False, soft_wrap=True)


def text(tally: Tally, path: Path) -> str:
    """What was made, what was left out and why, and what comes next."""
    lines = [
        f"{tally.made:,} questions in {path}, from {tally.done:,} of {tally.passages:,} passages "
        f"of {tally.documents:,} documents; {tally.prompt_tokens:,} + "
        f"{tally.completion_tokens:,} tokens in {tally.seconds:,.0f} s"
    ]
    if tally.left_out:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in tally.left_out.most_common())
        lines.append(f"Left out, see {path}{LEFT_OUT}: {reasons}")
    if tally.stopped:
        lines.append("Stopped; the same command with --resume goes on.")
    elif not tally.made:
        lines.append("No question could be kept: a larger model, or more text, is needed.")
    elif tally.limit is not None and tally.made < tally.limit:
        lines.append(
            f"{tally.limit:,} were wanted (--limit), and every passage has been used: ingest more "
            "documents, ask for several of each passage (--per-chunk N, in a new file), or use a "
            "larger model."
        )
        lines.append(f"Next: rlvr generate {path} --run NAME")
    else:
        lines.append(f"Next: rlvr generate {path} --run NAME")
    return "\n".join(lines)
