"""Which engine judges and who verifies, from the settings."""

from collections.abc import Sequence
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from rlvr_ray import judging
from rlvr_ray.adapters.ragas import AskedContexts
from rlvr_ray.errors import ConfigError
from rlvr_ray.judging import GroundedContexts, build_panel, check_verifiers
from rlvr_ray.settings import Settings, load
from tests.fakes import FakeEmbedder, FakeGenerator


def settings(*verifiers: Any, **verification: Any) -> Settings:
    return load(verification={"verifiers": verifiers or ["grounded"], **verification})


def panel(*verifiers: Any, **verification: Any) -> Any:
    return build_panel(settings(*verifiers, **verification), FakeGenerator(), FakeEmbedder())


def members(found: Any) -> list[tuple[str, float]]:
    return [(member.name, member.weight) for member in found._members]


def test_what_a_language_model_says_is_checked() -> None:
    assert members(panel()) == [("grounded", 1.0), ("check", 0.0)]
    found = panel({"name": "ragas", "weight": 2}, "logprob")
    assert members(found) == [("ragas", 2.0), ("logprob", 1.0), ("check", 0.0)]


def test_the_check_can_be_left_out_and_rewards_need_none() -> None:
    assert members(panel(cross_check=False)) == [("grounded", 1.0)]
    assert members(panel("exact", "numeric")) == [("exact", 1.0), ("numeric", 1.0)]


@pytest.mark.parametrize(
    ("verifiers", "kind"),
    [
        (["grounded"], GroundedContexts),
        (["exact"], GroundedContexts),
        (["ragas"], AskedContexts),
        (["grounded", "logprob"], AskedContexts),
    ],
)
def test_contexts_are_judged_by_the_model_where_it_gives_verdicts(
    verifiers: Sequence[str], kind: type
) -> None:
    assert isinstance(panel(*verifiers)._context_judge, kind)


async def test_without_a_model_contexts_are_judged_by_their_words() -> None:
    judge = GroundedContexts()
    contexts = ["Ray Serve is a model serving library.", "Qdrant was founded in Berlin."]
    assert await judge.answerable("What is Ray Serve?", contexts) == 1.0
    assert await judge.answerable("Where was Qdrant founded?", contexts) == 1.0
    assert await judge.answerable("What does Kubernetes schedule?", contexts) < 0.3
    assert 0.3 < await judge.answerable("What is the price of Ray Serve?", contexts) < 0.7
    assert await judge.answerable("???", contexts) == 0.0
    assert await judge.answerable("What is Ray?", []) == 0.0


def test_an_unknown_verifier_is_named_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="there is no vibes; installed: exact, grounded, json"):
        check_verifiers(settings("grounded", "vibes"))


def test_wrong_options_are_named() -> None:
    with pytest.raises(ConfigError, match="options of logprob: statement"):
        panel({"name": "logprob", "options": {"statement": "sentences"}})


def _entries(*values: str) -> Any:
    found = [EntryPoint(name="theirs", value=value, group=judging.GROUP) for value in values]
    return lambda group, name=None: found


def test_a_verifier_that_two_packages_bring_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "entry_points", _entries("a:make", "b:make"))
    with pytest.raises(ConfigError, match="theirs is given twice: a:make, b:make"):
        check_verifiers(settings("theirs"))


@pytest.mark.parametrize("value", ["no_such_module_here:make", "math:no_such_thing"])
def test_a_verifier_that_cannot_be_loaded_is_said(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "entry_points", _entries(value))
    with pytest.raises(ConfigError, match="the verifier theirs cannot be loaded"):
        panel("theirs")
