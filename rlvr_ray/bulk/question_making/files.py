"""The two files of ``rlvr questions``: the questions, and the rejected drafts with their reasons.

Lines are appended passage by passage, and both files together show which passages are done. A
killed program leaves at most one incomplete line, which the next run removes.
"""

import fcntl
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Self
from uuid import UUID

from rlvr_ray.core.errors import InputError

#: What the second file's name ends with: no suffix of a question file, so that a folder of those
#: may hold it.
LEFT_OUT = ".left-out"


class QuestionFiles:
    """The files of a run, opened; what an earlier run wrote is in the attributes."""

    def __init__(self, path: Path, *, resume: bool) -> None:
        """Open or make them. Raises InputError where that cannot be, or where there is a file
        already and ``resume`` does not say that it is to go on with it."""
        if path.suffix != ".jsonl":
            raise InputError(f"{path}: the file's name must end with .jsonl")
        self.path = path
        self.left_out_path = path.with_name(path.name + LEFT_OUT)
        begun = any(map(_has_something, (path, self.left_out_path)))
        if path.exists() and begun and not resume:
            raise InputError(
                f"{path} is there already: --resume goes on with it; or name another file (--out)"
            )
        self.done: set[UUID] = set()  #: passages
        self.questions: list[str] = []  #: in the order of the file
        self.left_out: Counter[str] = Counter()  #: by reason
        self._made = _open(self.path)
        try:
            self._others = _open(self.left_out_path, fresh=not resume)
            for row in _rows(self.path):
                self.questions.append(_get(row, "question", self.path))
                self._note(row, self.path)
            for row in _rows(self.left_out_path):
                self.left_out[_get(row, "reason", self.left_out_path)] += 1
                self._note(row, self.left_out_path)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        """Close them at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close them."""
        self.close()

    def write(
        self, chunk: UUID, made: Sequence[Mapping[str, Any]], left_out: Sequence[Mapping[str, Any]]
    ) -> None:
        """Append what a passage gave. Questions first: were the program killed in between, a
        passage would not count as done without them."""
        try:
            _append(self._made, made)
            _append(self._others, left_out)
        except OSError as error:
            raise InputError(
                f"{self.path} cannot be written: {error.strerror}; make room, then --resume"
            ) from None
        self.done.add(chunk)

    def close(self) -> None:
        """Let them go."""
        for stream in (self._made, getattr(self, "_others", None)):
            if stream is not None:
                stream.close()

    def _note(self, row: Mapping[str, Any], path: Path) -> None:
        try:
            self.done.add(UUID(_get(row, "chunk_id", path)))
        except ValueError:
            raise _foreign(path) from None


def _has_something(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def _open(path: Path, *, fresh: bool = False) -> IO[bytes]:
    """For reading and appending, and for nobody else; without a last line that is not whole."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("a+b", buffering=0)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from None
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        stream.close()
        raise InputError(f"another program writes to {path}; wait for it, or end it") from None
    stream.truncate(0 if fresh else _whole(stream))
    return stream


def _whole(stream: IO[bytes]) -> int:
    """The length of a file up to its last line end."""
    end = stream.seek(0, 2)
    while end:
        start = max(0, end - 65536)
        stream.seek(start)
        found = stream.read(end - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as lines:
        for line in lines:
            try:
                row = json.loads(line)
            except ValueError:
                raise _foreign(path) from None
            if not isinstance(row, dict):
                raise _foreign(path)
            yield row


def _get(row: Mapping[str, Any], name: str, path: Path) -> str:
    value = row.get(name)
    if not isinstance(value, str):
        raise _foreign(path)
    return value


def _foreign(path: Path) -> InputError:
    return InputError(
        f"{path} was not written by rlvr questions alone, and cannot be gone on with; "
        "name another file (--out)"
    )


def _append(stream: IO[bytes], rows: Sequence[Mapping[str, Any]]) -> None:
    data = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    while data:  # a disk that fills up takes a part
        data = data[stream.write(data) :]
