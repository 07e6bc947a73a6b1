"""Which engine judges and who verifies, from the settings."""

import asyncio
from collections.abc import Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from rlvr_ray.core.errors import ConfigError
from rlvr_ray.generation import selection
from rlvr_ray.settings import Settings, load
from rlvr_ray.verification import verifiers
from rlvr_ray.verification.factory import build_panel, check_verifiers
from rlvr_ray.verification.verifiers.ragas.contexts import AskedContexts
from tests import gguf
from tests.fakes import FakeEmbedder, FakeGenerator
from tests.openai_server import OpenAIServer, Reply, completion, problem

pytestmark = pytest.mark.integration


SERVER = {"engine": "openai", "base_url": "http://127.0.0.1:1/v1", "model": "llama3.2:3b"}
LOGPROBS = {"capabilities": ["logprobs"]}
LARGE, SMALL = (50_000, 51_200), (1_000, 1_235)  # 2.56 billion, and 1.2 million


def chosen(generator: Any = None, judge: Any = None, **verification: Any) -> tuple[str, str]:
    """Who verifies, and the whole of what is said of that."""
    sections = {"generator": generator or {}, "judge": judge or {}, "verification": verification}
    choice = selection.choose(load(**sections), 0)
    assert choice.settings.generator.engine != "auto"
    names = ", ".join(verifier.name for verifier in choice.settings.verification.chosen)
    assert choice.verifiers.startswith(f"{names}: ") and "\n" not in choice.verifiers
    return names, choice.verifiers


def test_the_embedded_model_is_asked_for_no_verdict() -> None:
    name, why = chosen()
    assert name == "grounded"
    assert "SmolLM2-135M-Instruct.Q4_1 has 0.14 billion parameters, and a judge needs 2.5" in why


@pytest.mark.parametrize(
    ("judge", "name", "says"),
    [
        ({"engine": "vllm"}, "logprob", "Llama-3.2-3B-Instruct judges, and vllm gives log-"),
        ({"engine": "vllm", "model": "some/folder/judge"}, "logprob", "judge judges, and vllm"),
        ({"engine": "vllm", "model": "Qwen/Qwen2.5-0.5B-Instruct"}, "grounded", "has 0.5 billion"),
        (SERVER | LOGPROBS, "logprob", "llama3.2:3b judges, and generator.capabilities has `logp"),
        (
            SERVER | {"capabilities": ["schema"]},
            "ragas",
            "generator.capabilities has no `logprobs`",
        ),
        (SERVER | {"model": "smollm2:135m"} | LOGPROBS, "grounded", "has 0.14 billion"),
        (SERVER, "ragas", "whether its server gives log-probabilities is not known"),
    ],
)
def test_who_verifies_goes_by_engine_and_model(judge: Any, name: str, says: str) -> None:
    found, why = chosen(judge)
    assert found == name
    assert says in why


@pytest.mark.parametrize(
    ("shape", "file", "name"),
    [
        (LARGE, "anything.gguf", "logprob"),
        (SMALL, "anything.gguf", "grounded"),
        (SMALL, "Llama-3.2-3B-Instruct-Q4_K_M.gguf", "grounded"),  # the file knows better
        (LARGE, "Qwen2.5-0.5B.gguf", "logprob"),
        (None, "Llama-3.2-3B-Instruct-Q4_K_M.gguf", "logprob"),  # it may lie on another machine
        (None, "Llama-3.2-1B-Instruct-Q4_K_M.gguf", "grounded"),
    ],
)
@pytest.mark.parametrize("whose", ["generator", "judge"])
def test_a_gguf_files_size_decides(
    tmp_path: Path, whose: str, shape: Any, file: str, name: str
) -> None:
    path = tmp_path / file
    if shape is not None:
        gguf.write(path, shape)
    engine = {"engine": "llamacpp", "model_path": path}
    assert chosen(**{whose: engine})[0] == name


def test_the_judges_engine_counts_where_it_is_another() -> None:
    large, small = SERVER | LOGPROBS, SERVER | LOGPROBS | {"model": "qwen2.5:0.5b"}
    assert chosen({}, large)[0] == "logprob"
    assert chosen(large, small)[0] == "grounded"
    assert chosen(small, large)[0] == "logprob"


@pytest.mark.parametrize(
    ("model", "small"),
    [
        ("smollm2", True),
        ("smollm2:135m", True),
        ("HuggingFaceTB/SmolLM2-1.7B-Instruct", True),
        ("HuggingFaceTB/SmolLM3-3B", False),
        ("tinyllama", True),
        ("qwen2.5:0.5b", True),
        ("Qwen2.5-0.5B-Instruct", True),
        ("llama3.2:1b", True),
        ("llama3.2:3b", False),
        ("hf.co/someone/Llama-3.2-1B-Instruct-GGUF:Q4_K_M", True),
        ("gemma-3-270m-it", True),
        ("deepseek-r1:1.5b", True),
        ("phi3:3.8b", False),
        ("mixtral:8x7b", False),
        ("qwen3-30b-a3b", False),
        ("Phi-3-mini-128k-instruct", False),
        ("gpt-4o-mini", False),
        ("llama3.2", False),
        ("mistral-7b-instruct-v0.1", False),
    ],
)
def test_a_small_model_is_known_by_its_name(model: str, small: bool) -> None:
    assert (chosen(SERVER | LOGPROBS | {"model": model})[0] == "grounded") is small


def test_what_the_settings_name_is_not_chosen_anew() -> None:
    name, why = chosen(verifiers=["ragas", {"name": "exact", "weight": 2}])
    assert (name, why) == ("ragas, exact", "ragas, exact: verification.verifiers says so")


# A server is asked.


def verdict(*likeliest: tuple[str, float], content: str = "1") -> Reply:
    place = {"token": content, "logprob": likeliest[0][1]}
    tops = [{"token": token, "logprob": logprob} for token, logprob in likeliest]
    return Reply(body=completion(content, logprobs={"content": [place | {"top_logprobs": tops}]}))


@pytest.mark.parametrize(
    ("reply", "name", "says"),
    [
        (verdict(("1", -0.1), ("0", -3.0)), "logprob", "its server gives log-probabilities"),
        (verdict((" 0", -0.2), ("No", -3.0), content=" 0"), "logprob", "its server gives"),
        (Reply(body=completion("1")), "ragas", "returns no log-probabilities"),
        (
            problem(400, "logprobs is not supported", param="logprobs"),
            "ragas",
            "refuses `logprobs`",
        ),
        (verdict(("<think>", -0.01), ("1", -5.0)), "ragas", "served-model does not begin its answ"),
        (Reply(body=completion("")), "ragas", "served-model does not begin its answer"),
        (problem(503, "loading"), "ragas", "failed (HTTP 503): loading"),
        (problem(401, "no"), "ragas", "refuses the key"),
        (problem(400, "maximum model length is 8"), "ragas", "the prompt is too long"),
    ],
)
async def test_a_server_is_asked_for_one_token(reply: Reply, name: str, says: str) -> None:
    async with OpenAIServer() as server:
        server.replies = [reply]
        own = load(generator=SERVER | {"base_url": server.url})
        choice = await asyncio.to_thread(selection.choose, own, ask=True)
        (asked,) = server.requests
    assert (asked.body["max_tokens"], asked.body["top_logprobs"]) == (1, 20)
    assert [verifier.name for verifier in choice.settings.verification.chosen] == [name]
    assert says in choice.verifiers


async def test_a_server_is_not_asked_where_nothing_hangs_on_it() -> None:
    async with OpenAIServer() as server:
        own = SERVER | {"base_url": server.url}
        for generator, verification in [
            (own | LOGPROBS, {}),
            (own | {"model": "llama3.2:1b"}, {}),
            (own, {"verifiers": ["grounded"]}),
        ]:
            settings = load(generator=generator, verification=verification)
            await asyncio.to_thread(selection.choose, settings, ask=True)
        assert not server.requests


async def test_a_server_that_is_away_judges_in_words() -> None:
    choice = await asyncio.to_thread(selection.choose, load(generator=SERVER), ask=True)
    assert "ragas: llama3.2:3b judges in words, since" in choice.verifiers
    assert "the generator's server 127.0.0.1:1 is not there" in choice.verifiers


# Panels.


def settings(*verifiers: Any, **verification: Any) -> Settings:
    return load(verification={"verifiers": verifiers or ["grounded"], **verification})


def panel(*verifiers: Any, **verification: Any) -> Any:
    return build_panel(settings(*verifiers, **verification), FakeGenerator(), FakeEmbedder())


def members(found: Any) -> list[tuple[str, float]]:
    return [(member.name, member.weight) for member in found._members]


def test_the_members_are_those_of_the_settings() -> None:
    found = panel({"name": "ragas", "weight": 2}, "grounded", "exact")
    assert members(found) == [("ragas", 2.0), ("grounded", 1.0), ("exact", 1.0)]


@pytest.mark.parametrize(
    ("verifiers", "kind"),
    [
        (["grounded"], type(None)),
        (["exact"], type(None)),
        (["ragas"], AskedContexts),
        (["grounded", "logprob"], AskedContexts),
    ],
)
def test_contexts_are_judged_by_the_model_where_it_gives_verdicts(
    verifiers: Sequence[str], kind: type
) -> None:
    assert isinstance(panel(*verifiers)._context_judge, kind)


def test_an_unknown_verifier_is_named_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="there is no vibes; installed: exact, grounded, json"):
        check_verifiers(settings("grounded", "vibes"))


def test_wrong_options_are_named() -> None:
    with pytest.raises(
        ConfigError, match="verifier logprob: there is no option 'statement'; it takes statements"
    ):
        panel({"name": "logprob", "options": {"statement": "sentences"}})


def _entries(*values: str) -> Any:
    found = [EntryPoint(name="theirs", value=value, group=verifiers.GROUP) for value in values]
    return lambda group, name=None: found


def test_a_verifier_that_two_packages_bring_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifiers, "entry_points", _entries("a:make", "b:make"))
    with pytest.raises(ConfigError, match="theirs is given twice: a:make, b:make"):
        check_verifiers(settings("theirs"))


@pytest.mark.parametrize("value", ["no_such_module_here:make", "math:no_such_thing"])
def test_a_verifier_that_cannot_be_loaded_is_said(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verifiers, "entry_points", _entries(value))
    with pytest.raises(ConfigError, match="the verifier theirs cannot be loaded"):
        panel("theirs")
