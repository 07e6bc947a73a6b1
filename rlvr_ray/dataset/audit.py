"""Checking the store: every property of the ledger and the files, one after another.

It reads a snapshot, so it can run beside a working server, and it changes nothing.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from rlvr_ray.core.pairing import VERSION, PairingRule, decide
from rlvr_ray.core.records import Verification
from rlvr_ray.core.scoring import score
from rlvr_ray.dataset.filters import entry_of
from rlvr_ray.dataset.ledger import soundness
from rlvr_ray.dataset.projection import STEP, month_of, rows_between, rows_of
from rlvr_ray.dataset.rows import DATASETS
from rlvr_ray.dataset.state import BatchState, JsonlFile, Part

if TYPE_CHECKING:
    from rlvr_ray.dataset.files import Dataset
    from rlvr_ray.dataset.ledger import Reader


def audit(ledger: "Reader", dataset: "Dataset") -> Iterator[str]:
    """One line for each thing that is wrong; none where all is well.

    Files are compared only with a ledger that is sound itself, but for records that are set aside:
    files have no rows of those, once they are written again.
    """
    with ledger.snapshot():
        if damage := list(soundness.damage(ledger)):
            yield from damage
            return
        problems = [*soundness.misfits(ledger), *_batches(ledger)]
        ledger.look_through_others()
        for what, why in ledger.set_aside.items():
            yield f"{what}: a record cannot be read, and is set aside: {why}"
        if problems:
            yield from problems
            return
        yield from _jsonl(ledger, dataset)
        yield from _parts(ledger, dataset)
        files = {*ledger.files(), *(part.path for part in ledger.parts())}
        for path in dataset.stray(files):
            yield f"{path}: not written by this ledger"


def _batches(ledger: "Reader") -> Iterator[str]:
    seq = 0
    while (found := ledger.batches(seq, STEP)).more:
        for number, state in found:
            for problem in _problems(state):
                yield f"batch {state.batch.batch_id}: {problem}"
            outcome = state.outcome
            if soundness.entry(ledger, number) != (outcome and entry_of(state.batch, outcome)):
                yield f"batch {state.batch.batch_id}: searches find something else than its records"
        seq = found.last


def _problems(state: BatchState) -> Iterator[str]:
    batch, outcome = state.batch, state.outcome
    if outcome is None:
        return
    if outcome.rule.get("version", 1) == VERSION:
        rule = PairingRule.on_record(outcome.rule)
        again = decide(batch, state.results, rule, outcome.decided_at)
        if replace(again, rule=outcome.rule) != outcome:  # it may know fewer settings
            yield "its outcome does not follow from its results and the rule on record"
        return
    # Decided by another version of the rule. What holds by any: a pair's two answers differ, with a
    # margin (or the outcome could not be read), and scores are those of the results.
    for index, value in (
        (outcome.chosen, outcome.chosen_score),
        (outcome.rejected, outcome.rejected_score),
    ):
        if index is not None and value != _score(state, index):
            yield f"its outcome gives answer {index + 1} a score that its results do not"


def _score(state: BatchState, index: int) -> float | None:
    """Of a candidate; None where it has none."""
    result = state.results[state.batch.candidates[index].event_id]
    return score(result) if isinstance(result, Verification) else None


def _jsonl(ledger: "Reader", dataset: "Dataset") -> Iterator[str]:
    """Each file must be, byte for byte, what the ledger would write."""
    files = ledger.files()
    expected = {}
    for path, file in files.items():
        if file.kept and dataset.digest(path, file.kept) != file.sha256:
            yield f"{path}: its first {file.kept:,} bytes, past retention, changed or are gone"
        expected[path] = _Running(file)
    seq = ledger.mark("pruned")
    last = ledger.mark("projected")
    while seq < last and (states := ledger.decided(seq, STEP)).more:
        for place, state in states:
            if place > last:
                break
            for name, new in rows_of(state).items():
                path = dataset.jsonl_path(name, month_of(state))
                if new and path not in expected:
                    yield f"{path}: the ledger has rows of it and knows no such file"
                    expected[path] = _Running(JsonlFile(bytes=0))
                if new:
                    expected[path].add(dataset.lines(new))
        seq = states.last
    for path, running in expected.items():
        size = dataset.size(path)
        if size < running.length:
            yield f"{path}: {size:,} bytes, and should have {running.length:,}"
        elif running.file.bytes != running.length:
            yield f"{path}: {running.file.bytes:,} bytes on record, {running.length:,} expected"
        elif dataset.digest(path, running.length, start=running.file.kept) != running.digest():
            yield f"{path}: differs from the ledger"


class _Running:
    """Length and hash of a file as it should be, from behind what cannot be written again."""

    def __init__(self, file: JsonlFile) -> None:
        self.file = file
        self.length = file.kept
        self._sha256 = hashlib.sha256()

    def add(self, data: bytes) -> None:
        self.length += len(data)
        self._sha256.update(data)

    def digest(self) -> str:
        return self._sha256.hexdigest()


def _parts(ledger: "Reader", dataset: "Dataset") -> Iterator[str]:
    pruned = ledger.mark("pruned")
    parts = ledger.parts()
    for name in DATASETS:
        last = 0
        for part in (part for part in parts if part.dataset == name):
            if part.first_seq <= last or part.last_seq < part.first_seq:
                yield f"{part.path}: its range overlaps another one's"
            if rows := _uncovered(ledger, name, max(last, pruned), part.first_seq):
                yield f"{part.path}: {rows} rows before it are in no part"
            last = part.last_seq
    for part in parts:
        if part.sha256 is not None:
            yield from _part(ledger, dataset, part, pruned)


def _uncovered(ledger: "Reader", name: str, after: int, before: int) -> int:
    if before - after <= 1:
        return 0
    gap = Part(path="", dataset=name, first_seq=after + 1, last_seq=before - 1, rows=0)
    return sum(1 for _ in rows_between(ledger, gap))


def _part(ledger: "Reader", dataset: "Dataset", part: Part, pruned: int) -> Iterator[str]:
    digest = dataset.part_digest(part.path)
    if digest is None:
        yield f"{part.path}: missing"
    elif digest != part.sha256:
        yield f"{part.path}: changed since it was sealed"
    elif part.last_seq > pruned and not dataset.part_holds(
        part.dataset, part.path, list(rows_between(ledger, part))
    ):
        yield f"{part.path}: differs from the ledger"
