"""Ask every question of some files, and wait until each is decided.

    python jobs/generate.py questions.jsonl --run first

A driver on a node of a Ray cluster: ``rlvr generate --here``, which any installation has.
"""

import sys

from rlvr_ray.cli.main import app

if __name__ == "__main__":
    app(["generate", "--here", *sys.argv[1:]])
