"""A batch that somebody watches: scores come one by one, and the outcome is what it would be."""

import asyncio
from pathlib import Path
from uuid import UUID

import pytest

from rlvr_ray.core.errors import Unavailable
from rlvr_ray.core.records import FailedVerification
from rlvr_ray.dataset.files import Dataset
from rlvr_ray.dataset.ledger import Ledger
from rlvr_ray.dataset.state import BatchState
from rlvr_ray.pipeline.aggregator import Aggregator
from rlvr_ray.pipeline.live import LiveEvent
from rlvr_ray.settings import Settings
from tests.builders import batch
from tests.fakes import FakePanel
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.integration


SCORES: dict[str, float | str] = {"a": 0.9, "b": "the judge wrote nonsense", "c": 0.5}


def aggregator(folder: Path, panel: FakePanel) -> Aggregator:
    return Aggregator(Ledger(folder), Dataset(folder), panel, Settings(data_dir=folder))


async def told(system: Aggregator, batch_id: UUID) -> list[LiveEvent]:
    """All that a watcher from now on is told, until the end."""
    last, found = None, list[LiveEvent]()
    async with asyncio.timeout(PATIENCE_S):
        while not found or found[-1].kind != "end":
            found += (new := await system.live.watch(batch_id, last, 10))
            last = new[-1].id if new else last
    return found


def scored(event: LiveEvent) -> int:
    state: BatchState = event.data
    return len(state.results)


async def test_scores_are_told_one_by_one_and_kept_with_the_outcome(tmp_path: Path) -> None:
    panel = FakePanel(SCORES)
    panel.hang()
    system = aggregator(tmp_path, panel)
    await system.start()
    try:
        asked = batch(("a", "b", "c"))
        system.live.publish(asked.batch_id, "one", [LiveEvent(kind="contexts")], opens=True)
        watching = asyncio.create_task(told(system, asked.batch_id))
        await asyncio.sleep(0)  # it watches
        await system.record([asked])
        await panel.until(lambda: panel.running == 1)
        ledger_state = await system.find(asked.batch_id)
        panel.release()
        events = await watching
    finally:
        await system.close()
    assert ledger_state is not None and not ledger_state.results, "nothing is kept halfway"
    states = [event for event in events if event.kind == "state"]
    counts = [scored(event) for event in states]
    assert counts == sorted(counts) and counts[0] == 0 and counts[-1] == 3, counts
    final: BatchState = states[-1].data
    assert final.outcome is not None and final.outcome.reason is None, "the others make a pair"
    failed = final.results[asked.candidates[1].event_id]
    assert isinstance(failed, FailedVerification)
    assert failed.reason == "the judge wrote nonsense"


@pytest.mark.parametrize("scores", [SCORES, {"a": 0.9, "b": 0.7, "c": 0.5}, {"a": 0.1}])
async def test_watching_changes_no_outcome(tmp_path: Path, scores: dict[str, float | str]) -> None:
    async def outcome(folder: Path, *, watched: bool) -> tuple[object, ...]:
        panel = FakePanel(scores)
        system = aggregator(folder, panel)
        await system.start()
        try:
            asked = batch(("a", "b", "c"))
            if watched:
                system.live.publish(asked.batch_id, "one", [], opens=True)
                await system.live.watch(asked.batch_id, None, 0)
            panel.hang()
            await system.record([asked])
            await panel.until(lambda: panel.running == 1)  # how it is verified is settled
            panel.release()
            state: BatchState = (await told(system, asked.batch_id))[-2].data
        finally:
            await system.close()
        assert panel.calls == (3 if watched else 1)
        found = state.outcome
        assert found is not None
        return found.reason, found.chosen, found.rejected, found.chosen_score, found.rejected_score

    plain = await outcome(tmp_path / "plain", watched=False)
    assert await outcome(tmp_path / "watched", watched=True) == plain


async def test_a_panel_that_goes_away_halfway_is_asked_again(tmp_path: Path) -> None:
    panel = FakePanel({"a": 0.9, "b": 0.7, "c": 0.5})
    panel.hang()
    system = aggregator(tmp_path, panel)
    await system.start()
    try:
        asked = batch(("a", "b", "c"))
        system.live.publish(asked.batch_id, "one", [], opens=True)
        await system.live.watch(asked.batch_id, None, 0)
        await system.record([asked])
        await panel.until(lambda: panel.running == 1)
        panel.failures.append(Unavailable("the verifier is not there"))
        panel.release()
        state: BatchState = (await told(system, asked.batch_id))[-2].data
    finally:
        await system.close()
    assert state.outcome is not None and state.outcome.reason is None
    assert panel.calls == 5, "one, one that failed, and all three again"
