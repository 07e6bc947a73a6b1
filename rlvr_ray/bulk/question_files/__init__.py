"""Questions from files: JSONL, CSV, Parquet or plain text, on any file system of pyarrow.

Files are streamed, a line or a few rows at a time. A refused row or file is reported in its place,
and reading continues after it. ``locations`` finds the files, ``readers`` has one reader a format.
"""

import os
from collections import Counter
from collections.abc import Iterator, Sequence

import pyarrow as pa

from rlvr_ray.bulk.question_files.locations import Format, QuestionFile, find, reason, whole
from rlvr_ray.bulk.question_files.readers import READERS
from rlvr_ray.core.errors import InputError
from rlvr_ray.core.questions import Columns, Question, Refusal, Refused, Unfit

__all__ = ["Format", "read_questions", "read_rows"]

_LINES = 2**40  #: more lines than a file has


def read_questions(
    uris: Sequence[str], columns: Columns | None = None, format: Format | None = None
) -> Iterator[Question | Refused]:
    """All questions of files and folders, in order, and what was refused among them.

    ``uris`` are paths or URIs; a folder stands for the question files in and below it, by name.
    ``format`` overrules the names of files. Of questions with the same batch id the first counts.
    Memory: some 150 bytes a question, for its id.

    Raises InputError, at the end, if there was not one question.
    """
    first_at: dict[int, int] = {}
    sources: list[str] = []
    counts: Counter[Refusal] = Counter()
    example: Refused | None = None
    for found in read_rows(uris, columns or Columns(), format):
        if isinstance(found, Question):
            if not sources or sources[-1] != found.source:
                sources.append(found.source)
            key = found.batch_id("").int
            place = first_at.setdefault(key, here := (len(sources) - 1) * _LINES + found.line)
            if place != here:
                at, line = divmod(place, _LINES)
                found = _duplicate(found, f"{sources[at]}:{line}")
        if isinstance(found, Refused):
            counts[found.kind] += 1
            example = example or found
        yield found
    if not first_at:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(counts.items()))
        raise InputError(
            f"there is no question to ask: {kinds}; the first is {example}"
            if example
            else "there is no question to ask: name a file or a folder of questions"
        )


def _duplicate(found: Question, first: str) -> Refused:
    message = (
        f"says the same as {first}; it is asked once"
        if found.question_id is None
        else f"has the id of {first}; give each question an id of its own"
    )
    return Refused(source=found.source, line=found.line, kind="duplicate", message=message)


def read_rows(
    uris: Sequence[str], columns: Columns, format: Format | None
) -> Iterator[Question | Refused]:
    """What ``read_questions`` reads, repeats included; there may be no question at all."""
    known: set[tuple[str, str]] = set()
    for uri in uris:
        for file in find(uri, format):
            if isinstance(file, Refused):
                yield file
                continue
            kind = file.filesystem.type_name
            name = (kind, os.path.abspath(file.path) if kind == "local" else file.path)  # noqa: PTH100
            if name in known:
                yield whole(file.source, "duplicate", "is named twice; it is read once")
                continue
            known.add(name)
            yield from _read(file, columns)


def _read(file: QuestionFile, columns: Columns) -> Iterator[Question | Refused]:
    """What stands in a file; an error in it comes last."""
    line: int | None = None
    try:
        for found in READERS[file.format](file, columns):
            line = found.line
            yield found
        if line is None:
            yield whole(file.source, "empty", "there is no question in it; take it out")
    except Unfit as unfit:
        yield whole(file.source, unfit.kind, str(unfit))
    except (OSError, pa.ArrowException, UnicodeError) as error:
        why = f"cannot be read{' any further' if line else ''}: {reason(error)}"
        yield Refused(
            source=file.source, line=line, kind="unreadable", message=f"{why}; check the file"
        )
