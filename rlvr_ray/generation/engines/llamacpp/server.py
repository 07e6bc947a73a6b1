"""llama.cpp's server inside this process, and requests to it.

``xllamacpp`` runs it with continuous batching on a Unix socket that only this user can reach; this
process is its only client. That gives cancellation (a closed connection frees its slot) and
concurrency without own threads. The server's own prompt cache is off.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rlvr_ray.core.errors import ConfigError, Unavailable
from rlvr_ray.core.fields import storable
from rlvr_ray.settings import EngineSettings


class Server:
    """A server for one GGUF file; states of slots can be saved in its ``folder``."""

    def __init__(self, settings: EngineSettings, path: Path) -> None:
        # Read once, when llama.cpp's OpenMP is loaded. Threads that spin at a barrier while
        # another process has their core make a completion take a hundred times as long.
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        import httpx
        import xllamacpp

        self.folder = _private_folder()
        socket = self.folder / "server.sock"
        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.hostnames = [str(socket)]
        params.n_parallel = settings.slots
        params.n_ctx = settings.slots * settings.context_tokens
        params.kv_unified = False  # slots cannot crowd each other out
        params.cache_ram_mib = 0
        params.cache_idle_slots = False
        params.ctx_shift = False  # an answer that outgrows its context ends, it does not drift
        params.slot_save_path = f"{self.folder}/"
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = settings.threads
        params.n_threads_http = settings.slots + 2
        params.warmup = False
        params.verbosity = -1
        try:
            self._server: Any = xllamacpp.Server(params)
        except RuntimeError as error:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise ConfigError(f"llama.cpp cannot load {path}: {error}") from None

        self._http = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(
                uds=str(socket),
                # The server closes a connection that it streamed on: none is used twice.
                limits=httpx.Limits(max_keepalive_connections=0),
            ),
            base_url="http://llama.cpp",
            timeout=httpx.Timeout(settings.timeout_s, connect=10),
        )
        # RuntimeError is what a client says that was closed.
        self._errors = (httpx.HTTPError, RuntimeError)

    async def request(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """The reply's JSON; raises Unavailable."""
        try:
            reply = await self._http.request(method, path, json=body)
        except self._errors as error:
            raise Unavailable(f"llama.cpp did not answer {path}: {error!r}") from None
        if reply.is_error:
            raise Unavailable(f"llama.cpp refused {path}: {reply.text[:500]}")
        return reply.json()

    async def post(self, path: str, body: dict[str, Any]) -> Any:
        """The reply's JSON; raises Unavailable."""
        return await self.request("POST", path, body)

    async def stream(
        self, path: str, body: dict[str, Any], on_text: Callable[[str], None]
    ) -> dict[str, Any]:
        """The last event of a stream, with the text and the probabilities of all.

        Not for the text's sake: llama.cpp notices a closed connection at its next write, and else
        only where no slot answered anybody for a second.
        """
        text, rest = "", b""
        last: dict[str, Any] = {}
        probabilities: list[dict[str, Any]] = []
        try:
            async with self._http.stream("POST", path, json=body | {"stream": True}) as reply:
                if reply.is_error:
                    problem = (await reply.aread()).decode(errors="replace")[:500]
                    raise Unavailable(f"llama.cpp refused {path}: {problem}")
                async for data in reply.aiter_bytes():  # aiter_lines would split at U+2028
                    *lines, rest = (rest + data).split(b"\n")
                    for line in lines:
                        if line.startswith(b"data: "):
                            last = json.loads(line.removeprefix(b"data: "))
                            if new := storable(last.get("content", "")):
                                on_text(new)
                                text += new
                            probabilities += last.get("completion_probabilities", [])
        except self._errors as error:
            raise Unavailable(f"llama.cpp did not answer {path}: {error!r}") from None
        if "timings" not in last:
            raise Unavailable(f"llama.cpp broke off {path}: {str(last)[:500]}")
        return last | {"content": text, "completion_probabilities": probabilities}

    async def close(self) -> None:
        """Stop the server and remove its files; again does nothing."""
        await self._http.aclose()
        self._server = None
        shutil.rmtree(self.folder, ignore_errors=True)


def _private_folder() -> Path:
    """A folder in memory, where there is some, that only we can read.

    What a killed process left there is removed: it may hold many megabytes of memory.
    """
    shared = Path("/dev/shm")  # noqa: S108
    memory = shared if shared.is_dir() else Path(tempfile.gettempdir())
    for old in memory.glob("rlvr-llama-*"):
        if not Path("/proc", old.name.split("-")[2]).exists():
            shutil.rmtree(old, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"rlvr-llama-{os.getpid()}-", dir=memory))
