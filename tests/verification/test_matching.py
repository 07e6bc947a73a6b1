"""Matching: texts as SQuAD compares them, numbers as people write them, and what tries to cheat."""

import math
import time
from collections.abc import Sequence
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rlvr_ray.core.numbers.linking import MOST, TooManyError, quantities
from rlvr_ray.core.numbers.quantity import plain
from rlvr_ray.verification.verifiers.exact import match as exact
from rlvr_ray.verification.verifiers.exact import normalise
from rlvr_ray.verification.verifiers.numeric import Tolerance
from rlvr_ray.verification.verifiers.numeric import match as numeric
from rlvr_ray.verification.verifiers.rules import Match
from rlvr_ray.verification.verifiers.shared import quote

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


# What answers look like, by kind: the scores that will do.
BATTERY = [
    ("How tall is it?", "It is 330 m tall.", "330 m", {1}),
    ("How tall is it?", "The tower is 330 metres (1,083 ft) tall.", "330 m", {1}),
    ("How tall is it?", "0.33 km", "330 m", {1}),
    ("How many?", "There are twelve.", "12", {1}),
    ("How many?", "A dozen", "12", {1}),
    ("How many?", "none", "0", {1}),
    ("How many?", "No users are allowed.", "0", {1}),
    ("How many?", "one", "1", {1}),
    ("How many?", "Only one user is allowed.", "1", {1}),
    ("How many?", "a single user", "1", {1}),
    ("How many?", "twice", "2", {1}),
    ("How many?", "both", "2", {1}),
    ("How much?", "$1.65 billion", "$1.65 billion", {1}),
    ("How much?", "1.65 billion dollars", "$1.65 billion", {1}),
    ("How much?", "USD 1,650,000,000", "$1.65 billion", {1}),
    ("How much?", "€1.65 billion", "$1.65 billion", {0}),
    ("How much?", "1.65 million dollars", "$1.65 billion", {0}),
    ("When?", "In 1889.", "1889", {1}),
    ("When?", "It was built from 1887 to 1889.", "1889", {0, None}),
    ("When?", "It was finished on 31 March 1889.", "1889", {1}),
    ("When?", "March 31, 1889", "1889", {1}),
    ("When?", "31.03.1889", "1889", {1}),
    ("What share?", "42%", "42%", {1}),
    ("What share?", "42 percent", "42%", {1}),
    ("What share?", "0.42", "42%", {0}),
    ("What share?", "42", "42%", {1}),
    ("What share?", "between 40% and 45%", "42%", {0, None}),
    ("temp?", "-5 °C", "-5 °C", {1}),
    ("temp?", "minus 5 degrees Celsius", "-5 °C", {1}),
    ("temp?", "5 °C", "-5 °C", {0}),
    ("temp?", "23 °F", "-5 °C", {0, None}),
    ("x?", "x = 3 or x = 5", "5", {0, None}),
    ("x?", "2 + 3 = 5", "5", {1}),
    ("x?", "The answer is 5.", "5", {1}),
    ("x?", "The answer is 5, not 6.", "5", {1}),
    ("x?", "The answer is not 5.", "5", {0}),
    ("x?", "It isn't 5 but 6.", "6", {1}),
    ("x?", "It isn't 5 but 6.", "5", {0}),
    ("x?", "Step 1: add 2. Step 2: multiply by 3. The result is 15.", "15", {1}),
    ("x?", "1. Add 2\n2. Multiply by 3\nTherefore: 15", "15", {1}),
    ("x?", "**15**", "15", {1}),
    ("x?", "\\boxed{15}", "15", {1}),
    ("x?", "\\boxed{\\frac{1}{2}}", "1/2", {1}),
    ("x?", "0.5", "1/2", {1}),
    ("x?", "1/3", "0.333", {0}),
    ("x?", "0.3333", "1/3", {0}),
    ("x?", "3.14159", "3.14", {0}),
    ("x?", "1,234", "1234", {1}),
    ("x?", "1.234,50", "1234.5", {1}),
    ("x?", "1 234,50", "1234.5", {1}),
    ("x?", "3,5 Millionen", "3.5 million", {0, 1, None}),
    ("x?", "3,7", "3.7", {1}),
    ("x?", "1.234", "1234", {0, 1}),
    ("x?", "5 to 10", "5-10", {1}),
    ("x?", "between five and ten", "5-10", {1}),
    ("x?", "about 5", "5", {1}),
    ("x?", "more than 5", "5", {0, 1, None}),
    ("x?", "at least 5", "5", {1, None}),
    ("x?", "less than 5", "5", {0, 1, None}),
    ("x?", "5 or 6", "5", {0, None}),
    ("How many km?", "5 miles", "8.04672 km", {1}),
    ("How many km?", "5", "5 km", {1}),
    ("How long?", "1 hour 30 minutes", "90 minutes", {1}),
    ("How long?", "1h30", "90 minutes", {1}),
    ("How long?", "1:30 h", "90 minutes", {0, 1, None}),
    ("How long?", "an hour and a half", "90 minutes", {1}),
    ("How long?", "half an hour", "30 minutes", {1}),
    ("How long?", "two weeks", "14 days", {1}),
    ("How long?", "a fortnight", "14 days", {1}),
    ("How long?", "six months", "6 months", {1}),
    ("How big?", "1 TB", "1000 GB", {1}),
    ("How big?", "1 TiB", "1024 GiB", {1}),
    ("How big?", "8 bits", "1 byte", {1}),
    ("How fast?", "100 km/h", "100 km/h", {1}),
    ("How fast?", "100 kilometres per hour", "100 km/h", {1}),
    ("How fast?", "27.78 m/s", "100 km/h", {0}),
    ("Order 66: how many?", "Order 66 has 12 items.", "12", {1}),
    ("How many of the 12?", "12 of 12", "12", {1}),
    ("How many of the 12?", "All 12.", "12", {1}),
    ("version?", "Python 3.11", "3.11", {0, 1, None}),
    ("x?", "1e6", "1000000", {1}),
    ("x?", "10^6", "1000000", {1}),
    ("x?", "3 × 10^8 m/s", "300000000 m/s", {1}),
    ("x?", "5k", "5000", {1}),
    ("x?", "5K users", "5000", {1}),
    ("x?", "2.5M", "2500000", {1}),
    ("x?", "٣٣٠", "330", {1}),
    ("x?", "三", "3", {0, 1}),
    ("x?", "The 5th", "5", {0, 1}),
    ("x?", "five hundred and twelve", "512", {1}),
    ("x?", "twenty-five thousand", "25,000", {1}),
    ("x?", "nineteen eighty-four", "1984", {0, 1, None}),
    ("x?", "I think it is 7 (see [2]).", "7", {1}),
    ("x?", "According to passage 2, 7.", "7", {1}),
    ("x?", "As stated in section 4.2, the limit is 7.", "7", {1}),
    ("x?", "In 2019 there were 7 cases.", "7", {1}),
    ("x?", "7 (seven)", "7", {1}),
    ("x?", "7.0", "7", {1}),
    ("x?", "07", "7", {1}),
    ("x?", "+7", "7", {1}),
    ("x?", "~7", "7", {1}),
    ("x?", "7/10", "7", {0}),
    ("x?", "7 out of 10", "7", {1, None}),
    ("x?", "70 %", "70%", {1}),
    ("x?", "It rose by 12% from $4.1 million to $4.6 million.", "12%", {1}),
    ("x?", "It rose by 12% from $4.1 million to $4.6 million.", "$4.6 million", {0, None}),
    ("x?", "room 101", "101", {1}),
    ("x?", "£5.50", "£5.5", {1}),
    ("x?", "5,50 €", "€5.50", {1}),
    ("x?", "5.50 EUR", "€5.50", {1}),
    ("x?", "$5", "5", {1}),
    ("x?", "-3", "3", {0}),
    ("x?", "a loss of 3 million", "-3 million", {0, None}),
    ("How long?", "an hour", "60 minutes", {1}),
    ("How long?", "It takes half an hour.", "30 min", {1}),
    ("How long?", "a quarter of an hour", "15 minutes", {1}),
    ("How long?", "three quarters of an hour", "45 minutes", {1}),
    ("How long?", "two and a half hours", "150 minutes", {1}),
    ("How long?", "2.5 h", "150 minutes", {1}),
    ("How long?", "2h 30m", "150 minutes", {1}),
    ("How long?", "2h30m", "150 minutes", {1}),
    ("How long?", "90 mins", "1.5 hours", {1}),
    ("How long?", "1 day and 6 hours", "30 hours", {1}),
    ("How long?", "a day and a half", "36 hours", {1}),
    ("How long?", "a week", "7 days", {1}),
    ("How long?", "a year", "12 months", {1}),
    ("How long?", "1 hr 5 min", "65 minutes", {1}),
    ("How long?", "2:27:41", "2 hours 27 minutes 41 seconds", {1}),
    ("How long?", "5m30s", "330 s", {1}),
    ("How many?", "half a dozen", "6", {1}),
    ("How many?", "two dozen", "24", {1}),
    ("How many?", "a dozen eggs", "12", {1}),
    ("How many?", "dozens", "12", {0}),
    ("How many?", "several dozen", "12", {0}),
    ("How many?", "thrice", "3", {1}),
    ("How many times?", "once", "1", {1}),
    ("How many?", "nobody", "0", {1}),
    ("How many?", "no one", "0", {1}),
    ("How many?", "There are none.", "0", {1}),
    ("How many?", "zero", "0", {1}),
    ("How many?", "nil", "0", {1}),
    ("How many?", "I have no idea.", "0", {0}),
    ("How many?", "The text does not say.", "0", {0}),
    ("How many?", "No information is given.", "0", {0}),
    ("How many?", "There are no seats left.", "0", {1}),
    ("How many?", "no seats", "5", {0}),
    ("How much?", "£1.2m", "£1,200,000", {1}),
    ("How much?", "1.2 Mio. Euro", "€1.2 million", {1}),
    ("How much?", "1,2 Millionen Euro", "€1.2 million", {1}),
    ("How much?", "2 Milliarden Euro", "€2 billion", {1}),
    ("How much?", "3 millions d'euros", "€3 million", {1}),
    ("How much?", "US$ 5", "$5", {1}),
    ("How much?", "A$5", "$5", {0}),
    ("How much?", "¥500", "$500", {0}),
    ("How much?", "$5.00", "$5", {1}),
    ("How much?", "five dollars", "$5", {1}),
    ("How much?", "$1,65", "$1.65", {1}),
    ("temp?", "−5 °C", "-5 °C", {1}),
    ("temp?", "-5°C", "-5 °C", {1}),
    ("temp?", "25 degrees", "25 °C", {1}),
    ("temp?", "-40 °F", "-40 °C", {0}),
    ("x?", "3/4", "0.75", {1}),
    ("x?", "¾", "0.75", {1}),
    ("x?", "2¾", "2.75", {1}),
    ("x?", "2 3/4", "2.75", {1}),
    ("x?", "three quarters", "3/4", {1}),
    ("x?", "two thirds", "2/3", {1}),
    ("x?", "one half", "0.5", {1}),
    ("x?", "a half", "1/2", {1}),
    ("x?", "11/2", "1/12", {0}),
    ("x?", "1 1/2", "11/2", {0}),
    ("x?", "11/2", "5.5", {1}),
    ("x?", "-1/2", "-0.5", {1}),
    ("x?", "\\frac{11}{2}", "5.5", {1}),
    ("x?", "10⁶", "1000000", {1}),
    ("x?", "10⁶", "106", {0}),
    ("x?", "2.5×10³", "2500", {1}),
    ("x?", "1.5 × 10^-3", "0.0015", {1}),
    ("x?", "10 000", "10000", {1}),
    ("x?", "10.000,00", "10000", {1}),
    ("x?", "1'000", "1000", {1}),
    ("x?", "12,34,567", "1234567", {1}),
    ("x?", "1,5", "15", {0}),
    ("x?", "15", "1,5", {0}),
    ("x?", "1,5", "1.5", {1}),
    ("x?", "0,5", "0.5", {1}),
    ("x?", "3.141,59", "3141.59", {1}),
    ("x?", "1,000,000", "1 million", {1}),
    ("x?", "1.000.000", "1000000", {1}),
    ("When?", "on 1 May 2022", "2022", {1}),
    ("When?", "2022-05-01", "2022", {1}),
    ("When?", "May 2022", "2022", {1}),
    ("When?", "01/05/2022", "2022", {1}),
    ("When?", "the 1930s", "1930", {1}),
    ("When?", "in the 19th century", "19", {1}),
    ("When?", "AD 79", "79", {1}),
    ("When?", "c. 1500", "1500", {1}),
    ("When?", "around 1500", "1500", {1}),
    ("Year?", "It was founded in 1999 by 3 people.", "1999", {1}),
    ("x?", "१२", "12", {1}),
    ("x?", "１２", "12", {1}),
    ("x?", "៤២", "42", {1}),
    ("Wie viele?", "zwölf", "12", {1}),
    ("Wie viele?", "Es sind drei.", "3", {1}),
    ("Combien?", "Il y en a sept.", "7", {1}),
    ("¿Cuántos?", "Hay once.", "11", {1}),
    ("¿Cuántos?", "Son dos.", "2", {1}),
    ("Combien ?", "deux", "2", {1}),
    ("Wie viele?", "keine", "0", {1}),
    ("Combien ?", "aucun", "0", {1}),
    ("Wie lange?", "sechs Wochen", "42 Tage", {1}),
    ("Combien de temps ?", "deux heures", "120 minutes", {1}),
    ("¿Cuánto tiempo?", "tres días", "72 horas", {1}),
    ("Wie hoch?", "19,5 Prozent", "19.5%", {1}),
    ("Wie hoch?", "minus 5 Grad", "-5", {1}),
    ("What share?", "half", "50%", {1}),
    ("What share?", "half of them", "50%", {1}),
    ("What share?", "a third of users", "33%", {0}),
    ("What share?", "one quarter", "25%", {1}),
    ("What share?", "5 percentage points", "5%", {0}),
    ("What share?", "5 percent", "5 percentage points", {0}),
    ("What share?", "5 pp", "5 percentage points", {1}),
    ("What share?", "ten per cent", "10%", {1}),
    ("How far?", "412 m", "412 km", {0}),
    ("How far?", "0.412 km", "412 m", {1}),
    ("How far?", "412 metres", "412 m", {1}),
    ("How far?", "412m", "412 m", {1}),
    ("How much?", "25 mg", "25 g", {0}),
    ("How much?", "0.025 g", "25 mg", {1}),
    ("How much?", "25 milligrams", "25 mg", {1}),
    ("How much?", "4 g", "4,000 mg", {1}),
    ("How long?", "six weeks", "6 months", {0}),
    ("How long?", "6 weeks", "six weeks", {1}),
    ("How much?", "40,000 francs", "40,000 euros", {0}),
    ("How tall?", '5\'11"', "71 inches", {1}),
    ("How tall?", "6 ft 2 in", "74 in", {1}),
    ("x?", "The result is 15, after steps 1 and 2.", "15", {1}),
    ("x?", "First, 3 + 4 = 7. Then 7 * 2 = 14. So the answer is 14.", "14", {1}),
    ("x?", "Step 1: 5. Step 2: 6. Answer: 7", "7", {1}),
    ("x?", "Passages 1 and 2 say 7.", "7", {1}),
    ("x?", "(Passage 3) 7", "7", {1}),
    ("x?", "7 [2, 3]", "7", {1}),
    ("x?", "7 [2][3]", "7", {1}),
    ("x?", "Figure 3 shows 7.", "7", {1}),
    ("x?", "On page 12 it says 7.", "7", {1}),
    ("x?", "The Boeing 737 has 2 engines.", "2", {1}),
    ("x?", "Windows 11 needs 4 GB.", "4 GB", {1}),
    ("x?", "Room 101", "101", {1}),
    ("x?", "Apollo 11 had 3 astronauts.", "3", {1}),
    ("x?", "GPT-4 has 8 experts.", "8", {1}),
    ("x?", "Order 66", "66", {1}),
    ("x?", "not 5 but 6", "6", {1}),
    ("x?", "rather than 5, 6", "6", {1}),
    ("x?", "6 instead of 5", "6", {1}),
    ("x?", "5, i.e. five", "5", {1}),
    ("x?", "5 (five)", "5", {1}),
    ("x?", "exactly 5", "5", {1}),
    ("x?", "≈5", "5", {1}),
    ("x?", "x=5", "5", {1}),
    ("x?", "x = -5", "-5", {1}),
    ("x?", "x = -5", "5", {0}),
    ("x?", "10:30", "1030", {0}),
    ("x?", "one hundred and twenty", "120", {1}),
    ("x?", "a thousand", "1000", {1}),
    ("x?", "one million two hundred thousand", "1200000", {1}),
    ("x?", "twelve hundred", "1200", {1}),
    ("x?", "forty two", "42", {1}),
    ("x?", "seventeen", "17", {1}),
    ("x?", "1st", "1", {1}),
    ("x?", "5 km/h", "5 mph", {0}),
    ("x?", "5 mph", "5 miles per hour", {1}),
    ("x?", "10 m/s", "36 km/h", {1}),
    ("x?", "2 m2", "2 m²", {1}),
    ("x?", "2 square metres", "2 m²", {1}),
    ("x?", "1 L", "1000 ml", {1}),
    ("x?", "1 kWh", "3.6 MJ", {1}),
    ("x?", "16 GiB", "16 GB", {0}),
    ("x?", "100 Mbps", "100 Mbit/s", {1}),
    ("x?", "5 kHz", "5000 Hz", {1}),
]  # fmt: skip


@pytest.mark.parametrize(("question", "answer", "reference", "scores"), BATTERY)
def test_numbers_as_answers_give_them(
    question: str, answer: str, reference: str, scores: set[float | None]
) -> None:
    match = numeric(question, answer, [reference], STRICT)
    assert match.score in scores, match.detail


# Which texts are one answer, and which only look like it.
PAIRS = [
    ("Paris", "paris", 1),
    ("The Paris.", "Paris", 1),
    ("**Paris**", "Paris", 1),
    ("St. Paul's", "St Pauls", 1),
    ("Müller", "Mueller", 0),
    ("Zürich", "Zurich", 0),
    ("C++", "C", 0),
    ("C#", "C", 0),
    (".NET", "NET", 1),
    ("A", "a", 1),
    ("The Who", "Who", 1),
    ("3.5", "35", 0),
    ("-5", "5", 0),
    ("10%", "10", 0),
    ("$5", "5", 1),
    ("it's", "its", 1),
    ("`foo`", "foo", 1),
    ("foo_bar", "foobar", 0),
    ("Paris, France", "Paris", 0),
    ('Paris\n', "Paris", 1),
    ("PARIS!", "Paris", 1),
    ("10:30", "1030", 0),
    ("a/b", "ab", 0),
    ("co-op", "coop", 1),
    ("re-sign", "resign", 0),
    ("2019-2020", "20192020", 0),
    ("1,5", "15", 0),
    ("1,234", "1234", 1),
    ("3-4", "34", 0),
    ("x-1", "x1", 0),
    ("5 % ", "5%", 1),
    ("11/2", "1/12", 0),
    ("x < y", "x > y", 0),
    ("x<y", "x < y", 1),
    ("−5", "-5", 1),
    ("3–4", "3-4", 1),
    ("c++", "C++", 1),
    ("C#", "c#", 1),
    ("F#", "F", 0),
    ("x != y", "x = y", 0),
    ("x ≠ y", "x = y", 0),
    ("x <= y", "x >= y", 0),
    ("a*b", "ab", 0),
    ("2*3", "23", 0),
    ("2 * 3", "2 3", 0),
    ("2^3", "23", 0),
    ("10⁶", "106", 0),
    ("10⁶", "10^6", 1),
    ("½", "12", 0),
    ("½", "1/2", 1),
    ("1½", "11/2", 0),
    ("1½", "1 1/2", 1),
    ("5%", "5", 0),
    ("5 %", "5%", 1),
    ("3.10", "3.1", 0),
    ("1.5", "15", 0),
    ("1.2.3", "123", 0),
    ("v1.2", "v12", 0),
    ("a_b", "ab", 0),
    ("foo_bar", "foo bar", 0),
    ("**Paris.**", "paris", 1),
    ("_Paris_", "Paris", 1),
    ("`Paris`", "paris", 1),
    ("***Paris***", "paris", 1),
    ("“Paris”", "Paris", 1),
    ("(Paris)", "Paris", 1),
    ("Paris!", "paris", 1),
    ('Pa\u200bris', "Paris", 1),
    ('\ufeffParis', "Paris", 1),
    ('Paris\xa0', "Paris", 1),
    ("  Pa ris", "Pa ris", 1),
    ("café", "café", 1),
    ("The Paris", "Paris", 1),
    ("an apple", "apple", 1),
    ("Vitamin A", "Vitamin", 0),
    ("Plan A", "Plan B", 0),
    ("Plan A", "plan a", 1),
    ("AT&T", "ATT", 0),
    ("R&D", "RD", 0),
    ("U.S.", "US", 1),
    ("u.s.a", "USA", 1),
    ("St. Paul", "St Paul", 1),
    ("don't", "dont", 1),
    ("1,000", "1000", 1),
    ("1'000", "1000", 1),
    ("1,00", "100", 0),
    ("1,2,3", "123", 0),
    ("1, 2", "12", 0),
    ("(1, 2)", "12", 0),
    ("2/3", "23", 0),
    ("2 / 3", "2/3", 1),
    ("3 - 4", "3-4", 1),
    ("3 - 4", "3 4", 0),
    ("f(x)", "fx", 0),
    ("x=1", "x1", 0),
    ("$5", "€5", 0),
    ("a@b.com", "abcom", 0),
    ("Yes.", "yes", 1),
    ("No", "Yes", 0),
    ("yes, no", "yes no", 1),
    ("Ｐａｒｉｓ", "Paris", 1),
    ("ﬁsh", "fish", 1),
    ("STRASSE", "straße", 1),
    ("x^2", "x2", 0),
    ("H2O", "H₂O", 1),
    ("+5", "5", 1),
    (".5", "5", 0),
    ("A.B.", "AB", 1),
    ("Paris,France", "Paris, France", 1),
    ("1.", "1", 1),
    ("1:", "1", 1),
    ("25 mg", "25 g", 0),
    ("-", "-", 1),
    ("a|b", "ab", 0),
    ("a\\b", "ab", 0),
    ("(5)", "5", 1),
    ("[5]", "5", 1),
    ("{x}", "x", 1),
    ("a→b", "ab", 0),
    ("10:30 am", "10:30 pm", 0),
    ("1e5", "15", 0),
    ("5°", "5", 0),
    ("3rd", "3", 0),
    ("Paris 2", "Paris2", 0),
    ("não", "nao", 0),
    ("3.5", "3,5", 0),
    ("50-50", "5050", 0),
    ("2019–20", "201920", 0),
    ("9/11", "911", 0),
    ("x - 1", "x 1", 0),
    ("<5", "5", 0),
    (">5", "<5", 0),
    ("≤5", "≥5", 0),
    ("5>3", "53", 0),
    ("¬x", "x", 0),
    ("x̄", "x", 0),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other", "same"), PAIRS)
def test_what_tells_answers_apart(one: str, other: str, same: float) -> None:
    assert exact(one, [other]).score == exact(other, [one]).score == same


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
