"""What models write becomes what records can hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr_ray.core.fields import storable


@pytest.mark.parametrize(
    ("text", "kept"),
    [("plain é 🦆", "plain é 🦆"), ("a\0b", "a\ufffdb"), ("half \ud83e", "half ?"), ("", "")],
)
def test_what_becomes_of_it(text: str, kept: str) -> None:
    assert storable(text) == kept


@given(st.text())
def test_it_is_valid_and_as_long(text: str) -> None:
    kept = storable(text)
    assert len(kept) == len(text)
    assert "\0" not in kept
    kept.encode()
