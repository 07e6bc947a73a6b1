"""No library reports to its makers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

NAMES = (
    "DO_NOT_TRACK",
    "HF_HUB_DISABLE_TELEMETRY",
    "ORT_DISABLE_TELEMETRY",
    "RAGAS_DO_NOT_TRACK",
    "RAY_USAGE_STATS_ENABLED",
    "VLLM_NO_USAGE_STATS",
)


def python(code: str, home: Path, **env: str) -> str:
    """What the code prints, run by somebody who has just come to this machine."""
    clean = {name: value for name, value in os.environ.items() if name not in NAMES}
    clean = {name: value for name, value in clean.items() if not name.startswith("XDG_")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        env=clean | {"HOME": str(home)} | env,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_embedding_leaves_no_file(tmp_path: Path) -> None:
    python("from rlvr_ray.documents.minilm import MiniLM; MiniLM().embed(['x'])", tmp_path)
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("off", "code"),
    [
        ("True", "from ragas._analytics import do_not_track; print(do_not_track())"),
        (
            "True",
            "from huggingface_hub import constants; print(constants.HF_HUB_DISABLE_TELEMETRY)",
        ),
        (
            "False",
            "from ray._common.usage import usage_lib; print(usage_lib.usage_stats_enabled())",
        ),
    ],
    ids=["ragas", "hub", "ray"],
)
def test_a_library_takes_it(off: str, code: str, tmp_path: Path) -> None:
    assert python(f"import rlvr_ray\n{code}", tmp_path) == off


def test_who_wants_it_is_obeyed(tmp_path: Path) -> None:
    code = "import os, rlvr_ray; print(os.environ['RAY_USAGE_STATS_ENABLED'])"
    assert python(code, tmp_path, RAY_USAGE_STATS_ENABLED="1") == "1"
