"""`rlvr serve` with the embedded engine, and a page on it, for what is shown and measured."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr_ray.cli import demo
from tests.browser import chromium
from tests.cluster.conftest import System, serve

if TYPE_CHECKING:
    from playwright.sync_api import Page

#: Longest wait for an outcome, in milliseconds.
OUTCOME_MS = 120_000


@contextlib.contextmanager
def system() -> Iterator[System]:
    """In a folder of its own, with the demo's documents."""
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.contextmanager(serve)(Path(folder), {}) as running,
    ):
        running.client.ingest(demo.documents(None))
        yield running


@contextlib.contextmanager
def page(**options: Any) -> "Iterator[Page]":
    """One, in a browser of its own."""
    from playwright.sync_api import sync_playwright

    executable, environment = chromium.find()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable, env={**environment}, args=list(chromium.ARGUMENTS)
        )
        opened = browser.new_context(locale="en-GB", **options).new_page()
        opened.set_default_timeout(OUTCOME_MS)
        yield opened
        browser.close()


def ask(page: "Page", url: str, question: str) -> None:
    """Fill the form, and click."""
    page.goto("about:blank")
    page.goto(f"{url}/#/ask")
    page.get_by_test_id("question").fill(question)
    page.get_by_test_id("ask").click()
