"""A model and an engine for the run; loading takes a quarter of a minute."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from rlvr_ray.generation.engines.vllm import VLLM
from rlvr_ray.settings import GeneratorSettings
from tests.vllm.tiny_model import write_tiny_model

CONTEXT = 8192
CACHE = 64 * 2**20  #: bytes


def pytest_configure(config: pytest.Config) -> None:
    # vLLM leaves a socket's context to the garbage collector where its process was killed.
    config.addinivalue_line("filterwarnings", "ignore:Unclosed context:ResourceWarning")


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def options(model: Path) -> dict[str, Any]:
    """Settings of the tiny model on vLLM's CPU build."""
    return {
        "engine": "vllm",
        "model": str(model),
        "gpus": 0,
        "context_tokens": CONTEXT,
        "vllm": {"kv_cache_memory_bytes": CACHE},
    }


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def engine(options: dict[str, Any]) -> AsyncIterator[VLLM]:
    opened = VLLM(GeneratorSettings(**options))
    yield opened
    await opened.close()
