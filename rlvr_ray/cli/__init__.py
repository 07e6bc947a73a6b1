"""The command line."""

from rlvr_ray.cli.main import app

__all__ = ["app"]
