"""Which passage is shown for a statement."""

import pytest

from rlvr_ray.verification.citing import cite

RAY = "Ray is a framework for scaling Python. It was made at Berkeley in 2017."
SERVE = "Ray Serve serves models over HTTP.\n\nIt scales to zero. Replicas are actors."


def cited(statement: str, *contexts: str) -> tuple[int, str] | None:
    (passage,) = cite([statement], contexts)
    if passage is None:
        return None
    return passage.context, contexts[passage.context][passage.start : passage.end]


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("Ray was made in 2017 at Berkeley.", (0, "It was made at Berkeley in 2017.")),
        ("Models are served over HTTP by Ray Serve.", (1, "Ray Serve serves models over HTTP.")),
        ("A replica is an actor.", (1, "Replicas are actors.")),
        ("Bananas are yellow.", None),
        ("", None),
        ("!!!", None),
    ],
)
def test_the_sentence_that_says_it(statement: str, expected: tuple[int, str] | None) -> None:
    assert cited(statement, RAY, SERVE) == expected


def test_the_same_sentence_twice_is_found_where_it_stands() -> None:
    (passage,) = cite(["Ray scales."], ["Other words. Ray scales. Ray scales."])
    assert passage is not None
    assert passage.start == len("Other words. ")


def test_no_contexts() -> None:
    assert cite(["Ray scales.", "x"], []) == [None, None]
    assert cite([], [RAY]) == []


@pytest.mark.parametrize(
    "odd", ["e\u0301 \u2028 Ray\u200b scales.", "\ufeffRay scales.", "Ra\u0301y 🦜 scales."]
)
def test_odd_characters_keep_offsets_within_the_text(odd: str) -> None:
    (passage,) = cite(["Ray scales."], [odd])
    assert passage is None or 0 <= passage.start < passage.end <= len(odd)
