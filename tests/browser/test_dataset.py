"""The dataset's view shows what the interface says: filters, figures, downloads, one batch."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from playwright.sync_api import Page, expect

from tests.browser import seed
from tests.browser.stage import Stage, open_stage

COUNT = 400


@pytest.fixture(scope="module")
def some() -> Iterator[Stage]:
    with open_stage(seed.batches(COUNT)) as running:
        yield running


def total(page: Page, number: int) -> None:
    """Wait until the view says that so many batches fit."""
    expect(page.get_by_test_id("dataset-total")).to_have_text(
        f"{number:,} batch{'' if number == 1 else 'es'}"
    )


def counted(stage: Stage, **filters: Any) -> int:
    """How many the interface says."""
    return int(stage.get("/batches", limit=1, **filters)["total"])


@pytest.mark.parametrize(
    "filters",
    [
        {"outcome": "pair"},
        {"outcome": "no_pair"},
        {"outcome": "unscored"},
        {"model": seed.MODELS[1]},
        {"min_margin": "0.2"},
        {"max_score": "0.7"},
        {"since": "2026-10-01", "until": "2026-10-31"},
        {"text": "THE QUEEN"},
        {"review": "none", "outcome": "pair", "min_score": "0.8"},
    ],
    ids=lambda filters: "-".join(filters),
)
def test_a_filter_shows_what_the_interface_says(
    some: Stage, page: Page, filters: dict[str, str]
) -> None:
    wanted = counted(some, **filters)
    assert 0 < wanted < COUNT, "the filter tells something"
    page.goto(f"{some.url}/#/dataset")
    total(page, COUNT)
    for name, value in filters.items():
        control = page.get_by_test_id(f"filter-{name}")
        if control.evaluate("element => element.tagName") == "SELECT":
            control.select_option(value)
        else:
            control.fill(value)
    total(page, wanted)
    address = page.url
    assert all(f"{name}=" in address for name in filters)
    page.goto("about:blank")
    page.goto(address)
    total(page, wanted)
    for name, value in filters.items():
        expect(page.get_by_test_id(f"filter-{name}")).to_have_value(value)


def test_what_fits_nothing_can_be_cleared(some: Stage, page: Page) -> None:
    page.goto(f"{some.url}/#/dataset?text=no%20such%20words")
    expect(page.locator("main")).to_contain_text("No batch fits these filters.")
    page.locator("main").get_by_role("button", name="Clear filters").last.click()
    total(page, COUNT)


@pytest.mark.parametrize(("name", "of"), [("margin", "score_diff"), ("score", "chosen_score")])
def test_the_threshold_keeps_what_the_filter_finds(
    some: Stage, page: Page, name: str, of: str
) -> None:
    histogram = some.get("/batches/histogram", of=of)
    page.goto(f"{some.url}/#/dataset")
    keeps = page.get_by_test_id(f"would-keep-{name}")
    expect(keeps).to_have_text(f"would keep {histogram['total']} of {histogram['total']}")
    slider = page.get_by_test_id(f"threshold-{name}")
    for cut in (1, *random.Random(3).sample(range(2, 99), 3), 99):
        slider.fill(f"{cut / 100:.2f}")
        kept = sum(histogram["counts"][cut:])
        assert kept == counted(some, **{f"min_{name}": cut / 100}), "exact"
        expect(keeps).to_have_text(f"would keep {kept} of {histogram['total']}")
    slider.focus()
    page.keyboard.press("ArrowLeft")
    kept = sum(histogram["counts"][98:])
    expect(keeps).to_have_text(f"would keep {kept} of {histogram['total']}")
    slider.fill("0.30")
    page.get_by_test_id(f"use-{name}").click()
    total(page, sum(histogram["counts"][30:]))
    expect(page.get_by_test_id(f"filter-min_{name}")).to_have_value("0.30")


def test_downloads_hold_what_is_filtered(some: Stage, page: Page, tmp_path: Path) -> None:
    filters = {"min_margin": "0.3", "text": "the lamp"}
    page.goto(f"{some.url}/#/dataset?min_margin=0.3&text=the+lamp")
    total(page, counted(some, **filters))
    pairs = counted(some, **filters, outcome="pair")
    assert pairs > 1

    def download(test_id: str) -> Path:
        with page.expect_download() as started:
            page.get_by_test_id(test_id).click()
        path = tmp_path / started.value.suggested_filename
        started.value.save_as(path)
        return path

    lines = download("download-jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert len(rows) == pairs
    assert all("the lamp" in row["prompt"] and row["score_diff"] >= 0.3 for row in rows)
    table = pyarrow.parquet.read_table(download("download-parquet"))
    assert table.column("prompt").to_pylist() == [row["prompt"] for row in rows]
    answers = download("download-answers-jsonl").read_text("utf-8").splitlines()
    assert len(answers) == 3 * counted(some, **filters)


def test_a_row_opens_with_all_that_explains_it(some: Stage, page: Page) -> None:
    page.goto(f"{some.url}/#/dataset?outcome=pair")
    (line,) = some.get("/batches", outcome="pair", limit=1)["batches"]
    page.get_by_test_id("dataset-row").first.click()
    details = page.get_by_test_id("row-details")
    state = some.get(f"/batches/{line['batch_id']}")
    chosen = state["candidates"][state["outcome"]["chosen"]]
    expect(details).to_contain_text(chosen["answer"])
    expect(details).to_contain_text(state["outcome"]["detail"])
    for fold in details.locator("summary").all():
        fold.click()
    for text in (
        line["batch_id"],
        chosen["metadata"]["event_id"],
        str(chosen["metadata"]["seed"]),
        chosen["metadata"]["model"],
        "test-version",
        state["contexts"][0]["content"],
        "no passage has it",
        "Defect: says what the passages do not",
    ):
        expect(details).to_contain_text(text)
    address = page.url
    page.keyboard.press("Escape")
    page.goto("about:blank")
    page.goto(address)
    expect(details).to_contain_text(chosen["answer"])
    details.locator(f"a[href='#/ask/{line['batch_id']}']").first.click()
    expect(page.get_by_test_id("outcome")).to_contain_text("Pair")


def test_rows_are_opened_by_keyboard(some: Stage, page: Page) -> None:
    page.goto(f"{some.url}/#/dataset")
    total(page, COUNT)
    rows = page.get_by_test_id("dataset-row")
    rows.first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    third = some.get("/batches", limit=3)["batches"][2]
    page.keyboard.press("Enter")
    details = page.get_by_test_id("row-details")
    expect(details).to_contain_text(third["question"])
    expect(details.locator("h2").first).to_be_focused()
    page.keyboard.press("Escape")
    expect(details).to_be_hidden()
    expect(rows.nth(2)).to_be_focused()
