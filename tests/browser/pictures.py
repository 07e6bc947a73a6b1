"""The README's pictures, of `rlvr serve` with the embedded engine.

    python -m tests.browser.pictures

Asks the demo's questions on the page, one after another, and keeps the pair with the best answer.
Writes docs/images/ask.png and dataset.png.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from rlvr_ray import demo
from tests.browser import real

if TYPE_CHECKING:
    from playwright.sync_api import Page

FOLDER = Path(__file__).parents[2] / "docs" / "images"
SIZE = {"width": 1280, "height": 1000}


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    with real.system() as system, real.page(viewport=SIZE, reduced_motion="reduce") as page:
        for question in demo.QUESTIONS:
            real.ask(page, system.url, question)
            print(question, page.get_by_test_id("outcome").locator("h2").inner_text(), flush=True)
        pairs = [line for line in system.client.batches(outcome="pair") if line.chosen_score]
        if not pairs:
            raise SystemExit("no question became a pair this time; run it again")
        best = max(pairs, key=lambda line: line.chosen_score or 0.0)
        page.goto(f"{system.url}/#/ask/{best.batch_id}")
        page.get_by_test_id("outcome").wait_for()
        chosen = page.locator(".candidate.chosen")
        chosen.get_by_test_id("statement").first.click()
        page.evaluate("scrollTo(0, 0)")
        keep(page, "ask")
        page.goto(f"{system.url}/#/dataset?open={best.batch_id}")
        page.get_by_test_id("row-details").get_by_text("Provenance").wait_for()
        keep(page, "dataset")


def keep(page: "Page", name: str) -> None:
    path = FOLDER / f"{name}.png"
    page.screenshot(path=path)
    print(f"{path}: {path.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
