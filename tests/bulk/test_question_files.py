"""Reading questions from files: every format, every way to be wrong, and in bounded memory."""

import codecs
import csv
import gzip
import io
import json
import os
import random
import threading
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow.fs import FileSystem, LocalFileSystem, SubTreeFileSystem

from rlvr_ray.bulk.question_files import Format, read_questions
from rlvr_ray.bulk.question_files.lines import MAX_LINE
from rlvr_ray.core.errors import InputError
from rlvr_ray.core.questions import Columns, Question, Refusal
from rlvr_ray.core.spelling import displayed

pytestmark = pytest.mark.integration


#: Text, id and reference of a question.
Row = tuple[str, str | None, str | None]

LONG = b"x" * (MAX_LINE + 1)
UTF16 = 'question\n"Why?"\n'.encode("utf-16")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(*uris: str, columns: Columns | None = None, format: Format | None = None) -> list[Any]:
    """What was found, and at the end the InputError, if there was one."""
    found: list[Any] = []
    try:
        for one in read_questions(uris, columns, format):
            found.append(one)
    except InputError as error:
        found.append(error)
    return found


def told(found: Sequence[Any]) -> list[Any]:
    """Texts of questions, and (line, kind) of what was refused."""
    return [
        one.text if isinstance(one, Question) else (one.line, one.kind)
        for one in found
        if not isinstance(one, InputError)
    ]


def jsonl(rows: Sequence[Row]) -> bytes:
    names = ("question", "id", "reference")
    return "".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows).encode()


def as_csv(rows: Sequence[Row], **dialect: Any) -> bytes:
    stream = io.StringIO(newline="")
    csv.writer(stream, **dialect).writerows([("question", "id", "reference"), *rows])
    return stream.getvalue().encode()


def parquet(rows: Sequence[Row], **options: Any) -> bytes:
    stream = io.BytesIO()
    columns = zip(*rows, strict=True) if rows else [(), (), ()]
    names = ("question", "id", "reference")
    arrays = [pa.array(column, pa.string()) for column in columns]
    pq.write_table(pa.table(arrays, names), stream, **options)
    return stream.getvalue()


def zst(data: bytes) -> bytes:
    return bytes(pa.compress(data, "zstd", asbytes=True))


class TestWhatIsWrongWithARow:
    @pytest.mark.parametrize(
        ("line", "kind", "why"),
        [
            (b"{", "malformed", "is no JSON: .* at character 2"),
            (b'{"question": "secret"', "malformed", "is no JSON: .* at character"),
            (b'{"question": "secret"} x', "malformed", "is no JSON: Extra data"),
            (b"[" * 500_000, "malformed", "nested too deeply"),
            (b'{"a":' * 100_000, "malformed", "nested too deeply"),
            (
                b'{"question": "secret", "question": "secret"}',
                "malformed",
                "two fields of the same",
            ),
            (b'{"question": "secret", "x": NaN}', "malformed", "NaN is no JSON"),
            (b'{"question": "secret", "x": %s}' % (b"9" * 5000), "malformed", "is no JSON"),
            (b'"secret"', "malformed", "must be one JSON object"),
            (b'["secret"]', "malformed", "must be one JSON object"),
            (b"null", "malformed", "must be one JSON object"),
            (b'{"question": 7}', "malformed", "must be text, not a number"),
            (b'{"question": ["secret"]}', "malformed", "must be text, not a list"),
            (b'{"question": {"secret": 1}}', "malformed", "must be text, not an object"),
            (b'{"question": "secret", "id": 1.5}', "malformed", "text or a whole number"),
            (b'{"question": "secret", "id": true}', "malformed", "text or a whole number"),
            (b'{"question": "secret", "reference": 1}', "malformed", "reference must be text"),
            (b'{"question": "secret\\u0000"}', "malformed", "NUL"),
            (b'{"question": "secret\0"}', "malformed", "is no JSON: Invalid control character"),
            (b'{"question": "secret\\ud800"}', "malformed", "not valid Unicode"),
            (b'{"question": null}', "empty", "is missing"),
            (b'{"question": " \\t"}', "empty", "must not be blank"),
            (b'{"secret": "x"}', "missing_column", "no column 'question'"),
            (b'{"question": "secret\xff"}', "wrong_encoding", "is not UTF-8"),
            (b'{"question": "%s"}' % (b"x" * 8001), "too_long", "8,001 characters"),
            (b'{"question": "%s"}' % (b"x" * 2**20), "too_long", "longer than 1,048,576 bytes"),
            (LONG, "too_long", "longer than 1,048,576 bytes"),
            (LONG * 3, "too_long", "longer than 1,048,576 bytes"),
        ],
        ids=lambda value: None if isinstance(value, str) else repr(value[:40]),
    )
    @pytest.mark.parametrize("last", [False, True])
    def test_jsonl(self, folder: Path, line: bytes, kind: Refusal, why: str, last: bool) -> None:
        behind = b"" if last else b'\n{"question": "after"}'
        (folder / "q.jsonl").write_bytes(b'{"question": "before"}\n' + line + behind)
        found = read("q.jsonl")
        assert told(found) == ["before", (2, kind), *(() if last else ("after",))]
        with pytest.raises(ValueError, match=why):
            raise ValueError(found[1].message)
        assert kind == "missing_column" or "secret" not in str(found[1])
        assert len(str(found[1])) < 300
        assert "\n" not in str(found[1])

    @pytest.mark.parametrize(
        ("line", "kind", "why"),
        [
            (b"secret\xff", "wrong_encoding", "is not UTF-8"),
            (b"secret\0", "malformed", "NUL"),
            (b"secret\rsecret", "malformed", "carriage return"),
            (b"x" * 8001, "too_long", "8,001 characters"),
            (LONG, "too_long", "longer than"),
            ("\u2003".encode(), "empty", "must not be blank"),
            ("secret".encode("utf-16-le"), "malformed", "NUL"),
        ],
    )
    def test_text(self, folder: Path, line: bytes, kind: Refusal, why: str) -> None:
        (folder / "q.txt").write_bytes(b"before\n" + line + b"\nafter\n")
        found = read("q.txt")
        assert told(found) == ["before", (2, kind), "after"]
        with pytest.raises(ValueError, match=why):
            raise ValueError(found[1].message)
        assert "secret" not in str(found[1])

    @pytest.mark.parametrize(
        ("lines", "kind", "why"),
        [
            (b'"secret', "malformed", "mend the quotes"),
            (b'"secret,2', "malformed", "mend the quotes"),
            (b'"secret"x,2', "malformed", "mend the quotes"),
            (b"secret\rsecret,2", "malformed", "is no CSV"),
            (b"secret", "malformed", "has 1 fields, the header 2"),
            (b"secret,2,3", "malformed", "has 3 fields, the header 2"),
            (b",2", "empty", "must not be blank"),
            (b'" ",2', "empty", "must not be blank"),
            (b"secret\0,2", "malformed", "NUL"),
            (b"secret\xff,2", "wrong_encoding", "is not UTF-8"),
            (b'"secret\n\xff",2', "wrong_encoding", "is not UTF-8"),
            (b'"\xff', "wrong_encoding", "is not UTF-8"),
            (b"%s,2" % (b"x" * 8001), "too_long", "8,001 characters"),
            (LONG, "too_long", "longer than"),
            (b"secret,%s" % (b"x" * 201), "too_long", "id has 201"),
        ],
        ids=lambda value: None if isinstance(value, str) else repr(value[:40]),
    )
    @pytest.mark.parametrize(
        "after",
        [
            b"after,9",
            b'"after",9',
            b'"after","9"\n"',
        ],
    )
    def test_csv(self, lines: bytes, kind: Refusal, why: str, after: bytes, folder: Path) -> None:
        (folder / "q.csv").write_bytes(b"question,id\nbefore,1\n" + lines + b"\n" + after)
        found = read("q.csv")
        assert told(found)[:3] == ["before", (3, kind), "after"]
        with pytest.raises(ValueError, match=why):
            raise ValueError(found[1].message)
        assert "secret" not in str(found[1])

    def test_a_quote_that_is_never_closed_costs_its_line_only(self, folder: Path) -> None:
        """Though all that follows could be its text: some megabytes here."""
        rows = [f"question {n},{n}" for n in range(100_000)]
        rows[10] = '"open,10'
        rows[99_990] = '"a closed, one",99990'
        (folder / "q.csv").write_text("\n".join(["question,id", *rows]))
        found = told(read("q.csv"))
        assert len(found) == 100_000
        assert [one for one in found if not isinstance(one, str)] == [(12, "malformed")]
        assert found[99_990] == "a closed, one"

    def test_parquet(self, folder: Path) -> None:
        texts: list[bytes | None] = [b"before", b"secret\xff", None, b" ", b"x" * 8001, b"after"]
        raw = pa.array(texts, pa.binary())
        strings = pa.StringArray.from_buffers(len(raw), *raw.buffers()[1:], raw.buffers()[0])
        pq.write_table(pa.table({"question": strings}), folder / "q.parquet")
        refused = [(2, "wrong_encoding"), (3, "empty"), (4, "empty"), (5, "too_long")]
        assert told(read("q.parquet")) == ["before", *refused, "after"]


class TestWhatIsWrongWithAFile:
    """One refusal for it, and the files beside it are read."""

    @pytest.mark.parametrize(
        ("name", "data", "kind", "why"),
        [
            ("b.jsonl", b"", "empty", "no question in it"),
            ("b.jsonl", codecs.BOM_UTF8 + b"\n \n", "empty", "no question in it"),
            ("b.txt", b"\n\r\n\n", "empty", "no question in it"),
            ("b.csv", b"", "empty", "no question in it"),
            ("b.csv", b"question,id\n", "empty", "no question in it"),
            ("b.parquet", parquet([]), "empty", "no question in it"),
            ("b.jsonl.gz", gzip.compress(b""), "empty", "no question in it"),
            ("b.csv", b"text,id\nWhy?,1\n", "missing_column", "no column 'question', only 'text'"),
            ("b.csv", b"question,question\nWhy?,1\n", "malformed", "2 columns 'question'"),
            ("b.csv", b'"question\nWhy?\n', "malformed", "its header is no CSV"),
            ("b.csv", b"question,\xff\nWhy?,1\n", "wrong_encoding", "its header is not UTF-8"),
            ("b.csv", LONG + b"\nWhy?\n", "too_long", "its header is longer"),
            ("b.csv", UTF16, "wrong_encoding", "is UTF-16"),
            ("b.jsonl", UTF16, "wrong_encoding", "is UTF-16"),
            ("b.txt", UTF16, "wrong_encoding", "is UTF-16"),
            ("b.parquet", b"", "unreadable", "cannot be read: Parquet file size is 0"),
            ("b.parquet", b"Why?\n" * 20, "unreadable", "cannot be read: Parquet magic bytes"),
            ("b.parquet", parquet([("Why?", None, None)])[:-9], "unreadable", "cannot be read"),
            ("b.jsonl.gz", b'{"question": "Why?"}', "unreadable", "cannot be read"),
            ("b.csv.zst", b"question\nWhy?\n", "unreadable", "cannot be read"),
            ("b.json", b'{"question": "Why?"}', "unknown_format", "name it .jsonl"),
            ("b", b"Why?", "unknown_format", "name it .jsonl"),
            ("b.gz", gzip.compress(b"Why?"), "unknown_format", "name it .jsonl"),
            ("b.parquet.gz", gzip.compress(b"Why?"), "unknown_format", "name it .jsonl"),
        ],
        ids=lambda value: value if isinstance(value, str) else "bytes",
    )
    def test_it_is_told_once(
        self, folder: Path, name: str, data: bytes, kind: Refusal, why: str
    ) -> None:
        (folder / name).write_bytes(data)
        (folder / "a.txt").write_text("before")
        (folder / "c.txt").write_text("after")
        found = read("a.txt", name, "c.txt")
        assert told(found) == ["before", (None, kind), "after"]
        assert str(found[1]).startswith(f"{name}: ")
        with pytest.raises(ValueError, match=why):
            raise ValueError(found[1].message)

    @pytest.mark.parametrize(
        ("column", "why"),
        [
            (pa.array([1, 2]), "holds int64; it must hold text"),
            (pa.array([1.5, 2.5]), "holds double"),
            (pa.array([True, False]), "holds bool"),
            (pa.array([["a"], ["b"]]), "holds list"),
            (pa.array([{"a": "b"}, {"a": "c"}]), "holds struct"),
        ],
    )
    def test_a_parquet_column_of_another_type(
        self, folder: Path, column: pa.Array, why: str
    ) -> None:
        pq.write_table(pa.table({"question": column}), folder / "q.parquet")
        found = read("q.parquet")
        assert told(found) == [(None, "malformed")]
        assert why in found[0].message

    def test_columns_that_are_named_must_be_there(self, folder: Path) -> None:
        (folder / "a.csv").write_text("question,id\nWhy?,1\n")
        (folder / "b.jsonl").write_text('{"question": "How?"}\n{"question": "Who?", "key": null}')
        (folder / "c.parquet").write_bytes(parquet([("When?", None, None)]))
        found = read("a.csv", "b.jsonl", "c.parquet", columns=Columns(question_id="key"))
        missing = "missing_column"
        assert told(found) == [(None, missing), (1, missing), "Who?", (None, missing)]

    @pytest.mark.parametrize(
        ("uri", "shown", "why"),
        [
            ("missing.csv", "missing.csv", "does not exist"),
            ("missing/q.csv", "missing/q.csv", "does not exist"),
            ("", "''", "does not exist"),
            ("\udcff.csv", "?.csv", "cannot be read"),
            ("a\0b.csv", "a\0b.csv", ""),
            ("nope://host/q.csv", "nope://host/q.csv", "Unrecognized filesystem type"),
            ("https://me:secret@host/q.csv?token=secret", "https://host/q.csv", "cannot be read"),
            ("s3://key:secret@bucket/q.csv?nope=secret", "s3://bucket/q.csv", "cannot be read"),
            ("s3://key:sec%20ret@bucket/q.csv?nope=1", "s3://bucket/q.csv", "cannot be read"),
            ("file://[secret/q.csv", "file://[secret/q.csv", "cannot be read: that is no URI"),
        ],
    )
    def test_what_cannot_be_reached(self, folder: Path, uri: str, shown: str, why: str) -> None:
        (folder / "a.txt").write_text("before")
        found = read(uri, "a.txt")
        assert told(found) == [(None, "unreadable"), "before"]
        assert found[0].source == shown
        assert why in found[0].message
        assert "secret" not in found[0].message
        assert "sec ret" not in found[0].message

    @pytest.mark.parametrize("compress", [gzip.compress, zst])
    def test_one_that_is_cut_off_gives_what_there_is(
        self, folder: Path, compress: Callable[[bytes], bytes]
    ) -> None:
        chance = random.Random(1)
        lines = [f"{n} {chance.randbytes(50).hex()}" for n in range(20_000)]
        data = compress("\n".join(lines).encode())
        name = "a.txt.gz" if compress is gzip.compress else "a.txt.zst"
        (folder / name).write_bytes(data[: len(data) * 3 // 4])
        (folder / "b.txt").write_text("after")
        found = read(name, "b.txt")
        count = len(found) - 2
        assert 5_000 < count < 20_000
        assert told(found) == [*lines[:count], (count, "unreadable"), "after"]
        assert "cannot be read any further" in found[-2].message

    def test_a_damaged_row_group_costs_its_rows_only(self, folder: Path) -> None:
        rows: list[Row] = [(f"question {n}", None, None) for n in range(300)]
        data = bytearray(parquet(rows, row_group_size=100, compression="zstd"))
        start = pq.ParquetFile(io.BytesIO(data)).metadata.row_group(1).column(0).data_page_offset
        data[start : start + 60] = bytes(60)
        (folder / "q.parquet").write_bytes(data)
        found = read("q.parquet")
        texts = [row[0] for row in rows]
        assert told(found) == [*texts[:100], (101, "unreadable"), *texts[200:]]
        assert "rows up to 200 cannot be read" in found[100].message
        assert found[-1].line == 300

    def test_noise_never_stops_the_rest(self, folder: Path) -> None:
        chance = random.Random(1)
        rows: list[Row] = [(f"question, {n}", f"{n}", "a\nb") for n in range(20)]
        files = {"q.csv": as_csv(rows), "q.jsonl": jsonl(rows), "q.parquet": parquet(rows)}
        (folder / "z.txt").write_text("after")
        for _ in range(100):
            for name, data in files.items():
                noisy = bytearray(data)
                for _ in range(chance.choice([1, 3, 10])):
                    noisy[chance.randrange(len(noisy))] = chance.choice(b'",\n\r\\\0\xff{}[]x')
                (folder / name).write_bytes(noisy)
                found = read(name, "z.txt")
                assert told(found)[-1] == "after"

    def test_nothing_to_read_is_an_error(self, folder: Path) -> None:
        (folder / "a.csv").write_text("text\nWhy?\n")
        (folder / "b.txt").write_text("")
        *refused, error = read("a.csv", "b.txt", "c.txt")
        assert [one.kind for one in refused] == ["missing_column", "empty", "unreadable"]
        assert isinstance(error, InputError)
        assert str(error).startswith(
            "there is no question to ask: 1 empty, 1 missing_column, 1 unreadable; the first is "
            "a.csv: there is no column"
        )
        (error,) = read()
        assert "name a file" in str(error)


class TestWhatIsRead:
    ROWS: Sequence[Row] = (
        ("What is it?", "1", "A thing."),
        ('a "quoted" one, with comma\nand line\r\nend', "2", None),
        (" Ünï\u2028cödé \U0001f600 ", None, "x\ty"),
    )

    @pytest.mark.parametrize(
        ("name", "data"),
        [
            ("q.jsonl", jsonl(ROWS)),
            ("q.ndjson", jsonl(ROWS)),
            ("Q.JSONL", jsonl(ROWS)),
            ("q.jsonl", codecs.BOM_UTF8 + jsonl(ROWS)),
            ("q.jsonl", jsonl(ROWS).replace(b"\n", b"\r\n")),
            ("q.jsonl", b"\n" + jsonl(ROWS).replace(b"\n", b"\n\n")),
            ("q.jsonl", jsonl(ROWS).rstrip()),
            ("q.jsonl.gz", gzip.compress(jsonl(ROWS))),
            ("q.jsonl.gz", gzip.compress(jsonl(ROWS[:1])) + gzip.compress(jsonl(ROWS[1:]))),
            ("q.csv", as_csv(ROWS)),
            ("q.csv", as_csv(ROWS, lineterminator="\n")),
            ("q.csv", as_csv(ROWS, quoting=csv.QUOTE_ALL)),
            ("q.csv", codecs.BOM_UTF8 + as_csv(ROWS)),
            ("q.csv", codecs.BOM_UTF8 + as_csv(ROWS, quoting=csv.QUOTE_ALL)),
            ("q.csv", as_csv(ROWS).replace(b"question,id,", b"question, id ,")),
            ("q.csv.gz", gzip.compress(as_csv(ROWS))),
            ("q.parquet", parquet(ROWS)),
            ("q.parquet", parquet(ROWS, row_group_size=1, use_dictionary=False)),
        ],
        ids=lambda value: None if isinstance(value, bytes) else value,
    )
    def test_every_format(self, folder: Path, name: str, data: bytes) -> None:
        (folder / name).write_bytes(data)
        found = read(name)
        assert [(one.text, one.question_id, one.reference) for one in found] == list(self.ROWS)
        assert {one.source for one in found} == {name}

    def test_zst(self, folder: Path) -> None:
        with pa.output_stream(folder / "q.csv.zst", compression="zstd") as stream:
            stream.write(as_csv(self.ROWS))
        assert [one.text for one in read("q.csv.zst")] == [row[0] for row in self.ROWS]

    @pytest.mark.parametrize("end", ["\n", "\r\n"])
    @pytest.mark.parametrize("bom", ["", "\ufeff"])
    def test_text(self, folder: Path, end: str, bom: str) -> None:
        (folder / "q.txt").write_bytes(f"{bom}Why?{end}{end} 42 {end}a\u2028b".encode())
        found = read("q.txt")
        assert [(one.text, one.line) for one in found] == [
            ("Why?", 1),
            (" 42 ", 3),
            ("a\u2028b", 4),
        ]

    def test_lines_are_those_of_an_editor(self, folder: Path) -> None:
        (folder / "q.csv").write_bytes(b'question\r\n"a\r\nb"\r\n\r\n"c""d"\r\n,\r\ne')
        found = read("q.csv")
        assert [(getattr(one, "text", None), one.line) for one in found] == [
            ("a\r\nb", 2),
            ('c"d', 5),
            (None, 6),
            ("e", 7),
        ]

    def test_a_csv_number_is_text(self, folder: Path) -> None:
        (folder / "q.csv").write_text("question,id\n42,007\n")
        (found,) = read("q.csv")
        assert (found.text, found.question_id) == ("42", "007")

    @pytest.mark.parametrize(
        "make",
        [
            lambda texts: pa.array(texts, pa.large_string()),
            lambda texts: pa.array(texts, pa.string_view()),
            lambda texts: pa.array(texts).dictionary_encode(),
            lambda texts: pa.array([text.encode() for text in texts], pa.binary()),
        ],
    )
    def test_parquet_types(self, folder: Path, make: Callable[[list[str]], pa.Array]) -> None:
        table = pa.table(
            {
                "question": make(["é?", "b?", "c?"]),
                "id": pa.array([1, None, 2**63], pa.uint64()),
                "reference": pa.nulls(3),
                "other": [[1.5], [], None],
            }
        )
        pq.write_table(table, folder / "q.parquet")
        found = read("q.parquet")
        assert [(one.text, one.question_id) for one in found] == [
            ("é?", "1"),
            ("b?", None),
            ("c?", str(2**63)),
        ]

    def test_other_columns(self, folder: Path) -> None:
        (folder / "a.csv").write_text("question,user_input,key,truth\nno,Why?,k,because\n")
        (folder / "b.jsonl").write_text(
            '{"question": "no", "user_input": "How?", "key": 1, "truth": null}'
        )
        columns = Columns(question="user_input", question_id="key", reference="truth")
        found = read("a.csv", "b.jsonl", columns=columns)
        assert [(one.text, one.question_id, one.reference) for one in found] == [
            ("Why?", "k", "because"),
            ("How?", "1", None),
        ]

    def test_a_format_overrules_the_name(self, folder: Path) -> None:
        (folder / "q.dat").write_text("Why?\n")
        (folder / "q.csv.gz").write_bytes(gzip.compress(b"How?\n"))
        assert told(read("q.dat", "q.csv.gz", format=Format.TEXT)) == ["Why?", "How?"]


class TestPlaces:
    def test_folders_are_read_by_name(self, folder: Path) -> None:
        for name in ("b.txt", "a/z.txt", "a/b/c.txt.gz", "c.csv"):
            (folder / "in" / name).parent.mkdir(parents=True, exist_ok=True)
            data = f"question\n{name}\n".encode() if name.endswith("csv") else name.encode()
            (folder / "in" / name).write_bytes(gzip.compress(data) if name[-2:] == "gz" else data)
        for name in ("README.md", ".hidden.txt", "a/.git/x.txt", "data.json"):
            (folder / "in" / name).parent.mkdir(exist_ok=True)
            (folder / "in" / name).write_text("not a question")
        names = ["a/b/c.txt.gz", "a/z.txt", "b.txt", "c.csv"]
        for uri in ("in", "in/", str(folder / "in"), (folder / "in").as_uri()):
            found = read(uri)
            assert [one.text for one in found] == names
            assert [one.source for one in found] == [f"{uri.rstrip('/')}/{n}" for n in names]

    def test_a_folder_without_any(self, folder: Path) -> None:
        (folder / "in").mkdir()
        (folder / "in" / "README.md").write_text("Why?")
        (folder / "a.txt").write_text("Why?")
        found = read("in", "a.txt")
        assert told(found) == [(None, "empty"), "Why?"]
        assert "in: holds no .jsonl" in str(found[0])

    def test_uris(self, folder: Path) -> None:
        (folder / "a b%.txt").write_text("Why?")
        (found,) = read((folder / "a b%.txt").as_uri())
        assert found.text == "Why?"
        (found,) = read("a b%.txt")
        assert found.source == "a b%.txt"

    def test_a_file_that_is_named_twice_is_read_once(self, folder: Path) -> None:
        (folder / "in").mkdir()
        (folder / "in" / "a.txt").write_text("Why?\nHow?\n")
        found = read("in/a.txt", "in", (folder / "in" / "a.txt").as_uri(), "./in/../in/a.txt")
        assert told(found) == ["Why?", "How?", *[(None, "duplicate")] * 3]


class TestElsewhere:
    """Another file system than the local one: here a folder that pyarrow takes for a store."""

    @pytest.fixture(autouse=True)
    def store(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        class Stores:
            @staticmethod
            def from_uri(uri: str) -> tuple[FileSystem, str]:
                path = uri.partition("?")[0].split("/", 3)[3]
                return SubTreeFileSystem(str(folder), LocalFileSystem()), path

        monkeypatch.setattr("rlvr_ray.bulk.question_files.locations.FileSystem", Stores)
        (folder / "in").mkdir()
        return folder / "in"

    def test_all_formats(self, store: Path) -> None:
        (store / "a.csv.gz").write_bytes(gzip.compress(as_csv([("Why?", None, None)])))
        (store / "b.jsonl").write_bytes(jsonl([("How?", None, None)]))
        (store / "c.parquet").write_bytes(parquet([("When?", None, None)]))
        (store / "d.txt").write_text("Who?")
        found = read("s3://key:secret@bucket/in?region=x", "s3://bucket/in/d.txt")
        assert told(found) == ["Why?", "How?", "When?", "Who?", (None, "duplicate")]
        assert [one.source for one in found[:2]] == [
            "s3://bucket/in/a.csv.gz",
            "s3://bucket/in/b.jsonl",
        ]

    def test_what_is_wrong(self, store: Path) -> None:
        (store / "a.txt.gz").write_bytes(gzip.compress(random.Random(1).randbytes(9000))[:5000])
        (store / "b.parquet").write_bytes(b"")
        (store / "c.txt").write_text("after")
        found = read("gs://bucket/in", "gs://bucket/missing.txt")
        whole = [one for one in found if getattr(one, "kind", "") == "unreadable"]
        assert [one.source for one in whole] == [
            "gs://bucket/in/a.txt.gz",
            "gs://bucket/in/b.parquet",
            "gs://bucket/missing.txt",
        ]
        assert "after" in told(found)


class TestDuplicates:
    def test_of_content(self, folder: Path) -> None:
        (folder / "a.txt").write_text("Why?\nHow?\nWhy?\n")
        (folder / "b.csv").write_text("question,reference\n Why? ,\nWhy?,so\nWhy?,so\nwhy?,\n")
        found = read("a.txt", "b.csv")
        twice = "duplicate"
        assert told(found) == ["Why?", "How?", (3, twice), (2, twice), "Why?", (4, twice), "why?"]
        assert str(found[2]) == "a.txt:3: says the same as a.txt:1; it is asked once"
        assert str(found[3]) == "b.csv:2: says the same as a.txt:1; it is asked once"
        assert str(found[5]) == "b.csv:4: says the same as b.csv:3; it is asked once"

    def test_of_ids(self, folder: Path) -> None:
        (folder / "a.jsonl").write_bytes(jsonl([("Why?", "1", None), ("Why?", "2", None)]))
        (folder / "b.csv").write_bytes(as_csv([("How?", "1", None), ("Why?", None, None)]))
        found = read("a.jsonl", "b.csv")
        assert told(found) == ["Why?", "Why?", (2, "duplicate"), "Why?"]
        assert "b.csv:2: has the id of a.jsonl:1; give each" in str(found[2])

    def test_what_is_refused_hides_no_other(self, folder: Path) -> None:
        (folder / "a.jsonl").write_text(
            '{"question": "", "id": 1}\n{"question": "Why?", "id": 1}\n'
        )
        assert told(read("a.jsonl")) == [(1, "empty"), "Why?"]


filled = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=20
).filter(displayed)
rows = st.lists(st.tuples(filled, st.none() | filled, st.none() | filled), min_size=1, max_size=8)
fixture_is_reused = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


class TestProperties:
    @fixture_is_reused
    @given(rows)
    def test_each_format_reads_as_written(self, folder: Path, rows: list[Row]) -> None:
        files = {"q.jsonl": jsonl(rows), "q.csv": as_csv(rows), "q.parquet": parquet(rows)}
        firsts: dict[object, Row] = {}
        for row in rows:
            made = Question(text=row[0], question_id=row[1], reference=row[2], source="", line=1)
            firsts.setdefault(made.batch_id("run"), row)
        for name, data in files.items():
            (folder / name).write_bytes(data)
            found = [one for one in read(name) if isinstance(one, Question)]
            assert [(q.text, q.question_id, q.reference) for q in found] == [*firsts.values()]
            assert [q.batch_id("run") for q in found] == [*firsts]

    @fixture_is_reused
    @given(st.lists(filled.filter(lambda text: not set(text) & set("\r\n\ufeff")), min_size=1))
    def test_text_reads_as_written(self, folder: Path, texts: list[str]) -> None:
        (folder / "q.txt").write_text("\n".join(texts), newline="")
        found = read("q.txt")
        assert [one.line for one in found] == [*range(1, len(texts) + 1)]
        for one in found:
            if isinstance(one, Question):
                assert one.text == texts[one.line - 1]
            else:
                assert one.kind == "duplicate"

    @fixture_is_reused
    @given(st.lists(rows, min_size=2, max_size=4), st.data())
    def test_ids_are_the_same_in_any_order(
        self, folder: Path, files: list[list[Row]], data: st.DataObject
    ) -> None:
        names = [f"{n}.jsonl" for n in range(len(files))]
        for name, content in zip(names, files, strict=True):
            (folder / name).write_bytes(jsonl(content))

        def ids(order: Sequence[str]) -> list[object]:
            return [q.batch_id("run") for q in read(*order) if isinstance(q, Question)]

        once = ids(names)
        assert len(set(once)) == len(once)
        assert ids(names) == once
        assert sorted(map(str, ids(data.draw(st.permutations(names))))) == sorted(map(str, once))


LINE = b'{"question": "What is number %d of a list of this length?"}\n'


class TestMemory:
    @pytest.mark.parametrize(
        ("name", "begin", "line"),
        [
            ("q.jsonl", b"", LINE),
            ("q.csv", b"question\n", b"What is number %d of a list of this length?\n"),
            ("q.txt", b"", b"What is number %d of a list of this length?\n"),
        ],
    )
    def test_a_file_is_read_as_it_is_used(
        self, folder: Path, name: str, begin: bytes, line: bytes
    ) -> None:
        """From a pipe whose writer never ends: who read all first would never get an answer."""
        os.mkfifo(folder / name)
        written = 0

        def write() -> None:
            nonlocal written
            with (folder / name).open("wb", buffering=0) as pipe:
                number = 0
                try:
                    pipe.write(begin)
                    while True:
                        pipe.write(line % number)
                        number += 1
                        written += len(line)
                except BrokenPipeError:
                    return

        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        found = read_questions([name])
        texts = [getattr(one, "text", "") for one in islice(found, 5000)]
        assert texts == [f"What is number {n} of a list of this length?" for n in range(5000)]
        found.close()  # type: ignore[attr-defined]  # a generator's
        writer.join(60)
        assert not writer.is_alive()
        assert written < 5000 * len(line) + 2**20

    def test_a_packed_pipe(self, folder: Path) -> None:
        os.mkfifo(folder / "q.txt.gz")
        data = gzip.compress(b"Why?\nHow?\n")
        writer = threading.Thread(target=(folder / "q.txt.gz").write_bytes, args=[data])
        writer.start()
        assert told(read("q.txt.gz")) == ["Why?", "How?"]
        writer.join()

    @pytest.mark.parametrize("end", ["", "\n", "\r\n"])
    @pytest.mark.parametrize("over", [0, 1, 2, 3])
    def test_the_longest_line(self, folder: Path, end: str, over: int) -> None:
        row = '{"question": "longest"}'.ljust(MAX_LINE + over) + end
        (folder / "q.jsonl").write_text(row, newline="")
        (folder / "z.txt").write_text("after")
        assert told(read("q.jsonl", "z.txt")) == [(1, "too_long") if over else "longest", "after"]

    def test_a_line_without_end_is_not_held(self, folder: Path) -> None:
        with (folder / "q.jsonl").open("wb") as stream:
            for _ in range(64):
                stream.write(b" " * 2**20)
            stream.write(b'\n{"question": "after"}\n')
        found, peak = traced(lambda: told(read("q.jsonl")))
        assert found == [(1, "too_long"), "after"]
        assert peak < 8 * 2**20

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("name", "many"), [("q.jsonl", 100_000), ("q.csv", 20_000), ("q.jsonl.gz", 20_000)]
    )
    def test_what_stays_of_a_question_is_its_id(self, folder: Path, name: str, many: int) -> None:
        """Each has 1,000 characters; far less stays."""
        rows: Iterator[Row] = ((f"{n} " + "x" * 1000, None, None) for n in range(many))
        if name.endswith("csv"):
            (folder / name).write_bytes(as_csv(list(rows)))
        else:
            data = jsonl(list(rows))
            (folder / name).write_bytes(gzip.compress(data, 1) if name[-2:] == "gz" else data)
        count, peak = traced(lambda: sum(isinstance(q, Question) for q in read_questions([name])))
        assert count == many
        assert peak < 200 * many + 2**20

    def test_parquet_is_read_by_rows(self, folder: Path) -> None:
        """One row group of 40 MB, of which some rows at a time are in memory."""
        chance = random.Random(1)
        rows: list[Row] = [(chance.randbytes(1000).hex(), None, None) for _ in range(20_000)]
        (folder / "q.parquet").write_bytes(
            parquet(rows, use_dictionary=False, row_group_size=10**6)
        )
        before, most, count = pa.total_allocated_bytes(), 0, 0
        for _ in read_questions(["q.parquet"]):
            count += 1
            most = max(most, pa.total_allocated_bytes() - before)
        assert count == len(rows)
        assert 0 < most < 10 * 2**20

    def test_files_are_closed_by_who_stops_early(self, folder: Path) -> None:
        (folder / "q.txt").write_text("Why?\nHow?\n")
        found = read_questions(["q.txt"])
        next(found)
        assert str(folder / "q.txt") in open_files()
        found.close()  # type: ignore[attr-defined]  # a generator's
        assert str(folder / "q.txt") not in open_files()


def traced(work: Callable[[], Any]) -> tuple[Any, int]:
    """What the work gives, and the most bytes that Python held meanwhile."""
    tracemalloc.start()
    try:
        return work(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def open_files() -> list[str]:
    descriptors = Path("/proc/self/fd").iterdir()
    return [str(each.readlink()) for each in descriptors if each.is_symlink()]
