"""What tests of several kinds share."""

import atexit
import logging
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import settings

from tests.broker import Broker

# Its asserts say what differed, as those of test modules do.
pytest.register_assert_rewrite("tests.engine_contract")

# No command that a test runs meets a server of whoever runs the tests.
os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="rlvr-tests-")
atexit.register(shutil.rmtree, os.environ["XDG_STATE_HOME"], ignore_errors=True)

# No test leans on speed.
settings.register_profile("short", deadline=None, max_examples=25)
settings.register_profile("all", deadline=None)

#: Tests that share the cluster, the broker or the browser: they run in one process.
SHARED = (
    "tests/browser/",
    "tests/cluster/",
    "tests/events/",
    "tests/faults/test_broker.py",
    "tests/pipeline/test_external.py",
    "tests/pipeline/test_maintenance.py",
    "tests/serve/test_placement.py",
)
#: Outside of the rooms: tests of the whole system.
WHOLE = {"browser", "cluster", "faults", "quality"}


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--all`` is what ``make test-all`` runs; ``--rounds`` is for ``tests/faults``."""
    parser.addoption(
        "--all",
        action="store_true",
        help="slow tests too, and every case of those that are sampled without it",
    )
    parser.addoption(
        "--rounds",
        type=int,
        default=None,
        help="how often each random fault is tried: 2, with --all 8; from 100 on every single case",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Properties are tried with more examples in the whole run."""
    settings.load_profile("all" if config.getoption("--all") else "short")


def _process(nodeid: str) -> str:
    """Tests with the same answer run in the same process: those of a file, and all of SHARED."""
    return "shared" if nodeid.startswith(SHARED) else nodeid.partition("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Where tests run with ``-n``: xdist's own groups need an older pytest."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return _process(nodeid)

    return Scheduling(config, log)


def pytest_itemcollected(item: pytest.Item) -> None:
    """What stands outside of the rooms runs the whole system."""
    if WHOLE & set(item.path.parts):
        item.add_marker(pytest.mark.integration)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out of the short run what is slow, and the most of what is sampled."""
    if not config.getoption("--all"):
        cases: Counter[str] = Counter()
        kept: list[pytest.Item] = []
        left: list[pytest.Item] = []
        for item in items:
            sampled = item.get_closest_marker("sampled")
            name = item.nodeid.partition("[")[0]
            out = item.get_closest_marker("slow") or (sampled and cases[name] % sampled.args[0])
            cases[name] += 1
            (left if out else kept).append(item)
        config.hook.pytest_deselected(items=left)
        items[:] = kept
    # The longest first: what is left at the end is short.
    items.sort(key=lambda item: _process(item.nodeid) != "shared")


@pytest.fixture(autouse=True)
def own_logging() -> Iterator[None]:
    """What a test configures, as commands do, ends with it."""
    logger = logging.getLogger("rlvr_ray")
    level, propagate, handlers = logger.level, logger.propagate, list(logger.handlers)
    yield
    logger.setLevel(level)
    logger.propagate, logger.handlers = propagate, handlers


@pytest.fixture(autouse=True)
def ray_mode_of_its_own() -> Iterator[None]:
    """What a command tells Ray by its environment ends with the test."""
    before = os.environ.get("RAY_AUTH_MODE")
    yield
    os.environ.pop("RAY_AUTH_MODE", None)
    if before is not None:
        os.environ["RAY_AUTH_MODE"] = before


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One RabbitMQ for the run; who mistreats it leaves it as found."""
    with Broker(tmp_path_factory.mktemp("broker")) as running:
        yield running


@pytest.fixture
def exchange_name() -> str:
    """An exchange of the test's own on the one broker."""
    return f"rlvr_events_{uuid4().hex}"
