"""One reader for each format: the rows of a file, and the reasons why rows are refused."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rlvr_ray.bulk.question_files.csv_rows import read_csv
from rlvr_ray.bulk.question_files.lines import (
    lines_of,
    not_utf8,
    refused,
    row_of,
    too_long,
    without_end,
)
from rlvr_ray.bulk.question_files.locations import BUFFER, Format, QuestionFile, opened, reason
from rlvr_ray.core import codec
from rlvr_ray.core.questions import Columns, Question, Refused, Unfit, question

_PARQUET_ROWS = 256
_SHOWN_CHARS = 200


def _jsonl(file: QuestionFile, columns: Columns) -> Iterator[Question | Refused]:
    for number, text in _texts(file):
        if isinstance(text, Refused):
            yield text
            continue
        try:
            row = codec.parse(text)
            if not isinstance(row, dict):
                raise Unfit("malformed", "a line must be one JSON object, {…}")
            yield row_of(file.source, number, list(row.values()), columns.places(list(row)))
        except Unfit as unfit:
            yield refused(file, number, unfit.kind, str(unfit))
        except RecursionError:
            yield refused(file, number, "malformed", "is nested too deeply; flatten it")
        except ValueError as error:
            why = getattr(error, "msg", str(error))
            column = f" at character {error.colno}" if hasattr(error, "colno") else ""
            yield refused(file, number, "malformed", f"is no JSON: {why}{column}")


def _text(file: QuestionFile, _: Columns) -> Iterator[Question | Refused]:
    for number, text in _texts(file):
        if isinstance(text, Refused):
            yield text
        elif "\r" in text:
            why = "has a carriage return inside; end lines with LF or CRLF"
            yield refused(file, number, "malformed", why)
        else:
            yield question(file.source, number, text)


def _texts(file: QuestionFile) -> Iterator[tuple[int, str | Refused]]:
    """Lines that are not blank, without their ends."""
    with opened(file) as stream:
        for number, data in lines_of(stream):
            if data is None:
                yield number, too_long(file, number)
            elif data.strip():
                try:
                    yield number, without_end(data).decode()
                except UnicodeDecodeError as error:
                    yield number, not_utf8(file, number, error)


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
                yield refused(file, line + 1, "unreadable", why)
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
        return not_utf8(file, line, error)
    return row_of(file.source, line, texts, places)


READERS: dict[Format, Callable[[QuestionFile, Columns], Iterator[Question | Refused]]] = {
    Format.JSONL: _jsonl,
    Format.CSV: read_csv,
    Format.PARQUET: _parquet,
    Format.TEXT: _text,
}
