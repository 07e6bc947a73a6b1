"""``rlvr generate``: asks a whole file of questions and waits until each is decided.

The command submits a job to the cluster and shows its output; with ``--here`` it runs the questions
itself. The options are ``bulk.request.Request``.
"""

import os
from typing import Annotated

import typer

from rlvr_ray.bulk.request import Request
from rlvr_ray.cli.commands import app
from rlvr_ray.cli.terminal import err, note
from rlvr_ray.client import servers
from rlvr_ray.core.errors import ConfigError, InputError
from rlvr_ray.settings import Settings


@app.command()
def generate(
    request: Request,
    here: Annotated[
        bool, typer.Option("--here", help="In this process, on a node of the cluster; no job.")
    ] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Submit, and do not follow.")] = False,
) -> None:
    """Ask every question of some files; questions that are recorded are not asked again."""
    if here:
        note(_cluster(request.settings))
        raise typer.Exit(_here(request))
    raise typer.Exit(_submit(request, detach=detach))


def _cluster(given: Settings) -> str:
    """Which cluster is used, in words."""
    address = servers.joining(given).ray_address or os.environ.get("RAY_ADDRESS")
    if address is None:
        return "Ray cluster: the one that Ray finds here"
    found = servers.find(given) if given.ray_address is None else None
    whose = f" of {found}" if found is not None and found.ray_address == address else ""
    return f"Ray cluster at {address}{whose}"


def _submit(request: Request, *, detach: bool) -> int:
    """Submit it as a job and print the job's output; returns the job's exit code."""
    from rlvr_ray.bulk.progress import Bar
    from rlvr_ray.bulk.report import is_complete
    from rlvr_ray.bulk.submission import Jobs

    given = request.settings
    _check_no_secret(given, request.set or [])
    settings = servers.joining(given)
    try:
        jobs = Jobs(settings.ray_address)
        if settings.ray_address is None and not os.environ.get("RAY_ADDRESS"):
            jobs.check_runs("rlvr")
    except ConfigError:
        if request.dry_run:  # no application knows more than this process
            return _here(request)
        raise
    note(f"{_cluster(given)}, dashboard {jobs.server}")
    # A dry run is not the run's one job.
    name = f"{request.run} (dry run)" if request.dry_run else request.run
    job_id = jobs.submit(request.command(), name)
    if detach:
        print(job_id)
        for what, does in (("logs -f", "follows"), ("stop", "ends")):
            note(f"{jobs.command(what, job_id)}  # {does} it")
        return 0
    err.print(f"job {job_id}; on Ctrl-C it finishes what is in flight")
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
