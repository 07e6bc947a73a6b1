"""Submitting a command as a Ray job, and showing its output.

Ray's job server, a part of its dashboard, starts the job on the head node.
"""

import asyncio
import contextlib
import logging
import os
import re
import shlex
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlvr_ray.client.servers import BIN
from rlvr_ray.core.errors import ConfigError, InputError, Unavailable

#: Seconds that a job has to end by itself once it is stopped; then Ray kills it.
STOP_S = 300
#: The name under which a job says which run it is.
RUN = "rlvr_run"
#: What a shell returns for a command that it does not find.
NOT_FOUND = 127


def use_token() -> None:
    """Have Ray send its token where there is one, unless RAY_AUTH_MODE is set.

    To be called before Ray is imported. ``rlvr serve`` starts a cluster that asks for the token.
    """
    names = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
    there = any(name in os.environ for name in names)
    if there or (Path.home() / ".ray" / "auth_token").is_file():
        os.environ.setdefault("RAY_AUTH_MODE", "token")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a job ended."""

    code: int  #: its exit code; 130 where it was stopped
    message: str = ""  #: what else there is to say


class Jobs:
    """A cluster's jobs."""

    def __init__(self, address: str | None) -> None:
        """Find the job server. ``address``: of the cluster or of the server, None: here.

        Raises ConfigError where there is none.
        """
        use_token()
        self._address = address
        # It would log connections between the lines of the job.
        logging.getLogger("ray.dashboard.modules.job.sdk").addFilter(
            lambda record: record.levelno >= logging.WARNING
        )
        from ray.exceptions import AuthenticationError
        from ray.job_submission import JobSubmissionClient

        try:
            self._client: Any = JobSubmissionClient(address)
        except AuthenticationError:
            raise ConfigError(
                "the cluster wants a token: put it into RAY_AUTH_TOKEN or ~/.ray/auth_token"
            ) from None
        except Exception as error:  # of Ray, requests and others
            if several := re.findall(r"multiple active Ray instances: \{(.*?)\}", str(error)):
                raise ConfigError(
                    f"several Ray clusters run here, at {several[0]}: name one with "
                    "RLVR_RAY_ADDRESS=HOST:PORT"
                ) from None
            raise ConfigError(
                f"no Ray cluster to submit to: {_first_line(error)} (start one with rlvr serve, or "
                "say where it is: RLVR_RAY_ADDRESS=HOST:6379 or http://HOST:8265)"
            ) from None

    @property
    def server(self) -> str:
        """The job server's URL."""
        return str(self._client.get_address())

    def command(self, what: str, job_id: str) -> str:
        """A command of Ray's about a job, as it is typed in whatever shell."""
        mode = "RAY_AUTH_MODE=token " if os.environ.get("RAY_AUTH_MODE") == "token" else ""
        return f"{mode}{BIN}ray job {what} --address {self.server} {job_id}"

    def check_runs(self, application: str) -> None:
        """Raise ConfigError unless the cluster runs this Serve application."""
        with _translated():
            reply = self._client._do_request("GET", "/api/serve/applications/")
            found = reply.json().get("applications", {}) if reply.ok else {}
        if application not in found:
            raise ConfigError(
                f"the application does not run on the Ray cluster of {self.server}: start it with "
                f"rlvr serve, or name the cluster to have it used: RLVR_RAY_ADDRESS={self.server}"
            )

    def submit(self, command: Sequence[str], run: str) -> str:
        """Start a command; return the job's id. Raises InputError where the run is under way."""
        with _translated():
            for job in self._client.list_jobs():
                if (job.metadata or {}).get(RUN) == run and not job.status.is_terminal():
                    raise InputError(
                        f"the run {run!r} is under way in job {job.submission_id}: follow it with "
                        f"{self.command('logs -f', job.submission_id)}, or end it with "
                        f"{self.command('stop', job.submission_id)}"
                    )
            # For the job's supervisor: how long it waits before it kills.
            env = {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_S)}
            if self._address and ":/" not in self._address and self._address != "auto":
                # Ray would have the job look for a cluster, and take any on the same machine.
                env["RLVR_RAY_ADDRESS"] = self._address
            job_id: str = self._client.submit_job(
                entrypoint=shlex.join(command),
                metadata={RUN: run},
                runtime_env={"env_vars": env},
            )
            return job_id

    def follow(
        self, job_id: str, show: Callable[[str], None], is_complete: Callable[[str], bool]
    ) -> Ended:
        """Tell each line that a job prints until it ends.

        The first SIGINT or SIGTERM tells the job to finish, the second one leaves it alone. Ray
        keeps no exit code of a job that was stopped: ``is_complete`` says of a line whether it
        tells that the job had done all that it should.
        """
        return asyncio.run(self._follow(job_id, show, is_complete))

    async def _follow(
        self, job_id: str, show: Callable[[str], None], is_complete: Callable[[str], bool]
    ) -> Ended:
        complete = False

        def tell_line(line: str) -> None:
            nonlocal complete
            complete = complete or is_complete(line)
            show(line)

        tailing = asyncio.create_task(self._tail(job_id, tell_line))
        stops: list[asyncio.Task[None]] = []

        async def stop() -> None:
            with contextlib.suppress(Unavailable), _translated():
                await asyncio.to_thread(self._client.stop_job, job_id)

        def interrupt() -> None:
            if stops:
                tailing.cancel()
                return
            show("the job will finish what is in flight; a second Ctrl-C detaches from it")
            stops.append(asyncio.create_task(stop()))

        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, interrupt)
        try:
            await tailing
        except asyncio.CancelledError:
            logs = self.command("logs -f", job_id)
            return Ended(code=130, message=f"it goes on by itself: {logs}")
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)
        return await self._ended(job_id, complete)

    async def _tail(self, job_id: str, show: Callable[[str], None]) -> None:
        left = ""
        with _translated():
            chunks: AsyncIterator[str] = self._client.tail_job_logs(job_id)
            async for chunk in chunks:
                *lines, left = (left + chunk).split("\n")
                for line in lines:
                    show(line)
        if left:
            show(left)

    async def _ended(self, job_id: str, complete: bool) -> Ended:
        """Its log may be complete a moment before its state is."""
        while True:
            with _translated():
                job = await asyncio.to_thread(self._client.get_job_info, job_id)
            if job.status.is_terminal():
                break
            await asyncio.sleep(0.2)
        if job.status.value == "SUCCEEDED":
            return Ended(code=0)
        if job.status.value == "STOPPED":
            return Ended(code=0 if complete else 130)
        code = job.driver_exit_code or 1
        if code == NOT_FOUND:
            return Ended(
                code=1, message="the head node has no rlvr on its PATH: install rlvr_ray there"
            )
        # What its own program says of a failure stands in the log.
        return Ended(code=code, message="" if job.driver_exit_code else str(job.message))


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if "No available agent" in str(error):
            raise ConfigError(
                "the cluster's job server does not work: on a machine with several clusters only "
                "the first one has one; end the others, or use --here"
            ) from None
        raise Unavailable(f"the job server is not there: {_first_line(error)}") from None


def _first_line(error: Exception) -> str:
    return (str(error) or repr(error)).partition("\n")[0].rstrip(".")
