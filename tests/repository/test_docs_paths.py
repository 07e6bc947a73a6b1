"""Every file, link and class that the documentation names exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "rlvr_ray"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
#: What a path begins with: a folder of the repository or a room of the package.
BEGINNINGS = sorted(
    each.name
    for folder in (ROOT, PACKAGE)
    for each in folder.iterdir()
    if each.is_dir() and each.name != "data" and not each.name.startswith((".", "__"))
)
PATH = re.compile(rf"(?<![\w./:-])(?:{'|'.join(BEGINNINGS)})/(?:[\w./-]*\w/?)?(?![\w*])")
MODULE = re.compile(r"(?<=-m )tests[\w.]+")
LINK = re.compile(r"\]\(([^)\s]*)\)")


def anchors(page: Path) -> set[str]:
    """What GitHub calls the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def named(page: Path) -> set[str]:
    text = page.read_text("utf-8")
    modules = {module.replace(".", "/") for module in MODULE.findall(text)}
    return {*PATH.findall(text), *(x if (ROOT / x).is_dir() else f"{x}.py" for x in modules)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_are_named_exist(page: Path) -> None:
    assert not {
        path for path in named(page) if not any((at / path).exists() for at in (ROOT, PACKAGE))
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text("utf-8")):
        if link.startswith("http"):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_expression_finds_paths() -> None:
    assert all(len(named(page)) > 20 for page in PAGES[:2])


def test_classes_of_the_walk_exist() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    walk = page[page.index("## The way of a question") : page.index("## Processes")]
    code = "".join(file.read_text("utf-8") for file in PACKAGE.rglob("*.py"))
    named = [name.split(".") for name in re.findall(r"`([A-Z][A-Za-z]+(?:\.\w+)?)`", walk)]
    assert len(named) > 10
    for name, *methods in named:
        assert re.search(rf"^class {name}\b", code, re.MULTILINE), name
        assert all(re.search(rf"def {method}\b", code) for method in methods), methods
