"""Labelled files for tests, and a panel's verdicts on them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlvr_ray.core.records import Assessment, Verification
from rlvr_ray.settings import VerificationSettings
from rlvr_ray.verification.calibration.evaluation import Judged
from rlvr_ray.verification.calibration.labelled import Labelled, read
from rlvr_ray.verification.calibration.report import judge
from rlvr_ray.verification.verifier import Claim, Panel
from tests.builders import VERIFIED

#: (right answer, wrong answer) by row; two rows of like length, one where the shorter is wrong.
PAIRS = [("a b c", "d e f g"), ("a", "b c d"), ("a b c d", "e f"), ("x y", "z w")]


def pairs(folder: Path, count: int = len(PAIRS), name: str = "pairs.jsonl") -> Path:
    """Rows whose answers all differ: those of PAIRS, numbered, in turn."""
    rows = [
        {
            "question": f"q{number}?",
            "context": [f"c{number}", "shared"],
            "right_answer": f"{PAIRS[number % len(PAIRS)][0]}{number}",
            "wrong_answer": f"{PAIRS[number % len(PAIRS)][1]}{number}",
            "reference": f"r{number}",
        }
        for number in range(count)
    ]
    file = folder / name
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return file


def rows_file(folder: Path, rows: Sequence[Mapping[str, Any]]) -> Labelled:
    """Rows that all have the same question and context."""
    file = folder / "rows.jsonl"
    known = {"question": "Where is it?", "context": "The tower stands in Paris."}
    file.write_text("".join(f"{json.dumps(known | dict(row))}\n" for row in rows))
    return read(file)


def answers(folder: Path, labels: Sequence[bool]) -> Labelled:
    file = folder / "answers.jsonl"
    rows = [
        {"question": "q?", "context": "c", "answer": f"a{number}", "label": label}
        for number, label in enumerate(labels)
    ]
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return read(file)


def verdict(claim: Claim, *assessments: Assessment) -> Verification:
    return Verification(
        answer_event_id=claim.answer_event_id,
        assessments=assessments,
        duration_ms=max(a.duration_ms for a in assessments),
        completed_at=VERIFIED,
    )


async def judged(panel: Panel, labelled: Labelled, **changes: Any) -> list[Judged]:
    options: dict[str, Any] = {
        "repeats": 1,
        "at_once": 4,
        "on_progress": lambda done, unscored: None,
        "settings": VerificationSettings(),
    } | changes
    return await judge(panel, labelled, options.pop("settings"), **options)
