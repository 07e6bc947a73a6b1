"""Whatever comes, in whatever order and however often: the state is what a small model says."""

import asyncio
import itertools
import json
import math
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from rlvr_ray.core import ids
from rlvr_ray.core.errors import InputError
from rlvr_ray.core.pairing import PairingRule, Result, decide
from rlvr_ray.core.records import Batch, Candidate, Usage
from rlvr_ray.dataset.audit import audit
from rlvr_ray.dataset.files import Dataset
from rlvr_ray.dataset.ledger import Ledger
from rlvr_ray.dataset.projection import Projector, rows_of
from rlvr_ray.dataset.rows import DATASETS, Row
from rlvr_ray.dataset.state import BatchState, Page
from rlvr_ray.events import bodies as events
from rlvr_ray.events import outbox
from rlvr_ray.pipeline.external import External
from rlvr_ray.settings import DatasetSettings
from tests.builders import DECIDED, assessment, failed, verification
from tests.faults.harness import jsonl
from tests.faults.workload import ANSWERS, SCORES, asked, batch_id

#: The batches of a machine; each way to end is among them.
NUMBERS = range(len(ANSWERS))
RULE = PairingRule()
SEAL_ROWS = 4

numbers = st.sampled_from(NUMBERS)
places = st.integers(0, max(map(len, ANSWERS)) - 1)


def result(candidate: Candidate, *, other: bool = False) -> Result:
    """What a verifier says of an answer; another one may say other things."""
    score = SCORES.get(candidate.answer.split()[0])
    if score is None or (other and candidate.index == 0):
        return failed(candidate, "no judge" if other else "the judge gave no number")
    score = 1 - score if other else score
    theirs = assessment(
        score,
        score,
        verifier="external",
        statements=(),
        reverse_questions=(),
        usage=Usage(prompt_tokens=0, completion_tokens=0),
        duration_ms=7,
    )
    return verification(candidate, assessments=(theirs,), duration_ms=7)


def results(batch: Batch, indices: Sequence[int], *, other: bool = False) -> dict[UUID, Result]:
    """Those of some candidates; indices that the batch does not have are left out."""
    return {c.event_id: result(c, other=other) for c in batch.candidates if c.index in indices}


class Model:
    """What a ledger must hold."""

    def __init__(self) -> None:
        self.states: dict[int, BatchState] = {}
        self.events: list[UUID] = []
        self.decided: list[int] = []

    def record(self, number: int) -> None:
        """The first of an id stays."""
        if number not in self.states:
            batch = asked(number)
            self.states[number] = BatchState(batch=batch, results={}, outcome=None)
            self.events += [candidate.event_id for candidate in batch.candidates]

    def keep(self, number: int, came: Mapping[UUID, Result]) -> None:
        """The first of a candidate stays, and none comes after the outcome."""
        state = self.states[number]
        if state.outcome is not None:
            return
        for candidate in state.batch.candidates:
            if candidate.event_id in came and candidate.event_id not in state.results:
                known = {**state.results, candidate.event_id: came[candidate.event_id]}
                state = replace(state, results=known)
                self.events.append(ids.verification_event(batch_id(number), candidate.index))
        self.states[number] = state

    def decide(self, number: int, came: Mapping[UUID, Result]) -> None:
        """One outcome, by the results that stayed, whatever their order."""
        if self.states[number].outcome is not None:
            return
        self.keep(number, came)
        state = self.states[number]
        outcome = decide(state.batch, state.results, RULE, DECIDED)
        backwards = dict(reversed(list(state.results.items())))
        assert decide(state.batch, backwards, RULE, DECIDED) == outcome
        self.states[number] = replace(state, outcome=outcome)
        self.events.append(ids.outcome_event(batch_id(number)))
        self.decided.append(number)

    def complete(self, number: int) -> bool:
        """Whether every candidate has a result."""
        state = self.states[number]
        return len(state.results) == len(state.batch.candidates)

    def rows(self, dataset: str, count: int) -> list[Row]:
        """Those of the first outcomes."""
        made = [rows_of(self.states[number])[dataset] for number in self.decided[:count]]
        return [row for some in made for row in some]


class Machine(RuleBasedStateMachine):
    """What both machines share: a ledger, its model, and their comparison."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.model = Model()
        self.open()

    def open(self) -> None:
        """Open the ledger."""
        self.ledger = Ledger(self.folder)
        self.ledger._db.pragma("synchronous", "off")  # thousands of commits, and no loss of power

    def close(self) -> None:
        """Close it."""
        self.ledger.close()

    def commit(self, operation: Any) -> Any:
        """Have one operation committed."""
        return self.ledger.commit([operation])[0]

    def teardown(self) -> None:
        problems = list(audit(self.ledger, Dataset(self.folder)))
        self.close()
        shutil.rmtree(self.folder)
        assert problems == []

    @initialize(some=st.lists(numbers, min_size=4, max_size=12), apart=st.booleans())
    def begin(self, some: list[int], apart: bool) -> None:
        """Something is there already."""
        self.record(some, apart)

    @rule(some=st.lists(numbers, min_size=1, max_size=4), apart=st.booleans())
    def record(self, some: list[int], apart: bool) -> None:
        """Some of them twice, or again: in one call, or in several that share a commit."""
        calls = [[asked(n)] for n in some] if apart else [[asked(n) for n in some]]
        recorded = self.ledger.commit([partial(Ledger.record, batches=call) for call in calls])
        assert recorded == calls
        for number in some:
            self.model.record(number)

    @rule()
    def restart(self) -> None:
        """Nothing that counts is in memory."""
        self.close()
        self.open()

    @invariant()
    def the_ledger_is_as_the_model_says(self) -> None:
        for number in NUMBERS:
            found = self.ledger.find(batch_id(number))
            assert found == self.model.states.get(number), f"batch {number}"
        told = [posted.event.event_id for posted in outbox.events(self.ledger, 0, 1000)]
        assert told == self.model.events
        decided = [state.batch for _, state in self.ledger.decided(0, 100)]
        assert decided == [asked(number) for number in self.model.decided]


class LedgerMachine(Machine):
    """Results come one by one or all at once; the files follow."""

    def __init__(self) -> None:
        self.projected = 0
        self.read: dict[tuple[Path, int], list[Row]] = {}
        super().__init__()

    def open(self) -> None:
        super().open()
        self.reader = self.ledger.reader()
        self.dataset = Dataset(self.folder)
        sealing = DatasetSettings(seal_rows=SEAL_ROWS, seal_seconds=3600)
        self.projector = Projector(self.reader, self.ledger.write, self.dataset, sealing)
        self.projector.mend()
        self.projector.mend_parts()

    def close(self) -> None:
        self.reader.close()
        super().close()

    @precondition(lambda self: self.model.states)
    @rule(data=st.data(), indices=st.lists(places, min_size=1), other=st.booleans())
    def results_come(self, data: Any, indices: list[int], other: bool) -> None:
        """Of some candidates; again, contradicting the first, or too late."""
        number = data.draw(st.sampled_from(sorted(self.model.states)))
        came = results(asked(number), indices, other=other)
        self.commit(lambda it: it.keep(asked(number), came))
        self.model.keep(number, came)

    @rule(some=st.lists(numbers, min_size=2, max_size=8), other=st.booleans())
    def all_results_come(self, some: list[int], other: bool) -> None:
        """As from our own verifier: what is on record goes before what it says.

        Some batches share a commit, one of them perhaps with itself.
        """
        operations = []
        for number in some:
            state = self.ledger.find(batch_id(number))
            if state is None:
                continue
            came = {**results(state.batch, range(8), other=other), **state.results}
            outcome = decide(state.batch, came, RULE, DECIDED)
            operations.append(
                partial(Ledger.decide, batch=state.batch, results=came, outcome=outcome)
            )
            self.model.decide(number, came)
        self.ledger.commit(operations)

    @rule()
    def project(self) -> None:
        """Bring the JSONL files up to date."""
        self.projector.project()
        self.projected = len(self.model.decided)

    @rule(everything=st.booleans())
    def seal(self, everything: bool) -> None:
        """Make the parts that are due, or of all that is in the JSONL files."""
        if everything:
            self.projector.seal_all()
        else:
            self.projector.seal_due()
        for name in DATASETS:
            waiting = len(self.model.rows(name, self.projected)) - len(self.parts(name))
            assert waiting < (1 if everything else SEAL_ROWS)

    def parts(self, dataset: str) -> list[Row]:
        """The rows in all parts, in order."""
        rows = []
        for path in sorted((self.folder / dataset).glob("parquet/*.parquet")):
            key = path, path.stat().st_mtime_ns
            if key not in self.read:
                self.read[key] = pq.read_table(path).to_pylist()
            rows += self.read[key]
        return rows

    @invariant()
    def the_files_are_as_the_model_says(self) -> None:
        for name in DATASETS:
            wanted = self.model.rows(name, self.projected)
            assert jsonl(self.folder, name) == wanted
            sealed = self.parts(name)
            assert sealed == wanted[: len(sealed)]
        assert not list(self.folder.rglob("*.tmp"))


#: What makes an event a lie; each returns the fields that it changes.
Lie = Callable[[Batch, Candidate], dict[str, Any]]
LIES: dict[str, Lie] = {
    "an answer of another batch": lambda *_: {
        "answer_event_id": str(ids.answer_event(ids.derive("foreign"), 0))
    },
    "an answer that the batch does not have": lambda batch, _: {
        "answer_event_id": str(ids.answer_event(batch.batch_id, 99))
    },
    "no such batch": lambda *_: {"batch_id": str(ids.derive("foreign"))},
    "an event id of its own": lambda *_: {"event_id": str(ids.derive("mine"))},
    "the event id of its neighbour": lambda batch, candidate: {
        "event_id": str(ids.verification_event(batch.batch_id, candidate.index + 1))
    },
    "another answer's text": lambda _, candidate: {"answer": f"{candidate.answer}!"},
    "a better score": lambda *_: {"score": 1.0, "confidence": "high"},
    "a better confidence": lambda *_: {"confidence": "certain"},
    "more than there is": lambda *_: {"faithfulness": 2.0},
    "less than nothing": lambda *_: {"relevancy": -1.0},
    "no faithfulness": lambda *_: {"faithfulness": None},
    "no relevancy": lambda *_: {"relevancy": None},
    "no number": lambda *_: {"faithfulness": math.nan, "score": math.nan},
    "a judge without a name": lambda *_: {"verifier": {"faithfulness": "ragas"}},
    "a judge that cannot be kept": lambda *_: {
        "verifier": dict.fromkeys(
            ("faithfulness", "relevancy", "model", "embedder", "version"), "\0"
        )
    },
}


class ExternalMachine(Machine):
    """Results come as events of others."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        super().__init__()

    def open(self) -> None:
        super().open()
        self.external = self.listening(timeout_s=10**9)

    def listening(self, timeout_s: float) -> External:
        """A receiver over the ledger."""

        async def find(batch_id: UUID) -> BatchState | None:
            await asyncio.sleep(0)  # others get their turn, as between threads
            return self.ledger.find(batch_id)

        async def open_batches(after: int, limit: int) -> Page[tuple[int, BatchState]]:
            await asyncio.sleep(0)
            return self.ledger.open_batches(after, limit)

        async def keep(batch: Batch, came: Mapping[UUID, Result]) -> None:
            await asyncio.sleep(0)
            self.commit(lambda it: it.keep(batch, came))

        async def deciding(batch: Batch, came: Mapping[UUID, Result]) -> None:
            await asyncio.sleep(0)
            outcome = decide(batch, came, RULE, DECIDED)
            self.commit(lambda it: it.decide(batch, came, outcome))

        return External(find, open_batches, keep, deciding, timeout_s)

    def teardown(self) -> None:
        self.loop.close()
        super().teardown()

    def accept(self, *bodies: dict[str, Any]) -> list[BaseException | None]:
        """Deliver events at once; what each of them was answered."""

        async def run() -> list[BaseException | None]:
            accepting = (self.external.accept(body) for body in bodies)
            return await asyncio.gather(*accepting, return_exceptions=True)

        return self.loop.run_until_complete(run())

    def body(self, number: int, index: int, *, other: bool) -> dict[str, Any]:
        """The event of a candidate's verification by a program that names no defects."""
        batch = asked(number)
        candidate = batch.candidates[index % len(batch.candidates)]
        event = events.verification_ended(batch, candidate, result(candidate, other=other))
        return json.loads(json.dumps({**event.body, "defect": None}))  # type: ignore[no-any-return]

    @rule(came=st.lists(st.tuples(numbers, places, st.booleans()), min_size=1, max_size=6))
    def events_come(self, came: list[tuple[int, int, bool]]) -> None:
        """Some at once: in any order, again, contradicting the first, of batches not there yet."""
        self.come(came)

    @rule(number=numbers, order=st.permutations(range(4)), other=st.booleans())
    def all_events_of_a_batch_come(self, number: int, order: list[int], other: bool) -> None:
        """At once: each must see what the others left."""
        self.come([(number, index, other) for index in order])

    def come(self, came: list[tuple[int, int, bool]]) -> None:
        """Deliver them, and note what must become of them."""
        bodies = [self.body(number, index, other=other) for number, index, other in came]
        for (number, index, other), answer in zip(came, self.accept(*bodies), strict=True):
            if number not in self.model.states:
                assert isinstance(answer, InputError)
                assert "there is no batch" in str(answer)
                continue
            assert answer is None
            batch = asked(number)
            new = results(batch, [index % len(batch.candidates)], other=other)
            self.model.keep(number, new)
            if self.model.complete(number):
                self.model.decide(number, {})

    @rule(number=numbers, index=places, lie=st.sampled_from(sorted(LIES)))
    def a_lie_comes(self, number: int, index: int, lie: str) -> None:
        """It is refused, and the invariant sees that it changes nothing."""
        batch = asked(number)
        scored = [c for c in batch.candidates if c.answer.split()[0] in SCORES]
        candidate = scored[index % len(scored)]
        truth = self.body(number, candidate.index, other=False)
        told = {**truth, **LIES[lie](batch, candidate)}
        (answer,) = self.accept(told)
        assert isinstance(answer, InputError), f"{lie} was believed: {answer!r}"

    @precondition(lambda self: self.model.states)
    @rule(data=st.data(), other=st.booleans())
    def a_crash_leaves_a_batch_complete(self, data: Any, other: bool) -> None:
        """Every result is on record and the outcome is not: the next start decides."""
        number = data.draw(st.sampled_from(sorted(self.model.states)))
        came = results(asked(number), range(8), other=other)
        self.commit(lambda it: it.keep(asked(number), came))
        self.model.keep(number, came)
        self.restart()
        self.loop.run_until_complete(self.external._close_due(everything=True))
        self.model.decide(number, {})

    @rule()
    def time_runs_out(self) -> None:
        """What nobody verified counts as failed; what came in time stays."""
        waiting = [n for n in self.model.states if n not in self.model.decided]
        self.loop.run_until_complete(self.listening(timeout_s=1e-6)._close_due(everything=True))
        for number in waiting:
            found = self.ledger.find(batch_id(number))
            assert found is not None
            late = {
                answer: said
                for answer, said in found.results.items()
                if answer not in self.model.states[number].results
            }
            assert all(
                "not verified within" in getattr(said, "reason", "") for said in late.values()
            )
            self.model.decide(number, late)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("machine", [LedgerMachine, ExternalMachine])
def test_any_order(machine: type[Machine], thorough: bool) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=500 if thorough else 30,
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.fixture
def ledgers(tmp_path: Path) -> Iterator[Callable[[], Ledger]]:
    opened: list[Ledger] = []

    def another() -> Ledger:
        opened.append(Ledger(tmp_path / str(len(opened))))
        return opened[-1]

    yield another
    for ledger in opened:
        ledger.close()


@pytest.mark.parametrize("number", NUMBERS)
def test_every_order_of_a_batch_s_results_ends_the_same(
    number: int, ledgers: Callable[[], Ledger]
) -> None:
    """The outcome, what others are told of it, and the rows."""
    batch = asked(number)
    ends = []
    for order in itertools.permutations(batch.candidates):
        ledger = ledgers()
        ledger.write(Ledger.record, [batch])
        for candidate in order:
            came = {candidate.event_id: result(candidate)}
            ledger.commit([partial(Ledger.keep, batch=batch, results=came)] * 2)
        state = ledger.find(batch.batch_id)
        assert state is not None
        outcome = decide(batch, state.results, RULE, DECIDED)
        ledger.write(Ledger.decide, batch, state.results, outcome)
        (_, decided), *_ = ledger.decided(0, 1)
        told = {str(one.event.event_id): one.event.body for one in outbox.events(ledger, 0, 100)}
        ends.append((decided, told, rows_of(decided)))
    assert all(end == ends[0] for end in ends)
