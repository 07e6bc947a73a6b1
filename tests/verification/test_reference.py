"""Verifiers without a model: options, claims, patterns, JSON schemas, and what the page says."""

import inspect
import re
import shlex
import socket
import sys
import tomllib
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml

from rlvr_ray.core.errors import ConfigError, JudgeError
from rlvr_ray.core.records import Assessment, Verification
from rlvr_ray.settings import load
from rlvr_ray.verification import verifiers
from rlvr_ray.verification.factory import build_panel
from rlvr_ray.verification.verifier import Claim, VerifierContext
from rlvr_ray.verification.verifiers import exact, numeric, rules, stated_numbers
from rlvr_ray.verification.verifiers.rules import RuleVerifier
from tests.fakes import FakeEmbedder, FakeGenerator

pytestmark = pytest.mark.integration


PAGE = Path(__file__).parents[2] / "docs" / "rewards.md"
CONTEXT = VerifierContext(
    judge=FakeGenerator(), engine="fake", embedder=FakeEmbedder(), max_tokens=16
)
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "pattern": "^[A-Z]"}, "age": {"$ref": "#/$defs/age"}},
    "patternProperties": {"^x-": {"type": "integer"}},
    "additionalProperties": False,
    "required": ["name"],
    "$defs": {"age": {"type": "integer", "minimum": 0}},
}
SLOW = r"^(([a-z])+.)+[A-Z]([a-z])+$"  # takes for ever on a long row of small letters


def claim(answer: str, *references: str, question: str = "What?") -> Claim:
    return Claim(
        answer_event_id=uuid4(),
        question=question,
        answer=answer,
        contexts=("a context",),
        references=references,
    )


def verifier(name: str, **options: Any) -> RuleVerifier:
    """The verifier as the application finds it."""
    made = verifiers.create(name, CONTEXT, options)
    assert isinstance(made, RuleVerifier)
    return made


async def judged(name: str, answer: str, *references: str, **options: Any) -> Assessment:
    (result,) = await verifier(name, **options).verify([claim(answer, *references)])
    assert isinstance(result, Assessment), result
    return result


async def failed(name: str, answer: str, *references: str, **options: Any) -> str:
    (result,) = await verifier(name, **options).verify([claim(answer, *references)])
    assert isinstance(result, JudgeError), result
    return str(result)


# All of them.


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("exact", {"contain": True}, "there is no option 'contain'; it takes contains"),
        ("exact", {"contains": "perhaps"}, "option contains: "),
        ("numeric", {"scale": 1}, "no option 'scale'; it takes tolerance, absolute"),
        ("numeric", {"tolerance": 0.6}, "option tolerance: "),
        ("numeric", {"tolerance": -0.1}, "option tolerance: "),
        ("numeric", {"absolute": float("nan")}, "option absolute: "),
        ("numeric", {"absolute": float("inf")}, "option absolute: "),
        ("regex", {}, "option pattern is missing"),
        ("regex", {"pattern": ""}, "option pattern: "),
        ("regex", {"pattern": "(a"}, "option pattern '(a': missing )"),
        ("regex", {"pattern": "a", "flags": 1}, "it takes pattern, full, ignore_case"),
        ("json_schema", {}, "option schema is missing"),
        ("json_schema", {"schema": True}, "option schema: "),
        ("json_schema", {"document": {}, "schema": {}}, "no option 'document'; it takes schema"),
        ("json_schema", {"schema": {"type": "strin"}}, "option schema: at $.type: "),
        ("json_schema", {"schema": {"pattern": "("}}, "is not a 'regex'"),
        ("json_schema", {"schema": {"const": float("nan")}}, "option schema: "),
        ("json_schema", {"schema": {"$schema": "http://example.com/mine"}}, "there is no dialect"),
        ("json_schema", {"schema": {"$ref": "https://example.com/a.json"}}, "nothing is fetched"),
        (
            "json_schema",
            {"schema": {"items": {"$ref": "file:///etc/passwd"}}},
            "nothing is fetched",
        ),
        ("json_schema", {"schema": {"items": {"$ref": "#/$defs/no"}}}, "'#/$defs/no' is not in it"),
        ("json_schema", {"schema": {"$ref": "#"}}, "without end"),
        (
            "json_schema",
            {"schema": {"patternProperties": {}, "unevaluatedProperties": False}},
            "additionalProperties",
        ),
    ],
)
def test_wrong_options(name: str, options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as error:
        verifier(name, **options)
    assert str(error.value).startswith(f"verifier {name}: ")
    assert says in str(error.value)
    assert "\n" not in str(error.value)


async def test_without_references_there_is_nothing_to_go_by() -> None:
    for name in ("exact", "numeric"):
        assert await verifier(name).verify([claim("42")]) == [None]


async def test_one_result_for_each_claim_in_order() -> None:
    claims = [
        claim("42", "42"),
        claim("no", "42"),
        claim("42"),
        claim("4 or 5", "4"),
        claim("", "4"),
    ]
    results = await verifier("numeric").verify(claims)
    assert [type(result) for result in results] == [
        Assessment,
        Assessment,
        type(None),
        JudgeError,
        Assessment,
    ]
    assert [r.score for r in results if isinstance(r, Assessment)] == [1, 0, 0]
    again = await verifier("numeric").verify(claims)
    assert [r for r in again if isinstance(r, Assessment)] == [
        r for r in results if isinstance(r, Assessment)
    ]
    assert await verifier("numeric").verify([]) == []


@pytest.mark.parametrize(
    ("name", "options", "other"),
    [
        ("exact", {}, {"contains": True}),
        ("numeric", {}, {"tolerance": 0.1}),
        ("regex", {"pattern": "a"}, {"pattern": "b"}),
        ("json_schema", {"schema": {}}, {"schema": {"type": "object"}}),
    ],
)
async def test_the_judge_is_recorded(
    name: str, options: dict[str, Any], other: dict[str, Any]
) -> None:
    judge = (await judged(name, "{}", "{} 1", **options)).judge
    assert re.fullmatch("[0-9a-f]{12}", judge.version)
    assert {judge.faithfulness, judge.relevancy, judge.model, judge.embedder} == {""}
    assert (await judged(name, "x", "1", **options)).judge == judge
    assert (await judged(name, "x", "1", **other)).judge.version != judge.version


async def test_the_version_follows_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {name: (await judged(name, "1", "1")).judge.version for name in ("exact", "numeric")}
    real = inspect.getsource
    changed = (exact, stated_numbers)
    monkeypatch.setattr(
        inspect, "getsource", lambda module: real(module) + ("#" if module in changed else "")
    )
    for name, version in before.items():
        assert (await judged(name, "1", "1")).judge.version != version


async def test_exact_and_numeric() -> None:
    assert (await judged("exact", "the Paris.", "London", "paris")).score == 1
    assert (await judged("exact", "It is Paris", "Paris")).score == 0
    assert (await judged("exact", "It is Paris", "Paris", contains=True)).score == 1
    found = await judged("numeric", "It is 5.04 km.", "5 km")
    assert (found.score, found.detail) == (0, "expected '5 km', found '5.04 km'")
    assert (await judged("numeric", "It is 5.04 km.", "5 km", tolerance=0.01)).score == 1
    assert (await judged("numeric", "It is 5.4 km.", "5 km", absolute=0.4)).score == 1
    assert "several numbers: '4', '5'" in await failed("numeric", "4 or 5", "5")
    assert "has no number" in await failed("numeric", "5", "Paris")


# Patterns.


@pytest.mark.parametrize(
    ("answer", "options", "score"),
    [
        ("so abb it is", {"pattern": "ab+"}, 1),
        ("so abb it is", {"pattern": "ab+", "full": True}, 0),
        ("abb", {"pattern": "ab+", "full": True}, 1),
        ("abb\n", {"pattern": "ab+", "full": True}, 0),
        ("ABB", {"pattern": "ab+"}, 0),
        ("ABB", {"pattern": "ab+", "ignore_case": True}, 1),
        ("", {"pattern": "a"}, 0),
        ("Straße 5", {"pattern": r"\p{L}+ \d"}, 1),
    ],
)
async def test_regex(answer: str, options: dict[str, Any], score: float) -> None:
    found = await judged("regex", answer, **options)
    assert found.score == score
    assert found.detail.startswith("expected ")


async def test_a_slow_pattern_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "PATTERN_S", 0.05)
    reason = await failed("regex", "a" * 5000, pattern=SLOW)
    assert "took over 0.05 s" in reason
    reason = await failed("json_schema", '"' + "a" * 5000 + '"', schema={"pattern": SLOW})
    assert "took over 0.05 s" in reason
    for answer, schema in (
        ('{"%s": 1}', {"patternProperties": {SLOW: {}}}),
        ('{"%s": 1}', {"additionalProperties": False, "patternProperties": {SLOW: {}}}),
        ('{"%s": 1}', {"propertyNames": {"pattern": SLOW}}),
    ):
        reason = await failed("json_schema", answer % ("a" * 5000), schema=schema)
        assert "took over 0.05 s" in reason


# JSON schemas.


@pytest.mark.parametrize(
    "answer",
    [
        '{"name": "Ada"}',
        ' {"name": "Ada", "age": 36, "x-a": 1}\n',
        '```json\n{"name": "Ada"}\n```',
        ' ```JSON {"name": "Ada"}``` ',
    ],
)
async def test_valid_json(answer: str) -> None:
    assert (await judged("json_schema", answer, schema=SCHEMA)).score == 1


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ("", "Expecting value"),
        ("Ada", "Expecting value"),
        ('Here it is: {"name": "Ada"}', "Expecting value"),
        ('```\n{"name": "Ada"}\n```', "Expecting value"),
        ('```json\n{"name": "Ada"}\n``` ```json\n{}\n```', "Extra data"),
        ("```json```", "Expecting value"),
        ("{'name': 'Ada'}", "Expecting property name"),
        ('{"name": "Ada", "name": "Bob"}', "two fields of the same name"),
        ('{"name": "Ada", "age": NaN}', "NaN is no JSON number"),
        ('{"name": "Ada", "age": -Infinity}', "-Infinity is no JSON number"),
        ('{"name": "Ada", "age": 1e999}', "Out of range"),
        ('{"name": "Ada", "age": ' + "9" * 5000 + "}", "Exceeds the limit"),
        ("[" * 100_000, "nested too deeply"),
        ("{}", "at '$': 'name' is a required property"),
        ('{"name": 5}', "at '$.name': 5 is not of type 'string'"),
        ('{"name": "ada"}', "at '$.name': 'ada' does not match '^[A-Z]'"),
        ('{"name": "Ada", "age": -1}', "at '$.age': -1 is less than the minimum of 0"),
        ('{"name": "Ada", "x-a": "b"}', "'b' is not of type 'integer'"),
        ('{"name": "Ada", "\\ud800\\u0000": 1}', "is not expected"),
    ],
)
async def test_json_that_is_not_valid(answer: str, says: str) -> None:
    found = await judged("json_schema", answer, schema=SCHEMA)
    assert found.score == 0
    assert says in found.detail
    assert "\n" not in found.detail
    assert len(found.detail) < 300


@pytest.mark.parametrize(
    ("schema", "valid", "invalid"),
    [
        ({"additionalProperties": {"type": "integer"}}, '{"a": 1}', '{"a": "b"}'),
        ({"additionalProperties": True}, '{"a": 1}', None),
        ({"pattern": "a", "patternProperties": {"a": False}}, "5", '{"a": 1}'),
        ({"$schema": "http://json-schema.org/draft-07/schema#", "type": "array"}, "[]", "{}"),
        ({"$ref": "https://json-schema.org/draft/2020-12/schema"}, "{}", '{"type": 5}'),
        (
            {"properties": {"next": {"$ref": "#"}}, "type": "object"},
            '{"next": {"next": {}}}',
            '{"next": {"next": 5}}',
        ),
        ({"properties": {"$ref": {"type": "integer"}}}, '{"$ref": 1}', '{"$ref": "#/no"}'),
    ],
)
async def test_schemas(schema: dict[str, Any], valid: str, invalid: str | None) -> None:
    assert (await judged("json_schema", valid, schema=schema)).score == 1
    if invalid is not None:
        assert (await judged("json_schema", invalid, schema=schema)).score == 0


async def test_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*args: object, **kwargs: object) -> None:
        raise AssertionError("the network was asked")

    # References may be relative to an $id: these are met only with an answer.
    schema = {"$id": "https://example.com/a.json", "items": {"$ref": "b.json"}}
    late = verifier("json_schema", schema=schema)
    monkeypatch.setattr(socket, "getaddrinfo", connect)
    monkeypatch.setattr(socket.socket, "connect", connect)
    (result,) = await late.verify([claim("[1]")])
    assert isinstance(result, JudgeError)
    assert "refers to what it does not hold: Unresolvable: b.json" in str(result)


async def test_what_a_schema_cannot_judge_is_a_failure() -> None:
    schema = {"$id": "https://example.com/a.json", "$ref": "#"}
    assert "refers to itself without end" in await failed("json_schema", "1", schema=schema)
    huge = "1" + "0" * 400
    assert "cannot be applied" in await failed("json_schema", huge, schema={"multipleOf": 0.1})


# What the page says.


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S)


def examples() -> list[list[Any]]:
    """All settings that the page gives, as the command line reads them."""
    settings = re.findall(r"--set ('verification[^']*')", PAGE.read_text("utf-8"))
    return [yaml.safe_load(shlex.split(text)[0].partition("=")[2]) for text in settings]


@pytest.fixture
def brevity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's example, installed."""
    (source,) = blocks("python")
    (metadata,) = blocks("toml")
    (tmp_path / "brevity.py").write_text(source)
    info = tmp_path / "brevity-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: brevity\nVersion: 1\n")
    lines = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in names.items())
        for group, names in tomllib.loads(metadata)["project"]["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "brevity", raising=False)


@pytest.mark.usefixtures("brevity")
async def test_the_example_of_the_page_works() -> None:
    (verifiers,) = [example for example in examples() if "brevity" in str(example)]
    settings = load(verification={"verifiers": verifiers[:1]})  # without grounded's judge
    panel = build_panel(settings, FakeGenerator(), FakeEmbedder())
    words = PAGE.read_text("utf-8").split()[4:64]
    (result,) = await panel.verify([claim(" ".join(words))])
    assert isinstance(result, Verification), result
    (short,) = result.assessments
    assert (short.verifier, short.score, short.weight) == ("brevity", 0.5, 0.5)
    assert short.detail == "60 words, 30 are enough"
    for wrong in ({"words": 0}, {"words": "many"}):
        with pytest.raises(ConfigError, match="option words must be"):
            build_panel(
                load(verification={"verifiers": [{"name": "brevity", "options": wrong}]}),
                FakeGenerator(),
                FakeEmbedder(),
            )


@pytest.mark.usefixtures("brevity")
async def test_the_settings_of_the_page_are_valid() -> None:
    found = examples()
    assert len(found) == 4
    for example in found:
        build_panel(load(verification={"verifiers": example}), FakeGenerator(), FakeEmbedder())


def test_the_rules_of_the_page_hold() -> None:
    """Each number that the page gives as an example is read as one quantity."""
    from rlvr_ray.core.numbers.linking import quantities
    from rlvr_ray.core.numbers.quantity import plain

    page = " ".join(PAGE.read_text("utf-8").split())
    (line,) = re.findall(r"Numbers that are read: (.*?), and more", page)
    written = re.findall("`([^`]+)`", line)
    assert len(written) >= 10
    for text in written:
        assert len(quantities(plain(text))) == 1, text
    (line,) = re.findall(r"A marked number is preferred: (.*?)\. Otherwise", page)
    for text in re.findall("`([^`]+)`", line):
        match = numeric.match("", f"7 of 8 are 9. {text}", ["42"], numeric.Tolerance())
        assert match.score == 1, text
