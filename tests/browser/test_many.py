"""Ten thousand batches are as easily looked at as ten."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import MANY
from tests.browser.stage import Stage

pytestmark = pytest.mark.slow


#: Elements that a table of any length may have.
MOST_ROWS = 120
WATCH = """
window.tasks = [];
new PerformanceObserver(list => window.tasks.push(...list.getEntries().map(e => e.duration)))
  .observe({type: 'longtask', buffered: true});
"""


@pytest.fixture
def watched(many: Stage, page: Page) -> Iterator[Page]:
    """A page that notes how long its main thread was busy without a break."""
    page.add_init_script(WATCH)
    page.goto(f"{many.url}/#/dataset")
    yield page


def longest(page: Page) -> float:
    """Of the tasks so far, in milliseconds; the browser tells of those over 50 only."""
    return float(page.evaluate("Math.max(0, ...window.tasks.splice(0))"))


def rows(page: Page) -> int:
    return page.get_by_test_id("dataset-row").count()


def test_the_whole_table_is_looked_through(
    watched: Page, capsys: pytest.CaptureFixture[str]
) -> None:
    page, busy = watched, {}
    total = page.get_by_test_id("dataset-total")
    expect(total).to_contain_text(f"{MANY:,}")
    expect(page.get_by_test_id("dataset-row").first).to_contain_text("year")
    busy["open"] = longest(page)
    table = page.get_by_test_id("dataset-table")
    for share in range(1, 21):
        table.evaluate("(table, share) => table.scrollTop = table.scrollHeight * share", share / 20)
        page.wait_for_timeout(50)
        assert rows(page) <= MOST_ROWS
    last = page.locator(f"[data-testid=dataset-row][aria-rowindex='{MANY + 1}']")
    expect(last).to_contain_text("in year 0?")
    busy["scroll"] = longest(page)
    page.get_by_test_id("dataset-row").first.focus()
    page.keyboard.press("Home")
    expect(page.get_by_test_id("dataset-row").first).to_contain_text(f"year {MANY - 1}")
    page.keyboard.press("End")
    expect(last).to_be_focused()
    busy["keys"] = longest(page)
    page.get_by_test_id("filter-outcome").select_option("no_pair")
    expect(total).not_to_contain_text(f"{MANY:,}")
    busy["filter"] = longest(page)
    page.get_by_test_id("filter-text").fill("the lens")
    expect(total).to_have_text(re.compile(r"^\d{3} batches$"))
    busy["text"] = longest(page)
    page.get_by_test_id("dataset-row").first.click()
    expect(page.get_by_test_id("row-details")).to_contain_text("Provenance")
    busy["details"] = longest(page)
    assert rows(page) <= MOST_ROWS
    with capsys.disabled():
        said = ", ".join(f"{name} {value:.0f}" for name, value in busy.items())
        print(f"\n{MANY:,} batches, longest task in ms (0: none over 50): {said}")
