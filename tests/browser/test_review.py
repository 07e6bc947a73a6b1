"""A person judges pairs blind, by keyboard, and nothing said is lost."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser import seed
from tests.browser.fixtures import CHANGED, Trouble
from tests.browser.stage import Stage, open_stage

COUNT = 12


@pytest.fixture
def few() -> Iterator[Stage]:
    with open_stage(seed.batches(COUNT)) as running:
        yield running


def question(page: Page) -> str:
    return page.get_by_test_id("review-question").text_content() or ""


def judge(page: Page, key: str, recorded: str) -> None:
    """Press a key, wait for its record, and go on to the next pair."""
    before = question(page)
    page.keyboard.press(key)
    expect(page.get_by_test_id("review-status")).to_contain_text(f"Recorded: {recorded}")
    page.keyboard.press("Enter")
    page.wait_for_function(CHANGED, arg=before)


def said(stage: Stage, batch_id: str) -> list[dict[str, Any]]:
    reviews: list[dict[str, Any]] = stage.get("/reviews", batch_id=batch_id)["reviews"]
    return reviews


def pairs(stage: Stage) -> dict[str, dict[str, Any]]:
    """By question."""
    lines = stage.get("/batches", outcome="pair", limit=500)["batches"]
    return {line["question"]: line for line in lines}


def test_all_of_it_by_keyboard(few: Stage, page: Page) -> None:
    waiting = pairs(few)
    count = len(waiting)
    assert count >= 6
    page.goto(f"{few.url}/#/review")
    expect(page.get_by_test_id("review-question")).to_be_visible()

    first = question(page)
    judge(page, "a", "A is better")
    second = question(page)
    page.keyboard.press("n")
    expect(page.get_by_test_id("review-note")).to_be_focused()
    page.keyboard.type("a tie, by and large")  # letters in a field are letters
    page.keyboard.press("Enter")
    judge(page, "t", "a tie")
    third = question(page)
    judge(page, "d", "discard")
    page.keyboard.press("u")
    expect(page.get_by_test_id("review-question")).to_have_text(third)
    judge(page, "b", "B is better")

    assert len({first, second, third}) == 3
    (one,) = said(few, waiting[first]["batch_id"])
    state = few.get(f"/batches/{waiting[first]['batch_id']}")
    assert {one["a"], one["b"]} == {state["outcome"]["chosen"], state["outcome"]["rejected"]}
    assert one["verdict"] == "a"
    (two,) = said(few, waiting[second]["batch_id"])
    assert (two["verdict"], two["note"]) == ("tie", "a tie, by and large")
    verdicts = [each["verdict"] for each in said(few, waiting[third]["batch_id"])]
    assert sorted(verdicts) == ["b", "discard"], "appended, not overwritten"
    summary = few.get("/reviews/summary")
    assert (summary["reviewed"], summary["left"]) == (3, count - 3)

    for _ in range(count - 3):
        expect(page.get_by_test_id("review-question")).to_be_visible()
        judge(page, "a", "A is better")
    expect(page.locator("main")).to_contain_text("No pair is left to review.")
    summary = few.get("/reviews/summary")
    agreement = page.get_by_test_id("review-agreement")
    expect(agreement).to_contain_text(f"{round(100 * summary['agreement'])} %")
    expect(agreement).to_contain_text(f"{summary['agree']} of")


def test_nothing_on_the_page_gives_the_judge_away(few: Stage, page: Page) -> None:
    page.goto(f"{few.url}/#/review")
    expect(page.get_by_test_id("review-question")).to_be_visible()
    line = pairs(few)[question(page)]
    shown = page.locator("main").inner_text()
    assert not re.search(r"\b[01]\.\d", shown), "no scores, no temperatures"
    assert not re.search(r"chosen|rejected|margin", shown, re.IGNORECASE)
    replies: list[str] = []
    page.on("response", lambda reply: replies.append(reply.url))
    page.get_by_test_id("review-b").click()
    expect(page.get_by_test_id("review-status")).to_contain_text(f"{line['score_diff']:.2f}")
    assert any(line["batch_id"] in url for url in replies), "it was fetched only now"


def test_a_verdict_outlasts_a_server_that_is_away(few: Stage, page: Page, trouble: Trouble) -> None:
    trouble.allow("ERR_")
    page.goto(f"{few.url}/#/review")
    expect(page.get_by_test_id("review-question")).to_be_visible()
    asked = question(page)
    batch_id = pairs(few)[asked]["batch_id"]
    few.stop()
    page.keyboard.press("n")
    page.keyboard.type("said in the dark")
    page.keyboard.press("Enter")
    page.keyboard.press("b")
    expect(page.get_by_test_id("error")).to_be_visible()
    expect(page.get_by_test_id("review-question")).to_have_text(asked)
    few.start()
    expect(page.get_by_test_id("review-status")).to_contain_text("Recorded: B is better")
    (review,) = said(few, batch_id)
    assert (review["verdict"], review["note"]) == ("b", "said in the dark")


def test_two_answers_stand_in_either_order(few: Stage, page: Page) -> None:
    """Blind also means that A is not always the better one."""
    first = set()
    for _ in range(40):
        pair = few.get("/reviews/next")
        state = few.get(f"/batches/{pair['batch_id']}")
        first.add(pair["a"]["candidate"] == state["outcome"]["chosen"])
    assert first == {True, False}
    page.goto(f"{few.url}/#/review")
    expect(page.get_by_test_id("review-question")).to_be_visible()
