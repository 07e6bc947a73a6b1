"""What a command tells Ray by its environment must not reach the tests after it."""

import pytest


@pytest.fixture(autouse=True)
def ray_mode_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unset, and unset again at the end, whatever the test's commands made of it."""
    monkeypatch.setenv("RAY_AUTH_MODE", "")
    monkeypatch.delenv("RAY_AUTH_MODE")
