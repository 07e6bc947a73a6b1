"""GGUF files of a few bytes: all that a model's file says of itself, and no weights."""

import struct
from collections.abc import Sequence
from pathlib import Path


def write(path: Path, *shapes: Sequence[int], magic: bytes = b"GGUF", version: int = 3) -> Path:
    """A file that lists tensors of these shapes, behind metadata of every type there is."""
    fields = [
        _field("some.string", 8, _string("Some 3B model")),
        _field("some.strings", 9, struct.pack("<IQ", 8, 2) + _string("a") + _string("")),
        _field("some.bytes", 9, struct.pack("<IQ", 0, 3) + b"abc"),
        _field("some.lists", 9, struct.pack("<IQ", 9, 1) + struct.pack("<IQ2I", 4, 2, 7, 8)),
        *(
            _field(f"some.{layout}", kind, struct.pack(f"<{layout}", 1))
            for kind, layout in enumerate("BbHhIif?")
        ),
        *(
            _field(f"some.{layout}", kind, struct.pack(f"<{layout}", 1))
            for kind, layout in ((10, "Q"), (11, "q"), (12, "d"))
        ),
    ]
    tensors = [
        _string(f"tensor.{place}")
        + struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        + struct.pack("<IQ", 0, 0)
        for place, shape in enumerate(shapes)
    ]
    head = struct.pack("<4sIQQ", magic, version, len(tensors), len(fields))
    path.write_bytes(head + b"".join(fields + tensors))
    return path


def _field(name: str, kind: int, value: bytes) -> bytes:
    return _string(name) + struct.pack("<I", kind) + value


def _string(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()
