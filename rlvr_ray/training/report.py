"""The report of a training: a JSON file with all figures, and a text to read."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from rlvr_ray.core.errors import InputError, Unavailable
from rlvr_ray.core.fields import DIGITS
from rlvr_ray.training.dpo import FIGURES, SIDES


def summarise(report: dict[str, Any], not_scored: str, min_diff: float = 0.0) -> None:
    """Put what its questions show, all in all, into the report; ``not_scored`` says why not."""
    questions = report["answers"]["questions"]
    report["answers"] = {
        "source": report["answers"]["source"],
        **compared(questions, min_diff),
        "not_scored": not_scored,
        "questions": questions,
    }


def compared(questions: Sequence[Mapping[str, Any]], min_diff: float) -> dict[str, Any]:
    """Answers before and after, over all questions; scores over those that have both.

    Scores that are less than ``min_diff`` apart count as equal: judges vary by some hundredths.
    ``chars`` is the mean length in characters: DPO tends to make answers longer.
    """
    scores = [
        (before, after)
        for question in questions
        if (before := question["before"].get("score")) is not None
        and (after := question["after"].get("score")) is not None
    ]
    found: dict[str, Any] = {
        "count": len(questions),
        "changed": sum(q["before"]["answer"] != q["after"]["answer"] for q in questions),
        "chars": {side: fmean(len(q[side]["answer"]) for q in questions) for side in SIDES},
        "scored": len(scores),
    }
    if scores:
        found["score"] = {side: fmean(pair[at] for pair in scores) for at, side in enumerate(SIDES)}
        differences = [round(after - before, DIGITS) for before, after in scores]
        found["min_diff"] = min_diff
        found["better"] = sum(difference >= min_diff for difference in differences)
        found["worse"] = sum(-difference >= min_diff for difference in differences)
        found["equal"] = len(scores) - found["better"] - found["worse"]
    return found


def text(report: Mapping[str, Any]) -> Iterator[str]:
    """The report for people, line by line."""
    model, data, training, answers = (report[k] for k in ("model", "data", "training", "answers"))
    trained = f"{model['trained_parameters']:,} of {model['parameters']:,} parameters trained"
    yield f"model     {model['name']}: {trained}, {model['dtype']}"
    counts = " and ".join(f"{split['rows']:,} {name}" for name, split in data["splits"].items())
    yield f"data      {data['folder']}: {counts} pairs, prompts: {data['prompt']}"
    for name, split in data["splits"].items():
        for what in ("dropped", "cut"):
            if split[what]:
                limit = report["settings"]["max_length"]
                yield f"          {name}: {split[what]:,} {what}, longer than {limit:,} tokens"
    yield (
        f"training  {training['steps']:,} steps of {training['pairs_per_step']:,} pairs in "
        f"{training['seconds']:,.0f} s, {training['workers']} × {training['device']}"
    )
    yield ""
    yield f"{'eval':<24}{'before':>12}{'after':>12}"
    for name in FIGURES:
        values = [report["eval"][side].get(name) for side in SIDES]
        if None not in values:
            yield f"{name.replace('_', ' '):<24}" + "".join(f"{value:>12.4f}" for value in values)
    yield ""
    yield f"{answers['count']:,} held-out questions from {answers['source']}, answered greedily:"
    if "score" in answers:
        yield f"{'mean score':<24}" + "".join(f"{answers['score'][s]:>12.4f}" for s in SIDES)
    yield f"{'mean characters':<24}" + "".join(f"{answers['chars'][s]:>12.0f}" for s in SIDES)
    yield f"{answers['changed']:,} answers changed"
    if "score" in answers:
        yield (
            f"{answers['scored']:,} with both scores: {answers['better']:,} better and "
            f"{answers['worse']:,} worse by at least {answers['min_diff']:g}"
        )
    if answers["not_scored"]:
        yield f"answers were not scored: {answers['not_scored']}"


def write(report: Mapping[str, Any], folder: Path) -> str:
    """Write ``report.json`` and ``report.txt``, each whole or not at all; return the text."""
    shown = "\n".join(text(report)) + "\n"
    plain = json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        for name, content in (("report.json", plain), ("report.txt", shown)):
            temporary = folder / f".{name}.{os.getpid()}.tmp"
            temporary.write_text(content, "utf-8")
            temporary.replace(folder / name)
    except OSError as error:
        raise Unavailable(f"{folder} cannot be written: {error.strerror}") from None
    return shown


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
