"""``rlvr questions``: questions about the ingested documents, as a file for ``rlvr generate``."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlvr_ray.bulk import submission
from rlvr_ray.bulk.question_making import MakingStatistics, Plan
from rlvr_ray.bulk.question_making.files import LEFT_OUT, QuestionFiles
from rlvr_ray.cli.commands import app
from rlvr_ray.cli.terminal import client_of, err, print_json, progress, settings_of_folder, write
from rlvr_ray.client import servers
from rlvr_ray.core.errors import ConfigError
from rlvr_ray.settings import Settings
from rlvr_ray.settings.options import DataDir, Json, Port, Set

if TYPE_CHECKING:
    from rlvr_ray.documents.retriever import Retriever
    from rlvr_ray.generation.generator import Generator


@app.command()
def questions(
    path: Annotated[
        Path, typer.Option("--out", help="JSONL; what is left out goes into a file beside it.")
    ] = Path("questions.jsonl"),
    *,
    plan: Plan,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the file.")] = False,
    port: Port = None,
    data_dir: DataDir = None,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Make questions from the ingested documents, as a file for `rlvr generate`."""
    settings = settings_of_folder(data_dir, set_, port)
    with QuestionFiles(path, resume=resume) as files:
        stats = asyncio.run(_run(settings, files, plan))
    if as_json:
        print_json(stats.plain())
    else:
        write(text(stats, path))
    if stats.stopped:
        raise typer.Exit(130)
    if not stats.made:
        raise typer.Exit(1)


async def _run(settings: Settings, files: QuestionFiles, plan: Plan) -> MakingStatistics:
    """Make questions until all is done or until Ctrl-C: once lets what is being written finish,
    twice ends at once; either way ``--resume`` continues later."""
    from rlvr_ray.bulk.question_making.maker import QuestionMaker

    with progress("Opening the documents and the model …") as shown:
        async with _services(settings) as (retriever, generator):
            maker = QuestionMaker(
                retriever, generator, files, plan, lambda stats: shown.show(_line(stats))
            )
            loop = asyncio.get_running_loop()

            def stop() -> None:
                err.print("Finishing what is being written; Ctrl-C again ends at once.")
                maker.stop()
                for number in (signal.SIGINT, signal.SIGTERM):
                    loop.remove_signal_handler(number)

            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, stop)
            return await maker.run()


@contextlib.asynccontextmanager
async def _services(settings: Settings) -> AsyncIterator[tuple["Retriever", "Generator"]]:
    """The retriever and generator of the application that runs, here or on the settings' cluster;
    without one this process opens the store and loads the model itself."""
    if settings.ray_address is not None or await asyncio.to_thread(_is_served, settings):
        submission.use_token()
        from rlvr_ray.serve import app as application

        err.print("Using the documents and the model of the application that is running.")
        running, parts = await asyncio.to_thread(application.attach, settings)
        try:
            _check_same(settings, running)
            yield parts.retriever, parts.generator
        finally:
            await parts.close()
        return
    from rlvr_ray.generation import engines, selection
    from rlvr_ray.pipeline import ingestion

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
    with client_of(settings.api.url, settings) as client:
        return client.is_up()


def _check_same(settings: Settings, running: Settings) -> None:
    """Raise ConfigError where Ray led to another application than the one that answered."""
    known = settings.ray_address is not None or servers.find(settings) is not None
    if not known and running.api.port != settings.api.port:
        raise ConfigError(
            f"several Ray clusters run here, and Ray led to the one of port {running.api.port}, "
            f"not {settings.api.port}; set RLVR_RAY_ADDRESS to the right one's address"
        )


def _line(stats: MakingStatistics) -> str:
    line = (
        f"{stats.made:,} questions, {stats.done:,} of {stats.passages:,} passages, "
        f"{stats.left_out.total():,} left out"
    )
    return line if stats.waiting is None else f"{line}; waiting: {stats.waiting}"


def text(stats: MakingStatistics, path: Path) -> str:
    """What was made, what was left out and why, and what comes next."""
    lines = [
        f"{stats.made:,} questions in {path}, from {stats.done:,} of {stats.passages:,} passages "
        f"of {stats.documents:,} documents; {stats.prompt_tokens:,} + "
        f"{stats.completion_tokens:,} tokens in {stats.seconds:,.0f} s"
    ]
    if stats.left_out:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in stats.left_out.most_common())
        lines.append(f"Left out, see {path}{LEFT_OUT}: {reasons}")
    following = f"Next: rlvr generate {path} --run NAME"
    if stats.stopped:
        lines.append("Stopped; the same command with --resume continues.")
    elif not stats.made:
        lines.append("No question could be kept: a larger model, or more text, is needed.")
    elif stats.limit is not None and stats.made < stats.limit:
        lines += [
            f"{stats.limit:,} were wanted (--limit), and every passage has been used: ingest more "
            "documents, ask for several of each passage (--per-chunk N, in a new file), or use a "
            "larger model.",
            following,
        ]
    else:
        lines.append(following)
    return "\n".join(lines)
