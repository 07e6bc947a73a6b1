"""Document ids: a repeat is seen as one, a change is not."""

from uuid import UUID

import pytest
from hypothesis import given

from rlvr_ray.documents.passages import chunk_id, document_id
from tests.strategies import texts

DOCUMENT = UUID("11111111-2222-5333-8444-555555555555")


def test_ids_never_change() -> None:
    """Vector stores in the world hold these: another value would double their documents."""
    assert str(document_id("documents", "docs/ray.md")) == "9b543969-da1f-52b2-a1e5-598f1e4d0473"
    assert str(chunk_id(DOCUMENT, 3, "Ray scales.")) == "8077a098-29d6-5fb2-9382-815fe06280d3"


@given(texts)
def test_the_same_is_the_same(text: str) -> None:
    assert document_id("documents", text) == document_id("documents", text)
    assert chunk_id(DOCUMENT, 0, text) == chunk_id(DOCUMENT, 0, text)


def test_a_source_is_another_document_in_another_collection() -> None:
    names = {
        document_id("a", "b.md"),
        document_id("b", "b.md"),
        document_id("a", "a.md"),
        document_id("a", "B.md"),
        document_id("a", "./b.md"),
    }
    assert len(names) == 5


@pytest.mark.parametrize(
    ("document", "index", "content"),
    [
        (document_id("documents", "other.md"), 0, "text"),
        (DOCUMENT, 1, "text"),
        (DOCUMENT, 0, "Text"),
        (DOCUMENT, 0, "text "),
        (DOCUMENT, 0, ""),
    ],
)
def test_a_passage_differs_by_document_place_and_content(
    document: UUID, index: int, content: str
) -> None:
    assert chunk_id(document, index, content) != chunk_id(DOCUMENT, 0, "text")
