"""Enumerations exist once in Python: page, filters and client have the same names."""

import re
from pathlib import Path
from typing import get_args

import httpx
import pytest

from rlvr_ray.client.calls import Figure
from rlvr_ray.client.models.reviews import Verdict
from rlvr_ray.client.watch import EVENT_TYPES
from rlvr_ray.core.records import Defect, Reason
from rlvr_ray.dataset import filters, reviews
from rlvr_ray.pipeline import live
from rlvr_ray.serve.http import page
from tests.fake_services import FakeServices

UI = Path(page.FOLDER)


def keys(file: str, name: str) -> set[str]:
    """Of an object in a file of the page, whose values are texts for people."""
    found = re.search(rf"^const {name} = {{(.*?)}};?$", (UI / file).read_text(), re.M | re.S)
    assert found, f"{file} has no {name}"
    return set(re.findall(r"(\w+): \"", found[1]))


def test_the_client_has_the_servers_names() -> None:
    assert get_args(Verdict) == get_args(reviews.ReviewChoice)
    assert get_args(Figure) == get_args(filters.Measure)
    assert {*EVENT_TYPES, "failed", "end"} == set(get_args(live.Kind))


@pytest.mark.parametrize(
    ("file", "name", "known"),
    [
        ("format.js", "OUTCOMES", set(Reason)),
        ("format.js", "DEFECTS", set(Defect)),
        ("filters.js", "REVIEWED", set(filters.REVIEWS)),
        ("review.js", "WORDS", set(get_args(reviews.ReviewChoice))),
    ],
)
def test_what_the_page_has_words_for_exists(file: str, name: str, known: set[str]) -> None:
    assert keys(file, name) <= known
    assert len(keys(file, name)) > 2


def test_the_docs_list_them_all() -> None:
    docs = Path(__file__).parents[2] / "docs"
    events = re.findall(r"^\| `(\w+)` \|", (docs / "live.md").read_text(), re.M)
    assert sorted(events) == sorted(get_args(live.Kind))
    (listed,) = re.findall(r"^\| `review` \| (.*) \|$", (docs / "client.md").read_text(), re.M)
    assert re.findall(r"`(\w+)`", listed) == list(filters.REVIEWS)


def test_no_file_of_the_page_retypes_them() -> None:
    for path in UI.glob("*.js"):
        text = path.read_text()
        for suffix in page.ENUMS["SUFFIXES"]:
            assert f'"{suffix}"' not in text, path
        assert '"margin_too_small"' not in text, path


def test_the_page_imports_only_what_there_is() -> None:
    for path in UI.glob("*.js"):
        for names in re.findall(r'^import {(.*)} from "./enums.js"', path.read_text(), re.M):
            assert {name.strip() for name in names.split(",")} <= set(page.ENUMS), path


async def test_the_server_sends_them_to_the_page(tmp_path: Path) -> None:
    transport = httpx.ASGITransport(FakeServices([], tmp_path).app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
        reply = await http.get("/ui/enums.js")
        schema = (await http.get("/openapi.json")).json()
    assert reply.headers["content-type"].startswith("text/javascript")
    assert reply.headers["content-security-policy"] == page.HEADERS["Content-Security-Policy"]
    assert 'export const SUFFIXES = [".md"' in reply.text
    parameters = schema["paths"]["/batches"]["get"]["parameters"]
    (outcome,) = (each for each in parameters if each["name"] == "outcome")
    (listed,) = (each for each in outcome["schema"]["anyOf"] if each["type"] == "array")
    assert listed["items"]["enum"] == list(filters.OUTCOMES)
