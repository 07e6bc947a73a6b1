"""Which rows say nearly the same: against comparing each with each."""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import pytest

from rlvr_ray.training.export.near_duplicates import (
    FEW,
    HASHES,
    MISS,
    Like,
    Lookalikes,
    NearDuplicates,
    bands,
)
from rlvr_ray.training.export.overlap import jaccard, shingles, words

Row = tuple[str, list[list[str]]]


@pytest.fixture
def file(tmp_path: Path) -> Iterator[IO[bytes]]:
    with (tmp_path / "texts").open("w+b") as stream:
        yield stream


def split(*texts: str) -> list[list[str]]:
    return [words(text) for text in texts]


def rows(count: int, seed: int) -> list[Row]:
    """Rows of which many are others with some words changed, in one part or in all."""
    draw = random.Random(seed)
    vocabulary = [f"w{number}" for number in range(500)]
    made: list[Row] = []
    for number in range(count):
        if made and draw.random() < 0.7:
            texts = [list(text) for text in draw.choice(made)[1]]
            for text in texts:
                if draw.random() < 0.6:
                    for _ in range(draw.randrange(4)):
                        text[draw.randrange(len(text))] = draw.choice(vocabulary)
        else:
            texts = [draw.choices(vocabulary, k=size) for size in (12, 40, 40)]
        made.append((f"row {number}", texts))
    return made


def each_with_each(made: Sequence[Row], similarity: float) -> list[Like | None]:
    kept: list[tuple[str, list[set[str]]]] = []
    found: list[Like | None] = []
    for name, texts in made:
        parts = [shingles(text, 3) for text in texts]
        alike = (
            (other, min(map(jaccard, parts, theirs)))
            for other, theirs in kept
            if jaccard(parts[0], theirs[0]) >= similarity
        )
        like = next((Like(other, least) for other, least in alike if least >= similarity), None)
        found.append(like)
        if like is None:
            kept.append((name, parts))
    return found


@pytest.mark.parametrize("similarity", [0.5, 0.7, 0.8, 0.9, 1.0])
def test_it_finds_what_comparing_each_with_each_finds(file: IO[bytes], similarity: float) -> None:
    made = rows(200, seed=7)
    wanted = each_with_each(made, similarity)
    kept = NearDuplicates(similarity, file)
    assert [kept.admit(name, texts) for name, texts in made] == wanted
    assert 10 < sum(like is not None for like in wanted) < 190


def test_what_the_hashes_propose_is_compared(
    file: IO[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if all hashes collided."""
    kept = NearDuplicates(0.8, file)
    made = rows(100, seed=8)
    found: list[Like | None] = []
    monkeypatch.setattr(Lookalikes, "find", lambda self, _: set(range(found.count(None))))
    for name, texts in made:
        found.append(kept.admit(name, texts))
    assert found == each_with_each(made, 0.8)


ANSWER = "It is a library that serves models and scales them with the number of requests made"


@pytest.mark.parametrize(
    ("texts", "alike"),
    [
        (("what is RAY serve", ANSWER, "I do not know."), True),
        (("What is Ray Serve?", f"{ANSWER}.", "I do not know"), True),
        (("What is Ray Serve?", f"{ANSWER} today", "I do not know."), True),
        (("What is Ray Train?", ANSWER, "I do not know."), False),
        (("What is Ray Serve?", ANSWER, "It is a kind of dessert."), False),
        (("What is Ray Serve?", "I do not know.", ANSWER), False),
        (("What is Ray Serve?", ANSWER), False),
    ],
)
def test_the_question_and_every_answer_in_its_place(
    file: IO[bytes], texts: tuple[str, ...], alike: bool
) -> None:
    kept = NearDuplicates(0.8, file)
    assert kept.admit("one", split("What is Ray Serve?", ANSWER, "I do not know.")) is None
    like = kept.admit("two", split(*texts))
    assert (like is not None) == alike
    if like is not None:
        assert like.name == "one"
        assert like.similarity >= 0.8


def test_a_row_that_went_takes_no_other_with_it(file: IO[bytes]) -> None:
    """Likeness does not carry over: what is like a dropped row only is kept."""
    base = [f"w{number}" for number in range(40)]
    near = [*base[4:], "a", "b", "c", "d"]
    far = [*near[4:], "e", "f", "g", "h"]
    kept = NearDuplicates(0.8, file)
    assert kept.admit("base", [["q"], base]) is None
    assert kept.admit("near", [["q"], near]) is not None
    assert kept.admit("far", [["q"], far]) is None


def test_of_several_like_rows_the_first_is_named(file: IO[bytes]) -> None:
    base = [f"w{number}" for number in range(40)]
    near = [*base[4:], "a", "b", "c", "d"]
    far = [*near[4:], "e", "f", "g", "h"]
    kept = NearDuplicates(0.8, file)
    for name, answer in (("base", base), ("far", far)):
        assert kept.admit(name, [["q"], answer]) is None
    like = kept.admit("near", [["q"], near])
    assert like is not None
    assert like.name == "base"


def test_among_many_rows_with_one_question(file: IO[bytes]) -> None:
    made = [[["q"], [f"{row}x{word}" for word in range(40)]] for row in range(4 * FEW)]
    kept = NearDuplicates(0.8, file)
    assert [kept.admit(str(number), texts) for number, texts in enumerate(made)] == [None] * 4 * FEW
    question, answer = made[2 * FEW]
    assert kept.admit("like", [question, [*answer, "too"]]) == Like(str(2 * FEW), 38 / 39)


def test_texts_of_any_kind_come_back_from_the_file(file: IO[bytes]) -> None:
    kept = NearDuplicates(1.0, file)
    for number, text in enumerate(("?!", "  ", "\u2028 \x85", "…", "日本語", '"\\"')):
        assert kept.admit(str(number), split(text, "yes")) is None or text == "\u2028 \x85"
        like = kept.admit("again", split(text, "yes"))
        assert like is not None
        assert like.similarity == 1


@pytest.mark.parametrize("similarity", [0.5, 0.55, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 1.0])
def test_bands_miss_little_and_no_wider_ones_would_do(similarity: float) -> None:
    def missed(count: int) -> float:
        return float((1 - similarity ** (HASHES // count)) ** count)

    count = bands(similarity)
    assert HASHES % count == 0
    assert missed(count) <= MISS
    assert count == 2 or missed(count // 2) > MISS


def test_a_sketch_depends_on_the_items_only() -> None:
    index = Lookalikes(0.8)
    items = [f"item {number}" for number in range(50)]
    assert index.sketch(items).digest() == index.sketch(reversed(items)).digest()
    assert Lookalikes(0.5).sketch(items).digest() == index.sketch(items).digest()
