"""What tests of several kinds share."""

import atexit
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
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
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


@pytest.fixture(autouse=True)
def own_logging() -> Iterator[None]:
    """What a test configures, as commands do, ends with it."""
    logger = logging.getLogger("rlvr_ray")
    level, propagate, handlers = logger.level, logger.propagate, list(logger.handlers)
    yield
    logger.setLevel(level)
    logger.propagate, logger.handlers = propagate, handlers


@pytest.fixture(autouse=True)
def ray_mode_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a command tells Ray by its environment ends with the test."""
    monkeypatch.setenv("RAY_AUTH_MODE", "")
    monkeypatch.delenv("RAY_AUTH_MODE")


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One RabbitMQ for the run; who mistreats it leaves it as found."""
    with Broker(tmp_path_factory.mktemp("broker")) as running:
        yield running


@pytest.fixture
def exchange_name() -> str:
    """An exchange of the test's own on the one broker."""
    return f"rlvr_events_{uuid4().hex}"


def pytest_itemcollected(item: pytest.Item) -> None:
    """What stands outside of the rooms runs the whole system."""
    if {"browser", "cluster", "faults", "quality"} & set(item.path.parts):
        item.add_marker(pytest.mark.integration)


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--rounds`` is for ``tests/faults``; pytest asks for options here only."""
    parser.addoption(
        "--rounds",
        type=int,
        default=8,
        help="how often each random fault is tried; from 100 on, every single case too",
    )
