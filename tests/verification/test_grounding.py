"""Grounding: sentences, numbers, names, negations, places, and what tries to fool it."""

import math
import time
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlvr_ray.core.records import Defect
from rlvr_ray.core.statements import split_statements
from rlvr_ray.verification.grounding import SHOWN, UNKNOWN, Grounding, assess
from rlvr_ray.verification.grounding.structured import contradiction, entries, prose
from rlvr_ray.verification.grounding.support import Similarity, Support

EDISON = (
    "Thomas Edison was born in Milan, Ohio, on February 11, 1847. He opened a laboratory in Menlo "
    "Park in 1876. The phonograph was presented in 1877, and it is not an electric device."
)
TESLA = (
    "Nikola Tesla moved to New York in 1884. He worked for Edison for about six months. Tesla sold "
    "patents of the induction motor to Westinghouse for 60,000 dollars."
)
CONTEXTS = [EDISON, TESLA]


def overlap(rows: Sequence[str], columns: Sequence[str]) -> list[list[float]]:
    """Cosine of word counts."""

    def cosine(one: Counter[str], two: Counter[str]) -> float:
        dot = sum(count * two[word] for word, count in one.items())
        norms = sum(c * c for c in one.values()) * sum(c * c for c in two.values())
        return dot / math.sqrt(norms) if norms else 0.0

    counts = [Counter(text.casefold().split()) for text in columns]
    return [[cosine(Counter(row.casefold().split()), count) for count in counts] for row in rows]


def ground(
    question: str, answer: str, contexts: Sequence[str], similarity: Similarity
) -> tuple[Support, ...]:
    return assess(question, answer, contexts, similarity).supports


def score(answer: str, contexts: Sequence[str] = CONTEXTS, question: str = "") -> float:
    """Mean support of the statements."""
    supports = ground(question, answer, contexts, overlap)
    return math.fsum(support.support for support in supports) / max(1, len(supports))


def found(question: str, answer: str, *contexts: str) -> Grounding:
    return assess(question, answer, contexts or CONTEXTS, overlap)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One is here. Two is there!", ["One is here.", "Two is there!"]),
        ("Dr. J. H. Watson met Mr. Holmes. They left.", None),
        ("It costs 3.50 euros, e.g. for a U.S. visitor. It rose by 2.5.", None),
        ("Use v2.0 or 1.2.3. See https://a.example/b.html?c=d for more.", None),
        ("Call ray.init() and max.tokens first. Then stop.", None),
        ("It grew to 3.5. Then it shrank.", None),
        ("The answer is no. It never was.", None),
        ('He said "stop." Then he left.', ['He said "stop."', "Then he left."]),
        (
            "- one thing\n- another thing\n\n1. Third\n2. Fourth",
            "one thing|another thing|Third|Fourth",
        ),
        ("a line that goes on\nin the next line", ["a line that goes on in the next line"]),
        ("well ... perhaps", ["well ... perhaps"]),
        ("東京は首都です。大阪は違います。", ["東京は首都です。", "大阪は違います。"]),
        (" \n\t ", []),
        ("", []),
    ],
)
def test_statements(text: str, expected: list[str] | str | None) -> None:
    statements = split_statements(text)
    if expected is None:  # two sentences
        assert len(statements) == 2
        assert " ".join(statements) == text
    else:
        assert statements == (expected.split("|") if isinstance(expected, str) else expected)


@pytest.mark.parametrize("context", CONTEXTS)
def test_a_sentence_of_the_contexts_is_supported(context: str) -> None:
    for support in ground("", context, CONTEXTS, overlap):
        assert support.support > 0.95
        assert support.reason.startswith("found in")


@pytest.mark.parametrize(
    ("same", "context"),
    [
        ("The fee is 1000 euros.", "The fee is 1,000 euros."),
        ("The fee is 1e3 euros.", "The fee is 1,000 euros."),
        ("The price is 3.50 euros.", "The price is 3.5 euros."),
        ("There are three wheels.", "There are 3 wheels."),
        ("There are twenty-five wheels.", "There are 25 wheels."),
        ("The share is 50%.", "The share is 50 percent."),
        ("The town has 2.5 million people.", "The town has 2,500,000 people."),
        ("The museum opened in the 19th century.", "The museum opened in the 19 century."),
        ("Ｔｈｅ ｆｅｅ is 10 euros.", "The fee is 10 euros."),
        ("It isn’t waterproof.", "It is not waterproof."),
        ("Jumping dogs like cities.", "Dogs jumped and liked the city."),
    ],
)
def test_the_same_said_otherwise(same: str, context: str) -> None:
    assert score(same, [context]) > 0.6


@pytest.mark.parametrize(
    ("original", "changed"),
    [
        ("Edison was born in 1847.", "Edison was born in 1849."),
        ("Edison was born in 1847.", "Edison was born in 1876."),
        ("He worked for Edison for six months.", "He worked for Edison for nine months."),
        ("Tesla moved to New York in 1884.", "Tesla moved to New Jersey in 1884."),
        ("Tesla sold patents to Westinghouse.", "Tesla sold patents to Siemens."),
        ("Thomas Edison was born in Ohio.", "Thomas Newton was born in Ohio."),
        ("The phonograph is not an electric device.", "The phonograph is an electric device."),
        ("Tesla worked for Edison.", "Tesla never worked for Edison."),
        ("Tesla worked for Edison.", "Tesla didn't work for Edison."),
        ("Tesla sold patents of the motor.", "Tesla sold no patents of the motor."),
        ("Patents were sold for 60,000 dollars.", "Patents were sold for 66,000 dollars."),
        ("Patents were sold for 60,000 dollars.", "Patents were sold for -60,000 dollars."),
    ],
)
def test_one_change_is_caught(original: str, changed: str) -> None:
    assert score(changed) < 0.5
    assert score(changed) < 0.7 * score(original)


@pytest.mark.parametrize("name", ["max_tokens", "GPU", "LightGBM", "ray.serve", "gpt4o", "1.2.3"])
def test_identifiers_must_occur(name: str) -> None:
    answer = f"The model uses {name} for batches."
    assert score(answer, [answer]) > 0.95
    (support,) = ground("", answer, ["The model uses caches for batches."], overlap)
    assert support.support < 0.5
    assert support.reason.startswith("not in the contexts: ")


def test_the_reason_names_what_is_missing() -> None:
    (support,) = ground("", "In 1987 Edison met Curie.", CONTEXTS, overlap)
    assert support.reason == "not in the contexts: 1987"
    (support,) = ground("", "Then Edison met Curie.", CONTEXTS, overlap)
    assert support.reason == "not in the contexts: Curie"


def test_true_words_in_a_false_combination_score_lower() -> None:
    mixed = "Tesla opened a laboratory in Milan for six patents."
    assert score(mixed) < 0.75 * score("He opened a laboratory in Menlo Park in 1876.")
    shuffled = "device phonograph 1877 Park electric Menlo Ohio laboratory February Milan"
    assert score(shuffled) < 0.7


def test_not_only_denies_only_the_only() -> None:
    context = ["The index is fast and small."]
    assert score("The index is not only fast but small.", context) > 0.5
    assert score("It is not only relevant here.", ["It is only relevant here."]) < 0.5


@pytest.mark.parametrize(
    ("right", "wrong", "question"),
    [
        ("1847", "1849", "When was Edison born?"),
        ("1847", "1884", "When was Thomas Edison born in Milan?"),
        ("Menlo Park", "Central Park", "Where did Edison open a laboratory?"),
        ("Westinghouse", "Siemens", "To whom did Tesla sell patents?"),
    ],
)
def test_short_answers_are_read_with_the_question(right: str, wrong: str, question: str) -> None:
    assert score(right, question=question) > 0.75
    assert score(right, question=question) > score(wrong, question=question)


def test_yes_and_no_are_never_well_supported() -> None:
    question = "Did Tesla work for Edison?"
    assert 0.2 < score("Yes.", question=question) <= 0.5
    assert score("No.", question=question) < score("Yes.", question=question)
    assert score("Yes", question="") == 0.0
    explained = ground(question, "Yes. He worked for Edison.", CONTEXTS, overlap)
    assert [support.statement for support in explained] == ["He worked for Edison."]


def test_repeating_the_question_is_no_support() -> None:
    question = "Which river crosses Vienna and Budapest?"
    assert score(question, question=question) == 0.0
    assert score("The river crosses Vienna and Budapest.", question=question) < 0.2
    assert score("Tesla moved to New York.", question="Who is Tesla of New York?") > 0.8


def test_repeated_statements_count_once() -> None:
    false = "Edison was born in Paris."
    padded = f"{false} {'Tesla moved to New York in 1884. ' * 20}"
    assert len(ground("", padded, CONTEXTS, overlap)) == 2
    assert score(padded) == score(f"{false} Tesla moved to New York in 1884.")


@pytest.mark.parametrize(
    "key",
    [":", ".", ",", "Thought process:", "Let's solve this step by step.", "Solution", "解",
     "Sure!", "It is so.", "I am sure.", "```", "- ", "1.", "Yes", "?!"],
)  # fmt: skip
def test_master_keys_get_little(key: str) -> None:
    supports = ground("When was Edison born?", key, CONTEXTS, overlap)
    assert all(support.support < 0.5 for support in supports)
    assert key == "Yes" or all(support.support < 0.2 for support in supports)


def test_a_filler_beside_a_statement_is_left_out() -> None:
    supports = ground(
        "", "Sure! Tesla moved to New York in 1884. Anything else?", CONTEXTS, overlap
    )
    assert supports[0].statement == "Tesla moved to New York in 1884."


def test_what_the_speaker_says_of_himself_is_not_supported() -> None:
    assert score("I moved to New York in 1884.") < 0.6 < score("He moved to New York in 1884.")


@pytest.mark.parametrize("blank", ["", "  \n "])
def test_a_blank_answer_has_no_statements(blank: str) -> None:
    nothing = assess("Who?", blank, CONTEXTS, overlap)
    assert nothing.supports == ()
    assert (nothing.defect, nothing.faithfulness, nothing.relevancy) == (Defect.EMPTY, 0.0, 0.0)


@pytest.mark.parametrize("contexts", [[], [""], [" ", "\n"]])
def test_without_contexts_nothing_is_supported(contexts: list[str]) -> None:
    def never(rows: Sequence[str], columns: Sequence[str]) -> list[list[float]]:
        raise AssertionError("nothing to compare")

    supports = ground("Who?", "Tesla did. In 1884.", contexts, never)
    assert [support.support for support in supports] == [0.0, 0.0]


def test_cosines_that_are_no_numbers_count_as_zero() -> None:
    def broken(rows: Sequence[str], columns: Sequence[str]) -> list[list[float]]:
        return [[math.nan] * len(columns) for _ in rows]

    (support,) = ground("", "Tesla moved to New York in 1884.", CONTEXTS, broken)
    assert 0.8 < support.support < 1


def test_similarity_is_asked_once() -> None:
    calls = []

    def counting(rows: Sequence[str], columns: Sequence[str]) -> list[list[float]]:
        calls.append((len(rows), len(columns)))
        return overlap(rows, columns)

    contexts = [f"Tesla bought house {number}. Unrelated matter here." for number in range(50)]
    ground("", "Tesla bought house 7. Tesla bought house 9.", contexts, counting)
    assert calls == [(3, 100)]


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    "piece",
    ["word ", "a.", "1,000", "Tesla moved to New York in 1884. ", "((((", "\n- x", "''", "not ",
     "a'b.c", "9", "e.g. ", "1.1", "%", "x_", "Tesla ", "U.S.", " ", "v1", "!?"],
)  # fmt: skip
def test_long_texts_take_no_longer(piece: str) -> None:
    def zeros(rows: Sequence[str], columns: Sequence[str]) -> list[list[float]]:
        return [[0.0] * len(columns) for _ in rows]

    answer = (piece * 20_000)[:20_000]
    contexts = [f"{number} {piece * 1_000}"[:1_000] for number in range(20)]
    started = time.process_time()
    ground("Where did Tesla move?", answer, contexts, zeros)
    assert time.process_time() - started < 2  # well under a second, and a slow machine


VOCABULARY = (
    "Tesla Edison moved not to New York in 1884 1,000 three never is the patents . ! ? , - e.g. "
    "50% max_tokens v2.0 Yes no I didn't"
)
WORDS = st.sampled_from([*VOCABULARY.split(), "\n"])
TEXT = st.lists(WORDS, max_size=25).map(" ".join) | st.text(max_size=60)


@settings(max_examples=150, deadline=None)
@given(question=TEXT, answer=TEXT, contexts=st.lists(TEXT, max_size=4), chance=st.randoms())
def test_supports_are_numbers_of_a_fixed_range_and_order(
    question: str, answer: str, contexts: list[str], chance: object
) -> None:
    supports = ground(question, answer, contexts, overlap)
    assert supports == ground(question, answer, contexts, overlap)
    assert all(0.0 <= support.support <= 1.0 and support.reason for support in supports)
    shuffled = list(contexts)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert supports == ground(question, answer, [*shuffled, *shuffled[:1]], overlap)
    fewer = ground(question, answer, contexts[1:], overlap)
    assert [support.statement for support in fewer] == [support.statement for support in supports]
    whole = assess(question, answer, contexts, overlap)
    for metric in (whole.faithfulness, whole.relevancy):
        assert 0.0 <= metric <= 1.0
        assert whole.defect or metric >= UNKNOWN, "only what is shown to be wrong counts against it"
    if whole.defect:
        assert whole.detail
        assert min(whole.faithfulness, whole.relevancy) < UNKNOWN


@settings(max_examples=100, deadline=None)
@given(text=TEXT)
def test_statements_lose_no_words(text: str) -> None:
    statements = split_statements(text)
    assert all(statement.strip() == statement != "" for statement in statements)
    letters = [char for char in text if char.isalpha()]
    assert [char for char in "".join(statements) if char.isalpha()] == letters


# What is wrong, by name; and what is not known.

POOL = (
    "The pool in Selby is closed on Mondays. A day ticket costs 6 euros and a season ticket costs "
    "90 euros. The pool has two slides. Children under four swim free of charge."
)
SAUNA = (
    "The sauna in Selby is open until midnight. A visit takes two hours and costs 14 euros. Towels "
    "are lent at the desk for 3 euros, and soap is on sale in the hall."
)


@pytest.mark.parametrize(
    ("question", "answer", "defect"),
    [
        ("What is a season ticket?", "A season ticket costs 95 euros.", "unsupported_number"),
        ("What is a season ticket?", "A season ticket costs 90 dollars.", "unsupported_number"),
        ("How long does a visit take?", "A visit takes two days.", "unsupported_number"),
        ("Who runs the pool in Selby?", "The pool is run by Ada Wexcombe.", "unsupported_name"),
        ("Who runs the pool in Selby?", "Wexcombe", "unsupported_name"),
        ("When is the pool closed?", "The pool in Selby is open on Mondays.", "contradiction"),
        ("How many slides has the pool in Selby?", "A visit takes two hours and costs 14 euros.",
         "other_subject"),
        ("What does a season ticket cost?", "A season ticket costs what it costs.", "echo"),
        ("Why is the pool in Selby closed on Mondays?",
         "The pool in Selby is closed on Mondays as Selby closes it.", "echo"),
        ("What does a day ticket cost, and how many slides has the pool?",
         "A day ticket costs 6 euros.", "incomplete"),
        ("What does a towel cost?", "What does a towel cost?", "echo"),
        ("What does a towel cost?", "It costs 3 euros.\n\nWhat does a towel cost?", "broken"),
        ("What does a towel cost?", "It costs 3 euros. What does the towel costs?", "broken"),
        ("What does Selby lend?", "Towels. The answer is: What do Selby lends?", "broken"),
        ("When is the pool closed?", "The pool in Selby is not closed on Mondays.",
         "contradiction"),
        ("What does a visit cost?", "A visit takes two hours and costs 14 euros. Towels are lent "
         "at the desk for 3 euros, and soap is on sale in", "cut_off"),
        ("What does a towel cost?", "- \n- \n-", "empty"),
        ("What does a towel cost?", "Sure! Here is the answer:\n\n1.", "cut_off"),
        ("What does a towel cost?", "<think>\nThe user asks for towels. They are lent", "broken"),
        ("What does a towel cost?", "assistant\n{{ answer }}\nuser", "broken"),
        ("What does it cost?", "Towels are lent, lent, lent, lent, lent for 3 euros", "loop"),
        ("What does a towel cost?", "Towels are lent at the desk. " * 5, "loop"),
        ("What does a towel cost?", "Towels are lent at the", "cut_off"),
        ("Which pool is closed?", "The pool that is closed on Mondays is in Sel", "cut_off"),
        ("What does a towel cost?", "Das Handtuch wird an der Kasse für drei Euro verliehen.",
         "other_language"),
    ],
)  # fmt: skip
def test_what_is_wrong_has_a_name(question: str, answer: str, defect: str) -> None:
    wrong = found(question, answer, POOL, SAUNA)
    assert wrong.defect == Defect(defect), (wrong.defect, wrong.detail)
    assert wrong.detail
    assert min(wrong.faithfulness, wrong.relevancy) < UNKNOWN


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("What does a season ticket cost?", "A season ticket costs 90 euros."),
        ("What does a season ticket cost?", "90 euros"),
        ("What does a season ticket cost?", "€90."),
        ("How long does a visit of the sauna take?", "A visit takes 120 minutes."),
        ("When is the pool in Selby closed?", "The pool in Selby is closed on Mondays."),
        ("When is the pool in Selby closed?", "Mondays"),
        ("How many slides has the pool?", "The pool has 2 slides."),
        ("Who swims free of charge?", "Children under four swim free of charge."),
        ("What does a day ticket cost, and how many slides has the pool?",
         "A day ticket costs 6 euros. The pool has two slides."),
    ],
)  # fmt: skip
def test_what_is_right_has_no_defect_and_is_shown(question: str, answer: str) -> None:
    right = found(question, answer, POOL, SAUNA)
    assert right.defect is None, right.detail
    assert right.faithfulness >= SHOWN
    assert right.relevancy >= UNKNOWN


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Why do small children like it?", "Because infants get in without paying anything."),
        ("Is the pool open on Mondays?", "No."),
        ("Is the pool in Selby closed on Mondays?", "Yes, the pool in Selby is closed on Mondays."),
        ("Is the sauna cheaper than the pool?", "The pool is the cheaper one of them."),
    ],
)
def test_what_cannot_be_shown_is_neither_right_nor_wrong(question: str, answer: str) -> None:
    def near(rows: Sequence[str], columns: Sequence[str]) -> list[list[float]]:
        return [[0.6] * len(columns) for _ in rows]

    unknown = assess(question, answer, [POOL, SAUNA], near)
    assert unknown.defect is None, unknown.detail
    assert UNKNOWN <= unknown.faithfulness < SHOWN


def test_words_of_the_question_do_not_place_an_answer() -> None:
    contexts = (
        "Ray is a unified way to scale Python and AI applications from a laptop to a cluster.",
        "Serve: see the page of Ray Serve for scalable and programmable serving.",
    )
    answer = "Ray is a unified way to scale Python and AI applications from a laptop to a cluster."
    for text in (answer, f"The answer to Ray Serve is Ray. {answer}"):
        assert found("What is Ray Serve?", text, *contexts).defect == Defect.OTHER_SUBJECT


def test_a_name_defines_nothing() -> None:
    context = "Ray Tune is a library for tuning. The Tune Paper describes it."
    assert found("What is Ray Tune?", "Tune Paper", context).relevancy < 0.6
    assert found("Which paper describes Tune?", "Tune Paper", context).relevancy >= 0.6


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("プールはいつ休みですか。", "プールは月曜日に休みです。"),
        ("מתי הבריכה סגורה?", "הבריכה סגורה ביום שני."),
    ],
)
def test_in_a_language_that_is_not_read_nothing_is_shown(question: str, answer: str) -> None:
    unread = found(question, answer, answer)
    assert unread.defect is None
    assert UNKNOWN <= unread.faithfulness < SHOWN


def test_a_passage_copied_for_one_of_its_sentences_is_a_dump() -> None:
    question = "What does a season ticket cost?"

    def near(rows: Sequence[str], columns: Sequence[str]) -> list[list[float]]:
        return [[0.9 if "season" in column else 0.3 for column in columns] for _ in rows]

    dump = assess(question, f"{POOL} {SAUNA}", [POOL, SAUNA], near)
    assert dump.defect is Defect.DUMP
    assert assess(question, "A season ticket costs 90 euros.", [POOL, SAUNA], near).defect is None


def test_an_answer_of_many_strange_statements_is_unsupported() -> None:
    answer = (
        "Visitors praise its warm water. Lockers were renovated last spring. The staff teaches "
        "beginners how to dive. Parking is available nearby."
    )
    assert found("What do people say of the pool?", answer, POOL).defect is Defect.UNSUPPORTED


TOWER = (
    "The tower is 330 metres tall, about the same height as an 81-storey building. Its base is "
    "square, measuring 125 metres on each side. It was open by 9 am, and closed at 5 pm."
)


@pytest.mark.parametrize(
    ("question", "answer", "borrowed"),
    [
        ("How tall is the tower?", "The tower is 125 metres tall.", True),
        ("How tall is the tower?", "125 metres.", True),
        ("How tall is the tower?", "It is 125 metres.", True),
        ("How tall is the tower?", "The tower is 330 metres tall.", False),
        ("How tall is the tower?", "330 metres.", False),
        ("How wide is its base?", "Each side of the base is 125 metres long.", False),
        ("How wide is its base?", "125 metres.", False),
        ("How wide is the tower?", "The tower is 125 metres wide.", False),
        ("When did the tower close?", "The tower closed at 5 pm.", False),
    ],
)
def test_a_number_of_something_else_is_a_defect(question: str, answer: str, borrowed: bool) -> None:
    (only,) = found(question, answer, TOWER).supports
    assert (only.defect is Defect.UNSUPPORTED_NUMBER) is borrowed, only.reason


def test_a_number_that_follows_from_others_is_no_defect() -> None:
    question = "What do a season ticket and a sauna visit cost together?"
    assert found(question, "They cost 104 euros together.", POOL, SAUNA).defect is not Defect.ECHO
    ticket = "A season ticket costs 90, a visit 14: 104 in all."
    assert found(question, ticket, "A season ticket costs 90. A visit costs 14.").defect is None


CAFE = """{"name": "Cafe Orsen", "hours": {"Monday": "8:0-17:0"}, "attributes": {"WiFi": "no",
"OutdoorSeating": true, "BusinessParking": {"street": false, "lot": true}, "Reservations": null},
"reviews": [{"text": "Great soup, and the terrace is lovely. Music was too loud for us."}]}"""


@pytest.mark.parametrize(
    ("statement", "key"),
    [
        ("It offers free Wi-Fi.", "Wi Fi"),
        ("There is street parking.", "street"),
        ("Cafe Orsen has no outdoor seating.", "Outdoor Seating"),
        ("It accepts reservations.", "Reservations"),
        ("There is lot parking and outdoor seating.", None),
        ("It does not take reservations, and there is no street parking.", None),
        ("There may be street parking nearby.", None),
        ("The music was loud.", None),
    ],
)
def test_data_deny_what_they_do_not_have(statement: str, key: str | None) -> None:
    assert contradiction(statement, [CAFE]) == key
    assert contradiction(statement, ["Prose denies nothing."]) is None


def test_data_are_read_as_lines() -> None:
    lines = prose(CAFE).splitlines()
    assert "hours Monday: 8:00-17:00" in lines
    assert "no attributes Wi Fi." in lines
    assert "attributes Outdoor Seating." in lines
    assert prose("Not {json}.") == "Not {json}."
    assert entries("{broken") == ()
    assert found("When does it open?", "It opens at 8 a.m.", CAFE).defect is None
    wrong = found("When does it open?", "It opens on Monday at 9:30 a.m.", CAFE)
    assert wrong.defect is Defect.UNSUPPORTED_NUMBER
