"""The page as files: what it weighs, what it may load, and who gets to see more than it."""

import gzip
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

import rlvr_ray
from tests.browser.fixtures import Trouble
from tests.browser.stage import Stage, open_stage

UI = Path(rlvr_ray.__file__).parent / "serve" / "ui"
LIMIT = 150 * 2**10
VIEWS = ("ask", "dataset", "review", "documents", "system")


def test_the_whole_page_weighs_little(capsys: pytest.CaptureFixture[str]) -> None:
    files = [path for path in UI.rglob("*") if path.is_file()]
    total = sum(path.stat().st_size for path in files)
    packed = sum(len(gzip.compress(path.read_bytes())) for path in files)
    with capsys.disabled():
        print(f"\nui/: {len(files)} files, {total / 1024:.1f} KiB, gzipped {packed / 1024:.1f} KiB")
    assert total < LIMIT


def test_nothing_but_its_own_files_may_run(stage: Stage, page: Page) -> None:
    replies = {}
    page.on("response", lambda reply: replies.update({reply.url: reply}))
    for view in VIEWS:
        page.goto(f"{stage.url}/#/{view}")
        expect(page.locator("h1")).to_be_visible()
    assert (
        page.evaluate("document.querySelectorAll('script:not([src]), style, [style]').length") == 0
    )
    policy = httpx.get(stage.url).headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    files = {url: reply for url, reply in replies.items() if "/ui/" in url}
    assert len(files) > len(VIEWS)
    for url, reply in files.items():
        assert reply.headers["content-security-policy"] == policy, url


def test_an_injected_script_does_not_run(stage: Stage, page: Page, trouble: Trouble) -> None:
    """The policy holds where all else failed: somebody got markup into the page."""
    trouble.allow("Content Security Policy")
    page.goto(f"{stage.url}/#/ask")
    expect(page.locator("h1")).to_be_visible()
    page.evaluate(
        """() => {
            document.body.insertAdjacentHTML('beforeend', `
              <img src="data:," onerror="window.ran = 1">
              <a href="javascript:window.ran = 2">x</a>`);
            const script = document.createElement('script');
            script.textContent = 'window.ran = 3';
            document.body.append(script);
            document.querySelector('a[href^=javascript]').click();
            return fetch('http://127.0.0.2:1/').catch(() => 0);
        }"""
    )
    assert page.evaluate("window.ran") is None


def test_with_a_key_the_page_asks_for_it_once(page: Page, trouble: Trouble) -> None:
    trouble.allow("401")
    with open_stage(key="open sesame") as locked:
        page.goto(f"{locked.url}/#/documents")
        page.get_by_test_id("key").fill("wrong")
        page.get_by_test_id("key-send").click()
        expect(page.get_by_text("This is not the key.")).to_be_visible()
        page.get_by_test_id("key").fill("open sesame")
        page.keyboard.press("Enter")
        expect(page.get_by_test_id("documents-list")).to_contain_text("beekeeping.md")
        expect(page.get_by_test_id("key-form")).to_have_count(0)
        page.reload()
        expect(page.get_by_test_id("documents-list")).to_contain_text("lighthouse.md")
        (cookie,) = page.context.cookies()
        assert cookie["httpOnly"] and cookie["sameSite"] == "Strict"
        assert "sesame" not in cookie["value"]
