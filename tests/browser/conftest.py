"""Stages for the page's tests."""

from collections.abc import Iterator

import pytest

from tests.browser import seed
from tests.browser.fixtures import browser, new_page, page, trouble
from tests.browser.stage import Stage, open_stage

__all__ = ["browser", "new_page", "page", "trouble"]

MANY = 10_000


@pytest.fixture(scope="session")
def stage() -> Iterator[Stage]:
    """One with documents; who breaks it mends it."""
    with open_stage() as running:
        yield running


@pytest.fixture(scope="session")
def many() -> Iterator[Stage]:
    """One with many decided batches, to look at only."""
    with open_stage(seed.batches(MANY)) as running:
        yield running
