"""Everybody can use it: no barrier that axe finds, in light and dark, on a desktop and a phone."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser import seed
from tests.browser.fixtures import SHOTS, NewPage, barriers
from tests.browser.stage import Stage, open_stage

SCREENS = {"desktop": (1280, 800), "phone": (360, 740)}


@pytest.fixture(scope="module")
def some() -> Iterator[Stage]:
    with open_stage(seed.batches(60)) as running:
        yield running


@pytest.fixture(scope="module")
def bare() -> Iterator[Stage]:
    with open_stage(documents={}) as running:
        yield running


def decided(reason: str | None) -> str:
    """The id of a seeded batch that ended so."""
    found = (b for b, _, outcome in seed.batches(60) if outcome.reason == reason)
    return str(next(found).batch_id)


def asked(page: Page) -> None:
    expect(page.get_by_test_id("outcome")).to_be_visible()
    page.get_by_test_id("statement").first.click()
    unfold(page)


def opened(page: Page) -> None:
    expect(page.get_by_test_id("row-details")).to_contain_text("Provenance")
    unfold(page)


def unfold(page: Page) -> None:
    page.evaluate("document.querySelectorAll('main details').forEach(each => each.open = true)")


def waits(test_id: str) -> Callable[[Page], None]:
    return lambda page: expect(page.get_by_test_id(test_id).first).to_be_visible()


def searched(page: Page) -> None:
    page.get_by_test_id("search").fill("What do bees need?")
    page.get_by_test_id("search").press("Enter")
    expect(page.get_by_test_id("context-0")).to_be_visible()


def judged(page: Page) -> None:
    page.get_by_test_id("review-tie").click()
    expect(page.get_by_test_id("review-status")).to_contain_text("Recorded")
    unfold(page)


def reads(text: str) -> Callable[[Page], None]:
    return lambda page: expect(page.locator("main")).to_contain_text(text)


VIEWS: dict[str, tuple[str, Callable[[Page], Any]]] = {
    "ask": ("#/ask", waits("question")),
    "pair": (f"#/ask/{decided(None)}", asked),
    "no-pair": (f"#/ask/{decided('chosen_too_low')}", asked),
    "unscored": (f"#/ask/{decided('unscored')}", asked),
    "dataset": ("#/dataset", waits("dataset-row")),
    "details": (f"#/dataset?open={decided(None)}", opened),
    "review": ("#/review", waits("review-question")),
    "reviewed": ("#/review", judged),
    "documents": ("#/documents", searched),
    "system": ("#/system", waits("part-retriever")),
    "no-view": ("#/nowhere", reads("There is no such page")),
}
EMPTY: dict[str, tuple[str, Callable[[Page], Any]]] = {
    "no-batch": ("#/dataset", reads("There is no batch yet.")),
    "no-review": ("#/review", reads("No pair is left")),
    "no-document": ("#/documents", reads("There are no documents yet.")),
}
ALL = VIEWS | EMPTY


def visit(page: Page, name: str, some: Stage, bare: Stage) -> None:
    address, ready = ALL[name]
    page.goto("about:blank")  # what two views have in common must not pass for the later one
    page.goto(f"{(some if name in VIEWS else bare).url}/{address}")
    ready(page)


@pytest.mark.sampled(4)
@pytest.mark.parametrize("screen", SCREENS)
@pytest.mark.parametrize("colours", ["light", "dark"])
def test_axe_finds_nothing(
    some: Stage, bare: Stage, new_page: NewPage, colours: str, screen: str
) -> None:
    width, height = SCREENS[screen]
    page = new_page(color_scheme=colours, viewport={"width": width, "height": height})
    found = []
    for name in ALL:
        visit(page, name, some, bare)
        found += [f"{name}: {barrier}" for barrier in barriers(page)]
        page.screenshot(path=SHOTS / f"{name}-{colours}-{screen}.png", full_page=True)
    assert not found, "\n".join(found)


def test_nothing_scrolls_sideways_on_the_narrowest_screen(
    some: Stage, bare: Stage, new_page: NewPage
) -> None:
    """320 px are also what is left of 1280 at four times the size."""
    page = new_page(viewport={"width": 320, "height": 640})
    for name in ALL:
        visit(page, name, some, bare)
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 320, f"{name} is {width} px wide"


def test_the_focus_goes_to_the_heading_of_a_new_view(some: Stage, page: Page) -> None:
    page.goto(f"{some.url}/#/system")
    for view in ("dataset", "review", "documents", "ask"):
        link = page.get_by_test_id(f"nav-{view}")
        link.focus()
        page.keyboard.press("Enter")
        expect(link).to_have_attribute("aria-current", "page")
        expect(page.locator("h1, [data-testid=question]").first).to_be_visible()
        focused = page.evaluate("document.activeElement.closest('main') !== null")
        assert focused, view
