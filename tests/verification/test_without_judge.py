"""Where no verifier asks a language model, none is opened, and verification waits for none."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from rlvr_ray.core.errors import ConfigError
from rlvr_ray.core.records import Verification
from rlvr_ray.generation import engines, selection
from rlvr_ray.generation.generator import Completion, Prompt
from rlvr_ray.observability import logs
from rlvr_ray.pipeline.verification_loop import claims_of
from rlvr_ray.serve import deployments
from rlvr_ray.settings import EngineSettings, load
from rlvr_ray.verification import factory
from rlvr_ray.verification.verifier import StreamingPanel
from tests.builders import batch
from tests.fakes import FakeEmbedder, FakeGenerator
from tests.pipeline.test_aggregator import System

pytestmark = pytest.mark.integration


CHECKED = ("grounded", "exact", "numeric", "regex", "json_schema")


def refuse(prompt: Prompt) -> Sequence[str | Completion]:
    raise AssertionError(f"a judge was asked: {prompt.messages}")


@pytest.fixture
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    def open_engine(settings: EngineSettings) -> Any:
        raise AssertionError(f"an engine was opened: {settings.engine}")

    monkeypatch.setattr(engines, "open_engine", open_engine)


@pytest.mark.parametrize(
    ("verifier", "needs"),
    [*((name, False) for name in CHECKED), ("ragas", True), ("logprob", True), ("theirs", True)],
)
def test_who_needs_a_judge(verifier: str, needs: bool) -> None:
    """Verifiers of others may: nobody knows."""
    assert factory.needs_judge(load(verification={"verifiers": [verifier]})) is needs
    both = ["brevity", verifier]
    assert factory.needs_judge(load(verification={"verifiers": both}))


async def test_the_embedded_system_verifies_without_asking_its_model(tmp_path: Path) -> None:
    settings = selection.choose(load(data_dir=tmp_path), 0).settings
    generator = FakeGenerator(refuse)
    system = System(tmp_path, factory.build_panel(settings, generator, FakeEmbedder()))  # type: ignore[arg-type]
    await system.aggregator.start()
    try:
        asked = batch(("Ray is a framework for scaling Python.", "Ray is a kind of fish."))
        await system.aggregator.record([asked])
        (state,) = await system.decided(asked)
    finally:
        await system.aggregator.close()
    assert not generator.prompts
    for result in state.results.values():
        assert isinstance(result, Verification), result
        (assessment,) = result.assessments
        assert (assessment.verifier, assessment.judge.engine) == ("grounded", "")
        assert assessment.judge.model == ""


@pytest.mark.usefixtures("no_engine")
async def test_no_engine_is_opened_for_a_panel_that_needs_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logs, "configure", lambda *_: None)  # it is this process's
    claims = claims_of(batch(("Ray is a framework for scaling Python.",)))
    async with factory.local_panel(load()) as panel:
        (result,) = await panel.verify(claims)
    assert isinstance(result, Verification)
    replica = deployments.VerifierReplica(selection.choose(load(), 0).settings, None)
    (again,) = await replica.call(StreamingPanel.verify, claims)
    assert isinstance(again, Verification)
    assert again.assessments[0].statements == result.assessments[0].statements


async def test_where_one_is_needed_it_is_opened_and_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []

    class Opened(FakeGenerator):
        async def close(self) -> None:
            closed.append(self)

    monkeypatch.setattr(engines, "open_engine", lambda settings: Opened())
    async with factory.local_panel(load(verification={"verifiers": ["ragas"]})):
        assert not closed
    assert len(closed) == 1


async def test_a_verifier_that_asks_all_the_same_is_found_out() -> None:
    with pytest.raises(ConfigError, match="no verifier of the settings asks one"):
        await factory.NoJudge().generate([])
