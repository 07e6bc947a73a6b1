"""The client that waits is the one for asyncio, without its awaits."""

from tests.client.sync_client import CLIENT, generated


def test_it_is_what_is_generated() -> None:
    assert (CLIENT / "blocking.py").read_text() == generated(), "run: make client"
