"""A browser for tests, and pages that fail the test for whatever they complain of."""

import re
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from tests.browser import chromium
from tests.patience import PATIENCE_S

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, Request

SHOTS = Path(__file__).parent / "shots"
#: Longest wait for what a page is to show, in milliseconds.
PATIENCE_MS = 1_000 * PATIENCE_S
#: What axe looks for: WCAG 2.2 to level AA, and good practice.
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]

#: Whether the review shows another question than this one, or none.
CHANGED = (
    "before => document.querySelector('[data-testid=review-question]')?.textContent !== before"
)

NewPage = Callable[..., "Page"]


class Trouble:
    """What pages must not do: complain in the console, raise, or talk to another host.

    A test that breaks something on purpose allows what comes of it.
    """

    def __init__(self) -> None:
        self._found: list[str] = []
        self._allowed: list[str] = []

    def allow(self, *patterns: str) -> None:
        """Take no offence at what one of these regular expressions finds."""
        self._allowed += patterns

    def watch(self, page: "Page") -> None:
        page.on("console", self._said)
        page.on("pageerror", lambda error: self._found.append(f"raised: {error}"))
        page.on("request", lambda request: self._asked(page, request))
        page.on("dialog", self._asked_back)

    def check(self) -> None:
        left = [f for f in self._found if not any(re.search(p, f) for p in self._allowed)]
        assert not left, "\n".join(left)

    def _said(self, message: "ConsoleMessage") -> None:
        if message.type in ("error", "warning", "assert"):
            self._found.append(f"console {message.type}: {message.text} {message.location}")

    def _asked_back(self, dialog: "Dialog") -> None:
        self._found.append(f"a dialog: {dialog.message}")
        dialog.dismiss()

    def _asked(self, page: "Page", request: "Request") -> None:
        parts = urlsplit(request.url)
        if parts.scheme in ("data", "blob"):
            return
        own = request.is_navigation_request() or parts.netloc == urlsplit(page.url).netloc
        if not own or parts.hostname != "127.0.0.1":
            self._found.append(f"{page.url} asked {request.url}")


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """One for a module: while Playwright runs, no other event loop can run in its thread."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE_MS)
    executable, environment = chromium.find()
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=executable, env={**environment}, args=list(chromium.ARGUMENTS)
        )
        yield running
        running.close()


@pytest.fixture
def trouble() -> Trouble:
    return Trouble()


@pytest.fixture
def new_page(
    browser: "Browser", trouble: Trouble, request: pytest.FixtureRequest
) -> Iterator[NewPage]:
    """Makes a page in a context of its own; takes the context's options."""
    pages: list[Page] = []
    SHOTS.mkdir(exist_ok=True)

    def make(**options: Any) -> "Page":
        given: dict[str, Any] = {
            "viewport": {"width": 1280, "height": 800},
            "locale": "en-GB",
            "timezone_id": "UTC",
            "reduced_motion": "reduce",
        }
        page = browser.new_context(**given | options).new_page()
        page.set_default_timeout(PATIENCE_MS)
        trouble.watch(page)
        pages.append(page)
        return page

    yield make
    name = re.sub(r"[^\w-]+", "-", request.node.name).strip("-")
    for number, page in enumerate(pages):
        page.screenshot(path=SHOTS / f"{name}{f'-{number}' if number else ''}.png", full_page=True)
        page.context.close()
    trouble.check()


@pytest.fixture
def page(new_page: NewPage) -> "Page":
    """One on a desktop."""
    return new_page()


def barriers(page: "Page") -> list[str]:
    """What axe finds on the page: one line for each violation and element."""
    page.evaluate((resources.files("axe_playwright_python") / "axe.min.js").read_text("utf-8"))
    found: list[dict[str, Any]] = page.evaluate(
        "tags => axe.run(document, {runOnly: tags, resultTypes: ['violations']})"
        ".then(found => found.violations)",
        RULES,
    )
    return [
        f"{violation['id']}: {node['html'][:200]} {node.get('failureSummary', '')}"
        for violation in found
        for node in violation["nodes"]
    ]
