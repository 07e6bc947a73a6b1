"""Questions over documents become DPO preference pairs, on Ray.

One folder a capability, from the command line down to the core; a room imports only rooms further
down this list. Each room's docstring says what it does and what is in its files.

    cli/            the command line
    training/       exports for trainers, DPO training
    bulk/           files of questions
    serve/          Ray and HTTP: deployments, routes, the page
    pipeline/       from a question to its outcome
    verification/   scores and defects of answers
    events/         events on RabbitMQ
    dataset/        ledger, rows, files, searches, reviews
    client/         the Python client
    documents/      parsers, passages, embedder, vector store
    generation/     prompts and engines
    observability/  logs, traces, metrics
    settings/       every setting with its default
    core/           records and rules, without dependencies
"""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlvr_ray.client import AsyncClient, Client

__version__ = "0.1.0"

__all__ = ["AsyncClient", "Client", "__version__"]


# Libraries that report to their makers unless one of these says no. All of them read it when they
# are imported or started, which is after this package in every process. Who set one is obeyed.
for _name, _value in {
    "DO_NOT_TRACK": "1",  # several
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "ORT_DISABLE_TELEMETRY": "1",  # ONNX Runtime; its disable_telemetry_events() comes too late
    "RAGAS_DO_NOT_TRACK": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
    "VLLM_NO_USAGE_STATS": "1",
}.items():
    os.environ.setdefault(_name, _value)


def __getattr__(name: str) -> Any:
    """The clients, imported once somebody asks for them: most of this package needs neither."""
    if name in ("AsyncClient", "Client"):
        from rlvr_ray import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
