"""llama.cpp's own HTTP server in this process: a real server that speaks OpenAI's protocol."""

import contextlib
import os
from collections.abc import Iterator

from rlvr_ray.generation.model_files import SMOLLM2_135M

#: The model's name on the server.
MODEL = "smol"


@contextlib.contextmanager
def llama_server(*, slots: int, context_tokens: int) -> Iterator[str]:
    """Its address, ``http://host:port``, with the model that the installation brings.

    Each of ``slots`` completions decodes in ``context_tokens`` of its own. ``/slots`` and
    ``/metrics`` tell what it does.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(SMOLLM2_135M.locate())
    params.model_alias = {MODEL}
    params.hostnames, params.port = ["127.0.0.1"], 0
    params.n_parallel, params.n_ctx = slots, slots * context_tokens
    params.kv_unified = params.ctx_shift = params.warmup = False
    params.cache_ram_mib = 0
    params.endpoint_slots = params.endpoint_metrics = True
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 2
    params.n_threads_http = 8
    params.verbosity = -1
    server = xllamacpp.Server(params)
    address: str = server.listening_address
    yield address
    del server
