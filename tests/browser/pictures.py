"""The README's pictures, of `rlvr serve` with the embedded engine.

    python -m tests.browser.pictures

Asks the demo's questions and some more, the first on the page, and shows the pair whose answers
are shortest, and all batches. Writes docs/images/ask.png and dataset.png.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from rlvr_ray.cli import demo
from rlvr_ray.client import Client
from tests.browser import real

if TYPE_CHECKING:
    from playwright.sync_api import Page

FOLDER = Path(__file__).parents[2] / "docs" / "images"
SIZE = {"width": 1280, "height": 860}
#: A chosen answer of fewer words says little on a picture.
WORDS = 8
MORE = (
    "What is Typer?",
    "What is APSW?",
    "What does ragas help to do?",
    "What is a vector database?",
    "Which Python versions does HTTPX need?",
    "What is property-based testing?",
    "What is Ray Tune?",
    "What does Pydantic do for FastAPI?",
)


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    with real.system() as system, real.page(viewport=SIZE, reduced_motion="reduce") as page:
        for question in demo.QUESTIONS:
            real.ask(page, system.url, question)
            print(question, page.get_by_test_id("outcome").locator("h2").inner_text(), flush=True)
        for submitted in [system.client.submit(question, top_k=3) for question in MORE]:
            system.client.wait(submitted.batch_id)
        page.goto("about:blank")
        page.goto(f"{system.url}/#/ask/{clearest(system.client)}")
        page.get_by_test_id("outcome").wait_for()
        page.locator(".candidate.chosen").get_by_test_id("statement").first.click()
        page.evaluate("scrollTo(0, 0)")
        keep(page, "ask")
        page.goto("about:blank")
        page.goto(f"{system.url}/#/dataset")
        page.get_by_test_id("dataset-row").first.wait_for()
        page.get_by_test_id("threshold-margin").fill("0.30")
        keep(page, "dataset")


def clearest(client: Client) -> str:
    """The pair whose longest answer is shortest: the small model sometimes does not end."""
    pairs = [client.batch(line.batch_id) for line in client.batches(outcome="pair")]
    found = [b for b in pairs if b.chosen and len(b.chosen.answer.split()) >= WORDS]
    if not found:
        raise SystemExit("no question became a pair this time; run it again")
    best = min(found, key=lambda batch: max(len(each.answer) for each in batch.candidates))
    return str(best.batch_id)


def keep(page: "Page", name: str) -> None:
    path = FOLDER / f"{name}.png"
    page.screenshot(path=path)
    with Image.open(path) as picture:
        picture.convert("RGB").quantize(256).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
