"""Odd values in every field of everything that comes in, and a system that they are thrown at.

The same seed throws the same. What a field may hold is the ledger's business: here it is only seen
that whatever was taken can be read, and that nothing else is held up.
"""

import asyncio
import contextlib
import copy
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from rlvr_ray.core import ids
from rlvr_ray.core.errors import InputError, JudgeError, RlvrError
from rlvr_ray.core.pairing import PairingRule, Result, decide
from rlvr_ray.core.records import Batch, Context
from rlvr_ray.dataset.audit import audit
from rlvr_ray.dataset.files import Dataset
from rlvr_ray.dataset.filters import MEASURES, OUTCOMES, REVIEWS, Filter
from rlvr_ray.dataset.ledger import Browser, Ledger
from rlvr_ray.dataset.projection import Projector
from rlvr_ray.dataset.reviews import Review, Verdict
from rlvr_ray.documents.qdrant.payloads import payload_of
from rlvr_ray.documents.retriever import Ingested
from rlvr_ray.events import consumer, validation
from rlvr_ray.pipeline.aggregator import Aggregator
from rlvr_ray.settings import Settings, VerificationSettings
from rlvr_ray.verification.panel import Member, WeightedPanel
from rlvr_ray.verification.verifier import Claim
from tests import builders
from tests.fakes import FakePublisher

ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 7, 12.0, 3.7, 0.5, -0.0, 1e308, 1e-320, float("nan"),
    float("inf"), -float("inf"), 10**30, -(10**30), 2**53, 2**63, -(2**63), "", " ", "x", "12",
    "NaN", "null", "a" * 5000, "\0", "\ud800", "a\u2028b", "\ufeff", [], ["x"], {}, {"a": 1},
    {"": None}, (), b"\xff", "2026-01-01", "2026-01-01T00:00:00", "9999-12-31T23:59:59-23:59",
    "0001-01-01T00:00:00+23:59", "2026-01-01T00:00:00Z", datetime(2026, 1, 1), UUID(int=0),
    datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC), "high", "pair",
    "00000000-0000-0000-0000-000000000000", "{00000000-0000-0000-0000-000000000000}",
)  # fmt: skip
#: Seconds without any progress after which a loop has stopped.
STILL_S = 60.0
JUDGE = {"faithfulness": "x", "relevancy": "y", "model": "m", "embedder": "e", "version": "1"}


def mutated(record: Any, chance: random.Random) -> Any:
    """A record with an odd value somewhere inside, past every constructor."""
    changed = copy.deepcopy(record)
    place = changed
    while True:
        field = chance.choice(fields(place)).name
        value = getattr(place, field)
        inner = value[chance.randrange(len(value))] if isinstance(value, tuple) and value else value
        if is_dataclass(inner) and chance.random() < 0.85:
            place = inner
            continue
        odd = chance.choice(ODD)
        if isinstance(value, Mapping) and chance.random() < 0.8:
            odd = {**value, chance.choice([*value, "page", "\0", ""]): odd}
        elif isinstance(value, tuple) and chance.random() < 0.5:
            odd = (*value[1:], odd)
        object.__setattr__(place, field, odd)
        return changed


def odd_json(body: Mapping[str, Any], chance: random.Random) -> dict[str, Any]:
    """A JSON object with odd values in one or two places."""
    changed: dict[str, Any] = copy.deepcopy(dict(body))
    for _ in range(chance.choice([1, 1, 2])):
        place = changed
        name = chance.choice(list(place) or ["x"])
        while isinstance(place.get(name), dict) and place[name] and chance.random() < 0.7:
            place = place[name]
            name = chance.choice(list(place))
        if chance.random() < 0.1:
            place.pop(name, None)
        else:
            place[name if chance.random() < 0.9 else "zzz"] = chance.choice(ODD)
    return changed


def sent(body: object) -> bytes:
    """What a careless program puts on the wire."""
    return json.dumps(body, default=str).encode("utf-8", "surrogatepass")


def verified(batch: Batch, index: int, chance: random.Random) -> dict[str, Any]:
    """The event of somebody else's verification of an answer, sound so far."""
    candidate = batch.candidates[index]
    body = {
        "event_id": str(ids.verification_event(batch.batch_id, index)),
        "schema_version": 1,
        "timestamp": datetime.now(UTC).isoformat(),
        "batch_id": str(batch.batch_id),
        "correlation_id": batch.correlation_id,
        "question": batch.question,
        "answer_event_id": str(candidate.event_id),
    }
    if chance.random() < 0.3:
        return body | {"event_type": "verification.failed", "reason": "r", "attempts": 1}
    score = chance.choice([0.25, 0.5, 0.9])
    return body | {
        "event_type": "verification.completed",
        "answer": candidate.answer,
        "faithfulness": score,
        "relevancy": score,
        "score": score,
        "confidence": "high" if score > 0.7 else "low",
        "verifier": JUDGE,
        "duration_ms": chance.choice([5, 5.0]),
    }


class OddVerifier:
    """Somebody else's: sound for answers that begin with ``good``, odd for all others."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.returned = 0

    async def verify(self, claims: Any) -> Any:
        said = [self._one(claim) for claim in claims]
        odd = any(not claim.answer.startswith("good") for claim in claims)
        if odd and self._chance.random() < 0.05:
            return self._chance.choice([None, 3, "abc", said[1:], {}, [*said, None]])
        return said

    def _one(self, claim: Claim) -> Any:
        sound = builders.plain_assessment({"a": 0.9, "b": 0.2}.get(claim.answer[-1:], 0.5))
        if claim.answer.startswith("good"):
            return sound
        self.returned += 1
        if self._chance.random() < 0.1:
            return self._chance.choice([*ODD, JudgeError("\ud800\0" * 2000)])
        return mutated(sound, self._chance)


class Handed:
    """An Inbox that is handed its events, as bytes; what is no event is dropped, as by Consumer."""

    def __init__(self, found: Counter[str]) -> None:
        self._waiting: asyncio.Queue[tuple[bytes, asyncio.Future[None]]] = asyncio.Queue()
        self._found = found

    async def hand(self, data: bytes) -> None:
        """Return once it is dealt with."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        await self._waiting.put((data, done))
        await done

    async def run(self, handle: Callable[[Mapping[str, Any]], Awaitable[None]]) -> None:
        while True:
            data, done = await self._waiting.get()
            try:
                body = received(data)
                if body["event_type"].startswith("verification."):
                    await handle(body)
                self._found["taken"] += 1
            except InputError:
                self._found["refused"] += 1
            except Exception as error:
                self._found[f"RAISED {type(error).__name__}: {error}"[:200]] += 1
            done.set_result(None)


def received(data: bytes) -> Mapping[str, Any]:
    """The body of a message as Consumer takes it."""
    message: Any = SimpleNamespace(body=data, message_id=None, headers={})
    return consumer._received(message).body


class Throwing:
    """A folder whose system is thrown at; ``found`` counts what became of it all.

    A key that begins with ``RAISED`` is an exception that is not of this package's.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.chance = random.Random(seed)
        self.found: Counter[str] = Counter()
        self.number = 0
        #: Batches whose outcome was thrown: it may say anything, and no rule ever said so.
        self.made_up: set[str] = set()

    def batch(self, *answers: str) -> Batch:
        self.number += 1
        return builders.batch(answers or ("good a", "good b"), f"Question {self.number}?")

    async def attempt(self, what: str, doing: Awaitable[object]) -> None:
        try:
            await doing
            self.found[f"{what}: taken"] += 1
        except RlvrError:
            self.found[f"{what}: refused"] += 1
        except Exception as error:
            self.found[f"RAISED {what}: {type(error).__name__}: {error}"[:200]] += 1

    async def run(self, count: int) -> None:
        """Throw so many things, in two lives: verified here, and verified by others."""
        await self._here(count * 7 // 10)
        await self._elsewhere(count * 3 // 10)

    # Verified here.

    async def _here(self, count: int) -> None:
        settings = Settings(data_dir=self.folder)
        member = Member(name="theirs", weight=1.0, verifier=OddVerifier(self.chance))
        panel = WeightedPanel([member], None, VerificationSettings())
        publisher = FakePublisher()
        aggregator = Aggregator(
            Ledger(self.folder), Dataset(self.folder), panel, settings, publisher
        )
        await aggregator.start()
        kinds = [self._record, self._passage, self._result, self._outcome, self._document]
        kinds += [self._review, self._judged]
        async with asyncio.TaskGroup() as group:
            for number in range(count):
                group.create_task(kinds[number % len(kinds)](aggregator))
                if number % 64 == 63:
                    await asyncio.sleep(0.05)
        await self._settled(aggregator, publisher)
        await aggregator.close()

    async def _record(self, aggregator: Aggregator) -> None:
        good, bad = self.batch(), mutated(self.batch("odd a", "odd b"), self.chance)
        await asyncio.gather(
            self.attempt("batch", aggregator.record([bad])), aggregator.record([good])
        )

    async def _passage(self, aggregator: Aggregator) -> None:
        """A payload of another tool, and the ask that finds it."""
        payload = odd_json(
            {"content": "Ray scales Python.", "metadata": dict(builders.context().metadata)},
            self.chance,
        )
        if (found := payload_of(payload)) is None:
            self.found["payload: left out"] += 1
            return
        context = Context(content=found[0], score=0.5, metadata=found[1])
        await aggregator.record([replace(self.batch(), contexts=(context,))])
        self.found["payload: taken"] += 1

    async def _open(self, aggregator: Aggregator) -> tuple[Batch, dict[UUID, Result]]:
        batch = self.batch("good a", "good b")
        results: dict[UUID, Result] = {
            c.event_id: builders.verification(c, (0.9, 0.2)[c.index]) for c in batch.candidates
        }
        return batch, results

    async def _result(self, aggregator: Aggregator) -> None:
        batch, results = await self._open(aggregator)
        first = batch.candidates[0]
        results[first.event_id] = mutated(
            self.chance.choice([results[first.event_id], builders.failed(first)]), self.chance
        )
        commit = aggregator._commits.commit
        recorded = partial(Ledger.record, batches=[batch])
        kept = self.attempt("result", commit(lambda it: it.keep(batch, results)))
        await asyncio.gather(commit(recorded), kept)

    async def _outcome(self, aggregator: Aggregator) -> None:
        batch, results = await self._open(aggregator)
        outcome = mutated(decide(batch, results, PairingRule(), datetime.now(UTC)), self.chance)
        self.made_up.add(str(batch.batch_id))
        commit = aggregator._commits.commit
        decided = self.attempt("outcome", commit(lambda it: it.decide(batch, results, outcome)))
        await asyncio.gather(commit(lambda it: it.record([batch])), decided)

    async def _document(self, aggregator: Aggregator) -> None:
        self.number += 1
        name = ids.derive("odd", self.number)
        document = Ingested(
            document_id=name, source="a.md", num_chunks=1, content_id=name, changed=True
        )
        odd = mutated(document, self.chance)
        await self.attempt("document", aggregator.ingested([odd]))

    async def _review(self, aggregator: Aggregator) -> None:
        batch, results = await self._open(aggregator)
        outcome = decide(batch, results, PairingRule(), datetime.now(UTC))
        commit = aggregator._commits.commit
        await commit(lambda it: it.record([batch]))
        await commit(lambda it: it.decide(batch, results, outcome))
        review = Review(
            review_id=ids.derive("odd review", self.number),
            batch_id=batch.batch_id,
            a=0,
            b=1,
            said="a",
            verdict=Verdict.AGREE,
            note="",
            reviewer="",
            reviewed_at=datetime.now(UTC),
        )
        odd = mutated(review, self.chance)
        await self.attempt("review", commit(lambda it: it.review(odd)))

    async def _judged(self, aggregator: Aggregator) -> None:
        """Both answers get an odd assessment."""
        await aggregator.record([self.batch("odd a", "odd b")])
        self.found["assessment: returned"] += 2

    # Verified elsewhere.

    async def _elsewhere(self, count: int) -> None:
        settings = Settings(data_dir=self.folder)
        found: Counter[str] = Counter()
        inbox = Handed(found)
        publisher = FakePublisher()
        aggregator = Aggregator(
            Ledger(self.folder),
            Dataset(self.folder),
            WeightedPanel([], None, VerificationSettings()),
            settings,
            publisher,
            inbox,
        )
        await aggregator.start()
        for _ in range(count // 2):
            batch = self.batch()
            await aggregator.record([batch])
            for index in range(2):
                sound = verified(batch, index, self.chance)
                await inbox.hand(sent(odd_json(sound, self.chance)))
                await inbox.hand(sent(sound))
        self.found.update({f"event: {name}": number for name, number in found.items()})
        self.found.update(
            {name: number for name, number in found.items() if name.startswith("RAISED")}
        )
        await self._settled(aggregator, publisher)
        await aggregator.close()

    # What must hold.

    async def _settled(self, aggregator: Aggregator, publisher: FakePublisher) -> None:
        """Nothing is open, nothing is behind; no loop stopped."""
        ledger = aggregator._ledger.reader()

        def behind() -> dict[str, int]:
            last = int(ledger._row("SELECT coalesce(max(seq), 0) FROM outbox")[0])
            return {
                "open": ledger.waiting()[0],
                "not written": ledger.last_outcome() - ledger.mark("projected"),
                "not sent": last - ledger.mark("mirrored"),
            }

        progress, moved = behind(), asyncio.get_running_loop().time()
        while any(progress.values()):
            await asyncio.sleep(0.05)
            now, at = behind(), asyncio.get_running_loop().time()
            if now != progress:
                progress, moved = now, at
            assert at - moved < STILL_S, f"stopped: {progress}, {aggregator.last_error}"
        for posted in publisher.published:
            if posted.event.body["batch_id"] not in self.made_up:
                validation.validate(posted.event.body)
        assert aggregator.last_error is None
        ledger.close()

    def poisoned(self) -> list[str]:
        """Whatever cannot be read, or is wrong; the store must be sound, and be written again.

        An outcome that was thrown may say something else than its results, and be one.
        """
        browser = Browser(self.folder)
        look_at_everything(browser)
        found = [f"{what}: {why}" for what, why in browser.set_aside.items()]
        found += (
            line for line in audit(browser, Dataset(self.folder)) if "its outcome" not in line
        )
        browser.close()
        ledger = Ledger(self.folder)
        projector = Projector(
            ledger,
            ledger.write,
            Dataset(self.folder),
            Settings(data_dir=self.folder).dataset,
        )
        found += [f"{path} differs" for path, same in projector.rebuild().items() if not same]
        ledger.close()
        return found


def look_at_everything(browser: Browser) -> None:
    """Every question that anybody asks of a ledger."""
    last = browser.last()
    for where in filters():
        browser.lines(where, 0, last, 50)
        browser.states(where, 0, last, 50)
        browser.count(where, 0, last)
        browser.verdicts(where, 0, last)
        browser.unreviewed(where, [], 0, last)
        for measure in MEASURES:
            browser.histogram(measure, where, 0, last)
    browser.models(), browser.judged(), browser.counts(), browser.waiting(), browser.backlog()
    browser.recent(50), browser.sealed(9), browser.past_retention()
    browser.last_outcome_before(datetime.now(UTC))
    browser.look_through_others()
    for read in (browser.batches, browser.decided, browser.open_batches, browser.outbox):
        seq = 0
        while (page := read(seq, 500)).more:
            seq = page.last
    names = [UUID(name) for (name,) in browser._rows("SELECT batch_id FROM batch")]
    for start in range(0, len(names), 500):
        browser.outcomes(names[start : start + 500])
    for name in names[:: max(len(names) // 200, 1)]:
        browser.named(str(name), 9)
        with contextlib.suppress(RlvrError):
            browser.find(name)
            browser.provenance(name)
            browser.reviews(name)


def filters() -> Iterator[Filter]:
    """One for each thing that can be asked for."""
    year = datetime(2026, 1, 1, tzinfo=UTC)
    yield Filter()
    yield Filter(text="question")
    yield Filter(text="ÄÖ")
    yield Filter(model="test-model", since=year)
    yield Filter(until=year, correlation_id="test-correlation")
    yield Filter(min_score=0.1, max_score=0.95, min_margin=0.0, max_margin=1.0)
    for outcome in OUTCOMES:
        yield Filter(outcomes=(outcome,))
    for review in REVIEWS:
        yield Filter(review=review)
