"""Judging pairs by hand, over HTTP: over a real ledger."""

import json
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from rlvr_ray.core.records import Kind
from rlvr_ray.dataset.audit import audit
from rlvr_ray.dataset.files import Dataset
from rlvr_ray.dataset.ledger import Browser, Reader
from rlvr_ray.dataset.reviews import Verdict
from tests.archives import Served, ids
from tests.builders import DECIDED, batch
from tests.folders import decided, expected

pytestmark = pytest.mark.integration


PAIRS = [decided(number, (0.9, 0.7, 0.5)) for number in range(5)]
LOW = decided(10, (0.5, 0.3, 0.1))
SINGLE = decided(11, (0.8,), kind=Kind.SINGLE)
OPEN = batch(question="Open?")
#: Chosen and rejected of every pair above.
CHOSEN, REJECTED = 0, 2


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    one = Served(tmp_path)
    one.decide(*PAIRS, LOW, SINGLE)
    one.record(OPEN)
    yield one
    await one.close()


def id_of(number: int) -> UUID:
    return PAIRS[number].batch.batch_id


# The next one.


async def test_what_a_reviewer_sees_is_blind(served: Served) -> None:
    shown = await served.get("/reviews/next")
    assert set(shown) == {"batch_id", "question", "contexts", "a", "b", "left"}
    (state,) = [one for one in PAIRS if str(one.batch.batch_id) == shown["batch_id"]]
    assert shown["question"] == state.batch.question
    assert [c["content"] for c in shown["contexts"]] == [c.content for c in state.batch.contexts]
    assert {shown["a"]["candidate"], shown["b"]["candidate"]} == {CHOSEN, REJECTED}
    for side in ("a", "b"):
        assert set(shown[side]) == {"candidate", "answer"}
        index = shown[side]["candidate"]
        assert shown[side]["answer"] == state.batch.candidates[index].answer
    assert shown["left"] == len(PAIRS)


async def test_pairs_and_their_sides_come_at_random(served: Served) -> None:
    seen = [await served.get("/reviews/next") for _ in range(100)]
    # That one of them is missing by chance: below 5 * 0.8^100 and 2 * 0.5^100.
    assert {one["batch_id"] for one in seen} == set(ids(PAIRS))
    assert {one["a"]["candidate"] for one in seen} == {CHOSEN, REJECTED}


async def test_reviewed_and_seen_ones_do_not_come_again(served: Served) -> None:
    await served.say(id_of(0), CHOSEN, REJECTED, "tie")
    seen: list[str] = []
    while True:
        reply = await served.http.get("/reviews/next", params={"seen": seen})
        if reply.status_code == 204:
            assert reply.content == b""
            break
        assert reply.json()["left"] == 4 - len(seen)
        seen.append(reply.json()["batch_id"])
    assert sorted(seen) == sorted(ids(PAIRS[1:]))


async def test_filters_say_what_is_to_be_reviewed(served: Served) -> None:
    assert (await served.get("/reviews/next", text="of 3"))["batch_id"] == str(id_of(3))
    for query in ({"outcome": "no_pair"}, {"min_score": 0.95}, {"review": "agree"}):
        reply = await served.http.get("/reviews/next", params=query)
        assert reply.status_code == 204
    assert (await served.get("/reviews/next", outcome=["open", "pair"]))["left"] == len(PAIRS)


# Saying.


@pytest.mark.parametrize(
    ("a", "b", "said", "meant"),
    [
        (CHOSEN, REJECTED, "a", "agree"),
        (CHOSEN, REJECTED, "b", "disagree"),
        (REJECTED, CHOSEN, "a", "disagree"),
        (REJECTED, CHOSEN, "b", "agree"),
        (REJECTED, CHOSEN, "tie", "tie"),
        (CHOSEN, REJECTED, "discard", "discard"),
    ],
)
async def test_what_was_said_is_kept(served: Served, a: int, b: int, said: str, meant: str) -> None:
    kept = await served.say(id_of(1), a, b, said, note="B is cut off 🦆", reviewer="me")
    assert kept == {
        "seq": 1,
        "review_id": kept["review_id"],
        "batch_id": str(id_of(1)),
        "a": a,
        "b": b,
        "verdict": said,
        "review": meant,
        "note": "B is cut off 🦆",
        "reviewer": "me",
        "reviewed_at": kept["reviewed_at"],
    }
    assert await served.get("/reviews", batch_id=id_of(1)) == {"reviews": [kept]}
    (line,) = (await served.get("/batches", text="Question 1?"))["batches"]
    assert line["review"] == meant
    for name in ("agree", "disagree", "tie", "discard"):
        assert await served.found(review=name) == (ids(PAIRS[1:2]) if name == meant else [])
    assert str(id_of(1)) not in await served.found(review="none")


async def test_a_later_word_counts_and_the_earlier_one_stays(served: Served) -> None:
    first = await served.say(id_of(0), CHOSEN, REJECTED, "a")
    second = await served.say(id_of(0), CHOSEN, REJECTED, "b", note="on second thought")
    assert (first["seq"], second["seq"]) == (1, 2)
    assert (await served.get("/reviews", batch_id=id_of(0)))["reviews"] == [first, second]
    assert await served.found(review="disagree") == ids(PAIRS[:1])
    assert await served.found(review="agree") == []
    summary = await served.get("/reviews/summary")
    assert (summary["reviewed"], summary["disagree"], summary["left"]) == (1, 1, 4)


async def test_the_same_key_says_it_once(served: Served) -> None:
    body = {"batch_id": str(id_of(0)), "a": CHOSEN, "b": REJECTED, "verdict": "a"}
    kept = []
    for said in ("a", "a", "b"):
        reply = await served.http.post(
            "/reviews", json=body | {"verdict": said}, headers={"Idempotency-Key": "mine"}
        )
        kept.append(reply.json())
        assert reply.status_code == (201 if said == "a" else 422)
    assert kept[0] == kept[1]
    assert kept[2]["error"] == "KeyReused", "it is not silently dropped"
    assert len((await served.get("/reviews", batch_id=id_of(0)))["reviews"]) == 1


@pytest.mark.parametrize(
    ("changes", "status", "says"),
    [
        ({"a": 1}, 422, "0 and 2, not 1 and 2"),
        ({"a": REJECTED, "b": REJECTED}, 422, "0 and 2"),
        ({"a": 99}, 422, "0 and 2"),
        ({"batch_id": str(LOW.batch.batch_id)}, 422, "made no pair"),
        ({"batch_id": str(SINGLE.batch.batch_id)}, 422, "made no pair"),
        ({"batch_id": str(OPEN.batch_id)}, 422, "still being verified"),
        ({"batch_id": str(UUID(int=7))}, 404, "there is no batch"),
        ({"a": -1}, 422, "a:"),
        ({"verdict": "A"}, 422, "verdict"),
        ({"verdict": "agree"}, 422, "verdict"),
        ({"note": "x" * 2001}, 422, "note"),
        ({"reviewer": "x" * 101}, 422, "reviewer"),
        ({"note": "a\0b"}, 422, "NUL"),
        ({"score": 1}, 422, "score"),
    ],
)
async def test_what_cannot_be_said_is_refused(
    served: Served, changes: dict[str, Any], status: int, says: str
) -> None:
    body = {"batch_id": str(id_of(0)), "a": CHOSEN, "b": REJECTED, "verdict": "a"} | changes
    reply = await served.http.post("/reviews", json=body)
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"] == "application/problem+json"
    assert says in reply.json()["detail"]
    assert (await served.get("/reviews/summary"))["reviewed"] == 0


async def test_reviews_of_an_unknown_batch(served: Served) -> None:
    reply = await served.http.get("/reviews", params={"batch_id": str(UUID(int=7))})
    assert reply.status_code == 404
    assert await served.get("/reviews", batch_id=id_of(0)) == {"reviews": []}


# Figures.


async def test_agreement(served: Served) -> None:
    empty = await served.get("/reviews/summary")
    assert empty == {
        "reviewed": 0,
        **dict.fromkeys(("agree", "disagree", "tie", "discard"), 0),
        "agreement": None,
        "low": None,
        "high": None,
        "left": 5,
    }
    for number, said in enumerate(("a", "a", "b", "tie")):
        await served.say(id_of(number), CHOSEN, REJECTED, said)
    found = await served.get("/reviews/summary")
    assert found["agreement"] == 0.666667
    # Wilson's interval for 2 of 3, as R's prop.test(2, 3, correct = FALSE) has it.
    assert (round(found["low"], 4), round(found["high"], 4)) == (0.2077, 0.9385)
    assert (found["reviewed"], found["left"]) == (4, 1)
    one = await served.get("/reviews/summary", text="of 2")
    assert (one["reviewed"], one["disagree"], one["agreement"], one["left"]) == (1, 1, 0.0, 0)


# What it changes.


async def test_pairs_with_the_human_word(served: Served) -> None:
    for number, said in enumerate(("a", "b", "tie", "discard")):
        await served.say(id_of(number), CHOSEN, REJECTED, said)
    judged = expected(PAIRS)["dpo_data"]
    reply = await served.http.get("/pairs", params={"human": "true"})
    found = [json.loads(line) for line in reply.content.splitlines()]
    assert [row["metadata"]["batch_id"] for row in found] == [
        str(id_of(number)) for number in (0, 1, 4)
    ]
    assert (found[0], found[2]) == (judged[0], judged[4])
    swapped, was = found[1], judged[1]
    assert list(swapped) == list(was), "the same keys in the same order"
    assert list(swapped["metadata"]) == list(was["metadata"])
    assert swapped["score_diff"] is None
    for name in ("", "_score"):
        assert swapped[f"chosen{name}"] == was[f"rejected{name}"]
        assert swapped[f"rejected{name}"] == was[f"chosen{name}"]
    for name in ("temp", "provenance"):
        assert swapped["metadata"][f"chosen_{name}"] == was["metadata"][f"rejected_{name}"]
        assert swapped["metadata"][f"rejected_{name}"] == was["metadata"][f"chosen_{name}"]
    as_judged = await served.http.get("/pairs")
    assert [json.loads(line) for line in as_judged.content.splitlines()] == judged


# On disk.


async def test_reviews_outlive_a_restart(tmp_path: Path) -> None:
    one = Served(tmp_path)
    one.decide(*PAIRS)
    kept = await one.say(id_of(0), CHOSEN, REJECTED, "b", note="note", reviewer="me")
    await one.close()
    again = Served(tmp_path)
    assert (await again.get("/reviews", batch_id=id_of(0)))["reviews"] == [kept]
    await again.close()


async def test_reviews_outlive_their_batch(served: Served) -> None:
    """Its pair is in the files, and an export takes the human's word on it."""
    late = decided(20, at=DECIDED.replace(month=4))
    served.decide(late)
    kept = await served.say(id_of(0), CHOSEN, REJECTED, "b")
    served.forget("202604")
    assert (await served.get("/reviews", batch_id=id_of(0)))["reviews"] == [kept]
    reply = await served.http.post(
        "/reviews",
        json={"batch_id": str(id_of(1)), "a": CHOSEN, "b": REJECTED, "verdict": "a"},
    )
    assert reply.status_code == 404 and "past retention" in reply.json()["detail"]
    assert (await served.get("/reviews/summary"))["reviewed"] == 0
    browser = served.ledger.browser()
    assert browser.judged() == {str(id_of(0)): Verdict.DISAGREE}
    browser.close()


def problems(folder: Path) -> list[str]:
    reader = Reader(folder)
    found = list(audit(reader, Dataset(folder)))
    reader.close()
    return found


async def test_the_store_is_sound_with_reviews_and_says_what_is_not(
    served: Served, tmp_path: Path
) -> None:
    await served.say(id_of(0), CHOSEN, REJECTED, "b")
    assert problems(tmp_path) == []
    db = served.ledger._db
    db.execute(
        "INSERT INTO review (review_id, batch, verdict, record) "
        "SELECT 'x', seq, 'agree', '{}' FROM batch WHERE batch_id = ?",
        (str(LOW.batch.batch_id),),
    )
    unread, problem = problems(tmp_path)
    assert unread.startswith("review number 2: a record cannot be read, and is set aside: ")
    assert str(LOW.batch.batch_id) in problem and "made no pair (chosen_too_low)" in problem
    db.execute("DELETE FROM review WHERE review_id = 'x'")
    db.execute("UPDATE entry SET chosen = 950000 WHERE batch = 1")
    db.execute("DELETE FROM entry WHERE batch = 2")
    found = problems(tmp_path)
    assert len(found) == 2
    assert Counter("searches find something else" in line for line in found) == {True: 2}


async def test_a_commit_that_fails_leaves_nothing_of_its_models(served: Served) -> None:
    """What a transaction that was undone had noted of models is not used by the next."""
    one = decided(30)
    renamed = tuple(replace(c, model="another") for c in one.batch.candidates)
    state = replace(one, batch=replace(one.batch, candidates=renamed))
    outcome = state.outcome
    assert outcome is not None

    def fails(_: Any) -> None:
        raise RuntimeError("on purpose")

    write = [
        lambda it: it.record([state.batch]),
        lambda it: it.decide(state.batch, state.results, outcome),
    ]
    with pytest.raises(RuntimeError, match="on purpose"):
        served.ledger.commit([*write, fails])
    served.ledger.commit(write)
    browser = Browser(served.ledger._folder)
    assert browser.models() == ["another", "test-model"]
    browser.close()
    assert await served.found(model="another") == [str(state.batch.batch_id)]
