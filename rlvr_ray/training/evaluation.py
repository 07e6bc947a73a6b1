"""Around a training: the export as its input, held-out questions, scores of answers.

The training itself is ``trl``; ``jobs/train_dpo.py`` puts both on Ray.
"""

import asyncio
import hashlib
import json
import os
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq

from rlvr_ray.core import ids, scoring
from rlvr_ray.core.concurrency import gather
from rlvr_ray.core.errors import ConfigError, InputError, Overloaded, Unavailable
from rlvr_ray.core.questions import Question, Refused
from rlvr_ray.core.records import Context, Verification
from rlvr_ray.documents.retriever import Query, Retriever
from rlvr_ray.generation.prompts import rag_messages
from rlvr_ray.pipeline.recorder import Recorder
from rlvr_ray.training import dpo as core
from rlvr_ray.training.dpo import SIDES, Messages
from rlvr_ray.verification.verifier import Claim, Panel

#: Questions that are verified at once.
AT_ONCE = 4
#: Tries of a verification that meets a part which is down or has too much to do, and the first
#: pause between two of them in seconds; each further one is twice as long.
TRIES, PAUSE_S = 5, 1.0
PACKAGES = ("rlvr-ray", "trl", "peft", "transformers", "torch", "datasets", "ray")


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitFile:
    """A file of an export."""

    path: Path
    rows: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """A folder that ``rlvr export --format trl`` wrote."""

    folder: Path
    train: SplitFile
    eval: SplitFile
    prompt: str  #: ``question`` or ``rag-messages``
    #: Of eval, each prompt once, in order, with the id of the batch it came from.
    held_out: tuple[tuple[str | None, Messages], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """A question to be asked before and after. None of it is known to the training."""

    question: str
    prompt: Messages
    batch_id: str | None = None  #: the ledger's, which knows passages and references
    references: tuple[str, ...] = ()
    contexts: tuple[str, ...] | None = None  #: that its prompt holds; None: not known here
    retrieval_score: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """The parts of the running application that are needed here."""

    panel: Panel
    retriever: Retriever
    recorder: Recorder
    top_k: int
    min_score_diff: float  #: what makes a difference between two scores; the pairs' own bound


def check_installed() -> None:
    """Raise ConfigError unless this installation can train."""
    missing = [name for name in ("torch", "trl", "peft") if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"{', '.join(missing)} not installed: in the folder of rlvr_ray, "
            "pip install -e '.[train]'"
        )


def check_model(name: str) -> None:
    """Raise ConfigError for a path where there is no model; a name on the hub is not looked up."""
    path = Path(name)
    if name.endswith(".gguf"):
        if not path.is_file():
            raise ConfigError(f"--model: there is no file {name}")
    elif path.is_dir():
        if not (path / "config.json").is_file():
            raise ConfigError(f"--model: {name} has no config.json, so it holds no model")
    elif path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise ConfigError(f"--model: there is no folder {name}")


def versions() -> dict[str, str]:
    """Of the packages that a training depends on."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = ""
    return found


def read_export(folder: Path) -> Export:
    """Read all rows once; raises InputError where a trainer would fail or be misled later."""
    if not folder.is_dir():
        raise InputError(
            f"there is no folder {folder}: make one with rlvr export --format trl --out {folder}"
        )
    files = {split: _file(folder, split) for split in ("train", "eval")}
    found: dict[str, SplitFile] = {}
    styles: set[bool] = set()
    held_out: dict[str, tuple[str | None, Messages]] = {}
    for split, path in files.items():
        count = 0
        for place, row in _rows(path):
            _check(place, row)
            count += 1
            styles.add(core.with_passages(row["prompt"]))
            if split == "eval":
                key = json.dumps(row["prompt"], sort_keys=True)
                held_out.setdefault(key, (row.get("batch_id"), row["prompt"]))
        if not count:
            raise InputError(f"{path} has no rows: export more pairs")
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        found[split] = SplitFile(path=path, rows=count, sha256=digest)
    if len(styles) > 1:
        raise InputError(f"{folder} has prompts with passages and without: export it again")
    return Export(
        folder=folder,
        train=found["train"],
        eval=found["eval"],
        prompt="rag-messages" if styles.pop() else "question",
        held_out=tuple(held_out.values()),
    )


def _file(folder: Path, split: str) -> Path:
    for suffix in ("jsonl", "parquet"):
        if (path := folder / f"{split}.{suffix}").is_file():
            return path
    if split == "train":
        raise InputError(f"{folder} has no train.jsonl or train.parquet: rlvr export writes one")
    raise InputError(
        f"{folder} has no eval file, so nothing could be measured: export with --eval 0.1, and if "
        "that finds nothing to hold out, with --split-by question or from more documents"
    )


def _rows(path: Path) -> Iterator[tuple[str, Any]]:
    """Rows, each with its place."""
    try:
        if path.suffix == ".parquet":
            number = 0
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(1000):
                    for row in batch.to_pylist():
                        number += 1
                        yield f"{path}, row {number}", row
            return
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                yield f"{path}:{number}", json.loads(line)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    except ValueError as error:
        raise InputError(f"{path} is not JSONL: {error}") from None


def _check(place: str, row: Any) -> None:
    columns = ("prompt", "chosen", "rejected")
    if not isinstance(row, dict) or not all(_are_messages(row.get(name)) for name in columns):
        has = ", ".join(row) if isinstance(row, dict) else type(row).__name__
        raise InputError(
            f"{place} is not in the format trl, whose prompt, chosen and rejected are lists of "
            f"messages (it has: {has}): export with --format trl"
        )


def _are_messages(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(
            isinstance(each, dict) and isinstance(each.get("content"), str) and "role" in each
            for each in value
        )
    )


def from_eval(export: Export, limit: int) -> list[HeldOut]:
    """The first questions of the eval file."""
    return [
        HeldOut(question=core.question_of(prompt), prompt=prompt, batch_id=batch_id)
        for batch_id, prompt in export.held_out[:limit]
    ]


async def from_questions(
    found: Iterable[Question | Refused], style: str, limit: int, application: Application | None
) -> tuple[list[HeldOut], list[str]]:
    """The first questions of a file, asked as the export asks, and what was refused before them.

    Raises InputError where prompts want passages and there is no application to find them.
    """
    if style == "rag-messages" and application is None:
        raise InputError(
            "the export's prompts have passages, and only the application can find some for "
            "--questions: add --verify, or leave out --questions"
        )
    held_out: list[HeldOut] = []
    refused: list[str] = []
    for each in found:
        if isinstance(each, Refused):
            refused.append(str(each))
            continue
        prompt: Messages = [{"role": "user", "content": each.text}]
        contexts: Sequence[Context] = ()
        if style == "rag-messages":
            assert application is not None
            query = Query(text=each.text, top_k=application.top_k)
            (contexts,) = await application.retriever.search([query])
            if not contexts:
                raise InputError("no documents are ingested: rlvr ingest PATH")
            prompt = [
                {"role": message.role, "content": message.content}
                for message in rag_messages(each.text, contexts)
            ]
        held_out.append(
            HeldOut(
                question=each.text,
                prompt=prompt,
                references=() if each.reference is None else (each.reference,),
                contexts=tuple(context.content for context in contexts) if contexts else None,
                retrieval_score=_best(contexts),
            )
        )
        if len(held_out) == limit:
            break
    return held_out, refused


def asked(
    held_out: Sequence[HeldOut], before: Sequence[str], after: Sequence[str]
) -> list[dict[str, Any]]:
    """The report's questions, without scores; all that scoring them later needs is in them."""
    return [
        {
            "question": each.question,
            "batch_id": each.batch_id,
            "references": list(each.references),
            "contexts": None if each.contexts is None else list(each.contexts),
            "retrieval_score": each.retrieval_score,
            "before": {"answer": one},
            "after": {"answer": other},
        }
        for each, one, other in zip(held_out, before, after, strict=True)
    ]


async def score(report: dict[str, Any], application: Application) -> None:
    """Have the application's verifiers score the report's answers; replaces earlier scores.

    Raises Unavailable or Overloaded where it cannot work now; then the report is as it was.
    """
    questions = report["answers"]["questions"]
    room = asyncio.Semaphore(AT_ONCE)

    async def one(question: Mapping[str, Any]) -> list[dict[str, Any]]:
        async with room:
            return await _scored(question, report["data"]["prompt"], application)

    scored = await gather(*(one(question) for question in questions))
    report["answers"]["questions"] = [
        {**question, **dict(zip(SIDES, sides, strict=True))}
        for question, sides in zip(questions, scored, strict=True)
    ]
    summarise(report, "", application.min_score_diff)


def summarise(report: dict[str, Any], not_scored: str, min_diff: float = 0.0) -> None:
    """Put what its questions show, all in all, into the report; ``not_scored`` says why not."""
    questions = report["answers"]["questions"]
    report["answers"] = {
        "source": report["answers"]["source"],
        **core.compared(questions, min_diff),
        "not_scored": not_scored,
        "questions": questions,
    }


async def _scored(
    question: Mapping[str, Any], style: str, application: Application
) -> list[dict[str, Any]]:
    """Both answers with their scores, or with the reason why there is none."""
    material = await _patiently(lambda: _material(question, style, application))
    answers = [question[side]["answer"] for side in SIDES]
    if isinstance(material, str):
        return [{"answer": answer, "not_scored": material} for answer in answers]
    contexts, references, retrieval_score = material
    # Both in one call: verifiers take what has a question and contexts in common as one batch.
    # The same answer is asked about once: a judge need not say the same twice.
    claims = {
        answer: Claim(
            answer_event_id=ids.derive("training", question["question"], answer),
            question=question["question"],
            answer=answer,
            contexts=contexts,
            references=references,
            retrieval_score=retrieval_score,
        )
        for answer in answers
    }
    results = await _patiently(lambda: application.panel.verify(list(claims.values())))
    told = {answer: _told(result) for answer, result in zip(claims, results, strict=True)}
    return [{"answer": answer, **told[answer]} for answer in answers]


def _told(result: Any) -> dict[str, Any]:
    if not isinstance(result, Verification):
        return {"not_scored": str(result)}
    return {
        "score": scoring.score(result),
        "faithfulness": result.faithfulness,
        "relevancy": result.relevancy,
        "verifiers": [assessment.verifier for assessment in result.assessments],
    }


async def _material(
    question: Mapping[str, Any], style: str, application: Application
) -> tuple[tuple[str, ...], tuple[str, ...], float | None] | str:
    """Contexts, references and best cosine; or why there are none.

    Known from the prompt, or from the batch that the pair was made of; a bare question can be
    searched for now.
    """
    references = tuple(question["references"])
    if question["contexts"] is not None:
        return tuple(question["contexts"]), references, question["retrieval_score"]
    if question["batch_id"] is not None:
        state = await application.recorder.find(UUID(question["batch_id"]))
        if state is not None:
            found = state.batch.contexts
            return tuple(c.content for c in found), state.batch.references, _best(found)
    if style == "rag-messages":
        return "the passages of its prompt are not in this application's ledger"
    query = Query(text=question["question"], top_k=application.top_k)
    (contexts,) = await application.retriever.search([query])
    if not contexts:
        return "the application has no documents"
    return tuple(c.content for c in contexts), references, _best(contexts)


def _best(contexts: Sequence[Context]) -> float | None:
    return max((context.score for context in contexts), default=None)


async def _patiently(attempt: Any) -> Any:
    """Try again while a part is down or has too much to do."""
    for number in range(TRIES):
        try:
            return await attempt()
        except (Overloaded, Unavailable):
            if number == TRIES - 1:
                raise
        pause = PAUSE_S * 2**number * random.uniform(0.5, 1)  # noqa: S311 not a secret
        await asyncio.sleep(pause)
    raise AssertionError("the last try returns or raises")


def write(report: Mapping[str, Any], folder: Path) -> str:
    """Write ``report.json`` and ``report.txt``, each whole or not at all; return the text."""
    text = "\n".join(core.text(report)) + "\n"
    plain = json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        for name, content in (("report.json", plain), ("report.txt", text)):
            temporary = folder / f".{name}.{os.getpid()}.tmp"
            temporary.write_text(content, "utf-8")
            temporary.replace(folder / name)
    except OSError as error:
        raise Unavailable(f"{folder} cannot be written: {error.strerror}") from None
    return text


def read_report(folder: Path) -> dict[str, Any]:
    """The report that ``write`` left there; raises InputError where there is none."""
    file = folder / "report.json"
    try:
        report = json.loads(file.read_text("utf-8"))
        _ = report["answers"]["questions"], report["data"]["prompt"]
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{file} is no report of a training") from None
    found: dict[str, Any] = report
    return found
