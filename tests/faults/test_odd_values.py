"""Odd values in every field of everything that comes in: none is taken that cannot be read."""

from pathlib import Path

import pytest

from tests.faults.harness import Figures
from tests.odd import Throwing

#: Things thrown for each round: 200 rounds are 50,000.
A_ROUND = 250


@pytest.mark.timeout(7200)
async def test_nothing_that_is_thrown_poisons_or_stops(
    tmp_path: Path, rounds: int, figures: Figures
) -> None:
    system = Throwing(tmp_path, seed=rounds)
    await system.run(rounds * A_ROUND)
    poisoned = system.poisoned()
    raised = [name for name in system.found if name.startswith("RAISED")]
    taken = sum(number for name, number in system.found.items() if name.endswith(": taken"))
    refused = sum(number for name, number in system.found.items() if name.endswith(": refused"))
    figures.add(
        "odd values",
        thrown=rounds * A_ROUND,
        taken=taken,
        refused=refused,
        poisoned=len(poisoned),
        raised=len(raised),
    )
    assert poisoned == []
    assert raised == []
    kinds = ("batch", "document", "event", "outcome", "payload", "result", "review")
    assert all(system.found[f"{kind}: taken"] for kind in kinds), system.found
