"""``rlvr export``: the datasets of a data folder as a folder that a trainer reads.

One pass converts rows into a file beside, and notes what hangs together; then they are dealt out
to train and eval. In memory stay ids and figures of the rows, not their texts.
"""

import itertools
import json
import os
import re
import shlex
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from rlvr_ray import __version__
from rlvr_ray.core import export as formats
from rlvr_ray.core import strict_json
from rlvr_ray.core.export import Answer, Format, NoPair, Pair, Pairs, PromptStyle
from rlvr_ray.core.overlap import words
from rlvr_ray.core.prompts import PROMPT_VERSION
from rlvr_ray.core.rows import Row
from rlvr_ray.core.splitting import Groups
from rlvr_ray.errors import InputError, RlvrError, Unavailable
from rlvr_ray.export import decontamination
from rlvr_ray.export.card import REASONS, card
from rlvr_ray.export.decontamination import HeldOut
from rlvr_ray.export.human import Human
from rlvr_ray.export.near_duplicates import NearDuplicates
from rlvr_ray.export.report import Tally, figures, nothing, ranked
from rlvr_ray.settings import Settings

#: What a folder may hold.
FILES = (
    *(f"{split}.{kind}" for split in ("train", "eval") for kind in ("jsonl", "parquet")),
    "dataset_info.json",
    "README.md",
)
#: Rows of one Parquet row group.
ROW_GROUP = 1000
#: Below this, rows that say different things are near-duplicates too.
LEAST_ALIKE = 0.5
_LANGUAGE = re.compile("[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is to be exported; raises InputError for what cannot be."""

    format: Format
    out: Path  #: a new or an empty folder
    prompt: PromptStyle = "question"
    pairs: Pairs = "decided"
    human: bool = False  #: people's reviews are applied
    reviewed_only: bool = False  #: what nobody has reviewed is left out, too
    eval_share: float = 0.1
    max_tokens: int | None = None
    tokenizer: Path | None = None  #: the trained model's tokenizer.json
    near_duplicates: float | None = None  #: Jaccard bound; None keeps them
    decontaminate: tuple[str, ...] = ()  #: paths or URIs of held-out questions
    decontaminate_column: str | None = None  #: None: ``question``
    parquet: bool = False
    license: str | None = None
    languages: tuple[str, ...] = ()  #: codes, for the card

    def __post_init__(self) -> None:
        if self.pairs != "decided" and self.format not in formats.PAIR_FORMATS:
            raise InputError(f"--pairs says which pairs, and {self.format} has none")
        if self.reviewed_only and not self.human:
            raise InputError("--reviewed-only goes with --human")
        if self.human and self.dataset != "dpo_data":
            raise InputError(
                "--human is about the pairs that were decided: choose a format of pairs, and "
                "--pairs decided"
            )
        if not 0 <= self.eval_share < 1:
            raise InputError(f"--eval must be from 0 and below 1, not {self.eval_share}")
        if (self.max_tokens is None) != (self.tokenizer is None):
            raise InputError(
                "--max-tokens and --tokenizer go together: N, and the tokenizer.json of the "
                "model to be trained"
            )
        if self.max_tokens is not None and self.max_tokens < 1:
            raise InputError(f"--max-tokens must be at least 1, not {self.max_tokens}")
        if self.near_duplicates is not None and not LEAST_ALIKE <= self.near_duplicates <= 1:
            raise InputError(
                f"--near-duplicates must be from {LEAST_ALIKE} to 1, not {self.near_duplicates}"
            )
        if self.decontaminate_column and not self.decontaminate:
            raise InputError("--decontaminate-column says of which column; add --decontaminate")
        for language in self.languages:
            if not _LANGUAGE.fullmatch(language):
                raise InputError(f"--language {language}: write a code such as en or pt-BR")
        if self.out.exists() and not self.out.is_dir():
            raise InputError(f"{self.out} is a file; name a folder")
        if self.out.is_dir() and any(self.out.iterdir()):
            raise InputError(f"{self.out} is not empty; name a new folder, or empty this one")

    @property
    def dataset(self) -> str:
        """Whose rows it takes."""
        decided = self.format in formats.PAIR_FORMATS and self.pairs == "decided"
        return "dpo_data" if decided else "training_data"


def run(settings: Settings, request: Request) -> dict[str, Any]:
    """Write the folder, which appears whole or not at all, and return what the card says.

    Raises InputError where nothing can be exported, Unavailable where the disk does not take it.
    """
    count = _counter(request)
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
    tally, groups = Tally(), Groups()
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
        for value in _chosen(settings, request, tally, _human(settings, request)):
            prompt = value.prompt(request.prompt)
            tokens = formats.tokens(prompt, value.answers, count) if count else 0
            if not all(text.strip() for text in value.answers):
                tally.left_out["empty_answer"] += 1
            elif request.prompt == "rag-messages" and not value.contexts:
                tally.left_out["no_contexts"] += 1
            elif request.max_tokens is not None and tokens > request.max_tokens:
                tally.left_out["too_long"] += 1
            elif not _overlaps(value, prompt, held_out, kept, tally):
                stream.write(_line(formats.convert(request.format, prompt, value)))
                groups.add(value.links())
                tally.took(value, tokens)
    if not tally.facts:
        raise InputError(nothing(settings.data_dir / request.dataset, tally))
    split = groups.split(request.eval_share)
    files = _deal(spool, split.in_eval, folder, request.parquet)
    spool.unlink()
    reached = sum(split.in_eval) / len(split.in_eval)
    report = {
        "format": request.format,
        "dataset": request.dataset,
        "pairs": request.pairs if request.format in formats.PAIR_FORMATS else None,
        "prompt": request.prompt,
        "prompt_version": PROMPT_VERSION,
        "files": files,
        "read": tally.read,
        "left_out": {name: tally.left_out[name] for name in REASONS if tally.left_out[name]},
        "unreadable": tally.unreadable,
        "examples": tally.examples,
        "human": {**tally.human, "turned_round": tally.turned} if request.human else None,
        "near_duplicates": request.near_duplicates,
        "decontaminate": [asdict(file) for file in held_out.files] if held_out else [],
        "max_tokens": request.max_tokens,
        "min_score": min_score,
        "splits": {
            name: figures(
                [f for f, held in zip(tally.facts, split.in_eval, strict=True) if held == is_eval]
            )
            for name, is_eval in (("train", False), ("eval", True))
            if name in files
        },
        "split": {
            "wanted": request.eval_share,
            "reached": reached,
            "groups": split.groups,
            "largest": split.largest,
        },
        "models": dict(ranked(tally.models)),
        "judges": [{**judge._asdict(), "rows": n} for judge, n in ranked(tally.judges)],
        "rules": [{"rule": dict(rule), "rows": n} for rule, n in ranked(tally.rules)],
        "defects": [{"defect": name or None, "rows": n} for name, n in ranked(tally.defects)],
        "prompt_versions": dict(ranked(tally.prompt_versions)),
    }
    if request.format == "llamafactory":
        info = json.dumps(formats.dataset_info(files), indent=2)
        (folder / "dataset_info.json").write_text(info + "\n", "utf-8")
    (folder / "README.md").write_text(
        card(report, __version__, request.license, request.languages), "utf-8"
    )
    return report


def _overlaps(
    value: Pair | Answer | NoPair,
    prompt: formats.Messages,
    held_out: HeldOut | None,
    kept: NearDuplicates | None,
    tally: Tally,
) -> bool:
    """Whether a row is to be left out for what it shares with held-out questions or kept rows."""
    if held_out is None and kept is None:
        return False
    asked, *said = (words(text) for text in (value.question, *value.answers))
    if held_out is not None:
        # First, so that a row that goes here takes no other with it as its near-duplicate.
        hit = held_out.hit(asked, [*(words(message["content"]) for message in prompt), *said])
        if hit is not None:
            place = f"{hit.source}:{hit.line}"
            tally.leave("held_out", f"batch {value.batch_id} has {hit.why} in {place}")
            return True
    like = kept.admit(value.batch_id, [asked, *said]) if kept is not None else None
    if like is not None:
        told = f"batch {value.batch_id} is {like.similarity:.2f} like batch {like.name}"
        tally.leave("near_duplicate", told)
    return like is not None


def _counter(request: Request) -> Callable[[str], int] | None:
    """Counts a text's tokens."""
    if request.tokenizer is None:
        return None
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(request.tokenizer))
    except Exception as error:  # it has no class of its own
        raise InputError(f"{request.tokenizer} is no tokenizer.json: {error}") from None
    tokenizer.no_truncation()  # some files cut at a model's limit, or fill up to it
    tokenizer.no_padding()
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)


def _values(data_dir: Path, dataset: str, tally: Tally) -> Iterator[Pair | Answer]:
    """The rows that can be read, each once, in the order of the files."""
    seen: set[str] = set()
    for place, row in _rows(data_dir / dataset, tally):
        value: Pair | Answer
        try:
            value = formats.pair(row) if dataset == "dpo_data" else formats.answer(row)
        except ValueError as error:
            tally.bad(place, str(error))
            continue
        name = value.batch_id if isinstance(value, Pair) else value.event_id
        if name in seen:
            tally.left_out["repeated"] += 1
            continue
        seen.add(name)
        yield value


def _rows(folder: Path, tally: Tally) -> Iterator[tuple[str, Any]]:
    """Rows and where they stand: of JSONL or, where there is none, of Parquet parts."""
    lines = sorted(folder.glob("*.jsonl"))
    parts = [] if lines else sorted(folder.glob("parquet/*.parquet"))
    if not lines and not parts:
        raise InputError(f"{folder} has no files: ask questions first, or name another --data-dir")
    for file in lines:
        try:
            with file.open("rb") as stream:
                yield from _of_lines(file, stream, tally)
        except OSError as error:
            raise InputError(f"{file} cannot be read: {error.strerror}") from None
    for file in parts:
        try:
            number = 0
            with pq.ParquetFile(file) as part:
                for batch in part.iter_batches(ROW_GROUP):
                    for row in batch.to_pylist():
                        number += 1
                        tally.read += 1
                        yield f"{file}, row {number}", row
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{file} cannot be read: {error}") from None


def _of_lines(file: Path, stream: BinaryIO, tally: Tally) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(stream, 1):
        if not line.strip():
            continue
        tally.read += 1
        try:
            yield f"{file}:{number}", strict_json.loads(line.decode("utf-8-sig"))
        except (ValueError, RecursionError) as error:
            if not line.endswith(b"\n"):
                tally.left_out["unfinished"] += 1
            elif isinstance(error, UnicodeDecodeError):
                tally.bad(f"{file}:{number}", "not UTF-8")
            else:
                tally.bad(f"{file}:{number}", f"not JSON: {error}")


def _human(settings: Settings, request: Request) -> Human | None:
    """What people say; None where it is not asked for."""
    if not request.human:
        return None
    return Human(settings.data_dir, reviewed_only=request.reviewed_only)


def _chosen(
    settings: Settings, request: Request, tally: Tally, human: Human | None
) -> Iterator[Pair | Answer | NoPair]:
    """What is to be rows: pairs as they are or as people want them, or of each batch's answers."""
    values = _values(settings.data_dir, request.dataset, tally)
    if request.dataset == "dpo_data":
        for value in values:
            if human is None or not isinstance(value, Pair):
                yield value
            elif kept := human.pair(value, tally):
                yield kept
        return
    for _, batch in itertools.groupby(values, key=lambda value: value.batch_id):
        answers = [value for value in batch if isinstance(value, Answer)]
        try:
            yield from _of_batch(answers, settings, request, tally)
        except ValueError as error:
            tally.leave("incomplete", str(error))


def _of_batch(
    answers: Sequence[Answer], settings: Settings, request: Request, tally: Tally
) -> Iterator[Pair | Answer | NoPair]:
    if request.format == "rewards":
        for value in answers:
            if value.score is None:
                tally.left_out["unscored"] += 1
            else:
                yield value
    elif request.format == "sft":
        one, reasons = formats.best(answers, settings.dpo.min_chosen_score)
        tally.left_out.update(reasons)
        if one is not None:
            yield one
    elif request.format == "no-pair":
        if answers[0].outcome != "pair":
            batch = formats.no_pair(answers)
            if isinstance(batch, NoPair):
                yield batch
            else:
                tally.left_out[batch] += 1
    else:
        pairs = formats.pairs(answers, request.pairs, settings.dpo.rule())
        if isinstance(pairs, list):
            yield from pairs
        else:
            tally.left_out[pairs] += 1


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
    return strict_json.line(json.dumps(row, ensure_ascii=False, allow_nan=False))


def push(folder: Path, repo: str, *, public: bool = False) -> str:
    """Upload an exported folder to the model hub, as a dataset, and return its address.

    The files of an export that the repository held before are replaced or removed.

    Raises InputError for what is no exported folder and where others could read what was not meant
    for them, ConfigError without a token that may write, Unavailable if the hub cannot be reached.
    """
    from rlvr_ray.adapters import hub

    splits = [file for file in folder.glob("train.*") if file.name in FILES]
    if not splits or not (folder / "README.md").is_file():
        raise InputError(f"{folder} is no exported folder: it needs README.md and train.jsonl")
    try:
        return hub.upload(folder, FILES, repo, public=public)
    except RlvrError as error:
        again = shlex.join(["rlvr", "push", str(folder), repo, *(["--public"] if public else [])])
        raise type(error)(f"{error}; the folder is complete: {again} pushes it again") from None
