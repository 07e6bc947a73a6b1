"""Questions over documents become DPO preference data, on Ray."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlvr_ray.client import AsyncClient, Client

__version__ = "0.1.0"

__all__ = ["AsyncClient", "Client", "__version__"]


def __getattr__(name: str) -> Any:
    """The clients, imported once somebody asks for them: most of this package needs neither."""
    if name in ("AsyncClient", "Client"):
        from rlvr_ray import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
