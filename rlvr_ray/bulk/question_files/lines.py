"""The lines of a question file, and their conversion to questions or refusals."""

from collections.abc import Iterator, Sequence
from io import BufferedReader
from typing import Any

from rlvr_ray.bulk.question_files.locations import BUFFER, QuestionFile
from rlvr_ray.core.questions import Question, Refusal, Refused, Unfit, question

MAX_LINE = 2**20  #: bytes of a line, or of a CSV row; longer ones are refused unread
_BOM = b"\xef\xbb\xbf"
_OTHER_BOMS = (b"\xff\xfe", b"\xfe\xff")
Line = tuple[int, bytes | None]  #: its number, and what stands there unless that is too long


def row_of(
    source: str, line: int, values: Sequence[Any], places: Sequence[int | None]
) -> Question | Refused:
    """The question in a row, whose cells stand at these places."""
    return question(source, line, *(None if p is None else values[p] for p in places))


def lines_of(stream: BufferedReader) -> Iterator[Line]:
    """Lines with their ends, None for one that is too long; raises Unfit for UTF-16."""
    number = 0
    while data := stream.readline(MAX_LINE + 2):
        number += 1
        if number == 1:
            if data.startswith(_OTHER_BOMS):
                raise Unfit("wrong_encoding", "is UTF-16 or UTF-32; save it as UTF-8")
            data = data.removeprefix(_BOM)
        if len(data) > MAX_LINE and len(without_end(data)) > MAX_LINE:
            while data and not data.endswith(b"\n"):
                data = stream.readline(BUFFER)
            yield number, None
        else:
            yield number, data


def without_end(line: bytes) -> bytes:
    """The line without its end."""
    return line.removesuffix(b"\n").removesuffix(b"\r")


def refused(file: QuestionFile, line: int, kind: Refusal, message: str) -> Refused:
    """A line that is refused."""
    return Refused(source=file.source, line=line, kind=kind, message=message)


def too_long(file: QuestionFile, line: int) -> Refused:
    """A line of more than ``MAX_LINE`` bytes."""
    why = f"is longer than {MAX_LINE:,} bytes; shorten it, or take it out"
    return refused(file, line, "too_long", why)


def not_utf8(file: QuestionFile, line: int, error: UnicodeDecodeError) -> Refused:
    """A line that is not UTF-8."""
    why = f"is not UTF-8: {error.reason}; save it as UTF-8"
    return refused(file, line, "wrong_encoding", why)
