"""Reviews: blind, kept whatever happens, and once."""

from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Page, Request, Route, expect

from tests.browser import seed
from tests.browser.fixtures import Trouble
from tests.browser.stage import Stage, open_stage


@pytest.fixture
def pairs() -> Iterator[Stage]:
    with open_stage(seed.batches(12)) as running:
        yield running


@pytest.fixture
def review(pairs: Stage, page: Page) -> Page:
    page.goto(f"{pairs.url}/#/review")
    expect(question(page)).to_be_visible()
    return page


def question(page: Page):
    return page.get_by_test_id("review-question")


def said(page: Page):
    return page.get_by_test_id("review-status")


def recorded(stage: Stage) -> list[dict]:
    """All reviews of all batches."""
    batches = httpx.get(f"{stage.url}/batches").json()["batches"]
    return [
        review
        for batch in batches
        for review in httpx.get(
            f"{stage.url}/reviews", params={"batch_id": batch["batch_id"]}
        ).json()["reviews"]
    ]


def test_nothing_on_the_page_or_on_its_way_tells_what_the_judge_said(
    pairs: Stage, page: Page
) -> None:
    asked: list[str] = []

    def note(request: Request) -> None:
        asked.append(request.url.removeprefix(pairs.url).partition("?")[0])

    page.on("request", note)
    page.goto(f"{pairs.url}/#/review")
    expect(question(page)).to_be_visible()
    page.wait_for_load_state("networkidle")
    routes = {path for path in asked if not path.startswith("/ui/")}
    assert routes <= {"/", "/reviews/next", "/reviews/summary"}
    shown = page.locator("main").inner_html().lower()
    for word in ("score", "temperature", "margin", "chosen", "rejected", "candidate"):
        assert word not in shown
    page.keyboard.press("a")
    expect(said(page)).to_contain_text("margin")
    expect(page.locator("main")).to_contain_text("temperature")


def test_another_verdict_is_recorded_beside_the_first_and_counts(
    pairs: Stage, review: Page
) -> None:
    first = question(review).inner_text()
    review.keyboard.press("t")
    expect(said(review)).to_contain_text("Recorded: a tie")
    review.keyboard.press("Enter")
    expect(question(review)).not_to_have_text(first)
    second = question(review).inner_text()
    review.keyboard.press("u")
    expect(question(review)).to_have_text(first)
    expect(review.get_by_test_id("review-tie")).to_have_attribute("aria-pressed", "true")
    review.keyboard.press("d")
    expect(said(review)).to_contain_text("Recorded: discard")
    review.keyboard.press("Enter")
    expect(question(review)).to_have_text(second)  # it was left, not lost
    assert [one["verdict"] for one in recorded(pairs)] == ["tie", "discard"]
    expect(review.get_by_test_id("review-progress")).to_contain_text("1 reviewed")


def test_a_note_goes_with_its_verdict_and_letters_in_it_are_no_verdicts(
    pairs: Stage, review: Page
) -> None:
    review.get_by_test_id("review-keys").locator("summary").click()
    review.get_by_test_id("reviewer").fill("Ada")
    review.keyboard.press("Tab")
    first = question(review).inner_text()
    review.keyboard.press("n")
    review.keyboard.type("bad at dates")
    review.keyboard.press("Enter")
    expect(said(review)).to_contain_text("goes with your verdict")
    assert recorded(pairs) == [] and question(review).inner_text() == first
    review.keyboard.press("b")
    expect(said(review)).to_contain_text("Recorded: B is better")
    (one,) = recorded(pairs)
    assert (one["verdict"], one["note"], one["reviewer"]) == ("b", "bad at dates", "Ada")
    review.reload()
    review.get_by_test_id("review-keys").locator("summary").click()
    expect(review.get_by_test_id("reviewer")).to_have_value("Ada")
    expect(review.get_by_test_id("review-note")).to_have_value("")


def test_a_key_for_a_pair_that_is_not_there_yet_is_no_verdict_on_it(
    pairs: Stage, review: Page
) -> None:
    first = question(review).inner_text()
    review.keyboard.press("a")
    expect(said(review)).to_contain_text("Recorded: A")
    review.keyboard.press("b")
    expect(question(review)).not_to_have_text(first)
    assert len(recorded(pairs)) == 1


@pytest.mark.parametrize("arrived", [True, False])
def test_a_verdict_whose_answer_is_lost_is_sent_again_and_recorded_once(
    pairs: Stage, review: Page, trouble: Trouble, arrived: bool
) -> None:
    trouble.allow("ERR_FAILED")
    lost: list[str] = []

    def lose(route: Route) -> None:
        if route.request.method == "POST" and not lost:
            lost.append(route.request.headers["idempotency-key"])
            if arrived:
                route.fetch()
            route.abort()
        else:
            route.continue_()

    review.route("**/reviews", lose)
    review.keyboard.press("a")
    expect(said(review)).to_contain_text("Not recorded: A is better")
    expect(said(review)).to_contain_text("Recorded: A is better")  # by itself, once it is back
    assert len(lost) == 1 and len(recorded(pairs)) == 1


def test_a_refused_verdict_can_be_left(pairs: Stage, review: Page, trouble: Trouble) -> None:
    trouble.allow("422")
    review.route(
        "**/reviews",
        lambda route: route.fulfill(
            status=422,
            content_type="application/problem+json",
            json={"status": 422, "detail": "no such pair"},
        ),
    )
    first = question(review).inner_text()
    review.keyboard.press("b")
    expect(review.get_by_test_id("error")).to_contain_text("no such pair")
    review.get_by_test_id("review-next").click()
    expect(question(review)).not_to_have_text(first)


def test_when_nothing_is_left_one_can_still_go_back(pairs: Stage, review: Page) -> None:
    left = httpx.get(f"{pairs.url}/reviews/summary").json()["left"]
    for number in range(left):
        review.get_by_test_id("review-b").click()
        expect(said(review)).to_contain_text("Recorded: B")
        expect(review.get_by_test_id("review-progress")).to_contain_text(f"{number + 1} reviewed")
        review.get_by_test_id("review-next").click()
        expect(said(review)).not_to_be_visible() if number == left - 1 else expect(
            review.get_by_test_id("review-b")
        ).to_have_attribute("aria-pressed", "false")
    expect(review.get_by_text("No pair is left to review.")).to_be_visible()
    review.keyboard.press("u")
    expect(said(review)).to_contain_text("You said: B is better")


def test_only_the_pairs_that_the_filters_leave(pairs: Stage, page: Page) -> None:
    lines = httpx.get(f"{pairs.url}/batches?outcome=pair").json()["batches"]
    lines.sort(key=lambda line: line["score_diff"])
    middle = lines[len(lines) // 2]["score_diff"]
    wanted = {line["question"] for line in lines if line["score_diff"] >= middle}
    page.goto(f"{pairs.url}/#/dataset?min_margin={middle}")
    page.get_by_role("link", name="Review these").click()
    expect(page.get_by_test_id("review-progress")).to_have_text(f"0 reviewed, {len(wanted)} left")
    assert question(page).inner_text() in wanted
