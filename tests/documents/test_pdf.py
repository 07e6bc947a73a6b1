"""What is read from PDFs, and what is refused in one line."""

import logging
from functools import partial

import pytest

from rlvr_ray.core.errors import InputError
from rlvr_ray.documents import parsers
from rlvr_ray.documents.parsers import File
from rlvr_ray.documents.parsers import pdf as adapter
from rlvr_ray.documents.parsers.cleaning import printed, without_invisible
from tests import reading as files
from tests.pdfs import drawing, pdf, rewritten

read, refused = partial(files.read, "a.pdf"), partial(files.refused, "a.pdf", after=" ")


def test_page_by_page() -> None:
    data = pdf("One owl.\nIt hunts.", "", "Größe, Москва, naïve, Ελλάδα")
    assert read(data) == "One owl.\nIt hunts.\n\nGröße, Москва, naïve, Ελλάδα"
    assert parsers.document(File(source="a/B.PDF", data=data)).source == "a/B.PDF"


def test_the_same_bytes_are_the_same_text() -> None:
    data = pdf("One owl.", "Two owls.")
    assert read(data) == read(data)


def test_words_are_whole_again() -> None:
    text = read(
        pdf("A well-known exam-\nple of a well-\nknown e\ufb03cient \ufb01nd, North-\nSouth.")
    )
    assert text == "A well-known example of a well-known efficient find, North-South."


@pytest.mark.parametrize("algorithm", ["RC4-40", "RC4-128", "AES-128", "AES-256"])
def test_encrypted_with_the_empty_password_is_open(algorithm: str) -> None:
    data = rewritten(pdf("One owl."), lambda w: w.encrypt("", "owner", algorithm=algorithm))
    assert b"/Encrypt" in data
    assert read(data) == "One owl."


def test_encrypted_with_a_password_is_refused() -> None:
    data = rewritten(pdf("One owl."), lambda w: w.encrypt("secret", algorithm="AES-256"))
    assert refused(data) == "a.pdf is encrypted; save it without a password"


def test_a_scan_is_refused() -> None:
    assert "holds no text: a scan?" in refused(pdf("", ""))


def test_no_pages() -> None:
    assert "holds no text" in refused(rewritten(pdf("One owl."), lambda w: w.remove_page(0)))


@pytest.mark.parametrize(
    "data",
    [b"", b"text", b"<html>", b"\x89PNG\r\n" + bytes(5000)],
    ids=["empty", "text", "html", "png"],
)
def test_what_is_no_pdf(data: bytes) -> None:
    assert refused(data) == "a.pdf is no PDF, whatever its name says"


def test_a_cut_file_is_whole_or_refused() -> None:
    """Never a part of it, in silence."""
    pages = [f"Page {n} has an owl." for n in range(5)]
    data = pdf(*pages)
    whole = read(data)
    outcomes = set()
    for end in range(20, len(data), len(data) // 60):
        try:
            outcomes.add(read(data[:end]))
        except InputError as error:
            outcomes.add(str(error).split("(")[0])
    assert outcomes <= {whole, "a.pdf is damaged and cannot be read as PDF "}
    assert len(outcomes) > 0


def test_damage_is_told_in_one_line_and_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    data = pdf("One owl.")
    caplog.set_level(logging.DEBUG)
    assert "is damaged" in refused(data[: len(data) // 2])
    assert caplog.records == []


def test_too_many_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "MAX_PAGES", 2)
    assert read(pdf("a", "b")) == "a\n\nb"
    assert refused(pdf("a", "b", "c")) == "a.pdf has 3 pages, more than 2; split it"


def test_a_small_file_with_too_much_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long text from some kilobytes, and in one word."""
    monkeypatch.setattr(adapter, "MAX_TEXT", 2_000_000)
    line = b"BT /F 9 Tf (" + b"x" * 30_000 + b") Tj ET\n"
    data = rewritten(pdf(""), lambda w: drawing(w, line * 30, 3))
    assert len(data) < 100_000
    assert "characters of text; split it" in refused(data)


def test_a_file_that_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "READ_S", 0.0)
    assert "takes longer than 0 s" in refused(pdf("One owl."))


def test_a_page_that_is_all_pages() -> None:
    def loop(writer):
        writer._pages.get_object()["/Kids"].append(writer._pages)

    assert refused(rewritten(pdf("One owl."), loop))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\x00b\x07c\u200bd\u202ee\U000e0041f", "abcdef"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("half \ud83d", "half \ufffd"),
        ("a\tb\n", "a\tb\n"),
    ],
)
def test_what_shows_nothing_goes(text: str, expected: str) -> None:
    assert without_invisible(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" a  b \r\n\r\n\r\n\r\nc ", "a b\n\nc"),
        ("soft\u00adware, soft\u00ad\nware", "software, software"),
        ("1990-\n1995", "1990-\n1995"),
        ("\n \n", ""),
    ],
)
def test_print(text: str, expected: str) -> None:
    assert printed(text) == expected
