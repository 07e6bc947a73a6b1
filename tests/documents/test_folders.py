"""Reading documents: which files are read, what they are called, what is refused."""

import os
from pathlib import Path

import pytest

from rlvr_ray.core.errors import InputError
from rlvr_ray.documents import folders
from rlvr_ray.documents.folders import read
from rlvr_ray.documents.retriever import Document


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Each test stands in an empty folder."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def write(path: str | Path, content: str | bytes = "text") -> Path:
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def sources(*paths: str | Path) -> list[str]:
    return [document.source for document in read([Path(path) for path in paths])]


def test_a_file() -> None:
    write("ray.md", "# Ray\n\nIt scales Python.\n")
    assert read([Path("ray.md")]) == [
        Document(source="ray.md", text="# Ray\n\nIt scales Python.\n")
    ]


def test_folders_are_read_through_and_through_in_a_fixed_order() -> None:
    for name in ("docs/b.md", "docs/a.txt", "docs/deep/er/c.rst", "docs/deep/d.markdown"):
        write(name, name)
    documents = read([Path("docs")])
    assert [(d.source, d.text) for d in documents] == [
        (name, name)
        for name in ("docs/a.txt", "docs/b.md", "docs/deep/d.markdown", "docs/deep/er/c.rst")
    ]


def test_other_files_of_a_folder_are_left_out() -> None:
    for name in ("docs/a.md", "docs/b.png", "docs/c.md.bak", "docs/README", "docs/md"):
        write(name)
    Path("docs/folder.md").mkdir()
    write("docs/folder.md/inside.txt")
    assert sources("docs") == ["docs/a.md", "docs/folder.md/inside.txt"]


def test_hidden_files_and_folders_are_left_out() -> None:
    for name in ("docs/.a.md", "docs/.git/b.md", "docs/deep/.venv/lib/c.txt", "docs/seen.md"):
        write(name)
    assert sources("docs") == ["docs/seen.md"]


def test_what_is_named_is_read_even_where_it_is_hidden() -> None:
    write(".notes/a.md")
    write(".notes/.b.md")
    assert sources(".notes") == [".notes/a.md"]
    assert sources(".notes/.b.md") == [".notes/.b.md"]


def test_suffixes_count_in_any_case() -> None:
    write("docs/A.MD")
    write("B.Txt")
    assert sources("docs", "B.Txt") == ["docs/A.MD", "B.Txt"]


def test_several_paths_in_their_order() -> None:
    write("z.md")
    write("docs/a.md")
    assert sources("z.md", "docs") == ["z.md", "docs/a.md"]
    assert read([]) == []


# Names.


@pytest.mark.parametrize("path", ["docs/a.md", "./docs/a.md", "docs/../docs/a.md", "docs//a.md"])
def test_a_source_is_named_as_seen_from_here(path: str, here: Path) -> None:
    write("docs/a.md")
    assert sources(path) == ["docs/a.md"]
    assert sources(here / path) == ["docs/a.md"]


def test_a_source_elsewhere_is_named_by_its_whole_path(here: Path) -> None:
    write(here.parent / "elsewhere/a.md")
    whole = str(here.parent / "elsewhere/a.md")
    assert sources(here.parent / "elsewhere") == [whole]
    assert [os.path.normpath(name) for name in sources("../elsewhere")] == [whole]


def test_a_source_elsewhere_has_one_name_however_it_is_reached(here: Path) -> None:
    """A document is its source: two names would store it twice."""
    write(here.parent / "elsewhere/a.md")
    assert sources("../elsewhere/a.md") == sources(here.parent / "elsewhere" / "a.md")


def test_a_link_is_named_as_seen_from_here(here: Path) -> None:
    """What it leads to may be called anything, and change: Kubernetes mounts files like this."""
    write(here.parent / "store/7f3a", "first")
    Path("docs").mkdir()
    Path("docs/a.md").symlink_to(here.parent / "store/7f3a")
    assert read([Path("docs")]) == [Document(source="docs/a.md", text="first")]


def test_a_name_that_begins_with_two_dots_is_not_elsewhere() -> None:
    write("..notes/a.md")
    assert sources("..notes") == ["..notes/a.md"]


def test_a_name_in_any_script() -> None:
    write("Größe/東京 📄.md")
    assert sources("Größe") == ["Größe/東京 📄.md"]


def test_a_name_that_is_not_utf8_is_refused() -> None:
    """The source would hold a surrogate, which no store takes."""
    folder = Path("docs")
    folder.mkdir()
    file = Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.md"))
    try:
        file.write_text("text")
    except OSError:
        pytest.skip("this file system takes no such names")
    with pytest.raises(InputError, match="name"):
        read([folder])


# Content.


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", ""),
        (b"\xef\xbb\xbf# Ray", "# Ray"),
        (b"a \xef\xbb\xbf b", "a \ufeff b"),
        ("Größe 東京 📄".encode(), "Größe 東京 📄"),
        (b"a\r\nb\rc\n", "a\nb\nc\n"),
    ],
    ids=["empty", "BOM", "BOM inside", "UTF-8", "line ends"],
)
def test_content(content: bytes, text: str) -> None:
    write("a.md", content)
    assert [document.text for document in read([Path("a.md")])] == [text]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"caf\xe9 au lait", "byte 3"),
        (b"\xff\xfeR\0a\0y\0", "byte 0"),
        (b"surrogate \xed\xa0\x80", "byte 10"),
        (b"cut \xe2\x82", "byte 4"),
    ],
    ids=["Latin-1", "UTF-16", "surrogate", "cut"],
)
def test_what_is_not_utf8_is_refused_with_the_place(content: bytes, reason: str) -> None:
    write("docs/good.md")
    write("docs/a.md", content)
    with pytest.raises(InputError, match=rf"^docs/a\.md is not UTF-8: .* at {reason}$"):
        read([Path("docs")])


def test_a_file_that_is_too_large_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "MAX_UPLOAD", 1000)
    write("a.md", "x" * 1000)
    assert sources("a.md") == ["a.md"]
    write("a.md", b"\xff" * 1001)
    with pytest.raises(InputError, match="larger than 1,000 bytes"):
        read([Path("a.md")])


# Paths that are wrong.


def test_a_path_that_does_not_exist() -> None:
    write("a.md")
    with pytest.raises(InputError, match=r"^nowhere\.md does not exist$"):
        read([Path("a.md"), Path("nowhere.md")])


def test_a_dangling_link() -> None:
    Path("link.md").symlink_to("nowhere.md")
    with pytest.raises(InputError, match=r"^link\.md does not exist$"):
        read([Path("link.md")])


@pytest.mark.parametrize("name", ["a.png", "a", "a.md.gz", ".md"])
def test_a_file_that_is_no_text(name: str) -> None:
    write(name)
    with pytest.raises(InputError, match=r": only \.md, .*, \.pdf can be ingested$"):
        read([Path(name)])


@pytest.mark.parametrize("content", [[], ["a.png"], [".hidden.md"], ["deep/b.png"]], ids=repr)
def test_a_folder_without_texts(content: list[str]) -> None:
    Path("docs").mkdir()
    for name in content:
        write(f"docs/{name}")
    with pytest.raises(InputError, match=r"^docs holds no \.md, .*, \.pdf files$"):
        read([Path("docs")])
