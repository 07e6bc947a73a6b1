"""The dataset's table, whatever its length, and its histograms: what holds them up."""

import random
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.browser import seed
from tests.browser.fixtures import NewPage
from tests.browser.stage import Stage, open_stage

COUNT = 1200
FOCUSED = "Number(document.activeElement.dataset.index)"


@pytest.fixture(scope="module")
def some() -> Iterator[Stage]:
    """More than two pages of lines."""
    with open_stage(seed.batches(COUNT)) as running:
        yield running


@pytest.fixture
def table(some: Stage, page: Page) -> Page:
    page.goto(f"{some.url}/#/dataset")
    expect(page.get_by_test_id("dataset-row").first).to_be_visible()
    return page


def row(page: Page, index: int) -> str:
    return f'[data-index="{index}"]:not(.rows-waiting)'


def in_sight(page: Page, index: int) -> bool:
    seen: bool = page.locator(row(page, index)).evaluate(
        """row => {
            const top = document.querySelector(".rows-top").getBoundingClientRect();
            const table = row.closest("[role=grid]").getBoundingClientRect();
            const { top: from, bottom: to } = row.getBoundingClientRect();
            return from >= Math.max(table.top, top.bottom) - 1 && to <= table.bottom + 1;
        }"""
    )
    return seen


class TestKeys:
    def test_they_reach_every_row_and_the_focus_is_in_sight(self, table: Page) -> None:
        table.get_by_test_id("dataset-row").first.focus()
        for key, index in [("ArrowDown", 1), ("End", COUNT - 1), ("ArrowUp", COUNT - 2)]:
            table.keyboard.press(key)
            expect(table.locator(row(table, index))).to_be_focused()
            assert in_sight(table, index)
        table.keyboard.press("PageUp")
        above = table.evaluate(FOCUSED)
        assert above < COUNT - 5 and in_sight(table, above)
        table.keyboard.press("Home")
        assert table.evaluate(FOCUSED) == 0 and in_sight(table, 0)

    def test_the_table_is_one_tab_stop(self, table: Page) -> None:
        table.get_by_test_id("dataset-row").first.focus()
        table.keyboard.press("PageDown")
        stops = table.locator("[role=row][tabindex='0']")
        expect(stops).to_have_count(1)
        expect(stops).to_be_focused()

    def test_details_open_and_close_and_the_focus_comes_back(self, table: Page) -> None:
        table.get_by_test_id("dataset-row").nth(3).focus()
        table.keyboard.press("Enter")
        details = table.get_by_test_id("row-details")
        expect(details.locator("h2").first).to_be_focused()
        expect(details).to_contain_text("Provenance")
        expect(table.locator("[aria-selected=true]")).to_have_attribute("data-index", "3")
        table.keyboard.press("Escape")
        expect(details).to_be_hidden()
        expect(table.locator(row(table, 3))).to_be_focused()
        assert "open=" not in table.url


class TestScrolling:
    def test_all_rows_can_be_seen_and_few_are_there(self, table: Page) -> None:
        grid = table.get_by_test_id("dataset-table")
        expect(grid).to_have_attribute("aria-rowcount", str(COUNT + 1))
        grid.evaluate("table => { table.scrollTop = table.scrollHeight }")
        expect(table.locator(row(table, COUNT - 1))).to_contain_text("in year 0?")
        assert in_sight(table, COUNT - 1)
        assert table.get_by_test_id("dataset-row").count() < 80

    def test_a_row_with_the_focus_stays_when_it_is_scrolled_away(self, table: Page) -> None:
        table.get_by_test_id("dataset-row").nth(2).focus()
        table.get_by_test_id("dataset-table").evaluate("table => { table.scrollTop = 20000 }")
        expect(table.locator(row(table, 600))).to_be_visible()
        assert table.evaluate(FOCUSED) == 2
        table.keyboard.press("ArrowDown")
        assert table.evaluate(FOCUSED) == 3 and in_sight(table, 3)

    @pytest.mark.parametrize("width", [1280, 360])
    def test_details_leave_the_row_where_it_can_be_seen(
        self, some: Stage, new_page: NewPage, width: int
    ) -> None:
        page = new_page(viewport={"width": width, "height": 800})
        page.goto(f"{some.url}/#/dataset")
        page.get_by_test_id("dataset-row").first.focus()
        for _ in range(20):
            page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        expect(page.get_by_test_id("row-details")).to_contain_text("Provenance")
        if width > 1000:
            assert in_sight(page, 20)
        page.get_by_test_id("row-close").click()
        expect(page.locator(row(page, 20))).to_be_focused()
        assert in_sight(page, 20)


class TestAddress:
    def test_several_outcomes_of_a_link_are_one_choice(self, some: Stage, page: Page) -> None:
        page.goto(f"{some.url}/#/dataset?outcome=unscored&outcome=identical_answers")
        chosen = page.get_by_test_id("filter-outcome")
        expect(chosen).to_have_value("unscored,identical_answers")
        expect(page.get_by_test_id("dataset-row").first).to_be_visible()
        page.get_by_test_id("filter-text").fill("year")
        page.keyboard.press("Enter")
        page.wait_for_url("**/#/dataset?text=year&outcome=unscored&outcome=identical_answers")

    def test_a_link_opens_the_details(self, some: Stage, table: Page, new_page: NewPage) -> None:
        table.get_by_test_id("filter-outcome").select_option("no_pair")
        found = httpx.get(f"{some.url}/batches?outcome=no_pair&limit=1").json()["total"]
        expect(table.get_by_test_id("dataset-total")).to_have_text(f"{found} batches")
        table.get_by_test_id("dataset-row").nth(2).click()
        table.wait_for_url("**/#/dataset?outcome=no_pair&open=*")
        question = table.get_by_test_id("row-details").locator("h2").first.inner_text()
        other = new_page()
        other.goto(table.url)
        details = other.get_by_test_id("row-details")
        expect(details.locator("h2").first).to_have_text(question)
        expect(details).to_contain_text("No pair")
        expect(other.locator("[aria-selected=true]")).to_contain_text(question)
        expect(other.get_by_test_id("filter-outcome")).to_have_value("no_pair")

    def test_what_cannot_be_is_said_and_changes_nothing(self, table: Page) -> None:
        table.get_by_test_id("filter-min_margin").fill("1.5")
        table.keyboard.press("Enter")
        expect(table.get_by_role("alert")).to_contain_text("1")
        assert table.url.endswith("#/dataset")
        expect(table.get_by_test_id("dataset-total")).to_have_text("1,200 batches")


class TestHistogram:
    """Its arithmetic, in the browser, against the same in Python."""

    @pytest.fixture(scope="class")
    def counts(self) -> list[int]:
        chance = random.Random(3)
        return [chance.choice([0, 0, 1, 7, 130]) for _ in range(100)]

    def test_what_is_kept_is_the_sum_from_the_threshold_on(
        self, table: Page, counts: list[int]
    ) -> None:
        kept = table.evaluate(
            """async counts => {
                const { kept } = await import("/ui/histogram.js");
                return counts.map((_, cut) => kept(counts, cut));
            }""",
            counts,
        )
        assert kept == [sum(counts[cut:]) for cut in range(100)]

    @pytest.mark.parametrize("values", [[], [3], [5, 5, 90], [0, 99], [1, 2, 3, 4]])
    def test_the_median(self, table: Page, values: list[int]) -> None:
        counts = [values.count(place) for place in range(100)]
        found = table.evaluate(
            'async counts => (await import("/ui/histogram.js")).median(counts)', counts
        )
        assert found == (sorted(values)[(len(values) - 1) // 2] if values else None)

    def test_bars_are_where_something_is(self, table: Page, counts: list[int]) -> None:
        outline = table.evaluate(
            'async counts => (await import("/ui/histogram.js")).bars(counts, 20, 60)', counts
        )
        assert outline.count("M") == sum(1 for count in counts[20:60] if count)
        assert "NaN" not in outline
