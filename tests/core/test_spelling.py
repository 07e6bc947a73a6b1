"""Spelling: ways of writing are no difference, and what may mean something else is one."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr_ray.core.spelling import canonical, displayed, same_answer
from tests.strategies import texts


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The tower is 330 m tall.", "The tower is 330 m tall"),
        ("答案是四。", "答案是四"),
        ("The tower is **330 m** tall.", "The tower is 330 m tall."),
        ("**The tower is tall.**", "The tower is tall."),
        ("***very*** `tall`", "very tall"),
        ("**_tall_**.", "tall"),
        ("_tall_ and __taller__", "tall and taller"),
        ("这是**重点**内容", "这是重点内容"),
        ("the tower", "The TOWER"),
        ("Straße", "STRASSE"),
        ("the\n\n tower\t", "the tower"),
        ("the\u00a0tower", "the tower"),
        ("the to\u200bwer\ufeff", "the tower"),
        ("the\u2060 \u200ftower\ufe0f", "the tower"),
        ("caf\u00e9", "cafe\u0301"),
        ("ＲＡＹ　２．０", "Ray 2.0"),
        ("“it’s”", '"it\'s"'),
        ("5–10 — or \u22125", "5-10 - or -5"),
        ("and so on…", "and so on..."),
    ],
)
def test_ways_of_writing_are_no_difference(one: str, other: str) -> None:
    assert same_answer(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("-5", "5"),
        ("\u22125 °C", "5 °C"),
        ("C++", "C"),
        ("C#", "C"),
        ("x < y", "x > y"),
        ("x = y", "x ≠ y"),
        ("1,5", "15"),
        ("1.5", "15"),
        ("3.1", "3.10"),
        ("a/b", "ab"),
        ("11/2", "1½"),
        ("10²", "102"),
        ("H₂O2", "H2O₂"),
        ("2*3*4", "234"),
        ("2 * 3 * 4", "2 3 4"),
        ("**kwargs and *args", "kwargs and args"),
        ("snake_case", "snakecase"),
        ("5%", "5"),
        ("$5", "€5"),
        ("1, 2, ...", "1, 2"),
        ("yes!", "yes?"),
        ("not ~~not~~", "not not"),
        ("a b", "ab"),
        ("dog bites man", "man bites dog"),
        ("ja", "já"),
        ("", "a"),
    ],
)
def test_what_may_mean_something_else_is_one(one: str, other: str) -> None:
    assert not same_answer(one, other)


@given(texts)
def test_a_text_is_a_spelling_of_itself_however_it_is_written(text: str) -> None:
    once = canonical(text)
    for spelling in (f" {text}\n", unicodedata.normalize("NFD", text), f"\u200b{text}"):
        assert canonical(spelling) == once


@given(st.text("*_`a. ", max_size=30))
def test_marks_that_enclose_nothing_cost_nothing_but_themselves(text: str) -> None:
    letters = [char for char in text if char == "a"]
    assert [char for char in canonical(text) if char == "a"] == letters


@pytest.mark.parametrize("piece", ["*a ", "**a", "`", "_", "_a", "*_`", "*a*"])
def test_marks_without_an_end_are_read_once(piece: str) -> None:
    """Work that grew with the square of the length would run into the time limit of tests."""
    assert len(canonical(piece * 40_000)) <= len(piece) * 40_000


@given(texts)
def test_what_is_seen_is_seen_again(text: str) -> None:
    once = displayed(text)
    assert displayed(once) == once
    assert unicodedata.is_normalized("NFC", once)
    assert displayed(f"\ufeff {text}\u00ad\u200b\n") == once


def test_only_what_is_invisible_is_not_seen() -> None:
    assert displayed(" \u200b**A**,  b\u2019s \uff1f ") == "**A**, b\u2019s \uff1f"
