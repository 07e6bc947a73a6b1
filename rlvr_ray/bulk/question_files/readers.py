"""One reader for each format: the rows of a file, and the reasons why rows are refused."""

import csv
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from io import BufferedReader
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rlvr_ray.bulk.question_files.locations import BUFFER, Format, QuestionFile, opened, reason
from rlvr_ray.core import codec
from rlvr_ray.core.questions import Columns, Question, Refusal, Refused, Unfit, question

MAX_LINE = 2**20  #: bytes of a line, or of a CSV row; longer ones are refused unread
_PARQUET_ROWS = 256
_BOM = b"\xef\xbb\xbf"
_OTHER_BOMS = (b"\xff\xfe", b"\xfe\xff")
_SHOWN_CHARS = 200

_Line = tuple[int, bytes | None]  #: its number, and what stands there unless that is too long


def _jsonl(file: QuestionFile, columns: Columns) -> Iterator[Question | Refused]:
    for number, text in _texts(file):
        if isinstance(text, Refused):
            yield text
            continue
        try:
            row = codec.parse(text)
            if not isinstance(row, dict):
                raise Unfit("malformed", "a line must be one JSON object, {…}")
            yield _row(file.source, number, list(row.values()), columns.places(list(row)))
        except Unfit as unfit:
            yield _refused(file, number, unfit.kind, str(unfit))
        except RecursionError:
            yield _refused(file, number, "malformed", "is nested too deeply; flatten it")
        except ValueError as error:
            why = getattr(error, "msg", str(error))
            column = f" at character {error.colno}" if hasattr(error, "colno") else ""
            yield _refused(file, number, "malformed", f"is no JSON: {why}{column}")


def _text(file: QuestionFile, _: Columns) -> Iterator[Question | Refused]:
    for number, text in _texts(file):
        if isinstance(text, Refused):
            yield text
        elif "\r" in text:
            why = "has a carriage return inside; end lines with LF or CRLF"
            yield _refused(file, number, "malformed", why)
        else:
            yield question(file.source, number, text)


def _texts(file: QuestionFile) -> Iterator[tuple[int, str | Refused]]:
    """Lines that are not blank, without their ends."""
    with opened(file) as stream:
        for number, data in _lines(stream):
            if data is None:
                yield number, _long(file, number)
            elif data.strip():
                try:
                    yield number, _without_end(data).decode()
                except UnicodeDecodeError as error:
                    yield number, _not_utf8(file, number, error)


def _csv(file: QuestionFile, columns: Columns) -> Iterator[Question | Refused]:
    with opened(file) as stream:
        lines = _CsvLines(_lines(stream))
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
                found = lines.give_back(file) or _refused(
                    file, number, "malformed", f"is no CSV: {error}; mend the quotes"
                )
                if not places:
                    raise Unfit(found.kind, f"its header {found.message}") from None
                yield found
                continue
            if not row:
                continue
            if lines.wrong is not None:
                found = _not_utf8(file, number, lines.wrong)
                if not places:
                    raise Unfit(found.kind, f"its header {found.message}")
                yield found
            elif not places:
                header = [name.strip() for name in row]
                places = columns.places(header)
            elif len(row) != len(header):
                why = f"has {len(row):,} fields, the header {len(header):,}; quote commas"
                yield _refused(file, number, "malformed", why)
            else:
                yield _row(file.source, number, row, places)


class _CsvLines:
    """Lines for a csv.reader that can be given back.

    A quote that is never closed would take all that follows for its text: then only the line where
    it opens is refused, and the ones behind it are read as if it had not been.
    """

    def __init__(self, lines: Iterator[_Line]) -> None:
        self._lines = lines
        self._next: deque[_Line] = deque()
        self._taken: list[_Line] = []
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
            return _long(file, number)
        try:
            data.decode()
        except UnicodeDecodeError as error:
            return _not_utf8(file, number, error)
        return None


def _parquet(file: QuestionFile, columns: Columns) -> Iterator[Question | Refused]:
    with (
        file.filesystem.open_input_file(file.path) as stream,
        pq.ParquetFile(stream, pre_buffer=False, buffer_size=BUFFER) as parquet,
    ):
        schema = parquet.schema_arrow
        places = columns.places(schema.names)
        for place, whole in zip(places, (False, True, False), strict=True):
            if place is not None:
                _check_type(schema.field(place), whole)
        wanted = [place for place in places if place is not None]
        names = list(dict.fromkeys(schema.names[place] for place in wanted))
        cells = tuple(None if p is None else names.index(schema.names[p]) for p in places)
        start = 0
        for group in range(parquet.num_row_groups):
            line = start
            rows = parquet.metadata.row_group(group).num_rows
            try:
                batches = parquet.iter_batches(_PARQUET_ROWS, row_groups=[group], columns=names)
                for batch in batches:
                    columns_of = [_values(batch.column(name)) for name in names]
                    for row in zip(*columns_of, strict=True):
                        line += 1
                        yield _parquet_row(file, line, row, cells)
            except (OSError, pa.ArrowException) as error:
                why = f"rows up to {start + rows:,} cannot be read: {reason(error)}; mend the file"
                yield _refused(file, line + 1, "unreadable", why)
            start += rows


def _check_type(field: pa.Field, whole_numbers: bool) -> None:
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    known = [
        *(pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view),
        *(pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view),
        pa.types.is_null,
        *([pa.types.is_integer] if whole_numbers else []),
    ]
    if not any(is_one(kind) for is_one in known):
        raise Unfit(
            "malformed",
            f"column {field.name!a} holds {str(kind)[:_SHOWN_CHARS]}; it must hold text",
        )


def _values(column: pa.Array) -> list[Any]:
    """A column's cells; texts as bytes, since not even Parquet's need be UTF-8."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_string(column.type):
        column = column.cast(pa.binary())
    elif pa.types.is_large_string(column.type):
        column = column.cast(pa.large_binary())
    values: list[Any] = column.to_pylist()
    return values


def _parquet_row(
    file: QuestionFile, line: int, row: Sequence[Any], places: Sequence[int | None]
) -> Question | Refused:
    try:
        texts = [cell.decode() if isinstance(cell, bytes) else cell for cell in row]
    except UnicodeDecodeError as error:
        return _not_utf8(file, line, error)
    return _row(file.source, line, texts, places)


READERS: dict[Format, Callable[[QuestionFile, Columns], Iterator[Question | Refused]]] = {
    Format.JSONL: _jsonl,
    Format.CSV: _csv,
    Format.PARQUET: _parquet,
    Format.TEXT: _text,
}


def _row(
    source: str, line: int, values: Sequence[Any], places: Sequence[int | None]
) -> Question | Refused:
    return question(source, line, *(None if p is None else values[p] for p in places))


def _lines(stream: BufferedReader) -> Iterator[_Line]:
    """Lines with their ends, None for one that is too long; raises Unfit for UTF-16."""
    number = 0
    while data := stream.readline(MAX_LINE + 2):
        number += 1
        if number == 1:
            if data.startswith(_OTHER_BOMS):
                raise Unfit("wrong_encoding", "is UTF-16 or UTF-32; save it as UTF-8")
            data = data.removeprefix(_BOM)
        if len(data) > MAX_LINE and len(_without_end(data)) > MAX_LINE:
            while data and not data.endswith(b"\n"):
                data = stream.readline(BUFFER)
            yield number, None
        else:
            yield number, data


def _without_end(line: bytes) -> bytes:
    return line.removesuffix(b"\n").removesuffix(b"\r")


def _refused(file: QuestionFile, line: int, kind: Refusal, message: str) -> Refused:
    return Refused(source=file.source, line=line, kind=kind, message=message)


def _long(file: QuestionFile, line: int) -> Refused:
    why = f"is longer than {MAX_LINE:,} bytes; shorten it, or take it out"
    return _refused(file, line, "too_long", why)


def _not_utf8(file: QuestionFile, line: int, error: UnicodeDecodeError) -> Refused:
    why = f"is not UTF-8: {error.reason}; save it as UTF-8"
    return _refused(file, line, "wrong_encoding", why)
