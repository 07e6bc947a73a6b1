"""Answers that say that they cannot answer, and when that is right."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlvr_ray.core.abstention import ANSWERED, UNANSWERED, abstains, judge


@pytest.mark.parametrize(
    "answer",
    [
        "The passages do not say.",
        "The provided context doesn't mention the price.",
        "The provided context doesn’t mention the price.",
        "The given passages never mention a deadline.",
        "The context does not say who wrote it. I am sorry.",
        "The passages do not mention it. Please consult the manual.",
        "The passages do not say.\n\nPlease check the website.",
        "The passages describe queues but do not mention prices.",
        "Based on the provided context, I cannot determine when it was built.",
        "I don't know.",
        "Not enough information.",
        "Insufficient context provided.",
        "I do not know the answer.",
        "I cannot answer this question.",
        "I’m not sure.",
        "I am unable to answer that.",
        "I have no idea.",
        "We do not know.",
        "Sorry, I don't know.",
        "I apologize. The text does not specify it.",
        "There is no information about this in the passages.",
        "The context contains no information on the release date.",
        "There isn't enough information to answer.",
        "It is not stated in the provided documents.",
        "No passage mentions the inventor.",
        "The question cannot be answered.",
        "The price is not mentioned.",
        "The answer is unknown.",
        "Not mentioned.",
        "No information available.",
        "Unanswerable.",
        "Unknown",
        "N/A",
        "I DO NOT KNOW.",
    ],
)
def test_these_abstain(answer: str) -> None:
    assert abstains(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "...",
        " \n ",
        "No.",
        "Yes.",
        "No, it does not.",
        "7",
        "Ray Serve is a library for online inference.",
        "It does not support Windows.",
        "Windows is not supported.",
        "Tesla did not know Edison before 1884.",
        "The function does not return a value.",
        "There is no limit on the number of replicas.",
        "The passages mention 1884.",
        "The document describes the API and its errors.",
        "The configuration file does not contain secrets.",
        "According to the documentation, Ray does not support Windows.",
        "The documentation says that Ray does not support Windows.",
        "Sorry, the answer is 1847.",
        "Unfortunately, Ray dropped it in version 2.",
        "Please provide a key in the header.",
        "If you set the flag, it stops.",
        "The cause of the disease is unknown to science, and research on it goes on in several "
        "large hospitals of the country.",
        "The user's identity cannot be determined by the proxy, which is why each request must "
        "carry a token from the login page.",
        # What says so and then answers all the same.
        "The passages do not mention the price, but Ray Serve is a library for online inference.",
        "The context does not state the year. However, Edison was born in 1847.",
        "The passages do not mention the price. It is 20 euros.",
        "I don't know the exact date, but Tesla moved to New York in 1884.",
        "Edison was born in 1847. I don't know where.",
        "I am not sure, although Edison opened a laboratory in Menlo Park.",
    ],
)
def test_these_do_not(answer: str) -> None:
    assert not abstains(answer)


def test_a_second_abstention_behind_a_but_is_one_too() -> None:
    assert abstains("The passages do not mention the price, but I do not know more.")
    assert abstains("I am sorry, but the passages do not mention it.")


def test_politeness_alone_is_no_abstention() -> None:
    assert not abstains("I am sorry.")
    assert not abstains("Please consult the manual. Let me know.")


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=80))
def test_anything_can_be_asked_about(answer: str) -> None:
    abstained = abstains(answer)
    assert abstains(f"  {answer}\n") == abstained
    assert not abstains(f"{answer}\n\nEdison opened a large laboratory in Menlo Park.")


@pytest.mark.timeout(5)
@pytest.mark.parametrize(
    "piece",
    ["a", "{", "the ", "any of the ", "the provided ", "the context ", "not ", "but ", ", but ",
     "sorry ", "if you ", "I don't ", "is not ", "there is no ", "\n", "a\n", "ignore ", "word "],
)  # fmt: skip
def test_long_texts_finish(piece: str) -> None:
    assert not abstains((piece * 20_000)[:20_000])


class TestJudge:
    MIN = 0.3

    def score(
        self, answerable: float, cosine: float | None = 0.8, supported: tuple[float, ...] = ()
    ) -> float | None:
        return judge(cosine, self.MIN, answerable, supported)[0]

    @pytest.mark.parametrize(
        ("answerable", "expected"),
        [
            (0.0, 1.0),
            (UNANSWERED, 1.0),
            (UNANSWERED + 0.01, None),
            (0.5, None),
            (ANSWERED - 0.01, None),
            (ANSWERED, 0.0),
            (1.0, 0.0),
        ],
    )
    @pytest.mark.parametrize("cosine", [None, MIN, 0.8])
    def test_near_contexts(
        self, answerable: float, expected: float | None, cosine: float | None
    ) -> None:
        assert self.score(answerable, cosine) == expected

    @pytest.mark.parametrize(
        ("answerable", "expected"), [(0.0, 1.0), (0.5, 1.0), (0.51, None), (1.0, None)]
    )
    def test_distant_contexts_speak_for_it(self, answerable: float, expected: float | None) -> None:
        assert self.score(answerable, self.MIN - 0.01) == expected

    @pytest.mark.parametrize(
        ("supported", "expected"),
        [((), 1.0), ((0.0,), 1.0), ((ANSWERED - 0.01, 0.2), 1.0), ((0.1, ANSWERED), None)],
    )
    def test_an_answer_that_stands_speaks_against_it(
        self, supported: tuple[float, ...], expected: float | None
    ) -> None:
        assert self.score(0.0, 0.8, supported) == expected
        assert self.score(0.0, 0.1, supported) == expected
        assert self.score(1.0, 0.8, supported) == 0.0

    def test_the_reason_tells_the_figures(self) -> None:
        _, reason = judge(0.123, self.MIN, 0.1, [0.2])
        assert reason == (
            "it abstains, and the contexts do not answer "
            "(contexts judged answerable 0.10, best cosine 0.12)"
        )
        _, reason = judge(None, self.MIN, 0.9, [])
        assert reason == "it abstains, though the contexts answer (contexts judged answerable 0.90)"
        _, reason = judge(None, self.MIN, 0.1, [0.3, 0.85])
        assert "not clear" in reason
        assert "another answer scores 0.85" in reason

    @settings(max_examples=50, deadline=None)
    @given(
        cosine=st.none() | st.floats(-1, 1),
        answerable=st.floats(0, 1),
        supported=st.lists(st.floats(0, 1), max_size=4),
    )
    def test_more_support_never_helps_it(
        self, cosine: float | None, answerable: float, supported: list[float]
    ) -> None:
        def rank(others: list[float]) -> float:
            score, reason = judge(cosine, self.MIN, answerable, others)
            assert score in (0.0, 1.0, None)
            assert reason.startswith("it abstains")
            return 0.5 if score is None else score

        assert rank([*supported, 1.0]) <= rank(supported)
        assert rank(supported) == rank(supported[::-1])
