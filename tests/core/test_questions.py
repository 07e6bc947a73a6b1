"""What a question may be, and what it is called: the same for the same question, for ever."""

import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from rlvr_ray.core.questions import (
    MAX_ID_CHARS,
    MAX_QUESTION_CHARS,
    Columns,
    Question,
    Refusal,
    Refused,
    Unfit,
    chosen,
    question,
)
from rlvr_ray.core.spelling import displayed
from rlvr_ray.serve.http.bodies import QuestionBody
from rlvr_ray.settings import MAX_QUESTION_CHARS as MAX_OF_THE_INTERFACE
from tests.strategies import texts

filled = texts.filter(displayed)


def a_question(text: str = "Why?", **fields: Any) -> Question:
    values: dict[str, Any] = {"text": text, "source": "a.jsonl", "line": 1}
    return Question(**(values | fields))


def some(count: int) -> list[Question]:
    return [a_question(f"What is {n}?", line=n + 1) for n in range(count)]


class TestIds:
    def test_they_never_change(self) -> None:
        """Ledgers in the world hold these: another value here would ask everything again."""
        assert (
            str(a_question("What is RLVR?").batch_id("first"))
            == "39400a3b-55f4-58a1-9c14-876026a9ee74"
        )
        assert (
            str(a_question("What is RLVR?", reference="A method.").batch_id("first"))
            == "fded4425-3432-5e4e-9425-0bf1a9165b72"
        )
        assert (
            str(a_question(question_id="q-7").batch_id("first"))
            == "1c45b4bc-89d6-5dc2-8ead-449b3cdd2f74"
        )

    @settings(max_examples=50)
    @given(filled, st.none() | filled, filled, st.integers(1))
    def test_where_it_stands_does_not_matter(
        self, text: str, reference: str | None, source: str, line: int
    ) -> None:
        here = a_question(text, reference=reference)
        there = a_question(text, reference=reference, source=source, line=line)
        assert here.batch_id("run") == there.batch_id("run")
        assert here.batch_id("run") != here.batch_id("run 2")

    def test_with_an_id_nothing_else_counts(self) -> None:
        one = a_question("a", question_id="7", reference="b")
        assert one.batch_id("run") == a_question("c", question_id="7").batch_id("run")
        assert one.batch_id("run") != a_question("a", reference="b").batch_id("run")
        assert one.batch_id("run") != a_question("a", question_id="8").batch_id("run")

    def test_an_id_is_no_content(self) -> None:
        content = a_question("q").batch_id("run")
        assert content != a_question("x", question_id="q").batch_id("run")
        assert content != a_question("x", question_id='["q", null]').batch_id("run")

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("What is  it?", "What is it?"),
            (" What is it?\n", "What is it?"),
            ("What\u00a0is\tit?", "What is it?"),
            ("Cafe\u0301?", "Caf\u00e9?"),
            ("\ufeffWhat is it?\u200b", "What is it?"),
            ("What i\u00ads it\ufe0f?", "What is it?"),
            ("\u2067What\u2069 is\u200d \u2060it?\u200e", "What is it?"),
            ("What\u3164is\u2800it?\uffa0", "What is it?"),
            ("What is it?\U000e0041\U000e007f\u2065", "What is it?"),
            ("Caf\u200be\u200b\u0301?", "Caf\u00e9?"),
            ("What is it?\x08\x7f", "What is it?"),
        ],
    )
    def test_what_says_the_same_is_the_same(self, one: str, other: str) -> None:
        assert a_question(one).batch_id("run") == a_question(other).batch_id("run")
        assert a_question("q", reference=one).batch_id("run") == a_question(
            "q", reference=other
        ).batch_id("run")

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ({"text": "us?"}, {"text": "US?"}),
            ({"text": "whatis it?"}, {"text": "what is it?"}),
            ({"text": "a"}, {"text": "a", "reference": "b"}),
            ({"text": "a\x1fb"}, {"text": "a", "reference": "b"}),
            ({"text": "x²?"}, {"text": "x2?"}),
            ({"text": "a?"}, {"text": "a？"}),
            ({"text": "It’s?"}, {"text": "It's?"}),
        ],
    )
    def test_what_says_something_else_is_another(
        self, one: dict[str, str], other: dict[str, str]
    ) -> None:
        assert a_question(**one).batch_id("run") != a_question(**other).batch_id("run")

    def test_run_and_id_do_not_run_together(self) -> None:
        one, other = a_question(question_id="b\x1fc"), a_question(question_id="c")
        assert one.batch_id("a") != other.batch_id("a\x1fb")


class TestRules:
    @pytest.mark.parametrize(
        ("values", "kind", "told"),
        [
            ({"text": None}, "empty", "question is missing"),
            ({"text": ""}, "empty", "question: must not be blank"),
            ({"text": " \u2003\t\n"}, "empty", "question: must not be blank"),
            ({"text": "\ufeff"}, "empty", "question: must not be blank"),
            ({"text": "\u200b\u2800 \u3164"}, "empty", "question: must not be blank"),
            ({"text": "\u00ad\u2060\ufe0f"}, "empty", "question: must not be blank"),
            ({"text": "\u202e\u202c\u034f"}, "empty", "question: must not be blank"),
            ({"text": "x" * 8001}, "too_long", "question has 8,001 .* 8,000 at most"),
            ({"text": "a\0b"}, "malformed", "question: it contains a NUL"),
            ({"text": "\ud800"}, "malformed", "question: it is not valid Unicode"),
            ({"text": 7}, "malformed", "question must be text, not a number"),
            ({"text": 7.5}, "malformed", "question must be text, not a number"),
            ({"text": True}, "malformed", "question must be text, not true or false"),
            ({"text": ["a"]}, "malformed", "question must be text, not a list"),
            ({"text": {"a": 1}}, "malformed", "question must be text, not an object"),
            ({"text": b"a"}, "malformed", "question must be text, not bytes"),
            ({"question_id": 1.0}, "malformed", "id must be text or a whole number, not a number"),
            ({"question_id": False}, "malformed", "id must be .*, not true or false"),
            ({"question_id": "i" * 201}, "too_long", "id has 201 .* 200 at most"),
            ({"question_id": "a\0"}, "malformed", "id: it contains a NUL"),
            ({"reference": "r" * 8001}, "too_long", "reference has 8,001"),
            ({"reference": ["a", "b"]}, "malformed", "reference must be text, not a list"),
            ({"reference": "\udfff"}, "malformed", "reference: it is not valid Unicode"),
        ],
    )
    def test_what_is_refused(self, values: dict[str, Any], kind: Refusal, told: str) -> None:
        found = question("a.csv", 3, **({"text": "Why?"} | values))
        assert isinstance(found, Refused)
        assert (found.source, found.line, found.kind) == ("a.csv", 3, kind)
        with pytest.raises(ValueError, match=told):
            raise ValueError(found.message)
        assert "xxx" not in str(found)
        assert str(found).startswith("a.csv:3: ")
        assert "\n" not in str(found)

    def test_a_whole_file_has_no_line(self) -> None:
        assert (
            str(Refused(source="a", line=None, kind="empty", message="is empty")) == "a: is empty"
        )

    @pytest.mark.parametrize(
        ("given", "kept"),
        [(7, "7"), (-7, "-7"), ("7", "7"), (None, None), ("", None), ("  ", None)],
    )
    def test_ids(self, given: object, kept: str | None) -> None:
        found = question("a", 1, "Why?", given)
        assert isinstance(found, Question)
        assert found.question_id == kept

    @pytest.mark.parametrize("blank", [None, "", " \n"])
    def test_no_reference(self, blank: object) -> None:
        assert question("a", 1, "Why?", None, blank) == a_question(source="a")

    def test_the_longest(self) -> None:
        longest = "é" * MAX_QUESTION_CHARS
        found = question("a", 1, longest, "i" * MAX_ID_CHARS, longest)
        assert isinstance(found, Question)
        assert (found.text, found.reference) == (longest, longest)

    @settings(max_examples=100)
    @given(
        st.text(max_size=5)
        | st.sampled_from(["\0", "\ud800", "x" * 8000, "x" * 8001, " " * 8001, "\u2028", "\x1f"])
    )
    def test_what_a_file_may_hold_the_interface_takes(self, text: str) -> None:
        def asked() -> bool:
            try:
                QuestionBody(question=text, reference=[text])
            except ValidationError:
                return False
            return True

        assert isinstance(question("a", 1, text), Question) == asked()
        assert MAX_OF_THE_INTERFACE == MAX_QUESTION_CHARS

    def test_an_invalid_one_cannot_exist(self) -> None:
        with pytest.raises(Unfit, match="must not be blank"):
            a_question(" ")


class TestColumns:
    @pytest.mark.parametrize(
        ("columns", "names", "places"),
        [
            (Columns(), ["question"], (0, None, None)),
            (Columns(), ["reference", "x", "id", "question"], (3, 2, 0)),
            (Columns(question="q", question_id="k", reference="a"), ["a", "k", "q"], (2, 1, 0)),
            (Columns(question="q"), ["question", "q", "id"], (1, 2, None)),
            (Columns(question="q", question_id="q"), ["q"], (0, 0, None)),
        ],
    )
    def test_where_they_are(
        self, columns: Columns, names: list[str], places: tuple[int | None, ...]
    ) -> None:
        assert columns.places(names) == places

    @pytest.mark.parametrize(
        ("columns", "names", "told"),
        [
            (Columns(), ["Question", "a"], "no column 'question', only 'Question', 'a'; say which"),
            (Columns(), [], "no column 'question', only nothing"),
            (Columns(question_id="k"), ["question", "id"], "no column 'k'"),
            (Columns(reference="r"), ["question"], "no column 'r'"),
        ],
    )
    def test_one_that_is_missing(self, columns: Columns, names: list[str], told: str) -> None:
        with pytest.raises(Unfit, match=told) as caught:
            columns.places(names)
        assert caught.value.kind == "missing_column"

    def test_one_that_is_there_twice(self) -> None:
        with pytest.raises(Unfit, match="2 columns 'id'") as caught:
            Columns().places(["question", "id", "id"])
        assert caught.value.kind == "malformed"

    def test_many_names_are_cut(self) -> None:
        with pytest.raises(Unfit) as caught:
            Columns().places([f"column {n}" for n in range(10_000)])
        assert len(str(caught.value)) < 400


class TestChoosing:
    def test_the_first_in_their_order_reading_no_more(self) -> None:
        def endless() -> Iterator[Question]:
            yield from some(3)
            raise AssertionError("read further than asked")

        assert list(chosen(endless(), limit=3)) == some(3)
        assert list(chosen(some(3))) == some(3)
        assert list(chosen(some(3), limit=0)) == []

    @pytest.mark.parametrize("limit", [None, 0, 1, 7, 99])
    def test_shuffled_the_same_whatever_the_order(self, limit: int | None) -> None:
        found = list(chosen(some(50), limit=limit, shuffle_seed=1))
        assert found == list(chosen(reversed(some(50)), limit=limit, shuffle_seed=1))
        assert found == list(chosen(some(50), shuffle_seed=1))[:limit]

    def test_another_seed_another_order(self) -> None:
        one = list(chosen(some(50), shuffle_seed=1))
        other = list(chosen(some(50), shuffle_seed=2))
        assert one != other
        assert one != some(50)
        assert sorted(one, key=lambda q: q.line) == sorted(other, key=lambda q: q.line) == some(50)

    def test_further_questions_keep_the_others_order(self) -> None:
        few, known = list(chosen(some(30), shuffle_seed=1)), set(some(30))
        assert [q for q in chosen(some(60), shuffle_seed=1) if q in known] == few

    @pytest.mark.slow
    def test_a_limit_bounds_what_is_held(self) -> None:
        """Of 20,000 questions of 2,000 characters, 40 MB, it keeps ten."""
        texts = ("x" * 2000 + str(n) for n in range(20_000))
        many = (a_question(text, question_id=text[-5:]) for text in texts)
        tracemalloc.start()
        try:
            assert len(list(chosen(many, limit=10, shuffle_seed=1))) == 10
            assert tracemalloc.get_traced_memory()[1] < 2_000_000
        finally:
            tracemalloc.stop()
