"""The contract of engines, on vLLM with random weights."""

import pytest

from rlvr_ray.generation.engines.vllm import VLLM
from rlvr_ray.generation.generator import Engine
from tests.engine_contract import AtWork, EngineContract
from tests.vllm.conftest import CONTEXT

pytestmark = pytest.mark.asyncio(loop_scope="session")


class TestVLLM(EngineContract):
    context_tokens = CONTEXT
    together = 4
    block_tokens = 32

    @pytest.fixture
    def at_work(self) -> AtWork:
        async def count(engine: Engine) -> int:
            assert isinstance(engine, VLLM)
            return int(engine._engine.output_processor.get_num_unfinished_requests())

        return count

    @pytest.fixture
    def spare(self, engine: Engine) -> Engine:
        """Closed by the last test of the run that needs it: the next load would take long."""
        return engine
