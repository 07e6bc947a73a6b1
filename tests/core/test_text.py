"""Reading text: languages, claims, quantities, negations; and what costs too much."""

import time
from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr_ray.core.language import NEGATIONS, READABLE, language, readable
from rlvr_ray.core.statements import claims
from rlvr_ray.core.text import normalise, parse, plain, quantities, same


def values(text: str) -> list[tuple[str, str | None]]:
    """Value and unit of each quantity."""
    return [(str(quantity.value), quantity.unit) for quantity in quantities(text)]


def keys(text: str) -> list[str]:
    return [token.key for token in parse(normalise(text)).tokens]


def negated(text: str) -> set[str]:
    return set(parse(normalise(text)).negated)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("The office is in Berlin.", "en"),
        ("Wie viele Einwohner hat Berlin?", "de"),
        ("Der Satz beträgt 19,5 Prozent.", "de"),
        ("Le musée n'est pas ouvert le mardi.", "fr"),
        ("¿Está abierto el museo?", "es"),
        ("Sin azúcar", "es"),
        ("博物馆周一不开放。", "zh"),
        ("RTX 4090 显卡", "zh"),
        ("東京は日本の首都です。", "ja"),
        ("المتحف مفتوح", "ar"),
        ("موزه باز است گچ", "fa"),
        ("המוזיאון פתוח", "he"),
        ("Музей открыт", "ru"),
        ("Το μουσείο", "el"),
        ("박물관은 열려 있습니다", "ko"),
        ("Il museo è aperto", "it"),
        ("O museu não está aberto", "pt"),
        ("Het museum is op maandag niet open", "nl"),
        ("Muzeum jest otwarte w poniedziałki", "pl"),
        ("Müzede bir kafe var", "tr"),
        ("World War 2", None),
        ("Marie Curie, 1903", None),
        ("No.", None),
        ("42 km", None),
        ("", None),
        ("Lech Wałęsa", None),
        ("Wikipedia: Lorem Ipsum Dolor Sit Amet Consectetur Adipiscing", "xx"),
    ],
)
def test_languages(text: str, code: str | None) -> None:
    assert language(text) == code
    assert readable(text) is (code is None or code in READABLE)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The office is in Berlin [1].", ["The office is in Berlin."]),
        ("The office[2, 3] is in Berlin [1][2].", ["The office is in Berlin."]),
        ("It is in Berlin (Passage 2).", ["It is in Berlin."]),
        ("It is in Berlin (passages 1 and 3).", ["It is in Berlin."]),
        ("It is in Berlin (see [2]).", ["It is in Berlin."]),
        ("It is in Berlin [Passage 2].", ["It is in Berlin."]),
        ("It is in Berlin (source: passage 1).", ["It is in Berlin."]),
        ("It is in Berlin【1】.", ["It is in Berlin."]),
        ("The value x[1] is 5.", ["The value x[1] is 5."]),
        ("It weighs 3 kg (without 2 bags).", ["It weighs 3 kg (without 2 bags)."]),
        ("According to the passages, the office is in Berlin.", ["the office is in Berlin."]),
        ("According to passage 2, it opens at 9.", ["it opens at 9."]),
        ("According to the law, it opens at 9.", ["According to the law, it opens at 9."]),
        ("Based on the provided context, the answer is: Berlin.", ["Berlin."]),
        ("As stated in the document, it is red.", ["it is red."]),
        ("Passage 2 states that it opens at 9.", ["it opens at 9."]),
        ("The passage does not say when.", ["The passage does not say when."]),
        ("The answer is Paris.", ["Paris."]),
        ("The answer to your question is that it closes.", ["it closes."]),
        ("The answer is in the second passage.", ["The answer is in the second passage."]),
        ("Answer: 42", ["42"]),
        ("Final answer: 42", ["42"]),
        ("Sure! It is 5.", ["It is 5."]),
        ("Laut den Texten liegt es in Berlin.", ["liegt es in Berlin."]),
        ("Die Antwort lautet: Berlin.", ["Berlin."]),
        ("D'après le texte, c'est Paris.", ["c'est Paris."]),
        ("Según el texto, es Madrid.", ["es Madrid."]),
        ("根据文章，上海有20条线路。", ["上海有20条线路。"]),
        ("**Location:**\nThe office is in Berlin.", ["The office is in Berlin."]),
        ("**The plans**\n\n- Free\n- Team", ["Free", "Team"]),
        ("# The 3 plans\n\n- Free\n- Team", ["Free", "Team"]),
        ("The 2 plans are as follows:\n\n- Free\n- Team", ["Free", "Team"]),
        ("1. Open the lid.\n2. Close it.", ["Open the lid.", "Close it."]),
        ("Step 1: Open the lid.\nStep 2: Close it.", ["Open the lid.", "Close it."]),
        # where there is nothing else, that is what is said
        ("# Paris", ["Paris"]),
        ("**Paris**", ["**Paris**"]),
        ("Sure.", ["Sure."]),
        ("Step 2", ["Step 2"]),
        ("...", []),
        ("", []),
    ],
)
def test_claims(text: str, expected: list[str]) -> None:
    assert claims(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The ticket costs $12, not €12.", [("12", "USD"), ("12", "EUR")]),
        ("It fell to -5 °C.", [("-5", "celsius")]),
        ("25 mg and 25 g", [("1/40000", "mass"), ("1/40", "mass")]),
        ("412 m, 412 km", [("412", "length"), ("412000", "length")]),
        ("40,000 francs, 40,000 euros", [("40000", "CHF"), ("40000", "EUR")]),
        ("six weeks, six months", [("3628800", "time"), ("6", "calendar")]),
        ("5 percent, 5 percentage points", [("1/20", "fraction"), ("5", "points")]),
        ("10⁶ = 10^6, not 106", [("1000000", None), ("1000000", None), ("106", None)]),
        ("from 3 to 12 km", [("3000", "length"), ("12000", "length")]),
        ("1 hour 30 minutes", [("5400", "time")]),
        ("2:27:41", [("8861", "time")]),
        ("7 p.m., 19:00, 7 pm, 19.00 Uhr", [("68400", "clock")] * 4),
        ("seven in the evening, 7 o'clock in the evening", [("68400", "clock")] * 2),
        ("noon, 12:00, 12 a.m.", [("43200", "clock"), ("43200", "clock"), ("0", "clock")]),
        ("1 May 2022, May 1, 2022, 2022-05-01, 01.05.2022", [("20220501", "date")] * 4),
        ("1. Mai 2022, 1er mai 2022, 1 de mayo de 2022", [("20220501", "date")] * 3),
        ("2022年5月1日", [("20220501", "date")]),
        ("May 2022, May 1", [("20220500", "date"), ("501", "date")]),
        ("the 1930s, the 19th, the nineteenth", [("1930", None), ("19", None), ("19", None)]),
        ("Berlin hat 3,7 Millionen Einwohner.", [("3700000", "?einwohner")]),
        ("zwei Tage, deux jours, dos días", [("172800", "time")] * 3),
        ("drei Prozent, 3 pour cent", [("3/100", "fraction")] * 2),
        ("a dozen, half a dozen, two dozen", [("12", None), ("6", None), ("24", None)]),
        ("two thirds, a third of it, 1 1/2, ½", [("2/3", "fraction"), ("1/3", "fraction"),
                                                 ("3/2", None), ("1/2", None)]),
        ("٣٣٠ m, १२ km", [("330", "length"), ("12000", "length")]),
        ("20条线路，300万元", [("20", "?条"), ("3000000", "CNY")]),
        # no quantities
        ("RV-3, M2, GPT-4, COVID-19, B12, 3.10.2, 16:9", []),
        ("an elf, one of them, null", []),
    ],
)  # fmt: skip
def test_quantities(text: str, expected: list[tuple[str, str | None]]) -> None:
    assert values(text) == expected


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("The Brewmate 300 makes 8 cups.", ["label", "plain"]),
        ("World War 2, Apollo 11", ["label", "label"]),
        ("Passage 2, section 4, steps 1 and 2", ["label"] * 4),
        ("It needs Python 3.10.", ["version"]),
        ("so it is [2], [1, 3]", ["citation"] * 3),
        ("Act 2004, in 2019 sales rose", ["year", "year"]),
        ("In Paris $300 were paid", ["plain"]),
        ("Die Häuser 12 und 13", ["plain", "plain"]),
        ("one owner, twice, both", ["few", "few", "few"]),
        ("It takes an hour. Five euros an hour.", ["few", "plain"]),
    ],
)
def test_kinds(text: str, kinds: list[str]) -> None:
    assert [quantity.kind for quantity in quantities(text)] == kinds


def test_places_are_those_in_the_plain_text() -> None:
    text = "Ｉt cost \u00a0$12.50 (≈ €11), or 4,000 mg of it in ½ an hour."
    for quantity in quantities(text):
        assert plain(text)[quantity.start : quantity.end] == quantity.text
    assert all(quantity.amount for quantity in quantities(text))


@pytest.mark.parametrize(
    ("claimed", "found", "agree"),
    [
        ("60 minutes", "1 hour", True),
        ("4,000 mg", "4 g", True),
        ("0.33 km", "330 m", True),
        ("1,083 ft", "330 m", True),
        ("1,100 ft", "330 m", False),
        ("14 days", "two weeks", True),
        ("25 mg", "25 g", False),
        ("$12", "€12", False),
        ("1,200 mg per day", "1,200 mg", True),
        ("100 km/h", "100 km", False),
        ("$12", "12 dollars", True),
        ("12", "$12", True),
        ("-5 °C", "5 °C", False),
        ("5 percent", "5 percentage points", False),
        ("six weeks", "six months", False),
        ("300 people", "300 residents", True),
        ("300 people", "301 people", False),
        ("5 pounds", "£5", True),
        ("5 pounds", "5 lb", True),
        ("1889", "31 March 1889", True),
        ("1888", "31 March 1889", False),
        ("March 1889", "31 March 1889", True),
        ("30 March 1889", "31 March 1889", False),
        ("31 March 1889", "1889", False),
        ("3 May 2019", "03/05/2019", True),
        ("5 March 2019", "03/05/2019", True),
        ("6 March 2019", "03/05/2019", False),
        ("05/03/2019", "03/05/2019", False),
        ("7 p.m.", "19:00", True),
        ("7 a.m.", "19:00", False),
        ("Python 3.1", "Python 3.10", False),
        ("Python 3.10", "Python 3.10", True),
        ("10⁶", "1 million", True),
        ("10⁶", "106", False),
    ],
)
def test_what_says_the_same(claimed: str, found: str, agree: bool) -> None:
    (one,), (other,) = quantities(claimed), quantities(found)
    assert same(one, other) is agree


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The fee is 1,000 euros.", "The fee is €1000."),
        ("25 milligrams", "25 mg"),
        ("50 %", "50 percent"),
        ("on March 14, 1879", "on 14 March 1879"),
        ("2022-05-01", "May 1, 2022"),
        ("It needs v2.0.", "It needs 2.0."),
        ("twenty-five", "25"),
        ("It isn’t red.", "It is not red."),
        ("10⁶", "10^6"),
    ],
)
def test_spellings_have_one_key(one: str, other: str) -> None:
    assert set(keys(one)) == set(keys(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [("10⁶", "106"), ("-5", "5"), ("$12", "€12"), ("25 mg", "25 g"), ("RV-3", "3"),
     ("Python 3.10", "Python 3.1"), ("3 May 2019", "5 March 2019"), ("10:30", "30:10"),
     ("2 percent", "2 percentage points"), ("A320-200", "A320")],
)  # fmt: skip
def test_what_is_not_the_same_has_other_keys(one: str, other: str) -> None:
    assert set(keys(one)) != set(keys(other))


@pytest.mark.parametrize(
    ("text", "denied"),
    [
        ("It isn't open.", "open"),
        ("The vaccine failed to protect mice.", "protect"),
        ("Patients lack iron.", "iron"),
        ("It is unable to read files.", "read"),
        ("It no longer works.", "work"),
        ("Neither cats nor dogs are allowed.", "dog"),
        ("It comes without sugar.", "sugar"),
        ("It is open every day except Sunday.", "sundai"),
        ("Use tea instead of coffee.", "coffe"),
        ("Das Museum ist montags nicht geöffnet.", "geöffnet"),
        ("Im Haus gibt es keinen Aufzug.", "aufzug"),
        ("Das Haus hat nie geöffnet.", "geöffnet"),
        ("Es ist ohne Zucker.", "zucker"),
        ("Le musée n'est pas ouvert.", "ouvert"),
        ("Le café est sans sucre.", "sucr"),
        ("Il n'a jamais gagné.", "gagné"),
        ("El museo no está abierto.", "abierto"),
        ("La tienda nunca abre.", "abr"),
        ("El café es sin azúcar.", "azúcar"),
        ("博物馆周一不开放。", "开"),
        ("大楼没有电梯。", "电"),
        ("网络无信号。", "信"),
        ("المتحف ليس مفتوحا", "مفتوحا"),
        ("لا يعمل المتحف", "يعمل"),
        ("القهوة بدون سكر", "سكر"),
    ],
)
def test_negations(text: str, denied: str) -> None:
    assert denied in negated(text)


@pytest.mark.parametrize(
    "text",
    ["A sin is open to all.", "It failed the test.", "The pas is a step.",
     "Das ist ein Haus.", "Le musée est ouvert.", "博物馆周一开放。"],
)  # fmt: skip
def test_what_denies_nothing(text: str) -> None:
    assert negated(text) == set()


def test_each_readable_language_has_negations() -> None:
    assert set(NEGATIONS) == READABLE


PATTERNS = """1 |1=|½|½ |$1|5 (|[1|[1, |(passage 1|1 and |according to the |based on |answer
1:30 |1h30|half |a third of |an hour and a half |Jan |May 1 |1 May 2022 |2022-01-01|01/02/2022
# x|n't |l'|zwei |once |Boeing 7 |passage 2 |v1.|RV-3 |1-a|a-1|a/|10^|10⁶|【|step 1: |1'2"|A
the answer is |1年|und |((|1 1/2 |12 12/|**|__|**a** |a. b. |the |x < |1,000,|12,34,|no. |- |1st
5 km |不|ne pas """
READERS: dict[str, Callable[[str], object]] = {
    "parse": lambda text: parse(normalise(text)),
    "claims": claims,
    "quantities": quantities,
    "language": language.__wrapped__,
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("piece", [p for line in PATTERNS.splitlines() for p in line.split("|")])
def test_twice_the_text_takes_no_more_than_twice_the_time(piece: str, reader: str) -> None:
    """Four times the text: sixteen times the time where it costs its square."""

    def took(length: int) -> float:
        text = piece * (length // len(piece))
        started = time.thread_time()
        READERS[reader](text)
        return time.thread_time() - started

    # A busy machine slows one run or the other: the least of several tells what it costs.
    assert any(took(12_000) < 8 * took(3_000) + 0.05 for _ in range(5))


@given(st.text(max_size=80))
def test_any_text_can_be_read(text: str) -> None:
    for quantity in quantities(text):
        assert quantity.low is None or isinstance(quantity.low, Fraction)
        assert same(quantity, quantity)
    assert all(any(char.isalnum() for char in claim) for claim in claims(text))
    assert normalise(normalise(text)) == normalise(text)
    parse(normalise(text))


@given(st.lists(st.sampled_from(PATTERNS.replace("\n", "|").split("|")), max_size=10))
def test_any_row_of_them_can_be_read(pieces: list[str]) -> None:
    for glue in ("", " "):
        text = glue.join(pieces)
        quantities(text)
        claims(text)
        parse(normalise(text))
