"""Whatever stands in questions, documents, answers and reviews is text, in every view."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

import httpx
import pytest
from playwright.sync_api import Page, expect

from rlvr_ray.core import ids
from rlvr_ray.core.pairing import PairingRule, Result, decide
from rlvr_ray.core.records import Statement
from tests.browser.fixtures import CHANGED
from tests.browser.markup import TEXTS, TRACE
from tests.browser.seed import Decided
from tests.browser.stage import Stage, open_stage
from tests.builders import DECIDED, batch, context, verification

#: Elements that no view of ours makes.
FOREIGN = "main :is(script, style, img, iframe, object, embed, base, meta, math, animate, template)"


@pytest.fixture(scope="module")
def laid() -> Iterator[Stage]:
    """A stage on which every text stands in every place."""
    decided = [_decided(name, text) for name, text in TEXTS.items()]
    with open_stage(decided) as stage:
        about = {name: f"# {text}\n\nAbout {name}: {text}" for name, text in TEXTS.items()}
        stage.ingest({file_name(name): content for name, content in about.items()})
        yield stage


def _decided(name: str, text: str) -> Decided:
    recorded = batch(
        [f"good {text}", f"middling {text}", f"bad {text}"],
        f"{name}: {text}",
        ids.derive("markup", name),
        contexts=(context(f"passage {text}", source=f"source {text}"), context(text, 0.5)),
        correlation_id=text[:200],
        references=(f"reference {text}",),
    )
    candidates = tuple(replace(each, model=f"model {text[:50]}") for each in recorded.candidates)
    recorded = replace(recorded, candidates=candidates)
    results: dict[UUID, Result] = {
        candidate.event_id: verification(
            candidate,
            0.9 - 0.3 * candidate.index,
            0.9 - 0.3 * candidate.index,
            statements=(Statement(text=f"statement {text}", verdict=1.0, reason=f"reason {text}"),),
            detail=f"detail {text}",
        )
        for candidate in candidates
    }
    outcome = replace(decide(recorded, results, PairingRule(), DECIDED), detail=f"outcome {text}")
    return recorded, results, outcome


def file_name(name: str) -> str:
    return f"{name} {TEXTS[name][:80]}.md".replace("/", "∕")


def shown(page: Page, text: str) -> None:
    """The text is on the page, as it is but for white space."""
    words = max(text.split(), key=len)
    found = page.evaluate(
        "word => document.querySelector('main').textContent.includes(word)", words
    )
    assert found, f"{words[:80]!r} is not on the page"


def check(page: Page) -> None:
    """Nothing ran, and there is nothing that could."""
    assert page.evaluate("window.ran") is None
    assert page.evaluate("selector => document.querySelectorAll(selector).length", FOREIGN) == 0
    handlers = page.evaluate(
        """() => [...document.querySelectorAll('*')].flatMap(element =>
            [...element.attributes].filter(({name, value}) =>
              name.startsWith('on') || name === 'style' && value.includes('url') ||
              /^\\s*javascript:/i.test(value)).map(({name}) => name))"""
    )
    assert handlers == []
    wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0, f"the page is {wide} px too wide"


@pytest.fixture
def traced(page: Page) -> Iterator[Page]:
    """A page that must not ask for what a text names."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    yield page
    assert not [url for url in asked if TRACE in url and "text=" not in url]


def test_in_the_asks_view(laid: Stage, traced: Page) -> None:
    for name, text in TEXTS.items():
        traced.goto(f"{laid.url}/#/ask/{ids.derive('markup', name)}")
        expect(traced.get_by_test_id("outcome")).to_contain_text("outcome")
        shown_soon(traced, f"good {text}")
        for place in ("bad", "passage", "statement", "outcome", "source"):
            shown(traced, f"{place} {text}")
        traced.get_by_test_id("statement").first.click()
        check(traced)


@pytest.mark.slow
def test_in_the_datasets_details(laid: Stage, traced: Page) -> None:
    details = traced.get_by_test_id("row-details")
    for name, text in TEXTS.items():
        traced.goto("about:blank")
        traced.goto(f"{laid.url}/#/dataset?open={ids.derive('markup', name)}")
        expect(details).to_contain_text("chosen")
        details.evaluate("each => each.querySelectorAll('details').forEach(d => d.open = true)")
        for place in ("good", "bad", "passage", "statement", "outcome", "source", "model"):
            shown(traced, f"{place} {text[:50]}")
        check(traced)


def test_in_the_datasets_table_and_filters(laid: Stage, traced: Page) -> None:
    traced.goto(f"{laid.url}/#/dataset")
    total = traced.get_by_test_id("dataset-total")
    expect(total).to_contain_text(str(len(TEXTS)))
    for name in ("script", "handler", "template", "bidi", "long-word"):
        traced.get_by_test_id("filter-text").fill(f"{name}: {TEXTS[name]}"[:60])
        expect(total).to_have_text("1 batch")
        shown_soon(traced, TEXTS[name])
        check(traced)


@pytest.mark.slow
def test_in_the_review(laid: Stage, traced: Page) -> None:
    traced.goto(f"{laid.url}/#/review")
    for _ in TEXTS:
        expect(traced.get_by_test_id("review-question")).to_be_visible()
        question = traced.get_by_test_id("review-question").text_content() or ""
        name = question.split(":")[0].strip()
        shown(traced, f"good {TEXTS[name]}")
        check(traced)
        traced.get_by_test_id("review-note").fill(TEXTS[name][:2000])
        traced.get_by_test_id("review-tie").click()
        expect(traced.get_by_test_id("review-status")).to_contain_text("Recorded")
        traced.get_by_test_id("review-next").click()
        traced.wait_for_function(CHANGED, arg=question)
    check(traced)


def test_in_the_documents_and_the_search(laid: Stage, traced: Page) -> None:
    traced.goto(f"{laid.url}/#/documents")
    rows = traced.get_by_test_id("documents-list")
    expect(rows).to_contain_text("script-end")
    for name in TEXTS:
        shown(traced, file_name(name))
    search = traced.get_by_test_id("search")
    for name in ("script", "handler", "svg", "bidi", "long-word"):
        question = f"About {name}: {TEXTS[name][:100]}"
        search.fill(question)
        search.press("Enter")
        (first, *_) = laid.get("/search", question=question)["contexts"]
        shown_soon(traced, first["content"])
        check(traced)


def shown_soon(page: Page, text: str) -> None:
    page.wait_for_function(
        "word => document.querySelector('main').textContent.includes(word)",
        arg=max(text.split(), key=len),
    )


@pytest.mark.parametrize("name", ["script", "handler", "json", "event", "template", "bidi"])
def test_while_it_is_written(laid: Stage, traced: Page, name: str) -> None:
    """The same by way of the form and the stream."""
    question = f"Who wrote {TEXTS[name].strip()}?"
    laid.answers[question] = [f"{place} {TEXTS[name]}" for place in ("first", "second", "third")]
    traced.goto(f"{laid.url}/#/ask")
    traced.get_by_test_id("question").fill(question)
    traced.get_by_test_id("ask").click()
    shown_soon(traced, f"third {TEXTS[name]}")
    expect(traced.get_by_test_id("outcome")).to_contain_text("air")
    check(traced)


def test_on_the_system_view(laid: Stage, traced: Page) -> None:
    traced.goto(f"{laid.url}/#/system")
    expect(traced.locator("main")).to_contain_text("ledger")
    check(traced)


def test_the_interface_says_what_stands_there(laid: Stage) -> None:
    """The corpus is what it is meant to be: it came through as it was."""
    for name, text in TEXTS.items():
        state: Mapping[str, Any] = httpx.get(
            f"{laid.url}/batches/{ids.derive('markup', name)}"
        ).json()
        assert state["question"] == f"{name}: {text}"
        assert state["candidates"][0]["answer"] == f"good {text}"
