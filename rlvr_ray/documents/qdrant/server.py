"""A connection to a Qdrant server, its check, and what Qdrant's errors mean."""

import contextlib
import math
import socket
import warnings
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from rlvr_ray.core.errors import ConfigError, RlvrError, Unavailable
from rlvr_ray.settings import RetrievalSettings

#: Longest wait for the gRPC port where none is set, in seconds.
GRPC_S = 2.0


def check(settings: RetrievalSettings, timeout_s: float) -> str:
    """What a server says of the collection, and how it is spoken to.

    Raises Unavailable where it does not answer, ConfigError where it refuses the key or the gRPC
    port that is set does not answer.
    """
    assert settings.url is not None
    where = f"Qdrant at {host(settings.url)}"
    with (
        translated(where, ConfigError),
        contextlib.closing(connect(settings, rest=timeout_s)) as client,
    ):
        name = settings.collection
        known = client.collection_exists(name)
        found = f"{client.count(name).count:,} passages" if known else "none yet"
    port = _grpc_port(settings)
    if settings.grpc_port and not _answers(settings.url, settings.grpc_port, timeout_s):
        raise ConfigError(
            f"{where}: nothing answers at gRPC port {settings.grpc_port}; correct "
            "retrieval.grpc_port, or set it to 0 to have all go over retrieval.url"
        )
    how = "without gRPC" if port is None else f"gRPC port {port}"
    return f"{where}, {how}, collection {name}: {found}"


def connect(settings: RetrievalSettings, rest: float | None = None) -> Any:
    """A client of the server; ``rest``: without gRPC, and with so many seconds for each call."""
    from qdrant_client import QdrantClient

    port = None if rest else _grpc_port(settings)
    grpc: dict[str, Any] = {} if port is None else {"grpc_port": port, "prefer_grpc": True}
    with warnings.catch_warnings():
        # A key over plain HTTP: in a cluster's own network that is as it should be.
        warnings.simplefilter("ignore", UserWarning)
        return QdrantClient(
            url=settings.url,
            api_key=settings.api_key.get_secret_value() if settings.api_key else None,
            check_compatibility=False,  # it only warns, and waits for a server that is away
            timeout=None if rest is None else math.ceil(rest),
            **grpc,
        )


def _grpc_port(settings: RetrievalSettings) -> int | None:
    """The one to use; None for none."""
    if settings.grpc_port is not None:
        return settings.grpc_port or None
    assert settings.url is not None
    usual = urlsplit(settings.url).port in (None, 6333)
    return 6334 if usual and _answers(settings.url, 6334, GRPC_S) else None


def _answers(url: str, port: int, timeout_s: float) -> bool:
    try:
        with socket.create_connection((urlsplit(url).hostname or "", port), timeout_s):
            return True
    except OSError:
        return False


def host(url: str) -> str:
    """For messages: without a password."""
    parts = urlsplit(url)
    return parts.netloc.rpartition("@")[2] + parts.path.rstrip("/")


@contextlib.contextmanager
def translated(where: str, refusal: type[RlvrError] = Unavailable) -> Iterator[None]:
    """Qdrant's exceptions, as ours; ``refusal``: of one that refuses the key."""
    import grpc
    from qdrant_client.http.exceptions import (
        ApiException,
        ResponseHandlingException,
        UnexpectedResponse,
    )

    try:
        yield
    except UnexpectedResponse as error:
        if error.status_code in (401, 403):
            raise refusal(f"{where} refuses the key: set retrieval.api_key") from None
        raise Unavailable(f"{where} refuses: HTTP {error.status_code}; is it Qdrant?") from None
    except (ApiException, ResponseHandlingException) as error:
        raise Unavailable(f"{where} does not answer: {error} (retrieval.url)") from None
    except grpc.RpcError as error:
        code = error.code().name if isinstance(error, grpc.Call) else type(error).__name__
        raise Unavailable(f"{where} does not answer over gRPC: {code}") from None
    except RuntimeError as error:
        if "already accessed" in str(error):
            raise ConfigError(
                "the local vector store is in use by another process; stop that one first, "
                "or set retrieval.url to a Qdrant server"
            ) from None
        raise
