"""Words that texts have in common."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr_ray.training.export.overlap import jaccard, ngrams, shingles, words


class TestWords:
    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("What is Ray Serve?", "what is ray serve"),
            ("  `What`\n is *Ray* Serve …", "what is ray serve"),
            ("ＷＨＡＴ ﬁts", "what fits"),
            ("Straße STRASSE", "strasse strasse"),
            ("timeout_s = 5", "timeout_s = 5"),
            ("C++ or C#", "c + + or c #"),
            ("5 < 6, -5 and 3-5", "5 < 6 - 5 and 3 5"),
            ("日本語のX線", "日 本 語 の x 線"),
            ("?!  …", "?! ..."),
            (" \n", ""),
        ],
    )
    def test_case_punctuation_and_layout_do_not_count(self, text: str, found: str) -> None:
        assert " ".join(words(text)) == found

    @given(st.text())
    def test_there_is_at_least_one_and_none_has_white_space(self, text: str) -> None:
        found = words(text)
        assert found
        assert " ".join(found).split(" ") == found
        assert not any("\n" in word or "\t" in word for word in found)


class TestParts:
    def test_shingles_of_a_text_and_of_a_shorter_one(self) -> None:
        assert shingles(["a", "b", "c", "d"], 3) == {"a b c", "b c d"}
        assert shingles(["a", "b"], 3) == {"a b"}

    def test_ngrams_of_a_text_and_of_a_shorter_one(self) -> None:
        assert list(ngrams(["a", "b", "c", "d"], 3)) == ["a b c", "b c d"]
        assert list(ngrams(["a", "b"], 3)) == []

    def test_jaccard(self) -> None:
        assert jaccard({"a", "b", "c"}, {"b", "c", "d"}) == 0.5
        assert jaccard({"a"}, {"a"}) == 1
        assert jaccard({"a"}, {"b"}) == 0
