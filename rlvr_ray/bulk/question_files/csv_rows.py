"""CSV files with a header; an unclosed quote costs one line, not the rest of the file."""

import csv
from collections import deque
from collections.abc import Iterator

from rlvr_ray.bulk.question_files.lines import (
    MAX_LINE,
    Line,
    lines_of,
    not_utf8,
    refused,
    row_of,
    too_long,
)
from rlvr_ray.bulk.question_files.locations import QuestionFile, opened
from rlvr_ray.core.questions import Columns, Question, Refused, Unfit


def read_csv(file: QuestionFile, columns: Columns) -> Iterator[Question | Refused]:
    """The rows of a CSV file, whose first one names the columns."""
    with opened(file) as stream:
        lines = _CsvLines(lines_of(stream))
        # Strict, since a lax reader takes a forgotten quote's next rows for text without a word.
        reader = csv.reader(lines, strict=True)
        places: tuple[int | None, ...] = ()
        header: list[str] = []
        while True:
            number = lines.begin()
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                found = lines.give_back(file) or refused(
                    file, number, "malformed", f"is no CSV: {error}; mend the quotes"
                )
                if not places:
                    raise Unfit(found.kind, f"its header {found.message}") from None
                yield found
                continue
            if not row:
                continue
            if lines.wrong is not None:
                found = not_utf8(file, number, lines.wrong)
                if not places:
                    raise Unfit(found.kind, f"its header {found.message}")
                yield found
            elif not places:
                header = [name.strip() for name in row]
                places = columns.places(header)
            elif len(row) != len(header):
                why = f"has {len(row):,} fields, the header {len(header):,}; quote commas"
                yield refused(file, number, "malformed", why)
            else:
                yield row_of(file.source, number, row, places)


class _CsvLines:
    """Lines for a csv.reader that can be given back.

    A quote that is never closed would take all that follows for its text: then only the line where
    it opens is refused, and the ones behind it are read as if it had not been.
    """

    def __init__(self, lines: Iterator[Line]) -> None:
        self._lines = lines
        self._next: deque[Line] = deque()
        self._taken: list[Line] = []
        self._bytes = 0
        self.wrong: UnicodeDecodeError | None = None  #: of the row's lines

    def begin(self) -> int:
        """Begin a row, and return the number of its first line."""
        self._taken, self._bytes, self.wrong = [], 0, None
        if not self._next and (line := next(self._lines, None)):
            self._next.append(line)
        return self._next[0][0] if self._next else 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._next.popleft() if self._next else next(self._lines)
        self._taken.append(line)
        data = line[1]
        self._bytes += len(data or b"")
        if data is None or self._bytes > MAX_LINE + 2:
            raise csv.Error("a row is too long, or a quote is not closed")
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            self.wrong = error
            return data.decode(errors="replace")

    def give_back(self, file: QuestionFile) -> Refused | None:
        """Read all but the row's first line again; what is wrong with that, apart from CSV."""
        number, data = self._taken[0]
        self._next.extendleft(reversed(self._taken[1:]))
        if data is None:
            return too_long(file, number)
        try:
            data.decode()
        except UnicodeDecodeError as error:
            return not_utf8(file, number, error)
        return None
