"""Statements whose verdicts are known: what they are made of, and when a judge is not believed."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlvr_ray.core.statements import split_statements
from rlvr_ray.verification.controls import FOREIGN, LEAST, MOST, Controls, controls

SEED = "00000000"
TRAM = (
    "The Corvin tram was opened in 1911. Its stops are covered. Is it fast? It may stop in winter.",
    "Dogs travel free of charge on it.",
)


def made(*contexts: str, answers: tuple[str, ...] = (), seed: str = SEED) -> Controls:
    found = controls(seed, contexts, answers)
    assert found is not None
    return found


def test_a_sentence_and_the_same_with_another_number() -> None:
    assert made("The Corvin tram was opened in 1911.") == Controls(
        supported="The Corvin tram was opened in 1911.",
        unsupported="The Corvin tram was opened in 2184.",
    )


def test_the_other_number_is_none_that_the_contexts_have() -> None:
    found = made("Line 5 was opened in 1911, and line 7 of the tram in 2184.")
    assert found.unsupported == "Line 22 was opened in 1911, and line 7 of the tram in 2184."
    assert "39" in made("The tram has line 5 and the lines beside it.", "22").unsupported


@pytest.mark.parametrize(
    ("sentence", "denied"),
    [
        ("The stops of the tram are covered.", "The stops of the tram are not covered."),
        ("Visitors must wear a yellow helmet.", "Visitors must not wear a yellow helmet."),
        # Another number may be true as well: at least 3 are at least 2.
        ("The tram is at least 14 years old.", "The tram is not at least 14 years old."),
    ],
)
def test_without_a_plain_number_it_is_denied(sentence: str, denied: str) -> None:
    assert made(sentence).unsupported == denied


@pytest.mark.parametrize(
    "sentence",
    [
        "Dogs travel free of charge on it.",  # neither a number nor a verb to deny
        "It may be that the tram is late.",
        "No dogs are allowed on the tram.",
        "If it rains, the stops are covered.",
        "Tickets cost more than 14 euros.",
    ],
)
def test_what_cannot_be_made_false_is_set_beside_something_foreign(sentence: str) -> None:
    found = made(sentence)
    assert found.supported == sentence
    assert found.unsupported in FOREIGN


def test_the_seed_chooses_and_chooses_again() -> None:
    chosen = {made(*TRAM, seed=f"{n:08x}").supported for n in range(12)}
    assert len(chosen) > 2
    assert chosen < set(split_statements(" ".join(TRAM)))
    assert "Is it fast?" not in chosen
    assert made(*TRAM, seed="beefbeef") == made(*TRAM, seed="beefbeef")


def test_what_an_answer_says_is_no_control() -> None:
    answers = (
        "the corvin tram was opened in 1911, and its stops are covered",
        "It may stop in winter",
    )
    found = made(*TRAM, answers=answers)
    assert found.supported == "Dogs travel free of charge on it."
    assert found.unsupported in FOREIGN
    all_of_it = made(*TRAM, answers=(" ".join(TRAM),))
    assert all_of_it.supported.startswith('The context contains the text "The Corvin tram was')
    assert all_of_it.unsupported in FOREIGN


@pytest.mark.parametrize(
    ("context", "quoted"),
    [
        ("Delhi", "Delhi"),
        ("42", "42"),
        ("| stop | line |\n|---|---|\n| Mill Square | 5 |", "| stop | line |"),
        ('{"name": "Corvin", "stops": 14}', '{"name": "Corvin", "stops": 14}'),
        ("---\n\nname: Corvin", "name: Corvin"),
        ("ภาษาไทย", "ภาษาไทย"),
    ],
)
def test_what_has_no_sentences_is_quoted(context: str, quoted: str) -> None:
    found = made(context)
    assert found.supported == f'The context contains the text "{quoted}".'
    assert found.unsupported in FOREIGN


@pytest.mark.parametrize(
    "sentence",
    [
        "東京は日本の首都で、人口は約千四百万人です。",
        "दिल्ली भारत की राजधानी है और बहुत पुरानी है।",
        "Москва является столицей России.",
    ],
)
def test_sentences_of_other_scripts_are_sentences(sentence: str) -> None:
    assert made(sentence).supported == sentence


@pytest.mark.parametrize("contexts", [(), ("",), (" \n", "!? --- ...")])
def test_of_nothing_none_is_made(contexts: tuple[str, ...]) -> None:
    assert controls(SEED, contexts, ()) is None


@pytest.mark.parametrize(
    ("supported", "unsupported", "said"),
    [
        (1.0, 0.0, None),
        (LEAST, MOST, None),
        (0.5, 0.5, None),
        (LEAST - 0.01, 0.0, "calls unsupported (0.29) what the contexts say: It is."),
        (1.0, MOST + 0.01, "calls supported (0.71) what the contexts do not say: It is not."),
        (0.0, 1.0, "calls unsupported"),
    ],
)
def test_only_who_is_clearly_wrong_is_not_believed(
    supported: float, unsupported: float, said: str | None
) -> None:
    found = Controls(supported="It is.", unsupported="It is not.").objection(supported, unsupported)
    assert found is None if said is None else found is not None and said in found


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=80), max_size=3), st.lists(st.text(max_size=40), max_size=2))
def test_of_any_text(contexts: list[str], answers: list[str]) -> None:
    found = controls("deadbeef", contexts, answers)
    assert (found is None) == (not any(map(str.isalnum, "".join(contexts))))
    assert found is None or found.supported != found.unsupported


@pytest.mark.timeout(60)
@pytest.mark.parametrize("piece", ["a", "a. ", "1", "1 ", "is ", "\n", "not ", "It is 5. "])
def test_long_texts_finish(piece: str) -> None:
    controls(SEED, [(piece * 20_000)[:20_000]], ["a is 5. " * 2_000])
