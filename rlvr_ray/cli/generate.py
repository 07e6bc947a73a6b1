"""``rlvr generate``: a whole file of questions, until each is decided.

It is a job of the cluster, which this command submits and follows, or with ``--here`` a driver in
this process.
"""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from rlvr_ray.bulk.request import AT_ONCE, Request
from rlvr_ray.cli.terminal import Candidates, DataDir, NumCandidates, Port
from rlvr_ray.client import servers
from rlvr_ray.core.errors import ConfigError, InputError
from rlvr_ray.settings import MAX_TOP_K, Settings, load, parsed

_RUN = "A name of letters, digits and ._- ; part of every batch id."
_RUN_CHARS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")


def generate(
    files: Annotated[
        list[str], typer.Argument(help="JSONL, CSV, Parquet or text: paths, folders, URIs.")
    ],
    run: Annotated[str, typer.Option(help=_RUN)],
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run that has begun.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it would take; ask nothing.")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Ask at most N questions.")] = None,
    shuffle_seed: Annotated[
        int | None, typer.Option(help="In a random order; reads all first.")
    ] = None,
    max_pairs: Annotated[
        int | None, typer.Option(min=1, help="Stop asking once the whole run has N pairs.")
    ] = None,
    max_cost: Annotated[
        float | None,
        typer.Option(min=0, help="Stop asking once the whole run will have cost this much."),
    ] = None,
    give_up_after: Annotated[
        float | None, typer.Option(min=0.01, help="End when nothing moves for N minutes.")
    ] = None,
    question_column: Annotated[str | None, typer.Option(help="Default: question.")] = None,
    id_column: Annotated[str | None, typer.Option(help="Default: id, if there is one.")] = None,
    reference_column: Annotated[
        str | None, typer.Option(help="Default: reference, if there is one.")
    ] = None,
    candidates: Candidates = None,
    num_candidates: NumCandidates = None,
    top_k: Annotated[
        int | None, typer.Option(min=1, max=MAX_TOP_K, help="Passages; default: the application's.")
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="Of an answer; default: the application's.")
    ] = None,
    at_once: Annotated[
        int | None,
        typer.Option(min=1, help=f"Questions answered at once; {AT_ONCE}, llama.cpp: its slots."),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(help="JSON, a picture beside it; default: runs/RUN.json in the data folder."),
    ] = None,
    port: Port = None,
    data_dir: DataDir = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="A setting to use if the server must be started; prices apply in any case.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The report on stdout.")] = False,
    here: Annotated[
        bool, typer.Option("--here", help="In this process, on a node of the cluster; no job.")
    ] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Submit, and do not follow.")] = False,
) -> None:
    """Ask every question of some files; what is recorded already is not asked again."""
    if not 0 < len(run) <= 100 or not _RUN_CHARS.issuperset(run) or run.startswith((".", "-")):
        raise InputError(f"--run {run!a}: {_RUN[:1].lower()}{_RUN[1:-1]}; 100 characters at most")
    given = set_ or []
    if port is not None:
        given = [*given, f"api.port={port}"]
    if data_dir is not None:
        given = [*given, f"data_dir={data_dir.absolute()}"]
    request = Request(
        files=files,
        run=run,
        resume=resume,
        dry_run=dry_run,
        limit=limit,
        shuffle_seed=shuffle_seed,
        max_pairs=max_pairs,
        max_cost=max_cost,
        give_up_after=give_up_after,
        question_column=question_column,
        id_column=id_column,
        reference_column=reference_column,
        candidates=candidates or num_candidates or 3,
        top_k=top_k,
        max_tokens=max_tokens,
        at_once=at_once,
        report=report,
        set=given,
        json=as_json,
    )
    if here:
        print(_cluster(load(**parsed(request.set))), file=sys.stderr)
        raise typer.Exit(_here(request))
    raise typer.Exit(_submit(request, detach=detach))


def _cluster(given: Settings) -> str:
    """Which cluster is used, for people."""
    address = servers.joining(given).ray_address or os.environ.get("RAY_ADDRESS")
    if address is None:
        return "Ray cluster: the one that Ray finds here"
    found = servers.find(given) if given.ray_address is None else None
    whose = f" of {found}" if found is not None and found.ray_address == address else ""
    return f"Ray cluster at {address}{whose}"


# As a job.


def _submit(request: Request, *, detach: bool) -> int:
    """Have the cluster do it, and tell what it says; its exit code."""
    from rlvr_ray.bulk.progress import Bar
    from rlvr_ray.bulk.report import is_complete
    from rlvr_ray.bulk.submission import Jobs

    given = load(**parsed(request.set))
    _check_no_secret(given, request.set)
    settings = servers.joining(given)
    try:
        jobs = Jobs(settings.ray_address)
        if settings.ray_address is None and not os.environ.get("RAY_ADDRESS"):
            jobs.check_runs("rlvr")
    except ConfigError:
        if request.dry_run:  # there is nobody who would know more than this process
            return _here(request)
        raise
    err = Console(stderr=True, highlight=False)
    err.print(f"{_cluster(given)}, dashboard {jobs.server}", markup=False, soft_wrap=True)
    # To look does not count as the run's one job.
    name = f"{request.run} (dry run)" if request.dry_run else request.run
    job_id = jobs.submit(request.command(), name)
    if detach:
        print(job_id)
        for what, does in (("logs -f", "follows"), ("stop", "ends")):
            line = f"{jobs.command(what, job_id)}  # {does} it"
            err.print(line, markup=False, soft_wrap=True)
        return 0
    err.print(f"job {job_id}; Ctrl-C has it finish what is in flight")
    with Bar(err) as bar:
        ended = jobs.follow(job_id, bar.show, is_complete)
    if ended.message:
        err.print(f"rlvr: {ended.message}", style="red", markup=False, soft_wrap=True)
    return ended.code


def _check_no_secret(settings: Settings, given: list[str]) -> None:
    """Raise InputError where the job's command would hold a key: anybody there can read it."""
    engines = (settings.generator, settings.judge)
    secrets = [engine.api_key for engine in engines]
    secrets += [settings.retrieval.api_key, settings.mirror.url, settings.api.key]
    for secret in secrets:
        if secret and any(secret.get_secret_value() in pair for pair in given):
            raise InputError(
                "--set with a key: all who reach the cluster can read a job's command; set it in "
                "the environment of the cluster's nodes, such as RLVR_GENERATOR__API_KEY"
            )


def _here(request: Request) -> int:
    """Do it in this process."""
    from rlvr_ray.bulk import driver as bulk_driver

    return bulk_driver.here(request)
