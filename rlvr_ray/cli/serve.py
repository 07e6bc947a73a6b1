"""``rlvr serve``: the whole system, until Ctrl-C."""

import contextlib
import os
import signal
from collections.abc import Iterator

from rlvr_ray.cli.commands import app
from rlvr_ray.cli.terminal import err, terminable, write
from rlvr_ray.client import servers
from rlvr_ray.client.servers import BIN, Server
from rlvr_ray.settings import Settings
from rlvr_ray.settings.options import DataDir, Port, Set, settings_of


@app.command()
def serve(data_dir: DataDir = None, port: Port = None, set_: Set = None) -> None:
    """Serve until Ctrl-C: the HTTP API, verification, and the dataset files."""
    settings = settings_of(data_dir, port, set_)
    with running(settings) as server, servers.announced(server):
        write(serving(server))
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()


@contextlib.contextmanager
def running(settings: Settings) -> Iterator[Server]:
    """The whole system, for as long as the block runs."""
    from rlvr_ray.serve import app as application

    with err.status("Starting Ray and loading the models (about 30 s) …"):
        server = application.start(settings)
    with terminable():  # only now: Ray takes SIGTERM for itself while it starts
        try:
            yield server
        finally:
            with err.status("Finishing the files …"):
                application.stop(settings)


def serving(server: Server) -> str:
    """What a user needs to know once the server is up; commands stand there as they are typed."""
    lines = [
        f"Serving at {server.url} (API docs: {server.url}/docs), data in {server.data_dir}",
        "Ctrl-C ends it. In another terminal:",
        f"  {BIN}rlvr ingest PATH…            # add documents; rlvr documents lists them",
        f'  {BIN}rlvr ask "What is Ray?"      # ask, and watch the verification',
        f"  {BIN}rlvr status --watch          # follow the questions until they are decided",
    ]
    if server.dashboard is not None:
        lines += _ray(server.dashboard, server.ray_address)
    return "\n".join(lines)


def _ray(dashboard: str, address: str) -> Iterator[str]:
    """How Ray's own tools reach the cluster; Ray has set this process's RAY_AUTH_MODE."""
    words = ["export"]
    if os.environ.get("RAY_AUTH_MODE", "").lower() == "token":
        yield f"Ray's dashboard: {dashboard} asks for a token, which this prints:"
        yield f"  {BIN}ray get-auth-token"
        words.append("RAY_AUTH_MODE=token")
    else:
        yield f"Ray's dashboard: {dashboard}"
    is_first = dashboard.endswith(":8265")  # the cluster on this machine that they use by default
    if not is_first:
        words += [f"RAY_ADDRESS={address}", f"RAY_DASHBOARD_ADDRESS={dashboard}"]
    if len(words) > 1:
        yield "Ray's own commands need, in their shell:"
        yield f"  {' '.join(words)}"
    if is_first:  # the others have no job server
        yield f"  {BIN}ray job submit -- {BIN}rlvr generate --here /PATH/questions.jsonl --run NAME"
    yield f"  {BIN}ray job list                 # ray job logs -f ID, ray status, serve status"
