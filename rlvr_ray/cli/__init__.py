"""The command line: one file a command or group of commands, and their output on a terminal.

To add a command, write a file with ``@app.command()`` above a function (``commands.py`` explains
the options) and name the file in ``main.py``. ``terminal.py`` is shared by the commands,
``batches.py`` shows batches. Only ``jobs/generate.py`` imports this room.
"""

from rlvr_ray.cli.main import app

__all__ = ["app"]
