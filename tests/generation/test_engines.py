"""Which engine runs the generator and the judge."""

from pathlib import Path
from typing import Any, get_args

import pytest

from rlvr_ray.core.errors import ConfigError, Unavailable
from rlvr_ray.generation import engines, selection
from rlvr_ray.generation.engines import vllm
from rlvr_ray.serve import app
from rlvr_ray.settings import EngineName, JudgeSettings, load
from tests.repository.test_serve_config import _bound

pytestmark = pytest.mark.integration


SERVER = {"base_url": "http://127.0.0.1:1/v1", "model": "m"}


@pytest.mark.parametrize(
    ("generator", "engine", "reason"),
    [
        ({}, "llamacpp", "there is no GPU on this machine"),
        (SERVER, "openai", "generator.base_url is set"),
        ({"model_path": "some.gguf"}, "llamacpp", "generator.model_path is set"),
        (SERVER | {"engine": "llamacpp"}, "llamacpp", "generator.engine says so"),
    ],
)
def test_auto_is_settled_and_says_why(generator: Any, engine: str, reason: str) -> None:
    choice = selection.choose(load(generator=generator))
    assert choice.settings.generator.engine == engine
    assert choice.reason == reason


@pytest.mark.parametrize(
    ("installed", "gpus", "engine", "reason"),
    [
        (True, 1, "vllm", "it is installed and there is a GPU in the cluster"),
        (False, 1, "llamacpp", vllm.MISSING),
        (True, 0, "llamacpp", "there is no GPU in the cluster"),
    ],
)
def test_auto_takes_vllm_where_it_can_run(
    installed: bool, gpus: float, engine: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vllm.startup, "find_spec", lambda name: object() if installed else None)
    choice = selection.choose(load(), gpus)
    assert (choice.settings.generator.engine, choice.reason) == (engine, reason)


def test_the_registry_has_the_engines_of_the_settings() -> None:
    assert set(engines.ENGINES) == set(get_args(EngineName))


def test_engines_that_share_a_card_are_deployed_with_their_shares() -> None:
    judge = {"engine": "vllm", "model": "some/judge", "gpus": 0.4}
    parts = _bound(app.app({"generator": {"engine": "vllm", "gpus": 0.6}, "judge": judge}))
    gpus = {part.name: (part.ray_actor_options or {}).get("num_gpus") for part in parts}
    assert gpus == {
        "Ask": None,
        "Generator": 0.6,
        "Judge": 0.4,
        "Retriever": None,
        "Verifier": None,
    }


def test_more_gpus_than_there_are_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "_gpus", lambda: 1.0)
    app._check_gpus(load(generator={"engine": "vllm", "gpus": 1}))
    judge = {"engine": "vllm", "model": "some/judge", "gpus": 0.5}
    with pytest.raises(ConfigError, match=r"generator\.gpus=1 and judge\.gpus=0\.5, .* has 1: "):
        app._check_gpus(load(generator={"engine": "vllm", "gpus": 1}, judge=judge))


async def test_without_vllm_its_engine_says_what_to_install() -> None:
    with pytest.raises(
        ConfigError, match=r"in the folder of rlvr_ray, pip install -e '\.\[vllm\]'"
    ):
        await engines.probe(load(generator={"engine": "vllm"}).generator)


def test_the_generator_judges_unless_told_otherwise() -> None:
    settings = selection.choose(load(generator=SERVER)).settings
    assert selection.judging(settings) is settings.generator
    settings = load(judge={"engine": "openai"} | SERVER)
    assert selection.judging(settings) is settings.judge


def test_a_servers_engine_has_no_deployment() -> None:
    names = {bound.name for bound in _bound(app.app({"generator": SERVER}))}
    assert names == {"Ask", "Retriever", "Verifier"}


async def test_a_server_that_is_away_is_named() -> None:
    settings = selection.choose(load(generator=SERVER)).settings
    with pytest.raises(Unavailable, match=r"the generator's server 127\.0\.0\.1:1"):
        await engines.probe(settings.generator)


async def test_a_model_file_that_is_missing_is_named(tmp_path: Path) -> None:
    judge = JudgeSettings(engine="llamacpp", model_path=tmp_path / "none.gguf")
    with pytest.raises(ConfigError, match=r"judge\.model_path: there is no file"):
        await engines.probe(judge)


async def test_an_engine_that_answers_is_described() -> None:
    generator = selection.choose(load(generator={"slots": 1, "context_tokens": 512})).settings
    assert await engines.probe(generator.generator) == "SmolLM2-135M-Instruct.Q4_1 on llamacpp"
