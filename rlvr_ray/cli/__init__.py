"""The command line: one file a command or group of commands, and what a terminal is shown of it.

To add a command, write a file with ``@app.command()`` above a function (``commands.py`` says how
options are made) and name the file in ``main.py``. ``terminal.py`` has what commands share,
``batches.py`` shows batches. Nothing imports this room but ``jobs/generate.py``.
"""

from rlvr_ray.cli.main import app

__all__ = ["app"]
