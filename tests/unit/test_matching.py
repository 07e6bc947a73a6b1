"""Matching: texts as SQuAD compares them, numbers as people write them, and what tries to cheat."""

import math
import time
from collections.abc import Sequence
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rlvr_ray.core.matching import Match, Tolerance, exact, normalise, numeric, quote
from rlvr_ray.core.numbers.linking import MOST, TooManyError, quantities
from rlvr_ray.core.numbers.quantities import plain

STRICT = Tolerance()


def number(
    answer: str, *references: str, question: str = "", tolerance: Tolerance = STRICT
) -> float | None:
    """The score; None where it cannot be told."""
    return numeric(question, answer, references, tolerance).score


def read(text: str) -> list[str]:
    """All quantities of a text, as ``value dimension`` with values in the unit that is written."""

    def shown(value: Fraction | None) -> str:
        return "?" if value is None else f"{float(value):.10g}"

    def line(low: Fraction | None, high: Fraction | None, dimension: str) -> str:
        ends = shown(low) if low == high else f"{shown(low)}..{shown(high)}"
        return f"{ends} {dimension}".strip()

    return [
        line(q.low, q.high, "|".join(unit.dimension for unit in q.units))
        for q in quantities(plain(text))
    ]


# Texts.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Eiffel Tower!", "eiffel tower"),
        ("an  apple\n a day", "apple day"),
        ("  U.S.A. ", "usa"),
        ("state-of-the-art", "stateoftheart"),
        ("Straße", "strasse"),
        ("ＦＵＬＬ　ｗｉｄｔｈ", "full width"),
        ("“Café”", "café"),
        ("cafe\u0301", "café"),
        ("a\u200bb", "ab"),
        ("हिन्दी की", "हिन्दी की"),  # vowel signs are no punctuation
        ("anthem there", "anthem there"),
        ("3.5 mm", "3.5 mm"),
        ("-5", "-5"),
        ("−5", "-5"),
        ("1,000", "1000"),
        ("C++ and C#", "c++ and c#"),
        ("a+b", "a+b"),
        ("The", "the"),
        ("The The", "the the"),
        ("?!", "?!"),
        ("", ""),
        (" \n", ""),
    ],
)
def test_normalising(text: str, expected: str) -> None:
    assert normalise(text) == expected


@pytest.mark.parametrize(
    ("answer", "references", "score"),
    [
        ("Paris", ["Paris"], 1),
        ("the paris.", ["London", "Paris"], 1),
        ("It is Paris", ["Paris"], 0),
        ("", ["Paris"], 0),
        (" . ", ["!"], 0),
        ("C", ["C++"], 0),
        ("C#", ["C++"], 0),
        ("35", ["3.5"], 0),
        ("5", ["-5"], 0),
        ("$5", ["€5"], 0),
        ("The Who", ["Who"], 1),
        ("A", ["The"], 0),
    ],
)
def test_exact(answer: str, references: list[str], score: float) -> None:
    assert exact(answer, references).score == score


@pytest.mark.parametrize(
    ("answer", "reference", "score"),
    [
        ("It is Paris, of course.", "Paris", 1),
        ("Comparison", "Paris", 0),
        ("New York City", "York City", 1),
        ("New-York City", "York City", 0),
        ("London or Paris", "Paris", 1),  # what the documentation warns of
        ("", "Paris", 0),
        ("x", "", 0),
        ("", "", 0),
    ],
)
def test_containing(answer: str, reference: str, score: float) -> None:
    assert exact(answer, [reference], contains=True).score == score


def test_details_are_one_short_line() -> None:
    match = exact("word\nby\0word " * 500, ["right " * 500, "b", "c", "d", "e"])
    assert "\n" not in match.detail
    assert "\0" not in match.detail
    assert len(match.detail) < 400
    assert match.detail.startswith("expected one of 'right right")
    assert "'d' and 1 more, found 'word by?word" in match.detail
    assert quote("\ud800").isascii()


# Reading numbers.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,234,567", ["1234567"]),
        ("1 234 567", ["1234567"]),
        ("1\u202f234\u00a0567", ["1234567"]),
        ("1.234.567,5", ["1234567.5"]),
        ("1.234.567", ["1234567"]),
        ("1.234,5", ["1234.5"]),
        ("1'234’567.5", ["1234567.5"]),
        ("1_000_000", ["1000000"]),
        ("12,34,567", ["1234567"]),
        ("10 200.5", ["10200.5"]),
        ("3,14", ["3.14"]),
        ("0,234", ["0.234"]),
        ("1,234", ["1234"]),
        ("1.234", ["1.234"]),
        (".5", ["0.5"]),
        ("...5", ["5"]),
        ("It is 42.", ["42"]),
        ("٣ and ３４", ["3", "34"]),
        ("1,2,3", ["1", "2", "3"]),
        ("1.5,2.5", ["1.5", "2.5"]),
        ("2010, 200", ["2010", "200"]),
        # signs
        ("-5 −5 –5 +5", ["-5", "-5", "-5", "5"]),
        ("minus 5, negative 3.5", ["-5", "-3.5"]),
        ("10 minus 5", ["10", "5"]),
        ("-$5 and $-5", ["-5 USD", "-5 USD"]),
        ("- 5", ["5"]),
        ("x-5", []),
        ("5k-10k", ["5000..10000"]),
        # powers
        ("1.5e6", ["1500000"]),
        ("1E-3", ["0.001"]),
        ("3 × 10^8 m/s", ["300000000 length/time"]),
        ("3 x 10⁸", ["300000000"]),
        (r"$2.5 \times 10^{-3}$", ["0.0025"]),
        ("10^6 and 10⁻³ and 10**3", ["1000000", "0.001", "1000"]),
        ("2^10", ["2", "10"]),
        ("1e999", ["?"]),
        ("1e-999", ["?"]),
        ("9" * 101, ["?"]),
        ("10⁻", ["?"]),
        # fractions
        ("3/4", ["0.75"]),
        (r"\frac{3}{4}", ["0.75"]),
        ("10½ and ½", ["10.5", "0.5"]),
        ("3/0", ["3", "0"]),
        # multipliers
        ("1.2 million", ["1200000"]),
        ("5k and 5K", ["5000", "5000"]),
        ("3bn, 3 bn, 3B", ["3000000000"] * 3),
        ("five hundred thousand", ["500000"]),
        ("2 hundred thousand", ["200000"]),
        ("5 lakh and 2 crore", ["500000", "20000000"]),
        ("$5m and €5.2bn", ["5000000 USD", "5200000000 EUR"]),
        ("5m", ["5 length"]),
        ("42万元", ["420000 CNY"]),
        # words
        ("twenty-five", ["25"]),
        ("two hundred and five", ["205"]),
        ("three million two hundred thousand", ["3200000"]),
        ("two and three", ["2", "3"]),
        ("two three", ["2", "3"]),
        ("a hundred", ["100"]),
        ("zero", ["0"]),
        ("Minus five degrees Celsius", ["-5 celsius"]),
        ("someone weighs often", []),
        ("the twenty-first century, two-thirds", ["21", "0.6666666667 fraction"]),
        # currencies
        ("€ 5, 5 €, EUR 5, 5 EUR, 5 euros", ["5 EUR"] * 5),
        ("US$5 million, 5 million US dollars", ["5000000 USD"] * 2),
        ("R$ 1.234,56", ["1234.56 BRL"]),
        ("Rs. 500", ["500 INR"]),
        ("120 USD 180 people", ["120 USD", "180 ?peopl"]),
        ("价格是42元", ["42 CNY"]),
        # units
        ("5 km, 5km, 5 KM, 5 kilometres, 5-kilometer", ["5 length"] * 5),
        ("5 in., 5in, 5 inches", ["5 length"] * 3),
        ("5 in Paris", ["5"]),
        ("5 %, 5%, 5 percent, 5 per cent, ５％", ["5 fraction"] * 5),
        ("5 mb, 5 MiB, 5 Mbit, 5 gigabytes", ["5 data"] * 4),
        ("7 CO2 molecules", ["7 ?co"]),
        ("5 km/h, 5 km per hour, 5 mph", ["5 length/time"] * 3),
        ("5 m², 5 m2, 5 m^2, 5 sq m, 5 square metres", ["5 length^2"] * 5),
        ("5 °C, 5 degrees Celsius, 5 degrees C", ["5 celsius"] * 3),
        ("5°F and 300 K, 5 k", ["5 fahrenheit", "300 kelvin", "5000 kelvin"]),
        ("5 pounds", ["5 mass|GBP"]),
        ("5 years and 5-year", ["5 calendar"] * 2),
        ("42 people of 50", ["42 ?peopl", "50"]),
        ("5 of them were 6 and he 7", ["5", "6", "7"]),
        ("500mAh, 60fps", ["500 charge", "60 ?fram/time"]),
        # one quantity of several numbers
        ("1 hour 30 minutes", ["1.5 time"]),
        ("2 min and 30 s", ["2.5 time"]),
        ("5 ft, 6 in", ["5.5 length"]),
        ("330 metres (1,083 ft)", ["330 length"]),
        ("1 mile = 1.609 km", ["1 length"]),
        ("100 ± 5 kg", ["100"]),
        ("5 km (7 miles)", ["5 length", "7 length"]),
        # lists share their unit
        ("5, 6 or 7 km", ["5 length", "6 length", "7 length"]),
        ("5 apples or 6", ["5 ?appl", "6 ?appl"]),
        ("In 2019, 42 people", ["2019", "42 ?peopl"]),
        # ranges
        ("120-180 USD", ["120..180 USD"]),
        ("120–180 USD", ["120..180 USD"]),
        ("120 - 180", ["120..180"]),
        ("$120 to $180", ["120..180 USD"]),
        ("120 USD-180 USD", ["120..180 USD"]),
        ("between 120 and 180", ["120..180"]),
        ("from 120 to 180 kg", ["120..180 mass"]),
        ("$1.2-1.5 million", ["1200000..1500000 USD"]),
        ("5-10%, 5% to 10%", ["5..10 fraction"] * 2),
        ("500 m to 2 km", ["0.5..2 length"]),
        ("-5 to 5", ["-5..5"]),
        ("5-to-10 km", ["5..10 length"]),
        ("from 5 to 3", ["5", "3"]),
        ("120 and 180", ["120", "180"]),
        ("5 km to 10 kg", ["5 length", "10 mass"]),
        # no quantities
        ("", []),
        ("NaN, inf, infinity, ∞", []),
        ("3.10.2 and 192.168.1.1", []),
        ("llama3, GPT-4, B12, COVID-19, v2, R2D2, HTTP/2", []),
        ("F-16 and A320-200", []),
        ("The Boeing 737-800 has 189 seats", ["189 ?seat"]),
        ("3D, 4x4, 1080p, 5pm, 7fe3", []),
        ("12:30 and 16:9", []),
        ("call 555-123-4567", []),
        ("file2.txt, 2.txt, 4.com", []),
        ("https://example.com/2024/05 says", []),
        ("not 42 but 43; it isn't 44", ["43"]),
        ("1. Paris\n2. Rome has 3", ["3"]),
        # formatting
        ("**42** and `43`", ["42", "43"]),
        (r"$42$. \boxed{43}. 5\%. 1{,}234", ["42", "43", "5 fraction", "1234"]),
        (r"42\text{ km}", ["42 length"]),
    ],
)
def test_reading(text: str, expected: list[str]) -> None:
    assert read(text) == expected


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("On March 14, 1879, 3 came", ["date", "year", "plain"]),
        ("14 March 1879", ["date", "year"]),
        ("the 14th of March", ["date"]),
        ("2024-03-14, 14.03.2024, 3/14/2024", ["year"] * 3),
        ("in 2019 there were (2020) 1,984 as of 2021.", ["year", "year", "plain", "year"]),
        ("the 1990s", ["year"]),
        ("1984", ["plain"]),
        ("in 1200 or 42", ["plain", "plain"]),
        ("you may 5", ["plain"]),
        ("the 3rd of 5", ["ordinal", "plain"]),
        ("so [2], see [42]", ["citation", "plain"]),
        ("one of two", ["one", "plain"]),
        ("one hundred", ["plain"]),
    ],
)
def test_kinds_of_numbers(text: str, kinds: list[str]) -> None:
    assert [q.kind for q in quantities(plain(text))] == kinds


# Comparing numbers.


@pytest.mark.parametrize(
    ("answer", "reference", "score"),
    [
        ("42", "42", 1),
        ("It has forty-two of them.", "42", 1),
        ("41", "42", 0),
        ("1,234,567", "1234567", 1),
        ("about 1.2 million", "1,200,000", 1),
        ("-5", "5", 0),
        ("1000000", "1000001", 0),  # integers exactly
        ("12345678901234567891", "12345678901234567890", 0),
        ("0.3333333", "1/3", 1),
        ("0.333", "1/3", 0),
        ("3.1415927", "3.14159265", 1),
        ("3.14", "3.14159265", 0),
        ("42.0", "42", 1),
        ("$0.00", "0", 1),
        ("-0", "0", 1),
        # nothing to compare
        ("", "42", 0),
        ("I do not know.", "42", 0),
        ("NaN", "42", 0),
        ("infinity", "1e300", 0),
        ("1e999", "42", 0),
        ("9" * 20_000, "9" * 90, 0),
        ("llama3", "3", 0),
        ("3.10.2", "3.1", 0),
        ("It is not 42.", "42", 0),
        ("The answer isn't 42.", "42", 0),
        # never rescaled
        ("4200", "42", 0),
        ("0.42", "42", 0),
        ("0.42", "42%", 0),
        ("42%", "0.42%", 0),
        ("0.42%", "0.42", 0),
        ("5 kW", "5 MW", 0),
        ("5 million", "5 billion", 0),
        ("5000%", "50", 0),
        # percentages
        ("42 percent", "42%", 1),
        ("42", "42%", 1),
        ("42%", "42", 1),
        ("42%", "0.42", 1),
        ("5‰", "0.5%", 1),
        # units
        ("5000 m", "5 km", 1),
        ("5 kilometres", "5 km", 1),
        ("5 miles", "5 km", 0),
        ("5", "5 km", 1),
        ("5 kg", "5 km", 0),
        ("72 km/h", "20 m/s", 1),
        ("90 minutes", "1 hour 30 minutes", 1),
        ("1.5 h", "90 min", 1),
        ("2 weeks", "14 days", 1),
        ("1 year", "12 months", 1),
        ("365 days", "1 year", 0),
        ("1000 MB", "1 GB", 1),
        ("1024 MiB", "1 GiB", 1),
        ("1 GiB", "1 GB", 0),
        ("800 Mbit", "100 MB", 1),
        ("25 °C", "25 °C", 1),
        ("77 °F", "25 °C", 0),
        ("10,000 cm²", "1 m²", 1),
        ("€5", "5 euros", 1),
        ("$5", "€5", 0),
        ("5k USD", "$5,000", 1),
        ("£5", "5 pounds", 1),
        ("5 lbs", "5 pounds", 1),
        ("42 person", "42 persons", 1),
        ("42 residents", "42 people", 1),
        ("42 km", "42 people", 0),
        ("5 km or 6 EUR", "5 km", 1),
        ("5 apples and 10 oranges", "5 apples", 1),
        ("It is 330 m high and has 3 floors.", "330 m", 1),
        ("It is 330 metres (1,083 ft) high.", "330 m", 1),
        ("It is 330 metres (1,083 ft) high.", "1,083 feet", 1),
        ("It is 330 metres (1,083 ft) high.", "330", 1),
        ("It is 330 metres (1,083 ft) high.", "331 m", 0),
        # which number
        ("The answer is 42. It rose by 3 in 2 years.", "42", 1),
        ("First 3, then 5. Answer: 42", "42", 1),
        ("**Final answer:** 42 km.", "42 km", 1),
        ("Answer:\n42", "42", 1),
        ("The answer to that is 5, since 2 + 3 = 5.", "5", 1),
        ("The answer is 5 because 7 is too many.", "7", 0),
        ("3 + 4 = 7\n#### 7", "7", 1),
        (r"Thus $\boxed{\frac{3}{4}}$, of 8.", "0.75", 1),
        ("2 + 3 = 5, 5 * 2 = 10", "10", 1),
        ("2 + 3 = 5, 5 * 2 = 10 apples.", "5", 0),
        ("x = 42", "42", 1),
        ("The answer is 6 at first. Final answer: 7", "7", 1),
        ("In 2019, 42 people came.", "42", 1),
        ("It has 1,234 inhabitants (2020).", "1,234", 1),
        ("On March 14, 42 people came.", "42", 1),
        ("He was born on March 14, 1879.", "1879", 1),
        ("He was born on 1879-03-14.", "1879", 1),
        ("It was in 1879", "1879", 1),
        ("in the 1990s", "1990", 1),
        ("He came on March 14.", "14", 1),
        ("The 3rd largest has 42.", "42", 1),
        ("She came in 3rd.", "3", 1),
        ("There are 42 [1].", "42", 1),
        ("One of the 42.", "42", 1),
        ("one", "1", 1),
        ("42, that is 42.", "42", 1),
        ("The Boeing 737-800 seats 189.", "189", 1),
        ("It is 43, not 42.", "43", 1),
        ("It is 43, not 42.", "42", 0),
        ("价格是42元", "42 CNY", 1),
        # ranges
        ("150 USD", "120-180 USD", 1),
        ("$120", "120 to 180 USD", 1),
        ("180", "between 120 and 180 USD", 1),
        ("181", "120–180 USD", 0),
        ("0.15k USD", "120–180 USD", 1),
        ("$100 to $160", "120-180 USD", 0.5),
        ("between 120 and 180 dollars", "120-180 USD", 1),
        ("200-300 USD", "120-180 USD", 0),
        ("130-140", "120-180", 1 / 6),
        ("60–120 min", "1-2 h", 1),
        ("150 EUR", "120-180 USD", 0),
        ("3 to 5 days", "4 days", 0),
    ],
)
def test_numeric(answer: str, reference: str, score: float) -> None:
    assert number(answer, reference) == pytest.approx(score)


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        ("5 or 6", "6"),
        ("5, 6", "5"),
        ("1, 2, 3, 4, 5, 6, 7, 8, 9, 10", "3"),
        ("- 5\n- 6", "6"),
        ("1. 5\n2. 6", "6"),
        ("5 km, 6 km", "6 km"),
        ("5 or 6 km", "6 km"),
        ("6 km or 5", "6 km"),
        ("3, 4, 5 and 6 apples", "6 apples"),
        ("6 km (or 5)", "6 km"),
        ("one or 4", "4"),
        ("in 1200 or 42", "42"),
        ("5 km (3 m)", "5 km"),
        ("The answer is 5 or 6.", "6"),
        ("The answer is 5. Or 6.", "5"),
        ("The answer is 5. 6.", "5"),
        ("The answer is 5. The answer is 6.", "6"),
        ("Answer: 5, perhaps 6", "5"),
        ("#### 5\n#### 6", "6"),
        (r"\boxed{5} \boxed{6}", "6"),
        ("x = 5 or x = 6", "6"),
        ("x = 5, x = 6", "6"),
        ("5 = 6", "6"),
        ("- 5 km = 6 km", "6 km"),
        ("It rose from 5 to 10.", "10"),
        ("120 USD, 150 USD", "120-180 USD"),
        ("1e999 or 42", "42"),
        ("4/5/6", "6"),
        ("3-4-5", "5"),
        ("1,2,3", "2"),
    ],
)
def test_several_numbers_are_no_answer(answer: str, reference: str) -> None:
    match = numeric("", answer, [reference], STRICT)
    assert match.score is None
    assert "several numbers" in match.detail


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("Paris", "has no number"),
        ("March 14, 1879", "has no number"),
        ("16:9", "has no number"),
        ("v3.10.2", "has no number"),
        ("5 or 6", "has several numbers: '5', '6'"),
        ("1 " * 500, "has several numbers"),
        ("1e999", "too many digits"),
    ],
)
def test_a_reference_without_one_number(reference: str, says: str) -> None:
    match = numeric("", "42", [reference], STRICT)
    assert match.score is None
    assert f"the reference {quote(reference)}" in match.detail
    assert says in match.detail


@pytest.mark.parametrize(
    ("question", "answer", "reference", "score"),
    [
        ("How many do 3 buses with 5 seats have?", "3 buses with 5 seats have 15.", "15", 1),
        ("How many do three buses carry?", "3 buses carry 15.", "15", 1),
        ("What is 2 + 2?", "2", "4", 0),
        ("Is it 5 or 6?", "6", "6", 1),
        ("Is it 5 or 6?", "5", "6", 0),
        ("Is it 5 or 6?", "5 or 6", "6", None),  # to repeat the question is no answer
        ("Is it 5 or 6?", "6 is larger than 5", "6", None),
        ("Is it more than 5?", "5 or 6", "6", None),
        ("Which of 1, 2, 3, 4 is even and prime?", "1, 2, 3, 4", "2", None),
        ("What was founded in 1879?", "In 1879, 42 were.", "42", 1),
        ("What percentage is it?", "0.5%", "0.5", 1),
        ("What share is it?", "0.5%", "0.5", 0),
        ("What per cent is it?", "50%", "0.5", 0),
    ],
)
def test_the_question_counts(
    question: str, answer: str, reference: str, score: float | None
) -> None:
    assert number(answer, reference, question=question) == score


@pytest.mark.parametrize(
    ("answer", "reference", "relative", "absolute", "score"),
    [
        ("101", "100", "0.01", "0", 1),
        ("102", "100", "0.01", "0", 0),
        ("130", "100", "0.3", "0", 1),
        ("100.0000001", "100", "0", "0", 0),
        ("103", "100", None, "3", 1),
        ("104", "100", None, "3", 0),
        ("1609 m", "1 mile", "0.01", "0", 1),
        ("181", "120-180", "0.01", "0", 1),
        ("183", "120-180", "0.01", "0", 0),
        ("100 or 100.5", "100", "0.01", "0", 1),  # they say the same
        ("100 or 105", "100", "0.01", "0", None),
    ],
)
def test_tolerance(
    answer: str, reference: str, relative: str | None, absolute: str, score: float | None
) -> None:
    tolerance = Tolerance(
        relative=None if relative is None else Fraction(relative), absolute=Fraction(absolute)
    )
    assert number(answer, reference, tolerance=tolerance) == score


@pytest.mark.parametrize(
    ("answer", "references", "score"),
    [
        ("5", ["4", "5", "6"], 1),
        ("7", ["4", "5", "6"], 0),
        ("4 or 5", ["4", "5"], None),
        ("5", ["5", "five or so"], 1),
        ("5", ["Paris", "5"], 1),
        ("6", ["Paris", "5"], None),
        ("130-140", ["120-180", "130-150"], 0.5),
    ],
)
def test_any_reference_will_do(answer: str, references: list[str], score: float | None) -> None:
    assert number(answer, *references) == score
    assert number(answer, *reversed(references)) == score


def test_a_detail_says_what_was_expected_and_found() -> None:
    assert numeric("", "It is 7 kg.", ["5 kg"], STRICT) == Match(
        0.0, "expected '5 kg', found '7 kg'"
    )
    assert numeric("", "none", ["5"], STRICT).detail == "expected '5', found no number in 'none'"
    assert "no number of such a unit in '7 EUR'" in numeric("", "7 EUR", ["5 kg"], STRICT).detail
    many = numeric("", ", ".join(map(str, range(50))), ["5"], STRICT).detail
    assert many.endswith("'6', '7' ...")


def test_too_many_numbers_are_not_read() -> None:
    assert len(quantities("5 km. " * (MOST // 2))) == MOST // 2
    with pytest.raises(TooManyError, match="more than"):
        quantities("5 km. " * (MOST + 1))
    text = "7 km. " * (MOST + 1)
    assert number(text, "7 km") is None
    assert number(text + "The answer is 7 km.", "7 km") == 1
    assert number("7 km", "7 km", question=text) == 1


# Properties.

values = st.integers(-(10**15), 10**15)
positive = st.integers(1, 10**12)


@st.composite
def written(draw: st.DrawFn) -> tuple[str, Fraction, str]:
    """A number in one of its spellings, its value, and the dimension of its unit."""
    value, places = draw(values), draw(st.integers(0, 6))
    sign = draw(st.sampled_from(["-", "−", "minus "])) if value < 0 else ""
    whole, decimals = divmod(abs(value), 10**places)
    comma, point = draw(
        st.sampled_from(
            [("", "."), (",", "."), (" ", "."), ("\u202f", "."), ("'", "."), ("_", ".")]
        )
    )
    text = f"{whole:,}".replace(",", comma) + (f"{point}{decimals:0{places}}" if places else "")
    unit, dimension, factor = draw(
        st.sampled_from(
            [
                ("{}", "", 1),
                ("{} km", "length", 1),
                ("{}kg", "mass", 1),
                ("{} percent", "fraction", 1),
                ("€{}", "EUR", 1),
                ("{} million", "", 10**6),
                ("{}k USD", "USD", 1000),
                ("{}e3", "", 1000),
            ]
        )
    )
    return (
        sign + unit.format(text),
        Fraction(value if value < 0 else abs(value), 10**places) * factor,
        dimension,
    )


@given(written())
def test_a_number_that_is_written_is_read(case: tuple[str, Fraction, str]) -> None:
    text, value, dimension = case
    (quantity,) = quantities(plain(f"So it is {text}."))
    assert quantity.low == quantity.high == value
    assert [unit.dimension for unit in quantity.units] == [dimension] * bool(dimension)


@given(written())
def test_a_number_equals_itself(case: tuple[str, Fraction, str]) -> None:
    text, _, _ = case
    assert number(f"It is {text}.", text) == 1


@given(
    st.decimals(-(10**9), 10**9, places=4),
    st.sampled_from([Fraction(100), Fraction(1, 100), Fraction(10), Fraction(1, 10)]),
    st.sampled_from(["{}", "{} km", "{}%", "${}", "{} people"]),
    st.sampled_from([None, Fraction(0), Fraction(1, 100), Fraction(1, 2)]),
)
def test_no_answer_is_rescaled(
    value: object, factor: Fraction, unit: str, relative: Fraction | None
) -> None:
    right = Fraction(str(value))
    assume(right)
    wrong = right * factor
    answer = unit.format(f"{float(wrong):.8f}")
    assume(Fraction(f"{float(wrong):.8f}"))
    tolerance = Tolerance(relative=relative)
    assert number(answer, unit.format(f"{value:f}"), tolerance=tolerance) == 0
    assert number(unit.format(f"{value:f}"), answer, tolerance=tolerance) == 0


@given(
    st.lists(st.sampled_from(["4", "5 km", "5", "3-6", "Paris", "5%", "x"]), min_size=1), st.data()
)
def test_the_order_of_references_does_not_matter(
    references: list[str], data: st.DataObject
) -> None:
    answer = data.draw(st.sampled_from(["5", "4 km", "5000 m", "5%", "4 or 5", "4-5", "no"]))
    shuffled = data.draw(st.permutations(references))
    assert numeric("", answer, references, STRICT) == numeric("", answer, shuffled, STRICT)
    assert exact(answer, references).score == exact(answer, shuffled).score


SEPARATORS = [
    ", ",
    " or ",
    " and ",
    "; ",
    "\n",
    " / ",
    " vs ",
    "? ",
    " maybe ",
    " | ",
    "... ",
    "\n- ",
]
SEPARATORS += [
    " (or ",
    ". ",
    "! ",
    " & ",
    ", then ",
    " – ",
    "—",
    " to ",
    " + ",
    "\n* ",
    " aka ",
]


@given(
    st.lists(st.integers(1, 10**6), min_size=2, max_size=6, unique=True),
    st.data(),
    st.sampled_from(["{}", "It is {}.", "The answer is {}.", "Answer: {}", "#### {}", "x = {}"]),
    st.sampled_from(["", " km", "%", " apples", " USD"]),
)
def test_listing_never_wins(listed: list[int], data: st.DataObject, frame: str, unit: str) -> None:
    text = f"{listed[0]}{unit}"
    for value in listed[1:]:
        text += data.draw(st.sampled_from(SEPARATORS)) + f"{value}{unit}"
    right = data.draw(st.sampled_from(listed))
    assert number(frame.format(text), f"{right}{unit}") != 1


@given(st.text(max_size=200), st.text(max_size=40), st.text(min_size=1, max_size=20))
def test_any_text_gets_a_result(answer: str, question: str, reference: str) -> None:
    for references in ([reference], [reference, "42"], ["7-9 km"]):
        match = numeric(question, answer, references, STRICT)
        assert match.score is None or 0 <= match.score <= 1
        assert match == numeric(question, answer, references, STRICT)
        match.detail.encode()
    assert exact(answer, [answer]).score == float(bool(normalise(answer)))


PIECES = r"""
    5 42 1,234 1.5 3.10.2 2024 12:30 737-800 3/4 1e3 1e999 ½ 10 ^6 × = + - – * / ± % $ € EUR km kg
    hours apples percent per square million k and or not between to from of in since The answer is
    Answer: #### \boxed{ } ( ) [1] . , : one twenty hundred March 14 th GPT-4 \frac{1}{2} ** ² 万
"""
pieces = st.sampled_from(PIECES.split())
rows: st.SearchStrategy[Sequence[str]] = st.lists(pieces, max_size=12)


@given(rows, rows, rows)
def test_any_row_of_numbers_gets_a_result(
    answer: Sequence[str], question: Sequence[str], reference: Sequence[str]
) -> None:
    for glue in ("", " "):
        match = numeric(glue.join(question), glue.join(answer), [glue.join(reference)], STRICT)
        assert match.score is None or 0 <= match.score <= 1


LONG = ["9", "1 ", "1,", "1.", "1-", "1/", "1:", "####", "answer is ", "one ", "hundred and ", "="]
LONG += ["1=", " ", "(", "+", "-", "1 234 567 ", " 123", "1st ", "1 May ", "5 km ", "½", "1,2.3'4 "]
LONG += ["not ", "square ", "5 per ", "° ", "USD ", "\n1) x", "http://", "×10", "1a", "[1]", "km/"]
LONG += [
    "1-year-",
    "1_",
    "5 million ",
    "1 or ",
    ". or ",
    "$1",
    r"\text{",
    r"\boxed{",
    "¹",
    "1e",
    "a",
]
LONG += ["5 (", "c++ "]


@pytest.mark.parametrize("text", LONG)
def test_long_texts_take_little_time(text: str) -> None:
    long = text * (20_000 // len(text))
    started = time.thread_time()
    numeric(long[:8000], long, ["42 km"], STRICT)
    exact(long, ["42 km"], contains=True)
    assert time.thread_time() - started < 0.1


def test_a_length_is_bounded_where_it_multiplies() -> None:
    started = time.thread_time()
    for answer in ("1" + "," * 20_000 + "2 or x", "5" + " million" * 2_500, "1e" + "9" * 20_000):
        for score in (number(answer, "42"), number("42", answer)):
            assert score is None or math.isfinite(score)
    assert time.thread_time() - started < 0.1
