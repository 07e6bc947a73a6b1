"""How many parameters a GGUF file's model has, from the list of tensors at its beginning.

Nothing is loaded: this is known before a process that holds the model is started.
"""

import glob
import math
import re
import struct
from pathlib import Path
from typing import Any, BinaryIO

#: Bytes of a metadata value by its type; 8 is a string, 9 an array.
_WIDTHS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_STRING, _ARRAY = 8, 9
_MOST_DIMENSIONS = 4  # of llama.cpp's tensors
#: The end of the name of a model that is cut into several files.
_SHARD = re.compile(r"-\d{5}-of-(\d{5})\.gguf$")


def parameters(path: Path) -> int | None:
    """The elements of all its tensors; None where there is no such file or it is no GGUF."""
    shards = [path]
    if cut := _SHARD.search(path.name):
        name = glob.escape(path.name[: cut.start()])
        shards = [*path.parent.glob(f"{name}-*-of-{cut[1]}.gguf")]
    try:
        return sum(_elements(shard) for shard in shards) or None
    except (OSError, ValueError, OverflowError, struct.error):
        return None


def _elements(path: Path) -> int:
    """Those of one file. Raises ValueError or struct.error where it is something else."""
    with path.open("rb") as file:
        magic, version, tensors, fields = _read(file, "4sIQQ")
        if magic != b"GGUF" or version < 2:  # the first one had other widths
            raise ValueError(f"{path} is no GGUF")
        for _ in range(fields):
            _skip_string(file)
            (kind,) = _read(file, "I")
            _skip_value(file, kind)
        total = 0
        for _ in range(tensors):
            _skip_string(file)
            (rank,) = _read(file, "I")
            if rank > _MOST_DIMENSIONS:
                raise ValueError(f"{path} has a tensor of {rank} dimensions")
            total += math.prod(_read(file, f"{rank}Q"))
            _read(file, "IQ")  # type and place
        return total


def _read(file: BinaryIO, layout: str) -> tuple[Any, ...]:
    """Little-endian and unpadded, as all of the file is."""
    size = struct.calcsize(f"<{layout}")
    return struct.unpack(f"<{layout}", file.read(size))


def _skip_string(file: BinaryIO) -> None:
    (length,) = _read(file, "Q")
    file.seek(length, 1)


def _skip_value(file: BinaryIO, kind: int) -> None:
    if kind == _STRING:
        _skip_string(file)
    elif kind == _ARRAY:
        inner, count = _read(file, "IQ")
        if inner in _WIDTHS:
            file.seek(count * _WIDTHS[inner], 1)
            return
        for _ in range(count):
            _skip_value(file, inner)
    elif kind in _WIDTHS:
        file.seek(_WIDTHS[kind], 1)
    else:
        raise ValueError(f"{kind} is no type of a value")
