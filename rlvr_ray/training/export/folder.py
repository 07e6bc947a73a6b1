"""``rlvr export``: the datasets of a data folder as a folder for a trainer.

One pass finds contradicting pairs. A second pass converts rows into a temporary file and records
which rows belong together; then they are distributed to train and eval. Memory holds ids, hashes
and figures of the rows, but not their texts.
"""

import itertools
import json
import os
import shlex
import shutil
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rlvr_ray import __version__
from rlvr_ray.core import codec
from rlvr_ray.core.errors import InputError, RlvrError, Unavailable
from rlvr_ray.dataset.rows import Row
from rlvr_ray.generation.prompts import PROMPT_VERSION
from rlvr_ray.settings import Settings
from rlvr_ray.training.export import decontamination, filters, formats
from rlvr_ray.training.export.card import REASONS, card
from rlvr_ray.training.export.near_duplicates import NearDuplicates
from rlvr_ray.training.export.report import ExportStatistics, figures, nothing, ranked
from rlvr_ray.training.export.request import Request
from rlvr_ray.training.export.selection import HumanReviews, chosen, contradictions
from rlvr_ray.training.export.splitting import Groups

#: What a folder may hold.
FILES = (
    *(f"{split}.{kind}" for split in ("train", "eval") for kind in ("jsonl", "parquet")),
    "dataset_info.json",
    "README.md",
)
#: Rows of one Parquet row group.
ROW_GROUP = 1000


def run(settings: Settings, request: Request) -> dict[str, Any]:
    """Write the folder, which appears whole or not at all, and return what the card says.

    Raises InputError where nothing can be exported, Unavailable where the disk does not take it.
    """
    count = filters.token_counter(request.tokenizer)
    out = request.out.resolve()
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        report = _write(settings, request, count, temporary)
        temporary.rename(out)
    except OSError as error:
        raise Unavailable(f"{request.out} cannot be written: {error.strerror}") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return report


def _write(
    settings: Settings, request: Request, count: Callable[[str], int] | None, folder: Path
) -> dict[str, Any]:
    stats, groups = ExportStatistics(), Groups()
    min_score = settings.dpo.min_chosen_score if request.format == "sft" else None
    held_out = None
    if request.decontaminate:
        held_out = decontamination.read(request.decontaminate, request.decontaminate_column)
    spool = folder / "spool"
    with ExitStack() as stack:
        stream = stack.enter_context(spool.open("wb"))
        kept = None
        if request.near_duplicates is not None:
            texts = stack.enter_context(TemporaryFile(dir=folder))
            kept = NearDuplicates(request.near_duplicates, texts)
        human = None
        if request.human:
            human = HumanReviews(settings.data_dir, reviewed_only=request.reviewed_only)
        contradicted = contradictions(settings, request, human)
        for value in chosen(settings, request, stats, human):
            prompt = value.prompt(request.prompt)
            tokens = formats.tokens(prompt, value.answers, count) if count else 0
            if reason := filters.unfit(value):
                stats.left_out[reason] += 1
            elif filters.is_contradicted(value, contradicted):
                stats.leave("contradiction", f"batch {value.batch_id}")
            elif request.prompt == "rag-messages" and not value.contexts:
                stats.left_out["no_contexts"] += 1
            elif request.max_tokens is not None and tokens > request.max_tokens:
                stats.left_out["too_long"] += 1
            elif not filters.overlaps(value, prompt, held_out, kept, stats):
                stream.write(_line(formats.convert(request.format, prompt, value)))
                links = list(value.links(request.split_by))
                groups.add(links)
                stats.took(value, prompt, links[0], tokens)
    if not stats.facts:
        raise InputError(nothing(settings.data_dir / request.dataset, stats))
    split = groups.split(request.eval_share)
    files = _deal(spool, split.in_eval, folder, request.parquet)
    spool.unlink()
    reached = sum(split.in_eval) / len(split.in_eval)
    report = {
        "format": request.format,
        "dataset": request.dataset,
        "pairs": request.pairs if request.has_pairs else None,
        "prompt": request.prompt,
        "prompt_version": PROMPT_VERSION,
        "files": files,
        "read": stats.read,
        "left_out": {name: stats.left_out[name] for name in REASONS if stats.left_out[name]},
        "unreadable": stats.unreadable,
        "examples": stats.examples,
        "human": {**stats.human, "turned_round": stats.turned} if request.human else None,
        "near_duplicates": request.near_duplicates,
        "decontaminate": [asdict(file) for file in held_out.files] if held_out else [],
        "max_tokens": request.max_tokens,
        "min_score": min_score,
        "splits": {
            name: figures(
                [f for f, held in zip(stats.facts, split.in_eval, strict=True) if held == is_eval]
            )
            for name, is_eval in (("train", False), ("eval", True))
            if name in files
        },
        "questions": len(stats.questions),
        "documents": len(stats.documents),
        "split": {
            "by": request.split_by,
            "wanted": request.eval_share,
            "reached": reached,
            "groups": split.groups,
            "largest": split.largest,
        },
        "control_tokens": stats.found_control_tokens(),
        "models": dict(ranked(stats.models)),
        "judges": [{**judge._asdict(), "rows": n} for judge, n in ranked(stats.judges)],
        "rules": [{"rule": dict(rule), "rows": n} for rule, n in ranked(stats.rules)],
        "defects": [{"defect": name or None, "rows": n} for name, n in ranked(stats.defects)],
        "prompt_versions": dict(ranked(stats.prompt_versions)),
    }
    if request.format == "llamafactory":
        info = json.dumps(formats.dataset_info(files), indent=2)
        (folder / "dataset_info.json").write_text(info + "\n", "utf-8")
    (folder / "README.md").write_text(
        card(report, __version__, request.license, request.language or ()), "utf-8"
    )
    return report


def _deal(spool: Path, in_eval: Iterable[bool], folder: Path, parquet: bool) -> dict[str, str]:
    """Write each split's rows, and return the files' names by split."""
    held = list(in_eval)
    files: dict[str, str] = {}
    for split, is_eval in (("train", False), ("eval", True)):
        if is_eval not in held:
            continue
        files[split] = f"{split}.{'parquet' if parquet else 'jsonl'}"
        with spool.open("rb") as stream:
            lines = (line for line, row in zip(stream, held, strict=True) if row == is_eval)
            if parquet:
                _to_parquet(folder / files[split], lines)
            else:
                with (folder / files[split]).open("wb") as target:
                    target.writelines(lines)
    return files


def _to_parquet(file: Path, lines: Iterable[bytes]) -> None:
    """Rows have no nulls and no empty lists, so the first shows the type of all."""
    lines = iter(lines)
    writer: pq.ParquetWriter | None = None
    try:
        while rows := [json.loads(line) for line in itertools.islice(lines, ROW_GROUP)]:
            if writer is None:
                schema = pa.Table.from_pylist(rows[:1]).schema
                writer = pq.ParquetWriter(file, schema, compression="zstd")
            writer.write_table(pa.Table.from_pylist(rows, writer.schema))
    finally:
        if writer is not None:
            writer.close()


def _line(row: Row) -> bytes:
    return codec.line(json.dumps(row, ensure_ascii=False, allow_nan=False))


def push(folder: Path, repo: str, *, public: bool = False) -> str:
    """Upload an exported folder to the model hub, as a dataset, and return its address.

    The files of an export that the repository held before are replaced or removed.

    Raises InputError for what is no exported folder and where others could read what was not meant
    for them, ConfigError without a token that may write, Unavailable if the hub cannot be reached.
    """
    from rlvr_ray.training.export import hub

    splits = [file for file in folder.glob("train.*") if file.name in FILES]
    if not splits or not (folder / "README.md").is_file():
        raise InputError(f"{folder} is no exported folder: it needs README.md and train.jsonl")
    try:
        return hub.upload(folder, FILES, repo, public=public)
    except RlvrError as error:
        again = shlex.join(["rlvr", "push", str(folder), repo, *(["--public"] if public else [])])
        raise type(error)(f"{error}; the folder is complete: {again} pushes it again") from None
