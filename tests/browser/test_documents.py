"""Adding, finding and removing documents."""

from playwright.sync_api import FilePayload, Page, expect

from tests.browser.fixtures import NewPage, Trouble
from tests.browser.stage import Stage, open_stage

TEA = "# Tea\n\nWhite tea is steeped at eighty degrees for two minutes."


def upload(page: Page, *files: tuple[str, str]) -> None:
    payloads: list[FilePayload] = [
        {"name": name, "mimeType": "text/plain", "buffer": content.encode()}
        for name, content in files
    ]
    page.get_by_test_id("upload").set_input_files(payloads)


def test_a_document_is_stored_found_and_deleted(stage: Stage, page: Page) -> None:
    page.goto(f"{stage.url}/#/documents")
    stored = page.get_by_test_id("documents-list")
    expect(stored).to_contain_text("beekeeping.md")
    upload(page, ("tea.md", TEA), ("milk.txt", "Milk boils over at one hundred degrees."))
    expect(stored).to_contain_text("tea.md")
    expect(stored).to_contain_text("milk.txt")
    expect(page.get_by_test_id("uploads")).to_contain_text("1 passage")
    page.get_by_test_id("search").fill("How hot is the water for white tea?")
    page.keyboard.press("Enter")
    found = page.get_by_test_id("search-results")
    expect(found.get_by_test_id("context-0")).to_contain_text("eighty degrees")
    delete = page.get_by_role("button", name="Delete tea.md")
    delete.click()
    assert "tea.md" in sources(stage), "it takes a second press"
    delete.click()
    expect(stored).not_to_contain_text("tea.md")
    assert "tea.md" not in sources(stage) and "milk.txt" in sources(stage)
    page.reload()
    expect(stored).to_contain_text("milk.txt")
    expect(stored).not_to_contain_text("tea.md")


def test_a_file_that_is_no_text_is_refused_and_the_others_are_stored(
    stage: Stage, page: Page, trouble: Trouble
) -> None:
    trouble.allow("422")
    page.goto(f"{stage.url}/#/documents")
    expect(page.get_by_test_id("documents-list")).to_be_visible()
    upload(page, ("picture.png", "no text"), ("empty.md", " \n"), ("coffee.md", "Coffee is black."))
    expect(page.get_by_test_id("documents-list")).to_contain_text("coffee.md")
    uploads = page.get_by_test_id("uploads")
    expect(uploads.get_by_test_id("error")).to_have_count(2)
    expect(uploads).to_contain_text("Only .md, ")
    assert not {"picture.png", "empty.md"} & sources(stage)


def test_without_documents_every_view_says_what_to_do(new_page: NewPage, trouble: Trouble) -> None:
    trouble.allow("409")
    with open_stage(documents={}) as bare:
        page = new_page()
        page.goto(f"{bare.url}/#/documents")
        expect(page.locator("main")).to_contain_text("There are no documents yet.")
        page.goto(f"{bare.url}/#/dataset")
        expect(page.locator("main")).to_contain_text("There is no batch yet.")
        page.goto(f"{bare.url}/#/review")
        expect(page.locator("main")).to_contain_text("No pair is left to review.")
        page.goto(f"{bare.url}/#/ask")
        page.get_by_test_id("question").fill("Is anybody there?")
        page.get_by_test_id("ask").click()
        expect(page.get_by_test_id("error")).to_contain_text("There are no documents")
        page.get_by_test_id("error").get_by_role("link").click()
        expect(page.locator("h1")).to_have_text("Documents")
        upload(page, ("tea.md", TEA))
        expect(page.get_by_test_id("documents-list")).to_contain_text("tea.md")


def sources(stage: Stage) -> set[str]:
    return {document["source"] for document in stage.get("/documents")["documents"]}
