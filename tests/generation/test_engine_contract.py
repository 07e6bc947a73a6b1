"""The contract of engines, kept by llama.cpp in this process and by a server's client."""

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
import pytest_asyncio

from rlvr_ray.generation.engines.llamacpp import LlamaCpp
from rlvr_ray.generation.engines.openai import OpenAIChat
from rlvr_ray.generation.generator import Engine
from rlvr_ray.settings import GeneratorSettings
from tests.engine_contract import AtWork, EngineContract
from tests.llama_server import MODEL, llama_server

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

CONTEXT = 2048


class TestLlamaCpp(EngineContract):
    context_tokens = CONTEXT
    together = 3

    SETTINGS = GeneratorSettings(slots=together, context_tokens=CONTEXT, threads=2)

    @pytest_asyncio.fixture(scope="class", loop_scope="module")
    async def engine(self) -> AsyncIterator[LlamaCpp]:
        opened = LlamaCpp(self.SETTINGS)
        yield opened
        await opened.close()

    @pytest.fixture
    def spare(self) -> LlamaCpp:
        return LlamaCpp(self.SETTINGS)

    @pytest.fixture
    def at_work(self) -> AtWork:
        async def count(engine: Engine) -> int:
            assert isinstance(engine, LlamaCpp)
            slots: list[dict[str, bool]] = await engine._server.request("GET", "/slots")
            return sum(slot["is_processing"] for slot in slots)

        return count

    @pytest_asyncio.fixture(loop_scope="module", autouse=True)
    async def _all_slots_are_back(self, engine: LlamaCpp) -> AsyncIterator[None]:
        yield
        assert sorted(slot.number for slot in engine._slots.idle) == [0, 1, 2], (
            "one is lost or doubled"
        )


class TestOpenAI(EngineContract):
    """Over llama.cpp's HTTP server.

    A sample is a request, so each of those that run at once has a prefill of its own. The server
    reads a chat's control tokens wherever they stand.
    """

    context_tokens = CONTEXT
    together = 2
    shares_prefill = False
    control_tokens_are_text = False
    #: The server looks for closed connections where it answered nobody for a second.
    poll_s = 1.5

    @pytest.fixture(scope="class")
    def url(self) -> Iterator[str]:
        with llama_server(slots=self.together, context_tokens=CONTEXT) as address:
            yield address

    @pytest.fixture(scope="class")
    def settings(self, url: str) -> GeneratorSettings:
        return GeneratorSettings(
            engine="openai", base_url=f"{url}/v1", model=MODEL, timeout_s=120, retries=1
        )

    @pytest_asyncio.fixture(scope="class", loop_scope="module")
    async def engine(self, settings: GeneratorSettings) -> AsyncIterator[OpenAIChat]:
        opened = OpenAIChat(settings)
        yield opened
        await opened.close()

    @pytest.fixture
    def spare(self, settings: GeneratorSettings) -> OpenAIChat:
        return OpenAIChat(settings)

    @pytest_asyncio.fixture(scope="class", loop_scope="module")
    async def at_work(self, url: str) -> AsyncIterator[AtWork]:
        async with httpx.AsyncClient(base_url=url) as http:

            async def count(engine: Engine) -> int:
                slots = (await http.get("/slots")).json()
                return sum(slot["is_processing"] for slot in slots)

            yield count
