"""``python -m rlvr_ray.cli`` is ``rlvr``."""

from rlvr_ray.cli import app

app()
