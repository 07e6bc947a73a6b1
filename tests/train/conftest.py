"""A cluster, an export and a model for the run. The first test waits for what it needs of them."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import ray
from typer.testing import CliRunner

from rlvr_ray.cli.main import app
from rlvr_ray.generation.model_files import SMOLLM2_135M
from tests.builders import context
from tests.folders import Folder, decided
from tests.vllm.tiny_model import write_tiny_model

ROOT = Path(__file__).parents[2]
JOB = ROOT / "jobs" / "train_dpo.py"
#: Longest run of the job, in seconds.
JOB_S = 840
#: Each a document and a question of its own; their pairs say the same, so that what is learned
#: from some shows with the others.
PLACES = ("Lisbon", "Oslo", "Quito", "Hanoi", "Accra", "Lima", "Riga", "Doha")
CHOSEN, REJECTED = "a city of ships and lamps, as the passages say", "I would rather sing a song."
#: Of the smallest export: every question has a passage of this length.
LONG = 6_000
OBJECTS = 256 * 2**20  #: bytes


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(pytest.mark.timeout(900))


def pytest_configure(config: pytest.Config) -> None:
    # Of libraries: what they call by old names, what they leave open, what they would rather have.
    for ignored in ("UserWarning", "ResourceWarning", "pytest.PytestUnraisableExceptionWarning"):
        config.addinivalue_line("filterwarnings", f"ignore::{ignored}")


@dataclass(frozen=True)
class Exports:
    """`rlvr export` of one data folder."""

    data: Path
    folder: Path

    def __call__(self, *options: str, format_: str = "trl") -> Path:
        """The folder that these options make."""
        name = "-".join([format_, *(Path(option).name for option in options)])
        out = self.folder / name
        if not out.exists():
            arguments = ["export", "--format", format_, "--out", str(out)]
            done = CliRunner().invoke(app, [*arguments, "--data-dir", str(self.data), *options])
            assert done.exit_code == 0, done.output
        return out


@pytest.fixture(scope="session")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Exports:
    """Over a data folder that ledger and projector wrote."""
    folder = tmp_path_factory.mktemp("exports")
    states = [
        decided(
            number,
            scores=(0.9, 0.4, 0.2),
            answers=[f"{place} is {CHOSEN}.", "It is a place.", REJECTED],
            contexts=(
                context(
                    f"{place} is a city of ships and lamps."
                    + (" It is long." * (LONG // 12) if place == PLACES[-1] else ""),
                    document_id=place,
                    source=f"{place}.md",
                ),
            ),
        )
        for number, place in enumerate(PLACES)
    ]
    Folder(folder / "data").run(states)
    return Exports(folder / "data", folder)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of random weights that trains in a second."""
    return write_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def gguf() -> Path:
    return SMOLLM2_135M.locate()


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster of this machine."""

    address: str

    @property
    def env(self) -> dict[str, str]:
        """That of a submitted job: Ray says there where its cluster is."""
        return os.environ | {"RAY_ADDRESS": self.address}

    def job(self, *arguments: object, code: int = 0) -> tuple[str, str]:
        """Run the job as a driver; return what it printed, and its complaints."""
        done = subprocess.run(
            [sys.executable, str(JOB), *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=JOB_S,
            env=self.env,
            check=False,
        )
        assert done.returncode == code, f"{done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout, done.stderr


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """With CPUs for two workers beside the application."""
    ray.init(address="local", num_cpus=3, include_dashboard=False, object_store_memory=OBJECTS)
    try:
        yield Cluster(ray.get_runtime_context().gcs_address)
    finally:
        with contextlib.suppress(Exception):
            ray.shutdown()


Refused = Callable[..., str]


@pytest.fixture
def refused(cluster: Cluster) -> Refused:
    """The one line that the job fails with."""

    def run(*arguments: object) -> str:
        _, told = cluster.job(*arguments, code=1)
        (line,) = [line for line in told.splitlines() if line.startswith("train_dpo: ")]
        return line

    return run
