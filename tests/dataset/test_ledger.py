"""The ledger: what it acknowledged is there, whatever happens next."""

import json
import os
import random
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import apsw
import pytest

from rlvr_ray.core import ids
from rlvr_ray.core.errors import LedgerError, Overloaded
from rlvr_ray.core.pairing import PairingRule, Result, decide
from rlvr_ray.core.records import NO_TOKENS, Batch, Judge, Kind, Outcome, Statement, Usage
from rlvr_ray.dataset.ledger import Ledger, Operation, Reader, schema, writer
from rlvr_ray.dataset.state import Backlog, BatchState, JsonlFile, OutcomeSummary, Part
from rlvr_ray.documents.retriever import Ingested
from rlvr_ray.events import bodies, outbox
from rlvr_ray.events.bodies import Event
from rlvr_ray.events.outbox import Posted
from tests.builders import CREATED, DECIDED, batch, candidate, context, failed, verification
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.integration


ROOT = Path(__file__).parents[2]
ODD = (
    'U+2028 \u2028 NEL \x85 CRLF \r\n \v\f\x1b "quotes" \\ \\u0041 🦆 e\u0301 \u202e \ufeff \uffff'
)


def results_of(asked: Batch, *scores: float | str) -> dict[Any, Result]:
    return {
        c.event_id: failed(c, s) if isinstance(s, str) else verification(c, s, s)
        for c, s in zip(asked.candidates, scores, strict=True)
    }


def outcome_of(asked: Batch, results: dict[Any, Result]) -> Outcome:
    return decide(asked, results, PairingRule(), DECIDED)


def recording(asked: Batch) -> Operation:
    return lambda ledger: ledger.record([asked])[0]


def deciding(asked: Batch, *scores: float | str) -> Operation:
    results = results_of(asked, *scores)
    return lambda ledger: ledger.decide(asked, results, outcome_of(asked, results))


def settle(ledger: Ledger, asked: Batch, *scores: float | str) -> Outcome:
    """Record and decide a batch."""
    ledger.commit([recording(asked), deciding(asked, *scores)])
    return outcome_of(asked, results_of(asked, *scores))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(tmp_path)
    yield opened
    opened.close()


class TestRecord:
    def test_the_first_batch_of_an_id_wins(self, ledger: Ledger) -> None:
        first = batch(("a", "b"), batch_id=ids.derive("one"))
        second = batch(("x", "y", "z"), question="Another?", batch_id=first.batch_id)
        assert ledger.commit([recording(first)]) == [first]
        assert ledger.commit([recording(second)]) == [first]
        state = ledger.find(first.batch_id)
        assert state is not None
        assert state.batch == first
        assert ledger.counts() == {"open": 1}

    def test_the_first_wins_within_one_commit_too(self, ledger: Ledger) -> None:
        first = batch(("a", "b"), batch_id=ids.derive("one"))
        second = batch(("x", "y"), question="Another?", batch_id=first.batch_id)
        operations = [recording(first), recording(second)]
        assert ledger.commit(operations) == [first, first]

    def test_one_operation_may_record_many(self, ledger: Ledger) -> None:
        asked = [batch(question=f"Question {n}?") for n in range(3)]
        ledger.commit([recording(asked[1])])
        other = replace(asked[0], question="Another?")
        assert ledger.commit([lambda it: it.record([*asked, other])]) == [[*asked, asked[0]]]
        assert ledger.counts() == {"open": 3}

    def test_how_far_batches_are(self, ledger: Ledger) -> None:
        pair, tie, undecided = (batch(("a", "b"), question=f"Question {n}?") for n in range(3))
        settle(ledger, pair, 0.9, 0.1)
        settle(ledger, tie, 0.9, 0.9)
        ledger.commit([recording(undecided)])
        asked = [each.batch_id for each in (pair, tie, undecided)]
        found = ledger.outcomes([*asked, ids.derive("nobody")])
        answers = sum((each.usage for each in pair.candidates), NO_TOKENS)
        judging = sum((verification(c, 0.9, 0.9).usage for c in pair.candidates), NO_TOKENS)
        assert answers.cached_tokens and judging.prompt_tokens
        assert found == {
            asked[0]: OutcomeSummary(reason=None, margins=(0.8,), answers=answers, judging=judging),
            asked[1]: OutcomeSummary(
                reason="tie", margins=(0.0,), answers=answers, judging=judging
            ),
            asked[2]: None,
        }
        assert [each.pairs for each in found.values() if each] == [1, 0]
        assert ledger.outcomes([]) == {}

    def test_how_far_a_run_is(self, ledger: Ledger) -> None:
        mine = [
            batch(("a", "b"), question=f"Question {n}?", correlation_id="mine") for n in range(5)
        ]
        other = batch(correlation_id="other")
        live = batch(batch_id=uuid4(), correlation_id="mine")
        settle(ledger, mine[0], 0.9, 0.1)
        ledger.commit([lambda it: it.record([live, mine[1], other, *mine[2:]])])
        first, place = ledger.of_run("mine", 0, 3)
        assert place is not None
        rest, end = ledger.of_run("mine", place, 3)
        assert [*first, *rest] == [each.batch_id for each in mine]
        assert end is None
        known = [each.batch_id for each in mine]
        assert first | rest == ledger.outcomes(known)
        assert ledger.of_run("mine", 0, 5)[1] is not None, "there may be more"
        assert ledger.of_run("nobody", 0, 5) == ({}, None)

    def test_an_unknown_batch_is_none(self, ledger: Ledger) -> None:
        assert ledger.find(ids.derive("nobody")) is None

    def test_recording_a_decided_batch_again_does_not_open_it(self, ledger: Ledger) -> None:
        asked = batch()
        settle(ledger, asked, 0.9, 0.7, 0.5)
        assert ledger.commit([recording(asked)]) == [asked]
        assert ledger.open_batches(0, 10) == []
        assert ledger.counts() == {"open": 0, "pair": 1}


class TestDecide:
    def test_the_first_decision_stays(self, ledger: Ledger) -> None:
        asked = batch()
        first = settle(ledger, asked, 0.9, 0.7, 0.5)
        ledger.commit([deciding(asked, 0.1, "silent", 0.95)])
        state = ledger.find(asked.batch_id)
        assert state is not None
        assert state.outcome == first
        assert state.results == results_of(asked, 0.9, 0.7, 0.5)
        assert ledger.counts() == {"open": 0, "pair": 1}
        assert [seq for seq, _ in ledger.decided(0, 10)] == [1]

    def test_a_batch_that_is_not_recorded_cannot_be_decided(self, ledger: Ledger) -> None:
        asked = batch()
        with pytest.raises((TypeError, LedgerError)):
            ledger.commit([deciding(asked, 0.9, 0.7, 0.5)])
        assert ledger.decided(0, 10) == []
        assert outbox.events(ledger, 0, 10) == []


class TestCommit:
    def test_one_failing_operation_rolls_all_back(self, ledger: Ledger) -> None:
        kept = batch(question="Kept?")
        ledger.commit([recording(kept)])
        asked = batch()

        def failing(_: Ledger) -> None:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            ledger.commit([recording(asked), lambda it: it.advance(7, {"f": 1}), failing])
        assert ledger.find(asked.batch_id) is None
        assert (ledger.mark("projected"), ledger.files()) == (0, {})
        assert ledger.find(kept.batch_id) is not None
        assert ledger.commit([recording(asked)]) == [asked], "it goes on"

    def test_a_failing_statement_rolls_all_back(self, ledger: Ledger) -> None:
        asked = batch()
        with pytest.raises(LedgerError, match=r"ledger\.db.*no such table"):
            ledger.commit([recording(asked), lambda it: it._db.execute("SELECT * FROM x")])
        assert ledger.find(asked.batch_id) is None
        assert ledger.commit([recording(asked)]) == [asked]

    def test_results_come_in_order(self, ledger: Ledger) -> None:
        asked = [batch(question=f"Question {n}?") for n in range(5)]
        assert ledger.commit([recording(b) for b in asked]) == asked
        assert ledger.commit([]) == []

    def test_nothing_of_an_unfinished_commit_survives(self, tmp_path: Path) -> None:
        ledger = Ledger(tmp_path)
        ledger._db.execute("BEGIN IMMEDIATE")
        ledger.record([batch()])
        ledger.close()
        ledger = Ledger(tmp_path)
        assert ledger.counts() == {"open": 0}
        ledger.close()

    def test_every_commit_is_synced(self, ledger: Ledger) -> None:
        """Loss of power cannot be had in a test; the setting that survives it can."""
        assert ledger._db.pragma("journal_mode") == "wal"
        assert ledger._db.pragma("synchronous") == 2, "FULL"


class TestRoundTrip:
    def test_every_field_and_odd_text_survives_reopening(self, tmp_path: Path) -> None:
        batch_id = ids.derive("odd")
        passage = context(ODD, -1.0, source=f"{ODD}.md", chunk_index=2**40, start=0)
        asked = batch(
            question=ODD,
            batch_id=batch_id,
            correlation_id=ODD,
            contexts=(passage, context("", 0.123457)),
            prompt_version=ODD,
            created_at=CREATED + timedelta(microseconds=123456),
            candidates=(
                candidate(
                    batch_id,
                    0,
                    ODD,
                    temperature=0.1 + 0.2,
                    seed=2**31 - 1,
                    model=ODD,
                    finish_reason="length",
                    usage=Usage(prompt_tokens=2**33, completion_tokens=0, cached_tokens=1),
                ),
                candidate(batch_id, 1, ""),
                candidate(batch_id, 2, " \t\n"),
            ),
        )
        first, second, third = asked.candidates
        results: dict[Any, Result] = {
            first.event_id: verification(
                first,
                0.123456,
                1.0,
                judge=Judge(
                    faithfulness="ragas",
                    relevancy="ragas",
                    model=ODD,
                    embedder=ODD,
                    version=ODD,
                ),
                statements=(Statement(text=ODD, verdict=0.333333, reason=ODD),) * 2,
                reverse_questions=(ODD, "", "?"),
                usage=Usage(prompt_tokens=3, completion_tokens=4, cached_tokens=5),
                duration_ms=0,
            ),
            second.event_id: failed(second, ODD),
            third.event_id: verification(third, 0.0, 0.0, statements=(), reverse_questions=()),
        }
        outcome = decide(asked, results, PairingRule(prompt="rag", quality_filter=True), DECIDED)
        with_ledger = Ledger(tmp_path)
        with_ledger.commit([recording(asked), lambda it: it.decide(asked, results, outcome)])
        with_ledger.close()

        again = Ledger(tmp_path)
        state = again.find(batch_id)
        again.close()
        assert state is not None
        assert state.batch == asked
        assert state.results == results
        assert state.outcome == outcome

    def test_every_field_of_a_pair_survives(self, ledger: Ledger) -> None:
        asked = batch()
        outcome = settle(ledger, asked, 0.9, 0.7, 0.5)
        state = ledger.find(asked.batch_id)
        assert state is not None
        assert (state.batch, state.outcome) == (asked, outcome)
        assert state.outcome is not None and state.outcome.score_diff == 0.4

    def test_files_and_parts_survive(self, tmp_path: Path) -> None:
        part = Part(path=f"{ODD}.parquet", dataset="dpo_data", first_seq=1, last_seq=2, rows=2)
        other = Part(path="b.parquet", dataset="dpo_data", first_seq=3, last_seq=3, rows=1)
        ledger = Ledger(tmp_path)
        ledger.commit(
            [
                lambda it: it.advance(3, {"a.jsonl": 10, ODD: 2**40}),
                lambda it: it.advance(4, {"a.jsonl": 11}),
                lambda it: it.plan_part(part),
                lambda it: it.plan_part(other),
                lambda it: it.seal_part("b.parquet", "00" * 32),
            ]
        )
        ledger.close()
        ledger = Ledger(tmp_path)
        assert ledger.mark("projected") == 4
        assert ledger.files() == {"a.jsonl": JsonlFile(bytes=11), ODD: JsonlFile(bytes=2**40)}
        assert ledger.parts() == [part, replace(other, sha256="00" * 32)]
        assert ledger.parts(unsealed=True) == [part]
        ledger.commit([lambda it: it.seal_part("b.parquet", None)])
        assert ledger.parts(unsealed=True) == [part, other]
        ledger.commit([lambda it: it.forget_files()])
        assert (ledger.mark("projected"), ledger.files()) == (0, {})
        ledger.close()


class TestReading:
    def test_open_batches_in_the_order_of_recording(self, ledger: Ledger) -> None:
        asked = [batch(question=f"Question {n}?") for n in range(6)]
        random.Random(5).shuffle(asked)
        for one in asked:
            ledger.commit([recording(one)])
        settle(ledger, asked[2], 0.9, 0.7, 0.5)
        left = [b for b in asked if b is not asked[2]]
        found = ledger.open_batches(0, 100)
        assert [state.batch for _, state in found] == left
        assert [seq for seq, _ in found] == sorted({seq for seq, _ in found})

        cursor, paged = 0, list[tuple[int, BatchState]]()
        while page := ledger.open_batches(cursor, 2):
            assert len(page) <= 2
            paged += page
            cursor = page[-1][0]
        assert paged == found

    def test_decided_in_the_order_of_decision(self, ledger: Ledger) -> None:
        asked = [batch(question=f"Question {n}?") for n in range(5)]
        ledger.commit([recording(b) for b in asked])
        order = [asked[n] for n in (3, 0, 4, 1)]
        for one in order:
            settle(ledger, one, 0.9, 0.7, 0.5)
        found = ledger.decided(0, 100)
        assert [state.batch for _, state in found] == order
        assert [seq for seq, _ in found] == [1, 2, 3, 4]
        assert ledger.decided(2, 1) == found[2:3]
        assert [state.batch for state in ledger.recent(2)] == [order[3], order[2]]

    def test_counts(self, ledger: Ledger) -> None:
        assert ledger.counts() == {"open": 0}
        settle(ledger, batch(question="1"), 0.9, 0.7, 0.5)
        settle(ledger, batch(question="2"), 0.9, 0.7, 0.5)
        settle(ledger, batch(question="3"), 0.9, "silent", "silent")
        settle(ledger, batch(("a", "b"), question="4"), 0.8, 0.8)
        settle(ledger, batch(("a",), question="5", kind=Kind.SINGLE), 0.8)
        ledger.commit([recording(batch(question="6"))])
        assert ledger.counts() == {
            "open": 1,
            "pair": 2,
            "unscored": 1,
            "tie": 1,
            "single_answer": 1,
        }

    def test_unplanned_counts_the_rows_of_each_dataset(self, ledger: Ledger) -> None:
        settle(ledger, batch(question="1"), 0.9, 0.7, 0.5)
        settle(ledger, batch(("a", "b"), question="2"), 0.8, 0.8)
        settle(ledger, batch(question="3"), 0.9, 0.7, 0.5)
        assert ledger.unplanned("training_data") == [], "nothing is projected yet"
        ledger.commit([lambda it: it.advance(2, {})])
        assert ledger.unplanned("training_data") == [(1, "202603", 3), (2, "202603", 2)]
        assert ledger.unplanned("dpo_data") == [(1, "202603", 1), (2, "202603", 0)]
        part = Part(path="p", dataset="dpo_data", first_seq=1, last_seq=1, rows=1)
        ledger.commit([lambda it: it.advance(3, {}), lambda it: it.plan_part(part)])
        assert ledger.unplanned("dpo_data") == [(2, "202603", 0), (3, "202603", 1)]
        assert len(ledger.unplanned("training_data")) == 3


class Clock:
    """What the ledger takes for the time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_800_000_000.5
        monkeypatch.setattr(writer, "time", SimpleNamespace(time=lambda: self.now))


def events_of(asked: Batch, *scores: float | str) -> list[Event]:
    """All that a batch tells, in the order in which it is told."""
    results = results_of(asked, *scores)
    return [
        *(bodies.answer_generated(asked, c) for c in asked.candidates),
        *(bodies.verification_ended(asked, c, results[c.event_id]) for c in asked.candidates),
        bodies.outcome_decided(asked, outcome_of(asked, results), results),
    ]


def told(ledger: Reader, after: int = 0) -> list[Event]:
    return [posted.event for posted in outbox.events(ledger, after, 1000)]


def document(content: str, source: str = "a.md", num_chunks: int = 3) -> Ingested:
    return Ingested(
        document_id=ids.derive("document", source),
        source=source,
        num_chunks=num_chunks,
        content_id=ids.derive("content", content),
        changed=True,
    )


def ingesting(*documents: Ingested) -> Operation:
    return lambda ledger: ledger.ingested(documents)


class TestOutbox:
    """Each fact and the event that tells of it are one."""

    def test_a_batch_tells_its_answers_at_once(self, ledger: Ledger) -> None:
        asked = batch()
        ledger.commit([recording(asked)])
        assert told(ledger) == events_of(asked, 0.9, 0.7, 0.5)[:3]

    @pytest.mark.parametrize("scores", [(0.9, 0.7, 0.5), (0.9, "silent", 0.5), (0.8, 0.8, 0.8)])
    def test_answers_then_verifications_then_the_outcome(
        self, ledger: Ledger, scores: tuple[float | str, ...]
    ) -> None:
        asked = batch()
        settle(ledger, asked, *scores)
        assert told(ledger) == events_of(asked, *scores)
        assert [posted.seq for posted in outbox.events(ledger, 0, 100)] == list(range(1, 8))

    def test_the_order_is_that_of_the_commits(self, ledger: Ledger) -> None:
        one, two = batch(("a", "b"), "One?"), batch(("c",), "Two?", kind=Kind.SINGLE)
        ledger.commit([recording(one), recording(two), ingesting(document("A"))])
        ledger.commit([deciding(two, 0.8)])
        ledger.commit([deciding(one, 0.9, 0.5)])
        first, second = events_of(one, 0.9, 0.5), events_of(two, 0.8)
        found = told(ledger)
        assert found[3].event_type == "document.ingested"
        assert [*found[:3], *found[4:]] == [*first[:2], *second[:1], *second[1:], *first[2:]]

    def test_it_is_the_same_after_reopening(self, tmp_path: Path) -> None:
        asked = batch(("a", ODD), ODD)
        ledger = Ledger(tmp_path)
        settle(ledger, asked, 0.9, ODD)
        ledger.commit([ingesting(document("A", f"{ODD}.md"))])
        before = outbox.events(ledger, 0, 100)
        ledger.close()
        ledger = Ledger(tmp_path)
        assert outbox.events(ledger, 0, 100) == before
        assert told(ledger)[:-1] == events_of(asked, 0.9, ODD)
        ledger.close()

    def test_what_is_rolled_back_tells_nothing(self, ledger: Ledger) -> None:
        kept = batch(question="Kept?")
        ledger.commit([recording(kept)])

        def failing(_: Ledger) -> None:
            raise ZeroDivisionError

        for operations in (
            [recording(batch()), ingesting(document("A")), failing],
            [deciding(kept, 0.9, 0.7, 0.5), failing],
            [lambda it: it.keep(kept, results_of(kept, 0.9, 0.7, 0.5)), failing],
        ):
            with pytest.raises(ZeroDivisionError):
                ledger.commit(operations)
        assert told(ledger) == events_of(kept, 0.9, 0.7, 0.5)[:3]

    def test_what_cannot_be_told_is_not_kept(
        self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        kept = batch(question="Kept?")
        ledger.commit([recording(kept)])

        def mute(*_: object) -> None:
            raise ZeroDivisionError

        with monkeypatch.context() as patch:
            patch.setattr(Ledger, "_tell", mute)
            for operation in (
                recording(batch()),
                deciding(kept, 0.9, 0.7, 0.5),
                lambda it: it.keep(kept, results_of(kept, 0.9, 0.7, 0.5)),
                ingesting(document("A")),
            ):
                with pytest.raises(ZeroDivisionError):
                    ledger.commit([operation])
        state = ledger.find(kept.batch_id)
        assert state is not None
        assert (dict(state.results), state.outcome) == ({}, None)
        assert ledger.find(batch().batch_id) is None
        ledger.commit([ingesting(document("A"))])
        assert told(ledger)[-1].event_id == ids.document_event(document("A").document_id, 0)

    def test_repeats_tell_nothing(self, ledger: Ledger) -> None:
        asked = batch()
        ledger.commit([recording(asked), recording(asked)])
        ledger.commit([recording(replace(asked, question="Another?"))])
        assert len(told(ledger)) == 3
        settle(ledger, asked, 0.9, 0.7, 0.5)
        settle(ledger, asked, 0.9, 0.7, 0.5)
        ledger.commit([deciding(asked, "silent", 0.1, 0.2)])
        assert told(ledger) == events_of(asked, 0.9, 0.7, 0.5)

    def test_an_unfinished_commit_tells_nothing(self, tmp_path: Path) -> None:
        ledger = Ledger(tmp_path)
        ledger._db.execute("BEGIN IMMEDIATE")
        ledger.record([batch()])
        ledger.close()
        ledger = Ledger(tmp_path)
        assert told(ledger) == []
        ledger.close()

    def test_windows(self, ledger: Ledger) -> None:
        asked = [batch(question=f"Question {n}?") for n in range(3)]
        for one in asked:
            settle(ledger, one, 0.9, 0.7, 0.5)
            ledger.commit([ingesting(document("A", f"{one.question}.md"))])
        whole = outbox.events(ledger, 0, 1000)
        assert len(whole) == 24
        assert [posted.seq for posted in whole] == sorted({posted.seq for posted in whole})
        for limit in (1, 2, 5, 24, 25):
            after, paged = 0, list[Posted]()
            while page := outbox.events(ledger, after, limit):
                assert len(page) <= limit
                paged += page
                after = page[-1].seq
            assert paged == whole
        assert outbox.events(ledger, whole[-1].seq, 10) == []

    def test_bodies_are_strict_json(self, ledger: Ledger) -> None:
        settle(ledger, batch(), 0.9, "silent", 0.5)
        ledger.commit([ingesting(document("A", f"{ODD}.md"))])
        for event in told(ledger):
            assert json.loads(json.dumps(event.body, allow_nan=False)) == event.body


class TestKeep:
    """Results that come one by one, before the outcome."""

    @pytest.fixture
    def asked(self, ledger: Ledger) -> Batch:
        asked = batch()
        ledger.commit([recording(asked)])
        return asked

    def keep(self, ledger: Ledger, asked: Batch, *indices: int, score: float | str = 0.9) -> None:
        results = results_of(asked, *[score] * 3)
        keys = [asked.candidates[index].event_id for index in indices]
        ledger.commit([lambda it: it.keep(asked, {key: results[key] for key in keys})])

    def test_each_is_told_as_it_comes(self, ledger: Ledger, asked: Batch) -> None:
        self.keep(ledger, asked, 1)
        self.keep(ledger, asked, 2, score="silent")
        ledger.commit([deciding(asked, 0.9, 0.9, "silent")])
        *answers, first, second, third, outcome = events_of(asked, 0.9, 0.9, "silent")
        assert told(ledger) == [*answers, second, third, first, outcome]

    def test_the_batch_stays_open(self, ledger: Ledger, asked: Batch) -> None:
        self.keep(ledger, asked, 0, 2)
        ((_, state),) = ledger.open_batches(0, 10)
        first, _, third = asked.candidates
        assert set(state.results) == {first.event_id, third.event_id}
        assert state == ledger.find(asked.batch_id)
        assert ledger.counts() == {"open": 1}

    def test_the_first_result_of_an_answer_stays(self, ledger: Ledger, asked: Batch) -> None:
        self.keep(ledger, asked, 1, score=0.9)
        self.keep(ledger, asked, 1, score=0.1)
        self.keep(ledger, asked, 1, score="silent")
        ledger.commit([deciding(asked, 0.2, 0.2, 0.2)])
        state = ledger.find(asked.batch_id)
        assert state is not None
        assert state.results == results_of(asked, 0.2, 0.9, 0.2)
        assert len(told(ledger)) == 7

    def test_what_comes_after_the_outcome_is_dropped(self, ledger: Ledger, asked: Batch) -> None:
        results = results_of(asked, 0.9, "silent", "silent")
        ledger.commit([lambda it: it.decide(asked, results, outcome_of(asked, results))])
        before = told(ledger)
        self.keep(ledger, asked, 0, 1, 2)
        ledger.commit([deciding(asked, 0.1, 0.2, 0.3)])
        state = ledger.find(asked.batch_id)
        assert state is not None
        assert state.results == results
        assert told(ledger) == before

    def test_results_of_other_answers_are_not_its(self, ledger: Ledger, asked: Batch) -> None:
        other = batch(question="Another?")
        ledger.commit([lambda it: it.keep(asked, results_of(other, 0.9, 0.7, 0.5))])
        state = ledger.find(asked.batch_id)
        assert state is not None and dict(state.results) == {}
        assert len(told(ledger)) == 3


class TestDocuments:
    def numbers(self, ledger: Ledger, source: str = "a.md") -> list[int]:
        """Which contents of a document were told, by their event ids."""
        document_id = ids.derive("document", source)
        known = {ids.document_event(document_id, n): n for n in range(10)}
        return [known[event.event_id] for event in told(ledger) if event.event_id in known]

    def test_what_is_told(self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = Clock(monkeypatch)
        ledger.commit([ingesting(document("A", "ü.md", num_chunks=7))])
        (posted,) = outbox.events(ledger, 0, 10)
        document_id = ids.derive("document", "ü.md")
        assert posted.event == bodies.document_ingested(
            document_id=document_id,
            number=0,
            filename="ü.md",
            num_chunks=7,
            at=datetime.fromtimestamp(int(clock.now), UTC),
        )

    def test_once_for_each_change(self, ledger: Ledger) -> None:
        for content in ("A", "A", "B", "A"):
            ledger.commit([ingesting(document(content))])
        assert self.numbers(ledger) == [0, 1, 2]
        assert len({event.event_id for event in told(ledger)}) == 3

    def test_also_within_one_commit(self, ledger: Ledger) -> None:
        ledger.commit([ingesting(*map(document, "AAB")), ingesting(*map(document, "BA"))])
        assert self.numbers(ledger) == [0, 1, 2]

    def test_also_after_reopening(self, tmp_path: Path) -> None:
        for content in ("A", "A", "B", "B", "A"):
            ledger = Ledger(tmp_path)
            ledger.commit([ingesting(document(content))])
            found = self.numbers(ledger)
            ledger.close()
        assert found == [0, 1, 2]

    def test_each_document_counts_for_itself(self, ledger: Ledger) -> None:
        ledger.commit([ingesting(document("A"), document("A", "b.md"))])
        ledger.commit([ingesting(document("A"), document("B", "b.md"))])
        assert (self.numbers(ledger), self.numbers(ledger, "b.md")) == ([0], [0, 1])


class TestBacklog:
    def test_an_empty_ledger_has_none(self, ledger: Ledger) -> None:
        assert ledger.backlog() == Backlog(pending=0, oldest=None)
        assert ledger.mark("mirrored") == 0

    def test_it_counts_what_is_not_confirmed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock = Clock(monkeypatch)
        start = datetime.fromtimestamp(int(clock.now), UTC)
        ledger = Ledger(tmp_path)
        ledger.commit([recording(batch())])
        clock.now += 100
        ledger.commit([deciding(batch(), 0.9, 0.7, 0.5)])
        assert ledger.backlog() == Backlog(pending=7, oldest=start)
        ledger.commit([lambda it: it.mirrored(2)])
        assert ledger.backlog() == Backlog(pending=5, oldest=start)
        ledger.commit([lambda it: it.mirrored(3)])
        later = start + timedelta(seconds=100)
        assert ledger.backlog() == Backlog(pending=4, oldest=later)
        ledger.close()

        ledger = Ledger(tmp_path)
        assert ledger.mark("mirrored") == 3
        assert ledger.backlog() == Backlog(pending=4, oldest=later)
        ledger.commit([lambda it: it.mirrored(7)])
        assert ledger.backlog() == Backlog(pending=0, oldest=None)
        assert len(told(ledger)) == 7, "what is confirmed can be told again"
        ledger.close()

    def test_the_first_event_since(self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = Clock(monkeypatch)
        start = datetime.fromtimestamp(clock.now, UTC)
        assert ledger.first_event(start) == 1
        ledger.commit([recording(batch())])
        clock.now += 10
        ledger.commit([deciding(batch(), 0.9, 0.7, 0.5)])
        for seconds, seq in ((-9, 1), (0, 1), (0.4, 1), (1, 4), (10, 4), (10.4, 4), (11, 8)):
            assert ledger.first_event(start + timedelta(seconds=seconds)) == seq, f"{seconds} s"
        found = told(ledger, ledger.first_event(start + timedelta(seconds=5)) - 1)
        assert found == events_of(batch(), 0.9, 0.7, 0.5)[3:]


class TestReader:
    @pytest.fixture
    def reader(self, ledger: Ledger) -> Iterator[Reader]:
        opened = ledger.reader()
        yield opened
        opened.close()

    def test_it_sees_what_is_committed_and_nothing_else(
        self, ledger: Ledger, reader: Reader
    ) -> None:
        asked = batch()
        ledger._db.execute("BEGIN IMMEDIATE")
        ledger.record([asked])
        assert reader.find(asked.batch_id) is None
        assert (reader.counts(), outbox.events(reader, 0, 10)) == ({"open": 0}, [])
        ledger._db.execute("COMMIT")
        assert reader.find(asked.batch_id) == ledger.find(asked.batch_id)
        assert (reader.counts(), len(outbox.events(reader, 0, 10))) == ({"open": 1}, 3)

    def test_in_another_thread_while_the_writer_is_at_work(
        self, ledger: Ledger, reader: Reader
    ) -> None:
        kept = batch(question="Kept?")
        settle(ledger, kept, 0.9, 0.7, 0.5)
        with ThreadPoolExecutor(1) as thread:

            def elsewhere(_: Ledger) -> list[Event]:
                return thread.submit(told, reader).result(PATIENCE_S)

            _, seen = ledger.commit([recording(batch()), elsewhere])
        assert seen == events_of(kept, 0.9, 0.7, 0.5)
        assert len(told(reader)) == 10

    def test_a_snapshot_stays_as_it_is(self, ledger: Ledger, reader: Reader) -> None:
        one, two = batch(question="One?"), batch(question="Two?")
        settle(ledger, one, 0.9, 0.7, 0.5)
        with reader.snapshot():
            before = reader.counts(), outbox.events(reader, 0, 100), reader.decided(0, 10)
            settle(ledger, two, 0.9, 0.7, 0.5)
            ledger.commit([lambda it: it.mirrored(5), lambda it: it.advance(2, {"f": 1})])
            assert (reader.counts(), outbox.events(reader, 0, 100), reader.decided(0, 10)) == before
            assert reader.find(two.batch_id) is None
            assert (reader.mark("mirrored"), reader.mark("projected")) == (0, 0)
            assert reader.files() == {}
        assert reader.find(two.batch_id) is not None
        assert reader.mark("mirrored") == 5

    def test_a_snapshot_ends_also_where_it_fails(self, ledger: Ledger, reader: Reader) -> None:
        with pytest.raises(ZeroDivisionError), reader.snapshot():
            reader.counts()
            raise ZeroDivisionError
        ledger.commit([recording(batch())])
        assert reader.counts() == {"open": 1}

    def test_it_cannot_write(self, ledger: Ledger, reader: Reader) -> None:
        ledger.commit([recording(batch())])
        with pytest.raises(LedgerError, match="readonly"):
            reader._rows("DELETE FROM outbox")
        assert len(told(ledger)) == 3

    def test_without_a_writer(self, tmp_path: Path) -> None:
        ledger = Ledger(tmp_path)
        settle(ledger, batch(), 0.9, 0.7, 0.5)
        ledger.close()
        reader = Reader(tmp_path)
        assert told(reader) == events_of(batch(), 0.9, 0.7, 0.5)
        reader.close()

    def test_after_a_writer_that_was_killed(self, tmp_path: Path) -> None:
        writer = script(
            "ledger.commit([lambda it: it.record([batch()])])\n"
            "print('done', flush=True)\n"
            "time.sleep(60)\n",
            tmp_path,
        )
        assert writer.stdout is not None
        writer.stdout.readline()
        writer.kill()
        writer.communicate(timeout=PATIENCE_S)
        reader = Reader(tmp_path)
        assert reader.counts() == {"open": 1}
        reader.close()

    def test_it_needs_a_ledger(self, tmp_path: Path) -> None:
        with pytest.raises(LedgerError, match=r"holds no ledger.*rlvr serve"):
            Reader(tmp_path)
        assert list(tmp_path.iterdir()) == []

    def test_it_keeps_nobody_out(self, tmp_path: Path) -> None:
        ledger = Ledger(tmp_path)
        readers = [Reader(tmp_path) for _ in range(3)]
        ledger.commit([recording(batch())])
        assert [reader.counts() for reader in readers] == [{"open": 1}] * 3
        ledger.close()
        again = Ledger(tmp_path)
        assert again.commit([recording(batch())]) == [batch()]
        for reader in readers:
            reader.close()
        again.close()


def script(body: str, folder: Path) -> "subprocess.Popen[str]":
    """Another process with a ledger on a folder; it prints a line when the ledger is open."""
    opening = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from rlvr_ray.dataset.ledger import Ledger\n"
        "from tests.builders import batch\n"
        "ledger = Ledger(Path(sys.argv[1]))\n"
        "print('open', flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", opening + body, str(folder)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], PATIENCE_S)
    first = process.stdout.readline() if ready else "nothing"
    if first != "open\n":
        process.kill()
        raise AssertionError(f"the other process said {first!r}, {process.communicate()[1]}")
    return process


class TestLock:
    def test_a_second_one_in_this_process_is_refused(self, ledger: Ledger, tmp_path: Path) -> None:
        with pytest.raises(LedgerError, match="is in use by another rlvr_ray") as caught:
            Ledger(tmp_path)
        assert str(tmp_path) in str(caught.value)
        assert "data_dir" in str(caught.value)
        assert ledger.commit([recording(batch())]) == [batch()], "the first goes on"

    def test_a_second_one_in_another_process_is_refused(
        self, ledger: Ledger, tmp_path: Path
    ) -> None:
        with pytest.raises(AssertionError, match=r"LedgerError.*is in use by another rlvr_ray"):
            script("", tmp_path)

    def test_close_lets_the_next_one_in(self, tmp_path: Path) -> None:
        for n in range(3):
            ledger = Ledger(tmp_path)
            assert ledger.counts() == {"open": n}
            ledger.commit([recording(batch(question=f"Question {n}?"))])
            ledger.close()

    def test_a_killed_holder_lets_the_next_one_in(self, tmp_path: Path) -> None:
        holder = script("time.sleep(60)", tmp_path)
        with pytest.raises(LedgerError, match="is in use"):
            Ledger(tmp_path)
        holder.kill()
        holder.communicate(timeout=PATIENCE_S)
        Ledger(tmp_path).close()

    def test_a_child_process_does_not_keep_the_lock(self, tmp_path: Path) -> None:
        """What an application starts lives on when the application is killed."""
        body = "import subprocess; p = subprocess.Popen(['sleep', '60']); print(p.pid, flush=True)"
        holder = script(f"{body}; time.sleep(60)", tmp_path)
        assert holder.stdout is not None
        child = int(holder.stdout.readline())
        try:
            os.kill(holder.pid, signal.SIGKILL)
            holder.wait(PATIENCE_S)
            Ledger(tmp_path).close()
        finally:
            os.kill(child, signal.SIGKILL)
            holder.communicate(timeout=PATIENCE_S)

    def test_a_refused_ledger_leaves_the_folder_free(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whoever mends what was wrong can go on in the same process."""
        monkeypatch.setattr(schema, "SCHEMA", "CREATE nonsense")
        with pytest.raises(LedgerError, match="syntax error"):
            Ledger(tmp_path)
        monkeypatch.undo()
        Ledger(tmp_path).close()


class TestVersions:
    def test_a_newer_schema_is_refused_and_left_alone(self, tmp_path: Path) -> None:
        Ledger(tmp_path).close()
        db = apsw.Connection(str(tmp_path / "ledger.db"))
        db.pragma("user_version", schema.VERSION + 1)
        db.close()
        before = (tmp_path / "ledger.db").read_bytes()
        for kind in (Ledger, Reader):
            with pytest.raises(LedgerError, match="written by a newer rlvr_ray"):
                kind(tmp_path)
        assert (tmp_path / "ledger.db").read_bytes() == before

    def test_a_file_from_before_the_first_version_is_refused_and_left_alone(
        self, tmp_path: Path
    ) -> None:
        """Their versions were counted, too: 1 may be another schema than ours."""
        db = apsw.Connection(str(tmp_path / "ledger.db"))
        db.pragma("journal_mode", "wal")
        for version in (1, 7):
            db.execute(f"CREATE TABLE batch_{version} (seq)")
            db.pragma("user_version", version)
            for kind in (Ledger, Reader):
                with pytest.raises(
                    LedgerError, match=r"0\.1\.0 or later.*move the data folder away"
                ):
                    kind(tmp_path)
            assert db.pragma("user_version") == version
            assert db.execute("SELECT count(*) FROM sqlite_schema").fetchall() != [(0,)]
        db.close()

    def test_an_empty_file_is_a_new_ledger(self, tmp_path: Path) -> None:
        (tmp_path / "ledger.db").touch()
        ledger = Ledger(tmp_path)
        assert ledger.counts() == {"open": 0}
        ledger.close()

    def test_what_is_no_database_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "ledger.db").write_bytes(b"not a database " * 1000)
        with pytest.raises(LedgerError, match=r"ledger\.db.*not a database"):
            Ledger(tmp_path)
        assert (tmp_path / "ledger.db").read_bytes() == b"not a database " * 1000

    def test_a_half_made_schema_is_made_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The first start was cut off: no table may be there without its version."""
        monkeypatch.setattr(schema, "SCHEMA", f"{schema.SCHEMA}; CREATE nonsense")
        with pytest.raises(LedgerError):
            Ledger(tmp_path)
        db = apsw.Connection(str(tmp_path / "ledger.db"))
        assert db.execute("SELECT name FROM sqlite_schema").fetchall() == []
        assert db.pragma("user_version") == 0
        db.close()


@pytest.mark.parametrize("round_", range(4))
def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path, round_: int) -> None:
    """Batches are written in groups of three; a line is printed after each commit."""
    chance = random.Random(f"kill {round_}")
    writer = script(
        "n = 0\n"
        "while True:\n"
        "    group = [batch(question=f'Question {n + i}?') for i in range(3)]\n"
        "    ledger.commit([lambda it, b=b: it.record([b]) for b in group])\n"
        "    n += 3\n"
        "    print(n, flush=True)\n",
        tmp_path,
    )
    assert writer.stdout is not None
    acknowledged = 0
    for _ in range(chance.randrange(1, 60)):
        acknowledged = int(writer.stdout.readline())
    try:
        writer.wait(chance.random() * 0.02)
    except subprocess.TimeoutExpired:
        writer.kill()
    rest, problems = writer.communicate(timeout=PATIENCE_S)
    assert writer.returncode == -signal.SIGKILL, problems
    for line in rest.split("\n")[:-1]:
        acknowledged = int(line)

    ledger = Ledger(tmp_path)
    found = ledger.open_batches(0, 100_000)
    state = ledger._db.pragma("integrity_check")
    ledger.close()
    assert state == "ok"
    assert len(found) >= acknowledged
    assert len(found) % 3 == 0, "half a group was kept"
    assert [state.batch.question for _, state in found] == [
        f"Question {n}?" for n in range(len(found))
    ]


@pytest.mark.parametrize("keep_share", [0.0, 0.3, 0.999])
def test_a_torn_wal_keeps_whole_commits_in_order(tmp_path: Path, keep_share: float) -> None:
    """What a loss of power may leave of the last writes."""
    Ledger(tmp_path).close()  # what is torn lies behind the commit that made the schema
    writer = script(
        "for n in range(40):\n"
        "    ledger.commit([lambda it, n=n: it.record([batch(question=f'Question {n}?')])])\n"
        "print('done', flush=True)\n"
        "time.sleep(60)\n",
        tmp_path,
    )
    assert writer.stdout is not None
    writer.stdout.readline()
    writer.kill()
    writer.communicate(timeout=PATIENCE_S)
    wal = tmp_path / "ledger.db-wal"
    whole = wal.stat().st_size
    assert whole > 40 * 4096, "nothing was checkpointed yet"
    os.truncate(wal, int(whole * keep_share))
    with wal.open("ab") as stream:
        stream.write(random.Random(1).randbytes(5000))

    ledger = Ledger(tmp_path)
    found = [state.batch.question for _, state in ledger.open_batches(0, 1000)]
    ledger.close()
    assert len(found) < 40
    assert found == [f"Question {n}?" for n in range(len(found))]
    if keep_share > 0.9:
        assert len(found) >= 35


def test_a_full_disk_is_overload_and_nothing_is_lost(ledger: Ledger) -> None:
    kept = batch(question="Kept?")
    ledger.commit([recording(kept)])
    pages = ledger._db.pragma("page_count")
    ledger._db.pragma("max_page_count", pages)
    large = batch(("x" * 100_000, "y"), question="Large?")
    with pytest.raises(Overloaded, match="no room left"):
        ledger.commit([recording(batch(question="Small?")), recording(large)])
    assert [state.batch for _, state in ledger.open_batches(0, 10)] == [kept]
    assert len(outbox.events(ledger, 0, 10)) == 3

    ledger._db.pragma("max_page_count", 1_000_000)
    assert ledger.commit([recording(large)]) == [large]
    assert ledger.counts() == {"open": 2}


def test_a_folder_that_does_not_exist_is_made(tmp_path: Path) -> None:
    Ledger(tmp_path / "a" / "b").close()
    assert (tmp_path / "a" / "b" / "ledger.db").is_file()
