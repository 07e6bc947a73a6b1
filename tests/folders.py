"""A data folder over real runs of ledger and projector, and what its files ought to hold."""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from rlvr_ray.core.pairing import PairingRule, Result, decide
from rlvr_ray.core.records import Assessment, Candidate, Kind
from rlvr_ray.dataset import rows
from rlvr_ray.dataset.files import Dataset
from rlvr_ray.dataset.ledger import Ledger
from rlvr_ray.dataset.projection import Projector
from rlvr_ray.dataset.state import BatchState
from rlvr_ray.settings import DatasetSettings
from tests.builders import (
    DECIDED,
    assessment,
    batch,
    context,
    failed,
    plain_assessment,
    verification,
)

DPO = "dpo_data/dpo_data_202603.jsonl"
TRAINING = "training_data/training_data_202603.jsonl"
#: What tears lines, columns and encodings.
ODD = (
    'U+2028 \u2028, U+2029 \u2029, NEL \x85, \v\f\x1c\x1d\x1e, CRLF \r\n, "quotes", \\, 🦆, \ufeff'
)
Scores = Sequence[float | str | tuple[Assessment, ...]]


def decided(
    number: int,
    scores: Scores = (0.9, 0.7, 0.5),
    *,
    at: datetime = DECIDED,
    answers: Sequence[str] | None = None,
    rule: PairingRule | None = None,
    **changes: Any,
) -> BatchState:
    """A decided batch; a score may be several assessments, or the reason of a failure."""
    answers = answers or [f"answer {i} of {number}" for i in range(len(scores))]
    recorded = batch(answers, f"Question {number}?", **changes)
    results: dict[Any, Result] = {
        c.event_id: _result(c, s) for c, s in zip(recorded.candidates, scores, strict=True)
    }
    return BatchState(
        batch=recorded,
        results=results,
        outcome=decide(recorded, results, rule or PairingRule(), at),
    )


def _result(candidate: Candidate, score: float | str | tuple[Assessment, ...]) -> Result:
    if isinstance(score, str):
        return failed(candidate, score)
    if isinstance(score, tuple):
        return verification(candidate, assessments=score)
    return verification(candidate, score, score)


def panel(score: float) -> tuple[Assessment, ...]:
    """What several verifiers say, of whom two count."""
    return (
        assessment(score, None, verifier="ragas", weight=2.0, detail=ODD),
        plain_assessment(score, detail="as the reference says"),
        assessment(1 - score, 0.5, weight=0.0),
    )


#: One of each kind that makes other rows: a pair, no pair, a failure, a single answer, odd texts,
#: several verifiers.
MIXED = (
    decided(0),
    decided(1, (0.9, 0.89)),
    decided(2, (0.9, "the judge is silent", "the judge is silent")),
    decided(3, (0.8,), kind=Kind.SINGLE),
    decided(4, (0.95, 0.2), answers=(ODD, f"rejected {ODD}")),
    decided(5, ("all", "of", "them failed")),
    decided(6, (0.75, 0.5), rule=PairingRule(prompt="rag", quality_filter=True)),
    decided(
        7,
        (panel(1.0), panel(0.0)),
        references=("right", ODD),
        contexts=(context("", -0.25, source="ünï.md", chunk_index=7, start=9),),
    ),
)


class Folder:
    """A data folder and what it holds."""

    def __init__(self, path: Path, settings: DatasetSettings | None = None) -> None:
        self.path = path
        self.settings = settings or DatasetSettings()

    @contextlib.contextmanager
    def open(self) -> Iterator[tuple[Ledger, Projector]]:
        """One run of the program up to a crash: nothing is sealed at the end."""
        ledger = Ledger(self.path)
        reader = ledger.reader()
        try:
            dataset = Dataset(self.path, self.settings.parquet_uri)
            projector = Projector(reader, ledger.write, dataset, self.settings)
            projector.mend()
            projector.mend_parts()
            yield ledger, projector
        finally:
            reader.close()
            ledger.close()

    def run(self, states: Sequence[BatchState] = (), *, seal: bool = True) -> None:
        """One orderly run that decides some batches, one after the other."""
        with self.open() as (ledger, projector):
            projector.project()
            for state in states:
                decide_in(ledger, state)
                projector.project()
                projector.seal_due()
            if seal:
                projector.seal_all()

    def files(self) -> dict[str, bytes]:
        """Every dataset file and its bytes."""
        return files_under(self.path)

    def lines(self, path: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.path / path).read_bytes().splitlines()]

    def parts(self, dataset: str) -> list[list[dict[str, Any]]]:
        """The rows of each part, in the order of their names."""
        found = sorted((self.path / dataset).glob("parquet/*.parquet"))
        return [pq.read_table(p).to_pylist() for p in found]

    def sealed(self, dataset: str) -> list[dict[str, Any]]:
        return [row for part in self.parts(dataset) for row in part]


def files_under(folder: Path) -> dict[str, bytes]:
    found = sorted(p for p in folder.glob("*_data/**/*") if p.is_file())
    return {str(p.relative_to(folder)): p.read_bytes() for p in found}


def decide_in(ledger: Ledger, state: BatchState) -> None:
    outcome = state.outcome
    assert outcome is not None
    ledger.commit(
        [
            lambda it: it.record([state.batch]),
            lambda it: it.decide(state.batch, state.results, outcome),
        ]
    )


def expected(states: Sequence[BatchState]) -> dict[str, list[rows.Row]]:
    """The rows that states make, by dataset, as JSON holds them."""
    found: dict[str, list[rows.Row]] = {"dpo_data": [], "training_data": []}
    for state in states:
        assert state.outcome is not None
        for name, new in rows.of_batch(state.batch, state.results, state.outcome).items():
            found[name] += new
    plain: dict[str, list[rows.Row]] = json.loads(json.dumps(found))
    return plain


def same_files(found: Mapping[str, bytes], wanted: Mapping[str, bytes]) -> None:
    """Fail with the first difference; a diff of whole files would say nothing."""
    assert sorted(found) == sorted(wanted)
    for path, content in wanted.items():
        if found[path] != content:
            at = next(
                (i for i, (a, b) in enumerate(zip(found[path], content, strict=False)) if a != b),
                min(len(found[path]), len(content)),
            )
            around = slice(max(0, at - 40), at + 40)
            pytest.fail(
                f"{path} differs at byte {at} of {len(content)}: "
                f"{found[path][around]!r} is not {content[around]!r}"
            )
