"""Makes ``rlvr_ray/client/blocking.py`` from ``asynchronous.py``: ``make client``."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from unasync import Rule, unasync_files

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "rlvr_ray" / "client"
#: What becomes what, beside the names that unasync knows.
NAMES = {
    "AsyncBaseTransport": "BaseTransport",
    "AsyncClient": "Client",
    "aclose": "close",
    "aclosing": "closing",
    "aiter_sse": "iter_sse",
    "aread": "read",
    "asyncio": "time",
}


def generated() -> str:
    """The text of ``blocking.py``."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "asynchronous.py"
        shutil.copy(CLIENT / source.name, source)
        unasync_files([str(source)], [Rule(source.name, "blocking.py", NAMES)])
        text = source.with_name("blocking.py").read_text()
    place = ["--stdin-filename", str(CLIENT / "blocking.py"), "-"]
    for command in (
        ["check", "--quiet", "--fix", "--unsafe-fixes", "--select", "I,UP028"],
        ["format", "--quiet"],
    ):
        text = subprocess.run(
            [sys.executable, "-m", "ruff", *command, *place],
            input=text,
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
        ).stdout
    return text


if __name__ == "__main__":
    (CLIENT / "blocking.py").write_text(generated())
