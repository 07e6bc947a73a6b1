"""The rows of a data folder, and the selection of those to export."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from rlvr_ray.core import codec
from rlvr_ray.core.errors import InputError
from rlvr_ray.core.fields import DIGITS
from rlvr_ray.core.spelling import displayed, same_answer
from rlvr_ray.dataset.reviews import Verdict
from rlvr_ray.settings import Settings
from rlvr_ray.training.export import choosing, examples
from rlvr_ray.training.export.contradictions import Contradictions, Preferences
from rlvr_ray.training.export.examples import Answer, NoPair, Pair
from rlvr_ray.training.export.report import ExportStatistics
from rlvr_ray.training.export.request import Request

#: Rows of Parquet that are read at once.
BATCH = 1000


class HumanReviews:
    """The latest review of each pair; raises LedgerError where the folder has no ledger."""

    def __init__(self, data_dir: Path, *, reviewed_only: bool) -> None:
        from rlvr_ray.dataset.ledger import Browser

        self._reviewed_only = reviewed_only
        browser = Browser(data_dir)
        try:
            self._verdicts = browser.judged()
        finally:
            browser.close()

    def pair(self, pair: Pair, stats: ExportStatistics) -> Pair | None:
        """The pair, swapped where its review says so; None where it is left out, and counted."""
        review = self._verdicts.get(pair.batch_id)
        stats.human[review.value if review else "unreviewed"] += 1
        if review is None and self._reviewed_only:
            stats.left_out["unreviewed"] += 1
            return None
        kept = reviewed_pair(pair, review)
        if kept is None:
            stats.left_out[f"human_{review}"] += 1
        return kept


def reviewed_pair(pair: Pair, review: Verdict | None) -> Pair | None:
    """The pair as its review has it; None where that leaves it out."""
    if review in (None, Verdict.AGREE):
        return pair
    if review is not Verdict.DISAGREE:
        return None
    assert pair.margin is not None, "it has not been swapped before"
    return replace(
        pair,
        chosen=pair.rejected,
        rejected=pair.chosen,
        chosen_score=round(pair.chosen_score - pair.margin, DIGITS),
        margin=None,
        defect=None,
    )


def chosen(
    settings: Settings, request: Request, stats: ExportStatistics, human: HumanReviews | None
) -> Iterator[Pair | Answer | NoPair]:
    """What is to be rows: pairs as they are or as people want them, or of each batch's answers."""
    values = _values(settings.data_dir, request.dataset, stats)
    if request.dataset == "dpo_data":
        for value in values:
            if human is None or not isinstance(value, Pair):
                yield value
            elif kept := human.pair(value, stats):
                yield kept
        return
    for _, batch in itertools.groupby(values, key=lambda value: value.batch_id):
        answers = [value for value in batch if isinstance(value, Answer)]
        try:
            yield from _of_batch(answers, settings, request, stats)
        except ValueError as error:
            stats.leave("incomplete", str(error))


def _of_batch(
    answers: Sequence[Answer], settings: Settings, request: Request, stats: ExportStatistics
) -> Iterator[Pair | Answer | NoPair]:
    if request.format == "rewards":
        for value in answers:
            if value.score is None:
                stats.left_out["unscored"] += 1
            else:
                yield value
    elif request.format == "sft":
        one, reasons = choosing.best(answers, settings.dpo.rule())
        stats.left_out.update(reasons)
        if one is not None:
            yield one
    elif request.format == "no-pair":
        if answers[0].outcome != "pair":
            batch = choosing.no_pair(answers)
            if isinstance(batch, NoPair):
                yield batch
            else:
                stats.left_out[batch] += 1
    else:
        pairs = choosing.pairs(answers, request.pairs, settings.dpo.rule())
        if isinstance(pairs, list):
            yield from pairs
        else:
            stats.left_out[pairs] += 1


def contradictions(
    settings: Settings, request: Request, human: HumanReviews | None
) -> Contradictions:
    """Which pairs contradict each other: those that are to be exported or, where answers are, those
    that were decided. It reads all rows once."""
    pairs: Iterator[Pair | Answer | NoPair] = iter(())
    if request.has_pairs:
        pairs = chosen(settings, request, ExportStatistics(), human)
    elif any(_files(settings.data_dir / "dpo_data")):
        pairs = _values(settings.data_dir, "dpo_data", ExportStatistics())
    preferences = Preferences()
    for pair in pairs:
        whole = isinstance(pair, Pair) and all(map(displayed, pair.answers))
        if whole and not same_answer(*pair.answers):
            preferences.add(pair.batch_id, pair.question, *pair.answers)
    return preferences.contradictions()


def _values(data_dir: Path, dataset: str, stats: ExportStatistics) -> Iterator[Pair | Answer]:
    """The rows that can be read, each once, in the order of the files."""
    known: set[str] = set()
    for place, row in _rows(data_dir / dataset, stats):
        value: Pair | Answer
        try:
            value = examples.pair(row) if dataset == "dpo_data" else examples.answer(row)
        except ValueError as error:
            stats.bad(place, str(error))
            continue
        name = value.batch_id if isinstance(value, Pair) else value.event_id
        if name in known:
            stats.left_out["repeated"] += 1
            continue
        known.add(name)
        yield value


def _rows(folder: Path, stats: ExportStatistics) -> Iterator[tuple[str, Any]]:
    """Rows and where they stand: of JSONL or, where there is none, of Parquet parts."""
    lines, parts = _files(folder)
    if not lines and not parts:
        raise InputError(f"{folder} has no files: ask questions first, or name another --data-dir")
    for file in lines:
        try:
            with file.open("rb") as stream:
                yield from _of_lines(file, stream, stats)
        except OSError as error:
            raise InputError(f"{file} cannot be read: {error.strerror}") from None
    for file in parts:
        try:
            number = 0
            with pq.ParquetFile(file) as part:
                for batch in part.iter_batches(BATCH):
                    for row in batch.to_pylist():
                        number += 1
                        stats.read += 1
                        yield f"{file}, row {number}", row
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{file} cannot be read: {error}") from None


def _files(folder: Path) -> tuple[list[Path], list[Path]]:
    """JSONL files or, where there are none, Parquet parts."""
    lines = sorted(folder.glob("*.jsonl"))
    return lines, [] if lines else sorted(folder.glob("parquet/*.parquet"))


def _of_lines(file: Path, stream: BinaryIO, stats: ExportStatistics) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(stream, 1):
        if not line.strip():
            continue
        stats.read += 1
        try:
            yield f"{file}:{number}", codec.parse(line.decode("utf-8-sig"))
        except (ValueError, RecursionError) as error:
            if not line.endswith(b"\n"):
                stats.left_out["unfinished"] += 1
            elif isinstance(error, UnicodeDecodeError):
                stats.bad(f"{file}:{number}", "not UTF-8")
            else:
                stats.bad(f"{file}:{number}", f"not JSON: {error}")
