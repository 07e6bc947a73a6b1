"""Answers that say that they cannot answer, what only sounds like it, and when that is right."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlvr_ray.verification.abstention import (
    ABSTENTIONS,
    DENIALS,
    LIKELY,
    STANDS,
    UNLIKELY,
    abstains,
    judge,
)

QUESTION = "How much does a ticket for the Corvin tram cost?"
CONTEXTS = (
    "The Corvin tram was opened in 1911. It has 14 stops. Its first driver is not known.",
    "Tickets are sold by the drivers. Dogs travel free of charge.",
)
REFUSAL = "The passages do not say what it costs."


def test_what_could_mean_that_nothing_is_said() -> None:
    assert abstains(REFUSAL, QUESTION, CONTEXTS)
    assert abstains(f"I am sorry. {REFUSAL} Please ask a driver.", QUESTION, CONTEXTS)
    assert abstains(f"{REFUSAL} They only mention who sells tickets.", QUESTION, CONTEXTS)
    assert abstains("They give the number of stops (14), but not the price.", QUESTION, CONTEXTS)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "...",
        " \n ",
        "No.",
        "Yes.",
        "7",
        "It costs nothing for dogs.",
        "I am sorry.",
        "Please ask the driver. Let me know.",
        "Tickets are sold by the drivers.",
        # It says so and answers all the same.
        f"{REFUSAL} It is 20 euros.",
        f"{REFUSAL} However, the tram was opened in 1911 with a brass band.",
        "The passages do not mention the price, but the ride costs two crowns and a half.",
        "They do not say when, as it was in 1999.",
        "The tram was opened with a brass band in May. I do not know where.",
        # Numbers that nobody has given.
        "They do not mention the price of 3 euros.",
    ],
)
def test_answers(answer: str) -> None:
    assert not abstains(answer, QUESTION, CONTEXTS)


@pytest.mark.parametrize(
    ("question", "answer", "context"),
    [
        ("Who was the first driver?", "Its first driver is not known.", CONTEXTS[0]),
        ("Who was the first driver of the tram?", "He is not known.", CONTEXTS[0]),
        ("What does the loader return?", "N/A", "The loader returns N/A where a field is empty."),
        (
            "What is the cause of gout?",
            "The cause of gout is unknown.",
            "Gout hurts. Its cause is unknown.",
        ),
        (
            "Does the contract specify a period?",
            "No, the contract does not specify a period.",
            "The contract does not specify a period. It names two parties.",
        ),
    ],
)
def test_what_the_contexts_say_is_a_claim(question: str, answer: str, context: str) -> None:
    assert abstains(answer, question, ["The harbour was built in 1850."])
    assert not abstains(answer, question, ["The harbour was built in 1850.", context])


def test_what_they_say_of_something_else_is_none() -> None:
    said = "The wages of the cooks are not specified."
    asked = "What is the default of the option?"
    assert abstains("It is not specified.", asked, [said])
    assert not abstains("It is not specified.", asked, ["The option's default is not specified."])
    # The contexts say the opposite.
    assert abstains("The driver is not known.", "Who was the driver?", ["The driver is known."])


class Cosines:
    """A similarity of one figure for abstentions and one for denials."""

    def __init__(self, abstention: float, denial: float) -> None:
        self._row = [abstention] * len(ABSTENTIONS) + [denial] * len(DENIALS)
        self.rows: list[str] = []

    def __call__(self, rows: Sequence[str], columns: Sequence[str]) -> list[list[float]]:
        assert list(columns) == [*ABSTENTIONS, *DENIALS]
        self.rows += rows
        return [self._row for _ in rows]


@pytest.mark.parametrize(
    ("abstention", "denial", "expected"),
    [(0.9, 0.2, True), (0.4, 0.4, True), (0.3, 0.6, False), (0.1, 0.0, False)],
)
def test_meaning_decides(abstention: float, denial: float, expected: bool) -> None:
    similarity = Cosines(abstention, denial)
    assert abstains(REFUSAL, QUESTION, CONTEXTS, similarity) is expected
    assert similarity.rows == ["The passages do not say what it."]


def test_what_is_asked_for_is_no_part_of_the_meaning() -> None:
    similarity = Cosines(0.9, 0.0)
    assert abstains("A ticket for the Corvin tram is not given.", QUESTION, CONTEXTS, similarity)
    assert similarity.rows == ["A for the is not given."]


@pytest.mark.parametrize("answer", ["Dogs travel free of charge.", "Cats are not allowed.", "2.8"])
def test_most_answers_need_no_embedding(answer: str) -> None:
    similarity = Cosines(0.9, 0.0)
    assert not abstains(answer, QUESTION, CONTEXTS, similarity)
    assert similarity.rows == []


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=80))
def test_anything_can_be_asked_about(answer: str) -> None:
    abstained = abstains(answer, QUESTION, CONTEXTS)
    assert abstains(f"  {answer}\n", QUESTION, CONTEXTS) == abstained
    more = f"{answer}\n\nEdison opened a large laboratory in Menlo Park."
    assert not abstains(more, QUESTION, CONTEXTS)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "piece",
    ["a", "{", "the ", "the context ", "not ", "but ", ", but ", "sorry ", "I don't ", "is not ",
     "there is no ", "\n", "a\n", "ignore ", "word ", "not said. "],
)  # fmt: skip
def test_long_texts_finish(piece: str) -> None:
    text = (piece * 20_000)[:20_000]
    abstains(text, QUESTION, CONTEXTS)
    abstains(REFUSAL, QUESTION, [text])


class TestJudge:
    MIN = 0.3

    def score(
        self, unanswered: float | None, cosine: float | None = 0.8, answered: float = 0.0
    ) -> float | None:
        return judge(unanswered, answered, cosine, self.MIN)[0]

    @pytest.mark.parametrize(
        ("unanswered", "expected"),
        [
            (1.0, 1.0),
            (LIKELY, 1.0),
            (LIKELY - 0.01, None),
            (0.5, None),
            (UNLIKELY + 0.01, None),
            (UNLIKELY, 0.0),
            (0.0, 0.0),
            (None, None),
        ],
    )
    @pytest.mark.parametrize("cosine", [None, MIN, 0.8])
    def test_near_contexts(
        self, unanswered: float | None, expected: float | None, cosine: float | None
    ) -> None:
        assert self.score(unanswered, cosine) == expected

    @pytest.mark.parametrize(
        ("unanswered", "expected"),
        [(1.0, 1.0), (0.5, 1.0), (0.49, None), (0.0, None), (None, None)],
    )
    def test_distant_contexts_speak_for_it_but_not_alone(
        self, unanswered: float | None, expected: float | None
    ) -> None:
        assert self.score(unanswered, self.MIN - 0.01) == expected

    @pytest.mark.parametrize(
        ("unanswered", "expected"), [(1.0, None), (0.5, 0.0), (0.0, 0.0), (None, 0.0)]
    )
    def test_an_answer_that_stands_speaks_against_it(
        self, unanswered: float | None, expected: float | None
    ) -> None:
        assert self.score(unanswered, 0.8, STANDS) == expected
        assert self.score(unanswered, 0.8, STANDS - 0.01) == self.score(unanswered, 0.8)

    def test_the_reason_tells_the_figures(self) -> None:
        assert judge(0.9, 0.2, 0.123, self.MIN)[1] == (
            "it abstains, and the contexts do not answer (another answer stands at 0.20, contexts "
            "judged not to answer 0.90, best cosine 0.12)"
        )
        assert judge(None, 0.9, None, self.MIN)[1] == (
            "it abstains, though the contexts answer (another answer stands at 0.90)"
        )

    @settings(max_examples=50, deadline=None)
    @given(
        cosine=st.none() | st.floats(-1, 1),
        unanswered=st.none() | st.floats(0, 1),
        answered=st.floats(0, 1),
    )
    def test_more_support_of_others_never_helps_it(
        self, cosine: float | None, unanswered: float | None, answered: float
    ) -> None:
        def rank(answered: float) -> float:
            score, reason = judge(unanswered, answered, cosine, self.MIN)
            assert score in (0.0, 1.0, None)
            assert score != 1.0 or unanswered is not None, "there is no evidence"
            assert reason.startswith("it abstains")
            return 0.5 if score is None else score

        assert rank(1.0) <= rank(answered) <= rank(0.0)
