"""The command line.

Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 3 nobody answers, 130 interrupted.
"""

import asyncio
import contextlib
import functools
import inspect
import json
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from rlvr_ray import __version__
from rlvr_ray.bulk.question_making.writing import MAX_PER_CHUNK
from rlvr_ray.cli import ask as client_commands
from rlvr_ray.cli import documents as documents_command
from rlvr_ray.cli import generate, trace
from rlvr_ray.cli import output as views
from rlvr_ray.cli import plan as planning
from rlvr_ray.cli.terminal import App, DataDir, Json, Port, Set, err, out, settings_of
from rlvr_ray.client import servers
from rlvr_ray.client.servers import Server
from rlvr_ray.core.errors import ConfigError, InputError, RlvrError, Unavailable
from rlvr_ray.settings import Settings
from rlvr_ray.settings import config as settings_from
from rlvr_ray.training.export.examples import Pairs, PromptStyle, SplitBy
from rlvr_ray.training.export.formats import Format

app = App(
    help="Questions over your documents become verified DPO preference pairs, on Ray.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
events = App(help="The events on the broker.", no_args_is_help=True)
app.add_typer(events, name="events")

Config = Annotated[
    Path | None, typer.Option(metavar="FILE", help="YAML with settings, in place of RLVR_CONFIG.")
]


def _exit_codes(command: Callable[..., None], *, settings: bool = True) -> Callable[..., None]:
    """One line for what went wrong, and the exit code that the module's docstring names.

    And ``--config``, unless the command reads no settings.
    """

    @functools.wraps(command)
    def wrapped(*args: Any, config: Path | None = None, **kwargs: Any) -> None:
        try:
            with settings_from(config):
                command(*args, **kwargs)
        except RlvrError as error:
            err.print(f"rlvr: {error}", style="red", markup=False, soft_wrap=True)
            code = 2 if isinstance(error, ConfigError | InputError) else 1
            raise typer.Exit(3 if isinstance(error, Unavailable) else code) from None
        except KeyboardInterrupt:
            raise typer.Exit(130) from None

    if not settings:
        return wrapped
    signature = inspect.signature(command, eval_str=True)
    file = inspect.Parameter(
        "config", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Config
    )
    given = [*signature.parameters.values(), file]
    wrapped.__signature__ = signature.replace(parameters=given)  # type: ignore[attr-defined]
    return wrapped


def _settings(data_dir: Path | None, port: int | None, pairs: list[str] | None) -> Settings:
    """For commands that work on a data folder: nobody has to name a running server's."""
    given = settings_of(data_dir, port, pairs)
    settings = servers.at_home(given)
    if settings.data_dir != given.data_dir:
        client_commands.tell(given)
    return settings


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends a command as Ctrl-C does: what has to be finished is finished."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


@contextlib.contextmanager
def _running(settings: Settings) -> Iterator[Server]:
    """The whole system, for as long as the block runs."""
    from rlvr_ray.serve import app as application

    with err.status("Starting Ray and loading the models (about 30 s) …"):
        server = application.start(settings)
    with _terminable():  # only now: Ray takes SIGTERM for itself while it starts
        try:
            yield server
        finally:
            with err.status("Finishing the files …"):
                application.stop(settings)


@app.callback(invoke_without_command=True)
def main(
    ctx: typer.Context,
    config: Config = None,
    version: Annotated[bool, typer.Option("--version", help="Say the version and end.")] = False,
) -> None:
    """Say what can be done."""
    ctx.with_resource(settings_from(config))
    if version:
        out.print(__version__)
        raise typer.Exit


@app.command()
@_exit_codes
def serve(data_dir: DataDir = None, port: Port = None, set_: Set = None) -> None:
    """Serve until Ctrl-C: the HTTP API, verification, and the dataset files."""
    settings = settings_of(data_dir, port, set_)
    with _running(settings) as server, servers.announced(server):
        out.print(views.serving(server), markup=False, soft_wrap=True)
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()


@app.command()
@_exit_codes
def demo(
    question: Annotated[
        list[str] | None, typer.Option(help="Ask this instead; may be repeated.")
    ] = None,
    docs: Annotated[
        Path | None, typer.Option(help="Ingest this folder instead of the packages' READMEs.")
    ] = None,
    data_dir: DataDir = None,
    set_: Set = None,
) -> None:
    """Ingest real documents, ask real questions, show which answers became training pairs."""
    from rlvr_ray.cli import demo as demonstration

    settings = settings_of(None, None, set_)
    settings = demonstration.on_free_port(demonstration.apart(settings, data_dir))
    documents = demonstration.documents(docs)
    out.print(f"Data of the demo: {settings.data_dir}", markup=False, soft_wrap=True)
    with _running(settings) as server, client_commands.connect(server.url, settings) as client:
        demonstration.run(client, documents, question, out, err)
    demonstration.show_next(settings, out)


app.command()(_exit_codes(documents_command.ingest))
documents_command.documents.callback()(_exit_codes(documents_command.list_))
documents_command.documents.command()(_exit_codes(documents_command.delete))
app.add_typer(documents_command.documents, name="documents")
app.command()(_exit_codes(client_commands.ask))
app.command()(_exit_codes(client_commands.status))
app.command()(_exit_codes(trace.trace))


@app.command()
@_exit_codes
def verify_store(data_dir: DataDir = None, set_: Set = None, as_json: Json = False) -> None:
    """Check the ledger and every dataset file against each other; exit code 1 if any is wrong."""
    from rlvr_ray.pipeline import maintenance

    settings = _settings(data_dir, None, set_)
    with err.status("Checking …"):
        problems = maintenance.verify_store(settings)
    if as_json:
        sys.stdout.write(json.dumps(problems) + "\n")
    else:
        out.print(views.problems(problems, settings.data_dir), soft_wrap=True)
    if problems:
        raise typer.Exit(1)


@app.command()
@_exit_codes
def rebuild(data_dir: DataDir = None, set_: Set = None, as_json: Json = False) -> None:
    """Write every dataset file again from the ledger, byte for byte."""
    from rlvr_ray.pipeline import maintenance

    settings = _settings(data_dir, None, set_)
    with err.status("Writing …"):
        files = maintenance.rebuild(settings)
    if as_json:
        sys.stdout.write(json.dumps(files) + "\n")
    else:
        out.print(views.rebuilt(files), soft_wrap=True)


@app.command()
@_exit_codes
def doctor(data_dir: DataDir = None, set_: Set = None, as_json: Json = False) -> None:
    """Check everything that is needed; exit code 1 if a check fails."""
    from rlvr_ray.serve import doctor as checking

    settings = _settings(data_dir, None, set_)
    with err.status("Looking …"):
        checks = list(checking.doctor(settings))
    if as_json:
        sys.stdout.write(json.dumps([asdict(check) for check in checks]) + "\n")
    else:
        out.print(views.checks(checks))
    if any(check.state == "failed" for check in checks):
        raise typer.Exit(1)


@app.command()
@_exit_codes
def judge_report(
    data: Annotated[Path, typer.Argument(help="JSONL: pairs, or labelled answers.")],
    repeats: Annotated[
        int, typer.Option(min=1, help="Judge N times; 2 or more show its noise.")
    ] = 1,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first rows.")] = None,
    at_once: Annotated[int, typer.Option(min=1, help="Rows judged at a time.")] = 4,
    output: Annotated[
        Path, typer.Option("--out", help="A folder, or how the files' names begin.")
    ] = Path(),
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Have the judge judge labelled answers: figures here, in a JSON file and in a picture."""
    from rlvr_ray.generation import selection
    from rlvr_ray.verification import factory
    from rlvr_ray.verification.calibration import labelled, report

    choice = selection.choose(settings_of(pairs=set_), ask=True)
    settings = choice.settings
    err.print(f"verifiers: {choice.verifiers}", markup=False, soft_wrap=True)
    rows = labelled.read(data, limit)
    files = report.Files.at(output)
    with _terminable():
        result = report.run(
            settings, factory.local_panel, rows, err, repeats=repeats, at_once=at_once
        )
    if as_json:
        sys.stdout.write(json.dumps(result) + "\n")
    else:
        out.print(views.judge_report(result))
    report.write(result, files)
    err.print(f"{files.json}\n{files.picture}", markup=False, soft_wrap=True)


@app.command()
@_exit_codes
def export(
    format_: Annotated[
        Format, typer.Option("--format", help="A trainer's name, or sft, rewards, no-pair.")
    ],
    folder: Annotated[Path, typer.Option("--out", help="A new or an empty folder.")],
    prompt: Annotated[
        PromptStyle, typer.Option(help="The question, or the chat with its passages.")
    ] = "question",
    pairs: Annotated[
        Pairs, typer.Option(help="As decided, or formed anew: dpo.* settings and this strategy.")
    ] = "decided",
    human: Annotated[
        bool, typer.Option("--human", help="Apply reviews: turn pairs round, leave them out.")
    ] = False,
    reviewed_only: Annotated[
        bool, typer.Option("--reviewed-only", help="With --human: only what was reviewed.")
    ] = False,
    eval_: Annotated[float, typer.Option("--eval", help="Share of rows held out; 0: none.")] = 0.1,
    split_by: Annotated[
        SplitBy, typer.Option(help="Keep these apart: documents and questions, or questions alone.")
    ] = "document",
    max_tokens: Annotated[
        int | None, typer.Option(help="Leave out what a trainer with this limit would cut.")
    ] = None,
    tokenizer: Annotated[
        Path | None, typer.Option(help="tokenizer.json of the model to be trained.")
    ] = None,
    near_duplicates: Annotated[
        float | None,
        typer.Option(
            metavar="SIMILARITY", help="Leave out rows that are so like an earlier one, e.g. 0.8."
        ),
    ] = None,
    decontaminate: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE", help="Leave out rows that give away its questions; may be repeated."
        ),
    ] = None,
    decontaminate_column: Annotated[
        str | None, typer.Option(metavar="NAME", help="Where those stand; default: question.")
    ] = None,
    parquet: Annotated[bool, typer.Option("--parquet/--jsonl", help="Kind of file.")] = False,
    license_: Annotated[
        str | None, typer.Option("--license", help="For the dataset card, such as cc-by-4.0.")
    ] = None,
    language: Annotated[
        list[str] | None, typer.Option(help="For the card, such as en; may be repeated.")
    ] = None,
    push_: Annotated[
        str | None,
        typer.Option("--push", metavar="REPO", help="Upload it to the model hub, private."),
    ] = None,
    public: Annotated[bool, typer.Option("--public", help="With --push: for everybody.")] = False,
    data_dir: DataDir = None,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Write the pairs or answers as a folder that a trainer reads, with a dataset card."""
    from rlvr_ray.training.export import folder as exporting
    from rlvr_ray.training.export import report as export_report
    from rlvr_ray.training.export.request import Request

    if public and push_ is None:
        raise InputError("--public says who may read what is pushed; add --push REPO")
    settings = _settings(data_dir, None, set_)
    request = Request(
        format=format_,
        out=folder,
        prompt=prompt,
        pairs=pairs,
        human=human,
        reviewed_only=reviewed_only,
        eval_share=eval_,
        split_by=split_by,
        max_tokens=max_tokens,
        tokenizer=tokenizer,
        near_duplicates=near_duplicates,
        decontaminate=tuple(decontaminate or ()),
        decontaminate_column=decontaminate_column,
        parquet=parquet,
        license=license_,
        languages=tuple(language or ()),
    )
    with _terminable(), err.status("Writing …"):
        report = exporting.run(settings, request)
    for line, warns in export_report.text(report, folder):
        where = err if warns or as_json else out
        where.print(line, style="yellow" if warns else None, markup=False, soft_wrap=True)
    if as_json:
        sys.stdout.write(json.dumps(report) + "\n")
    if push_ is not None:
        url = exporting.push(folder, push_, public=public)
        (err if as_json else out).print(url, markup=False, soft_wrap=True)


@app.command()
@functools.partial(_exit_codes, settings=False)
def push(
    folder: Annotated[Path, typer.Argument(help="What `rlvr export` wrote.")],
    repo: Annotated[str, typer.Argument(help="NAME or OWNER/NAME on the model hub.")],
    public: Annotated[bool, typer.Option("--public", help="For everybody.")] = False,
) -> None:
    """Upload an exported folder to the model hub, as a private dataset."""
    from rlvr_ray.training.export import folder as exporting

    out.print(exporting.push(folder, repo, public=public), markup=False, soft_wrap=True)


@app.command()
@_exit_codes
def questions(
    path: Annotated[
        Path, typer.Option("--out", help="JSONL; what is left out goes beside it.")
    ] = Path("questions.jsonl"),
    limit: Annotated[
        int | None, typer.Option(min=1, help="Questions wanted; default: of every passage.")
    ] = None,
    per_chunk: Annotated[
        int, typer.Option(min=1, max=MAX_PER_CHUNK, help="Questions of a passage.")
    ] = 1,
    references: Annotated[
        bool, typer.Option(help="Have a reference answer made; leave out what has none.")
    ] = True,
    seed: Annotated[int, typer.Option(help="Which passages come first; what is drawn.")] = 0,
    at_once: Annotated[int, typer.Option(min=1, help="Passages asked about at once.")] = 8,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the file.")] = False,
    port: Port = None,
    data_dir: DataDir = None,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Make questions from the ingested documents, as a file for `rlvr generate`."""
    from rlvr_ray.bulk.question_making.maker import Plan
    from rlvr_ray.cli import questions as questions_command

    settings = _settings(data_dir, port, set_)
    plan = Plan(limit=limit, per_chunk=per_chunk, answers=references, seed=seed, at_once=at_once)
    tally = questions_command.run(settings, path, plan, err, resume=resume)
    if as_json:
        sys.stdout.write(json.dumps(tally.plain()) + "\n")
    else:
        out.print(questions_command.text(tally, path), markup=False, soft_wrap=True)
    if tally.stopped:
        raise typer.Exit(130)
    if not tally.made:
        raise typer.Exit(1)


app.command()(_exit_codes(generate.generate))
app.command()(_exit_codes(planning.plan, settings=False))


@events.command()
@_exit_codes
def replay(
    since: Annotated[
        datetime,
        typer.Option(
            help="UTC, such as 2026-11-23 or 2026-11-23T08:00:00.",
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"],
        ),
    ],
    data_dir: DataDir = None,
    set_: Set = None,
) -> None:
    """Publish events again, those that were committed since then, under the same ids."""
    from rlvr_ray.pipeline import maintenance

    settings = _settings(data_dir, None, set_)
    when = since if since.tzinfo else since.replace(tzinfo=UTC)
    with err.status("Publishing …") as status:
        count = asyncio.run(
            maintenance.replay(settings, when, lambda n: status.update(f"{n:,} events …"))
        )
    out.print(f"{count:,} events published again")


@events.command()
@_exit_codes
def tail(
    key: Annotated[
        list[str] | None, typer.Option(help="A topic pattern such as pair.*; may be repeated.")
    ] = None,
    set_: Set = None,
) -> None:
    """Print events as they are published, one JSON object a line, until Ctrl-C."""
    from rlvr_ray.events import consumer

    mirror = settings_of(pairs=set_).mirror
    if mirror.url is None:
        raise ConfigError("the mirror is off; set mirror.url, for example amqp://localhost/")

    async def follow(url: str) -> None:
        async for _, body in consumer.tail(
            url, mirror.exchange, key or ["#"], listening=lambda: err.print("Ctrl-C ends it.")
        ):
            sys.stdout.write(json.dumps(body, ensure_ascii=False) + "\n")
            sys.stdout.flush()

    asyncio.run(follow(mirror.url.get_secret_value()))


if __name__ == "__main__":
    app()
