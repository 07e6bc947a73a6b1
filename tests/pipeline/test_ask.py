"""The ask over fakes: what it asks of whom, and that it records all or nothing."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from rlvr_ray.core import ids
from rlvr_ray.core.errors import (
    ContextOverflow,
    InputError,
    KeyReused,
    LedgerError,
    NoDocuments,
    Overloaded,
    Unavailable,
)
from rlvr_ray.core.records import Kind
from rlvr_ray.documents.retriever import Query
from rlvr_ray.generation.prompts import PROMPT_VERSION, rag_messages
from rlvr_ray.pipeline.ask import Ask, Pipeline
from tests.builders import context
from tests.fakes import FakeGenerator, FakeRecorder, FakeRetriever, Script, completion

pytestmark = pytest.mark.integration


PASSAGES = [context(f"Passage {n}.", 0.9 - n / 10, chunk_index=n) for n in range(4)]


class System:
    """A pipeline and the fakes behind it."""

    def __init__(self) -> None:
        self.retriever = FakeRetriever(PASSAGES)
        self.generator = FakeGenerator()
        self.recorder = FakeRecorder()
        self.pipeline = Pipeline(self.retriever, self.generator, self.recorder, max_tokens=99)
        self.ask = self.pipeline.ask

    def untouched(self) -> bool:
        return not self.recorder.states and self.recorder.calls == 0


@pytest.fixture
async def system() -> System:
    return System()


def ask(batch_id: UUID | None = None, **changes: Any) -> Ask:
    fields: dict[str, Any] = {
        "batch_id": batch_id or uuid4(),
        "correlation_id": "mine",
        "question": "What is Ray?",
        "kind": Kind.PREFERENCE,
        "num_candidates": 3,
        "temperatures": (0.3, 0.7, 0.9),
        "top_k": 3,
    }
    return Ask(**fields | changes)


def says(*texts: str) -> Script:
    return lambda _: texts


async def test_one_search_and_one_generate_make_one_record(system: System) -> None:
    asked = ask()
    batch = await system.ask(asked)
    assert (system.retriever.calls, system.generator.calls, system.recorder.calls) == (1, 1, 1)
    assert system.retriever.queries == [Query(text="What is Ray?", top_k=3)]
    (prompt,) = system.generator.prompts
    assert prompt.messages == rag_messages("What is Ray?", PASSAGES[:3])
    assert (prompt.max_tokens, prompt.json_schema) == (99, None)
    state = system.recorder.states[asked.batch_id]
    assert state.batch == batch


async def test_the_batch_holds_what_was_asked_and_what_came(system: System) -> None:
    system.generator.script = lambda _: [
        completion("first", prompt_tokens=70, completion_tokens=3, cached_tokens=0),
        completion("second", "length", prompt_tokens=70, completion_tokens=9, cached_tokens=69),
        "",
    ]
    asked = ask()
    batch = await system.ask(asked)
    assert (batch.batch_id, batch.correlation_id) == (asked.batch_id, "mine")
    assert (batch.question, batch.kind) == ("What is Ray?", Kind.PREFERENCE)
    assert batch.contexts == tuple(PASSAGES[:3])
    assert batch.prompt_version == PROMPT_VERSION
    assert [c.answer for c in batch.candidates] == ["first", "second", ""]
    assert [c.finish_reason for c in batch.candidates] == ["stop", "length", "stop"]
    assert [c.index for c in batch.candidates] == [0, 1, 2]
    assert [c.event_id for c in batch.candidates] == [
        ids.answer_event(asked.batch_id, n) for n in range(3)
    ]
    assert {c.model for c in batch.candidates} == {"fake-model"}
    assert [c.usage.cached_tokens for c in batch.candidates] == [0, 69, 0]


async def test_references_are_kept_and_not_shown_to_the_model(system: System) -> None:
    batch = await system.ask(ask(references=("It scales.", "It does.")))
    assert batch.references == ("It scales.", "It does.")
    (prompt,) = system.generator.prompts
    assert prompt.messages == rag_messages("What is Ray?", PASSAGES[:3])
    assert (await system.ask(ask())).references == ()


async def test_a_single_answer(system: System) -> None:
    batch = await system.ask(ask(kind=Kind.SINGLE, num_candidates=1))
    assert (batch.kind, len(batch.candidates)) == (Kind.SINGLE, 1)


@pytest.mark.parametrize(
    ("count", "given", "drawn"),
    [
        (3, (0.3, 0.7, 0.9), [0.3, 0.7, 0.9]),
        (8, (0.3, 0.7, 0.9), [0.3, 0.7, 0.9, 0.3, 0.7, 0.9, 0.3, 0.7]),
        (2, (0.3, 0.7, 0.9), [0.3, 0.7]),
        (3, (0.0,), [0.0, 0.0, 0.0]),
    ],
)
async def test_temperatures_are_taken_in_turn(
    system: System, count: int, given: tuple[float, ...], drawn: Sequence[float]
) -> None:
    batch = await system.ask(ask(num_candidates=count, temperatures=given))
    assert [s.temperature for s in system.generator.samples] == drawn
    assert [c.temperature for c in batch.candidates] == drawn


class TestSeeds:
    async def drawn(self, system: System, **changes: Any) -> list[int]:
        """The seeds that an ask gives to the model, which must be those that it records."""
        system.generator.prompts.clear()
        batch = await system.ask(ask(**changes))
        seeds = [sample.seed for sample in system.generator.samples]
        assert [c.seed for c in batch.candidates] == seeds
        return seeds

    async def test_each_candidate_has_its_own(self, system: System) -> None:
        seeds = await self.drawn(system, num_candidates=8, temperatures=(0.7,))
        assert len(set(seeds)) == 8
        assert all(0 <= seed < 2**31 for seed in seeds)

    async def test_a_given_seed_gives_the_same_again(self, system: System) -> None:
        first = await self.drawn(system, seed=7)
        assert await self.drawn(system, seed=7) == first
        assert await self.drawn(system, seed=7, num_candidates=5) != first
        assert (await self.drawn(system, seed=7, num_candidates=5))[:3] == first
        assert not set(await self.drawn(system, seed=8)) & set(first)

    async def test_seed_zero_is_a_seed(self, system: System) -> None:
        assert await self.drawn(system, seed=0) == await self.drawn(system, seed=0)

    async def test_without_one_the_batch_decides(self, system: System) -> None:
        batch_id = uuid4()
        first = await self.drawn(system, batch_id=batch_id)
        system.recorder.states.clear()
        assert await self.drawn(system, batch_id=batch_id) == first
        assert not set(await self.drawn(system)) & set(first)


class TestNothingIsRecorded:
    async def test_without_documents(self, system: System) -> None:
        system.retriever.passages = []
        with pytest.raises(NoDocuments, match="rlvr ingest"):
            await system.ask(ask())
        assert system.generator.calls == 0
        assert system.untouched()

    @pytest.mark.parametrize("error", [ContextOverflow("too long"), InputError("too odd")])
    async def test_where_the_model_refuses_the_prompt(
        self, system: System, error: InputError
    ) -> None:
        system.generator.script = lambda _: error
        with pytest.raises(InputError) as caught:
            await system.ask(ask())
        assert caught.value is error
        assert system.untouched()

    @pytest.mark.parametrize("part", ["generator", "retriever"])
    @pytest.mark.parametrize("error", [Unavailable("down"), Overloaded("busy")])
    async def test_where_a_part_is_down(self, system: System, part: str, error: Exception) -> None:
        getattr(system, part).failures = [error]
        asked = ask()
        with pytest.raises(type(error), match=str(error)):
            await system.ask(asked)
        assert system.untouched()
        await system.ask(asked)
        assert list(system.recorder.states) == [asked.batch_id]

    @pytest.mark.parametrize("text", ["\0", "fine \0 not", "\ud800", "\udfff end"])
    @pytest.mark.parametrize("place", range(3))
    async def test_where_an_answer_cannot_be_kept(
        self, system: System, text: str, place: int
    ) -> None:
        texts = ["one", "two", "three"]
        texts[place] = text
        system.generator.script = says(*texts)
        with pytest.raises(Unavailable, match="cannot be kept"):
            await system.ask(ask())
        assert system.untouched()

    async def test_where_there_is_no_room(self, system: System) -> None:
        """It is found out before anything is generated, not when the answers are there."""
        system.recorder.full = Overloaded("no room")
        asked = ask()
        with pytest.raises(Overloaded, match="no room"):
            await system.ask(asked)
        assert system.generator.calls == 0
        assert system.untouched()
        system.recorder.full = None
        await system.ask(asked)
        assert list(system.recorder.states) == [asked.batch_id]

    async def test_where_the_caller_goes_away(self, system: System) -> None:
        system.generator.hang()
        task = asyncio.create_task(system.ask(ask()))
        await system.generator.until(lambda: system.generator.running == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (system.generator.running, system.generator.cancelled) == (0, 1)
        assert system.untouched()

    @pytest.mark.parametrize("error", [LedgerError("locked"), Overloaded("full")])
    async def test_and_nothing_is_acknowledged_where_the_ledger_fails(
        self, system: System, error: Exception
    ) -> None:
        system.recorder.failures = [error]
        with pytest.raises(type(error), match=str(error)):
            await system.ask(ask())
        assert system.recorder.states == {}


class TestRepeats:
    async def test_a_repeat_returns_what_was_recorded(self, system: System) -> None:
        asked = ask(fingerprint="f")
        first = await system.ask(asked)
        again = await system.ask(asked)
        assert again == first
        # Two looks and one record: the repeat neither searches nor generates.
        assert (system.retriever.calls, system.generator.calls, system.recorder.calls) == (1, 1, 3)

    async def test_a_repeat_needs_no_part_but_the_ledger(self, system: System) -> None:
        asked = ask(fingerprint="f")
        first = await system.ask(asked)
        system.generator.failures = [Unavailable("down")]
        system.retriever.passages = []
        system.recorder.full = Overloaded("no room")
        assert await system.ask(asked) == first

    async def test_without_a_key_nobody_looks_for_a_repeat(self, system: System) -> None:
        await system.ask(ask())
        assert system.generator.calls == 1

    @pytest.mark.parametrize(
        "changes",
        [
            {"question": "Another?"},
            {"num_candidates": 4},
            {"kind": Kind.SINGLE, "num_candidates": 1},
            {"references": ("a",)},
        ],
    )
    async def test_a_key_belongs_to_one_question(
        self, system: System, changes: dict[str, Any]
    ) -> None:
        asked = ask(fingerprint="f")
        first = await system.ask(asked)
        with pytest.raises(InputError, match="Idempotency-Key"):
            await system.ask(ask(asked.batch_id, fingerprint="f", **changes))
        assert system.generator.calls == 1
        assert system.recorder.states[asked.batch_id].batch == first

    @pytest.mark.parametrize("others", [(), ("b", "a"), ("a",), ("a", "b", "b")])
    async def test_a_key_belongs_to_its_references(
        self, system: System, others: tuple[str, ...]
    ) -> None:
        asked = ask(fingerprint="f", references=("a", "b"))
        first = await system.ask(asked)
        assert await system.ask(asked) == first
        with pytest.raises(InputError, match="Idempotency-Key"):
            await system.ask(ask(asked.batch_id, fingerprint="f", references=others))
        assert system.recorder.states[asked.batch_id].batch == first

    async def test_two_at_the_same_time_return_one_batch(self, system: System) -> None:
        number = 0

        def other_texts_each_time(_: Any) -> list[str]:
            nonlocal number
            number += 1
            return [f"answer {n} of call {number}" for n in range(3)]

        system.generator.script = other_texts_each_time
        system.generator.hang()
        asked = ask(fingerprint="f")
        tasks = [asyncio.create_task(system.ask(asked)) for _ in range(2)]
        await system.generator.until(lambda: system.generator.running == 2)
        system.generator.release()
        one, two = await asyncio.gather(*tasks)
        assert one == two == system.recorder.states[asked.batch_id].batch
        assert number == 2

    @pytest.mark.parametrize("changes", [{"question": "Another?"}, {"top_k": 1}, {"seed": 7}])
    async def test_two_other_requests_at_the_same_time_are_told_apart(
        self, system: System, changes: dict[str, Any]
    ) -> None:
        """A restart forgot which was first; neither saw the other's batch: the ledger decides."""
        system.generator.hang()
        batch_id = uuid4()
        tasks = []
        for asked in (ask(batch_id, fingerprint="f"), ask(batch_id, fingerprint="g", **changes)):
            tasks.append(asyncio.create_task(system.ask(asked)))
            running = len(tasks)
            await system.generator.until(lambda: system.generator.running == running)  # noqa: B023
            system.recorder.reserved.clear()
        system.generator.release()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        kept = system.recorder.states[batch_id].batch
        assert [r for r in results if not isinstance(r, BaseException)] == [kept]
        assert [type(r) for r in results if isinstance(r, BaseException)] == [KeyReused]

    async def test_a_batch_without_a_fingerprint_is_known_by_what_it_holds(
        self, system: System
    ) -> None:
        """Earlier versions recorded none."""
        asked = ask()
        first = await system.ask(asked)
        assert await system.ask(replace(asked, fingerprint="f")) == first
        with pytest.raises(KeyReused):
            await system.ask(replace(asked, fingerprint="f", question="Another?"))
