"""From a question to a row on Ray Serve, with vLLM generating and judging."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from rlvr_ray.cli.demo import documents
from rlvr_ray.client import Batch
from rlvr_ray.core.errors import RlvrError
from tests.cluster.conftest import System, serve

RECOVERY_S = 180
METRICS = "prom_metrics_service_discovery.json"  #: where Ray says who exports them


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory, options: dict[str, Any]) -> Iterator[System]:
    """Random weights write twelve tokens and break off, so that no answer of theirs is chosen."""
    folder = tmp_path_factory.mktemp("system")
    settings = {
        "generator": options | {"max_tokens": 12, "context_tokens": 4096},
        "verification": {"verifiers": ["logprob"], "screening": False},
    }
    config = folder / "settings.yaml"
    config.write_text(json.dumps(settings))
    yield from serve(folder, {"RLVR_CONFIG": str(config)})


@pytest.fixture(scope="module")
def asked(system: System) -> Batch:
    system.client.ingest(documents(None)[:4])
    return system.client.ask("What is Ray Serve?", top_k=2, seed=1)


def test_the_engine_is_named_with_the_reason(system: System) -> None:
    ready = system.http.get("/readyz").json()
    assert ready["parts"]["generator"]["engine"] == "vllm: generator.engine says so"


def test_a_question_is_decided(system: System, asked: Batch, model: Path) -> None:
    assert [candidate.temperature for candidate in asked.candidates] == [0.3, 0.7, 0.9]
    assert {candidate.model for candidate in asked.candidates} == {str(model)}
    usages = [candidate.usage for candidate in asked.candidates]
    for usage in usages[1:]:
        assert usage.cached_tokens > usage.prompt_tokens - 32, usages
    state = system.client.wait(asked.batch_id)
    for candidate in state.candidates:
        judged = candidate.verification
        assert judged is not None
        # What random weights write is foreign to the passages, whatever they say of it themselves.
        strange = judged.reason is not None and "do not speak of" in judged.reason
        assert judged.status == "completed" or strange, judged
    assert state.outcome is not None
    assert not state.outcome.pair, "what breaks off is not chosen"
    rows = system.await_rows("training_data", asked.batch_id, 3)
    assert [row["answer"] for row in rows] == [c.answer for c in state.candidates]


def test_the_engines_metrics_are_ray_metrics(system: System, asked: Batch) -> None:
    """Ray's agent exports what vLLM counts, beside Serve's own figures."""
    services = system.ray_session / METRICS
    targets = [target for each in json.loads(services.read_text()) for target in each["targets"]]
    deadline = time.monotonic() + 60
    while True:
        pages = [httpx.get(f"http://{target}/metrics", timeout=30).text for target in targets]
        if any("ray_vllm_prompt_tokens_total" in page for page in pages):
            return
        assert time.monotonic() < deadline, "no metric of vLLM's among Ray's"
        time.sleep(1)


def test_a_killed_engine_comes_back(system: System, asked: Batch) -> None:
    cores = [p for p in system.family() if "EngineCore" in p.name()]
    assert len(cores) == 1, cores
    cores[0].kill()
    psutil.wait_procs(cores, timeout=10)
    deadline = time.monotonic() + RECOVERY_S
    refusals = []
    while True:
        try:
            batch = system.client.ask("What is FastAPI?", top_k=1, seed=2)
            break
        except RlvrError as error:
            refusals.append(str(error))
            assert time.monotonic() < deadline, refusals[-1]
            time.sleep(1)
    assert len(batch.candidates) == 3
    assert system.client.wait(batch.batch_id).outcome
    assert refusals == [] or any("vLLM has died" in refusal for refusal in refusals), refusals
