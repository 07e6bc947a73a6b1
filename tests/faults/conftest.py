"""What the fault tests share."""

from collections.abc import Iterator

import pytest

from tests.faults.harness import Clean, Figures

_FIGURES = pytest.StashKey[Figures]()


@pytest.fixture(scope="session")
def rounds(request: pytest.FixtureRequest) -> int:
    """How often a random fault is tried."""
    given = request.config.getoption("--rounds")
    return given or (8 if request.config.getoption("--all") else 2)


@pytest.fixture(scope="session")
def thorough(rounds: int) -> bool:
    """Whether every case is wanted where otherwise some of them are enough."""
    return rounds >= 100


@pytest.fixture(scope="session")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Clean:
    """The rows as they are where nothing goes wrong."""
    return Clean(tmp_path_factory.mktemp("clean"))


@pytest.fixture(scope="session")
def figures(request: pytest.FixtureRequest) -> Figures:
    """Takes lines for the table that the run ends with: ``figures.add("kill -9", rounds=8)``."""
    return request.config.stash.setdefault(_FIGURES, Figures())


@pytest.hookimpl(wrapper=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> Iterator[None]:
    """Print the table."""
    figures = config.stash.get(_FIGURES, None)
    if figures and figures.rows:
        terminalreporter.section("faults")
        for line in figures.table():
            terminalreporter.line(line)
    return (yield)
