"""Both clients over the real interface, and over a server that drops connections."""

import contextlib
import inspect
import queue
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

import rlvr_ray
from rlvr_ray.client import (
    AnswerChunk,
    AsyncClient,
    Batch,
    Client,
    ContextsFound,
    Document,
    Restarted,
    ReviewTask,
    StateChanged,
    Stats,
    Submitted,
    asynchronous,
    blocking,
    problems,
    watch,
)
from rlvr_ray.client.models.dataset import Histogram
from rlvr_ray.client.watch import Board
from rlvr_ray.core import ids
from rlvr_ray.core.errors import InputError, NotFound, RlvrError, Unavailable
from rlvr_ray.serve.http import replies
from tests.browser import seed, texts
from tests.browser.stage import Stage, open_stage
from tests.clients import KINDS
from tests.dropping_server import DROP, DroppingServer, event, problem, reply, stream
from tests.folders import decided
from tests.pdfs import pdf

pytestmark = pytest.mark.integration


QUESTION = texts.QUESTION
STATE = replies.batch(decided(1))
OPEN = {**STATE, "outcome": None, "state": "open"}
HERE = {
    "batch_id": STATE["batch_id"],
    "correlation_id": "mine",
    "question": "Question 1?",
    "events": f"/batches/{STATE['batch_id']}/events",
}
CONTEXTS = event("contexts", {"contexts": STATE["contexts"]}, "e-1")
SEEDED = [recorded for recorded, *_ in seed.batches(60)]
LAST = event("state", STATE, "e-9") + event("end", None, "e-10")


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Any:
    return KINDS[request.param]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts follow each other without a pause."""
    monkeypatch.setattr(problems, "PAUSES", (0.0,) * len(problems.PAUSES))
    monkeypatch.setattr(watch, "_PAUSE_S", 0.0)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with open_stage(piece_s=0.001, result_s=0.001) as running:
        yield running


@contextlib.contextmanager
def scripted(kind: Any, *replies: bytes, **options: Any) -> Iterator[tuple[Any, DroppingServer]]:
    with DroppingServer(replies) as server, kind(server.url, **options) as client:
        yield client, server


@pytest.fixture(scope="module")
def full() -> Iterator[Stage]:
    with open_stage(seed.batches(len(SEEDED))) as running:
        yield running


def names(events: list[Any]) -> list[str]:
    return [each.name for each in events]


class TestAsking:
    """Over a real ledger and a real verifier."""

    def test_from_a_question_to_a_pair(self, kind: Any, stage: Stage) -> None:
        with kind(stage.url) as client:
            asked = client.ask(QUESTION, num_candidates=3, top_k=2, correlation_id="mine")
            assert (asked.question, asked.correlation_id) == (QUESTION, "mine")
            assert [c.answer for c in asked.candidates] == list(texts.ANSWERS[QUESTION])
            assert asked.outcome is None
            assert len(asked.contexts) == 2
            assert asked.contexts[0].source == "beekeeping.md"
            decided = client.wait(asked.batch_id)
            assert decided == client.batch(asked.batch_id)
        assert decided.outcome.pair, decided.outcome
        assert decided.chosen == decided.candidates[0]
        assert decided.rejected is not None
        assert decided.outcome.score_diff == pytest.approx(
            decided.chosen.score - decided.rejected.score
        )
        said = decided.chosen.verification.assessments[0].statements[0]
        span = said.passage
        cited = decided.contexts[span.context].content[span.start : span.end]
        assert "less than eighteen percent water" in cited

    def test_a_batch_without_a_pair(self, kind: Any, stage: Stage) -> None:
        with kind(stage.url) as client:
            batch = client.wait(client.ask(texts.ALIKE).batch_id)
        assert (batch.outcome.pair, batch.outcome.reason) == (False, "identical_answers")
        assert batch.chosen is batch.rejected is None

    def test_a_key_names_one_batch(self, kind: Any, stage: Stage) -> None:
        key = str(uuid4())
        with kind(stage.url) as client:
            first, again, other = (
                client.ask(QUESTION, key=k, top_k=1).batch_id for k in (key, key, None)
            )
            assert first == again == str(ids.batch_for_key(key)) != other
            with pytest.raises(InputError, match="Idempotency-Key"):
                client.ask("Another?", key=key)

    def test_references_and_temperatures_are_sent(self, kind: Any, stage: Stage) -> None:
        with kind(stage.url) as client:
            asked = client.ask(QUESTION, temperatures=(0.1, 0.2), reference=("a", "b"), seed=5)
            assert [c.temperature for c in asked.candidates] == [0.1, 0.2, 0.1]
            assert client.batch(asked.batch_id).references == ("a", "b")
            one = client.ask(QUESTION, reference="a")
            assert client.batch(one.batch_id).references == ("a",)

    def test_what_is_refused_says_why(self, kind: Any, stage: Stage) -> None:
        with kind(stage.url) as client:
            with pytest.raises(InputError, match="num_candidates"):
                client.ask("x", num_candidates=1)
            with pytest.raises(InputError, match="question"):
                list(client.ask_live(" "))
            with pytest.raises(InputError, match="batch_id"):
                client.batch("x?y#z")
            for call in (client.batch, client.wait, lambda it: list(client.events(it))):
                with pytest.raises(NotFound, match="there is no batch"):
                    call(uuid4())

    def test_waiting_has_an_end(self, kind: Any, stage: Stage) -> None:
        stage.call(stage.panel.hang)
        try:
            with kind(stage.url) as client:
                batch_id = client.ask(QUESTION).batch_id
                with pytest.raises(Unavailable, match="still being verified"):
                    client.wait(batch_id, timeout_s=0.01)
        finally:
            stage.call(stage.panel.release)


class TestWatching:
    def test_answers_grow_then_scores_come_then_the_outcome(self, kind: Any, stage: Stage) -> None:
        stage.generator.piece_s = 0.02
        with kind(stage.url) as client:
            seen = list(client.ask_live(QUESTION, num_candidates=3, top_k=1))
            batch_id = seen[0].batch_id
            assert isinstance(seen[0], Submitted) and seen[0].question == QUESTION
            assert isinstance(seen[1], ContextsFound) and len(seen[1].contexts) == 1
            assert sum(isinstance(each, AnswerChunk) for each in seen) > 3
            known = [e.batch for e in seen if isinstance(e, StateChanged)]
            verified = [sum(c.verification is not None for c in b.candidates) for b in known]
            assert verified == sorted(verified)
            assert (verified[0] < 3) and (verified[-1] == 3)
            assert known[-1] == client.batch(batch_id)
            board = Board()
            for each in seen[: names(seen).index("state")]:
                board.add(each)
            written = [c.answer for c in known[0].candidates]
            assert all(written[i].startswith(text.strip()) for i, text in board.answers.items())
            stage.generator.piece_s = 0.001
            again = list(client.events(batch_id))
            assert names(again) == ["state"]
            assert again[0].batch == known[-1]

    def test_submitted_then_watched(self, kind: Any, stage: Stage) -> None:
        with kind(stage.url) as client:
            submitted = client.submit(QUESTION)
            assert submitted.key
            last = [*client.events(submitted.batch_id)][-1]
            assert last.batch.outcome.pair
            assert client.submit(QUESTION, key=submitted.key).batch_id == submitted.batch_id

    def test_an_ask_that_fails_raises(self, kind: Any, stage: Stage) -> None:
        stage.generator.failures.append(Unavailable("the model has died"))
        seen = []
        with kind(stage.url) as client, pytest.raises(Unavailable, match="the model has died"):
            for each in client.ask_live(QUESTION):
                seen.append(each)
        assert "state" not in names(seen)

    def test_who_leaves_early_holds_nothing_up(self, kind: Any, stage: Stage) -> None:
        with kind(stage.url) as client:
            events = client.ask_live(QUESTION)
            submitted = next(events)
            events.close()
            assert client.wait(submitted.batch_id).outcome.pair

    def test_a_server_that_restarts_is_waited_for(self, kind: Any, tmp_path: Path) -> None:
        """Before the answers are recorded: the question is lost, and asked again."""
        with Stage(tmp_path, piece_s=0.001, result_s=0.001) as stage:
            stage.ingest(texts.DOCUMENTS)
            stage.call(stage.generator.hang)
            seen: queue.Queue[Any] = queue.Queue()

            def follow() -> None:
                with kind(stage.url) as client:
                    for each in client.ask_live(QUESTION, top_k=1):
                        seen.put(each)
                seen.put(None)

            thread = threading.Thread(target=follow)
            thread.start()
            told = [seen.get(timeout=30), seen.get(timeout=30)]
            assert names(told) == ["submitted", "contexts"]
            stage.stop()
            stage.start()
            while (each := seen.get(timeout=60)) is not None:
                told.append(each)
            thread.join()
        assert names(told).count("restart") == 1
        assert told[-1].batch.outcome.pair
        assert told[-1].batch.batch_id == told[0].batch_id


class TestDocuments:
    def test_stored_listed_searched_and_forgotten(
        self, kind: Any, stage: Stage, tmp_path: Path
    ) -> None:
        (tmp_path / "notes").mkdir()
        path = tmp_path / "notes" / "owls.md"
        path.write_text("Owls hunt at night. They hear a mouse under the snow.")
        with kind(stage.url) as client:
            kites = Document(source="kites.txt", text="Kites fly in the wind.")
            stored = client.ingest([kites, tmp_path / "notes"])
            assert [d.changed for d in stored] == [True, True]
            assert [d.changed for d in client.ingest([str(path)])] == [False]
            owls = next(d for d in client.documents() if d.source == str(path))
            assert owls.document_id == stored[1].document_id
            best, *_ = client.search("What do owls hear?", top_k=2)
            assert best.source == str(path)
            for document in stored:
                client.delete_document(document.document_id)
            assert {d.source for d in client.documents()} == set(texts.DOCUMENTS)
            with pytest.raises(NotFound):
                client.delete_document(owls.document_id)
            with pytest.raises(InputError, match="does not exist"):
                client.ingest(["nowhere"])

    def test_files_go_as_they_are(self, kind: Any, stage: Stage, tmp_path: Path) -> None:
        path = tmp_path / "owls.pdf"
        path.write_bytes(pdf("Owls hunt at night."))
        bad = tmp_path / "bad.pdf"
        bad.write_bytes(path.read_bytes()[:300])
        with kind(stage.url) as client:
            with pytest.raises(InputError, match=r"bad\.pdf is damaged"):
                client.ingest([path, bad])
            assert {d.source for d in client.documents()} == set(texts.DOCUMENTS)
            (stored,) = client.ingest([path])
            best, *_ = client.search("When do owls hunt?", top_k=1)
            assert (best.source, best.content) == (str(path), "Owls hunt at night.")
            client.delete_document(stored.document_id)
            with pytest.raises(InputError, match="must end in"):
                client.ingest([Document(source="owls.pdf", text="Owls hunt at night.")])


class TestDataset:
    """Over batches that were decided before: some pairs, some not."""

    def test_all_pages_of_a_list(
        self, kind: Any, full: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for module in (blocking, asynchronous):
            monkeypatch.setattr(module, "PAGE", 7)
        with kind(full.url) as client:
            lines = list(client.batches())
            assert [line.batch_id for line in lines] == [str(b.batch_id) for b in reversed(SEEDED)]
            assert {type(line.decided_at) for line in lines} == {datetime}
            assert list(client.batches(limit=10)) == lines[:10]
            assert list(client.batches(limit=0)) == []
            some = client.batches()
            assert next(some) == lines[0]
            some.close()
            pairs = list(client.batches(outcome="pair"))
            others = list(client.batches(outcome=["no_pair", "open"]))
        assert [line for line in lines if line.outcome == "pair"] == pairs
        assert [line for line in lines if line.outcome != "pair"] == others
        assert pairs and others
        assert lines[0].raw["question"] == lines[0].question

    def test_filters_are_sent(self, kind: Any, full: Stage) -> None:
        with kind(full.url) as client:
            lines = list(client.batches())
            day = lines[20].decided_at
            assert day is not None
            since = list(client.batches(since=day))
            assert since == lines[:21] == list(client.batches(since=day.isoformat()))
            dates = list(client.batches(since=day.date(), until=day.date()))
            assert dates == [li for li in lines if li.decided_at.date() == day.date()]
            assert list(client.batches(text=lines[3].question.upper())) == [lines[3]]
            model = client.models()[0]
            assert list(client.batches(model=model)) == [li for li in lines if model in li.models]
            with pytest.raises(InputError, match="min_score"):
                list(client.batches(min_score=2.0))
            with pytest.raises(InputError, match="outcome"):
                client.pairs(outcome="pear")

    def test_tables_and_the_histogram_agree(self, kind: Any, full: Stage) -> None:
        with kind(full.url) as client:
            pairs = client.pairs()
            rows = pairs.to_pylist()
            lines = list(client.batches(outcome="pair"))
            answers = client.answers(outcome="pair")
            histogram = client.histogram(outcome="pair")
            narrow = client.pairs(min_margin=0.3)
            none = client.pairs(text="nobody ever said this")
        assert {row["metadata"]["batch_id"] for row in rows} == {li.batch_id for li in lines}
        by_id = {line.batch_id: line for line in lines}
        for row in rows:
            line = by_id[row["metadata"]["batch_id"]]
            assert (row["chosen"], row["score_diff"]) == (line.chosen, line.score_diff)
        assert answers.num_rows == sum(line.num_candidates for line in lines)
        assert histogram.total == len(rows)
        assert histogram.at_least(0.3) == narrow.num_rows > 0
        assert none.num_rows == 0 and none.schema.equals(pairs.schema)
        frame = pairs.to_pandas()
        assert frame["score_diff"].max() == max(line.score_diff for line in lines)

    def test_a_download_that_breaks_off_begins_anew(self, kind: Any, full: Stage) -> None:
        whole = httpx.get(f"{full.url}/pairs", params={"format": "parquet"}).content
        answer = reply(200, "x" * len(whole)).replace(b"x" * len(whole), whole)
        with scripted(kind, answer[:-100], answer) as (client, server):
            assert client.pairs().num_rows > 2
        assert len(server.requests) == 2

    def test_reviews(self, kind: Any, full: Stage) -> None:
        with kind(full.url) as client:
            first = client.next_review(text="year 1")
            assert "year 1" in first.question
            before = client.review_summary()
            second = client.next_review(seen=[first.batch_id])
            assert first.batch_id != second.batch_id
            pair = client.batch(first.batch_id)
            better = "a" if first.a.candidate == pair.rejected.candidate_index else "b"
            said = client.review(first, better, note="so it is", reviewer="Ada")
            assert (said.verdict, said.review) == (better, "disagree")
            client.review(first, "tie")
            client.review(first, better)
            kept = client.reviews(first.batch_id)
            assert [r.review for r in kept] == ["disagree", "tie", "disagree"]
            assert kept[0] == said
            after = client.review_summary()
            assert (after.disagree, after.left) == (before.disagree + 1, before.left - 1)
            (row,) = client.pairs(human=True, text=first.question).to_pylist()
            assert (row["chosen"], row["score_diff"]) == (pair.rejected.answer, None)
            wrong = replace(first, b=first.a)
            with pytest.raises(InputError, match="candidates are"):
                client.review(wrong, "a")
            assert client.next_review(text="nobody ever said this") is None

    def test_a_review_is_said_once_where_the_connection_drops(self, kind: Any) -> None:
        task = ReviewTask.from_json(
            {
                "batch_id": STATE["batch_id"],
                "question": "?",
                "contexts": [],
                "a": {"candidate": 1, "answer": "x"},
                "b": {"candidate": 0, "answer": "y"},
            }
        )
        with scripted(kind, DROP, reply(201, {"seq": 1})) as (client, server):
            client.review(task, "tie")
        first, second = server.requests
        assert first.headers["idempotency-key"] == second.headers["idempotency-key"]

    def test_traces(self, kind: Any, full: Stage) -> None:
        batch_id = str(SEEDED[5].batch_id)
        with kind(full.url) as client:
            trace = client.trace(batch_id)
            assert trace.trace_id == batch_id.replace("-", "")
            assert trace.steps[0].step == "asked"
            assert trace.steps[-1].step == "decided"
            assert all(a.at <= b.at for a, b in pairwise(trace.steps))
            found = client.traces(trace.trace_id)
            assert [each.batch_id for each in found.traces] == [batch_id]
            assert found.raw["traces"][0] == found.traces[0].raw
            assert client.traces("seed-0").left == len(SEEDED) - len(client.traces("seed-0").traces)
            with pytest.raises(NotFound):
                client.trace(uuid4())


class TestSystem:
    def test_stats(self, kind: Any, stage: Stage) -> None:
        with kind(stage.url) as client:
            client.wait(client.ask(QUESTION).batch_id)
            stats = client.stats()
            assert client.is_up()
        assert stats.batches["pair"] >= 1
        assert stats.passages >= len(texts.DOCUMENTS)
        assert stats.recent[0].outcome == "pair"
        assert stats.recent[0].question == QUESTION
        assert stats.mirror is None
        assert stats.data_dir == str(stage.settings.data_dir)

    def test_a_key_is_sent(self, kind: Any, tmp_path: Path) -> None:
        with Stage(tmp_path, key="a secret of ours") as stage:
            with kind(stage.url, key="a secret of ours") as client:
                assert client.documents() == ()
            with kind(stage.url) as client:
                assert client.is_up(), "that needs no key"
                with pytest.raises(InputError, match="give the API key"):
                    client.stats()
                with pytest.raises(InputError, match="give the API key"):
                    list(client.events(uuid4()))


class TestDroppedConnections:
    def test_what_is_safe_is_repeated(self, kind: Any) -> None:
        with scripted(kind, DROP, DROP, reply(200, STATE)) as (client, server):
            assert client.batch(STATE["batch_id"]).batch_id == STATE["batch_id"]
        assert len(server.requests) == 3

    def test_but_not_for_ever(self, kind: Any) -> None:
        with (
            scripted(kind, *[DROP] * 9) as (client, server),
            pytest.raises(Unavailable, match="rlvr serve"),
        ):
            client.stats()
        assert len(server.requests) == 1 + len(problems.PAUSES)

    def test_a_question_is_repeated_under_its_key(self, kind: Any) -> None:
        with scripted(kind, DROP, reply(200, STATE)) as (client, server):
            client.ask("What?", seed=1)
        first, second = server.requests
        assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
        assert first.body == second.body

    def test_what_is_not_safe_is_not_repeated(self, kind: Any) -> None:
        with (
            scripted(kind, DROP, reply(204, "")) as (client, server),
            pytest.raises(Unavailable),
        ):
            client.delete_document("x")
        assert len(server.requests) == 1

    def test_where_nobody_ever_answered_it_is_said_at_once(
        self, kind: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(problems, "PAUSES", ())  # a second attempt would fail otherwise
        with DroppingServer([]) as server:
            pass
        with kind(server.url) as client:
            assert not client.is_up()
            for call in (client.stats, lambda: list(client.events("x", patience_s=99))):
                with pytest.raises(Unavailable, match=r"does not answer \(ConnectError\)"):
                    call()

    def test_a_busy_server_is_not_asked_again(self, kind: Any) -> None:
        with scripted(kind, problem(503, "too much to do"), reply(200, STATE)) as (client, server):
            with pytest.raises(Unavailable, match=r"too much to do \(HTTP 503\)"):
                client.ask("What?")
            assert len(server.requests) == 1

    @pytest.mark.parametrize("body", ["", "<html>", "[]", '{"batch_id": 5}', "null", '"text"'])
    def test_another_program_answers(self, kind: Any, body: str) -> None:
        with scripted(kind, reply(200, body), reply(200, body)) as (client, _):
            for call in (lambda: client.batch("x"), client.documents):
                with pytest.raises(RlvrError, match="cannot be read"):
                    call()

    def test_a_proxy_without_the_application_is_no_missing_batch(self, kind: Any) -> None:
        with (
            scripted(kind, reply(404, "no such path", "text/plain")) as (client, _),
            pytest.raises(Unavailable, match="not as rlvr_ray does"),
        ):
            client.batch("x")

    @pytest.mark.parametrize("url", ["", "localhost:8000", "ftp://x", "http://", "x"])
    def test_what_is_no_url(self, kind: Any, url: str) -> None:
        with pytest.raises(InputError, match="is no URL"):
            kind(url)


class TestDroppedStreams:
    def test_it_goes_on_after_the_last_whole_event(self, kind: Any) -> None:
        cut = event("piece", {"candidate": 0, "text": "lost "}, "e-3")[:-9]
        with scripted(
            kind,
            stream(CONTEXTS, event("piece", {"candidate": 0, "text": "Ray "}, "e-2"), cut),
            DROP,
            problem(503, "the aggregator is not there"),
            reply(404, "no route yet", "text/plain"),
            reply(500, "Internal Server Error", "text/plain"),
            stream(": only a heartbeat\n\n"),
            stream(event("piece", {"candidate": 0, "text": "lost "}, "e-3"), LAST),
        ) as (client, server):
            seen = list(client.events(STATE["batch_id"]))
        assert names(seen) == ["contexts", "piece", "piece", "state"]
        assert [e.text for e in seen if isinstance(e, AnswerChunk)] == ["Ray ", "lost "]
        assert [r.headers.get("last-event-id") for r in server.requests[1:]] == ["e-2"] * 6

    def test_only_new_events_of_a_newer_server_are_left_out(self, kind: Any) -> None:
        more = event("weather", {"sun": 1}, "e-2") + "data: unnamed\n\n"
        with scripted(kind, stream(CONTEXTS, more, LAST)) as (client, _):
            assert names(list(client.events("x"))) == ["contexts", "state"]

    def test_the_stream_is_not_read_beyond_its_end(self, kind: Any) -> None:
        with scripted(kind, stream(LAST, CONTEXTS)) as (client, _):
            assert names(list(client.events("x"))) == ["state"]

    def test_a_lost_question_is_asked_again_under_its_key(self, kind: Any) -> None:
        piece = event("piece", {"candidate": 0, "text": "Ray "}, "e-2")
        with scripted(
            kind,
            reply(202, HERE),
            stream(CONTEXTS, piece),
            problem(404, "there is no batch"),
            problem(503, "starting"),
            reply(202, HERE),
            stream(CONTEXTS, piece, LAST),
        ) as (client, server):
            seen = list(client.ask_live("What?", top_k=2))
        told = ["contexts", "piece"]
        assert names(seen) == ["submitted", *told, "restart", *told, "state"]
        asks = [r for r in server.requests if r.method == "POST"]
        assert len(asks) == 3, "the one in the middle met a server that was starting"
        assert {r.headers["prefer"] for r in asks} == {"respond-async"}
        assert len({(r.headers["idempotency-key"], r.body) for r in asks}) == 1
        assert seen[0].key == asks[0].headers["idempotency-key"]
        assert "last-event-id" not in server.requests[-1].headers
        assert isinstance(seen[3], Restarted)

    def test_a_question_that_is_lost_again_and_again_is_given_up(self, kind: Any) -> None:
        lost = (reply(202, HERE), stream(CONTEXTS), problem(404, "there is no batch"))
        with (
            scripted(kind, *lost * 9) as (client, server),
            pytest.raises(NotFound, match="there is no batch"),
        ):
            list(client.ask_live("What?"))
        assert sum(r.method == "POST" for r in server.requests) == 4

    def test_patience_has_an_end(self, kind: Any) -> None:
        with scripted(kind, stream(CONTEXTS), stream(), DROP) as (client, server):
            with pytest.raises(Unavailable, match="ended the stream"):
                list(client.events("x", patience_s=0.0))
            assert len(server.requests) == 1

    def test_what_went_wrong_last_is_said(self, kind: Any) -> None:
        with (
            scripted(kind, problem(503, "100 watchers are connected")) as (client, _),
            pytest.raises(Unavailable, match="100 watchers"),
        ):
            list(client.events("x", patience_s=0.0))

    def test_who_waits_until_a_time_waits_for_a_busy_server_too(
        self, kind: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for module in (blocking, asynchronous):
            monkeypatch.setattr(module, "PATIENCE_S", 0.0)
        busy = problem(503, "100 watchers are connected")
        with scripted(kind, busy, busy, stream(LAST)) as (client, _):
            assert client.wait("x").outcome.pair
        with (
            scripted(kind, busy) as (client, _),
            pytest.raises(Unavailable, match="100 watchers"),
        ):
            left = iter([5.0, 0.0])
            monkeypatch.setattr(watch.Watch, "_left_s", property(lambda _: next(left)))
            client.wait("x", timeout_s=5.0)

    @pytest.mark.parametrize("data", ["{", "[]", '{"batch_id": 5}', ""])
    def test_an_event_that_cannot_be_read_is_no_dropped_connection(
        self, kind: Any, data: str
    ) -> None:
        broken = f"id: 1\nevent: state\ndata: {data}\n\n"
        with (
            scripted(kind, stream(broken), stream(broken)) as (client, server),
            pytest.raises(RlvrError, match=r"holds no JSON|cannot be read"),
        ):
            list(client.events("x"))
        assert len(server.requests) == 1

    def test_an_id_of_any_text_is_sent_back(self, kind: Any) -> None:
        with scripted(kind, stream(event("weather", {}, "é²")), stream(LAST)) as (client, server):
            assert names(list(client.events("x"))) == ["state"]
        assert server.requests[1].headers["last-event-id"] == "é²"

    @pytest.mark.parametrize(
        "data",
        [
            "{}",
            "no JSON",
            "5",
            '{"status": "bad", "detail": 1}',
            '{"status": 1e999, "detail": 1}',
            '{"status": NaN, "detail": 1}',
            '{"status": "²", "detail": 1}',
            f'{{"status": {"9" * 5000}, "detail": 1}}',
            f'{{"status": "{"9" * 5000}", "detail": 1}}',
        ],
    )
    def test_a_failure_without_a_reason(self, kind: Any, data: str) -> None:
        with (
            scripted(kind, stream(f"event: failed\ndata: {data}\n\n")) as (client, _),
            pytest.raises(RlvrError, match="the ask failed"),
        ):
            list(client.events("x"))

    def test_a_failure_is_the_servers_own(self, kind: Any) -> None:
        said = {"status": 422, "detail": "ask for fewer passages"}
        with (
            scripted(kind, stream(CONTEXTS, event("failed", said))) as (client, _),
            pytest.raises(InputError, match="ask for fewer passages"),
        ):
            list(client.events("x"))


class TestResults:
    def test_every_kind_of_batch_can_be_read(self) -> None:
        from tests.folders import MIXED

        for state in MIXED:
            data = replies.batch(state)
            batch = Batch.from_json(data)
            assert batch.raw == data
            assert batch.created_at == state.batch.created_at
            assert [c.answer for c in batch.candidates] == [
                c.answer for c in state.batch.candidates
            ]
            assert state.outcome is not None and batch.outcome is not None
            assert batch.outcome.pair is (state.outcome.reason is None)
            assert batch.outcome.decided_at == state.outcome.decided_at

    def test_what_a_newer_server_adds_is_only_in_raw(self) -> None:
        data = {**STATE, "mood": "good"}
        data["candidates"] = [{**c, "colour": "red"} for c in STATE["candidates"]]
        assert Batch.from_json(data) == Batch.from_json(STATE)
        assert Batch.from_json(data).raw["mood"] == "good"

    def test_what_an_older_server_lacks_has_a_default(self) -> None:
        stats = Stats.from_json({"batches": {"open": 1}})
        assert (stats.rates, stats.disk, stats.errors) == ({}, None, ())

    def test_they_cannot_be_changed(self) -> None:
        with pytest.raises(AttributeError):
            Batch.from_json(STATE).question = "Another?"  # type: ignore[misc]

    def test_a_histogram_says_how_many_a_threshold_keeps(self) -> None:
        counts = [0] * 100
        counts[7], counts[29], counts[57], counts[99] = 1, 2, 4, 8
        histogram = Histogram.from_json({"of": "score_diff", "counts": counts, "total": 15})
        kept = [histogram.at_least(t) for t in (0.0, 0.07, 0.08, 0.29, 0.57, 0.58, 0.99, 1.0)]
        assert kept == [15, 15, 14, 14, 12, 8, 8, 0]
        assert len(histogram.edges) == 101
        assert (histogram.edges[0], histogram.edges[-1]) == (0.0, 1.0)
        assert all(a < b for a, b in pairwise(histogram.edges))


def test_the_package_has_both_clients() -> None:
    assert rlvr_ray.Client is KINDS["blocking"]
    assert rlvr_ray.AsyncClient.__name__ == "AsyncClient"
    with pytest.raises(AttributeError):
        rlvr_ray.Nothing  # noqa: B018


def test_both_clients_take_the_same() -> None:
    def methods(kind: type) -> dict[str, list[Any]]:
        return {
            name: [*inspect.signature(method).parameters.values()]
            for name, method in vars(kind).items()
            if not name.startswith("_")
        }

    assert methods(Client) == methods(AsyncClient)
    assert len(methods(Client)) > 20
