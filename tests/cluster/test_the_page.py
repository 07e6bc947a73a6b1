"""The page on the whole system: from a click to an outcome with the embedded engine."""

from playwright.sync_api import Page, expect

from rlvr_ray import demo
from tests.browser.fixtures import SHOTS
from tests.cluster.conftest import System

#: Longest wait for the engine, in milliseconds.
ENGINE_MS = 120_000


def test_a_click_becomes_an_outcome(system: System, page: Page) -> None:
    system.client.ingest([text for text in demo.documents(None) if text.source == "fastapi.md"])
    page.goto(f"{system.url}/#/ask")
    page.get_by_test_id("question").fill("What is FastAPI?")
    page.get_by_test_id("ask").click()
    answer, outcome = page.get_by_test_id("answer-0"), page.get_by_test_id("outcome")
    expect(answer).not_to_be_empty(timeout=ENGINE_MS)
    assert not outcome.is_visible(), "the answer is seen while it is written"
    page.screenshot(path=SHOTS / "cluster-written.png")
    expect(outcome).to_be_visible(timeout=ENGINE_MS)
    state = system.client.batch(page.url.rpartition("/")[2])
    assert state.outcome is not None
    expect(outcome).to_contain_text("Pair" if state.outcome.pair else "No pair")
    for index, candidate in enumerate(state.candidates):
        expect(page.get_by_test_id(f"answer-{index}")).to_contain_text(candidate.answer[:20])
    page.screenshot(path=SHOTS / "cluster-decided.png")
    page.get_by_test_id("nav-dataset").click()
    expect(page.get_by_test_id("dataset-row").first).to_contain_text("What is FastAPI?")
    page.get_by_test_id("nav-system").click()
    for part in ("generator", "retriever", "aggregator"):
        expect(page.get_by_test_id(f"part-{part}")).to_contain_text("ok")
