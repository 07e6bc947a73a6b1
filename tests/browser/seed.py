"""Batches that are decided already, for pages that show many."""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

from rlvr_ray.core import ids
from rlvr_ray.core.pairing import PairingRule, Result, decide
from rlvr_ray.core.records import Batch, Outcome, Statement
from rlvr_ray.dataset.ledger import Ledger, Operation
from tests.builders import batch, context, failed, verification

#: The last seeded batch was decided then; those before it at even steps back over this time.
LAST, SPAN = datetime(2026, 11, 20, 12, tzinfo=UTC), timedelta(days=90)
MODELS = ("SmolLM2-135M-Instruct", "Llama-3.2-3B-Instruct", "Qwen3-4B")
TOPICS = ("the hive", "the queen", "the lamp", "the lens", "the starter", "the dough", "honey")
VERBS = ("keep", "lose", "need", "hold", "become", "cost", "weigh", "outlast")
#: Batches in one commit.
AT_ONCE = 500

PLAIN = PairingRule()
Decided = tuple[Batch, dict[UUID, Result], Outcome]


def seed(ledger: Ledger, decided: Iterable[Decided]) -> None:
    """Record and decide these batches, in their order."""
    gathered: list[Decided] = []
    for each in decided:
        gathered.append(each)
        if len(gathered) == AT_ONCE:
            _commit(ledger, gathered)
            gathered.clear()
    _commit(ledger, gathered)


def batches(count: int, rule: PairingRule = PLAIN) -> Iterator[Decided]:
    """So many, most of them pairs, oldest first: the same ones for the same count."""
    chance = random.Random(7)
    for number in range(count):
        asked = LAST - SPAN * ((count - 1 - number) / max(count, 1))
        yield _decided(number, asked, chance, rule)


def _decided(number: int, asked: datetime, chance: random.Random, rule: PairingRule) -> Decided:
    topic, verb = chance.choice(TOPICS), chance.choice(VERBS)
    question = f"What does {topic} {verb} in year {number}?"
    answers = [
        f"In year {number} {topic} is said to {verb} {chance.randint(2, 90)} of them. {tail}"
        for tail in ("The passage says so.", "Some doubt it.", "Nobody has counted them.")
    ]
    alike = chance.random() < 0.04
    recorded = batch(
        [answers[0]] * 3 if alike else answers,
        question,
        ids.derive("seed", number),
        created_at=asked - timedelta(seconds=4),
        contexts=(
            context(f"About {topic}, year {number}: it is known to {verb} much.", 0.71),
            context("Of other things little is known.", 0.42, chunk_index=1, start=60),
        ),
        correlation_id=f"seed-{number // 100}",
    )
    model = chance.choice(MODELS)
    candidates = tuple(replace(each, model=model) for each in recorded.candidates)
    recorded = replace(recorded, candidates=candidates)
    results: dict[UUID, Result] = {}
    unscored = chance.random() < 0.02
    base = 0.5 + chance.betavariate(6, 2) / 2
    for place, candidate in enumerate(candidates):
        if unscored and place > 0:
            results[candidate.event_id] = failed(candidate)
            continue
        faithfulness = 0.9 if alike else min(max(base - place * chance.uniform(-0.02, 0.3), 0), 1)
        relevancy = 0.8 if alike else min(max(faithfulness + chance.uniform(-0.1, 0.1), 0), 1)
        first, second = candidate.answer.split(". ", 1)
        results[candidate.event_id] = verification(
            candidate,
            faithfulness,
            relevancy,
            completed_at=asked,
            statements=(
                Statement(text=f"{first}.", verdict=1.0, reason="it is there"),
                Statement(
                    text=second,
                    verdict=float(place == 0),
                    reason="no passage has it" if place else "it is there",
                ),
            ),
        )
    return recorded, results, decide(recorded, results, rule, asked)


def _commit(ledger: Ledger, decided: Sequence[Decided]) -> None:
    operations: list[Operation] = [
        partial(Ledger.record, batches=[recorded]) for recorded, _, _ in decided
    ]
    operations += [partial(Ledger.decide, batch=b, results=r, outcome=o) for b, r, o in decided]
    if operations:
        ledger.commit(operations)
